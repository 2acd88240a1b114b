/**
 * Ranges: records in order, as of an LSN, a batch at a time.
 *
 * A cursor is nothing but a range and a position. Each pull goes down from the root again, so splits, merges and
 * evictions between pulls do no harm, and nothing is held that a writer could wait for. Leaves are visited in a loop:
 * any number of them may be empty, or hold nothing that the reader may see.
 *
 * I1 Keys of a range strictly ascend, or descend; each is there at most once.
 * I2 A reader sees a record's version below its LSN, or the entry of Versions whose span holds its LSN: the newer of
 *    the two. Both are there where a mini-page overwrote what overwrote the base page's record.
 * I3 What a reader would see and has expired by the batch's `now` is passed over, and so is all that is older.
 * I4 From leaf to leaf the position strictly advances. A leaf that leads back is noted (`Lineage.strays`) and answered
 *    as one to be loaded: whoever asks for it hears that it is damaged.
 *
 * Where entries of Versions are in the scratch file, a leaf is taken in windows, and what is in the file of a window is
 * copied to Versions while it is at hand (`Recall.ts`).
 */
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import * as Touch from "../page/Touch.ts"
import { cut, Hand, recall } from "../past/Recall.ts"
import type { Versions } from "../past/Versions.ts"
import { inScratch } from "./Answer.ts"
import type { Batch } from "./Batch.ts"
import {
  begin,
  bound,
  compareBounds,
  descend,
  descendBelow,
  leadsBack,
  toNextLeaf,
  toPreviousLeaf,
  way,
  windowOf
} from "./Way.ts"

export { Batch } from "./Batch.ts"

export interface Range {
  /** Inclusive. */
  readonly lower: Uint8Array
  /** Exclusive; undefined: no bound. */
  readonly upper: Uint8Array | undefined
  readonly order: "ascending" | "descending"
  /** Most records of one pull. */
  readonly limit: number
  readonly columns: "keys" | "keys and values"
}

/** A pull ends after so many bytes or leaves, to keep within a slice of the event loop. */
const batchBytes = 65_536
const batchLeaves = 256

/** Where so many records of a leaf are taken, all of them are touched first: up to a fifth less time for a range. */
const touchedAt = 8

/**
 * Adds records of a range to `batch`, from its position on if it has one. Answers a page that must be loaded first, or
 * `inScratch` for what `batch.hand` wants, or 0; `batch.ended` tells whether the range is at its end.
 */
export function pull(
  pages: Pages,
  versions: Versions,
  root: Root,
  range: Range,
  at: number,
  batch: Batch
): number {
  const ascending = range.order === "ascending"
  begin()
  way.reducer = root.reducer
  way.now = root.expires ? batch.now : -Infinity
  way.lower.load(ascending && batch.position !== undefined ? batch.position : range.lower)
  const upper = !ascending && batch.position !== undefined ? batch.position : range.upper
  way.bounded = upper !== undefined
  if (upper !== undefined) way.upper.load(upper)
  const isRecalling = at <= versions.spill.newest
  const merging = at <= versions.newest && (versions.size > 0 || isRecalling)
  for (let leaves = 0; leaves < batchLeaves; leaves++) {
    if (range.limit <= batch.count || batch.used >= batchBytes) return rest(batch, ascending, leaves, 0)
    if (way.bounded && compareBounds() >= 0) {
      batch.ended = true
      return 0
    }
    const missing = ascending ? descend(pages, root, at) : descendBelow(pages, root, at)
    if (missing > 0) return rest(batch, ascending, leaves, missing)
    batch.leafRecords = Math.max(batch.leafRecords, Page.count(way.words, way.p))
    if (isRecalling) {
      const recalled = takeRecalled(versions, root.treeId, range, at, batch)
      if (recalled === "wanted") return rest(batch, ascending, leaves, inScratch)
      if (recalled === "full") return 0
      if (recalled === "cut") continue
    }
    bound()
    if (Math.min(way.to - way.from, range.limit - batch.count) >= touchedAt) {
      Touch.keep(Touch.heap(way.words, way.p))
    }
    const whole = isRecalling || (merging
      ? mergeLeaf(versions, root.treeId, range, at, batch)
      : takeLeaf(range, at, batch))
    if (!whole) return 0
    if (leadsBack(range.order)) {
      const stray = Page.pageId(way.words, way.p)
      pages.lineage.strays.add(stray)
      return rest(batch, ascending, leaves, stray)
    }
    if (ascending ? !toNextLeaf() : !toPreviousLeaf()) {
      batch.ended = true
      return 0
    }
  }
  return rest(batch, ascending, batchLeaves, 0)
}

/** A pull ends before a leaf: notes where the next one goes on. What is in the batch goes before what is missing. */
function rest(batch: Batch, ascending: boolean, leaves: number, missing: number): number {
  if (leaves > 0) batch.position = (ascending ? way.lower : way.upper).toBytes()
  return batch.count > 0 ? 0 : missing
}

const versionAt = (index: number): number => Leaf.versionAt(way.words, Leaf.recordAt(way.words, way.p, index))

/** Whether record `index` of the leaf has expired. */
function isExpired(index: number): boolean {
  const { now, p, words } = way
  if (now === -Infinity) return false
  const record = Leaf.recordAt(words, p, index)
  return ((words[record] as number) >>> 24 & Leaf.expires) !== 0
    && Leaf.expiryAt(words, record, Page.slotBytes(words, p, index)) <= now
}

/** The batch is full at the key in `way.key`, which is in it: goes on after, or before, that key. */
function stop(range: Range, batch: Batch): false {
  const { bytes, length } = way.key
  // The least key above a key is the key and a zero byte, which follows it in scratch.
  batch.position = bytes.slice(0, range.order === "ascending" ? length + 1 : length)
  return false
}

/** Takes the records of the leaf; false where the batch is full before its end. */
function takeLeaf(range: Range, at: number, batch: Batch): boolean {
  const ascending = range.order === "ascending"
  const step = ascending ? 1 : -1
  const end = ascending ? way.to : way.from - 1
  const { p, words } = way
  const hasValue = range.columns !== "keys"
  for (let index = ascending ? way.from : way.to - 1; index !== end; index += step) {
    if (versionAt(index) >= at || isExpired(index)) continue
    batch.addStored(words, p, index, hasValue)
    if (batch.count < range.limit && batch.used < batchBytes) continue
    Leaf.loadKey(words, p, index, way.key)
    return stop(range, batch)
  }
  return true
}

const entryKey = new KeyScratch()
const sameKey = new KeyScratch()

/**
 * Takes a window of the leaf for which the scratch file may have something: all that is left of the leaf ("whole"), or
 * a part ("cut"). It may fill the batch, or want blocks of the file before it does anything.
 */
function takeRecalled(
  versions: Versions,
  treeId: number,
  range: Range,
  at: number,
  batch: Batch
): "whole" | "cut" | "full" | "wanted" {
  const hand = batch.hand ??= new Hand()
  const answer = recall(versions, versions.spill, hand, windowOf(treeId, range.order, at))
  if (answer === "wanted") return answer
  const ascending = range.order === "ascending"
  const { bounded, lower, upper } = way
  if (answer === "cut" && ascending) {
    way.upper = cut
    way.bounded = true
  } else if (answer === "cut") way.lower = cut
  bound()
  const whole = mergeLeaf(versions, treeId, range, at, batch)
  versions.forgetRecalled()
  way.lower = lower
  way.upper = upper
  way.bounded = bounded
  if (!whole) return "full"
  if (answer === "whole") return answer
  const edge = ascending ? lower : upper
  edge.assemble(cut.words, 0, 0, cut.words, 0, cut.length)
  way.bounded = bounded || !ascending
  return answer
}

/** Position after all entries of the key that `newestAt` was asked for. */
let behind = 0

/** Of the entries of the key at a position, the newest that is seen. */
function newestAt(versions: Versions, position: number, ascending: boolean, at: number): number {
  let newest = versions.entryAt(position)
  const treeId = versions.treeOf(newest)
  loadEntryKey(versions, newest, sameKey)
  for (let entry = newest; entry >= 0; entry = versions.entryAt(position)) {
    if (versions.treeOf(entry) !== treeId || versions.compareKey(entry, sameKey) !== 0) break
    if (versions.isSeen(entry, at) && versions.counts(entry, newest)) newest = entry
    position = ascending ? versions.positionAfter(position) : versions.positionBefore(position)
  }
  behind = position
  return newest
}

/** Takes the records of the leaf and the displaced versions of its part of the range, in order. */
function mergeLeaf(versions: Versions, treeId: number, range: Range, at: number, batch: Batch): boolean {
  const ascending = range.order === "ascending"
  const step = ascending ? 1 : -1
  const end = ascending ? way.to : way.from - 1
  let index = ascending ? way.from : way.to - 1
  let position = firstPosition(versions, treeId, ascending)
  while (true) {
    while (index !== end && versionAt(index) >= at) index += step
    let entry = entryInLeaf(versions, treeId, position, ascending)
    while (entry >= 0 && !versions.isSeen(entry, at)) {
      position = ascending ? versions.positionAfter(position) : versions.positionBefore(position)
      entry = entryInLeaf(versions, treeId, position, ascending)
    }
    if (index === end && entry < 0) return true
    if (versions.isRecalling && entry >= 0) entry = newestAt(versions, position, ascending, at)
    if (index !== end) Leaf.loadKey(way.words, way.p, index, way.key)
    const order = entry < 0 ? 1 : index === end ? -1 : versions.compareKey(entry, way.key) * step
    // Of one version the entry counts: a commit wrote the key twice, and the leaf has not heard of the second.
    if (order < 0 || order === 0 && versions.versionOf(entry) >= versionAt(index)) {
      // A tombstone says that there was nothing, whatever the base page has.
      const kind = versions.kindOf(entry)
      if (kind === Leaf.Kind.Operand) addOperand(versions, entry, order < 0 ? -1 : index, range, batch)
      else if (kind !== Leaf.Kind.Tombstone) addEntry(versions, entry, range, batch)
    } else if (!isExpired(index)) {
      batch.addStored(way.words, way.p, index, range.columns !== "keys")
    }
    if (order >= 0) index += step
    if (order <= 0) {
      position = versions.isRecalling
        ? behind
        : ascending
        ? versions.positionAfter(position)
        : versions.positionBefore(position)
    }
    if (batch.count >= range.limit || batch.used >= batchBytes) return stop(range, batch)
  }
}

/** Adds an entry of Versions; its key is in `way.key` then. */
function addEntry(versions: Versions, entry: number, range: Range, batch: Batch): void {
  if (versions.expiryOf(entry) <= way.now) return
  loadEntryKey(versions, entry, way.key)
  batch.add(way.key, versions.kindOf(entry), versions.versionOf(entry), versions.expiryOf(entry))
  if (range.columns === "keys") return
  const words = versions.wordsOfEntry(entry)
  batch.addValue(words, versions.valueAt(entry) >>> 2, versions.valueBytesOf(entry))
}

/** Adds an operand of Versions, folded into record `index` of the leaf; -1 = it stands on nothing. */
function addOperand(versions: Versions, entry: number, index: number, range: Range, batch: Batch): void {
  const { folding, p, reducer, words } = way
  const operand = versions.valueOf(entry)
  if (index < 0) folding.alone(reducer, operand)
  else folding.into(words, p, index, reducer, operand)
  if (folding.expiry <= way.now) return
  loadEntryKey(versions, entry, way.key)
  batch.add(way.key, Leaf.Kind.Value, versions.versionOf(entry), folding.expiry)
  if (range.columns === "keys and values") batch.addValue(folding.words, 0, folding.length)
}

function loadEntryKey(versions: Versions, entry: number, key: KeyScratch): void {
  const from = versions.keyAt(entry)
  key.load(versions.bytesOf(entry).subarray(from, from + versions.keyBytesOf(entry)))
}

/** Position of the first entry, in the cursor's direction, of the leaf's part of the range. */
function firstPosition(versions: Versions, treeId: number, ascending: boolean): number {
  const { p, words } = way
  if (ascending) return versions.seek(treeId, way.lower)
  const high = Page.highBytes(words, p)
  let position: number
  if (way.bounded) {
    position = versions.seek(treeId, way.upper)
  } else if (high === Page.unbounded) {
    entryKey.length = 0
    position = versions.seek(treeId + 1, entryKey)
  } else {
    entryKey.assemble(words, 0, 0, words, p + Page.highAt(words, p), high)
    position = versions.seek(treeId, entryKey)
  }
  return versions.positionBefore(position)
}

/** The entry at a position if it is of this tree and within both the leaf and the range, else -1. */
function entryInLeaf(versions: Versions, treeId: number, position: number, ascending: boolean): number {
  const { lower, p, upper, words } = way
  const entry = versions.entryAt(position)
  if (entry < 0 || versions.treeOf(entry) !== treeId) return -1
  if (ascending) {
    if (way.bounded && versions.compareKey(entry, upper) >= 0) return -1
    const high = Page.highBytes(words, p)
    if (high === Page.unbounded) return entry
    entryKey.assemble(words, 0, 0, words, p + Page.highAt(words, p), high)
    return versions.compareKey(entry, entryKey) < 0 ? entry : -1
  }
  if (versions.compareKey(entry, lower) < 0) return -1
  entryKey.assemble(words, 0, 0, words, p + Page.lowAt(words, p), Page.lowBytes(words, p))
  return versions.compareKey(entry, entryKey) >= 0 ? entry : -1
}

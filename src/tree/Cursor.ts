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
 */
import type { Batch } from "./Batch.ts"
import { blend, blendWords } from "./Blend.ts"
import * as Inner from "./Inner.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import { State } from "./MapTable.ts"
import { Folding } from "./Operand.ts"
import * as Page from "./Page.ts"
import type { Pages } from "./Pages.ts"
import { compareKeys } from "./Search.ts"
import type { Root } from "./Split.ts"
import type { Versions } from "./Versions.ts"

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

/** The way of one pull. There is one, as pulls never nest: nothing here calls out. */
class Way {
  readonly lower = new KeyScratch()
  readonly upper = new KeyScratch()
  /** Whether there is an upper bound. */
  bounded = false
  readonly key = new KeyScratch()
  words: Int32Array = new Int32Array(0)
  p = 0
  /** Scratch for a leaf and its mini-page. */
  blend: Int32Array = new Int32Array(0)
  /** Records of the leaf that lie in the range: [from, to). */
  from = 0
  to = 0
  reducer = 0
  readonly folding = new Folding()
}

const way = new Way()

/**
 * Adds records of a range to `batch`, from its position on if it has one. Answers a page that must be loaded first, or
 * 0; `batch.ended` tells whether the range is at its end.
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
  way.reducer = root.reducer
  way.lower.load(ascending && batch.position !== undefined ? batch.position : range.lower)
  const upper = !ascending && batch.position !== undefined ? batch.position : range.upper
  way.bounded = upper !== undefined
  if (upper !== undefined) way.upper.load(upper)
  const merging = at <= versions.newest && versions.size > 0
  for (let leaves = 0; leaves < batchLeaves; leaves++) {
    if (range.limit <= batch.count || batch.used >= batchBytes) return 0
    if (way.bounded && compareBounds() >= 0) {
      batch.ended = true
      return 0
    }
    const missing = ascending ? descend(pages, root, at) : descendBelow(pages, root, at)
    // What is in the batch goes first; the next pull will find the same page missing.
    if (missing > 0) return batch.count > 0 ? 0 : missing
    bound()
    batch.leafRecords = Math.max(batch.leafRecords, Page.count(way.words, way.p))
    const whole = merging
      ? mergeLeaf(versions, root.treeId, range, at, batch)
      : takeLeaf(range, at, batch)
    if (!whole) return 0
    if (ascending ? !toNextLeaf(batch) : !toPreviousLeaf(batch)) {
      batch.ended = true
      return 0
    }
  }
  return 0
}

const compareBounds = (): number =>
  compareKeys(way.lower.words, 0, way.lower.length, way.upper.words, 0, way.upper.length)

/** Goes down to the leaf that holds the lower bound. */
function descend(pages: Pages, root: Root, at: number): number {
  let id = root.page
  while (enter(pages, id, at)) {
    const { p, words } = way
    if (Page.level(words, p) === 0) return 0
    id = Inner.child(words, p, Inner.find(words, p, way.lower))
  }
  return id
}

/** Goes down to the leaf that holds the keys just below the upper bound. */
function descendBelow(pages: Pages, root: Root, at: number): number {
  let id = root.page
  while (enter(pages, id, at)) {
    const { p, words } = way
    if (Page.level(words, p) === 0) return 0
    let index = way.bounded ? Inner.find(words, p, way.upper) : Page.count(words, p)
    if (way.bounded && index > 0) {
      Inner.separator(words, p, index - 1, way.key)
      const { key, upper } = way
      if (compareKeys(key.words, 0, key.length, upper.words, 0, upper.length) === 0) index--
    }
    id = Inner.child(words, p, index)
  }
  return id
}

/** Goes to a page, a leaf with a mini-page blended with it. A scan marks nothing as used: it washes nothing out. */
function enter(pages: Pages, id: number, at: number): boolean {
  const { arena, map } = pages
  const address = map.block[id] as number
  if (address < 0) return false
  way.words = arena.wordsOf(address)
  way.p = address & arena.mask
  if (((map.state[id] as number) & State.Mini) === 0) return true
  const mini = map.mini[id] as number
  const size = blendWords(arena.pageWords)
  if (way.blend.length !== size) way.blend = new Int32Array(size)
  blend(way.blend, way.words, way.p, arena.wordsOf(mini), mini & arena.mask, way.reducer, at)
  way.words = way.blend
  way.p = 0
  return true
}

/** Finds the records of the leaf that lie in the range. */
function bound(): void {
  const { lower, p, upper, words } = way
  const low = p + Page.lowAt(words, p)
  const high = Page.highBytes(words, p)
  way.from = 0
  way.to = Page.count(words, p)
  if (compareKeys(lower.words, 0, lower.length, words, low, Page.lowBytes(words, p)) > 0) {
    const index = Leaf.find(words, p, lower)
    way.from = index < 0 ? ~index : index
  }
  const within = way.bounded && (high === Page.unbounded
    || compareKeys(upper.words, 0, upper.length, words, p + Page.highAt(words, p), high) < 0)
  if (within) {
    const index = Leaf.find(words, p, upper)
    way.to = index < 0 ? ~index : index
  }
}

/** Moves the lower bound to the next leaf; false where there is none. */
function toNextLeaf(batch: Batch): boolean {
  const { p, words } = way
  const high = Page.highBytes(words, p)
  if (high === Page.unbounded) return false
  way.lower.assemble(words, 0, 0, words, p + Page.highAt(words, p), high)
  batch.position = way.lower.toBytes()
  return true
}

/** Moves the upper bound to the previous leaf; false where there is none. */
function toPreviousLeaf(batch: Batch): boolean {
  const { p, words } = way
  const low = Page.lowBytes(words, p)
  if (low === 0) return false
  way.upper.assemble(words, 0, 0, words, p + Page.lowAt(words, p), low)
  way.bounded = true
  batch.position = way.upper.toBytes()
  return true
}

const versionAt = (index: number): number => Leaf.versionAt(way.words, Leaf.recordAt(way.words, way.p, index))

/** Adds record `index` of the leaf, whose key is loaded. */
function addRecord(index: number, range: Range, batch: Batch): void {
  const { p, words } = way
  const record = Leaf.recordAt(words, p, index)
  const keyBytes = Page.slotBytes(words, p, index)
  const expiry = Leaf.expiryAt(words, record, keyBytes)
  batch.add(way.key, Leaf.kindAt(words, record), Leaf.versionAt(words, record), expiry)
  if (range.columns === "keys") return
  batch.addValue(words, Leaf.valueAt(words, record, keyBytes), Leaf.valueBytesAt(words, record))
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
  for (let index = ascending ? way.from : way.to - 1; index !== end; index += step) {
    if (versionAt(index) >= at) continue
    Leaf.loadKey(way.words, way.p, index, way.key)
    addRecord(index, range, batch)
    if (batch.count >= range.limit || batch.used >= batchBytes) return stop(range, batch)
  }
  return true
}

const entryKey = new KeyScratch()

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
    if (index !== end) Leaf.loadKey(way.words, way.p, index, way.key)
    const order = entry < 0 ? 1 : index === end ? -1 : versions.compareKey(entry, way.key) * step
    if (order < 0 || order === 0 && versions.versionOf(entry) > versionAt(index)) {
      // A tombstone says that there was nothing, whatever the base page has.
      const kind = versions.kindOf(entry)
      if (kind === Leaf.Kind.Operand) addOperand(versions, entry, order < 0 ? -1 : index, range, batch)
      else if (kind !== Leaf.Kind.Tombstone) addEntry(versions, entry, range, batch)
    } else {
      addRecord(index, range, batch)
    }
    if (order >= 0) index += step
    if (order <= 0) {
      position = ascending
        ? versions.positionAfter(position)
        : versions.positionBefore(position)
    }
    if (batch.count >= range.limit || batch.used >= batchBytes) return stop(range, batch)
  }
}

/** Adds an entry of Versions; its key is in `way.key` then. */
function addEntry(versions: Versions, entry: number, range: Range, batch: Batch): void {
  loadEntryKey(versions, entry)
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
  loadEntryKey(versions, entry)
  batch.add(way.key, Leaf.Kind.Value, versions.versionOf(entry), folding.expiry)
  if (range.columns === "keys and values") batch.addValue(folding.words, 0, folding.length)
}

function loadEntryKey(versions: Versions, entry: number): void {
  const from = versions.keyAt(entry)
  way.key.load(versions.bytesOf(entry).subarray(from, from + versions.keyBytesOf(entry)))
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

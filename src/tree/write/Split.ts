/**
 * Splitting pages, and compaction.
 *
 * A leaf is split for a record that has no room; the record is not moved in, its operation starts again and finds the
 * room. Separators rise as far as pages are full, and a new root is made where the old one was. All blocks that this
 * could take are counted before anything changes.
 *
 * I1 Neither side of a split is left empty, except the side that the record at hand goes to next.
 * I2 Both sides fit, whatever the new fence is (`checkSizes`, Page.ts).
 *
 * Where inserts ascend one by one, the split is at the insert: a sequential load leaves full pages. Otherwise it is in
 * the middle by bytes, the new record counted (Bf-Tree counts the buffered records for the same reason).
 */
import { invariant } from "../../Invariant.ts"
import type { Events } from "../memory/Events.ts"
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import { commonBytes } from "../page/Search.ts"
import type { Versions } from "../past/Versions.ts"
import type { Workbench } from "./Workbench.ts"

const { headerWords } = Page

/** So many inserts in a row, one after another, are taken for a sequence. */
export const sequence = 4

/** What changes of a tree work on. */
export interface Ground {
  readonly pages: Pages
  readonly versions: Versions
  readonly bench: Workbench
  readonly events: Events
}

/** Fills a leaf anew without its garbage, with room for a record of `need` words and its slot. */
export function compact(ground: Ground, words: Int32Array, p: number, need: number): void {
  const { bench } = ground
  const source = bench.copy("left", words, p)
  const count = Page.count(source, 0)
  const low = bench.loadLow(source, 0)
  const high = bench.loadHigh(source, 0)
  const left = Math.max(0, Leaf.spare(source, 0) - need - Page.slotWords)
  const taken = Leaf.used(source, 0) - headerWords - Page.fenceWords(source, 0)
  Page.clear(words, p)
  Page.setFences(words, p, low, high)
  Page.setCounts(words, p, 0, Leaf.slotsFor(count + 1, taken, left))
  Leaf.append(words, p, source, 0, 0, count)
  Page.copyRun(words, p, source, 0)
}

/** A record of so many words that would stand at an index. */
interface Coming {
  readonly index: number
  readonly need: number
  /** What its older version takes, or 0. */
  readonly replaces: number
  /** Whether many come there, of which this is the last one. */
  readonly isLast?: boolean
}

/**
 * Splits the leaf at the end of the path for what comes. The caller has made sure of the blocks (`depth + 2`). Answers
 * the new leaf.
 */
export function splitLeaf(ground: Ground, root: Root, key: KeyScratch, at: Coming): number {
  const { bench, pages } = ground
  const leftId = bench.ids[bench.depth] as number
  const leftAddress = pages.map.block[leftId] as number
  const words = pages.arena.wordsOf(leftAddress)
  const p = leftAddress & pages.arena.mask
  invariant(Page.count(words, p) > 1 || at.isLast === true, "Split: a record is within the limits")
  pages.touch(leftId)
  const rightId = pages.create(pages.placeOf(leftId))
  pages.deadlines.inherit(rightId, leftId)
  const source = bench.copy("left", words, p)
  const cut = chooseCut(source, bench, key, at)
  const low = bench.loadLow(source, 0)
  const high = bench.loadHigh(source, 0)
  const count = Page.count(source, 0)
  Page.clear(words, p)
  fillLeaf(words, p, source, low, bench.separator, 0, cut)
  const rightAddress = pages.map.block[rightId] as number
  const rightWords = pages.arena.wordsOf(rightAddress)
  const r = rightAddress & pages.arena.mask
  Page.begin(rightWords, r, { size: Page.size(source, 0), level: 0, pageId: rightId, treeId: root.treeId })
  Page.writeLsn(rightWords, r + 4, Page.pageLsn(source, 0))
  fillLeaf(rightWords, r, source, bench.separator, high, cut, count)
  if (ground.events.enabled) note(ground, root, 0, leftId, rightId, bench.separator.length)
  insertSeparator(ground, root, bench.separator, rightId)
  return rightId
}

function fillLeaf(
  words: Int32Array,
  p: number,
  source: Int32Array,
  low: KeyScratch,
  high: KeyScratch | undefined,
  from: number,
  to: number
): void {
  Page.setFences(words, p, low, high)
  let taken = 0
  for (let index = from; index < to; index++) taken += sourceWords(source, index)
  const left = Page.heapTop(words, p) - headerWords - taken
  invariant(left >= 0, "Split I2")
  Page.setCounts(words, p, 0, Leaf.slotsFor(to - from, taken, left))
  Leaf.append(words, p, source, 0, from, to)
}

/** Words of record `index` of a leaf in scratch, with its slot. */
function sourceWords(source: Int32Array, index: number): number {
  const bytes = Page.slotBytes(source, 0, index)
  return Leaf.recordWords(source, Page.slotAt(source, 0, index), bytes) + Page.slotWords
}

/** How many records stay in the left leaf; the separator is left in `bench.separator`. */
function chooseCut(source: Int32Array, bench: Workbench, key: KeyScratch, at: Coming): number {
  const count = Page.count(source, 0)
  if (at.isLast === true) {
    separate(bench, key, keyOf(bench, source, at.index))
    if (fits(source, bench, at.index)) return at.index
  }
  const run = at.replaces === 0 ? Page.ascendingRun(source, 0, at.index) : 0
  if (run > 0 && run >= Math.min(sequence, count - 1)) {
    // The record at hand is the last of the left side, or alone on the right one.
    if (at.index === count) separate(bench, keyOf(bench, source, count - 1), key)
    else separate(bench, key, keyOf(bench, source, at.index))
    if (at.index > 0 && fits(source, bench, at.index)) return at.index
  }
  const wanted = middle(source, at)
  separateAt(bench, source, wanted)
  if (fits(source, bench, wanted)) return wanted
  const even = middle(source, { index: count, need: 0, replaces: 0 })
  separateAt(bench, source, even)
  invariant(fits(source, bench, even), "Split I2")
  return even
}

/** The cut, from 1 to count − 1, that best balances the bytes of both sides with the new record among them. */
function middle(source: Int32Array, at: Coming): number {
  const count = Page.count(source, 0)
  const added = at.need === 0 ? 0 : at.need - at.replaces + (at.replaces === 0 ? Page.slotWords : 0)
  let total = added
  for (let index = 0; index < count; index++) total += sourceWords(source, index)
  let left = 0
  let best = 1
  let bestLarger = Infinity
  for (let cut = 1; cut < count; cut++) {
    left += sourceWords(source, cut - 1)
    const side = at.index < cut ? left + added : left
    const larger = Math.max(side, total - side)
    if (larger < bestLarger) {
      best = cut
      bestLarger = larger
    }
  }
  return best
}

/** Whether both sides fit a page when `cut` records stay left and `bench.separator` becomes a fence. */
function fits(source: Int32Array, bench: Workbench, cut: number): boolean {
  const fence = Page.paddedWords(bench.separator.length)
  const high = Page.highBytes(source, 0)
  let left = headerWords + Page.paddedWords(Page.lowBytes(source, 0)) + fence
  let right = headerWords + fence + (high === Page.unbounded ? 0 : Page.paddedWords(high))
  const count = Page.count(source, 0)
  for (let index = 0; index < count; index++) {
    if (index < cut) left += sourceWords(source, index)
    else right += sourceWords(source, index)
  }
  return left <= Page.size(source, 0) && right <= Page.size(source, 0)
}

function separateAt(bench: Workbench, source: Int32Array, cut: number): void {
  const left = keyOf(bench, source, cut - 1)
  const right = bench.rising[1]
  Leaf.loadKey(source, 0, cut, right)
  separate(bench, left, right)
}

function keyOf(bench: Workbench, source: Int32Array, index: number): KeyScratch {
  Leaf.loadKey(source, 0, index, bench.rising[0])
  return bench.rising[0]
}

/** Makes the shortest key that is above `left` and not above `right`: the bench's separator. */
export function separate(bench: Workbench, left: KeyScratch, right: KeyScratch): void {
  const common = commonBytes(left.words, 0, left.length, right.words, 0, right.length)
  invariant(common < right.length, "Leaf I1")
  bench.separator.assemble(right.words, 0, 0, right.words, 0, common + 1)
  bench.separator.bytes.fill(0, common + 1, Page.paddedWords(common + 1) * 4)
}

/** Inserts a separator and its right page above the end of the path, splitting what is full. */
export function insertSeparator(ground: Ground, root: Root, separator: KeyScratch, right: number): void {
  const { bench, pages } = ground
  let key = separator
  let child = right
  for (let depth = bench.depth - 1; depth >= 0; depth--) {
    const id = bench.ids[depth] as number
    const index = bench.taken[depth] as number
    pages.touch(id)
    const address = pages.map.block[id] as number
    const words = pages.arena.wordsOf(address)
    const p = address & pages.arena.mask
    // Now and then the page is filled anew in any case: only then it gets the prefix of what is in it by now.
    const anew = isPowerOfTwo(Page.count(words, p) + 1)
    if (!anew && Inner.insert(words, p, index, key, child)) return
    const source = bench.copy("left", words, p)
    const entries = bench.entries.ofInsert(source, 0, index, key, child)
    if (entries.words(0, entries.count) <= Page.size(words, p)) {
      Page.clear(words, p)
      entries.fill(words, p, 0, entries.count)
      return
    }
    const rising = bench.rising[depth & 1 ? 1 : 0]
    child = splitInner(ground, root, id, index, rising)
    key = rising
  }
  growRoot(ground, root, key, child)
}

const isPowerOfTwo = (count: number): boolean => (count & count - 1) === 0

/** Splits an inner page by the entries on the bench; answers the new page, its separator is in `rising`. */
function splitInner(ground: Ground, root: Root, id: number, index: number, rising: KeyScratch): number {
  const { bench, pages } = ground
  const { entries, left: source } = bench
  const rightId = pages.create("inner")
  const ascends = index === Page.count(source, 0) && Page.ascendingRun(source, 0, index) >= sequence
  const size = Page.size(source, 0)
  const middle = ascends ? entries.count - 2 : entries.middle(size)
  const address = pages.map.block[id] as number
  const words = pages.arena.wordsOf(address)
  const p = address & pages.arena.mask
  Page.clear(words, p)
  entries.fill(words, p, 0, middle)
  makeInner(ground, root, rightId, Page.level(source, 0))
  const rightAddress = pages.map.block[rightId] as number
  const rightWords = pages.arena.wordsOf(rightAddress)
  Page.writeLsn(rightWords, (rightAddress & pages.arena.mask) + 4, Page.pageLsn(source, 0))
  entries.fill(rightWords, rightAddress & pages.arena.mask, middle + 1, entries.count)
  entries.load(middle, rising)
  if (ground.events.enabled) note(ground, root, Page.level(source, 0), id, rightId, rising.length)
  return rightId
}

function makeInner(ground: Ground, root: Root, id: number, level: number): void {
  const { pages } = ground
  const address = pages.map.block[id] as number
  const words = pages.arena.wordsOf(address)
  const size = pages.arena.pageWords
  Page.begin(words, address & pages.arena.mask, { size, level, pageId: id, treeId: root.treeId })
}

function growRoot(ground: Ground, root: Root, key: KeyScratch, right: number): void {
  const { pages } = ground
  const old = pages.map.block[root.page] as number
  const level = Page.level(pages.arena.wordsOf(old), old & pages.arena.mask) + 1
  const id = pages.create("inner")
  makeInner(ground, root, id, level)
  const address = pages.map.block[id] as number
  const words = pages.arena.wordsOf(address)
  const p = address & pages.arena.mask
  Inner.setOnlyChild(words, p, root.page)
  invariant(Inner.insert(words, p, 0, key, right), "Split: an empty page has room")
  root.page = id
  if (ground.events.enabled) {
    ground.events.push({ _tag: "RootGrown", treeId: root.treeId, page: id, level })
  }
}

export function note(
  ground: Ground,
  root: Root,
  level: number,
  left: number,
  right: number,
  pivotBytes: number
): void {
  const count = (id: number): number => {
    const address = ground.pages.map.block[id] as number
    return Page.count(ground.pages.arena.wordsOf(address), address & ground.pages.arena.mask)
  }
  ground.events.push({
    _tag: "Split",
    treeId: root.treeId,
    level,
    left,
    right,
    pivotBytes,
    leftCount: count(left),
    rightCount: count(right)
  })
}

/**
 * The way of a pull: the leaf that it has come to, and the part of it that lies in the range.
 *
 * There is one way, as pulls never nest: nothing here calls out. A leaf with a mini-page is blended with it in scratch.
 * A way marks nothing as used: a scan washes nothing out.
 */
import { State } from "../memory/MapTable.ts"
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import { Folding } from "../page/Operand.ts"
import * as Page from "../page/Page.ts"
import { compareKeys } from "../page/Search.ts"
import * as Touch from "../page/Touch.ts"
import type { Window } from "../past/Recall.ts"
import { blend, blendWords } from "./Blend.ts"

/** The way of one pull. There is one, as pulls never nest: nothing here calls out. */
class Way {
  lower = new KeyScratch()
  upper = new KeyScratch()
  /** Whether there is an upper bound. */
  bounded = false
  readonly key = new KeyScratch()
  words: Int32Array = new Int32Array(0)
  p = 0
  /** The node above the leaf, and which child of it the leaf is; -1 where that is not known. */
  above: Int32Array = this.words
  aboveAt = 0
  taken = -1
  /** Scratch for a leaf and its mini-page. */
  blend: Int32Array = new Int32Array(0)
  /** Records of the leaf that lie in the range: [from, to). */
  from = 0
  to = 0
  reducer = 0
  /** What expires at this time or before is passed over; -Infinity in a tree without such records. */
  now = -Infinity
  readonly folding = new Folding()
}

export const way = new Way()

const leafEdge = new KeyScratch()

export const compareBounds = (): number => compareScratch(way.lower, way.upper)

/** A pull begins: what was above its last leaf may have changed. */
export function begin(): void {
  way.taken = -1
}

/** Goes to the leaf that holds the lower bound. */
export function descend(pages: Pages, root: Root, at: number): number {
  let id = nextLeaf() || root.page
  while (enter(pages, id, at)) {
    const { p, words } = way
    const level = Page.level(words, p)
    if (level === 0) {
      touch(pages, way.taken + 1)
      return 0
    }
    id = take(words, p, level, Inner.find(words, p, way.lower))
  }
  return id
}

/** Goes to the leaf that holds the keys just below the upper bound. */
export function descendBelow(pages: Pages, root: Root, at: number): number {
  let id = previousLeaf() || root.page
  while (enter(pages, id, at)) {
    const { p, words } = way
    const level = Page.level(words, p)
    if (level === 0) {
      touch(pages, way.taken - 1)
      return 0
    }
    let index = way.bounded ? Inner.find(words, p, way.upper) : Page.count(words, p)
    if (way.bounded && index > 0 && isUpper(words, p, index - 1)) index--
    id = take(words, p, level, index)
  }
  return id
}

/** Whether the upper bound is a separator of a node. */
function isUpper(words: Int32Array, p: number, separator: number): boolean {
  const { key, upper } = way
  Inner.separator(words, p, separator, key)
  return compareScratch(key, upper) === 0
}

/** The child of a node to go to. */
function take(words: Int32Array, p: number, level: number, index: number): number {
  if (level === 1) {
    way.above = words
    way.aboveAt = p
    way.taken = index
  }
  return Inner.child(words, p, index)
}

/** The leaf to the right of the one at hand, if the node above knows it and the lower bound lies in it; else 0. */
function nextLeaf(): number {
  const { above, aboveAt, lower, taken } = way
  if (taken < 0 || taken >= Page.count(above, aboveAt)) return 0
  return Inner.find(above, aboveAt, lower) === taken + 1 ? take(above, aboveAt, 1, taken + 1) : 0
}

/** The leaf to the left of the one at hand, if the node above knows it and it ends at the upper bound; else 0. */
function previousLeaf(): number {
  const { above, aboveAt, taken } = way
  if (taken <= 0 || !way.bounded || !isUpper(above, aboveAt, taken - 1)) return 0
  return take(above, aboveAt, 1, taken - 1)
}

/** Reads the first lines of the leaf that is likely to be the next one, while there is work in the one at hand. */
function touch({ arena, map }: Pages, index: number): void {
  const { above, aboveAt, taken } = way
  if (taken < 0 || index < 0 || index > Page.count(above, aboveAt)) return
  const address = map.block[Inner.child(above, aboveAt, index)] as number
  if (address < 0) return
  const words = arena.wordsOf(address)
  const p = address & arena.mask
  Touch.keep((words[p + 1] as number) ^ Touch.slots(words, p) ^ (words[p + arena.pageWords - 1] as number))
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
export function bound(): void {
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

/** Whether what follows the leaf is not beyond what was looked for in it: the leaf is not the one of its place. */
export function leadsBack(order: Window["order"]): boolean {
  const { bounded, lower, p, upper, words } = way
  if (order === "ascending") {
    const high = Page.highBytes(words, p)
    return high !== Page.unbounded
      && compareKeys(words, p + Page.highAt(words, p), high, lower.words, 0, lower.length) <= 0
  }
  const low = Page.lowBytes(words, p)
  return low > 0 && bounded
    && compareKeys(words, p + Page.lowAt(words, p), low, upper.words, 0, upper.length) >= 0
}

/** Moves the lower bound to the next leaf; false where there is none. */
export function toNextLeaf(): boolean {
  const { p, words } = way
  const high = Page.highBytes(words, p)
  if (high === Page.unbounded) return false
  way.lower.assemble(words, 0, 0, words, p + Page.highAt(words, p), high)
  return true
}

/** Moves the upper bound to the previous leaf; false where there is none. */
export function toPreviousLeaf(): boolean {
  const { p, words } = way
  const low = Page.lowBytes(words, p)
  if (low === 0) return false
  way.upper.assemble(words, 0, 0, words, p + Page.lowAt(words, p), low)
  way.bounded = true
  return true
}

/** What is left of the range in the leaf. */
export function windowOf(treeId: number, order: Window["order"], at: number): Window {
  const { bounded, lower, p, upper, words } = way
  const window = { treeId, lower, upper: bounded ? upper : undefined, order, at }
  if (order === "descending") {
    leafEdge.assemble(words, 0, 0, words, p + Page.lowAt(words, p), Page.lowBytes(words, p))
    return compareScratch(leafEdge, lower) > 0 ? { ...window, lower: leafEdge } : window
  }
  const high = Page.highBytes(words, p)
  if (high === Page.unbounded) return window
  leafEdge.assemble(words, 0, 0, words, p + Page.highAt(words, p), high)
  return bounded && compareScratch(upper, leafEdge) <= 0 ? window : { ...window, upper: leafEdge }
}

const compareScratch = (a: KeyScratch, b: KeyScratch): number =>
  compareKeys(a.words, 0, a.length, b.words, 0, b.length)

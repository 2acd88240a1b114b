/**
 * Merging pages that have become too empty.
 *
 * A page less than a quarter full is merged with a neighbour under the same parent where both fit in three quarters: a
 * merged page can take many inserts before it is split, and a split page many removals before it is merged, so that
 * work at the border does not go back and forth. A page with nothing in it is merged wherever it fits at all.
 *
 * Neighbours are looked at only in memory: an underfull page is no reason to read the disk.
 *
 * I1 The left page survives with both ranges; the right one's id is freed. Neither has a mini-page.
 * I2 A root with one child is replaced by it.
 */
import { State } from "../memory/MapTable.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import { commonBytes } from "../page/Search.ts"
import type { Ground } from "./Split.ts"

const { headerWords } = Page

/** Repairs the path on the bench, from the leaf at its end up, after a removal. */
export function mergeUp(ground: Ground, root: Root): void {
  const { bench } = ground
  for (let depth = bench.depth; depth > 0; depth--) {
    if (!isUnderfull(ground, bench.ids[depth] as number)) break
    const parent = bench.ids[depth - 1] as number
    const index = bench.taken[depth - 1] as number
    const last = countOf(ground, parent)
    const merged = index < last && mergeAt(ground, root, parent, index)
      || index > 0 && mergeAt(ground, root, parent, index - 1)
    // A page without neighbours under its parent: the parent has to find some.
    if (!merged && last > 0) break
  }
  shrinkRoot(ground, root)
}

function countOf(ground: Ground, id: number): number {
  const address = ground.pages.map.block[id] as number
  return Page.count(ground.pages.arena.wordsOf(address), address & ground.pages.arena.mask)
}

/** Whether a page in memory is less than a quarter full. */
export function isUnderfull(ground: Ground, id: number): boolean {
  const { arena, map } = ground.pages
  const address = map.block[id] as number
  const words = arena.wordsOf(address)
  const p = address & arena.mask
  const used = Page.level(words, p) === 0 ? Leaf.used(words, p) : Inner.used(words, p)
  return used * 4 < Page.size(words, p) || Page.count(words, p) === 0
}

/** Merges the children on both sides of separator `index`; false where they are not in memory or do not fit. */
function mergeAt(ground: Ground, root: Root, parentId: number, index: number): boolean {
  const { arena, map } = ground.pages
  const parentAddress = map.block[parentId] as number
  const parent = arena.wordsOf(parentAddress)
  const q = parentAddress & arena.mask
  const leftId = Inner.child(parent, q, index)
  const rightId = Inner.child(parent, q, index + 1)
  const leftAddress = map.block[leftId] as number
  const rightAddress = map.block[rightId] as number
  if (leftAddress < 0 || rightAddress < 0) return false
  // The prefix of a mini-page is that of its leaf's bounds, which this would widen.
  if ((((map.state[leftId] as number) | (map.state[rightId] as number)) & State.Mini) !== 0) return false
  Inner.separator(parent, q, index, ground.bench.separator)
  const left = arena.wordsOf(leftAddress)
  const p = leftAddress & arena.mask
  const right = arena.wordsOf(rightAddress)
  const r = rightAddress & arena.mask
  const level = Page.level(left, p)
  const merged = level === 0
    ? mergeLeaves(ground, leftId, left, p, right, r)
    : mergeInner(ground, leftId, left, p, right, r)
  if (!merged) return false
  map.state[leftId] = (map.state[leftId] as number) | State.Mutable
  const lsn = Page.pageLsn(right, r)
  ground.pages.deadlines.inherit(leftId, rightId)
  ground.pages.free(rightId)
  Page.raisePageLsn(left, p, lsn)
  ground.pages.touch(parentId)
  Inner.remove(parent, q, index)
  if (ground.events.enabled) {
    const count = Page.count(left, p)
    ground.events.push({ _tag: "Merge", treeId: root.treeId, level, left: leftId, right: rightId, count })
  }
  return true
}

function mergeLeaves(
  ground: Ground,
  leftId: number,
  left: Int32Array,
  p: number,
  right: Int32Array,
  r: number
): boolean {
  const { bench } = ground
  const low = bench.loadLow(left, p)
  const high = bench.loadHigh(right, r)
  const common = high === undefined
    ? 0
    : commonBytes(low.words, 0, low.length, high.words, 0, high.length)
  const skip = common >>> 2
  const taken = recordsWords(left, p, skip) + recordsWords(right, r, skip)
  const fences = Page.paddedWords(low.length) + (high === undefined ? 0 : Page.paddedWords(high.length))
  const spare = Page.size(left, p) - headerWords - fences - taken
  const empty = Page.count(left, p) === 0 || Page.count(right, r) === 0
  if (empty ? spare < 0 : spare * 4 < Page.size(left, p)) return false
  ground.pages.touch(leftId)
  const first = bench.copy("left", left, p)
  const second = bench.copy("right", right, r)
  const count = Page.count(first, 0) + Page.count(second, 0)
  Page.clear(left, p)
  Page.setFences(left, p, low, high)
  Page.setCounts(left, p, 0, Leaf.slotsFor(count, taken, spare))
  Leaf.append(left, p, first, 0, 0, Page.count(first, 0))
  Leaf.append(left, p, second, 0, 0, Page.count(second, 0))
  return true
}

/** Words of a leaf's records with their slots, in a page whose prefix has `skip` whole words. */
function recordsWords(words: Int32Array, p: number, skip: number): number {
  const count = Page.count(words, p)
  let total = count * (Page.slotWords + (Page.prefixBytes(words, p) >>> 2) - skip)
  for (let index = 0; index < count; index++) {
    total += Leaf.recordWords(words, Leaf.recordAt(words, p, index), Page.slotBytes(words, p, index))
  }
  return total
}

function mergeInner(
  ground: Ground,
  leftId: number,
  left: Int32Array,
  p: number,
  right: Int32Array,
  r: number
): boolean {
  const { bench } = ground
  const first = bench.copy("left", left, p)
  const second = bench.copy("right", right, r)
  const entries = bench.entries.ofMerge(first, 0, bench.separator, second, 0)
  const taken = entries.words(0, entries.count)
  const size = Page.size(left, p)
  const empty = Page.count(left, p) === 0 || Page.count(right, r) === 0
  if (empty ? taken > size : taken * 4 > size * 3) return false
  ground.pages.touch(leftId)
  Page.clear(left, p)
  entries.fill(left, p, 0, entries.count)
  return true
}

function shrinkRoot(ground: Ground, root: Root): void {
  const { arena, map } = ground.pages
  while (true) {
    const address = map.block[root.page] as number
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    if (Page.level(words, p) === 0 || Page.count(words, p) > 0) return
    const freed = root.page
    root.page = Inner.child(words, p, 0)
    ground.pages.free(freed)
    if (ground.events.enabled) {
      ground.events.push({ _tag: "RootShrunk", treeId: root.treeId, page: root.page, freed })
    }
    // The child need not be in memory; if it has one child itself, the next removal sees to it.
    if ((map.block[root.page] as number) < 0) return
  }
}

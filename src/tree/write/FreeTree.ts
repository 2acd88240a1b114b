/**
 * Taking a whole tree down, in slices, while the rest of the store goes on.
 *
 * The tree shrinks from its right end: leaves are freed by the ids that their parents hold, without being loaded, and
 * each parent forgets them. Between slices it is a smaller tree, so a checkpoint in between is as good as any other.
 *
 * I1 Nobody reads the tree any more: no root record and no snapshot leads to it.
 */
import type { Pages } from "../memory/Pages.ts"
import * as Inner from "../page/Inner.ts"
import * as Page from "../page/Page.ts"

/** Frees about `budget` pages: 0 = all are freed, -1 = there are more, above 0 = a page to be loaded first. */
export function freeSlice(pages: Pages, root: number, budget: number): number {
  const { arena, map } = pages
  for (let left = budget; left > 0;) {
    const path: Array<number> = []
    for (let id = root;;) {
      const address = map.block[id] as number
      if (address < 0) return id
      path.push(id)
      const words = arena.wordsOf(address)
      const p = address & arena.mask
      if (Page.level(words, p) <= 1) break
      id = Inner.child(words, p, Page.count(words, p))
    }
    left -= freeLeaves(pages, path.at(-1) as number, left)
    if (isBare(pages, path.at(-1) as number) && freeUp(pages, path)) return 0
  }
  return -1
}

/** Frees leaves below a node of level 1 from the right, all but the first; answers how many pages that were. */
function freeLeaves(pages: Pages, id: number, budget: number): number {
  const address = pages.map.block[id] as number
  const words = pages.arena.wordsOf(address)
  const p = address & pages.arena.mask
  if (Page.level(words, p) === 0) return 1
  let freed = 0
  if (Page.count(words, p) > 0) pages.touch(id)
  for (let count = Page.count(words, p); count > 0 && freed < budget; count--, freed++) {
    pages.free(Inner.child(words, p, count))
    Inner.remove(words, p, count - 1)
  }
  return freed + 1
}

/** Whether a page is a leaf, or a node with one child left. */
function isBare(pages: Pages, id: number): boolean {
  const address = pages.map.block[id] as number
  const words = pages.arena.wordsOf(address)
  const p = address & pages.arena.mask
  return Page.level(words, p) === 0 || Page.count(words, p) === 0
}

/** Frees the bare page at the end of a path and every ancestor that had no other child; true if that was the root. */
function freeUp(pages: Pages, path: Array<number>): boolean {
  const last = path.pop() as number
  const address = pages.map.block[last] as number
  const words = pages.arena.wordsOf(address)
  const p = address & pages.arena.mask
  if (Page.level(words, p) > 0) pages.free(Inner.child(words, p, 0))
  pages.free(last)
  for (let id = path.pop(); id !== undefined; id = path.pop()) {
    const address = pages.map.block[id] as number
    const words = pages.arena.wordsOf(address)
    const p = address & pages.arena.mask
    const count = Page.count(words, p)
    if (count > 0) {
      pages.touch(id)
      Inner.remove(words, p, count - 1)
      return false
    }
    pages.free(id)
  }
  return true
}

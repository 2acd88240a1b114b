/**
 * Resolving what blind writes left open: whether the base page has their keys, so that records can be counted.
 *
 * I1 A status is written only from a base page that is in memory, and the mini-page counts as changed: its packed image
 *    says otherwise.
 */
import { State } from "../memory/MapTable.ts"
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as MiniPage from "../page/MiniPage.ts"
import * as Page from "../page/Page.ts"

const key = new KeyScratch()

/** Resolves the records of a tree, from page id `from` on: 0 = done, or a base page that must be loaded first. */
export function resolveFrom(pages: Pages, root: Root, from: number): number {
  const { arena, map } = pages
  for (let id = from; id < map.bound && root.unresolved > 0; id++) {
    if (((map.state[id] as number) & State.Mini) === 0) continue
    const address = map.mini[id] as number
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    if (Page.treeId(words, p) !== root.treeId || !hasUnresolved(words, p)) continue
    if ((map.block[id] as number) < 0) return id
    pages.touchMini(id)
    resolveMini(pages, root, map.block[id] as number, words, p)
  }
  return 0
}

function hasUnresolved(words: Int32Array, p: number): boolean {
  for (let index = 0; index < Page.count(words, p); index++) {
    if (MiniPage.isUnresolved(words, Leaf.recordAt(words, p, index))) return true
  }
  return false
}

function resolveMini(pages: Pages, root: Root, address: number, words: Int32Array, p: number): void {
  const base = pages.arena.wordsOf(address)
  for (let index = 0; index < Page.count(words, p); index++) {
    const record = Leaf.recordAt(words, p, index)
    if (!MiniPage.isUnresolved(words, record)) continue
    Leaf.loadKey(words, p, index, key)
    const found = Leaf.find(base, address & pages.arena.mask, key) >= 0
    MiniPage.settle(words, record, found ? "replaces" : "isNew")
    root.unresolved--
    root.count += MiniPage.countAt(words, record)
  }
}

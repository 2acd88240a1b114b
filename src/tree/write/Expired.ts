/**
 * What has expired in a leaf, base page and mini-page together.
 *
 * I1 A key is answered for its newest record: what a mini-page says of it hides the base page's.
 *
 * It must not know what becomes of what it finds.
 */
import { State } from "../memory/MapTable.ts"
import type { Pages } from "../memory/Pages.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"

const key = new KeyScratch()

/** A leaf that was looked through; filled again and again. */
export class Expired {
  /** The tree that the leaf is of. */
  treeId = 0
  /** Keys of records that have expired, as bytes of their own. */
  keys: Array<Uint8Array> = []
  /** When the first of the other records expires. */
  next = Infinity

  /** Looks through a page, at time `now`: false where its base page must be in memory first. */
  look(pages: Pages, id: number, now: number): boolean {
    const { arena, map } = pages
    this.keys = []
    this.next = Infinity
    this.treeId = 0
    if (!map.isUsed(id) || ((map.state[id] as number) & State.Inner) !== 0) return true
    const address = map.block[id] as number
    if (address < 0) return false
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    if (Page.level(words, p) > 0) return true
    this.treeId = Page.treeId(words, p)
    const mini = map.mini[id] as number
    const own = mini < 0 ? words : arena.wordsOf(mini)
    const m = mini & arena.mask
    if (mini >= 0) this.take(own, m, now)
    for (let index = 0; index < Page.count(words, p); index++) {
      const record = Leaf.recordAt(words, p, index)
      if (((words[record] as number) >>> 24 & Leaf.expires) === 0) continue
      Leaf.loadKey(words, p, index, key)
      if (mini < 0 || Leaf.find(own, m, key) < 0) this.takeRecord(words, p, index, now)
    }
    return true
  }

  private take(words: Int32Array, p: number, now: number): void {
    for (let index = 0; index < Page.count(words, p); index++) {
      const record = Leaf.recordAt(words, p, index)
      if (((words[record] as number) >>> 24 & Leaf.expires) === 0) continue
      Leaf.loadKey(words, p, index, key)
      this.takeRecord(words, p, index, now)
    }
  }

  /** Takes record `index`, whose key is loaded. */
  private takeRecord(words: Int32Array, p: number, index: number, now: number): void {
    const expiry = Leaf.expiryAt(words, Leaf.recordAt(words, p, index), Page.slotBytes(words, p, index))
    if (expiry > now) this.next = Math.min(this.next, expiry)
    else this.keys.push(key.toBytes())
  }
}

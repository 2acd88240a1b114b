/**
 * Many keys at once: a group of them goes down the tree together, a level per round.
 *
 * A get is a chain of loads that wait for each other, and in a tree that the processor's caches do not hold most of its
 * time is that wait. The ways of different keys do not depend on each other: each round first touches the next page of
 * every key, then searches them one after another, so that the misses of the whole group overlap (Chen, Gibbons and
 * Mowry, Improving Index Performance through Prefetching, 2001, do it with prefetch instructions).
 *
 * ```
 *   load ─▶ `Hinted.ts` ─▶ locate ─▶ step ─▶ … ─▶ search ─▶ touchRecords ─▶ answer
 *               │             ▲        │   until all are at leaves
 *               ▼             └────────┘
 *        answered, where a key was found lately
 * ```
 *
 * A processor looks a few hundred instructions ahead. So what touches stands in loops of its own with little else in
 * them, one for each chunk of the memory, as what is looked up per key otherwise is as long as the search.
 *
 * I1 Every key is answered as a get would answer it, alone and at this moment. The record that was touched for it is
 *    the answer where its leaf is in place, and it is the key's and old enough; all else is the work of `Lookup.ts`.
 * I2 Nothing that a lookup leaves behind (copies in mini-pages) changes the leaf that another key has come to: pages
 *    are named by their ids, and where a page is and whether it is in place is looked at anew.
 */
import { isInPlace, usedOnce } from "../memory/MapTable.ts"
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import { compareKeys } from "../page/Search.ts"
import * as Touch from "../page/Touch.ts"
import { Found, inScratch, Missing } from "./Answer.ts"
import { GroupKeys, groupKeys } from "./GroupKeys.ts"
import { Hinted } from "./Hinted.ts"
import type { Lookup } from "./Lookup.ts"
import type { Many } from "./Many.ts"

/** The way of one group; made once, as groups never nest. */
export class Group {
  private readonly pages: Pages
  private readonly keys = new GroupKeys()
  private readonly hinted: Hinted
  /** The page that each key has come to, and the address of it or, where that is not in memory, of its mini-page. */
  private readonly ids = new Int32Array(groupKeys)
  private readonly addresses = new Int32Array(groupKeys)
  /** Where each key's search by heads has ended in its leaf. */
  private readonly lowers = new Int32Array(groupKeys)
  /** For a key that is looked up alone. */
  private readonly key = new KeyScratch()

  constructor(pages: Pages) {
    this.pages = pages
    this.hinted = new Hinted(pages)
  }

  /** Looks up the keys that `many` waits for: Found, or Missing where some of them miss a page. */
  getMany(
    lookup: Lookup,
    root: Root,
    keys: ReadonlyArray<Uint8Array>,
    at: number,
    many: Many
  ): number {
    const { waits } = many
    // Groups of one size: the last one would have little to overlap.
    const size = Math.ceil(waits / Math.ceil(waits / groupKeys))
    for (let from = 0; from < waits; from += size) {
      this.keys.load(keys, many, from, Math.min(size, waits - from))
      this.hinted.answer(lookup, root, at, many, this.keys)
      const { count } = this.keys
      if (count === 0) continue
      this.descend(root, count)
      this.search(count)
      this.touchRecords(count)
      this.answer(lookup, root, at, many)
    }
    many.waits = 0
    return many.misses ? Missing : Found
  }

  /** Brings `count` keys to their leaves, or to pages that are not in memory. */
  private descend(root: Root, count: number): void {
    const { ids } = this
    for (let index = 0; index < count; index++) ids[index] = root.page
    do this.locate(count)
    while (this.step(count))
  }

  /** Finds the pages of all keys and touches the first line of each. */
  private locate(count: number): void {
    const { arena: { mask, shift, words: chunks }, map: { block, mini } } = this.pages
    const { addresses, ids } = this
    for (let index = 0; index < count; index++) {
      const id = ids[index] as number
      const address = block[id] as number
      addresses[index] = address < 0 ? mini[id] as number : address
    }
    let sum = 0
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      const words = chunks[chunk] as Int32Array
      for (let index = 0; index < count; index++) {
        const address = addresses[index] as number
        if (address >>> shift === chunk) sum ^= words[(address & mask) + 1] as number
      }
    }
    Touch.keep(sum)
  }

  /** Takes keys a level down, and touches the slots of leaves; false where all have come to theirs. */
  private step(count: number): boolean {
    const { mask, shift, words: chunks } = this.pages.arena
    const { addresses, ids, keys: { lengths, starts, words: keys } } = this
    let inner = false
    let sum = 0
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      const words = chunks[chunk] as Int32Array
      for (let index = 0; index < count; index++) {
        const address = addresses[index] as number
        if (address >>> shift !== chunk) continue
        const p = address & mask
        if (Page.level(words, p) === 0) {
          sum ^= Touch.slots(words, p)
          continue
        }
        inner = true
        const taken = Inner.findAt(words, p, keys, starts[index] as number, lengths[index] as number)
        ids[index] = Inner.child(words, p, taken)
      }
    }
    Touch.keep(sum)
    return inner
  }

  /** Searches the heads of all leaves. */
  private search(count: number): void {
    const { mask, shift, words: chunks } = this.pages.arena
    const { addresses, keys: { starts, words: keys }, lowers } = this
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      const words = chunks[chunk] as Int32Array
      for (let index = 0; index < count; index++) {
        const address = addresses[index] as number
        if (address >>> shift !== chunk) continue
        lowers[index] = Leaf.lowerAt(words, address & mask, keys, starts[index] as number)
      }
    }
  }

  /** Touches the record that each key is likely to be. */
  private touchRecords(count: number): void {
    const { mask, shift, words: chunks } = this.pages.arena
    const { addresses, lowers } = this
    let sum = 0
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      const words = chunks[chunk] as Int32Array
      const last = words.length - 1
      for (let index = 0; index < count; index++) {
        const address = addresses[index] as number
        if (address >>> shift !== chunk) continue
        const p = address & mask
        const lower = lowers[index] as number
        const counts = words[p + 6] as number
        if (lower >= (counts & 0xffff)) continue
        const record = p + ((words[p + Page.headerWords + (counts >>> 16) + lower] as number) & 0xffff)
        // The last record of the memory has no line behind it.
        sum ^= (words[record] as number) ^ (words[Math.min(record + 16, last)] as number)
          ^ (words[Math.min(record + 32, last)] as number)
      }
    }
    Touch.keep(sum)
  }

  /** Answers each key. */
  private answer(
    lookup: Lookup,
    root: Root,
    at: number,
    many: Many
  ): void {
    const { ids, key, keys: { count, hashes, lengths, rows, starts, words }, lowers } = this
    for (let index = 0; index < count; index++) {
      const row = rows[index] as number
      if (this.give(lookup, at, many, row, index)) continue
      key.loadWords(words, starts[index] as number, lengths[index] as number)
      const hash = hashes[index] as number
      const answer = lookup.getFrom(root, ids[index] as number, key, hash, lowers[index] as number, at)
      if (answer === Found) lookup.giveTo(many, row)
      else if (answer !== Missing) continue
      else if (lookup.missing === inScratch) many.aside.push(row)
      else many.miss(row, lookup.missing)
    }
  }

  /** Gives a key the record that was touched for it; false where that takes more of a look. */
  private give(lookup: Lookup, at: number, many: Many, row: number, index: number): boolean {
    const { keys, pages: { arena: { mask, shift, words: chunks }, map } } = this
    const id = this.ids[index] as number
    const address = this.addresses[index] as number
    const state = map.state[id] as number
    if (address < 0 || !isInPlace(state) || map.block[id] !== address) return false
    const words = chunks[address >>> shift] as Int32Array
    const p = address & mask
    const counts = words[p + 6] as number
    const lower = this.lowers[index] as number
    if (lower >= (counts & 0xffff)) return false
    const slot = words[p + Page.headerWords + (counts >>> 16) + lower] as number
    const record = p + (slot & 0xffff)
    const skip = ((words[p + 8] as number) & 0xffff) >>> 2
    const start = (keys.starts[index] as number) + skip
    const stored = (keys.lengths[index] as number) - (skip << 2)
    const keyAt = record + Page.recordHeaderWords
    if (compareKeys(keys.words, start, stored, words, keyAt, slot >>> 16) !== 0) return false
    if (Leaf.versionAt(words, record) >= at) return false
    map.state[id] = usedOnce(state)
    lookup.hits.leaf++
    lookup.hints.note(keys.hashes[index] as number, id, words, p, lower)
    lookup.giveRecord(many, row, words, record, stored)
    return true
  }
}

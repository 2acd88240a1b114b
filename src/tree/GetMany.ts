/**
 * Many keys at once: a group of them goes down the tree together, a level per round.
 *
 * A get is a chain of loads that wait for each other, and in a tree that the processor's caches do not hold most of its
 * time is that wait. The ways of different keys do not depend on each other: each round first touches the next page of
 * every key, then searches them one after another, so that the misses of the whole group overlap (Chen, Gibbons and
 * Mowry, Improving Index Performance through Prefetching, 2001, do it with prefetch instructions).
 *
 * I1 Every key is answered as a get would answer it, alone and at this moment: what it finds in its leaf is the work of
 *    `Lookup.ts`.
 * I2 Nothing that a lookup leaves behind (copies in mini-pages) changes the leaf that another key has come to: pages
 *    are named by their ids, and addresses are looked at anew.
 */
import { Found, inScratch, Missing } from "./Answer.ts"
import * as Inner from "./Inner.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import type { Lookup } from "./Lookup.ts"
import type { Many } from "./Many.ts"
import type { Pages } from "./Pages.ts"
import type { Root } from "./Split.ts"

/** Keys that go together: more than the misses that a core can have under way, few enough for its first cache. */
const groupKeys = 16

/** Where touched words go: a store that is never read keeps the loads that it depends on. */
const sink = new Int32Array(1)

/** The way of one group; made once, as groups never nest. */
export class Group {
  private readonly pages: Pages
  private readonly keys = Array.from({ length: groupKeys }, () => new KeyScratch())
  /** The page that each key has come to, and its address: -1 = not in memory. */
  private readonly ids = new Int32Array(groupKeys)
  private readonly addresses = new Int32Array(groupKeys)
  /** Where each key's search in its leaf goes on. */
  private readonly lowers = new Int32Array(groupKeys)

  constructor(pages: Pages) {
    this.pages = pages
  }

  /** Looks up the keys that `many` waits for: Found, or Missing where some of them miss a page. */
  getMany(
    lookup: Lookup,
    root: Root,
    keys: ReadonlyArray<Uint8Array>,
    at: number,
    many: Many
  ): number {
    const { waiting, waits } = many
    for (let from = 0; from < waits; from += groupKeys) {
      const count = Math.min(groupKeys, waits - from)
      for (let index = 0; index < count; index++) {
        this.key(index).load(keys[waiting[from + index] as number] as Uint8Array)
      }
      this.descend(root, count)
      this.aim(count)
      for (let index = 0; index < count; index++) {
        const answer = lookup.getFrom(
          root,
          this.ids[index] as number,
          this.key(index),
          this.lowers[index] as number,
          at
        )
        if (answer === Found) lookup.giveTo(many, waiting[from + index] as number)
        else if (answer !== Missing) continue
        else if (lookup.missing === inScratch) many.aside.push(waiting[from + index] as number)
        else many.miss(waiting[from + index] as number, lookup.missing)
      }
    }
    many.waits = 0
    return many.misses ? Missing : Found
  }

  private key(index: number): KeyScratch {
    return this.keys[index] as KeyScratch
  }

  /** Brings `count` keys to their leaves, or to pages that are not in memory. */
  private descend(root: Root, count: number): void {
    const { arena } = this.pages
    const { addresses, ids } = this
    for (let index = 0; index < count; index++) ids[index] = root.page
    for (let inner = true; inner;) {
      inner = false
      this.touch(count)
      for (let index = 0; index < count; index++) {
        const address = addresses[index] as number
        if (address < 0) continue
        const words = arena.words[address >>> arena.shift] as Int32Array
        const p = address & arena.mask
        if (((words[p + 1] as number) & 0xff0000) === 0) continue
        inner = true
        ids[index] = Inner.child(words, p, Inner.find(words, p, this.key(index)))
      }
    }
  }

  /** Searches the heads of all leaves and touches the record that each key is likely to be. */
  private aim(count: number): void {
    const { arena } = this.pages
    const { addresses, lowers } = this
    for (let index = 0; index < count; index++) {
      const address = addresses[index] as number
      if (address < 0) continue
      const words = arena.words[address >>> arena.shift] as Int32Array
      const p = address & arena.mask
      const lower = Leaf.lower(words, p, this.key(index))
      Leaf.touchRecord(words, p, lower)
      lowers[index] = lower
    }
  }

  /**
   * Finds the pages of all keys and reads a word of each of their first lines. First one line of every page, in a loop
   * so short that many of its rounds are under way at a time.
   */
  private touch(count: number): void {
    const { arena, map } = this.pages
    const { addresses, ids } = this
    let sum = 0
    for (let index = 0; index < count; index++) {
      const address = map.block[ids[index] as number] as number
      addresses[index] = address
      if (address < 0) continue
      const words = arena.words[address >>> arena.shift] as Int32Array
      sum = sum + (words[(address & arena.mask) + 1] as number) | 0
    }
    for (let index = 0; index < count; index++) {
      const address = addresses[index] as number
      if (address < 0) continue
      const words = arena.words[address >>> arena.shift] as Int32Array
      const p = address & arena.mask
      sum = sum + (words[p + 24] as number) + (words[p + 40] as number) + (words[p + 56] as number)
          + (words[p + 72] as number) | 0
    }
    sink[0] = sum
  }
}

/**
 * The short way of a group of keys: those that were found lately are answered from where they were found (`Hints.ts`).
 *
 * ```
 *   hash ─▶ locate ─▶ touch ─▶ answer ─▶ answered: gone from the group
 *                                  └───▶ left, with their hashes, for the way down (`GetMany.ts`)
 * ```
 *
 * As on the way down, what touches memory that is far away stands in loops of its own, so that the misses of all keys
 * overlap: first the entries of the table, then of each page the header, the slot's meta and the record.
 *
 * I1 Only a record whose slot and key are right, and which is old enough, is an answer; all else is left.
 */
import { isInPlace, usedOnce } from "../memory/MapTable.ts"
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import * as Touch from "../page/Touch.ts"
import { hashAt } from "../past/VersionTable.ts"
import type { GroupKeys } from "./GroupKeys.ts"
import { groupKeys } from "./GroupKeys.ts"
import type { Lookup } from "./Lookup.ts"
import type { Many } from "./Many.ts"

const nowhere = -1

export class Hinted {
  private readonly pages: Pages
  private readonly ids = new Int32Array(groupKeys)
  private readonly addresses = new Int32Array(groupKeys)
  private readonly metas = new Int32Array(groupKeys)
  private readonly offs = new Int32Array(groupKeys)

  constructor(pages: Pages) {
    this.pages = pages
  }

  /** Answers what it can of a group, and takes that out of it. */
  answer(lookup: Lookup, root: Root, at: number, many: Many, keys: GroupKeys): void {
    const { hints } = lookup
    if (!hints.isAsked(root, hints.reads, keys.count)) return
    this.hash(lookup, root, keys)
    this.locate(lookup, keys)
    this.touch(keys.count)
    let left = 0
    for (let index = 0; index < keys.count; index++) {
      if (!this.give(lookup, root, at, many, keys, index)) keys.keep(index, left++)
    }
    hints.reads.found += keys.count - left
    hints.reads.inVain += left
    keys.count = left
  }

  private hash({ hints: { mask, words } }: Lookup, { treeId }: Root, keys: GroupKeys): void {
    let sum = 0
    for (let index = 0; index < keys.count; index++) {
      const hash = hashAt(treeId, keys.words, keys.starts[index] as number, keys.lengths[index] as number)
      keys.hashes[index] = hash
      sum ^= words[hash & mask] as number
    }
    Touch.keep(sum)
  }

  /** Finds where the keys are said to be, of which most pages are in place. */
  private locate({ hints }: Lookup, keys: GroupKeys): void {
    const { arena, map: { block, state } } = this.pages
    const { addresses, ids, metas, offs } = this
    const { words } = hints
    const idShift = Math.log2(arena.pageWords)
    for (let index = 0; index < keys.count; index++) {
      addresses[index] = nowhere
      const entry = hints.entryOf(keys.hashes[index] as number)
      if (entry < 0) continue
      const place = words[entry + 1] as number
      const id = place >>> idShift
      if (!isInPlace(state[id] as number)) continue
      ids[index] = id
      addresses[index] = block[id] as number
      metas[index] = hints.metaOf(entry)
      offs[index] = place & arena.pageWords - 1
    }
  }

  private touch(count: number): void {
    const { mask, shift, words: chunks } = this.pages.arena
    const { addresses, metas, offs } = this
    let sum = 0
    for (let chunk = 0; chunk < chunks.length; chunk++) {
      const words = chunks[chunk] as Int32Array
      const last = words.length - 1
      for (let index = 0; index < count; index++) {
        const address = addresses[index] as number
        if (address >>> shift !== chunk) continue
        const p = address & mask
        const record = p + (offs[index] as number)
        // `Touch.record`, written out: as a call it takes a fifth longer, since V8 does not inline it here. The last
        // record of the memory has no line behind it.
        sum ^= (words[p + 1] as number) ^ (words[p + (metas[index] as number)] as number)
          ^ (words[record] as number) ^ (words[Math.min(record + 16, last)] as number)
          ^ (words[Math.min(record + 32, last)] as number)
      }
    }
    Touch.keep(sum)
  }

  /** Gives a key the record that it is said to have; false where it has not, or where that takes more of a look. */
  private give(
    lookup: Lookup,
    { treeId }: Root,
    at: number,
    many: Many,
    keys: GroupKeys,
    index: number
  ): boolean {
    const { arena: { mask, shift, words: chunks }, map } = this.pages
    const address = this.addresses[index] as number
    if (address < 0) return false
    const words = chunks[address >>> shift] as Int32Array
    const p = address & mask
    const start = keys.starts[index] as number
    const length = keys.lengths[index] as number
    if (!Leaf.mayHaveAt(words, p, treeId, keys.words, start, length)) return false
    const off = this.offs[index] as number
    const meta = this.metas[index] as number
    const { places } = lookup.hints
    const slot = Leaf.slotWith(words, p, keys.words, start, length, meta, places.count(meta), off)
    const record = p + off
    if (slot < 0 || Leaf.versionAt(words, record) >= at) return false
    const id = this.ids[index] as number
    map.state[id] = usedOnce(map.state[id] as number)
    lookup.hits.leaf++
    lookup.giveRecord(many, keys.rows[index] as number, words, record, Page.slotBytes(words, p, slot))
    return true
  }
}

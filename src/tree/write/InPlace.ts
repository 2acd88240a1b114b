/**
 * Writing to a leaf where it is: one that is in memory and may be changed there.
 *
 * The leaf is the one at the end of the way on the bench.
 *
 * I1 What a record displaces goes to Versions before it is overwritten.
 * I2 Versions of a key ascend: what is written is not older than what it displaces.
 */
import { invariant } from "../../Invariant.ts"
import type { Root } from "../memory/Root.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import { Folding } from "../page/Operand.ts"
import * as Page from "../page/Page.ts"
import type { ValueIn } from "../page/ValueIn.ts"
import { Absent, Added, Again, NoSpace, Removed, Replaced } from "../read/Answer.ts"
import { balance } from "./Balance.ts"
import { isUnderfull, mergeUp } from "./Merge.ts"
import type { Ground } from "./Split.ts"
import { compact, sequence, splitLeaf } from "./Split.ts"

export class InPlace {
  /** Free blocks to ask for after `NoSpace`. */
  blocksNeeded = 0
  /**
   * What is written comes from the log, or is a mini-page's: then other records may have been current between the base
   * page's and it, which Versions knows of where anybody needs them.
   */
  source: "log" | "miniPage" = "log"
  private readonly ground: Ground
  private readonly folding = new Folding()

  constructor(ground: Ground) {
    this.ground = ground
  }

  /** Writes to the leaf on the bench: Added, Replaced, NoSpace (of blocks, for a split), or Again after a split. */
  put(
    root: Root,
    key: KeyScratch,
    kind: number,
    value: ValueIn,
    version: number,
    expiry: number
  ): number {
    const { bench, pages } = this.ground
    const { arena, map } = pages
    const id = bench.ids[bench.depth] as number
    if (expiry !== Infinity) pages.deadlines.note(id, expiry)
    const address = map.block[id] as number
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    const index = Leaf.find(words, p, key)
    const need = Leaf.neededWords(words, p, key.length, value.length, expiry)
    const answer = index < 0
      ? this.add(words, p, ~index, need, key, kind, value, version, expiry)
      : this.replace(root, words, p, index, need, key, kind, value, version, expiry)
    if (answer === Added) root.count++
    if (answer !== NoSpace) return answer
    const ascends = index < 0 && Page.ascendingRun(words, p, ~index) >= sequence
    if (!ascends && balance(this.ground, need)) return Again
    // One split makes room, or a second one after it; each leaves fewer records in the leaf.
    this.blocksNeeded = bench.depth + 2
    if (arena.available < this.blocksNeeded) return NoSpace
    const replaces = index < 0 ? 0 : this.recordWords(words, p, index)
    splitLeaf(this.ground, root, key, { index: index < 0 ? ~index : index, need, replaces })
    return Again
  }

  /** Overwrites the record at `index` of a leaf; false, and it stays as it is, where the leaf has no room for that. */
  update(
    root: Root,
    id: number,
    index: number,
    key: KeyScratch,
    kind: number,
    value: ValueIn,
    version: number,
    expiry: number
  ): boolean {
    const { pages } = this.ground
    const { arena, map } = pages
    const address = map.block[id] as number
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    const need = Leaf.neededWords(words, p, key.length, value.length, expiry)
    if (expiry !== Infinity) pages.deadlines.note(id, expiry)
    return this.replace(root, words, p, index, need, key, kind, value, version, expiry) === Replaced
  }

  /** Merges an operand into a record, if that has not expired by `millis`; answers as `put` does. */
  reduce(root: Root, key: KeyScratch, operand: Uint8Array, version: number, millis = -Infinity): number {
    const { bench, pages: { arena, map } } = this.ground
    const address = map.block[bench.ids[bench.depth] as number] as number
    const { folding } = this
    const words = arena.wordsOf(address)
    folding.onto(words, address & arena.mask, key, root.reducer, operand, Infinity, millis)
    return this.put(root, key, Leaf.Kind.Value, folding, version, folding.expiry)
  }

  private recordWords(words: Int32Array, p: number, index: number): number {
    return Leaf.recordWords(words, Leaf.recordAt(words, p, index), Page.slotBytes(words, p, index))
  }

  private add(
    words: Int32Array,
    p: number,
    index: number,
    need: number,
    key: KeyScratch,
    kind: number,
    value: ValueIn,
    version: number,
    expiry: number
  ): number {
    const counts = words[p + 6] as number
    const slot = (counts & 0xffff) === counts >>> 16 ? Page.slotWords : 0
    const cramped = Leaf.gap(words, p) < need + slot
    if (cramped && !this.mayCompact(words, p, need + Page.slotWords, 0)) return NoSpace
    this.ground.pages.touch(Page.pageId(words, p))
    if (cramped) compact(this.ground, words, p, need)
    Leaf.insert(words, p, index, need, key, kind, value, version, expiry)
    return Added
  }

  private replace(
    root: Root,
    words: Int32Array,
    p: number,
    index: number,
    need: number,
    key: KeyScratch,
    kind: number,
    value: ValueIn,
    version: number,
    expiry: number
  ): number {
    const had = this.recordWords(words, p, index)
    const cramped = need > had && need > Leaf.gap(words, p)
    if (cramped && !this.mayCompact(words, p, need, had)) return NoSpace
    this.ground.pages.touch(Page.pageId(words, p))
    this.displace(root, words, p, index, key, version)
    if (!cramped) {
      Leaf.replace(words, p, index, need, kind, value, version, expiry)
    } else {
      Leaf.remove(words, p, index)
      compact(this.ground, words, p, need)
      Leaf.insert(words, p, index, need, key, kind, value, version, expiry)
    }
    return Replaced
  }

  /**
   * Whether compaction gives room for `need` words when `freed` more become garbage. If it would gain less than a
   * 32nd of the page, a split is better: a page that stays nearly full would be compacted for every write.
   */
  private mayCompact(words: Int32Array, p: number, need: number, freed: number): boolean {
    if (Leaf.spare(words, p) + freed < need) return false
    const gained = Leaf.spare(words, p) - Leaf.gap(words, p) + freed
    return gained >= Page.size(words, p) >>> 5 || Page.count(words, p) < 2
  }

  /** Hands record `index` to Versions before it goes (I1). */
  displace(root: Root, words: Int32Array, p: number, index: number, key: KeyScratch, version: number): void {
    const record = Leaf.recordAt(words, p, index)
    const from = Leaf.versionAt(words, record)
    invariant(from <= version, "InPlace I2")
    const { versions } = this.ground
    const to = this.source === "log" ? version : versions.nextAfter(root.treeId, key, from, version)
    if (root.reducer !== 0 && this.source === "miniPage") this.settleOperands(root, words, p, index, key)
    versions.displace(root.treeId, key, to, words, record, Page.slotBytes(words, p, index))
  }

  /** Record `index` goes: older operands that readers of the past see on it become values. */
  private settleOperands(root: Root, words: Int32Array, p: number, index: number, key: KeyScratch): void {
    const from = Leaf.versionAt(words, Leaf.recordAt(words, p, index))
    this.ground.versions.settleOperands(root.treeId, key, from, (operand) => {
      const folding = new Folding()
      folding.into(words, p, index, root.reducer, operand)
      return folding
    })
  }

  /** Removes a record, and merges the leaf with a neighbour where it has become too empty: Removed or Absent. */
  remove(root: Root, key: KeyScratch, version: number): number {
    const answer = this.take(root, key, version)
    const { bench } = this.ground
    if (answer === Removed && isUnderfull(this.ground, bench.ids[bench.depth] as number)) {
      mergeUp(this.ground, root)
    }
    return answer
  }

  /** Removes a record: Removed or Absent. */
  take(root: Root, key: KeyScratch, version: number): number {
    const { bench, pages } = this.ground
    const { arena, map } = pages
    const address = map.block[bench.ids[bench.depth] as number] as number
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    const index = Leaf.find(words, p, key)
    if (index < 0) return Absent
    pages.touch(Page.pageId(words, p))
    this.displace(root, words, p, index, key, version)
    Leaf.remove(words, p, index)
    Page.raisePageLsn(words, p, version)
    root.count--
    return Removed
  }
}

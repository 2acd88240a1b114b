/**
 * Merging a mini-page into its base page, which has been loaded for it (Bw-Tree's consolidation; Bf-Tree, 3.3).
 *
 * Each dirty record is written to the base page as if it came from the log, with the version that it has. It may take
 * several splits: a mini-page of half a page and a full base page have the records of one page more. Where blocks run
 * out on the way, what has been moved is taken out of the mini-page, and the rest is merged another time: the leaf is
 * in order at any point.
 *
 * I1 A record is in the base page before it leaves the mini-page, and no reader comes in between.
 * I2 What was used lately stays as a copy, if the leaf was not split.
 */
import { invariant } from "../Invariant.ts"
import { Absent, Again, Missing, NoSpace } from "./Answer.ts"
import type { InPlace } from "./InPlace.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import { State } from "./MapTable.ts"
import { isUnderfull, mergeUp } from "./Merge.ts"
import * as MiniPage from "./MiniPage.ts"
import * as Page from "./Page.ts"
import type { Ground, Root } from "./Split.ts"

const { Flag } = MiniPage
const { Kind } = Leaf

/** Goes down to the leaf of a key, leaving the way on the bench: its id, or Missing. */
export type Descend = (root: Root, key: KeyScratch) => number

export class Consolidation {
  private readonly ground: Ground
  private readonly inPlace: InPlace
  private readonly descend: Descend
  private readonly key = new KeyScratch()

  constructor(ground: Ground, inPlace: InPlace, descend: Descend) {
    this.ground = ground
    this.inPlace = inPlace
    this.descend = descend
  }

  /**
   * Merges the mini-page of a leaf whose base page is in memory: Absent (done), Missing where a page above it is not, or
   * NoSpace of blocks.
   */
  merge(root: Root, id: number): number {
    const { pages } = this.ground
    const { arena, map } = pages
    if (((map.state[id] as number) & State.Mini) === 0) return Absent
    const address = map.mini[id] as number
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    const count = Page.count(words, p)
    if (MiniPage.wantedWords(words, p, "dirty") === 0) {
      pages.forget(id)
      return Absent
    }
    MiniPage.loadKey(words, p, 0, this.key)
    const leaf = this.descend(root, this.key)
    if (leaf < 0) return Missing
    invariant(leaf === id, "Consolidate: a mini-page is its leaf's")
    const { created } = pages
    pages.touchMini(id)
    map.state[id] = (map.state[id] as number) | State.Mutable
    this.inPlace.source = "miniPage"
    const merged = this.moveRecords(root, words, p, count)
    this.inPlace.source = "log"
    if (merged < count) {
      for (let index = 0; index < merged; index++) Leaf.remove(words, p, 0)
      return NoSpace
    }
    this.finish(root, id, words, p, { split: pages.created !== created })
    return Absent
  }

  /** Writes the records to the base page one after another; answers how many that were before blocks ran out. */
  private moveRecords(root: Root, words: Int32Array, p: number, count: number): number {
    for (let index = 0; index < count; index++) {
      const record = Leaf.recordAt(words, p, index)
      if (!MiniPage.isDirty(words, record)) continue
      MiniPage.loadKey(words, p, index, this.key)
      const unresolved = MiniPage.isUnresolved(words, record) ? 1 : 0
      const counted = MiniPage.countAt(words, record)
      // What the record was counted for is counted by what is done now.
      root.unresolved -= unresolved
      root.count -= counted
      if (this.moveRecord(root, words, record, Page.slotBytes(words, p, index)) !== NoSpace) continue
      root.unresolved += unresolved
      root.count += counted
      return index
    }
    return count
  }

  private moveRecord(root: Root, words: Int32Array, record: number, keyBytes: number): number {
    const version = Leaf.versionAt(words, record)
    const kind = Leaf.kindAt(words, record)
    const expiry = Leaf.expiryAt(words, record, keyBytes)
    const from = Leaf.valueAt(words, record, keyBytes) * 4
    const value = new Uint8Array(words.buffer, from, Leaf.valueBytesAt(words, record))
    while (true) {
      const leaf = this.descend(root, this.key)
      invariant(leaf > 0, "Consolidate: the way is in memory")
      if (kind === Kind.Tombstone) return this.inPlace.take(root, this.key, version)
      const answer = this.inPlace.put(root, this.key, kind, value, version, expiry)
      if (answer !== Again) return answer
    }
  }

  /** The mini-page is merged: it ends, or goes on with what was used lately. */
  private finish(
    root: Root,
    id: number,
    words: Int32Array,
    p: number,
    leaf: { readonly split: boolean }
  ): void {
    const { bench, pages } = this.ground
    const { map } = pages
    const copy = bench.mini
    const kept = leaf.split || pages.mode === "pages" ? 0 : MiniPage.wantedWords(words, p, "touched")
    if (kept > 0) copy.set(words.subarray(p, p + Page.size(words, p)))
    pages.end(id)
    pages.rest(id)
    if (kept > 0 && (map.block[id] as number) >= 0 && pages.isGuest(id)) this.keep(root, id, copy, kept)
    if (((map.state[id] as number) & State.Mini) === 0) this.mergeUnderfull(root, id)
  }

  /** What was used lately becomes a copy of what the base page says by now. */
  private keep(root: Root, id: number, copy: Int32Array, kept: number): void {
    const { pages } = this.ground
    const prefixBytes = MiniPage.loadPrefix(copy, 0, this.key)
    if (!pages.begin(id, root.treeId, kept - Page.slotWords, this.key, prefixBytes)) return
    const address = pages.map.mini[id] as number
    const words = pages.arena.wordsOf(address)
    const p = address & pages.arena.mask
    MiniPage.fill(words, p, copy, 0, "touched", 0)
    for (let index = 0; index < Page.count(words, p); index++) {
      const record = Leaf.recordAt(words, p, index)
      const kind = Leaf.kindAt(words, record)
      const gone = kind === Kind.Tombstone || kind === Kind.Phantom
      const head = (words[record] as number) & ~((Flag.isNew | Flag.replaces | Flag.touched) << 24)
      words[record] = gone ? head & ~0xff0000 | Kind.Phantom << 16 : head | Flag.cached << 24
      // A phantom says what is so now, whoever asks: it has no version of its own.
      if (gone) Page.writeLsn(words, record + 1, 0)
    }
  }

  private mergeUnderfull(root: Root, id: number): void {
    const { bench, pages } = this.ground
    if (!pages.map.isUsed(id) || (pages.map.block[id] as number) < 0 || !isUnderfull(this.ground, id)) return
    const address = pages.map.block[id] as number
    const words = pages.arena.wordsOf(address)
    const low = bench.loadLow(words, address & pages.arena.mask)
    this.key.assemble(low.words, 0, 0, low.words, 0, low.length)
    if (this.descend(root, this.key) === id) mergeUp(this.ground, root)
  }
}

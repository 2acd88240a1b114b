/**
 * Merging a mini-page into its base page, which has been loaded for it (Bw-Tree's consolidation; Bf-Tree, 3.3).
 *
 * Each dirty record is written to the base page as if it came from the log, with the version that it has; an operand is
 * folded into what it stands on there. Where not all
 * of them fit, the leaf is split first, and the mini-page with it: what belongs to the new leaf is merged there, or
 * stays in a mini-page of its own for another time. So it may stop after any split for want of blocks.
 *
 * ```
 *   merge ── fits ──▶ records move, the mini-page ends
 *     ▲        └─ not ──▶ split ── right part fits ──▶ its records move ──┐
 *     │                      └─ not ──▶ a mini-page of the right leaf ──┤
 *     └────────────── with the left part ◀─────────────────────────────┘
 * ```
 *
 * I1 At any point a record is in the mini-page of its leaf or in its base page, and counted once.
 * I2 What was used lately, or twice since it was spared last, stays as a copy, if the leaf was not split.
 *
 * Bf-Tree demands of its size classes that a full mini-page merges with at most one split: they must not exceed a page
 * less its header, two of the longest fences and the largest record. With pages of 4 KiB and the default of 984 bytes
 * for keys that is 1,044 bytes, a quarter of a page. Here it is half a page: it takes twice the changes before it must
 * be merged, and a merge may take more than one split.
 */
import { invariant } from "../../Invariant.ts"
import { State } from "../memory/MapTable.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as MiniPage from "../page/MiniPage.ts"
import { valueOf } from "../page/Operand.ts"
import * as Page from "../page/Page.ts"
import { ValueAt } from "../page/ValueIn.ts"
import { Absent, Again, Missing, NoSpace } from "../read/Answer.ts"
import type { InPlace } from "./InPlace.ts"
import { isUnderfull, mergeUp } from "./Merge.ts"
import type { Ground } from "./Split.ts"
import { splitLeaf } from "./Split.ts"

const { Flag } = MiniPage
const { Kind } = Leaf

/** Goes down to the leaf of a key, leaving the way on the bench: its id, or Missing. */
export type Descend = (root: Root, key: KeyScratch) => number

export interface MergeCounters {
  /** Mini-pages that were merged. */
  merges: number
  /** Dirty records of theirs that went to base pages. */
  records: number
  /** Splits that made room for them. */
  splits: number
  /** Records that stayed as copies (I2). */
  kept: number
  /** Mini-pages that were to be merged and had nothing dirty: they were let go. */
  forgotten: number
}

export class Consolidation {
  readonly counters: MergeCounters = { merges: 0, records: 0, splits: 0, kept: 0, forgotten: 0 }
  private readonly ground: Ground
  private readonly inPlace: InPlace
  private readonly descend: Descend
  private readonly key = new KeyScratch()
  private readonly operandKey = new KeyScratch()
  private readonly value = new ValueAt()
  private readonly fitting = new KeyScratch()
  /** Free blocks to ask for after `NoSpace`. */
  blocksNeeded = 0

  constructor(ground: Ground, inPlace: InPlace, descend: Descend) {
    this.ground = ground
    this.inPlace = inPlace
    this.descend = descend
  }

  /**
   * Merges the mini-page of a leaf whose base page is in memory: Absent (done), Missing where a page above it is not,
   * or NoSpace of blocks.
   */
  merge(root: Root, id: number): number {
    const { bench, pages } = this.ground
    const { arena, map } = pages
    if (((map.state[id] as number) & State.Mini) === 0) return Absent
    const address = map.mini[id] as number
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    if (MiniPage.wantedWords(words, p, "dirty") === 0) {
      this.forget(root, id, Page.count(words, p))
      return Absent
    }
    Leaf.loadKey(words, p, 0, this.key)
    const leaf = this.descend(root, this.key)
    if (leaf < 0) return Missing
    invariant(leaf === id, "Consolidate: a mini-page is its leaf's")
    const { records, splits } = this.counters
    pages.touchMini(id)
    map.state[id] = (map.state[id] as number) | State.Mutable
    while (!this.fits(id, words, p, 0)) {
      // A split, and a frame for what is left to the right.
      this.blocksNeeded = bench.depth + 3
      if (arena.available < this.blocksNeeded) {
        pages.rest(id)
        return NoSpace
      }
      this.split(root, id, words, p)
      if (Page.count(words, p) === 0) break
      Leaf.loadKey(words, p, 0, this.key)
      this.descend(root, this.key)
    }
    this.moveRecords(root, words, p, 0)
    const kept = this.finish(root, id, words, p, { split: this.counters.splits !== splits })
    this.counters.merges++
    this.counters.kept += kept
    this.tell(root, id, { records, splits, kept })
    return Absent
  }

  private forget({ treeId }: Root, page: number, records: number): void {
    const { events, pages } = this.ground
    pages.forget(page)
    this.counters.forgotten++
    if (events.heard) events.tell({ _tag: "Evicted", treeId, page, what: "miniPage", records })
  }

  /** Tells of a merge that has ended; `records` and `splits` are counts from before it. */
  private tell(
    { treeId }: Root,
    page: number,
    { kept, records, splits }: { readonly records: number; readonly splits: number; readonly kept: number }
  ): void {
    const { counters, ground: { events } } = this
    if (!events.heard) return
    events.tell({
      _tag: "Consolidated",
      treeId,
      page,
      records: counters.records - records,
      splits: counters.splits - splits,
      kept
    })
  }

  /** Whether the dirty records of a mini-page from `from` on are sure to fit a base page. */
  private fits(id: number, words: Int32Array, p: number, from: number): boolean {
    const { pages } = this.ground
    const address = pages.map.block[id] as number
    const base = pages.arena.wordsOf(address)
    const b = address & pages.arena.mask
    let added = 0
    for (let index = from; index < Page.count(words, p); index++) {
      const record = Leaf.recordAt(words, p, index)
      if (!MiniPage.isDirty(words, record) || Leaf.kindAt(words, record) === Kind.Tombstone) continue
      added += this.addedWords(words, p, index, base, b)
    }
    // A page that is all but full is split rather than compacted (`InPlace.mayCompact`); two records always fit.
    // What is removed needs no room, however full the page is; what is folded, no more than its operand beside it.
    return added === 0 || added <= Leaf.spare(base, b) - (Page.size(base, b) >>> 4) || Page.count(base, b) < 2
  }

  /**
   * Words that a dirty record of a mini-page may take of the base page: none where it fits the place of the one there.
   * A leaf that is only overwritten keeps its records; it would be split again and again if they counted as new.
   */
  private addedWords(words: Int32Array, p: number, index: number, base: Int32Array, b: number): number {
    const record = Leaf.recordAt(words, p, index)
    const expiry = Leaf.expiryAt(words, record, Page.slotBytes(words, p, index))
    Leaf.loadKey(words, p, index, this.fitting)
    const need = Leaf.neededWords(base, b, this.fitting.length, Leaf.valueBytesAt(words, record), expiry)
    const found = Leaf.find(base, b, this.fitting)
    if (found < 0) return need + Page.slotWords
    const had = Leaf.recordWords(base, Leaf.recordAt(base, b, found), Page.slotBytes(base, b, found))
    return need <= had && Leaf.kindAt(words, record) !== Kind.Operand ? 0 : need + Page.slotWords
  }

  /** Splits a leaf in the middle; the records of its mini-page that are the new leaf's leave it. */
  private split(root: Root, id: number, words: Int32Array, p: number): void {
    const { pages } = this.ground
    const { arena, map } = pages
    const address = map.block[id] as number
    const count = Page.count(arena.wordsOf(address), address & arena.mask)
    this.counters.splits++
    const right = splitLeaf(this.ground, root, this.key, { index: count, need: 0, replaces: 1 })
    const other = map.block[right] as number
    const low = this.ground.bench.loadLow(arena.wordsOf(other), other & arena.mask)
    const found = Leaf.find(words, p, low)
    const from = found < 0 ? ~found : found
    if (from === Page.count(words, p)) return
    if (this.fits(right, words, p, from)) {
      this.moveRecords(root, words, p, from)
    } else {
      pages.part(right, words, p, from)
      pages.ripe.push(right)
    }
    while (Page.count(words, p) > from) Leaf.remove(words, p, Page.count(words, p) - 1)
  }

  private moveRecords(root: Root, words: Int32Array, p: number, from: number): void {
    this.inPlace.source = "miniPage"
    for (let index = from; index < Page.count(words, p); index++) this.moveRecord(root, words, p, index)
    this.inPlace.source = "log"
  }

  private moveRecord(root: Root, words: Int32Array, p: number, index: number): void {
    const record = Leaf.recordAt(words, p, index)
    if (!MiniPage.isDirty(words, record)) return
    Leaf.loadKey(words, p, index, this.key)
    this.counters.records++
    // What the record was counted for is counted by what is done now.
    if (MiniPage.isUnresolved(words, record)) root.unresolved--
    root.count -= MiniPage.countAt(words, record)
    const keyBytes = Page.slotBytes(words, p, index)
    const version = Leaf.versionAt(words, record)
    const kind = Leaf.kindAt(words, record)
    const expiry = Leaf.expiryAt(words, record, keyBytes)
    const value = this.value.of(
      words,
      Leaf.valueAt(words, record, keyBytes),
      Leaf.valueBytesAt(words, record)
    )
    for (let answer: number = Again; answer === Again;) {
      const leaf = this.descend(root, this.key)
      invariant(leaf > 0, "Consolidate: the way is in memory")
      answer = kind === Kind.Tombstone
        ? this.inPlace.take(root, this.key, version)
        : kind === Kind.Operand
        ? this.inPlace.reduce(root, this.key, valueOf(words, record, keyBytes), version)
        : this.inPlace.put(root, this.key, kind, value, version, expiry)
      invariant(answer !== NoSpace, "Consolidate: what fits needs no block")
    }
  }

  /** The mini-page is merged: it ends, or goes on with what was used lately; answers how many records those are. */
  private finish(
    root: Root,
    id: number,
    words: Int32Array,
    p: number,
    leaf: { readonly split: boolean }
  ): number {
    const { bench, pages } = this.ground
    const { map } = pages
    const copy = bench.mini
    const kept = leaf.split || pages.mode === "pages" ? 0 : MiniPage.wantedWords(words, p, "used")
    if (kept > 0) copy.set(words.subarray(p, p + Page.size(words, p)))
    pages.end(id)
    pages.rest(id)
    if (kept > 0 && (map.block[id] as number) >= 0 && pages.isGuest(id)) {
      return this.keep(root, id, copy, kept)
    }
    return 0
  }

  /** What was used lately becomes a copy of what the base page says by now. */
  private keep(root: Root, id: number, copy: Int32Array, kept: number): number {
    const { pages } = this.ground
    const prefixBytes = MiniPage.loadPrefix(copy, 0, this.key)
    if (!pages.begin(id, root.treeId, kept - Page.slotWords, this.key, prefixBytes)) return 0
    const address = pages.map.mini[id] as number
    const words = pages.arena.wordsOf(address)
    const p = address & pages.arena.mask
    MiniPage.fill(words, p, copy, 0, "used", 0)
    for (let index = Page.count(words, p) - 1; index >= 0; index--) {
      const record = Leaf.recordAt(words, p, index)
      const kind = Leaf.kindAt(words, record)
      if (kind === Kind.Operand) {
        this.keepFolded(id, words, p, index)
        continue
      }
      const gone = kind === Kind.Tombstone || kind === Kind.Phantom
      const head = (words[record] as number) & ~((Flag.isNew | Flag.replaces | MiniPage.used) << 24)
      words[record] = gone ? head & ~0xff0000 | Kind.Phantom << 16 : head | Flag.cached << 24
      // A phantom says what is so now, whoever asks: it has no version of its own.
      if (gone) Page.writeLsn(words, record + 1, 0)
    }
    return Page.count(words, p)
  }

  /** What was an operand becomes a copy of what came of it, where that fits its place: numbers do. */
  private keepFolded(id: number, words: Int32Array, p: number, index: number): void {
    const { arena, map } = this.ground.pages
    const address = map.block[id] as number
    const base = arena.wordsOf(address)
    const b = address & arena.mask
    Leaf.loadKey(words, p, index, this.operandKey)
    const own = Leaf.find(base, b, this.operandKey)
    const record = Leaf.recordAt(words, p, index)
    const from = own < 0 ? -1 : Leaf.recordAt(base, b, own)
    const same = from >= 0 && ((base[from] as number) & 0xff00ffff) === Leaf.valueBytesAt(words, record)
    if (!same) return Leaf.remove(words, p, index)
    const value = valueOf(base, from, Page.slotBytes(base, b, own))
    valueOf(words, record, Page.slotBytes(words, p, index)).set(value)
    words[record] = Leaf.valueBytesAt(words, record) | Kind.Value << 16 | Flag.cached << 24
  }

  /** Merges a leaf with a neighbour if it has become too empty; answers one that must be made ready first, or 0. */
  mergeLeaf(root: Root, id: number): number {
    const { bench, pages } = this.ground
    const { arena, map } = pages
    const busy = ((map.state[id] as number) & (State.Mini | State.Free | State.Inner)) !== 0
    if (busy || (map.block[id] as number) < 0 || !isUnderfull(this.ground, id)) return 0
    const address = map.block[id] as number
    const low = bench.loadLow(arena.wordsOf(address), address & arena.mask)
    this.key.assemble(low.words, 0, 0, low.words, 0, low.length)
    if (this.descend(root, this.key) !== id || bench.depth === 0) return 0
    const { created } = pages
    const used = map.used
    mergeUp(this.ground, root)
    if (map.used !== used || created !== pages.created) return 0
    const above = map.block[bench.ids[bench.depth - 1] as number] as number
    const words = arena.wordsOf(above)
    const p = above & arena.mask
    const index = bench.taken[bench.depth - 1] as number
    if (Page.count(words, p) === 0) return 0
    const other = Inner.child(words, p, index < Page.count(words, p) ? index + 1 : index - 1)
    const ready = (map.block[other] as number) >= 0 && ((map.state[other] as number) & State.Mini) === 0
    return ready ? 0 : other
  }
}

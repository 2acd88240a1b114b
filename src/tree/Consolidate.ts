/**
 * Merging a mini-page into its base page, which has been loaded for it (Bw-Tree's consolidation; Bf-Tree, 3.3).
 *
 * Each dirty record is written to the base page as if it came from the log, with the version that it has. Where the
 * leaf is split on the way, what is left of the mini-page may be the new leaf's: so all blocks that it could take are
 * counted before.
 *
 * I1 It happens as a whole or not at all.
 * I2 What was used lately stays as a copy, if the leaf was not split.
 *
 * Bf-Tree demands of its size classes that a full mini-page merges with at most one split. With the longest keys that
 * our limits allow that would leave mini-pages of a few records, for everybody; here they may be half a page, and
 * `blocksFor` bounds the splits: most merges take none, and a page and a half of records never more than six.
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

/** Splits of a leaf that a merge can take. */
const splitsMost = 6

/**
 * A split leaves both sides with at least half of what is there, less a record on either side. So many pages hold
 * what is there and what is added, and all but one of them are new.
 */
function splitsFor(base: Int32Array, b: number, added: number, largestAdded: number): number {
  let largest = largestAdded
  for (let index = 0; index < Page.count(base, b); index++) {
    const taken = Leaf.recordWords(base, Leaf.recordAt(base, b, index), Page.slotBytes(base, b, index))
    largest = Math.max(largest, taken + Page.slotWords)
  }
  const room = Page.size(base, b) - Page.headerWords - 2 * Page.fenceWords(base, b)
  const least = room / 2 - largest
  if (least <= 0) return splitsMost
  return Math.min(splitsMost, Math.ceil((room + added) / least) - 1)
}

/** Goes down to the leaf of a key, leaving the way on the bench: its id, or Missing. */
export type Descend = (root: Root, key: KeyScratch) => number

export class Consolidation {
  private readonly ground: Ground
  private readonly inPlace: InPlace
  private readonly descend: Descend
  private readonly key = new KeyScratch()
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
    this.blocksNeeded = this.blocksFor(id, words, p)
    if (arena.available < this.blocksNeeded) return NoSpace
    const { created } = pages
    pages.touchMini(id)
    map.state[id] = (map.state[id] as number) | State.Mutable
    this.inPlace.source = "miniPage"
    for (let index = 0; index < count; index++) this.moveRecord(root, words, p, index)
    this.inPlace.source = "log"
    this.finish(root, id, words, p, { split: pages.created !== created })
    return Absent
  }

  /** Blocks that a merge may take: none where everything fits without a split. */
  private blocksFor(id: number, words: Int32Array, p: number): number {
    const { bench, pages } = this.ground
    const address = pages.map.block[id] as number
    const base = pages.arena.wordsOf(address)
    const b = address & pages.arena.mask
    const count = Page.count(words, p)
    let added = 0
    let largest = 0
    let records = 0
    for (let index = 0; index < count; index++) {
      const record = Leaf.recordAt(words, p, index)
      const kind = Leaf.kindAt(words, record)
      if (!MiniPage.isDirty(words, record) || kind === Kind.Tombstone) continue
      // A record may need its prefix back.
      const taken = Leaf.recordWords(words, record, Page.slotBytes(words, p, index)) + Page.slotWords
        + (Page.prefixBytes(words, p) + 3 >>> 2)
      records++
      added += taken
      largest = Math.max(largest, taken)
    }
    // What is removed needs no room, however full the page is.
    if (added === 0) return 0
    // A page that is all but full is split rather than compacted (`InPlace.mayCompact`).
    if (added <= Leaf.spare(base, b) - (Page.size(base, b) >>> 4)) return 0
    // Each record takes two splits at most (`InPlace.put`).
    return Math.min(2 * records, splitsFor(base, b, added, largest)) + bench.depth + 2
  }

  private moveRecord(root: Root, words: Int32Array, p: number, index: number): void {
    const record = Leaf.recordAt(words, p, index)
    if (!MiniPage.isDirty(words, record)) return
    MiniPage.loadKey(words, p, index, this.key)
    // What the record was counted for is counted by what is done now.
    if (MiniPage.isUnresolved(words, record)) root.unresolved--
    root.count -= MiniPage.countAt(words, record)
    const keyBytes = Page.slotBytes(words, p, index)
    const version = Leaf.versionAt(words, record)
    const kind = Leaf.kindAt(words, record)
    const expiry = Leaf.expiryAt(words, record, keyBytes)
    const from = Leaf.valueAt(words, record, keyBytes) * 4
    const value = new Uint8Array(words.buffer, from, Leaf.valueBytesAt(words, record))
    for (let answer: number = Again; answer === Again;) {
      const leaf = this.descend(root, this.key)
      invariant(leaf > 0, "Consolidate: the way is in memory")
      answer = kind === Kind.Tombstone
        ? this.inPlace.take(root, this.key, version)
        : this.inPlace.put(root, this.key, kind, value, version, expiry)
      invariant(answer !== NoSpace, "Consolidate I1: blocks were counted")
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

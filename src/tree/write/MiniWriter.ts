/**
 * Writing to the mini-page of a leaf: without reading the disk, whatever the leaf holds.
 *
 * The leaf is the one at the end of the way on the bench.
 *
 * ```
 *   no mini-page ── the smallest class that fits ──▶ room ── next class ──▶ … ── the largest is full ──▶ to be merged
 * ```
 *
 * I1 Nothing has changed where the answer is Missing or NoSpace.
 * I2 What a dirty record displaces goes to Versions. What stands in the base page does not: it is still there, and goes
 *    when the mini-page is merged.
 * I3 An operand is written only where neither the mini-page nor a base page in memory knows the value.
 */
import { invariant } from "../../Invariant.ts"
import type { Root } from "../memory/Root.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as MiniPage from "../page/MiniPage.ts"
import { Folding } from "../page/Operand.ts"
import * as Page from "../page/Page.ts"
import { noValue, ValueAt } from "../page/ValueIn.ts"
import type { ValueIn } from "../page/ValueIn.ts"
import { Absent, Added, Found, Missing, NoSpace, Removed, Replaced, Written } from "../read/Answer.ts"
import type { Ground } from "./Split.ts"
import { pathPrefix } from "./Workbench.ts"

const { Flag } = MiniPage
const { Kind } = Leaf
/** What stays of a mini-page that must grow, as long as it fits. */
const forCopy = ["all", "dirty or touched"] as const
const forWrite = ["all", "dirty or touched", "dirty"] as const
/** Half of the records of a leaf that has not been in memory since the store was opened. */
const leafRecordsGuess = 16

/** Records that reads have left in mini-pages, by kind. */
export interface PromoteCounters {
  cache: number
  phantom: number
}

export class MiniWriter {
  readonly promoted: PromoteCounters = { cache: 0, phantom: 0 }
  /** Free blocks to ask for after `NoSpace`. */
  readonly blocksNeeded = 1
  private readonly ground: Ground
  /** The largest size class. */
  private readonly largest: number
  /** The mini-page at hand. */
  private words: Int32Array = new Int32Array(0)
  private p = 0
  private readonly folding = new Folding()
  private readonly pair = new Folding()
  /** What is remembered of the base page. */
  private readonly value = new ValueAt()

  constructor(ground: Ground) {
    this.ground = ground
    this.largest = ground.pages.ring.classes.length - 1
  }

  /** Writes a record: Added, Replaced, Written, NoSpace, or Missing where the mini-page must be merged first. */
  put(root: Root, key: KeyScratch, kind: number, value: ValueIn, version: number, expiry: number): number {
    const id = this.ground.bench.ids[this.ground.bench.depth] as number
    const answer = this.makeRoom(root, id, key, value.length, expiry, "write")
    if (answer < 0) return answer
    const before = this.write(root, id, key, kind, value, version, expiry)
    return before === Found ? Replaced : before === Absent ? Added : Written
  }

  /**
   * Merges an operand into a record: folded at once where the value is here, else as an operand; Missing where the base
   * page must be here because its record may expire (`Operand.ts`, I3). Answers as `put` does otherwise.
   */
  reduce(root: Root, key: KeyScratch, operand: Uint8Array, version: number, millis: number): number {
    const { bench, pages } = this.ground
    const id = bench.ids[bench.depth] as number
    const { folding } = this
    const kind = this.foldBeside(root, id, key, operand, millis)
    const isHere = (pages.map.block[id] as number) >= 0
    if (kind === Kind.Operand && !isHere && root.expires) return Missing
    if (kind === Kind.Operand && isHere) {
      this.foldOnBase(root, id, key, millis)
      return this.put(root, key, Kind.Value, folding, version, folding.expiry)
    }
    return this.put(root, key, kind, folding, version, folding.expiry)
  }

  /** Folds an operand into what the mini-page has of the key, in `folding`: the kind of what comes of it. */
  private foldBeside(root: Root, id: number, key: KeyScratch, operand: Uint8Array, millis: number): number {
    const { folding } = this
    folding.alone(root.reducer, operand)
    if ((this.ground.pages.map.mini[id] as number) < 0) return Kind.Operand
    this.enter(id)
    const { p, words } = this
    const index = Leaf.find(words, p, key)
    if (index < 0) return Kind.Operand
    const kind = Leaf.kindAt(words, Leaf.recordAt(words, p, index))
    if (kind === Kind.Tombstone || kind === Kind.Phantom) return Kind.Value
    folding.into(words, p, index, root.reducer, operand, millis)
    return kind === Kind.Operand ? kind : Kind.Value
  }

  /** Folds all operands of the key into what the base page, which is here, has of it. */
  private foldOnBase(root: Root, id: number, key: KeyScratch, millis: number): void {
    const { arena, map } = this.ground.pages
    const { folding, pair } = this
    const address = map.block[id] as number
    pair.alone(root.reducer, folding.value())
    const words = arena.wordsOf(address)
    folding.onto(words, address & arena.mask, key, root.reducer, pair.value(), Infinity, millis)
  }

  /** Removes a record: Removed, Written, Absent, NoSpace or Missing. */
  remove(root: Root, key: KeyScratch, version: number): number {
    const { bench, pages } = this.ground
    const id = bench.ids[bench.depth] as number
    if ((pages.map.mini[id] as number) >= 0) {
      this.enter(id)
      const index = Leaf.find(this.words, this.p, key)
      if (index >= 0) return this.removeAt(root, id, key, index, version)
    }
    if (this.inBase(id, key) === Flag.isNew) return Absent
    const answer = this.makeRoom(root, id, key, 0, Infinity, "write")
    if (answer < 0) return answer
    const before = this.write(root, id, key, Kind.Tombstone, noValue, version, Infinity)
    this.ripen(id)
    return before === Found ? Removed : Written
  }

  /**
   * What is removed gives its room back when it is merged: a mini-page that empties half of its leaf does not wait for
   * its turn at the head. Where there are many, only every fourth time: all of them are counted.
   */
  private ripen(id: number): void {
    const { map, ripe } = this.ground.pages
    const count = Page.count(this.words, this.p)
    if (count > 8 && (count & 3) !== 0) return
    const half = map.leafRecords[id] === 0 ? leafRecordsGuess : (map.leafRecords[id] as number) + 1 >>> 1
    if (MiniPage.tombstones(this.words, this.p) >= half) ripe.push(id)
  }

  /** The mini-page has a record of the key, which is large enough to become a tombstone. */
  private removeAt(root: Root, id: number, key: KeyScratch, index: number, version: number): number {
    const record = Leaf.recordAt(this.words, this.p, index)
    const kind = Leaf.kindAt(this.words, record)
    if (kind === Kind.Tombstone || kind === Kind.Phantom) return Absent
    // Where the base page has no such key, nothing needs to hide it: what is left is the knowledge.
    const known = MiniPage.statusAt(this.words, record) === Flag.isNew
    this.write(root, id, key, known ? Kind.Phantom : Kind.Tombstone, noValue, version, Infinity)
    return Removed
  }

  private enter(id: number): void {
    const { arena, map } = this.ground.pages
    const address = map.mini[id] as number
    this.words = arena.wordsOf(address)
    this.p = address & arena.mask
  }

  /** What the base page, if it is in memory, says of a key: a status. */
  inBase(id: number, key: KeyScratch): number {
    const { arena, map } = this.ground.pages
    const address = map.block[id] as number
    if (address < 0) return 0
    return Leaf.find(arena.wordsOf(address), address & arena.mask, key) < 0 ? Flag.isNew : Flag.replaces
  }

  /**
   * Makes sure that the leaf has a mini-page with room for a record, and enters it: Absent (done), NoSpace or Missing.
   * It grows up to class `most`.
   */
  private makeRoom(
    root: Root,
    id: number,
    key: KeyScratch,
    valueBytes: number,
    expiry: number,
    use: "write" | "copy"
  ): number {
    const { pages } = this.ground
    if ((pages.map.mini[id] as number) < 0) return this.begin(root, id, key, valueBytes, expiry)
    this.enter(id)
    const { p, words } = this
    const need = Leaf.neededWords(words, p, key.length, valueBytes, expiry)
    const index = Leaf.find(words, p, key)
    if (index >= 0) {
      const record = Leaf.recordAt(words, p, index)
      if (need <= Leaf.recordWords(words, record, Page.slotBytes(words, p, index))) return Absent
      if (need <= Leaf.gap(words, p)) return Absent
    } else if (
      Leaf.gap(words, p) >= need + (Page.count(words, p) === Page.capacity(words, p) ? Page.slotWords : 0)
    ) {
      return Absent
    }
    return this.grow(id, need, use)
  }

  private begin(root: Root, id: number, key: KeyScratch, valueBytes: number, expiry: number): number {
    const { bench, pages } = this.ground
    const prefixBytes = pathPrefix(bench, pages)
    const stored = key.length - (prefixBytes & ~3)
    const need = Page.recordHeaderWords + (stored + 3 >>> 2) + (expiry === Infinity ? 0 : 2) +
      (valueBytes + 3 >>> 2)
    if (pages.ring.classFor(MiniPage.frameWords(prefixBytes) + Page.slotWords + need) < 0) return Missing
    if (!pages.begin(id, root.treeId, need, bench.low, prefixBytes)) return NoSpace
    this.enter(id)
    return Absent
  }

  /**
   * Moves the mini-page to where there is room. Copies stay behind where a write would need a larger class for them,
   * the cold ones first; it may be that of the record at hand, which is written anew. A copy takes nobody's
   * place but theirs, nor the largest class, in which a mini-page is to be merged, and they with it.
   */
  private grow(id: number, need: number, use: "write" | "copy"): number {
    const { pages } = this.ground
    const { ring } = pages
    const now = ring.classFor(Page.size(this.words, this.p))
    for (const wanted of use === "write" ? forWrite : forCopy) {
      const sizeClass = ring.classFor(pages.wantedMini(id, wanted, need))
      if (
        sizeClass < 0 ||
        (use === "write" ? wanted === "all" && sizeClass !== now : sizeClass === this.largest)
      ) {
        continue
      }
      if (!pages.move(id, wanted, need)) return NoSpace
      this.enter(id)
      if (sizeClass === this.largest) pages.ripe.push(id)
      invariant(Leaf.gap(this.words, this.p) >= need, "MiniWriter: room was made")
      return Absent
    }
    return Missing
  }

  /** Writes a record for which there is room; answers whether the key was there: Found, Absent, or Written. */
  private write(
    root: Root,
    id: number,
    key: KeyScratch,
    kind: number,
    value: ValueIn,
    version: number,
    expiry: number
  ): number {
    const { pages } = this.ground
    const { p, words } = this
    const index = Leaf.find(words, p, key)
    const need = Leaf.neededWords(words, p, key.length, value.length, expiry)
    pages.touchMini(id)
    if (expiry !== Infinity) pages.deadlines.note(id, expiry)
    if (index < 0) {
      const status = this.inBase(id, key)
      Leaf.insert(words, p, ~index, need, key, kind | status << 8, value, version, expiry)
      this.count(root, words, Leaf.recordAt(words, p, ~index), 1)
      return status === Flag.replaces ? Found : status === Flag.isNew ? Absent : Written
    }
    const record = Leaf.recordAt(words, p, index)
    const status = MiniPage.statusAt(words, record)
    const before = isThere(Leaf.kindAt(words, record)) ? Found : Absent
    if (MiniPage.isDirty(words, record)) {
      const stored = Page.slotBytes(words, p, index)
      this.ground.versions.displace(root.treeId, key, version, words, record, stored)
    }
    this.count(root, words, record, -1)
    const phantom = kind === Kind.Phantom
    const marks = MiniPage.usedAt(words, record)
    const flags = phantom ? marks : status | marks
    // A phantom is so for whoever asks, as far as Versions does not know better: it has no version of its own.
    const from = phantom ? 0 : version
    const written = Leaf.replace(words, p, index, need, kind | flags << 8, value, from, expiry)
    invariant(written, "MiniWriter: room was made")
    this.count(root, words, Leaf.recordAt(words, p, index), 1)
    return before
  }

  /** Adds what a record says of the number of records, or takes it back. */
  private count(root: Root, words: Int32Array, record: number, times: 1 | -1): void {
    root.count += times * MiniPage.countAt(words, record)
    if (MiniPage.isUnresolved(words, record)) root.unresolved += times
  }

  /**
   * Remembers what the base page says of a key, if that costs no merge and nobody else's place: a copy of the record at
   * `address`, or that there is none (-1). The mini-page has no record of it.
   */
  remember(root: Root, key: KeyScratch, address: number, keyBytes: number): void {
    const { bench, events, pages } = this.ground
    const id = bench.ids[bench.depth] as number
    const at = address & pages.arena.mask
    const source = address < 0 ? this.words : pages.arena.wordsOf(address)
    const length = address < 0 ? 0 : Leaf.valueBytesAt(source, at)
    const expiry = address < 0 ? Infinity : Leaf.expiryAt(source, at, keyBytes)
    if (this.makeRoom(root, id, key, length, expiry, "copy") < 0) return
    const { p, words } = this
    const need = Leaf.neededWords(words, p, key.length, length, expiry)
    const index = ~Leaf.find(words, p, key)
    invariant(index >= 0, "MiniPage I1")
    const kind = address < 0 ? Kind.Phantom : Leaf.kindAt(source, at) | Flag.cached << 8
    const value = address < 0 ? noValue : this.value.of(source, Leaf.valueAt(source, at, keyBytes), length)
    Leaf.insert(
      words,
      p,
      index,
      need,
      key,
      kind,
      value,
      address < 0 ? 0 : Leaf.versionAt(source, at),
      expiry
    )
    const what = address < 0 ? "phantom" : "cache"
    this.promoted[what]++
    if (events.heard) {
      events.tell({ _tag: "Promoted", treeId: root.treeId, page: id, what, bytes: length })
    }
  }
}

const isThere = (kind: number): boolean => kind !== Kind.Tombstone && kind !== Kind.Phantom

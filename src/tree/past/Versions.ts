/**
 * Versions that left the leaves while a reader of the past may still need them.
 *
 * What displaces a record hands it over with its span: [from, to), its version and that of what displaced it. A reader
 * at S (exclusive) sees it iff from < S ≤ to. Spans of one key do not overlap, so at most one is seen; where one that
 * came late could not be told from those in the scratch file, it may reach over them, and the newest counts.
 *
 * ```
 *   displace ──▶ queue ── durable passes `to` ──▶ list of the newest reader that needs it, or dropped
 *   a reader's last pin goes ──▶ the list of the next older one that needs the entry, or dropped
 *   lists hold more than their share of memory ──▶ a sorted run in the scratch file   (`Spill.ts`, `Run.ts`)
 * ```
 *
 * Until the durable LSN has passed `to`, it may come to stand anywhere in the span, and a failed log makes it what
 * readers see; so an entry waits for that in any case, in memory: what waits is bounded by the log that waits for its
 * sync. After it the entry is looked at once per pin that lets it go: amortised constant work, and a long-lived reader
 * keeps only what it needs, not everything that changed since.
 *
 * I1 An entry lives while to ≥ durable, or some reader's pin S has from < S ≤ to, and no longer; in a run it lives as
 *    long as any entry of that run.
 * I2 Every live entry is in exactly one list or one run; in memory it is in the hash table.
 * I3 A reference to the log and an operand never leave memory: whoever drops the one must know it, and a merge that
 *    settles the other cannot wait.
 *
 * Rejected: a tree of pages, which costs every overwrite a second insert and removal.
 */
import { invariant } from "../../Invariant.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import type { Folding } from "../page/Operand.ts"
import type { DroppedReference } from "../page/Reference.ts"
import { droppedAt } from "../page/Reference.ts"
import { Entries, Flag, rowBytes } from "./Entries.ts"
import type { Owner, Pin, Reader } from "./Pins.ts"
import { Pins } from "./Pins.ts"
import type { Run } from "./Run.ts"
import { slabBytesMax } from "./Slabs.ts"
import type { SpillOptions } from "./Spill.ts"
import { Spill, unlimited } from "./Spill.ts"
import { hashOf } from "./VersionTable.ts"

const { Kind } = Leaf

/** The smallest slab: it holds the largest record of any page. */
const slabBytesMin = 16 * 1024

export class Versions extends Entries {
  readonly pins: Pins
  /** What is in the scratch file. */
  readonly spill: Spill
  /** References that were dropped since the owner last took them. */
  dropped: Array<DroppedReference> = []
  /** The largest `to` of all entries ever: a reader above it needs nothing from here. */
  newest = -1
  /** The span that comes next may reach over an entry in the scratch file. */
  private isUncertain = false
  private queueHead = -1
  private queueTail = -1
  /** Entries that readers hold, and the words of their blobs. */
  private heldCount = 0
  private heldWords = 0

  constructor(
    bounds: { readonly durable: number; readonly visible: number },
    options: SpillOptions = unlimited
  ) {
    const part = 2 ** Math.floor(Math.log2(Math.min(slabBytesMax, options.memoryBytes / 32)))
    super(Math.max(slabBytesMin, part))
    this.pins = new Pins(bounds)
    this.spill = new Spill(options)
  }

  /** All memory. */
  get bytes(): number {
    return this.entryBytes + this.spill.indexBytes + this.spill.writingBytes
  }

  /** Memory of entries that readers hold. */
  get heldBytes(): number {
    return this.heldCount * rowBytes + this.heldWords * 4
  }

  /** Holds all that a reader at `lsn` sees. Sound only at the visible LSN or where another pin stands. */
  pin(lsn: number): void {
    this.pins.add(lsn)
  }

  unpin(lsn: number): void {
    this.release(this.pins.remove(lsn))
  }

  /** The same for a reader that says who it is, and when it came. */
  enter(lsn: number, owner: Owner, since: number): Reader {
    return this.pins.enter(lsn, owner, since)
  }

  leave(reader: Reader): void {
    this.release(this.pins.leave(reader))
  }

  /** Drops what only the oldest pin needs, and the pin; false where no pin keeps more than the durable LSN does. */
  expireOldest(): boolean {
    const pin = this.pins.expire()
    this.release(pin)
    return pin !== undefined
  }

  private release(pin: Pin | undefined): void {
    if (pin === undefined) return
    for (let entry = pin.head; entry >= 0;) {
      const next = this.table.link[entry] as number
      this.settle(entry)
      entry = next
    }
    this.spill.release(pin, this.pins)
  }

  isPinned(lsn: number): boolean {
    return lsn === this.pins.durable || lsn === this.pins.visible || this.pins.at(lsn) !== undefined
  }

  oldestPin(): number {
    return this.pins.oldest()
  }

  /** The visible LSN moved; back only to the durable LSN, when the log has failed. */
  setVisible(lsn: number): void {
    const { pins } = this
    invariant(lsn >= pins.visible || lsn === pins.durable, "Pins I1")
    pins.visible = lsn
  }

  /** The durable LSN moved. */
  setDurable(lsn: number): void {
    const { pins } = this
    invariant(lsn >= pins.durable && lsn <= pins.visible, "Pins I1")
    pins.durable = lsn
    while (this.queueHead >= 0 && (this.table.to[this.queueHead] as number) < lsn) {
      const entry = this.queueHead
      this.queueHead = this.table.link[entry] as number
      this.settle(entry)
    }
  }

  /** Recovery, which ran with both bounds at Infinity so that nothing was kept, has come to its end. */
  restart(lsn: number): void {
    invariant(this.table.size === 0 && this.pins.pinned.length === 0, "Pins I1")
    this.pins.durable = lsn
    this.pins.visible = lsn
  }

  /** Finds the reader's list that an entry belongs to now, or drops it. */
  private settle(entry: number): void {
    const holder = this.pins.holder(this.table.from[entry] as number, this.table.to[entry] as number)
    if (holder === undefined) return this.drop(entry)
    if (!this.has(entry, Flag.held)) this.keep(entry)
    this.table.link[entry] = holder.head
    holder.head = entry
  }

  private enqueue(entry: number): void {
    this.table.link[entry] = -1
    if (this.queueHead < 0) this.queueHead = entry
    else this.table.link[this.queueTail] = entry
    this.queueTail = entry
  }

  /** Moves an entry's bytes to the slabs of what readers hold, so that the others empty in order. */
  private keep(entry: number): void {
    this.move(entry)
    this.mark(entry, Flag.held)
    this.count(entry, 1)
  }

  /**
   * Takes over a record that `to` displaces, if it may be needed: the one at word `record` of `words` with `stored` key
   * bytes. Its whole key is in `key`.
   */
  displace(
    treeId: number,
    key: KeyScratch,
    to: number,
    words: Int32Array,
    record: number,
    stored: number
  ): void {
    const from = Leaf.versionAt(words, record)
    const kind = Leaf.kindAt(words, record)
    const valueAt = Leaf.valueAt(words, record, stored)
    if (from === to || to < this.pins.durable && this.pins.holder(from, to) === undefined) {
      this.isUncertain = false
      if (kind === Kind.Reference) this.dropReference(treeId, words, valueAt)
      return
    }
    const hash = hashOf(treeId, key.words, key.length)
    const entry = this.table.take()
    this.table.treeId[entry] = treeId
    this.table.from[entry] = from
    this.table.to[entry] = to
    this.table.kind[entry] = kind
    this.table.expiry[entry] = Leaf.expiryAt(words, record, stored)
    this.table.keyBytes[entry] = key.length
    this.table.valueBytes[entry] = Leaf.valueBytesAt(words, record)
    const isWide = this.isUncertain
    this.isUncertain = false
    this.table.flags[entry] = Flag.live | (this.table.flags[entry] as number) & Flag.waiting |
      (isWide ? Flag.wide : 0)
    this.write(entry, key, words, valueAt, this.fresh)
    this.found(entry, hash)
    if (to > this.newest) this.newest = to
    this.enqueue(entry)
  }

  /** The end of a span that `displace` is to be told of next; entries in the scratch file are not looked at for it. */
  override nextAfter(treeId: number, key: KeyScratch, from: number, otherwise: number): number {
    const next = super.nextAfter(treeId, key, from, otherwise)
    this.isUncertain = this.spill.newest > from &&
      this.spill.mayHave(hashOf(treeId, key.words, key.length), from, next)
    return next
  }

  /** A reference to the log is gone from the tree or from here: `valueAt` is where its value stands. */
  dropReference(treeId: number, words: Int32Array, valueAt: number): void {
    this.dropped.push(droppedAt(treeId, words, valueAt))
  }

  private drop(entry: number): void {
    // Its bytes are being written: it goes when that has ended.
    if (this.has(entry, Flag.leaving)) {
      this.count(entry, -1)
      return this.mark(entry, Flag.gone)
    }
    if (this.table.kind[entry] === Kind.Reference) {
      this.dropReference(this.treeOf(entry), this.wordsOfEntry(entry), this.valueAt(entry) >>> 2)
    }
    this.forget(entry)
  }

  private forget(entry: number): void {
    if (this.has(entry, Flag.held) && !this.has(entry, Flag.gone)) this.count(entry, -1)
    this.erase(entry)
  }

  /** Adds an entry to what readers hold, or takes it off. */
  private count(entry: number, times: 1 | -1): void {
    this.heldCount += times
    this.heldWords += times * this.wordsOf(entry)
  }

  /** Whether an entry of a key that a reader at `at` sees may be in the part of the scratch file not yet searched. */
  isSpilled(treeId: number, key: KeyScratch, at: number): boolean {
    return at <= this.spill.newest && this.spill.mayHaveSeen(hashOf(treeId, key.words, key.length), at)
  }

  /** Whether an entry that is seen may have a newer one in the scratch file that is seen as well. */
  isWide(entry: number): boolean {
    return this.has(entry, Flag.wide)
  }

  /**
   * The record of `from` that the base page has of a key is about to go: the operands that stand on it become what
   * `fold` makes of each.
   */
  settleOperands(
    treeId: number,
    key: KeyScratch,
    from: number,
    fold: (operand: Uint8Array) => Folding
  ): void {
    if (this.table.size === 0) return
    const hash = hashOf(treeId, key.words, key.length)
    let entry = this.table.first(hash)
    for (; entry >= 0; entry = this.table.chain[entry] as number) {
      if (this.table.hash[entry] !== hash || this.table.kind[entry] !== Kind.Operand) continue
      if (this.table.treeId[entry] !== treeId || (this.table.from[entry] as number) <= from) continue
      if (this.compareKey(entry, key) === 0) this.settleOperand(entry, key, fold(this.valueOf(entry)))
    }
  }

  private settleOperand(entry: number, key: KeyScratch, { expiry, length, words }: Folding): void {
    const slabs = this.slabsOf(entry)
    slabs.drop(this.table.place[entry] as number)
    const before = this.wordsOf(entry)
    this.table.kind[entry] = Kind.Value
    this.table.expiry[entry] = expiry
    this.table.valueBytes[entry] = length
    this.write(entry, key, words, 0, slabs)
    if (this.has(entry, Flag.held)) this.heldWords += this.wordsOf(entry) - before
  }

  /**
   * Takes the entries that are to leave memory together: all that readers hold and that may leave. They are read here
   * as before until `endSpill` or `stopSpill`. What stays is moved together, so that whole slabs come free.
   */
  beginSpill(): Int32Array {
    const leaving: Array<number> = []
    this.kept.seal()
    for (const pin of this.pins.pinned) {
      for (let entry = pin.head; entry >= 0; entry = this.table.link[entry] as number) {
        if (this.maySpill(entry)) {
          this.mark(entry, Flag.leaving)
          leaving.push(entry)
        } else {
          this.move(entry)
        }
      }
    }
    return Int32Array.from(leaving)
  }

  private maySpill(entry: number): boolean {
    const kind = this.table.kind[entry] as number
    return kind !== Kind.Reference && kind !== Kind.Operand && this.spill.fits(this.wordsOf(entry))
  }

  /** The entries are in a run of the scratch file, which holds them from now on; `forgetSpilled` follows. */
  endSpill(leaving: Int32Array, run: Run): void {
    for (const pin of this.pins.pinned) this.unlink(pin)
    for (const entry of leaving) {
      if (!this.has(entry, Flag.gone)) run.cover(this.versionOf(entry), this.endOf(entry))
    }
    run.end()
    this.spill.add(run, this.pins)
  }

  /** Gives back the memory of entries that are in a run; as long as they are here too, readers find them here. */
  forgetSpilled(leaving: Int32Array): void {
    for (const entry of leaving) this.forget(entry)
  }

  /** Takes what is leaving off a pin's list. */
  private unlink(pin: Pin): void {
    let last = -1
    for (let entry = pin.head; entry >= 0; entry = this.table.link[entry] as number) {
      if (this.has(entry, Flag.leaving)) continue
      if (last < 0) pin.head = entry
      else this.table.link[last] = entry
      last = entry
    }
    if (last < 0) pin.head = -1
    else this.table.link[last] = -1
  }

  /** The entries could not be written and stay where they are. */
  stopSpill(leaving: Int32Array): void {
    for (const entry of leaving) {
      const isGone = this.has(entry, Flag.gone)
      if (isGone) this.forget(entry)
      else this.unmark(entry, Flag.leaving)
    }
  }
}

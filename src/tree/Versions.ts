/**
 * Versions that left the leaves while a reader of the past may still need them.
 *
 * What displaces a record hands it over with its span: [from, to), its version and that of what displaced it. A reader
 * at S (exclusive) sees it iff from < S ≤ to. Spans of one key never overlap, so at most one is seen.
 *
 * ```
 *   displace ──▶ queue ── durable passes `to` ──▶ list of the newest reader that needs it, or dropped
 *   a reader's last pin goes ──▶ the list of the next older one that needs the entry, or dropped
 * ```
 *
 * Until the durable LSN has passed `to`, it may come to stand anywhere in the span, and a failed log makes it what
 * readers see; so an entry waits for that in any case. After it the entry is looked at once per pin that lets it go:
 * amortised constant work, and a long-lived reader keeps only what it needs, not everything that changed since.
 *
 * I1 An entry lives while to ≥ durable, or some reader's pin S has from < S ≤ to, and no longer.
 * I2 Every live entry is in exactly one list, and in the hash table.
 *
 * Point reads go through a hash table; the order for ranges is made when the first range of the past is read, as most
 * overwritten versions are gone after the next sync. An entry of kind Tombstone says that the key was absent in its
 * span, which the base page behind the mini-page it came from does not know; one of kind Operand stands on that page's
 * record (`Operand.ts`). Entries are columns of typed arrays. A spill file would take the `kept` slabs. Rejected: a
 * tree of pages, which costs every overwrite a second insert and removal.
 */
import { invariant } from "../Invariant.ts"
import type { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import type { Folding } from "./Operand.ts"
import { Pins } from "./Pins.ts"
import type { DroppedReference } from "./Reference.ts"
import { droppedAt } from "./Reference.ts"
import { compareKeys } from "./Search.ts"
import { Slabs } from "./Slabs.ts"
import { VersionOrder } from "./VersionOrder.ts"
import { hashOf, VersionTable } from "./VersionTable.ts"

const { Kind } = Leaf

/** Flags of an entry. */
const live = 1
const held = 2
const ordered = 4
const waiting = 8

export class Versions {
  readonly pins: Pins
  /** References that were dropped since the owner last took them. */
  dropped: Array<DroppedReference> = []
  /** The largest `to` of all entries ever: a reader above it needs nothing from here. */
  newest = -1
  private readonly table = new VersionTable()
  private queueHead = -1
  private queueTail = -1
  /** Slabs of entries in the queue, which leave in order, and of those that readers hold. */
  private readonly fresh = new Slabs()
  private readonly kept = new Slabs()
  private readonly order = new VersionOrder()
  /** Live entries that are not in the order yet. */
  private unordered: Array<number> = []

  constructor(bounds: { readonly durable: number; readonly visible: number }) {
    this.pins = new Pins(bounds)
  }

  get size(): number {
    return this.table.size
  }

  get bytes(): number {
    return this.table.bytes + this.fresh.bytes + this.kept.bytes + this.order.bytes +
      this.unordered.length * 8
  }

  /** Holds all that a reader at `lsn` sees. Sound only at the visible LSN or where another pin stands. */
  pin(lsn: number): void {
    this.pins.add(lsn)
  }

  unpin(lsn: number): void {
    const pin = this.pins.remove(lsn)
    if (pin === undefined) return
    for (let entry = pin.head; entry >= 0;) {
      const next = this.table.link[entry] as number
      this.settle(entry)
      entry = next
    }
  }

  isPinned(lsn: number): boolean {
    return lsn === this.pins.durable || lsn === this.pins.visible ||
      this.pins.pinned.some((pin) => pin.lsn === lsn)
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
    if (((this.table.flags[entry] as number) & held) === 0) this.keep(entry)
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
    const from = this.table.place[entry] as number
    const words = this.wordsOf(entry)
    const place = this.kept.allocate(words)
    const start = from & 0xffff
    this.kept.words(place).set(this.fresh.words(from).subarray(start, start + words), place & 0xffff)
    this.fresh.drop(from)
    this.table.place[entry] = place
    this.table.flags[entry] = (this.table.flags[entry] as number) | held
  }

  private wordsOf(entry: number): number {
    return ((this.table.keyBytes[entry] as number) + 3 >>> 2) +
      ((this.table.valueBytes[entry] as number) + 3 >>> 2)
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
      if (kind === Kind.Reference) this.dropReference(treeId, words, valueAt)
      return
    }
    const entry = this.table.take()
    this.table.treeId[entry] = treeId
    this.table.from[entry] = from
    this.table.to[entry] = to
    this.table.kind[entry] = kind
    this.table.expiry[entry] = Leaf.expiryAt(words, record, stored)
    this.table.keyBytes[entry] = key.length
    this.table.valueBytes[entry] = Leaf.valueBytesAt(words, record)
    this.table.flags[entry] = live | (this.table.flags[entry] as number) & waiting
    this.write(entry, key, words, valueAt, this.fresh)
    this.table.enter(entry, hashOf(treeId, key.words, key.length))
    if (((this.table.flags[entry] as number) & waiting) === 0) {
      this.table.flags[entry] = (this.table.flags[entry] as number) | waiting
      this.unordered.push(entry)
    }
    if (to > this.newest) this.newest = to
    this.enqueue(entry)
  }

  private write(entry: number, key: KeyScratch, words: Int32Array, valueAt: number, slabs: Slabs): void {
    const place = slabs.allocate(this.wordsOf(entry))
    this.table.place[entry] = place
    const target = slabs.words(place)
    let at = place & 0xffff
    const keyWords = key.length + 3 >>> 2
    for (let word = 0; word < keyWords; word++) target[at++] = key.words[word] as number
    const valueWords = (this.table.valueBytes[entry] as number) + 3 >>> 2
    for (let word = 0; word < valueWords; word++) target[at++] = words[valueAt + word] as number
  }

  /** A reference to the log is gone from the tree or from here: `valueAt` is where its value stands. */
  dropReference(treeId: number, words: Int32Array, valueAt: number): void {
    this.dropped.push(droppedAt(treeId, words, valueAt))
  }

  /** References that are only here: a store that is opened again has no reader of the past, and none of them. */
  references(): ReadonlyArray<DroppedReference> {
    const found: Array<DroppedReference> = []
    for (const entry of this.table.rows()) {
      if (this.table.kind[entry] !== Kind.Reference) continue
      const words = this.wordsOfEntry(entry)
      found.push(droppedAt(this.treeOf(entry), words, this.valueAt(entry) >>> 2))
    }
    return found
  }

  private drop(entry: number): void {
    const flags = this.table.flags[entry] as number
    const place = this.table.place[entry] as number
    const slabs = (flags & held) === 0 ? this.fresh : this.kept
    if (this.table.kind[entry] === Kind.Reference) {
      const valueAt = (place & 0xffff) + ((this.table.keyBytes[entry] as number) + 3 >>> 2)
      this.dropReference(this.table.treeId[entry] as number, slabs.words(place), valueAt)
    }
    if ((flags & ordered) !== 0) this.order.remove(entry, (other) => this.compareEntries(other, entry))
    slabs.drop(place)
    this.table.flags[entry] = flags & waiting
    this.table.free(entry)
  }

  /** The entry of a key that a reader at `at` sees, or -1. */
  get(treeId: number, key: KeyScratch, at: number): number {
    if (at > this.newest || this.table.size === 0) return -1
    const hash = hashOf(treeId, key.words, key.length)
    let entry = this.table.first(hash)
    for (; entry >= 0; entry = this.table.chain[entry] as number) {
      if (this.table.hash[entry] !== hash || !this.isSeen(entry, at) || this.table.treeId[entry] !== treeId) {
        continue
      }
      if (this.compareKey(entry, key) === 0) return entry
    }
    return -1
  }

  /**
   * Version of the oldest entry of a key from `from` on; `otherwise` where there is none before that. It is `from`
   * itself where the record was displaced before: a value that was moved within the log keeps its version.
   */
  nextAfter(treeId: number, key: KeyScratch, from: number, otherwise: number): number {
    if (this.table.size === 0) return otherwise
    const hash = hashOf(treeId, key.words, key.length)
    let next = otherwise
    let entry = this.table.first(hash)
    for (; entry >= 0; entry = this.table.chain[entry] as number) {
      const version = this.table.from[entry] as number
      if (this.table.hash[entry] !== hash || version < from || version >= next) continue
      if (this.table.treeId[entry] === treeId && this.compareKey(entry, key) === 0) next = version
    }
    return next
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
    this.table.kind[entry] = Kind.Value
    this.table.expiry[entry] = expiry
    this.table.valueBytes[entry] = length
    this.write(entry, key, words, 0, slabs)
  }

  isSeen(entry: number, at: number): boolean {
    return (this.table.from[entry] as number) < at && at <= (this.table.to[entry] as number)
  }

  treeOf(entry: number): number {
    return this.table.treeId[entry] as number
  }

  kindOf(entry: number): number {
    return this.table.kind[entry] as number
  }

  versionOf(entry: number): number {
    return this.table.from[entry] as number
  }

  expiryOf(entry: number): number {
    return this.table.expiry[entry] as number
  }

  keyBytesOf(entry: number): number {
    return this.table.keyBytes[entry] as number
  }

  valueBytesOf(entry: number): number {
    return this.table.valueBytes[entry] as number
  }

  /** The bytes that hold an entry's key and value, until the next change here. */
  bytesOf(entry: number): Uint8Array {
    const place = this.table.place[entry] as number
    return this.slabsOf(entry).bytesOf(place)
  }

  /** The value of an entry, where it lies. */
  valueOf(entry: number): Uint8Array {
    const from = this.valueAt(entry)
    return this.bytesOf(entry).subarray(from, from + this.valueBytesOf(entry))
  }

  /** The same by words. */
  wordsOfEntry(entry: number): Int32Array {
    return this.slabsOf(entry).words(this.table.place[entry] as number)
  }

  keyAt(entry: number): number {
    return ((this.table.place[entry] as number) & 0xffff) * 4
  }

  valueAt(entry: number): number {
    return this.keyAt(entry) + ((this.table.keyBytes[entry] as number) + 3 & ~3)
  }

  private slabsOf(entry: number): Slabs {
    return ((this.table.flags[entry] as number) & held) === 0 ? this.fresh : this.kept
  }

  /** Order of an entry's key and `key`. */
  compareKey(entry: number, key: KeyScratch): number {
    const place = this.table.place[entry] as number
    const words = this.slabsOf(entry).words(place)
    return compareKeys(words, place & 0xffff, this.table.keyBytes[entry] as number, key.words, 0, key.length)
  }

  private compareEntries(a: number, b: number): number {
    const trees = (this.table.treeId[a] as number) - (this.table.treeId[b] as number)
    if (trees !== 0) return trees
    const [aPlace, bPlace] = [this.table.place[a] as number, this.table.place[b] as number]
    const [aWords, bWords] = [this.slabsOf(a).words(aPlace), this.slabsOf(b).words(bPlace)]
    const [aBytes, bBytes] = [this.table.keyBytes[a] as number, this.table.keyBytes[b] as number]
    const keys = compareKeys(aWords, aPlace & 0xffff, aBytes, bWords, bPlace & 0xffff, bBytes)
    return keys !== 0 ? keys : (this.table.from[a] as number) - (this.table.from[b] as number)
  }

  /** Position of the first entry of a tree whose key is at or above `key`; with `nextEntry` from there on. */
  seek(treeId: number, key: KeyScratch): number {
    for (const entry of this.unordered) {
      const flags = (this.table.flags[entry] as number) & ~waiting
      this.table.flags[entry] = flags
      if ((flags & (live | ordered)) !== live) continue
      this.table.flags[entry] = flags | ordered
      this.order.insert(entry, (other) => this.compareEntries(other, entry))
    }
    this.unordered.length = 0
    return this.order.lower((entry) => {
      const trees = (this.table.treeId[entry] as number) - treeId
      return trees !== 0 ? trees : this.compareKey(entry, key)
    })
  }

  /** The entry at a position, or -1 where the order ends. */
  entryAt(position: number): number {
    return this.order.at(position)
  }

  positionAfter(position: number): number {
    return this.order.next(position)
  }

  positionBefore(position: number): number {
    return this.order.previous(position)
  }
}

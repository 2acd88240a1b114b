/**
 * Versions that left the leaves while a reader of the past still needs them.
 *
 * What displaces a record hands it over with its span: [from, to), its version and that of what displaced it. A reader
 * at S (exclusive) sees it iff from < S ≤ to. Spans of one key never overlap, so at most one is seen.
 *
 * ```
 *   displace ──▶ visible queue ── visible passes `to` ──▶ durable queue ── durable passes `to` ──▶ a reader's list
 *                (needed by the visible pin alone)        (needed by the durable pin)              or dropped
 *   a reader's last pin goes ──▶ the list of the next older pin that needs the entry, or dropped
 * ```
 *
 * An entry is looked at once per queue and once per pin that lets it go: amortised constant work, and a long-lived
 * reader keeps only what it needs, not everything that changed since.
 *
 * I1 An entry lives as long as some pin S has from < S ≤ to, and little longer.
 * I2 Every live entry is in exactly one list, and in the hash table.
 *
 * Point reads go through a hash table; the order for ranges is made when the first range of the past is read, as most
 * overwritten versions are gone after the next sync. Entries are columns of typed arrays. A spill file would take the
 * `held` slabs. Rejected: a tree of pages, which costs every overwrite a second insert and removal.
 */
import { invariant } from "../Invariant.ts"
import { widerBytes, widerFloats, widerInts } from "./Columns.ts"
import type { KeyScratch } from "./KeyScratch.ts"
import { Kind } from "./Leaf.ts"
import { Pins } from "./Pins.ts"
import { compareKeys } from "./Search.ts"
import { Slabs } from "./Slabs.ts"
import { VersionOrder } from "./VersionOrder.ts"

/** A value in the log that nothing refers to any more. */
export interface DroppedReference {
  readonly treeId: number
  /** LSN of the record that holds the value. */
  readonly lsn: number
  readonly bytes: number
}

/** Flags of an entry. */
const live = 1
const held = 2
const ordered = 4
const waiting = 8

const bytesPerEntry = 4 * 7 + 8 * 3 + 2

export class Versions {
  readonly pins: Pins
  /** References that were dropped since the owner last took them. */
  dropped: Array<DroppedReference> = []
  /** The largest `to` of all entries ever: a reader above it needs nothing from here. */
  newest = -1
  private count = 0
  private capacity = 64
  private treeId = new Int32Array(64)
  private keyBytes = new Int32Array(64)
  private valueBytes = new Int32Array(64)
  private place = new Int32Array(64)
  private hash = new Int32Array(64)
  /** Next entry with the same bucket. */
  private chain = new Int32Array(64)
  /** Next entry of the queue, the pin's list, or the list of free entries. */
  private link = new Int32Array(64)
  private from = new Float64Array(64)
  private to = new Float64Array(64)
  private expiry = new Float64Array(64)
  private kind = new Uint8Array(64)
  private flags = new Uint8Array(64)
  private buckets = new Int32Array(128).fill(-1)
  private freeHead = -1
  private bound = 0
  private visibleHead = -1
  private visibleTail = -1
  private durableHead = -1
  private durableTail = -1
  /** Slabs of entries in the queues, which leave in order, and of those that readers hold. */
  private readonly fresh = new Slabs()
  private readonly kept = new Slabs()
  private readonly order = new VersionOrder()
  /** Live entries that are not in the order yet. */
  private unordered: Array<number> = []

  constructor(bounds: { readonly durable: number; readonly visible: number }) {
    this.pins = new Pins(bounds)
  }

  get size(): number {
    return this.count
  }

  get bytes(): number {
    return this.capacity * bytesPerEntry + this.buckets.length * 4 + this.fresh.bytes + this.kept.bytes
      + this.order.bytes + this.unordered.length * 8
  }

  /** Holds all that a reader at `lsn` sees. Sound only at the visible LSN or where another pin stands. */
  pin(lsn: number): void {
    this.pins.add(lsn)
  }

  unpin(lsn: number): void {
    const pin = this.pins.remove(lsn)
    if (pin === undefined) return
    for (let entry = pin.head; entry >= 0;) {
      const next = this.link[entry] as number
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
    while (this.visibleHead >= 0 && (this.to[this.visibleHead] as number) < lsn) {
      const entry = this.visibleHead
      this.visibleHead = this.link[entry] as number
      this.settle(entry)
    }
  }

  setDurable(lsn: number): void {
    const { pins } = this
    invariant(lsn >= pins.durable && lsn <= pins.visible, "Pins I1")
    pins.durable = lsn
    while (this.durableHead >= 0 && (this.to[this.durableHead] as number) < lsn) {
      const entry = this.durableHead
      this.durableHead = this.link[entry] as number
      this.settle(entry)
    }
  }

  /** Finds the list that an entry belongs to now, or drops it. */
  private settle(entry: number): void {
    const from = this.from[entry] as number
    const to = this.to[entry] as number
    if (from < this.pins.durable && this.pins.durable <= to) return this.queueForDurable(entry)
    const holder = this.pins.holder(from, to)
    if (holder === undefined) return this.drop(entry)
    if (((this.flags[entry] as number) & held) === 0) this.keep(entry)
    this.link[entry] = holder.head
    holder.head = entry
  }

  private queueForDurable(entry: number): void {
    this.link[entry] = -1
    if (this.durableHead < 0) this.durableHead = entry
    else this.link[this.durableTail] = entry
    this.durableTail = entry
  }

  private queueForVisible(entry: number): void {
    this.link[entry] = -1
    if (this.visibleHead < 0) this.visibleHead = entry
    else this.link[this.visibleTail] = entry
    this.visibleTail = entry
  }

  /** Moves an entry's bytes to the slabs of what readers hold, so that the others empty in order. */
  private keep(entry: number): void {
    const from = this.place[entry] as number
    const words = this.wordsOf(entry)
    const place = this.kept.allocate(words)
    const start = from & 0xffff
    this.kept.words(place).set(this.fresh.words(from).subarray(start, start + words), place & 0xffff)
    this.fresh.drop(from)
    this.place[entry] = place
    this.flags[entry] = (this.flags[entry] as number) | held
  }

  private wordsOf(entry: number): number {
    return ((this.keyBytes[entry] as number) + 3 >>> 2) + ((this.valueBytes[entry] as number) + 3 >>> 2)
  }

  /**
   * Takes over a record that `to` displaces, if some pin needs it. Its key is in `key`, its value of `valueBytes` at
   * word `valueAt` of `words`.
   */
  displace(
    treeId: number,
    key: KeyScratch,
    from: number,
    to: number,
    kind: number,
    expiry: number,
    words: Int32Array,
    valueAt: number,
    valueBytes: number
  ): void {
    const { pins } = this
    const byDurable = from < pins.durable && pins.durable <= to
    if (!byDurable && !(from < pins.visible && pins.visible <= to) && pins.holder(from, to) === undefined) {
      if (kind === Kind.Reference) this.dropReference(treeId, words, valueAt)
      return
    }
    const entry = this.take()
    this.treeId[entry] = treeId
    this.from[entry] = from
    this.to[entry] = to
    this.kind[entry] = kind
    this.expiry[entry] = expiry
    this.keyBytes[entry] = key.length
    this.valueBytes[entry] = valueBytes
    this.flags[entry] = live | (this.flags[entry] as number) & waiting
    this.write(entry, key, words, valueAt)
    const hash = hashOf(treeId, key.words, 0, key.length)
    this.hash[entry] = hash
    const bucket = hash & this.buckets.length - 1
    this.chain[entry] = this.buckets[bucket] as number
    this.buckets[bucket] = entry
    if (((this.flags[entry] as number) & waiting) === 0) {
      this.flags[entry] = (this.flags[entry] as number) | waiting
      this.unordered.push(entry)
    }
    if (to > this.newest) this.newest = to
    if (byDurable) this.queueForDurable(entry)
    else this.queueForVisible(entry)
  }

  private write(entry: number, key: KeyScratch, words: Int32Array, valueAt: number): void {
    const place = this.fresh.allocate(this.wordsOf(entry))
    this.place[entry] = place
    const target = this.fresh.words(place)
    let at = place & 0xffff
    const keyWords = key.length + 3 >>> 2
    for (let word = 0; word < keyWords; word++) target[at++] = key.words[word] as number
    const valueWords = (this.valueBytes[entry] as number) + 3 >>> 2
    for (let word = 0; word < valueWords; word++) target[at++] = words[valueAt + word] as number
  }

  /** A reference to the log is gone from the tree or from here: `valueAt` is where its value stands. */
  dropReference(treeId: number, words: Int32Array, valueAt: number): void {
    const lsn = ((words[valueAt + 1] as number) >>> 0) * 4_294_967_296 + ((words[valueAt] as number) >>> 0)
    this.dropped.push({ treeId, lsn, bytes: (words[valueAt + 2] as number) >>> 0 })
  }

  private take(): number {
    this.count++
    if (this.freeHead >= 0) {
      const entry = this.freeHead
      this.freeHead = this.link[entry] as number
      return entry
    }
    if (this.bound === this.capacity) this.grow()
    return this.bound++
  }

  private drop(entry: number): void {
    const flags = this.flags[entry] as number
    const place = this.place[entry] as number
    const slabs = (flags & held) === 0 ? this.fresh : this.kept
    if (this.kind[entry] === Kind.Reference) {
      const valueAt = (place & 0xffff) + ((this.keyBytes[entry] as number) + 3 >>> 2)
      this.dropReference(this.treeId[entry] as number, slabs.words(place), valueAt)
    }
    if ((flags & ordered) !== 0) this.order.remove(entry, (other) => this.compareEntries(other, entry))
    this.unchain(entry)
    slabs.drop(place)
    this.flags[entry] = flags & waiting
    this.link[entry] = this.freeHead
    this.freeHead = entry
    this.count--
  }

  private unchain(entry: number): void {
    const bucket = (this.hash[entry] as number) & this.buckets.length - 1
    let at = this.buckets[bucket] as number
    if (at === entry) {
      this.buckets[bucket] = this.chain[entry] as number
      return
    }
    while (this.chain[at] !== entry) at = this.chain[at] as number
    this.chain[at] = this.chain[entry] as number
  }

  /** The entry of a key that a reader at `at` sees, or -1. */
  get(treeId: number, key: KeyScratch, at: number): number {
    if (at > this.newest || this.count === 0) return -1
    const hash = hashOf(treeId, key.words, 0, key.length)
    let entry = this.buckets[hash & this.buckets.length - 1] as number
    for (; entry >= 0; entry = this.chain[entry] as number) {
      if (this.hash[entry] !== hash || !this.isSeen(entry, at) || this.treeId[entry] !== treeId) continue
      if (this.compareKey(entry, key) === 0) return entry
    }
    return -1
  }

  isSeen(entry: number, at: number): boolean {
    return (this.from[entry] as number) < at && at <= (this.to[entry] as number)
  }

  treeOf(entry: number): number {
    return this.treeId[entry] as number
  }

  kindOf(entry: number): number {
    return this.kind[entry] as number
  }

  versionOf(entry: number): number {
    return this.from[entry] as number
  }

  expiryOf(entry: number): number {
    return this.expiry[entry] as number
  }

  keyBytesOf(entry: number): number {
    return this.keyBytes[entry] as number
  }

  valueBytesOf(entry: number): number {
    return this.valueBytes[entry] as number
  }

  /** The bytes that hold an entry's key and value, until the next change here. */
  bytesOf(entry: number): Uint8Array {
    const place = this.place[entry] as number
    return this.slabsOf(entry).bytesOf(place)
  }

  /** The same by words. */
  wordsOfEntry(entry: number): Int32Array {
    return this.slabsOf(entry).words(this.place[entry] as number)
  }

  keyAt(entry: number): number {
    return ((this.place[entry] as number) & 0xffff) * 4
  }

  valueAt(entry: number): number {
    return this.keyAt(entry) + ((this.keyBytes[entry] as number) + 3 & ~3)
  }

  private slabsOf(entry: number): Slabs {
    return ((this.flags[entry] as number) & held) === 0 ? this.fresh : this.kept
  }

  /** Order of an entry's key and `key`. */
  compareKey(entry: number, key: KeyScratch): number {
    const place = this.place[entry] as number
    const words = this.slabsOf(entry).words(place)
    return compareKeys(words, place & 0xffff, this.keyBytes[entry] as number, key.words, 0, key.length)
  }

  private compareEntries(a: number, b: number): number {
    const trees = (this.treeId[a] as number) - (this.treeId[b] as number)
    if (trees !== 0) return trees
    const [aPlace, bPlace] = [this.place[a] as number, this.place[b] as number]
    const [aWords, bWords] = [this.slabsOf(a).words(aPlace), this.slabsOf(b).words(bPlace)]
    const [aBytes, bBytes] = [this.keyBytes[a] as number, this.keyBytes[b] as number]
    const keys = compareKeys(aWords, aPlace & 0xffff, aBytes, bWords, bPlace & 0xffff, bBytes)
    return keys !== 0 ? keys : (this.from[a] as number) - (this.from[b] as number)
  }

  /** Position of the first entry of a tree whose key is at or above `key`; with `nextEntry` from there on. */
  seek(treeId: number, key: KeyScratch): number {
    for (const entry of this.unordered) {
      const flags = (this.flags[entry] as number) & ~waiting
      this.flags[entry] = flags
      if ((flags & (live | ordered)) !== live) continue
      this.flags[entry] = flags | ordered
      this.order.insert(entry, (other) => this.compareEntries(other, entry))
    }
    this.unordered.length = 0
    return this.order.lower((entry) => {
      const trees = (this.treeId[entry] as number) - treeId
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

  private grow(): void {
    const capacity = this.capacity * 2
    this.treeId = widerInts(this.treeId, capacity)
    this.keyBytes = widerInts(this.keyBytes, capacity)
    this.valueBytes = widerInts(this.valueBytes, capacity)
    this.place = widerInts(this.place, capacity)
    this.hash = widerInts(this.hash, capacity)
    this.chain = widerInts(this.chain, capacity)
    this.link = widerInts(this.link, capacity)
    this.from = widerFloats(this.from, capacity)
    this.to = widerFloats(this.to, capacity)
    this.expiry = widerFloats(this.expiry, capacity)
    this.kind = widerBytes(this.kind, capacity)
    this.flags = widerBytes(this.flags, capacity)
    this.capacity = capacity
    this.rehash()
  }

  private rehash(): void {
    this.buckets = new Int32Array(this.capacity * 2).fill(-1)
    for (let entry = 0; entry < this.bound; entry++) {
      if (((this.flags[entry] as number) & live) === 0) continue
      const bucket = (this.hash[entry] as number) & this.buckets.length - 1
      this.chain[entry] = this.buckets[bucket] as number
      this.buckets[bucket] = entry
    }
  }
}

/** Mixes a tree id and a zero-padded key; its length is not mixed in, the comparison sees it. */
function hashOf(treeId: number, words: Int32Array, at: number, bytes: number): number {
  let hash = treeId
  for (let word = 0, end = bytes + 3 >>> 2; word < end; word++) {
    hash = Math.imul(hash ^ (words[at + word] as number), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  return hash
}

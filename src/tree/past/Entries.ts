/**
 * Displaced versions in memory: their spans, keys and values, found by key and in order.
 *
 * An entry is a row of numbers (`VersionTable.ts`) and a blob of key and value in a slab. Point reads go through a hash
 * table; the order for ranges is made when the first range of the past is read, as most overwritten versions are gone
 * after the next sync. An entry of kind Tombstone says that the key was absent in its span, which the base page behind
 * the mini-page it came from does not know; one of kind Operand stands on that page's record (`Operand.ts`).
 *
 * I1 Of the entries of one key that are here to stay, at most one is seen at any LSN.
 *
 * It must not know who needs an entry, nor why one goes.
 */
import type { KeyScratch } from "../page/KeyScratch.ts"
import { Kind } from "../page/Leaf.ts"
import type { DroppedReference } from "../page/Reference.ts"
import { droppedAt } from "../page/Reference.ts"
import { compareKeys } from "../page/Search.ts"
import * as Block from "./Block.ts"
import { Slabs } from "./Slabs.ts"
import { VersionOrder } from "./VersionOrder.ts"
import { hashOf, VersionTable } from "./VersionTable.ts"

/** Flags of an entry. */
export const Flag = {
  live: 1,
  /** Readers hold it: its blob is among the kept ones. */
  held: 2,
  ordered: 4,
  /** It is among those that are not in the order yet, dead or alive. */
  waiting: 8,
  /** It is being written to the scratch file. */
  leaving: 16,
  /** Nobody needs it any more, but it is being written. */
  gone: 32,
  /** Its span may reach over an entry in the scratch file, which is newer and counts where both are seen. */
  wide: 64,
  /** A copy of one in the scratch file, for a moment. */
  recalled: 128
} as const

/** What an entry costs in memory beside its key and value: its columns and two buckets. */
export const rowBytes = 62

export class Entries {
  protected readonly table = new VersionTable()
  /** Slabs of entries that wait for the sync, which leave in order, and of those that readers hold. */
  protected readonly fresh: Slabs
  protected readonly kept: Slabs
  private readonly passing: Slabs
  /** Copies of entries in the scratch file. */
  private readonly recalled: Array<number> = []
  private readonly order = new VersionOrder()
  /** Live entries that are not in the order yet. */
  private unordered: Array<number> = []

  constructor(slabBytes: number) {
    this.fresh = new Slabs(slabBytes)
    this.kept = new Slabs(slabBytes)
    this.passing = new Slabs(slabBytes)
  }

  get size(): number {
    return this.table.size
  }

  protected get entryBytes(): number {
    return this.table.bytes + this.fresh.bytes + this.kept.bytes + this.passing.bytes + this.order.bytes +
      this.unordered.length * 8
  }

  /** Words of an entry's key and value. */
  wordsOf(entry: number): number {
    return ((this.table.keyBytes[entry] as number) + 3 >>> 2) +
      ((this.table.valueBytes[entry] as number) + 3 >>> 2)
  }

  protected has(entry: number, flag: number): boolean {
    return ((this.table.flags[entry] as number) & flag) !== 0
  }

  protected mark(entry: number, flag: number): void {
    this.table.flags[entry] = (this.table.flags[entry] as number) | flag
  }

  protected unmark(entry: number, flag: number): void {
    this.table.flags[entry] = (this.table.flags[entry] as number) & ~flag
  }

  /** Puts a new entry where it is found; its columns and its blob are there. */
  protected found(entry: number, hash: number): void {
    this.table.enter(entry, hash)
    if (this.has(entry, Flag.waiting)) return
    this.mark(entry, Flag.waiting)
    this.unordered.push(entry)
  }

  /** Writes a blob: the key, and the value at word `valueAt` of `words`. */
  protected write(entry: number, key: KeyScratch, words: Int32Array, valueAt: number, slabs: Slabs): void {
    const place = slabs.allocate(this.wordsOf(entry))
    this.table.place[entry] = place
    const target = slabs.words(place)
    let at = place & 0xffff
    const keyWords = key.length + 3 >>> 2
    for (let word = 0; word < keyWords; word++) target[at++] = key.words[word] as number
    const valueWords = (this.table.valueBytes[entry] as number) + 3 >>> 2
    for (let word = 0; word < valueWords; word++) target[at++] = words[valueAt + word] as number
  }

  /** Moves a blob into the slabs of what readers hold, from wherever it is. */
  protected move(entry: number): void {
    const from = this.table.place[entry] as number
    const slabs = this.slabsOf(entry)
    const words = this.wordsOf(entry)
    const place = this.kept.allocate(words)
    const start = from & 0xffff
    this.kept.words(place).set(slabs.words(from).subarray(start, start + words), place & 0xffff)
    slabs.drop(from)
    this.table.place[entry] = place
  }

  /** Forgets an entry. */
  protected erase(entry: number): void {
    const flags = this.table.flags[entry] as number
    if ((flags & Flag.ordered) !== 0) this.order.remove(entry, (other) => this.compareEntries(other, entry))
    this.slabsOf(entry).drop(this.table.place[entry] as number)
    this.table.flags[entry] = flags & Flag.waiting
    this.table.free(entry)
    if (this.table.shrink()) this.unordered = []
  }

  /** Gives back what is kept to be used again, and was not needed since it was called last. */
  trim(): void {
    if (this.table.trim()) this.unordered = []
    this.fresh.trim()
    this.kept.trim()
    this.passing.trim()
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

  /** The entry of a key that a reader at `at` sees, or -1. */
  get(treeId: number, key: KeyScratch, at: number): number {
    if (this.table.size === 0) return -1
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

  /** Version of what displaced it. */
  endOf(entry: number): number {
    return this.table.to[entry] as number
  }

  expiryOf(entry: number): number {
    return this.table.expiry[entry] as number
  }

  hashOfEntry(entry: number): number {
    return this.table.hash[entry] as number
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

  protected slabsOf(entry: number): Slabs {
    const flags = (this.table.flags[entry] as number) & (Flag.held | Flag.recalled)
    return flags === 0 ? this.fresh : flags === Flag.held ? this.kept : this.passing
  }

  /** Whether entries of one key may be seen beside each other now: the newest counts. */
  get isRecalling(): boolean {
    return this.recalled.length > 0
  }

  /** Copies an entry of a block to here, until `forgetRecalled`: it is found and ordered like the others. */
  recall(block: Int32Array, at: number): void {
    const { table } = this
    const entry = table.take()
    table.treeId[entry] = Block.treeOf(block, at)
    table.from[entry] = Block.versionOf(block, at)
    table.to[entry] = Block.endOf(block, at)
    table.kind[entry] = Block.kindOf(block, at)
    table.expiry[entry] = Block.expiryOf(block, at)
    table.keyBytes[entry] = Block.keyBytesOf(block, at)
    table.valueBytes[entry] = Block.valueBytesOf(block, at)
    table.flags[entry] = Flag.live | Flag.recalled | (table.flags[entry] as number) & Flag.waiting
    const words = this.wordsOf(entry)
    const place = table.place[entry] = this.passing.allocate(words)
    const from = Block.keyAt(at)
    this.passing.words(place).set(block.subarray(from, from + words), place & 0xffff)
    // Nobody looks for it by its key.
    this.found(entry, 0)
    // Its place among them, oldest run first: it is in no list.
    table.link[entry] = this.recalled.length
    this.recalled.push(entry)
  }

  forgetRecalled(): void {
    for (const entry of this.recalled) this.erase(entry)
    this.recalled.length = 0
  }

  /** Order of an entry's key and `key`. */
  compareKey(entry: number, key: KeyScratch): number {
    const place = this.table.place[entry] as number
    const words = this.slabsOf(entry).words(place)
    return compareKeys(words, place & 0xffff, this.table.keyBytes[entry] as number, key.words, 0, key.length)
  }

  /**
   * Whether `a` counts rather than `b`, an entry of the same key, where both are seen: the newer one. Of one
   * version (a commit may write a key twice) it is the one that was displaced first: what the file has, the oldest run.
   */
  counts(a: number, b: number): boolean {
    const { flags, from, link } = this.table
    const versions = (from[a] as number) - (from[b] as number)
    if (versions !== 0) return versions > 0
    const aRecalled = (flags[a] as number) & Flag.recalled
    const bRecalled = (flags[b] as number) & Flag.recalled
    return aRecalled !== bRecalled
      ? aRecalled !== 0
      : aRecalled !== 0 && (link[a] as number) < (link[b] as number)
  }

  /** Order of two entries: by tree, key and version; of one version in any order that is one. */
  compareEntries(a: number, b: number): number {
    const { from, keyBytes, place, treeId } = this.table
    const trees = (treeId[a] as number) - (treeId[b] as number)
    if (trees !== 0) return trees
    const aPlace = place[a] as number
    const bPlace = place[b] as number
    const aWords = this.slabsOf(a).words(aPlace)
    const bWords = this.slabsOf(b).words(bPlace)
    const aBytes = keyBytes[a] as number
    const bBytes = keyBytes[b] as number
    const keys = compareKeys(aWords, aPlace & 0xffff, aBytes, bWords, bPlace & 0xffff, bBytes)
    return keys || (from[a] as number) - (from[b] as number) || a - b
  }

  /** Position of the first entry of a tree whose key is at or above `key`; with `entryAt` from there on. */
  seek(treeId: number, key: KeyScratch): number {
    for (const entry of this.unordered) {
      this.unmark(entry, Flag.waiting)
      if (((this.table.flags[entry] as number) & (Flag.live | Flag.ordered)) !== Flag.live) continue
      this.mark(entry, Flag.ordered)
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

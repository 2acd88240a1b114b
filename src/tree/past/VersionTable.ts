/**
 * The columns of displaced versions: a row of numbers per entry, found by a hash of tree and key.
 *
 * I1 A row is free or taken; the rows that are taken are chained from their buckets once they are hashed.
 */
import { widerBytes, widerFloats, widerInts } from "../memory/Columns.ts"

const bytesPerRow = 4 * 7 + 8 * 3 + 2
const leastRows = 64
/** A table that is longer may give its memory back; one that is not would only be made anew. */
const keptRows = 1_024

export class VersionTable {
  treeId = new Int32Array(leastRows)
  keyBytes = new Int32Array(leastRows)
  valueBytes = new Int32Array(leastRows)
  /** Place of key and value in the slabs. */
  place = new Int32Array(leastRows)
  hash = new Int32Array(leastRows)
  /** Next row of the bucket. */
  chain = new Int32Array(leastRows)
  /** Next row of the list that the entry is in; of free rows, the next free one. */
  link = new Int32Array(leastRows)
  from = new Float64Array(leastRows)
  to = new Float64Array(leastRows)
  expiry = new Float64Array(leastRows)
  kind = new Uint8Array(leastRows)
  flags = new Uint8Array(leastRows)
  /** Rows that are taken, and the most that were since `trim`. */
  size = 0
  private most = 0
  private isSpacious = false
  private buckets = new Int32Array(2 * leastRows).fill(-1)
  private freeHead = -1
  /** One past the highest row ever taken. */
  private bound = 0

  get bytes(): number {
    return this.link.length * bytesPerRow + this.buckets.length * 4
  }

  take(): number {
    if (++this.size > this.most) this.most = this.size
    if (this.freeHead >= 0) {
      const row = this.freeHead
      this.freeHead = this.link[row] as number
      return row
    }
    if (this.bound === this.link.length) this.grow()
    return this.bound++
  }

  /** Gives a row back that was taken and hashed. */
  free(row: number): void {
    this.unchain(row)
    this.keyBytes[row] = -1
    this.link[row] = this.freeHead
    this.freeHead = row
    this.size--
  }

  /** The first row that may have this hash, or -1; follow `chain`. */
  first(hash: number): number {
    return this.buckets[hash & this.buckets.length - 1] as number
  }

  /** Puts a row first in its bucket. */
  enter(row: number, hash: number): void {
    const bucket = hash & this.buckets.length - 1
    this.hash[row] = hash
    this.chain[row] = this.buckets[bucket] as number
    this.buckets[bucket] = row
  }

  /** All rows that are taken. */
  *rows(): Generator<number> {
    for (let row = 0; row < this.bound; row++) if ((this.keyBytes[row] as number) >= 0) yield row
  }

  private unchain(row: number): void {
    const bucket = (this.hash[row] as number) & this.buckets.length - 1
    let at = this.buckets[bucket] as number
    if (at === row) {
      this.buckets[bucket] = this.chain[row] as number
      return
    }
    while (this.chain[at] !== row) at = this.chain[at] as number
    this.chain[at] = this.chain[row] as number
  }

  /** Gives back what a burst of rows took where fewer than half of them were needed since; see `shrink`. */
  trim(): boolean {
    this.isSpacious = this.link.length > keptRows && this.most * 2 < this.link.length
    this.most = this.size
    return this.shrink()
  }

  /** The same, as soon as no row is taken: false as long as one is, and where it is not worth it. */
  shrink(): boolean {
    if (!this.isSpacious || this.size > 0) return false
    this.isSpacious = false
    this.bound = 0
    this.freeHead = -1
    this.buckets = new Int32Array(2 * leastRows).fill(-1)
    this.resize(leastRows)
    return true
  }

  /** By a quarter once it is large: what is taken and not used counts as memory. */
  private grow(): void {
    const { length: before } = this.link
    const length = before < 4_096 ? before * 2 : before + (before >>> 2)
    this.resize(length)
    if (this.buckets.length >= length) return
    this.buckets = new Int32Array(2 ** Math.ceil(Math.log2(length))).fill(-1)
    for (let row = 0; row < this.bound; row++) {
      if ((this.keyBytes[row] as number) >= 0) this.enter(row, this.hash[row] as number)
    }
  }

  private resize(length: number): void {
    const { bound } = this
    this.treeId = widerInts(this.treeId.subarray(0, bound), length)
    this.keyBytes = widerInts(this.keyBytes.subarray(0, bound), length)
    this.valueBytes = widerInts(this.valueBytes.subarray(0, bound), length)
    this.place = widerInts(this.place.subarray(0, bound), length)
    this.hash = widerInts(this.hash.subarray(0, bound), length)
    this.chain = widerInts(this.chain.subarray(0, bound), length)
    this.link = widerInts(this.link.subarray(0, bound), length)
    this.from = widerFloats(this.from.subarray(0, bound), length)
    this.to = widerFloats(this.to.subarray(0, bound), length)
    this.expiry = widerFloats(this.expiry.subarray(0, bound), length)
    this.kind = widerBytes(this.kind.subarray(0, bound), length)
    this.flags = widerBytes(this.flags.subarray(0, bound), length)
  }
}

/** Mixes a tree id and a zero-padded key; its length is not mixed in, the comparison sees it. */
export const hashOf = (treeId: number, words: Int32Array, bytes: number): number =>
  hashAt(treeId, words, 0, bytes)

/** The same of a key of `bytes` that stands at a word. */
export function hashAt(treeId: number, words: Int32Array, at: number, bytes: number): number {
  let hash = treeId
  for (let word = at, end = at + (bytes + 3 >>> 2); word < end; word++) {
    hash = Math.imul(hash ^ (words[word] as number), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  return hash
}

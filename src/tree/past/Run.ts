/**
 * A run: older versions that went to the scratch file together, sorted, and what memory knows of them.
 *
 * Of each block memory has where it is, its checksum, and the first entry's tree, key and version: 24 bytes and the
 * key. Of each entry it has one byte, in a filter that says of most keys that they are not here (Bloom 1970; four bits
 * of each key, some 2 % of false hopes). With forty entries to a block that is two to three bytes for an older version.
 *
 * I1 Entries ascend by tree, key and version, within blocks and from block to block.
 * I2 No entry's span reaches outside (from, to].
 */
import { invariant } from "../../Invariant.ts"
import { widerFloats, widerInts } from "../memory/Columns.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import { compareKeys } from "../page/Search.ts"
import * as Block from "./Block.ts"
import type { Pin } from "./Pins.ts"

/** What a run costs beside its arrays. */
const objectBytes = 1_024

/** A block of a run. */
export interface Wanted {
  readonly run: Run
  readonly index: number
}

export class Run {
  readonly id: number
  /** Blocks. */
  count = 0
  slots = new Int32Array(8)
  checksums = new Int32Array(8)
  /** The least version, and the largest that displaced one. */
  from = Infinity
  to = -1
  /** The newest pin that may need something here. */
  holder: Pin | undefined = undefined
  private trees = new Int32Array(8)
  private keyBytes = new Int32Array(8)
  private keyAt = new Int32Array(8)
  private versions = new Float64Array(8)
  private keys = new Int32Array(64)
  private keysUsed = 0
  private readonly filter: Int32Array
  private readonly mask: number

  /** For so many entries. */
  constructor(id: number, entries: number) {
    this.id = id
    const words = 2 ** Math.ceil(Math.log2(Math.max(1, entries / 4)))
    this.filter = new Int32Array(words)
    this.mask = words * 32 - 1
  }

  /** What memory has of it. */
  get bytes(): number {
    return objectBytes + 4 * (this.filter.length + this.keys.length) + 28 * this.slots.length
  }

  /** Notes a key, by its hash. */
  note(hash: number): void {
    const step = stepOf(hash)
    for (let probe = 0, bit = hash; probe < 4; probe++, bit = bit + step | 0) {
      const at = bit & this.mask
      this.filter[at >>> 5] = (this.filter[at >>> 5] as number) | 1 << (at & 31)
    }
  }

  /** Whether a key may be here. */
  mayHave(hash: number): boolean {
    const step = stepOf(hash)
    for (let probe = 0, bit = hash; probe < 4; probe++, bit = bit + step | 0) {
      const at = bit & this.mask
      if (((this.filter[at >>> 5] as number) & 1 << (at & 31)) === 0) return false
    }
    return true
  }

  /** An entry's span is within the run's. */
  cover(from: number, to: number): void {
    if (from < this.from) this.from = from
    if (to > this.to) this.to = to
  }

  isSeen(at: number): boolean {
    return this.from < at && at <= this.to
  }

  /** Adds the next block, which is at a slot of the file. */
  add(block: Int32Array, slot: number, checksum: number): void {
    invariant(Block.count(block) > 0, "Run I1")
    if (this.count === this.slots.length) this.resize(this.count * 2)
    const index = this.count++
    const first = Block.entryAt(block, 0)
    const bytes = Block.keyBytesOf(block, first)
    const words = bytes + 3 >>> 2
    if (this.keysUsed + words > this.keys.length) {
      this.keys = widerInts(this.keys, Math.max(this.keysUsed + words, this.keys.length * 2))
    }
    const from = Block.keyAt(first)
    for (let word = 0; word < words; word++) this.keys[this.keysUsed + word] = block[from + word] as number
    this.slots[index] = slot
    this.checksums[index] = checksum
    this.trees[index] = Block.treeOf(block, first)
    this.keyBytes[index] = bytes
    this.keyAt[index] = this.keysUsed
    this.versions[index] = Block.versionOf(block, first)
    this.keysUsed += words
  }

  /** Order of the tree and key that a block begins with, and a tree's key. */
  compareKey(index: number, treeId: number, key: KeyScratch): number {
    const trees = (this.trees[index] as number) - treeId
    if (trees !== 0) return trees
    const bytes = this.keyBytes[index] as number
    return compareKeys(this.keys, this.keyAt[index] as number, bytes, key.words, 0, key.length)
  }

  /** Whether a block begins within a tree. */
  isOfTree(index: number, treeId: number): boolean {
    return this.trees[index] === treeId
  }

  /** Loads the key that a block begins with. */
  loadKey(index: number, key: KeyScratch): void {
    key.assemble(this.keys, 0, 0, this.keys, this.keyAt[index] as number, this.keyBytes[index] as number)
  }

  /** The last block that begins below a tree's key at a version; -1 = none does. */
  before(treeId: number, key: KeyScratch, version: number): number {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = low + high >>> 1
      const keys = this.compareKey(middle, treeId, key)
      if (keys < 0 || keys === 0 && (this.versions[middle] as number) < version) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** No block follows: what was taken for more is given back. */
  end(): void {
    this.resize(this.count)
    this.keys = this.keys.slice(0, this.keysUsed)
  }

  private resize(length: number): void {
    const { count } = this
    this.slots = widerInts(this.slots.subarray(0, count), length)
    this.checksums = widerInts(this.checksums.subarray(0, count), length)
    this.trees = widerInts(this.trees.subarray(0, count), length)
    this.keyBytes = widerInts(this.keyBytes.subarray(0, count), length)
    this.keyAt = widerInts(this.keyAt.subarray(0, count), length)
    this.versions = widerFloats(this.versions.subarray(0, count), length)
  }
}

/** The distance of a key's bits, from its hash; odd, so that it is not zero. */
const stepOf = (hash: number): number => Math.imul(hash ^ hash >>> 15, 0x85ebca6b) | 1

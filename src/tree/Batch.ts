/**
 * What a pull of a cursor gives: records packed into one growing buffer, decoded only where they are looked at.
 *
 * A batch is filled again and again; what is taken out of it are copies.
 */
import { widerBytes, widerFloats, widerInts } from "./Columns.ts"
import type { KeyScratch } from "./KeyScratch.ts"
import { Kind } from "./Leaf.ts"
import type { Reference } from "./Reference.ts"
import { readReference } from "./Reference.ts"

export class Batch {
  /** Records in the batch. */
  count = 0
  /** True when the range has nothing beyond this batch. */
  ended = false
  /**
   * Where to go on when it has: the new lower bound of an ascending range, the new upper bound of a descending one.
   * Undefined where nothing was read yet.
   */
  position: Uint8Array | undefined = undefined
  /** Keys and values, each from a whole word on. */
  bytes = new Uint8Array(4096)
  /** The same memory by words. */
  words = new Int32Array(this.bytes.buffer)
  /** Bytes of the buffer in use. */
  used = 0
  keyAt = new Int32Array(64)
  keyBytes = new Int32Array(64)
  valueAt = new Int32Array(64)
  valueBytes = new Int32Array(64)
  kinds = new Uint8Array(64)
  versions = new Float64Array(64)
  /** Milliseconds; Infinity where a record does not expire. */
  expiries = new Float64Array(64)

  reset(): void {
    this.count = 0
    this.used = 0
    this.ended = false
    this.position = undefined
  }

  /** A copy of the key of record `index`. */
  key(index: number): Uint8Array {
    const from = this.keyAt[index] as number
    return this.bytes.slice(from, from + (this.keyBytes[index] as number))
  }

  /** A copy of the value of record `index`; empty where only keys were asked for. */
  value(index: number): Uint8Array {
    const from = this.valueAt[index] as number
    return this.bytes.slice(from, from + (this.valueBytes[index] as number))
  }

  version(index: number): number {
    return this.versions[index] as number
  }

  kind(index: number): number {
    return this.kinds[index] as number
  }

  expiry(index: number): number {
    return this.expiries[index] as number
  }

  /** Where the value of record `index` lives, if that is the log. */
  reference(index: number): Reference | undefined {
    if (this.kinds[index] !== Kind.Reference || this.valueBytes[index] === 0) return undefined
    return readReference(this.value(index))
  }

  /** Adds a record with its key; the value follows with {@link addValue}. */
  add(key: KeyScratch, kind: number, version: number, expiry: number): void {
    const index = this.count
    if (index === this.keyAt.length) this.growSlots()
    const at = this.reserve(key.length)
    const words = key.length + 3 >>> 2
    for (let word = 0; word < words; word++) this.words[(at >>> 2) + word] = key.words[word] as number
    this.keyAt[index] = at
    this.keyBytes[index] = key.length
    this.valueAt[index] = this.used
    this.valueBytes[index] = 0
    this.kinds[index] = kind
    this.versions[index] = version
    this.expiries[index] = expiry
    this.count = index + 1
  }

  /** Gives the record added last its value: `length` bytes from word `from` on. */
  addValue(words: Int32Array, from: number, length: number): void {
    const index = this.count - 1
    const at = this.reserve(length)
    const count = length + 3 >>> 2
    if (count <= 32) {
      for (let word = 0; word < count; word++) this.words[(at >>> 2) + word] = words[from + word] as number
    } else {
      this.words.set(words.subarray(from, from + count), at >>> 2)
    }
    this.valueAt[index] = at
    this.valueBytes[index] = length
  }

  private reserve(length: number): number {
    const at = this.used
    const end = at + (length + 3 & ~3)
    if (end > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(end, this.bytes.length * 2) + 3 & ~3)
      bytes.set(this.bytes)
      this.bytes = bytes
      this.words = new Int32Array(bytes.buffer)
    }
    this.used = end
    return at
  }

  private growSlots(): void {
    const length = this.keyAt.length * 2
    this.keyAt = widerInts(this.keyAt, length)
    this.keyBytes = widerInts(this.keyBytes, length)
    this.valueAt = widerInts(this.valueAt, length)
    this.valueBytes = widerInts(this.valueBytes, length)
    this.kinds = widerBytes(this.kinds, length)
    this.versions = widerFloats(this.versions, length)
    this.expiries = widerFloats(this.expiries, length)
  }
}

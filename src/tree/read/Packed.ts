/**
 * Records that were read, a row each: columns of numbers, and values packed into one growing buffer.
 *
 * It is filled again and again; what is taken out of it are copies. What its rows are asked for is its owner's matter.
 *
 * I1 What is packed begins at a whole word; `bytes` and `words` are the same memory.
 */
import { widerBytes, widerFloats, widerInts } from "../memory/Columns.ts"
import * as Leaf from "../page/Leaf.ts"
import type { Reference } from "../page/Reference.ts"
import { readReference } from "../page/Reference.ts"
import { ValueOut } from "../page/ValueOut.ts"

/** Up to this many words a loop moves them faster than `set`. */
const loopWords = 32

/** Copies that callers take share memory, whichever rows they are of. */
const out = new ValueOut()

export class Packed {
  /** Records that expire at this time or before, in milliseconds, are left out. */
  now = -Infinity
  /** What is packed, each from a whole word on. */
  bytes = new Uint8Array(4096)
  /** The same memory by words. */
  words = new Int32Array(this.bytes.buffer)
  /** Bytes of the buffer in use. */
  used = 0
  /** Kind of the row's record; 0 = none. */
  kinds = new Uint8Array(64)
  valueAt = new Int32Array(64)
  valueBytes = new Int32Array(64)
  versions = new Float64Array(64)
  /** Milliseconds; Infinity where a record does not expire. */
  expiries = new Float64Array(64)

  /** Forgets whom it served; from here on records that expire at `now` or before are left out. */
  renew(now: number): void {
    this.now = now
    this.used = 0
  }

  kind(index: number): number {
    return this.kinds[index] as number
  }

  version(index: number): number {
    return this.versions[index] as number
  }

  expiry(index: number): number {
    return this.expiries[index] as number
  }

  /** Where the value of row `index` lives, if that is the log. */
  reference(index: number): Reference | undefined {
    if (this.kinds[index] !== Leaf.Kind.Reference || this.valueBytes[index] === 0) return undefined
    const from = this.valueAt[index] as number
    return readReference(this.bytes.subarray(from, from + (this.valueBytes[index] as number)))
  }

  /** Row `index` is a record without its value, which may follow with {@link setValue}. */
  setRow(index: number, kind: number, version: number, expiry: number): void {
    this.kinds[index] = kind
    this.valueAt[index] = 0
    this.valueBytes[index] = 0
    this.versions[index] = version
    this.expiries[index] = expiry
  }

  /** Row `index` is the record at word `record`, which has `stored` key bytes, but for its value. */
  protected setStored(index: number, words: Int32Array, record: number, stored: number): void {
    this.kinds[index] = Leaf.kindAt(words, record)
    this.versions[index] = Leaf.versionAt(words, record)
    this.expiries[index] = Leaf.expiryAt(words, record, stored)
  }

  /** Gives row `index` its value: `length` bytes from word `from` on. */
  setValue(index: number, words: Int32Array, from: number, length: number): void {
    this.valueAt[index] = this.pack(words, from, length)
    this.valueBytes[index] = length
  }

  /** A copy of `length` bytes of what is packed, from byte `at` on. */
  protected copy(at: number, length: number): Uint8Array {
    return out.copy(this.words, this.bytes, at >>> 2, length)
  }

  /** Packs `length` bytes from word `from` on; answers the byte from which on they stand. */
  protected pack(words: Int32Array, from: number, length: number): number {
    const at = this.reserve(length)
    const count = length + 3 >>> 2
    const own = this.words
    if (count <= loopWords) {
      for (let word = 0, to = at >>> 2; word < count; word++) own[to + word] = words[from + word] as number
    } else {
      own.set(words.subarray(from, from + count), at >>> 2)
    }
    return at
  }

  /** Takes `length` bytes of the buffer, from the byte on that it answers. */
  protected reserve(length: number): number {
    const at = this.used
    const end = at + (length + 3 & ~3)
    if (end > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(end, this.bytes.length * 2) + 3 & ~3)
      bytes.set(this.bytes)
      this.hold(bytes)
    }
    this.used = end
    return at
  }

  protected hold(bytes: Uint8Array<ArrayBuffer>): void {
    this.bytes = bytes
    this.words = new Int32Array(bytes.buffer)
  }

  protected growRows(length: number): void {
    this.kinds = widerBytes(this.kinds, length)
    this.valueAt = widerInts(this.valueAt, length)
    this.valueBytes = widerInts(this.valueBytes, length)
    this.versions = widerFloats(this.versions, length)
    this.expiries = widerFloats(this.expiries, length)
  }
}

/** More memory than this is not kept for the next to come. */
const spareBytes = 256 * 1024
const sparesMax = 8

/** Those that were used and are free: making one costs as much as reading ten records into it. */
export class Spares<A extends Packed> {
  private readonly make: () => A
  private readonly free: Array<A> = []

  constructor(make: () => A) {
    this.make = make
  }

  take(now: number): A {
    const taken = this.free.pop() ?? this.make()
    taken.renew(now)
    return taken
  }

  /** To be called by whoever took it and does not look at it again. */
  give(used: A): void {
    if (used.bytes.length > spareBytes || this.free.length >= sparesMax) return
    used.renew(-Infinity)
    this.free.push(used)
  }
}

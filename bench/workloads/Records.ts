/**
 * The records that all engines are given: keys of 16 bytes that are computed, values of 100 bytes from one pool.
 *
 * I1 The same seed gives the same keys, values and requests in every engine and every process.
 *
 * A key is written into a buffer that the caller has, so that no engine pays for the bench's own garbage; a table of
 * keys would cost each request a miss of the processor's caches. Values are never changed after they are made: some
 * engines read them after the call has returned.
 */
import { random } from "../zipf.ts"

/** Bytes of a key. */
export const keyBytes = 16
/** Bytes of a value unless said. */
export const valueBytes = 100
/** Different values; what a record holds says which version of it was written. */
const pooled = 1_024

export type Order = "random" | "ascending"

/** Mixes 32 bits (the finisher of murmur3): a bijection. */
const mix = (word: number): number => {
  let mixed = Math.imul(word ^ word >>> 16, 0x85ebca6b)
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
  return mixed ^ mixed >>> 16
}

const swapped = (word: number): number =>
  word << 24 | (word & 0xff00) << 8 | word >>> 8 & 0xff00 | word >>> 24

export class Records {
  readonly capacity: number
  private readonly order: Order
  private readonly values: ReadonlyArray<Buffer>
  private readonly scratch: { readonly bytes: Buffer; readonly words: Int32Array }

  constructor(capacity: number, order: Order = "random", bytes: number = valueBytes) {
    this.capacity = capacity
    this.order = order
    const next = random(1)
    this.values = Array.from({ length: pooled }, () => {
      const value = Buffer.from(new ArrayBuffer(bytes))
      for (let at = 0; at < bytes; at++) value[at] = Math.floor(next() * 256)
      return value
    })
    this.scratch = scratchKey()
  }

  /** A key in a buffer that the next call overwrites. */
  key(index: number): Buffer {
    this.fill(this.scratch.words, index)
    return this.scratch.bytes
  }

  /** A key that stays; many share memory, as a program's would: one of its own costs as much as an engine's part. */
  keyCopy(index: number): Buffer {
    return Buffer.from(this.key(index))
  }

  /** Writes a key over four words. */
  fill(target: Int32Array, index: number): void {
    if (this.order === "ascending") {
      target[0] = target[1] = target[2] = 0
      target[3] = swapped(index)
      return
    }
    // The first word is a permutation of the number, so that no two keys are equal.
    const first = mix(index + 0x9e3779b9 | 0)
    target[0] = first
    target[1] = mix(first + 0x7f4a7c15 | 0)
    target[2] = mix(first ^ 0x2545f491)
    target[3] = first
  }

  /** The value of a record's version; must not be changed. */
  value(index: number, version: number): Buffer {
    return this.values[Math.imul(index, 31) + version & pooled - 1] as Buffer
  }
}

/** A key's buffer, and the same memory as words. */
export const scratchKey = (): { readonly bytes: Buffer; readonly words: Int32Array } => {
  const memory = new ArrayBuffer(keyBytes)
  return { bytes: Buffer.from(memory), words: new Int32Array(memory) }
}

/** So many keys that are filled anew for each call that takes many. */
export class KeyGroup {
  readonly keys: Array<Buffer>
  private readonly words: Array<Int32Array>

  constructor(length: number) {
    const made = Array.from({ length }, scratchKey)
    this.keys = made.map(({ bytes }) => bytes)
    this.words = made.map(({ words }) => words)
  }

  fill(records: Records, indices: Uint32Array, from: number): Array<Buffer> {
    const { keys, words } = this
    for (let place = 0; place < keys.length; place++) {
      records.fill(words[place] as Int32Array, indices[from + place] as number)
    }
    return keys
  }
}

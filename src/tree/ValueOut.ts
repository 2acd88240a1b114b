/**
 * Copies of values for callers, without an allocation of backing memory for each.
 *
 * A typed array above 64 bytes with memory of its own costs some 250 ns and a collection later; a view of a slab that
 * is filled one value after another a fifth of it. A slab is let go when it is full and lives as long as a value in it.
 */

/** Small, as one value kept alive keeps its slab. */
const slabBytes = 8192
const pooledBytes = 1024
/** Up to this many bytes a loop copies faster than making a view and `set`. */
const loopBytes = 32
const loopWords = 32

export class ValueOut {
  private slab = new ArrayBuffer(slabBytes)
  private words = new Int32Array(this.slab)
  private used = 0

  /** A copy of `length` bytes at word `at`. */
  copyWords(words: Int32Array, bytes: Uint8Array, at: number, length: number): Uint8Array {
    if (length > pooledBytes) return bytes.slice(at * 4, at * 4 + length)
    const count = length + 3 >>> 2
    if (this.used + count * 4 > slabBytes) {
      this.slab = new ArrayBuffer(slabBytes)
      this.words = new Int32Array(this.slab)
      this.used = 0
    }
    const from = this.used
    const target = this.words
    this.used += count * 4
    if (count <= loopWords) {
      for (let word = 0, to = from >>> 2; word < count; word++) target[to + word] = words[at + word] as number
    } else {
      target.set(words.subarray(at, at + count), from >>> 2)
    }
    return new Uint8Array(this.slab, from, length)
  }

  /** Copies `length` bytes at byte `from` to `target` at `offset`. */
  copyInto(bytes: Uint8Array, from: number, length: number, target: Uint8Array, offset: number): void {
    if (length > loopBytes) {
      target.set(bytes.subarray(from, from + length), offset)
    } else {
      for (let index = 0; index < length; index++) target[offset + index] = bytes[from + index] as number
    }
  }
}

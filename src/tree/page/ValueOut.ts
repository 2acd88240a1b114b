/**
 * Copies of values for callers, without an allocation of backing memory for each.
 *
 * A typed array above 64 bytes with memory of its own costs some 250 ns and a collection later; a view of a slab that
 * is filled one value after another a fifth of it. A slab is let go when it is full and lives as long as a value in it.
 */

/** Small, as one value kept alive keeps its slab. */
const slabBytes = 8192
const pooledBytes = 1024
/** Up to this many words a loop is faster than making a view and `set`. */
const loopWords = 32

export class ValueOut {
  private slab = new ArrayBuffer(slabBytes)
  private words = new Int32Array(this.slab)
  private used = 0
  /** The caller's buffer of the last copy, and the same by words: hot loops reuse one buffer. */
  private target = new Uint8Array(0)
  private targetWords = new Int32Array(0)

  /** A copy of `length` bytes at word `at`. */
  copy(words: Int32Array, bytes: Uint8Array, at: number, length: number): Uint8Array {
    if (length > pooledBytes) return bytes.slice(at * 4, at * 4 + length)
    const count = length + 3 >>> 2
    if (this.used + count * 4 > slabBytes) {
      this.slab = new ArrayBuffer(slabBytes)
      this.words = new Int32Array(this.slab)
      this.used = 0
    }
    const from = this.used
    this.used += count * 4
    if (count <= loopWords) {
      const target = this.words
      for (let word = 0, to = from >>> 2; word < count; word++) target[to + word] = words[at + word] as number
    } else {
      this.words.set(words.subarray(at, at + count), from >>> 2)
    }
    return new Uint8Array(this.slab, from, length)
  }

  /** Copies `length` bytes at word `at` to `target` from `offset` on. */
  copyInto(
    words: Int32Array,
    bytes: Uint8Array,
    at: number,
    length: number,
    target: Uint8Array,
    offset: number
  ): void {
    const whole = length >>> 2
    const aligned = (target.byteOffset + offset & 3) === 0
    if (!aligned || whole > loopWords || offset + length > target.length) {
      target.set(bytes.subarray(at * 4, at * 4 + length), offset)
      return
    }
    if (target !== this.target) this.adopt(target)
    const own = this.targetWords
    const to = (target.byteOffset & 3) + offset >>> 2
    for (let word = 0; word < whole; word++) own[to + word] = words[at + word] as number
    for (let byte = whole * 4; byte < length; byte++) target[offset + byte] = bytes[at * 4 + byte] as number
  }

  private adopt(target: Uint8Array): void {
    const from = target.byteOffset & ~3
    const count = target.byteOffset + target.length - from >>> 2
    this.target = target as Uint8Array<ArrayBuffer>
    this.targetWords = new Int32Array(target.buffer as ArrayBuffer, from, count)
  }
}

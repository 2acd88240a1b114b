/**
 * A key, copied once per operation to where it can be compared by words.
 *
 * The bytes are followed by at least eight zero bytes, so that heads and whole words may be read past the end. Callers'
 * arrays are never read in a descent: five kinds of typed array at one site cost 2.5 times one kind.
 */
import { invariant } from "../../Invariant.ts"

/** Longest key that any page size allows. */
export const keyBytesMax = 1024

export class KeyScratch {
  readonly words: Int32Array
  readonly bytes: Uint8Array
  /** Bytes of the key. */
  length = 0

  constructor() {
    this.words = new Int32Array(keyBytesMax / 4 + 4)
    this.bytes = new Uint8Array(this.words.buffer)
  }

  load(key: Uint8Array): void {
    const { length } = key
    invariant(length <= keyBytesMax, "KeyScratch: key too long")
    this.pad(length)
    this.bytes.set(key)
    this.length = length
  }

  /** Loads a key of `length` bytes from word `at` on, padded with zeros to words. */
  loadWords(words: Int32Array, at: number, length: number): void {
    this.assemble(words, 0, 0, words, at, length)
  }

  /** Loads a key of which the first words are `high`'s and the rest is copied from `words` at `at`. */
  assemble(
    prefix: Int32Array,
    prefixAt: number,
    prefixWords: number,
    words: Int32Array,
    at: number,
    rest: number
  ): void {
    const length = prefixWords * 4 + rest
    invariant(length <= keyBytesMax, "KeyScratch: key too long")
    this.pad(length)
    const own = this.words
    for (let index = 0; index < prefixWords; index++) own[index] = prefix[prefixAt + index] as number
    const restWords = rest + 3 >>> 2
    for (let index = 0; index < restWords; index++) own[prefixWords + index] = words[at + index] as number
    this.length = length
  }

  /** A copy of the key. */
  toBytes(): Uint8Array {
    return this.bytes.slice(0, this.length)
  }

  /** Zeroes what may be read past the end; before the copy, so that it never undoes it. */
  private pad(length: number): void {
    const word = length >>> 2
    const own = this.words
    own[word] = 0
    own[word + 1] = 0
    own[word + 2] = 0
  }
}

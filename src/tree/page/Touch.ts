/**
 * Words that are read ahead, so that the misses of the processor's caches overlap: what looks for them one after
 * another is a chain of loads, each of which waits for the one before.
 *
 * A processor looks a few hundred instructions ahead, so what touches many pages stands in loops with little else in
 * them.
 */
import * as Page from "./Page.ts"

/** Where touched words go: a store that is never read keeps the loads that it depends on. */
const sink = new Int32Array(1)

/** What words of one line come to; the loads are not left out as useless. */
export function keep(words: number): void {
  sink[0] = words
}

/** Words of a line. */
const lineWords = 16

/**
 * The next lines of the slot arrays of a page at `p` whose first one was read. Takes a quarter off a read of a leaf
 * that is not in the processor's cache.
 */
export const slots = (words: Int32Array, p: number): number =>
  (words[p + 24] as number) ^ (words[p + 40] as number) ^ (words[p + 56] as number)
  ^ (words[p + 72] as number)

/**
 * The header of a page of `size` words, and the slot's meta at word `meta` and the record at word `off`, both of which
 * stand there or stood there.
 */
export const record = (words: Int32Array, p: number, meta: number, off: number, size: number): number =>
  (words[p + 1] as number) ^ (words[p + meta] as number) ^ (words[p + off] as number)
  ^ (words[p + Math.min(off + lineWords, size - 1)] as number)
  ^ (words[p + Math.min(off + 2 * lineWords, size - 1)] as number)

/**
 * All records of a page. They stand in the order in which they came, not in that of their keys, so that the processor
 * foresees no line; from one end of the page to the other it foresees all.
 */
export function heap(words: Int32Array, p: number): number {
  const end = p + Page.size(words, p)
  let sum = 0
  for (let at = p + Page.heapTop(words, p); at < end; at += lineWords) sum ^= words[at] as number
  return sum
}

/**
 * Search within a page without a branch, against the plain binary search: nanoseconds over the same heads.
 *
 * Pages and keys are random, so that the branch of the plain search is one that no processor can foresee.
 */
import { lowerHead } from "../src/tree/Search.ts"
import { random } from "./zipf.ts"

/** Heads of a leaf with records of 32 bytes, and leaves enough to leave the smallest cache. */
const heads = 64
const pages = 64
const searches = 1_000_000

/** The search as everybody writes it. */
const branchy = (words: Int32Array, from: number, count: number, head: number): number => {
  let low = from
  let high = from + count
  while (low < high) {
    const middle = low + high >>> 1
    if ((words[middle] as number) < head) low = middle + 1
    else high = middle
  }
  return low - from
}

const nanoseconds = (search: typeof branchy, words: Int32Array, wanted: Int32Array): number => {
  let sum = 0
  const begun = process.hrtime.bigint()
  for (let index = 0; index < searches; index++) {
    sum += search(words, (index % pages) * heads, heads, wanted[index] as number)
  }
  const each = Number(process.hrtime.bigint() - begun) / searches
  if (sum < 0) throw new Error("a search found nothing")
  return each
}

/** Medians of several rounds in turn. */
export const measure = (rounds = 9): { readonly branchy: number; readonly branchless: number } => {
  const next = random(11)
  const words = new Int32Array(pages * heads).map(() => next() * 2 ** 31)
  for (let page = 0; page < pages; page++) words.subarray(page * heads, (page + 1) * heads).sort()
  const wanted = new Int32Array(searches).map(() => next() * 2 ** 31)
  const times: { branchy: Array<number>; branchless: Array<number> } = { branchy: [], branchless: [] }
  for (let round = 0; round < rounds; round++) {
    times.branchy.push(nanoseconds(branchy, words, wanted))
    times.branchless.push(nanoseconds(lowerHead, words, wanted))
  }
  return { branchy: median(times.branchy), branchless: median(times.branchless) }
}

const median = (values: Array<number>): number => values.sort((a, b) => a - b)[values.length >> 1] as number

/**
 * Search within a page without a branch, against the plain binary search: nanoseconds over the same heads.
 *
 * Pages and keys are random, so that the branch of the plain search is one that no processor can foresee.
 */
import { lowerHead } from "../src/tree/page/Search.ts"
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

type Round = (words: Int32Array, wanted: Int32Array) => number

/** A loop of its own for each search: one for all would call what it has to inline. */
const rounds: Record<"branchy" | "branchless" | "empty", Round> = {
  branchy: (words, wanted) => {
    let sum = 0
    for (let index = 0; index < searches; index++) {
      sum += branchy(words, (index & pages - 1) * heads, heads, wanted[index] as number)
    }
    return sum
  },
  branchless: (words, wanted) => {
    let sum = 0
    for (let index = 0; index < searches; index++) {
      sum += lowerHead(words, (index & pages - 1) * heads, heads, wanted[index] as number)
    }
    return sum
  },
  empty: (words, wanted) => {
    let sum = 0
    for (let index = 0; index < searches; index++) {
      sum += (words[(index & pages - 1) * heads] as number) - (wanted[index] as number)
    }
    return sum
  }
}

const nanoseconds = (round: Round, words: Int32Array, wanted: Int32Array): number => {
  const begun = process.hrtime.bigint()
  const sum = round(words, wanted)
  const each = Number(process.hrtime.bigint() - begun) / searches
  if (Number.isNaN(sum)) throw new Error("a search found nothing")
  return each
}

/** Medians of several rounds in turn, less what the loop takes by itself. */
export const measure = (times = 15): { readonly branchy: number; readonly branchless: number } => {
  const next = random(11)
  const words = new Int32Array(pages * heads).map(() => next() * 2 ** 31)
  for (let page = 0; page < pages; page++) words.subarray(page * heads, (page + 1) * heads).sort()
  const wanted = new Int32Array(searches).map(() => next() * 2 ** 31)
  const taken: Record<keyof typeof rounds, Array<number>> = { branchy: [], branchless: [], empty: [] }
  for (let time = 0; time < times; time++) {
    for (const name of ["branchy", "branchless", "empty"] as const) {
      taken[name].push(nanoseconds(rounds[name], words, wanted))
    }
  }
  const empty = median(taken.empty)
  return { branchy: median(taken.branchy) - empty, branchless: median(taken.branchless) - empty }
}

const median = (values: Array<number>): number => values.sort((a, b) => a - b)[values.length >> 1] as number

/**
 * Whether a number got worse from one revision to another, judged by pairs of processes that ran one after the other.
 *
 * A counter (bytes, calls, records) hardly differs from run to run, so a small change of it is one. Time does differ: it
 * counts only where most pairs agree, and the least of all runs does too: what else the machine did only adds to it.
 *
 * I1 Less is better, of every number.
 */
import type { Spread } from "../compare/Results.ts"
import { spreadOf } from "../compare/Results.ts"

/** Numbers by their names, each with its unit. */
export type Numbers = Readonly<Record<string, number>>

export interface Pair {
  readonly base: Numbers
  readonly tree: Numbers
}

export interface Change {
  readonly name: string
  readonly verdict: "worse" | "better" | "same"
  readonly base: number
  readonly tree: number
  /** The tree's number by the base's, of each pair. */
  readonly ratio: Spread
}

/** Beyond these a change is one: of counts, of bytes that were allocated, of processor time. */
const tolerances = { count: 0.02, allocated: 0.05, time: 0.07 } as const
/** What is less than this makes a ratio of nothing. */
const least = { count: 0.01, allocated: 16, time: 0.02 } as const
/** Part of the pairs that must agree. */
const agreement = 0.8

const kindOf = (name: string): keyof typeof tolerances =>
  name.includes("µs") ? "time" : name.includes("allocated") ? "allocated" : "count"

const changeOf = (name: string, pairs: ReadonlyArray<Pair>): Change | undefined => {
  const kind = kindOf(name)
  const both = pairs.flatMap(({ base, tree }) => {
    const [before, after] = [base[name], tree[name]]
    return before === undefined || after === undefined ? [] : [{ before, after }]
  })
  const base = spreadOf(both.map(({ before }) => before))
  const tree = spreadOf(both.map(({ after }) => after))
  const floor = least[kind]
  const ratio = spreadOf(both.map(({ after, before }) => Math.max(floor, after) / Math.max(floor, before)))
  if (base === undefined || tree === undefined || ratio === undefined) return undefined
  const tolerance = tolerances[kind]
  const shortest = kind === "time" ? tree.least / base.least : ratio.median
  const most = agreement * both.length
  const rose = both.filter(({ after, before }) => after > before).length >= most
  const fell = both.filter(({ after, before }) => after < before).length >= most
  const verdict = rose && Math.min(ratio.median, shortest) > 1 + tolerance
    ? "worse"
    : fell && Math.max(ratio.median, shortest) < 1 / (1 + tolerance)
    ? "better"
    : "same"
  return { name, verdict, base: base.median, tree: tree.median, ratio }
}

/** What became of each number that both revisions have, in the order of the first pair. */
export const judge = (pairs: ReadonlyArray<Pair>): ReadonlyArray<Change> =>
  Object.keys(pairs[0]?.base ?? {}).flatMap((name) => changeOf(name, pairs) ?? [])

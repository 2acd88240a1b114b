/**
 * What the engine is to reach, and what a run says of it: one line for each goal.
 *
 * A ratio is that of two engines in the same repetition of the same run, so that what else the machine did bears on
 * both. Against "peers" is against the one with the best median; structures in memory are no peers.
 */
import { rateOf, ratiosOf, spreadOf } from "../compare/Results.ts"
import type { Results, Row, SectionResult, Spread } from "../compare/Results.ts"
import type { Sample } from "../workloads/Measure.ts"

export interface Goal {
  readonly what: string
  readonly section: string
  /** Workloads of which each must reach the goal; the worst is shown. */
  readonly workloads: ReadonlyArray<string>
  readonly ours: string
  /** Engines of which the best counts: "peers" are all peers. */
  readonly against: "peers" | ReadonlyArray<string>
  /** Where theirs are other workloads than ours. */
  readonly theirs?: ReadonlyArray<string> | undefined
  readonly least: number
  /** What is compared: rates, unless it is a number that a sample has, where less is better. */
  readonly less?: string | undefined
}

export interface Verdict {
  readonly goal: Goal
  readonly workload: string
  readonly theirs: string
  readonly ratio: Spread
  readonly reached: boolean
}

const goal = (
  what: string,
  section: string,
  workloads: ReadonlyArray<string>,
  ours: string,
  least: number,
  rest: Partial<Goal> = {}
): Goal => ({ what, section, workloads, ours, against: "peers", least, ...rest })

const raw = "heartwood"
const effect = "heartwood-effect"
const rawCaller = "heartwood-caller"
const effectCaller = "heartwood-effect-caller"
const ways = (name: string): ReadonlyArray<string> => [`${name}-ascending`, `${name}-descending`]
const both = (letter: string): ReadonlyArray<string> => [`ycsb-${letter}-zipf`, `ycsb-${letter}-uniform`]
const bare = { against: ["disk"] } as const

/** One durable writer, by the door that answers as theirs do, and by a transaction for each commit. */
const lone = (
  what: string,
  door: string,
  transactions: string,
  least: number,
  rest: Partial<Goal> = {}
): ReadonlyArray<Goal> => [
  goal(what, "commits", ["writers-1"], door, least, rest),
  goal(`${what}, by \`Tx.transact\``, "commits", ["writers-1"], transactions, least, rest)
]

/** Many durable writers, by the doors that wait for a promise as theirs do, and by transactions; then theirs gathered. */
const durable = (writers: string, what: string, least: number): ReadonlyArray<Goal> => {
  const theirs = { theirs: [`gathered-${writers}`] }
  return [
    goal(what, "commits", [`writers-${writers}`], raw, least),
    goal(`${what}, by \`Tx.transact\``, "commits", [`writers-${writers}`], effect, least),
    goal(`${what}, theirs gathered`, "commits", [`writers-${writers}`], raw, 1, theirs),
    goal(`${what}, by \`Tx.transact\`, theirs gathered`, "commits", [`writers-${writers}`], effect, 1, theirs)
  ]
}

export const goals: ReadonlyArray<Goal> = [
  goal("get, zipf", "memory", ["get-zipf"], raw, 2),
  goal("get, uniform", "memory", ["get-uniform"], raw, 1.7),
  goal("get through `Keyspace.bytes`", "memory", ["get-zipf", "get-uniform"], effect, 1.2),
  goal("`getMany` of 100", "memory", ["get-many-zipf", "get-many-uniform"], raw, 3),
  goal("range of 100", "memory", ways("range-100"), raw, 5),
  goal("full scan", "memory", ways("scan"), raw, 5),
  goal("range of 100 as a `Stream`", "memory", ways("range-100"), effect, 2.5),
  goal("full scan as a `Stream`", "memory", ways("scan"), effect, 2.5),
  goal("load, random order", "load", ["load-random"], raw, 2),
  goal("load, ascending", "load", ["load-ascending"], raw, 0.9),
  goal("load, ascending, by `Bulk.load`", "load", ["load-ascending"], effect, 1.5),
  ...lone("one durable writer, synced in its thread", rawCaller, effectCaller, 1),
  ...lone("one durable writer, synced in its thread, beside bare calls", rawCaller, effectCaller, 0.85, bare),
  ...lone("one durable writer, synced off its thread, beside bare calls", raw, effect, 0.55, bare),
  ...durable("64", "64 durable writers", 4),
  ...durable("1024", "1,024 durable writers", 4),
  goal("YCSB A", "memory", both("A"), raw, 2),
  goal("YCSB B", "memory", both("B"), raw, 2),
  goal("YCSB D", "memory", ["ycsb-D-latest"], raw, 2),
  goal("YCSB E", "memory", both("E"), raw, 4),
  goal("YCSB F", "memory", both("F"), raw, 2),
  goal("YCSB A, held to a cache of 10 %", "held", ["ycsb-A-zipf"], raw, 2),
  goal("YCSB A, cache of 10 %: bytes handed to the system per update", "limited", ["ycsb-A-zipf"], raw, 1, {
    less: "handedBytesPerWrite"
  }),
  goal("64 misses in flight, beside bare reads", "misses-past-cache", ["miss-64"], effect, 0.8, bare),
  goal("opening with a log to replay", "opening", ["open-killed"], raw, 2, {
    against: ["classic-level", "rocksdb"]
  })
]

const numberOf = (sample: Sample, less: string | undefined): number =>
  less === undefined ? rateOf(sample) : 1 / Math.max(1e-9, sample.more?.[less] ?? Infinity)

const numbersOf = (row: Row | undefined, less?: string): Array<number> =>
  (row?.samples ?? []).map((sample) => numberOf(sample, less))

const rowOf = (section: SectionResult | undefined, workload: string, engine: string): Row | undefined =>
  section?.rows.find((row) => row.workload === workload && row.engine === engine)

/** The opponent with the best median. */
const best = (section: SectionResult, { against, less }: Goal, workload: string): Row | undefined => {
  const rows = section.rows.filter((row) =>
    row.workload === workload && row.samples.length > 0 &&
    (against === "peers" ? row.rank === "peer" : against.includes(row.engine))
  )
  const median = (row: Row): number => spreadOf(numbersOf(row, less))?.median ?? 0
  return rows.toSorted((a, b) => median(b) - median(a))[0]
}

const sectionOf = ({ sections }: Results, name: string): SectionResult | undefined =>
  sections.find((section) => section.name === name)

/** What a run says of a goal; undefined where it has not measured it. */
export const verdictOf = (results: Results, goal: Goal): Verdict | undefined => {
  const section = sectionOf(results, goal.section)
  if (section === undefined) return undefined
  const verdicts = goal.workloads.map((workload, place): Verdict | undefined => {
    const row = best(section, goal, goal.theirs?.[place] ?? workload)
    const own = numbersOf(rowOf(section, workload, goal.ours), goal.less)
    const ratio = spreadOf(ratiosOf(own, numbersOf(row, goal.less)))
    if (row === undefined || ratio === undefined) return undefined
    return { goal, workload, theirs: row.engine, ratio, reached: ratio.median >= goal.least }
  })
  const measured = verdicts.filter((verdict) => verdict !== undefined)
  return measured.toSorted((a, b) => a.ratio.median - b.ratio.median)[0]
}

/** What is not the ratio of two rates. */
export interface OwnGoal {
  readonly what: string
  readonly limit: string
  readonly measured: string
  readonly range: string
  readonly reached: boolean
}

/** A lone miss beside a bare read: what is added to it. */
const loneMiss = (results: Results): OwnGoal | undefined => {
  const section = sectionOf(results, "misses")
  const micros = (engine: string): Array<number> =>
    (rowOf(section, "miss-lone", engine)?.samples ?? []).map(({ millis, more, operations }) =>
      millis * 1_000 / (more?.["pagesRead"] ?? operations)
    )
  const [ours, theirs] = [micros(raw), micros("disk")]
  const added = spreadOf(
    ours.slice(0, theirs.length).map((value, place) => value - (theirs[place] as number))
  )
  if (added === undefined) return undefined
  return {
    what: "a lone miss on a page in the system's cache, beside `readSync`",
    limit: "≤ 3 µs more",
    measured: `${added.median.toFixed(1)} µs more`,
    range: `${added.least.toFixed(1)} … ${added.most.toFixed(1)} µs`,
    reached: added.median <= 3
  }
}

const spreadOfMore = (row: Row | undefined, name: string): Spread | undefined =>
  spreadOf((row?.samples ?? []).flatMap(({ more }) => more?.[name] ?? []))

const checkpointRate = (results: Results): OwnGoal | undefined => {
  const row = rowOf(sectionOf(results, "checkpoints"), "checkpoint-ycsb-A", raw)
  const ratio = spreadOfMore(row, "duringPerBefore")
  if (ratio === undefined) return undefined
  return {
    what: "YCSB A during a checkpoint, beside before it",
    limit: "≥ 0.9 ×",
    measured: `${ratio.median.toFixed(2)} ×`,
    range: `${ratio.least.toFixed(2)} × … ${ratio.most.toFixed(2)} ×`,
    reached: ratio.median >= 0.9
  }
}

const checkpointLatency = (results: Results): OwnGoal | undefined => {
  const section = sectionOf(results, "checkpoints")
  const of = (engine: string): Array<number> =>
    (rowOf(section, "checkpoint-commits", engine)?.samples ?? []).flatMap(({ more }) =>
      more?.["p999DuringMicros"] ?? []
    )
  const ratio = spreadOf(ratiosOf(of(effect), of("disk")))
  if (ratio === undefined) return undefined
  return {
    what: "p99.9 of durable commits during a checkpoint, beside bare calls beside the same page writes",
    limit: "≤ 2 ×",
    measured: `${ratio.median.toFixed(1)} ×`,
    range: `${ratio.least.toFixed(1)} × … ${ratio.most.toFixed(1)} ×`,
    reached: ratio.median <= 2
  }
}

/** How much more a get costs in the largest store than in the smallest; of a `Map` that is misses of caches alone. */
const growth = (results: Results): OwnGoal | undefined => {
  const sections = results.sections.filter(({ name }) => name.startsWith("scale-"))
    .toSorted((a, b) => a.records - b.records)
  const [small] = sections
  const large = sections.at(-1)
  if (small === undefined || large === undefined || small === large) return undefined
  const times = (engine: string): number | undefined => {
    const rates = [small, large].map((section) =>
      spreadOf(numbersOf(rowOf(section, "get-uniform", engine)))?.median
    )
    return rates[0] === undefined || rates[1] === undefined ? undefined : rates[0] / rates[1]
  }
  const ours = times(raw)
  const theirs = times("lmdb")
  const table = times("js-map")
  if (ours === undefined || theirs === undefined || table === undefined) return undefined
  return {
    what: `a get, from ${small.records.toLocaleString("en")} to ${
      large.records.toLocaleString("en")
    } records`,
    limit: "grows no faster than a `Map`'s",
    measured: `${ours.toFixed(1)} × as long`,
    range: `Map ${table.toFixed(1)} ×, lmdb ${theirs.toFixed(1)} ×`,
    reached: ours <= table
  }
}

/** Slices of actors, under all that was measured in a store that was open. */
const slices = (results: Results): OwnGoal | undefined => {
  const all = { slices: 0, longSlices: 0 }
  for (const { more } of results.sections.flatMap(({ rows }) => rows.flatMap(({ samples }) => samples))) {
    all.slices += more?.["slices"] ?? 0
    all.longSlices += more?.["longSlices"] ?? 0
  }
  if (all.slices === 0) return undefined
  const part = all.longSlices / all.slices
  return {
    what: "times that an actor held the event loop for more than 5 ms",
    limit: "≤ 0.1 %",
    measured: `${(100 * part).toFixed(3)} %`,
    range: `${all.longSlices.toLocaleString("en")} of ${all.slices.toLocaleString("en")}`,
    reached: part <= 0.001
  }
}

export const ownGoals = (results: Results): ReadonlyArray<OwnGoal> =>
  [loneMiss, checkpointRate, checkpointLatency, growth, slices].flatMap((look) => look(results) ?? [])

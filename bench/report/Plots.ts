/**
 * Which plots there are, made of a run's results.
 */
import { rateOf, spreadOf } from "../compare/Results.ts"
import type { Results, Row, SectionResult } from "../compare/Results.ts"
import { shortNumber } from "../compare/Text.ts"
import * as Plot from "./Plot.ts"

/** A plot, and the name of its file. */
export interface Picture {
  readonly name: string
  readonly title: string
  readonly content: string
}

/** The same engine has the same colour everywhere. */
const engines = [
  "heartwood",
  "heartwood-effect",
  "heartwood-caller",
  "lmdb",
  "lmdb-writemap",
  "classic-level",
  "rocksdb",
  "node:sqlite",
  "js-map",
  "disk",
  "heartwood-effect-caller",
  "lmdb-no-overlap",
  "heartwood-each"
]
const colourOf = (engine: string): string => Plot.colourOf(Math.max(0, engines.indexOf(engine)))

const sectionOf = ({ sections }: Results, name: string): SectionResult | undefined =>
  sections.find((section) => section.name === name)

const barsOf = (rows: ReadonlyArray<Row>): ReadonlyArray<Plot.Bar> =>
  rows.flatMap(({ engine, samples }) => {
    const spread = spreadOf(samples.map(rateOf))
    if (spread === undefined) return []
    return { name: engine, colour: colourOf(engine), ...spread, label: `${shortNumber(spread.median)}/s` }
  })

const throughput = (results: Results, name: string, title: string): ReadonlyArray<Picture> => {
  const section = sectionOf(results, name)
  if (section === undefined) return []
  const workloads = [...new Set(section.rows.map(({ workload }) => workload))]
  const groups = workloads.flatMap((workload): ReadonlyArray<Plot.BarGroup> => {
    const rows = section.rows.filter((row) => row.workload === workload)
    const bars = barsOf(rows)
    return bars.length === 0 ? [] : [{ title: `${rows[0]?.title}, ${rows[0]?.unit}/s`, bars }]
  })
  if (groups.length === 0) return []
  const whole = `${title}: ${section.records.toLocaleString("en")} records, median and range`
  return [{ name: `throughput-${name}.svg`, title, content: Plot.bars(whole, groups) }]
}

const parts = [
  ["p50Micros", "p50"],
  ["p90Micros", "p90"],
  ["p99Micros", "p99"],
  ["p999Micros", "p99.9"],
  ["maxMicros", "the longest"]
] as const

/** How long a durable commit takes, from the half of them to the slowest. */
const latency = (results: Results, workload: string, title: string): ReadonlyArray<Picture> => {
  const rows = sectionOf(results, "commits")?.rows.filter((row) => row.workload === workload) ?? []
  const series = rows.map(({ engine, samples }): Plot.Series => ({
    name: engine,
    colour: colourOf(engine),
    points: parts.flatMap(([name], place): ReadonlyArray<readonly [number, number]> => {
      const spread = spreadOf(samples.flatMap((sample) => sample.latency?.[name] ?? []))
      return spread === undefined ? [] : [[place + 1, Math.max(1, spread.median)]]
    })
  })).filter(({ points }) => points.length > 0)
  if (series.length === 0) return []
  const content = Plot.lines(title, series, {
    x: {
      label: "part of the commits that took no longer",
      scale: "linear",
      marks: [1, 2, 3, 4, 5],
      format: (place) => parts[place - 1]?.[1] ?? ""
    },
    y: { label: "µs, medians of the repetitions", scale: "log", format: shortNumber }
  })
  return [{ name: `latency-${workload}.svg`, title, content }]
}

/** What a get costs in stores of several sizes. */
const growth = (results: Results): ReadonlyArray<Picture> => {
  const sections = results.sections.filter(({ name }) => name.startsWith("scale-"))
    .toSorted((a, b) => a.records - b.records)
  const names = [...new Set(sections.flatMap(({ rows }) => rows.map(({ engine }) => engine)))]
  const series = names.map((engine): Plot.Series => ({
    name: engine,
    colour: colourOf(engine),
    points: sections.flatMap(({ records, rows }): ReadonlyArray<readonly [number, number]> => {
      const row = rows.find((each) => each.engine === engine && each.workload === "get-uniform")
      const spread = spreadOf((row?.samples ?? []).map((sample) => 1e9 / rateOf(sample)))
      return spread === undefined ? [] : [[records, spread.median]]
    })
  })).filter(({ points }) => points.length > 1)
  if (series.length === 0) return []
  const title = "What a uniform get costs, by the number of records"
  const content = Plot.lines(title, series, {
    x: { label: "records", scale: "log", format: (value) => value.toLocaleString("en") },
    y: { label: "ns", scale: "linear", format: (value) => value.toFixed(0) }
  })
  return [{ name: "scale.svg", title, content }]
}

/** Slices of a timeline are put together to these. */
const bucketMillis = 20

/** Requests a second before, during and after a checkpoint, in the repetition in the middle. */
const timeline = (results: Results): ReadonlyArray<Picture> => {
  const row = sectionOf(results, "checkpoints")?.rows.find(({ engine, workload }) =>
    workload === "checkpoint-ycsb-A" && engine === "heartwood"
  )
  const moments = row?.samples[row.samples.length >> 1]?.timeline
  if (moments === undefined) return []
  const buckets = new Map<number, { operations: number; millis: number }>()
  for (const { at, millis, operations } of moments) {
    const place = Math.floor(at / bucketMillis)
    const bucket = buckets.get(place) ?? { operations: 0, millis: 0 }
    buckets.set(place, { operations: bucket.operations + operations, millis: bucket.millis + millis })
  }
  const points = [...buckets].map(([place, { millis, operations }]): readonly [number, number] => [
    (place + 0.5) * bucketMillis,
    operations / (millis / 1_000)
  ])
  const during = moments.filter(({ phase }) => phase === "during")
  const [first] = during
  const last = during.at(-1)
  const bands = first === undefined || last === undefined
    ? []
    : [{ from: first.at - first.millis, to: last.at, name: "checkpoint" }]
  const title = "YCSB A before, during and after a checkpoint"
  const content = Plot.lines(title, [{ name: "heartwood", colour: colourOf("heartwood"), points }], {
    x: { label: "ms", scale: "linear", format: (value) => value.toFixed(0) },
    y: { label: "requests/s", scale: "linear", format: shortNumber },
    bands
  })
  return [{ name: "checkpoint.svg", title, content }]
}

export const picturesOf = (results: Results): ReadonlyArray<Picture> => [
  ...throughput(results, "memory", "Reads and YCSB in memory"),
  ...throughput(results, "load", "Loading"),
  ...throughput(results, "commits", "Durable commits"),
  ...latency(results, "writers-1", "Durable commits of one writer"),
  ...latency(results, "writers-64", "Durable commits of 64 writers"),
  ...growth(results),
  ...timeline(results)
]

/**
 * The table that a stranger reads first: what each engine does per second, the fastest of a line in bold.
 *
 * Of several ways to drive an engine, and of its own group commit and what an application can gather for it, a cell has
 * the fastest. Medians; the ranges are in the tables of the sections.
 */
import { rateOf, spreadOf } from "../compare/Results.ts"
import type { Results } from "../compare/Results.ts"
import { shortNumber } from "../compare/Text.ts"

interface Line {
  readonly what: string
  readonly section: string
  readonly workloads: ReadonlyArray<string>
}

const line = (what: string, section: string, ...workloads: ReadonlyArray<string>): Line => ({
  what,
  section,
  workloads
})

const lines: ReadonlyArray<Line> = [
  line("get, zipf", "memory", "get-zipf"),
  line("get of 100 keys at once, zipf", "memory", "get-many-zipf"),
  line("range of 100, records", "memory", "range-100-ascending"),
  line("full scan, records", "memory", "scan-ascending"),
  line("load in random order, records", "load", "load-random"),
  line("load in order, records", "load", "load-ascending"),
  line("YCSB A (half updates), zipf", "memory", "ycsb-A-zipf"),
  line("YCSB B (5 % updates), zipf", "memory", "ycsb-B-zipf"),
  line("YCSB E (scans, 5 % inserts), zipf", "memory", "ycsb-E-zipf"),
  line("get, held to the memory of a tenth, zipf", "held", "get-zipf"),
  line("YCSB A, held to the memory of a tenth, zipf", "held", "ycsb-A-zipf"),
  line("durable commits, 1 writer", "commits", "writers-1"),
  line("durable commits, 64 writers", "commits", "writers-64", "gathered-64"),
  line("durable commits, 1,024 writers", "commits", "writers-1024", "gathered-1024"),
  line("opening after a kill, stores", "opening", "open-killed")
]

const columns: ReadonlyArray<readonly [name: string, engines: ReadonlyArray<string>]> = [
  ["Heartwood, raw doors", ["heartwood", "heartwood-caller"]],
  ["through Effect", ["heartwood-effect", "heartwood-effect-caller"]],
  ["lmdb", ["lmdb", "lmdb-writemap", "lmdb-no-overlap"]],
  ["LevelDB", ["classic-level"]],
  ["RocksDB", ["rocksdb"]],
  ["SQLite", ["node:sqlite"]]
]

const medianOf = (results: Results, { section, workloads }: Line, engines: ReadonlyArray<string>): number => {
  const rows = results.sections.find(({ name }) => name === section)?.rows ?? []
  const medians = rows
    .filter(({ engine, workload }) => engines.includes(engine) && workloads.includes(workload))
    .map(({ samples }) => spreadOf(samples.map(rateOf))?.median ?? 0)
  return Math.max(0, ...medians)
}

const cells = (all: ReadonlyArray<string>): string => `| ${all.join(" | ")} |`

/** Lines of which something was measured. */
export const rateTable = (results: Results): string =>
  [
    cells(["per second", ...columns.map(([name]) => name)]),
    `| --- |${" ---: |".repeat(columns.length)}`,
    ...lines.flatMap((line) => {
      const rates = columns.map(([, engines]) => medianOf(results, line, engines))
      const most = Math.max(...rates)
      if (most === 0) return []
      const shown = rates.map((rate) => rate === 0 ? "" : shortNumber(rate))
      return [cells([line.what, ...shown.map((text, place) => rates[place] === most ? `**${text}**` : text)])]
    })
  ].join("\n")

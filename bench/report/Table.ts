/**
 * The results as Markdown: the goals in one table, everything that was measured in others.
 */
import { rateOf, spreadOf } from "../compare/Results.ts"
import type { Results, Row, SectionResult } from "../compare/Results.ts"
import { shortNumber } from "../compare/Text.ts"
import type { Verdict } from "./Goals.ts"
import { goals, ownGoals, verdictOf } from "./Goals.ts"
import type { Joined, Part } from "./Join.ts"

const times = (value: number): string => `${value.toFixed(value < 10 ? 2 : 1)} ×`

const mark = (reached: boolean): string => reached ? "reached" : "not reached"

const cells = (...all: ReadonlyArray<string>): string => `| ${all.join(" | ")} |`

const goalLine = ({ goal, ratio, reached, theirs, workload }: Verdict): string => {
  const name = goal.workloads.length > 1 ? `${goal.what} (the worse: ${workload})` : goal.what
  const range = `${times(ratio.least)} … ${times(ratio.most)}`
  return cells(name, theirs, `≥ ${times(goal.least)}`, times(ratio.median), range, mark(reached))
}

/** Every goal, measured or not. */
export const goalTable = (results: Results): string => {
  const lines = goals.map((goal) => {
    const verdict = verdictOf(results, goal)
    return verdict === undefined
      ? cells(goal.what, "", `≥ ${times(goal.least)}`, "not measured", "", "")
      : goalLine(verdict)
  })
  const own = ownGoals(results).map(({ limit, measured, range, reached, what }) =>
    cells(what, "", limit, measured, range, mark(reached))
  )
  return [
    cells("work", "best of the others", "goal", "measured", "range", ""),
    "| --- | --- | ---: | ---: | --- | --- |",
    ...lines,
    ...own
  ].join("\n")
}

const rateCell = (row: Row | undefined): string => {
  const spread = spreadOf((row?.samples ?? []).map(rateOf))
  if (spread === undefined) return ""
  return `${shortNumber(spread.median)} (${shortNumber(spread.least)} … ${shortNumber(spread.most)})`
}

/** A table of a section: a line for each workload, a column for each engine. */
export const sectionTable = ({ rows }: SectionResult): string => {
  const engines = [...new Set(rows.map(({ engine }) => engine))]
  const workloads = [...new Set(rows.map(({ workload }) => workload))]
  return [
    cells("work, per second", ...engines),
    `| --- |${" ---: |".repeat(engines.length)}`,
    ...workloads.map((workload) => {
      const some = rows.filter((row) => row.workload === workload)
      const name = `${some[0]?.title ?? workload}, ${some[0]?.unit ?? ""}`
      return cells(name, ...engines.map((engine) => rateCell(some.find((row) => row.engine === engine))))
    })
  ].join("\n")
}

/** Bytes on the disk and bytes written, for each byte of keys and values. */
export const amplificationTable = (section: SectionResult): string | undefined => {
  const median = (row: Row, name: string): string =>
    spreadOf(row.samples.flatMap(({ more }) => more?.[name] ?? []))?.median.toFixed(2) ?? ""
  const rows = section.rows.filter(({ rank, samples }) =>
    rank !== "reference" && samples.some(({ more }) => more !== undefined)
  )
  if (rows.length === 0) return undefined
  return [
    cells("work", "engine", "on the disk", "written"),
    "| --- | --- | ---: | ---: |",
    ...rows.map((row) =>
      cells(row.title, row.engine, median(row, "spacePerUserByte"), median(row, "writtenPerUserByte"))
    )
  ].join("\n")
}

/** When a part was measured, and how quiet the machine was then. */
const partLine = ({ begun, load, profile, revision, sections }: Part): string =>
  `- ${sections.map((name) => `\`${name}\``).join(", ")}: profile \`${profile}\`, ${
    begun.slice(0, 10)
  }, revision ${revision}, load ${load.toFixed(1)}`

/** On what it was measured. */
export const surroundings = ({ machine, parts, sections, versions }: Joined): string => {
  const repetitions = Math.min(...sections.map((section) => section.repetitions * section.rounds))
  const peers = Object.entries(versions)
    .filter(([name]) => !name.startsWith("heartwood") && name !== "disk" && name !== "js-map")
    .map(([name, version]) => `${name} ${version}`)
  const gibibytes = (machine.memoryBytes / 2 ** 30).toFixed(0)
  return [
    `${machine.cores} × ${machine.cpu}, ${gibibytes} GiB, Linux ${machine.kernel}, ${machine.fileSystem}, Node ${machine.node};`,
    `${
      peers.join(", ")
    }. Medians and ranges of ${repetitions} repetitions or more. What was measured when, and the machine's`,
    "load at the beginning:",
    "",
    ...parts.map(partLine)
  ].join("\n")
}

/**
 * What a long run found: as a file for machines, as a table for readers, and as that table in a document.
 */
import fs from "node:fs"
import type { Outcome } from "./Runner.ts"

export interface Report {
  readonly began: string
  readonly commit: string
  readonly node: string
  readonly machine: string
  readonly minutes: number
  /** Suites beside each other. */
  readonly jobs: number
  readonly seed: number
  readonly suites: ReadonlyArray<Outcome>
  /** Suites that are not there yet. */
  readonly absent: ReadonlyArray<string>
}

/** One report of two runs: of a suite that both have it is the later one that counts, and says when and of what it was. */
export const joined = (before: Report, later: Report): Report => {
  const { began, commit, minutes } = later
  const suites = later.suites.map((suite) => ({
    ...suite,
    of: `${minutes} minutes from ${began}, ${commit}`
  }))
  const kept = before.suites.filter(({ name }) => !suites.some((suite) => suite.name === name))
  return { ...before, suites: [...kept, ...suites] }
}

const row = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`

const seedsOf = ({ seeds }: Outcome): string => {
  const [first, last] = [seeds.at(0), seeds.at(-1)]
  if (first === undefined) return ""
  return first === last ? `${first}` : `${first} to ${last} (${seeds.length})`
}

const rowOf = (outcome: Outcome): string => {
  const { cut, failures, figure, name, seconds, unit } = outcome
  const found = `${figure.toLocaleString("en")} ${unit}${cut > 0 ? `, ${cut} cut off` : ""}`
  const run = outcome.of === undefined ? name : `${name} (${outcome.of})`
  return row([run, found, `${failures}`, seconds.toFixed(0), seedsOf(outcome)])
}

export const table = ({ absent, began, commit, jobs, machine, minutes, node, suites }: Report): string =>
  [
    `${minutes} minutes from ${began}, ${jobs} at a time, of commit ${commit}, with Node ${node} on ${machine}.`,
    "",
    row(["suite", "figure", "failures", "seconds", "seeds"]),
    row(["---", "---:", "---:", "---:", "---"]),
    ...suites.map(rowOf),
    ...absent.map((name) => row([name, "not there", "", "", ""]))
  ].join("\n")

const [from, until] = ["<!-- long run -->", "<!-- end of the long run -->"]

/** Puts the table into a document, between its two marks. */
export const into = (document: string, report: Report): void => {
  const text = fs.readFileSync(document, "utf8")
  const [start, end] = [text.indexOf(from), text.indexOf(until)]
  if (start < 0 || end < start) {
    throw new Error(`${document} has no place for the figures: ${from} … ${until}`)
  }
  fs.writeFileSync(document, `${text.slice(0, start + from.length)}\n${table(report)}\n${text.slice(end)}`)
}

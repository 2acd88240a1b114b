/**
 * The table that ends a run of the tests: what was counted for each row of the matrix, and by which file.
 *
 * A row that nobody has counted for is missing; that is said where all files have run, and whatever was counted as
 * zero is marked. It is a table for readers: what must not become less stands in the suites themselves.
 */
import fs from "node:fs"
import path from "node:path"
import type { Reporter, TestModule, TestSpecification } from "vitest/node"
import { coverageFigure } from "./coverageLines.ts"
import type { Counts, Figure, Row } from "./figures.ts"
import { matrix } from "./figures.ts"

/** So many counts of a figure are shown. */
const mostCounts = 4

interface Line {
  readonly row: string
  readonly title: string
  readonly counts: Record<string, number>
  readonly files: Set<string>
}

const add = (lines: Map<string, Line>, { counts, title }: Figure, file: string): void => {
  const at = title.indexOf(" ")
  const line = lines.get(title)
    ?? { row: title.slice(0, at), title: title.slice(at + 1), counts: {}, files: new Set() }
  lines.set(title, line)
  line.files.add(file)
  for (const [name, count] of Object.entries(counts)) line.counts[name] = (line.counts[name] ?? 0) + count
}

/** `lostCommits` is "lost commits". */
const worded = (name: string): string => name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

const shown = (counts: Counts): string =>
  Object.entries(counts).slice(0, mostCounts)
    .map(([name, count]) => `${count.toLocaleString("en", { maximumFractionDigits: 1 })} ${worded(name)}`)
    .join(", ")

const isNothing = ({ counts }: Line): boolean => (Object.values(counts)[0] ?? 0) === 0

const filesOf = ({ files }: Line): string => files.size === 1 ? [...files].join() : `${files.size} files`

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = rows.reduce<ReadonlyArray<number>>(
    (widths, row) => row.map((cell, index) => Math.max(widths[index] ?? 0, cell.length)),
    []
  )
  return rows.map((row) => row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join("  ").trimEnd())
}

/** The lines of the table; of rows that are missing where all files have run. */
export const tableOf = (
  said: Iterable<readonly [file: string, figure: Figure]>,
  { isWhole }: { readonly isWhole: boolean }
): ReadonlyArray<string> => {
  const lines = new Map<string, Line>()
  for (const [file, figure] of said) add(lines, figure, file)
  const rows: Array<ReadonlyArray<string>> = []
  for (const row of Object.keys(matrix) as ReadonlyArray<Row>) {
    const its = [...lines.values()].filter((line) => line.row === row)
      .toSorted((a, b) => a.title < b.title ? -1 : 1)
    for (const line of its) {
      rows.push([isNothing(line) ? "!" : " ", row, line.title, shown(line.counts), filesOf(line)])
    }
    if (its.length === 0 && isWhole) rows.push(["!", row, matrix[row], "missing", ""])
  }
  return rows.length === 0 ? [] : table([[" ", "", "what was tried", "how often", "by"], ...rows])
}

const directory = path.join(import.meta.dirname, "..")

export class FigureTable implements Reporter {
  private isWhole = false

  onTestRunStart(specifications: ReadonlyArray<TestSpecification>): void {
    const files = fs.readdirSync(directory).filter((name) => name.endsWith(".test.ts"))
    const begun = new Set(specifications.map(({ moduleId }) => path.basename(moduleId)))
    this.isWhole = files.every((name) => begun.has(name))
  }

  onTestRunEnd(modules: ReadonlyArray<TestModule>): void {
    const said = modules.flatMap((module) =>
      (module.meta().figures ?? []).map((figure) => [path.basename(module.moduleId), figure] as const)
    )
    const coverage = this.isWhole ? coverageFigure() : undefined
    if (coverage !== undefined) said.push(["test:coverage", coverage])
    const lines = tableOf(said, { isWhole: this.isWhole })
    if (lines.length > 0) console.log(`\n${lines.join("\n")}\n`)
  }
}

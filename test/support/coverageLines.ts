/**
 * The part of the sources that some suites run through, one line for each folder: printed where a run of vitest counts
 * it, and kept for the table that ends `npm test`.
 */
import fs from "node:fs"
import path from "node:path"
import type { Reporter } from "vitest/node"
import type { Figure } from "./figures.ts"

/** What is needed of istanbul's map of coverage. */
export interface CoverageMap {
  readonly files: () => ReadonlyArray<string>
  readonly fileCoverageFor: (file: string) => {
    readonly toSummary: () => { readonly lines: { readonly total: number; readonly covered: number } }
  }
}

interface Part {
  readonly covered: number
  readonly total: number
}

const all = "all of it"
const root = path.join(import.meta.dirname, "..", "..")
const kept = path.join(root, ".heartwood", "coverage.json")
/** A run of all tests takes a quarter of an hour. */
const freshMillis = 3_600_000

/** What was counted not long ago. */
export const coverageFigure = (): Figure | undefined => {
  const at = fs.statSync(kept, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return Date.now() - at < freshMillis ? JSON.parse(fs.readFileSync(kept, "utf8")) : undefined
}

/** Lines of each folder of the sources in the order of their names, and of all of them at last. */
export const partsOf = (map: CoverageMap): ReadonlyMap<string, Part> => {
  const parts = new Map<string, Part>()
  let sum: Part = { covered: 0, total: 0 }
  const plus = (part: Part, { covered, total }: Part): Part => ({
    covered: part.covered + covered,
    total: part.total + total
  })
  const folderOf = (file: string) => path.dirname(path.relative(root, file))
  for (const file of [...map.files()].sort((a, b) => folderOf(a) < folderOf(b) ? -1 : 1)) {
    const { lines } = map.fileCoverageFor(file).toSummary()
    const folder = folderOf(file)
    parts.set(folder, plus(parts.get(folder) ?? { covered: 0, total: 0 }, lines))
    sum = plus(sum, lines)
  }
  return parts.set(all, sum)
}

const percentOf = ({ covered, total }: Part): number => 100 * covered / Math.max(1, total)

/** The lines to be printed. */
export const linesOf = (map: CoverageMap): ReadonlyArray<string> =>
  [...partsOf(map)].map(([name, part]) => {
    const percent = `${percentOf(part).toFixed(1)} %`.padStart(8)
    return `   T1  ${name.padEnd(14)}${percent} of ${part.total.toLocaleString("en").padStart(6)} lines`
  })

export class CoverageLines implements Reporter {
  private suites = 0

  onTestRunStart(specifications: ReadonlyArray<unknown>): void {
    this.suites = specifications.length
  }

  onCoverage(coverage: unknown): void {
    const map = coverage as CoverageMap
    const sum = partsOf(map).get(all) ?? { covered: 0, total: 0 }
    const counts = { "% of them": percentOf(sum), lines: sum.total, "quick suites": this.suites }
    const figure: Figure = { title: "T1 lines of the sources", counts }
    fs.mkdirSync(path.dirname(kept), { recursive: true })
    fs.writeFileSync(kept, JSON.stringify(figure))
    console.log(`\nLines of the sources that ${this.suites} quick suites run through`)
    console.log(`${linesOf(map).join("\n")}\n`)
  }
}

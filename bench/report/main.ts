/**
 * The report: a table of goals, tables of everything measured, and plots, from the newest results.
 *
 * `npm run bench:report -- --results bench/results/….json` writes `docs/bench/` and the part of the README between its
 * marks. Where no file is named, it is the newest of `bench/results`; where several are, they are joined. `--out`
 * writes somewhere else, and leaves the README alone.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import * as path from "node:path"
import { parseArgs } from "node:util"
import { format } from "../compare/Results.ts"
import type { Results } from "../compare/Results.ts"
import { documentOf, readmeSectionOf, readmeWith } from "./Document.ts"
import { join } from "./Join.ts"
import { picturesOf } from "./Plots.ts"
import { goalTable } from "./Table.ts"

const root = path.join(import.meta.dirname, "..", "..")
const { values: flags } = parseArgs({
  options: { results: { type: "string", multiple: true }, out: { type: "string" } }
})

const newest = (): string => {
  const directory = path.join(root, "bench", "results")
  const found = readdirSync(directory).filter((name) => name.endsWith(".json")).toSorted().at(-1)
  if (found === undefined) throw new Error("no results: run `npm run bench` first")
  return path.join(directory, found)
}

const read = (file: string): Results => {
  const run = JSON.parse(readFileSync(file, "utf8")) as Results
  if (run.format !== format) throw new Error(`${file} has format ${run.format}, and this reads ${format}`)
  return run
}

const files = flags.results ?? [newest()]
const results = join(files.map(read))

const out = flags.out ?? path.join(root, "docs", "bench")
const pictures = picturesOf(results)
mkdirSync(out, { recursive: true })
for (const { content, name } of pictures) writeFileSync(path.join(out, name), content)
writeFileSync(path.join(out, "README.md"), documentOf(results, pictures))
// Slices of time are many, and one picture shows them.
const plain = JSON.stringify(results, (name, value: unknown) => name === "timeline" ? undefined : value)
writeFileSync(path.join(out, "results.json"), `${plain}\n`)
if (flags.out === undefined) {
  const readme = path.join(root, "README.md")
  writeFileSync(readme, readmeWith(readFileSync(readme, "utf8"), readmeSectionOf(results, pictures)))
}
console.log(goalTable(results))
console.log(`${pictures.length} plots and the tables of ${files.join(", ")} are in ${out}`)

/**
 * The report's texts: a document of its own, and what stands of it in the README between two marks.
 */
import type { SectionResult } from "../compare/Results.ts"
import type { Joined } from "./Join.ts"
import type { Picture } from "./Plots.ts"
import { rateTable } from "./Rates.ts"
import { amplificationTable, goalTable, sectionTable, surroundings } from "./Table.ts"

export const marks = { begin: "<!-- bench:begin -->", end: "<!-- bench:end -->" } as const

const sectionText = (section: SectionResult): ReadonlyArray<string> => {
  const { durability, memoryBytes, name, options, records } = section
  const amplification = name === "load" ? amplificationTable(section) : undefined
  const told = Object.entries(options).filter(([, each]) => Object.keys(each).length > 0)
  const mebibytes = (memoryBytes / 2 ** 20).toFixed(0)
  return [
    `## ${name}`,
    "",
    `${
      records.toLocaleString("en")
    } records of 16 + 100 bytes, memory ${mebibytes} MiB, durability \`${durability}\`.`,
    "",
    sectionTable(section),
    "",
    ...amplification === undefined ? [] : ["Bytes for each byte of keys and values:", "", amplification, ""],
    ...told.length === 0 ? [] : ["What each engine was told:", ""],
    ...told.map(([engine, each]) => `- ${engine}: \`${JSON.stringify({ ...each, path: undefined })}\``),
    ...told.length === 0 ? [] : [""]
  ]
}

/** Everything that was measured. */
export const documentOf = (results: Joined, pictures: ReadonlyArray<Picture>): string =>
  [
    "# Heartwood beside other engines",
    "",
    "Written by `npm run bench:report`; a ratio is the median of those of each repetition.",
    "",
    surroundings(results),
    "",
    goalTable(results),
    "",
    ...pictures.flatMap(({ name, title }) => [`![${title}](${name})`, ""]),
    ...results.sections.flatMap(sectionText),
    ...results.notes.length === 0
      ? []
      : ["## What was not run", "", ...results.notes.map((note) => `- ${note}`), ""]
  ].join("\n")

const shown = ["throughput-commits.svg", "scale.svg"]

/** What the README says of it. */
export const readmeSectionOf = (results: Joined, pictures: ReadonlyArray<Picture>): string =>
  [
    rateTable(results),
    "",
    surroundings(results),
    "",
    "<details><summary>The goals: how far ahead of the best of the others each work is to be, and is</summary>",
    "",
    goalTable(results),
    "",
    "</details>",
    "",
    ...pictures.filter(({ name }) => shown.includes(name)).flatMap(({ name, title }) => [
      `![${title}](docs/bench/${name})`,
      ""
    ]),
    "All of it, with what each engine was told: [docs/bench/README.md](docs/bench/README.md)."
  ].join("\n")

/** The README with another section between the marks. */
export const readmeWith = (readme: string, section: string): string => {
  const begin = readme.indexOf(marks.begin)
  const end = readme.indexOf(marks.end)
  if (begin < 0 || end < begin) throw new Error(`the README has no ${marks.begin} … ${marks.end}`)
  return `${readme.slice(0, begin + marks.begin.length)}\n${section}\n${readme.slice(end)}`
}

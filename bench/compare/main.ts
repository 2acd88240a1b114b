/**
 * The comparison: runs a profile and writes what was measured into `bench/results`.
 *
 * `npm run bench -- --profile quick` (under three minutes), `standard`, `full`; `--only` takes names of sections,
 * workloads and engines, with commas, and runs what has to do with them; `--directory` is on the disk that is to be
 * measured; `--shrink 10` takes a tenth of the records; `--ours` takes options of the store as JSON, to see what they
 * change.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Engines from "../engines/Engines.ts"
import { install } from "./Install.ts"
import * as Opening from "./Opening.ts"
import type { Section } from "./Profile.ts"
import { profiles, sectionsOf } from "./Profile.ts"
import { format, noDoor } from "./Results.ts"
import type { Results, SectionResult } from "./Results.ts"
import * as Rounds from "./Rounds.ts"
import { freeBytes, machineOf } from "./Surroundings.ts"

const { values: flags } = parseArgs({
  options: {
    profile: { type: "string", default: "quick" },
    only: { type: "string", multiple: true, default: [] },
    directory: { type: "string", default: tmpdir() },
    results: { type: "string", default: join(import.meta.dirname, "..", "results") },
    shrink: { type: "string", default: "1" },
    ours: { type: "string", default: "{}" }
  }
})
const profile = profiles.find((name) => name === flags.profile)
if (profile === undefined) throw new RangeError(`--profile is one of ${profiles.join(", ")}`)
const only = flags.only.flatMap((names) => names.split(","))
const ours = JSON.parse(flags.ours) as Readonly<Record<string, unknown>>

/** What is left of a section where only some names are asked for; undefined: nothing. */
const narrowed = (section: Section): Section | undefined => {
  const engines = only.filter((name) => Engines.names.includes(name))
  const work = only.filter((name) => !Engines.names.includes(name))
  const isAsked = (name: string): boolean =>
    work.length === 0 || work.some((asked) => name === asked || name.startsWith(`${asked}-`))
  const workloads = isAsked(section.name) ? section.workloads : section.workloads.filter(isAsked)
  const playing = engines.length === 0
    ? section.engines
    : section.engines.filter((name) => engines.includes(name))
  if (workloads.length === 0 || playing.length === 0) return undefined
  const more = Object.fromEntries(
    playing.map((name) => [
      name,
      { ...section.more?.[name], ...name.startsWith("heartwood") ? ours : {} }
    ])
  )
  return { ...section, engines: playing, workloads, more }
}

const sections = sectionsOf(profile, Number(flags.shrink)).map(narrowed).filter((section) =>
  section !== undefined
)
if (sections.length === 0) throw new RangeError(`nothing has to do with ${only.join(", ")}`)

const directory = mkdtempSync(join(flags.directory, "heartwood-bench-"))
const begun = new Date()
const versions: Record<string, string> = {}
const done: Array<SectionResult> = []
const notes: Array<string> = [
  "YCSB A with a cache of 10 % (`limited`): these processes are not held to the same memory, so only the bytes written "
  + "for each update are compared; lmdb has no cache of its own to make smaller and is not among them. In `held` they are",
  "`held`: around a page that is touched in a map of a file, the system reads as much as the device is set to "
  + "(`/sys/block/*/queue/read_ahead_kb`: 128 KiB to 8 MiB on machines seen). lmdb is told that it shall not; classic-level has "
  + "no such option, and its number says more about that setting than about LevelDB"
]
const seconds = (): number => (Date.now() - begun.getTime()) / 1_000
const say = (line: string): void => console.log(`${seconds().toFixed(0).padStart(5)} s ${line}`)
const context: Rounds.Context = {
  directory,
  say,
  told: ({ engine, version }) => {
    versions[engine] = version
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    rmSync(directory, { recursive: true, force: true })
    process.exit(1)
  })
}
install(say)
try {
  const machine = machineOf(flags.directory)
  say(
    `${profile}: ${machine.cores} × ${machine.cpu}, Node ${machine.node}, ${machine.fileSystem}, in ${directory}`
  )
  if (freeBytes(directory) < 8 * 2 ** 30) say("less than 8 GiB are free here")
  if (machine.load > 0.5) say(`the machine has other work: its load is ${machine.load.toFixed(1)}`)
  for (const section of sections) {
    say(`${section.name}: ${section.records.toLocaleString("en")} records, ${section.engines.join(", ")}`)
    const result = await (section.kind === "opening" ? Opening : Rounds).run(section, context)
    done.push(result)
    for (const { absent, engine } of result.rows) {
      const note = `${section.name}, ${engine}: ${absent}`
      if (absent !== undefined && absent !== noDoor && !notes.includes(note)) notes.push(note)
    }
  }
  const results: Results = {
    format,
    profile,
    only,
    begun: begun.toISOString(),
    seconds: seconds(),
    machine,
    versions,
    sections: done,
    notes
  }
  mkdirSync(flags.results, { recursive: true })
  const file = join(flags.results, `${begun.toISOString().replaceAll(/[:.]/g, "-")}-${profile}.json`)
  writeFileSync(file, `${JSON.stringify(results)}\n`)
  say(`written: ${file}`)
} finally {
  rmSync(directory, { recursive: true, force: true })
}

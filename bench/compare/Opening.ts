/**
 * Opening a store: one that was closed, and one whose process was killed while its log held all records.
 *
 * Each engine fills a store and closes it, or is killed with SIGKILL. Each repetition opens a copy of what is there in
 * a new process, reads a record, and the clock stops; then all records are counted.
 */
import { cpSync, mkdirSync, rmSync } from "node:fs"
import { join } from "node:path"
import type { Sample } from "../workloads/Measure.ts"
import { Child } from "./Child.ts"
import type { Section } from "./Profile.ts"
import { logBytesOf } from "./Protocol.ts"
import type { Opened } from "./Protocol.ts"
import type { Row, SectionResult } from "./Results.ts"
import { spreadOf } from "./Results.ts"
import type { Context } from "./Rounds.ts"
import { summaryOf } from "./Rounds.ts"

const titles = {
  "open-closed": "open a store that was closed",
  "open-killed": "open a store whose process was killed, its log not in a checkpoint"
} as const
type Way = keyof typeof titles

const sampleOf = ({ found, millis }: Opened): Sample => ({
  operations: 1,
  millis,
  cpuMillis: 0,
  found,
  checksum: 0
})

class Opening {
  private readonly section: Section
  private readonly context: Context
  private readonly made = new Map<string, string>()
  readonly options: Record<string, Readonly<Record<string, unknown>>> = {}
  readonly ranks = new Map<string, string>()

  constructor(section: Section, context: Context) {
    this.section = section
    this.context = context
  }

  /** Makes the store that is opened again and again. */
  async fill(engine: string, way: Way): Promise<void> {
    const directory = join(this.context.directory, `${way}-${engine.replace(":", "-")}`)
    mkdirSync(directory, { recursive: true })
    const child = new Child()
    try {
      const { told } = await child.ask({
        do: "fill",
        engine,
        setting: this.setting(engine, directory),
        logBytes: this.logBytes(way)
      })
      if (told !== undefined) {
        this.context.told(told)
        this.options[engine] = told.options
        this.ranks.set(engine, told.rank)
      }
      if (way === "open-closed") await child.ask({ do: "close" })
    } finally {
      await child.kill()
    }
    this.made.set(`${way} ${engine}`, directory)
  }

  async open(engine: string, way: Way): Promise<Sample> {
    const made = this.made.get(`${way} ${engine}`) as string
    const directory = `${made}-copy`
    cpSync(made, directory, { recursive: true })
    const child = new Child()
    try {
      const { opened } = await child.ask({
        do: "open",
        engine,
        setting: this.setting(engine, directory),
        logBytes: this.logBytes(way)
      })
      if (opened?.found !== this.section.records) {
        throw new Error(`${opened?.found} of ${this.section.records} records are there`)
      }
      return sampleOf(opened)
    } finally {
      await child.kill()
      rmSync(directory, { recursive: true })
    }
  }

  /** Only what is killed keeps all of it in its log. */
  private logBytes(way: Way): number | undefined {
    return way === "open-killed" ? logBytesOf(this.section.records) : undefined
  }

  private setting(engine: string, directory: string) {
    const { durability, memoryBytes, more, records } = this.section
    return { records, durability, memoryBytes, directory, more: more?.[engine] }
  }
}

/** Runs both ways with all engines, each repetition through all of them. */
export const run = async (section: Section, context: Context): Promise<SectionResult> => {
  const opening = new Opening(section, context)
  const rows: Array<Row> = []
  for (const way of ["open-closed", "open-killed"] as const) {
    if (!section.workloads.includes(way)) continue
    const samples = new Map<string, Array<Sample>>()
    const failures = new Map<string, string>()
    const attempt = async (engine: string, work: () => Promise<void>): Promise<void> => {
      if (failures.has(engine)) return
      await work().catch((error: unknown) => {
        failures.set(engine, error instanceof Error ? error.message.split("\n")[0] ?? "" : String(error))
      })
    }
    for (const engine of section.engines) await attempt(engine, () => opening.fill(engine, way))
    for (let repetition = 0; repetition < section.repetitions * section.rounds; repetition++) {
      for (const engine of section.engines) {
        await attempt(engine, async () => {
          samples.set(engine, [...samples.get(engine) ?? [], await opening.open(engine, way)])
        })
      }
    }
    const shown = [...samples].map(([engine, some]) =>
      `${engine} ${spreadOf(some.map(({ millis }) => millis))?.median.toFixed(0)} ms`
    )
    context.say(`  ${way.padEnd(24)} ${shown.join("  ")}`)
    for (const engine of section.engines) {
      const rank = opening.ranks.get(engine) ?? "peer"
      const absent = failures.get(engine)
      rows.push({
        workload: way,
        title: titles[way],
        unit: "stores",
        engine,
        rank,
        samples: samples.get(engine) ?? [],
        absent
      })
    }
  }
  return { ...summaryOf(section), options: opening.options, rows }
}

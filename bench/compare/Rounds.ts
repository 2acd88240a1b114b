/**
 * Runs a section: all its engines up at once, each in a process of its own, taking turns.
 *
 * The engine that begins changes with each repetition. An engine that fails is left out from there on, with the
 * reason: a peer that is not installed, or breaks, must not take the others' numbers with it.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readdirSync } from "node:fs"
import { join } from "node:path"
import type { Sample } from "../workloads/Measure.ts"
import type { Setting } from "../workloads/Stage.ts"
import { named } from "../workloads/Workloads.ts"
import { Child } from "./Child.ts"
import { anonymousBytes, Held } from "./Held.ts"
import type { Section } from "./Profile.ts"
import type { Told } from "./Protocol.ts"
import { noDoor, rateOf, spreadOf } from "./Results.ts"
import type { Row, SectionResult } from "./Results.ts"
import { shortNumber } from "./Text.ts"

export interface Context {
  /** A directory that is removed when the bench ends. */
  readonly directory: string
  readonly say: (line: string) => void
  readonly told: (told: Told) => void
}

interface Player {
  readonly engine: string
  readonly child: Child
  rank: string
  failure: string | undefined
  held?: Held | undefined
}

/** The samples of a workload, by engine. */
type Samples = Map<string, Array<Sample>>

const reason = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? ""

const settingOf = (section: Section, engine: string, directory: string): Setting => {
  const { durability, memoryBytes, records } = section
  return { records, durability, memoryBytes, directory, more: section.more?.[engine] }
}

/** Has the process that opens the store set the stage. */
const set = async (section: Section, player: Player, setting: Setting, context: Context): Promise<void> => {
  const { child, engine } = player
  const { told } = await child.ask({ do: "set", engine, setting, store: section.store })
  if (told === undefined) return
  player.rank = told.rank
  context.told(told)
}

/** With this, loading is not what takes the time. */
const fillBytes = 2 ** 30

/**
 * The same in a process that is held to its memory: another one has filled the store. Beyond what the process has when
 * the store is open, without garbage, it may have so many bytes, whether they are its own or its files'.
 */
const setHeld = async (
  section: Section,
  player: Player,
  setting: Setting,
  context: Context
): Promise<void> => {
  const { child, engine } = player
  const name = engine.replace(":", "-")
  player.held = Held.make(name)
  const filling = Held.make(`${name}-filling`)
  if (player.held === undefined || filling === undefined) {
    throw new Error("no control group can be made here to hold it to its memory")
  }
  const filler = new Child()
  filling.add(filler.pid)
  try {
    await filler.ask({ do: "fill", engine, setting: { ...setting, memoryBytes: fillBytes } })
    await filler.ask({ do: "close" })
  } finally {
    await filler.kill()
  }
  // Who reads what another process has left in memory is charged nothing for it.
  syncAll(setting.directory)
  await filling.empty()
  filling.remove()
  player.held.add(child.pid)
  await set(section, player, { ...setting, made: true }, context)
  player.held.limit(anonymousBytes(child.pid) + (section.heldBytes ?? 0))
}

/** Has the system write all that it holds of a directory's files: until then it cannot let go of it. */
const syncAll = (directory: string): void => {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    // A process that is up may have removed it meanwhile.
    if (!entry.isFile() || !existsSync(path)) continue
    const file = openSync(path, "r")
    fsyncSync(file)
    closeSync(file)
  }
}

/** Garbage of a process that is held must fit beside what it is held to. */
const smallHeap = "--max-semi-space-size=4"

/** Starts the engines one after another. */
const begin = async (section: Section, round: number, context: Context): Promise<Array<Player>> => {
  const players: Array<Player> = []
  const isHeld = section.heldBytes !== undefined
  for (const engine of section.engines) {
    const child = isHeld ? new Child(smallHeap) : new Child()
    const player: Player = { engine, child, rank: "peer", failure: undefined }
    players.push(player)
    const directory = join(context.directory, `${section.name}-${round}-${engine.replace(":", "-")}`)
    mkdirSync(directory, { recursive: true })
    const setting = settingOf(section, engine, directory)
    try {
      await (isHeld ? setHeld : set)(section, player, setting, context)
    } catch (error) {
      player.failure = reason(error)
      context.say(`  ${engine} is left out: ${player.failure}`)
    }
  }
  // Else the system writes for half a minute what they have loaded, beside what is measured first.
  syncAll(context.directory)
  return players
}

const repeat = async (
  section: Section,
  workload: string,
  players: ReadonlyArray<Player>,
  samples: Samples,
  repetition: number
): Promise<void> => {
  for (let place = 0; place < players.length; place++) {
    const player = players[(place + Math.max(0, repetition)) % players.length] as Player
    if (player.failure !== undefined) continue
    try {
      const times = repetition < 0 ? section.warmUp : 1
      const budget = { millis: section.millis * times, operations: section.operations }
      const { sample } = await player.child.ask({ do: "run", workload, budget, repetition: repetition + 1 })
      if (sample === undefined || repetition < 0) continue
      samples.set(player.engine, [...samples.get(player.engine) ?? [], sample])
    } catch (error) {
      player.failure = reason(error)
      samples.delete(player.engine)
    }
  }
}

const progress = (workload: string, samples: Samples): string => {
  const shown = [...samples].map(([engine, some]) =>
    `${engine} ${shortNumber(spreadOf(some.map(rateOf))?.median ?? 0)}`
  )
  return `  ${workload.padEnd(24)} ${shown.join("  ")}`
}

/** Runs all workloads of a section and answers its results. */
export const run = async (section: Section, context: Context): Promise<SectionResult> => {
  const all = new Map(section.workloads.map((workload): [string, Samples] => [workload, new Map()]))
  const last = new Map<string, Player>()
  const options: Record<string, Readonly<Record<string, unknown>>> = {}
  for (let round = 0; round < section.rounds; round++) {
    const told = (told: Told): void => {
      options[told.engine] = told.options
      context.told(told)
    }
    const players = await begin(section, round, { ...context, told })
    for (const player of players) last.set(player.engine, player)
    for (const [workload, samples] of all) {
      // The first one makes the machine code, and counts for nothing.
      const first = section.store ? -1 : 0
      for (let repetition = first; repetition < section.repetitions; repetition++) {
        await repeat(section, workload, players, samples, repetition)
      }
      context.say(progress(workload, samples))
    }
    for (const { child, held } of players) {
      await child.close().catch(() => {})
      held?.remove()
    }
  }
  return { ...summaryOf(section), options, rows: rowsOf(all, last) }
}

export const summaryOf = (
  { durability, memoryBytes, millis, name, records, repetitions, rounds, warmUp }: Section
) => ({
  name,
  records,
  memoryBytes,
  durability,
  repetitions,
  rounds,
  millis,
  warmUp
})

const rowsOf = (all: ReadonlyMap<string, Samples>, players: ReadonlyMap<string, Player>): Array<Row> =>
  [...all].flatMap(([workload, samples]) => {
    const { title, unit } = named(workload)
    return [...players.values()].map(({ engine, failure, rank }): Row => {
      const some = samples.get(engine) ?? []
      const absent = some.length > 0 ? undefined : failure ?? noDoor
      return { workload, title, unit, engine, rank, samples: some, absent }
    })
  })

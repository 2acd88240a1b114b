/**
 * What a run of the bench consists of: sections, each with its engines, workloads and repetitions.
 *
 * Within a section the processes of all engines are up at the same time and take turns: each repetition of a workload
 * goes through all engines before the next. A section with several rounds does all of it again with new processes.
 */
import { families } from "../workloads/Workloads.ts"

export interface Section {
  readonly name: string
  readonly kind: "workloads" | "opening"
  readonly records: number
  readonly engines: ReadonlyArray<string>
  readonly workloads: ReadonlyArray<string>
  readonly repetitions: number
  readonly rounds: number
  /** Of one repetition. */
  readonly millis: number
  /** So many times as long a workload runs before it is measured: V8 makes the machine code meanwhile. */
  readonly warmUp: number
  /** Requests of one repetition, where they must be the same in every engine; `millis` is not looked at then. */
  readonly operations?: number | undefined
  readonly durability: "synced" | "none"
  readonly memoryBytes: number
  /** Whether the engines hold a store that the workloads share. */
  readonly store: boolean
  /** What a process may have beyond its open store and its heap, page cache of its files included. */
  readonly heldBytes?: number | undefined
  /** Options of one engine. */
  readonly more?: Readonly<Record<string, Readonly<Record<string, unknown>>>> | undefined
}

export const profiles = ["quick", "standard", "full"] as const
export type Profile = (typeof profiles)[number]

const MiB = 2 ** 20
const GiB = 2 ** 30
const userBytes = 116

const peers = ["lmdb", "lmdb-writemap", "classic-level", "rocksdb", "node:sqlite"]
const ours = ["heartwood", "heartwood-effect"]
/** Those that have a log of records to replay. */
const logged = ["heartwood", "classic-level", "rocksdb"]

interface Sizes {
  readonly load: number
  readonly memory: number
  readonly commits: number
  /** Bytes of log that are there when a store is opened that was killed. */
  readonly log: number
  readonly misses: number
  readonly limited: number
  /** Records of stores whose processes are held to a tenth of them; 0: not run. */
  readonly held: number
  readonly scale: ReadonlyArray<number>
  readonly scaleEngines: ReadonlyArray<string>
  readonly millis: number
  readonly commitMillis: number
  readonly warmUp: number
  readonly repetitions: number
  readonly rounds: number
}

const sizes: Readonly<Record<Profile, Sizes>> = {
  quick: {
    load: 30_000,
    memory: 100_000,
    commits: 20_000,
    log: 8 * MiB,
    misses: 100_000,
    limited: 50_000,
    held: 0,
    scale: [1e4, 1e5],
    scaleEngines: ["heartwood", "lmdb"],
    millis: 30,
    commitMillis: 90,
    warmUp: 1,
    repetitions: 5,
    rounds: 1
  },
  standard: {
    load: 1_000_000,
    memory: 1_000_000,
    commits: 100_000,
    log: 100 * MiB,
    misses: 1_000_000,
    limited: 1_000_000,
    held: 2_000_000,
    scale: [1e4, 1e5, 1e6],
    scaleEngines: [
      "heartwood",
      "heartwood-effect",
      "lmdb",
      "classic-level",
      "rocksdb",
      "node:sqlite",
      "js-map"
    ],
    millis: 250,
    commitMillis: 500,
    warmUp: 4,
    repetitions: 5,
    rounds: 1
  },
  full: {
    load: 1_000_000,
    memory: 1_000_000,
    commits: 1_000_000,
    log: 100 * MiB,
    misses: 2_000_000,
    limited: 1_000_000,
    held: 5_000_000,
    scale: [1e4, 1e5, 1e6, 1e7],
    scaleEngines: ["heartwood", "lmdb", "classic-level", "rocksdb", "js-map"],
    millis: 500,
    commitMillis: 1_000,
    warmUp: 4,
    repetitions: 5,
    rounds: 3
  }
}

const namesOf = (family: keyof typeof families): ReadonlyArray<string> =>
  families[family].map(({ name }) => name)

/** The same with fewer records, to try something out. */
const shrunk = (size: Sizes, by: number): Sizes => {
  const less = (records: number): number => Math.ceil(records / by)
  const { commits, held, limited, load, log, memory, misses, scale } = size
  return {
    ...size,
    commits: less(commits),
    held: less(held),
    limited: less(limited),
    load: less(load),
    log: less(log),
    memory: less(memory),
    misses: less(misses),
    scale: scale.map(less)
  }
}

/** All sections of a profile, in the order in which they run. */
export const sectionsOf = (profile: Profile, shrink: number): ReadonlyArray<Section> => {
  const size = shrunk(sizes[profile], shrink)
  const common = {
    kind: "workloads",
    repetitions: size.repetitions,
    rounds: size.rounds,
    millis: size.millis,
    warmUp: size.warmUp,
    durability: "none",
    memoryBytes: GiB,
    store: true
  } as const
  const seldom = {
    checkpoint: { logBytes: 8 * GiB, records: 2 ** 40, leafRecords: 2 ** 31, interval: "20 days" }
  }
  return [
    {
      ...common,
      name: "load",
      records: size.load,
      engines: [...ours, ...peers, "js-map"],
      workloads: namesOf("load"),
      store: false
    },
    {
      ...common,
      name: "memory",
      records: size.memory,
      engines: [...ours, ...peers, "js-map"],
      workloads: [...namesOf("reads"), ...namesOf("ycsb")]
    },
    {
      ...common,
      name: "each",
      records: size.memory,
      engines: ["heartwood", "heartwood-each"],
      workloads: namesOf("ycsb")
    },
    {
      ...common,
      name: "commits",
      records: size.commits,
      engines: [...ours, "heartwood-caller", "heartwood-effect-caller", ...peers, "lmdb-no-overlap", "disk"],
      workloads: namesOf("commits"),
      durability: "synced",
      millis: size.commitMillis
    },
    {
      ...common,
      name: "opening",
      kind: "opening",
      records: Math.ceil(size.log / userBytes),
      engines: profile === "quick" ? logged : ["heartwood", "lmdb", ...logged.slice(1), "node:sqlite"],
      workloads: ["open-closed", "open-killed"]
    },
    {
      ...common,
      name: "checkpoints",
      records: size.memory,
      engines: ["heartwood", "heartwood-effect", "disk"],
      workloads: namesOf("checkpoints"),
      durability: "synced",
      millis: size.commitMillis,
      more: { heartwood: seldom, "heartwood-effect": seldom }
    },
    ...missing(size, common),
    {
      ...common,
      name: "limited",
      records: size.limited,
      engines: ["heartwood", "classic-level", "rocksdb", "node:sqlite"],
      workloads: ["ycsb-A-zipf"],
      // What an update costs the disk shows when what was gathered in memory has been written several times.
      operations: size.limited,
      memoryBytes: Math.max(4 * MiB, Math.round(size.limited * userBytes / 10))
    },
    ...held(size, common),
    ...size.scale.map((records): Section => ({
      ...common,
      name: `scale-${records}`,
      records,
      engines: size.scaleEngines,
      workloads: ["get-uniform"],
      rounds: 1,
      memoryBytes: 4 * GiB
    }))
  ]
}

/** Stores that are far larger than their memory: in the system's cache, and past it. */
const missing = (
  size: Sizes,
  common: Omit<Section, "name" | "records" | "engines" | "workloads">
): ReadonlyArray<Section> => {
  const memoryBytes = Math.max(4 * MiB, Math.round(size.misses * userBytes / 10))
  const whole = { buffer: "pages", limits: { promotionPercent: 0 } }
  const past = { ...whole, systemCache: "bypass" }
  const shared = { ...common, records: size.misses, memoryBytes }
  return [
    {
      ...shared,
      name: "misses",
      engines: ["heartwood", "disk"],
      workloads: ["miss-lone"],
      more: { heartwood: whole }
    },
    {
      ...shared,
      name: "misses-past-cache",
      engines: ["heartwood-effect", "disk"],
      workloads: ["miss-64"],
      more: { "heartwood-effect": past }
    }
  ]
}

/** What V8 makes of it for garbage, beside what an engine is held to. */
const heapBytes = 24 * MiB

/** Processes held to a tenth of the records: three quarters to the engine's own cache, the rest to that of its files. */
const held = (
  size: Sizes,
  common: Omit<Section, "name" | "records" | "engines" | "workloads">
): ReadonlyArray<Section> => {
  const tenth = Math.round(size.held * userBytes / 10)
  return size.held === 0 ? [] : [{
    ...common,
    name: "held",
    records: size.held,
    engines: ["heartwood", "lmdb", "classic-level", "rocksdb", "node:sqlite"],
    workloads: ["get-zipf", "ycsb-A-zipf"],
    memoryBytes: Math.round(tenth * 0.75),
    heldBytes: tenth + heapBytes,
    rounds: 1,
    // Its map of a file that does not fit: the system would read up to 8 MiB around each page that is touched.
    more: { lmdb: { noReadAhead: true } }
  }]
}

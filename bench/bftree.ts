/**
 * What mini-pages save against a page cache of the same size in the same engine.
 *
 * `npm run bench:bftree` loads records of 32 bytes once, and gives a copy of that store to each mode of the buffer: the
 * same tree, the same memory (31 % of the raw data), the same requests, pages past the system's cache, the log written
 * in the background. Each phase is measured once it is steady, by the same rule. No checkpoint falls into one; one
 * follows the last update, so that what a mode put off shows.
 * Workload and expected shape: Hao and Chandramouli, "Bf-Tree" (VLDB 2024), 6, scaled down.
 *
 * `--records` and `--operations` make it small; `--sweep` varies memory, skew, second chance and promotion in turn, of a
 * quarter of the records, for half an hour more.
 * Exits 1 where a goal is missed.
 */
import * as Effect from "effect/Effect"
import { closeSync, cpSync, fsyncSync, mkdtempSync, openSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Keyspace from "../src/Keyspace.ts"
import type { SystemCache } from "../src/Limits.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { Cost, Kind } from "./phase.ts"
import * as Phase from "./phase.ts"
import * as Search from "./search.ts"
import { keyBytes, keysOf, requests, valueBytes, zipf } from "./zipf.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "2000000" },
    operations: { type: "string", default: "100000" },
    directory: { type: "string", default: tmpdir() },
    sweep: { type: "boolean", default: false }
  }
})
const recordsAsked = Number(flags.records)
const operations = Number(flags.operations)
const inFlight = 32

type Mode = "pages" | "miniPages"

/** What a run varies. */
interface Setting {
  readonly memoryPercent: number
  readonly skew: number
  readonly secondChancePercent: number
  readonly promotionPercent: number
}

const usual: Setting = { memoryPercent: 31, skew: 0.9, secondChancePercent: 10, promotionPercent: 5 }

interface PhaseOf {
  readonly name: "lookups" | "scans" | "half" | "updates"
  readonly title: string
  readonly kind: (dice: number) => Kind
  /** Measured requests, and those of a window of the warm-up, per operation that was asked for. */
  readonly share: number
}

/** Updates first: they are what fills a buffer soonest. */
const phases: ReadonlyArray<PhaseOf> = [
  { name: "updates", title: "updates", kind: () => "update", share: 1 },
  {
    name: "half",
    title: "half lookups, half updates",
    kind: (dice) => dice < 0.5 ? "lookup" : "update",
    share: 1
  },
  { name: "lookups", title: "lookups", kind: () => "lookup", share: 1 },
  { name: "scans", title: `scans of ${Phase.scanRecords}`, kind: () => "scan", share: 0.25 }
]

/**
 * A phase is steady where some windows cost the disk as much as those before them, up to this part: a few of them may
 * cost by chance what others did. What a mode keeps in memory changes slowly while nothing is written, and bytes with
 * it: two per cent from four windows to the next four were still a tenth from the end.
 */
const steadyPart = 0.01
const windowsApart = 8
/** Windows after which it is measured in any case. */
const windowsMost = 64

const Words = Keyspace.bytes("words")
const directory = mkdtempSync(join(flags.directory, "heartwood-bench-"))

/** What was loaded, and is copied for each run. */
interface World {
  readonly records: number
  readonly keys: Uint8Array
  readonly path: string
  readonly systemCache: SystemCache
}

/** Larger than any phase: the log is never long enough for a checkpoint, in neither mode. */
const seldom = { logBytes: "4 GiB", interval: "1 day", leafRecords: 2 ** 31, records: 2 ** 40 } as const

/** Writes all records in random order, with memory enough for all of them, and closes the store. */
const load = (world: World) =>
  Effect.gen(function*() {
    const { machine } = yield* Store.Store
    const raw = yield* Words.raw
    const value = new Uint8Array(valueBytes)
    for (let from = 0; from < world.records; from += 1_000) {
      const length = Math.min(1_000, world.records - from)
      const batch = Array.from({ length }, (_, index) => ({
        key: world.keys.subarray((from + index) * keyBytes, (from + index + 1) * keyBytes),
        value
      }))
      while (!Phase.admitted(machine, () => raw.batchUnsafe(batch))) yield* Effect.yieldNow
    }
  }).pipe(Effect.provide(Store.layer({
    path: world.path,
    memory: "1 GiB",
    buffer: "pages",
    durability: "memory",
    checkpoint: seldom
  })))

const worldOf = (records: number, systemCache: SystemCache): Effect.Effect<World, StoreError> => {
  const world = { records, keys: keysOf(records), path: join(directory, `loaded-${records}`), systemCache }
  return Effect.as(load(world), world)
}

/** A copy of what was loaded, all of it on the device. */
const copy = (from: string, to: string): void => {
  cpSync(from, to, { recursive: true })
  for (const file of readdirSync(to)) {
    const descriptor = openSync(join(to, file), "r")
    fsyncSync(descriptor)
    closeSync(descriptor)
  }
}

type Costs = { readonly [N in PhaseOf["name"]]: Cost }

interface Result extends Costs {
  /** Bytes of the page file that the checkpoint after the last updates wrote. */
  readonly owed: number
}

const runMode = (
  mode: Mode,
  world: World,
  setting: Setting
): Effect.Effect<Result, StoreError> => {
  const { keys, records, systemCache } = world
  const { memoryPercent, promotionPercent, secondChancePercent, skew } = setting
  const path = join(directory, mode)
  const memoryBytes = Math.round(records * (keyBytes + valueBytes) * memoryPercent / 100)
  // Of the requests of a smaller world, as many fewer.
  const scale = operations * records / recordsAsked
  const body = Effect.gen(function*() {
    const store = yield* Store.Store
    const { machine } = store
    const target = { machine, keyspace: Words, raw: yield* Words.raw, keys, inFlight }
    const draw = zipf(records, skew)
    const costs: Partial<Record<PhaseOf["name"], Cost>> = {}
    let owed = 0
    for (const phase of phases) {
      const { cost, windows } = yield* steady(target, draw, phase, Math.ceil(scale * phase.share))
      costs[phase.name] = cost
      console.error(
        `  … ${mode}, ${phase.name}: ${rounded(cost.perSecond)} per second after ${windows} windows`
      )
      if (phase.name !== "half") continue
      const before = machine.parts.file.counters.writeBytes
      yield* store.checkpoint
      owed = machine.parts.file.counters.writeBytes - before
    }
    return { ...costs as Costs, owed }
  })
  copy(world.path, path)
  return body.pipe(
    Effect.provide(Store.layer({
      path,
      buffer: mode,
      systemCache,
      durability: "buffered",
      limits: { memoryBytes, promotionPercent, secondChancePercent },
      checkpoint: seldom
    })),
    Effect.ensuring(Effect.sync(() => rmSync(path, { recursive: true })))
  )
}

/** Runs windows of a phase until they cost the disk the same, and then the one that is measured. */
const steady = Effect.fnUntraced(function*(
  target: Phase.Target,
  draw: (next: () => number) => number,
  { kind, name }: PhaseOf,
  count: number
): Effect.fn.Return<{ readonly cost: Cost; readonly windows: number }, StoreError> {
  // No two windows ask for the same, in no order of the phases.
  const seed = 1_000 * (1 + phases.findIndex((phase) => phase.name === name))
  const last: Array<number> = []
  for (let windows = 1;; windows++) {
    const cost = yield* Phase.run(target, requests(draw, count, seed + windows), kind)
    last.push(cost.readBytes + cost.writtenBytes)
    const before = sum(last.slice(-2 * windowsApart, -windowsApart))
    const now = sum(last.slice(-windowsApart))
    const isSteady = windows >= 2 * windowsApart && Math.abs(now - before) < steadyPart * before
    if (isSteady || windows === windowsMost) {
      return { cost: yield* Phase.run(target, requests(draw, count, seed), kind), windows }
    }
  }
})

const sum = (numbers: ReadonlyArray<number>): number => numbers.reduce((total, number) => total + number, 0)

interface Both {
  readonly pages: Result
  readonly miniPages: Result
}

const rounded = (value: number): string =>
  value >= 1_000
    ? Math.round(value).toLocaleString("en")
    : value.toFixed(value >= 100 ? 0 : value >= 1 ? 1 : 3)

const percent = (part: number): string => `${(part * 100).toFixed(1)} %`

const ratioOf = (over: number, under: number): string => under === 0 ? "-" : `${(over / under).toFixed(2)} ×`

const row = (title: string, pages: string, miniPages: string, ratio: string): void =>
  console.log(`  ${title.padEnd(40)} ${pages.padStart(12)} ${miniPages.padStart(12)} ${ratio.padStart(10)}`)

/** What costs less, or does more, in mini-pages has a ratio above 1. */
const table = (both: Both): void => {
  row("", "pages", "miniPages", "ratio")
  for (const { name, title } of phases) {
    const pages = both.pages[name]
    const minis = both.miniPages[name]
    const bytes = (what: string, cost: "readBytes" | "writtenBytes" | "logBytes") =>
      row(what, rounded(pages[cost]), rounded(minis[cost]), ratioOf(pages[cost], minis[cost]))
    const both_ = [pages.perSecond, minis.perSecond] as const
    console.log(title)
    row("per second", rounded(both_[0]), rounded(both_[1]), ratioOf(both_[1], both_[0]))
    row(
      "processor time, each, µs",
      rounded(pages.cpuMicros),
      rounded(minis.cpuMicros),
      ratioOf(pages.cpuMicros, minis.cpuMicros)
    )
    bytes("bytes read, each", "readBytes")
    bytes("bytes written, page file, each", "writtenBytes")
    bytes("bytes written, log, each", "logBytes")
    row("merges, each", rounded(pages.merges), rounded(minis.merges), "")
    if (name === "updates" || name === "scans") continue
    const lookups = name === "half" ? 0.5 : 1
    row(
      "lookups that did not wait",
      percent(1 - pages.waits / lookups),
      percent(1 - minis.waits / lookups),
      ""
    )
    for (const kind of Object.keys(pages.hits)) {
      const [a, b] = [pages.hits[kind] ?? 0, minis.hits[kind] ?? 0]
      if (a + b > 0) row(`  answered by ${kind}`, percent(a / lookups), percent(b / lookups), "")
    }
  }
  const { miniPages, pages } = both
  console.log("the checkpoint after the last updates")
  row(
    "bytes written, page file",
    rounded(pages.owed),
    rounded(miniPages.owed),
    ratioOf(pages.owed, miniPages.owed)
  )
}

interface Goal {
  readonly what: string
  readonly ratio: number
  readonly least: number
}

const goals = ({ miniPages, pages }: Both): ReadonlyArray<Goal> => {
  const search = Search.measure()
  console.log(
    `search of a page: ${search.branchy.toFixed(1)} ns with branches, ${
      search.branchless.toFixed(1)
    } ns without`
  )
  return [
    {
      what: "bytes written per update",
      ratio: pages.updates.writtenBytes / miniPages.updates.writtenBytes,
      least: 6
    },
    { what: "bytes read per lookup", ratio: pages.lookups.readBytes / miniPages.lookups.readBytes, least: 2 },
    { what: "lookups per second", ratio: miniPages.lookups.perSecond / pages.lookups.perSecond, least: 2 },
    { what: "updates per second", ratio: miniPages.updates.perSecond / pages.updates.perSecond, least: 4 },
    { what: "search", ratio: search.branchy / search.branchless, least: 2 }
  ]
}

const sweeps: Record<string, ReadonlyArray<readonly [string, Partial<Setting>]>> = {
  "memory, of the raw data": [4, 8, 16, 31, 62].map((
    percent
  ) => [`${percent} %`, { memoryPercent: percent }]),
  skew: [0, 0.6, 0.9, 1].map((skew) => [String(skew), { skew }]),
  "second chance": [1, 10, 50].map((percent) => [`${percent} %`, { secondChancePercent: percent }]),
  promotion: [1, 5, 20, 100].map((percent) => [`${percent} %`, { promotionPercent: percent }])
}

/** Runs both modes, each of them once for all settings that are the same to it: a page cache promotes nothing. */
const onceEach = (world: World) => {
  const known = new Map<string, Result>()
  const once = Effect.fnUntraced(
    function*(mode: Mode, setting: Setting): Effect.fn.Return<Result, StoreError> {
      const name = JSON.stringify([mode, setting])
      const result = known.get(name) ?? (yield* runMode(mode, world, setting))
      known.set(name, result)
      return result
    }
  )
  return Effect.fnUntraced(function*(setting: Setting): Effect.fn.Return<Both, StoreError> {
    const pages = yield* once("pages", { ...setting, promotionPercent: usual.promotionPercent })
    return { pages, miniPages: yield* once("miniPages", setting) }
  })
}

/** One line per setting, ratios as in the table, of a smaller world. */
const sweep = Effect.fnUntraced(function*(systemCache: SystemCache) {
  const both = onceEach(yield* worldOf(Math.ceil(recordsAsked / 4), systemCache))
  for (const [what, settings] of Object.entries(sweeps)) {
    console.log(`\n${what.padEnd(26)} read/lookup  lookups/s  written/update  updates/s  scans/s`)
    for (const [name, setting] of settings) {
      const { miniPages, pages } = yield* both({ ...usual, ...setting })
      const ratios = [
        ratioOf(pages.lookups.readBytes, miniPages.lookups.readBytes).padStart(11),
        ratioOf(miniPages.lookups.perSecond, pages.lookups.perSecond).padStart(10),
        ratioOf(pages.updates.writtenBytes, miniPages.updates.writtenBytes).padStart(15),
        ratioOf(miniPages.updates.perSecond, pages.updates.perSecond).padStart(10),
        ratioOf(miniPages.scans.perSecond, pages.scans.perSecond).padStart(8)
      ]
      console.log(`  ${name.padEnd(24)} ${ratios.join(" ")}`)
    }
  }
})

/** Past the system's cache, where the file system can do that. */
const systemCacheHere = Effect.provide(
  Effect.succeed("bypass" as const),
  Store.layer({ path: join(directory, "probe"), systemCache: "bypass" })
).pipe(Effect.orElseSucceed(() => "avoid" as const))

const main = Effect.gen(function*() {
  const systemCache = yield* systemCacheHere
  const begun = process.hrtime.bigint()
  const world = yield* worldOf(recordsAsked, systemCache)
  const seconds = (Number(process.hrtime.bigint() - begun) / 1e9).toFixed(0)
  console.log(
    `${
      recordsAsked.toLocaleString("en")
    } records of ${keyBytes} + ${valueBytes} bytes, loaded in ${seconds} s, `
      + `memory ${usual.memoryPercent} % of that, skew ${usual.skew}, ${inFlight} requests in flight, `
      + `system cache "${systemCache}"${systemCache === "avoid" ? " (bypass is not possible here)" : ""}, `
      + "durability \"buffered\", no checkpoint within a phase\n"
  )
  const both = yield* onceEach(world)(usual)
  table(both)
  const reached = goals(both)
  if (flags.sweep) yield* sweep(systemCache)
  const line = reached.map(({ least, ratio, what }) =>
    `${what} ${ratio.toFixed(2)} × (${ratio >= least ? "" : "missed: "}at least ${least})`
  )
  console.log(`\n${line.join(", ")}`)
  return reached.every(({ least, ratio }) => ratio >= least) ? 0 : 1
}).pipe(Effect.ensuring(Effect.sync(() => rmSync(directory, { recursive: true }))))

process.exitCode = await Effect.runPromise(main)

/**
 * What mini-pages save against a page cache of the same size in the same engine.
 *
 * `npm run bench:bftree` loads records of 32 bytes once, and gives a copy of that store to each mode of the buffer: the
 * same tree, the same memory (31 % of the raw data), the same requests, pages past the system's cache, the log written
 * in the background. No checkpoint falls into a phase; one follows the updates, so that what a mode put off shows.
 * Workload and expected shape: Hao and Chandramouli, "Bf-Tree" (VLDB 2024), 6, scaled down.
 *
 * `--records` and `--operations` make it small, `--sweep` varies memory, skew, second chance and promotion in turn.
 * Exits 1 where a goal is missed.
 */
import * as Effect from "effect/Effect"
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { Cost, Kind } from "./phase.ts"
import * as Phase from "./phase.ts"
import * as Search from "./search.ts"
import { keyBytes, keysOf, requests, valueBytes, zipf } from "./zipf.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "2000000" },
    operations: { type: "string", default: "200000" },
    directory: { type: "string", default: tmpdir() },
    sweep: { type: "boolean", default: false }
  }
})
const records = Number(flags.records)
const operations = Number(flags.operations)
const inFlight = 32

const modes = ["pages", "miniPages"] as const
type Mode = typeof modes[number]

/** What a run varies. */
interface Setting {
  readonly memoryPercent: number
  readonly skew: number
  readonly limits: { readonly secondChancePercent?: number; readonly promotionPercent?: number }
}

const usual: Setting = { memoryPercent: 31, skew: 0.9, limits: {} }

interface PhaseOf {
  readonly name: "lookups" | "scans" | "half" | "updates"
  readonly title: string
  readonly kind: (dice: number) => Kind
  /** Requests before the measured ones, and measured ones, per operation that was asked for. */
  readonly warm: number
  readonly measured: number
}

const phases: ReadonlyArray<PhaseOf> = [
  { name: "lookups", title: "lookups", kind: () => "lookup", warm: 5, measured: 1.5 },
  {
    name: "scans",
    title: `scans of ${Phase.scanRecords}`,
    kind: () => "scan",
    warm: 0.1,
    measured: 0.25
  },
  {
    name: "half",
    title: "half lookups, half updates",
    kind: (dice) => dice < 0.5 ? "lookup" : "update",
    warm: 1.5,
    measured: 0.5
  },
  { name: "updates", title: "updates", kind: () => "update", warm: 1, measured: 1 }
]

const Words = Keyspace.bytes("words")
const keys = keysOf(records)
const directory = mkdtempSync(join(flags.directory, "heartwood-bench-"))

/** Larger than any phase: the log is never long enough for a checkpoint, in neither mode. */
const seldom = { logBytes: "4 GiB", interval: "1 day", leafRecords: 2 ** 31, records: 2 ** 40 } as const

/** Writes all records in random order, with memory enough for all of them, and closes the store. */
const load = Effect.gen(function*() {
  const { machine } = yield* Store.Store
  const raw = yield* Words.raw
  const value = new Uint8Array(valueBytes)
  for (let from = 0; from < records; from += 1_000) {
    const length = Math.min(1_000, records - from)
    const batch = Array.from({ length }, (_, index) => ({
      key: keys.subarray((from + index) * keyBytes, (from + index + 1) * keyBytes),
      value
    }))
    while (!Phase.admitted(machine, () => raw.batchUnsafe(batch))) yield* Effect.yieldNow
  }
}).pipe(Effect.provide(Store.layer({
  path: join(directory, "loaded"),
  memory: "1 GiB",
  buffer: "pages",
  durability: "memory",
  checkpoint: seldom
})))

/** A copy of what was loaded, all of it on the device. */
const copy = (name: string): string => {
  const path = join(directory, name)
  cpSync(join(directory, "loaded"), path, { recursive: true })
  for (const file of readdirSync(path, { recursive: true, encoding: "utf8" })) {
    const descriptor = fs.openSync(join(path, file), "r")
    fs.fsyncSync(descriptor)
    fs.closeSync(descriptor)
  }
  return path
}

type Costs = { readonly [N in PhaseOf["name"]]: Cost }

interface Result extends Costs {
  /** Bytes of the page file that the checkpoint after the updates wrote, per update since the last one. */
  readonly owed: number
}

const runMode = (
  mode: Mode,
  setting: Setting,
  scale: number,
  systemCache: "bypass" | "avoid"
): Effect.Effect<Result, StoreError> => {
  const path = copy(mode)
  const memoryBytes = Math.round(records * (keyBytes + valueBytes) * setting.memoryPercent / 100)
  const body = Effect.gen(function*() {
    const store = yield* Store.Store
    const { machine } = store
    const target = { machine, keyspace: Words, raw: yield* Words.raw, keys, inFlight }
    const draw = zipf(records, setting.skew)
    const costs: Partial<Record<PhaseOf["name"], Cost>> = {}
    let updates = 0
    for (const [index, { kind, measured, name, warm }] of phases.entries()) {
      const count = (share: number): number => Math.ceil(operations * scale * share)
      yield* Phase.run(target, requests(draw, count(warm), 2 * index), kind)
      costs[name] = yield* Phase.run(target, requests(draw, count(measured), 2 * index + 1), kind)
      updates += count(warm + measured) * (name === "updates" ? 1 : name === "half" ? 0.5 : 0)
    }
    const before = machine.parts.file.counters.writeBytes
    yield* store.checkpoint
    const owed = (machine.parts.file.counters.writeBytes - before) / updates
    return { ...costs as Costs, owed }
  })
  return body.pipe(
    Effect.provide(Store.layer({
      path,
      buffer: mode,
      systemCache,
      durability: "buffered",
      limits: { ...setting.limits, memoryBytes },
      checkpoint: seldom
    })),
    Effect.ensuring(Effect.sync(() => rmSync(path, { recursive: true })))
  )
}

interface Both {
  readonly pages: Result
  readonly miniPages: Result
}

const runBoth = Effect.fnUntraced(
  function*(
    setting: Setting,
    scale: number,
    systemCache: "bypass" | "avoid"
  ): Effect.fn.Return<Both, StoreError> {
    const pages = yield* runMode("pages", setting, scale, systemCache)
    const miniPages = yield* runMode("miniPages", setting, scale, systemCache)
    return { pages, miniPages }
  }
)

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
    bytes("bytes read, each", "readBytes")
    bytes("bytes written, page file, each", "writtenBytes")
    bytes("bytes written, log, each", "logBytes")
    row("merges, each", rounded(pages.merges), rounded(minis.merges), "")
    if (name === "updates" || name === "scans") {
      row(
        "pages waited for, each",
        rounded(pages.waits),
        rounded(minis.waits),
        ratioOf(pages.waits, minis.waits)
      )
      continue
    }
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
  console.log("the checkpoint after them")
  row("bytes written, page file, per update", rounded(pages.owed), rounded(miniPages.owed), "")
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
  "memory, of the raw data": [4, 8, 16, 31, 62].map((share) => [`${share} %`, { memoryPercent: share }]),
  skew: [0, 0.6, 0.8, 0.9, 1].map((skew) => [String(skew), { skew }]),
  "second chance": [1, 5, 10, 20, 50].map((
    share
  ) => [`${share} %`, { limits: { secondChancePercent: share } }]),
  promotion: [1, 10, 20, 30, 100].map((share) => [`${share} %`, { limits: { promotionPercent: share } }])
}

/** One line per setting, ratios as in the table. */
const sweep = Effect.fnUntraced(function*(systemCache: "bypass" | "avoid") {
  for (const [what, settings] of Object.entries(sweeps)) {
    console.log(`\n${what.padEnd(26)} read/lookup  lookups/s  written/update  updates/s  scans/s`)
    for (const [name, setting] of settings) {
      const { miniPages, pages } = yield* runBoth({ ...usual, ...setting }, 0.2, systemCache)
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
  yield* load
  const seconds = (Number(process.hrtime.bigint() - begun) / 1e9).toFixed(0)
  console.log(
    `${records.toLocaleString("en")} records of ${keyBytes} + ${valueBytes} bytes, loaded in ${seconds} s, `
      + `memory ${usual.memoryPercent} % of that, skew ${usual.skew}, ${inFlight} requests in flight, `
      + `system cache "${systemCache}"${systemCache === "avoid" ? " (bypass is not possible here)" : ""}, `
      + "durability \"buffered\", no checkpoint within a phase\n"
  )
  const both = yield* runBoth(usual, 1, systemCache)
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

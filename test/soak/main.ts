/**
 * Hours of a store's life in minutes: everything is written, overwritten, removed and read back for as long as wanted,
 * and memory, page file and log stay as small as what is in them: `npm run test:soak`.
 *
 * `--minutes 10`, `--memory 64` (MiB), `--seed 1`, `--directory <path>` (a new one below the system's temporary
 * directory by default, which is kept where something is found).
 */
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Store } from "../../src/index.ts"
import { random } from "../support/random.ts"
import { Churn } from "./Churn.ts"

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "10" },
    memory: { type: "string", default: "64" },
    seed: { type: "string", default: `${process.pid}` },
    directory: { type: "string" }
  }
})
const MiB = 1_048_576
const millis = Number(values.minutes) * 60_000
const memory = Number(values.memory)
const directory = values.directory ?? mkdtempSync(join(tmpdir(), "heartwood-soak-"))
const segmentBytes = 4 * MiB
const logBytes = 32 * MiB
const options: Store.Options = {
  path: join(directory, "store"),
  limits: { memoryBytes: memory * MiB, segmentBytes, checkpoint: { logBytes } }
}

/** Before that, memory still grows to its size. */
const leastSeconds = 180

/** Resident memory, a number a second. */
const resident: Array<number> = []
const mean = (from: number, to: number): number => {
  const part = resident.slice(Math.floor(resident.length * from), Math.ceil(resident.length * to))
  return part.reduce((sum, bytes) => sum + bytes, 0) / part.length
}
const mib = (bytes: number): string => `${(bytes / MiB).toFixed(0)} MiB`

const print = (store: Store.Store["Service"], churn: Churn, what: string) =>
  Effect.map(store.stat, ({ counters, file, log }) => {
    const { external, heapUsed, rss } = process.memoryUsage()
    const { pageBytes } = store.machine.limits
    const { checks, commits, putBytes, rows } = churn.counters
    console.log(
      `${what}: resident ${mib(rss)}, external ${mib(external)}, heap ${mib(heapUsed)}; `
        + `pages ${mib(file.slots * pageBytes)}, ${mib(file.live * pageBytes)} live; `
        + `log ${mib(log.files)}, ${mib(log.large)} large; ${commits} commits, ${mib(putBytes)} put, `
        + `${checks} snapshots of ${rows} rows, ${counters.checkpoints} checkpoints, `
        + `${mib(counters.relocatedBytes)} moved, ${counters.evictions} evictions`
    )
  })

let failed = false
const expect = (what: string, actual: number, most: number): void => {
  console.log(`${actual <= most ? "holds" : "BROKEN"}: ${what}, ${mib(actual)} of at most ${mib(most)}`)
  if (actual > most) failed = true
}

/** What must hold when all is quiet. */
const judge = (store: Store.Store["Service"], churn: Churn) =>
  Effect.gen(function*() {
    yield* store.checkpoint
    while (store.machine.parts.relocation.busy) yield* Effect.sleep(10)
    yield* store.checkpoint
    const { file, log } = yield* store.stat
    const { inlineValueBytes, pageBytes } = store.machine.limits
    expect("page file, 1.6 times what is live", file.slots * pageBytes, 1.6 * file.live * pageBytes)
    const large = churn.bytesFrom(inlineValueBytes + 1)
    expect(
      "log, its bound and 1.5 times live large values",
      log.files,
      logBytes + 2 * segmentBytes + 1.5 * large
    )
    if (resident.length < leastSeconds) console.log(`resident is not judged in ${resident.length} seconds`)
    else expect("resident, the second quarter and a tenth", mean(0.75, 1), 1.1 * mean(0.25, 0.5))
    const { violations } = yield* store.inspect
    for (const violation of violations) console.log("BROKEN:", violation)
    if (violations.length > 0) failed = true
    yield* churn.checkAll
  })

const main = Effect.gen(function*() {
  const store = yield* Store.Store
  const churn = new Churn(random(Number(values.seed)), memory, yield* Semaphore.make(1))
  yield* churn.fill
  yield* print(store, churn, "filled")
  const began = performance.now()
  const going = () => performance.now() - began < millis
  const watch = Effect.gen(function*() {
    for (let second = 1; going(); second++) {
      yield* Effect.sleep(1_000)
      resident.push(process.memoryUsage.rss())
      if (second % 60 === 0) yield* print(store, churn, `minute ${second / 60}`)
    }
  })
  const all = <E, R>(what: Effect.Effect<void, E, R>, count: number) =>
    Array.from({ length: count }, () => Effect.whileLoop({ while: going, body: () => what, step: () => {} }))
  yield* Effect.all([watch, ...all(churn.write, 4), ...all(churn.check, 4)], {
    concurrency: "unbounded",
    discard: true
  })
  yield* judge(store, churn)
  yield* print(store, churn, "at the end")
})

console.log(`${values.minutes} minutes in ${memory} MiB, seed ${values.seed}, in ${directory}`)
try {
  await Effect.runPromise(Effect.provide(main, Store.layer(options)))
} catch (error) {
  console.error(error)
  failed = true
}
if (failed) process.exitCode = 1
else if (values.directory === undefined) rmSync(directory, { recursive: true })

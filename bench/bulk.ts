/**
 * What a load gains over transactions of 1,000 puts, on one machine, in turn.
 *
 * `node bench/bulk.ts --records 400000 --rounds 5` loads ascending keys into fresh stores by both ways, each round the
 * other one first. Both wait for the disk once, at the end. Rates are by the time that the process was at work, so that
 * neither a slow disk nor other programs blur what the two cost; `--directory` names one for a store on a disk instead
 * of in memory, and `--clock wall` counts the time that passes. It exits with 1 where the median of the ratios is below
 * 1.5.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { mkdtempSync, rmSync } from "node:fs"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Bulk from "../src/Bulk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "400000" },
    rounds: { type: "string", default: "5" },
    clock: { type: "string", default: "work" },
    directory: { type: "string" }
  }
})
const records = Number(flags.records)
const rounds = Math.max(5, Number(flags.rounds))
const goal = 1.5
const Rows = Keyspace.bytes("rows")
const value = new Uint8Array(100).fill(7)

const entry = (index: number): readonly [Uint8Array, Uint8Array] => {
  const key = new Uint8Array(16)
  new DataView(key.buffer).setUint32(8, index)
  return [key, value]
}

function* entries(): Generator<readonly [Uint8Array, Uint8Array]> {
  for (let index = 0; index < records; index++) yield entry(index)
}

const thousand = (from: number) =>
  Effect.gen(function*() {
    for (let index = from; index < Math.min(records, from + 1_000); index++) yield* Rows.put(...entry(index))
  }).pipe(Tx.commit({ durability: "memory" }))

const ways = {
  transactions: Effect.gen(function*() {
    let lsn = 0
    for (let from = 0; from < records; from += 1_000) lsn = (yield* thousand(from)).lsn
    yield* (yield* Store.Store).awaitDurable(lsn + 1)
  }),
  bulk: Bulk.load(Rows, { [Symbol.iterator]: entries })
}

/** Seconds that have passed, or that the process was at work. */
const clock = (): number => {
  if (flags.clock === "wall") return performance.now() / 1_000
  const { system, user } = process.cpuUsage()
  return (system + user) / 1_000_000
}

/** Records a second of a load into a store of its own. */
const rateOf = (way: keyof typeof ways) => {
  const timed = Effect.gen(function*() {
    const started = clock()
    yield* ways[way]
    const seconds = clock() - started
    const { count } = yield* Rows.stat
    if (count !== records) return yield* Effect.die(new Error(`${way} has loaded ${count} records`))
    return records / seconds
  })
  if (flags.directory === undefined) {
    const layer = Layer.provide(Store.layerDisk({ path: "/store", durability: "synced" }), MemoryDisk.layer)
    return Effect.provide(timed, layer)
  }
  const directory = mkdtempSync(join(flags.directory, "heartwood-bench-"))
  const layer = Store.layer({ path: join(directory, "store"), durability: "synced" })
  return Effect.ensuring(
    Effect.provide(timed, layer),
    Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  )
}

const median = (values: ReadonlyArray<number>): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] as number

await Effect.runPromise(Effect.gen(function*() {
  const ratios: Array<number> = []
  // Code that has not run yet is slow in either.
  for (const way of ["transactions", "bulk"] as const) yield* rateOf(way)
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? ["transactions", "bulk"] as const : ["bulk", "transactions"] as const
    const rates = { transactions: 0, bulk: 0 }
    for (const way of order) rates[way] = yield* rateOf(way)
    const ratio = rates.bulk / rates.transactions
    ratios.push(ratio)
    const shown = order.toSorted().map((way) => `${way} ${Math.round(rates[way]).toLocaleString("en")}/s`)
    console.log(`${shown.join(", ")}: ${ratio.toFixed(2)}`)
  }
  const middle = median(ratios)
  console.log(`median ${middle.toFixed(2)}, goal ${goal}`)
  process.exitCode = middle < goal ? 1 : 0
}))

/**
 * What the boundary costs: reads and writes through Effect beside the raw doors, each in a process of its own.
 *
 * `node bench/tx.ts --records 1000000 --rounds 7` prints nanoseconds for each, median and range over so many processes,
 * one after another, each row's in its turn, and last whether the goals hold; it exits with 1 where one does not.
 * Nothing waits for the disk: durability is `memory`, and the log is synced beside. In one process for all, V8 compiles
 * what they share for all of them, and each would be up to a third slower than in a program that does one thing.
 */
import * as Effect from "effect/Effect"
import { fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { KeyGroup, Records } from "./workloads/Records.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "1000000" },
    rounds: { type: "string", default: "7" },
    /** In the process of a row: which. */
    row: { type: "string" }
  }
})
const records = Number(flags.records)
const rounds = Math.max(5, Number(flags.rounds))
const reads = 50_000
const writes = 20_000

const Words = Keyspace.bytes("words")
const memory = { durability: "memory" } as const

/** Keys are computed where they are wanted: a table of them would cost each request a miss of the processor's caches. */
const stored = new Records(records)
const value = new Uint8Array(100).fill(7)

/** Spreads what is asked for over all records, each round anew. */
let asked = 0
const nextIndex = (): number => asked = (asked + 7_919) % records
/** Good until the next one. */
const next = (): Uint8Array => stored.key(nextIndex())

const many = 100
const group = new KeyGroup(many)
const indices = new Uint32Array(many)
/** Good until the next so many. */
const nextMany = (): ReadonlyArray<Uint8Array> => {
  for (let place = 0; place < many; place++) indices[place] = nextIndex()
  return group.fill(stored, indices, 0)
}

const ways = Effect.gen(function*() {
  const raw = yield* Words.raw
  const put = Effect.suspend(() => Words.put(next(), value))
  const times = <R>(count: number, one: () => Effect.Effect<unknown, unknown, R>) => {
    let left = count
    return Effect.whileLoop({ while: () => left-- > 0, body: one, step: () => {} })
  }
  const rows: ReadonlyArray<readonly [string, number, Effect.Effect<unknown, unknown, Store.Store>]> = [
    [
      "get, raw",
      reads,
      Effect.sync(() => {
        for (let left = reads; left > 0; left--) raw.getUnsafe(next())
      })
    ],
    [
      "get, in a snapshot",
      reads,
      Effect.suspend(() => times(reads, () => Words.get(next()))).pipe(Snapshot.read())
    ],
    [
      "get, in a transaction",
      reads,
      Effect.suspend(() => times(reads, () => Words.get(next()))).pipe(Tx.transact(memory))
    ],
    [
      "getMany of 100, in a transaction",
      reads,
      Effect.suspend(() => times(reads / many, () => Words.getMany(nextMany()))).pipe(
        Tx.transact(memory)
      )
    ],
    [
      "put, in a transaction",
      writes,
      Effect.suspend(() => times(writes, () => put)).pipe(Tx.transact(memory))
    ],
    [
      "put, raw",
      writes,
      Effect.gen(function*() {
        for (let left = writes; left > 0; left--) {
          while (!tried(() => raw.putUnsafe(next(), value))) yield* Effect.sleep(1)
        }
      })
    ],
    [
      "transaction of a put, alone",
      writes,
      Effect.suspend(() => times(writes, () => Tx.transact(memory)(put)))
    ],
    [
      "transaction of a get and a put, alone",
      writes,
      Effect.suspend(() =>
        times(writes, () => Tx.transact(memory)(Effect.andThen(Effect.suspend(() => Words.get(next())), put)))
      )
    ],
    [
      "transaction of a put, 1,000 at once",
      writes,
      Effect.suspend(() =>
        times(writes / 1_000, () =>
          Effect.forEach(thousand, () => Tx.transact(memory)(put), {
            concurrency: "unbounded",
            discard: true
          }))
      )
    ],
    ["snapshot of a get", reads, Effect.suspend(() => times(reads, () => Snapshot.read()(Words.get(next()))))]
  ]
  return rows
})

const thousand = Array.from({ length: 1_000 }, (_, index) => index)

const tried = (write: () => unknown): boolean => {
  try {
    write()
    return true
  } catch {
    return false
  }
}

const median = (numbers: ReadonlyArray<number>): number =>
  numbers.toSorted((a, b) => a - b)[numbers.length >> 1] as number

/** What the process of a row says at its end: the names of all, and what its own took. */
interface Said {
  readonly names: ReadonlyArray<string>
  readonly nanos: number
}

const fill = Effect.gen(function*() {
  for (let from = 0; from < records; from += 1_000) {
    const until = Math.min(records, from + 1_000)
    yield* Effect.suspend(() =>
      Effect.forEach(
        Array.from({ length: until - from }, (_, index) => from + index),
        (index) => Words.put(stored.key(index), value),
        { discard: true }
      )
    ).pipe(Tx.transact(memory))
  }
})

/** The first runs make the machine code. */
const unmeasured = 20
const measured = 15

/** The process of a row: fills a store, and does its work again and again; its answer is the median. */
const serve = (row: number) =>
  Effect.gen(function*() {
    const store = yield* Store.Store
    yield* fill
    const rows = yield* ways
    const [, count, run] = rows[row] as typeof rows[number]
    const nanos: Array<number> = []
    for (let index = 0; index < unmeasured + measured; index++) {
      yield* store.awaitDurable(yield* store.visibleLsn)
      const before = process.hrtime.bigint()
      yield* run
      if (index >= unmeasured) nanos.push(Number(process.hrtime.bigint() - before) / count)
    }
    return { names: rows.map(([name]) => name), nanos: median(nanos) }
  })

/** Runs the process of a row. */
const heard = async (row: number): Promise<Said> => {
  const child = fork(import.meta.filename, [...process.argv.slice(2), "--row", String(row)])
  const ended = once(child, "close")
  const [said] = await Promise.race([once(child, "message"), ended]) as [Said | number]
  await ended
  if (typeof said !== "object") throw new Error("the process of a row has failed")
  return said
}

const measure = async (): Promise<boolean> => {
  const taken = new Map<string, Array<number>>()
  for (let round = 0; round < rounds; round++) {
    for (let row = 0, all = 1; row < all; row++) {
      const { names, nanos } = await heard(row)
      all = names.length
      const name = names[row] as string
      taken.set(name, [...taken.get(name) ?? [], nanos])
    }
  }
  const cost = new Map<string, number>()
  for (const [name, nanos] of taken) {
    cost.set(name, median(nanos))
    const range = `${Math.min(...nanos).toFixed(0)} … ${Math.max(...nanos).toFixed(0)}`
    console.log(`  ${name.padEnd(40)} ${median(nanos).toFixed(0).padStart(7)} ns   [${range}]`)
  }
  const of = (what: string): number => cost.get(what) ?? NaN
  const goals = [
    ["a get in a transaction, beside a raw one", of("get, in a transaction") - of("get, raw"), 250],
    ["a transaction of a put, alone", of("transaction of a put, alone"), 5_000],
    ["the same, 1,000 at once", of("transaction of a put, 1,000 at once"), 2_000],
    ["a raw put", of("put, raw"), 1_200]
  ] as const
  for (const [what, actual, most] of goals) {
    console.log(`${actual <= most ? "holds " : "misses"} ${what}: ${actual.toFixed(0)} of at most ${most} ns`)
  }
  return goals.every(([, actual, most]) => actual <= most)
}

if (flags.row === undefined) {
  process.exitCode = await measure() ? 0 : 1
} else {
  const path = mkdtempSync(join(tmpdir(), "heartwood-tx-"))
  const layer = Store.layer({ path, memory: "1 GiB", checkpoint: { logBytes: "4 GiB" } })
  const said: Said = await Effect.runPromise(Effect.provide(serve(Number(flags.row)), layer))
    .finally(() => rmSync(path, { recursive: true, force: true }))
  process.send?.(said, () => process.disconnect())
}

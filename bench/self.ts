/**
 * What this engine does per second, by itself: gets, puts, scans, commits and recovery.
 *
 * `npm run bench:self -- --records 1000000` prints a table. Numbers of one run on one machine compare only with each other;
 * each row is the median of `--rounds` rounds with its range. Comparison with other engines is not the business of
 * this file.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Keyspace from "../src/Keyspace.ts"
import { Batch, Many } from "../src/Raw.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { keysOf } from "./keys.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "100000" },
    rounds: { type: "string", default: "5" }
  }
})
const records = Number(flags.records)
const rounds = Number(flags.rounds)

const Words = Keyspace.bytes("words")

const keyOf = keysOf(records)
const value = new Uint8Array(100).fill(7)

const rows: Array<readonly [what: string, median: string, range: string]> = []

/** Runs `round` and notes how many of what it did per second. */
const measure = Effect.fnUntraced(function*<R>(
  what: string,
  count: number,
  round: (number: number) => Effect.Effect<unknown, unknown, R>,
  times: number = rounds
): Effect.fn.Return<void, unknown, R> {
  const rates: Array<number> = []
  for (let number = 0; number < times; number++) {
    const before = process.hrtime.bigint()
    yield* round(number)
    rates.push(count / (Number(process.hrtime.bigint() - before) / 1e9))
  }
  note(what, rates)
})

const note = (what: string, rates: Array<number>): void => {
  rates.sort((a, b) => a - b)
  const middle = rates[rates.length >> 1] as number
  rows.push([what, format(middle), `${format(rates[0] as number)} … ${format(rates.at(-1) as number)}`])
  console.log(`  ${what.padEnd(44)} ${format(middle).padStart(9)}/s   [${rows.at(-1)?.[2]}]`)
}

/** The same for several ways to do the same, a round of each in turn, so that what else runs bears on all alike. */
const compare = Effect.fnUntraced(function*<R>(
  number: number,
  ways: ReadonlyArray<readonly [what: string, round: Effect.Effect<unknown, unknown, R>]>
): Effect.fn.Return<void, unknown, R> {
  const rates = ways.map((): Array<number> => [])
  // The first round makes the machine code.
  for (let round = 0; round <= Math.max(5, rounds); round++) {
    for (const [way, [, run]] of ways.entries()) {
      const before = process.hrtime.bigint()
      yield* run
      if (round > 0) rates[way]?.push(number / (Number(process.hrtime.bigint() - before) / 1e9))
    }
  }
  for (const [way, [what]] of ways.entries()) note(what, rates[way] ?? [])
})

const format = (rate: number): string =>
  rate >= 1e6
    ? `${(rate / 1e6).toFixed(2)} M`
    : rate >= 1e3
    ? `${(rate / 1e3).toFixed(1)} k`
    : rate.toFixed(0)

const writes = Effect.gen(function*() {
  const raw = yield* Words.raw
  const store = yield* Store.Store
  yield* measure("load, random keys, batches of 1,000", records, () =>
    Effect.gen(function*() {
      for (let from = 0; from < records; from += 1_000) {
        const length = Math.min(1_000, records - from)
        const batch = count(length).map((index) => ({ key: keyOf(from + index), value }))
        while (attempt(() => raw.batchUnsafe(batch)) === undefined) yield* Effect.yieldNow
      }
      yield* store.awaitDurable(yield* store.visibleLsn)
    }), 1)
  yield* measure("raw put, overwriting, one at a time", records, () =>
    Effect.gen(function*() {
      for (let index = 0; index < records; index++) {
        while (
          attempt(() => raw.putUnsafe(keyOf(index * 7919 % records), value)) === undefined
        ) yield* Effect.yieldNow
      }
    }))
  const lone = 500
  yield* measure(
    "durable transaction of one put, one writer",
    lone,
    (round) =>
      Effect.forEach(
        count(lone),
        (index) => Words.put(keyOf((round * lone + index) % records), value).pipe(Tx.transact()),
        {
          discard: true
        }
      )
  )
  for (const writers of [64, 1_024]) {
    const each = Math.ceil(16_384 / writers)
    yield* measure(
      `durable transactions, ${writers} writers`,
      each * writers,
      () =>
        Effect.forEach(
          count(writers),
          (writer) =>
            Effect.forEach(count(each), (index) =>
              Words.put(keyOf((writer * each + index) % records), value).pipe(Tx.transact()), {
              discard: true
            }),
          { concurrency: "unbounded", discard: true }
        )
    )
  }
})

const reads = Effect.gen(function*() {
  const raw = yield* Words.raw
  const target = new Uint8Array(128)
  yield* measure("raw get into a buffer, uniform", records, () =>
    Effect.sync(() => {
      for (let index = 0; index < records; index++) {
        raw.getIntoUnsafe(keyOf(index * 7919 % records), target, 0)
      }
    }))
  yield* measure("raw get, fresh bytes, uniform", records, () =>
    Effect.sync(() => {
      for (let index = 0; index < records; index++) raw.getUnsafe(keyOf(index * 7919 % records))
    }))
  const hundreds = count(Math.floor(records / 100)).map((group) =>
    count(100).map((index) => keyOf((group * 100 + index) * 7919 % records))
  )
  const many = new Many()
  const inHundreds = (look: (keys: Array<Uint8Array>) => void) => Effect.sync(() => hundreds.forEach(look))
  yield* compare(hundreds.length * 100, [
    [
      "100 single gets into a buffer",
      inHundreds((keys) => {
        for (const key of keys) raw.getIntoUnsafe(key, target, 0)
      })
    ],
    ["getMany of 100, packed", inHundreds((keys) => raw.getManyIntoUnsafe(keys, many))],
    ["100 single gets, fresh bytes", inHundreds((keys) => void keys.map(raw.getUnsafe))],
    ["getMany of 100, fresh bytes", inHundreds((keys) => void raw.getManyUnsafe(keys))]
  ])
  const few = hundreds.slice(0, 1_000)
  yield* compare(few.length * 100, [
    [
      "100 Effect gets inside one snapshot",
      Effect.forEach(few, (keys) => Effect.forEach(keys, Words.get), { discard: true }).pipe(Snapshot.read())
    ],
    [
      "Effect getMany of 100 inside one snapshot",
      Effect.forEach(few, Words.getMany, { discard: true }).pipe(Snapshot.read())
    ]
  ])
  const some = Math.min(records, 100_000)
  yield* measure(
    "Effect get inside one snapshot",
    some,
    () =>
      Effect.forEach(count(some), (index) => Words.get(keyOf(index * 7919 % records)), { discard: true })
        .pipe(
          Snapshot.read()
        )
  )
  yield* measure("raw full scan, packed batches", records, () =>
    Effect.sync(() => {
      const batch = new Batch()
      const range = {
        lower: new Uint8Array(0),
        upper: undefined,
        order: "ascending",
        columns: "keys and values",
        limit: 1_000
      } as const
      while (raw.scanUnsafe(range, batch));
    }))
  yield* measure("Stream full scan", records, () => Stream.runDrain(Words.range()).pipe(Snapshot.read()))
})

const attempt = <A>(f: () => A): A | undefined => {
  try {
    return f()
  } catch {
    return undefined
  }
}

const count = (length: number): Array<number> => Array.from({ length }, (_, index) => index)

const main = Effect.gen(function*() {
  const path = mkdtempSync(join(tmpdir(), "heartwood-bench-"))
  const options: Store.Options = { path: join(path, "store"), memory: "1 GiB" }
  console.log(`${records} records of 16 + 100 bytes, Node ${process.version}, median of ${rounds} [range]\n`)
  yield* Effect.andThen(writes, reads).pipe(Effect.provide(Store.layer(options)))
  yield* measure(
    "reopen after a clean close, stores",
    1,
    () => Effect.provide(Effect.void, Store.layer(options))
  )
  const killed = { ...options, path: join(path, "killed") }
  yield* leaveLog({ ...options, path: join(path, "writing"), checkpoint: { logBytes: "8 GiB" } }, killed.path)
  yield* measure(
    "recovery, records replayed",
    records,
    () => Effect.provide(Effect.void, Store.layer(killed)),
    1
  )
  rmSync(path, { recursive: true })
})

/** Copies a store whose log holds all records and no checkpoint, as a killed process leaves one. */
const leaveLog = (options: Store.Options, path: string) =>
  Effect.gen(function*() {
    const raw = yield* Words.raw
    const store = yield* Store.Store
    for (let index = 0; index < records; index++) {
      while (attempt(() => raw.putUnsafe(keyOf(index), value)) === undefined) yield* Effect.yieldNow
    }
    yield* store.awaitDurable(yield* store.visibleLsn)
    cpSync(options.path, path, { recursive: true, filter: (file) => !file.includes("lock") })
  }).pipe(Effect.provide(Store.layer(options)))

await Effect.runPromise(main)

/**
 * What reading ahead gives a scan of a store that is larger than its memory.
 *
 * `npm run bench:scan -- --records 400000 --rounds 7 --directory /var/tmp` loads records at random, and scans all of
 * them as a stream, with read-ahead and without, in turn, past the system's cache. It prints rates as medians with
 * their range, and the ratio of each round's two rates. Without means that one page is read at a time.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { keysOf } from "./keys.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "200000" },
    rounds: { type: "string", default: "5" },
    memory: { type: "string", default: "4 MiB" },
    readers: { type: "string", default: "1" },
    cache: { type: "string", default: "bypass" },
    directory: { type: "string", default: tmpdir() }
  }
})
const records = Number(flags.records)
const rounds = Number(flags.rounds)
const readers = Number(flags.readers)
const Rows = Keyspace.bytes("rows")

const keyOf = keysOf(records)
const value = new Uint8Array(100).fill(7)

const path = join(mkdtempSync(join(flags.directory, "heartwood-bench-")), "store")
const options: Store.Options = {
  path,
  memory: flags.memory as "4 MiB",
  systemCache: flags.cache === "use" ? "use" : "bypass"
}

/** Without read-ahead there is nothing to be read beside what is waited for. */
const ways: Record<string, Store.Options> = {
  with: options,
  without: { ...options, limits: { loadsInFlight: 1 } }
}
const works: Record<string, Keyspace.RangeOptions<Uint8Array, Uint8Array>> = {
  ascending: {},
  descending: { reverse: true }
}

const load = Effect.gen(function*() {
  for (let from = 0; from < records; from += 1_000) {
    const indices = Array.from({ length: Math.min(1_000, records - from) }, (_, index) => from + index)
    yield* Effect.forEach(indices, (index) => Rows.put(keyOf(index), value), { discard: true })
      .pipe(Tx.transact({ durability: "memory" }))
  }
  yield* Effect.flatMap(Store.Store, (store) => store.checkpoint)
})

interface Round {
  readonly rate: number
  readonly loads: number
  readonly ahead: number
}

const round = (work: string) =>
  Effect.gen(function*() {
    const { machine } = yield* Store.Store
    const { loads } = machine.parts.buffer.counters
    const scan = Snapshot.read()(Stream.runFold(Rows.range(works[work]), () => 0, (count) => count + 1))
    const before = { loads: loads.loads, ahead: loads.by.ahead }
    const start = process.hrtime.bigint()
    const counts = yield* Effect.all(Array.from({ length: readers }, () => scan), {
      concurrency: "unbounded"
    })
    const seconds = Number(process.hrtime.bigint() - start) / 1e9
    if (counts.some((count) => count !== records)) return yield* Effect.die(`${counts} of ${records} records`)
    return {
      rate: records * readers / seconds,
      loads: loads.loads - before.loads,
      ahead: loads.by.ahead - before.ahead
    } satisfies Round
  })

const spread = (values: ReadonlyArray<number>, digits: number): string => {
  const sorted = [...values].sort((a, b) => a - b)
  const [least, middle, most] = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)]
  return `${middle?.toFixed(digits)} [${least?.toFixed(digits)} … ${most?.toFixed(digits)}]`
}

const program = Effect.gen(function*() {
  yield* Effect.provide(load, Store.layer(options))
  console.log(
    `${records} records of 16 + 100 bytes, ${flags.memory}, ${readers} readers, Node ${process.version}`
  )
  const seen = new Map<string, Array<Round>>()
  // The first round makes the machine code.
  for (let number = 0; number <= rounds; number++) {
    for (const work of Object.keys(works)) {
      for (const [way, opened] of Object.entries(ways)) {
        const one = yield* Effect.provide(round(work), Store.layer(opened))
        const key = `${work}, ${way}`
        if (number > 0) seen.set(key, [...(seen.get(key) ?? []), one])
      }
    }
  }
  for (const work of Object.keys(works)) {
    for (const way of Object.keys(ways)) {
      const all = seen.get(`${work}, ${way}`) ?? []
      const [{ ahead, loads }] = all as [Round]
      console.log(
        `${`${work}, ${way}`.padEnd(22)} ${spread(all.map(({ rate }) => rate / 1_000), 0)} k records/s, `
          + `${loads} loads, ${ahead} of them ahead`
      )
    }
    const without = seen.get(`${work}, without`) ?? []
    const ratios = (seen.get(`${work}, with`) ?? []).map(({ rate }, index) =>
      rate / (without[index]?.rate ?? 0)
    )
    console.log(`${work}, ratio`.padEnd(22), spread(ratios, 2))
  }
})

await Effect.runPromise(
  program.pipe(
    Effect.tapError((error) =>
      Effect.sync(() => console.error(error instanceof StoreError ? error.reason : error))
    ),
    Effect.ensuring(Effect.sync(() => rmSync(join(path, ".."), { recursive: true })))
  )
)

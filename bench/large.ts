/**
 * A store far larger than its memory: what loading it costs in resident memory, and whether all of it is found again.
 *
 * `npm run bench:large -- --records 5000000 --memory 64` (MiB) compiles it with the engine, as Node's stripping of types
 * would keep some 22 MiB that no user of the package pays for. Records are 16 random-looking bytes and 100 bytes, in
 * transactions of 1,000. It ends with 1 where the resident set outgrows what `memory` allows. With `--kill` the load
 * runs in another process, which is killed halfway; what is left must be exactly a prefix of the commits, none of those
 * that were durable missing.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import * as Keyspace from "../src/Keyspace.ts"
import type { Raw, RawWrite } from "../src/Raw.ts"
import { Many } from "../src/Raw.ts"
import * as Store from "../src/Store.ts"
import { StoreError } from "../src/StoreError.ts"

const { values: flags } = parseArgs({
  options: {
    records: { type: "string", default: "5000000" },
    memory: { type: "string", default: "64" },
    directory: { type: "string" },
    kill: { type: "boolean", default: false },
    /** What the process that is killed is told: it only loads, and says how many records are durable. */
    victim: { type: "boolean", default: false }
  }
})
const MiB = 1_048_576
const records = Number(flags.records)
const memory = Number(flags.memory)
const each = 1_000
/** Code, heap, a group on its way and what the system counts as ours, in MiB. */
const residentBeside = 160
const growthBeside = 24
/** Growth is counted from here on: code is made, and memory is in use. */
const settledAt = Math.min(500_000, records >>> 1)

const words = Keyspace.bytes("words")

/** A bijection of 32 bits (the mix of murmur3), so that no two keys are the same. */
const mix = (n: number): number => {
  const once = Math.imul(n ^ n >>> 16, 0x85ebca6b)
  const twice = Math.imul(once ^ once >>> 13, 0xc2b2ae35)
  return (twice ^ twice >>> 16) >>> 0
}

/** A transaction's records, filled anew for each: what the bench leaves behind is not to be measured. */
const rows = Array.from({ length: each }, () => ({ key: new Uint8Array(16), value: new Uint8Array(100) }))
const numbersOf = rows.map(({ key, value }) => ({
  key: new Uint32Array(key.buffer),
  value: new Uint32Array(value.buffer)
}))
const keys = rows.map(({ key }) => key)

/** The first `length` rows become those of records from `from` on. */
const fillRows = (from: number, length: number): void => {
  for (let row = 0; row < length; row++) {
    const index = from + row
    const numbers = numbersOf[row] as typeof numbersOf[number]
    for (let word = 0; word < 4; word++) numbers.key[word] = mix(index ^ Math.imul(word, 0x9e3779b9))
    numbers.value.fill(index)
  }
}

const lengthFrom = (from: number): number => Math.min(each, records - from)

/** Resident memory in MiB: before, when growth begins to count, and the most of each part. */
const resident = { before: 0, settled: 0, first: 0, after: 0 }
const sample = (): number => process.memoryUsage.rss() / MiB
const look = (loaded: number): void => {
  const now = sample()
  if (loaded < settledAt) resident.first = Math.max(resident.first, now)
  else resident.after = Math.max(resident.after, now)
}

/** Asks a raw door until it does not refuse for want of room. */
const patiently = <A>(ask: () => A): Effect.Effect<A, unknown> =>
  Effect.try({ try: ask, catch: (error) => error }).pipe(
    Effect.tapError(() => Effect.sleep(1)),
    Effect.retry({
      while: (error) => error instanceof StoreError && error.reason._tag === "Overloaded"
    })
  )

const load = (durable: (records: number) => void) =>
  Effect.gen(function*() {
    const store = yield* Store.Store
    const raw = yield* words.raw
    const commit = (writes: ReadonlyArray<RawWrite>) => patiently(() => raw.batchUnsafe(writes))
    for (let from = 0; from < records; from += each) {
      const length = lengthFrom(from)
      fillRows(from, length)
      const lsn = yield* commit(length === each ? rows : rows.slice(0, length))
      if (from === settledAt - settledAt % each) resident.settled = sample()
      look(from)
      if (from / each % 10 !== 9 && from + each < records) continue
      yield* store.awaitDurable(lsn)
      durable(Math.min(records, from + each))
    }
  })

const many = new Many()

/** How many of the records from `from` on are there, each with its value; reads as many pages as it must. */
const foundFrom = (raw: Raw, from: number, length: number): number => {
  fillRows(from, length)
  raw.getManyIntoUnsafe(length === each ? keys : keys.slice(0, length), many)
  let found = 0
  for (let row = 0; row < length; row++) {
    if (!many.isFound(row)) continue
    const expected = rows[row]?.value as Uint8Array
    const at = many.valueAt[row] as number
    const actual = many.bytes.subarray(at, at + (many.valueBytes[row] as number))
    if (Buffer.compare(actual, expected) !== 0) {
      throw new Error(`another value of record ${from + row}`)
    }
    found++
  }
  return found
}

/** How many records are there, which must be the first of them, in whole commits. */
const prefix = Effect.gen(function*() {
  const raw = yield* words.raw
  let end = -1
  for (let from = 0; from < records; from += each) {
    const length = lengthFrom(from)
    const found = yield* patiently(() => foundFrom(raw, from, length))
    look(records)
    if (found !== 0 && found !== length) throw new Error(`${found} of the ${length} records from ${from} on`)
    if (found === 0 && end < 0) end = from
    if (found > 0 && end >= 0) throw new Error(`records from ${from} on, but none from ${end} on`)
    yield* Effect.yieldNow
  }
  for (let from = records; from < records + 10 * each; from += each) {
    if ((yield* patiently(() => foundFrom(raw, from, each))) > 0) {
      throw new Error("records that were never written")
    }
  }
  return end < 0 ? records : end
})

const directory = flags.directory ?? mkdtempSync(join(tmpdir(), "heartwood-large-"))
const options: Store.Options = { path: join(directory, "store"), limits: { memoryBytes: memory * MiB } }
const inStore = <A, E>(body: Effect.Effect<A, E, Store.Store>): Promise<A> =>
  Effect.runPromise(Effect.provide(body, Store.layer(options)))

const timed = <A, E, R>(what: string, body: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.map(Effect.timed(body), ([duration, answer]) => {
    const seconds = Duration.toSeconds(duration)
    console.log(`${what}: ${seconds.toFixed(1)} s, ${(records / seconds / 1000).toFixed(1)} k records/s`)
    return answer
  })

/** Runs the load in a process of its own and kills it halfway; answers how many records it said were durable. */
const killed = async (): Promise<number> => {
  const args = ["--victim", "--records", `${records}`, "--memory", `${memory}`, "--directory", directory]
  const child = spawn(process.execPath, [...process.execArgv, import.meta.filename, ...args], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  const closed = once(child, "close")
  let durable = 0
  let text = ""
  child.stdout.setEncoding("utf8").on("data", (data: string) => {
    text += data
    const lines = text.split("\n")
    // Without an end of line it is not said.
    text = lines.pop() ?? ""
    for (const line of lines) durable = Number(line)
    if (durable >= records / 2) child.kill("SIGKILL")
  })
  const [, signal] = await closed
  if (signal !== "SIGKILL") throw new Error("the process ended before it was killed")
  return durable
}

const check = (what: string, actual: number, most: number): void => {
  console.log(`${what}: ${actual.toFixed(0)} MiB of at most ${most}`)
  if (actual > most) process.exitCode = 1
}

const main = async (): Promise<void> => {
  resident.before = sample()
  if (flags.victim) return inStore(load((count) => process.stdout.write(`${count}\n`)))
  console.log(
    `${records} records of 16 + 100 bytes in ${memory} MiB, Node ${process.version}, in ${directory}`
  )
  if (flags.kill) {
    const durable = await killed()
    const count = await inStore(timed("opened and read", prefix))
    console.log(`${durable} records were durable, ${count} are there, none beyond`)
    if (count < durable) throw new Error("a durable commit is lost")
  } else {
    const count = await inStore(Effect.gen(function*() {
      yield* timed("loaded", load(() => {}))
      return yield* timed("read", prefix)
    }))
    if (count < records) throw new Error(`${records - count} records are lost`)
    console.log(
      `resident: ${resident.before.toFixed(0)} MiB before, ${
        resident.settled.toFixed(0)
      } MiB after ${settledAt}`
    )
    check("the most", Math.max(resident.first, resident.after), memory + residentBeside)
    check("growth from there on", resident.after - resident.settled, memory + growthBeside)
  }
  if (flags.directory === undefined) rmSync(directory, { recursive: true })
}

await main()

/**
 * Heartwood through its raw doors: answers in a buffer of the caller, packed batches, blind writes.
 *
 * Writes of a mix are gathered as those of all other engines are; `heartwood-each` makes each a transaction of its own,
 * visible at once. A durable writer puts through the raw door and waits until the log is synced that far.
 */
import * as Effect from "effect/Effect"
import * as ManagedRuntime from "effect/ManagedRuntime"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import * as Keyspace from "../../src/Keyspace.ts"
import type { Machine } from "../../src/Machine.ts"
import { Batch, Many } from "../../src/Raw.ts"
import type { Range, Raw } from "../../src/Raw.ts"
import * as Store from "../../src/Store.ts"
import { StoreError } from "../../src/StoreError.ts"
import { keyBytes, valueBytes } from "../workloads/Records.ts"
import type { Records } from "../workloads/Records.ts"
import type { Answer, Direction, Engine, OpenOptions, Session, Writing } from "./Engine.ts"
import { turn } from "./Engine.ts"
import type { Singles } from "./Singles.ts"
import { session, writersOf } from "./Singles.ts"

export const Words = Keyspace.bytes("words")

export type Runtime = ManagedRuntime.ManagedRuntime<Store.Store, StoreError>

export const version = (): string =>
  (JSON.parse(readFileSync(join(import.meta.dirname, "..", "..", "package.json"), "utf8")) as {
    version: string
  }).version

const largeLog = 8 * 2 ** 30

/** What a store is told. A log that must not be cut off is given all the room there is. */
export const optionsOf = (
  { directory, durability, logBytes, memoryBytes, more }: OpenOptions
): Store.Options => ({
  path: join(directory, "store"),
  memory: memoryBytes,
  durability: durability === "synced" ? "synced" : "memory",
  ...logBytes === undefined
    ? {}
    : { checkpoint: { logBytes: largeLog, records: 2 ** 40, leafRecords: 2 ** 31, interval: "20 days" } },
  ...more
})

export const runtimeOf = async (options: Store.Options): Promise<Runtime> => {
  const runtime: Runtime = ManagedRuntime.make(Store.layer(options))
  await runtime.runPromise(Effect.void)
  return runtime
}

/** Does what a raw door does, or answers that it takes no more before a turn of the event loop. */
export const admitted = (write: () => unknown): boolean => {
  try {
    write()
    return true
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  }
}

const isRefusal = (error: unknown): boolean =>
  error instanceof StoreError && error.reason._tag === "Overloaded"

/** The first key above one. */
export const above = (key: Buffer): Buffer => {
  const bound = Buffer.alloc(key.length + 1)
  bound.set(key)
  return bound
}

const lowest = new Uint8Array(0)
/** Records of one pull of a full scan. */
const pullRecords = 1_000
/** Most writes of one batch. */
const batchRecords = 1_000

const seePacked = (
  answer: Answer,
  bytes: Uint8Array,
  at: Int32Array,
  lengths: Int32Array,
  count: number
): void => {
  let { checksum } = answer
  for (let index = 0; index < count; index++) {
    const from = at[index] as number
    checksum = checksum + (bytes[from] as number)
        + ((bytes[from + (lengths[index] as number) - 1] as number) << 8) | 0
  }
  answer.checksum = checksum
  answer.found += count
}

const rangeOf = (from: Buffer | undefined, limit: number, direction: Direction): Range => ({
  lower: direction === "ascending" && from !== undefined ? from : lowest,
  upper: direction === "descending" && from !== undefined ? above(from) : undefined,
  order: direction,
  limit,
  columns: "keys and values"
})

/** Writes that are gathered: keys are copied, values are never changed. */
class Gathered {
  private readonly rows: ReadonlyArray<{ readonly key: Uint8Array; value: Uint8Array }>
  private count = 0

  constructor(length: number) {
    this.rows = Array.from({ length }, () => ({ key: new Uint8Array(keyBytes), value: lowest }))
  }

  /** False where there is no room. */
  add(key: Uint8Array, value: Uint8Array): boolean {
    const row = this.rows[this.count]
    if (row === undefined) return false
    row.key.set(key)
    row.value = value
    this.count++
    return true
  }

  /** Gives all of them to the engine as one transaction; false where it takes none now. */
  commit(raw: Raw): boolean {
    if (this.count > 0 && !admitted(() => raw.batchUnsafe(this.rows.slice(0, this.count)))) return false
    this.count = 0
    return true
  }
}

const patiently = async (write: () => boolean): Promise<void> => {
  while (!write()) await turn()
}

/** How writes that wait for no disk are handed over. */
const writing = (raw: Raw, gathers: boolean): Pick<Singles, "put" | "flush"> => {
  if (!gathers) return { put: (key, value) => admitted(() => raw.putUnsafe(key, value)), flush: () => {} }
  const gathered = new Gathered(batchRecords)
  const commit = () => gathered.commit(raw)
  return {
    put: (key, value) => gathered.add(key, value) || commit() && gathered.add(key, value),
    flush: () => commit() ? undefined : patiently(commit)
  }
}

const singles = (
  raw: Raw,
  options: Store.Options,
  gathers: boolean,
  close: () => Promise<void>
): Session => {
  const target = Buffer.alloc(valueBytes)
  const many = new Many()
  const batch = new Batch()
  return session({
    options: { ...options },
    isRefusal,
    get: (key) => raw.getIntoUnsafe(key, target, 0) < 0 ? undefined : target,
    getFresh: (key) => raw.getUnsafe(key),
    getMany: (keys, answer) => {
      raw.getManyIntoUnsafe(keys, many)
      for (let index = 0; index < keys.length; index++) {
        if (!many.isFound(index)) continue
        const from = many.valueAt[index] as number
        answer.found++
        answer.checksum = answer.checksum + (many.bytes[from] as number)
            + ((many.bytes[from + (many.valueBytes[index] as number) - 1] as number) << 8) | 0
      }
    },
    range: (from, length, direction, answer) => {
      batch.reset()
      const range = rangeOf(from, Math.min(length, pullRecords), direction)
      let left = length
      while (left > 0 && raw.scanUnsafe(range, batch)) {
        const count = Math.min(left, batch.count)
        seePacked(answer, batch.bytes, batch.valueAt, batch.valueBytes, count)
        left -= count
      }
    },
    ...writing(raw, gathers),
    close
  })
}

/**
 * Whole batches through the raw door, each a transaction. The log is written while the event loop turns; who is refused
 * all the same waits until it is synced farther.
 */
const load =
  (runtime: Runtime, raw: Raw) =>
  async (records: Records, from: number, to: number, length: number): Promise<void> => {
    // Or for a checkpoint, of which nothing tells.
    const synced = Effect.gen(function*() {
      const { awaitDurable, durableLsn, visibleLsn } = yield* Store.Store
      yield* awaitDurable(Math.min((yield* durableLsn) + 1, yield* visibleLsn))
    })
    const rows = Array.from({ length }, (): { key: Uint8Array; words: Int32Array; value: Uint8Array } => {
      const memory = new ArrayBuffer(keyBytes)
      return { key: new Uint8Array(memory), words: new Int32Array(memory), value: lowest }
    })
    for (let first = from; first < to; first += length) {
      const count = Math.min(length, to - first)
      for (let place = 0; place < count; place++) {
        const row = rows[place]
        if (row === undefined) break
        records.fill(row.words, first + place)
        row.value = records.value(first + place, 0)
      }
      const writes = count === length ? rows : rows.slice(0, count)
      while (!admitted(() => raw.batchUnsafe(writes))) {
        await runtime.runPromise(synced)
        await turn()
      }
      await turn()
    }
  }

const write = (raw: Raw): (writing: Writing) => Promise<void> => {
  const commit = (key: Uint8Array, value: Uint8Array): Promise<void> => {
    let lsn = -1
    return admitted(() => lsn = raw.putUnsafe(key, value))
      ? raw.awaitDurableUnsafe(lsn + 1)
      : turn().then(() => commit(key, value))
  }
  return writersOf(commit)
}

export const settle = (runtime: Runtime): Promise<void> =>
  runtime.runPromise(Effect.gen(function*() {
    const store = yield* Store.Store
    yield* store.machine.caughtUp
    yield* store.awaitDurable(yield* store.visibleLsn)
  }))

export const checkpoint = (runtime: Runtime): Promise<void> =>
  runtime.runPromise(Effect.asVoid(Effect.flatMap(Store.Store, (store) => store.checkpoint)))

/** Slices of all actors that are there, and those of more than 5 ms. */
const slicesOf = ({ parts: { buffer, checkpoint, flush, wal } }: Machine) => {
  const states = [wal, buffer, flush, checkpoint].map(({ loopTime }) => loopTime.durations.state())
  const slices = states.reduce((sum, { count }) => sum + count, 0)
  const short = states.reduce(
    (sum, { buckets }) => sum + (buckets.find(([most]) => most === 0.005)?.[1] ?? 0),
    0
  )
  return { slices, longSlices: slices - short }
}

/** Calls that the page file was asked for, and slices of actors. */
export const counters = (runtime: Runtime): () => Readonly<Record<string, number>> => {
  const machine = runtime.runSync(Effect.map(Store.Store, ({ machine }) => machine))
  return () => ({ ...machine.parts.file.counters, ...slicesOf(machine) })
}

const make = (name: string, own: Partial<Store.Options>, gathers = true): Engine => ({
  name,
  rank: "ours",
  version,
  open: async (open: OpenOptions): Promise<Session> => {
    const options = { ...own, ...optionsOf(open) }
    const runtime = await runtimeOf(options)
    const raw = await runtime.runPromise(Words.raw)
    const caughtUp = () => runtime.runPromise(Effect.flatMap(Store.Store, (store) => store.machine.caughtUp))
    const doors = singles(raw, options, gathers, () => runtime.dispose())
    const loaded = load(runtime, raw)
    const mixed = doors.mix
    return {
      ...doors,
      load: async (...work) => {
        await loaded(...work)
        await caughtUp()
      },
      ...mixed === undefined ? {} : {
        mix: async (mix) => {
          const answer = await mixed(mix)
          await caughtUp()
          return answer
        }
      },
      write: write(raw),
      settle: () => settle(runtime),
      checkpoint: () => checkpoint(runtime),
      counters: counters(runtime)
    }
  }
})

export const heartwood = make("heartwood", {})
/** Each write of a mix is a transaction. */
export const each = make("heartwood-each", {}, false)
/** Syncs the log in the calling thread: a lone writer waits for no other. */
export const caller = make("heartwood-caller", { syncThread: "caller" })

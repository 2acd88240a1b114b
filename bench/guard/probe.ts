/**
 * One look at the engine that stands beside it: the same work in every revision, and what it took, as one line of JSON.
 *
 * The disk is in memory and counts what it is asked for, so that nothing but the engine makes the numbers. Each phase
 * runs twice, and the second time counts: by then the machine code is there. Nothing is collected while bytes are
 * allocated, so that the growth of the heap is what was allocated.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Disk } from "../../src/disk/Disk.ts"
import * as MemoryDisk from "../../src/disk/MemoryDisk.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import { Batch, Many } from "../../src/Raw.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import { KeyGroup, Records } from "../workloads/Records.ts"
import { requests, zipf } from "../zipf.ts"

const count = Number(process.argv[2] ?? "20000")
const Words = Keyspace.bytes("words")
const records = new Records(count)
const uniform = requests(zipf(count, 0), count, 1)
const skewed = requests(zipf(count, 0.99), count, 2)
const numbers: Record<string, number> = {}
const memory = { durability: "memory" } as const

type Work = Effect.Effect<unknown, StoreError, Store.Store>

interface Phase {
  readonly name: string
  readonly operations: number
  readonly work: Work
}

const collect = (): void => (globalThis as { gc?: () => void }).gc?.()

const allocated = (): number => {
  const { arrayBuffers, heapUsed } = process.memoryUsage()
  return arrayBuffers + heapUsed
}

const micros = ({ system, user }: NodeJS.CpuUsage): number => system + user

/** Notes what a phase took, for each of its operations. */
const measure = Effect.fnUntraced(function*(
  { name, operations, work }: Phase
): Effect.fn.Return<void, StoreError, Store.Store | Disk> {
  const store = yield* Store.Store
  const disk = yield* Disk
  yield* work
  yield* store.awaitDurable(yield* store.visibleLsn)
  collect()
  const before = { ...disk.counters, ...(yield* moved), heap: allocated() }
  const cpu = process.cpuUsage()
  yield* work
  const spent = micros(process.cpuUsage(cpu))
  const heap = allocated()
  // What is appended is written and synced when it has its turn: that is a part of it.
  yield* store.awaitDurable(yield* store.visibleLsn)
  const after = { ...disk.counters, ...(yield* moved) }
  const note = (what: string, value: number): void => {
    numbers[`${name}: ${what}`] = value / operations
  }
  note("processor µs", spent)
  note("bytes allocated", heap - before.heap)
  note("bytes written", after.writeBytes - before.writeBytes)
  note("writes", after.writes - before.writes)
  note("syncs", after.syncs - before.syncs)
  note("bytes read", after.readBytes - before.readBytes)
  note("reads", after.reads - before.reads)
  note("records moved", after.records - before.records)
  note("merges", after.merges - before.merges)
})

/** Work of the tree that nobody asked for. */
const moved = Effect.map(
  Effect.flatMap(Store.Store, (store) => store.stat),
  ({ buffer: { merged: { merges, records } } }) => ({ merges, records })
)

const times = <R>(operations: number, one: (place: number) => Effect.Effect<unknown, StoreError, R>) =>
  Effect.suspend(() => {
    let place = 0
    return Effect.whileLoop({ while: () => place < operations, body: () => one(place++), step: () => {} })
  })

const patiently = (write: () => unknown): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    try {
      write()
      return Effect.void
    } catch (error) {
      if (error instanceof StoreError && error.reason._tag === "Overloaded") {
        return Effect.andThen(Effect.yieldNow, patiently(write))
      }
      throw error
    }
  })

const keyAt = (indices: Uint32Array, place: number): Buffer => records.key(indices[place] as number)
const valueAt = (indices: Uint32Array, place: number): Buffer => records.value(indices[place] as number, 1)

const writes = Effect.map(Words.raw, (raw): ReadonlyArray<Phase> => {
  const hundreds = count / 100
  const batchOf = (batch: number) =>
    Array.from({ length: 100 }, (_, place) => {
      const index = batch * 100 + place
      return { key: records.keyCopy(index), value: records.value(index, 0) }
    })
  const batches = Array.from({ length: hundreds }, (_, batch) => batchOf(batch))
  const put = (place: number) => Words.put(records.keyCopy(skewed[place] as number), valueAt(skewed, place))
  const few = 1_000
  return [
    {
      name: "raw batches of 100",
      operations: count,
      work: times(hundreds, (batch) => patiently(() => raw.batchUnsafe(batches[batch] ?? [])))
    },
    {
      name: "raw put",
      operations: count,
      work: times(
        count,
        (place) => patiently(() => raw.putUnsafe(keyAt(skewed, place), valueAt(skewed, place)))
      )
    },
    {
      name: "transaction of a put",
      operations: few,
      work: times(few, (place) => Tx.transact(memory)(put(place)))
    },
    {
      name: "durable transaction of a put",
      operations: few,
      work: times(few, (place) => Tx.transact()(put(place)))
    },
    {
      name: "durable transactions by 64",
      operations: few,
      work: Effect.forEach(
        Array.from({ length: few }, (_, place) => place),
        (place) => Tx.transact()(put(place)),
        { concurrency: 64, discard: true }
      )
    },
    {
      name: "checkpoint after puts",
      operations: 1,
      work: Effect.andThen(
        times(few, (place) => patiently(() => raw.putUnsafe(keyAt(uniform, place), valueAt(uniform, place)))),
        Effect.flatMap(Store.Store, (store) => store.checkpoint)
      )
    }
  ]
})

const reads = Effect.map(Words.raw, (raw): ReadonlyArray<Phase> => {
  const target = new Uint8Array(128)
  const group = new KeyGroup(100)
  const many = new Many()
  const batch = new Batch()
  const range = {
    lower: new Uint8Array(0),
    upper: undefined,
    order: "ascending",
    columns: "keys and values",
    limit: 1_000
  } as const
  const sync = (operations: number, one: (place: number) => void): Work =>
    Effect.sync(() => {
      for (let place = 0; place < operations; place++) one(place)
    })
  return [
    {
      name: "raw get",
      operations: 5 * count,
      work: sync(5 * count, (place) => raw.getIntoUnsafe(keyAt(uniform, place % count), target, 0))
    },
    {
      name: "raw get of 100",
      operations: count,
      work: sync(
        count / 100,
        (place) => raw.getManyIntoUnsafe(group.fill(records, uniform, place * 100), many)
      )
    },
    {
      name: "raw scan",
      operations: 20 * count,
      work: sync(20, () => {
        batch.reset()
        while (raw.scanUnsafe(range, batch));
      })
    },
    {
      name: "get in a snapshot",
      operations: count,
      work: times(count, (place) => Words.get(keyAt(uniform, place))).pipe(Snapshot.read())
    },
    {
      name: "scan as a stream",
      operations: 5 * count,
      work: times(5, () => Stream.runDrain(Words.range()).pipe(Snapshot.read()))
    }
  ]
})

const open = (memory: "256 MiB" | "1 MiB") => Store.layerDisk({ path: "/store", memory })

/** Opens the store that is there, and says what that took. */
const reopened = Effect.gen(function*() {
  const disk = yield* Disk
  const before = { ...disk.counters }
  const cpu = process.cpuUsage()
  yield* Effect.provide(Effect.void, open("256 MiB"), { local: true })
  numbers["open and close: processor µs"] = micros(process.cpuUsage(cpu))
  numbers["open and close: bytes read"] = disk.counters.readBytes - before.readBytes
  numbers["open and close: bytes written"] = disk.counters.writeBytes - before.writeBytes
})

const inMemory = Effect.gen(function*() {
  const phases: ReadonlyArray<Phase> = (yield* writes).concat(yield* reads)
  yield* Effect.forEach(phases, measure, { discard: true })
})

/** A store larger than its memory: what an update and a get cost it. */
const small = Effect.gen(function*() {
  const raw = yield* Words.raw
  const put = (place: number) => patiently(() => raw.putUnsafe(keyAt(skewed, place), valueAt(skewed, place)))
  yield* measure({ name: "raw put, little memory", operations: count, work: times(count, put) })
  const get = (place: number) => Words.get(keyAt(skewed, place))
  const gets = times(count, get).pipe(Snapshot.read())
  yield* measure({ name: "get in a snapshot, little memory", operations: count, work: gets })
})

await Effect.runPromise(
  Effect.gen(function*() {
    yield* Effect.provide(inMemory, open("256 MiB"), { local: true })
    yield* reopened
    yield* Effect.provide(small, open("1 MiB"), { local: true })
  }).pipe(Effect.provide(Layer.fresh(MemoryDisk.layer)))
)
console.log(JSON.stringify(numbers))

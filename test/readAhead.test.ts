/**
 * Scans of more than memory holds: they read ahead, and cost nobody else anything. Numbers are those that the store
 * counts itself.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { Disk } from "../src/disk/Disk.ts"
import type { DiskFile, OpenOptions } from "../src/disk/Disk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { LeafView } from "../src/tree/Audit.ts"
import { Batch } from "../src/tree/read/Cursor.ts"
import * as Tx from "../src/Tx.ts"
import { directory, open, quiesce } from "./support/storeDoor.ts"
import type { Options } from "./support/stores.ts"
import { memory, refusal, upTo } from "./support/stores.ts"

const rows = Keyspace.bytes("rows")
const count = 12_000
const keyOf = (n: number): Uint8Array => Buffer.from(`k${String(n).padStart(6, "0")}`)
const numberOf = (key: Uint8Array): number => Number(Buffer.from(key).toString().slice(1))
const value = Buffer.alloc(100, "value")
const read = Snapshot.read()

/** An eighth of the data, and some of it is not the pages'. */
const options: Options = { durability: "memory", pageSize: "1 KiB", memory: "256 KiB", segmentSize: "64 KiB" }
/** The same with twice of everything. */
const twice: Options = { ...options, memory: "512 KiB", limits: { promotionPercent: 100 } }
const roomy: Options = { ...options, memory: "8 MiB" }

type Range = Keyspace.RangeOptions<Uint8Array, Uint8Array>
const numbers = (range: Range = {}): Effect.Effect<ReadonlyArray<number>, StoreError, Store.Store> =>
  read(Effect.map(Stream.runCollect(rows.range(range)), (entries) => entries.map(({ key }) => numberOf(key))))

const machine = Effect.map(Store.Store, (store) => store.machine)
const numbersOf = Effect.map(Store.Store, ({ machine }) => {
  const { loads, room } = machine.parts.buffer.counters
  return { loads: loads.loads, ahead: loads.by.ahead, ...room, images: machine.parts.flush.counters.images }
})
/** What an effect costs. */
const costs = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = yield* numbersOf
    const result = yield* self
    yield* calm
    const after = yield* numbersOf
    return {
      result,
      loads: after.loads - before.loads,
      ahead: after.ahead - before.ahead,
      writes: after.evictionWrites - before.evictionWrites + after.images - before.images,
      merges: after.merges - before.merges
    }
  })

const calm = Effect.flatMap(Store.Store, ({ machine }) => {
  const { counters } = machine.parts.file
  return quiesce(() => counters.reads + counters.writes)
})

const write = (indices: ReadonlyArray<number>, stored: Uint8Array = value) =>
  Effect.forEach(indices, (n) => rows.put(keyOf(n), stored), { discard: true }).pipe(Tx.transact())

const filled = (count: number) =>
  Effect.gen(function*() {
    for (let from = 0; from < count; from += 200) yield* write(upTo(200).map((n) => from + n))
  })

/** A disk whose reads take a turn of the event loop. */
const slow = (disk: Disk["Service"]): Disk["Service"] => {
  const turn = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  const slowed = (file: DiskFile): DiskFile =>
    Object.create(file, {
      read: { value: (bytes: Uint8Array, at: number) => Effect.andThen(turn, file.read(bytes, at)) }
    }) as DiskFile
  return Object.create(disk, {
    open: { value: (path: string, options: OpenOptions) => Effect.map(disk.open(path, options), slowed) }
  }) as Disk["Service"]
}

/** A body on a store that was filled, closed and opened again with little memory. */
const inStore = <E>(
  title: string,
  body: Effect.Effect<void, E, Store.Store | Disk>,
  asked: Options = options,
  stored = count
): void => {
  it.live(title, () =>
    Effect.scoped(Effect.gen(function*() {
      const disk = slow(yield* memory)
      const opening = (options: Options) => Effect.provideService(open(options), Disk, disk)
      const first = yield* opening({ ...asked, memory: "8 MiB" })
      yield* Effect.provideService(
        filled(stored),
        Store.Store,
        first.store
      )
      // Twice: the first leaves changes in mini-pages.
      yield* first.store.checkpoint
      yield* first.close
      const { close, store } = yield* opening(asked)
      yield* body.pipe(Effect.provideService(Store.Store, store), Effect.provideService(Disk, disk))
      yield* calm.pipe(Effect.provideService(Store.Store, store))
      const { parts: { buffer }, readAhead } = store.machine
      assert.strictEqual(buffer.waiting(), 0)
      assert.strictEqual(readAhead.underWay(), 0)
      yield* close
    })))
}

const leaves = Effect.gen(function*() {
  const { keyspaces } = yield* (yield* Store.Store).inspect
  return keyspaces.flatMap(({ tree }) => tree.leaves)
})

/** Whether a leaf has keys from a number on, up to another. */
const covers = ({ high, low }: LeafView, from: number, to: number): boolean =>
  Buffer.compare(low, keyOf(to)) <= 0 && (high === undefined || Buffer.compare(high, keyOf(from)) > 0)

describe("read ahead", () => {
  for (const buffer of ["miniPages", "pages"] as const) {
    for (const reverse of [false, true]) {
      inStore(
        `each leaf is read once, most of them before they are asked for: ${buffer}, reverse ${reverse}`,
        Effect.gen(function*() {
          const expected = upTo(count)
          const { ahead, loads, result, writes } = yield* costs(numbers({ reverse }))
          assert.deepStrictEqual(result, reverse ? expected.toReversed() : expected)
          const { length } = yield* leaves
          assert.isAtLeast(ahead, 0.9 * length)
          // And the inner nodes.
          assert.isAtMost(loads, 1.02 * length + 20)
          assert.strictEqual(writes, 0)
        }),
        { ...options, buffer }
      )
    }
  }

  inStore(
    "a range that is short or limited reads no leaf beyond what it needs",
    Effect.gen(function*() {
      // The inner nodes.
      yield* numbers()
      const all = yield* leaves
      let read = 0
      for (const reverse of [false, true]) {
        for (const records of [1, 5, 20, 100, 700]) {
          for (const from of [900, 3_001, 5_555]) {
            const limited: Range = reverse
              ? { until: keyOf(from), reverse, limit: records }
              : { from: keyOf(from), limit: records }
            const bounded: Range = { from: keyOf(from), until: keyOf(from + records), reverse }
            for (const range of [limited, bounded]) {
              const { ahead, loads, result } = yield* costs(numbers(range))
              assert.strictEqual(result.length, records)
              const [least, most] = [Math.min(...result), Math.max(...result)]
              const needed = all.filter((leaf) => covers(leaf, least, most)).length
              assert.isAtMost(loads, needed, JSON.stringify({ records, from, reverse }))
              read += ahead
            }
          }
        }
      }
      assert.isAbove(read, 100)
    })
  )

  // Of a page cache whole leaves are in use, so that there is room for fewer of them.
  for (const [buffer, uses] of [["miniPages", 380], ["pages", 100]] as const) {
    inStore(
      `a scan of all does not wash out what is in use: ${buffer}`,
      Effect.gen(function*() {
        const hot = upTo(uses).map((n) => n * 61)
        const use = Effect.forEach(hot, (n) => rows.get(keyOf(n)), { discard: true }).pipe(read)
        for (let times = 0; times < 30; times++) yield* use
        assert.strictEqual((yield* costs(use)).loads, 0, "all of it is in memory")
        for (let times = 0; times < 3; times++) {
          const scan = yield* costs(numbers({ reverse: times === 1 }))
          assert.isAbove(scan.loads, 1_000)
        }
        assert.isAtMost((yield* costs(use)).loads, 0.06 * hot.length)
      }),
      { ...twice, buffer },
      2 * count
    )
  }

  inStore(
    "a raw scan washes nothing out either, and writes nothing",
    Effect.gen(function*() {
      const raw = yield* rows.raw
      const hot = upTo(380).map((n) => n * 61)
      const use = Effect.forEach(hot, (n) => rows.get(keyOf(n)), { discard: true }).pipe(read)
      for (let times = 0; times < 30; times++) yield* use
      assert.strictEqual((yield* costs(use)).loads, 0, "all of it is in memory")
      const scan = yield* costs(Effect.sync(() => {
        const batch = new Batch()
        const range = {
          lower: keyOf(0),
          upper: undefined,
          order: "ascending",
          columns: "keys",
          limit: 90
        } as const
        let found = 0
        while (raw.scanUnsafe(range, batch)) found += batch.count
        return found
      }))
      assert.strictEqual(scan.result, 2 * count)
      assert.strictEqual(scan.writes + scan.merges, 0)
      assert.isAtMost((yield* costs(use)).loads, 0.06 * hot.length)
    }),
    twice,
    2 * count
  )

  inStore(
    "a scan over what has just been written merges and writes no more than its own pages take",
    Effect.gen(function*() {
      yield* write(upTo(300).map((n) => n * 20), Buffer.from("changed"))
      yield* calm
      const { result, merges, writes } = yield* costs(numbers())
      assert.strictEqual(result.length, count)
      const { readAhead } = yield* machine
      assert.isAtMost(merges + writes, 8 * readAhead.most + 16)
    })
  )

  inStore(
    "memory that nobody needs keeps what was scanned, until a point read takes it over or room is needed",
    Effect.gen(function*() {
      const { tree: { pages } } = yield* machine
      assert.isAbove((yield* costs(numbers())).loads, 1_000)
      assert.isAbove(pages.passers, 1_000)
      assert.strictEqual((yield* costs(numbers({ reverse: true }))).loads, 0)
      const { passers } = pages
      const frames = pages.ring.frames
      yield* read(Effect.forEach(upTo(count / 10), (n) => rows.get(keyOf(n * 10)), { discard: true }))
      assert.isBelow(pages.passers, passers / 2)
      assert.isAbove(pages.ring.frames, frames + passers / 3)
    }),
    roomy
  )
})

describe("a stream that is paused", () => {
  /** Scans up to a record and waits there until it is interrupted. */
  const paused = (at: number, range: Range = {}) =>
    Effect.gen(function*() {
      const there = yield* Deferred.make<void>()
      const scan = read(Stream.runForEach(rows.range(range), ({ key }) =>
        numberOf(key) < at ? Effect.void : Effect.andThen(Deferred.succeed(there, undefined), Effect.never)))
      const fiber = yield* Effect.forkChild(scan)
      yield* Deferred.await(there)
      return fiber
    })

  inStore(
    "holds no page, and writers of the same leaves go on",
    Effect.gen(function*() {
      const { tree: { pages } } = yield* machine
      const fibers: Array<Fiber.Fiber<void, StoreError>> = []
      for (let n = 1; n <= 20; n++) fibers.push(yield* paused(n * 300))
      assert.strictEqual(pages.kept.size, 0)
      for (let from = 0; from < count; from += 100) {
        yield* write(upTo(100).map((n) => from + n), Buffer.from("changed"))
      }
      assert.isAtMost(pages.passers, (yield* machine).readAhead.most + 4)
      const seen = yield* read(Stream.runCollect(rows.range()))
      assert.isTrue(seen.every(({ value }) => Buffer.from(value).toString() === "changed"))
      for (const fiber of fibers) yield* Fiber.interrupt(fiber)
    })
  )

  inStore(
    "leaves nothing behind when it is interrupted, wherever it is",
    Effect.gen(function*() {
      const { parts: { buffer }, readAhead, tree } = yield* machine
      let busy = 0
      for (let turns = 0; turns < 60; turns++) {
        const fiber = yield* Effect.forkChild(read(Stream.runDrain(rows.range({ from: keyOf(turns * 50) }))))
        for (let turn = 0; turn < turns; turn++) {
          yield* Effect.yieldNow
          if (turn % 3 === 0) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        }
        if (readAhead.underWay() > 0) busy++
        yield* Fiber.interrupt(fiber)
        yield* calm
        assert.strictEqual(buffer.waiting(), 0)
        assert.strictEqual(readAhead.underWay(), 0)
      }
      assert.isAbove(busy, 5)
      assert.strictEqual(tree.versions.pins.readers, 0)
      assert.strictEqual(tree.pages.kept.size, 0)
    })
  )
})

describe("a page that is read ahead and damaged", () => {
  inStore(
    "is an error only for who comes to it",
    Effect.gen(function*() {
      const { limits } = yield* machine
      yield* numbers()
      const disk = yield* Disk
      const file = yield* disk.open(`${directory}/pages`, { mode: "readWrite" })
      const leaf = (yield* leaves).find((leaf) => covers(leaf, 7_000, 7_000))
      assert.strictEqual(leaf?.location, "slot")
      const bytes = new Uint8Array(limits.pageBytes)
      const at = (leaf?.slot ?? 0) * limits.pageBytes
      yield* file.read(bytes, at)
      bytes[500] = (bytes[500] as number) ^ 1
      yield* file.write([bytes], at)
      yield* file.close
      assert.strictEqual((yield* refusal(numbers()))._tag, "Corrupted")
      const until = upTo(6_900)
      assert.deepStrictEqual(yield* numbers({ limit: 6_900 }), until)
      const before = yield* read(Stream.runCollect(Stream.take(rows.range({ from: keyOf(6_500) }), 460)))
      assert.strictEqual(before.length, 460)
      assert.strictEqual((yield* refusal(numbers({ from: keyOf(6_990), limit: 200 })))._tag, "Corrupted")
    })
  )
})

/**
 * Transactions larger than what they may hold in memory: streamed into the log, read back by their own body, whole or
 * nothing whatever happens.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import type { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import type { Opened } from "./support/storeDoor.ts"
import { open } from "./support/storeDoor.ts"
import { reasonOf, refusal, suite, upTo } from "./support/stores.ts"
import { passing } from "./support/storeSize.ts"
import { commitNow, Numbers, own, put, read, Words, words, write } from "./support/words.ts"

const key = (n: number): string => `k${String(n).padStart(6, "0")}`
const limits = { keyBytes: 256, valueBytes: 1_024, transactionBytes: 8_192 }
/** A hundredth of what it would take otherwise. */
const millions = { transactionBytes: 2 << 20, valueBytes: 65_536 }
const passed = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

const pieces = Effect.map(Store.Store, ({ machine }) => machine.parts.wal.streams.counters.pieces)
const open_ = Effect.map(Store.Store, ({ machine }) => machine.parts.wal.streams.size)

suite("a transaction larger than memory", (test) => {
  test("is one commit, and its body reads what it has written", () =>
    Effect.gen(function*() {
      yield* write(put("before", key(7)))
      const { lsn } = yield* Effect.gen(function*() {
        for (let n = 0; n < 500; n++) yield* Words.put(key((n * 7) % 500), `v${(n * 7) % 500}`)
        yield* Words.remove(key(8))
        yield* Words.put(key(9), "again")
        assert.deepStrictEqual(yield* Words.get(key(123)), Option.some("v123"))
        assert.deepStrictEqual(yield* Words.get(key(7)), Option.some("v7"))
        assert.deepStrictEqual(yield* Words.get(key(8)), Option.none())
        assert.deepStrictEqual(yield* Words.get(key(9)), Option.some("again"))
        assert.deepStrictEqual(yield* Words.get("before"), Option.some("before"))
        assert.deepStrictEqual(yield* Words.get("nowhere"), Option.none())
        const all = yield* Stream.runCollect(Words.keys())
        assert.deepStrictEqual(all, ["before", ...upTo(500).filter((n) => n !== 8).map(key)])
        const back = yield* Stream.runCollect(Words.keys({ reverse: true, limit: 3 }))
        assert.deepStrictEqual(back, [key(499), key(498), key(497)])
      }).pipe(Tx.commit())
      assert.isAbove(yield* pieces, 10)
      assert.strictEqual(yield* open_, 0)
      assert.strictEqual((yield* words).length, 500)
      const entry = Option.getOrThrow(yield* read(Words.getEntry(key(3))))
      assert.strictEqual(entry.lsn, lsn)
      assert.strictEqual(entry.value, "v3")
    }), { limits })

  test("that fails, dies or is interrupted leaves nothing", () =>
    Effect.gen(function*() {
      const fill = Effect.forEach(upTo(200), (n) => Words.put(key(n), "v".repeat(100)), { discard: true })
      for (const end of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(write(Effect.andThen(fill, end)))))
      }
      yield* Effect.timeoutOption(write(Effect.andThen(fill, Effect.never)), 20)
      assert.strictEqual(yield* open_, 0)
      assert.deepStrictEqual(yield* words, [])
      yield* write(put("after"))
      assert.deepStrictEqual(yield* words, ["after"])
    }), { limits })

  test("discards a step that failed after it was written", () =>
    Effect.gen(function*() {
      const fill = (from: number, value: string) =>
        Effect.forEach(upTo(100), (n) => Words.put(key(from + n), value.repeat(50)), { discard: true })
      yield* write(Effect.gen(function*() {
        yield* fill(0, "a")
        yield* Effect.ignore(Tx.savepoint(Effect.gen(function*() {
          yield* fill(50, "b")
          yield* Tx.savepoint(fill(200, "c"))
          assert.deepStrictEqual(yield* Words.get(key(60)), Option.some("b".repeat(50)))
          yield* Words.clear
          yield* fill(300, "d")
          assert.deepStrictEqual(yield* Words.get(key(1)), Option.none())
          return yield* Effect.fail("no")
        })))
        assert.deepStrictEqual(yield* Words.get(key(60)), Option.some("a".repeat(50)))
        assert.deepStrictEqual(yield* Words.get(key(210)), Option.none())
        yield* Tx.savepoint(fill(400, "e"))
      }))
      const expected = [...upTo(100).map(key), ...upTo(100).map((n) => key(400 + n))]
      assert.deepStrictEqual(yield* words, expected)
      assert.deepStrictEqual(yield* read(Words.get(key(60))), Option.some("a".repeat(50)))
    }), { limits })

  test("of which only a step that failed was written commits as any other", () =>
    Effect.gen(function*() {
      const fill = Effect.forEach(upTo(200), (n) => Words.put(key(n), "v".repeat(100)), { discard: true })
      yield* write(Effect.gen(function*() {
        yield* Effect.ignore(Tx.savepoint(Effect.andThen(fill, Effect.fail("no"))))
        yield* put("kept")
      }))
      assert.deepStrictEqual(yield* words, ["kept"])
    }), { limits })

  test(
    "beyond streamBytes fails by its name, and cannot commit whatever the body makes of that",
    () =>
      Effect.gen(function*() {
        const fill = Effect.forEach(upTo(2_000), (n) => Words.put(key(n), "v".repeat(1_000)), {
          discard: true
        })
        const error = yield* refusal(write(fill))
        assert.deepInclude(error, { _tag: "LimitExceeded", limit: "streamBytes", maximum: 65_536 })
        const caught = yield* refusal(write(Effect.andThen(Effect.ignore(fill), put("small"))))
        assert.deepInclude(caught, { limit: "streamBytes" })
        assert.strictEqual(yield* open_, 0)
        assert.deepStrictEqual(yield* words, [])
      }),
    { limits: { ...limits, streamBytes: 65_536 } }
  )

  test("makes whoever has read from a keyspace that it writes to run again", () =>
    Effect.gen(function*() {
      yield* write(put(key(1)))
      const services = yield* Effect.context<Store.Store>()
      const fill = Effect.forEach(upTo(200), (n) => Words.put(key(n), "large"), { discard: true })
      let runs = 0
      yield* write(Effect.gen(function*() {
        const value = yield* Words.get(key(1))
        if (runs++ === 0) yield* Effect.promise(() => Effect.runPromiseWith(services)(write(fill)))
        yield* Words.put("seen", Option.getOrElse(value, () => "none"))
      }))
      assert.strictEqual(runs, 2)
      assert.deepStrictEqual(yield* read(Words.get("seen")), Option.some("large"))
    }), { limits })

  test("runs again where what it has read was written, and then in a turn", () =>
    Effect.gen(function*() {
      yield* write(put("watched"))
      let runs = 0
      yield* write(Effect.gen(function*() {
        runs++
        yield* Words.get("watched")
        yield* Effect.forEach(upTo(200), (n) => Words.put(key(n), `${runs}`), { discard: true })
        // Commits that others ask for wait for the turn to end; they take the only place that there is.
        const commit = commitNow("watched", `${runs}`)
        yield* runs < 3 ? commit : Effect.forkDetach(commit, { startImmediately: true })
        yield* Effect.forEach(upTo(100), (n) => Words.put(key(n), `${runs}`), { discard: true })
      }))
      assert.strictEqual(runs, 3)
      assert.deepStrictEqual(yield* read(Words.get(key(7))), Option.some("3"))
    }), { limits: { ...limits, mailbox: 1 } })

  test(
    "loses where a keyspace that it makes was made by somebody else, and writes to that one",
    () =>
      Effect.gen(function*() {
        let runs = 0
        yield* write(Effect.gen(function*() {
          yield* Effect.forEach(upTo(200), (n) => Words.put(key(n), "large"), { discard: true })
          if (runs++ === 0) yield* commitNow("other", "other")
        }))
        assert.strictEqual(runs, 2)
        assert.strictEqual((yield* words).length, 201)
      }),
    { limits }
  )

  test("clears, drops and makes keyspaces, in its order", () =>
    Effect.gen(function*() {
      yield* write(put("old", "older"))
      const fill = (from: number) =>
        Effect.forEach(upTo(100), (n) => Words.put(key(from + n), "v".repeat(100)), { discard: true })
      yield* write(Effect.gen(function*() {
        yield* fill(0)
        yield* Words.clear
        assert.deepStrictEqual(yield* own, [])
        yield* fill(200)
        yield* Words.drop
        assert.deepStrictEqual(yield* own, [])
        yield* Effect.forEach(upTo(60), (n) => Numbers.put(n, "n".repeat(200)), { discard: true })
        assert.strictEqual(yield* reasonOf(Words.get("old")), "LayoutMismatch")
      }))
      assert.strictEqual((yield* read(Stream.runCollect(Numbers.keys()))).length, 60)
    }), { limits })

  test("keeps large values in the log, and reads them back", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const value = (n: number) => String.fromCharCode(97 + n % 26).repeat(900 + n)
      yield* write(Effect.gen(function*() {
        yield* Effect.forEach(upTo(100), (n) => Words.put(key(n), value(n)), { discard: true })
        assert.deepStrictEqual(yield* Words.get(key(3)), Option.some(value(3)))
      }))
      for (let round = 0; round < 3; round++) {
        yield* store.checkpoint
        for (const n of [0, 42, 99]) {
          assert.deepStrictEqual(yield* read(Words.get(key(n))), Option.some(value(n)))
        }
        yield* write(Words.put("more", `${round}`))
      }
    }), { limits: { ...limits, inlineValueBytes: 100 } })
})

describe("a million writes", () => {
  it.live("in one transaction take the memory of a few", () =>
    Effect.gen(function*() {
      const count = 1_000_000
      const { machine } = yield* Store.Store
      const { streams } = machine.parts.wal
      let most = 0
      const counting = {
        ...machine,
        addPiece: (...piece: Parameters<typeof machine.addPiece>) => {
          most = Math.max(most, streams.bytes)
          return machine.addPiece(...piece)
        }
      }
      const keyspace = Keyspace.bytes("rows")
      const body = Effect.gen(function*() {
        const tx = yield* Tx.Tx
        for (let n = 0; n < count; n++) {
          const key = new Uint8Array(8)
          new DataView(key.buffer).setUint32(0, n * 7_919 % count)
          yield* tx.put(keyspace, key, key)
        }
      })
      const store = { ...yield* Store.Store, machine: counting }
      yield* Effect.provideService(write(body), Store.Store, store)
      assert.isAbove(streams.counters.pieces, 100)
      assert.isAbove(most, 1 << 20)
      assert.isBelow(most, 3 << 20)
      assert.isAtMost(machine.tree.versions.size, 1)
      assert.deepStrictEqual(yield* keyspace.stat, { count, unresolved: 0 })
    }).pipe(
      Effect.provide(Layer.provide(
        Store.layerDisk({ path: "/store", memory: "64 MiB", durability: "memory", limits: millions }),
        MemoryDisk.layer
      ))
    ), 120_000)
})

describe("a stream that is open", () => {
  const options = { limits: { ...limits, segmentBytes: 4_096, streamAgeMillis: 1_000 } }
  const fill = (from: number, count = 100) =>
    Effect.forEach(upTo(count), (n) => Words.put(key(from + n), "v".repeat(100)), { discard: true })

  const inStore = <A, E>(
    body: (world: {
      readonly opened: () => Opened
      readonly crash: Effect.Effect<void, StoreError, Disk>
      readonly segments: () => number
    }) => Effect.Effect<A, E, Store.Store | Disk | FaultDisk>
  ) =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      let opened = yield* open(options)
      const store = new Proxy({} as Store.Store["Service"], {
        get: (_, name) => opened.store[name as keyof Store.Store["Service"]]
      })
      const crash = Effect.gen(function*() {
        yield* faults.cut({ keep: "nothing" })
        yield* Effect.raceFirst(opened.close, passing)
        yield* faults.restart
        opened = yield* open(options)
      })
      const segments = () => opened.store.machine.parts.segments.list.length
      const world = { opened: () => opened, crash, segments }
      yield* Effect.provideService(body(world), Store.Store, store)
      yield* Effect.raceFirst(opened.close, passing)
    }).pipe(Effect.provide(layer({ seed: 1 })))

  it.effect("is found by a checkpoint, which keeps its log, and by recovery if it commits above", () =>
    inStore(({ crash, opened, segments }) =>
      Effect.gen(function*() {
        yield* write(put("a"))
        yield* write(Effect.gen(function*() {
          yield* fill(0)
          const { store } = opened()
          for (let round = 0; round < 4; round++) {
            yield* store.checkpoint
            yield* fill(100 + 100 * round)
          }
          assert.isAbove(segments(), 8, "the log is kept from the first piece on")
        }))
        yield* crash
        assert.strictEqual((yield* words).length, 501)
        const { store } = opened()
        yield* store.checkpoint
        yield* write(put("b"))
        yield* store.checkpoint
        assert.isBelow(segments(), 4, "and given up after two more checkpoints")
        assert.strictEqual((yield* words).length, 502)
      })
    ))

  it.effect("leaves nothing after a crash, and its log is given up", () =>
    inStore(({ crash, opened, segments }) =>
      Effect.gen(function*() {
        yield* write(put("a"))
        const fiber = yield* Effect.forkChild(
          write(Effect.gen(function*() {
            yield* fill(0)
            yield* opened().store.checkpoint
            yield* fill(100)
            return yield* Effect.never
          })),
          { startImmediately: true }
        )
        while (opened().store.machine.parts.checkpoint.counters.checkpoints === 0) yield* passed
        yield* Effect.raceFirst(opened().store.awaitDurable(opened().store.machine.parts.tail.end), passing)
        const before = opened().store.machine.parts.checkpoint.newest()
        assert.isBelow(before.begin.lsn, before.cut.lsn)
        yield* Fiber.interrupt(fiber).pipe(Effect.forkChild({ startImmediately: true }))
        yield* crash
        assert.deepStrictEqual(yield* words, ["a"])
        for (const name of ["b", "c", "d"]) {
          yield* write(put(name))
          yield* opened().store.checkpoint
        }
        assert.isBelow(segments(), 4)
        yield* crash
        assert.deepStrictEqual(yield* words, ["a", "b", "c", "d"])
      })
    ))

  it.effect("beyond its age is given up by the next checkpoint, and its body fails by the limit's name", () =>
    inStore(({ opened, segments }) =>
      Effect.gen(function*() {
        const { store } = opened()
        const error = yield* refusal(write(Effect.gen(function*() {
          yield* fill(0)
          yield* TestClock.adjust("2 seconds")
          yield* store.checkpoint
          yield* store.checkpoint
          assert.isBelow(segments(), 4, "the log is free")
          yield* put("small")
        })))
        assert.deepInclude(error, { _tag: "LimitExceeded", limit: "streamAgeMillis", maximum: 1_000 })
        assert.deepStrictEqual(yield* words, [])
      })
    ))
})

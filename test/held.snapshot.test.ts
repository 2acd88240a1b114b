/**
 * Snapshots that are held: several reads of one moment, for exactly as long as a scope is open; and who holds what.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Telemetry from "../src/Telemetry.ts"
import { owners, Pins } from "../src/tree/past/Pins.ts"
import type { Owner, Reader } from "../src/tree/past/Pins.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { open } from "./support/storeDoor.ts"
import { reasonOf, refusal, suite } from "./support/stores.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })
const write = Tx.transact()
const get = Words.get("a")
const settled = Effect.flatMap(Store.Store, (store) => Effect.flatMap(store.visibleLsn, store.awaitDurable))
const put = (value: string) => Effect.andThen(write(Words.put("a", value)), settled)
const held = (scope: Scope.Scope) => Effect.provideService(Snapshot.make(), Scope.Scope, scope)

suite("a held snapshot", (test) => {
  test("shows one moment to as many reads and streams as ask for it", () =>
    Effect.gen(function*() {
      yield* put("old")
      const snapshot = yield* Snapshot.make()
      for (const value of ["new", "newer"]) {
        yield* put(value)
        assert.deepStrictEqual(yield* Snapshot.read({ snapshot })(get), Option.some("old"))
        assert.deepStrictEqual(yield* Snapshot.read({ at: snapshot.lsn })(get), Option.some("old"))
        const rows = yield* Stream.runCollect(Snapshot.stream({ snapshot })(Words.range()))
        assert.deepStrictEqual(rows.map((row) => row.value), ["old"])
        assert.deepStrictEqual(yield* Snapshot.read()(get), Option.some(value))
      }
      const again = yield* Snapshot.make({ at: snapshot.lsn })
      assert.strictEqual(again.lsn, snapshot.lsn)
      assert.deepStrictEqual(yield* Snapshot.read({ snapshot: again })(get), Option.some("old"))
    }))

  test("ends with its scope: Ended for itself, SnapshotExpired for its LSN", () =>
    Effect.gen(function*() {
      yield* put("old")
      const scope = yield* Scope.make()
      const snapshot = yield* held(scope)
      yield* put("new")
      const kept = yield* Snapshot.make()
      yield* put("newest")
      // A body that has begun reads on.
      const inside = Effect.gen(function*() {
        yield* Scope.close(scope, Exit.void)
        return yield* get
      })
      assert.deepStrictEqual(yield* Snapshot.read({ snapshot })(inside), Option.some("old"))
      assert.isFalse(snapshot.isOpen())
      assert.strictEqual(yield* reasonOf(Snapshot.read({ snapshot })(get)), "Ended")
      assert.strictEqual(
        yield* reasonOf(Stream.runCollect(Snapshot.stream({ snapshot })(Words.range()))),
        "Ended"
      )
      assert.deepInclude(yield* refusal(Snapshot.read({ at: snapshot.lsn })(get)), {
        _tag: "SnapshotExpired",
        requested: snapshot.lsn,
        oldest: kept.lsn
      })
      assert.strictEqual(
        yield* reasonOf(Effect.scoped(Snapshot.make({ at: snapshot.lsn }))),
        "SnapshotExpired"
      )
      assert.deepStrictEqual(yield* Snapshot.read({ snapshot: kept })(get), Option.some("new"))
    }))

  test.opening("ends with the store", (open) =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const [store, snapshot] = yield* Effect.provide(
        Effect.gen(function*() {
          yield* put("old")
          return [yield* Store.Store, yield* held(scope)] as const
        }),
        open()
      )
      const read = Effect.provideService(Snapshot.read({ snapshot })(get), Store.Store, store)
      assert.strictEqual(yield* reasonOf(read), "Closed")
      yield* Scope.close(scope, Exit.void)
    }))

  test("does not outlive a fiber that is interrupted, whatever it does", () =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const { pins } = machine.tree.versions
      yield* put("old")
      const holding = Effect.scoped(Effect.andThen(Snapshot.make(), Effect.never))
      const reading = Snapshot.read()(Effect.never)
      const streaming = Stream.runDrain(Snapshot.stream()(Stream.never))
      const writing = write(Effect.andThen(Words.put("b", ""), Effect.never))
      const fibers = yield* Effect.forEach([holding, reading, streaming, writing], (effect) =>
        Effect.forkChild(effect, { startImmediately: true }))
      yield* Effect.sleep(5)
      assert.deepStrictEqual({ ...pins.owners }, { read: 1, stream: 1, transaction: 1, snapshot: 1 })
      for (const fiber of fibers) {
        yield* Fiber.interrupt(fiber)
        const exit = yield* Effect.exit(Fiber.join(fiber))
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))
      }
      assert.deepStrictEqual({ ...pins.owners }, { read: 0, stream: 0, transaction: 0, snapshot: 0 })
      assert.strictEqual(pins.readers, 0)
      assert.deepStrictEqual(pins.pinned, [])
    }))
})

describe("a held snapshot of records that expire", () => {
  it.effect("has one time: what was there at first is there for all its reads", () =>
    Effect.gen(function*() {
      const { close, store } = yield* open({ durability: "memory", memory: "4 MiB" })
      yield* Effect.provideService(
        Effect.scoped(Effect.gen(function*() {
          yield* write(Words.put("a", "short", { ttl: "5 seconds" }))
          const snapshot = yield* Snapshot.make()
          yield* TestClock.adjust("1 minute")
          assert.deepStrictEqual(yield* Snapshot.read()(get), Option.none())
          assert.deepStrictEqual(yield* Snapshot.read({ snapshot })(get), Option.some("short"))
          const rows = yield* Stream.runCollect(Snapshot.stream({ snapshot })(Words.range()))
          assert.deepStrictEqual(rows.map(({ value }) => value), ["short"])
          assert.deepStrictEqual(yield* Snapshot.read({ at: snapshot.lsn })(get), Option.none())
        })),
        Store.Store,
        store
      )
      yield* close
    }).pipe(Effect.provide(MemoryDisk.layer)))
})

describe("who holds the past", () => {
  it.effect("is in stat and in metrics, with its age", () =>
    Effect.gen(function*() {
      const { close, store } = yield* open({ durability: "memory", memory: "4 MiB" })
      const age = (owner: Owner) =>
        Effect.map(Metric.snapshot, (found) =>
          found.find(({ attributes, id }) =>
            id === "heartwood.snapshot.oldest.age" && attributes?.[Telemetry.Attribute.owner] === owner
          )?.state)
      yield* Effect.provideService(
        Effect.gen(function*() {
          assert.isUndefined((yield* store.stat).snapshots.oldest)
          yield* put("old")
          const scope = yield* Scope.make()
          const snapshot = yield* held(scope)
          yield* TestClock.adjust("90 seconds")
          yield* put("new")
          yield* Snapshot.read()(Effect.gen(function*() {
            yield* TestClock.adjust("2 seconds")
            const { snapshots } = yield* store.stat
            assert.deepStrictEqual(snapshots.oldest, {
              owner: "snapshot",
              lsn: snapshot.lsn,
              ageMillis: 92_000
            })
            assert.deepStrictEqual({ ...snapshots.open }, { read: 1, stream: 0, transaction: 0, snapshot: 1 })
            assert.deepInclude(snapshots, { disk: 0, expired: 0 })
            assert.deepStrictEqual(yield* age("snapshot"), { value: 92 })
            assert.deepStrictEqual(yield* age("read"), { value: 2 })
            assert.deepStrictEqual(yield* age("stream"), { value: 0 })
          }))
          yield* Scope.close(scope, Exit.void)
          assert.isUndefined((yield* store.stat).snapshots.oldest)
          assert.deepStrictEqual(yield* age("snapshot"), { value: 0 })
        }),
        Store.Store,
        store
      )
      yield* close
    }).pipe(
      Effect.provide(MemoryDisk.layer),
      Effect.provideService(Metric.MetricRegistry, new Map())
    ))
})

describe("pins", () => {
  it("know their readers, against a list of them", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const chance = random(seed)
      const pins = new Pins({ durable: 0, visible: 0 })
      let live: Array<Reader> = []
      for (let step = 1; step <= 400; step++) {
        const label = `seed ${seed}, step ${step}`
        pins.visible = step
        if (chance.bool(0.3)) pins.durable = step - chance.int(Math.min(step - pins.durable + 1, 5))
        if (chance.bool(0.6)) {
          const known = live.filter(({ pin }) => !pin.isExpired)
          const at = known.length > 0 && chance.bool(0.3) ? chance.pick(known).pin.lsn : step
          live.push(pins.enter(at, chance.pick(owners), step))
        }
        if (chance.bool(0.5) && live.length > 0) {
          const [reader] = live.splice(chance.int(live.length), 1)
          const others = live.some(({ pin }) => pin === reader?.pin)
          const gone = reader === undefined ? undefined : pins.leave(reader)
          assert.strictEqual(gone !== undefined, !others && reader?.pin.isExpired === false, label)
        }
        if (chance.bool(0.05)) {
          const oldest = Math.min(...live.filter(({ pin }) => !pin.isExpired).map(({ pin }) => pin.lsn))
          const expired = pins.expire()
          assert.strictEqual(expired?.lsn, oldest < pins.durable ? oldest : undefined, label)
        }
        const open = live.filter(({ pin }) => !pin.isExpired)
        assert.strictEqual(pins.readers, live.length, label)
        assert.strictEqual(pins.oldest(), Math.min(pins.durable, ...open.map(({ pin }) => pin.lsn)), label)
        const least = Math.min(...open.map(({ pin }) => pin.lsn))
        assert.strictEqual(pins.oldestReader(), open.find(({ pin }) => pin.lsn === least), label)
        for (const owner of owners) {
          assert.strictEqual(pins.owners[owner], live.filter((one) => one.owner === owner).length, label)
          const own = open.filter((one) => one.owner === owner)
          assert.strictEqual(pins.oldestOf(owner)?.since, own.length === 0 ? undefined : own[0]?.since, label)
        }
      }
      live = []
    }
  })
})

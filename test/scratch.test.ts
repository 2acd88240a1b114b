/**
 * The scratch file of a store: how much memory and disk a snapshot takes, what rot in it does, and what is left of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { scratchName } from "../src/actors/files/Scratch.ts"
import { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import type { Machine } from "../src/Machine.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { directory, open } from "./support/storeDoor.ts"
import { reasonOf, refusal, suite, upTo } from "./support/stores.ts"

const Items = Keyspace.bytes("items")
const KiB = 1024
const MiB = 1024 * KiB
const keyOf = (n: number): Uint8Array => Buffer.from(String(n).padStart(8, "0"))
const valueOf = (n: number, round: number): Uint8Array => Buffer.from(`${round} of ${n}`.padEnd(100))

const write = (keys: ReadonlyArray<number>, round: number) =>
  Tx.commit({ durability: "memory" })(
    Effect.forEach(keys, (n) => Items.put(keyOf(n), valueOf(n, round)), { discard: true })
  )

const settled = Effect.gen(function*() {
  const store = yield* Store.Store
  yield* store.awaitDurable(yield* store.visibleLsn)
  yield* Effect.sleep(20)
})

const versionsOf = Effect.map(Store.Store, ({ machine }) => machine.tree.versions)

/** Overwrites all keys once; answers the most memory that versions took. */
const overwrite = Effect.fnUntraced(function*(count: number, round: number) {
  const versions = yield* versionsOf
  let most = 0
  for (let from = 0; from < count; from += 200) {
    yield* write(upTo(200).map((n) => from + n), round)
    most = Math.max(most, versions.bytes)
  }
  yield* settled
  return Math.max(most, versions.bytes)
})

/** A disk takes its time; in memory what is not written in time is written by those who overwrite. */
const most = (bytes: number, { file }: Machine["parts"]): number =>
  file.path.startsWith("/store") ? bytes * 1.05 : bytes * 2

suite("a snapshot over many overwrites", (test) => {
  const count = 40_000
  const versionsBytes = MiB
  const limits = { versionsBytes, undurableBytes: 64 * KiB }
  const options = { memory: "16 MiB", durability: "memory", limits } as const

  test("takes its share of memory, and a file that shrinks when it goes", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      const { machine } = yield* Store.Store
      const { spill } = machine.tree.versions
      yield* overwrite(count, 0)
      const ends: Array<number> = []
      for (let round = 1; round <= 2; round++) {
        const scope = yield* Scope.make()
        const snapshot = yield* Effect.provideService(Snapshot.make(), Scope.Scope, scope)
        assert.isBelow(yield* overwrite(count, round), most(versionsBytes, machine.parts))
        const { snapshots } = yield* (yield* Store.Store).stat
        assert.deepInclude(snapshots.oldest, { owner: "snapshot", lsn: snapshot.lsn })
        assert.isAbove(snapshots.disk, count * 100)
        assert.strictEqual(snapshots.expired, 0)
        ends.push(spill.end)
        yield* Snapshot.read({ snapshot })(Effect.gen(function*() {
          for (const n of [0, 1, 7_777, count - 1]) {
            assert.deepStrictEqual(yield* Items.get(keyOf(n)), Option.some(valueOf(n, round - 1)))
          }
          const many = yield* Items.getMany(upTo(100).map((n) => keyOf(n * 399)))
          many.forEach((value, n) => assert.deepStrictEqual(value, Option.some(valueOf(n * 399, round - 1))))
        }))
        yield* Scope.close(scope, Exit.void)
        yield* settled
        assert.strictEqual(spill.taken, 0)
        const path = `${machine.parts.file.path.replace(/pages$/, "")}${scratchName}`
        const file = yield* disk.open(path, { mode: "readOnly" })
        assert.strictEqual(yield* file.size, 0)
        yield* file.close
      }
      assert.isAtMost(ends[1] ?? 0, (ends[0] ?? 0) * 1.1, "the second takes the room of the first")
    }), options)

  test("expires when the file is full", () =>
    Effect.gen(function*() {
      const versions = yield* versionsOf
      yield* overwrite(count, 0)
      yield* Effect.scoped(Effect.gen(function*() {
        const snapshot = yield* Snapshot.make()
        const { machine } = yield* Store.Store
        assert.isBelow(yield* overwrite(count, 1), most(versionsBytes, machine.parts))
        assert.strictEqual(versions.pins.expired, 1)
        const reason = yield* refusal(Snapshot.read({ snapshot })(Items.get(keyOf(1))))
        assert.deepInclude(reason, { _tag: "SnapshotExpired", requested: snapshot.lsn })
        assert.strictEqual(versions.spill.taken, 0)
      }))
      const value = yield* Snapshot.read()(Items.get(keyOf(1)))
      assert.deepStrictEqual(value, Option.some(valueOf(1, 1)))
    }), { ...options, limits: { ...limits, snapshotDiskBytes: 2 * MiB } })
})

describe("a snapshot over 200,000 overwrites", () => {
  it.live("takes four MiB at most, and 2.6 bytes of them for each version on disk", () =>
    Effect.gen(function*() {
      const versionsBytes = 4 * MiB
      const limits = { versionsBytes, undurableBytes: 256 * KiB }
      const { close, store } = yield* open({ memory: "64 MiB", durability: "memory", limits })
      yield* Effect.provideService(
        Effect.scoped(Effect.gen(function*() {
          yield* overwrite(200_000, 0)
          const snapshot = yield* Snapshot.make()
          assert.isBelow(yield* overwrite(200_000, 1), versionsBytes * 1.05)
          const { spill } = store.machine.tree.versions
          const { counters } = store.machine.parts.scratch
          assert.isAbove(counters.spilled, 180_000)
          assert.isBelow(spill.indexBytes / counters.spilled, 3)
          const value = yield* Snapshot.read({ at: snapshot.lsn })(Items.get(keyOf(123_456)))
          assert.deepStrictEqual(value, Option.some(valueOf(123_456, 0)))
        })),
        Store.Store,
        store
      )
      yield* close
    }).pipe(Effect.provide(layer())))
})

describe("the scratch file", () => {
  const small = {
    memory: "4 MiB",
    durability: "memory",
    limits: { versionsBytes: 64 * KiB, undurableBytes: 64 * KiB }
  } as const
  /** A store with a snapshot whose versions are in the file. */
  const spilled = Effect.gen(function*() {
    const { close, store } = yield* open(small)
    const run = Effect.provideService(Store.Store, store)
    const scope = yield* Scope.make()
    yield* run(overwrite(1_000, 0))
    const snapshot = yield* run(Effect.provideService(Snapshot.make(), Scope.Scope, scope))
    yield* run(overwrite(1_000, 1))
    assert.isAbove(store.machine.tree.versions.spill.taken, 10)
    return { close, run, snapshot, store, scope }
  })
  const path = `${directory}/${scratchName}`

  it.live("rots: a typed error, never a wrong answer", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { close, run, snapshot, store } = yield* spilled
      const { end, options } = store.machine.tree.versions.spill
      for (let slot = 0; slot < end; slot += 2) {
        yield* faults.flip(path, (slot * options.blockBytes + 400 + slot) * 8 + slot % 8)
      }
      const reasons = { done: 0, Corrupted: 0 }
      for (const n of upTo(1_000)) {
        const get = Effect.map(Items.get(keyOf(n)), (value) =>
          assert.deepStrictEqual(value, Option.some(valueOf(n, 0))))
        const reason = yield* reasonOf(run(Snapshot.read({ snapshot })(get)))
        assert.isTrue(reason === "done" || reason === "Corrupted", reason)
        reasons[reason as "done" | "Corrupted"]++
      }
      assert.isAbove(reasons.Corrupted, 100)
      assert.isAbove(reasons.done, 100)
      const rows = Snapshot.read({ snapshot })(Items.first({}))
      assert.include(["done", "Corrupted"], yield* reasonOf(run(rows)))
      const newest = yield* run(Snapshot.read()(Items.get(keyOf(3))))
      assert.deepStrictEqual(newest, Option.some(valueOf(3, 1)))
      yield* close
    }).pipe(Effect.provide(layer())))

  it.live("is gone after a close, and after an open that finds one", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const disk = yield* Disk
      const { close } = yield* spilled
      assert.strictEqual(yield* disk.kind(path), "file")
      const image = faults.killImage()
      yield* close
      assert.strictEqual(yield* disk.kind(path), "missing")
      const killed = Context.get(yield* Layer.build(layer({ image })), Disk)
      assert.strictEqual(yield* killed.kind(path), "file")
      const again = yield* Effect.provideService(open(small), Disk, killed)
      assert.strictEqual(yield* killed.kind(path), "missing")
      const value = yield* Effect.provideService(
        Snapshot.read()(Items.get(keyOf(3))),
        Store.Store,
        again.store
      )
      assert.isTrue(Option.isSome(value))
      yield* again.close
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("is never synced, and is no part of what is durable", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const seen: Array<string> = []
      yield* faults.observe(({ operation, path: where }) => {
        if (where === path) seen.push(operation)
      })
      const { close } = yield* spilled
      assert.include(seen, "write")
      assert.notInclude(seen, "sync")
      yield* close
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("does not matter to readers once their pin has expired, whatever they were reading", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { close, run, snapshot, store } = yield* spilled
      const { versions } = store.machine.tree
      yield* run(
        Snapshot.read({ snapshot })(Effect.gen(function*() {
          assert.isTrue(Option.isSome(yield* Items.get(keyOf(1))))
          yield* faults.fail({
            operation: "read",
            path: /\/scratch$/,
            outcome: { _tag: "Delayed", millis: 20 }
          })
          const running = yield* Effect.forkChild(Effect.exit(Items.getMany(upTo(500).map(keyOf))), {
            startImmediately: true
          })
          assert.isTrue(versions.expireOldest())
          const exit = yield* Fiber.join(running)
          const error = Exit.findErrorOption(exit)
          assert.isTrue(error._tag === "Some" && error.value.reason._tag === "SnapshotExpired")
          assert.strictEqual(yield* reasonOf(Items.get(keyOf(1))), "SnapshotExpired")
          assert.strictEqual(yield* reasonOf(Items.first({})), "SnapshotExpired")
        }))
      )
      assert.strictEqual(
        yield* reasonOf(run(Snapshot.read({ snapshot })(Items.get(keyOf(1))))),
        "SnapshotExpired"
      )
      yield* close
    }).pipe(Effect.provide(layer())))
})

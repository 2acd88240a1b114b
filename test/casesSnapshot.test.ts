/**
 * States of the past: copies of a store that is being written, checkpoints, snapshots. Group F of the cases that any
 * ordered store must pass, in every configuration; F64 is `view.test.ts`.
 */
import { assert, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { Image } from "../src/disk/FaultDisk.ts"
import { layer } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import { configurations, everywhere, inWorld } from "./support/configurations.ts"
import { bytes, Oracle, sameRows, text } from "./support/oracle.ts"
import type { Row, Write } from "./support/oracle.ts"
import { dump, open } from "./support/storeDoor.ts"
import { checkpointOf } from "./support/storeFold.ts"
import { rowsOf } from "./support/storeModel.ts"
import type { Options } from "./support/stores.ts"
import { upTo } from "./support/stores.ts"

const read = Snapshot.read()
const keyOf = (n: number): string => `k${String(n).padStart(4, "0")}`
const checkpoint = Effect.flatMap(Store.Store, (store) => store.checkpoint)

/** What a store that is opened on a copy of the disk holds of a keyspace. */
const opened = (
  image: Image,
  options: Options,
  name: string
): Effect.Effect<ReadonlyArray<Row>, StoreError> =>
  Effect.gen(function*() {
    const { close, store } = yield* open(options)
    const state = yield* dump(store, [name])
    yield* close
    return rowsOf(state, name).map(({ key, value }) => [key, value] as const)
  }).pipe(Effect.provide(layer({ image })))

/** What the newest checkpoint on a copy of the disk holds of a keyspace, before any log is replayed. */
const sealed = (
  image: Image,
  pageBytes: number,
  name: string
): Effect.Effect<{ readonly lsn: number; readonly rows: ReadonlyArray<Row> }, StoreError> =>
  Effect.map(Effect.provide(checkpointOf(pageBytes), layer({ image })), ({ lsn, state }) => ({
    lsn,
    rows: rowsOf(state, name).map(({ key, value }) => [key, value] as const)
  }))

interface Commit {
  readonly lsn: number
  readonly writes: ReadonlyArray<Write>
}

/** The state after all commits below an LSN. */
const replayed = (commits: ReadonlyArray<Commit>, lsn: number): Oracle => {
  const oracle = new Oracle()
  for (const commit of commits.toSorted((a, b) => a.lsn - b.lsn)) {
    if (commit.lsn >= lsn) break
    for (const [key, value] of commit.writes) oracle.set(key, value)
  }
  return oracle
}

const contentOf = (rows: ReadonlyArray<Row>): string => JSON.stringify(rows)

everywhere((test, { options }) => {
  test(
    "F59 copies of a store that is being written are prefixes of its commits, writer by writer",
    (world) =>
      Effect.gen(function*() {
        const twin = world.twin("writers")
        const faults = world.faults()
        const commits: Array<Commit> = []
        const copies: Array<{ readonly image: Image; readonly least: number }> = []
        let acknowledged = 0
        const writer = (name: number) =>
          Effect.forEach(upTo(40), (step) => {
            const writes: ReadonlyArray<Write> = [
              [`${name}-${keyOf(step)}`, `${step}`.padEnd(30)],
              [`${name}-${keyOf(step - 3)}`, undefined],
              [`last of ${name}`, `${step}`]
            ]
            const durability = step % 4 === name % 4 ? "synced" : "memory"
            const commit = Effect.map(twin.write(writes, durability), (lsn) => {
              commits.push({ lsn, writes })
              if (durability === "synced") acknowledged = Math.max(acknowledged, lsn)
            })
            return Effect.andThen(commit, Effect.sleep(1))
          }, { discard: true })
        const copier = Effect.forEach(upTo(5), () =>
          Effect.gen(function*() {
            const { lsn } = yield* checkpoint
            for (const image of [faults.killImage(), faults.crashImage({ keep: "nothing" })]) {
              copies.push({ image, least: Math.max(lsn, acknowledged + 1) })
            }
            yield* Effect.yieldNow
          }), { discard: true })
        yield* Effect.all([...upTo(4).map(writer), copier], { concurrency: "unbounded", discard: true })
        assert.strictEqual(copies.length, 10)
        let amid = 0
        for (const { image, least } of copies) {
          const rows = yield* opened(image, options, "writers")
          const ends = commits.map(({ lsn }) => lsn + 1).toSorted((a, b) => b - a)
          const found = ends.find((lsn) => contentOf(replayed(commits, lsn).range()) === contentOf(rows))
          if (found === undefined) return assert.fail("it is no prefix of the commits")
          const lost = commits.filter(({ lsn }) => lsn >= found)
          assert.isEmpty(lost.filter(({ lsn }) => lsn < least), "what was sealed or acknowledged is there")
          if (lost.length > 0) amid++
        }
        assert.isAbove(amid, 0, "copies from amid the writers")
        yield* world.pause
        yield* twin.agree
      }),
    { disk: "faults" }
  )

  test("F60 a checkpoint does not change, whatever is written after it", (world) =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const { pageBytes } = machine.limits
      const twin = world.twin("still")
      const faults = world.faults()
      yield* twin.writeIn(20, upTo(300).map((n): Write => [keyOf(n), `first ${n}`.padEnd(40)]))
      yield* world.pause
      yield* twin.remove(...upTo(30).map((n) => keyOf(n * 7)))
      yield* checkpoint
      const expected = twin.oracle.range()
      const before = yield* sealed(faults.killImage(), pageBytes, "still")
      sameRows("the checkpoint", before.rows, expected)
      for (let round = 0; round < 4; round++) {
        const store = yield* Store.Store
        yield* twin.writeIn(
          30,
          upTo(300).map((n): Write => [keyOf(n), n % 4 === round ? undefined : `round ${round}`.padEnd(35)])
        )
        yield* store.awaitDurable(yield* store.visibleLsn)
        const { lsn, rows } = yield* sealed(faults.killImage(), pageBytes, "still")
        assert.strictEqual(lsn, before.lsn, "no other checkpoint came")
        sameRows(`the checkpoint after round ${round}`, rows, expected)
      }
      yield* twin.agree
      yield* world.pause
      yield* twin.agree
    }), { disk: "faults", options: { segmentSize: "64 KiB", checkpoint: { logBytes: "8 MiB" } } })

  test("F61 checkpoints that are asked for at once are all answered, and hold what was visible", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("asked")
      for (let round = 0; round < 5; round++) {
        yield* twin.writeIn(10, upTo(40).map((n): Write => [keyOf(n * 3 + round), `round ${round}`]))
        const store = yield* Store.Store
        const visible = yield* store.visibleLsn
        const reports = yield* Effect.forEach(
          upTo(8),
          (n) =>
            n % 4 === 3 ? Effect.andThen(twin.put(keyOf(n), "between"), store.checkpoint) : store.checkpoint,
          {
            concurrency: "unbounded"
          }
        )
        assert.strictEqual(reports.length, 8)
        for (const { lsn } of reports) assert.isAtLeast(lsn, visible)
        yield* world.pause
        yield* twin.agree
      }
    }))

  test("F63 at every LSN the state is that of the commits below it, whatever came later", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("past")
      const commits: Array<Commit> = []
      const gate = yield* Deferred.make<void>()
      const held: Array<Fiber.Fiber<void, StoreError>> = []
      const lsns: Array<number> = []
      for (let step = 0; step < 50; step++) {
        const writes = upTo(1 + chance.int(25)).map((): Write => [
          keyOf(chance.int(150)),
          chance.bool(0.35) ? undefined : `step ${step}`.padEnd(chance.int(80))
        ])
        commits.push({ lsn: yield* twin.write(writes), writes })
        // Kept for as long as it is to be read.
        const pin = Snapshot.Snapshot.use(({ at }) => {
          lsns.push(at)
          return Deferred.await(gate)
        })
        held.push(yield* Effect.forkChild(read(pin), { startImmediately: true }))
        if (step % 12 === 11) yield* checkpoint
        if (step % 17 === 16) yield* world.chill
      }
      const at = (lsn: number) =>
        Effect.gen(function*() {
          const expected = replayed(commits, lsn)
          const seen = Snapshot.read({ at: lsn })
          sameRows(`at ${lsn}`, yield* seen(twin.rows()), expected.range())
          const part = { from: keyOf(40), until: keyOf(110), reverse: true, limit: 30 }
          sameRows(`backwards at ${lsn}`, yield* seen(twin.rows(part)), expected.range(part))
          for (let times = 0; times < 4; times++) {
            const key = keyOf(chance.int(150))
            const value = yield* seen(twin.keyspace.get(bytes(key)))
            const found = value._tag === "Some" ? text(value.value) : undefined
            assert.strictEqual(found, expected.get(key), `${key} at ${lsn}`)
            world.see(`${key}: ${found}`)
          }
        })
      for (const lsn of lsns) yield* at(lsn)
      assert.isAtLeast(new Set(lsns).size, 40)
      for (const lsn of lsns.toReversed()) yield* at(lsn)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(held, Fiber.join, { discard: true })
      yield* world.pause
      yield* twin.agree
    }))
})

for (const configuration of configurations) {
  it.effect(`F62 writers do not wait for a checkpoint whose sync takes its time, ${configuration.name}`, () =>
    inWorld(configuration, "fresh", () => {}, (world) =>
      Effect.gen(function*() {
        const twin = world.twin("meanwhile")
        // As many as stay in memory: room for others is made by writing, which the sync holds up.
        yield* twin.writeIn(20, upTo(20).map((n): Write => [keyOf(n), "before".padEnd(20)]))
        const faults = world.faults()
        // The clock stands: until it is moved, nothing that waits for this sync goes on.
        yield* faults.fail({
          operation: "sync",
          path: /\/pages$/,
          outcome: { _tag: "Delayed", millis: 60_000 }
        })
        const running = yield* Effect.forkChild(checkpoint, { startImmediately: true })
        for (let step = 0; step < 60; step++) {
          yield* twin.write([[keyOf(step % 20), `during ${step}`]], step % 2 === 0 ? "synced" : "memory")
          if (step % 10 === 0) yield* twin.agree
        }
        assert.isUndefined(running.pollUnsafe(), "the checkpoint is still under way")
        yield* TestClock.adjust("61 seconds")
        const { lsn } = yield* Fiber.join(running)
        assert.isBelow(lsn, yield* (yield* Store.Store).visibleLsn)
        yield* twin.agree
      }), { disk: "faults", options: { checkpoint: { logBytes: "8 MiB" } } }))
}

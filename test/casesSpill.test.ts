/**
 * Snapshots whose older versions do not fit in memory: what they read is what was there, whatever is written, evicted,
 * merged, checkpointed, cleared or dropped meanwhile, and whatever goes to the scratch file and comes back from it.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { everywhere } from "./support/configurations.ts"
import type { World } from "./support/configurations.ts"
import { bytes, Oracle, sameRows, text } from "./support/oracle.ts"
import type { Twin, Write } from "./support/oracle.ts"
import { upTo } from "./support/stores.ts"
import type { Options } from "./support/stores.ts"

const keyOf = (n: number): string => `k${String(n).padStart(4, "0")}`
const checkpoint = Effect.flatMap(Store.Store, (store) => store.checkpoint)
const scratchOf = Effect.map(Store.Store, ({ machine }) => machine.parts.scratch)
const keysMost = 600

interface Held {
  readonly snapshot: Snapshot.Held
  readonly scope: Scope.Closeable
  readonly state: Oracle
}

const copyOf = (oracle: Oracle): Oracle => {
  const copy = new Oracle()
  for (const [key, value] of oracle.range()) copy.set(key, value)
  return copy
}

/** Snapshots that are held while a keyspace is written, each with the state that it must see for ever. */
class Past {
  readonly held: Array<Held> = []
  /** Reads of states that had gone because the limits were reached. */
  expired = 0
  private readonly world: World
  private readonly twin: Twin

  constructor(world: World, twin: Twin) {
    this.world = world
    this.twin = twin
  }

  readonly open = Effect.suspend(() => {
    const state = copyOf(this.twin.oracle)
    return Effect.gen({ self: this }, function*() {
      const scope = yield* Scope.make()
      const snapshot = yield* Effect.provideService(Snapshot.make(), Scope.Scope, scope)
      this.held.push({ snapshot, scope, state })
    })
  })

  close(index: number) {
    const [held] = this.held.splice(index, 1)
    return held === undefined ? Effect.void : Scope.close(held.scope, Exit.void)
  }

  readonly closeAll = Effect.suspend(() =>
    Effect.forEach(this.held.splice(0), ({ scope }) => Scope.close(scope, Exit.void), { discard: true })
  )

  /** Reads keys, many keys and ranges of one of them, by its LSN or by itself. */
  readonly look: Effect.Effect<void, StoreError, Store.Store> = Effect.suspend(() => {
    const { chance } = this.world
    if (this.held.length === 0) return Effect.void
    const held = chance.pick(this.held)
    const { snapshot, state } = held
    const read = chance.bool(0.5) ? Snapshot.read({ snapshot }) : Snapshot.read({ at: snapshot.lsn })
    const { keyspace } = this.twin
    const [low, high] = [chance.int(keysMost), chance.int(keysMost)].toSorted((a, b) => a - b)
    const range = {
      ...(chance.bool(0.7) ? { from: keyOf(low ?? 0) } : {}),
      ...(chance.bool(0.7) ? { until: keyOf(high ?? 0) } : {}),
      ...(chance.bool(0.3) ? { limit: 1 + chance.int(40) } : {}),
      reverse: chance.bool(0.5)
    }
    const keys = upTo(12).map(() => keyOf(chance.int(keysMost)))
    return Effect.gen({ self: this }, function*() {
      for (const key of keys.slice(0, 4)) {
        const value = Option.getOrUndefined(Option.map(yield* keyspace.get(bytes(key)), text))
        assert.strictEqual(value, state.get(key), `${key} at ${snapshot.lsn}`)
      }
      const many = yield* keyspace.getMany(keys.map(bytes))
      for (const [index, key] of keys.entries()) {
        const value = Option.getOrUndefined(Option.map(many[index] ?? Option.none(), text))
        assert.strictEqual(value, state.get(key), `${key} of many at ${snapshot.lsn}`)
      }
      const what = `${JSON.stringify(range)} at ${snapshot.lsn}`
      sameRows(what, yield* this.twin.rows(range), state.range(range))
    }).pipe(
      read,
      Effect.catchIf(({ reason }) => reason._tag === "SnapshotExpired", () => {
        this.expired++
        // Only what is older may have expired with it.
        return this.close(this.held.indexOf(held))
      })
    )
  })
}

const writes = ({ chance }: World, most: number, valueBytes: number): ReadonlyArray<Write> =>
  upTo(1 + chance.int(most)).map((): Write => [
    keyOf(chance.int(keysMost)),
    chance.bool(0.2) ? undefined : `${chance.int(1e6)}`.padEnd(chance.int(valueBytes))
  ])

everywhere((test, { name }) => {
  const valueBytes = 200
  // What readers hold takes its part: room for a path of pages is to be left.
  const memory: Options = name === "tiny" ? { memory: "96 KiB" } : {}
  for (let seed = 1; seed <= 3; seed++) {
    test(
      `snapshots stay as they are while their versions spill, seed ${seed}`,
      (world) =>
        Effect.gen(function*() {
          const { chance } = world
          const twin = world.twin("past")
          yield* twin.writeIn(50, upTo(keysMost).map((n): Write => [keyOf(n), `first ${n}`.padEnd(80)]))
          const past = new Past(world, twin)
          let clears = 0
          for (let step = 0; step < 300; step++) {
            yield* twin.write(writes(world, 40, valueBytes))
            // Most displaced versions settle where the sync has caught up.
            if (chance.bool(0.2)) {
              const store = yield* Store.Store
              yield* store.awaitDurable(yield* store.visibleLsn)
            }
            if (past.held.length < 8 && chance.bool(0.1)) yield* past.open
            if (chance.bool(0.06)) yield* past.close(chance.int(past.held.length + 1))
            if (step % 40 === 39) yield* checkpoint
            if (step % 70 === 69) yield* world.chill
            if (step % 90 === 89) {
              yield* Tx.commit()(chance.bool(0.5) ? twin.keyspace.clear : twin.keyspace.drop)
              for (const [key] of twin.oracle.range()) twin.oracle.set(key, undefined)
              clears++
            }
            if (step % 3 === 0) yield* past.look
          }
          assert.strictEqual(clears, 3)
          for (let times = 0; times < 30; times++) yield* past.look
          assert.strictEqual(past.expired, 0, "there was room for all")
          const scratch = yield* scratchOf
          assert.isAbove(scratch.counters.runs, 0, "runs")
          assert.isAbove(scratch.counters.readBytes, 0, "bytes read back")
          yield* past.closeAll
          const store = yield* Store.Store
          yield* store.awaitDurable(yield* store.visibleLsn)
          const { versions } = store.machine.tree
          // A run that was on its way when its last reader left goes to its end: a disk takes its time.
          const isHeld = () => versions.spill.taken > 0 || versions.heldBytes > 0
          for (let waits = 0; waits < 10_000 && isHeld(); waits++) yield* Effect.sleep(1)
          assert.strictEqual(versions.spill.taken, 0, "slots are free when nobody reads")
          assert.strictEqual(versions.heldBytes, 0)
          yield* world.pause
          yield* twin.agree
        }),
      { seed, options: { ...memory, limits: { versionsBytes: 96 * 1024 } } }
    )
  }

  test(
    "what cannot go to the disk expires, the oldest first, and nobody else notices",
    (world) =>
      Effect.gen(function*() {
        const { chance } = world
        const twin = world.twin("past")
        yield* twin.writeIn(50, upTo(keysMost).map((n): Write => [keyOf(n), `first ${n}`.padEnd(80)]))
        const past = new Past(world, twin)
        const gone: Array<number> = []
        for (let step = 0; step < 200; step++) {
          yield* twin.write(writes(world, 40, valueBytes))
          const store = yield* Store.Store
          yield* store.awaitDurable(yield* store.visibleLsn)
          if (past.held.length < 60 && chance.bool(0.5)) yield* past.open
          const lsns = past.held.map(({ snapshot }) => snapshot.lsn)
          yield* past.look
          const left = past.held.map(({ snapshot }) => snapshot.lsn)
          gone.push(...lsns.filter((lsn) => !left.includes(lsn)))
          const { pins, spill } = store.machine.tree.versions
          assert.isAtMost(spill.diskBytes, 128 * 1024)
          for (const { snapshot } of past.held) {
            const isPinned = pins.at(snapshot.lsn) !== undefined
            const older = pins.pinned.some(({ lsn }) => lsn < snapshot.lsn)
            assert.isFalse(!isPinned && older, "none goes before an older one")
          }
        }
        assert.isAbove(past.expired, 0)
        assert.strictEqual(gone.length, past.expired)
        const { counters } = yield* scratchOf
        assert.isAbove(counters.runs, 0)
        yield* past.closeAll
        yield* twin.agree
      }),
    {
      answers: "any",
      options: { ...memory, limits: { versionsBytes: 96 * 1024, snapshotDiskBytes: 128 * 1024 } }
    }
  )

  test("a full disk costs the oldest snapshot, never a commit", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("past")
      const faults = world.faults()
      yield* twin.writeIn(50, upTo(keysMost).map((n): Write => [keyOf(n), `first ${n}`.padEnd(80)]))
      yield* faults.fail({
        operation: "write",
        path: /\/scratch$/,
        times: Infinity,
        outcome: { _tag: "Refused", code: "ENOSPC" }
      })
      const past = new Past(world, twin)
      for (let step = 0; step < 120; step++) {
        if (past.held.length < 60 && step % 3 === 0) yield* past.open
        yield* twin.write(writes(world, 40, valueBytes))
        const store = yield* Store.Store
        yield* store.awaitDurable(yield* store.visibleLsn)
        yield* past.look
        const { versions } = store.machine.tree
        assert.isAtMost(versions.heldBytes, 2 * 96 * 1024)
      }
      assert.isAbove(past.expired, 0)
      const { counters } = yield* scratchOf
      assert.isAbove(counters.failures, 0)
      assert.strictEqual(counters.runs, 0)
      yield* past.closeAll
      yield* twin.agree
    }), { answers: "any", disk: "faults", options: { ...memory, limits: { versionsBytes: 96 * 1024 } } })
})

/**
 * The janitor and what has expired: it removes that and nothing else, by commits, leaf by leaf, and stops with the store.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import { Deadlines } from "../src/tree/memory/Deadlines.ts"
import * as Tx from "../src/Tx.ts"
import { commits, dump, expiry, get, one, put, sweepMillis, test, usual, within } from "./support/expiry.ts"
import { random } from "./support/random.ts"
import { upTo } from "./support/stores.ts"
import { bytes, plain, sums } from "./support/timed.ts"

const stat = Store.Store.use((store) => store.stat)
const checkpoint = Store.Store.use((store) => store.checkpoint)
const machine = Store.Store.useSync(({ machine }) => machine)

/** Many records, every other one of which lives for `ttl`. */
const fill = (count: number, ttl: number, value = "v".repeat(100)) =>
  Tx.transact()(Effect.forEach(
    upTo(count),
    (n) => plain.put(bytes(`k${10_000 + n}`), bytes(value), n % 2 === 0 ? { ttl } : {}),
    { discard: true }
  ))

const scarce = { ...usual, memory: "64 KiB", pageSize: "1 KiB", segmentSize: "16 KiB" } as const

describe("what has expired", () => {
  one(
    "is removed, once, and the log grows by nothing else",
    Effect.gen(function*() {
      yield* fill(1_000, 10)
      yield* TestClock.adjust(sweepMillis)
      const { leaves, removed } = yield* expiry
      assert.strictEqual(removed, 500)
      assert.strictEqual(yield* plain.count, 500)
      assert.strictEqual((yield* stat).counters.expired, 500)
      const { machine } = yield* Store.Store
      const [end, count] = [machine.parts.tail.end, yield* commits]
      assert.isAtMost(count, 1 + leaves)
      yield* TestClock.adjust(50 * sweepMillis)
      assert.strictEqual((yield* expiry).leaves, leaves)
      assert.strictEqual(yield* commits, count)
      // A mark of what is durable, at most.
      assert.isBelow(machine.parts.tail.end - end, 500)
    })
  )

  test("is found again by a later life, in leaves that are not in memory", (disks) =>
    Effect.gen(function*() {
      const filled = yield* within(
        disks,
        Effect.gen(function*() {
          yield* fill(1_000, 10 * sweepMillis)
          yield* Tx.transact()(Effect.forEach(
            upTo(3_000),
            (n) => sums.put(bytes(`n${10_000 + n}`), new Uint8Array(8)),
            { discard: true }
          ))
          return yield* expiry
        }),
        scarce
      )
      assert.strictEqual(filled.leaves, 0)
      yield* within(
        disks,
        Effect.gen(function*() {
          yield* TestClock.adjust(5 * sweepMillis)
          assert.strictEqual((yield* expiry).leaves, 0)
          // More than one pause between reads, and time enough for all of them.
          yield* TestClock.adjust(20 * sweepMillis)
          const { leaves, loads, removed } = yield* expiry
          assert.strictEqual(removed, 500)
          assert.isAbove(loads, 20)
          // Leaves that have nothing to do with it are looked at where they share a chunk of the map table.
          assert.isBelow(leaves, (yield* machine).tree.pages.map.used)
          assert.strictEqual(yield* plain.count, 500)
          assert.strictEqual(yield* sums.count, 3_000)
        }),
        scarce
      )
    }))

  one(
    "and was written again stays, wherever its leaf is",
    Effect.gen(function*() {
      yield* fill(400, 10)
      yield* checkpoint
      yield* TestClock.adjust(20)
      // Blindly, so that the base pages still have what expired.
      yield* Tx.transact()(Effect.forEach(
        upTo(400),
        (n) =>
          plain.put(bytes(`k${10_000 + n}`), bytes("anew"), n % 4 === 0 ? { ttl: 100 * sweepMillis } : {}),
        { discard: true }
      ))
      yield* TestClock.adjust(10 * sweepMillis)
      assert.strictEqual((yield* expiry).removed, 0)
      assert.strictEqual(yield* plain.count, 400)
      yield* TestClock.adjust(100 * sweepMillis)
      assert.strictEqual((yield* expiry).removed, 100)
    }),
    scarce
  )

  one(
    "gives its room in the log back, where it was a large value",
    Effect.gen(function*() {
      yield* Effect.forEach(upTo(20), (n) => put(`k${n}`, "x".repeat(50_000), { ttl: 10 }), { discard: true })
      yield* checkpoint
      assert.isAtLeast((yield* stat).log.large, 1_000_000)
      yield* TestClock.adjust(sweepMillis)
      // The base pages hold what their mini-pages have removed, until they are merged: two checkpoints need neither.
      yield* Effect.repeat(Effect.andThen(put("other", "1"), checkpoint), { times: 3 })
      const { log } = yield* stat
      assert.strictEqual(log.large, 0)
      assert.isBelow(log.bytes, 600_000)
    })
  )

  one(
    "in a keyspace that was cleared or dropped is nobody's",
    Effect.gen(function*() {
      yield* fill(200, 10)
      yield* Tx.transact()(sums.put(bytes("n"), new Uint8Array(8), { ttl: 10 }))
      yield* Tx.transact()(Effect.andThen(plain.clear, sums.drop))
      yield* put("a", "1")
      yield* TestClock.adjust(3 * sweepMillis)
      assert.strictEqual((yield* expiry).removed, 0)
      assert.strictEqual(yield* get("a"), "1")
      const { deadlines } = (yield* machine).tree.pages
      assert.strictEqual(deadlines.due(Number.MAX_VALUE, 1), 0)
    })
  )

  one(
    "is told of, with counts",
    Effect.gen(function*() {
      const { events } = yield* Store.Store
      const told = yield* events.pipe(
        Stream.filter(({ _tag }) => _tag === "Expiry"),
        Stream.take(1),
        Stream.runCollect,
        Effect.forkChild
      )
      yield* fill(20, 10)
      yield* TestClock.adjust(sweepMillis)
      const [event] = yield* Fiber.join(told)
      assert.deepStrictEqual(event as unknown, {
        _tag: "Expiry",
        report: { removed: 10, leaves: 1, loads: 0, error: undefined }
      })
    })
  )
})

describe("a sweep", () => {
  test("that cannot read a leaf leaves it for later", (disks) =>
    Effect.gen(function*() {
      yield* within(disks, fill(1_000, sweepMillis), scarce)
      const faults = Context.get(disks, FaultDisk)
      yield* within(
        disks,
        Effect.gen(function*() {
          // The way to the leaves is in memory, so that writing needs no page.
          yield* get("k10001")
          yield* faults.fail({
            path: "/store/pages",
            operation: "read",
            times: Infinity,
            outcome: { _tag: "Refused", code: "EIO" }
          })
          yield* TestClock.adjust(5 * sweepMillis)
          const failed = yield* expiry
          assert.isAbove(failed.failures, 0)
          assert.isBelow(failed.removed, 500)
          yield* put("k10001", "writing goes on")
          yield* faults.heal
          yield* TestClock.adjust(60 * sweepMillis)
          assert.strictEqual((yield* expiry).removed, 500)
        }),
        scarce
      )
    }))

  test("asks no clock when the log is replayed", (disks) =>
    Effect.gen(function*() {
      const faults = Context.get(disks, FaultDisk)
      const work = Effect.gen(function*() {
        yield* fill(300, 10)
        yield* Tx.transact()(sums.put(bytes("n"), new Uint8Array(8).fill(1), { ttl: 50 }))
        yield* TestClock.adjust(20)
        yield* Tx.transact()(sums.merge(bytes("n"), new Uint8Array(8).fill(2)))
        yield* TestClock.adjust(50)
        yield* Tx.transact()(sums.merge(bytes("n"), new Uint8Array(8).fill(3)))
        yield* TestClock.adjust(sweepMillis)
        const rows = yield* dump
        assert.strictEqual((yield* expiry).removed, 150)
        yield* faults.cut({ keep: "everything" })
        return rows
      })
      const before = yield* within(disks, work)
      yield* faults.restart
      for (const time of [0, 1_000_000, 2_000_000_000_000]) {
        yield* TestClock.setTime(time)
        const after = yield* within(
          disks,
          Effect.gen(function*() {
            const rows = yield* dump
            yield* faults.cut({ keep: "everything" })
            return rows
          })
        )
        yield* faults.restart
        assert.deepStrictEqual(after, before, `at ${time}`)
      }
    }))
})

describe("the time of a store", () => {
  test("does not go back, whatever the clock does, nor in a later life", (disks) =>
    Effect.gen(function*() {
      yield* within(
        disks,
        Effect.gen(function*() {
          yield* put("a", "1", { ttl: 10 })
          yield* TestClock.adjust(10)
          yield* put("b", "2")
          yield* TestClock.setTime(5)
          assert.isUndefined(yield* get("a"))
        })
      )
      yield* within(
        disks,
        Effect.gen(function*() {
          assert.isUndefined(yield* get("a"))
          yield* put("c", "3", { ttl: 10 })
          const entry = Option.getOrThrow(yield* Snapshot.read()(plain.getEntry(bytes("c"))))
          assert.strictEqual(entry.expiry, 1_000_020)
        })
      )
    }))
})

describe("Deadlines", () => {
  it("knows of every page no less than was noted, and finds what is due", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const chance = random(seed)
      const deadlines = new Deadlines()
      const model = new Map<number, number>()
      // The least that each page had since the cut of the checkpoint in flight.
      let told: Map<number, number> | undefined
      for (let step = 0; step < 400; step++) {
        const [id, other] = [1 + chance.int(2_000), 1 + chance.int(2_000)]
        const time = chance.int(1_000)
        const dice = chance.next()
        const before = model.get(id) ?? Infinity
        if (dice < 0.5) {
          deadlines.note(id, time)
          model.set(id, Math.min(before, time))
        } else if (dice < 0.65) {
          deadlines.inherit(id, other)
          model.set(id, Math.min(before, model.get(other) ?? Infinity))
        } else if (dice < 0.9) {
          const first = chance.bool(0.3) ? Infinity : time
          deadlines.raise(id, first)
          model.set(id, first)
        } else if (dice < 0.95) {
          deadlines.hold()
          told = new Map()
        } else if (dice < 0.96) {
          deadlines.letGo()
          told = undefined
        }
        for (const [page, first] of model) told?.set(page, Math.min(told.get(page) ?? Infinity, first))
        const now = chance.int(1_000)
        const found: Array<number> = []
        for (let due = deadlines.due(now, 1); due > 0; due = deadlines.due(now, due + 1)) found.push(due)
        const due = [...model].filter(([, first]) => first <= now).map(([page]) => page)
        assert.deepStrictEqual(found, due.sort((a, b) => a - b), `seed ${seed}`)
        const [from, until] = [chance.int(1_000), 1_000 + chance.int(1_000)]
        const least = (rows: Map<number, number>): number =>
          Math.min(
            Infinity,
            ...[...rows].filter(([page]) => page >= from && page < until).map(([, at]) => at)
          )
        assert.strictEqual(deadlines.earliest(from, until), least(told ?? model), `seed ${seed}`)
      }
    }
  })
})

/**
 * What becomes of sessions over the life of a store: checkpoints, limits, idle ends, and what they cost meanwhile.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Session from "../src/Session.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { resealed } from "./support/logImage.ts"
import { open, quiesce } from "./support/storeDoor.ts"
import { refusal, upTo } from "./support/stores.ts"
import { add, Counts, put, read } from "./support/words.ts"

const day = 86_400_000
const limits = { pageBytes: 1_024, segmentBytes: 65_536, memoryBytes: 512 * 1_024 }

type Opened = Effect.Success<ReturnType<typeof open>>

const on = ({ store }: Opened) => Effect.provideService(Store.Store, store)

/** Opens a session, sends so many serials, and closes it. */
const use = (opened: Opened, name: string, serials = 1) =>
  on(opened)(Effect.scoped(Effect.gen(function*() {
    const session = yield* Session.open(name)
    const first = session.serial + 1
    for (const index of upTo(serials)) yield* Tx.once({ session, serial: first + index })(add(name))
    return session.serial
  })))

/** Its last serial, as whoever opens it is told. */
const last = (opened: Opened, name: string) =>
  on(opened)(Effect.scoped(Effect.map(Session.open(name), ({ serial }) => serial)))

const test = <E>(title: string, body: () => Effect.Effect<void, E, Disk | FaultDisk>) =>
  it.effect(title, () => Effect.provide(body(), layer()))

const calm = Effect.flatMap(FaultDisk, ({ operations }) => quiesce(operations))

describe("a checkpoint", () => {
  test("holds sessions as of its cut, and says which have come further", () =>
    Effect.gen(function*() {
      const opened = yield* open({ limits })
      yield* use(opened, "a", 3)
      yield* use(opened, "b", 1)
      const first = yield* opened.store.checkpoint
      const named = first.sessions.map(({ name, serial }) => `${name} ${serial}`)
      assert.deepStrictEqual(named, ["a 3", "b 1"])
      for (const { lsn } of first.sessions) assert.isBelow(lsn, first.lsn)
      yield* use(opened, "b", 4)
      const second = yield* opened.store.checkpoint
      assert.deepStrictEqual(second.sessions.map(({ name, serial }) => [name, serial]), [["b", 5]])
      assert.isAtLeast(second.sessions[0]?.lsn ?? 0, first.lsn)
      assert.deepStrictEqual((yield* opened.store.checkpoint).sessions, [])
      yield* opened.close
      const again = yield* open({ limits })
      assert.deepStrictEqual([yield* last(again, "a"), yield* last(again, "b")], [3, 5])
      yield* use(again, "a")
      yield* again.close
      const third = yield* open({ limits })
      assert.strictEqual(yield* last(third, "a"), 4)
      const count = yield* on(third)(read(Counts.get("a")))
      assert.deepStrictEqual(count, Option.some(4))
      yield* third.close
    }))

  test("taken while sessions commit is no later and no earlier than its cut", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const opened = yield* open({ limits })
      const body = Effect.gen(function*() {
        const sessions = yield* Effect.forEach(upTo(8), (index) => Session.open(`s${index}`))
        const writers = Effect.forEach(sessions, (session) =>
          Effect.forEach(upTo(40), (index) =>
            Tx.once({ session, serial: index + 1 })(add(session.name)), { discard: true }), {
          concurrency: "unbounded",
          discard: true
        })
        const taking = Effect.tap(opened.store.checkpoint, () =>
          Effect.yieldNow)
        const checkpoints = Effect.forEach(upTo(5), () =>
          taking)
        const [reports] = yield* Effect.all([checkpoints, writers], { concurrency: 2 })
        for (const { lsn, sessions } of reports) {
          for (const point of sessions) {
            assert.isBelow(point.lsn, lsn)
          }
        }
      })
      yield* on(opened)(Effect.scoped(body))
      const image = faults.crashImage({ keep: "nothing" })
      const found = Effect.gen(function*() {
        const again = yield* open({ limits })
        for (const index of upTo(8)) {
          assert.strictEqual(yield* last(again, `s${index}`), 40)
          assert.deepStrictEqual(yield* on(again)(read(Counts.get(`s${index}`))), Option.some(40))
        }
      })
      yield* Effect.provide(found, layer({ image }))
      yield* opened.close
    }))
})

describe("a log that does not add up", () => {
  const planted = (change: (group: Buffer, block: number) => void, before: "a checkpoint" | "nothing") =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const opened = yield* open({ limits })
      yield* use(opened, "a", 2)
      if (before === "a checkpoint") yield* opened.store.checkpoint
      yield* use(opened, "a", 1)
      const image = faults.crashImage({ keep: "nothing" })
      yield* opened.close
      // The log ends with a group that holds one record, of serial 3: nobody has waited for a mark after it.
      const path = "/store/log-0000000000000001"
      const file = Buffer.from(image.read(path) ?? [])
      const block = file.lastIndexOf(Buffer.from("01000000000000000300000000000000", "hex"))
      const at = file.lastIndexOf(Buffer.from("485747d6", "hex"), block)
      assert.isAbove(block, at)
      const group = file.subarray(at, at + file.readUInt32LE(at + 8))
      change(group, block - at)
      resealed(group)
      const reason = yield* Effect.provide(
        refusal(open({ limits })),
        layer({ image: image.replace(path, file) })
      )
      assert.deepInclude(reason, { _tag: "Corrupted", path, offset: at + 64 })
      return reason._tag === "Corrupted" ? `${reason.expected}, not ${reason.actual}` : ""
    })

  for (const before of ["nothing", "a checkpoint"] as const) {
    test(`is damage: a hole (after ${before})`, () =>
      Effect.gen(function*() {
        const hole = yield* planted((group, at) => group.writeUInt32LE(4, at + 8), before)
        assert.strictEqual(hole, "serial 3 of session 1, not serial 4")
      }))
    test(`is damage: a repeat (after ${before})`, () =>
      Effect.gen(function*() {
        const repeat = yield* planted((group, at) => group.writeUInt32LE(2, at + 8), before)
        assert.strictEqual(repeat, "serial 3 of session 1, not serial 2")
      }))
    test(`is damage: a session that nobody has opened (after ${before})`, () =>
      Effect.gen(function*() {
        const unknown = yield* planted((group, at) => group.writeUInt32LE(2, at), before)
        assert.strictEqual(unknown, "a commit of an open session, not one of the unknown session 2")
      }))
  }
})

describe("a session that nobody uses", () => {
  test("is ended by a commit after so long, and one that is open is not", () =>
    Effect.gen(function*() {
      const opened = yield* open({ limits: { ...limits, sessionIdleMillis: day } })
      const { sessions } = opened.store.machine.parts
      yield* use(opened, "a", 2)
      yield* TestClock.adjust(day / 2)
      yield* use(opened, "b", 2)
      yield* use(opened, "held", 1)
      const scope = yield* Scope.make()
      yield* Scope.provide(on(opened)(Session.open("held")), scope)
      yield* TestClock.adjust(day / 2 - 1)
      yield* calm
      assert.strictEqual(sessions.remembered, 3)
      yield* TestClock.adjust(1)
      yield* calm
      assert.deepStrictEqual(sessions.image().map(({ name }) => name), ["b", "held"])
      yield* TestClock.adjust(day / 2)
      yield* calm
      assert.deepStrictEqual(sessions.image().map(({ name }) => name), ["held"])
      yield* TestClock.adjust(10 * day)
      yield* calm
      assert.strictEqual(sessions.remembered, 1)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust(day - 1)
      yield* calm
      assert.strictEqual(sessions.remembered, 1)
      yield* TestClock.adjust(1)
      yield* calm
      assert.strictEqual(sessions.remembered, 0)
      assert.strictEqual(yield* last(opened, "a"), 0)
      yield* opened.close
    }))

  test("stays ended after a crash, and its time begins anew when the store is opened", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const options = { limits: { ...limits, sessionIdleMillis: day } }
      const opened = yield* open(options)
      yield* use(opened, "a", 2)
      yield* TestClock.adjust(day / 2)
      yield* use(opened, "b", 3)
      yield* TestClock.adjust(day / 2)
      yield* calm
      const image = faults.crashImage({ keep: "nothing" })
      yield* opened.close
      yield* TestClock.adjust(100 * day)
      const later = Effect.gen(function*() {
        const again = yield* open(options)
        const { sessions } = again.store.machine.parts
        assert.deepStrictEqual(sessions.image().map(({ name, serial }) => [name, serial]), [["b", 3]])
        yield* TestClock.adjust(day - 1)
        yield* Effect.flatMap(FaultDisk, ({ operations }) => quiesce(operations))
        assert.strictEqual(sessions.remembered, 1)
        yield* TestClock.adjust(1)
        yield* Effect.flatMap(FaultDisk, ({ operations }) => quiesce(operations))
        assert.strictEqual(sessions.remembered, 0)
        assert.strictEqual(yield* use(again, "b"), 1)
        yield* again.close
      })
      yield* Effect.provide(later, layer({ image }))
    }))

  test("makes room for a new one where there are too many", () =>
    Effect.gen(function*() {
      const opened = yield* open({ limits: { ...limits, sessions: 3, sessionIdleMillis: day } })
      const { sessions } = opened.store.machine.parts
      for (const name of ["a", "b", "c"]) yield* use(opened, name)
      const full = { _tag: "LimitExceeded", limit: "sessions", actual: 4, maximum: 3 } as const
      assert.deepInclude(yield* refusal(use(opened, "d")), full)
      assert.strictEqual(yield* use(opened, "a"), 2)
      yield* opened.close
      yield* TestClock.adjust(2 * day)
      // It was closed all that time: nothing is ended, until somebody needs the place.
      const again = yield* open({ limits: { ...limits, sessions: 3, sessionIdleMillis: day } })
      assert.strictEqual(again.store.machine.parts.sessions.remembered, 3)
      assert.strictEqual(yield* use(again, "a"), 3)
      assert.strictEqual(yield* use(again, "d"), 1)
      const left = again.store.machine.parts.sessions.image().map(({ name }) => name)
      assert.sameMembers([...left], ["a", "d"])
      // Names that are open count, though the log does not know them yet.
      const held = yield* Scope.make()
      yield* Scope.provide(on(again)(Session.open("e")), held)
      assert.deepInclude(yield* refusal(use(again, "f")), full)
      yield* Scope.close(held, Exit.void)
      assert.strictEqual(yield* use(again, "f"), 1)
      yield* again.close
      assert.strictEqual(sessions.remembered, 3)
    }))

  test("costs no commit anything, however many there are", () =>
    Effect.gen(function*() {
      const many = 10_000
      const opened = yield* open({ limits: { ...limits, sessions: many + 1, segmentBytes: 1_048_576 } })
      const { sessions, tail } = opened.store.machine.parts
      const commits = (name: string) =>
        Effect.gen(function*() {
          const { counters, remembered } = sessions
          const [from, examined] = [tail.end, counters.examined]
          yield* on(opened)(
            Effect.forEach(upTo(50), (n) => Tx.transact({ durability: "memory" })(put(`${n}`)))
          )
          yield* use(opened, name, 50)
          assert.strictEqual(counters.examined, examined)
          assert.isAtLeast(sessions.remembered, remembered)
          return tail.end - from
        })
      yield* use(opened, "first")
      const alone = yield* commits("first")
      const opening = (index: number) =>
        Effect.scoped(Effect.gen(function*() {
          const session = yield* Session.open(`idle ${index}`)
          yield* Tx.once({ session, serial: 1, durability: "memory" })(Effect.void)
        }))
      yield* on(opened)(Effect.forEach(upTo(many), opening, { concurrency: 500, discard: true }))
      assert.strictEqual(sessions.remembered, many + 1)
      const beside = yield* commits("first")
      assert.isBelow(Math.abs(beside - alone), alone / 2)
      yield* opened.store.checkpoint
      yield* opened.close
      const again = yield* open({ limits: { ...limits, sessions: many + 1 } })
      assert.strictEqual(again.store.machine.parts.sessions.remembered, many + 1)
      assert.strictEqual(yield* last(again, "idle 9999"), 1)
      assert.isAbove(again.store.machine.parts.budget.held.sessions, many * 100)
      yield* again.close
    }))
})

/**
 * Sessions: each serial commits exactly once, in order, however often and from wherever it is sent.
 */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { inspect } from "node:util"
import { Disk } from "../src/disk/Disk.ts"
import * as Session from "../src/Session.ts"
import * as Store from "../src/Store.ts"
import type { SerialGap } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { reasonOf, refusal, suite, upTo } from "./support/stores.ts"
import { add, commitNow, Counts, put, read, Words, write } from "./support/words.ts"

/** Adds one: done twice, it shows. */
const once = (session: Session.Session, serial: number, key = "n") => Tx.once({ session, serial })(add(key))

const count = (key = "n") => Effect.map(read(Counts.get(key)), Option.getOrElse(() => 0))

const gap = (effect: Effect.Effect<unknown, unknown, Store.Store>) =>
  Effect.map(Effect.flip(effect), (error) => (error as SerialGap).expected)

suite("a session", (test) => {
  test("commits a serial once, and answers a repeat with where it was", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      assert.deepStrictEqual([session.name, session.serial, session.lsn], ["a", 0, undefined])
      const first = yield* once(session, 1)
      assert.strictEqual(first._tag, "Committed")
      assert.deepStrictEqual([session.serial, session.lsn], [1, first.lsn])
      assert.deepStrictEqual(yield* once(session, 1), { _tag: "Repeated", lsn: first.lsn })
      const second = yield* once(session, 2)
      assert.isAbove(second.lsn ?? 0, first.lsn ?? 0)
      assert.deepStrictEqual(yield* once(session, 2), { _tag: "Repeated", lsn: second.lsn })
      assert.deepStrictEqual(yield* once(session, 1), { _tag: "Repeated", lsn: undefined })
      assert.strictEqual(yield* count(), 2)
      const { lsn, value } = Option.getOrThrow(yield* read(Counts.getEntry("n")))
      assert.deepStrictEqual([lsn, value], [second.lsn, 2])
    }))

  test("shows its name and how far it has come, and no more; a serial that is none hears so", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      yield* once(session, 1)
      const shown = { _id: "Session", name: "a", serial: 1, lsn: session.lsn }
      assert.deepStrictEqual(JSON.parse(JSON.stringify(session)), shown)
      assert.strictEqual(inspect(session), inspect(shown))
      for (const serial of [0, -1, 1.5, NaN]) {
        const error = (yield* Effect.flip(once(session, serial))) as SerialGap
        assert.strictEqual(
          error.message,
          `${serial} is no serial: they are whole numbers from 1 on, and the next one is 2`
        )
      }
      const { message } = (yield* Effect.flip(once(session, 3))) as SerialGap
      assert.strictEqual(message, "Serial 3 is not the next one of its session: send 2 first")
    }))

  test("answers what the body answered, and runs no body again", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      let runs = 0
      const body = Effect.as(Effect.andThen(Effect.sync(() => ++runs), put("k")), "yes")
      const first = yield* Tx.once({ session, serial: 1 })(body)
      assert.strictEqual(first._tag === "Committed" ? first.value : "", "yes")
      yield* Tx.once({ session, serial: 1 })(body)
      assert.strictEqual(runs, 1)
    }))

  test("begins where it ended, as long as it is remembered", () =>
    Effect.gen(function*() {
      const run = (from: number, to: number) =>
        Effect.scoped(Effect.gen(function*() {
          const session = yield* Session.open("a")
          assert.strictEqual(session.serial, from)
          for (let serial = from + 1; serial <= to; serial++) yield* once(session, serial)
        }))
      yield* run(0, 3)
      yield* run(3, 5)
      yield* run(5, 5)
      assert.strictEqual(yield* count(), 5)
      assert.strictEqual((yield* Store.Store).machine.parts.sessions.opened, 0)
    }))

  test("consumes a serial by a commit that writes nothing, too", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      const empty = yield* Tx.once({ session, serial: 1 })(Effect.void)
      const reads = yield* Tx.once({ session, serial: 2 })(Words.get("k"))
      assert.isAbove(reads.lsn ?? 0, empty.lsn ?? 0)
      assert.strictEqual(session.serial, 2)
      assert.strictEqual((yield* Tx.once({ session, serial: 2 })(Effect.void))._tag, "Repeated")
    }))

  test("refuses a serial that is out of turn", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      for (const serial of [2, 0, -1, 1.5, NaN]) {
        assert.strictEqual(yield* gap(once(session, serial)), 1, `${serial}`)
      }
      yield* once(session, 1)
      assert.strictEqual(yield* gap(once(session, 3)), 2)
      assert.strictEqual(yield* gap(Session.awaitDurable(session, 2)), 2)
      assert.strictEqual(yield* count(), 1)
    }))

  test("may use a serial again whose body failed, died or was interrupted", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      const send = Tx.once({ session, serial: 1 })
      assert.strictEqual(yield* Effect.flip(send(Effect.andThen(add("n"), Effect.fail("no")))), "no")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(send(Effect.andThen(add("n"), Effect.die("no"))))))
      const began = yield* Deferred.make<void>()
      const stuck = Effect.andThen(Deferred.succeed(began, undefined), Effect.never)
      const fiber = yield* Effect.forkChild(send(Effect.andThen(add("n"), stuck)))
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* reasonOf(send(Words.put("k".repeat(5_000), ""))), "LimitExceeded")
      assert.strictEqual(session.serial, 0)
      yield* once(session, 1)
      assert.strictEqual(yield* count(), 1)
    }))

  test("is open once", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        yield* Session.open("a")
        const error = yield* Effect.flip(Session.open("a"))
        assert.deepInclude(error, { _tag: "SessionInUse", session: "a" })
        yield* Session.open("b")
      }))
      yield* Session.open("a")
    }))

  test("that was closed commits nothing more, whoever still holds it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const session = yield* Scope.provide(Session.open("a"), scope)
      yield* once(session, 1)
      const [began, closed] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const slow = Effect.andThen(Deferred.succeed(began, undefined), Deferred.await(closed))
      const fiber = yield* Effect.forkChild(Tx.once({ session, serial: 2 })(Effect.andThen(slow, add("n"))))
      const waiting = yield* Effect.forkChild(once(session, 3))
      yield* Deferred.await(began)
      yield* Scope.close(scope, Exit.void)
      const again = yield* Session.open("a")
      assert.strictEqual(again.serial, 1)
      yield* Deferred.succeed(closed, undefined)
      for (const late of [Fiber.join(fiber), Fiber.join(waiting), once(session, 2), once(session, 1)]) {
        assert.strictEqual(yield* reasonOf(late), "Ended")
      }
      yield* once(again, 2)
      assert.strictEqual(yield* count(), 2)
    }))

  test("cannot commit as a part of another transaction", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      assert.deepInclude(yield* refusal(write(once(session, 1))), {
        _tag: "Nested",
        what: "A transaction of session \"a\""
      })
      const inner = Tx.once({ session, serial: 1 })(once(session, 2))
      assert.strictEqual(yield* reasonOf(inner), "Nested")
      assert.strictEqual(session.serial, 0)
    }))

  test("ends for good, with what waits for it", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      yield* once(session, 1)
      yield* Session.end(session)
      assert.strictEqual(yield* reasonOf(once(session, 2)), "Ended")
      const again = yield* Session.open("a")
      assert.strictEqual(again.serial, 0)
      yield* Session.end(again)
      yield* Session.end(session)
      const third = yield* Session.open("a")
      yield* once(third, 1)
      yield* Session.end(again)
      assert.strictEqual((yield* once(third, 2))._tag, "Committed")
      assert.strictEqual((yield* Store.Store).machine.parts.sessions.counters.ended, 1)
    }))

  test("waits for what it says of a repeat", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const session = yield* Session.open("a")
      const { lsn } = yield* Tx.once({ session, serial: 1, durability: "memory" })(add("n"))
      assert.isAtMost(yield* store.durableLsn, lsn ?? 0)
      yield* Tx.once({ session, serial: 1, durability: "synced" })(add("n"))
      assert.isAbove(yield* store.durableLsn, lsn ?? 0)
      yield* Tx.once({ session, serial: 2, durability: "memory" })(add("n"))
      yield* Session.awaitDurable(session)
      assert.isAbove(yield* store.durableLsn, session.lsn ?? 0)
      yield* Session.awaitDurable(session, 1)
    }))

  test("takes any name that fits", () =>
    Effect.gen(function*() {
      for (const name of ["", "a\0b", "größe 🌲", "x".repeat(984)]) {
        const session = yield* Session.open(name)
        yield* once(session, 1, "k")
        assert.strictEqual(session.name, name)
      }
      assert.deepInclude(yield* refusal(Session.open("ö".repeat(500))), { limit: "keyBytes", actual: 1_000 })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Session.open("\ud800"))))
      assert.strictEqual((yield* Store.Store).machine.parts.sessions.opened, 4)
    }))
})

suite("a session whose transactions lose", (test) => {
  test("runs them again with the same serial, in order, in the end in an exclusive turn", () =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const session = yield* Session.open("a")
      const runs: Array<number> = []
      const [began, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      // Each is overtaken by another commit until nobody else may commit.
      const body = (serial: number) =>
        Effect.gen(function*() {
          runs.push(serial)
          yield* Deferred.succeed(began, undefined)
          yield* Deferred.await(gate)
          yield* Words.get("other")
          yield* add("n")
          if (runs.filter((run) => run === serial).length <= 2) yield* commitNow("other", `${runs.length}`)
        })
      const send = (serial: number) => Tx.once({ session, serial })(body(serial))
      const sent = [3, 1, 2, 2, 1]
      const first = yield* Effect.forkChild(send(1))
      yield* Deferred.await(began)
      const others = yield* Effect.forkChild(Effect.forEach(sent, send, { concurrency: "unbounded" }))
      yield* Effect.yieldNow
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(first)
      const outcomes = yield* Fiber.join(others)
      assert.deepStrictEqual(runs, [1, 1, 1, 2, 2, 2, 3, 3, 3])
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), [
        "Committed",
        "Repeated",
        "Committed",
        "Repeated",
        "Repeated"
      ])
      assert.strictEqual(session.serial, 3)
      assert.strictEqual(machine.parts.wal.turns(), 3)
      assert.strictEqual(machine.parts.sessions.counters.commits, 3)
    }))

  test("that only read is validated too", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      yield* write(put("a"))
      let runs = 0
      const body = Effect.gen(function*() {
        const seen = yield* Words.get("a")
        if (++runs === 1) yield* commitNow("a", "other")
        return seen
      })
      const outcome = yield* Tx.once({ session, serial: 1 })(body)
      assert.strictEqual(runs, 2)
      assert.deepStrictEqual(outcome._tag === "Committed" ? outcome.value : undefined, Option.some("other"))
    }))

  test("waits for a change with its serial in hand", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      const body = Effect.flatMap(Words.get("go"), (go) => Option.isSome(go) ? add("n") : Tx.retry)
      const first = yield* Effect.forkChild(Tx.once({ session, serial: 1 })(body))
      const second = yield* Effect.forkChild(once(session, 2))
      yield* Effect.yieldNow
      yield* write(put("go"))
      assert.strictEqual((yield* Fiber.join(first))._tag, "Committed")
      assert.strictEqual((yield* Fiber.join(second))._tag, "Committed")
      assert.strictEqual(yield* count(), 2)
    }))
})

suite("serials that are sent beside each other", (test) => {
  test("commit in their order, each once, and share their syncs", () =>
    Effect.gen(function*() {
      const { counters } = yield* Disk
      const session = yield* Session.open("a")
      yield* once(session, 1)
      const { syncs } = counters
      const order: Array<number> = []
      const send = (serial: number) => {
        const body = Effect.andThen(Effect.sync(() => void order.push(serial)), add("n"))
        return Tx.once({ session, serial, durability: "synced" })(body)
      }
      const sent = upTo(200).flatMap((index) => [index + 2, index + 2])
      const outcomes = yield* Effect.forEach(sent, send, { concurrency: "unbounded" })
      assert.strictEqual(outcomes.filter(({ _tag }) => _tag === "Committed").length, 200)
      assert.deepStrictEqual(order, upTo(200).map((index) => index + 2))
      assert.strictEqual(yield* count(), 201)
      // A disk in memory syncs at once, so nobody has time to join.
      const { durability } = (yield* Store.Store).machine
      assert.isAtMost(counters.syncs - syncs, durability === "synced" ? 100 : 200)
    }))

  test("wait for those before them, and are refused where one of these fails", () =>
    Effect.gen(function*() {
      const session = yield* Session.open("a")
      const [began, fail] = [yield* Deferred.make<void>(), yield* Deferred.make<void, string>()]
      const slow = Effect.andThen(Deferred.succeed(began, undefined), Deferred.await(fail))
      const first = yield* Effect.forkChild(Tx.once({ session, serial: 1 })(slow))
      yield* Deferred.await(began)
      const later = yield* Effect.forEach([3, 2], (serial) =>
        Effect.forkChild(Effect.flip(once(session, serial))))
      const joined = yield* Effect.forkChild(
        Effect.flip(Tx.once({ session, serial: 1 })(Effect.fail("mine")))
      )
      yield* Effect.yieldNow
      yield* Deferred.fail(fail, "first")
      assert.strictEqual(yield* Effect.flip(Fiber.join(first)), "first")
      assert.strictEqual(yield* Fiber.join(joined), "mine")
      for (const fiber of later) {
        assert.deepInclude(yield* Fiber.join(fiber), { _tag: "SerialGap", expected: 1 })
      }
    }))

  test("of many sessions do not wait for each other", () =>
    Effect.gen(function*() {
      const idle = yield* Session.open("idle")
      const began = yield* Deferred.make<void>()
      const stuck = Effect.andThen(Deferred.succeed(began, undefined), Effect.never)
      // Whoever hangs before his turn in the store holds up nobody but his own session.
      yield* once(idle, 1)
      const sessions = yield* Effect.forEach(upTo(20), (index) => Session.open(`s${index}`))
      yield* Effect.forEach(
        sessions,
        (session, index) =>
          Effect.forEach(upTo(10), (serial) => once(session, serial + 1, `s${index}`), {
            concurrency: "unbounded"
          }),
        { concurrency: "unbounded" }
      )
      for (const index of upTo(20)) assert.strictEqual(yield* count(`s${index}`), 10)
      const hung = yield* Effect.forkChild(Tx.once({ session: idle, serial: 2 })(stuck))
      yield* Deferred.await(began)
      const waits = yield* Effect.forkChild(once(idle, 3))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(waits)
      yield* Fiber.interrupt(hung)
      yield* once(idle, 2)
    }))
})

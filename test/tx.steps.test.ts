/**
 * Steps of a transaction, and what comes after it: savepoints, fibers that outlive it, hooks.
 */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { reasonOf, suite, upTo } from "./support/stores.ts"
import { commitNow, Counts, own, put, read, Words, words, write } from "./support/words.ts"

suite("savepoint", (test) => {
  const failing = <E>(error: E) => Effect.andThen(put("lost"), Effect.fail(error))

  test("a failed step's writes are discarded, those around it are kept", () =>
    Effect.gen(function*() {
      yield* write(put("stored"))
      yield* write(Effect.gen(function*() {
        yield* put("a", "b")
        const step = Effect.gen(function*() {
          yield* put("lost")
          yield* Words.put("a", "overwritten")
          yield* Words.remove("b")
          yield* Counts.put("n", 1)
          yield* Words.clear
          yield* put("after the clear")
          return yield* Effect.fail("no")
        })
        yield* Effect.flip(Tx.savepoint(step))
        assert.deepStrictEqual(yield* own, ["a", "b", "stored"])
        assert.deepStrictEqual(yield* Words.get("a"), Option.some("a"))
        assert.isFalse(yield* Counts.has("n"))
        yield* Tx.savepoint(put("c"))
      }))
      assert.deepStrictEqual(yield* words, ["a", "b", "c", "stored"])
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("a"))
    }))

  test("they nest, and a defect or an interruption rolls back too", () =>
    Effect.gen(function*() {
      yield* write(Effect.gen(function*() {
        yield* Tx.savepoint(Effect.gen(function*() {
          yield* put("outer")
          yield* Effect.ignore(Tx.savepoint(failing("no")))
          yield* Tx.savepoint(put("inner"))
        }))
        yield* Effect.exit(Tx.savepoint(Effect.andThen(put("lost"), Effect.die("no"))))
        yield* Effect.exit(Tx.savepoint(Effect.andThen(put("lost"), Effect.interrupt)))
        yield* Effect.timeoutOption(Tx.savepoint(Effect.andThen(put("lost"), Effect.never)), 5)
        yield* Effect.ignore(Tx.savepoint(Effect.andThen(Tx.savepoint(put("lost too")), failing("no"))))
      }))
      assert.deepStrictEqual(yield* words, ["inner", "outer"])
    }))

  test("transact inside a transaction is a savepoint", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const { commits } = (yield* store.stat).counters
      yield* write(Effect.gen(function*() {
        yield* put("a")
        yield* write(put("b"))
        yield* Effect.ignore(write(failing("no")))
        const { at } = yield* Snapshot.Snapshot
        assert.strictEqual((yield* put("c").pipe(Tx.commit())).lsn, at)
        assert.deepStrictEqual(yield* own, ["a", "b", "c"])
      }))
      assert.deepStrictEqual(yield* words, ["a", "b", "c"])
      assert.strictEqual((yield* store.stat).counters.commits, commits + 1)
      yield* Effect.ignore(write(Effect.andThen(write(put("lost")), Effect.fail("no"))))
      assert.deepStrictEqual(yield* words, ["a", "b", "c"], "the outer one decides")
    }))

  test("many savepoints cost no more than their writes", () =>
    Effect.gen(function*() {
      const steps = upTo(4_000)
      yield* write(
        Effect.forEach(
          steps,
          (n) => Effect.ignore(Tx.savepoint(n % 2 === 0 ? put(`k${n}`) : failing("no"))),
          { discard: true }
        )
      )
      assert.strictEqual((yield* Words.stat).count, 2_000)
    }))

  test("a transaction whose only step failed commits nothing", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const { commits } = (yield* store.stat).counters
      yield* write(Effect.ignore(Tx.savepoint(Effect.andThen(Words.clear, failing("no")))))
      assert.strictEqual((yield* store.stat).counters.commits, commits)
    }))
})

suite("a transaction that has ended", (test) => {
  test("what its body forked cannot write or read through it any more", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const late = Effect.all([
        reasonOf(put("late")),
        reasonOf(Words.get("a")),
        reasonOf(own),
        reasonOf(Words.clear),
        reasonOf(Tx.savepoint(Words.drop))
      ])
      const fiber = yield* write(
        Effect.andThen(put("a"), Effect.forkDetach(Effect.andThen(Deferred.await(gate), late)))
      )
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(new Set(yield* Fiber.join(fiber)), new Set(["Ended"]))
      assert.deepStrictEqual(yield* words, ["a"])
    }))

  test("a transaction that its body forked, and that begins later, is one of its own", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const audit = Effect.andThen(Deferred.await(gate), write(Effect.andThen(put("audit"), own)))
      const fiber = yield* write(Effect.andThen(put("a"), Effect.forkDetach(audit)))
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["a", "audit"])
      assert.deepStrictEqual(yield* words, ["a", "audit"])
    }))
})

suite("onCommit", (test) => {
  test("runs once, after the commit is durable", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const done = yield* Deferred.make<number>()
      let runs = 0
      const hook = Effect.gen(function*() {
        runs++
        yield* Deferred.succeed(done, yield* store.durableLsn)
      })
      const { lsn } = yield* Effect.andThen(put("a"), Tx.onCommit(hook)).pipe(
        Tx.commit({ durability: "memory" })
      )
      assert.isAbove(yield* Deferred.await(done), lsn)
      assert.strictEqual(runs, 1)
    }))

  test("in the order in which they were given, and one that dies keeps none from running", () =>
    Effect.gen(function*() {
      const ran: Array<string> = []
      const done = yield* Deferred.make<void>()
      const note = (name: string) => Tx.onCommit(Effect.sync(() => void ran.push(name)))
      yield* write(Effect.gen(function*() {
        yield* note("a")
        yield* put("a")
        yield* write(note("nested"))
        yield* Tx.onCommit(Effect.die("no"))
        yield* note("b")
        yield* Tx.onCommit(Effect.asVoid(Deferred.succeed(done, undefined)))
      }))
      yield* Deferred.await(done)
      assert.deepStrictEqual(ran, ["a", "nested", "b"])
    }))

  test("never for what was rolled back, whole or in part", () =>
    Effect.gen(function*() {
      const ran: Array<string> = []
      const done = yield* Deferred.make<void>()
      const note = (name: string) => Tx.onCommit(Effect.sync(() => void ran.push(name)))
      yield* Effect.ignore(write(Effect.andThen(note("failed"), Effect.fail("no"))))
      yield* write(Effect.gen(function*() {
        yield* Effect.ignore(Tx.savepoint(Effect.andThen(note("step"), Effect.fail("no"))))
        yield* put("a")
        yield* note("kept")
        yield* Tx.onCommit(Effect.asVoid(Deferred.succeed(done, undefined)))
      }))
      yield* Deferred.await(done)
      assert.deepStrictEqual(ran, ["kept"])
    }))

  test("of a transaction that ran twice, only the second run's", () =>
    Effect.gen(function*() {
      const ran: Array<number> = []
      const done = yield* Deferred.make<void>()
      let runs = 0
      yield* write(Effect.gen(function*() {
        const run = ++runs
        yield* Words.get("a")
        if (run === 1) yield* commitNow("a", "theirs")
        yield* Tx.onCommit(Effect.sync(() => void ran.push(run)))
        yield* Tx.onCommit(Effect.asVoid(Deferred.succeed(done, undefined)))
        yield* put("a")
      }))
      yield* Deferred.await(done)
      assert.deepStrictEqual(ran, [2])
    }))

  test("also for one that wrote nothing", () =>
    Effect.gen(function*() {
      const done = yield* Deferred.make<void>()
      yield* write(Tx.onCommit(Effect.asVoid(Deferred.succeed(done, undefined))))
      yield* Deferred.await(done)
    }))

  test("run after a transaction whose writes change nothing, at the end of the log", () =>
    Effect.gen(function*() {
      const done = yield* Deferred.make<void>()
      const hook = Tx.onCommit(Effect.asVoid(Deferred.succeed(done, undefined)))
      yield* write(put("a"))
      // Idle: the log ends with its mark, and nothing comes behind that by itself.
      const { counters } = (yield* Store.Store).machine.parts.wal
      while (counters.marks === 0) yield* Effect.sleep(5)
      yield* write(Effect.andThen(Counts.remove("never put"), hook))
      yield* Effect.timeout(Deferred.await(done), "5 seconds")
    }))

  test("it may transact itself", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const done = yield* Deferred.make<void>()
      const hook = write(put("from the hook")).pipe(
        Effect.provideService(Store.Store, store),
        Effect.orDie,
        Effect.andThen(Deferred.succeed(done, undefined)),
        Effect.asVoid
      )
      yield* write(Effect.andThen(put("a"), Tx.onCommit(hook)))
      yield* Deferred.await(done)
      assert.deepStrictEqual(yield* words, ["a", "from the hook"])
    }))

  test.opening("a clean close waits for it", (open) =>
    Effect.gen(function*() {
      let ran = false
      const hook = Effect.andThen(Effect.sleep(20), Effect.sync(() => (ran = true)))
      yield* write(Effect.andThen(put("a"), Tx.onCommit(Effect.asVoid(hook)))).pipe(Effect.provide(open()))
      assert.isTrue(ran)
    }))
})

/**
 * Bodies that run beside each other: who loses, how often, and what becomes of them.
 */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { refusal, suite, upTo } from "./support/stores.ts"
import { add, commitNow, Counts, put, read, Words, words, write } from "./support/words.ts"

/** Runs a body; when it has come to its pause for the first time, something else commits. Answers its runs. */
const raced = <A, E, R, A2, E2, R2>(
  body: (pause: Effect.Effect<void>) => Effect.Effect<A, E, R>,
  meanwhile: Effect.Effect<A2, E2, R2>
) =>
  Effect.gen(function*() {
    let runs = 0
    const reached = yield* Deferred.make<void>()
    const gate = yield* Deferred.make<void>()
    const pause = Effect.andThen(Deferred.succeed(reached, undefined), Deferred.await(gate))
    const fiber = yield* Effect.forkChild(write(Effect.suspend(() => {
      runs++
      return body(pause)
    })))
    yield* Deferred.await(reached)
    yield* meanwhile
    yield* Deferred.succeed(gate, undefined)
    yield* Fiber.join(fiber)
    return runs
  })

suite("validation", (test) => {
  test("of keys: read, absent, and of another keyspace", () =>
    Effect.gen(function*() {
      yield* write(put("a", "b"))
      const reading = (key: string) => (pause: Effect.Effect<void>) =>
        Effect.andThen(Words.get(key), Effect.andThen(pause, Words.put("own", "x")))
      assert.strictEqual(yield* raced(reading("a"), write(put("b"))), 1, "another key")
      assert.strictEqual(yield* raced(reading("a"), write(put("a"))), 2, "that key")
      assert.strictEqual(yield* raced(reading("a"), write(Words.remove("a"))), 2, "removed")
      assert.strictEqual(yield* raced(reading("none"), write(put("none"))), 2, "absent, and then there")
      assert.strictEqual(yield* raced(reading("a"), write(Counts.put("a", 1))), 1, "another keyspace")
      assert.strictEqual(yield* raced(reading("b"), write(Words.clear)), 2, "all are gone")
      assert.strictEqual(yield* raced(reading("b"), write(Words.drop)), 2, "the keyspace is gone")
      assert.strictEqual(yield* raced(reading("b"), write(put("c"))), 1, "of a keyspace made anew")
      const many = (pause: Effect.Effect<void>) =>
        Effect.andThen(Words.getMany(["m1", "m2"]), Effect.andThen(pause, put("own")))
      assert.strictEqual(yield* raced(many, write(put("m2"))), 2, "one of many")
      assert.strictEqual(yield* raced(many, write(put("m3"))), 1, "none of many")
    }))

  test("of ranges: in the direction and as far as they were read", () =>
    Effect.gen(function*() {
      yield* write(put("b", "d", "f", "h"))
      const ranging = (options: Keyspace.RangeOptions<string, never>) => (pause: Effect.Effect<void>) =>
        Effect.andThen(Stream.runCollect(Words.keys(options)), Effect.andThen(pause, Counts.put("own", 1)))
      const runs = (options: Keyspace.RangeOptions<string, never>, key: string) =>
        Effect.ensuring(raced(ranging(options), write(put(key))), Effect.orDie(write(Words.remove(key))))
      assert.strictEqual(yield* runs({ from: "c", until: "g" }, "a"), 1)
      assert.strictEqual(yield* runs({ from: "c", until: "g" }, "g"), 1)
      assert.strictEqual(yield* runs({ from: "c", until: "g" }, "c"), 2)
      assert.strictEqual(yield* runs({ from: "c", until: "g" }, "e"), 2)
      assert.strictEqual(yield* runs({ from: "x" }, "y"), 2, "a range with nothing in it")
      assert.strictEqual(yield* runs({ limit: 2 }, "a"), 2, "before the first")
      assert.strictEqual(yield* runs({ limit: 2 }, "c"), 2, "between the two")
      assert.strictEqual(yield* runs({ limit: 2 }, "e"), 1, "behind the limit")
      assert.strictEqual(yield* runs({ limit: 2, reverse: true }, "i"), 2)
      assert.strictEqual(yield* runs({ limit: 2, reverse: true }, "g"), 2)
      assert.strictEqual(yield* runs({ limit: 2, reverse: true }, "e"), 1)
      assert.strictEqual(yield* runs({ limit: 9 }, "z"), 2, "fewer than the limit: the end was read")
    }))

  test("of a range over own writes covers what they hid", () =>
    Effect.gen(function*() {
      yield* write(put("b", "d", "f"))
      const body = (pause: Effect.Effect<void>) =>
        Effect.gen(function*() {
          yield* Words.remove("b")
          const head = yield* Words.first()
          yield* pause
          yield* Words.put("seen", Option.match(head, { onNone: () => "none", onSome: ({ key }) => key }))
        })
      assert.strictEqual(yield* raced(body, write(put("c"))), 2)
      assert.deepStrictEqual(yield* read(Words.get("seen")), Option.some("c"))
    }))

  test("blind writes conflict with nobody, and neither do own writes that are read", () =>
    Effect.gen(function*() {
      const blind = (pause: Effect.Effect<void>) =>
        Effect.andThen(put("a"), Effect.andThen(Words.get("a"), pause))
      assert.strictEqual(yield* raced(blind, write(put("a", "b"))), 1)
    }))

  test("single writes beside all boundaries are seen by it", () =>
    Effect.gen(function*() {
      const reading = (pause: Effect.Effect<void>) =>
        Effect.andThen(Words.get("a"), Effect.andThen(pause, put("own")))
      assert.strictEqual(yield* raced(reading, commitNow("b", "theirs")), 1)
      assert.strictEqual(yield* raced(reading, commitNow("a", "theirs")), 2)
    }))

  test("nothing is kept when nobody is open", () =>
    Effect.gen(function*() {
      const { machine: { watch, window } } = yield* Store.Store
      yield* raced((pause) => Effect.andThen(Words.get("a"), pause), write(put("a")))
      yield* Effect.exit(write(Effect.andThen(Words.get("a"), Effect.fail("no"))))
      yield* Effect.exit(write(Effect.andThen(Words.get("a"), Effect.interrupt)))
      yield* Effect.timeoutOption(write(Effect.andThen(Words.get("a"), Effect.never)), 5)
      yield* Effect.timeoutOption(write(Effect.andThen(Words.get("a"), Tx.retry)), 5)
      yield* Effect.timeoutOption(write(Effect.andThen(Words.get("a"), Tx.retryUntil(later(1_000)))), 5)
      assert.deepStrictEqual([window.open, window.size, watch.size], [0, 0, 0])
    }))
})

const later = (millis: number) => DateTime.makeUnsafe(Date.now() + millis)

suite("losing", (test) => {
  test("twice gives the turn: commits of others wait, reads and syncs do not", () =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const held = yield* Deferred.make<void>()
      const gate = yield* Deferred.make<void>()
      let runs = 0
      const unlucky = yield* Effect.forkChild(write(Effect.gen(function*() {
        runs++
        const seen = yield* Words.get("a")
        if (runs < 3) yield* commitNow("a", `theirs ${runs}`)
        else {
          yield* Deferred.succeed(held, undefined)
          yield* Deferred.await(gate)
        }
        yield* Words.put("a", `mine after ${Option.getOrElse(seen, () => "nothing")}`)
      })))
      yield* Deferred.await(held)
      const other = yield* Effect.forkChild(write(put("b")))
      yield* Effect.sleep(10)
      assert.isUndefined(other.pollUnsafe(), "a commit waits for the turn")
      assert.deepStrictEqual(yield* words, ["a"], "a read does not")
      yield* machine.awaitDurable(machine.visible())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(unlucky)
      yield* Fiber.join(other)
      assert.deepStrictEqual(yield* words, ["a", "b"])
      assert.strictEqual(runs, 3)
      assert.strictEqual(machine.parts.wal.turns(), 1)
    }))

  test(
    "a turn that takes too long is given up, and with it nothing but its writes",
    () =>
      Effect.gen(function*() {
        let runs = 0
        const reason = yield* refusal(write(Effect.gen(function*() {
          runs++
          yield* Words.get("a")
          if (runs < 3) yield* commitNow("a", "theirs")
          else yield* Effect.never
          yield* Words.put("a", "mine")
        })))
        assert.strictEqual(reason._tag, "TurnExpired")
        yield* write(put("b"))
        assert.deepStrictEqual(yield* words, ["a", "b"])
      }),
    { limits: { turnMillis: 20 } }
  )

  test("with a mailbox of one, many that lose all have their turn", () =>
    Effect.gen(function*() {
      yield* write(Counts.put("n", 0))
      const body = Effect.gen(function*() {
        const n = yield* Counts.get("n")
        yield* Effect.yieldNow
        yield* Counts.put("n", Option.getOrThrow(n) + 1)
      })
      yield* Effect.forEach(upTo(40), () => write(body), { concurrency: "unbounded", discard: true })
      assert.deepStrictEqual(yield* read(Counts.get("n")), Option.some(40))
    }), { limits: { mailbox: 1 } })

  test("whoever waits for a turn may be interrupted, and holds up nobody", () =>
    Effect.gen(function*() {
      const body = Effect.gen(function*() {
        yield* Counts.get("n")
        yield* Effect.sleep(1)
        yield* add("n")
      })
      const fibers = yield* Effect.forEach(upTo(20), () => Effect.forkChild(write(body)))
      const chance = random(7)
      yield* Effect.forEach(fibers, (fiber) =>
        chance.bool(0.5) ? Effect.andThen(Effect.sleep(1), Fiber.interrupt(fiber)) : Effect.void)
      yield* Fiber.awaitAll(fibers)
      const { machine } = yield* Store.Store
      assert.strictEqual(machine.window.open, 0)
      yield* write(put("after"))
    }))

  test("with attempts it fails with Conflict instead", () =>
    Effect.gen(function*() {
      let runs = 0
      const body = Effect.gen(function*() {
        runs++
        yield* Words.get("a")
        yield* commitNow("a", "theirs")
        yield* Words.put("a", "mine")
      })
      const error = yield* Effect.flip(body.pipe(Tx.transact({ attempts: 3 })))
      assert.strictEqual(error._tag, "Conflict")
      if (error._tag === "Conflict") assert.deepStrictEqual([error.keyspace, error.attempts], ["words", 3])
      assert.strictEqual(runs, 3)
      assert.throws(() => Tx.transact({ attempts: 0 })(body), RangeError)
    }))

  test("8 fibers and 4 accounts: nobody fails, and a commit takes 3 attempts at most on average", () =>
    Effect.gen(function*() {
      const accounts = ["a", "b", "c", "d"]
      yield* write(Effect.forEach(accounts, (account) => Counts.put(account, 100)))
      let attempts = 0
      const transfer = (from: string, to: string) =>
        Effect.gen(function*() {
          attempts++
          const left = Option.getOrThrow(yield* Counts.get(from))
          yield* Effect.yieldNow
          const right = Option.getOrThrow(yield* Counts.get(to))
          yield* Effect.yieldNow
          yield* Counts.put(from, left - 1)
          yield* Counts.put(to, right + 1)
        })
      const chance = random(1)
      yield* Effect.forEach(upTo(8), () =>
        Effect.forEach(upTo(25), () => {
          const from = chance.int(4)
          return write(transfer(accounts[from] as string, accounts[(from + 1 + chance.int(3)) % 4] as string))
        }), { concurrency: "unbounded", discard: true })
      const rows = yield* read(Stream.runCollect(Counts.range()))
      assert.strictEqual(rows.reduce((sum, { value }) => sum + value, 0), 400)
      assert.isAtMost(attempts / 200, 3)
    }))
})

suite("retrying", (test) => {
  test("waits for a key that was absent, without a poll", () =>
    Effect.gen(function*() {
      let runs = 0
      const taker = yield* Effect.forkChild(write(Effect.gen(function*() {
        runs++
        const head = yield* Words.first()
        if (Option.isNone(head)) return yield* Tx.retry
        yield* Words.remove(head.value.key)
        return head.value.key
      })))
      yield* Effect.sleep(5)
      yield* write(Counts.put("elsewhere", 1))
      yield* Effect.sleep(5)
      assert.strictEqual(runs, 1)
      yield* write(put("a"))
      assert.strictEqual(yield* Fiber.join(taker), "a")
      assert.strictEqual(runs, 2)
      assert.deepStrictEqual(yield* words, [])
    }))

  test("many workers share a queue: each job is done once", () =>
    Effect.gen(function*() {
      const take = Effect.gen(function*() {
        const head = yield* Words.first()
        if (Option.isNone(head)) return yield* Tx.retry
        yield* Words.remove(head.value.key)
        return head.value.key
      })
      const workers = yield* Effect.forEach(upTo(30), () => Effect.forkChild(write(take)))
      yield* Effect.forEach(upTo(30), (n) => write(put(`job ${n}`)), { concurrency: 5 })
      const done = yield* Effect.forEach(workers, Fiber.join)
      assert.deepStrictEqual([...done].sort(), upTo(30).map((n) => `job ${n}`).sort())
    }))

  test("until a time: the clock is one more thing that was read", () =>
    Effect.gen(function*() {
      let runs = 0
      const due = later(20)
      const value = yield* write(Effect.suspend(() => {
        runs++
        return Date.now() < due.epochMilliseconds
          ? Effect.andThen(Words.get("a"), Tx.retryUntil(due))
          : Effect.succeed("due")
      }))
      assert.strictEqual(value, "due")
      assert.isAtMost(runs, 3, "it waits, and does not look again and again")
    }))

  test("orElse takes the other way, without the first one's writes, and waits for both", () =>
    Effect.gen(function*() {
      const take = (key: string) =>
        Effect.gen(function*() {
          yield* Words.put("mark", key)
          if (!(yield* Words.has(key))) return yield* Tx.retry
          yield* Words.remove(key)
          return key
        })
      const either = take("a").pipe(Tx.orElse(take("b")))
      yield* write(put("b"))
      assert.strictEqual(yield* write(either), "b")
      assert.deepStrictEqual(yield* read(Words.get("mark")), Option.some("b"))
      for (const key of ["a", "b"]) {
        const waiting = yield* Effect.forkChild(write(either))
        yield* Effect.sleep(5)
        yield* write(put(key))
        assert.strictEqual(yield* Fiber.join(waiting), key)
      }
      const failing = yield* Effect.exit(write(Effect.fail("no").pipe(Tx.orElse(Effect.succeed("other")))))
      assert.strictEqual(failing._tag, "Failure", "a failure is no retry")
    }))

  test("ends with the store", () =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const waiting = yield* Effect.forkChild(write(Effect.andThen(Words.get("a"), Tx.retry)))
      yield* Effect.sleep(5)
      assert.strictEqual(machine.watch.size, 1)
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(machine.watch.size, 0)
    }))

  test("without having read anything is a mistake", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(write(Tx.retry))
      assert.isTrue(exit._tag === "Failure" && String(exit.cause).includes("has read nothing"))
    }))

  test("an interruption from outside counts, also of a transaction that gives up and has read nothing", () =>
    Effect.gen(function*() {
      const gaveUp = Effect.withFiber((fiber) =>
        Effect.onExit(Tx.retry, () => Effect.sync(() => fiber.interruptUnsafe()))
      )
      const exit = yield* Fiber.await(yield* Effect.forkChild(write(gaveUp)))
      assert.isTrue(exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause))
    }))

  test.opening("a closed store wakes whoever waits", (open) =>
    Effect.gen(function*() {
      const waiting = yield* Effect.gen(function*() {
        const services = yield* Effect.context<Store.Store>()
        const body = write(Effect.andThen(Words.get("a"), Tx.retry))
        return yield* Effect.tap(Effect.forkDetach(Effect.provideContext(body, services)), Effect.sleep(5))
      }).pipe(Effect.provide(open()))
      assert.strictEqual((yield* refusal(Fiber.join(waiting)))._tag, "Closed")
    }))
})

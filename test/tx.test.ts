/**
 * Transactions: whole or not at all, one after another, seeing their own writes.
 */
import { assert } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Disk } from "../src/disk/Disk.ts"
import type * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { reasonOf, suite, upTo } from "./support/stores.ts"
import { add, commitNow, Counts, Numbers, own, put, read, Words, words, write } from "./support/words.ts"

suite("commit", (test) => {
  test("all writes of a transaction have its LSN", () =>
    Effect.gen(function*() {
      const { lsn, value } = yield* Effect.as(Effect.andThen(put("a", "b"), Counts.put("a", 1)), 7).pipe(
        Tx.commit()
      )
      assert.strictEqual(value, 7)
      const entries = yield* read(
        Effect.all([Words.getEntry("a"), Words.getEntry("b"), Counts.getEntry("a")])
      )
      assert.deepStrictEqual(entries.map((entry) => Option.getOrThrow<{ lsn: number }>(entry).lsn), [
        lsn,
        lsn,
        lsn
      ])
    }))

  test("LSNs increase", () =>
    Effect.gen(function*() {
      const commits = yield* Effect.forEach(upTo(50), (n) => put(`${n % 7}`).pipe(Tx.commit()), {
        concurrency: "unbounded"
      })
      const sorted = commits.map(({ lsn }) => lsn).sort((a, b) => a - b)
      assert.strictEqual(new Set(sorted).size, 50)
      assert.deepStrictEqual(commits.map(({ lsn }) => lsn), sorted, "in the order in which they began")
    }))

  test("one that wrote nothing answers the LSN of its snapshot", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      yield* write(put("a"))
      const visible = yield* store.visibleLsn
      const { lsn, value } = yield* Words.get("a").pipe(Tx.commit())
      assert.deepStrictEqual(value, Option.some("a"))
      assert.isAtLeast(lsn, visible)
      assert.isAtLeast(yield* store.durableLsn, lsn, "what it returned is durable")
    }))

  test("reads alone cost no sync", () =>
    Effect.gen(function*() {
      const { counters } = yield* Disk
      yield* write(put("a"))
      // The mark that follows may take its time.
      let syncs = 0
      while (syncs !== counters.syncs) {
        syncs = counters.syncs
        yield* Effect.sleep(100)
      }
      for (const _ of upTo(3)) {
        assert.deepStrictEqual(yield* write(Words.get("a")), Option.some("a"))
        yield* Effect.sleep(15)
      }
      assert.strictEqual(counters.syncs, syncs)
    }))

  test("every durability is acknowledged and visible", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      for (const durability of ["memory", "buffered", "synced"] as const) {
        const { lsn } = yield* put(durability).pipe(Tx.commit({ durability }))
        assert.isTrue(yield* read(Words.has(durability)))
        yield* store.awaitDurable(lsn + 1)
        assert.isAbove(yield* store.durableLsn, lsn)
      }
    }))

  test("concurrent transactions share a sync", () =>
    Effect.gen(function*() {
      const { counters } = yield* Disk
      yield* write(put("warm"))
      const { syncs } = counters
      yield* Effect.forEach(upTo(200), (n) => put(`k${n}`).pipe(Tx.transact({ durability: "synced" })), {
        concurrency: "unbounded",
        discard: true
      })
      assert.isAtMost(counters.syncs - syncs, 20)
      assert.isAtLeast(counters.syncs - syncs, 1)
      assert.strictEqual((yield* Words.stat).count, 201)
    }))

  test("increments of many fibers lose nothing", () =>
    Effect.gen(function*() {
      const step = Effect.andThen(Counts.get("n"), Effect.andThen(Effect.yieldNow, add("n")))
      yield* Effect.forEach(upTo(60), () => write(step), { concurrency: "unbounded", discard: true })
      assert.deepStrictEqual(yield* read(Counts.get("n")), Option.some(60))
    }))

  test("no write skew: two that read both and write one each", () =>
    Effect.gen(function*() {
      yield* write(Effect.all([Counts.put("x", 1), Counts.put("y", 1)]))
      const leave = (key: string) =>
        write(Effect.gen(function*() {
          const rows = yield* Stream.runCollect(Counts.range())
          yield* Effect.yieldNow
          if (rows.reduce((sum, row) => sum + row.value, 0) > 1) yield* Counts.put(key, 0)
        }))
      yield* Effect.all([leave("x"), leave("y")], { concurrency: "unbounded" })
      const rows = yield* read(Stream.runCollect(Counts.range()))
      assert.strictEqual(rows.reduce((sum, row) => sum + row.value, 0), 1)
    }))

  test("a commit in the middle makes a body that read run again, and not one that only wrote", () =>
    Effect.gen(function*() {
      let runs = 0
      yield* write(Effect.gen(function*() {
        runs++
        const before = yield* Words.get("a")
        if (runs === 1) yield* commitNow("a", "theirs")
        yield* Words.put("a", `mine after ${Option.getOrElse(before, () => "nothing")}`)
      }))
      assert.strictEqual(runs, 2)
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("mine after theirs"))
      yield* write(Effect.gen(function*() {
        runs++
        yield* commitNow("a", "theirs")
        yield* Words.put("a", "mine")
      }))
      assert.strictEqual(runs, 3)
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("mine"))
      yield* write(Effect.gen(function*() {
        runs++
        yield* Words.put("b", "own")
        yield* Words.get("b")
        yield* commitNow("b", "theirs")
      }))
      assert.strictEqual(runs, 4, "reading one's own write reads nothing of the store")
    }))

  test("a range counts as read, whatever it found", () =>
    Effect.gen(function*() {
      let runs = 0
      yield* write(Effect.gen(function*() {
        runs++
        const keys = yield* own
        if (runs === 1) yield* commitNow("a", "theirs")
        yield* Words.put("count", String(keys.length))
      }))
      assert.deepStrictEqual(yield* read(Words.get("count")), Option.some("1"))
    }))

  test.opening("what was acknowledged is there after reopening", (open) =>
    Effect.gen(function*() {
      for (const n of upTo(3)) {
        yield* write(Effect.andThen(put(`k${n}`), add("opened"))).pipe(Effect.provide(open()))
      }
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* words, ["k0", "k1", "k2"])
        assert.deepStrictEqual(yield* read(Counts.get("opened")), Option.some(3))
        yield* write(Effect.andThen(Words.clear, Counts.drop))
      }).pipe(Effect.provide(open()))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* words, [])
        assert.deepStrictEqual((yield* (yield* Store.Store).stat).keyspaces.map(({ name }) => name), [
          "words"
        ])
      }).pipe(Effect.provide(open()))
    }))
})

suite("rollback", (test) => {
  const ends: ReadonlyArray<
    readonly [string, Effect.Effect<void, string>, (cause: Cause.Cause<unknown>) => boolean]
  > = [
    ["failure", Effect.fail("no"), Cause.hasFails],
    ["defect", Effect.die("no"), Cause.hasDies],
    ["interruption of itself", Effect.interrupt, Cause.hasInterrupts]
  ]
  for (const [name, end, expected] of ends) {
    test(name, () =>
      Effect.gen(function*() {
        yield* write(put("kept"))
        const store = yield* Store.Store
        const { commits } = (yield* store.stat).counters
        const body = Effect.andThen(Effect.all([put("lost"), Words.remove("kept"), Counts.put("a", 1)]), end)
        const exit = yield* Effect.exit(write(body))
        assert.isTrue(Exit.isFailure(exit) && expected(exit.cause))
        assert.deepStrictEqual(yield* words, ["kept"])
        assert.deepStrictEqual(yield* read(Counts.has("a")), false)
        assert.strictEqual((yield* store.stat).counters.commits, commits)
        yield* write(put("next"))
        assert.deepStrictEqual(yield* words, ["kept", "next"], "the turn was given back")
      }))
  }

  test("interruption from outside, and a timeout", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const body = put("lost").pipe(
        Effect.andThen(Deferred.succeed(started, undefined)),
        Effect.andThen(Effect.never)
      )
      const fiber = yield* Effect.forkChild(write(body))
      yield* Deferred.await(started)
      yield* write(put("beside"))
      yield* Fiber.interrupt(fiber)
      const slow = write(Effect.andThen(put("lost"), Effect.never)).pipe(Effect.timeoutOption(10))
      assert.deepStrictEqual(yield* slow, Option.none())
      assert.deepStrictEqual(yield* words, ["beside"])
      yield* write(put("next"))
      assert.deepStrictEqual(yield* words, ["beside", "next"])
    }))

  test("a commit that is under way is not interruptible", () =>
    Effect.gen(function*() {
      const { stat } = yield* Store.Store
      const fiber = yield* Effect.forkChild(put("a").pipe(Tx.transact({ durability: "synced" })))
      while ((yield* stat).counters.commits === 0) yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* words, ["a"])
    }))

  test("a LayoutMismatch is found before anything is written", () =>
    Effect.gen(function*() {
      yield* write(put("a"))
      assert.strictEqual(
        yield* reasonOf(write(Effect.andThen(Counts.put("n", 1), Numbers.put(1, "")))),
        "LayoutMismatch"
      )
      assert.strictEqual(yield* reasonOf(write(Numbers.clear)), "LayoutMismatch")
      assert.isFalse(yield* read(Counts.has("n")))
      assert.deepStrictEqual(yield* words, ["a"])
    }))

  test("two layouts of one name inside one transaction", () =>
    Effect.gen(function*() {
      const seconds: ReadonlyArray<Effect.Effect<unknown, StoreError, Tx.Tx | Snapshot.Snapshot>> = [
        Numbers.put(1, ""),
        Numbers.get(1),
        Stream.runCollect(Numbers.keys()),
        Numbers.clear
      ]
      for (const second of seconds) {
        assert.strictEqual(yield* reasonOf(write(Effect.andThen(put("a"), second))), "LayoutMismatch")
      }
      assert.deepStrictEqual(yield* words, [])
      yield* write(put("a"))
      yield* write(Effect.gen(function*() {
        yield* Words.drop
        yield* Numbers.put(1, "one")
        assert.deepStrictEqual(yield* Numbers.get(1), Option.some("one"))
        assert.strictEqual(yield* reasonOf(Words.put("a", "a")), "LayoutMismatch")
      }))
      assert.deepStrictEqual(yield* read(Stream.runCollect(Numbers.keys())), [1])
      yield* write(Effect.andThen(Numbers.put(2, ""), Effect.andThen(Words.drop, put("w"))))
      assert.deepStrictEqual(yield* words, ["w"])
    }))
})

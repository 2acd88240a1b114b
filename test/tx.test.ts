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
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "../src/Codec.ts"
import { Disk } from "../src/disk/Disk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { reasonOf, refusal, suite, upTo } from "./support/stores.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })
const Counts = Keyspace.make("counts", { key: Key.String, value: Schema.Int })
const Numbers = Keyspace.make("words", { key: Key.Int, value: Schema.String })

const write = Tx.transact()
const read = Snapshot.read()
const words = read(Stream.runCollect(Words.keys()))
const own = Stream.runCollect(Words.keys())
const put = (...keys: ReadonlyArray<string>) =>
  Effect.forEach(keys, (key) => Words.put(key, key), { discard: true })

/** Commits beside all turns, as raw doors do. */
const commitNow = (key: string, value: string) =>
  Effect.flatMap(Store.Store, ({ machine }) =>
    Effect.flatten(machine.submit({
      keyspaces: () => [{
        name: Words.name,
        layout: Words.layout,
        cleared: false,
        dropped: false,
        writes: () => [{ key: Buffer.from(key), value: Codec.schema(Schema.String).encode(value) }]
      }],
      durability: "memory",
      base: undefined
    })))
const add = (key: string) =>
  Counts.modify(key, (count) => [undefined, Option.some(Option.getOrElse(count, () => 0) + 1)])

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
      yield* Effect.sleep(30)
      const { syncs } = counters
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
      const waiting = yield* Effect.forkChild(write(put("also lost")))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(fiber)
      const slow = write(Effect.andThen(put("lost"), Effect.never)).pipe(Effect.timeoutOption(10))
      assert.deepStrictEqual(yield* slow, Option.none())
      assert.deepStrictEqual(yield* words, [])
      yield* write(put("next"))
      assert.deepStrictEqual(yield* words, ["next"])
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

suite("own writes", (test) => {
  test("gets and ranges see them, others do not", () =>
    Effect.gen(function*() {
      yield* write(put("b", "d", "f"))
      yield* write(Effect.gen(function*() {
        yield* put("a", "c")
        yield* Words.put("d", "new")
        yield* Words.remove("f")
        assert.deepStrictEqual(yield* own, ["a", "b", "c", "d"])
        assert.deepStrictEqual(yield* Stream.runCollect(Words.keys({ reverse: true })), ["d", "c", "b", "a"])
        assert.deepStrictEqual(yield* Words.getMany(["a", "d", "f"]), [
          Option.some("a"),
          Option.some("new"),
          Option.none()
        ])
        assert.deepStrictEqual(yield* Words.has("f"), false)
        assert.deepStrictEqual(
          Option.map(yield* Words.first({ from: "bb" }), (entry) => entry.key),
          Option.some("c")
        )
        assert.deepStrictEqual(
          Option.map(yield* Words.first({ reverse: true }), (entry) => entry.value),
          Option.some("new")
        )
      }))
      assert.deepStrictEqual(yield* words, ["a", "b", "c", "d"])
    }))

  test("a read boundary inside a transaction reads through it", () =>
    Effect.gen(function*() {
      yield* write(Effect.gen(function*() {
        yield* put("a")
        assert.deepStrictEqual(yield* words, ["a"])
        assert.deepStrictEqual(yield* Stream.runCollect(Words.keys().pipe(Snapshot.stream())), ["a"])
        const { at } = yield* Snapshot.Snapshot
        const before = Stream.runCollect(Words.keys()).pipe(Snapshot.read({ at }))
        assert.deepStrictEqual(yield* before, [], "unless it names its LSN")
      }))
    }))

  test("clear hides what is stored, and what is written after it is seen", () =>
    Effect.gen(function*() {
      yield* write(put("a", "b"))
      yield* write(Effect.gen(function*() {
        yield* put("lost")
        yield* Words.clear
        assert.deepStrictEqual(yield* own, [])
        assert.deepStrictEqual(yield* Words.get("a"), Option.none())
        assert.isTrue(yield* Words.insert("b", "again"))
        yield* put("c")
        assert.deepStrictEqual(yield* own, ["b", "c"])
      }))
      assert.deepStrictEqual(yield* words, ["b", "c"])
      assert.deepStrictEqual(yield* read(Words.get("b")), Option.some("again"))
      yield* write(Effect.andThen(Words.drop, put("z")))
      assert.deepStrictEqual(yield* words, ["z"])
    }))

  test("a range that is being read sees writes ahead of it, and goes on past a clear", () =>
    Effect.gen(function*() {
      yield* write(put(...upTo(1_200).map((n) => `k${1_000 + n}`)))
      for (const reverse of [false, true]) {
        const seen: Array<string> = []
        yield* Effect.flip(write(Effect.gen(function*() {
          yield* Stream.runForEach(Words.keys({ reverse }), (key) => {
            seen.push(key)
            return seen.length === 1 ? put("a", "z") : Effect.void
          })
          return yield* Effect.fail("rolled back")
        })))
        assert.strictEqual(seen.length, 1_201, "the one ahead, not the one behind")
        assert.strictEqual(seen.at(-1), reverse ? "a" : "z")
        let rows = 0
        yield* Effect.flip(write(Effect.gen(function*() {
          yield* Stream.runForEach(Words.keys({ reverse }), () => rows++ === 0 ? Words.clear : Effect.void)
          return yield* Effect.fail("rolled back")
        })))
        assert.isBelow(rows, 1_200)
      }
    }))

  test("ranges over stored and own writes equal those of a model", () =>
    Effect.gen(function*() {
      const { bool, int } = random(7)
      const key = () => `k${String(int(1_500)).padStart(4, "0")}`
      const stored = new Map(upTo(900).map(() => key()).map((k) => [k, k]))
      yield* write(put(...stored.keys()))
      for (let round = 0; round < 30; round++) {
        const model = new Map(stored)
        yield* Effect.flip(write(Effect.gen(function*() {
          for (let step = int(300); step > 0; step--) {
            const k = key()
            if (int(150) === 0) {
              yield* Words.clear
              model.clear()
            } else if (bool(0.5)) {
              yield* Words.remove(k)
              model.delete(k)
            } else {
              yield* Words.put(k, "own")
              model.set(k, "own")
            }
          }
          for (let ranges = 0; ranges < 6; ranges++) {
            const options = {
              from: bool(0.5) ? key() : undefined,
              until: bool(0.5) ? key() : undefined,
              reverse: bool(0.5),
              limit: bool(0.5) ? int(700) : undefined
            }
            const expected = [...model].filter(([k]) =>
              (options.from === undefined || k >= options.from) &&
              (options.until === undefined || k < options.until)
            ).sort(([a], [b]) => (a < b ? -1 : 1))
            if (options.reverse) expected.reverse()
            const rows = yield* Stream.runCollect(Words.range(options))
            assert.deepStrictEqual(
              rows.map((row) => [row.key, row.value]),
              expected.slice(0, options.limit),
              `round ${round}`
            )
          }
          return yield* Effect.fail("rolled back")
        })))
      }
    }))

  test("first inside a transaction does not read large values that it does not answer", () =>
    Effect.gen(function*() {
      const Blobs = Keyspace.bytes("blobs")
      yield* Effect.forEach(upTo(20), (n) => write(Blobs.put(Uint8Array.of(n), new Uint8Array(1 << 20))), {
        discard: true
      })
      const { counters } = yield* Disk
      const before = counters.readBytes
      yield* write(Effect.gen(function*() {
        yield* Blobs.remove(Uint8Array.of(0))
        const first = Option.getOrThrow(yield* Blobs.first())
        assert.deepStrictEqual(first.key, Uint8Array.of(1))
      }))
      assert.isBelow(counters.readBytes - before, 5 << 20)
    }))

  test(
    "limits of a transaction are named, and what came before them can still be committed",
    () =>
      Effect.gen(function*() {
        yield* write(Effect.gen(function*() {
          yield* put("a")
          const long = yield* refusal(Words.put("k".repeat(257), ""))
          assert.deepInclude(long, { _tag: "LimitExceeded", limit: "keyBytes", actual: 257, maximum: 256 })
          const large = yield* refusal(Words.put("k", "v".repeat(5_000)))
          assert.deepInclude(large, { limit: "valueBytes", maximum: 4_096 })
          const many = yield* refusal(Effect.forEach(upTo(8), (n) => Words.put(`${n}`, "v".repeat(2_000))))
          assert.deepInclude(many, { limit: "transactionBytes", maximum: 8_192 })
          yield* put("z")
        }))
        assert.strictEqual((yield* words).length, 6)
      }),
    { limits: { keyBytes: 256, valueBytes: 4_096, transactionBytes: 8_192 } }
  )
})

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

/**
 * Snapshots: nothing that happens to the store changes what one of them shows.
 */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { reasonOf, refusal, suite, upTo } from "./support/stores.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })

const write = Tx.transact()
const read = Snapshot.read()
const rows = Effect.map(
  Stream.runCollect(Words.range()),
  (found) => found.map(({ key, value }) => [key, value])
)
const put = (value: string, ...keys: ReadonlyArray<string>) =>
  Effect.forEach(keys, (key) => Words.put(key, value), { discard: true })
const readers = Effect.map(Store.Store, ({ machine }) => machine.tree.versions.pins.readers)
const at = Effect.map(Snapshot.Snapshot, (snapshot) => snapshot.at)

suite("snapshot", (test) => {
  const changes: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Store.Store>]> = [
    ["overwriting", write(put("new", "a", "b", "c"))],
    ["removing", write(Effect.forEach(["a", "b", "c"], Words.remove))],
    ["inserting", write(put("new", "0", "aa", "z"))],
    ["clearing", write(Words.clear)],
    ["clearing and filling", write(Effect.andThen(Words.clear, put("new", "a", "x")))],
    ["dropping", write(Words.drop)],
    ["dropping and making anew", Effect.andThen(write(Words.drop), write(put("new", "a")))],
    ["a checkpoint", Effect.flatMap(Store.Store, (store) => store.checkpoint)],
    ["many splits", write(put("new", ...upTo(3_000).map((n) => `k${n}`)))]
  ]
  const expected = ["a", "b", "c"].map((key) => [key, "old"])

  for (const [name, change] of changes) {
    test(`is not changed by ${name}`, () =>
      Effect.gen(function*() {
        yield* write(put("old", "a", "b", "c"))
        yield* read(Effect.gen(function*() {
          assert.deepStrictEqual(yield* rows, expected)
          for (let times = 0; times < 3; times++) {
            yield* change
            assert.deepStrictEqual(yield* rows, expected)
            assert.deepStrictEqual(yield* Words.get("b"), Option.some("old"))
            assert.deepStrictEqual(yield* Words.get("aa"), Option.none())
          }
        }))
        assert.strictEqual(yield* readers, 0)
      }))
  }

  test("a stream that is being read is not changed by everything at once", () =>
    Effect.gen(function*() {
      const keys = upTo(2_000).map((n) => `k${1_000 + n}`)
      yield* write(put("old", ...keys))
      for (const reverse of [false, true]) {
        const seen: Array<string> = []
        yield* Stream.runForEach(Words.range({ reverse }).pipe(Snapshot.stream()), ({ key, value }) => {
          assert.strictEqual(value, "old")
          seen.push(key)
          if (seen.length % 300 !== 1) return Effect.void
          const n = seen.length
          return Effect.gen(function*() {
            yield* write(Words.clear)
            yield* write(put("new", ...upTo(500).map((m) => `x${m}-${n}`)))
            yield* (yield* Store.Store).checkpoint
          })
        })
        assert.deepStrictEqual(seen, reverse ? keys.toReversed() : keys)
        yield* write(Effect.andThen(Words.clear, put("old", ...keys)))
      }
    }))

  test("sees a commit that is visible and not durable yet", () =>
    Effect.gen(function*() {
      yield* put("new", "a").pipe(Tx.transact({ durability: "memory" }))
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("new"))
    }))
})

suite("at", (test) => {
  test("reads at the LSN of a snapshot that is open", () =>
    Effect.gen(function*() {
      yield* write(put("one", "a"))
      yield* read(Effect.gen(function*() {
        const past = yield* at
        yield* write(put("two", "a", "b"))
        assert.deepStrictEqual(yield* read(rows), [["a", "two"], ["b", "two"]])
        assert.deepStrictEqual(yield* rows.pipe(Snapshot.read({ at: past })), [["a", "one"]])
        const streamed = Stream.runCollect(Words.keys().pipe(Snapshot.stream({ at: past })))
        assert.deepStrictEqual(yield* streamed, ["a"])
      }))
    }))

  test("SnapshotExpired where nothing keeps it, also between two that are kept", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const lsns: Array<number> = []
      const moment = (value: string) =>
        Effect.gen(function*() {
          yield* put(value, "a").pipe(Tx.transact({ durability: "synced" }))
          lsns.push(yield* store.visibleLsn)
        })
      yield* moment("one")
      yield* read(Effect.gen(function*() {
        const kept = yield* at
        yield* Effect.forEach(["two", "three", "four"], moment)
        const [one = 0, two = 0, three = 0, four = 0] = lsns
        assert.isAtLeast(kept, one)
        assert.deepStrictEqual(yield* Words.get("a").pipe(Snapshot.read({ at: kept })), Option.some("one"))
        for (const lsn of [0, -1, NaN, Infinity, two, three, four + 8]) {
          const error = yield* refusal(Words.get("a").pipe(Snapshot.read({ at: lsn })))
          assert.deepInclude(error, { _tag: "SnapshotExpired", requested: lsn })
        }
        const streamed = Stream.runCollect(Words.keys().pipe(Snapshot.stream({ at: two })))
        assert.strictEqual(yield* reasonOf(streamed), "SnapshotExpired")
      }))
      assert.strictEqual(yield* readers, 0)
    }))

  test("an older one that is kept outlives a newer one that was let go", () =>
    Effect.gen(function*() {
      yield* write(put("one", "a"))
      yield* read(Effect.gen(function*() {
        const past = yield* at
        yield* write(put("two", "a"))
        yield* read(Effect.gen(function*() {
          yield* write(put("three", "a"))
          assert.deepStrictEqual(yield* Words.get("a"), Option.some("two"))
          assert.deepStrictEqual(yield* Words.get("a").pipe(Snapshot.read({ at: past })), Option.some("one"))
        }))
        assert.deepStrictEqual(yield* Words.get("a"), Option.some("one"))
      }))
    }))
})

suite("pins", (test) => {
  const keys = upTo(1_500).map((n) => `k${n}`)
  const ways: ReadonlyArray<readonly [string, Effect.Effect<unknown, unknown, Store.Store>]> = [
    ["success", read(Words.get("a"))],
    ["failure", Effect.exit(read(Effect.fail("no")))],
    ["defect", Effect.exit(read(Effect.die("no")))],
    ["interruption", Effect.exit(read(Effect.interrupt))],
    ["timeout", Effect.timeoutOption(read(Effect.never), 5)],
    ["a stream read to its end", Stream.runDrain(Words.range().pipe(Snapshot.stream()))],
    ["a stream stopped early", Stream.runCollect(Words.range().pipe(Snapshot.stream(), Stream.take(3)))],
    ["the head of a stream", Stream.runHead(Words.range().pipe(Snapshot.stream()))],
    [
      "a stream that failed",
      Effect.exit(Stream.runForEach(Words.range().pipe(Snapshot.stream()), () => Effect.fail("no")))
    ],
    [
      "a stream that was interrupted",
      Effect.timeoutOption(Stream.runForEach(Words.range().pipe(Snapshot.stream()), () => Effect.never), 5)
    ],
    ["a transaction", write(put("x", "a"))],
    ["a transaction that failed", Effect.exit(write(Effect.fail("no")))],
    ["a transaction that was interrupted", Effect.timeoutOption(write(Effect.never), 5)]
  ]
  for (const [name, use] of ways) {
    test(`are let go after ${name}`, () =>
      Effect.gen(function*() {
        yield* write(put("old", ...keys))
        yield* use
        assert.strictEqual(yield* readers, 0)
        yield* write(put("new", ...keys))
        const store = yield* Store.Store
        yield* store.awaitDurable(yield* store.visibleLsn)
        assert.strictEqual(store.machine.tree.versions.size, 0)
      }))
  }

  test("are let go when a fiber is interrupted at any moment", () =>
    Effect.gen(function*() {
      yield* write(put("old", ...keys))
      for (let yields = 0; yields < 60; yields++) {
        const body = Effect.forEach(upTo(50), () => Effect.andThen(read(Words.get("k1")), Effect.yieldNow))
        const fiber = yield* Effect.forkChild(body)
        for (let step = 0; step < yields; step++) yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(yield* readers, 0)
      }
    }))

  test("a fiber that outlives its snapshot gets Ended, not another state", () =>
    Effect.gen(function*() {
      yield* write(put("old", "a"))
      const gate = yield* Deferred.make<void>()
      const late = Effect.andThen(
        Deferred.await(gate),
        Effect.all([reasonOf(Words.get("a")), reasonOf(rows)])
      )
      const fiber = yield* read(Effect.forkDetach(late))
      yield* write(put("new", "a"))
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(yield* Fiber.join(fiber), ["Ended", "Ended"])
    }))

  test("at their limit, reading and writing fail and name it", () =>
    Effect.gen(function*() {
      const deeper = (depth: number): Effect.Effect<unknown, unknown, Store.Store> =>
        read(
          depth > 1 ? deeper(depth - 1) : Effect.gen(function*() {
            for (const one of [read(Words.get("a")), write(put("new", "a"))]) {
              assert.deepInclude(yield* refusal(one), { limit: "openSnapshots", actual: 4, maximum: 3 })
            }
          })
        )
      yield* deeper(3)
      yield* write(put("new", "a"))
    }), { limits: { openSnapshots: 3 } })
})

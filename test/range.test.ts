/**
 * Ranges of a keyspace in memory and on disk: what they answer, and what is no bound or limit. `casesRange.test.ts` has
 * the bounds themselves.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Tx from "../src/Tx.ts"
import { refusal, suite, upTo } from "./support/stores.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })

const write = Tx.transact()
const read = Snapshot.read()
const all = <A, E, R>(stream: Stream.Stream<A, E, R>) => read(Stream.runCollect(stream))
const fill = (words: ReadonlyArray<string>) =>
  write(Effect.forEach(words, (word) => Words.put(word, word.toUpperCase()), { discard: true }))

suite("range", (test) => {
  test("entries have keys, values and LSNs", () =>
    Effect.gen(function*() {
      const { lsn } = yield* Effect.forEach(["a", "b"], (key) => Words.put(key, key)).pipe(Tx.commit())
      const expected = ["a", "b"].map((key) => ({ key, value: key, lsn }))
      assert.deepStrictEqual(yield* all(Words.range()), expected)
      assert.deepStrictEqual(yield* all(Words.range({ reverse: true })), expected.toReversed())
    }))

  test("a limit that is no count", () =>
    Effect.gen(function*() {
      yield* fill(["a", "b", "c"])
      for (const transaction of [read, write]) {
        const sizeOf = (limit: number) =>
          Effect.map(transaction(Stream.runCollect(Words.range({ limit }))), (rows) => rows.length)
        assert.strictEqual(yield* sizeOf(-1), 0)
        const exit = yield* Effect.exit(sizeOf(NaN))
        assert.isTrue(Exit.isFailure(exit) && `${exit.cause}`.includes("limit is a number of entries"))
        assert.strictEqual(yield* sizeOf(1.9), 1)
        assert.strictEqual(yield* sizeOf(0.5), 0)
        assert.strictEqual(yield* sizeOf(Infinity), 3)
      }
    }))

  test("ranges over many chunks and leaves, both ways", () =>
    Effect.gen(function*() {
      const Ints = Keyspace.make("ints", { key: Key.Int, value: Schema.Int })
      yield* write(Effect.forEach(upTo(3_000), (int) => Ints.put(int, -int), { discard: true }))
      yield* write(Effect.forEach(upTo(1_000), (int) => Ints.remove(int * 3), { discard: true }))
      const expected = upTo(3_000).filter((int) => int % 3 !== 0)
      assert.deepStrictEqual(yield* all(Ints.keys()), expected)
      assert.deepStrictEqual(yield* all(Ints.keys({ reverse: true })), expected.toReversed())
      const values = yield* all(Ints.range({ from: 700, until: 2_900, limit: 1_025 }))
      assert.deepStrictEqual(
        values.map((row) => row.value),
        expected.filter((int) => int >= 700).slice(0, 1_025).map((int) => -int)
      )
      assert.strictEqual((yield* Ints.stat).count, 2_000)
    }))

  test("bounds that are longer than any key", () =>
    Effect.gen(function*() {
      const long = "m".repeat(3_000)
      yield* fill(["a", "z"])
      for (
        const options of [{ from: long }, { until: long }, { prefix: long }, { from: "m".repeat(5_000) }]
      ) {
        assert.deepInclude(yield* refusal(all(Words.keys(options))), { limit: "keyBytes", maximum: 1_024 })
      }
    }))
})

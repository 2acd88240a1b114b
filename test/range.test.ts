/**
 * Ranges of a keyspace: every combination of bounds, order and limit, in memory and on disk.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Tx from "../src/Tx.ts"
import { refusal, suite, upTo } from "./support/stores.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })
const Blobs = Keyspace.bytes("blobs")

const write = Tx.transact()
const read = Snapshot.read()
const all = <A, E, R>(stream: Stream.Stream<A, E, R>) => read(Stream.runCollect(stream))
const fill = (words: ReadonlyArray<string>) =>
  write(Effect.forEach(words, (word) => Words.put(word, word.toUpperCase()), { discard: true }))

suite("range", (test) => {
  const stored = ["b", "d", "dd", "de", "f", "h"]
  const probes = [undefined, "", "a", "b", "c", "d", "dd", "ddd", "h", "hh", "z"]

  test("every combination of bounds, order and limit", () =>
    Effect.gen(function*() {
      yield* fill(stored)
      yield* read(Effect.gen(function*() {
        for (const from of probes) {
          for (const until of probes) {
            for (const prefix of [undefined, "", "d", "dd", "x"]) {
              for (const reverse of [false, true]) {
                for (const limit of [undefined, 0, 1, stored.length, stored.length + 1]) {
                  const options = { prefix, from, until, reverse, limit }
                  const expected = stored
                    .filter((key) =>
                      key.startsWith(prefix ?? "") && (from === undefined || key >= from)
                      && (until === undefined || key < until)
                    )
                  if (reverse) expected.reverse()
                  const keys = yield* Stream.runCollect(Words.keys(options))
                  assert.deepStrictEqual(keys, expected.slice(0, limit), JSON.stringify(options))
                }
              }
            }
          }
        }
      }))
    }))

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
        assert.strictEqual(yield* sizeOf(NaN), 0)
        assert.strictEqual(yield* sizeOf(1.9), 1)
        assert.strictEqual(yield* sizeOf(0.5), 0)
        assert.strictEqual(yield* sizeOf(Infinity), 3)
      }
    }))

  test("a prefix of ff bytes has no end, and one in the middle has", () =>
    Effect.gen(function*() {
      const keys = [[0xfe], [0xff], [0xff, 0], [0xff, 0xff], [0xff, 0xff, 1], [1, 0xff], [1, 0xff, 0xff], [2]]
      yield* write(Effect.forEach(keys, (key) => Blobs.put(Uint8Array.from(key), new Uint8Array(0))))
      const under = (...prefix: ReadonlyArray<number>) =>
        Effect.map(all(Blobs.keys({ prefix: Uint8Array.from(prefix) })), (found) =>
          found.map((key) => [...key]))
      assert.deepStrictEqual(yield* under(0xff, 0xff), [[0xff, 0xff], [0xff, 0xff, 1]])
      assert.deepStrictEqual(yield* under(0xff), [[0xff], [0xff, 0], [0xff, 0xff], [0xff, 0xff, 1]])
      assert.deepStrictEqual(yield* under(1, 0xff), [[1, 0xff], [1, 0xff, 0xff]])
      assert.deepStrictEqual(yield* under(3), [])
    }))

  test("pages of k, each begun after the last key, make the whole", () =>
    Effect.gen(function*() {
      const keys = upTo(60).map((index) => `k${String(index).padStart(3, "0")}`)
      yield* fill(keys)
      for (let size = 1; size <= 10; size++) {
        const found: Array<string> = []
        while (found.length < keys.length) {
          const last: string | undefined = found.at(-1)
          const page = yield* all(
            Words.keys({ from: last === undefined ? undefined : `${last}\0`, limit: size })
          )
          assert.isAbove(page.length, 0)
          found.push(...page)
        }
        assert.deepStrictEqual(found, keys, `pages of ${size}`)
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

/**
 * Several values of one key: what LMDB keeps as sorted duplicates is a keyspace of tuples (key, value) here. Each test
 * has the name of LMDB's operation on a cursor, or of its function.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Tx from "../src/Tx.ts"
import { suite } from "./support/stores.ts"

/** Which numbers a word has. The value is in the key, so that it has its place in an order. */
const Numbers = Keyspace.make("numbers", { key: Key.Tuple(Key.String, Key.Int), value: Schema.Null })
type Pair = readonly [string, number]

const write = Tx.transact()
const read = Snapshot.read()
const all = (stream: Stream.Stream<Pair, unknown, Snapshot.Snapshot>) => read(Stream.runCollect(stream))
const first = (options: Keyspace.RangeOptions<Pair, readonly [] | readonly [string] | Pair>) =>
  Effect.map(read(Numbers.first(options)), (entry) => Option.getOrUndefined(entry)?.key)
const load = write(Effect.forEach(
  [["b", 3], ["a", 10], ["b", -1], ["b", 20], ["c", 0], ["ab", 5], ["b", 3]] as const,
  (pair) => Numbers.put(pair, null),
  { discard: true }
))

suite("multi-values", (test) => {
  test("MDB_DUPSORT: the values of a key are sorted, and each is there once", () =>
    Effect.gen(function*() {
      yield* load
      assert.deepStrictEqual(yield* all(Numbers.keys({ prefix: ["b"] })), [["b", -1], ["b", 3], ["b", 20]])
      assert.strictEqual(yield* Numbers.count, 6)
    }))

  test("MDB_FIRST_DUP and MDB_LAST_DUP: the ends of one key", () =>
    Effect.gen(function*() {
      yield* load
      assert.deepStrictEqual(yield* first({ prefix: ["b"] }), ["b", -1])
      assert.deepStrictEqual(yield* first({ prefix: ["b"], reverse: true }), ["b", 20])
      assert.isUndefined(yield* first({ prefix: ["bb"] }))
    }))

  test("MDB_NEXT_DUP and MDB_PREV_DUP: the value beside one, of the same key", () =>
    Effect.gen(function*() {
      yield* load
      // The next after an integer begins at the next integer; of text, it would be the second from there.
      assert.deepStrictEqual(yield* first({ prefix: ["b"], from: ["b", 3 + 1] }), ["b", 20])
      assert.isUndefined(yield* first({ prefix: ["b"], from: ["b", 20 + 1] }))
      assert.deepStrictEqual(yield* first({ prefix: ["b"], until: ["b", 3], reverse: true }), ["b", -1])
      assert.isUndefined(yield* first({ prefix: ["b"], until: ["b", -1], reverse: true }))
    }))

  test("MDB_NEXT_NODUP: each key once", () =>
    Effect.gen(function*() {
      yield* load
      const keys = Stream.paginate(
        yield* first({}),
        (pair) =>
          pair === undefined
            ? Effect.succeed([[], Option.none<Pair | undefined>()] as const)
            : Effect.map(
              first({ from: [pair[0], Number.MAX_SAFE_INTEGER] }),
              (next) => [[pair[0]], Option.some(next)] as const
            )
      )
      assert.deepStrictEqual(yield* Stream.runCollect(keys), ["a", "ab", "b", "c"])
    }))

  test("MDB_GET_BOTH: whether a key has a value", () =>
    Effect.gen(function*() {
      yield* load
      assert.isTrue(yield* read(Numbers.has(["b", 3])))
      assert.isFalse(yield* read(Numbers.has(["b", 4])))
    }))

  test("MDB_GET_BOTH_RANGE: the first value of a key at or above one", () =>
    Effect.gen(function*() {
      yield* load
      assert.deepStrictEqual(yield* first({ prefix: ["b"], from: ["b", 4] }), ["b", 20])
      assert.isUndefined(yield* first({ prefix: ["b"], from: ["b", 21] }))
    }))

  test("MDB_SET_RANGE: the first pair at or above a key", () =>
    Effect.gen(function*() {
      yield* load
      assert.deepStrictEqual(
        yield* first({ from: ["aa", Number.MIN_SAFE_INTEGER] }),
        ["ab", 5]
      )
    }))

  test("mdb_cursor_count: how many values a key has", () =>
    Effect.gen(function*() {
      yield* load
      const counted = (key: string) => read(Stream.runCount(Numbers.keys({ prefix: [key] })))
      assert.deepStrictEqual(yield* Effect.all(["b", "a", "x"].map(counted)), [3, 1, 0])
    }))

  test("mdb_cursor_del: one value of a key", () =>
    Effect.gen(function*() {
      yield* load
      yield* write(Numbers.remove(["b", 3]))
      assert.deepStrictEqual(yield* all(Numbers.keys({ prefix: ["b"] })), [["b", -1], ["b", 20]])
    }))

  test("mdb_del with MDB_NODUPDATA: all values of a key, one by one", () =>
    Effect.gen(function*() {
      yield* load
      yield* write(Stream.runForEach(Numbers.keys({ prefix: ["b"] }), Numbers.remove))
      assert.deepStrictEqual(yield* all(Numbers.keys()), [["a", 10], ["ab", 5], ["c", 0]])
    }))

  test("MDB_NODUPDATA: writes a pair that is not there yet", () =>
    Effect.gen(function*() {
      yield* load
      assert.isFalse(yield* write(Numbers.insert(["b", 3], null)))
      assert.isTrue(yield* write(Numbers.insert(["b", 4], null)))
    }))

  test("MDB_NOOVERWRITE: writes the first value of a key", () =>
    Effect.gen(function*() {
      yield* load
      const firstOf = (key: string, value: number) =>
        Effect.flatMap(Numbers.first({ prefix: [key] }), (found) =>
          Option.isSome(found) ? Effect.succeed(false) : Effect.as(Numbers.put([key, value], null), true))
      assert.isFalse(yield* write(firstOf("b", 7)))
      assert.isTrue(yield* write(firstOf("d", 7)))
      assert.deepStrictEqual(yield* first({ reverse: true }), ["d", 7])
    }))

  test("two writers that each add the first value of a key do not both succeed", () =>
    Effect.gen(function*() {
      const claim = (value: number) =>
        write(Effect.gen(function*() {
          if (Option.isSome(yield* Numbers.first({ prefix: ["one"] }))) return false
          yield* Effect.yieldNow
          yield* Numbers.put(["one", value], null)
          return true
        }))
      const claimed = yield* Effect.all([claim(1), claim(2), claim(3)], { concurrency: "unbounded" })
      assert.deepStrictEqual(claimed.filter((mine) => mine).length, 1)
      assert.strictEqual(yield* Numbers.count, 1)
    }))
})

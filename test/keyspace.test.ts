/**
 * Every function of a keyspace, by itself: one commit, one read, in memory and on disk.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "../src/Codec.ts"
import { Disk } from "../src/disk/Disk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { refusal, suite, upTo } from "./support/stores.ts"

const Users = Keyspace.make("users", { key: Key.String, value: Schema.Struct({ age: Schema.Int }) })
const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })
const Blobs = Keyspace.bytes("blobs")
const Visits = Keyspace.make("visits", { key: Key.Tuple(Key.String, Key.Int), value: Schema.String })

const write = Tx.transact()
const read = Snapshot.read()
const all = <A, E, R>(stream: Stream.Stream<A, E, R>) => read(Stream.runCollect(stream))
const fill = (words: ReadonlyArray<string>) =>
  write(Effect.forEach(words, (word) => Words.put(word, word.toUpperCase()), { discard: true }))

suite("keyspace", (test) => {
  test("get answers what was put, and none where nothing was", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* read(Users.get("ada")), Option.none())
      yield* write(Users.put("ada", { age: 36 }))
      assert.deepStrictEqual(yield* read(Users.get("ada")), Option.some({ age: 36 }))
      yield* write(Users.put("ada", { age: 37 }))
      assert.deepStrictEqual(yield* read(Users.get("ada")), Option.some({ age: 37 }))
      assert.deepStrictEqual(yield* read(Users.get("ad")), Option.none())
      assert.deepStrictEqual(yield* read(Users.get("adaa")), Option.none())
      assert.deepStrictEqual(yield* read(Users.get("")), Option.none())
    }))

  test("the empty key is a key", () =>
    Effect.gen(function*() {
      yield* fill(["", "a"])
      assert.deepStrictEqual(yield* read(Words.get("")), Option.some(""))
      assert.deepStrictEqual(yield* all(Words.keys()), ["", "a"])
      yield* write(Words.remove(""))
      assert.deepStrictEqual(yield* all(Words.keys()), ["a"])
    }))

  test("getEntry answers the LSN of the commit that wrote it", () =>
    Effect.gen(function*() {
      const { lsn } = yield* Users.put("ada", { age: 36 }).pipe(Tx.commit())
      yield* write(Users.put("bob", { age: 1 }))
      const expected = Option.some({ key: "ada", value: { age: 36 }, lsn })
      assert.deepStrictEqual(yield* read(Users.getEntry("ada")), expected)
      assert.deepStrictEqual(yield* read(Users.getEntry("eve")), Option.none())
    }))

  test("getMany answers in the order of the keys, doubles included", () =>
    Effect.gen(function*() {
      yield* fill(["a", "b"])
      const values = yield* read(Words.getMany(["b", "x", "a", "b"]))
      assert.deepStrictEqual(values, [Option.some("B"), Option.none(), Option.some("A"), Option.some("B")])
      assert.deepStrictEqual(yield* read(Words.getMany([])), [])
      assert.deepStrictEqual(yield* read(Words.getMany(new Set(["a"]))), [Option.some("A")])
    }))

  test("getMany of keys of all lengths", () =>
    Effect.gen(function*() {
      const words = upTo(40).map((index) => `${index}`.padStart(1 + index * 24, "k"))
      yield* fill(words)
      for (const asked of [words, words.toReversed()]) {
        const expected = asked.map((word) => Option.some(word.toUpperCase()))
        assert.deepStrictEqual(yield* read(Words.getMany(asked)), expected)
        const entries = yield* read(Words.getEntries(asked))
        assert.deepStrictEqual(entries.map(Option.map(({ key }) => key)), asked.map(Option.some))
      }
    }))

  test("has", () =>
    Effect.gen(function*() {
      yield* fill(["a"])
      assert.deepStrictEqual(yield* read(Effect.all([Words.has("a"), Words.has("b")])), [true, false])
    }))

  test("first answers the head of a range", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* read(Words.first()), Option.none())
      yield* fill(["b", "d", "f"])
      const keyOf = (options: Keyspace.RangeOptions<string, string>) =>
        Effect.map(read(Words.first(options)), Option.map((entry) => entry.key))
      assert.deepStrictEqual(yield* keyOf({}), Option.some("b"))
      assert.deepStrictEqual(yield* keyOf({ reverse: true }), Option.some("f"))
      assert.deepStrictEqual(yield* keyOf({ from: "c" }), Option.some("d"))
      assert.deepStrictEqual(yield* keyOf({ until: "d", reverse: true }), Option.some("b"))
      assert.deepStrictEqual(yield* keyOf({ prefix: "d", reverse: true }), Option.some("d"))
      assert.deepStrictEqual(yield* keyOf({ from: "g" }), Option.none())
      assert.deepStrictEqual(yield* keyOf({ limit: 0 }), Option.some("b"), "first is what limits")
    }))

  test("remove, and remove what is not there", () =>
    Effect.gen(function*() {
      yield* fill(["a", "b"])
      yield* write(Words.remove("a"))
      yield* write(Words.remove("x"))
      assert.deepStrictEqual(yield* all(Words.keys()), ["b"])
      yield* fill(["a"])
      assert.deepStrictEqual(yield* all(Words.keys()), ["a", "b"])
    }))

  test("insert writes only where nothing is", () =>
    Effect.gen(function*() {
      assert.isTrue(yield* write(Words.insert("a", "1")))
      assert.isFalse(yield* write(Words.insert("a", "2")))
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("1"))
      assert.deepStrictEqual(
        yield* write(Effect.all([Words.insert("b", "1"), Words.insert("b", "2")])),
        [true, false]
      )
    }))

  test("replace compares the version", () =>
    Effect.gen(function*() {
      yield* write(Words.replace("a", "1", undefined))
      const first = Option.getOrThrow(yield* read(Words.getEntry("a"))).lsn
      yield* write(Words.replace("a", "2", first))
      const second = Option.getOrThrow(yield* read(Words.getEntry("a"))).lsn
      assert.isAbove(second, first)
      const stale = yield* Effect.flip(write(Words.replace("a", "3", first)))
      assert.deepInclude(stale, {
        _tag: "VersionMismatch",
        keyspace: "words",
        expected: first,
        actual: second
      })
      const present = yield* Effect.flip(write(Words.replace("a", "3", undefined)))
      assert.deepInclude(present, { _tag: "VersionMismatch", expected: undefined, actual: second })
      const absent = yield* Effect.flip(write(Words.replace("b", "3", first)))
      assert.deepInclude(absent, { _tag: "VersionMismatch", expected: first, actual: undefined })
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("2"))
      assert.isFalse(yield* read(Words.has("b")))
    }))

  test("replace twice in one transaction, by the version that it reads there", () =>
    Effect.gen(function*() {
      yield* write(Effect.gen(function*() {
        yield* Words.replace("a", "1", undefined)
        const { lsn } = Option.getOrThrow(yield* Words.getEntry("a"))
        yield* Words.replace("a", "2", lsn)
      }))
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("2"))
    }))

  test("modify reads, decides and writes", () =>
    Effect.gen(function*() {
      const next = (value: Option.Option<string>) =>
        [Option.isSome(value), Option.map(value, (word) => `${word}!`)] as const
      assert.isFalse(yield* write(Words.modify("a", next)))
      yield* fill(["a"])
      assert.isTrue(yield* write(Words.modify("a", next)))
      assert.deepStrictEqual(yield* read(Words.get("a")), Option.some("A!"))
      yield* write(Words.modify("a", () => [undefined, Option.none()]))
      assert.isFalse(yield* read(Words.has("a")))
    }))

  test("clear removes every record, and stat counts them", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Words.stat, { count: 0, unresolved: 0 })
      yield* fill(["a", "b", "c"])
      yield* write(Blobs.put(Uint8Array.of(1), Uint8Array.of(2)))
      assert.deepStrictEqual(yield* Words.stat, { count: 3, unresolved: 0 })
      yield* fill(["a"])
      yield* write(Words.remove("b"))
      assert.deepStrictEqual(yield* Words.stat, { count: 2, unresolved: 0 })
      yield* write(Words.clear)
      assert.deepStrictEqual(yield* Words.stat, { count: 0, unresolved: 0 })
      assert.deepStrictEqual(yield* all(Words.range()), [])
      assert.deepStrictEqual(yield* Blobs.stat, { count: 1, unresolved: 0 })
      yield* fill(["z"])
      assert.deepStrictEqual(yield* all(Words.keys()), ["z"])
    }))

  test("clear and drop of what never was", () =>
    Effect.gen(function*() {
      yield* write(Words.clear)
      yield* write(Words.drop)
      assert.deepStrictEqual(yield* Words.stat, { count: 0, unresolved: 0 })
      const store = yield* Store.Store
      assert.deepStrictEqual((yield* store.stat).keyspaces, [])
    }))

  test("drop removes the keyspace, and another layout may take its name", () =>
    Effect.gen(function*() {
      const Numbers = Keyspace.make("words", { key: Key.Int, value: Schema.Int })
      const store = yield* Store.Store
      yield* fill(["a"])
      assert.strictEqual((yield* refusal(read(Numbers.get(1))))._tag, "LayoutMismatch")
      yield* write(Words.drop)
      assert.deepStrictEqual((yield* store.stat).keyspaces, [])
      assert.deepStrictEqual(yield* read(Numbers.get(1)), Option.none())
      yield* write(Numbers.put(1, 2))
      assert.deepStrictEqual(yield* read(Numbers.get(1)), Option.some(2))
      assert.strictEqual((yield* refusal(read(Words.get("a"))))._tag, "LayoutMismatch")
      assert.strictEqual((yield* refusal(Words.stat))._tag, "LayoutMismatch")
    }))

  test("a raw door that stays open sees what has become of its keyspace", () =>
    Effect.gen(function*() {
      const raw = yield* Blobs.raw
      const key = Uint8Array.of(1)
      const seen = () => raw.getUnsafe(key)
      assert.isUndefined(seen())
      for (const round of [1, 2, 3]) {
        yield* write(Blobs.put(key, Uint8Array.of(round)))
        assert.deepStrictEqual(seen(), Uint8Array.of(round))
        yield* write(round === 2 ? Blobs.drop : Blobs.clear)
        assert.isUndefined(seen())
        assert.deepStrictEqual(raw.getManyUnsafe([key, key]), [undefined, undefined])
      }
      raw.putUnsafe(key, Uint8Array.of(4))
      assert.deepStrictEqual(seen(), Uint8Array.of(4))
      yield* write(Blobs.drop)
      yield* write(Keyspace.make(Blobs.name, { key: Key.Int, value: Schema.Int }).put(1, 2))
      for (const _ of [1, 2]) assert.throws(seen, /layout/)
    }))

  test("each declaration of a name is held to the layout that is stored, in one snapshot too", () =>
    Effect.gen(function*() {
      const Numbers = Keyspace.make("words", { key: Key.Int, value: Schema.Int })
      yield* fill(["a"])
      yield* read(Effect.gen(function*() {
        for (const _ of [1, 2]) {
          assert.deepStrictEqual(yield* Words.get("a"), Option.some("A"))
          assert.strictEqual((yield* refusal(Numbers.get(1)))._tag, "LayoutMismatch")
        }
        assert.isTrue(Option.isNone(yield* Blobs.get(Uint8Array.of(1))))
        assert.deepStrictEqual(yield* Words.get("a"), Option.some("A"))
      }))
    }))

  test("keyspaces do not touch each other, whatever their layouts", () =>
    Effect.gen(function*() {
      const spaces = [
        Keyspace.make("string", { key: Key.String, value: Schema.Int }),
        Keyspace.make("strin", { key: Key.String, value: Schema.Int })
      ]
      const Ints = Keyspace.make("int", { key: Key.Int, value: Schema.Int })
      const Floats = Keyspace.make("desc", { key: Key.Desc(Key.Float), value: Schema.Int })
      const ints = [-5, -1, 0, 3, Number.MAX_SAFE_INTEGER]
      yield* write(Effect.gen(function*() {
        for (const [index, space] of spaces.entries()) yield* space.put("k", index)
        for (const int of ints) yield* Effect.andThen(Ints.put(int, int), Floats.put(int / 2, int))
        yield* Visits.put(["b", 1], "b1")
        yield* Visits.put(["a", 2], "a2")
        yield* Visits.put(["a", -2], "a-2")
      }))
      for (const [index, space] of spaces.entries()) {
        assert.deepStrictEqual(
          yield* all(space.range()).pipe(Effect.map((rows) => rows.map((row) => row.value))),
          [index]
        )
      }
      assert.deepStrictEqual(yield* all(Ints.keys()), ints)
      assert.deepStrictEqual(yield* all(Floats.keys()), ints.map((int) => int / 2).reverse())
      assert.deepStrictEqual(yield* all(Visits.keys()), [["a", -2], ["a", 2], ["b", 1]])
      assert.deepStrictEqual(yield* all(Visits.keys({ prefix: ["a"] })), [["a", -2], ["a", 2]])
      assert.deepStrictEqual(yield* all(Visits.keys({ prefix: [], reverse: true, limit: 1 })), [["b", 1]])
    }))

  test("effects are lazy: run twice, they look twice", () =>
    Effect.gen(function*() {
      const gotten = read(Words.get("a"))
      const scanned = all(Words.keys())
      const counted = Words.stat
      const put = write(Words.put("a", "1"))
      assert.deepStrictEqual(yield* gotten, Option.none())
      assert.deepStrictEqual(yield* scanned, [])
      assert.strictEqual((yield* counted).count, 0)
      yield* put
      assert.deepStrictEqual(yield* gotten, Option.some("1"))
      assert.deepStrictEqual(yield* scanned, ["a"])
      assert.strictEqual((yield* counted).count, 1)
      yield* write(Words.remove("a"))
      yield* put
      assert.deepStrictEqual(yield* gotten, Option.some("1"))
    }))

  test("a stream run twice under one snapshot begins anew", () =>
    Effect.gen(function*() {
      yield* fill(["a", "b"])
      yield* read(Effect.gen(function*() {
        const keys = Words.keys()
        assert.deepStrictEqual(yield* Stream.runCollect(keys), ["a", "b"])
        assert.deepStrictEqual(yield* Stream.runCollect(keys), ["a", "b"])
      }))
    }))

  test("a value of 64 MiB, and none above", () =>
    Effect.gen(function*() {
      const value = new Uint8Array(64 << 20)
      for (let at = 0; at < value.length; at += 4096) value[at] = at >>> 12
      yield* write(Blobs.put(Uint8Array.of(1), value))
      const stored = Option.getOrThrow(yield* read(Blobs.get(Uint8Array.of(1))))
      assert.strictEqual(Buffer.compare(stored, value), 0)
      const error = yield* refusal(write(Blobs.put(Uint8Array.of(2), new Uint8Array(value.length + 1))))
      assert.deepInclude(error, { limit: "valueBytes", actual: value.length + 1, maximum: value.length })
      assert.isFalse(yield* read(Blobs.has(Uint8Array.of(2))))
    }))

  test("a range over large values holds few of them at a time", () =>
    Effect.gen(function*() {
      const value = new Uint8Array(1 << 20)
      yield* Effect.forEach(upTo(24), (index) => write(Blobs.put(Uint8Array.of(index), value)), {
        discard: true
      })
      const { counters } = yield* Disk
      const before = counters.readBytes
      assert.strictEqual((yield* all(Stream.take(Blobs.range(), 1))).length, 1)
      assert.isBelow(counters.readBytes - before, 10 << 20)
      for (const reverse of [false, true]) {
        const rows = yield* all(Blobs.range({ reverse }))
        const keys = rows.map((row) => row.key[0])
        assert.deepStrictEqual(reverse ? keys.reverse() : keys, upTo(24))
      }
      assert.strictEqual((yield* all(Blobs.range({ limit: 13 }))).length, 13)
    }))

  test("raw bytes and typed values in one store, values by schema and by codec", () =>
    Effect.gen(function*() {
      const Raw = Keyspace.make("raw", { key: Key.Uuid, value: Schema.Uint8Array })
      const Custom = Keyspace.make("custom", {
        key: Key.U32,
        value: Codec.make({
          format: "hex",
          encode: (text: string) => Buffer.from(text, "hex"),
          decode: (bytes) => Buffer.from(bytes).toString("hex")
        })
      })
      const Dates = Keyspace.make("dates", { key: Key.Bool, value: Schema.Date })
      const uuid = "3b241101-e2bb-4255-8caf-4136c566a962"
      yield* write(Effect.all([
        Raw.put(uuid, Uint8Array.of(1, 2)),
        Custom.put(7, "beef"),
        Dates.put(true, new Date(5))
      ]))
      assert.deepStrictEqual(yield* read(Raw.get(uuid)), Option.some(Uint8Array.of(1, 2)))
      assert.deepStrictEqual(yield* read(Custom.get(7)), Option.some("beef"))
      assert.deepStrictEqual(yield* read(Dates.get(true)), Option.some(new Date(5)))
    }))

  test.opening("values migrate step by step, and are written back in the new form by the next put", (open) =>
    Effect.gen(function*() {
      const V1 = Keyspace.make("people", { key: Key.String, value: Schema.String })
      const V2 = Keyspace.make("people", {
        key: Key.String,
        value: Schema.Struct({ name: Schema.String }),
        version: 2,
        migrate: { 1: (name) => ({ name }) }
      })
      const V3 = Keyspace.make("people", {
        key: Key.String,
        value: Schema.Struct({ name: Schema.String, age: Schema.NullOr(Schema.Int) }),
        version: 3,
        migrate: { 1: (name) => ({ name }), 2: (old) => ({ ...(old as object), age: null }) }
      })
      yield* write(V1.put("a", "Ada")).pipe(Effect.provide(open()))
      yield* write(V2.put("b", { name: "Bob" })).pipe(Effect.provide(open()))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual((yield* all(V3.range())).map((row) => row.value), [
          { name: "Ada", age: null },
          { name: "Bob", age: null }
        ])
        assert.strictEqual((yield* refusal(read(V1.get("b"))))._tag, "Undecodable", "newer than declared")
        assert.deepStrictEqual(yield* read(V1.get("a")), Option.some("Ada"), "a read writes nothing")
        yield* write(V3.modify("a", (value) => [undefined, value]))
        assert.strictEqual((yield* refusal(read(V2.get("a"))))._tag, "Undecodable")
      }).pipe(Effect.provide(open()))
    }))
})

/**
 * Single records, whatever their keys and values are: group A of the cases that any ordered store must pass, in every
 * configuration.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { everywhere } from "./support/configurations.ts"
import { after } from "./support/oracle.ts"
import type { Write } from "./support/oracle.ts"
import { admitted, refusal, upTo } from "./support/stores.ts"

const Blobs = Keyspace.bytes("blobs")
const write = Tx.transact()
const read = Snapshot.read()

everywhere((test) => {
  test("A1 get on an empty store, after a put, after another, after the same again", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("one")
      yield* twin.agreeOn(["", "a", "b"])
      yield* twin.agree
      yield* world.pause
      yield* twin.agreeOn(["a"])
      yield* twin.put("a", "first")
      yield* twin.agreeOn(["", "a", "a\0", "b"])
      yield* world.pause
      yield* twin.put("a", "second")
      yield* twin.agreeOn(["a"])
      yield* world.pause
      for (let times = 0; times < 3; times++) {
        yield* twin.put("a", "second")
        yield* twin.agreeOn(["a"])
        yield* twin.agree
        yield* world.pause
      }
      yield* twin.write([["a", "lost"], ["b", "other"], ["a", "last of a transaction"]])
      yield* world.pause
      yield* twin.agree
    }))

  test("A2 one key through a thousand sizes, shorter, equal and longer, leaves nothing stale behind", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("sizes")
      yield* twin.write(["a", "b", "d", "e"].map((key) => [key, key.repeat(20)]))
      const lengths = [0, 1, 100, 7, 7, 8, 9, 100, 101, 99, 3, 4, 230, 231, 232, 233, 16, 900, 2, 5_000, 64]
      for (let step = 0; step < 1_000; step++) {
        const length = chance.bool(0.5) ? chance.pick(lengths) : chance.int(120)
        const letter = String.fromCharCode(33 + step % 200)
        yield* twin.put("c", letter.repeat(length))
        yield* twin.agreeOn(["c"])
        if (step % 250 === 249) {
          yield* world.pause
          yield* twin.agreeOn(["c"])
          yield* twin.agree
        }
      }
      const { violations } = yield* (yield* Store.Store).inspect
      assert.deepStrictEqual(violations, [])
    }))

  test("A3 remove what is there, what is not, twice; put it again; remove all, then put", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("gone")
      yield* twin.remove("never")
      yield* twin.agree
      const keys = upTo(60).map((n) => `k${n}`)
      yield* twin.write(keys.map((key) => [key, `${key} first`]))
      yield* world.pause
      for (const key of ["k7", "k7", "never", "k7\0", "k"]) {
        yield* twin.remove(key)
        yield* twin.agreeOn(["k7", "k70", "k6", "k8", key])
      }
      yield* twin.agree
      yield* world.pause
      yield* twin.put("k7", "again")
      yield* twin.agree
      yield* twin.write([["k7", undefined], ["k7", "in one transaction"], ["k8", "lost"], ["k8", undefined]])
      yield* twin.agree
      yield* twin.remove(...keys)
      yield* twin.agree
      yield* twin.agreeOn(keys)
      yield* world.pause
      yield* twin.agree
      yield* twin.remove(...keys.slice(0, 3))
      yield* twin.write(keys.toReversed().map((key) => [key, `${key} again`]))
      yield* world.pause
      yield* twin.agree
      yield* twin.agreeOn(keys)
    }))

  test("A4 key lengths at every boundary", (world) =>
    Effect.gen(function*() {
      const { keyBytes } = (yield* Store.Store).machine.limits
      const twin = world.twin("lengths")
      const around = [1, 2, 4, 8, 12, 16, 64, 128, 255, 256, 512, keyBytes].flatMap((n) => [n - 1, n, n + 1])
      const lengths = [...new Set([0, 1, ...around])].filter((length) => length <= keyBytes)
      // Keys that differ only in length, and keys of one length that differ only in their last byte.
      const keys = lengths.flatMap((n) => n === 0 ? [""] : ["x".repeat(n), `${"x".repeat(n - 1)}y`])
      yield* twin.writeIn(5, keys.map((key) => [key, `${key.length}`]))
      yield* twin.agreeOn(keys)
      yield* world.pause
      yield* twin.agree
      for (const key of ["k".repeat(keyBytes + 1), "k".repeat(2_000)]) {
        for (const value of ["v", undefined]) {
          const reason = yield* refusal(twin.write([["before", "not written either"], [key, value]]))
          assert.deepInclude(reason, { _tag: "LimitExceeded", limit: "keyBytes", actual: key.length })
        }
      }
      yield* twin.agree
      yield* twin.writeIn(5, keys.map((key, index) => [key, index % 2 === 0 ? undefined : `again ${index}`]))
      yield* world.pause
      yield* twin.agree
      yield* twin.agreeOn(keys)
    }), { answers: "their own" })

  test(
    "A5 value lengths around what a leaf keeps, around a page, 1 MiB, the most and one more",
    (world) =>
      Effect.gen(function*() {
        const { inlineValueBytes, pageBytes, valueBytes } = (yield* Store.Store).machine.limits
        const twin = world.twin("values")
        const around = [inlineValueBytes, pageBytes, 2 * pageBytes].flatMap((n) => [n - 1, n, n + 1])
        const sizes = [0, 1, 7, 8, ...around, 70_000, 1 << 20, valueBytes]
        const { chance } = world
        const random = Buffer.from(chance.bytes(4_096)).toString("latin1")
        const value = (size: number): string =>
          random.repeat(1 + Math.ceil(size / 4_096)).slice(size % 7, size % 7 + size)
        for (const size of sizes) {
          yield* twin.put(`${size}`, value(size))
          yield* twin.agreeOn([`${size}`])
        }
        yield* world.pause
        const large = yield* refusal(twin.put("more", value(valueBytes + 1)))
        assert.deepInclude(large, { limit: "valueBytes", actual: valueBytes + 1, maximum: valueBytes })
        yield* twin.agree
        // Each takes the place of one of another size.
        yield* twin.writeIn(3, sizes.map((size, index) => [`${size}`, value(sizes.at(index - 1) as number)]))
        yield* world.chill
        yield* twin.agree
        yield* world.pause
        yield* twin.agreeOn(sizes.map((size) => `${size}`))
      }),
    { answers: "their own", options: { limits: { valueBytes: (1 << 20) + 5, transactionBytes: 4 << 20 } } }
  )

  test("A6 keys and values of zeros, of ff bytes, of what is no text, and of what an engine may use itself", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("bytes")
      const keys = ["", "\0", "\0\0", "\0\0\0\0", "\0\0\0\0\0", "\0\xff", "\x01", "a\0b", "a\0", "a", "a\xff"]
        .concat("\x7f\xff\xff\xff", "\x80", "\x80\0\0\0", "\x80\0\0\0\0", "\xc3\x28", "\xed\xa0\x80", "\xfe")
        .concat("\xff", "\xff\0", "\xff\xff", "\xff\xff\xff\xff", "\xff\xff\xff\xff\xff", "\xff".repeat(40))
        .concat("\xff".repeat(200), "\0".repeat(200))
      for (const [index, key] of keys.entries()) {
        yield* twin.put(key, keys.at(-index) as string)
        yield* twin.agreeOn([key, after(key)])
      }
      yield* twin.agree
      yield* world.pause
      yield* twin.agreeOn(keys)
      for (const key of keys) {
        yield* twin.remove(key)
        yield* twin.agreeOn(keys.slice(0, 4).concat(key, after(key), keys.slice(-4)))
      }
      yield* twin.agree
      yield* world.pause
      yield* twin.writeIn(4, keys.toReversed().map((key) => [key, key]))
      yield* twin.agree
    }))

  test("A7 keys that begin alike: for 2, 4 and 8 bytes, for most of a page, and one the beginning of another", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("prefixes")
      const families = ["", "ab", "abcd", "abcdefgh", "abcdefghi", "p".repeat(150)]
      const ends = ["", "\0", "0", "00", "1", "test", "teste", "tess", "tesu", "\xff", "zzzzzzzz"]
      const keys = families.flatMap((family) => ends.map((end) => family + end))
        .concat(upTo(40).map((n) => "a".repeat(n)))
        .concat(upTo(30).map((n) => `${"q".repeat(190)}${n}`))
      const unique = [...new Set(keys)]
      const scattered = unique.map((_, index) => unique[index * 37 % unique.length] as string)
      yield* twin.writeIn(7, scattered.map((key) => [key, `of ${key.length}`]))
      yield* twin.agree
      yield* world.pause
      yield* twin.agreeOn(unique)
      yield* twin.agreeOn([
        "abc",
        "abcdef",
        "p".repeat(149),
        "p".repeat(151),
        "tes",
        "testes",
        "q".repeat(190)
      ])
      for (const family of families) yield* twin.agreeIn({ prefix: family })
      yield* twin.writeIn(7, unique.map((key, index) => [key, index % 3 === 0 ? "new" : undefined]))
      yield* world.pause
      yield* twin.agree
      yield* twin.agreeOn(unique)
    }))

  test("A8 records of every size that a leaf keeps, together and each by itself", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("records")
      // Whatever the classes are: their sizes, one less and one more are among these.
      const sizes = upTo(270)
      const value = (size: number): string => String.fromCharCode(33 + size % 90).repeat(size)
      const keyOf = (size: number): string => String(size * 7919 % 1_009).padStart(4, "0")
      yield* twin.writeIn(9, sizes.map((size) => [keyOf(size), value(size)]))
      yield* twin.agree
      yield* world.pause
      yield* twin.agreeOn(sizes.map(keyOf))
      const alone = world.twin("alone")
      for (const size of sizes) {
        yield* alone.put("k", value(size))
        if (size % 9 === 0) yield* alone.remove("k")
        yield* alone.agreeOn(["k"])
        if (size % 90 === 0) yield* world.pause
      }
      yield* alone.agree
    }))

  test("A9 who changes a buffer after put or get changes nothing in the store", (world) =>
    Effect.gen(function*() {
      for (const value of [Uint8Array.of(1, 2), Buffer.from([1, 2])]) {
        const key = value.slice()
        const stored = Effect.map(
          read(Stream.runCollect(Blobs.range())),
          (rows) => rows.map((row) => [[...row.key], [...row.value]])
        )
        const sound = [[[1, 2], [1, 2]]]
        yield* write(Effect.gen(function*() {
          yield* Blobs.put(key, value)
          key.fill(9)
          value.fill(9)
          const own = Option.getOrThrow(yield* Blobs.get(Uint8Array.of(1, 2)))
          assert.deepStrictEqual([...own], [1, 2])
          own.fill(8)
          for (const row of yield* Stream.runCollect(Blobs.range())) {
            row.key.fill(7)
            row.value.fill(7)
          }
        }))
        assert.deepStrictEqual(yield* stored, sound)
        yield* world.pause
        const gotten = Option.getOrThrow(yield* read(Blobs.get(Uint8Array.of(1, 2))))
        gotten.fill(6)
        for (const row of yield* read(Stream.runCollect(Blobs.range()))) {
          row.key.fill(5)
          row.value.fill(5)
        }
        assert.deepStrictEqual(yield* stored, sound)
        yield* write(Blobs.clear)
      }
    }))

  test("A9 nor through the raw doors", (world) =>
    Effect.gen(function*() {
      const key = Buffer.from("key")
      const value = Buffer.from("value")
      const raw = yield* Blobs.raw
      yield* admitted(() => raw.putUnsafe(key, value))
      yield* admitted(() => raw.batchUnsafe([{ key: Buffer.from("other"), value }]))
      key.fill(0)
      value.fill(0)
      yield* world.pause
      const again = yield* Blobs.raw
      for (const name of ["key", "other"]) {
        for (let times = 0; times < 2; times++) {
          const found = again.getUnsafe(Buffer.from(name))
          assert.strictEqual(found === undefined ? undefined : Buffer.from(found).toString(), "value")
          found?.fill(0)
        }
      }
      assert.isUndefined(again.getUnsafe(key))
    }))

  test("A10 has, count and contents agree with a sorted map after each write", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("model")
      const known: Array<string> = []
      for (let step = 1; step <= 400; step++) {
        const writes = upTo(1 + chance.int(3)).map((): Write => {
          const key = chance.bool(0.7) && known.length > 0 ? chance.pick(known) : `k${chance.int(4_000)}`
          known.push(key)
          return [key, chance.bool(0.4) ? undefined : "v".repeat(chance.int(chance.bool(0.1) ? 300 : 30))]
        })
        yield* twin.write(writes)
        const { count, unresolved } = yield* twin.keyspace.stat
        assert.isAtMost(Math.abs(count - twin.oracle.size), unresolved, `step ${step}`)
        yield* twin.agreeOn(writes.map(([key]) => key).concat(chance.pick(known)))
        if (step % 40 === 0) yield* twin.agree
        if (step % 100 === 0) yield* world.pause
        if (step % 130 === 0) yield* world.chill
      }
    }))
})

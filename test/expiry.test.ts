/**
 * Time to live: what readers and writers see as time goes by.
 */
import { assert, describe } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Codec from "../src/Codec.ts"
import * as Index from "../src/Indexes.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import type { Declared } from "../src/Machine.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import { Batch } from "../src/tree/read/Batch.ts"
import * as Tx from "../src/Tx.ts"
import { commits, dump, expiry, get, one, put, sweepMillis } from "./support/expiry.ts"
import { upTo } from "./support/stores.ts"
import { bytes, journal, plain, sums, text } from "./support/timed.ts"

const ofSum = (key: string) => Snapshot.read()(sums.getEntry(bytes(key)))

/** A number as the reducer has it. */
const number = (n: number): Uint8Array => {
  const value = new Uint8Array(8)
  new DataView(value.buffer).setBigInt64(0, BigInt(n))
  value[0] = (value[0] as number) ^ 0x80
  return value
}

describe("a record with a time to live", () => {
  one(
    "is there until its time, and says when that is",
    Effect.gen(function*() {
      yield* put("a", "1", { ttl: "5 seconds" })
      yield* TestClock.adjust(4_999)
      assert.strictEqual(yield* get("a"), "1")
      const entry = Option.getOrThrow(yield* Snapshot.read()(plain.getEntry(bytes("a"))))
      assert.strictEqual(entry.expiry, 1_005_000)
      yield* TestClock.adjust(1)
      assert.isUndefined(yield* get("a"))
    })
  )

  one(
    "stays where its time is infinite or absent, and is gone where it is not above zero",
    Effect.gen(function*() {
      yield* put("infinite", "1", { ttl: Duration.infinity })
      yield* put("absent", "2", { ttl: undefined })
      yield* put("prolonged", "3", { ttl: 10 })
      yield* put("prolonged", "3")
      yield* put("nothing", "4")
      const before = yield* commits
      yield* put("nothing", "4", { ttl: 0 })
      yield* put("negative", "5", { ttl: -1 })
      assert.strictEqual((yield* commits) - before, 2)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(
        yield* Effect.all(["infinite", "absent", "prolonged", "nothing", "negative"].map(get)),
        ["1", "2", "3", undefined, undefined]
      )
      assert.strictEqual((yield* dump).length, 3)
      const entry = Option.getOrThrow(yield* Snapshot.read()(plain.getEntry(bytes("infinite"))))
      assert.notProperty(entry, "expiry")
    })
  )

  one(
    "counts until it is removed",
    Effect.gen(function*() {
      yield* put("a", "1", { ttl: 10 })
      yield* TestClock.adjust(10)
      assert.strictEqual(yield* plain.count, 1)
      assert.strictEqual((yield* plain.stat).count, 1)
      yield* TestClock.adjust(sweepMillis)
      assert.strictEqual(yield* plain.count, 0)
    })
  )

  one(
    "insert and replace take its place once it has expired",
    Effect.gen(function*() {
      yield* put("a", "1", { ttl: 10 })
      const insert = Tx.transact()(plain.insert(bytes("a"), bytes("2"), { ttl: 100 }))
      assert.isFalse(yield* insert)
      yield* TestClock.adjust(10)
      assert.isTrue(yield* insert)
      assert.strictEqual(yield* get("a"), "2")
      yield* TestClock.adjust(100)
      yield* Tx.transact()(plain.replace(bytes("a"), bytes("3"), undefined, { ttl: 5 }))
      const modify = plain.modify(bytes("a"), (value) => [Option.map(value, text), value], { ttl: 50 })
      assert.deepStrictEqual(yield* Tx.transact()(modify), Option.some("3"))
      yield* TestClock.adjust(49)
      assert.strictEqual(yield* get("a"), "3")
    })
  )
})

describe("a reader", () => {
  one(
    "sees what it saw when it began, however long it reads",
    Effect.gen(function*() {
      yield* Tx.transact()(
        Effect.forEach(
          upTo(600),
          (n) => plain.put(bytes(`k${1_000 + n}`), bytes("v"), { ttl: n % 2 === 0 ? 10 : 10_000 })
        )
      )
      const seen = yield* Snapshot.read()(Effect.gen(function*() {
        const all = yield* Stream.runCollect(plain.keys().pipe(Stream.tap(() => TestClock.adjust(5))))
        yield* TestClock.adjust(sweepMillis)
        return [all.length, (yield* Stream.runCollect(plain.keys())).length]
      }))
      assert.deepStrictEqual(seen, [600, 600])
      assert.isAbove((yield* expiry).removed, 0)
      const streamed = plain.keys().pipe(Snapshot.stream(), Stream.runCollect)
      assert.strictEqual((yield* streamed).length, 300)
    })
  )

  one(
    "asks for so many of a range, and gets so many of what is there",
    Effect.gen(function*() {
      yield* Tx.transact()(
        Effect.forEach(
          upTo(100),
          (n) => plain.put(bytes(`k${100 + n}`), bytes("v"), { ttl: n % 10 === 3 ? 1_000 : 10 })
        )
      )
      yield* TestClock.adjust(20)
      for (const reverse of [true, false]) {
        const keys = yield* Snapshot.read()(Stream.runCollect(plain.keys({ limit: 4, reverse })))
        const expected = reverse ? ["k193", "k183", "k173", "k163"] : ["k103", "k113", "k123", "k133"]
        assert.deepStrictEqual(keys.map(text), expected)
      }
      const raw = yield* plain.raw
      const batch = new Batch()
      const range = { lower: new Uint8Array(0), upper: undefined, order: "ascending", limit: 4 } as const
      assert.isTrue(raw.scanUnsafe({ ...range, columns: "keys" }, batch))
      assert.deepStrictEqual(upTo(batch.count).map((n) => text(batch.key(n))), [
        "k103",
        "k113",
        "k123",
        "k133"
      ])
    })
  )

  one(
    "of the past sees a record that has expired and was removed",
    Effect.gen(function*() {
      yield* put("a", "1", { ttl: 10 })
      const view = Snapshot.open(yield* Store.Store.useSync(({ machine }) => machine), "read")
      if (Exit.isExit(view)) return yield* view
      yield* TestClock.adjust(5 * sweepMillis)
      assert.strictEqual((yield* expiry).removed, 1)
      const row = yield* view.get(plain as unknown as Declared, bytes("a"), "keys and values")
      assert.strictEqual(row === undefined ? undefined : text(row.value), "1")
      view.release()
    })
  )
})

describe("a transaction", () => {
  one(
    "has one time: what it reads does not expire under it, and nothing conflicts by time passing",
    Effect.gen(function*() {
      yield* put("a", "1", { ttl: 10 })
      let runs = 0
      const before = yield* commits
      yield* Tx.transact()(Effect.gen(function*() {
        runs++
        assert.strictEqual(Option.isSome(yield* plain.get(bytes("a"))), true)
        yield* TestClock.adjust(5 * sweepMillis)
        assert.strictEqual(Option.isSome(yield* plain.get(bytes("a"))), true)
        yield* plain.put(bytes("b"), bytes("2"), { ttl: 6 * sweepMillis })
      }))
      // One commit of the janitor was between its beginning and its end.
      assert.strictEqual((yield* commits) - before, 2)
      assert.strictEqual(runs, 1)
      const entry = Option.getOrThrow(yield* Snapshot.read()(plain.getEntry(bytes("b"))))
      assert.strictEqual(entry.expiry, 1_000_000 + 6 * sweepMillis)
    })
  )

  one(
    "that saw a key as expired loses to one that writes it",
    Effect.gen(function*() {
      yield* put("a", "1", { ttl: 10 })
      yield* TestClock.adjust(10)
      const raw = yield* plain.raw
      let runs = 0
      yield* Tx.transact()(Effect.gen(function*() {
        runs++
        const value = yield* plain.get(bytes("a"))
        if (runs === 1) raw.putUnsafe(bytes("a"), bytes("2"))
        yield* plain.put(bytes("b"), bytes(Option.isSome(value) ? "seen" : "not seen"))
      }))
      assert.strictEqual(runs, 2)
      assert.strictEqual(yield* get("b"), "seen")
    })
  )
})

describe("an operand", () => {
  one(
    "lets the record expire when it would have, and begins anew on one that has",
    Effect.gen(function*() {
      yield* Tx.transact()(sums.put(bytes("n"), number(5), { ttl: 100 }))
      yield* Tx.transact()(sums.merge(bytes("n"), number(2)))
      assert.deepStrictEqual(Option.getOrThrow(yield* ofSum("n")).value, number(7))
      assert.strictEqual(Option.getOrThrow(yield* ofSum("n")).expiry, 1_000_100)
      yield* TestClock.adjust(100)
      yield* Tx.transact()(sums.merge(bytes("n"), number(3)))
      const anew = Option.getOrThrow(yield* ofSum("n"))
      assert.deepStrictEqual([anew.value, anew.expiry], [number(3), undefined])
    })
  )

  one(
    "that the body has read keeps what the body saw, however late the commit is",
    Effect.gen(function*() {
      for (const keyspace of [sums, journal]) {
        yield* Tx.transact()(keyspace.put(bytes("n"), number(5), { ttl: 100 }))
        const read = yield* Tx.transact()(Effect.gen(function*() {
          yield* keyspace.merge(bytes("n"), number(2))
          const value = yield* keyspace.get(bytes("n"))
          yield* TestClock.adjust(100)
          return value
        }))
        assert.isTrue(Option.isSome(read))
        // What it saw has expired by now, and did not become a record that stays.
        assert.isTrue(Option.isNone(yield* Snapshot.read()(keyspace.get(bytes("n")))))
      }
    })
  )

  one(
    "on a value of the same transaction expires with it",
    Effect.gen(function*() {
      yield* Tx.transact()(Effect.andThen(
        sums.put(bytes("n"), number(5), { ttl: 100 }),
        sums.merge(bytes("n"), number(1))
      ))
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(Option.getOrThrow(yield* ofSum("n")).value, number(6))
      yield* TestClock.adjust(1)
      assert.isTrue(Option.isNone(yield* ofSum("n")))
    })
  )
})

describe("an index", () => {
  const Sessions = Keyspace.make("sessions", { key: Key.String, value: Codec.bytes })
  const Indexed = Index.make(Sessions, {
    user: { key: Key.String, of: ({ value }) => [text(value)] },
    token: { key: Key.String, of: ({ key }) => [`token of ${key}`], unique: true }
  })
  const by = Snapshot.read()(Effect.gen(function*() {
    const users = yield* Stream.runCollect(Indexed.by.user.get("ada"))
    const token = yield* Indexed.by.token.get("token of a")
    return [users.map(({ key }) => key).join(" "), Option.isSome(token)]
  }))
  const session = (key: string, options?: Keyspace.PutOptions) =>
    Tx.transact()(Indexed.put(key, bytes("ada"), options))

  one(
    "forgets a record when it expires, and finds it for as long as it was prolonged",
    Effect.gen(function*() {
      yield* session("a", { ttl: 100 })
      yield* session("b", { ttl: 200 })
      assert.deepStrictEqual(yield* by, ["a b", true])
      yield* TestClock.adjust(99)
      yield* session("a", { ttl: 1_000 })
      yield* TestClock.adjust(900)
      assert.deepStrictEqual(yield* by, ["a", true])
      yield* session("a")
      yield* TestClock.adjust(10 * sweepMillis)
      assert.deepStrictEqual(yield* by, ["a", true])
      yield* session("a", { ttl: 10 })
      yield* session("c", { ttl: 0 })
      yield* TestClock.adjust(10)
      assert.deepStrictEqual(yield* by, ["", false])
      yield* TestClock.adjust(sweepMillis)
      // Record and pairs, of `a` and of `b`; none of them is left.
      assert.strictEqual((yield* expiry).removed, 6)
      assert.isEmpty((yield* dump).filter((row) => row.includes("ada") || row.includes("token of")))
      yield* session("a")
      assert.deepStrictEqual(yield* by, ["a", true])
    })
  )

  one(
    "that is built over records that expire expires with them",
    Effect.gen(function*() {
      yield* Tx.transact()(Effect.forEach(
        upTo(40),
        (n) => Sessions.put(n === 0 ? "a" : `k${n}`, bytes(n < 3 ? "ada" : "else"), n < 2 ? { ttl: 50 } : {})
      ))
      yield* Stream.runDrain(Index.build(Indexed))
      assert.deepStrictEqual(yield* by, ["a k1 k2", true])
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(yield* by, ["k2", false])
      yield* TestClock.adjust(sweepMillis)
      assert.deepStrictEqual(yield* by, ["k2", false])
    })
  )
})

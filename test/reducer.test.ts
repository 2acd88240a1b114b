/**
 * `merge` of a keyspace, for every reducer: in transactions, across evictions, checkpoints and lives of the store.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "../src/Codec.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Reducer from "../src/Reducer.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { everywhere } from "./support/configurations.ts"
import type { Random } from "./support/random.ts"
import { refusal, suite, upTo } from "./support/stores.ts"

const Stats = Schema.Struct({ count: Schema.Int, longest: Schema.String })
type Stats = typeof Stats.Type

const stats = Reducer.make<Stats, string>({
  name: "stats",
  operand: Schema.String,
  fold: (before, word) => {
    const { count, longest } = Option.getOrElse(before, () => ({ count: 0, longest: "" }))
    return { count: count + 1, longest: word.length > longest.length ? word : longest }
  }
})

const Sold = Keyspace.make("sold", { key: Key.String, value: Codec.int, reducer: "sum" })
const Coldest = Keyspace.make("coldest", { key: Key.String, value: Codec.float, reducer: "min" })
const Highest = Keyspace.make("highest", { key: Key.String, value: Codec.int, reducer: "max" })
const Journal = Keyspace.make("journal", { key: Key.String, value: Codec.bytes, reducer: "append" })
const Tags = Keyspace.make("tags", { key: Key.String, value: Codec.set, reducer: "union" })
const Seen = Keyspace.make("seen", { key: Key.String, value: Schema.String, reducer: "last" })
const Words = Keyspace.make("words", { key: Key.String, value: Stats, reducer: stats })

const write = Tx.transact()
const read = Snapshot.read()

/** A keyspace with what it should do, in the plainest way. */
interface Subject<V, O> {
  readonly keyspace: Keyspace.Reducing<string, V, O, string>
  readonly value: (chance: Random) => V
  readonly operand: (chance: Random) => O
  readonly fold: (value: V | undefined, operand: O) => V
}

const subject = <V, O>(subject: Subject<V, O>): Subject<V, O> => subject

const whole = (chance: Random): number => chance.int(2_000_001) - 1_000_000
const some = (chance: Random): Uint8Array => chance.bytes(chance.int(20))
const concat = (a: Uint8Array | undefined, b: Uint8Array): Uint8Array =>
  Uint8Array.from(Buffer.concat([a ?? Uint8Array.of(), b]))
const elements = (chance: Random): ReadonlyArray<Uint8Array> =>
  sorted(Array.from({ length: chance.int(3) }, () => Uint8Array.of(chance.int(40), 1)))
const sorted = (all: ReadonlyArray<Uint8Array>): ReadonlyArray<Uint8Array> =>
  [...new Set(all.map((element) => Buffer.from(element).toString("hex")))].sort()
    .map((text) => Uint8Array.from(Buffer.from(text, "hex")))
const word = (chance: Random): string => "w".repeat(chance.int(30))

const sums = subject({ keyspace: Sold, value: whole, operand: whole, fold: (a, b) => (a ?? 0) + b })
const subjects = {
  sum: sums,
  min: subject({
    keyspace: Coldest,
    value: (chance) => chance.next() - 0.5,
    operand: (chance) => chance.next() - 0.5,
    fold: (a, b) => Math.min(a ?? b, b)
  }),
  max: subject({ keyspace: Highest, value: whole, operand: whole, fold: (a, b) => Math.max(a ?? b, b) }),
  append: subject({ keyspace: Journal, value: some, operand: some, fold: concat }),
  union: subject({
    keyspace: Tags,
    value: elements,
    operand: elements,
    fold: (a, b) => sorted([...(a ?? []), ...b])
  }),
  last: subject({ keyspace: Seen, value: word, operand: word, fold: (_, b) => b }),
  "one's own": subject({
    keyspace: Words,
    value: (chance) => ({ count: chance.int(9), longest: word(chance) }),
    operand: word,
    fold: (a, b) => stats.fold(Option.fromUndefinedOr(a), b)
  })
}

/** Random transactions on a keyspace, held against a map. */
class Play<V, O> {
  readonly oracle = new Map<string, V>()
  private readonly subject: Subject<V, O>
  private readonly chance: Random

  constructor(subject: Subject<V, O>, chance: Random) {
    this.subject = subject
    this.chance = chance
  }

  private key(): string {
    return `key ${String(this.chance.int(80)).padStart(4, "0")}`
  }

  transaction(): Effect.Effect<void, StoreError, Store.Store> {
    const draft = new Map(this.oracle)
    const steps = Array.from({ length: 1 + this.chance.int(5) }, () => this.step(draft))
    return Effect.map(write(Effect.forEach(steps, (step) => step, { discard: true })), () => {
      this.oracle.clear()
      for (const [key, value] of draft) this.oracle.set(key, value)
    })
  }

  /** One thing that a body does; the draft is what it should make of the oracle. */
  private step(draft: Map<string, V>): Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot> {
    const { chance, subject: { fold, keyspace, operand, value } } = this
    const key = this.key()
    const dice = chance.next()
    if (dice < 0.6) {
      const what = operand(chance)
      draft.set(key, fold(draft.get(key), what))
      return keyspace.merge(key, what)
    }
    if (dice < 0.7) {
      const what = value(chance)
      draft.set(key, what)
      return keyspace.put(key, what)
    }
    if (dice < 0.8) {
      draft.delete(key)
      return keyspace.remove(key)
    }
    if (dice < 0.85) {
      const what = operand(chance)
      const failed = Effect.andThen(keyspace.merge(key, what), Effect.fail("undone" as const))
      return Effect.catchIf(
        Tx.savepoint(failed),
        (error) => error === "undone",
        () => Effect.void
      ) as Effect.Effect<
        void,
        StoreError,
        Tx.Tx
      >
    }
    if (dice < 0.86) {
      draft.clear()
      return keyspace.clear
    }
    const expected = new Map(draft)
    return dice < 0.93 ? this.look(key, expected) : this.range(expected)
  }

  private look(
    key: string,
    expected: ReadonlyMap<string, V>
  ): Effect.Effect<void, StoreError, Snapshot.Snapshot> {
    const { keyspace } = this.subject
    return Effect.gen(function*() {
      assert.deepStrictEqual(Option.getOrUndefined(yield* keyspace.get(key)), expected.get(key))
      assert.deepStrictEqual(yield* keyspace.has(key), expected.has(key))
      const many = yield* keyspace.getMany([key, "nowhere", "key 0001"])
      const values = many.map(Option.getOrUndefined)
      assert.deepStrictEqual(values, [expected.get(key), undefined, expected.get("key 0001")])
    })
  }

  private range(expected: ReadonlyMap<string, V>): Effect.Effect<void, StoreError, Snapshot.Snapshot> {
    const { keyspace } = this.subject
    const rows = [...expected].sort(([a], [b]) => a < b ? -1 : 1)
    const reverse = this.chance.bool(0.5)
    return Effect.map(Stream.runCollect(keyspace.range({ reverse })), (entries) => {
      const found = entries.map(({ key, value }) => [key, value] as const)
      assert.deepStrictEqual(found, reverse ? rows.toReversed() : rows)
    })
  }

  /** Everything is as it should be. */
  readonly agree: Effect.Effect<void, StoreError, Store.Store> = Effect.suspend(() => {
    const expected = new Map(this.oracle)
    const counted = Effect.map(
      this.subject.keyspace.count,
      (count) => assert.strictEqual(count, expected.size)
    )
    const looks = [...expected.keys()].slice(0, 10).map((key) => read(this.look(key, expected)))
    return Effect.all([...looks, read(this.range(expected)), counted], { discard: true })
  })
}

everywhere((test) => {
  for (
    const [name, subject] of Object.entries(subjects) as ReadonlyArray<[string, Subject<unknown, unknown>]>
  ) {
    test(`random transactions, ${name}`, (world) =>
      Effect.gen(function*() {
        const play = new Play(subject, world.chance)
        for (let round = 0; round < 6; round++) {
          for (let count = 0; count < 25; count++) yield* play.transaction()
          if (round % 2 === 0) yield* world.chill
          for (let count = 0; count < 10; count++) yield* play.transaction()
          if (round % 3 === 1) yield* Store.Store.use((store) => store.checkpoint)
          yield* world.pause
          if (round % 2 === 1) yield* play.agree
        }
        yield* play.agree
      }), { options: { limits: { operandChain: 5 } } })
  }

  test("readers of the past see sums as they were", (world) =>
    Effect.gen(function*() {
      const play = new Play(sums, world.chance)
      for (let count = 0; count < 40; count++) yield* play.transaction()
      yield* world.chill
      const before = new Map(play.oracle)
      yield* read(Effect.gen(function*() {
        const store = yield* Store.Store
        for (let count = 0; count < 40; count++) {
          // A boundary of its own: it is not in the snapshot.
          yield* Effect.provideService(play.transaction(), Store.Store, store)
          if (count % 10 === 0) yield* world.chill
        }
        const entries = yield* Stream.runCollect(Sold.range())
        assert.deepStrictEqual(
          entries.map(({ key, value }) => [key, value]),
          [...before].sort(([a], [b]) => a < b ? -1 : 1)
        )
        for (const [key, value] of before) assert.deepStrictEqual(yield* Sold.get(key), Option.some(value))
      }))
      yield* play.agree
    }))
})

const loads = Effect.map(Store.Store.use((store) => store.stat), ({ counters }) => counters.loads)

describe("merge", () => {
  it("of what a reducer does not fold is refused where it is declared", () => {
    const declared = (value: Codec.Codec<never>, reducer: Reducer.BuiltIn) => () =>
      Keyspace.make("x", { key: Key.String, value, reducer } as never)
    const refused = (codec: unknown, reducer: Reducer.BuiltIn) =>
      assert.throws(declared(codec as Codec.Codec<never>, reducer), RangeError, reducer)
    refused(Codec.float, "sum")
    refused(Codec.bytes, "max")
    refused(Codec.bytes, "union")
    refused(Codec.set, "append")
    refused(Codec.schema(Schema.Finite), "min")
    for (const name of ["", "n".repeat(101), "\ud800"]) {
      assert.throws(
        () => Reducer.make<number, number>({ name, operand: Codec.int, fold: (_, b) => b }),
        RangeError
      )
    }
  })
})

const Blobs = Keyspace.bytes("raw")

/** Writes more than a small memory holds, so that what was there before is not there any more. */
const chill = Effect.forEach(
  upTo(30),
  (n) => write(Effect.forEach(upTo(50), (m) => Blobs.put(Uint8Array.of(n, m), new Uint8Array(900)))),
  { discard: true }
)

/** Commits something that no body waits for, as soon as a log that is at work lets single writes in. */
const interfere = (raw: Effect.Success<typeof Blobs.raw>): Effect.Effect<void> => {
  const put = Effect.try({
    try: () => raw.putUnsafe(Uint8Array.of(1), Uint8Array.of(1)),
    catch: (error) => error
  })
  const later = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
  return Effect.matchEffect(Effect.andThen(later, put), {
    onSuccess: () => Effect.void,
    onFailure: (error) =>
      error instanceof StoreError && error.reason._tag === "Overloaded" ? interfere(raw) : Effect.die(error)
  })
}

suite("merge", (test) => {
  test(
    "a sum reads nothing: no page, and no conflict with whoever wrote meanwhile",
    () =>
      Effect.gen(function*() {
        yield* write(Effect.forEach(upTo(3_000), (n) => Sold.put(`key ${n}`, n), { discard: true }))
        yield* Store.Store.use((store) => store.checkpoint)
        yield* chill
        const raw = yield* Blobs.raw
        const { machine } = yield* Store.Store
        const { conflicts } = machine.parts.wal.counters
        const before = yield* loads
        let runs = 0
        yield* write(Effect.gen(function*() {
          runs++
          for (const n of upTo(30)) yield* Sold.merge(`key ${n * 100}`, 1)
          yield* interfere(raw)
        }))
        assert.deepStrictEqual([runs, machine.parts.wal.counters.conflicts], [1, conflicts])
        assert.isAtMost((yield* loads) - before, 5)
        for (const n of upTo(30)) {
          assert.deepStrictEqual(yield* read(Sold.get(`key ${n * 100}`)), Option.some(n * 100 + 1))
        }
        assert.isAbove((yield* loads) - before, 5)
      }),
    { memory: "256 KiB", pageSize: "4 KiB" }
  )

  test("what may grow reads its record, and runs again where somebody wrote meanwhile", () =>
    Effect.gen(function*() {
      let runs = 0
      const merged = yield* Deferred.make<void>()
      const written = yield* Deferred.make<void>()
      const merging = yield* Effect.forkChild(write(Effect.gen(function*() {
        runs++
        yield* Journal.merge("j", Uint8Array.of(7))
        yield* Deferred.succeed(merged, undefined)
        yield* Deferred.await(written)
      })))
      yield* Deferred.await(merged)
      yield* write(Journal.merge("j", Uint8Array.of(5)))
      yield* Deferred.succeed(written, undefined)
      yield* Fiber.join(merging)
      assert.strictEqual(runs, 2)
      assert.deepStrictEqual(yield* read(Journal.get("j")), Option.some(Uint8Array.of(5, 7)))
    }))

  test(
    "fibers of one body that merge into one record, none of which is in memory, all count",
    () =>
      Effect.gen(function*() {
        const keys = upTo(300).map((n) => `key ${n}`)
        yield* write(Effect.forEach(keys, (key) => Journal.put(key, new Uint8Array(300)), { discard: true }))
        yield* Store.Store.use((store) => store.checkpoint)
        yield* chill
        const before = yield* loads
        yield* write(Effect.forEach(
          upTo(30),
          (n) => Journal.merge(`key ${n % 3 * 100}`, Uint8Array.of(n)),
          { concurrency: "unbounded", discard: true }
        ))
        assert.isAbove((yield* loads) - before, 0)
        for (const n of upTo(3)) {
          const value = Option.getOrThrow(yield* read(Journal.get(`key ${n * 100}`)))
          const expected = upTo(30).filter((m) => m % 3 === n)
          assert.deepStrictEqual([...value.subarray(300)].sort((a, b) => a - b), expected)
        }
      }),
    { memory: "256 KiB", pageSize: "4 KiB" }
  )

  test("an append, or a union, may become as long as a value may be", () =>
    Effect.gen(function*() {
      const piece = new Uint8Array(300).fill(7)
      for (const n of upTo(40)) {
        yield* write(Effect.all([Journal.merge("j", piece), Tags.merge("t", [Uint8Array.of(n, 1), piece])]))
      }
      const journal = yield* read(Journal.get("j"))
      assert.strictEqual(Option.getOrThrow(journal).length, 12_000)
      const tags = yield* read(Tags.get("t"))
      assert.strictEqual(Option.getOrThrow(tags).length, 41)
      assert.deepStrictEqual(yield* read(Journal.get("j")), Option.some(new Uint8Array(12_000).fill(7)))
      const most = yield* refusal(write(Journal.merge("j", new Uint8Array(8_001))))
      assert.strictEqual(most._tag, "LimitExceeded")
    }), { limits: { valueBytes: 20_000 } })

  test.opening("a value that went to the log stays there until it is written, whatever a leaf keeps by now", (open) =>
    Effect.gen(function*() {
      const piece = new Uint8Array(300).fill(7)
      yield* Effect.provide(
        write(Effect.all([Journal.merge("j", piece), Sold.put("s", 1), Sold.merge("t", 1)])),
        open({ limits: { inlineValueBytes: 0 } })
      )
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* write(Effect.all([Journal.merge("j", piece), Sold.merge("s", 1), Sold.merge("t", 1)]))
          assert.strictEqual(Option.getOrThrow(yield* read(Journal.get("j"))).length, 600)
          assert.deepStrictEqual(yield* read(Sold.getMany(["s", "t"])), [Option.some(2), Option.some(2)])
        }),
        open()
      )
    }))

  test("a keyspace is not opened with another reducer", () =>
    Effect.gen(function*() {
      yield* write(Effect.all([Sold.merge("a", 1), Words.merge("a", "word")]))
      const options = { key: Key.String, value: Codec.int }
      const others: ReadonlyArray<Pick<Keyspace.Keyspace<string, unknown>, "get" | "remove">> = [
        Keyspace.make("sold", options),
        Keyspace.make("sold", { ...options, reducer: "max" }),
        Keyspace.make("words", { key: Key.String, value: Stats }),
        Keyspace.make("words", { key: Key.String, value: Stats, reducer: { ...stats, name: "others" } })
      ]
      for (const other of others) {
        assert.strictEqual((yield* refusal(read(other.get("a"))))._tag, "LayoutMismatch")
        assert.strictEqual((yield* refusal(write(other.remove("a"))))._tag, "LayoutMismatch")
      }
      yield* write(Sold.drop)
      yield* write(Keyspace.make("sold", options).put("a", 5))
    }))

  test("a reducer that throws is its caller's error, and the store goes on", () =>
    Effect.gen(function*() {
      const Picky = Keyspace.make("picky", {
        key: Key.String,
        value: Codec.int,
        reducer: Reducer.make<number, number>({
          name: "picky",
          operand: Codec.int,
          fold: (value, operand) => {
            if (operand === 13) throw new Error("13")
            return Option.getOrElse(value, () => 0) + operand
          }
        })
      })
      yield* write(Effect.all([Picky.merge("a", 1), Picky.merge("b", 1)]))
      yield* write(Picky.merge("a", 13))
      const reason = yield* refusal(read(Picky.get("a")))
      assert.deepStrictEqual([reason._tag, reason.message.includes("\"picky\"")], ["ReducerFailed", true])
      assert.deepStrictEqual(yield* read(Picky.get("b")), Option.some(1))
      for (const _ of upTo(2)) yield* write(Picky.merge("a", 1))
      assert.strictEqual((yield* refusal(write(Picky.merge("a", 1))))._tag, "ReducerFailed")
      yield* write(Picky.put("a", 5))
      yield* write(Picky.merge("a", 1))
      assert.deepStrictEqual(yield* read(Picky.get("a")), Option.some(6))
    }), { limits: { operandChain: 4 } })

  test("a chain of operands is folded when it is too long", () =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const stored = Effect.map(
        Snapshot.Snapshot.use((snapshot) =>
          snapshot.get(Words, Uint8Array.from(Buffer.from("a")), "keys and values")
        ),
        (row) => row?.value.length ?? 0
      )
      let longest = 0
      for (const n of upTo(50)) {
        yield* write(Words.merge("a", "word"))
        longest = Math.max(longest, yield* read(stored))
        assert.deepStrictEqual(yield* read(Words.get("a")), Option.some({ count: n + 1, longest: "word" }))
      }
      assert.isBelow(longest, 200)
      assert.strictEqual(machine.limits.operandChain, 8)
    }), { limits: { operandChain: 8 } })

  test("what does not encode is refused, and so is what does not fit a number", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* refusal(write(Sold.merge("a", 0.5))))._tag, "Unencodable")
      assert.strictEqual((yield* refusal(write(Coldest.merge("a", Number.NaN))))._tag, "Unencodable")
      assert.strictEqual((yield* refusal(write(Words.merge("a", 1 as never))))._tag, "Unencodable")
      yield* write(Sold.put("a", Number.MAX_SAFE_INTEGER))
      yield* write(Sold.merge("a", 1))
      assert.strictEqual((yield* refusal(read(Sold.get("a"))))._tag, "Undecodable")
      yield* write(Sold.merge("a", -1))
      assert.deepStrictEqual(yield* read(Sold.get("a")), Option.some(Number.MAX_SAFE_INTEGER))
    }))
})

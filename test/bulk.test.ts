/**
 * Loading many records: whatever order they come in, all of them, the last of each key, and a prefix where it ends early.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Bulk from "../src/Bulk.ts"
import * as Codec from "../src/Codec.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { open } from "./support/storeDoor.ts"
import { refusal, suite, upTo } from "./support/stores.ts"
import { passing } from "./support/storeSize.ts"
import { read, Words, words, write } from "./support/words.ts"

const key = (n: number): string => `k${String(n).padStart(6, "0")}`
const rows = (count: number) => upTo(count).map((n) => [key(n), `v${n}`] as const)
const commits = Effect.map(Store.Store, ({ machine }) => machine.parts.wal.counters.commits)

suite("a load", (test) => {
  test("puts what an iterable or a stream has, beside what is there", () =>
    Effect.gen(function*() {
      yield* write(Words.put("a", "older"))
      const before = yield* commits
      const loaded = yield* Bulk.load(Words, rows(2_000))
      assert.strictEqual(loaded.entries, 2_000)
      assert.strictEqual((yield* commits) - before, 4)
      const store = yield* Store.Store
      if (store.machine.durability === "synced") assert.isAbove(yield* store.durableLsn, loaded.lsn)
      yield* Bulk.load(Words, Stream.fromIterable(rows(3_000)).pipe(Stream.rechunk(77)))
      assert.deepStrictEqual(yield* words, ["a", ...upTo(3_000).map(key)])
      assert.deepStrictEqual(yield* read(Words.get(key(2_345))), Option.some("v2345"))
    }))

  test("takes keys in any order, and the last value of each", () =>
    Effect.gen(function*() {
      const chance = random(7)
      const expected = new Map<string, string>()
      const entries = upTo(5_000).map((n) =>
        [key(chance.int(1_500)), `${n}${"x".repeat(chance.int(90))}`] as const
      )
      for (const [name, value] of entries) expected.set(name, value)
      const { bytes } = yield* Bulk.load(Words, entries)
      assert.isAbove(bytes, 100_000)
      const found = yield* read(Stream.runCollect(Words.range()))
      assert.deepStrictEqual(
        found.map(({ key, value }) => [key, value]),
        [...expected].sort(([a], [b]) => a < b ? -1 : 1)
      )
    }))

  test("of nothing is nothing, and one of large values is whole", () =>
    Effect.gen(function*() {
      const before = yield* commits
      assert.deepStrictEqual(yield* Bulk.load(Words, []), { entries: 0, bytes: 0, lsn: 0 })
      assert.strictEqual(yield* commits, before)
      const large = upTo(20).map((n) => [key(n), String.fromCharCode(97 + n).repeat(200_000 + n)] as const)
      yield* Bulk.load(Words, large)
      for (const [name, value] of large) {
        assert.deepStrictEqual(yield* read(Words.get(name)), Option.some(value))
      }
    }))

  test("tells how far it is, and leaves what it has committed where it ends early", () =>
    Effect.gen(function*() {
      const told: Array<number> = []
      const progress = ({ entries }: Bulk.Progress) => Effect.sync(() => void told.push(entries))
      const broken = Stream.concat(Stream.fromIterable(rows(1_300)), Stream.fail("broken" as const))
      assert.strictEqual(yield* Effect.flip(Bulk.load(Words, broken, { progress })), "broken")
      assert.deepStrictEqual(told, [512, 1_024])
      assert.deepStrictEqual(yield* words, upTo(1_024).map(key))
      yield* Bulk.load(Words, rows(1_300), { progress })
      assert.deepStrictEqual(yield* words, upTo(1_300).map(key))
      assert.strictEqual(told.at(-1), 1_300)
    }))

  test("lets others have their turn after each transaction", () =>
    Effect.gen(function*() {
      let turns = 0
      const other = yield* Effect.forkChild(Effect.forever(Effect.sync(() => turns++)))
      const told: Array<number> = []
      const progress = () => Effect.sync(() => void told.push(turns))
      yield* Bulk.load(Words, rows(10 * 512), { progress, durability: "memory" })
      yield* Fiber.interrupt(other)
      assert.strictEqual(told.length, 10)
      // The first of them makes the keyspace, and may share its turn.
      assert.isAtLeast(new Set(told).size, 9, told.join(" "))
    }))

  test("refuses what a put refuses", () =>
    Effect.gen(function*() {
      const long = yield* refusal(Bulk.load(Words, [["k".repeat(300), ""]]))
      assert.deepInclude(long, { limit: "keyBytes", actual: 300, maximum: 256 })
      const longer = yield* refusal(Bulk.load(Words, [["k".repeat(3_000), ""]]))
      assert.deepInclude(longer, { limit: "keyBytes", actual: 3_000 })
      const large = yield* refusal(Bulk.load(Words, [["k", "v".repeat(5_000)]]))
      assert.deepInclude(large, { limit: "valueBytes", maximum: 4_096 })
      const other = Keyspace.make("words", { key: Key.Int, value: Codec.bytes })
      yield* write(Words.put("a", "a"))
      assert.strictEqual((yield* refusal(Bulk.load(other, [[1, new Uint8Array(1)]])))._tag, "LayoutMismatch")
      assert.deepStrictEqual(yield* words, ["a"])
    }), { limits: { keyBytes: 256, valueBytes: 4_096 } })

  test("makes a keyspace with its reducer, whose values it puts", () =>
    Effect.gen(function*() {
      const Sums = Keyspace.make("sums", { key: Key.String, value: Codec.int, reducer: "sum" })
      yield* Bulk.load(Sums, upTo(10).map((n) => [key(n), n] as const))
      yield* write(Sums.merge(key(3), 4))
      assert.deepStrictEqual(yield* read(Sums.get(key(3))), Option.some(7))
    }))

  test("makes a body that has read what it wrote run again", () =>
    Effect.gen(function*() {
      const services = yield* Effect.context<Store.Store>()
      let runs = 0
      yield* write(Effect.gen(function*() {
        const value = yield* Words.get(key(1))
        if (runs++ === 0) {
          yield* Effect.promise(() => Effect.runPromiseWith(services)(Bulk.load(Words, rows(10))))
        }
        yield* Words.put("seen", Option.getOrElse(value, () => "none"))
      }))
      assert.deepStrictEqual([runs, yield* read(Words.get("seen"))], [2, Option.some("v1")])
    }))
})

describe("a load that is cut short by power", () => {
  it.effect("leaves a prefix, in whole transactions", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const chance = random(3)
      for (let round = 0; round < 20; round++) {
        const limits = { segmentBytes: 65_536, undurableBytes: 32_768 }
        const first = yield* open({ limits })
        const clear = Effect.provideService(Tx.transact()(Words.clear), Store.Store, first.store)
        yield* clear
        const crash = { seed: chance.int(2 ** 31) }
        yield* faults.fail({ at: 1 + chance.int(30), outcome: { _tag: "Cut", crash } })
        const load = Effect.provideService(Bulk.load(Words, rows(8_000)), Store.Store, first.store)
        const exit = yield* Effect.raceFirst(Effect.exit(load), passing)
        yield* faults.heal
        yield* faults.cut(crash)
        yield* Effect.raceFirst(first.close, passing)
        yield* faults.restart
        const second = yield* open({ limits })
        const found = yield* Effect.provideService(
          Snapshot.read()(Stream.runCollect(Words.keys())),
          Store.Store,
          second.store
        )
        assert.deepStrictEqual(found, upTo(found.length).map(key))
        assert.isTrue(found.length % 512 === 0 || found.length === 8_000, `${found.length}`)
        if (Exit.isSuccess(exit)) assert.strictEqual(found.length, 8_000)
        yield* Effect.raceFirst(second.close, passing)
      }
    }).pipe(Effect.provide(layer({ seed: 3 }))))
})

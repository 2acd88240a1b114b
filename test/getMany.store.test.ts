/**
 * Many keys of a store that has just been opened: what a snapshot, a transaction and the raw doors answer, and how
 * often the disk is read for it.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Keyspace from "../src/Keyspace.ts"
import { Many } from "../src/Raw.ts"
import type { Raw } from "../src/Raw.ts"
import * as Snapshot from "../src/Snapshot.ts"
import { Store } from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { admitted, suite, upTo } from "./support/stores.ts"
import type { Open } from "./support/stores.ts"

const Blobs = Keyspace.bytes("blobs")
const rows = 2_000

const keyOf = (index: number): Uint8Array => Buffer.from(`key ${String(index).padStart(5, "0")}`)

/** Even numbers are there; each hundredth has a value that lives in the log. */
const valueOf = (index: number): string | undefined =>
  index % 2 === 1 || index >= rows ? undefined : `${index}`.repeat(index % 100 === 0 ? 4_000 : 20)

const filled = Effect.forEach(
  upTo(rows).filter((index) => valueOf(index) !== undefined),
  (index) => Blobs.put(keyOf(index), Buffer.from(valueOf(index) ?? "")),
  { discard: true }
).pipe(Tx.transact())

/** A write that no transaction makes. */
const theirs = (raw: Raw): Effect.Effect<number> =>
  admitted(() => raw.putUnsafe(keyOf(6), Buffer.from("theirs")))

const textOf = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString()

/** Keys in no order, absent ones and doubles among them. */
const some = (seed: number, count: number): ReadonlyArray<number> => {
  const chance = random(seed)
  return upTo(count).map(() => chance.int(rows + 200))
}

/** Pages in memory, and reads of pages so far. */
const seen = Effect.map(Store, ({ machine: { parts: { buffer }, tree: { pages: { map } } } }) => {
  let here = 0
  for (let id = 1; id < map.bound; id++) if (map.isUsed(id) && (map.block[id] as number) >= 0) here++
  return { here, loads: buffer.counters.loads.loads }
})

/** Looks keys up in a store that holds none of their pages: right, and each page is read once. */
const cold = <E, R>(
  open: Open,
  look: (keys: ReadonlyArray<Uint8Array>) => Effect.Effect<ReadonlyArray<Uint8Array | undefined>, E, R>
) =>
  Effect.gen(function*() {
    yield* Effect.provide(filled, open({ memory: "16 MiB" }))
    for (const [seed, count] of [[1, 0], [2, 1], [3, 100], [4, 3_000]] as const) {
      yield* Effect.gen(function*() {
        const indices = some(seed, count)
        const before = yield* seen
        const values = yield* look(indices.map(keyOf))
        const after = yield* seen
        assert.deepStrictEqual(values.map(textOf), indices.map(valueOf), `seed ${seed}`)
        assert.strictEqual(after.loads - before.loads, after.here - before.here, `seed ${seed}`)
        if (count >= 100) assert.isAbove(after.loads - before.loads, 10)
        assert.deepStrictEqual((yield* look(indices.map(keyOf))).map(textOf), indices.map(valueOf))
        assert.strictEqual((yield* seen).loads, after.loads, "nothing is read again")
      }).pipe(Effect.provide(open({ memory: "16 MiB" })))
    }
  })

const getMany = (keys: ReadonlyArray<Uint8Array>) =>
  Effect.map(Blobs.getMany(keys), (values) => values.map(Option.getOrUndefined))

suite("getMany of a store", (test) => {
  test.opening("a snapshot reads each missing page once", (open) =>
    cold(open, (keys) => getMany(keys).pipe(Snapshot.read())))

  test.opening("so does a transaction", (open) => cold(open, (keys) => getMany(keys).pipe(Tx.transact())))

  test.opening("and the raw door", (open) =>
    cold(open, (keys) => Effect.map(Blobs.raw, (raw) => raw.getManyUnsafe(keys))))

  test.opening("and the one that packs", (open) => {
    const many = new Many()
    return cold(open, (keys) =>
      Effect.map(Blobs.raw, (raw) => {
        raw.getManyIntoUnsafe(keys, many)
        assert.strictEqual(many.count, keys.length)
        return keys.map((_, index) => many.value(index))
      }))
  })

  test.opening("answers from little memory", (open) =>
    Effect.gen(function*() {
      yield* Effect.provide(filled, open())
      const indices = some(7, 2_500)
      const values = yield* Effect.provide(
        getMany(indices.map(keyOf)).pipe(Snapshot.read()),
        open({ memory: "1 MiB", pageSize: "4 KiB" })
      )
      assert.deepStrictEqual(values.map(textOf), indices.map(valueOf))
    }))

  test("a transaction sees its own writes, and is validated for every key it read", () =>
    Effect.gen(function*() {
      yield* filled
      const raw = yield* Blobs.raw
      let runs = 0
      const answer = yield* Effect.gen(function*() {
        runs++
        yield* Blobs.put(keyOf(2), Buffer.from("own"))
        yield* Blobs.remove(keyOf(4))
        const values = yield* getMany([4, 6, 2, 1, 2].map(keyOf))
        if (runs === 1) yield* theirs(raw)
        return values.map(textOf)
      }).pipe(Tx.transact())
      assert.strictEqual(runs, 2)
      assert.deepStrictEqual(answer, [undefined, "theirs", "own", undefined, "own"])
    }))

  test("a transaction that only asked for what it wrote has read nothing", () =>
    Effect.gen(function*() {
      const raw = yield* Blobs.raw
      let runs = 0
      const values = yield* Effect.gen(function*() {
        runs++
        yield* Blobs.put(keyOf(2), Buffer.from("own"))
        const values = yield* getMany([2, 2].map(keyOf))
        yield* theirs(raw)
        return values.map(textOf)
      }).pipe(Tx.transact())
      assert.strictEqual(runs, 1)
      assert.deepStrictEqual(values, ["own", "own"])
    }))
})

/**
 * Ranges, whatever lies in them and whatever happens while they are read: group B of the cases that any ordered store
 * must pass, in every configuration.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { configuration, everywhere } from "./support/configurations.ts"
import type { World } from "./support/configurations.ts"
import { after, bytes, rangeOf, sameRows, text } from "./support/oracle.ts"
import type { Row, Twin, Write } from "./support/oracle.ts"
import { RangeReader } from "./support/rangeReader.ts"
import type { Range } from "./support/storeModel.ts"
import { reasonOf, upTo } from "./support/stores.ts"

const read = Snapshot.read()
const keyOf = (n: number): string => `k${String(n).padStart(5, "0")}`
const rowsOf = (count: number, value: (n: number) => string = (n) => `value ${n}`): Array<Write> =>
  upTo(count).map((n) => [keyOf(n), value(n)])
/** A bound, or none. */
const open = (name: "from" | "until", key: string | undefined): Range =>
  key === undefined ? {} : { [name]: key }
const readers = Effect.map(Store.Store, ({ machine }) => machine.tree.versions.pins.readers)

everywhere((test) => {
  const stored = ["b", "d", "dd", "de", "f", "h"]
  const probes = ["", "a", "b", "c", "d", "dd", "ddd", "h", "hh", "z"]
  // An exclusive bound is the smallest key above it.
  const froms = [undefined, ...probes, ...["a", "b", "dd", "h"].map(after)]
  const untils = [undefined, ...probes, ...["b", "d", "h", "z"].map(after)]

  test("B11 bounds included, excluded and open, by keys that are there, absent, between, before and after all", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("bounds")
      yield* twin.write(stored.map((key) => [key, key.toUpperCase()]))
      yield* world.pause
      for (const prefix of ["", "d", "dd", "x"]) {
        for (const reverse of [false, true]) {
          const expected = twin.oracle.range({ prefix, reverse })
          yield* read(Effect.gen(function*() {
            for (const from of froms) {
              for (const until of untils) {
                const range: Range = { prefix, reverse, ...open("from", from), ...open("until", until) }
                const inside = expected.filter(([key]) =>
                  (from === undefined || key >= from) && (until === undefined || key < until)
                )
                sameRows(JSON.stringify(range), yield* twin.rows(range), inside)
              }
            }
          }))
        }
      }
      // Both bounds one key, there or not: excluded or included at either end.
      for (const key of ["a", "b", "c", "h", "z"]) {
        for (const from of [key, after(key)]) {
          for (const until of [key, after(key)]) yield* twin.agreeIn({ from, until })
        }
      }
      yield* twin.agreeIn({ from: "f", until: "b" })
      yield* twin.agreeIn({ from: "f", until: "b", reverse: true })
    }))

  test("B12 limits of 0, 1, n, n + 1; keys alone; backwards the mirror; left early, nothing is held", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("limits")
      const count = 300
      yield* twin.writeIn(40, rowsOf(count))
      yield* world.pause
      for (const limit of [0, 1, 2, 99, count - 1, count, count + 1]) {
        for (const reverse of [false, true]) {
          yield* twin.agreeIn({ limit, reverse })
          yield* twin.agreeIn({ from: keyOf(50), until: keyOf(250), limit, reverse })
        }
      }
      const forward = yield* read(twin.rows())
      sameRows("backwards", (yield* read(twin.rows({ reverse: true }))).toReversed(), forward)
      for (const taken of [0, 1, 5, 100]) {
        const some = twin.keyspace.range().pipe(Snapshot.stream(), Stream.take(taken))
        assert.strictEqual((yield* Stream.runCollect(some)).length, taken)
        assert.strictEqual(yield* readers, 0)
      }
    }))

  test("B13 prefixes: empty, absent, a whole key, of ff bytes, and one that ends in them", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("prefix")
      const keys = [
        "\xfe",
        "\xff",
        "\xff\0",
        "\xff\xff",
        "\xff\xff\x01",
        "\x01\xff",
        "\x01\xff\xff",
        "\x02",
        "ab"
      ]
        .concat("a", "abc", "abd", "ac", "", "\0", "\0\0", "\x01")
      yield* twin.write(keys.map((key) => [key, `${key.length}`]))
      yield* world.pause
      const longer = ["\xff\xff\xff", "\x03", "abcd", "b", "\xff".repeat(200)]
      for (const prefix of keys.concat(longer)) {
        yield* twin.agreeIn({ prefix })
        yield* twin.agreeIn({ prefix, reverse: true, limit: 2 })
        yield* twin.agreeIn({ prefix, from: after(prefix) })
        yield* twin.agreeIn({ prefix, until: `${prefix}a` })
      }
    }))

  test("B14 pages of k, each begun after the last key, while keys are put before and after them", (world) =>
    Effect.gen(function*() {
      for (let size = 1; size <= 10; size++) {
        const twin = world.twin(`pages of ${size}`)
        yield* twin.write(upTo(50).map((n) => [keyOf(n * 10), `${n}`]))
        const found: Array<Row> = []
        const expected: Array<Row> = []
        for (let last = "";; last = found.at(-1)?.[0] ?? "") {
          const range = { from: last === "" ? "" : after(last), limit: size }
          const page = yield* read(twin.rows(range))
          const should = twin.oracle.range(range)
          expected.push(...should)
          found.push(...page)
          if (page.length === 0 && should.length === 0) break
          const at = Number(found.at(-1)?.[0].slice(1))
          // One behind the cursor, one just before and one just after it, one further on.
          yield* twin.write(
            [0, -1, 1, 33].map((step) => [keyOf(Math.max(0, step === 0 ? 3 : at + step)), "new"])
          )
          yield* twin.remove(keyOf(at + 20))
          if (expected.length > 120) break
        }
        sameRows(`pages of ${size}`, found, expected)
        assert.isAbove(found.length, 50)
        if (size % 5 === 0) yield* world.pause
        yield* twin.agree
      }
    }))

  test("B15 across leaves, across emptied ones, across those with nothing to show", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("gaps")
      const count = 1_200
      yield* twin.writeIn(60, rowsOf(count))
      const before = twin.oracle.copy()
      yield* read(Effect.gen(function*() {
        // Everything but both ends goes; the snapshot needs all of it still.
        yield* twin.writeIn(60, upTo(count - 20).map((n) => [keyOf(n + 10), undefined]))
        yield* twin.agree
        for (const reverse of [false, true]) {
          sameRows("the past", yield* twin.rows({ reverse }), before.range({ reverse }))
        }
        yield* twin.agreeIn({ from: keyOf(10), until: keyOf(count - 10) })
        yield* twin.agreeIn({ from: keyOf(9), limit: 2 })
        yield* twin.agreeIn({ until: keyOf(count - 9), limit: 2, reverse: true })
      }))
      yield* world.pause
      yield* twin.agree
      const empty = world.twin("hidden")
      yield* empty.write([["a", "first"], ["z", "last"]])
      yield* read(Effect.gen(function*() {
        const past = empty.oracle.copy()
        // Leaves of which the snapshot sees nothing.
        yield* empty.writeIn(60, rowsOf(count))
        sameRows("what was there", yield* empty.rows(), past.range())
        sameRows("backwards", yield* empty.rows({ reverse: true }), past.range({ reverse: true }))
        yield* empty.writeIn(60, upTo(count).map((n) => [keyOf(n), undefined]))
        sameRows("what was there", yield* empty.rows(), past.range())
      }))
      yield* empty.agree
      yield* world.pause
      yield* empty.agree
    }))

  /** What may happen to the leaf that a range is in the middle of. */
  const events: Record<
    string,
    (twin: Twin, world: World) => Effect.Effect<unknown, StoreError, Store.Store>
  > = {
    "its leaf splits": (twin) =>
      twin.writeIn(20, upTo(200).map((n) => [`${keyOf(20)}-${1_000 + n}`, "more"])),
    "its leaf merges with its neighbours": (twin) =>
      Effect.andThen(
        twin.writeIn(20, upTo(200).map((n) => [keyOf(n), undefined])),
        twin.writeIn(20, upTo(60).map((n) => [keyOf(240 + n), undefined]))
      ),
    "all but its leaf goes": (twin) =>
      twin.writeIn(50, upTo(300).filter((n) => n < 15 || n > 25).map((n) => [keyOf(n), undefined])),
    "its leaf is forgotten": (_, world) => world.chill,
    "its leaf is written anew": (twin) => twin.writeIn(30, rowsOf(300, (n) => "longer".repeat(n % 9))),
    "a checkpoint passes": () => Effect.flatMap(Store.Store, (store) => store.checkpoint),
    "the keyspace is cleared": (twin) => cleared(twin),
    "the keyspace is dropped": (twin) => dropped(twin)
  }
  for (const [event, happen] of Object.entries(events)) {
    test(`B16 a range goes on as it began when ${event}`, (world) =>
      Effect.gen(function*() {
        const twin = world.twin("while")
        yield* twin.writeIn(40, rowsOf(300))
        yield* world.pause
        const before = twin.oracle.copy()
        yield* read(Effect.gen(function*() {
          const ways = [{}, { reverse: true }, { from: keyOf(18), until: keyOf(281) }]
          const open = yield* Effect.forEach(ways, (range) => RangeReader.open(twin, range))
          for (const iterator of open) yield* iterator.next(20)
          yield* happen(twin, world)
          for (const iterator of open) yield* iterator.next(5)
          yield* happen(twin, world)
          for (const [index, iterator] of open.entries()) {
            yield* iterator.rest(event, before.range(ways[index]))
          }
        }))
        yield* twin.agree
        yield* world.pause
        yield* twin.agree
      }))
  }

  test("B16 a range that outlives its store is told so", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("closed")
      yield* twin.writeIn(40, rowsOf(300))
      yield* read(Effect.gen(function*() {
        const iterator = yield* RangeReader.open(twin)
        yield* iterator.next(5)
        yield* world.reopen()
        assert.strictEqual(yield* reasonOf(iterator.next(Infinity)), "Closed")
      }))
      yield* twin.agree
    }))

  test("B17 a range sees just the state at its opening, whatever is committed while it is read", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("moment")
      yield* twin.writeIn(40, rowsOf(250))
      for (let round = 0; round < 6; round++) {
        const before = twin.oracle.copy()
        const range = { reverse: chance.bool(0.5) }
        yield* read(Effect.gen(function*() {
          const iterator = yield* RangeReader.open(twin, range)
          while (!iterator.ended) {
            yield* iterator.next(1 + chance.int(40))
            yield* twin.write(
              upTo(1 + chance.int(20)).map((): Write => {
                const key = keyOf(chance.int(260))
                return [key, chance.bool(0.45) ? undefined : `round ${round}`.repeat(chance.int(4))]
              })
            )
          }
          yield* iterator.rest(`round ${round}`, before.range(range))
        }))
        yield* twin.agree
        yield* world.pause
      }
    }))

  test("B18 who reads a range may write meanwhile, in a transaction and outside", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("own")
      yield* twin.writeIn(40, rowsOf(150))
      const before = twin.oracle.copy()
      yield* read(Effect.gen(function*() {
        const rows = Stream.mapEffect(
          twin.keyspace.range(),
          ({ key, value }) =>
            Effect.as(twin.put(`${text(key)}+`, "put meanwhile"), [text(key), text(value)] as const)
        )
        sameRows("outside", yield* Stream.runCollect(rows), before.range())
      }))
      yield* twin.agree
      yield* world.pause
      // Inside, own writes ahead of the range are seen: those of the last round end it.
      const seen: Array<string> = []
      yield* Tx.transact()(Stream.runForEach(twin.keyspace.keys(rangeOf({ until: keyOf(100) })), (key) => {
        seen.push(text(key))
        return text(key).endsWith("+") ? twin.step([text(key), undefined]) : Effect.void
      }))
      assert.deepStrictEqual(seen, twin.oracle.range({ until: keyOf(100) }).map(([key]) => key))
      for (const key of seen) if (key.endsWith("+")) twin.oracle.set(key, undefined)
      yield* twin.agree
    }))

  test("B19 removed and put again, read before and after: no key twice, none back, no old value", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("again")
      yield* twin.writeIn(40, rowsOf(200))
      for (let round = 0; round < 12; round++) {
        const keys = upTo(20).map(() => keyOf(chance.int(200)))
        // Read, so that copies may be kept; forgotten; written without a look; read again.
        yield* twin.agreeOn(keys)
        yield* world.chill
        const writes = keys.map((key): Write => [key, chance.bool(0.5) ? undefined : `round ${round}`])
        yield* twin.write(writes)
        if (chance.bool(0.5)) yield* world.chill
        yield* twin.agreeOn(keys)
        yield* twin.write(keys.filter(() => chance.bool(0.3)).map((key) => [key, "again"]))
        yield* twin.agree
        if (round % 4 === 3) yield* world.pause
      }
      yield* twin.agreeOn(upTo(200).map(keyOf))
    }))

  test("B20 records in memory alone, on disk alone and in both, in one leaf", (world) =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const twin = world.twin("both")
      yield* twin.writeIn(40, upTo(200).map((n) => [keyOf(n * 5), `base ${n}`]))
      yield* store.checkpoint
      yield* world.pause
      for (let round = 0; round < 5; round++) {
        yield* world.chill
        // Blind: over what is on disk, beside it, and hiding it; where nothing is; and a part of it is taken back.
        yield* twin.write(
          upTo(200).map((n): Write => {
            const key = keyOf(n * 5 + (n + round) % 3)
            return [key, (n * 7 + round) % 4 === 0 ? undefined : `round ${round}`]
          })
        )
        yield* twin.agreeIn({ from: keyOf(101), until: keyOf(140) })
        yield* twin.agreeIn({ from: keyOf(101), until: keyOf(140), reverse: true, limit: 3 })
        yield* twin.agree
        // The range was read and may be kept whole: a write makes that old.
        yield* twin.write([[keyOf(120), `after ${round}`], [keyOf(125), undefined], [keyOf(131), "new"]])
        yield* twin.agreeIn({ from: keyOf(101), until: keyOf(140) })
        yield* twin.agreeOn([120, 125, 131, 130, 126].map(keyOf))
        if (round === 2) yield* world.pause
      }
    }))
})

everywhere((test) => {
  test("B15 a hundred thousand removed records in a row, and as many that came later", (world) =>
    Effect.gen(function*() {
      const count = 100_000
      const twin = world.twin("far")
      yield* twin.write([["a", "first"], ["z", "last"]])
      const ends = twin.oracle.range()
      const all = (value: Uint8Array | undefined) =>
        Effect.forEach(
          upTo(count / 500),
          (batch) => commitNow(twin, upTo(500).map((n) => ({ key: bytes(keyOf(batch * 500 + n)), value }))),
          { discard: true }
        )
      yield* read(Effect.gen(function*() {
        yield* all(Uint8Array.of(1))
        assert.strictEqual((yield* twin.keyspace.stat).count, count + 2)
        sameRows("later ones", yield* twin.rows(), ends)
        yield* read(Effect.gen(function*() {
          // This one keeps what goes now, and so the leaves stay.
          yield* all(undefined)
          sameRows("removed ones", yield* read(twin.rows()), ends)
          sameRows("backwards", yield* read(twin.rows({ reverse: true })), ends.toReversed())
          assert.strictEqual((yield* twin.rows({ from: keyOf(5) })).length, count - 5 + 1)
        }))
      }))
      yield* twin.agree
      yield* world.pause
      yield* twin.agree
    }))
}, [configuration("normal")])

/** Commits at once, beside all turns. */
const commitNow = (
  twin: Twin,
  writes: ReadonlyArray<{ readonly key: Uint8Array; readonly value: Uint8Array | undefined }>
): Effect.Effect<unknown, StoreError, Store.Store> =>
  Effect.flatMap(Store.Store, ({ machine }) =>
    machine.submit({
      keyspaces: () => [{
        name: twin.keyspace.name,
        layout: twin.keyspace.layout,
        cleared: false,
        dropped: false,
        writes: () => writes
      }],
      durability: "memory"
    }))
const cleared = (twin: Twin): Effect.Effect<void, StoreError, Store.Store> =>
  Effect.map(Tx.transact()(twin.keyspace.clear), () => twin.oracle.clear())
const dropped = (twin: Twin): Effect.Effect<void, StoreError, Store.Store> =>
  Effect.map(Tx.transact()(twin.keyspace.drop), () => twin.oracle.clear())

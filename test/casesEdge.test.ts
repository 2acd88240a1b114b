/**
 * Where a buffer of parts of pages goes wrong, seen from outside: pages that are empty, copies that are old, leaves that
 * split under a reader, memory that is smaller than the work.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import { configuration, everywhere } from "./support/configurations.ts"
import { after, sameRows, Twin } from "./support/oracle.ts"
import type { Write } from "./support/oracle.ts"
import { upTo } from "./support/stores.ts"

const read = Snapshot.read()
const keyOf = (n: number): string => `k${String(n).padStart(5, "0")}`
const checkpoint = Effect.flatMap(Store.Store, (store) => store.checkpoint)
const sound: Effect.Effect<void, StoreError, Store.Store> = Effect.flatMap(
  Store.Store,
  (store) => Effect.map(store.inspect, ({ violations }) => assert.deepStrictEqual(violations, []))
)

everywhere((test) => {
  test("only removals of what is not there, in memory, forgotten, and read again", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("nothing")
      yield* twin.put("a", "so that the keyspace is there")
      yield* twin.remove("a")
      for (let round = 0; round < 4; round++) {
        yield* twin.remove(...upTo(30).map((n) => keyOf(n + round)))
        if (round % 2 === 1) yield* world.chill
        yield* twin.agree
        yield* twin.agreeOn(upTo(5).map(keyOf))
        yield* checkpoint
        yield* world.pause
      }
      yield* sound
      yield* twin.put(keyOf(7), "at last")
      yield* world.chill
      yield* twin.agree
    }))

  test("a leaf with one record that is removed, forgotten, and filled again in one transaction", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("single")
      for (let round = 0; round < 5; round++) {
        yield* twin.put(keyOf(50), `round ${round}`)
        yield* checkpoint
        yield* world.pause
        yield* world.chill
        yield* twin.remove(keyOf(50))
        if (round % 2 === 0) yield* world.chill
        // More than a leaf holds, around the key that goes.
        yield* twin.write(upTo(100).map((n): Write => [keyOf(n), n === 50 ? undefined : "v".repeat(60)]))
        yield* twin.agree
        yield* twin.agreeOn([49, 50, 51].map(keyOf))
        yield* twin.writeIn(30, upTo(100).map((n): Write => [keyOf(n), undefined]))
        yield* twin.agree
      }
      yield* sound
    }))

  test("an emptied keyspace that was checkpointed is read, misses are repeated, and then one is put", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("emptied")
      yield* twin.writeIn(30, upTo(120).map((n): Write => [keyOf(n), "v".repeat(50)]))
      yield* checkpoint
      yield* twin.writeIn(30, upTo(120).map((n): Write => [keyOf(n), undefined]))
      yield* checkpoint
      yield* world.pause
      for (let times = 0; times < 4; times++) {
        yield* twin.agreeOn([keyOf(3), keyOf(60), "absent"])
        yield* twin.agree
      }
      yield* twin.put(keyOf(60), "put after it was missed")
      yield* twin.agreeOn([keyOf(59), keyOf(60), keyOf(61)])
      yield* world.chill
      yield* twin.agreeOn([keyOf(60)])
      yield* twin.remove(keyOf(60))
      yield* twin.agreeOn([keyOf(60)])
      yield* world.chill
      yield* twin.agree
    }))

  test("copies of records that were read do not come back after their leaf split or they were removed", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("copies")
      const { chance } = world
      yield* twin.writeIn(30, upTo(100).map((n): Write => [keyOf(n), `first ${n}`.padEnd(40)]))
      yield* checkpoint
      yield* world.pause
      for (let round = 0; round < 8; round++) {
        const some = upTo(12).map(() => keyOf(chance.int(100)))
        yield* world.chill
        yield* twin.agreeOn(some)
        yield* twin.agreeOn(some)
        yield* twin.write(some.map((key): Write => [key, chance.bool(0.5) ? undefined : `round ${round}`]))
        // The leaves of the copies split around them.
        yield* twin.writeIn(
          20,
          some.flatMap((key) => upTo(10).map((n): Write => [`${key}-${n}`, "v".repeat(40)]))
        )
        yield* twin.agreeOn(some)
        yield* world.chill
        yield* twin.agreeOn(some)
        yield* twin.agree
        yield* twin.writeIn(
          40,
          twin.oracle.keys().filter((key) => key.includes("-")).map((key) => [key, undefined])
        )
        if (round % 3 === 2) yield* world.pause
      }
      yield* twin.agree
    }))

  test("a range is between two leaves, of which both are written until they split", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("meeting")
      yield* twin.writeIn(30, upTo(200).map((n): Write => [keyOf(n * 10), "v".repeat(30)]))
      yield* checkpoint
      yield* world.pause
      // Blind writes that no read has preceded: what is in memory of each leaf grows, and goes over in the middle.
      const expected = twin.oracle.copy()
      yield* read(Effect.gen(function*() {
        for (let round = 0; round < 6; round++) {
          const half = yield* twin.rows({ limit: 90 })
          yield* twin.writeIn(
            15,
            upTo(60).map((n): Write => [`${keyOf((80 + n % 20) * 10)}-${round}-${n}`, "w".repeat(50)])
          )
          const last = half.at(-1)?.[0] as string
          const rest = yield* twin.rows({ from: after(last) })
          sameRows(`round ${round}`, half.concat(rest), expected.range())
          const back = yield* twin.rows({ until: after(last), reverse: true })
          sameRows(`round ${round}, backwards`, back.toReversed(), half)
        }
      }))
      yield* twin.agree
      yield* sound
    }))

  test("what grows after a checkpoint began is in the next one", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("growing")
      yield* twin.write(upTo(8).map((n): Write => [keyOf(n), "a"]))
      for (let round = 1; round <= 6; round++) {
        const store = yield* Store.Store
        // Beside the checkpoint, and after it: small parts of a page that become large ones.
        yield* Effect.all([
          store.checkpoint,
          twin.writeIn(2, upTo(8).map((n): Write => [keyOf(n), "b".repeat(round * 20)]))
        ], { concurrency: "unbounded" })
        yield* twin.writeIn(2, upTo(8).map((n): Write => [`${keyOf(n)}-${round}`, "c".repeat(round * 9)]))
        yield* store.checkpoint
        yield* world.reopen()
        yield* twin.agree
      }
      yield* sound
    }))

  test("many keyspaces of one leaf each, more than fit into memory", (world) =>
    Effect.gen(function*() {
      const twins = upTo(40).map((n) => world.twin(`small ${n}`))
      const all = (use: (twin: Twin, n: number) => Effect.Effect<unknown, StoreError, Store.Store>) =>
        Effect.forEach(twins, use, { discard: true })
      yield* all((twin, n) => twin.write([["own", `${n}`], ["x".repeat(n), "other"]]))
      yield* all((twin) => twin.agree)
      yield* world.pause
      for (let round = 0; round < 4; round++) {
        yield* all((twin, n) => n % 3 === round % 3 ? twin.remove("own") : twin.put("own", `round ${round}`))
        yield* all((twin) => twin.agreeOn(["own", "absent"]))
        yield* checkpoint
      }
      yield* world.pause
      yield* all((twin) => twin.agree)
      yield* sound
    }))

  test("parts of every size come and go, as many as it takes to go around the memory", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("around")
      for (let round = 0; round < 60; round++) {
        // One key of each of many leaves, and many keys of one.
        const leaf = chance.int(90)
        const size = chance.pick([0, 1, 20, 60, 120, 200])
        yield* twin.write(
          upTo(12).map((n): Write => [keyOf(chance.int(90) * 10 + n % 3), "w".repeat(chance.int(size + 1))])
            .concat(
              upTo(chance.int(10)).map((
                n
              ) => [keyOf(leaf * 10 + n), chance.bool(0.3) ? undefined : "l".repeat(size)])
            )
        )
        yield* twin.agreeOn([keyOf(leaf * 10), keyOf(leaf * 10 + 1), keyOf(chance.int(900))])
        if (round % 20 === 19) yield* twin.agree
        if (round % 30 === 29) yield* world.pause
      }
      yield* sound
      yield* twin.agree
    }))
})

everywhere((test) => {
  test("one transaction that touches more leaves than memory holds", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("wide")
      yield* twin.writeIn(50, upTo(600).map((n): Write => [keyOf(n), "v".repeat(60)]))
      yield* checkpoint
      yield* world.pause
      yield* twin.write(
        upTo(600).map((n): Write => [keyOf(n * 7 % 600), n % 5 === 0 ? undefined : `new ${n}`])
      )
      yield* twin.agree
      const { counters } = yield* (yield* Store.Store).stat
      assert.isAbove(counters.evictions, 20)
      yield* world.pause
      yield* twin.agree
    }))

  test("many fibers write and read while their leaves are forgotten", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      // Who comes first is nobody's promise, so the order of what they see is not compared.
      const twins = upTo(8).map((n) => new Twin(`fiber ${n}`, () => {}))
      const plans = twins.map((twin) => ({
        twin,
        steps: upTo(25).map(() =>
          upTo(1 + chance.int(8)).map((): Write => [
            keyOf(chance.int(120)),
            chance.bool(0.3) ? undefined : "v".repeat(chance.int(120))
          ])
        )
      }))
      yield* Effect.forEach(plans, ({ steps, twin }) =>
        Effect.forEach(steps, (writes) =>
          Effect.andThen(
            twin.write(writes),
            twin.agreeOn(writes.slice(0, 2).map(([key]) => key))
          ), { discard: true }), {
        concurrency: "unbounded",
        discard: true
      })
      yield* sound
      yield* world.pause
      for (const twin of twins) {
        yield* twin.agree
      }
    }))
}, [configuration("tiny")])

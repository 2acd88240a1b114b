/**
 * Readings in the order of time, and sums of them that nobody waits for.
 *
 * `node examples/rollups.ts`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Codec, Key, Keyspace, Reducer, Snapshot, Store, Tx } from "../src/index.ts"

const Readings = Keyspace.make("readings", {
  key: Key.Tuple(Key.String, Key.Timestamp),
  value: Schema.Struct({ celsius: Schema.Finite })
})

const Day = Schema.Struct({ count: Schema.Int, sum: Schema.Finite, max: Schema.Finite })
type Day = typeof Day.Type

// `merge` hands over an operand instead of a value. Folding one into a struct is a function of the program.
const Daily = Keyspace.make("daily", {
  key: Key.String,
  value: Day,
  reducer: Reducer.make<Day, number>({
    name: "day",
    operand: Codec.float,
    fold: (day, celsius) => {
      const { count, max, sum } = Option.getOrElse(day, () => ({ count: 0, sum: 0, max: -Infinity }))
      return { count: count + 1, sum: sum + celsius, max: Math.max(max, celsius) }
    }
  })
})

// A counter is blind: two transactions that add to it never conflict.
const Counts = Keyspace.make("counts", { key: Key.String, value: Codec.int, reducer: "sum" })

const measure = (sensor: string, at: DateTime.Utc, celsius: number) =>
  Readings.put([sensor, at], { celsius }).pipe(
    Effect.andThen(Daily.merge(sensor, celsius)),
    Effect.andThen(Counts.merge(sensor, 1)),
    Tx.transact()
  )

const newestFirst = Readings.range({ prefix: ["roof"], reverse: true, limit: 2 }).pipe(
  Stream.map((entry) => entry.value.celsius),
  Snapshot.stream()
)

const program = Effect.gen(function*() {
  const noon = DateTime.makeUnsafe("2026-06-01T12:00:00Z")
  const hours = [4, 6, 9]
  yield* Effect.forEach(
    hours,
    (celsius, hour) => measure("roof", DateTime.add(noon, { hours: hour }), celsius),
    {
      concurrency: "unbounded"
    }
  )
  yield* Console.log(`newest: ${(yield* Stream.runCollect(newestFirst)).join(", ")}`)
  yield* Console.log(yield* Daily.get("roof").pipe(Snapshot.read(), Effect.flatMap(Effect.fromOption)))

  // A snapshot is one moment, whatever is written meanwhile.
  const before = yield* Effect.gen(function*() {
    yield* Effect.forkChild(measure("roof", DateTime.add(noon, { hours: 3 }), 12)).pipe(
      Effect.flatMap(Fiber.join)
    )
    return yield* Stream.runCount(Readings.range({ prefix: ["roof"] }))
  }).pipe(Snapshot.read())
  const after = yield* Stream.runCount(Readings.range({ prefix: ["roof"] })).pipe(Snapshot.read())
  yield* Console.log(`before: ${before}, after: ${after}`)
})

program.pipe(Effect.provide(Store.layerMemory), NodeRuntime.runMain)

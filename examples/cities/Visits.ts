/**
 * Visits: small transactions that read before they write, made to be interrupted.
 *
 * Each one writes the next entry of a logbook and adds one to the visitors of a city. An entry holds the checksum of
 * the whole logbook up to itself, so one number stands for all that was acknowledged, and any entry that is lost,
 * torn or invented shows.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { crc32 } from "node:zlib"
import { Key, Keyspace, Snapshot, Tx } from "../../src/index.ts"
import { Cities } from "./Atlas.ts"

/** Visits in the order in which they were committed: 1, 2, 3, … */
const Logbook = Keyspace.make("logbook", {
  key: Key.U32,
  value: Schema.Struct({ city: Schema.Int, checksum: Schema.Int })
})

/** How often each city was visited. */
const Visitors = Keyspace.make("visitors", { key: Key.U32, value: Schema.Int })

/** An entry of the logbook. */
export interface Visit {
  readonly number: number
  readonly city: number
  /** Of this entry and all before it. */
  readonly checksum: number
}

/** Before the first visit. */
const start: Visit = { number: 0, city: 0, checksum: 0 }

/** The visit of a city that comes after another one. */
const next = ({ checksum, number }: Visit, city: number): Visit => ({
  number: number + 1,
  city,
  checksum: crc32(`${number + 1} ${city};`, checksum)
})

/** The newest entry. */
const last = Effect.map(
  Logbook.first({ reverse: true }),
  Option.match({ onNone: () => start, onSome: ({ key, value }): Visit => ({ number: key, ...value }) })
)

/** GeoNames ids are below this. */
const idBound = 13_000_000

/** The first city at or after a random id. */
const anywhere = Effect.flatMap(
  Random.nextIntBetween(0, idBound),
  (id) => Effect.map(Cities.keys({ from: id, limit: 1 }).pipe(Stream.runHead), Option.getOrElse(() => 0))
)

/** Visits a city somewhere in one transaction; answers once it is durable. */
export const visit = Effect.gen(function*() {
  const { city, ...entry } = next(yield* last, yield* anywhere)
  yield* Logbook.put(entry.number, { city, checksum: entry.checksum })
  yield* Visitors.modify(city, (count) => [undefined, Option.some(Option.getOrElse(count, () => 0) + 1)])
  return { city, ...entry }
}).pipe(Tx.transact())

/** What the logbook of a store says. */
export interface Audit {
  readonly last: Visit
  /** Checksums by number: `checksums[n]` is that of the visits up to `n`. */
  readonly checksums: ReadonlyArray<number>
  /** What is not as it must be; nothing, one hopes. */
  readonly problems: ReadonlyArray<string>
}

/** Reads every entry in one snapshot, computes its checksum anew, and counts the visitors of each city again. */
export const audit = Effect.gen(function*() {
  const checksums = [start.checksum]
  const problems: Array<string> = []
  const visitors = new Map<number, number>()
  let last = start
  yield* Stream.runForEach(Logbook.range(), ({ key, value }) =>
    Effect.sync(() => {
      const expected = next(last, value.city)
      if (key !== expected.number) problems.push(`visit ${expected.number} is missing`)
      if (value.checksum !== expected.checksum) problems.push(`visit ${key} is not what was written`)
      visitors.set(value.city, (visitors.get(value.city) ?? 0) + 1)
      checksums[key] = value.checksum
      last = { number: key, ...value }
    }))
  yield* Stream.runForEach(Visitors.range(), ({ key, value }) =>
    Effect.sync(() => {
      if (visitors.get(key) !== value) problems.push(`city ${key} counts ${value} visitors`)
      visitors.delete(key)
    }))
  for (const city of visitors.keys()) problems.push(`city ${city} lost its visitors`)
  const audit: Audit = { last, checksums, problems }
  return audit
}).pipe(Snapshot.read())

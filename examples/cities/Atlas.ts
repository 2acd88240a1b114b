/**
 * The atlas: every city once by its id and twice more in the orders that people ask in.
 *
 * A keyspace is declared as a value and opens nothing. `Ranking` and `Names` have their answers in their keys, so a
 * range over them reads no values at all.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Key, Keyspace, Tx } from "../../src/index.ts"

export const City = Schema.Struct({
  name: Schema.String,
  country: Schema.String,
  population: Schema.Int,
  longitude: Schema.Finite,
  latitude: Schema.Finite
})

/** By GeoNames id. */
export const Cities = Keyspace.make("cities", { key: Key.U32, value: City })

/** By country, then the most people first, then name; the id tells namesakes of one size apart. */
export const Ranking = Keyspace.make("ranking", {
  key: Key.Tuple(Key.String, Key.Desc(Key.U32), Key.String, Key.U32),
  value: Schema.Null
})

/** By name, then the most people first. */
export const Names = Keyspace.make("names", {
  key: Key.Tuple(Key.String, Key.Desc(Key.U32), Key.String, Key.U32),
  value: Schema.Null
})

/** A city with the id that it is kept under. */
export interface Entry extends Schema.Schema.Type<typeof City> {
  readonly id: number
}

/** Records that one city takes. */
export const recordsPerCity = 3

/** Loads some cities in one transaction: all three orders have all of them, or none has any. */
export const add = (cities: ReadonlyArray<Entry>) =>
  Effect.forEach(cities, ({ id, ...city }) => {
    const { country, name, population } = city
    return Cities.put(id, city).pipe(
      Effect.andThen(Ranking.put([country, population, name, id], null)),
      Effect.andThen(Names.put([name, population, country, id], null))
    )
  }, { discard: true }).pipe(Tx.transact())

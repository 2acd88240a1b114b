/**
 * The nouns of WordNet as a graph: synsets (sets of words that mean the same) and the relations between them.
 *
 * An edge is a key and has no value, so all edges of one synset and one relation are a range. The way back, which
 * WordNet writes down as relations of their own, is an index here: kept by whoever writes the edges, and never forgotten.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { Index, Key, Keyspace, Tx } from "../../src/index.ts"

/** By their offset in WordNet's file. */
export const Synsets = Index.make(
  Keyspace.make("synsets", {
    key: Key.U32,
    value: Schema.Struct({ words: Schema.Array(Schema.String), gloss: Schema.String })
  }),
  { word: { key: Key.String, of: ({ value: { words } }) => words.map((word) => word.toLowerCase()) } }
)

/** From a synset, by a relation, to a synset. */
export const Edges = Index.make(
  Keyspace.make("edges", { key: Key.Tuple(Key.U32, Key.String, Key.U32), value: Schema.Null }),
  {
    to: { key: Key.Tuple(Key.U32, Key.String), of: ({ key: [, relation, to] }) => [[to, relation] as const] }
  }
)

export interface Synset {
  readonly id: number
  readonly words: ReadonlyArray<string>
  readonly gloss: string
  readonly edges: ReadonlyArray<readonly [relation: string, to: number]>
}

/** Hyponyms, meronyms and members of domains: the ways back of hypernyms, holonyms and domains. */
const waysBack = new Set(["~", "~i", "%m", "%s", "%p", "-c", "-u", "-r"])

/**
 * A line of `data.noun` (wndb(5WN)): offset, lexicographer's file, type, number of words in hexadecimal, words with
 * their ids, number of pointers, pointers of four fields, and the gloss behind a bar.
 */
export const parse = (line: string): Synset => {
  const bar = line.indexOf("|")
  const fields = line.slice(0, bar).split(" ")
  const at = (index: number): string => fields[index] ?? ""
  const count = parseInt(at(3), 16)
  const words = Array.from({ length: count }, (_, word) => at(4 + 2 * word).replaceAll("_", " "))
  const pointers = 4 + 2 * count
  const edges: Array<readonly [string, number]> = []
  for (let pointer = 0; pointer < Number(at(pointers)); pointer++) {
    const [relation, to, part] = fields.slice(pointers + 1 + 4 * pointer)
    if (relation !== undefined && part === "n" && !waysBack.has(relation)) edges.push([relation, Number(to)])
  }
  return { id: Number(at(0)), words, gloss: line.slice(bar + 1).trim(), edges }
}

/** Adds synsets and their edges in one transaction. */
export const add = (synsets: ReadonlyArray<Synset>) =>
  Effect.forEach(synsets, ({ edges, gloss, id, words }) =>
    Effect.andThen(
      Synsets.put(id, { words, gloss }),
      Effect.forEach(edges, ([relation, to]) => Edges.put([id, relation, to], null), { discard: true })
    ), { discard: true }).pipe(Tx.transact())

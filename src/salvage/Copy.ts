/**
 * Copying what is intact of a checkpoint into the target, and knowing which keys that leaves out.
 *
 * Leaves are taken in the order of the keys. Where an inner page is lost, the leaves below it are looked for one by
 * one: the map table, which the superblock vouches for, says that they are current, and they say themselves which keys
 * they are for.
 *
 * I1 Of each keyspace, what was copied and what is in `lost` are all of its keys.
 */
import * as Effect from "effect/Effect"
import type { Retained } from "../offline/Retained.ts"
import { isFault } from "../offline/Source.ts"
import * as Values from "../offline/Values.ts"
import type { LeafAt } from "../offline/Walk.ts"
import { Walk } from "../offline/Walk.ts"
import type { StoreError } from "../StoreError.ts"
import type { KeyspaceEntry } from "../tree/file/Catalog.ts"
import { fencesOf } from "../tree/page/Bounds.ts"
import { KeyScratch } from "../tree/page/KeyScratch.ts"
import * as Leaf from "../tree/page/Leaf.ts"
import { valueOf } from "../tree/page/Operand.ts"
import * as Page from "../tree/page/Page.ts"
import { readReference } from "../tree/page/Reference.ts"
import { only, Ranges } from "../tree/past/Ranges.ts"
import { blend, blendWords } from "../tree/read/Blend.ts"
import type { Target } from "./Target.ts"

/** Keys that are missing, by keyspace id. */
export type Lost = ReadonlyMap<number, Ranges>

export const counters = () => ({ leaves: 0, records: 0, largeValues: 0 })

export interface Options {
  readonly retained: Retained
  readonly target: Target
  readonly counters: ReturnType<typeof counters>
  /** Copies these keys of these keyspaces only. */
  readonly wanted?: Lost
}

/** Copies the keyspaces of a checkpoint whose catalog is sound; answers what is lost of each. */
export const copy = (options: Options): Effect.Effect<Map<number, Ranges>, StoreError> =>
  Effect.gen(function*() {
    const { retained, wanted } = options
    const walk = new Walk(retained)
    const lost = new Map<number, Ranges>()
    const keyspaces = retained.catalog?.keyspaces ?? []
    for (const entry of keyspaces) {
      const ranges = new Ranges()
      lost.set(entry.id, ranges)
      const keys = wanted?.get(entry.id)
      if (wanted !== undefined && (keys === undefined || keys.isEmpty)) continue
      yield* walk.tree(entry, {
        leaf: (leaf) => copyLeaf(options, entry, leaf, ranges),
        lost: (bounds) => ranges.add(bounds)
      })
    }
    if ([...lost.values()].some((ranges) => !ranges.isEmpty)) {
      yield* orphans(options, walk, new Map(keyspaces.map((entry) => [entry.treeId, entry])), lost)
    }
    return lost
  })

/** Looks for leaves of lost ranges that no sound inner page leads to. */
const orphans = (
  options: Options,
  walk: Walk,
  trees: ReadonlyMap<number, KeyspaceEntry>,
  lost: ReadonlyMap<number, Ranges>
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { retained } = options
    for (const id of retained.ids.values()) {
      if (walk.reached.has(id)) continue
      const read = yield* retained.page(id)
      yield* retained.advance(retained.pageBytes)
      if (isFault(read) || Page.level(read.words, 0) > 0) continue
      const entry = trees.get(Page.treeId(read.words, 0) >>> 0)
      const ranges = entry === undefined ? undefined : lost.get(entry.id)
      if (entry === undefined || ranges === undefined || !ranges.covers(fencesOf(read.words))) continue
      const leaf = yield* walk.alone(entry, id, read)
      if (leaf === undefined) continue
      ranges.remove(leaf)
      yield* copyLeaf(options, entry, leaf, ranges)
    }
  })

const copyLeaf = (
  options: Options,
  entry: KeyspaceEntry,
  leaf: LeafAt,
  lost: Ranges
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { counters, target } = options
    const wanted = options.wanted?.get(entry.id)
    if (wanted?.meets(leaf) === false) return
    const words = blended(options.retained, entry, leaf)
    counters.leaves++
    for (let index = 0; index < Page.count(words, 0); index++) {
      const key = keyOf(words, index)
      if (wanted?.has(key) === false) continue
      const value = yield* valueAt(options, words, index)
      if (value === undefined) {
        lost.add(only(key))
        continue
      }
      counters.records++
      const full = target.put(entry, key, value, expiryAt(words, index))
      if (full !== undefined) yield* full
    }
  })

/** The leaf with what its mini-page says. */
const blended = (retained: Retained, { reducer }: KeyspaceEntry, { mini, words }: LeafAt): Int32Array => {
  if (mini === undefined) return words
  const page = new Int32Array(blendWords(retained.pageBytes >>> 2))
  blend(page, words, 0, mini, 0, reducer, Infinity)
  return page
}

const scratch = new KeyScratch()

const keyOf = (words: Int32Array, index: number): Uint8Array => {
  Leaf.loadKey(words, 0, index, scratch)
  return scratch.toBytes()
}

const expiryAt = (words: Int32Array, index: number): number =>
  Leaf.expiryAt(words, Leaf.recordAt(words, 0, index), Page.slotBytes(words, 0, index))

/** The value of a record; undefined where it is in the log, and damaged there. */
const valueAt = (
  { counters, retained }: Options,
  words: Int32Array,
  index: number
): Effect.Effect<Uint8Array | undefined, StoreError> => {
  const record = Leaf.recordAt(words, 0, index)
  const stored = valueOf(words, record, Page.slotBytes(words, 0, index))
  if (Leaf.kindAt(words, record) !== Leaf.Kind.Reference) return Effect.succeed(stored.slice())
  const reference = readReference(stored)
  return Effect.map(Values.read(retained.source, reference), (value) => {
    if (!(value instanceof Uint8Array)) return undefined
    counters.largeValues++
    return value
  })
}

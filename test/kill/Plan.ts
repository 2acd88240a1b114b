/**
 * What the killed process writes: the n-th transaction of a store is a function of n alone.
 *
 * So the state after n commits can be computed by anybody who knows n, and a store holds its own n. A state that is no
 * prefix of the plan was lost, torn or invented.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { crc32 } from "node:zlib"
import { Codec, Key, Keyspace, Snapshot, Tx } from "../../src/index.ts"
import type { Store } from "../../src/index.ts"
import { random } from "../support/random.ts"

/** Small enough that segments rotate, pages are evicted and checkpoints happen all the time. */
export const options = (path: string): Store.Options => ({
  path,
  memory: "1MiB",
  segmentSize: "64KiB",
  undurable: "64KiB",
  checkpoint: { logBytes: "256KiB" },
  limits: { markDelayMillis: 2, stagingBytes: 64 * 1024, inlineValueBytes: 512 }
})

const numbers = Keyspace.make("numbers", { key: Key.U32, value: Codec.bytes })
const words = Keyspace.make("words", { key: Key.String, value: Codec.bytes })
const pairs = Keyspace.make("pairs", { key: Key.Tuple(Key.String, Key.Desc(Key.Int)), value: Codec.bytes })
/** Under 0: how many transactions were committed. */
const progress = Keyspace.make("progress", { key: Key.U32, value: Schema.Int })

type Place = "numbers" | "words" | "pairs"

interface Write {
  readonly place: Place
  readonly key: number
  /** Undefined removes. */
  readonly value: Uint8Array | undefined
}

interface Transaction {
  readonly cleared: Place | undefined
  readonly writes: ReadonlyArray<Write>
}

const places: ReadonlyArray<Place> = ["numbers", "words", "pairs"]
const keysOf = { numbers: 4_000, words: 800, pairs: 200 }

/** The n-th transaction. */
export const transaction = (number: number): Transaction => {
  const chance = random(number)
  const cleared = chance.bool(1 / 500) ? chance.pick(places) : undefined
  const size = chance.pick([1, 1, 1, 2, 3, 5, 20, 120])
  const writes = Array.from({ length: size }, (_, index): Write => {
    const place = chance.pick(places)
    const bytes = chance.pick([0, 8, 8, 40, 40, 300, 511, 512, 513, size === 1 ? 9_000 : 700])
    const text = `${number}.${index} `
    const value = chance.bool(0.2) ? undefined : Buffer.alloc(bytes, text)
    return { place, key: chance.int(keysOf[place]), value }
  })
  return { cleared, writes }
}

const word = (key: number): string => `${"w".repeat(key % 60)}${key}`
const pair = (key: number): readonly [string, number] => [`p${key % 7}`, key]

const write = ({ key, place, value }: Write) => {
  if (place === "numbers") return value === undefined ? numbers.remove(key) : numbers.put(key, value)
  if (place === "words") return value === undefined ? words.remove(word(key)) : words.put(word(key), value)
  return value === undefined ? pairs.remove(pair(key)) : pairs.put(pair(key), value)
}

/** Commits the transaction that comes next; answers its number once it has the durability. */
export const commitNext = (durability: NonNullable<Store.Options["durability"]>) =>
  Effect.gen(function*() {
    const number = Option.getOrElse(yield* progress.get(0), () => 0) + 1
    const { cleared, writes } = transaction(number)
    if (cleared !== undefined) yield* { numbers, words, pairs }[cleared].clear
    yield* Effect.forEach(writes, write, { discard: true })
    yield* progress.put(0, number)
    return number
  }).pipe(Tx.transact({ durability }))

/** The state after the first n transactions: a checksum of each value by key. */
export class Model {
  number = 0
  readonly states: Record<Place, Map<number, number>> = {
    numbers: new Map(),
    words: new Map(),
    pairs: new Map()
  }

  /** Goes forward to n; the plan has no way back. */
  advance(number: number): void {
    while (this.number < number) {
      const { cleared, writes } = transaction(++this.number)
      if (cleared !== undefined) this.states[cleared].clear()
      for (const { key, place, value } of writes) {
        if (value === undefined) this.states[place].delete(key)
        else this.states[place].set(key, crc32(value))
      }
    }
  }

  /** The first difference to what a store holds. */
  difference(found: Found): string | undefined {
    for (const place of places) {
      const expected = this.states[place]
      const actual = found.states[place]
      for (const [key, checksum] of expected) {
        if (!actual.has(key)) return `${place} ${key} is missing`
        if (actual.get(key) !== checksum) return `${place} ${key} has another value`
      }
      for (const key of actual.keys()) if (!expected.has(key)) return `${place} ${key} should not be there`
      const { count, unresolved } = found.counts[place]
      if (Math.abs(count - expected.size) > unresolved) {
        return `${place} counts ${count}, of ${unresolved} not known, instead of ${expected.size}`
      }
    }
    return undefined
  }
}

/** What a store holds. */
export interface Found {
  readonly number: number
  readonly states: Record<Place, Map<number, number>>
  readonly counts: Record<Place, Keyspace.Stat>
}

const keyOf = (key: number | string | readonly [string, number]): number => {
  if (typeof key === "number") return key
  return typeof key === "string" ? Number(key.replace(/^w*/, "")) : key[1]
}

const collect = <K extends number | string | readonly [string, number], P>(
  keyspace: Keyspace.Keyspace<K, Uint8Array, P>
) =>
  Effect.map(
    Stream.runCollect(keyspace.range()),
    (rows) => new Map(rows.map(({ key, value }) => [keyOf(key), crc32(value)]))
  )

/** Reads everything in one snapshot. */
export const read = Effect.gen(function*() {
  const found: Found = {
    number: Option.getOrElse(yield* progress.get(0), () => 0),
    states: { numbers: yield* collect(numbers), words: yield* collect(words), pairs: yield* collect(pairs) },
    counts: {
      numbers: yield* numbers.stat,
      words: yield* words.stat,
      pairs: yield* pairs.stat
    }
  }
  return found
}).pipe(Snapshot.read())

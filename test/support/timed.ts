/**
 * Records and the times at which they expire: a model of some keyspaces, and a store on which the same is done.
 *
 * The clock is the test's. Whatever the model does, it does at the store's time; it never removes what has expired.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Codec from "../../src/Codec.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import type { Snapshot } from "../../src/Snapshot.ts"
import type { StoreError } from "../../src/StoreError.ts"
import type { Pages } from "../../src/tree/memory/Pages.ts"
import { Reducer } from "../../src/tree/page/Fold.ts"
import { Expired } from "../../src/tree/write/Expired.ts"
import type { Random } from "./random.ts"
import { foldOf } from "./reducers.ts"

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
export const bytes = (key: string): Uint8Array => Uint8Array.from(Buffer.from(key, "latin1"))

/** A record as it is read. */
export interface Seen {
  readonly key: string
  readonly value: string
  readonly expiry: number
}

export type Bytes = Keyspace.Keyspace<Uint8Array, Uint8Array, Uint8Array>
export type Merging = Keyspace.Reducing<Uint8Array, Uint8Array, Uint8Array, Uint8Array>

export const plain = Keyspace.bytes("plain")
/** The numbers are the model's bytes. */
export const sums: Merging = Keyspace.make("sums", {
  key: Key.Bytes,
  value: { ...Codec.bytes, format: "int" },
  reducer: "sum" as never
})
export const journal: Merging = Keyspace.make("journal", {
  key: Key.Bytes,
  value: Codec.bytes,
  reducer: "append"
})
export const keyspaces: ReadonlyArray<{ readonly keyspace: Bytes; readonly reducer: number }> = [
  { keyspace: plain, reducer: Reducer.none },
  { keyspace: sums, reducer: Reducer.sum },
  { keyspace: journal, reducer: Reducer.append }
]

/** What a keyspace holds, expired or not. */
export class Timed {
  readonly rows = new Map<string, Seen>()

  /** What is there at a time, in the order of the keys. */
  at(now: number): ReadonlyArray<Seen> {
    return [...this.rows.values()].filter(({ expiry }) => expiry > now).sort((a, b) => a.key < b.key ? -1 : 1)
  }

  get(key: string, now: number): Seen | undefined {
    const row = this.rows.get(key)
    return row !== undefined && row.expiry > now ? row : undefined
  }

  put(key: string, value: string, expiry: number): void {
    this.rows.set(key, { key, value, expiry })
  }

  merge(reducer: number, key: string, operand: string, now: number): void {
    const base = this.get(key, now)
    const value = foldOf(reducer, base === undefined ? undefined : bytes(base.value), bytes(operand))
    this.put(key, text(value), base?.expiry ?? Infinity)
  }
}

const seenOf = ({ expiry = Infinity, key, value }: Keyspace.Entry<Uint8Array, Uint8Array>): Seen => ({
  key: text(key),
  value: text(value),
  expiry
})

/** Reads everything in every way, and compares it with what should be there. */
export const agree = (
  keyspace: Bytes,
  keys: ReadonlyArray<string>,
  expected: ReadonlyArray<Seen>,
  chance: Random
): Effect.Effect<void, StoreError, Snapshot> =>
  Effect.gen(function*() {
    const reverse = chance.bool(0.5)
    const limit = chance.pick([1, 2, 5, Infinity])
    const [a, b] = [chance.pick(keys), chance.pick(keys)]
    const bounds = chance.bool(0.5) ? {} : { from: bytes(a < b ? a : b), until: bytes(a < b ? b : a) }
    const inside = expected.filter(({ key }) =>
      bounds.from === undefined || key >= text(bounds.from) && key < text(bounds.until)
    )
    const rows = (reverse ? inside.toReversed() : inside).slice(0, limit)
    const options = { ...bounds, reverse, limit }
    assert.deepStrictEqual((yield* Stream.runCollect(keyspace.range(options))).map(seenOf), rows)
    assert.deepStrictEqual(
      (yield* Stream.runCollect(keyspace.keys(options))).map(text),
      rows.map(({ key }) => key)
    )
    const first = yield* keyspace.first({ ...bounds, reverse })
    assert.deepStrictEqual(Option.getOrUndefined(Option.map(first, seenOf)), rows[0])
    const by = new Map(expected.map((row) => [row.key, row]))
    const many = yield* keyspace.getMany(keys.map(bytes))
    assert.deepStrictEqual(
      many.map((value) => Option.getOrUndefined(Option.map(value, text))),
      keys.map((key) => by.get(key)?.value)
    )
    const key = chance.pick(keys)
    assert.strictEqual(yield* keyspace.has(bytes(key)), by.has(key))
    const entry = Option.getOrUndefined(Option.map(yield* keyspace.getEntry(bytes(key)), seenOf))
    assert.deepStrictEqual(entry, by.get(key))
  })

/** No leaf in memory has a record that expires before the time at which it is to be looked at. */
export const checkDeadlines = (pages: Pages): void => {
  const expired = new Expired()
  for (let id = 1; id < pages.map.bound; id++) {
    if (!expired.look(pages, id, -Infinity)) continue
    assert.isEmpty(expired.keys)
    assert.isAtMost(pages.deadlines.of(id), expired.next, `page ${id}`)
  }
}

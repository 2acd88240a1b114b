/**
 * A lane: the physical map of one index, from index keys to the keys of records.
 *
 * An index has one lane, and a second one while it is built anew beside the one that is read. Lanes are keyspaces whose
 * layout nothing else can declare (`actors/commit/Guarded.ts`).
 *
 * | index      | key                                             | value                  |
 * |------------|-------------------------------------------------|------------------------|
 * | not unique | index key as a part, then record key as a part  | none                   |
 * | unique     | index key as a part                             | record key as a part   |
 *
 * "As a part" is the form inside a tuple (`Key.ts`), so both ends need no length, and the order is that of the index
 * keys, then of the record keys. Broken when: bytes follow the last part.
 *
 * A pair expires with its record, so that readers, who see both at one time, see both or neither.
 *
 * I1 Before a pair is put into a unique lane, somebody has seen that no other record has its index key (`isTaken`).
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { layoutOfIndexes } from "../actors/commit/Guarded.ts"
import * as Codec from "../Codec.ts"
import { Form } from "../Form.ts"
import * as Key from "../Key.ts"
import type { RangeOptions } from "../Keyspace.ts"
import type { Declared } from "../Machine.ts"
import type { Range, Row, Snapshot } from "../Snapshot.ts"
import { storeError, Undecodable } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import type { Tx } from "../Tx.ts"
import { compare } from "../WriteSet.ts"

/** What an index says of its lanes. */
export interface Kind<I, K> {
  readonly keyspace: string
  readonly index: string
  readonly indexKey: Key.Key<I, unknown>
  readonly recordKey: Key.Key<K, unknown>
  readonly unique: boolean
}

/** What a lane says of one record. */
export interface Pair<I, K> {
  readonly indexKey: I
  readonly key: K
}

/** Which index keys a range covers. */
export interface LaneOptions<I, IP> extends RangeOptions<I, IP> {
  /** Only this index key. */
  readonly only?: I | undefined
}

/** The layout that lanes of an index have; another one is another index. */
export const layoutOf = <I, K>({ index, indexKey, keyspace, recordKey, unique }: Kind<I, K>): string =>
  layoutOfIndexes(
    `${unique ? "unique " : ""}${
      JSON.stringify([keyspace, index])
    } ${indexKey.fingerprint} of ${recordKey.fingerprint}`
  )

/** The name of a lane: no other keyspace, index or lane has it. */
export const nameOf = (keyspace: string, index: string, id: number): string =>
  JSON.stringify([keyspace, index, id])

/** Keys in the form that they have inside a tuple. */
export class Parts<A> extends Form<A, Uint8Array, unknown> {
  constructor(declared: Declared, key: Key.Key<A, unknown>) {
    super(declared, {
      ...key,
      encode: key.encodePart,
      encodePrefix: key.encodePartPrefix,
      decode(bytes, start, end) {
        const value = key.decodePart(bytes, start, end)
        return Key.partEnd() === end ? value : undefined
      }
    }, Codec.bytes)
  }

  /** The bytes of a key, or why it has none. */
  part(key: A): Uint8Array | Exit.Exit<never, StoreError> {
    return this.encodeKey(key)
  }
}

type Reader = Snapshot["Service"]
type Writer = Tx["Service"]

export class Lane<I, K> extends Parts<I> {
  readonly unique: boolean
  readonly index: string
  private readonly kind: Kind<I, K>

  constructor(kind: Kind<I, K>, id: number) {
    super({ name: nameOf(kind.keyspace, kind.index, id), layout: layoutOf(kind) }, kind.indexKey)
    this.kind = kind
    this.unique = kind.unique
    this.index = kind.index
  }

  /** Whether another record has an index key. Reads only where the lane is unique. */
  isTaken(reader: Reader, indexKey: Uint8Array, key: Uint8Array): Effect.Effect<boolean, StoreError> {
    if (!this.unique) return Exit.succeed(false)
    return Effect.map(
      reader.get(this, indexKey, "keys and values"),
      (row) => row !== undefined && Buffer.compare(row.value, key) !== 0
    )
  }

  /** Adds a pair that is not taken; it expires when its record does. */
  put(
    writer: Writer,
    indexKey: Uint8Array,
    key: Uint8Array,
    expiry: number | undefined
  ): Effect.Effect<void, StoreError> {
    return this.unique
      ? writer.put(this, indexKey, key, expiry)
      : writer.put(this, Buffer.concat([indexKey, key]), nothing, expiry)
  }

  /** Removes a pair; not one that another record has. */
  remove(writer: Writer, indexKey: Uint8Array, key: Uint8Array): Effect.Effect<void, StoreError> {
    return writer.remove(this, this.unique ? indexKey : Buffer.concat([indexKey, key]))
  }

  /** Whether a pair is there. */
  has(reader: Reader, indexKey: Uint8Array, key: Uint8Array): Effect.Effect<boolean, StoreError> {
    return this.unique
      ? Effect.map(
        reader.get(this, indexKey, "keys and values"),
        (row) => row !== undefined && Buffer.compare(row.value, key) === 0
      )
      : Effect.map(reader.get(this, Buffer.concat([indexKey, key]), "keys"), (row) => row !== undefined)
  }

  /** What a range of index keys covers. */
  range({ only, ...options }: LaneOptions<I, unknown>): Range | Exit.Exit<never, StoreError> {
    const range = this.bounds(options, this.unique ? "keys and values" : "keys")
    if (only === undefined || Exit.isExit(range)) return range
    const lower = this.part(only)
    if (Exit.isExit(lower)) return lower
    const above = lower.slice()
    const end = Key.successor(above, 0, above.length)
    const upper = end < 0 ? undefined : above.slice(0, end)
    return {
      ...range,
      lower: compare(lower, range.lower) > 0 ? lower : range.lower,
      upper: lesser(upper, range.upper),
      limit: this.unique ? Math.min(1, range.limit) : range.limit
    }
  }

  pair(row: Row): Pair<I, K> | Exit.Exit<never, StoreError> {
    const { indexKey, recordKey } = this.kind
    const found = indexKey.decodePart(row.key, 0, row.key.length)
    const bytes = this.unique ? row.value : row.key
    const from = this.unique ? 0 : Key.partEnd()
    const key = found === undefined ? undefined : recordKey.decodePart(bytes, from, bytes.length)
    if (found === undefined || key === undefined || Key.partEnd() !== bytes.length) {
      return Exit.fail(
        storeError(new Undecodable({ keyspace: this.name, version: 0, cause: "an entry of an index" }))
      )
    }
    return { indexKey: found, key }
  }
}

const nothing = new Uint8Array(0)

/** The lesser of two ends of ranges; undefined is above all others. */
const lesser = (a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined =>
  a === undefined || (b !== undefined && compare(b, a) < 0) ? b : a

/**
 * What is stored of indexes: which a keyspace has, and how far they are built.
 *
 * A keyspace with indexes has a record in `heartwood/indexes`, JSON like this:
 *
 * ```
 * { "next": 3, "indexes": [{ "name": "email", "version": 1, "layout": "index …", "live": 1, "shadow": 2 }] }
 * ```
 *
 * `live` is the id of the lane that is read, `shadow` of the one that is being built; writers keep both. While there is
 * a shadow, `heartwood/builds` says where the next slice begins: its value is how many records were built (Int), then
 * the key of the next one.
 *
 * I1 A keyspace without a record in `heartwood/indexes` has no lanes.
 * I2 Records before the position of a build are in every shadow as they are in the keyspace; of the others, whatever
 *    is in a shadow is right.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import { layoutOfIndexes, states as declaredStates } from "../actors/commit/Guarded.ts"
import * as Codec from "../Codec.ts"
import { Form } from "../Form.ts"
import * as Key from "../Key.ts"
import type { Declared } from "../Machine.ts"
import type { Snapshot } from "../Snapshot.ts"
import type { StoreError } from "../StoreError.ts"
import type { Tx } from "../Tx.ts"
import { nameOf } from "./Lane.ts"

const StoredIndex = Schema.Struct({
  name: Schema.String,
  version: Schema.Int,
  /** Of its lanes. */
  layout: Schema.String,
  live: Schema.NullOr(Schema.Int),
  shadow: Schema.NullOr(Schema.Int)
})

const State = Schema.Struct({
  /** Id of the next lane; none is used twice as long as the keyspace has indexes. */
  next: Schema.Int,
  indexes: Schema.Array(StoredIndex)
})

export type StoredIndex = Schema.Schema.Type<typeof StoredIndex>
export type State = Schema.Schema.Type<typeof State>

/** Where a build goes on. */
export interface Position {
  readonly records: number
  /** Key of the next record; undefined at the beginning. */
  readonly from: Uint8Array | undefined
}

type Reader = Snapshot["Service"]
type Writer = Tx["Service"]

class Records<V> extends Form<string, V, string> {
  constructor(declared: Declared, codec: Codec.Codec<V>) {
    super(declared, Key.String, codec)
  }

  /** What is stored under a name. What was decoded last is kept, as what is read here hardly ever changes. */
  read(reader: Reader, name: string): Effect.Effect<V | undefined, StoreError> {
    const key = this.encodeKey(name)
    if (Exit.isExit(key)) return key
    return Effect.flatMap(reader.get(this, key, "keys and values"), (row) => {
      if (row === undefined) return Exit.succeed(undefined)
      const known = this.decoded.get(name)
      if (known !== undefined && Buffer.compare(known.stored, row.value) === 0) {
        return Exit.succeed(known.value)
      }
      const found = this.decode(row)
      if (Exit.isExit(found)) return found
      this.decoded.set(name, { stored: row.value, value: found.value })
      return Exit.succeed(found.value)
    })
  }

  write(writer: Writer, name: string, value: V | undefined): Effect.Effect<void, StoreError> {
    const key = this.encodeKey(name)
    if (Exit.isExit(key)) return key
    if (value === undefined) return writer.remove(this, key)
    const stored = this.encodeValue(value)
    return Exit.isExit(stored) ? stored : writer.put(this, key, stored)
  }

  private readonly decoded = new Map<string, { readonly stored: Uint8Array; readonly value: V }>()
}

/** Name of a keyspace → its indexes. */
export const states = new Records(declaredStates, Codec.schema(State))

/** Name of a keyspace → how far its shadows are built. */
export const builds = new Records<Position>(
  { name: "heartwood/builds", layout: layoutOfIndexes("builds") },
  Codec.make({
    format: "position",
    encode({ from = nothing, records }) {
      const head = Key.bytesOf(Key.Int, records) ?? nothing
      return Buffer.concat([head, from])
    },
    decode(payload) {
      const records = Key.Int.decode(payload, 0, headBytes) ?? 0
      return { records, from: payload.length === headBytes ? undefined : payload.slice(headBytes) }
    }
  })
)

const headBytes = Key.Int.maxBytes
const nothing = new Uint8Array(0)

/** All lanes that a state names. */
export const lanesOf = (keyspace: string, { indexes }: State): ReadonlyArray<Declared> =>
  indexes.flatMap(({ layout, live, name, shadow }) =>
    [live, shadow].filter((id) => id !== null).map((id) => ({ name: nameOf(keyspace, name, id), layout }))
  )

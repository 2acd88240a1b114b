/**
 * Records that expire and records with an index, as bodies of histories write them and look at them.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Index from "../../src/Indexes.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import type * as Snapshot from "../../src/Snapshot.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Notes } from "./historyBody.ts"
import type { Move } from "./historyWorkload.ts"
import { keyspaceOf, look } from "./storeDoor.ts"
import type { Row } from "./storeModel.ts"

type Of<Tag extends Move["_tag"]> = Extract<Move, { readonly _tag: Tag }>
type Body = Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot>

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

/** By the last byte of their values. */
const Marks = Index.make(Keyspace.bytes("marked"), {
  last: { key: Key.Bytes, of: ({ value }) => [value.subarray(-1)] }
})

export const putFleeting = ({ key, ttl, value }: Of<"fleeting">, notes: Notes): Body =>
  Tx.Tx.use(({ now }) =>
    Effect.map(
      keyspaceOf("fleeting").put(bytes(key), bytes(value), { ttl }),
      () => void notes.steps.push({ _tag: "put", keyspace: "fleeting", key, value, expiry: now + ttl })
    )
  )

export const mark = ({ key, value }: Of<"mark">, notes: Notes): Body =>
  value === undefined
    ? Effect.map(
      Marks.remove(bytes(key)),
      () => void notes.steps.push({ _tag: "remove", keyspace: "marked", key })
    )
    : Effect.map(
      Marks.put(bytes(key), bytes(value)),
      () => void notes.steps.push({ _tag: "put", keyspace: "marked", key, value })
    )

/** What the index says of the records that are there; a body that sees it say anything else dies of it. */
export const lookAtMarks = (notes: Notes): Effect.Effect<void, StoreError, Snapshot.Snapshot> =>
  Effect.gen(function*() {
    const step = { _tag: "range", keyspace: "marked", range: {} } as const
    const rows = yield* look(step)
    notes.results.push(rows)
    notes.steps.push(step)
    const expected = (rows as ReadonlyArray<Row>).map(({ key, value }) => `${value.at(-1)}:${key}`).sort()
    const pairs = Array.from(
      yield* Stream.runCollect(Marks.by.last.keys()),
      ({ indexKey, key }) => `${text(indexKey)}:${text(key)}`
    )
    if (pairs.join() === expected.join()) return
    return yield* Effect.die(`the index says ${pairs.join()}, the records ${expected.join()}`)
  })

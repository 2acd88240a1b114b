/**
 * Writing what depends on what is there: looking at a key and writing it in one step of its fiber.
 *
 * I1 Between the look and the write no other fiber of the body writes the key: the one that had to wait looks again.
 */
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Declared } from "./Machine.ts"
import type { Columns, Row } from "./Row.ts"
import { isHere } from "./Row.ts"
import { Snapshot } from "./Snapshot.ts"
import type { StoreError } from "./StoreError.ts"
import { Tx } from "./Tx.ts"

/** Puts what a key is to hold, or removes it, at once. */
export type WriteNext<V> = (next: Option.Option<V>) => Effect.Effect<void, StoreError>

/** Runs what `answer` makes of a key's row; what it writes there it writes before it answers. The key is kept. */
export const decide = <A, E>(
  keyspace: Declared,
  key: Uint8Array,
  columns: Columns,
  answer: (row: Row | undefined, tx: Tx["Service"]) => Effect.Effect<A, E>
): Effect.Effect<A, E | StoreError, Tx | Snapshot> =>
  Tx.use((tx) =>
    Snapshot.use((snapshot) => {
      const look = (): Effect.Effect<A, E | StoreError> => {
        const isSeen = tx.seen(keyspace, key)
        const decided = (row: Row | undefined) => isSeen() ? answer(row, tx) : look()
        const looked = snapshot.look(keyspace, key, columns)
        return isHere(looked) ? decided(looked) : Effect.flatMap(looked, decided)
      }
      return look()
    })
  )

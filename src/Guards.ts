/**
 * What a store that opens already has of guarded keyspaces (`actors/commit/Guarded.ts`): their names, read from its
 * tree.
 *
 * I1 All of them are known before the first commit of a program is taken.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { states } from "./actors/commit/Guarded.ts"
import type { Machine } from "./Doors.ts"
import type { StoreError } from "./StoreError.ts"
import { Batch } from "./tree/read/Cursor.ts"
import { Missing } from "./tree/Tree.ts"

/** Names read at a time. */
const chunk = 512

export const load = (machine: Machine): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    const { parts: { wal: { names } }, tree } = machine
    const at = machine.visible()
    const root = machine.root(states, at)
    if (Exit.isExit(root)) return Exit.asVoid(root)
    const batch = new Batch()
    let lower: Uint8Array = new Uint8Array(0)
    const pull: Effect.Effect<void, StoreError> = Effect.suspend(() => {
      batch.reset()
      const range = { lower, upper: undefined, order: "ascending", columns: "keys", limit: chunk } as const
      const answer = tree.scan(root, range, at, batch)
      for (let index = 0; index < batch.count; index++) names.guarded.add(batch.key(index))
      if (batch.position !== undefined) lower = batch.position
      if (answer === Missing) return Effect.andThen(machine.load(tree.missing, "scan"), pull)
      return batch.ended ? Exit.void : pull
    })
    return pull
  })

/**
 * How many records a keyspace has: what its tree says at once, and what is exact.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Declared } from "./Machine.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { Absent } from "./tree/Tree.ts"

/** How many records a keyspace has. */
export interface Stat {
  readonly count: number
  /** Writes of which it is not known yet whether their keys are new; `count` is exact where there are none. */
  readonly unresolved: number
}

/** O(1). */
export const stat = (keyspace: Declared): Effect.Effect<Stat, StoreError, Store> =>
  Store.use(({ machine }) =>
    Effect.suspend(() => {
      const failure = machine.unavailable()
      if (failure !== undefined) return Effect.fail(failure)
      const root = machine.root(keyspace, Infinity)
      return Exit.isExit(root)
        ? Exit.map(root, () => ({ count: 0, unresolved: 0 }))
        : Effect.succeed({ count: root.count, unresolved: root.unresolved })
    })
  )

/** Visits the leaves that have unresolved writes, and loads those that are not in memory. */
export const count = (keyspace: Declared): Effect.Effect<number, StoreError, Store> =>
  Store.use(({ machine }) => {
    const from = (id: number): Effect.Effect<number, StoreError> =>
      Effect.suspend(() => {
        const failure = machine.unavailable()
        if (failure !== undefined) return Effect.fail(failure)
        const root = machine.root(keyspace, Infinity)
        if (Exit.isExit(root)) return Exit.map(root, () => 0)
        const { tree } = machine
        if (tree.resolve(root, id) === Absent) return Effect.succeed(root.count)
        const { missing } = tree
        return Effect.andThen(machine.load(missing, "scan"), from(missing))
      })
    return from(1)
  })

/**
 * A keyspace as its declaration names it, and the tree that a reader sees of it.
 */
import * as Exit from "effect/Exit"
import { LayoutMismatch, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import type { Generations } from "../../tree/Generations.ts"
import type { Root } from "../../tree/Tree.ts"

export interface Declared {
  readonly name: string
  readonly layout: string
  /** Id of what folds its operands (`tree/page/Fold.ts`); absent or 0 where there are none. */
  readonly reducer?: number | undefined
  /** Whoever writes through it keeps the keyspace's indexes in the same transaction. */
  readonly keepsIndexes?: boolean | undefined
}

const none = Exit.succeed(undefined)

/** The tree that a reader at `at` sees; an exit where there is none, or another layout. */
export const rootOf = (
  generations: Generations,
  { layout, name }: Declared,
  at: number
): Root | Exit.Exit<undefined, StoreError> => {
  const generation = generations.find(name, at)
  if (generation === undefined) return none
  if (generation.layout === layout) return generation.root
  return Exit.fail(
    storeError(new LayoutMismatch({ keyspace: name, stored: generation.layout, declared: layout }))
  )
}

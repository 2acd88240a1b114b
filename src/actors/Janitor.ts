/**
 * The janitor: takes down what nobody needs any more, beside everything else.
 *
 * That is the trees of cleared and dropped keyspaces, in slices, once no reader of the past can see them; and large
 * values in old segments of the log, which `Relocation.ts` moves.
 *
 * I1 One sweep runs at a time, and yields between slices.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../StoreError.ts"

/** Pages freed between two yields. */
const slicePages = 256

export interface Options {
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Whether there is anything to take down, and the store is running. */
  readonly dirty: () => boolean
  /** Frees about so many pages; answers a page that must be loaded first, or 0. */
  readonly freeSlice: (pages: number) => number
  readonly load: (pageId: number) => Effect.Effect<void, StoreError>
}

/** Answers what is to be called whenever something may have become unneeded. */
export const make = ({ dirty, fork, freeSlice, load }: Options): () => void => {
  let sweeping = false
  const slice: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    if (!dirty()) return Effect.void
    const missing = freeSlice(slicePages)
    return Effect.andThen(missing === 0 ? Effect.yieldNow : load(missing), slice)
  })
  return () => {
    if (sweeping || !dirty()) return
    sweeping = true
    fork(Effect.map(Effect.exit(slice), () => {
      sweeping = false
    }))
  }
}

/**
 * The fuse: what has gone wrong for good, and the fibers that end with the store.
 *
 * ```
 *   Running ── blow(error) ──▶ Failed ── close ──▶ Closed        Running ── close ──▶ Closed
 * ```
 *
 * I1 The first error is the one that everybody gets; later ones change nothing.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { Defective, StoreError, storeError } from "../../StoreError.ts"

export interface Fuse {
  failure: StoreError | undefined
  closed: boolean
  /** Told once, of the first failure. */
  blown: (error: StoreError) => void
  readonly blow: (error: StoreError) => void
  /** For an actor that died of a defect. */
  readonly defect: (actor: string) => (cause: unknown) => void
  /** Runs an effect beside everything else; interrupted when the store closes. */
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Runs an effect beside everything else; closing begins when it has ended. */
  readonly finish: (effect: Effect.Effect<void>) => void
  readonly finished: Effect.Effect<void>
  readonly interruptAll: Effect.Effect<void>
}

export const make: Effect.Effect<Fuse, never, Scope.Scope> = Effect.gen(function*() {
  // What runs beside everything else is no part of the opening: its spans are nobody's children.
  const context = Context.omit(Tracer.ParentSpan)(yield* Effect.context<never>())
  const runFork = Effect.runForkWith(context)
  const fibers = yield* FiberSet.make<void>()
  const lasting = yield* FiberSet.make<void>()
  const fuse: Fuse = {
    failure: undefined,
    closed: false,
    blown: () => {},
    blow: (error) => {
      if (fuse.failure !== undefined) return
      fuse.failure = error
      fuse.blown(error)
    },
    // A disk that failed in the calling thread comes here as an exception; it is no defect of the actor.
    defect: (actor) => (cause) =>
      fuse.blow(cause instanceof StoreError ? cause : storeError(new Defective({ actor, cause }))),
    fork: (effect) => void FiberSet.addUnsafe(fibers, runFork(effect)),
    finish: (effect) => void FiberSet.addUnsafe(lasting, runFork(effect)),
    finished: FiberSet.awaitEmpty(lasting),
    interruptAll: FiberSet.clear(fibers)
  }
  return fuse
})

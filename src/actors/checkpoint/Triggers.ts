/**
 * When checkpoints start by themselves.
 *
 * Whichever comes first: the log has grown by `logBytes`, one leaf or all of them have had so many records (the two
 * pressures of Quickstep that bytes do not cover), or `intervalMillis` have passed with commits. A failed one is tried
 * again after a second, for as long as its reason holds: writers go on until the hard limit of the log.
 *
 * I1 At most one checkpoint is asked for at a time.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Limits } from "../../Limits.ts"
import type { StoreError } from "../../StoreError.ts"

/** Why a checkpoint was taken. */
export type Trigger = "bytes" | "interval" | "request" | "close" | "pressure"

/** How long a failed checkpoint waits before the next attempt. */
const retryMillis = 1_000

export interface Options {
  readonly limits: Limits["checkpoint"]
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Log above the newest cut. */
  readonly logBytes: () => number
  /** Records since the newest cut, in all and of the busiest page. */
  readonly records: () => number
  readonly busiest: () => number
  /** False once the store is closing or has failed. */
  readonly running: () => boolean
  readonly start: (trigger: Trigger) => Effect.Effect<unknown, StoreError>
}

/** Starts the interval, and answers what is to be called whenever the log has become longer. */
export const make = (options: Options): Effect.Effect<() => void, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { fork, limits, start } = options
    let asked = false
    /** The interval has passed with commits, and none was taken since. */
    let due = false
    const reason = (): Trigger | undefined => {
      if (options.logBytes() >= limits.logBytes) return "bytes"
      const pressed = options.records() >= limits.records || options.busiest() >= limits.leafRecords
      if (pressed) return "pressure"
      // Somebody may have asked for one meanwhile.
      due = due && options.records() > 0
      return due ? "interval" : undefined
    }
    const check = (): void => {
      const trigger = asked || !options.running() ? undefined : reason()
      if (trigger === undefined) return
      asked = true
      fork(
        Effect.exit(start(trigger)).pipe(
          Effect.tap((exit) => Exit.isSuccess(exit) ? Effect.void : Effect.sleep(retryMillis)),
          Effect.map((exit) => {
            asked = false
            due = due && Exit.isFailure(exit)
            check()
          })
        )
      )
    }
    yield* Effect.sleep(limits.intervalMillis).pipe(
      Effect.andThen(Effect.sync(() => {
        due = options.records() > 0
        check()
      })),
      Effect.forever,
      Effect.forkScoped
    )
    return check
  })

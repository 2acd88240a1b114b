/**
 * Progress of what looks through a whole store: for whoever watches, and for everybody else in the process.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/** How far it has come. */
export interface Progress {
  readonly step: "log" | "newest checkpoint" | "older checkpoint"
  /** Bytes looked at, and those to look at in this step as far as it is known. */
  readonly done: number
  readonly total: number
}

/** Receives the progress of `Verify` and `Salvage`, about once for each megabyte. */
export const Watcher: Context.Reference<(progress: Progress) => Effect.Effect<void>> = Context.Reference(
  "heartwood/Verify/Watcher",
  { defaultValue: () => (_progress: Progress) => Effect.void }
)

const sliceBytes = 1024 * 1024

/** A function that is told of bytes: it tells whoever watches now and then, and lets others run. */
export const advancing = (
  step: Progress["step"],
  total: number
): Effect.Effect<(bytes: number) => Effect.Effect<void>> =>
  Effect.map(Watcher, (watch) => {
    let done = 0
    let told = 0
    return (bytes: number): Effect.Effect<void> => {
      done += bytes
      if (done - told < sliceBytes) return Effect.void
      told = done
      return Effect.andThen(watch({ step, done: Math.min(done, total), total }), Effect.yieldNow)
    }
  })

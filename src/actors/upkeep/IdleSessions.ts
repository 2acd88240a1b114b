/**
 * Ending sessions that nobody has used for too long.
 *
 * One timer for all of them: it waits for the session that is idle the longest, ends by one commit all that are due,
 * and waits for the next. Without idle sessions there is no timer.
 *
 * I1 At most one timer is set.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../../StoreError.ts"
import type { Sessions } from "../commit/Sessions.ts"

/** A timer of Node waits no longer than 2^31 - 1; whoever wakes too early waits again. */
const longestSleepMillis = 2 ** 30

/** How long one that was refused waits. */
const retryMillis = 1_000

export interface Options {
  readonly sessions: Pick<Sessions, "due" | "stale" | "idled">
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly now: () => number
  /** Whether the store takes commits. */
  readonly running: () => boolean
  readonly end: (names: ReadonlyArray<string>) => Effect.Effect<number, StoreError>
}

/** Begins with the sessions that are idle now. */
export const start = ({ end, fork, now, running, sessions }: Options): void => {
  let isSet = false
  const set = (): void => {
    const due = sessions.due()
    if (isSet || due === undefined || !running()) return
    isSet = true
    const sleep = Effect.sleep(Math.min(longestSleepMillis, Math.max(0, due - now())))
    const endStale = Effect.suspend(() => {
      const stale = sessions.stale()
      return stale.length === 0 ? Effect.succeed(0) : end(stale)
    })
    const done = Effect.sync(() => {
      isSet = false
      set()
    })
    fork(
      Effect.andThen(sleep, endStale).pipe(
        // It is refused where the log has no room: what is due now is still due then, and would be asked for at once.
        Effect.catch(() => Effect.sleep(retryMillis)),
        Effect.exit,
        Effect.andThen(done)
      )
    )
  }
  sessions.idled = set
  set()
}

/**
 * The time of a store: its clock, but for going back.
 *
 * One time serves commits and readers, so that no reader is behind a commit that it sees, no commit behind what its
 * body saw, and nothing that has expired comes back.
 *
 * I1 Nothing answered is below anything answered before, nor below the last commit of an earlier life.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Answers a function that answers the time, in milliseconds since 1970. */
export const make = (last: number): Effect.Effect<() => number> =>
  Effect.map(Clock.Clock, (clock) => {
    let newest = last
    return () => {
      const millis = clock.currentTimeMillisUnsafe()
      if (millis > newest) newest = millis
      return newest
    }
  })

/**
 * The clock of a store that is filled from a log: it stands where the log is.
 *
 * What expires is hidden and folded by the time of the transaction that looks, so a log must be applied at the times it
 * tells of: what had not expired when an operand was merged into it must not have expired when that is done again.
 * Timers go on by the real clock.
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

export class LogClock implements Clock.Clock {
  /** Milliseconds since 1970; before everything, at first. */
  millis = 0
  private readonly clock: Clock.Clock

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Goes on to the time of a transaction; the log's times do not go back. */
  advance(millis: number): void {
    this.millis = Math.max(this.millis, millis)
  }

  currentTimeMillisUnsafe(): number {
    return this.millis
  }

  readonly currentTimeMillis = Effect.sync(() => this.millis)

  currentTimeNanosUnsafe(): bigint {
    return this.clock.currentTimeNanosUnsafe()
  }

  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())

  monotonicTimeNanosUnsafe(): bigint {
    return this.clock.monotonicTimeNanosUnsafe()
  }

  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  sleep(duration: Duration.Duration): Effect.Effect<void> {
    return this.clock.sleep(duration)
  }
}

/** A clock that stands still until it is told, over that of the program. */
export const make: Effect.Effect<LogClock> = Effect.map(Clock.Clock, (clock) => new LogClock(clock))

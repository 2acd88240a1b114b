/**
 * How long an actor holds the event loop: from where it begins to where everybody else has a turn.
 *
 * What runs on the stack of whoever asked (the inline door) is the asker's time and is not told, so that a lone request
 * pays for no clock.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Telemetry from "../../Telemetry.ts"

export class LoopTime {
  readonly durations = new Telemetry.Distribution(Telemetry.metric("actor.slice.duration"))
  private readonly clock: Clock.Clock

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Does what is done without a yield, and notes how long that took. */
  readonly around = <A>(work: () => A): A => {
    const begun = this.clock.monotonicTimeNanosUnsafe()
    try {
      return work()
    } finally {
      this.durations.record(Number(this.clock.monotonicTimeNanosUnsafe() - begun) / 1e9)
    }
  }
}

export const make: Effect.Effect<LoopTime> = Effect.map(Clock.Clock, (clock) => new LoopTime(clock))

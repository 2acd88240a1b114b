/**
 * One transaction of a session: it waits until its serial is next, runs, and lets the one after it begin.
 *
 * That one begins when the commit is visible, so that the transactions of one session share their syncs; what was
 * committed before is not run again, but waited for like a commit.
 *
 * I1 Whoever has entered the line leaves it, however it ends.
 */
import * as Effect from "effect/Effect"
import type { Answer, Place } from "./actors/commit/Serials.ts"
import type { SerialUse } from "./actors/commit/Sessions.ts"
import type { Durability } from "./Limits.ts"
import type { Session } from "./Session.ts"
import type { StoreError } from "./StoreError.ts"
import { SerialGap } from "./StoreError.ts"

/** What became of a serial. */
export type Outcome<A> =
  | { readonly _tag: "Committed"; readonly value: A; readonly lsn: number }
  /**
   * It had committed before, and its body was not run. `lsn` is there where it is the session's last commit; of older
   * ones only that they have committed is remembered.
   */
  | { readonly _tag: "Repeated"; readonly lsn: number | undefined }

/** The serial that a transaction is to commit as. */
export interface Serial {
  readonly session: Session
  readonly serial: number
  readonly durability: Durability
}

/** Runs `commit` when the serial is next; it hands over with its intent that it consumes it. */
export const inOrder = <A, E, R>(
  { durability, serial, session }: Serial,
  commit: (use: SerialUse) => Effect.Effect<{ readonly value: A; readonly lsn: number }, E, R>
): Effect.Effect<Outcome<A>, E | SerialGap | StoreError, R> =>
  Effect.uninterruptibleMask((restore) => {
    const { machine, serials } = session
    let answer: Answer | undefined
    let wake: (answer: Effect.Effect<Answer>) => void = () => {}
    const place: Place = {
      serial,
      told: (told) => {
        answer = told
        wake(Effect.succeed(told))
      }
    }
    serials.enter(place)
    const told = Effect.callback<Answer>((resume) => {
      wake = resume
      // The fiber may have been taken off since it entered, and told meanwhile.
      if (answer !== undefined) resume(Effect.succeed(answer))
    })
    const outcome = (answer: Answer): Effect.Effect<Outcome<A>, E | SerialGap | StoreError, R> => {
      switch (answer._tag) {
        case "Begin": {
          const committed = commit({ serials, serial, visible: () => serials.leave(place) })
          return Effect.map(restore(committed), ({ lsn, value }) => ({ _tag: "Committed", value, lsn }))
        }
        case "Repeated": {
          const durable = machine.parts.wal.awaitLsn(serials.last.lsn + 1, durability)
          return Effect.as(restore(durable), { _tag: "Repeated", lsn: answer.lsn })
        }
        case "Gap":
          return Effect.fail(new SerialGap({ serial, expected: answer.expected }))
        case "Refused":
          return Effect.fail(answer.error)
      }
    }
    return Effect.flatMap(answer === undefined ? restore(told) : Effect.succeed(answer), outcome).pipe(
      Effect.onExit(() => Effect.sync(() => serials.leave(place)))
    )
  })

/**
 * Steps of a body: savepoints, which keep or discard what was written in them.
 *
 * What a step discards is all that the body has written since it began. So steps that fibers of one body begin beside
 * each other run one after another: each waits for the turn of what it stands in, the body or another step, and has a
 * turn of its own for the steps inside it. A step that waited for one beside it would wait for ever.
 *
 * I1 Of the steps of a body under way each stands in the one before it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"

/** What a step belongs to. */
interface Body {
  readonly step: () => (exit: Exit.Exit<unknown, unknown>) => void
}

interface Around {
  readonly body: Body
  readonly turn: Semaphore.Semaphore
}

/** The innermost step that a fiber is in. */
const Innermost = Context.Reference<Around | undefined>("heartwood/Steps", { defaultValue: () => undefined })

/** Turns of bodies: most have no steps. */
const turns = new WeakMap<Body, Semaphore.Semaphore>()

const turnOf = (body: Body): Semaphore.Semaphore => {
  let turn = turns.get(body)
  if (turn === undefined) turns.set(body, turn = Semaphore.makeUnsafe(1))
  return turn
}

/** Runs an effect while no step of the body is under way but those that it stands in. */
export const inTurn = <A, E, R>(body: Body, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const around = Context.get(fiber.context, Innermost)
    const turn = around?.body === body ? around.turn : turnOf(body)
    return turn.withPermit(
      Effect.suspend(() => Effect.provideService(self, Innermost, { body, turn: Semaphore.makeUnsafe(1) }))
    )
  })

/** Runs an effect as a step, whose writes are discarded where it fails. */
export const stepOf = <A, E, R>(body: Body, self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  inTurn(
    body,
    Effect.suspend(() => {
      const leave = body.step()
      return Effect.onExit(self, (exit) => Effect.sync(() => leave(exit)))
    })
  )

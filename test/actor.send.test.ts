/**
 * Whoever waits for a place in a mailbox gets it, or is refused, wherever its fiber is taken off on the way.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Actor from "../src/actors/loop/Actor.ts"
import { Closed, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import { Schedule } from "./support/schedule.ts"
import { upTo } from "./support/stores.ts"

interface Message {
  readonly done: Actor.Reply<void, StoreError>
}

const seeds = 2_000
const askers = 4

/** Requests that were answered, and that were refused, by an actor that has no room for most of them. */
const run = (
  seed: number,
  stops: "stops" | "goes on"
): { readonly done: number; readonly refused: number } => {
  const schedule = new Schedule(seed)
  const counts = { done: 0, refused: 0 }
  const program = Effect.scoped(Effect.gen(function*() {
    const actor = yield* Actor.make<Message>({
      name: "test",
      capacity: 1,
      lanes: 0,
      receive: ({ done }) => done(Exit.void),
      settle: () => {},
      parked: () => 0,
      refuse: ({ done }, error) => done(Exit.fail(error)),
      halt: () => {},
      failed: (cause) => assert.fail(String(cause))
    })
    const ask = Effect.match(Actor.ask(actor, (done): Message => ({ done })), {
      onSuccess: () => void counts.done++,
      onFailure: () => void counts.refused++
    })
    // Told, and so in the mailbox until the loop takes it: those that ask then find no room.
    const asking = Effect.andThen(
      Effect.sync(() => void actor.tell({ done: () => {} })),
      Effect.forEach(upTo(askers), () => ask, { concurrency: "unbounded" })
    )
    const stopping = stops === "stops"
      ? Effect.andThen(schedule.pause, Effect.sync(() => actor.stop(storeError(new Closed()))))
      : Effect.void
    const all = Effect.all([asking, stopping], { concurrency: 2 })
    // Time may pass although there is work to do, but not for ever.
    yield* Effect.raceFirst(all, Effect.repeat(Effect.sleep(1), { times: 500 }))
  }))
  assert.isTrue(Exit.isSuccess(schedule.run(program)))
  return counts
}

describe("a full mailbox", () => {
  it("lets everybody in, one after another", () => {
    for (let seed = 1; seed <= seeds; seed++) {
      assert.deepStrictEqual(run(seed, "goes on"), { done: askers, refused: 0 }, `HEARTWOOD_SEED=${seed}`)
    }
  })

  it("of an actor that stops leaves nobody without an answer", () => {
    let refused = 0
    for (let seed = 1; seed <= seeds; seed++) {
      const counts = run(seed, "stops")
      assert.strictEqual(counts.done + counts.refused, askers, `HEARTWOOD_SEED=${seed}`)
      refused += counts.refused
    }
    assert.isAbove(refused, 0)
  })
})

/**
 * Lanes begin every job that they are given, wherever a fiber is taken off.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import { Lanes } from "../src/actors/loop/Lanes.ts"
import { Schedule } from "./support/schedule.ts"

const jobs = 3

/** Jobs that were done when no fiber had anything left to do. */
const done = (seed: number): number => {
  const schedule = new Schedule(seed)
  let count = 0
  const exit = schedule.run(Effect.scoped(Effect.gen(function*() {
    const fork = yield* FiberSet.makeRuntime<never>()
    const lanes = new Lanes<number>({
      most: 1 + schedule.chance.int(3),
      work: () =>
        Effect.map(schedule.pause, () => {
          count++
        }),
      fork: (effect) => void fork(effect)
    })
    for (let job = 0; job < jobs; job++) {
      yield* schedule.pause
      lanes.give(job)
    }
    // Time may pass although there is work to do, but not for ever.
    yield* Effect.repeat(Effect.sleep(1), { times: 200 })
  })))
  assert.isTrue(Exit.isSuccess(exit), String(exit))
  return count
}

describe("lanes", () => {
  it("begin every job, whatever the order of fibers", () => {
    for (let seed = 1; seed <= 2_000; seed++) assert.strictEqual(done(seed), jobs, `HEARTWOOD_SEED=${seed}`)
  })
})

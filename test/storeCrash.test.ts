/**
 * A power cut before every operation of a disk that changes it: whatever is found then is a store, whole, and holds
 * some prefix of the commits that has all that were acknowledged as synced.
 *
 * `HEARTWOOD_SEED=n` replays one workload, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { layer } from "../src/disk/FaultDisk.ts"
import type { StoreError } from "../src/StoreError.ts"
import { figure } from "./support/figures.ts"
import { check, figures, shots } from "./support/powerCut.ts"
import { random } from "./support/random.ts"
import type { State } from "./support/storeModel.ts"
import { begin } from "./support/storeRun.ts"
import type { Shape } from "./support/storeSize.ts"
import { nameOf, shapesOf, tally } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? Array.from({ length: 12 }, (_, index) => index + 1) : [Number(asked)]
const steps = 14

type Options = Parameters<typeof check>[1]

const workload = (seed: number, shape: Shape): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    let durable = (): number => 0
    let history: ReadonlyArray<State> = []
    let options: Options = {}
    const taken = yield* shots(
      { seed, every: 1, durable: () => durable() },
      Effect.gen(function*() {
        const begun = yield* begin(seed, shape, tally())
        options = begun.options
        durable = () => begun.life.history.durable
        for (let step = 0; step < steps; step++) yield* begun.life.work
        yield* begun.life.readers.letAllGo
        history = begun.life.history.states
        yield* begun.life.shut
      })
    )
    const chance = random(seed)
    for (const shot of taken) yield* check(shot, options, history, chance.bool(0.02) ? "nested" : "last")
  }).pipe(
    Effect.provide(layer({ seed })),
    Random.withSeed(seed),
    Effect.catchCause((cause) => Effect.die(new Error(`${nameOf(seed, shape)}: ${cause}`, { cause })))
  )

describe("a power cut at any time", () => {
  for (const seed of seeds) {
    for (const shape of shapesOf(seed, { roomyEvery: Infinity })) {
      it.effect(
        `leaves a prefix of the commits: ${nameOf(seed, shape)}`,
        () => workload(seed, shape),
        120_000
      )
    }
  }

  it("was tried often", () => {
    figure("C1 power cuts of a store", figures)
    if (asked === undefined) assert.isAbove(figures.states, 2_000)
    assert.isAbove(figures.lost, 0)
  })
})

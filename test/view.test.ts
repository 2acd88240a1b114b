/**
 * Pages hold nothing that the log did not say: a fold of the whole log, by other means, is the tree; and a checkpoint,
 * taken while writers run, is the fold up to its cut, before anything is replayed.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { StoreError } from "../src/StoreError.ts"
import { figure } from "./support/figures.ts"
import { dump } from "./support/storeDoor.ts"
import { checkpointOf, Fold } from "./support/storeFold.ts"
import { stateDifference } from "./support/storeModel.ts"
import { begin } from "./support/storeRun.ts"
import type { Shape } from "./support/storeSize.ts"
import { nameOf, names, shapesOf, tally } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? Array.from({ length: 40 }, (_, index) => 1_001 + index) : [Number(asked)]
const steps = 60
const pageBytes = 1024

const figures = { records: 0, checkpoints: 0, amid: 0, trees: 0 }

const expectSame = (what: string, ...states: Parameters<typeof stateDifference>): void => {
  const differs = stateDifference(...states)
  if (differs !== undefined) throw new Error(`${what}: ${differs}`)
}

const view = (seed: number, shape: Shape): Effect.Effect<void, StoreError> =>
  Effect.scoped(Effect.gen(function*() {
    const faults = yield* FaultDisk
    const fold = new Fold()
    const sealed: Array<{ readonly image: Image; readonly tail: number }> = []
    let tail = (): number => 0
    let sealing = false
    yield* faults.observe(({ operation, path }) => {
      // Segments go when a checkpoint is durable: their records are read before that.
      if (path.includes("/log-") && (operation === "rename" || operation === "unlink")) {
        fold.advance(faults.killImage())
      }
      if (sealing) sealed.push({ image: faults.crashImage({ keep: "nothing" }), tail: tail() })
      sealing = path.endsWith("/super") && operation === "sync"
    })
    const { life } = yield* begin(seed, shape, tally())
    fold.advance(faults.killImage())
    tail = () => life.store.machine.parts.tail.end
    for (let step = 1; step <= steps; step++) {
      yield* shape.size === "roomy" && step % 20 === 0 ? life.overtake : life.work
      if (step % 10 > 0) continue
      const { store } = life
      yield* store.awaitDurable(yield* store.visibleLsn)
      fold.advance(faults.killImage())
      expectSame(`the tree at step ${step}`, yield* dump(store, names), fold.state(Infinity, "whole"))
      figures.trees++
    }
    yield* life.readers.letAllGo
    yield* life.shut
    fold.advance(faults.killImage())
    for (const { image, tail } of sealed) {
      const checkpoint = yield* Effect.provide(checkpointOf(pageBytes), layer({ image }))
      const expected = fold.state(checkpoint.lsn, "as leaves have them")
      expectSame(`the checkpoint at ${checkpoint.lsn}`, checkpoint.state, expected)
      figures.checkpoints++
      if (tail > checkpoint.lsn) figures.amid++
    }
    figures.records += fold.records
  })).pipe(
    Effect.provide(layer({ seed })),
    Random.withSeed(seed),
    Effect.catchCause((cause) => Effect.die(new Error(`${nameOf(seed, shape)}: ${cause}`, { cause })))
  )

describe("the log is the truth", () => {
  it.effect(
    "F64 and trees and checkpoints are its folds",
    () =>
      Effect.forEach(
        seeds,
        (seed) =>
          Effect.forEach(shapesOf(seed, { roomyEvery: 5 }), (shape) => view(seed, shape), { discard: true }),
        {
          discard: true
        }
      ),
    120_000
  )

  it("was looked at often", () => {
    figure("M1 folds of the log", figures)
    if (asked !== undefined) return
    assert.isAbove(figures.records, 5_000)
    assert.isAbove(figures.checkpoints, 200)
    assert.isAbove(figures.amid, 50, "checkpoints that ended behind later commits")
  })
})

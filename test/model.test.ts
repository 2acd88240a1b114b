/**
 * The whole store against a model: random transactions, readers, checkpoints and crashes in as little memory as works.
 *
 * `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_SEEDS=from:count` takes others.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { layer } from "../src/disk/FaultDisk.ts"
import { figure } from "./support/figures.ts"
import { seedsOf } from "./support/seeds.ts"
import { run } from "./support/storeRun.ts"
import { nameOf, shapesOf, tally } from "./support/storeSize.ts"

const { count: seeds, from: first, own } = seedsOf({ from: 1, count: 200 })
const perTest = 20
const steps = 120

const asked = process.env["HEARTWOOD_SEED"]

const runSeed = (seed: number, counts: ReturnType<typeof tally>) =>
  Effect.forEach(shapesOf(seed, { roomyEvery: 20 }), (shape) =>
    run(seed, shape, { steps, counts }).pipe(
      Effect.provide(layer({ seed })),
      Random.withSeed(seed),
      Effect.catchCause((cause) => Effect.die(new Error(`${nameOf(seed, shape)}: ${cause}`, { cause })))
    ), { discard: true })

/** What 200 seeds reach at the least; a store that is never short of anything proves little. */
const corners: Partial<ReturnType<typeof tally>> = {
  commits: 20_000,
  rollbacks: 500,
  reopens: 300,
  crashes: 200,
  lostCommits: 100,
  audits: 2_000,
  loads: 10_000,
  evictions: 10_000,
  checkpoints: 1_000,
  images: 20_000,
  segments: 2_000,
  moves: 5_000,
  heights: 3,
  pageIds: 400,
  snapshots: 500,
  parked: 100,
  conflicts: 100,
  pieces: 10_000,
  aborts: 200
}

describe("a store is its model", () => {
  if (asked !== undefined) {
    it.effect(`seed ${asked}`, () => runSeed(Number(asked), tally()), 600_000)
    return
  }
  const counts = tally()
  for (let from = first; from < first + seeds; from += perTest) {
    it.effect(`seeds from ${from}`, () =>
      Effect.gen(function*() {
        const until = Math.min(from + perTest, first + seeds)
        for (let seed = from; seed < until; seed++) yield* runSeed(seed, counts)
      }), 120_000)
  }

  it("has been everywhere", () => {
    figure("M1 model of the store", counts)
    if (!own) return
    for (const [name, least] of Object.entries(corners)) {
      assert.isAtLeast(counts[name as keyof typeof counts], least, name)
    }
  })
})

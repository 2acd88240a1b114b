/**
 * Verifying stores that nothing was done to: closed, killed, in the middle of checkpoints, in every configuration. A
 * finding here is a false alarm, or a defect of the store.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Verify from "../src/Verify.ts"
import { random } from "./support/random.ts"
import { directory } from "./support/storeDoor.ts"
import { begin } from "./support/storeRun.ts"
import { nameOf, shapesOf, tally } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? 200 : 1
const perTest = 25

const counts = { images: 0, checkpoints: 0, records: 0, largeValues: 0, minis: 0, groups: 0, heights: 0 }

const verifying = (image: Image) => Effect.provide(Verify.verifyDisk({ path: directory }), layer({ image }))

const expectSound = (image: Image, when: string) =>
  Effect.gen(function*() {
    const report = yield* verifying(image)
    assert.deepStrictEqual(report.findings, [], when)
    counts.images++
    counts.checkpoints += report.checkpoints.length
    counts.records += report.records
    counts.largeValues += report.largeValues
    counts.groups += report.groups
    for (const { height, pages } of report.checkpoints) {
      counts.minis += pages.minis
      counts.heights = Math.max(counts.heights, height)
    }
  })

const life = (seed: number) =>
  Effect.forEach(shapesOf(seed, { roomyEvery: 40 }), (shape) =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const chance = random(seed * 7)
      const images: Array<readonly [string, Image]> = []
      const begun = yield* begin(seed, shape, tally())
      yield* Effect.scoped(Effect.gen(function*() {
        yield* faults.observe(({ operation, path }) => {
          if (chance.int(400) > 0) return
          images.push([`killed before ${operation} of ${path}`, faults.killImage()])
        })
        for (let step = 1; step <= 40; step++) {
          yield* shape.size === "roomy" && step === 20 ? begun.life.overtake : begun.life.next
          if (step % 13 === 0) images.push([`killed after step ${step}`, faults.killImage()])
        }
        yield* begun.life.end
      }))
      images.push(["closed", faults.killImage()])
      for (const [when, image] of images) yield* expectSound(image, `${nameOf(seed, shape)}, ${when}`)
    }).pipe(Effect.provide(layer({ seed })), Random.withSeed(seed)), { discard: true })

describe("a store that nothing was done to is sound", () => {
  for (
    let from = asked === undefined ? 1 : Number(asked);
    from <= (asked === undefined ? seeds : Number(asked));
    from += perTest
  ) {
    it.effect(`seeds from ${from}`, () =>
      Effect.gen(function*() {
        for (let seed = from; seed < from + Math.min(perTest, seeds); seed++) yield* life(seed)
      }), 120_000)
  }

  it("wherever it has been", () => {
    if (process.env["HEARTWOOD_FIGURES"] !== undefined) console.log(counts)
    if (asked !== undefined) return
    assert.isAbove(counts.images, 800)
  })
})

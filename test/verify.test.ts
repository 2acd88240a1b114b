/**
 * Verifying stores that nothing was done to: closed, killed, in the middle of checkpoints, after power cuts, in every
 * configuration. A finding here is a false alarm, or a defect of the store.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Verify from "../src/Verify.ts"
import { configurations } from "./support/configurations.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import { directory } from "./support/storeDoor.ts"
import { begin } from "./support/storeRun.ts"
import { upTo } from "./support/stores.ts"
import { nameOf, shapesOf, tally } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? 200 : 1
const perTest = 25

const counts = {
  images: 0,
  cuts: 0,

  checkpoints: 0,
  records: 0,
  largeValues: 0,
  minis: 0,
  groups: 0,
  heights: 0
}

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

/** A power cut may leave a superblock that is not whole, and the other one serves; it leaves nothing else behind. */
const expectCut = (image: Image, when: string) =>
  Effect.gen(function*() {
    const { findings } = yield* verifying(image)
    assert.deepStrictEqual(findings.filter(({ subject }) => subject !== "superblock"), [], when)
    assert.isAtMost(findings.length, 1, when)
    counts.cuts++
  })

const life = (seed: number) =>
  Effect.forEach(shapesOf(seed, { roomyEvery: 40 }), (shape) =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const chance = random(seed * 7)
      const images: Array<readonly [string, Image]> = []
      const cuts: Array<readonly [string, Image]> = []
      const begun = yield* begin(seed, shape, tally())
      yield* Effect.scoped(Effect.gen(function*() {
        yield* faults.observe(({ operation, path }) => {
          if (chance.int(600) > 0) return
          const when = `before ${operation} of ${path}`
          images.push([`killed ${when}`, faults.killImage()])
          const crash = { seed: chance.int(2 ** 31) }
          cuts.push([`power cut ${JSON.stringify(crash)} ${when}`, faults.crashImage(crash)])
        })
        for (let step = 1; step <= 40; step++) {
          yield* shape.size === "roomy" && step === 20 ? begun.life.overtake : begun.life.next
          if (step % 20 === 0) images.push([`killed after step ${step}`, faults.killImage()])
        }
        yield* begun.life.end
      }))
      images.push(["closed", faults.killImage()])
      for (const [when, image] of images) yield* expectSound(image, `${nameOf(seed, shape)}, ${when}`)
      for (const [when, image] of cuts) yield* expectCut(image, `${nameOf(seed, shape)}, ${when}`)
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

  for (const { name, options } of configurations) {
    it.live(`in a ${name} memory`, () =>
      Effect.gen(function*() {
        const faults = yield* FaultDisk
        const chance = random(99)
        const store = yield* Store.make({ ...options, path: directory })
        const keyspace = Keyspace.bytes("all")
        const images: Array<Image> = []
        yield* faults.observe(() => {
          if (chance.int(400) === 0 && images.length < 15) images.push(faults.killImage())
        })
        for (let commit = 0; commit < 60; commit++) {
          yield* Effect.forEach(upTo(80), () => {
            const key = Buffer.from(`key ${chance.int(4_000)}`)
            return chance.bool(0.15)
              ? keyspace.remove(key)
              : keyspace.put(key, chance.bytes(chance.bool(0.1) ? 3_000 : chance.int(80)))
          }, { discard: true }).pipe(Tx.transact(), Effect.provideService(Store.Store, store))
          if (commit % 9 === 8) yield* store.checkpoint
        }
        images.push(faults.killImage())
        for (const [index, image] of images.entries()) yield* expectSound(image, `${name}, image ${index}`)
      }).pipe(Effect.scoped, Effect.provide(layer())), 60_000)
  }

  it("wherever it has been", () => {
    figure("C1 images that are sound", counts)
    if (asked !== undefined) return
    assert.isAbove(counts.images, 600)
    assert.isAbove(counts.checkpoints, 1_200)
    assert.isAbove(counts.cuts, 150)
    assert.isAbove(counts.minis, 1_000)
    assert.isAbove(counts.largeValues, 50_000)
    assert.isAtLeast(counts.heights, 3)
  })
})

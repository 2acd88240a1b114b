/**
 * Salvaging stores that something was done to: all that is in the new store is right, and all that is not is listed.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Salvage from "../src/Salvage.ts"
import * as Verify from "../src/Verify.ts"
import { digestOf } from "./support/broken.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import type { World } from "./support/salvageWorld.ts"
import { damage, from, salvaged, stateAt, target, world, wrong } from "./support/salvageWorld.ts"
import { rowsOf, stateDifference } from "./support/storeModel.ts"
import { nameOf, names, shapesOf } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = Array.from({ length: asked === undefined ? 30 : 1 }, (_, index) => index + Number(asked ?? 1))
const damagesPerStore = 9

const figures = {
  whole: 0,
  damaged: 0,
  refused: 0,
  complete: 0,
  broken: 0,
  lost: 0,
  ranges: 0,
  logAlone: 0,
  keys: 0,
  kept: 0
}

/** Salvages an image and reads what comes of it. */
const saved = (made: World, image: Image) =>
  Effect.gen(function*() {
    const before = [...digestOf(image)]
    const report = yield* Salvage.salvageDisk({ from, to: target, store: made.options })
    const found = yield* salvaged(made)
    const after = [...digestOf((yield* FaultDisk).killImage())].filter(([path]) =>
      path.startsWith(`${from}/`)
    )
    assert.deepStrictEqual(after, before, "nothing is written to the damaged store")
    const { findings } = yield* Verify.verifyDisk({ path: target })
    assert.deepStrictEqual(findings, [], "the new store is sound")
    return { report, found }
  }).pipe(Effect.provide(layer({ image })))

const whole = (made: World) =>
  Effect.gen(function*() {
    const { found, report } = yield* saved(made, made.image)
    const last = made.history.at(-1) as World["history"][number]
    assert.isTrue(report.complete)
    assert.deepStrictEqual(report.findings, [])
    assert.isAtLeast(report.lsn, last.lsn)
    const expected = new Map(
      [...last.state].map(([name, rows]) => [name, rows.map((row) => ({ ...row, lsn: undefined }))])
    )
    assert.isUndefined(stateDifference(found, expected))
    const records = names.reduce((sum, name) => sum + rowsOf(last.state, name).length, 0)
    assert.strictEqual(report.records, records)
    figures.whole++
  })

const damaged = (made: World, chance: ReturnType<typeof random>) =>
  Effect.gen(function*() {
    let [story, image] = ["", made.image]
    for (let left = 1 + chance.int(4); left > 0; left--) {
      const [what, next] = damage(chance, made, image)
      story += `${what}; `
      image = next
    }
    const exit = yield* Effect.exit(saved(made, image))
    figures.damaged++
    if (Exit.isFailure(exit)) {
      const error = Exit.findErrorOption(exit)
      if (error._tag !== "Some") return yield* Effect.die(new Error(`${story}${exit.cause}`))
      figures.refused++
      return
    }
    const { found, report } = exit.value
    const expected = stateAt(made, report.lsn)
    assert.deepStrictEqual(wrong(report, found, expected).slice(0, 3), [], story)
    const ranges = report.keyspaces.reduce((sum, { lost }) => sum + lost.length, 0)
    if (report.complete) figures.complete++
    if (report.log.break !== undefined) figures.broken++
    if (ranges > 0) figures.lost++
    if (report.checkpoint === undefined) figures.logAlone++
    figures.ranges += ranges
    figures.keys += names.reduce((sum, name) => sum + rowsOf(expected, name).length, 0)
    figures.kept += report.records
  })

describe("what is salvaged is right, and what is not is listed", () => {
  for (const seed of seeds) {
    for (const shape of shapesOf(seed, { roomyEvery: 20 })) {
      it.effect(nameOf(seed, shape), () =>
        Effect.gen(function*() {
          const made = yield* world(seed, shape, 12 + seed * 7 % 110)
          yield* whole(made)
          const chance = random(seed + 1_000_000)
          for (let index = 0; index < damagesPerStore; index++) yield* damaged(made, chance)
        }), 120_000)
    }
  }

  it("in many ways", () => {
    figure("X2 stores that are salvaged", figures)
    if (asked !== undefined) return
    assert.isAbove(figures.lost, 40)
    assert.isAbove(figures.complete, 40)
    assert.isAbove(figures.broken, 2)
    assert.isAbove(figures.logAlone, 0)
    assert.isAbove(figures.refused, 0)
    assert.isAbove(figures.kept, 0.8 * figures.keys)
  })
})

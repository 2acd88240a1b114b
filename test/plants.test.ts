/**
 * The checkers of histories find what is wrong with an engine: faults are planted, and a few schedules show each.
 *
 * `HEARTWOOD_FIGURES=1` prints how many it took, and which checkers saw it first.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { figure } from "./support/figures.ts"
import { check } from "./support/historyChecks.ts"
import type { Problem } from "./support/historyReplay.ts"
import { runSchedule } from "./support/historyRun.ts"
import type { Plant } from "./support/plants.ts"
import { plants } from "./support/plants.ts"

const schedulesMost = 200

/** By checker: schedules until it objected, and to what. */
type Found = Map<Problem["checker"], { readonly schedules: number; readonly name: string }>

/** Runs seeds until all that see a fault have. An engine that dies of it has not been found out by anybody. */
const search = (plant: Plant): Found => {
  const found: Found = new Map()
  const mend = plant.install?.()
  try {
    for (let seed = 1; seed <= schedulesMost; seed++) {
      for (const { checker, name } of problemsOf(seed, plant)) {
        if (!found.has(checker)) found.set(checker, { schedules: seed, name })
      }
      if (plant.seenBy.every((checker) => found.has(checker))) break
    }
  } finally {
    mend?.()
  }
  return found
}

const problemsOf = (seed: number, plant: Plant): ReadonlyArray<Problem> => {
  try {
    return check(runSchedule(seed, plant).history).problems
  } catch {
    return []
  }
}

describe("a planted fault is found", () => {
  const figures: Array<string> = []
  for (const plant of plants) {
    it(plant.name, () => {
      const found = search(plant)
      const seen = [...found].map(([checker, { name, schedules }]) =>
        `${checker} after ${schedules} (${name})`
      )
      figures.push(`${plant.name}: ${seen.join(", ")}`)
      assert.includeMembers([...found.keys()], [...plant.seenBy], `in ${schedulesMost} schedules`)
    }, 120_000)
  }

  it("and none where none is planted", () => {
    for (let seed = 1; seed <= 20; seed++) {
      assert.deepStrictEqual(check(runSchedule(seed).history).problems, [])
    }
  })

  afterAll(() => {
    figure("S1 planted faults that are found", { plants: figures.length }, `\n${figures.join("\n")}`)
  })
})

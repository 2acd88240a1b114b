/**
 * The checkers of histories find what is wrong with an engine: faults are planted, and a few schedules show each.
 *
 * `HEARTWOOD_FIGURES=1` prints how many it took, and which checkers saw it first.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { check } from "./support/historyChecks.ts"
import type { Problem } from "./support/historyReplay.ts"
import { runSchedule } from "./support/historyRun.ts"
import type { Plant } from "./support/plants.ts"
import { plants } from "./support/plants.ts"

const schedulesMost = 400

interface Found {
  readonly schedules: number
  readonly problems: ReadonlyArray<Problem>
}

/** Runs seeds until a checker objects. An engine that dies of its fault has not been found out by anybody. */
const search = (plant: Plant): Found | undefined => {
  const mend = plant.install?.()
  try {
    for (let seed = 1; seed <= schedulesMost; seed++) {
      const problems = problemsOf(seed, plant)
      if (problems.length > 0) return { schedules: seed, problems }
    }
    return undefined
  } finally {
    mend?.()
  }
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
      assert.isDefined(found, `not in ${schedulesMost} schedules`)
      const names = found?.problems.map(({ checker, name }) => `${checker}: ${name}`)
      figures.push(`${plant.name}: ${found?.schedules} schedules (${[...new Set(names)].join(", ")})`)
    }, 120_000)
  }

  it("and none where none is planted", () => {
    for (let seed = 1; seed <= 20; seed++) {
      assert.deepStrictEqual(check(runSchedule(seed).history).problems, [])
    }
  })

  afterAll(() => {
    if (process.env["HEARTWOOD_FIGURES"] !== undefined) console.log(figures.join("\n"))
  })
})

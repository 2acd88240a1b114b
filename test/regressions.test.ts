/**
 * Seeds that once found something wrong, replayed for ever.
 *
 * One that fails is put into `regressions/schedules.json`: which suite it is of, what was wrong, and when that was
 * found. A seed is a schedule only as long as programs draw the same from it; where what they draw changes, the list is
 * still so many runs that nothing else makes.
 */
import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { check } from "./support/historyChecks.ts"
import type { Part } from "./support/historyRun.ts"
import { runSchedule } from "./support/historyRun.ts"

interface Regression {
  readonly suite: "histories" | "simulation"
  readonly seed: number
  readonly wrong: string
  readonly since: string
}

const parts: Record<Regression["suite"], Part> = { histories: "transactions", simulation: "everything" }

const regressions = JSON.parse(
  readFileSync(new URL("regressions/schedules.json", import.meta.url), "utf8")
) as ReadonlyArray<Regression>

describe("what was wrong once is right", () => {
  for (const { seed, since, suite, wrong } of regressions) {
    it(`${suite}, seed ${seed}: ${wrong}`, () => {
      assert.match(since, /^\d{4}-\d\d-\d\d$/)
      assert.deepStrictEqual(check(runSchedule(seed, {}, parts[suite]).history).problems, [])
    })
  }
})

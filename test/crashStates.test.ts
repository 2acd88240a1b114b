/**
 * A crash before every operation of the disk, with every variant of what was not synced: five workloads, each state
 * opened, audited, compared with what was acknowledged, and opened again.
 *
 * `HEARTWOOD_SEED=n` tries other workloads, `HEARTWOOD_FIGURES=1` prints what was tried. `npm run test:crash` does so for
 * as many states as it is told to.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Totals } from "./support/crashCampaign.ts"
import { round, seedOf, statesOf, summary, totals } from "./support/crashCampaign.ts"
import { works } from "./support/crashWork.ts"
import { figure } from "./support/figures.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
/** Of each workload; what was measured to take some fifteen to forty processor seconds. */
const states = 29_000

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe("a crash at every operation", () => {
  const all = new Map<string, Totals>()

  for (const work of works) {
    it(`leaves a prefix of the commits: ${work.title}`, async () => {
      const figures = totals()
      all.set(work.title, figures)
      for (let number = 1; statesOf(figures) < states; number++) {
        round(work, seedOf(seed, number), figures)
        await turn()
      }
    }, 900_000)
  }

  it("was tried in every way", () => {
    const sum = (name: keyof Totals) => [...all.values()].reduce((sum, figures) => sum + figures[name], 0)
    figure(
      "C1 crash states",
      { states: sum("states"), kills: sum("kills"), opened: sum("opened"), lost: sum("lost") },
      ...[...all].map(([title, figures]) => `\n${summary(title, figures)}`)
    )
    figure("C2 crashes of recoveries", { nested: sum("nested"), deeper: sum("deeper") })
    assert.strictEqual(all.size, works.length)
    for (const [title, { confirmed, lost, opened, states: taken, verified }] of all) {
      assert.isAbove(taken, 1_000, title)
      // A model that is too kind loses nothing.
      assert.isAbove(lost, 50, title)
      assert.isAbove(opened, 50, title)
      assert.isAbove(confirmed, 0, title)
      assert.isAbove(verified, 0, title)
    }
    const { cutLives, killedLives } = all.get("recovery itself") ?? totals()
    assert.isAbove(cutLives, 0)
    assert.isAbove(killedLives, 0)
    assert.isAbove(sum("nested"), 1_000)
  })
})

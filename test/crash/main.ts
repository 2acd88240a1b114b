/**
 * Crash states without an end: as many as wanted, of workloads that nobody has tried before: `npm run test:crash`.
 *
 * `--states 200000`, `--seed 1` (of the campaign; a run of one seed is the same every time), `--work commits` (only
 * workloads whose title begins so), `--first 1` (the run to begin with: a failure says which one it was).
 */
import { parseArgs } from "node:util"
import { round, seedOf, statesOf, summary, totals } from "../support/crashCampaign.ts"
import { works } from "../support/crashWork.ts"

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "200000" },
    seed: { type: "string", default: "1" },
    first: { type: "string", default: "1" },
    work: { type: "string", default: "" }
  }
})
const most = Number(values.states)
const seed = Number(values.seed)
const chosen = works.filter(({ title }) => title.startsWith(values.work))
if (chosen.length === 0 || !(most > 0)) {
  throw new RangeError("--work names no workload, or --states is no number")
}

const all = chosen.map((work) => ({ work, figures: totals() }))
const sum = (): number => all.reduce((states, { figures }) => states + statesOf(figures), 0)
for (let number = Number(values.first); sum() < most; number++) {
  for (const { figures, work } of all) {
    try {
      round(work, seedOf(seed, number), figures)
    } catch (error) {
      console.error(error instanceof Error ? error.message : error)
      console.error(
        `again: npm run test:crash -- --states 1 --seed ${seed} --first ${number} --work "${work.title}"`
      )
      process.exit(1)
    }
    if (sum() >= most) break
  }
  console.log(`run ${number} of seed ${seed}: ${sum()} of ${most} states`)
}
for (const { figures, work } of all) if (figures.runs > 0) console.log(summary(work.title, figures))

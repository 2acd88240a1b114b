/**
 * Workloads one after another, and what came of all their crash states.
 *
 * What is left out of a campaign is left out by its seed and a count of states, never by the clock: equal seeds and
 * counts try the same.
 */
import { CrashCheck } from "./crashCheck.ts"
import type { Figures as Checked, Rates } from "./crashCheck.ts"
import { runWork } from "./crashRun.ts"
import type { Figures as Taken } from "./crashShots.ts"
import type { Work } from "./crashWork.ts"

export interface Totals extends Checked, Taken {
  runs: number
  commits: number
  /** Lives that a power cut ended amid a workload, or the death of the process. */
  cutLives: number
  killedLives: number
  cpuMillis: number
}

export const rates: Rates = { verify: 20, confirm: 100, nest: 400, deepen: 500 }

export const totals = (): Totals => ({
  runs: 0,
  commits: 0,
  cutLives: 0,
  killedLives: 0,
  operations: 0,
  moments: 0,
  states: 0,
  kills: 0,
  distinct: 0,
  opened: 0,
  confirmed: 0,
  lost: 0,
  unbuffered: 0,
  verified: 0,
  nested: 0,
  deeper: 0,
  cpuMillis: 0
})

/** Runs a workload with one seed, and checks every state. */
export const round = (work: Work, seed: number, into: Totals, chosen: Rates = rates): void => {
  const begun = process.cpuUsage()
  const { commits, cuts, kills, options, shots } = runWork(work, seed)
  const check = new CrashCheck(options, chosen, seed)
  try {
    check.all(shots.taken.values())
  } catch (cause) {
    throw new Error(`${work.title}, seed ${seed}: ${cause instanceof Error ? cause.message : cause}`, {
      cause
    })
  }
  into.runs++
  into.commits += commits
  into.cutLives += cuts
  into.killedLives += kills
  const { system, user } = process.cpuUsage(begun)
  into.cpuMillis += (user + system) / 1000
  const own = { ...shots.figures, ...check.figures }
  for (const name of Object.keys(own) as Array<keyof typeof own>) into[name] += own[name]
}

/** States of all depths. */
export const statesOf = ({ deeper, nested, states }: Totals): number => states + nested + deeper

/** The seed of round `number` of a campaign. */
export const seedOf = (seed: number, number: number): number => (seed - 1) * 1_000_000 + number

/** One line for people. */
export const summary = (title: string, all: Totals): string => {
  const {
    commits,
    confirmed,
    cpuMillis,
    deeper,
    distinct,
    kills,
    lost,
    nested,
    opened,
    runs,
    unbuffered,
    verified
  } = all
  const rate = (statesOf(all) / cpuMillis * 1000).toFixed(0)
  return `${title}: ${statesOf(all)} states (${kills} of process death, ${nested} in recovery, ${deeper} in `
    + `recovery of that), ${distinct} distinct, ${opened} opened twice (and ${confirmed} that read like one of them), ${verified} verified, `
    + `${lost} without the last commits, ${unbuffered} without some that the system had; ${runs} runs, ${commits} commits; ${
      (cpuMillis / 1000).toFixed(1)
    } `
    + `processor seconds, ${rate} states in one`
}

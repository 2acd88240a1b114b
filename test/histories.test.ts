/**
 * Two thousand schedules of transactions beside each other, crashes among them: every history is serializable in the
 * order of LSNs, and a seed replays its schedule to the bit.
 *
 * `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_SEEDS=from:count` takes others, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import { figure } from "./support/figures.ts"
import { check } from "./support/historyChecks.ts"
import { runSchedule } from "./support/historyRun.ts"
import { seedsOf } from "./support/seeds.ts"

const asked = process.env["HEARTWOOD_SEED"]
const { count: schedules, from: first, own } = seedsOf({ from: 1, count: 2_000 })
const perTest = 100
/** One seed in so many runs twice. */
const replayEvery = 10

/** What happened, over all seeds: schedules in which nobody meets prove nothing. */
const counts = {
  schedules: 0,
  replays: 0,
  lives: 0,
  transactions: 0,
  commits: 0,
  conflicts: 0,
  rolledBack: 0,
  interrupted: 0,
  unknown: 0,
  snapshots: 0,
  crashes: 0,
  lostCommits: 0
}

const least: Partial<typeof counts> = {
  transactions: 25_000,
  commits: 15_000,
  conflicts: 1_500,
  rolledBack: 500,
  interrupted: 300,
  unknown: 300,
  snapshots: 1_000,
  crashes: 1_000,
  lostCommits: 500
}

const runSeed = (seed: number): void => {
  try {
    const { conflicts, crashes, history, image, trace } = runSchedule(seed)
    const { lost, problems } = check(history)
    assert.deepStrictEqual(problems, [], `trace ${trace}`)
    if (seed % replayEvery === 0) {
      const again = runSchedule(seed)
      assert.deepStrictEqual([again.trace, again.image], [trace, image], "the same seed, the same run")
      counts.replays++
    }
    const transactions = history.flatMap((life) => life.transactions)
    const ended = (tag: string): number => transactions.filter(({ outcome }) => outcome._tag === tag).length
    counts.schedules++
    counts.lives += history.length
    counts.transactions += transactions.length
    counts.commits += transactions.filter(({ appended }) => appended !== undefined).length
    counts.conflicts += conflicts
    counts.rolledBack += ended("failed")
    counts.interrupted += ended("interrupted")
    counts.unknown += ended("unknown")
    counts.snapshots += transactions.filter(({ door }) => door === "read").length
    counts.crashes += crashes
    counts.lostCommits += lost
  } catch (cause) {
    throw new Error(`HEARTWOOD_SEED=${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

describe("histories", () => {
  if (asked !== undefined) {
    it(`seed ${asked}`, () => runSeed(Number(asked)), 600_000)
    return
  }
  for (let from = first; from < first + schedules; from += perTest) {
    it(`seeds from ${from}`, () => {
      const until = Math.min(from + perTest, first + schedules)
      for (let seed = from; seed < until; seed++) runSeed(seed)
    }, 120_000)
  }

  it("have been everywhere", () => {
    figure("S1 histories", counts)
    if (!own) return
    for (const [name, count] of Object.entries(least)) {
      assert.isAtLeast(counts[name as keyof typeof counts], count, name)
    }
  })
})

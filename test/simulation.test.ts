/**
 * The whole store under one seed: its fibers, its clock, its disk with faults and crashes, and programs that use all
 * that it has. Every history is serializable in the order of LSNs, nothing promised is lost, and a seed replays its run
 * to the bit.
 *
 * It is `histories.test.ts` with transactions written as pieces, records that expire, an index, large values, snapshots
 * held across checkpoints, and a disk that refuses writes and syncs. What a seed has found stays in `regressions/`.
 *
 * `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_SEEDS=from:count` takes others, `HEARTWOOD_FIGURES=1` prints what was
 * tried.
 */
import { assert, describe, it } from "@effect/vitest"
import { figure } from "./support/figures.ts"
import { check } from "./support/historyChecks.ts"
import { runSchedule } from "./support/historyRun.ts"
import { seedsOf } from "./support/seeds.ts"

const asked = process.env["HEARTWOOD_SEED"]
const { count: seeds, from: first, own } = seedsOf({ from: 1, count: 400 })
const perTest = 50
/** One seed in so many runs twice. */
const replayEvery = 20

/** What happened, over all seeds: runs in which nothing meets prove nothing. */
const counts = {
  runs: 0,
  transactions: 0,
  commits: 0,
  conflicts: 0,
  crashes: 0,
  lostCommits: 0,
  pieces: 0,
  swept: 0,
  moved: 0,
  refusals: 0,
  poisoned: 0
}

const least: Partial<typeof counts> = {
  conflicts: 300,
  crashes: 250,
  pieces: 1_500,
  swept: 200,
  moved: 25,
  refusals: 250,
  poisoned: 80
}

const runSeed = (seed: number): void => {
  try {
    const ran = runSchedule(seed, {}, "everything")
    const { lost, problems } = check(ran.history)
    assert.deepStrictEqual(problems, [], `trace ${ran.trace}`)
    if (seed % replayEvery === 0) {
      const again = runSchedule(seed, {}, "everything")
      assert.deepStrictEqual(
        [again.trace, again.image],
        [ran.trace, ran.image],
        "the same seed, the same run"
      )
    }
    const transactions = ran.history.flatMap((life) => life.transactions)
    counts.runs++
    counts.transactions += transactions.length
    counts.commits += transactions.filter(({ appended }) => appended !== undefined).length
    counts.lostCommits += lost
    for (
      const name of ["conflicts", "crashes", "pieces", "swept", "moved", "refusals", "poisoned"] as const
    ) {
      counts[name] += ran[name]
    }
  } catch (cause) {
    throw new Error(`HEARTWOOD_SEED=${seed}: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

describe("a simulation", () => {
  if (asked !== undefined) {
    it(`seed ${asked}`, () => runSeed(Number(asked)), 600_000)
    return
  }
  for (let from = first; from < first + seeds; from += perTest) {
    it(`seeds from ${from}`, () => {
      const until = Math.min(from + perTest, first + seeds)
      for (let seed = from; seed < until; seed++) runSeed(seed)
    }, 120_000)
  }

  it("has been everywhere", () => {
    figure("S1 simulation", counts)
    if (!own) return
    for (const [name, count] of Object.entries(least)) {
      assert.isAtLeast(counts[name as keyof typeof counts], count, name)
    }
  })
})

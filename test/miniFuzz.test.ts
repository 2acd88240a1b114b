/**
 * The kernel with hardly any memory: what is evicted, grown, merged, split, forgotten, packed and used anew all the
 * time is still what was written, for readers of now and of the past, and after going back to a checkpoint.
 *
 * A failure names its seed and the case it is of; `HEARTWOOD_SEED` runs that seed alone, in every case, and
 * `HEARTWOOD_SEEDS=from:count` moves the seeds of each case, and takes so many.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Reducer } from "../src/tree/page/Fold.ts"
import { figure } from "./support/figures.ts"
import type { FuzzOptions } from "./support/fuzz.ts"
import { Fuzz } from "./support/fuzz.ts"
import type { FuzzCounts } from "./support/fuzzCounts.ts"
import { noCounts } from "./support/fuzzCounts.ts"
import { seedsOf } from "./support/seeds.ts"

const operations = 25_000
const only = process.env["HEARTWOOD_SEED"]
const moved = seedsOf({ from: 0, count: 0 })

const usual: FuzzOptions = {
  operations,
  keys: 600,
  longestKey: 60,
  longestValue: 120,
  frames: 2,
  audit: 500
}

const inTwoPages = { operations: 0, audits: 0 }
afterAll(() => figure("M1 in a ring of two pages", inTwoPages))

/** What a run may not do without. */
type Corner = keyof FuzzCounts

const always: ReadonlyArray<Corner> = [
  "past",
  "scanned",
  "checkpoints",
  "abandoned",
  "reopened",
  "dropped",
  "loads",
  "pagesMade"
]
const mini: ReadonlyArray<Corner> = [...always, "merges", "tombstones", "packed"]
const folds: ReadonlyArray<Corner> = [...mini, "operands", "folded"]
const copies: ReadonlyArray<Corner> = [...mini, "forgotten", "caches", "phantoms"]

const cases: Record<
  string,
  { readonly options: Partial<FuzzOptions>; readonly seeds: number; readonly corners: ReadonlyArray<Corner> }
> = {
  "as it is used": { options: {}, seeds: 16, corners: copies },
  "a ring of eight pages": { options: { frames: 8 }, seeds: 8, corners: copies },
  "everything that is read is promoted": {
    options: { promotionPercent: 100 },
    seeds: 8,
    corners: [...copies, "spared"]
  },
  "nothing is promoted, nothing spared": {
    options: { promotionPercent: 0, secondChancePercent: 0 },
    seeds: 8,
    corners: mini
  },
  "half of the ring gives second chances": {
    options: { secondChancePercent: 50, frames: 8 },
    seeds: 8,
    corners: [...copies, "spared"]
  },
  "many small records": {
    options: { keys: 3000, longestKey: 16, longestValue: 20 },
    seeds: 12,
    corners: copies
  },
  "few records, as large as they may be": {
    options: { keys: 100, longestKey: 200, longestValue: 300 },
    seeds: 8,
    corners: copies
  },
  "three levels of long keys": {
    options: { keys: 2000, longestKey: 200 },
    seeds: 12,
    corners: copies
  },
  "sums": {
    options: { reducer: Reducer.sum, promotionPercent: 100 },
    seeds: 8,
    corners: [...folds, "forgotten", "caches"]
  },
  "the least, of few keys": { options: { reducer: Reducer.min, keys: 150 }, seeds: 4, corners: folds },
  "the greatest, of many keys": {
    options: { reducer: Reducer.max, keys: 3000, longestKey: 16 },
    seeds: 4,
    corners: folds
  },
  "what is appended": { options: { reducer: Reducer.append, longestValue: 200 }, seeds: 8, corners: folds },
  "sets": { options: { reducer: Reducer.union, keys: 300 }, seeds: 4, corners: folds },
  "the last": { options: { reducer: Reducer.last }, seeds: 2, corners: [...mini, "folded"] },
  "sums without mini-pages": {
    options: { reducer: Reducer.sum, mode: "pages", frames: 4 },
    seeds: 4,
    corners: [...always, "folded"]
  },
  "without mini-pages": { options: { mode: "pages", frames: 4 }, seeds: 8, corners: always }
}

describe("the kernel in hardly any memory", () => {
  for (const [index, [name, { corners, options, seeds: usually }]] of Object.entries(cases).entries()) {
    const seeds = moved.own ? usually : moved.count
    it(`${name}: ${seeds * operations} operations`, () => {
      const counts = noCounts()
      const first = only === undefined ? moved.from + 1000 * (index + 1) : Number(only)
      const last = only === undefined ? first + seeds : first + 1
      const all = { ...usual, ...options }
      for (let seed = first; seed < last; seed++) new Fuzz(seed, all, counts).run()
      if (all.frames === 2) {
        inTwoPages.operations += counts.operations
        inTwoPages.audits += counts.audits
      }
      if (only === undefined && moved.own) {
        for (const corner of corners) assert.isAbove(counts[corner], 0, corner)
      }
    })
  }
})

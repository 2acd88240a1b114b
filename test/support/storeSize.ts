/**
 * The smallest stores that work, and what is counted while they live.
 */
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import type { BufferMode } from "../../src/Limits.ts"
import type * as Store from "../../src/Store.ts"
import type { Random } from "./random.ts"

/** What happened, over all seeds: a test that does not reach its corners proves nothing. */
export interface Tally {
  commits: number
  rollbacks: number
  reopens: number
  crashes: number
  lostCommits: number
  audits: number
  loads: number
  evictions: number
  checkpoints: number
  images: number
  segments: number
  moves: number
  leaves: number
  heights: number
  pageIds: number
  snapshots: number
  parked: number
  conflicts: number
  pieces: number
  aborts: number
}

export const tally = (): Tally => ({
  commits: 0,
  rollbacks: 0,
  reopens: 0,
  crashes: 0,
  lostCommits: 0,
  audits: 0,
  loads: 0,
  evictions: 0,
  checkpoints: 0,
  images: 0,
  segments: 0,
  moves: 0,
  leaves: 0,
  heights: 0,
  pageIds: 0,
  snapshots: 0,
  parked: 0,
  conflicts: 0,
  pieces: 0,
  aborts: 0
})

/** Tight: a few dozen pages of memory. Roomy: more than a checkpoint writes at a time, so that it is overtaken. */
export type Size = "tight" | "roomy"

/**
 * How a store is made beside what its seed draws: a field for each dimension. Another one is a field here, its values
 * in `shapesOf` and its limits in `optionsOf`; every run then has it.
 */
export interface Shape {
  readonly size: Size
  readonly buffer: BufferMode
  /** Whether all but the smallest transactions are written as pieces. */
  readonly transactions?: "whole" | "pieces"
}

/** The shapes in which a seed is run; every so manieth seed is roomy, every third a page cache. */
export const shapesOf = (seed: number, options: { readonly roomyEvery: number }): ReadonlyArray<Shape> => {
  const sizes: ReadonlyArray<Size> = [seed % options.roomyEvery === 0 ? "roomy" : "tight"]
  const buffer = seed % 3 === 0 ? "pages" : "miniPages"
  const transactions = seed % 2 === 0 ? "pieces" : "whole"
  return sizes.map((size) => ({ size, buffer, transactions }))
}

/** How a failure names a run. */
export const nameOf = (seed: number, shape: Shape): string =>
  `HEARTWOOD_SEED=${seed} (${Object.values(shape).join(", ")})`

export type Options = Omit<Store.Options, "path">

export const names = ["one", "two", "sums", "journal"]

const pageBytes = 1024

/** Blocks of page memory. */
const blocksOf = (chance: Random, { size }: Shape): number =>
  size === "roomy" ? 1024 : chance.pick([26, 32, 48, 96])

export const optionsOf = (chance: Random, shape: Shape): Options => ({
  buffer: shape.buffer,
  limits: {
    // A handful of writes.
    ...(shape.transactions === "pieces" ? { transactionBytes: 2048, applyInOneSlice: 3 } : {}),
    promotionPercent: chance.pick([0, 20, 100]),
    pageBytes,
    memoryBytes: (blocksOf(chance, shape) + 4) * pageBytes,
    stagingBytes: 4 * pageBytes,
    mergeWorkspaces: 1,
    loadsInFlight: chance.pick([1, 2, 4]),
    inlineValueBytes: chance.pick([0, 40, 232]),
    segmentBytes: 4096,
    undurableBytes: chance.pick([1024, 4096]),
    // References to large values stay in memory: a roomy store without small ones has more than an eighth of them.
    ...(shape.size === "roomy" ? { versionsBytes: 512 * 1024 } : {}),
    mailbox: chance.pick([1, 2, 1024]),
    checkpoint: {
      logBytes: chance.pick([8192, 16384, 65536]),
      hardLogBytes: 1_048_576,
      records: chance.pick([20, 200, 100_000]),
      leafRecords: 20
    }
  }
})

/** Time goes by: what failed is tried again after a while. */
export const passing: Effect.Effect<never> = Effect.forever(Effect.andThen(
  TestClock.adjust("50 millis"),
  Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
))

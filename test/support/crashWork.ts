/**
 * Five workloads for crash states: each fills a small store with what its title says, beside everything else.
 *
 * I1 A workload is drawn from its seed, down to the order in which its fibers run.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../../src/StoreError.ts"
import type { CrashLife, Drawing } from "./crashLife.ts"
import type { Random } from "./random.ts"
import type { Options } from "./storeSize.ts"

export interface Work {
  readonly title: string
  readonly options: (chance: Random) => Options
  readonly drawing: Drawing
  /** What is there before states are taken. */
  readonly prepare: (life: CrashLife) => Effect.Effect<void, StoreError>
  readonly body: (life: CrashLife) => Effect.Effect<void, StoreError>
  /** Lives of the store, all but the last ended by a power cut or the death of the process. */
  readonly lives: number
}

const pageBytes = 1024

const limitsOf = (blocks: number) => ({
  pageBytes,
  memoryBytes: (blocks + 4) * pageBytes,
  stagingBytes: 4 * pageBytes,
  mergeWorkspaces: 1,
  loadsInFlight: 4,
  inlineValueBytes: 120,
  segmentBytes: 4096,
  undurableBytes: 2048,
  // Schedules let minutes pass between two steps of a commit.
  streamAgeMillis: 3_600_000,
  // Filling it is a matter of one workload: in each it would be a part of all images.
  reserveBytes: 0,
  checkpoint: { logBytes: 65_536, hardLogBytes: 1_048_576 }
})

export const times = (
  count: number,
  step: () => Effect.Effect<void, StoreError>
): Effect.Effect<void, StoreError> => Effect.repeat(Effect.suspend(step), { times: count - 1 })

const fill = (life: CrashLife, transactions: number): Effect.Effect<void, StoreError> =>
  times(transactions, () => life.commit(life.steps(12), "memory"))

export const commits: Work = {
  title: "commits of all durabilities",
  options: (chance) => ({
    limits: {
      ...limitsOf(44),
      transactionBytes: 2048,
      applyInOneSlice: chance.pick([3, 1024]),
      reserveBytes: 8192
    }
  }),
  drawing: { keys: 40, valueBytes: 60, large: 0.1 },
  lives: 1,
  prepare: () => Effect.void,
  body: (life) =>
    times(10, () => {
      const kind = life.chance.next()
      if (kind < 0.1) return life.commit(life.steps(40), life.durability())
      if (kind < 0.2) return Effect.sleep("20 millis")
      if (kind < 0.25) {
        return life.commit(
          [{ _tag: life.chance.pick(["clear", "drop"]), keyspace: "two" }],
          life.durability()
        )
      }
      return life.burst(4)
    })
}

export const checkpoints: Work = {
  title: "checkpoints under load",
  options: (chance) => ({
    buffer: chance.pick(["miniPages", "pages"]),
    limits: {
      ...limitsOf(44),
      checkpoint: { logBytes: 65_536, hardLogBytes: 1_048_576, records: 40, leafRecords: 20 }
    }
  }),
  drawing: { keys: 60, valueBytes: 60, large: 0.05 },
  lives: 1,
  prepare: (life) => fill(life, 6),
  body: (life) => times(3, () => life.beside([life.checkpoint, life.burst(3), life.burst(3)]))
}

export const eviction: Work = {
  title: "eviction under load",
  options: (chance) => ({
    buffer: chance.pick(["miniPages", "pages"]),
    limits: { ...limitsOf(16), promotionPercent: chance.pick([0, 20, 100]) }
  }),
  drawing: { keys: 140, valueBytes: 110, large: 0 },
  lives: 1,
  prepare: (life) => Effect.andThen(fill(life, 20), life.checkpoint),
  body: (life) =>
    times(3, () => {
      if (life.chance.bool(0.4)) return life.checkpoint
      return life.beside([life.reads(6), life.burst(2), life.commit(life.steps(6), life.durability())])
    })
}

export const truncation: Work = {
  title: "truncation of log and page file",
  options: (chance) => ({
    buffer: chance.pick(["miniPages", "pages"]),
    limits: {
      ...limitsOf(60),
      checkpoint: { logBytes: 8192, hardLogBytes: 1_048_576, records: 100_000, leafRecords: 100_000 }
    }
  }),
  drawing: { keys: 60, valueBytes: 100, large: 0.2 },
  lives: 1,
  prepare: (life) => Effect.andThen(fill(life, 15), Effect.andThen(life.checkpoint, fill(life, 3))),
  body: (life) =>
    Effect.andThen(
      life.commit([{ _tag: "clear", keyspace: "two" }], "memory"),
      times(3, () => Effect.andThen(life.checkpoint, life.burst(2)))
    )
}

const recovery: Work = {
  title: "recovery itself",
  options: (chance) => ({
    buffer: chance.pick(["miniPages", "pages"]),
    limits: {
      ...limitsOf(44),
      transactionBytes: 2048,
      checkpoint: { logBytes: 65_536, hardLogBytes: 1_048_576, records: 60, leafRecords: 30 }
    }
  }),
  drawing: { keys: 60, valueBytes: 60, large: 0.1 },
  lives: 4,
  prepare: () => Effect.void,
  body: (life) =>
    times(8, () => life.chance.bool(0.15) ? life.commit(life.steps(40), life.durability()) : life.burst(4))
}

export const works: ReadonlyArray<Work> = [commits, checkpoints, eviction, truncation, recovery]

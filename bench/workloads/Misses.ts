/**
 * Reads of what is not in the engine's memory: one at a time, and 64 in flight.
 *
 * Beside the bare calls that the same pages take of the disk, they show what an engine adds to a miss.
 */
import { spend } from "./Measure.ts"
import type { Sample } from "./Measure.ts"
import type { Stage } from "./Stage.ts"
import type { Workload } from "./Workload.ts"

const pieceRequests = 2_000
const inFlight = 64

/** With how many pages the engine read for it, where it says; at first what loading has left is written out. */
const counted = async (
  stage: Stage,
  repetition: number,
  run: () => Promise<Sample>
): Promise<Sample> => {
  if (repetition === 0) await stage.session.checkpoint?.()
  const before = stage.session.counters?.()["reads"]
  const sample = await run()
  const after = stage.session.counters?.()["reads"]
  return before === undefined || after === undefined
    ? sample
    : { ...sample, more: { pagesRead: after - before } }
}

export const workloads: ReadonlyArray<Workload> = [
  {
    name: "miss-lone",
    title: "get of a page that is not in memory, one at a time",
    unit: "requests",
    run: async (stage, budget, repetition) => {
      const { gets } = stage.session
      if (gets === undefined) return undefined
      const indices = stage.draw("uniform", 10 * pieceRequests, repetition)
      const records = stage.records()
      return counted(stage, repetition, () =>
        spend(budget, pieceRequests, (done, length) => {
          const from = done % indices.length
          return gets({ records, indices, from, to: from + length })
        }))
    }
  },
  {
    name: "miss-64",
    title: "gets of pages that are not in memory, 64 in flight",
    unit: "requests",
    run: async (stage, budget, repetition) => {
      const { getsInFlight } = stage.session
      if (getsInFlight === undefined) return undefined
      const indices = stage.draw("uniform", 10 * pieceRequests, repetition)
      const records = stage.records()
      return counted(stage, repetition, () =>
        spend(budget, pieceRequests, (done, length) => {
          const from = done % indices.length
          return getsInFlight({ records, indices, from, to: from + length }, inFlight)
        }))
    }
  }
]

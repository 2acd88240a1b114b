/**
 * Durable commits of one record: by one writer, and by many at once that know nothing of each other.
 *
 * `writers` takes the engine's own group commit, where it has one; `gathered` is what an application can do that
 * gathers those who wait. A commit counts when its writer has been told that it is durable.
 */
import type { Session } from "../engines/Engine.ts"
import { Latencies } from "./Latencies.ts"
import { meter } from "./Measure.ts"
import type { Budget, Sample } from "./Measure.ts"
import type { Stage } from "./Stage.ts"
import type { Workload } from "./Workload.ts"

const drawnCommits = 100_000

/** Commits until the budget is spent, and how long each of them took. */
export const commits = async (
  stage: Stage,
  write: NonNullable<Session["write"]>,
  { millis, operations }: Budget,
  writers: number,
  repetition: number
): Promise<Sample> => {
  const indices = stage.draw("uniform", drawnCommits, repetition)
  const latencies = new Latencies()
  let taken = 0
  let done = 0
  const end = meter()
  const deadline = performance.now() + millis
  await write({
    records: stage.records(),
    writers,
    version: stage.version++,
    take: () => {
      const over = operations === undefined ? performance.now() >= deadline : taken >= operations
      return over ? -1 : indices[taken++ % drawnCommits] as number
    },
    acknowledged: (begun) => {
      done++
      latencies.add((performance.now() - begun) * 1_000)
    }
  })
  const sample = end(done)
  return { ...sample, latency: latencies.percentiles() }
}

const writing = (door: "write" | "writeGathered", writers: number): Workload => ({
  name: `${door === "write" ? "writers" : "gathered"}-${writers}`,
  title: `durable commits, ${writers} ${writers === 1 ? "writer" : "writers"}${
    door === "write" ? "" : ", gathered by the application"
  }`,
  unit: "commits",
  run: async (stage, budget, repetition) => {
    const write = stage.session[door]
    if (write === undefined) return undefined
    const sample = await commits(stage, write, budget, writers, repetition)
    return sample.operations === 0 ? undefined : sample
  }
})

const counts = [1, 64, 256, 1_024]

export const workloads: ReadonlyArray<Workload> = [
  ...counts.map((writers) => writing("write", writers)),
  ...counts.slice(1).map((writers) => writing("writeGathered", writers))
]

/**
 * All workloads, by the family whose stage they play on.
 */
import * as Checkpoints from "./Checkpoints.ts"
import * as Commits from "./Commits.ts"
import * as Load from "./Load.ts"
import * as Misses from "./Misses.ts"
import * as Reads from "./Reads.ts"
import type { Workload } from "./Workload.ts"
import * as Ycsb from "./Ycsb.ts"

export const families = {
  load: Load.workloads,
  reads: Reads.workloads,
  ycsb: Ycsb.workloads,
  commits: Commits.workloads,
  misses: Misses.workloads,
  checkpoints: Checkpoints.workloads
} satisfies Record<string, ReadonlyArray<Workload>>

export type Family = keyof typeof families

const all: ReadonlyMap<string, Workload> = new Map(
  Object.values(families).flat().map((workload) => [workload.name, workload])
)

export const named = (name: string): Workload => {
  const found = all.get(name)
  if (found === undefined) {
    throw new RangeError(`${name} is no workload: name one of ${[...all.keys()].join(", ")}`)
  }
  return found
}

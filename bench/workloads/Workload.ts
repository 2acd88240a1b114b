/**
 * What a workload is: a name, what one of its operations is, and how it runs on a stage.
 */
import type { Budget, Sample } from "./Measure.ts"
import type { Stage } from "./Stage.ts"

export interface Workload {
  readonly name: string
  readonly title: string
  /** What is counted: a rate is so many of these a second. */
  readonly unit: "records" | "requests" | "commits"
  /** Runs it once; undefined where the engine has no such door. */
  readonly run: (stage: Stage, budget: Budget, repetition: number) => Promise<Sample | undefined>
}

/**
 * The results of a run, as they are written: everything that was measured, and on what.
 */
import type { Sample } from "../workloads/Measure.ts"
import type { Machine } from "./Surroundings.ts"

export const format = 1

/** Why an engine has no samples that was never to have any. */
export const noDoor = "has no such door"

/** All repetitions of one workload by one engine, in their order. */
export interface Row {
  readonly workload: string
  readonly title: string
  readonly unit: string
  readonly engine: string
  readonly rank: string
  readonly samples: ReadonlyArray<Sample>
  /** Why there are none, where an engine was to run it. */
  readonly absent?: string | undefined
}

export interface SectionResult {
  readonly name: string
  readonly records: number
  readonly memoryBytes: number
  readonly durability: string
  readonly repetitions: number
  readonly rounds: number
  readonly millis: number
  /** So many times as long each workload ran before it was measured. */
  readonly warmUp: number
  readonly options: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly rows: ReadonlyArray<Row>
}

export interface Results {
  readonly format: typeof format
  readonly profile: string
  readonly only: ReadonlyArray<string>
  readonly begun: string
  readonly seconds: number
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly sections: ReadonlyArray<SectionResult>
  /** What could not be run, and why. */
  readonly notes: ReadonlyArray<string>
}

/** Operations a second. */
export const rateOf = ({ millis, operations }: Sample): number => operations / (millis / 1_000)

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

/** Median and range; undefined of nothing. */
export const spreadOf = (values: ReadonlyArray<number>): Spread | undefined => {
  const sorted = values.toSorted((a, b) => a - b)
  const [least] = sorted
  const most = sorted.at(-1)
  if (least === undefined || most === undefined) return undefined
  const above = sorted[sorted.length >> 1] ?? most
  const below = sorted[sorted.length - 1 >> 1] ?? least
  return { median: (above + below) / 2, least, most }
}

/** The quotients of values that belong together, one by one. */
export const ratiosOf = (over: ReadonlyArray<number>, under: ReadonlyArray<number>): Array<number> =>
  over.slice(0, under.length).map((value, index) => value / (under[index] as number))

/**
 * What the bench says to the process of an engine, and what that answers: one request at a time.
 */
import type { Budget, Sample } from "../workloads/Measure.ts"
import type { Setting } from "../workloads/Stage.ts"

export type Request =
  /** Opens a store with its records in it; without a store, only for workloads that open their own. */
  | { readonly do: "set"; readonly engine: string; readonly setting: Setting; readonly store: boolean }
  | { readonly do: "run"; readonly workload: string; readonly budget: Budget; readonly repetition: number }
  /** Fills a store, by way of a log that nothing cuts off where it is given room; then to be killed, or told to close. */
  | {
    readonly do: "fill"
    readonly engine: string
    readonly setting: Setting
    readonly logBytes?: number | undefined
  }
  /** Opens a store that is there, and reads one record. */
  | {
    readonly do: "open"
    readonly engine: string
    readonly setting: Setting
    readonly logBytes?: number | undefined
  }
  | { readonly do: "close" }

export interface Told {
  readonly engine: string
  readonly version: string
  readonly rank: string
  readonly options: Readonly<Record<string, unknown>>
}

export interface Opened {
  readonly millis: number
  /** Records that a scan finds, where it was asked for. */
  readonly found: number
}

/** A place for each kind of answer. */
export interface Reply {
  readonly told?: Told | undefined
  readonly sample?: Sample | undefined
  readonly opened?: Opened | undefined
  readonly error?: string | undefined
}

/** The log of a store whose records are written and in no checkpoint: with what is beside keys and values in it. */
export const logBytesOf = (records: number): number => records * 160

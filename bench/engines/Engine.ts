/**
 * What the workloads ask of an engine: each door does many operations, so that none pays for being measured.
 *
 * I1 The same work through any engine gives the same answer: how many records were found, and a sum over their bytes.
 *
 * A door that an engine does not have is left out, and the workload says so. "Shared" answers are bytes that the next
 * call overwrites, "fresh" ones are the caller's to keep.
 */
import type { Records } from "../workloads/Records.ts"

/** What was seen, the same for all engines. */
export interface Answer {
  found: number
  checksum: number
}

/** Requests for records by their number, from one place of a list to another. */
export interface Picks {
  readonly records: Records
  readonly indices: Uint32Array
  readonly from: number
  readonly to: number
}

export type Direction = "ascending" | "descending"

/** What a request of a mix does. */
export const Kind = { read: 0, update: 1, insert: 2, scan: 3, modify: 4 } as const

/** Requests of several kinds, in their order. Writes may wait for no disk, and be visible a turn later. */
export interface Mix extends Picks {
  readonly kinds: Uint8Array
  /** How many records a scan reads. */
  readonly lengths: Uint8Array
  /** Grows from one mix to the next, so that a value tells who wrote it. */
  readonly version: number
}

/** Durable commits of one record each, by so many at once; each writer waits for its own. */
export interface Writing {
  readonly records: Records
  readonly writers: number
  /** The next record to write, or -1: it is over. */
  readonly take: () => number
  readonly version: number
  /** A commit has been acknowledged that was begun then (`performance.now`). */
  readonly acknowledged: (begun: number) => void
}

/** Doors of an open store; numbers of records of ascending ones are handed over in their order. */
export interface Session {
  /** What the engine was told, for the results. */
  readonly options: Readonly<Record<string, unknown>>
  readonly gets?: (picks: Picks) => Answer | Promise<Answer>
  readonly getsFresh?: (picks: Picks) => Answer | Promise<Answer>
  /** The same by so many requests at a time, each of which may wait for the disk. */
  readonly getsInFlight?: (picks: Picks, inFlight: number) => Promise<Answer>
  /** A hundred keys a call. */
  readonly getsMany?: (picks: Picks) => Answer | Promise<Answer>
  /** Ranges that begin at a record. */
  readonly ranges?: (picks: Picks, length: number, direction: Direction) => Answer | Promise<Answer>
  readonly scan?: (direction: Direction) => Answer | Promise<Answer>
  /** Puts records in batches, without a sync; over when the engine has taken all of them and they are visible. */
  readonly load?: (records: Records, from: number, to: number, batch: number) => Promise<void>
  readonly mix?: (mix: Mix) => Promise<Answer>
  /** Independent writers, with whatever group commit the engine has of its own. */
  readonly write?: (writing: Writing) => Promise<void>
  /** The same, where the application gathers those who wait into one batch with one sync. */
  readonly writeGathered?: (writing: Writing) => Promise<void>
  /** Makes everything durable, and waits for what goes on in the background. */
  readonly settle?: () => Promise<void>
  readonly checkpoint?: () => Promise<void>
  /** What the engine itself counts since it was opened. */
  readonly counters?: () => Readonly<Record<string, number>>
  readonly close: () => Promise<void>
}

export interface OpenOptions {
  readonly directory: string
  /** Whether commits are to survive a power cut, as far as `write` goes; otherwise nothing is ever synced. */
  readonly durability: "synced" | "none"
  /** For pages and caches. */
  readonly memoryBytes: number
  /** Holds a log of so many bytes without a checkpoint, or a write buffer that is not flushed. */
  readonly logBytes?: number | undefined
  /** Options of one engine, over its own. */
  readonly more?: Readonly<Record<string, unknown>> | undefined
}

export interface Engine {
  readonly name: string
  /** A durable engine that goals are measured by, or a structure that is shown beside. */
  readonly rank: "ours" | "peer" | "reference"
  readonly version: () => string
  readonly open: (options: OpenOptions) => Promise<Session>
}

/** Adds a value to an answer. */
export const see = (answer: Answer, value: Uint8Array): void => {
  answer.found++
  answer.checksum = answer.checksum + (value[0] as number) + ((value[value.length - 1] as number) << 8) | 0
}

export const nothingSeen = (): Answer => ({ found: 0, checksum: 0 })

/** Lets the event loop turn. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * What a scan of the log is asked, and what it answers.
 *
 * Plain data, so that whoever drives a scan can wait for a disk between two answers.
 */
import type { Cut, StoreId } from "./Group.ts"
import type { Lsn } from "./Lsn.ts"
import type { Segment } from "./Segment.ts"

export interface ScanOptions {
  readonly storeId: StoreId
  readonly cut: Cut
  /** The largest in the superblocks. */
  readonly durableLsn: Lsn
  /** Sequence of the segment of begin: all from there to the cut's must be there. */
  readonly firstSequence: number
  /** The segment files and their sizes. */
  readonly files: ReadonlyArray<{ readonly sequence: number; readonly bytes: number }>
  /** End here, at a group boundary, without looking further. */
  readonly until?: Lsn
  /** Read ahead by this much where less is needed; 1 MiB unless said. */
  readonly windowBytes?: number
}

/** Bytes `[offset, offset + length)` of that segment's file are needed. */
export interface Need {
  readonly _tag: "Need"
  readonly sequence: number
  readonly offset: number
  readonly length: number
  /** Whether they are searched for what the end depends on: no group is handed out of them. */
  readonly beyond: boolean
}

/** A group of the log, records checked. `bytes` are those that were fed. */
export interface ScannedGroup {
  readonly _tag: "Group"
  readonly kind: number
  readonly lsn: Lsn
  readonly end: Lsn
  readonly durableLsn: Lsn
  readonly records: number
  readonly bytes: Buffer
  readonly segment: Segment
}

/** The log ends here; nothing acknowledged was lost. */
export interface TornTail {
  readonly _tag: "TornTail"
  readonly at: Cut
  /** D: from here to `at` was adopted without being known durable. */
  readonly durableLsn: Lsn
  /** The segment of `at`; `undefined` if it has yet to be made, over whatever has its name. */
  readonly segment: Segment | undefined
  /** Whether a group was begun at `at` and is not whole, or the end is just that. */
  readonly partial: boolean
  /** Why the log does not go on. */
  readonly reason: string
  /** Segments behind the end, to be removed or recycled before the log grows there. */
  readonly leftovers: ReadonlyArray<number>
}

export interface ScanCorrupted {
  readonly _tag: "Corrupted"
  readonly at: Lsn
  readonly sequence: number
  /** Byte offset in the segment's file. */
  readonly offset: number
  readonly expected: string
  readonly actual: string
}

export interface ScanTooNew {
  readonly _tag: "TooNew"
  readonly sequence: number
  readonly format: number
  readonly supported: number
}

/** The log reached `until`. */
export interface Reached {
  readonly _tag: "Reached"
  readonly at: Cut
  readonly segment: Segment | undefined
}

export type ScanVerdict = TornTail | ScanCorrupted | ScanTooNew | Reached
export type ScanAnswer = Need | ScannedGroup | ScanVerdict

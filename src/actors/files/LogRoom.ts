/**
 * The room of the log: in the segment that it is in, and in those that it can go on to without asking the disk.
 *
 * ```
 *    newest file                 in memory only             to be had without the disk
 *   │ … tail ▓▓▓▓▓░░░░ │ owed: begun, without a file │ the spare │ what the reserve becomes │
 * ```
 *
 * It only counts; who is refused for want of room, and who is given what is left, is the reserve's matter.
 */
import type * as Effect from "effect/Effect"
import { SEGMENT_HEADER_BYTES } from "../../log/Segment.ts"
import type { Tail } from "../../log/Tail.ts"
import type { StoreError } from "../../StoreError.ts"

/** The files of the log. */
export interface Log {
  /** Whether the file of the next segment is there, and whether it is there or being made or given up. */
  readonly hasSpare: boolean
  readonly awaitsSpare: boolean
  /** Sequence of the newest segment that has a file. */
  readonly newest: number
  /** By how much they have grown since the store was opened. */
  readonly zeroedBytes: number
  readonly prepare: Effect.Effect<void, StoreError>
  readonly giveUpSpare: Effect.Effect<boolean, StoreError>
}

/** Left in the last segment for groups that nobody is refused: aborts, marks, and the seal. */
const spareTailBytes = 1_024

export class LogRoom {
  readonly log: Log
  /** Bytes of the file of a segment. */
  readonly fileBytes: number
  /** There once commits are taken. */
  tail: Pick<Tail, "end" | "segment"> | undefined
  private readonly segmentBytes: number

  constructor(log: Log, segmentBytes: number) {
    this.log = log
    this.segmentBytes = segmentBytes
    this.fileBytes = SEGMENT_HEADER_BYTES + segmentBytes
  }

  /** What is left of the segment that it is in. */
  get tailBytes(): number {
    if (this.tail === undefined) return Infinity
    const { end, segment } = this.tail
    return segment.base + segment.capacity - end
  }

  /** What the next segment takes, unless its file is there or on its way. */
  get nextBytes(): number {
    return this.log.hasSpare || this.log.awaitsSpare ? 0 : this.fileBytes
  }

  /** Segments that it can go on to, beyond those that it owes files; `others`: files that become some. */
  left(others: number): number {
    const { hasSpare, newest } = this.log
    return Number(hasSpare) + others - (this.tail === undefined ? 0 : this.tail.segment.sequence - newest)
  }

  /** Whether it has room for what takes so many bytes in it, about. */
  holds(bytes: number, others: number): boolean {
    if (2 * bytes + spareTailBytes <= this.tailBytes) return true
    return this.left(others) > 0 && 2 * bytes <= this.segmentBytes
  }

  /** Whether it has so much room in the segment that it is in that some may be used for what can wait. */
  get hasRoom(): boolean {
    return this.tailBytes > 2 * spareTailBytes
  }
}

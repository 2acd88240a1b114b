/**
 * The log that is kept for large values alone, and how much of it is worth moving.
 *
 * The log is given up from its old end only, so one value holds whatever follows it. Moving the live values of a run of
 * oldest segments to the end of the log frees the whole run. It is worth it where the run is at least one and a half
 * times as long as what is moved, and some slack; where no run is, the held log is at most that long.
 *
 * I1 What is moved takes at most two thirds of what its move frees, by what it really takes in the log, headers and
 *    all. So every move makes the log shorter, and moving ends by itself: nothing is moved for ever because values are
 *    small beside their headers.
 *
 * Rejected: moving whatever segment has the most dead bytes, since one in the middle cannot be given up; counting the
 * bytes of values alone, which would move values of a few bytes again and again.
 */
import { GROUP_HEADER_BYTES } from "./Group.ts"
import { RECORD_HEADER_BYTES, writeBytes } from "./Record.ts"

/** How much longer than its live values the held log may be. */
export const HELD_FACTOR = 1.5

/** Bytes of a relocate beside those of every write: where the value was, and its version. */
export const RELOCATE_BYTES = 16

export interface HeldSegment {
  /** Bytes of the log from its base to that of the next one. */
  readonly span: number
  /** Log that its live values would take if they were moved. */
  readonly cost: number
}

/** Log that one value takes when it is moved in a batch of about `batchBytes`. */
export const movedBytes = (keyBytes: number, valueBytes: number, batchBytes: number): number => {
  const bytes = writeBytes(keyBytes, valueBytes, RELOCATE_BYTES)
  return bytes + (GROUP_HEADER_BYTES + RECORD_HEADER_BYTES) * Math.min(1, bytes / batchBytes)
}

/**
 * How many of the oldest segments are to be emptied: those of the shortest run that is worth it, or none. The first
 * one has live values: those before it are as good as given up, and count for nothing.
 */
export const worthEmptying = (segments: ReadonlyArray<HeldSegment>, slackBytes: number): number => {
  let span = 0
  let cost = 0
  for (const [index, segment] of segments.entries()) {
    span += segment.span
    cost += segment.cost
    if (span >= HELD_FACTOR * cost + slackBytes) return index + 1
  }
  return 0
}

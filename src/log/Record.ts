/**
 * Records: the words in which a transaction is written down.
 *
 * A record is immutable once appended, and its meaning for ever: replay must give the same tree in every later
 * version, so numbers are never reused and rules never loosened. The layout stands above the encoder in
 * RecordWriter.ts. Knows nothing of groups and segments.
 */
import { align8 } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"

export const MAX_KEY_BYTES = 1024
export const MAX_VALUE_BYTES = 64 * 1024 * 1024

/** A transaction beyond this streams its writes as pieces. Four of the largest values fit. */
export const MAX_RECORD_BYTES = 256 * 1024 * 1024 + 64 * 1024

export const RECORD_HEADER_BYTES = 24
export const SESSION_BYTES = 16
export const TRACE_BYTES = 32
export const STREAM_BYTES = 24
export const WRITE_HEADER_BYTES = 16

export const RecordType = { transaction: 1, piece: 2, commit: 3, abort: 4, relocate: 5 } as const
export type RecordType = (typeof RecordType)[keyof typeof RecordType]

export const RecordFlag = { session: 1, trace: 2 } as const

export const Op = {
  put: 1,
  remove: 2,
  merge: 3,
  clear: 4,
  createKeyspace: 5,
  dropKeyspace: 6,
  relocate: 7,
  openSession: 8,
  endSession: 9,
  discard: 10
} as const
export type Op = (typeof Op)[keyof typeof Op]

/** The high four bits of a write's flags are the reducer of a merge. */
export const WriteFlag = { expiry: 1, checksum: 2 } as const
export const MAX_REDUCER = 15

/** Tells one life of a store from the next; random, never zero. */
export interface Incarnation {
  readonly low: number
  readonly high: number
}

/** Before the first life of a store. */
export const NO_INCARNATION: Incarnation = { low: 0, high: 0 }

/** A session's id and the serial that this transaction consumes. */
export interface SessionSerial {
  readonly id: number
  readonly serial: number
}

/** W3C trace context: 16 bytes of trace id, 8 of span id, 8 flag bits. */
export interface TraceContext {
  readonly traceId: Uint8Array
  readonly spanId: Uint8Array
  readonly flags: number
}

/**
 * A stream of pieces. `first` is the LSN of its first piece (NO_LSN in the first piece itself, which learns its
 * LSN when it is appended); `number` is the index of a piece, or how many there are in a commit or an abort;
 * `checksum` is in a commit the crc32 over all bytes of all piece records in order, else 0.
 */
export interface StreamPart {
  readonly first: Lsn
  readonly incarnation: Incarnation
  readonly number: number
  readonly checksum: number
}

/** Bytes of a write in the log. */
export const writeBytes = (keyBytes: number, valueBytes: number, extraBytes = 0): number =>
  WRITE_HEADER_BYTES + extraBytes + align8(keyBytes) + align8(valueBytes)

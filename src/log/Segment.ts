/**
 * Segments: the files that the log is made of.
 *
 * A segment is preallocated, filled once from its base on, ended by a seal group, and later recycled; bytes of an
 * older life may follow the tail, and nothing here ever trusts a file's length or name alone.
 *
 * A file named `log-…` always has its own header: a new or recycled file is written and synced under another name
 * first, then renamed, then the directory is synced. So a valid header under the wrong name is never the trace of
 * a crash.
 *
 * I1 Base and capacity are multiples of 8, and there is room for an open group and a seal.
 */
import { crc32 } from "node:zlib"
import { invariant } from "../Invariant.ts"
import { GROUP_HEADER_BYTES, MAX_GROUP_BYTES } from "./Group.ts"
import type { Cut, StoreId } from "./Group.ts"
import type { Invalid } from "./Invalid.ts"
import { invalid } from "./Invalid.ts"
import { isLsn, readU53, writeU53 } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"
import type { Incarnation } from "./Record.ts"

export const SEGMENT_HEADER_BYTES = 4096
export const SEGMENT_FORMAT = 1
export const FIRST_SEQUENCE = 1
export const DEFAULT_SEGMENT_BYTES = 16 * 1024 * 1024
export const MIN_SEGMENT_BYTES = 4 * GROUP_HEADER_BYTES
/** The largest group and the seal: no group of a segment can be larger than a group may be. */
export const MAX_SEGMENT_BYTES = MAX_GROUP_BYTES + GROUP_HEADER_BYTES

/** "HWS" and a byte that no text holds. */
const SEGMENT_MAGIC = 0xe553_5748

/** What a segment's header says. The chain's state at its base lets a reader begin at any segment. */
export interface Segment {
  readonly sequence: number
  readonly base: Lsn
  /** Bytes for groups, the header not counted. */
  readonly capacity: number
  readonly previousChecksum: number
  readonly incarnation: Incarnation
}

/** Offset in the segment's file. */
export const fileOffset = (segment: Segment, lsn: Lsn): number => SEGMENT_HEADER_BYTES + (lsn - segment.base)

/** Bytes of the whole file. */
export const fileBytes = (segment: Segment): number => SEGMENT_HEADER_BYTES + segment.capacity

/** The cut at the base of a segment. */
export const baseOf = (segment: Segment): Cut => ({
  lsn: segment.base,
  sequence: segment.sequence,
  previousChecksum: segment.previousChecksum,
  incarnation: segment.incarnation
})

/** The segment that begins at a cut, for a group of `groupBytes` that it must hold beside its seal. */
export const segmentAt = (cut: Cut, segmentBytes: number, groupBytes: number): Segment => ({
  sequence: cut.sequence,
  base: cut.lsn,
  capacity: Math.max(segmentBytes, groupBytes + GROUP_HEADER_BYTES),
  previousChecksum: cut.previousChecksum,
  incarnation: cut.incarnation
})

export const segmentName = (sequence: number): string => `log-${sequence.toString(16).padStart(16, "0")}`

/** The sequence in a file's name; `undefined` for every other file, so that no two names mean one segment. */
export const parseSegmentName = (name: string): number | undefined => {
  if (!/^log-[0-9a-f]{16}$/.test(name)) return undefined
  const sequence = Number.parseInt(name.slice(4), 16)
  return Number.isSafeInteger(sequence) && sequence >= FIRST_SEQUENCE ? sequence : undefined
}

/*
 * Segment header. All numbers little-endian.
 *
 * | Offset | Size | Field                                                                |
 * | ------ | ---- | -------------------------------------------------------------------- |
 * | 0      | 4    | magic                                                                |
 * | 4      | 4    | checksum: crc32 of bytes 8 to 4096                                   |
 * | 8      | 4    | format                                                               |
 * | 12     | 4    | zero                                                                 |
 * | 16     | 16   | store id                                                             |
 * | 32     | 8    | sequence, u53                                                        |
 * | 40     | 8    | base LSN, u53                                                        |
 * | 48     | 8    | capacity in bytes, u53                                               |
 * | 56     | 8    | incarnation of the group before the base; zero in the first segment  |
 * | 64     | 4    | checksum of the group before the base; zero in the first segment     |
 * | 68     | 4028 | zero                                                                 |
 *
 * Broken when: magic or checksum is wrong; the store id is another store's; the sequence is not that of the name;
 * the base is no LSN; the capacity is no multiple of 8, too small for anything or larger than any
 * group; a byte called zero is not.
 * A group at LSN x stands at offset 4096 + (x - base).
 */
export const encodeSegment = (segment: Segment, storeId: StoreId, target: Buffer): void => {
  invariant(
    isSegment(segment) && target.length === SEGMENT_HEADER_BYTES && storeId.length === 16,
    "Segment I1"
  )
  target.fill(0)
  target.writeUInt32LE(SEGMENT_MAGIC, 0)
  target.writeUInt32LE(SEGMENT_FORMAT, 8)
  target.set(storeId, 16)
  writeU53(target, 32, segment.sequence)
  writeU53(target, 40, segment.base)
  writeU53(target, 48, segment.capacity)
  target.writeUInt32LE(segment.incarnation.low, 56)
  target.writeUInt32LE(segment.incarnation.high, 60)
  target.writeUInt32LE(segment.previousChecksum, 64)
  target.writeUInt32LE(crc32(target.subarray(8)), 4)
}

export type DecodedSegment =
  | { readonly _tag: "Valid"; readonly segment: Segment }
  | Invalid
  /** Another store's. */
  | { readonly _tag: "Foreign"; readonly storeId: StoreId }
  /** This store's, under a name that is not its own: duplicated, renamed or swapped. */
  | { readonly _tag: "Misplaced"; readonly segment: Segment }
  | { readonly _tag: "TooNew"; readonly format: number }

/** Decodes the first 4096 bytes of the file that is named for `sequence`. */
export const decodeSegment = (bytes: Buffer, storeId: StoreId, sequence: number): DecodedSegment => {
  if (bytes.length < SEGMENT_HEADER_BYTES) return invalid(bytes.length, "segment header is cut off")
  if (bytes.readUInt32LE(0) !== SEGMENT_MAGIC) return invalid(0, "segment magic")
  const checksum = crc32(bytes.subarray(8, SEGMENT_HEADER_BYTES))
  if (bytes.readUInt32LE(4) !== checksum) return invalid(4, "segment checksum")
  const format = bytes.readUInt32LE(8)
  if (format > SEGMENT_FORMAT) return { _tag: "TooNew", format }
  if (format !== SEGMENT_FORMAT) return invalid(8, "segment format")
  const found = bytes.subarray(16, 32)
  if (!found.equals(storeId)) return { _tag: "Foreign", storeId: Uint8Array.from(found) }
  if (bytes.readUInt32LE(12) !== 0) return invalid(12, "zero bytes")
  for (let i = 68; i < SEGMENT_HEADER_BYTES; i++) if (bytes[i] !== 0) return invalid(i, "zero bytes")
  const segment: Segment = {
    sequence: readU53(bytes, 32),
    base: readU53(bytes, 40),
    capacity: readU53(bytes, 48),
    previousChecksum: bytes.readUInt32LE(64),
    incarnation: { low: bytes.readUInt32LE(56), high: bytes.readUInt32LE(60) }
  }
  if (!isSegment(segment)) return invalid(32, "segment fields")
  return segment.sequence === sequence ? { _tag: "Valid", segment } : { _tag: "Misplaced", segment }
}

const isSegment = (segment: Segment): boolean =>
  Number.isSafeInteger(segment.sequence) && segment.sequence >= FIRST_SEQUENCE
  && isLsn(segment.base) && isLsn(segment.base + segment.capacity)
  && segment.capacity >= MIN_SEGMENT_BYTES && segment.capacity <= MAX_SEGMENT_BYTES

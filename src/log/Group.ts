/**
 * Groups: the transactions that are written and synced together.
 *
 * A group is the unit of checksum and of torn-write detection. Groups form a chain: each holds the checksum of the
 * one before, so that a group which was lost, or belongs to a life that was cut off, ends the log even when
 * what follows it looks whole. Knows nothing of files.
 *
 * I1 A group's length is a multiple of 8, at least its header and at most MAX_GROUP_BYTES.
 * I2 Its LSN is one; `durableLsn` is not above it: a group never claims more than what lies before it.
 * I3 Its incarnation is not zero.
 * I4 A data group has records; every other kind is a header alone.
 */
import { crc32 } from "node:zlib"
import { invariant } from "../Invariant.ts"
import type { Invalid } from "./Invalid.ts"
import { invalid } from "./Invalid.ts"
import { highWord, isLsn, lowWord, readU53 } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"
import { MAX_RECORD_BYTES, RECORD_HEADER_BYTES } from "./Record.ts"
import type { Incarnation } from "./Record.ts"
import type { RecordBuffer } from "./RecordBuffer.ts"

export const GROUP_HEADER_BYTES = 64
export const GROUP_FORMAT = 1
/** Room for the largest record; a decoder refuses more before it allocates anything. */
export const MAX_GROUP_BYTES = GROUP_HEADER_BYTES + MAX_RECORD_BYTES

/** "HWG" and a byte that no text holds. */
export const GROUP_MAGIC = 0xd647_5748

/** Numbers are part of the format and never reused. */
export const GroupKind = { data: 1, mark: 2, seal: 3, open: 4 } as const
export type GroupKind = (typeof GroupKind)[keyof typeof GroupKind]

/** 16 random bytes, given to a store when it is made. */
export type StoreId = Uint8Array

/**
 * A cut: the exclusive end of a part of the log, and all that it takes to go on from there. `sequence` is the
 * segment in which the next group (or the seal) begins.
 */
export interface Cut {
  readonly lsn: Lsn
  readonly sequence: number
  /** Checksum of the group that ends here; 0 at the very beginning. */
  readonly previousChecksum: number
  readonly incarnation: Incarnation
}

export interface GroupFields {
  readonly kind: GroupKind
  readonly lsn: Lsn
  readonly durableLsn: Lsn
  readonly storeId: StoreId
  readonly incarnation: Incarnation
  readonly previousChecksum: number
  readonly records: number
}

/*
 * Group header. All numbers little-endian; a group begins at a multiple of 8.
 *
 * | Offset | Size | Field                                                                      |
 * | ------ | ---- | -------------------------------------------------------------------------- |
 * | 0      | 4    | magic                                                                      |
 * | 4      | 4    | checksum: crc32 of bytes 8 to the group's end                              |
 * | 8      | 4    | length in bytes, header and records; a multiple of 8                       |
 * | 12     | 2    | format                                                                     |
 * | 14     | 1    | kind: 1 data, 2 mark, 3 seal, 4 open                                       |
 * | 15     | 1    | zero                                                                       |
 * | 16     | 8    | its own LSN, u53                                                           |
 * | 24     | 8    | durable LSN known when it was formed, u53                                  |
 * | 32     | 16   | store id                                                                   |
 * | 48     | 8    | incarnation                                                                |
 * | 56     | 4    | checksum of the group before (across segments too); 0 in the first of all  |
 * | 60     | 4    | number of records                                                          |
 * | 64     |      | records, back to back                                                      |
 *
 * Broken when: magic, checksum, store id or its own LSN is not what it should be at that place; the length is odd
 * or more than what remains; the durable LSN lies above its own; the incarnation is zero; a kind other than data
 * has records, or a data group has none; the records do not fill it exactly.
 * Not chained when: the checksum of the group before differs; the incarnation differs and it is not an open group,
 * or does not differ and it is one.
 */

/** Writes the header into the first 64 of `length` bytes, seals them with the checksum, and answers it. */
export const sealGroup = ({ bytes, words }: RecordBuffer, length: number, fields: GroupFields): number => {
  invariant(
    length % 8 === 0 && length >= GROUP_HEADER_BYTES && length <= MAX_GROUP_BYTES && length <= bytes.length,
    "Group I1"
  )
  invariant(isLsn(fields.lsn) && fields.durableLsn <= fields.lsn, "Group I2")
  invariant((fields.incarnation.low | fields.incarnation.high) !== 0, "Group I3")
  const data = fields.kind === GroupKind.data
  invariant(data === fields.records > 0 && data === length > GROUP_HEADER_BYTES, "Group I4")
  words[0] = GROUP_MAGIC
  words[2] = length
  words[3] = GROUP_FORMAT | fields.kind << 16
  words[4] = lowWord(fields.lsn)
  words[5] = highWord(fields.lsn)
  words[6] = lowWord(fields.durableLsn)
  words[7] = highWord(fields.durableLsn)
  bytes.set(fields.storeId, 32)
  words[12] = fields.incarnation.low
  words[13] = fields.incarnation.high
  words[14] = fields.previousChecksum
  words[15] = fields.records
  const checksum = crc32(bytes.subarray(8, length))
  words[1] = checksum
  return checksum
}

/** A header as it was read; nothing in it is to be believed before the checks below. */
export class GroupHeader {
  magic = 0
  checksum = 0
  length = 0
  format = 0
  kind = 0
  zero = 0
  lsn: Lsn = 0
  durableLsn: Lsn = 0
  incarnationLow = 0
  incarnationHigh = 0
  previousChecksum = 0
  records = 0

  /** Reads 64 bytes, which are there. */
  read(bytes: Buffer, at: number): void {
    this.magic = bytes.readUInt32LE(at)
    this.checksum = bytes.readUInt32LE(at + 4)
    this.length = bytes.readUInt32LE(at + 8)
    this.format = bytes.readUInt16LE(at + 12)
    this.kind = bytes.readUInt8(at + 14)
    this.zero = bytes.readUInt8(at + 15)
    this.lsn = readU53(bytes, at + 16)
    this.durableLsn = readU53(bytes, at + 24)
    this.incarnationLow = bytes.readUInt32LE(at + 48)
    this.incarnationHigh = bytes.readUInt32LE(at + 52)
    this.previousChecksum = bytes.readUInt32LE(at + 56)
    this.records = bytes.readUInt32LE(at + 60)
  }
}

/**
 * The first check: whether a group may begin here at all, so that its body is worth reading. `remaining` bytes are
 * left in its segment. These fields mean the same in every format.
 */
export const placeFault = (
  header: GroupHeader,
  bytes: Buffer,
  at: number,
  place: { readonly lsn: Lsn; readonly remaining: number; readonly storeId: StoreId }
): Invalid | undefined => {
  if (header.magic !== GROUP_MAGIC) return invalid(0, "group magic")
  const length = header.length
  if (
    length % 8 !== 0 || length < GROUP_HEADER_BYTES || length > place.remaining || length > MAX_GROUP_BYTES
  ) {
    return invalid(8, "group length")
  }
  if (header.lsn !== place.lsn) return invalid(16, "group LSN")
  for (let i = 0; i < 16; i++) if (bytes[at + 32 + i] !== place.storeId[i]) return invalid(32, "store id")
  return undefined
}

/** The second check: the checksum over the whole group, which is there. */
export const checksumFault = (header: GroupHeader, bytes: Buffer, at: number): Invalid | undefined =>
  crc32(bytes.subarray(at + 8, at + header.length)) === header.checksum
    ? undefined
    : invalid(4, "group checksum")

/** The third check: what the header of a group of this format may say. */
export const fieldsFault = (header: GroupHeader): Invalid | undefined => {
  if (header.format !== GROUP_FORMAT) return invalid(12, "group format")
  if (header.kind < GroupKind.data || header.kind > GroupKind.open) return invalid(14, "group kind")
  if (header.zero !== 0) return invalid(15, "zero bytes")
  if (header.durableLsn > header.lsn) return invalid(24, "durable LSN above the group")
  if ((header.incarnationLow | header.incarnationHigh) === 0) return invalid(48, "group incarnation")
  const body = header.length - GROUP_HEADER_BYTES
  const data = header.kind === GroupKind.data
  if (data !== body > 0 || data !== header.records > 0) return invalid(60, "number of records")
  return header.records <= body / RECORD_HEADER_BYTES ? undefined : invalid(60, "number of records")
}

/** The last check: whether the group continues the chain that ends at `cut`. */
export const chainFault = (header: GroupHeader, cut: Cut): Invalid | undefined => {
  if (header.previousChecksum !== cut.previousChecksum) return invalid(56, "checksum of the group before")
  const same = header.incarnationLow === cut.incarnation.low &&
    header.incarnationHigh === cut.incarnation.high
  return same !== (header.kind === GroupKind.open) ? undefined : invalid(48, "group of another incarnation")
}

/** All checks but the chain, over one group's bytes. */
export const decodeGroup = (
  bytes: Buffer,
  lsn: Lsn,
  storeId: StoreId
): { readonly _tag: "Valid"; readonly header: GroupHeader } | Invalid => {
  if (bytes.length < GROUP_HEADER_BYTES) return invalid(0, "group is cut off")
  const header = new GroupHeader()
  header.read(bytes, 0)
  const fault = placeFault(header, bytes, 0, { lsn, remaining: bytes.length, storeId })
    ?? checksumFault(header, bytes, 0) ?? fieldsFault(header)
  return fault ?? { _tag: "Valid", header }
}

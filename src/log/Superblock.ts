/**
 * The superblock: two slots of one file, and the only place that says which checkpoint is the store.
 *
 * A slot is written whole and in turn, never both at once; a store that is there is never taken for a fresh one,
 * whatever the two slots hold. There is no flag for a clean close: a closing checkpoint has its cut at the end of
 * the log and says that all below it is durable, which tells the same and cannot contradict the log.
 *
 * I1 Versions grow; a slot knows the version that the other slot held when it was written.
 * I2 begin <= cut <= durable, and the same of their segments.
 */
import { crc32 } from "node:zlib"
import { invariant } from "../Invariant.ts"
import type { Cut, StoreId } from "./Group.ts"
import type { Invalid } from "./Invalid.ts"
import { invalid } from "./Invalid.ts"
import { isLsn, readU53, writeU53 } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"

export const SUPERBLOCK_BYTES = 4096
export const SUPERBLOCK_FORMAT = 1
export const SUPERBLOCK_FILE = "super"

/** "HWR" (root) and a byte that no text holds. */
const SUPERBLOCK_MAGIC = 0xb952_5748

/** Offset of a slot in the file. */
export const superblockOffset = (slot: 0 | 1): number => slot * SUPERBLOCK_BYTES

export interface Superblock {
  readonly slot: 0 | 1
  readonly storeId: StoreId
  /** Checkpoint counter; strictly increasing, and never used again after a failed attempt. */
  readonly version: number
  /** Version in the other slot when this one was written; 0 if that one was still empty. */
  readonly otherVersion: number
  readonly createdMillis: number
  readonly pageBytes: number
  readonly cut: Cut
  readonly durableLsn: Lsn
  readonly begin: { readonly lsn: Lsn; readonly sequence: number }
  readonly map: { readonly slot: number; readonly checksum: number; readonly level: number }
  readonly catalog: { readonly slot: number; readonly checksum: number; readonly bytes: number }
  /** One past the highest slot that the checkpoint refers to, or more. */
  readonly slots: number
  /** Every page id in use is below. */
  readonly pageIds: number
  readonly nextTree: number
  readonly nextKeyspace: number
}

/*
 * Superblock slot. All numbers little-endian; slot 0 at offset 0 of the file, slot 1 at 4096.
 *
 * | Offset | Size | Field                                                         |
 * | ------ | ---- | ------------------------------------------------------------- |
 * | 0      | 4    | magic                                                         |
 * | 4      | 4    | checksum: crc32 of bytes 8 to 4096                            |
 * | 8      | 4    | format                                                        |
 * | 12     | 4    | slot: 0 or 1, so that a misdirected write shows               |
 * | 16     | 16   | store id                                                      |
 * | 32     | 8    | version, u53                                                  |
 * | 40     | 8    | version in the other slot, u53                                |
 * | 48     | 8    | created, float64 milliseconds since 1970                      |
 * | 56     | 4    | page bytes                                                    |
 * | 60     | 4    | zero                                                          |
 * | 64     | 8    | cut LSN, u53                                                  |
 * | 72     | 8    | cut: sequence of its segment, u53                             |
 * | 80     | 8    | cut: incarnation of the group that ends there                 |
 * | 88     | 4    | cut: checksum of the group that ends there                    |
 * | 92     | 4    | zero                                                          |
 * | 96     | 8    | durable LSN known, u53                                        |
 * | 104    | 8    | begin LSN, u53                                                |
 * | 112    | 8    | begin: sequence of its segment, u53                           |
 * | 120    | 12   | map root: slot, checksum, level, u32 each                     |
 * | 132    | 12   | catalog root: slot, checksum, bytes, u32 each                 |
 * | 144    | 4    | bound of slots that the checkpoint refers to                  |
 * | 148    | 4    | bound of page ids                                             |
 * | 152    | 4    | next tree id                                                  |
 * | 156    | 4    | next keyspace id                                              |
 * | 160    | 3936 | zero                                                          |
 *
 * Broken when: magic or checksum is wrong; it stands in the other slot; a byte called zero is not; version is 0 or
 * not above the other slot's; I2 does not hold; an LSN is none; page bytes are 0 or no multiple of 8.
 * Empty when: all bytes are zero. The file is made whole under another name and renamed, so two empty slots are
 * damage too.
 */
export const encodeSuperblock = (fields: Superblock, target: Buffer): void => {
  invariant(target.length === SUPERBLOCK_BYTES && fields.storeId.length === 16, "Superblock I2")
  invariant(fieldsFault(fields) === undefined, "Superblock I2")
  target.fill(0)
  target.writeUInt32LE(SUPERBLOCK_MAGIC, 0)
  target.writeUInt32LE(SUPERBLOCK_FORMAT, 8)
  target.writeUInt32LE(fields.slot, 12)
  target.set(fields.storeId, 16)
  writeU53(target, 32, fields.version)
  writeU53(target, 40, fields.otherVersion)
  target.writeDoubleLE(fields.createdMillis, 48)
  target.writeUInt32LE(fields.pageBytes, 56)
  writeU53(target, 64, fields.cut.lsn)
  writeU53(target, 72, fields.cut.sequence)
  target.writeUInt32LE(fields.cut.incarnation.low, 80)
  target.writeUInt32LE(fields.cut.incarnation.high, 84)
  target.writeUInt32LE(fields.cut.previousChecksum, 88)
  writeU53(target, 96, fields.durableLsn)
  writeU53(target, 104, fields.begin.lsn)
  writeU53(target, 112, fields.begin.sequence)
  target.writeUInt32LE(fields.map.slot, 120)
  target.writeUInt32LE(fields.map.checksum, 124)
  target.writeUInt32LE(fields.map.level, 128)
  target.writeUInt32LE(fields.catalog.slot, 132)
  target.writeUInt32LE(fields.catalog.checksum, 136)
  target.writeUInt32LE(fields.catalog.bytes, 140)
  target.writeUInt32LE(fields.slots, 144)
  target.writeUInt32LE(fields.pageIds, 148)
  target.writeUInt32LE(fields.nextTree, 152)
  target.writeUInt32LE(fields.nextKeyspace, 156)
  target.writeUInt32LE(crc32(target.subarray(8)), 4)
}

export type DecodedSuperblock =
  | { readonly _tag: "Valid"; readonly superblock: Superblock }
  | { readonly _tag: "Empty" }
  | { readonly _tag: "TooNew"; readonly format: number }
  | Invalid

/** Decodes the 4096 bytes that stand in `slot`. */
export const decodeSuperblock = (bytes: Buffer, slot: 0 | 1): DecodedSuperblock => {
  if (bytes.length < SUPERBLOCK_BYTES) return invalid(bytes.length, "superblock is cut off")
  if (isZero(bytes, 0, SUPERBLOCK_BYTES)) return { _tag: "Empty" }
  if (bytes.readUInt32LE(0) !== SUPERBLOCK_MAGIC) return invalid(0, "superblock magic")
  if (bytes.readUInt32LE(4) !== crc32(bytes.subarray(8, SUPERBLOCK_BYTES))) {
    return invalid(4, "superblock checksum")
  }
  const format = bytes.readUInt32LE(8)
  if (format > SUPERBLOCK_FORMAT) return { _tag: "TooNew", format }
  if (format !== SUPERBLOCK_FORMAT) return invalid(8, "superblock format")
  if (bytes.readUInt32LE(12) !== slot) return invalid(12, "superblock of the other slot")
  const padding = [[60, 64], [92, 96], [160, SUPERBLOCK_BYTES]] as const
  for (const [start, end] of padding) if (!isZero(bytes, start, end)) return invalid(start, "zero bytes")
  const superblock = readFields(bytes, slot)
  return fieldsFault(superblock) ?? { _tag: "Valid", superblock }
}

const readFields = (bytes: Buffer, slot: 0 | 1): Superblock => ({
  slot,
  storeId: Uint8Array.from(bytes.subarray(16, 32)),
  version: readU53(bytes, 32),
  otherVersion: readU53(bytes, 40),
  createdMillis: bytes.readDoubleLE(48),
  pageBytes: bytes.readUInt32LE(56),
  cut: {
    lsn: readU53(bytes, 64),
    sequence: readU53(bytes, 72),
    incarnation: { low: bytes.readUInt32LE(80), high: bytes.readUInt32LE(84) },
    previousChecksum: bytes.readUInt32LE(88)
  },
  durableLsn: readU53(bytes, 96),
  begin: { lsn: readU53(bytes, 104), sequence: readU53(bytes, 112) },
  map: { slot: bytes.readUInt32LE(120), checksum: bytes.readUInt32LE(124), level: bytes.readUInt32LE(128) },
  catalog: {
    slot: bytes.readUInt32LE(132),
    checksum: bytes.readUInt32LE(136),
    bytes: bytes.readUInt32LE(140)
  },
  slots: bytes.readUInt32LE(144),
  pageIds: bytes.readUInt32LE(148),
  nextTree: bytes.readUInt32LE(152),
  nextKeyspace: bytes.readUInt32LE(156)
})

const fieldsFault = (fields: Superblock): Invalid | undefined => {
  const { begin, cut } = fields
  const versions = Number.isSafeInteger(fields.version) && fields.otherVersion < fields.version
  if (!versions) return invalid(32, "superblock version")
  if (!Number.isFinite(fields.createdMillis)) return invalid(48, "created")
  if (fields.pageBytes === 0 || fields.pageBytes % 8 !== 0) return invalid(56, "page bytes")
  if (!isLsn(cut.lsn) || !Number.isSafeInteger(cut.sequence)) return invalid(64, "cut")
  if (!isLsn(fields.durableLsn) || fields.durableLsn < cut.lsn) {
    return invalid(96, "durable LSN below the cut")
  }
  if (!isLsn(begin.lsn) || begin.lsn > cut.lsn) return invalid(104, "begin above the cut")
  if (begin.sequence < 1 || begin.sequence > cut.sequence) return invalid(112, "begin above the cut")
  return undefined
}

const isZero = (bytes: Buffer, start: number, end: number): boolean => {
  for (let i = start; i < end; i++) if (bytes[i] !== 0) return false
  return true
}

/**
 * LSN: the address of a byte in the log.
 *
 * The address space is dense over groups (segment headers have no address) and never reused: an LSN names one byte
 * for the life of the store. 53 bits, so that a plain number holds it exactly; two uint32 on disk, low word first.
 * 0 is never an LSN: what was left at its default must not look like an address.
 */
import { invariant } from "../Invariant.ts"

/** Byte address in the log. Groups, records and values begin at multiples of 8. */
export type Lsn = number

/** "No LSN" on disk and in memory. */
export const NO_LSN = 0

/** Where the first group of a store begins. */
export const FIRST_LSN = 64

/** The largest LSN: the last multiple of 8 that a number holds exactly. At 1 GB/s the log gets there in 285 years. */
export const MAX_LSN = Number.MAX_SAFE_INTEGER - 7

const TWO_32 = 0x1_0000_0000

// Records are written through typed arrays in the byte order of the host; the format is little-endian.
invariant(new Uint8Array(Uint32Array.of(1).buffer)[0] === 1, "Lsn I1: the host is little-endian")

/** Rounds up to a multiple of 8. `bytes` is below 2^31 - 7. */
export const align8 = (bytes: number): number => (bytes + 7) & ~7

/** Whether a number is an address at which a group, a record or a value may begin. */
export const isLsn = (lsn: number): boolean =>
  Number.isSafeInteger(lsn) && lsn >= FIRST_LSN && lsn <= MAX_LSN && lsn % 8 === 0

/** Low word: the conversion to uint32 is exact modulo 2^32 for every safe integer. */
export const lowWord = (lsn: Lsn): number => lsn >>> 0

/** High word. The quotient is exact (a power of two); the conversion drops its fraction. */
export const highWord = (lsn: Lsn): number => (lsn / TWO_32) >>> 0

/** Puts two words together; takes them signed (from an Int32Array) or unsigned. May exceed 2^53 on bad words. */
export const fromWords = (low: number, high: number): Lsn => (high >>> 0) * TWO_32 + (low >>> 0)

/** Reads an unsigned 53-bit number, low word first. Hostile words give up to 2^64: check it with a bound. */
export const readU53 = (bytes: Buffer, at: number): number =>
  fromWords(bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4))

/** Writes an unsigned 53-bit number, low word first. */
export const writeU53 = (bytes: Buffer, at: number, value: number): void => {
  bytes.writeUInt32LE(lowWord(value), at)
  bytes.writeUInt32LE(highWord(value), at + 4)
}

/** A Buffer over the same bytes; nothing is copied. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

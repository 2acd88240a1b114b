/**
 * A value that lives in the log: what its record in a leaf says of it.
 *
 * The value of a record of kind Reference (little-endian): LSN u64 of the log record that holds the value, its length
 * u32, its CRC-32 u32.
 */
import { referenceBytes } from "./Page.ts"

export interface Reference {
  /** LSN of the record that holds the value. */
  readonly lsn: number
  readonly bytes: number
  /** CRC-32 of the value, as an int32. */
  readonly checksum: number
}

export function readReference(value: Uint8Array): Reference {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength)
  const lsn = view.getUint32(4, true) * 4_294_967_296 + view.getUint32(0, true)
  return { lsn, bytes: view.getUint32(8, true), checksum: view.getInt32(12, true) }
}

export function writeReference(reference: Reference): Uint8Array {
  const value = new Uint8Array(referenceBytes)
  const view = new DataView(value.buffer)
  view.setUint32(0, reference.lsn % 4_294_967_296, true)
  view.setUint32(4, Math.floor(reference.lsn / 4_294_967_296), true)
  view.setUint32(8, reference.bytes, true)
  view.setInt32(12, reference.checksum, true)
  return value
}

/** A value in the log that nothing refers to any more. */
export interface DroppedReference {
  readonly treeId: number
  /** LSN of the record that holds the value. */
  readonly lsn: number
  readonly bytes: number
}

/** The reference at a word, as it is dropped. */
export const droppedAt = (treeId: number, words: Int32Array, valueAt: number): DroppedReference => ({
  treeId,
  lsn: ((words[valueAt + 1] as number) >>> 0) * 4_294_967_296 + ((words[valueAt] as number) >>> 0),
  bytes: (words[valueAt + 2] as number) >>> 0
})

/**
 * The header of the page file: what stands in slot 0, written once when the store is made.
 *
 * | offset | size | field                                                       |
 * |-------:|-----:|-------------------------------------------------------------|
 * |      0 |    4 | magic "HWP" and a byte that no text holds                    |
 * |      4 |    4 | checksum: CRC-32 of bytes 8 to the end of the slot           |
 * |      8 |    4 | format = 1                                                   |
 * |     12 |    4 | page bytes                                                   |
 * |     16 |   16 | store id                                                     |
 * |     32 |    … | zero                                                         |
 *
 * Broken when magic, checksum or format are wrong; foreign when the store id is another store's. Slot `n` stands at
 * byte `n · page bytes`.
 */
import { crc32 } from "node:zlib"

const magic = 0xc250_5748
const format = 1

export const encode = (pageBytes: number, storeId: Uint8Array): Uint8Array => {
  const bytes = Buffer.alloc(pageBytes)
  bytes.writeUInt32LE(magic, 0)
  bytes.writeUInt32LE(format, 8)
  bytes.writeUInt32LE(pageBytes, 12)
  bytes.set(storeId, 16)
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return bytes
}

/** What is wrong with a header, as what was expected and what is there; undefined where nothing is. */
export const fault = (
  bytes: Uint8Array,
  pageBytes: number,
  storeId: Uint8Array
): { readonly expected: string; readonly actual: string } | undefined => {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (header.length < pageBytes) return { expected: `${pageBytes} bytes`, actual: `${header.length}` }
  if (header.readUInt32LE(0) !== magic) return { expected: "a page file", actual: "another magic" }
  const checksum = crc32(header.subarray(8, pageBytes))
  if (header.readUInt32LE(4) !== checksum) {
    return { expected: `checksum ${header.readUInt32LE(4)}`, actual: `${checksum}` }
  }
  if (header.readUInt32LE(8) !== format) {
    return { expected: `format ${format}`, actual: `${header.readUInt32LE(8)}` }
  }
  if (header.readUInt32LE(12) !== pageBytes) {
    return { expected: `pages of ${pageBytes} bytes`, actual: "another size" }
  }
  return header.subarray(16, 32).equals(storeId)
    ? undefined
    : { expected: "this store's id", actual: "another store's" }
}

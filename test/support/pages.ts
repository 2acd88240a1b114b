/**
 * Damage to pages: every flipped bit, and fields that are wrong under a checksum that is right.
 */
import { crc32 } from "node:zlib"
import type { Random } from "./random.ts"

export const pageSizes = [1, 2, 4, 8, 16, 32].map((kib) => kib * 1024)
export const word = (chance: Random): number => chance.int(2 ** 32) | 0

/** Calls `see` with each copy of the bytes that differs in one bit; of long ones, a random bit of each byte. */
export const flips = (
  chance: Random,
  bytes: Uint8Array,
  see: (copy: Uint8Array, bit: number) => void
): void => {
  const copy = Uint8Array.from(bytes)
  const step = bytes.length > 2048 ? 8 : 1
  for (let bit = 0; bit < bytes.length * 8; bit += step) {
    const flipped = step === 1 ? bit : bit + chance.int(8)
    copy[flipped >> 3] = (copy[flipped >> 3] as number) ^ 1 << (flipped & 7)
    see(copy, flipped)
    copy[flipped >> 3] = bytes[flipped >> 3] as number
  }
}

/** The same page with another field and a checksum that is right again. */
export const forged = (page: Uint8Array, change: (view: DataView) => void): Uint8Array => {
  const copy = Uint8Array.from(page)
  const view = new DataView(copy.buffer)
  change(view)
  view.setUint32(0, crc32(copy.subarray(4)), true)
  return copy
}

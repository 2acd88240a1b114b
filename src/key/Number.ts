/**
 * Numbers inside keys: fixed sizes, big-endian, in the order of their values on every platform.
 *
 * N1 `take…` refuses each pattern that `put…` never writes, so a value has one encoding.
 *
 * Whoever calls has checked that the bytes are there.
 */

/** Answered for what is not a value of the key. */
export const Refused = -1
/** Answered where the target ends too early. */
export const Full = -2

/** Turns numbers into bytes and back, in an order that no platform changes. */
const cell = new DataView(new ArrayBuffer(8))

export function putWord(word: number, target: Uint8Array, offset: number): void {
  target[offset] = word >>> 24
  target[offset + 1] = word >>> 16
  target[offset + 2] = word >>> 8
  target[offset + 3] = word
}

export const wordAt = (bytes: Uint8Array, offset: number): number =>
  ((bytes[offset] ?? 0) << 24 | (bytes[offset + 1] ?? 0) << 16 | (bytes[offset + 2] ?? 0) << 8
    | (bytes[offset + 3] ?? 0)) >>> 0

export function putU32(value: number, target: Uint8Array, offset: number): boolean {
  if (typeof value !== "number" || value >>> 0 !== value) return false
  putWord(value, target, offset)
  return true
}

export function putInt(value: number, target: Uint8Array, offset: number): boolean {
  if (!Number.isSafeInteger(value)) return false
  putWord(Math.floor(value / 0x1_0000_0000) ^ 0x8000_0000, target, offset)
  putWord(value >>> 0, target, offset + 4)
  return true
}

export function takeInt(bytes: Uint8Array, offset: number): number | undefined {
  const value = (wordAt(bytes, offset) ^ 0x8000_0000) * 0x1_0000_0000 + wordAt(bytes, offset + 4)
  return Number.isSafeInteger(value) ? value : undefined
}

export function putU64(value: bigint, target: Uint8Array, offset: number): boolean {
  if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) return false
  cell.setBigUint64(0, value)
  putWord(cell.getUint32(0), target, offset)
  putWord(cell.getUint32(4), target, offset + 4)
  return true
}

export function takeU64(bytes: Uint8Array, offset: number): bigint {
  cell.setUint32(0, wordAt(bytes, offset))
  cell.setUint32(4, wordAt(bytes, offset + 4))
  return cell.getBigUint64(0)
}

export function putFloat(value: number, target: Uint8Array, offset: number): boolean {
  if (typeof value !== "number" || Number.isNaN(value)) return false
  cell.setFloat64(0, value + 0)
  const high = cell.getInt32(0)
  const low = cell.getInt32(4)
  putWord(high < 0 ? ~high : high ^ 0x8000_0000, target, offset)
  putWord(high < 0 ? ~low : low, target, offset + 4)
  return true
}

export function takeFloat(bytes: Uint8Array, offset: number): number | undefined {
  const high = wordAt(bytes, offset)
  const low = wordAt(bytes, offset + 4)
  cell.setInt32(0, high >= 0x8000_0000 ? high ^ 0x8000_0000 : ~high)
  cell.setInt32(4, high >= 0x8000_0000 ? low : ~low)
  const value = cell.getFloat64(0)
  return Number.isNaN(value) || Object.is(value, -0) ? undefined : value
}

const hex = "0123456789abcdef"
const digit = (code: number): number => code < 58 ? code - 48 : (code | 32) - 87
const isDigit = (code: number): boolean => code >= 48 && code <= 57 || (code | 32) >= 97 && (code | 32) <= 102

export function putUuid(value: string, target: Uint8Array, offset: number): boolean {
  if (typeof value !== "string" || value.length !== 36) return false
  for (let at = 0, byte = 0; byte < 16; byte++) {
    if (at === 8 || at === 13 || at === 18 || at === 23) {
      if (value.charCodeAt(at++) !== 45) return false
    }
    const high = value.charCodeAt(at++)
    const low = value.charCodeAt(at++)
    if (!isDigit(high) || !isDigit(low)) return false
    target[offset + byte] = digit(high) << 4 | digit(low)
  }
  return true
}

export function takeUuid(bytes: Uint8Array, offset: number): string {
  let text = ""
  for (let byte = 0; byte < 16; byte++) {
    if (byte === 4 || byte === 6 || byte === 8 || byte === 10) text += "-"
    const value = bytes[offset + byte] ?? 0
    text += hex.charAt(value >> 4) + hex.charAt(value & 15)
  }
  return text
}

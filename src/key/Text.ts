/**
 * Text and bytes inside keys: UTF-8 both ways, and the escaping that makes them parts of a tuple.
 *
 * T1 Text that comes back is the text that went in: what UTF-8 cannot hold is refused, never replaced.
 * T2 Escaped bytes order as the bytes do, and none is a prefix of another one.
 *
 * Lengths are answered; {@link Refused} and {@link Full} say why nothing was written.
 */
import { Full, Refused } from "./Number.ts"

/** Up to here a loop beats the call into native code (measured: the two meet at about 28 characters). */
const shortText = 24
const bufferWrite = Buffer.prototype.write
const latin1Slice = Buffer.prototype.latin1Slice
/** A byte order mark is a character like any other, and bytes that are not UTF-8 are refused. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

export function putText(text: string, target: Uint8Array, offset: number): number {
  if (typeof text !== "string") return Refused
  const length = text.length
  if (length > shortText || offset + length > target.length) return putAnyText(text, target, offset)
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i)
    if (code >= 0x80) return putAnyText(text, target, offset)
    target[offset + i] = code
  }
  return length
}

/**
 * Lone surrogates are refused: UTF-8 has no form for them, and replacing them would make different keys one.
 */
function putAnyText(text: string, target: Uint8Array, offset: number): number {
  if (!text.isWellFormed()) return Refused
  const room = target.length - offset
  if (text.length * 3 > room && Buffer.byteLength(text) > room) return Full
  return bufferWrite.call(target, text, offset, "utf8")
}

export function takeText(bytes: Uint8Array, start: number, end: number): string | undefined {
  if (end - start <= shortText) {
    let all = 0
    for (let i = start; i < end; i++) all |= bytes[i] ?? 0
    if (all < 0x80) return latin1Slice.call(bytes, start, end)
  }
  try {
    return utf8.decode(bytes.subarray(start, end))
  } catch {
    return undefined
  }
}

export function putBytes(value: Uint8Array, target: Uint8Array, offset: number): number {
  if (!(value instanceof Uint8Array)) return Refused
  if (offset + value.length > target.length) return Full
  target.set(value, offset)
  return value.length
}

/** Escapes `length` bytes where they stand and puts the terminator behind them. */
export function escape(target: Uint8Array, offset: number, length: number): number {
  let grown = length
  for (let i = offset; i < offset + length; i++) if ((target[i] ?? 0) <= 1) grown++
  if (offset + grown + 1 > target.length) return Full
  let from = offset + length - 1
  let to = offset + grown - 1
  while (from < to) {
    const byte = target[from--] ?? 0
    if (byte > 1) target[to--] = byte
    else {
      target[to--] = byte + 1
      target[to--] = 1
    }
  }
  target[offset + grown] = 0
  return grown + 1
}

/** A second result without an object per call. */
const escapes = new Int32Array(1)
/** How many escaped bytes the last {@link terminatorAt} passed. */
export const escapesPassed = (): number => escapes[0] ?? 0

/** Where the part that begins at `start` has its terminator, -1 where it has none or is not well escaped. */
export function terminatorAt(bytes: Uint8Array, start: number, end: number): number {
  let passed = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0
    if (byte === 0) {
      escapes[0] = passed
      return i
    }
    if (byte !== 1) continue
    const next = ++i < end ? bytes[i] ?? 0 : 0
    if (next !== 1 && next !== 2) return -1
    passed++
  }
  return -1
}

export function unescape(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const plain = new Uint8Array(end - start)
  let length = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i] ?? 0
    plain[length++] = byte === 1 ? (bytes[++i] ?? 1) - 1 : byte
  }
  return plain.subarray(0, length)
}

/** A copy: whoever reads a key may keep it longer than the page it was read from. */
export const takeBytes = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  new Uint8Array(bytes.subarray(start, end))

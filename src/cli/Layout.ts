/**
 * A keyspace by its layout alone: keys as people write them, values as what they hold.
 *
 * A layout says how keys are laid out and how values are framed, not what a schema makes of them: that only the program
 * knows. What is stored otherwise than the layout says is shown as bytes.
 *
 * A key is typed so: text, UUIDs and times (ISO 8601, or milliseconds since 1970) as they are, with or without quotes;
 * numbers and truth values as in JSON; a tuple as an array in JSON; bytes as text; and any key as it is stored, as 0x
 * and hexadecimal digits.
 */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Codec from "../Codec.ts"
import * as Key from "../Key.ts"
import { escaped } from "./Text.ts"

export class Layout {
  /** How keys are laid out, in the words of `Key.ts`. */
  readonly keys: string
  private readonly key: Key.Key<unknown, unknown> | undefined
  private readonly format: string

  /** `layout` is what the store has of a keyspace. */
  constructor(layout: string) {
    const [keys = "", values = ""] = layout.split(" -> ")
    this.keys = keys
    this.key = Key.parse(keys)
    this.format = values.split(" by ")[0] ?? ""
  }

  /** The stored key that a text means; `undefined` where it means none. */
  keyOf(text: string): Uint8Array | undefined {
    const { key, keys } = this
    return hex(text) ?? (key === undefined ? undefined : Key.bytesOf(key, written(keys, text)))
  }

  /** What all stored keys with a prefix begin with; `undefined` where no key has such a prefix. */
  prefixOf(text: string): Uint8Array | undefined {
    const { key, keys } = this
    const bytes = hex(text)
    if (bytes !== undefined || key === undefined) return bytes
    return Key.bytesOf({ ...key, encode: key.encodePrefix }, written(keys, text))
  }

  /** What a stored key holds: bytes where that cannot be told. */
  decodeKey(stored: Uint8Array): unknown {
    return this.key?.decode(stored, 0, stored.length) ?? stored
  }

  /** What a stored value holds: bytes where that cannot be told. */
  decodeValue(stored: Uint8Array): unknown {
    const decode = decoders.get(this.format)
    try {
      return decode === undefined ? stored : decode(stored)
    } catch {
      return stored
    }
  }
}

/** What was decoded, in one line: a key as it may be typed. */
export const text = (value: unknown): string =>
  value instanceof Uint8Array ? escaped(value) : JSON.stringify(value, (_key, part: unknown) => {
    if (part instanceof Uint8Array) return `0x${Buffer.from(part).toString("hex")}`
    const isNoJson = typeof part === "bigint" || (typeof part === "number" && !Number.isFinite(part))
    return isNoJson ? `${part}` : part
  })

/** Behind the version, which takes a second byte where the first one says so (`Codec.ts`). */
const json = (stored: Uint8Array): unknown =>
  JSON.parse(Buffer.from(stored.subarray((stored[0] ?? 0) < 0x80 ? 1 : 2)).toString())

const decoders: ReadonlyMap<string, (stored: Uint8Array) => unknown> = new Map(Object.entries({
  float: Codec.float.decode,
  int: Codec.int.decode,
  json,
  set: Codec.set.decode
}))

const hex = (text: string): Uint8Array | undefined =>
  /^0x([0-9a-f]{2})*$/i.test(text) ? Buffer.from(text.slice(2), "hex") : undefined

/** The value of a key, or of a prefix, as it was typed. */
const written = (keys: string, text: string): unknown => {
  if (keys === "bytes") return Buffer.from(text)
  let data: unknown = text
  try {
    data = JSON.parse(text)
  } catch {
    // Text that is not quoted.
  }
  // A name of digits is a name, and JSON has no number of more than 53 bits.
  const isText = (keys === "string" && typeof data !== "string") || Number.isInteger(data)
  return fitted(keys, isText ? text : data)
}

/** What JSON holds, as a key of these parts takes it. */
const fitted = (keys: string, data: unknown): unknown => {
  const parts = Key.partsOf(keys)
  if (keys.startsWith("desc")) return fitted(parts[0] ?? "", data)
  if (parts.length > 0) {
    return Array.isArray(data) ? data.map((part, index) => fitted(parts[index] ?? "", part)) : data
  }
  const isText = typeof data === "string"
  if (keys === "bytes") return isText ? hex(data) ?? Buffer.from(data) : data
  if (keys === "u64") return isText || Number.isSafeInteger(data) ? bigint(`${data}`) : data
  if (keys === "timestamp" && (isText || typeof data === "number")) return instant(data)
  // What begins with 0x is what is stored, or half of it.
  return isText && numbers.has(keys) && !/^\s*(0x|$)/i.test(data) ? Number(data) : data
}

const numbers: ReadonlySet<string> = new Set(["float", "int", "u32"])

const bigint = (digits: string): bigint | string => /^[0-9]+$/.test(digits) ? BigInt(digits) : digits

const instant = (data: string | number): DateTime.DateTime | string | number =>
  Option.getOrElse(DateTime.make(/^-?[0-9]+$/.test(`${data}`) ? Number(data) : data), () => data)

/**
 * Order-preserving keys: values to bytes whose unsigned byte order is the order of the values.
 *
 * The set of combinators is closed: each has a fingerprint that is stored with a keyspace, so opening one
 * with another key layout is a typed mismatch, never garbage. Deriving a layout from a schema was rejected: a
 * new version of a schema library would change it behind the user's back. What may never change is the byte
 * table below.
 *
 * | key           | alone                        | as a part of a tuple, and in `Desc`                   |
 * |---------------|------------------------------|-------------------------------------------------------|
 * | `String`      | UTF-8                        | escaped: 00 → 01 01, 01 → 01 02; then a terminator 00 |
 * | `Bytes`       | as they are                  | escaped and terminated alike                          |
 * | `U32`         | 4, big-endian                | same                                                  |
 * | `U64`         | 8, big-endian                | same                                                  |
 * | `Int`         | 8, big-endian, sign inverted | same                                                  |
 * | `Timestamp`   | its milliseconds as `Int`    | same                                                  |
 * | `Float`       | 8, IEEE 754 big-endian (*)   | same                                                  |
 * | `Bool`        | 00 or 01                     | same                                                  |
 * | `Uuid`        | 16, in the order of its text | same                                                  |
 * | `Tuple(a, …)` | its parts, one after another | same                                                  |
 * | `Desc(k)`     | `k` as a part, bits inverted | same                                                  |
 *
 * (*) sign bit inverted where it is clear, all bits inverted where it is set.
 *
 * I1 Every value has exactly one encoding, and `decode` refuses every other byte sequence.
 * I2 No encoding of a part is a prefix of another one, so parts need no lengths and order by concatenation.
 *
 * The terminator takes one byte because both 00 and 01 are escaped; escaping 00 alone needs two (00 00), as
 * whatever part comes next may begin with any byte.
 */
import * as DateTime from "effect/DateTime"
import * as Numeric from "./key/Number.ts"
import { Full, Refused } from "./key/Number.ts"
import * as Text from "./key/Text.ts"

export { Full, Refused }

const TypeId: unique symbol = Symbol.for("heartwood/Key")

/**
 * A key codec for values of type `A`; `P` is what a prefix of it looks like (`never`: it has none).
 *
 * No method keeps or allocates a buffer, and none throws: `encode` answers a negative number ({@link
 * Refused}, {@link Full}) and leaves the target's bytes from `offset` on undefined, `decode` answers
 * `undefined`.
 */
export interface Key<A, P = never> {
  readonly [TypeId]: typeof TypeId
  /** Names the layout; two keys with one fingerprint write the same bytes. */
  readonly fingerprint: string
  /** Bytes that no encoding exceeds; `Infinity` where text or bytes are part of it. */
  readonly maxBytes: number
  /** Writes a value at `offset` and answers the number of bytes written. */
  encode(value: A, target: Uint8Array, offset: number): number
  /** The value of the bytes from `start` to `end`; `undefined` where they are not an encoding. */
  decode(bytes: Uint8Array, start: number, end: number): A | undefined
  /** Writes the bytes that all keys with this prefix begin with. */
  encodePrefix(prefix: P, target: Uint8Array, offset: number): number
  /** The same for the form inside a tuple, where it is the first part. */
  encodePartPrefix(prefix: P, target: Uint8Array, offset: number): number
  /** As `encode`, self-delimiting: the form inside a tuple. */
  encodePart(value: A, target: Uint8Array, offset: number): number
  /** As `decode`, for a part that begins at `start`; {@link partEnd} tells where it ended. */
  decodePart(bytes: Uint8Array, start: number, end: number): A | undefined
}

/** The values of a key. */
export type Value<K> = K extends Key<infer A, infer _> ? A : never
/** The prefixes of a key. */
export type Prefix<K> = K extends Key<infer _, infer P> ? P : never
/** A tuple, or any leading part of it. */
export type Leading<T extends ReadonlyArray<unknown>> = T extends readonly [...infer Init, unknown] ?
  T | Leading<Readonly<Init>> :
  readonly []

/** Where the last decoded part ended: a second result without an object per call. */
const ends = new Int32Array(1)
/** End of the part that `decodePart` answered last. */
export const partEnd = (): number => ends[0] ?? 0

const noPrefix = (): number => Refused

/** A key of `bytes` bytes. `put` is called where they fit and answers whether it took the value. */
function fixed<A>(options: {
  readonly fingerprint: string
  readonly bytes: number
  readonly put: (value: A, target: Uint8Array, offset: number) => boolean
  readonly take: (bytes: Uint8Array, offset: number) => A | undefined
}): Key<A> {
  const { bytes: size, fingerprint, put, take } = options
  const encode = (value: A, target: Uint8Array, offset: number): number => {
    if (offset + size > target.length) return Full
    return put(value, target, offset) ? size : Refused
  }
  return {
    [TypeId]: TypeId,
    fingerprint,
    maxBytes: size,
    encode,
    decode: (bytes, start, end) => end - start === size ? take(bytes, start) : undefined,
    encodePrefix: noPrefix,
    encodePartPrefix: noPrefix,
    encodePart: encode,
    decodePart(bytes, start, end) {
      if (end - start < size) return undefined
      ends[0] = start + size
      return take(bytes, start)
    }
  }
}

/** Unsigned integers below 2^32, as numbers. */
export const U32: Key<number> = fixed({
  fingerprint: "u32",
  bytes: 4,
  put: Numeric.putU32,
  take: Numeric.wordAt
})

/** Unsigned integers below 2^64, as bigints, which cost several times what {@link Int} does. */
export const U64: Key<bigint> = fixed({
  fingerprint: "u64",
  bytes: 8,
  put: Numeric.putU64,
  take: Numeric.takeU64
})

/** Safe integers of either sign (|n| < 2^53). -0 is stored as 0. */
export const Int: Key<number> = fixed({
  fingerprint: "int",
  bytes: 8,
  put: Numeric.putInt,
  take: Numeric.takeInt
})

/** Instants in whole milliseconds; a fraction of one is refused, as it would not come back. */
export const Timestamp: Key<DateTime.Utc> = fixed({
  fingerprint: "timestamp",
  bytes: 8,
  put: (value: DateTime.Utc, target, offset) =>
    DateTime.isDateTime(value) && DateTime.isUtc(value) && isInstant(value.epochMilliseconds)
    && Numeric.putInt(value.epochMilliseconds, target, offset),
  take(bytes, offset) {
    const millis = Numeric.takeInt(bytes, offset)
    return millis !== undefined && isInstant(millis) ? DateTime.makeUnsafe(millis) : undefined
  }
})

/** What a `Date` can hold. */
const isInstant = (millis: number): boolean => Math.abs(millis) <= 8.64e15

/**
 * Numbers in their order, infinities included. NaN is refused: it has no place in an order. -0 is stored as
 * 0, so that what is equal (`===`, and as a key of a `Map`) is one key.
 */
export const Float: Key<number> = fixed({
  fingerprint: "float",
  bytes: 8,
  put: Numeric.putFloat,
  take: Numeric.takeFloat
})

/** `false` before `true`. */
export const Bool: Key<boolean> = fixed({
  fingerprint: "bool",
  bytes: 1,
  put(value: boolean, target, offset) {
    if (typeof value !== "boolean") return false
    target[offset] = value ? 1 : 0
    return true
  },
  take(bytes, offset) {
    const byte = bytes[offset] ?? 2
    return byte > 1 ? undefined : byte === 1
  }
})

/** UUIDs in their text form. Upper case is accepted and comes back as lower case (RFC 9562, section 4). */
export const Uuid: Key<string> = fixed({
  fingerprint: "uuid",
  bytes: 16,
  put: Numeric.putUuid,
  take: Numeric.takeUuid
})

/** A key of any length; alone it is bare, and every leading piece of it is a prefix. */
function variable<A>(options: {
  readonly fingerprint: string
  readonly put: (value: A, target: Uint8Array, offset: number) => number
  readonly take: (bytes: Uint8Array, start: number, end: number) => A | undefined
}): Key<A, A> {
  const { fingerprint, put, take } = options
  const encodePart = (value: A, target: Uint8Array, offset: number): number => {
    const length = put(value, target, offset)
    return length < 0 ? length : Text.escape(target, offset, length)
  }
  return {
    [TypeId]: TypeId,
    fingerprint,
    maxBytes: Infinity,
    encode: put,
    decode: take,
    encodePrefix: put,
    encodePartPrefix(prefix, target, offset) {
      const length = encodePart(prefix, target, offset)
      // Whatever begins with the prefix has no terminator there.
      return length < 0 ? length : length - 1
    },
    encodePart,
    decodePart(bytes, start, end) {
      const stop = Text.terminatorAt(bytes, start, end)
      if (stop < 0) return undefined
      ends[0] = stop + 1
      if (Text.escapesPassed() === 0) return take(bytes, start, stop)
      const plain = Text.unescape(bytes, start, stop)
      return take(plain, 0, plain.length)
    }
  }
}

/**
 * Text in the order of its code points. That differs from `<` on strings, which compares UTF-16 units, only
 * between characters beyond U+FFFF and those from U+E000 to U+FFFF. Text with a lone surrogate is refused. A
 * prefix is a prefix of the text.
 */
export const String: Key<string, string> = variable({
  fingerprint: "string",
  put: Text.putText,
  take: Text.takeText
})

/**
 * Bytes in unsigned order. A prefix is a prefix of the bytes. What is decoded of a whole array is that array, whose
 * owner copies it where it is to be kept; of a part, a copy.
 */
export const Bytes: Key<Uint8Array, Uint8Array> = variable({
  fingerprint: "bytes",
  put: Text.putBytes,
  take: (bytes, start, end) => start === 0 && end === bytes.length ? bytes : Text.takeBytes(bytes, start, end)
})

// ----------------------------------------------------------------------------------------- combinators

type Any = Key<unknown, unknown>

/** The values of a list of keys. */
export type Values<Parts extends ReadonlyArray<unknown>> = {
  readonly [I in keyof Parts]: Parts[I] extends Key<infer A, infer _> ? A : never
}

/**
 * Parts in order: the first that differs decides. A prefix is any leading part of the tuple, down to `[]`,
 * and matches whole parts only (`["ro"]` does not match `["roof"]`).
 */
export function Tuple<const Parts extends readonly [Any, ...Array<Any>]>(
  ...parts: Parts
): Key<Values<Parts>, Leading<Values<Parts>>> {
  const putLeading = (values: ReadonlyArray<unknown>, target: Uint8Array, offset: number): number => {
    if (!Array.isArray(values) || values.length > parts.length) return Refused
    let at = offset
    for (let i = 0; i < values.length; i++) {
      const written = parts[i]?.encodePart(values[i], target, at) ?? Refused
      if (written < 0) return written
      at += written
    }
    return at - offset
  }
  const put = (values: ReadonlyArray<unknown>, target: Uint8Array, offset: number): number =>
    Array.isArray(values) && values.length !== parts.length ? Refused : putLeading(values, target, offset)
  const take = (bytes: Uint8Array, start: number, end: number): Array<unknown> | undefined => {
    const values: Array<unknown> = []
    ends[0] = start
    for (const part of parts) {
      const value = part.decodePart(bytes, partEnd(), end)
      if (value === undefined) return undefined
      values.push(value)
    }
    return values
  }
  const tuple: Key<ReadonlyArray<unknown>, ReadonlyArray<unknown>> = {
    [TypeId]: TypeId,
    fingerprint: `tuple(${parts.map((part) => part.fingerprint).join(",")})`,
    maxBytes: parts.reduce((bytes, part) => bytes + part.maxBytes, 0),
    encode: put,
    decode(bytes, start, end) {
      const values = take(bytes, start, end)
      return partEnd() === end ? values : undefined
    },
    encodePrefix: putLeading,
    encodePartPrefix: putLeading,
    encodePart: put,
    decodePart: take
  }
  return tuple as Key<Values<Parts>, Leading<Values<Parts>>>
}

/**
 * A key in inverted order. It has no prefixes; where a tuple is to be inverted and scanned by prefix, invert
 * its parts: the bytes are the same.
 */
export function Desc<A, P>(key: Key<A, P>): Key<A> {
  const put = (value: A, target: Uint8Array, offset: number): number => {
    const written = key.encodePart(value, target, offset)
    for (let i = offset; i < offset + written; i++) target[i] = ~(target[i] ?? 0)
    return written
  }
  const take = (bytes: Uint8Array, start: number, end: number): A | undefined => {
    const plain = Text.takeBytes(bytes, start, Math.min(end, start + key.maxBytes))
    for (let i = 0; i < plain.length; i++) plain[i] = ~(plain[i] ?? 0)
    const value = key.decodePart(plain, 0, plain.length)
    ends[0] = start + partEnd()
    return value
  }
  return {
    [TypeId]: TypeId,
    fingerprint: `desc(${key.fingerprint})`,
    maxBytes: key.maxBytes,
    encode: put,
    decode(bytes, start, end) {
      const value = take(bytes, start, end)
      return partEnd() === end ? value : undefined
    },
    encodePrefix: noPrefix,
    encodePartPrefix: noPrefix,
    encodePart: put,
    decodePart: take
  }
}

// --------------------------------------------------------------------------------------------- helpers

/**
 * Turns the prefix in `bytes` from `start` to `end` into the least bytes above everything that begins with
 * it, in place, and answers their end. -1: nothing is above (the prefix is empty or all ff), so the range is
 * open.
 */
export function successor(bytes: Uint8Array, start: number, end: number): number {
  for (let i = end - 1; i >= start; i--) {
    const byte = bytes[i] ?? 0
    if (byte === 0xff) continue
    bytes[i] = byte + 1
    return i + 1
  }
  return -1
}

/**
 * The encoding of a value in bytes of its own; `undefined` where it is not a value of the key. For tools and
 * tests.
 */
export function bytesOf<A, P>(key: Key<A, P>, value: A): Uint8Array | undefined {
  for (let capacity = 64;; capacity *= 4) {
    const target = new Uint8Array(capacity)
    const written = key.encode(value, target, 0)
    if (written !== Full) return written < 0 ? undefined : target.subarray(0, written)
  }
}

const named: ReadonlyArray<Any> = [Bool, Bytes, Float, Int, String, Timestamp, U32, U64, Uuid]

/** The key that a fingerprint names, for tools that meet a store without its declarations. */
export function parse(fingerprint: string): Key<unknown, unknown> | undefined {
  const plain = named.find((key) => key.fingerprint === fingerprint)
  if (plain !== undefined) return plain
  const parts = partsOf(fingerprint).map(parse)
  const [first, ...rest] = parts.filter((part) => part !== undefined)
  if (first === undefined || rest.length + 1 !== parts.length) return undefined
  if (fingerprint.startsWith("tuple")) return Tuple(first, ...rest) as Any
  return rest.length === 0 ? Desc(first) as Any : undefined
}

/** The fingerprints of what a tuple, or a descending key, is made of; none of all others. */
export function partsOf(fingerprint: string): ReadonlyArray<string> {
  const inner = /^(?:tuple|desc)\((.+)\)$/.exec(fingerprint)
  return inner === null ? [] : splitParts(inner[1] ?? "")
}

/** Splits at the commas that stand in no parentheses. */
function splitParts(text: string): Array<string> {
  const parts: Array<string> = []
  let depth = 0
  let from = 0
  for (let i = 0; i < text.length; i++) {
    const character = text[i]
    if (character === "(") depth++
    else if (character === ")") depth--
    else if (character === "," && depth === 0) {
      parts.push(text.slice(from, i))
      from = i + 1
    }
  }
  return [...parts, text.slice(from)]
}

/**
 * Values as bytes: a schema, a declared version, and the steps from older versions.
 *
 * A stored value begins with the version of the codec that wrote it, so that reading knows how to bring it up
 * to date; only raw bytes are stored bare, so that what raw doors write and read is exact, and what reducers fold
 * (`int`, `float`, `set`).
 *
 * | offset | size | field                                                        |
 * |-------:|-----:|--------------------------------------------------------------|
 * |      0 |  1–2 | version: below 128 one byte, else low 7 bits with bit 7 set, then the upper 7 |
 * |   1, 2 |    … | payload                                                      |
 *
 * Broken when: the version is 0, written in more bytes than it needs, or above the declared one; no chain of
 * steps leads from it to the declared one; the payload is not what its wire format writes; the schema refuses
 * it.
 *
 * Nothing here is an Effect: a value costs a decode and no fiber. Failure is thrown as a {@link CodecFailed},
 * which its caller turns into `Undecodable` or `Unencodable`; answering it was rejected, as any value may be
 * an answer.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as SchemaParser from "effect/SchemaParser"
import { putFloat, putInt, takeFloat, takeInt } from "./key/Number.ts"

/** The highest version a codec may declare. */
export const versionMaximum = 16_383

const TypeId: unique symbol = Symbol.for("heartwood/Codec")

/**
 * How values of type `A` are stored; `Format` says it in the type, and so which built-in reducers fold them.
 *
 * `encode` and `decode` throw nothing but {@link CodecFailed}. With format `"bytes"` both answer the very
 * array they were given: whoever calls copies what it must keep. With the others, `decode` keeps nothing of
 * its input and `encode` answers bytes of its own.
 */
export interface Codec<in out A, out Format extends string = string> {
  readonly [TypeId]: typeof TypeId
  /** `"bytes"`: stored bare. Anything else names the wire format behind the version. */
  readonly format: Format
  /** Version that `encode` writes; 0 where values are stored bare. */
  readonly version: number
  readonly encode: (value: A) => Uint8Array
  readonly decode: (bytes: Uint8Array) => A
}

/** Tells a codec from a schema. */
export const isCodec = <A, E>(
  value: Codec<A> | Schema.ConstraintCodec<A, E, never, never>
): value is Codec<A> => TypeId in value

/**
 * Why a stored value does not decode, where it is not the schema that refuses it: a newer declaration wrote it, it is
 * no number that its codec holds, a step threw, or none leads from its version.
 */
export type Why = "newer" | "range" | "step" | "unmigrated"

/** A value that does not encode or decode. `problem` says where and why, never what the value holds. */
export class CodecFailed {
  readonly _tag = "CodecFailed"
  /**
   * Version that wrote the value; 0 where it has none (raw bytes, a damaged version, a value not yet stored).
   */
  readonly version: number
  readonly problem: string
  readonly why: Why | undefined
  /** What a step of the program's own threw. It is not quoted: the program knows what its errors say. */
  readonly cause: unknown
  constructor(version: number, problem: string, why?: Why, cause?: unknown) {
    this.version = version
    this.problem = problem
    this.why = why
    this.cause = cause
  }
  toString(): string {
    return this.problem
  }
}

/** How plain data, which is what JSON can hold, becomes bytes (MessagePack, for instance). */
export interface Wire {
  /** Stored with the keyspace: a keyspace is not read with another wire. */
  readonly format: string
  readonly write: (data: unknown) => Uint8Array
  readonly read: (bytes: Uint8Array) => unknown
}

/** One step from the version it is named by to the next; a pure function of stored data. */
export interface Step {
  bivariant(old: unknown): unknown
}

export interface Options {
  /** Counts up from 1 with every change that older values do not decode after. Default 1. */
  readonly version?: number
  /** Step `n` turns what version `n` stored into what version `n + 1` would have. No gap up to the newest. */
  readonly migrate?: { readonly [from: number]: Step["bivariant"] }
  /** Default {@link json}. */
  readonly wire?: Wire
}

/** Raw bytes, stored as they are. */
export const bytes: Codec<Uint8Array, "bytes"> = {
  [TypeId]: TypeId,
  format: "bytes",
  version: 0,
  encode: (value) => value,
  decode: (value) => value
}

/** A number in 8 bytes, stored bare, in the order of keys: what the numeric reducers fold. */
const number = <Format extends string>(
  format: Format,
  put: (value: number, target: Uint8Array, offset: number) => boolean,
  take: (bytes: Uint8Array, offset: number) => number | undefined
): Codec<number, Format> => ({
  [TypeId]: TypeId,
  format,
  version: 0,
  encode(value) {
    const bytes = new Uint8Array(8)
    if (!put(value, bytes, 0)) throw new CodecFailed(0, `it is not what Codec.${format} holds`)
    return bytes
  },
  decode(stored) {
    const value = stored.length === 8 ? take(stored, 0) : undefined
    if (value === undefined) {
      const why = stored.length === 8 ? "range" : undefined
      throw new CodecFailed(0, `it is not a safe number of Codec.${format}`, why)
    }
    return value
  }
})

/** Safe integers, stored bare as 8 bytes like `Key.Int`. A sum beyond them does not decode. */
export const int: Codec<number, "int"> = number("int", putInt, takeInt)

/** Numbers but NaN, stored bare as 8 bytes like `Key.Float`; -0 is stored as 0. */
export const float: Codec<number, "float"> = number("float", putFloat, takeFloat)

/** Longest element of a set, in bytes. */
const elementBytes = 0xffff

/**
 * A set of byte strings of at most 65,535 bytes: what the reducer `union` folds. It is written sorted, each element
 * once, whatever the order in which it is given; and read in that order.
 *
 * | offset | size | field                                                               |
 * |-------:|-----:|---------------------------------------------------------------------|
 * |      0 |    2 | length of the element, big-endian; the next one follows the element |
 * |      2 |    … | element                                                             |
 *
 * Broken when: an element is cut off, or not above the one before.
 */
export const set: Codec<ReadonlyArray<Uint8Array>, "set"> = {
  [TypeId]: TypeId,
  format: "set",
  version: 0,
  encode(elements) {
    const sorted = [...elements].sort(Buffer.compare)
      .filter((element, index, all) =>
        index === 0 || !Buffer.from(element).equals(all[index - 1] as Uint8Array)
      )
    const parts = sorted.map((element) => {
      if (element.length > elementBytes) throw new CodecFailed(0, "an element is longer than 65,535 bytes")
      return Buffer.concat([Uint8Array.of(element.length >> 8, element.length & 0xff), element])
    })
    return Uint8Array.from(Buffer.concat(parts))
  },
  decode(stored) {
    const elements: Array<Uint8Array> = []
    for (let at = 0; at < stored.length;) {
      const end = at + 2 + ((stored[at] ?? 0) << 8 | (stored[at + 1] ?? 0))
      const element = stored.slice(at + 2, end)
      const before = elements.at(-1)
      if (end > stored.length || before !== undefined && Buffer.compare(before, element) >= 0) {
        throw new CodecFailed(0, "its elements are not whole, or not in order")
      }
      elements.push(element)
      at = end
    }
    return elements
  }
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

/** JSON in UTF-8. */
export const json: Wire = {
  format: "json",
  write(data) {
    const text = JSON.stringify(data)
    if (text === undefined) throw new CodecFailed(0, "JSON has no form for it")
    return Buffer.from(text)
  },
  read: (bytes) => JSON.parse(utf8.decode(bytes))
}

/**
 * Values of a schema that needs no services. They are stored as JSON, and a `Schema.Uint8Array` as raw bytes,
 * which have no version: use {@link make} or a struct around them where one is needed.
 */
export function schema<A, E>(
  schema: Schema.ConstraintCodec<A, E, never, never>,
  options: Options = {}
): Codec<A> {
  const wire = options.wire ?? json
  const version = declaredVersion(options)
  if (holdsBytes(schema)) return rawBytes(schema, options)
  const codec = Schema.toCodecJson(schema)
  const encode = SchemaParser.encodeUnknownResult(codec)
  const decode = SchemaParser.decodeUnknownResult(codec)
  const steps = declaredSteps(options.migrate ?? {}, version)
  return make({
    format: wire.format,
    version,
    encode: (value) => wire.write(accepted(encode(value), version)),
    decode(payload, from) {
      let data = wire.read(payload)
      if (from < version) {
        const first = version - steps.length
        if (from < first) {
          throw new CodecFailed(from, `no step leads from version ${from} to ${from + 1}`, "unmigrated")
        }
        for (let at = from - first; at < steps.length; at++) data = stepped(steps[at], data, from, first + at)
      }
      return accepted(decode(data), from)
    }
  })
}

/**
 * A codec from two functions. `decode` gets the version that wrote the payload, at most its own, and a view
 * that it must not keep. Whatever they throw becomes a {@link CodecFailed}.
 */
export function make<A>(options: {
  readonly format: string
  readonly version?: number
  readonly encode: (value: A) => Uint8Array
  readonly decode: (payload: Uint8Array, version: number) => A
}): Codec<A> {
  const version = declaredVersion(options)
  if (options.format === "bytes") {
    throw new RangeError("the format \"bytes\" is that of Codec.bytes: name another one")
  }
  const head = version < 0x80 ? 1 : 2
  return {
    [TypeId]: TypeId,
    format: options.format,
    version,
    encode(value) {
      let payload: Uint8Array
      try {
        payload = options.encode(value)
      } catch (error) {
        throw failed(version, "encoding", error)
      }
      const stored = Buffer.allocUnsafe(head + payload.length)
      stored[0] = head === 1 ? version : version & 0x7f | 0x80
      if (head === 2) stored[1] = version >> 7
      stored.set(payload, head)
      return stored
    },
    decode(stored) {
      const from = versionOf(stored)
      if (from > version) {
        throw new CodecFailed(from, `version ${from} is newer than the declared version ${version}`, "newer")
      }
      try {
        return options.decode(stored.subarray(from < 0x80 ? 1 : 2), from)
      } catch (error) {
        throw failed(from, "decoding", error)
      }
    }
  }
}

/** What a step makes of the data of a value that version `from` wrote. */
function stepped(step: Step["bivariant"] | undefined, data: unknown, from: number, at: number): unknown {
  try {
    return step?.(data)
  } catch (error) {
    const name = error instanceof Error ? error.name : typeof error
    throw new CodecFailed(from, `the step from version ${at} to ${at + 1} threw a ${name}`, "step", error)
  }
}

/** The version that wrote a stored value. */
function versionOf(stored: Uint8Array): number {
  const first = stored[0] ?? 0
  const version = first < 0x80 ? first : first & 0x7f | (stored[1] ?? 0) << 7
  if (version === 0 || first >= 0x80 && (version < 0x80 || version > versionMaximum)) {
    throw new CodecFailed(0, "it does not begin with the version of a codec")
  }
  return version
}

/**
 * Errors of libraries quote what they could not read (`JSON.parse` does), so their words are not passed on.
 */
function failed(version: number, doing: string, error: unknown): CodecFailed {
  if (error instanceof CodecFailed) return error
  return new CodecFailed(version, `${doing} threw a ${error instanceof Error ? error.name : typeof error}`)
}

const format = SchemaIssue.makeFormatterDefault()

function accepted<A>(result: Result.Result<A, SchemaIssue.Issue>, version: number): A {
  if (Result.isSuccess(result)) return result.success
  throw new CodecFailed(version, format(result.failure))
}

function declaredVersion(options: { readonly version?: number }): number {
  const version = options.version ?? 1
  if (Number.isInteger(version) && version >= 1 && version <= versionMaximum) return version
  throw new RangeError(`a codec's version is an integer from 1 to ${versionMaximum}, not ${version}`)
}

/** The steps in order, the last one into `version`. */
function declaredSteps(
  migrate: NonNullable<Options["migrate"]>,
  version: number
): ReadonlyArray<Step["bivariant"]> {
  const entries = Object.entries(migrate).map(([from, step]) => [Number(from), step] as const)
  entries.sort(([a], [b]) => a - b)
  entries.forEach(([from], index) => {
    if (from >= 1 && from === version - entries.length + index) return
    throw new RangeError(
      `migrate has a step from version ${from}: it needs one from each version up to ${version - 1}`
    )
  })
  return entries.map(([, step]) => step)
}

function holdsBytes(schema: { readonly ast: Schema.Constraint["ast"] }): boolean {
  const { ast } = schema
  const representation = ast.annotations?.["representation"]
  return ast._tag === "Declaration" && ast.encoding === undefined && typeof representation === "object"
    && representation !== null && "id" in representation && representation.id === "effect/schema/Uint8Array"
}

/** Raw bytes with the checks of their schema. */
function rawBytes<A>(schema: Schema.ConstraintCodec<A, unknown, never, never>, options: Options): Codec<A> {
  if (options.version !== undefined || options.migrate !== undefined || options.wire !== undefined) {
    throw new RangeError(
      "raw bytes have no version and no wire: use Codec.make, or a struct that holds the bytes"
    )
  }
  const encode = SchemaParser.encodeUnknownResult(schema)
  const decode = SchemaParser.decodeUnknownResult(schema)
  return {
    [TypeId]: TypeId,
    format: "bytes",
    version: 0,
    encode(value) {
      try {
        return accepted(encode(value), 0) as Uint8Array
      } catch (error) {
        throw failed(0, "encoding", error)
      }
    },
    decode(stored) {
      try {
        return accepted(decode(stored), 0)
      } catch (error) {
        throw failed(0, "decoding", error)
      }
    }
  }
}

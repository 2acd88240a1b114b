/**
 * Reducers: how an operand is folded into a value, so that `merge` needs no read of it.
 *
 * Those that the engine knows (`BuiltIn`) fold wherever value and operand meet. One that a program makes itself is
 * known to that program only: operands stand beside the value as they came, and are folded whenever it is read.
 *
 * What is stored for a reducer of one's own is a list of frames, so that appending an operand is a merge:
 *
 * | offset | size | field                                                    |
 * |-------:|-----:|----------------------------------------------------------|
 * |      0 |    1 | 1 the value, once and first if at all; 2 an operand      |
 * |      1 |    4 | length of what follows, little-endian                    |
 * |      5 |    … | what the codec of the values, or of the operands, writes |
 *
 * Broken when: a frame is cut off, of another kind, or a value that is not the first; there is none.
 */
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Codec from "./Codec.ts"
import { Reducer as Id } from "./tree/page/Fold.ts"

/**
 * - `sum` adds whole numbers (`Codec.int`), modulo 2⁶⁴;
 * - `min` and `max` keep the lesser or greater number (`Codec.int`, `Codec.float`);
 * - `append` puts bytes behind bytes (`Codec.bytes`);
 * - `union` adds elements to a set (`Codec.set`);
 * - `last` keeps the operand, of any kind.
 */
export type BuiltIn = "append" | "last" | "max" | "min" | "sum" | "union"

/** Formats of the codecs whose values each folds; any where there are none. */
const formats = {
  append: ["bytes"],
  last: undefined,
  max: ["int", "float"],
  min: ["int", "float"],
  sum: ["int"],
  union: ["set"]
} as const satisfies { readonly [name in BuiltIn]: ReadonlyArray<string> | undefined }

type Formats = typeof formats

/** The built-in reducers that values of a codec may have, by its format. */
export type For<Format extends string> = {
  readonly [Name in BuiltIn]: Formats[Name] extends ReadonlyArray<infer Known>
    ? (Format extends Known ? Name : never)
    : Name
}[BuiltIn]

/** A codec, and a built-in reducer that folds what it writes. */
export interface Folding<V, Format extends string> {
  readonly value: Codec.Codec<V, Format>
  readonly reducer: For<NoInfer<Format>>
}

const TypeId: unique symbol = Symbol.for("heartwood/Reducer")

/** A reducer of one's own: see {@link make}. */
export interface Reducer<in out V, in out O> {
  readonly [TypeId]: typeof TypeId
  readonly name: string
  readonly operand: Codec.Codec<O>
  readonly fold: (value: Option.Option<V>, operand: O) => V
}

/** A reducer threw. */
export class FoldFailed {
  readonly _tag = "FoldFailed"
  readonly reducer: string
  readonly cause: unknown
  constructor(reducer: string, cause: unknown) {
    this.reducer = reducer
    this.cause = cause
  }
}

/**
 * Makes a reducer. `fold` is a pure function: it runs at every read, until a commit stores what comes of it. Its name
 * is stored with the keyspace, which is not opened with another; give it another one when `fold` changes its meaning.
 *
 * Throws a `RangeError` where the name is empty, longer than 100 bytes or no well-formed text.
 */
export const make = <V, O, E = unknown>(options: {
  readonly name: string
  readonly operand: Schema.ConstraintCodec<O, E, never, never> | Codec.Codec<O>
  readonly fold: (value: Option.Option<V>, operand: O) => V
}): Reducer<V, O> => {
  const { fold, name, operand } = options
  if (!name.isWellFormed() || name.length === 0 || Buffer.byteLength(name) > 100) {
    throw new RangeError("a reducer's name is well-formed text of 1 to 100 bytes")
  }
  return { [TypeId]: TypeId, name, operand: Codec.isCodec(operand) ? operand : Codec.schema(operand), fold }
}

/** A reducer as it is stored. */
export interface Named {
  /** Its id in log and catalog. */
  readonly id: number
  /** What a layout says of it. */
  readonly layout: string
}

/** How a keyspace uses its reducer. */
export interface Usage<in out V, in out O> extends Named {
  /** How values are stored. */
  readonly codec: Codec.Codec<V>
  readonly encodeOperand: (operand: O) => Uint8Array
  /** What is stored instead of a list of more than so many operands, or of one that is too long for its leaf. */
  readonly compact: ((stored: Uint8Array, most: number) => Uint8Array) | undefined
}

/** For a keyspace with a reducer that the engine knows. Throws a `RangeError` where it folds no such values. */
export const builtIn = <V>(name: BuiltIn, codec: Codec.Codec<V>): Usage<V, V> => {
  const allowed: ReadonlyArray<string> | undefined = formats[name]
  if (allowed !== undefined && !allowed.includes(codec.format)) {
    const codecs = allowed.map((format) => `Codec.${format}`).join(" or ")
    throw new RangeError(
      `the reducer "${name}" folds values of ${codecs}, not of the format "${codec.format}"`
    )
  }
  const copies = codec.format === "bytes"
  return {
    id: Id[name],
    layout: name,
    codec,
    // Not the caller's own array, which may change before the commit.
    encodeOperand: (operand) => copies ? Uint8Array.from(codec.encode(operand)) : codec.encode(operand),
    compact: undefined
  }
}

/** For a keyspace with a reducer of one's own. */
export const own = <V, O>(reducer: Reducer<V, O>, codec: Codec.Codec<V>): Usage<V, O> => {
  const framed = frames(reducer, codec)
  return {
    id: Id.user,
    layout: JSON.stringify(reducer.name),
    codec: framed,
    encodeOperand: (operand) => frame(operandFrame, reducer.operand.encode(operand)),
    compact: (stored, most) => operandsIn(stored) > most ? framed.encode(framed.decode(stored)) : stored
  }
}

const valueFrame = 1
const operandFrame = 2
const frameHeadBytes = 5

const frame = (kind: number, payload: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(frameHeadBytes + payload.length)
  bytes[0] = kind
  new DataView(bytes.buffer).setUint32(1, payload.length, true)
  bytes.set(payload, frameHeadBytes)
  return bytes
}

const frames = <V, O>(reducer: Reducer<V, O>, codec: Codec.Codec<V>): Codec.Codec<V> => ({
  ...codec,
  format: `frames of ${codec.format}`,
  encode: (value) => frame(valueFrame, codec.encode(value)),
  decode(stored) {
    let value: Option.Option<V> = Option.none()
    eachFrame(stored, (kind, payload) => {
      value = Option.some(
        kind === valueFrame ? codec.decode(payload) : folded(reducer, value, reducer.operand.decode(payload))
      )
    })
    return Option.getOrThrowWith(value, () => new Codec.CodecFailed(0, "it has no frame"))
  }
})

const folded = <V, O>(reducer: Reducer<V, O>, value: Option.Option<V>, operand: O): V => {
  try {
    return reducer.fold(value, operand)
  } catch (cause) {
    throw new FoldFailed(reducer.name, cause)
  }
}

const operandsIn = (stored: Uint8Array): number => {
  let operands = 0
  eachFrame(stored, (kind) => {
    if (kind === operandFrame) operands++
  })
  return operands
}

const eachFrame = (stored: Uint8Array, visit: (kind: number, payload: Uint8Array) => void): void => {
  const view = new DataView(stored.buffer, stored.byteOffset, stored.byteLength)
  for (let at = 0; at < stored.length;) {
    const from = at + frameHeadBytes
    const kind = stored[at] as number
    const known = kind === operandFrame || kind === valueFrame && at === 0
    if (!known || from > stored.length || from + view.getUint32(at + 1, true) > stored.length) {
      throw new Codec.CodecFailed(0, `it has no sound frame at byte ${at}`)
    }
    const end = from + view.getUint32(at + 1, true)
    visit(kind, stored.subarray(from, end))
    at = end
  }
}

/**
 * Every kind of key, with values drawn where encodings turn, and the order that they must have.
 */
import * as DateTime from "effect/DateTime"
import * as Key from "../../src/Key.ts"
import type { Random } from "./random.ts"

/** How to make, compare and name the values of one key. */
export interface Subject<A> {
  readonly key: Key.Key<A, unknown>
  readonly value: (random: Random) => A
  readonly order: (a: A, b: A) => number
}

const subject = <A, P>(
  key: Key.Key<A, P>,
  value: (random: Random) => A,
  order: (a: A, b: A) => number
): Subject<A> => ({ key: key as Key.Key<A, unknown>, value, order })

const byNumber = <A extends number | bigint | boolean>(a: A, b: A): number => a < b ? -1 : a > b ? 1 : 0
export const byBytes = (a: Uint8Array, b: Uint8Array): number => Math.sign(Buffer.compare(a, b))
const byCodePoint = (a: string, b: string): number => {
  const left = Array.from(a, (c) => c.codePointAt(0) ?? 0)
  const right = Array.from(b, (c) => c.codePointAt(0) ?? 0)
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return Math.sign(difference)
  }
  return Math.sign(left.length - right.length)
}

// Few letters, and those where encodings turn, so that ties, prefixes and escapes are common.
const letters = ["\0", "\x01", "\x02", "a", "b", "\x7f", "\x80", "é", "\ufeff", "\uffff", "\ue000", "😀"]
export const text = (random: Random): string =>
  Array.from({ length: random.bool(0.1) ? random.int(60) : random.int(5) }, () => random.pick(letters)).join(
    ""
  )
const ascii = (random: Random): string =>
  Array.from({ length: random.int(40) }, () => String.fromCharCode(random.int(128))).join("")
export const bytes = (random: Random): Uint8Array =>
  random.bool(0.7)
    ? Uint8Array.from({ length: random.int(5) }, () => random.pick([0, 1, 2, 3, 0x7f, 0x80, 0xfe, 0xff]))
    : random.bytes(random.int(40))
const edges = [
  0,
  1,
  -1,
  255,
  256,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  -(2 ** 31),
  -(2 ** 32),
  -(2 ** 32) - 1
]
const int = (random: Random): number =>
  random.bool(0.3)
    ? random.pick([...edges, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])
    : Math.floor((random.next() - 0.5) * 2 ** (1 + random.int(53)))
const float = (random: Random): number => {
  if (random.bool(0.2)) {
    return random.pick([Infinity, -Infinity, 0, -0, Number.MIN_VALUE, -Number.MIN_VALUE, 1.5, -1.5])
  }
  if (random.bool(0.5)) return (random.next() - 0.5) * 10 ** (random.int(40) - 20)
  const drawn = new DataView(random.bytes(8).buffer).getFloat64(0)
  return Number.isNaN(drawn) ? 0 : drawn
}
const u64 = (random: Random): bigint =>
  BigInt.asUintN(random.int(65), new DataView(random.bytes(8).buffer).getBigUint64(0))
const instant = (random: Random): DateTime.Utc =>
  DateTime.makeUnsafe(
    random.bool(0.1) ? random.pick([8.64e15, -8.64e15, 0]) : Math.floor((random.next() - 0.5) * 8e15)
  )
const byInstant = (a: DateTime.Utc, b: DateTime.Utc): number =>
  byNumber(a.epochMilliseconds, b.epochMilliseconds)
const uuid = (random: Random): string =>
  Buffer.from(random.bytes(16)).toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
const bool = (random: Random): boolean => random.bool(0.5)

const inTurn =
  (...orders: ReadonlyArray<(a: never, b: never) => number>) =>
  (a: ReadonlyArray<unknown>, b: ReadonlyArray<unknown>): number => {
    for (let i = 0; i < orders.length; i++) {
      const order = orders[i] as (a: unknown, b: unknown) => number
      const result = order(a[i], b[i])
      if (result !== 0) return result
    }
    return 0
  }
const inverted = <A>(order: (a: A, b: A) => number) => (a: A, b: A): number => order(b, a)

/** Every kind of key, plain, in tuples and descending. */
export const subjects: ReadonlyArray<Subject<never>> = [
  subject(Key.String, text, byCodePoint),
  subject(Key.String, ascii, byNumber as unknown as (a: string, b: string) => number),
  subject(Key.Bytes, bytes, byBytes),
  subject(Key.U32, (random) => int(random) >>> 0, byNumber),
  subject(Key.U64, u64, byNumber),
  subject(Key.Int, int, byNumber),
  subject(Key.Float, float, byNumber),
  subject(Key.Bool, bool, byNumber),
  subject(Key.Timestamp, instant, byInstant),
  subject(Key.Uuid, uuid, byCodePoint),
  subject(
    Key.Tuple(Key.String, Key.Timestamp),
    (random) => [text(random), instant(random)] as const,
    inTurn(byCodePoint, byInstant)
  ),
  subject(
    Key.Tuple(Key.Bytes, Key.String, Key.Bytes),
    (random) => [bytes(random), text(random), bytes(random)] as const,
    inTurn(byBytes, byCodePoint, byBytes)
  ),
  subject(
    Key.Tuple(Key.Bool, Key.Tuple(Key.String, Key.Desc(Key.Bytes)), Key.U32),
    (random) => [bool(random), [text(random), bytes(random)], random.int(3)] as const,
    inTurn(byNumber, inTurn(byCodePoint, inverted(byBytes)), byNumber)
  ),
  subject(Key.Desc(Key.String), text, inverted(byCodePoint)),
  subject(Key.Desc(Key.Bytes), bytes, inverted(byBytes)),
  subject(Key.Desc(Key.Float), float, inverted(byNumber)),
  subject(Key.Desc(Key.Desc(Key.Bytes)), bytes, byBytes),
  subject(
    Key.Desc(Key.Tuple(Key.String, Key.Int)),
    (random) => [text(random), random.int(5)] as const,
    inverted(inTurn(byCodePoint, byNumber))
  )
] as unknown as ReadonlyArray<Subject<never>>

/**
 * Folding: what a reducer makes of a value and an operand.
 *
 * An operand has the form of a value, and folding is associative, so that operands fold into each other before anybody
 * knows the value they are for: (value · a) · b = value · (a · b), and an operand on nothing is the value. Replay,
 * eviction and readers may then fold where they meet and come to the same bytes. Floats do not add up so: there is no
 * sum of them.
 *
 * | id | reducer | value and operand                                          | value · operand                     |
 * |---:|---------|------------------------------------------------------------|-------------------------------------|
 * |  1 | sum     | int64: 8 bytes, big-endian, sign flipped (`key/Number.ts`) | their sum, modulo 2⁶⁴               |
 * |  2 | min     | bytes; numbers in the order of `key/Number.ts`             | the lesser, as unsigned bytes       |
 * |  3 | max     | the same                                                   | the greater                         |
 * |  4 | append  | bytes                                                      | one after the other                 |
 * |  5 | union   | elements, each u16 length big-endian and bytes, ascending  | the elements of both, each once     |
 * |  6 | last    | bytes                                                      | the operand                         |
 * | 15 | user    | frames of `Reducer.ts`                                     | one after the other                 |
 *
 * Ids stand in the log and in the catalog: none is ever used for anything else.
 *
 * I1 Total: whatever the bytes are, there is an answer, the same each time. What cannot be an operand of the reducer
 *    stands for itself.
 *
 * It must not know pages, nor what numbers and elements mean to anybody.
 */
import { putWord, wordAt } from "../../key/Number.ts"
import type { ValueIn } from "./ValueIn.ts"

export const Reducer = { none: 0, sum: 1, min: 2, max: 3, append: 4, union: 5, last: 6, user: 15 } as const

/** Whether what it makes may be longer than the value and than the operand. */
export const grows = (reducer: number): boolean =>
  reducer === Reducer.append || reducer === Reducer.union || reducer === Reducer.user

/** Whether its values are numbers of 8 bytes, which take less room in a leaf than a reference to the log. */
export const isNumeric = (reducer: number): boolean =>
  reducer === Reducer.sum || reducer === Reducer.min || reducer === Reducer.max

const numberBytes = 8

/** A place for what is folded; good until the next fold. It begins at a word and is padded with zeros to words. */
export class Fold implements ValueIn {
  words = new Int32Array(16)
  readonly at = 0
  bytes = new Uint8Array(this.words.buffer)
  length = 0

  /** The folded bytes, where they lie. */
  value(): Uint8Array {
    return this.bytes.subarray(0, this.length)
  }

  /** Folds an operand into a value, or into nothing. Neither lies in here. */
  of(reducer: number, value: Uint8Array | undefined, operand: Uint8Array): void {
    if (value === undefined) return this.set(operand)
    switch (reducer) {
      case Reducer.sum:
        return this.sum(value, operand)
      case Reducer.min:
        return this.set(compareBytes(value, operand) <= 0 ? value : operand)
      case Reducer.max:
        return this.set(compareBytes(value, operand) >= 0 ? value : operand)
      case Reducer.append:
      case Reducer.user:
        return this.append(value, operand)
      case Reducer.union:
        return this.union(value, operand)
      default:
        return this.set(operand)
    }
  }

  private begin(most: number): void {
    if (most > this.bytes.length) {
      this.words = new Int32Array(Math.max(most + 3 >>> 2, 2 * this.words.length))
      this.bytes = new Uint8Array(this.words.buffer)
    }
  }

  private end(length: number): void {
    this.length = length
    this.bytes.fill(0, length, length + 3 & ~3)
  }

  private set(bytes: Uint8Array): void {
    this.begin(bytes.length)
    this.bytes.set(bytes)
    this.end(bytes.length)
  }

  private sum(value: Uint8Array, operand: Uint8Array): void {
    if (value.length !== numberBytes || operand.length !== numberBytes) return this.set(operand)
    const low = wordAt(value, 4) + wordAt(operand, 4)
    const carry = low >= 0x1_0000_0000 ? 1 : 0
    // Both signs are flipped, which the sum takes back: it is flipped once more.
    putWord(wordAt(value, 0) + wordAt(operand, 0) + carry ^ 0x8000_0000, this.bytes, 0)
    putWord(low | 0, this.bytes, 4)
    this.end(numberBytes)
  }

  private append(value: Uint8Array, operand: Uint8Array): void {
    this.begin(value.length + operand.length)
    this.bytes.set(value)
    this.bytes.set(operand, value.length)
    this.end(value.length + operand.length)
  }

  /** Merges two ascending lists; bytes behind the last whole element go. */
  private union(value: Uint8Array, operand: Uint8Array): void {
    this.begin(value.length + operand.length)
    let to = 0
    let a = 0
    let b = 0
    while (true) {
      const aEnd = elementEnd(value, a)
      const bEnd = elementEnd(operand, b)
      if (aEnd < 0 && bEnd < 0) break
      const order = aEnd < 0 ? 1 : bEnd < 0 ? -1 : compareElements(value, a, aEnd, operand, b, bEnd)
      const source = order <= 0 ? value : operand
      const end = order <= 0 ? aEnd : bEnd
      for (let at = order <= 0 ? a : b; at < end; at++) this.bytes[to++] = source[at] as number
      if (order <= 0) a = aEnd
      if (order >= 0) b = bEnd
    }
    this.end(to)
  }
}

/** End of the element of a union that begins at `at`, or -1 where there is no whole one. */
export function elementEnd(bytes: Uint8Array, at: number): number {
  if (at + 2 > bytes.length) return -1
  const end = at + 2 + ((bytes[at] as number) << 8 | (bytes[at + 1] as number))
  return end <= bytes.length ? end : -1
}

/** Order of two elements without their lengths. */
function compareElements(
  a: Uint8Array,
  aFrom: number,
  aEnd: number,
  b: Uint8Array,
  bFrom: number,
  bEnd: number
): number {
  let i = aFrom + 2
  let j = bFrom + 2
  for (; i < aEnd && j < bEnd; i++, j++) {
    const difference = (a[i] as number) - (b[j] as number)
    if (difference !== 0) return difference
  }
  return (aEnd - i) - (bEnd - j)
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const difference = (a[index] as number) - (b[index] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/**
 * What the built-in reducers should make of values, in the plainest way there is; and values for them.
 */
import { Reducer } from "../../src/tree/page/Fold.ts"
import type { Random } from "./random.ts"

const numberOf = (bytes: Uint8Array): bigint => Buffer.from(bytes).readBigUInt64BE() - 2n ** 63n
const bytesOf = (value: bigint): Uint8Array => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value + 2n ** 63n))
  return Uint8Array.from(bytes)
}

/** Elements of a set, each as one char per byte. */
export const elementsOf = (bytes: Uint8Array): ReadonlyArray<string> => {
  const buffer = Buffer.from(bytes)
  const elements: Array<string> = []
  for (let at = 0; at < buffer.length; at += 2 + buffer.readUInt16BE(at)) {
    elements.push(buffer.toString("latin1", at + 2, at + 2 + buffer.readUInt16BE(at)))
  }
  return elements
}

export const setOf = (elements: Iterable<string>): Uint8Array =>
  Uint8Array.from(Buffer.concat(
    [...new Set(elements)].sort((a, b) => a < b ? -1 : 1).map((element) => {
      const length = Buffer.alloc(2)
      length.writeUInt16BE(element.length)
      return Buffer.concat([length, Buffer.from(element, "latin1")])
    })
  ))

/** A value with an operand folded into it. */
export const foldOf = (reducer: number, value: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
  if (value === undefined) return operand
  switch (reducer) {
    case Reducer.sum:
      return bytesOf(numberOf(value) + numberOf(operand))
    case Reducer.min:
      return numberOf(value) < numberOf(operand) ? value : operand
    case Reducer.max:
      return numberOf(value) > numberOf(operand) ? value : operand
    case Reducer.append:
    case Reducer.user:
      return Uint8Array.from(Buffer.concat([value, operand]))
    case Reducer.union:
      return setOf([...elementsOf(value), ...elementsOf(operand)])
    default:
      return operand
  }
}

/** A value, or an operand, of at most so many bytes; numbers take eight, and some are as large as they may be. */
export const valueFor = (reducer: number, chance: Random, most: number): Uint8Array => {
  if (reducer === Reducer.sum || reducer === Reducer.min || reducer === Reducer.max) {
    return chance.bool(0.2)
      ? bytesOf(chance.pick([-1n, 0n, 1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 32n, -(2n ** 32n)]))
      : chance.bytes(8)
  }
  if (reducer !== Reducer.union) return chance.bytes(chance.int(Math.min(most, 24) + 1))
  const elements = Array.from(
    { length: chance.int(4) },
    () => String.fromCharCode(97 + chance.int(6)).repeat(chance.int(4))
  )
  const set = setOf(elements)
  return set.length <= most ? set : setOf([])
}

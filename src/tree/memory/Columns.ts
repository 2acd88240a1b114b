/**
 * Longer copies of typed arrays, for tables that are columns and grow by doubling.
 */
export function widerInts(narrow: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const array = new Int32Array(length)
  array.set(narrow)
  return array
}

export function widerFloats(narrow: Float64Array, length: number): Float64Array<ArrayBuffer> {
  const array = new Float64Array(length)
  array.set(narrow)
  return array
}

export function widerBytes(narrow: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const array = new Uint8Array(length)
  array.set(narrow)
  return array
}

export function widerShorts(narrow: Uint16Array, length: number): Uint16Array<ArrayBuffer> {
  const array = new Uint16Array(length)
  array.set(narrow)
  return array
}

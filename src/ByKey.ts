/**
 * A transaction's writes to one keyspace, by their keys, in the order in which the keys were first written.
 *
 * Most transactions write one key. One alone is kept without a map: the name by which a map finds it, a string, costs
 * more than all else that is done with it before the commit.
 *
 * I1 A key stands here once: in `first` while there is no map, else in the map.
 */

/** One write to one key; `value` is undefined where it removes. */
export interface Write {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
  /** Id of the reducer that folds it into what is stored; undefined where it takes the place of that. */
  readonly reducer?: number | undefined
  /** Milliseconds since 1970 from which on it is hidden; undefined where it stays. */
  readonly expiry?: number | undefined
}

/** A string with one char per byte: the cheapest map key that a byte string has. Names order as their keys do. */
export const nameOf = (key: Uint8Array): string => latin1.call(key, 0, key.length)

/** Works on any bytes; a Buffer made for it would cost twice as much as the string. */
const latin1: (this: Uint8Array, from: number, until: number) => string = Buffer.prototype.latin1Slice

export class ByKey {
  private first: Write | undefined
  private map: Map<string, Write> | undefined

  get size(): number {
    return this.map?.size ?? (this.first === undefined ? 0 : 1)
  }

  get(key: Uint8Array): Write | undefined {
    const { first, map } = this
    if (map !== undefined) return map.size === 0 ? undefined : map.get(nameOf(key))
    return first !== undefined && isSame(first.key, key) ? first : undefined
  }

  set(write: Write): void {
    const { first, map } = this
    if (map === undefined && (first === undefined || isSame(first.key, write.key))) this.first = write
    else this.named().set(nameOf(write.key), write)
  }

  values(): Iterable<Write> {
    if (this.map !== undefined) return this.map.values()
    return this.first === undefined ? [] : [this.first]
  }

  /** All of them by name, to be looked at and changed. */
  named(): Map<string, Write> {
    if (this.map === undefined) {
      this.map = new Map()
      if (this.first !== undefined) this.map.set(nameOf(this.first.key), this.first)
      this.first = undefined
    }
    return this.map
  }
}

const isSame = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false
  return true
}

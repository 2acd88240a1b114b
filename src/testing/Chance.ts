/**
 * Chance from a seed, in the forms in which a schedule and a plan of crashes draw it.
 *
 * The numbers are those of the disk that fails (`disk/Fates.ts`): equal seeds give equal draws, for ever, because a
 * failure is reported by its seed.
 */
import { chance } from "../disk/Fates.ts"

export interface Chance {
  /** A number from 0 (included) to 1 (excluded). */
  next(): number
  /** An integer from 0 (included) to `n` (excluded). */
  int(n: number): number
  /** True with probability `p`. */
  bool(p: number): boolean
  bytes(n: number): Uint8Array
  pick<A>(array: ReadonlyArray<A>): A
}

export const make = (seed: number): Chance => {
  const next = chance(seed)
  const int = (n: number): number => Math.floor(next() * n)
  return {
    next,
    int,
    bool: (p) => next() < p,
    bytes: (n) => Uint8Array.from({ length: n }, () => int(256)),
    pick<A>(array: ReadonlyArray<A>): A {
      if (array.length === 0) throw new RangeError("nothing to pick from")
      return array[int(array.length)] as A
    }
  }
}

/** `count` of the items, in their order, each as likely as any other (Knuth, TAOCP 2, 3.4.2, algorithm S). */
export const sample = <A>(items: ReadonlyArray<A>, count: number, chance: Chance): ReadonlyArray<A> => {
  const found: Array<A> = []
  items.forEach((item, index) => {
    if (chance.int(items.length - index) < count - found.length) found.push(item)
  })
  return found
}

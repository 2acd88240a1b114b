/**
 * Chance from a seed, so that a failure replays exactly: mulberry32, which is small and good enough for
 * tests.
 */
export interface Random {
  /** A number from 0 (included) to 1 (excluded). */
  next(): number
  /** An integer from 0 (included) to `n` (excluded). */
  int(n: number): number
  /** True with probability `p`. */
  bool(p: number): boolean
  bytes(n: number): Uint8Array
  pick<A>(array: ReadonlyArray<A>): A
}

export function random(seed: number): Random {
  let state = seed | 0
  const next = (): number => {
    state = state + 0x6d2b79f5 | 0
    let mixed = Math.imul(state ^ state >>> 15, 1 | state)
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed
    return ((mixed ^ mixed >>> 14) >>> 0) / 0x1_0000_0000
  }
  const int = (n: number): number => Math.floor(next() * n)
  return {
    next,
    int,
    bool: (p) => next() < p,
    bytes: (n) => Uint8Array.from({ length: n }, () => int(256)),
    pick<A>(array: ReadonlyArray<A>): A {
      if (array.length === 0) throw new Error("nothing to pick from")
      return array[int(array.length)] as A
    }
  }
}

/**
 * Which seeds a suite takes: its own, or those that a longer run asks for.
 *
 * `HEARTWOOD_SEEDS=1000:20` means 20 seeds from 1000 on.
 */
export interface Seeds {
  readonly from: number
  readonly count: number
  /** Whether they are the suite's own, of which it is known what they reach. */
  readonly own: boolean
}

export const seedsOf = (usual: { readonly from: number; readonly count: number }): Seeds => {
  const asked = process.env["HEARTWOOD_SEEDS"]
  if (asked === undefined) return { ...usual, own: true }
  const [from = NaN, count = NaN] = asked.split(":").map(Number)
  if (!(from >= 0) || !(count >= 1)) throw new RangeError(`HEARTWOOD_SEEDS=${asked}: make it from:count`)
  return { from, count, own: false }
}

/**
 * Drives each seed: the one of `HEARTWOOD_SEED`, or else those of `seedsOf`. A failure names its seed. Answers whether
 * they were the suite's own.
 */
export const eachSeed = (count: number, drive: (seed: number) => void): boolean => {
  const asked = process.env["HEARTWOOD_SEED"]
  const seeds = asked === undefined
    ? seedsOf({ from: 1, count })
    : { from: Number(asked), count: 1, own: false }
  for (let seed = seeds.from; seed < seeds.from + seeds.count; seed++) {
    try {
      drive(seed)
    } catch (cause) {
      throw new Error(`seed ${seed}`, { cause })
    }
  }
  return seeds.own
}

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

/**
 * Which power cuts are tried: of all states in which a disk may be found during a life, as many as are asked for.
 *
 * At each instant at which anything is not synced there are both ends (nothing of it survives, all of it does) and
 * then, in turn, numbered states, where engines break, and drawn ones. Where there are more than may be tried, they
 * are drawn from all instants alike.
 */
import type { Crash } from "../disk/Fates.ts"
import type { Chance } from "./Chance.ts"
import { sample } from "./Chance.ts"
import type { Moment } from "./Life.ts"

/** A power cut before an operation. */
export interface Cut {
  /** Number of the operation, counted from 1 in the life of the disk. */
  readonly before: number
  /** What is left of all that was not synced. */
  readonly crash: Crash
}

/** What a moment offers to a plan. */
export interface Spot {
  readonly number: number
  /** How many numbered crashes there are; 0 where everything is durable, so that all crashes are one. */
  readonly variants: number
}

export const spotOf = ({ faults, number }: Moment): Spot => {
  const { changes, names } = faults.held()
  return { number, variants: names + changes === 0 ? 0 : faults.variants() }
}

/** Draws cuts, in the order of their operations. */
export const plan = (spots: ReadonlyArray<Spot>, most: number, chance: Chance): ReadonlyArray<Cut> => {
  const busy = spots.filter(({ variants }) => variants > 0).length
  const each = Math.max(4, busy === 0 ? 0 : Math.ceil(most / busy))
  const cuts = spots.flatMap((spot) =>
    crashes(spot, each, chance).map((crash) => ({ before: spot.number, crash }))
  )
  return sample(cuts, most, chance)
}

const crashes = ({ variants }: Spot, count: number, chance: Chance): ReadonlyArray<Crash> => {
  if (variants === 0) return [{ keep: "nothing" }]
  const ends: ReadonlyArray<Crash> = [{ keep: "nothing" }, { keep: "everything" }]
  const drawn = Array.from(
    { length: count - ends.length },
    (_, index): Crash => index % 2 === 0 ? { variant: chance.int(variants) } : { seed: chance.int(2 ** 31) }
  )
  return [...ends, ...drawn]
}

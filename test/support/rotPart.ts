/**
 * How much of all that could rot is tried. By default a choice that takes a minute; `HEARTWOOD_ROT=all` is everything, and
 * `HEARTWOOD_ROT=from:count` so many thousandths of it from one on, counted round: a row of runs gets through all of it.
 */

const parts = 1_000

export interface Part {
  /** Whether this one of all that could be tried is. */
  readonly isDue: (index: number) => boolean
}

const partOf = (asked: string): Part => {
  const [from = NaN, count = NaN] = asked === "all" ? [0, parts] : asked.split(":").map(Number)
  if (!Number.isInteger(from) || !(count >= 1)) throw new RangeError("HEARTWOOD_ROT is all, or from:count")
  return { isDue: (index) => (((index - from) % parts) + parts) % parts < count }
}

const asked = process.env["HEARTWOOD_ROT"]

/** Undefined where nothing is asked for. */
export const part: Part | undefined = asked === undefined ? undefined : partOf(asked)

/**
 * Sets of keys as ranges: disjoint, in order, none empty, none ending where the next begins.
 *
 * For what is missing of a tree: usually nothing, seldom many ranges, never single keys by the million.
 */
import type { Bounds } from "../page/Bounds.ts"
import { isProper } from "../page/Bounds.ts"

/** Order of upper bounds: none is above all. */
const compareHigh = (a: Uint8Array | undefined, b: Uint8Array | undefined): number =>
  a === undefined ? (b === undefined ? 0 : 1) : b === undefined ? -1 : Buffer.compare(a, b)

/** Whether a range ends below where another begins. */
const endsBelow = (high: Uint8Array | undefined, low: Uint8Array): boolean =>
  high !== undefined && Buffer.compare(high, low) < 0

/** What two ranges have in common; may be improper. */
const common = (a: Bounds, b: Bounds): Bounds => ({
  low: Buffer.compare(a.low, b.low) >= 0 ? a.low : b.low,
  high: compareHigh(a.high, b.high) <= 0 ? a.high : b.high
})

/** The range of one key: none is between it and itself with a zero byte behind. */
export const only = (key: Uint8Array): Bounds => ({ low: key, high: Buffer.concat([key, Buffer.of(0)]) })

export class Ranges {
  private ranges: Array<Bounds> = []

  get list(): ReadonlyArray<Bounds> {
    return this.ranges
  }

  get isEmpty(): boolean {
    return this.ranges.length === 0
  }

  add(range: Bounds): void {
    if (!isProper(range)) return
    let { high, low } = range
    const from = this.firstNotBelow(low)
    let until = from
    for (; until < this.ranges.length; until++) {
      const other = this.ranges[until] as Bounds
      if (endsBelow(high, other.low)) break
      if (Buffer.compare(other.low, low) < 0) low = other.low
      if (compareHigh(other.high, high) > 0) high = other.high
    }
    this.ranges.splice(from, until - from, { low, high })
  }

  remove(range: Bounds): void {
    this.ranges = this.ranges.flatMap((each) => {
      const shared = common(each, range)
      if (!isProper(shared)) return [each]
      const left: Array<Bounds> = [{ low: each.low, high: shared.low }]
      if (shared.high !== undefined) left.push({ low: shared.high, high: each.high })
      return left.filter(isProper)
    })
  }

  has(key: Uint8Array): boolean {
    const range = this.ranges[this.firstNotBelow(key)]
    return range !== undefined && Buffer.compare(range.low, key) <= 0
      && (range.high === undefined || Buffer.compare(key, range.high) < 0)
  }

  /** Whether all of a range is in one of these. */
  covers(range: Bounds): boolean {
    return this.ranges.some((each) =>
      Buffer.compare(each.low, range.low) <= 0 && compareHigh(range.high, each.high) <= 0
    )
  }

  /** Whether any key of a range may be in these. */
  meets(range: Bounds): boolean {
    return this.ranges.some((each) => isProper(common(each, range)))
  }

  /** What is in these and in others. */
  and(others: Ranges): Ranges {
    const both = new Ranges()
    for (const a of this.ranges) for (const b of others.ranges) both.add(common(a, b))
    return both
  }

  /** Index of the first range that does not end below a key. */
  private firstNotBelow(key: Uint8Array): number {
    let from = 0
    let until = this.ranges.length
    while (from < until) {
      const middle = from + until >>> 1
      if (endsBelow((this.ranges[middle] as Bounds).high, key)) from = middle + 1
      else until = middle
    }
    return from
  }
}

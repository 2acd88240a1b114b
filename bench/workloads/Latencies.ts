/**
 * Latencies in a histogram of steps that grow: 32 to each doubling, so that a percentile is off by 3 % at most.
 */

export interface Percentiles {
  readonly count: number
  readonly meanMicros: number
  readonly p50Micros: number
  readonly p90Micros: number
  readonly p99Micros: number
  readonly p999Micros: number
  readonly maxMicros: number
}

const steps = 32
/** Doublings of a quarter of a microsecond: up to an hour. */
const doublings = 34
const unitMicros = 0.25

export class Latencies {
  private readonly counts = new Float64Array(steps * doublings)
  private count = 0
  private sum = 0
  private most = 0

  add(micros: number): void {
    const place = Math.floor(steps * Math.log2(Math.max(1, micros / unitMicros)))
    const at = Math.min(this.counts.length - 1, place)
    this.counts[at] = (this.counts[at] as number) + 1
    this.count++
    this.sum += micros
    if (micros > this.most) this.most = micros
  }

  /** The upper end of the step in which the part lies. */
  private at(part: number): number {
    let left = Math.ceil(this.count * part)
    for (let step = 0; step < this.counts.length; step++) {
      left -= this.counts[step] as number
      if (left <= 0) return Math.min(this.most, unitMicros * 2 ** ((step + 1) / steps))
    }
    return this.most
  }

  percentiles(): Percentiles {
    return {
      count: this.count,
      meanMicros: this.count === 0 ? 0 : this.sum / this.count,
      p50Micros: this.at(0.5),
      p90Micros: this.at(0.9),
      p99Micros: this.at(0.99),
      p999Micros: this.at(0.999),
      maxMicros: this.most
    }
  }
}

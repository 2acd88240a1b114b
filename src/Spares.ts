/**
 * What waits to serve again: memory that comes and goes with every group of the log.
 *
 * Making it anew costs more than itself: each buffer counts for V8 until it is collected, so that a load which makes
 * tens of MiB of them a second has the whole heap marked ten times a second.
 *
 * I1 What `trim` answers has waited ever since it was called last.
 */
export class Spares<A> {
  private readonly waiting: Array<A> = []
  /** The fewest that have waited since `trim`. */
  private fewest = 0

  /** The one that came last, so that those that are not needed stay at the other end. */
  take(): A | undefined {
    const spare = this.waiting.pop()
    this.fewest = Math.min(this.fewest, this.waiting.length)
    return spare
  }

  keep(spare: A): void {
    this.waiting.push(spare)
  }

  /** Takes out what was not needed since it was called last. */
  trim(): ReadonlyArray<A> {
    const idle = this.waiting.splice(0, this.fewest)
    this.fewest = this.waiting.length
    return idle
  }
}

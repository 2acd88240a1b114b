/**
 * Fibers that each do one job after the other, for work that comes by the ten thousand a second.
 *
 * A fiber for each job would cost more than a read of a page from the system's cache, and what it is made of would wait
 * with it for the disk: long enough to count as old for the collector, which then lets the heap grow.
 *
 * ```
 *   give ── a lane rests ──▶ it works ── no job left ──▶ rests
 *      └── none, and fewer than `most` ──▶ a new one works
 *      └── all work ──▶ the first that is done takes it
 * ```
 *
 * I1 A job that was given is begun, unless the store closes.
 */
import * as Effect from "effect/Effect"

export interface Options<Job> {
  /** Jobs at a time. */
  readonly most: number
  /** Does not fail. */
  readonly work: (job: Job) => Effect.Effect<void>
  readonly fork: (effect: Effect.Effect<void>) => void
}

export class Lanes<Job> {
  private readonly options: Options<Job>
  private readonly jobs: Array<Job> = []
  private readonly resting: Array<() => void> = []
  private begun = 0

  constructor(options: Options<Job>) {
    this.options = options
  }

  give(job: Job): void {
    this.jobs.push(job)
    const wake = this.resting.pop()
    if (wake !== undefined) return wake()
    if (this.begun === this.options.most) return
    this.begun++
    this.options.fork(this.lane)
  }

  private readonly lane: Effect.Effect<void> = Effect.suspend(() => {
    const job = this.jobs.shift()
    return Effect.andThen(job === undefined ? this.rest : this.options.work(job), this.lane)
  })

  private readonly rest: Effect.Effect<void> = Effect.callback<void>((resume) => {
    // A fiber may be taken off between its look for a job and here, and miss the one that was given meanwhile.
    if (this.jobs.length > 0) return resume(Effect.void)
    this.resting.push(() => resume(Effect.void))
  })
}

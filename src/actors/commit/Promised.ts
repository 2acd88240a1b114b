/**
 * Promises that end with a sync of the log: one for all who wait for the same one.
 *
 * A promise, and what waits behind it, for each of a thousand writers would cost as much as their commits.
 *
 * ```
 *   none ── asked ──▶ shared by all who ask ── a sync begins ──▶ who asks now shares the next
 *                                                        └── it has succeeded, or failed ──▶ all go on
 * ```
 *
 * I1 A promise is kept only when all is durable and visible that was asked for through it.
 */
import type { StoreError } from "../../StoreError.ts"
import type { Waiters } from "./Waiters.ts"

export interface Options {
  readonly waiters: Waiters
  /** Exclusive bound of what is durable and visible. */
  readonly reached: () => number
  /** Exclusive end of the log. */
  readonly end: () => number
}

interface Shared {
  readonly promise: Promise<void>
  /** How many have asked for it. */
  askers: number
  /** The most that was asked for. */
  bound: number
}

const kept: Promise<void> = Promise.resolve()

export class Promised {
  private readonly options: Options
  /** Of those whose promise has been kept, all but the first of each: `Waiters` does not know of them. */
  sharers = 0
  private asked: Shared | undefined

  constructor(options: Options) {
    this.options = options
  }

  /** Ends when all below `lsn` is durable. `begin` is called where nobody has asked for the next sync yet. */
  until(lsn: number, begin: () => void): Promise<void> {
    if (lsn <= this.options.reached()) return kept
    const { asked } = this
    // What nobody has written yet is nothing that the others wait for.
    if (asked !== undefined && lsn <= this.options.end()) {
      if (lsn > asked.bound) asked.bound = lsn
      asked.askers++
      return asked.promise
    }
    const shared = this.add(lsn)
    if (lsn <= this.options.end()) this.asked = shared
    begin()
    return shared.promise
  }

  /** What is asked for from now on is for the sync after the one that begins. */
  begun(): void {
    this.asked = undefined
  }

  private add(bound: number): Shared {
    const { promise, reject, resolve } = Promise.withResolvers<void>()
    const shared: Shared = { promise, askers: 1, bound }
    const { reached, waiters } = this.options
    const complete = (error: StoreError | undefined): void => {
      if (this.asked === shared) this.asked = undefined
      this.sharers += shared.askers - 1
      shared.askers = 1
      if (error !== undefined) reject(error)
      else if (shared.bound <= reached()) resolve()
      // Others asked for more, and not all of it is visible (I1).
      else waiters.add("synced", shared.bound, complete)
    }
    waiters.add("synced", bound, complete)
    return shared
  }
}

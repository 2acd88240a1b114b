/**
 * Who waits for the log to get somewhere: by durability, in the order of the log.
 *
 * I1 Waiters of one durability are completed in LSN order, each once, from one flat loop and never by each other: a
 *    chain of some 700 resumptions inside one another aborts Node.
 */
import type { Durability } from "../../Limits.ts"
import type { StoreError } from "../../StoreError.ts"

interface Waiter {
  /** Exclusive end of what must have got there. */
  readonly bound: number
  readonly complete: (error: StoreError | undefined) => void
}

export class Waiters {
  private readonly waiting: Record<Durability, Array<Waiter>> = { memory: [], buffered: [], synced: [] }

  get isEmpty(): boolean {
    const { buffered, memory, synced } = this.waiting
    return synced.length === 0 && memory.length === 0 && buffered.length === 0
  }

  add(durability: Durability, bound: number, complete: Waiter["complete"]): void {
    const waiters = this.waiting[durability]
    let at = waiters.length
    while (at > 0 && (waiters[at - 1] as Waiter).bound > bound) at--
    // Whoever waits for an older LSN came late.
    if (at < waiters.length) waiters.splice(at, 0, { bound, complete })
    else waiters.push({ bound, complete })
  }

  /** Whether somebody waits for more than `lsn`. */
  wants(durability: Durability, lsn: number): boolean {
    return (this.waiting[durability].at(-1)?.bound ?? 0) > lsn
  }

  /** Completes who waits for `lsn` or less; answers how many. */
  completeBelow(durability: Durability, lsn: number): number {
    const waiters = this.waiting[durability]
    let count = 0
    while (count < waiters.length && (waiters[count] as Waiter).bound <= lsn) count++
    if (count === 0) return 0
    this.waiting[durability] = waiters.slice(count)
    for (let index = 0; index < count; index++) (waiters[index] as Waiter).complete(undefined)
    return count
  }

  failAll(error: StoreError): void {
    for (const durability of ["memory", "buffered", "synced"] as const) {
      const waiters = this.waiting[durability]
      this.waiting[durability] = []
      for (const waiter of waiters) waiter.complete(error)
    }
  }
}

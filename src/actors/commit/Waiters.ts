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
  // Not a record of three, since a lookup by a name that varies is one that V8 cannot foresee.
  private memory: Array<Waiter> = []
  private buffered: Array<Waiter> = []
  private synced: Array<Waiter> = []

  get isEmpty(): boolean {
    return this.synced.length === 0 && this.memory.length === 0 && this.buffered.length === 0
  }

  private of(durability: Durability): Array<Waiter> {
    return durability === "synced" ? this.synced : durability === "memory" ? this.memory : this.buffered
  }

  private keep(durability: Durability, waiters: Array<Waiter>): void {
    if (durability === "synced") this.synced = waiters
    else if (durability === "memory") this.memory = waiters
    else this.buffered = waiters
  }

  add(durability: Durability, bound: number, complete: Waiter["complete"]): void {
    const waiters = this.of(durability)
    let at = waiters.length
    while (at > 0 && (waiters[at - 1] as Waiter).bound > bound) at--
    // Whoever waits for an older LSN came late.
    if (at < waiters.length) waiters.splice(at, 0, { bound, complete })
    else waiters.push({ bound, complete })
  }

  /** Whether somebody waits for more than `lsn`. */
  wants(durability: Durability, lsn: number): boolean {
    const waiters = this.of(durability)
    return waiters.length > 0 && (waiters[waiters.length - 1] as Waiter).bound > lsn
  }

  /** Completes who waits for `lsn` or less; answers how many. */
  completeBelow(durability: Durability, lsn: number): number {
    const waiters = this.of(durability)
    let count = 0
    while (count < waiters.length && (waiters[count] as Waiter).bound <= lsn) count++
    if (count === 0) return 0
    this.keep(durability, waiters.slice(count))
    for (let index = 0; index < count; index++) (waiters[index] as Waiter).complete(undefined)
    return count
  }

  failAll(error: StoreError): void {
    for (const durability of ["memory", "buffered", "synced"] as const) {
      const waiters = this.of(durability)
      this.keep(durability, [])
      for (const waiter of waiters) waiter.complete(error)
    }
  }
}

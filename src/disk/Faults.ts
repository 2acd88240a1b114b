/**
 * Which operation of a disk goes wrong, and how.
 *
 * A fault waits for the operations it names, counts them, and strikes when its turn has come. Faults know
 * nothing of files: what an outcome does to a disk is the matter of `FaultDisk`.
 */
import type { Crash } from "./Fates.ts"

/**
 * The operations of a disk that can go wrong. Allocating is two: `allocate` writes the zeros, `sync` follows.
 */
export type Operation =
  | "open"
  | "kind"
  | "list"
  | "makeDirectory"
  | "rename"
  | "unlink"
  | "syncDirectory"
  | "lock"
  | "freeBytes"
  | "read"
  | "write"
  | "sync"
  | "size"
  | "allocate"
  | "truncate"

/** What becomes of an operation. */
export type Outcome =
  /** Fails with `code`. `done`: whether the disk did it all the same. */
  | { readonly _tag: "Refused"; readonly code: string; readonly done?: "nothing" | "everything" }
  /** A write or allocation takes the first `bytes` bytes, then fails with `code`. */
  | { readonly _tag: "Short"; readonly bytes: number; readonly code: string }
  /**
   * A file's sync fails with `code`. Dropped pages are clean from then on: readers see them until
   * `dropCaches`, and no later sync writes them, though it succeeds. Kept ones stay dirty.
   */
  | { readonly _tag: "SyncFailed"; readonly code?: string; readonly pages: "dropped" | "kept" }
  /** Succeeds and is seen, but never reaches the medium; a lost sync makes nothing durable. */
  | { readonly _tag: "Lost" }
  /**
   * The bytes of a write go to, or those of a read come from, another position, and another file if one is
   * named.
   */
  | { readonly _tag: "Misdirected"; readonly position: number; readonly path?: string }
  /** A read answers with one bit of the buffer flipped; on the medium it is right. */
  | { readonly _tag: "Flipped"; readonly bit: number }
  /**
   * Never answers, but can be interrupted, so that a test may end. In the calling thread, which cannot wait
   * for ever, it fails with `ETIMEDOUT`.
   */
  | { readonly _tag: "Hung" }
  /** Answers after a while of the `Clock`. In the calling thread it answers at once. */
  | { readonly _tag: "Delayed"; readonly millis: number }
  /** The power is cut while the operation is under way. */
  | { readonly _tag: "Cut"; readonly crash: Crash }

export interface Fault {
  /** Every operation, if absent. */
  readonly operation?: Operation | ReadonlyArray<Operation>
  /** Any path, if absent. A string is the whole path. */
  readonly path?: string | RegExp
  /** Strikes at this match, counted from 1 and from now on. Default 1. */
  readonly at?: number
  /** Strikes at this many matches in a row; `Infinity`: for ever. Default 1. */
  readonly times?: number
  /** Strikes at a match with this probability, drawn from the disk's seed. Default 1. */
  readonly rate?: number
  readonly outcome: Outcome
}

export class Faults {
  private readonly waiting: Array<{ readonly fault: Fault; matches: number; strikes: number }> = []
  private readonly next: () => number

  constructor(next: () => number) {
    this.next = next
  }

  add(fault: Fault): void {
    this.waiting.push({ fault, matches: 0, strikes: 0 })
  }

  clear(): void {
    this.waiting.length = 0
  }

  /**
   * The outcome of the next operation, if a fault strikes it. All faults count it; the one added first
   * decides.
   */
  strike(operation: Operation, path: string): Outcome | undefined {
    let outcome: Outcome | undefined
    for (const entry of this.waiting) {
      const { fault } = entry
      if (!matches(fault, operation, path)) continue
      entry.matches++
      if (entry.matches < (fault.at ?? 1) || entry.strikes >= (fault.times ?? 1)) continue
      if (fault.rate !== undefined && this.next() >= fault.rate) continue
      entry.strikes++
      outcome ??= fault.outcome
    }
    return outcome
  }
}

const matches = (fault: Fault, operation: Operation, path: string): boolean => {
  if (fault.operation !== undefined && !list(fault.operation).includes(operation)) return false
  if (fault.path === undefined) return true
  return typeof fault.path === "string" ? fault.path === path : path.search(fault.path) >= 0
}

const list = (operation: Operation | ReadonlyArray<Operation>): ReadonlyArray<Operation> =>
  typeof operation === "string" ? [operation] : operation

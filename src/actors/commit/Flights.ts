/**
 * The writes of the log that are under way: one, or two beside each other.
 *
 * With one at a time half of the syncs are for next to nobody. Who waits for a large one comes back when it ends,
 * behind the few who had come before; the write of these begins at once, and all others are the one after it. And
 * between the two the disk waits for the process. So a second one begins beside the first when half as many commits
 * have come as the largest of the last three had: what would be one becomes two, which take turns.
 *
 * ```
 *   none ── begin ──▶ one ── isEnough: begin beside it ──▶ two
 *     ◀─────── land ───┘ ◀────────── land ─────────────────┘
 * ```
 *
 * I1 They land in the order of the log: of one that ends before its elder nothing is told until that has ended.
 * I2 A second one begins only where both are durable by themselves, in one segment.
 *
 * Rejected: a third, which is a little better for a thousand writers and worse for 64, and takes one more of the four
 * threads that pages are read by.
 */
import type * as Exit from "effect/Exit"
import { invariant } from "../../Invariant.ts"
import type { Segment } from "../../log/Segment.ts"
import type { StoreError } from "../../StoreError.ts"

export interface Flight {
  /** Exclusive end of what it writes. */
  readonly end: number
  /** Whether all up to there is durable once it has succeeded. */
  readonly synced: boolean
  /** The segment of one that is durable by itself, in the pool: beside it there may be another. */
  readonly alone: Segment | undefined
  exit: Exit.Exit<void, StoreError> | undefined
}

export class Flights {
  private first: Flight | undefined
  private second: Flight | undefined
  /** Commits of the last three, and all that there were when the last one began. */
  private readonly sizes: [number, number, number] = [0, 0, 0]
  private next: 0 | 1 | 2 = 0
  private commits = 0
  private enough = 0

  get isEmpty(): boolean {
    return this.first === undefined
  }

  /** Exclusive end of what is under way; 0 where nothing is. */
  get end(): number {
    return (this.second ?? this.first)?.end ?? 0
  }

  /** Whether, with `commits` in all, there are enough for one beside the first, which would be of `segment`. */
  isEnough(commits: number, segment: Segment): boolean {
    return commits - this.commits >= this.enough && this.second === undefined && this.first?.alone === segment
  }

  /** One begins, with all of `commits` that no other has. */
  begin(flight: Flight, commits: number): void {
    const { first, next, sizes } = this
    const isBeside = first !== undefined && first.alone !== undefined && first.alone === flight.alone
    invariant(first === undefined || isBeside && this.second === undefined, "Flights I2")
    if (first === undefined) this.first = flight
    else this.second = flight
    sizes[next] = commits - this.commits
    this.next = next === 2 ? 0 : next === 1 ? 2 : 1
    this.commits = commits
    this.enough = Math.max(sizes[0], sizes[1], sizes[2]) / 2
  }

  /** The oldest one, if it has ended: it is under way no more. */
  land(): Flight | undefined {
    const { first } = this
    if (first?.exit === undefined) return undefined
    this.first = this.second
    this.second = undefined
    return first
  }
}

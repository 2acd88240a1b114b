/**
 * The pages of one reader who waits for many: so many asked for at a time, and each told of as soon as it is here,
 * before anything can take it out of memory again.
 *
 * I1 Whoever has given up is told of nothing more: what it looked for may be looked for by others by now.
 */
import * as Exit from "effect/Exit"
import type { StoreError } from "../../StoreError.ts"
import type { Misses } from "../../tree/read/Misses.ts"
import type { Reply } from "../loop/Actor.ts"
import type { Loads } from "./Loads.ts"

export interface Options {
  readonly pages: Misses
  /** Told of a page, by its place, once it is in memory; a failure ends it all. */
  readonly arrived: (place: number) => Exit.Exit<void, StoreError>
  /** Pages asked for at a time. */
  readonly most: number
  readonly done: Reply<void, StoreError>
}

export class LoadMany {
  private readonly options: Options
  private next = 0
  private waiting = 0
  private ended = false
  private asking = false

  constructor(options: Options) {
    this.options = options
  }

  /** Asks for as many more as may be. */
  proceed(loads: Loads): void {
    const { most, pages } = this.options
    // A page that is here already is told of at once, from within.
    if (this.asking) return
    this.asking = true
    while (!this.ended && this.waiting < most && this.next < pages.count) {
      const place = this.next++
      this.waiting++
      loads.want(pages.pageIds[place] as number, "read", (exit) => this.came(place, exit, loads))
    }
    this.asking = false
    if (this.waiting === 0 && this.next === pages.count) this.end(Exit.void)
  }

  /** Nobody waits any longer. */
  readonly abandon = (): void => {
    this.ended = true
  }

  end(exit: Exit.Exit<void, StoreError>): void {
    if (this.ended) return
    this.ended = true
    this.options.done(exit)
  }

  private came(place: number, exit: Exit.Exit<void, StoreError>, loads: Loads): void {
    this.waiting--
    if (this.ended) return
    const answer = Exit.isFailure(exit) ? exit : this.options.arrived(place)
    if (Exit.isFailure(answer)) this.end(answer)
    else this.proceed(loads)
  }
}

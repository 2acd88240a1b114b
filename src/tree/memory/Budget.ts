/**
 * One budget for all memory of a store: what others hold of it, the pages do not get.
 *
 * Map table, slots, versions, the log's tail, images and buffers on their way, records that wait, sessions: each says
 * how much it holds, and the arena's limit is what is left. Pages give way, as they alone can come back from the disk.
 *
 * I1 The limit falls no faster than blocks are given back, and stays above the arena's reserve: merges, which free
 *    memory, always have some to work in; only those who would take more wait.
 * I2 What others held lately is given to the pages only little by little: the end of the log comes and goes with every
 *    group, and pages that made room for it each time would be merged for nothing.
 * I3 However much others hold, pages keep half of what they had at first, and a path of pages in any case: everybody
 *    else has a limit of his own, and waits at it for what only pages can do.
 *
 * I4 Now and then each is asked for what it only keeps to use again, and has not needed for long: that is the pages'.
 *
 * It must not know who they are.
 */
import type { Arena } from "./Arena.ts"

/** Who holds memory beside the pages. */
export type Holder =
  | "map"
  | "slots"
  | "versions"
  | "hints"
  | "tail"
  | "images"
  | "parked"
  | "sessions"
  | "streams"

/** So many pages work in any case. */
const pagesLeast = 64

/** Of what others held, one part of so many is given up each time: half of it in some thousand times. */
const forgetParts = 2_048

/** Looks from one time to the next; a load looks some 2,000 to 4,000 times from one sync of its log to the next. */
const trimLooks = 8_192

interface Held {
  readonly holder: Holder
  readonly bytes: () => number
  readonly trim: (() => void) | undefined
}

export class Budget {
  readonly memoryBytes: number
  /** Bytes that count as held by others. */
  counted = 0
  private readonly arena: Arena
  private readonly holders: Array<Held> = []
  private looks = 0

  constructor(arena: Arena, memoryBytes: number) {
    this.arena = arena
    this.memoryBytes = memoryBytes
  }

  /**
   * From now on what `bytes` answers is not the pages'; `trim` gives back what is only kept to be used again, and was
   * not needed since it was called last.
   */
  hold(holder: Holder, bytes: () => number, trim?: () => void): void {
    this.holders.push({ holder, bytes, trim })
  }

  /** Bytes that each holds. */
  get held(): Record<Holder, number> {
    const held: Record<Holder, number> = {
      map: 0,
      slots: 0,
      versions: 0,
      hints: 0,
      tail: 0,
      images: 0,
      parked: 0,
      sessions: 0,
      streams: 0
    }
    for (const { bytes, holder } of this.holders) held[holder] += bytes()
    return held
  }

  /** Bytes that all hold. */
  get bytes(): number {
    return Object.values(this.held).reduce((sum, bytes) => sum + bytes, this.pageBytes)
  }

  /** Bytes of pages in memory. */
  get pageBytes(): number {
    return this.arena.usedBlocks * this.arena.pageBytes
  }

  private trim(): void {
    for (const { trim } of this.holders) trim?.()
  }

  /** Says anew how many blocks the pages may have; answers how many they have too many. */
  refresh(): number {
    const { arena } = this
    if (++this.looks % trimLooks === 0) this.trim()
    let held = 0
    for (const { bytes } of this.holders) held += bytes()
    this.counted = Math.max(held, this.counted - Math.ceil(this.counted / forgetParts))
    const least = Math.min(arena.blocks, Math.max(pagesLeast, arena.blocks >>> 1))
    const left = Math.floor((this.memoryBytes - this.counted) / arena.pageBytes)
    const target = Math.min(arena.blocks, Math.max(least, left))
    arena.limit = Math.max(target, Math.min(arena.limit, arena.usedBlocks + arena.reserve))
    return arena.limit - target
  }
}

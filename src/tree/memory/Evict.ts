/**
 * Who leaves memory when room is needed, and what must be done first.
 *
 * Guests beyond their share go first, those of scans before others, the oldest first. Then the ring's head: what was
 * not used in the second-chance region leaves, what was, or was used twice on its way there, goes on at the tail
 * without what went cold in it.
 *
 * | at the head                          | untouched                | touched                                        |
 * |--------------------------------------|--------------------------|------------------------------------------------|
 * | leaf, clean                          | leaves                   | is a guest from here on; page cache: tail      |
 * | leaf, dirty                          | is written, then leaves  | the same; page cache: tail                     |
 * | mini-page, nothing dirty             | is forgotten             | tail, with what is touched                     |
 * | mini-page, most of what is dirty hot |                          | tail, with what is dirty or touched            |
 * | mini-page, else                      | is merged                | is merged, what is touched stays as copies     |
 *
 * Nothing here waits: what needs the disk is answered as a chore.
 *
 * I1 A block is given up only where `Pages.evict`, `forget` or a merge allows it.
 * I2 While there are chores, what was used since it was last passed stays: whoever waits for room is about to use it.
 */
import * as MiniPage from "../page/MiniPage.ts"
import * as Page from "../page/Page.ts"
import { Events } from "./Events.ts"
import type { Fifo } from "./Fifo.ts"
import { State, used } from "./MapTable.ts"
import type { Pages } from "./Pages.ts"

/** Page ids. */
export interface Chores {
  /** Base pages to be loaded so that their mini-pages can be merged. */
  readonly merge: Array<number>
  /** Guests to be written. */
  readonly write: Array<number>
}

export const noChores = (): Chores => ({ merge: [], write: [] })

export interface EvictCounters {
  /** Leaves and mini-pages that left memory. */
  leaves: number
  minis: number
  /** Those that got a second chance. */
  spared: number
}

/**
 * Guests keep a sixteenth of a small memory and a 64th of a large one, and a few in any case, so that whoever asked for
 * one finds it. What is used of them again is in mini-pages by then.
 */
const guestShifts = { small: 4, large: 6 }
const guestsMany = 32
const guestsLeast = 4

const guestsOf = (blocks: number): number => {
  const few = Math.min(guestsMany, blocks >>> guestShifts.small)
  return Math.max(guestsLeast, few, blocks >>> guestShifts.large)
}

export interface EvictOptions {
  readonly secondChancePercent: number
  readonly events?: Events
  /** Passing guests that are kept while there are others to go: as many as scans read ahead. */
  readonly passing?: number | undefined
}

export class Evictor {
  readonly counters: EvictCounters = { leaves: 0, minis: 0, spared: 0 }
  private readonly pages: Pages
  private readonly events: Events
  /** Whether touched pages are spared at all. */
  private readonly spares: boolean
  private readonly passing: number

  constructor(pages: Pages, options: EvictOptions) {
    this.pages = pages
    this.events = options.events ?? new Events(0)
    this.passing = Math.max(1, options.passing ?? 0)
    this.spares = options.secondChancePercent > 0
  }

  /**
   * Frees blocks until `target` can be handed out, or until no more can be freed without the chores being done. For
   * `more`, which scans read ahead with, none of the passing guests goes that they have not come to yet.
   */
  makeRoom(target: number, chores: Chores, more = 0): void {
    const { arena, guests, passing, ring } = this.pages
    this.collect(chores)
    this.send(passing, State.Passing, target + more, this.passing)
    this.send(guests, 0, target + more, guestsOf(arena.limit))
    this.turn(target + more, { frames: ring.frames, promises: "count" }, chores)
    this.send(passing, State.Passing, target, guestsLeast - guests.length)
    this.send(guests, 0, target + more, guestsLeast)
  }

  /** The same by guests alone: nothing of the ring is asked for. */
  sendGuests(target: number, chores: Chores): void {
    this.collect(chores)
    this.dismiss(target, guestsLeast)
  }

  /** The same when nothing is on its way that would free any: even what was used lately goes, but for one guest. */
  squeeze(target: number, chores: Chores): void {
    this.turn(target, { frames: 2 * this.pages.ring.frames, promises: "ignore" }, chores)
    this.dismiss(target, 1)
    this.collect(chores)
  }

  /** Finds the guests that are to be written. */
  collect(chores: Chores): void {
    const { leaving, map } = this.pages
    for (let left = leaving.length; left > 0; left--) {
      const id = leaving.shift()
      const state = map.state[id] as number
      if (!this.pages.isGuest(id) || (state & State.Dirty) === 0) continue
      // A page of the cut is written by the checkpoint; what is on its way is waited for.
      if ((state & (State.Cut | State.Imaged)) !== 0) leaving.push(id)
      else chores.write.push(id)
    }
  }

  /** The oldest guests leave, all but `kept`; of those, scans have what the others leave them. */
  dismiss(target: number, kept: number): void {
    const { guests, passing } = this.pages
    this.send(passing, State.Passing, target, kept - guests.length)
    this.send(guests, 0, target, kept)
  }

  private send(guests: Fifo, mark: number, target: number, kept: number): void {
    const { arena, map } = this.pages
    for (let left = guests.length; left > Math.max(0, kept) && arena.available < target; left--) {
      const id = guests.shift()
      if (this.pages.kept.has(id)) guests.push(id)
      else if (this.pages.isGuest(id) && ((map.state[id] as number) & State.Passing) === mark) this.leave(id)
    }
  }

  /** Passes frames at the head of the ring until enough blocks are free, or promised by what has been asked for. */
  private turn(
    target: number,
    options: { readonly frames: number; readonly promises: "count" | "ignore" },
    chores: Chores
  ): void {
    const { arena, guests, leaving, ring } = this.pages
    const wanted = target + arena.reserve
    // What is moved to the tail may need a block before it frees one.
    arena.withReserve(() => {
      for (let left = options.frames; left > 0; left--) {
        const dismissed = Math.max(0, guests.length - guestsLeast)
        const promised = options.promises === "count" ? ring.evacuating + leaving.length + dismissed : 0
        if (arena.available + promised >= wanted) break
        this.pages.advanceRegion()
        const frame = ring.pop()
        if (frame < 0) break
        if (ring.isMinis(frame)) this.passMinis(frame, chores)
        else this.passLeaf(frame)
      }
    })
    this.collect(chores)
  }

  private leave(id: number): boolean {
    const { arena, map } = this.pages
    const address = map.block[id] as number
    const left = this.pages.evict(id)
    if (!left) return false
    this.counters.leaves++
    // A block keeps its bytes until it is given to somebody else.
    if (this.events.heard) this.tell("leaf", arena.wordsOf(address), address & arena.mask)
    return true
  }

  private tell(what: "leaf" | "miniPage", words: Int32Array, p: number): void {
    const treeId = Page.treeId(words, p)
    this.events.tell({
      _tag: "Evicted",
      treeId,
      page: Page.pageId(words, p),
      what,
      records: Page.count(words, p)
    })
  }

  private passLeaf(frame: number): void {
    const { arena, map, mode, ring } = this.pages
    const id = Page.pageId(arena.wordsOf(frame), frame & arena.mask)
    const state = map.state[id] as number
    const isUsed = this.spares && (state & used) !== 0
    map.state[id] = state & ~used
    if (this.pages.kept.has(id) || isUsed && mode === "pages") {
      ring.addPage(frame)
      this.counters.spared++
    } else if (isUsed && (state & State.Dirty) === 0) {
      // Not all of it is in use: while it is a guest, what is read of it may stay as a record.
      this.pages.rest(id)
      this.pages.guests.push(id)
    } else if (!this.leave(id)) {
      this.pages.demote(id)
    }
  }

  private passMinis(frame: number, chores: Chores): void {
    const { arena, ring } = this.pages
    const words = arena.wordsOf(frame)
    let at = ring.nextLive(frame, frame)
    while (at >= 0) {
      // Releasing the last block of the frame gives the frame away: what follows is looked up before.
      const next = ring.nextLive(frame, at + ring.wordsOf(at))
      this.passMini(Page.pageId(words, at & arena.mask), words, at & arena.mask, chores)
      at = next
    }
  }

  private passMini(id: number, words: Int32Array, p: number, chores: Chores): void {
    const { pages } = this
    const dirty = MiniPage.wantedWords(words, p, "dirty")
    // What was used twice, but not lately, stays where that costs nobody a merge.
    const touched = this.spares ? MiniPage.wantedWords(words, p, dirty === 0 ? "used" : "touched") : 0
    const cold = touched === 0 || dirty === 0
      ? dirty
      : MiniPage.wantedWords(words, p, "dirty or touched") - touched
    const spared = touched > 0 && cold * 2 <= dirty
    if (spared && pages.move(id, dirty === 0 ? "used" : "dirty or touched", 0)) {
      const address = pages.map.mini[id] as number
      MiniPage.untouch(pages.arena.wordsOf(address), address & pages.arena.mask, MiniPage.used)
      this.counters.spared++
    } else if (dirty === 0) {
      if (this.events.heard) this.tell("miniPage", words, p)
      pages.forget(id)
      this.counters.minis++
    } else {
      chores.merge.push(id)
    }
  }
}

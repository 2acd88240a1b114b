/**
 * The buffer's owner: brings missing pages into memory and makes room for them.
 *
 * A page that several ask for is read once (`Loads.ts`). What comes from the disk is verified against the checksum
 * that the map table holds before anything sees it. Room is made ahead of need (`Room.ts`): mini-pages are merged and
 * changed pages written before anybody waits for their memory, and whoever outruns that waits here.
 *
 * I1 Whoever waits for room is told so when there can be none: every page is in use, or none of the changed ones
 *    could be written in several attempts.
 * I2 The page that room is needed beside does not leave memory to make it: its writer would bring it back, find as
 *    little room as before, and ask again for ever.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { DiskFile } from "../disk/Disk.ts"
import type { Limits } from "../Limits.ts"
import type { StoreError } from "../StoreError.ts"
import { LimitExceeded, storeError } from "../StoreError.ts"
import type { SealedImage } from "../tree/file/PageFile.ts"
import type { Budget } from "../tree/memory/Budget.ts"
import type { Epoch } from "../tree/memory/Epoch.ts"
import type { Purpose } from "../tree/memory/Events.ts"
import type { EvictCounters } from "../tree/memory/Evict.ts"
import type { Place } from "../tree/memory/MapChunk.ts"
import type { Pages } from "../tree/memory/Pages.ts"
import type { Misses } from "../tree/read/Misses.ts"
import type { Root, Tree } from "../tree/Tree.ts"
import { LoadMany } from "./buffer/LoadMany.ts"
import type { LoadCounters, Loaded } from "./buffer/Loads.ts"
import { Loads } from "./buffer/Loads.ts"
import type { Merge, Written } from "./buffer/Room.ts"
import { Room } from "./buffer/Room.ts"
import * as Actor from "./loop/Actor.ts"

export type Message =
  | {
    readonly _tag: "Load"
    readonly pageId: number
    readonly purpose: Purpose
    readonly done: Actor.Reply<void, StoreError>
  }
  | {
    readonly _tag: "LoadMany"
    readonly many: LoadMany
    readonly done: Actor.Reply<void, StoreError>
  }
  | {
    readonly _tag: "Reserve"
    readonly blocks: number
    readonly beside: number
    readonly done: Actor.Reply<void, StoreError>
  }
  | Loaded
  | Merge
  | Written
  /** There may be room, or there should soon be more of it. */
  | { readonly _tag: "Relieved" }

export interface Options {
  readonly tree: Tree
  /** Says how much of the memory is the pages'. */
  readonly budget: Budget
  readonly file: DiskFile
  readonly limits: Limits
  /** See `Room.ts`. */
  readonly mergesMax?: number | undefined
  /** Of the slots: pinned while one is read beside everything else. */
  readonly epoch: Epoch<number>
  /** The root of a tree; undefined where nobody can read it any more. */
  readonly rootOf: (treeId: number) => Root | undefined
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Hands images to Flush; absent where nothing may be written, and changed pages stay. */
  readonly write:
    | ((images: ReadonlyArray<SealedImage>) => Effect.Effect<ReadonlyArray<Place>, StoreError>)
    | undefined
  /** Told of each damaged page that is read. */
  readonly damaged: (error: StoreError) => void
  readonly failed: (cause: unknown) => void
}

/** Reads of pages that scans will come to. */
export interface ReadAhead {
  /**
   * Begins with the first `count` pages, as far as that takes nothing from others; answers how many it took on. Nobody
   * hears of it when one fails.
   */
  readonly begin: (pageIds: Int32Array, count: number) => number
  /** Pages that are read ahead at a time, of all scans, and those that are now. */
  readonly most: number
  readonly underWay: () => number
}

export interface Buffer extends Actor.Actor<Message> {
  readonly load: (pageId: number, purpose?: Purpose) => Effect.Effect<void, StoreError>
  /** Loads pages that one reader waits for, and tells of each, in memory, by its place among them. */
  readonly loadMany: (
    pages: Misses,
    arrived: (place: number) => Exit.Exit<void, StoreError>
  ) => Effect.Effect<void, StoreError>
  /** Merges the mini-pages of some leaves; answers when each is merged, or its base page could not be read. */
  readonly merge: (pageIds: ReadonlySet<number>) => Effect.Effect<void, StoreError>
  /** Makes room for so many pages, beside a page that is needed with them (I2). */
  readonly reserve: (blocks: number, beside?: number) => Effect.Effect<void, StoreError>
  /**
   * Brings a page in at once, in the calling thread; false where there is no room without waiting. Throws `StoreError`.
   */
  readonly loadNow: (pageId: number, purpose?: Purpose) => boolean
  readonly readAhead: ReadAhead
  /** The image of a page that is not in memory, as its slot has it; read in the calling thread. */
  readonly imageNow: (pageId: number) => Uint8Array
  /** Tells that pages have become clean by another hand: what is ripe is merged, too. */
  readonly relieved: () => void
  /** Tells that pages have changed: room is made before it is needed. */
  readonly ahead: () => void
  readonly counters: {
    readonly loads: Readonly<LoadCounters>
    readonly room: { readonly evictionWrites: number; readonly merges: number }
    readonly evicted: Readonly<EvictCounters>
  }
}

export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<Buffer, never, Scope.Scope> {
    const live = new Live(options)
    const actor = yield* Actor.make<Message>({
      name: "buffer",
      capacity: options.limits.mailbox,
      lanes: options.limits.loadsInFlight + 2,
      receive: (message) => live.receive(message),
      settle: () => live.settle(),
      parked: () => live.parked(),
      refuse: (message, error) => {
        if ("done" in message) message.done(Exit.fail(error))
      },
      halt: (error) => live.halt(error),
      failed: options.failed
    })
    live.open(actor.answer)
    return {
      ...actor,
      load: (pageId, purpose = "read") =>
        Actor.ask(actor, (done): Message => ({ _tag: "Load", pageId, purpose, done })),
      loadMany: (pages, arrived) =>
        Effect.suspend(() => {
          let many: LoadMany | undefined
          const asked = Actor.ask<Message, void, StoreError>(actor, (done) => {
            many = new LoadMany({ pages, arrived, most: options.limits.loadsInFlight, done })
            return { _tag: "LoadMany", many, done }
          })
          return Effect.onInterrupt(asked, () => Effect.sync(() => many?.abandon()))
        }),
      merge: (pageIds) =>
        Actor.ask(actor, (done): Message => ({ _tag: "Merge", pageIds: new Set(pageIds), done })),
      reserve: (blocks, beside = 0) =>
        Actor.ask(actor, (done): Message => ({ _tag: "Reserve", blocks, beside, done })),
      loadNow: (pageId, purpose = "read") => live.loadNow(pageId, purpose),
      readAhead: {
        begin: (pageIds, count) => {
          const taken = live.readAhead(pageIds, count)
          // At once, where the actor is idle: by the next turn of its loop the scan may have come to them.
          if (live.loads.unasked > 0 && !actor.inline({ _tag: "Relieved" })) live.wake()
          return taken
        },
        most: live.aheadMost,
        underWay: () => live.loads.unasked
      },
      imageNow: (pageId) => live.loads.imageNow(pageId),
      relieved: () => live.relieved(),
      ahead: () => live.ahead(),
      counters: {
        loads: live.loads.counters,
        room: live.room.counters,
        evicted: live.room.evictor.counters
      }
    }
  }
)

/** Mini-pages that wait to be merged before the buffer is woken for them. */
const ripeMany = 16

/** Blocks that are freed at a time because others need the memory. */
const owedMost = 256

/** Pages that are written together in any memory: what is written one by one is merged again before it is gone. */
const batchLeast = 16

/** Records that are applied before what others hold of the memory is looked at again. */
const refreshRecords = 16

class Live {
  readonly loads: Loads
  readonly room: Room
  readonly aheadMost: number
  private readonly pages: Pages
  private readonly limits: Limits
  /** Blocks that are kept free. */
  private readonly low: number
  private readonly reserves: Array<Message & { readonly _tag: "Reserve" }> = []
  private answer: (message: Message) => void = () => {}
  private woken = false
  private readonly budget: Budget
  private applied = 0
  /** Blocks that others need the memory of. */
  private owed = 0

  constructor(options: Options) {
    const { budget, damaged, epoch, file, fork, limits, tree } = options
    this.pages = tree.pages
    this.limits = limits
    this.budget = budget
    const { arena } = this.pages
    // One merge finds room for its base page and for a split through all levels: merging never comes to a stop.
    arena.reserve = Math.min(arena.blocks >>> 1, 2 * limits.mergeWorkspaces + 6)
    this.low = Math.max(1, arena.blocks >>> 7)
    const { loadsInFlight, pageBytes, secondChancePercent, stagingBytes } = limits
    // Half of the reads are always somebody's who waits, and of the memory a scan takes a small part.
    const aheadMost = this.aheadMost = Math.min(loadsInFlight >>> 1, Math.max(1, arena.blocks >>> 6))
    const { events } = tree
    this.loads = new Loads({ pages: this.pages, file, limits, epoch, events, fork, aheadMost, damaged })
    const { mergesMax, rootOf, write } = options
    const batchPages = Math.max(batchLeast, Math.floor(stagingBytes / pageBytes / 2))
    const relieved = () => this.wake()
    this.room = new Room(
      {
        tree,
        loadsInFlight,
        batchPages,
        mergesMax,
        secondChancePercent,
        passing: aheadMost,
        rootOf,
        fork,
        write,
        relieved
      },
      this.loads
    )
  }

  open(answer: (message: Message) => void): void {
    this.answer = answer
    this.loads.answer = answer
    this.room.answer = answer
  }

  parked(): number {
    return this.loads.waiting + this.reserves.length + this.room.waiting
  }

  receive(message: Message): void {
    switch (message._tag) {
      case "LoadMany":
        return message.many.proceed(this.loads)
      case "Load":
        return this.loads.want(message.pageId, message.purpose, message.done)
      case "Reserve":
        return void this.reserves.push(message)
      case "Merge":
        return this.room.ask(message)
      case "Loaded":
        return this.loads.loaded(message)
      case "Written":
        return this.room.written(message)
      case "Relieved":
        this.woken = false
        return
    }
  }

  relieved(): void {
    if (this.reserves.length + this.loads.homeless + this.pages.ripe.length > 0) this.wake()
  }

  ahead(): void {
    if (++this.applied % refreshRecords === 0 && this.budget.refresh() > this.low >>> 2) {
      return this.wake()
    }
    if (this.pages.arena.available < this.low || this.pages.ripe.length >= ripeMany) this.wake()
  }

  /** One message stands for any number of reasons. */
  wake(): void {
    if (this.woken) return
    this.woken = true
    this.answer({ _tag: "Relieved" })
  }

  settle(): void {
    this.owed = Math.min(this.budget.refresh(), owedMost)
    for (const { beside } of this.reserves) if (beside !== 0) this.pages.kept.add(beside)
    // Whoever is told that its page is here may go on, and name others, before this has ended.
    const { named } = this.loads
    this.room.make(this.low + this.wanted() + this.owed, this.loads.unasked)
    this.serve()
    while (this.wanted() > 0 && !this.isHopeful()) {
      const before = this.wanted()
      this.room.squeeze(before)
      this.serve()
      if (this.wanted() === before && !this.isHopeful()) this.refuse()
    }
    // What was tried often enough is not waited for any longer; who comes later waits for the attempts after it.
    const failure = this.room.takeFailure()
    if (failure !== undefined) this.giveUp(failure)
    this.loads.drop(named)
  }

  /** Whether something is under way that may free blocks. */
  private isHopeful(): boolean {
    return this.room.hopeful || this.loads.underWay > 0 || this.pages.leaving.length > 0
  }

  /** Blocks that somebody waits for. */
  private wanted(): number {
    return this.reserves.reduce((sum, { blocks }) => sum + blocks, this.loads.homeless)
  }

  private serve(): void {
    this.load()
    // What was loaded may have been merged, and is to be written; what is to be merged next is to be loaded.
    this.room.proceed()
    this.load()
    const { arena, kept } = this.pages
    while (this.reserves.length > 0 && (this.reserves[0]?.blocks ?? 0) <= arena.available) {
      const served = this.reserves.shift()
      if (served === undefined) return
      kept.delete(served.beside)
      served.done(Exit.void)
    }
  }

  private load(): void {
    const { arena } = this.pages
    this.loads.spare = arena.available - this.low - this.wanted() - this.room.needed - this.owed
    this.loads.proceed()
  }

  /** There is no more room: writers are refused first, as the pages that they need may make room for readers. */
  private refuse(): void {
    const { memoryBytes, pageBytes } = this.limits
    const actual = memoryBytes + pageBytes
    const error = storeError(new LimitExceeded({ limit: "memoryBytes", actual, maximum: memoryBytes }))
    if (this.reserves.length > 0) this.refuseReserves(error)
    else this.loads.giveUp(error)
  }

  private refuseReserves(error: StoreError): void {
    for (const { beside, done } of this.reserves.splice(0)) {
      this.pages.kept.delete(beside)
      done(Exit.fail(error))
    }
  }

  /** Nothing will make room (I1). */
  private giveUp(error: StoreError): void {
    this.loads.giveUp(error)
    this.refuseReserves(error)
  }

  halt(error: StoreError): void {
    // Or it took the reads that fail now for pages that cannot be read.
    this.room.halt(error)
    this.loads.halt(error)
    this.refuseReserves(error)
  }

  readAhead(pageIds: Int32Array, count: number): number {
    for (let index = 0; index < count; index++) {
      if (!this.loads.ahead(pageIds[index] as number)) return index
    }
    return count
  }

  loadNow(pageId: number, purpose: Purpose): boolean {
    if ((this.pages.map.block[pageId] as number) >= 0) return this.loads.here(pageId)
    if (this.pages.arena.available === 0) {
      this.room.make(1)
      this.wake()
    }
    return this.loads.now(pageId, purpose)
  }
}

/**
 * The buffer's owner: brings missing pages into memory and makes room for them.
 *
 * A page that several ask for is read once. What comes from the disk is verified against the checksum that the map
 * table holds before anything sees it. Room is made ahead of need: clean pages that nobody touched since the hand
 * last passed are dropped, changed ones are handed to Flush and dropped when they are written.
 *
 * ```
 *   Absent ── Load ──▶ Loading ── read, verified, still wanted ──▶ Present ── not touched, clean ──▶ Absent
 *                         └────── failed ──▶ every waiter fails, the page stays Absent
 * ```
 *
 * I1 A loaded image is installed only if the page's generation is the one that was asked for.
 * I2 A page is dropped from memory only while its slot holds the same bytes.
 * I3 At most `loadsInFlight` reads are under way; others wait in order.
 * I4 A slot is not written anew while it is read.
 * I5 Whoever waits for room is told so when there can be none: every page is in use, or none of the changed ones
 *    could be written in several attempts.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { DiskFile } from "../disk/Disk.ts"
import type { Limits } from "../Limits.ts"
import { Corrupted, LimitExceeded, StoreError, storeError } from "../StoreError.ts"
import type { Epoch } from "../tree/Epoch.ts"
import type { Place } from "../tree/MapChunk.ts"
import { State } from "../tree/MapTable.ts"
import { seal, verify } from "../tree/PageCheck.ts"
import type { SealedImage as Image } from "../tree/PageFile.ts"
import type { Image as PageImage, Pages } from "../tree/Pages.ts"
import * as Actor from "./Actor.ts"
import { pinned } from "./Pinned.ts"

export type Message =
  | { readonly _tag: "Load"; readonly pageId: number; readonly done: Actor.Reply<void, StoreError> }
  | { readonly _tag: "Reserve"; readonly blocks: number; readonly done: Actor.Reply<void, StoreError> }
  | {
    readonly _tag: "Loaded"
    readonly pageId: number
    readonly generation: number
    readonly exit: Exit.Exit<Uint8Array, StoreError>
  }
  | {
    readonly _tag: "Written"
    readonly images: ReadonlyArray<PageImage>
    readonly exit: Exit.Exit<ReadonlyArray<Place>, StoreError>
  }
  /** There may be room: pages have become clean elsewhere, or what failed to be written may be tried again. */
  | { readonly _tag: "Relieved" }

export interface Options {
  readonly pages: Pages
  readonly file: DiskFile
  /** Of the slots: pinned while one is read beside everything else. */
  readonly epoch: Epoch<number>
  readonly limits: Limits
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Hands images to Flush; absent where nothing may be written, and changed pages stay. */
  readonly write:
    | ((images: ReadonlyArray<Image>) => Effect.Effect<ReadonlyArray<Place>, StoreError>)
    | undefined
  readonly failed: (cause: unknown) => void
}

export interface Counters {
  loads: number
  loadBytes: number
  evictions: number
  evictionWrites: number
}

export interface Buffer extends Actor.Actor<Message> {
  readonly load: (pageId: number) => Effect.Effect<void, StoreError>
  readonly reserve: (blocks: number) => Effect.Effect<void, StoreError>
  /**
   * Brings a page in at once, in the calling thread; false where there is no room without waiting. Throws `StoreError`.
   */
  readonly loadNow: (pageId: number) => boolean
  /** The image of a page that is not in memory, as its slot has it; read in the calling thread. */
  readonly imageNow: (pageId: number) => Uint8Array
  /** Tells that pages have become clean by another hand. */
  readonly relieved: () => void
  readonly counters: Counters
}

/** How often changed pages are handed to Flush, which itself tries several slots, before whoever waits is refused. */
const attemptsMax = 4

/** The wait after a failed attempt; doubled after each. */
const retryMillis = 50

/** Dirty pages handed to Flush at a time. */
const writeBatchPages = 256

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
        if (message._tag === "Load" || message._tag === "Reserve") message.done(Exit.fail(error))
      },
      halt: (error) => live.halt(error),
      failed: options.failed
    })
    live.answer = actor.answer
    return {
      ...actor,
      load: (pageId) => Actor.ask(actor, (done): Message => ({ _tag: "Load", pageId, done })),
      reserve: (blocks) => Actor.ask(actor, (done): Message => ({ _tag: "Reserve", blocks, done })),
      loadNow: (pageId) => live.loadNow(pageId),
      imageNow: (pageId) => live.imageNow(pageId),
      relieved: () => live.relieved(),
      counters: live.counters
    }
  }
)

class Live {
  readonly counters: Counters = { loads: 0, loadBytes: 0, evictions: 0, evictionWrites: 0 }
  answer: (message: Message) => void = () => {}
  private readonly options: Options
  /** Who waits for a page, by page id. A page with waiters is being read, or its read waits its turn. */
  private readonly waiters = new Map<number, Array<Actor.Reply<void, StoreError>>>()
  private readonly queued: Array<number> = []
  private reading = 0
  /** Images that were read and wait for a block. */
  private readonly arrived: Array<Message & { readonly _tag: "Loaded" }> = []
  private readonly reserves: Array<Message & { readonly _tag: "Reserve" }> = []
  private hand = 1
  /** Changed pages are on their way to the disk, or wait to be tried again. */
  private writing = false
  private attempts = 0
  private relieving = false

  constructor(options: Options) {
    this.options = options
  }

  parked(): number {
    return this.waiters.size + this.reserves.length
  }

  receive(message: Message): void {
    switch (message._tag) {
      case "Load":
        return this.load(message.pageId, message.done)
      case "Reserve":
        return void this.reserves.push(message)
      case "Loaded":
        this.reading--
        return void this.arrived.push(message)
      case "Written":
        return this.written(message)
      case "Relieved":
        this.relieving = false
        return
    }
  }

  /** One message stands for any number of pages; without anybody who waits none is needed. */
  relieved(): void {
    if (this.relieving || this.reserves.length + this.arrived.length === 0) return
    this.relieving = true
    this.answer({ _tag: "Relieved" })
  }

  settle(): void {
    const { arena } = this.options.pages
    const low = Math.max(4, arena.blocks >>> 5)
    const wanted = this.reserves.reduce((sum, { blocks }) => sum + blocks, this.arrived.length)
    const hope = arena.freeBlocks >= low + wanted || this.evict(low + wanted) || this.writing
    while (
      this.arrived.length > 0 && this.install(this.arrived[0] as Message & { readonly _tag: "Loaded" })
    ) {
      this.arrived.shift()
    }
    while (this.reserves.length > 0 && (this.reserves[0]?.blocks ?? 0) <= arena.freeBlocks) {
      this.reserves.shift()?.done(Exit.void)
    }
    if (!hope) {
      const { blocks } = arena
      this.giveUp(
        storeError(new LimitExceeded({ limit: "memoryBytes", actual: blocks + 1, maximum: blocks }))
      )
    }
    this.startReads()
  }

  /** Nothing will make room (I5). */
  private giveUp(error: StoreError): void {
    for (const { pageId } of this.arrived.splice(0)) this.finish(pageId, Exit.fail(error))
    for (const { done } of this.reserves.splice(0)) done(Exit.fail(error))
  }

  halt(error: StoreError): void {
    const waiters = [...this.waiters.values()].flat()
    this.waiters.clear()
    for (const done of waiters) done(Exit.fail(error))
    for (const { done } of this.reserves.splice(0)) done(Exit.fail(error))
  }

  loadNow(pageId: number): boolean {
    const { limits, pages } = this.options
    const { map } = pages
    if ((map.block[pageId] as number) >= 0) return true
    if (pages.arena.freeBlocks === 0) this.evict(1)
    if (pages.arena.freeBlocks === 0) return false
    const generation = map.generation[pageId] as number
    const installed = this.place(pageId, generation, this.imageNow(pageId))
    this.counters.loads++
    this.counters.loadBytes += limits.pageBytes
    if (installed instanceof StoreError) throw installed
    return installed === "installed"
  }

  imageNow(pageId: number): Uint8Array {
    const { file, limits, pages } = this.options
    const bytes = new Uint8Array(limits.pageBytes)
    const read = file.readSync(bytes, (pages.map.slot[pageId] as number) * limits.pageBytes)
    return bytes.subarray(0, read)
  }

  private load(pageId: number, done: Actor.Reply<void, StoreError>): void {
    if (!this.isMissing(pageId)) return done(Exit.void)
    const waiters = this.waiters.get(pageId)
    if (waiters !== undefined) return void waiters.push(done)
    this.waiters.set(pageId, [done])
    this.queued.push(pageId)
  }

  /** False where the page was loaded by another hand since it was asked for, or merged away: its reader asks again. */
  private isMissing(pageId: number): boolean {
    const { map } = this.options.pages
    return map.isUsed(pageId) && (map.block[pageId] as number) < 0
  }

  private startReads(): void {
    const { epoch, file, fork, limits, pages } = this.options
    while (this.reading < limits.loadsInFlight && this.queued.length > 0) {
      const pageId = this.queued.shift() as number
      if (!this.isMissing(pageId)) {
        this.finish(pageId, Exit.void)
        continue
      }
      const generation = pages.map.generation[pageId] as number
      const bytes = new Uint8Array(limits.pageBytes)
      this.reading++
      this.counters.loads++
      this.counters.loadBytes += bytes.length
      // The page may be moved meanwhile; its older slot keeps the image until this has ended.
      const read = pinned(epoch, () =>
        Effect.map(
          file.read(bytes, (pages.map.slot[pageId] as number) * limits.pageBytes),
          (length) => bytes.subarray(0, length)
        ))
      fork(Effect.map(Effect.exit(read), (exit) => this.answer({ _tag: "Loaded", pageId, generation, exit })))
    }
  }

  /** Installs an image that was read; false where there is no block for it yet. */
  private install(loaded: Message & { readonly _tag: "Loaded" }): boolean {
    const { exit, generation, pageId } = loaded
    const { map } = this.options.pages
    // The page moved on while it was read: whoever waits asks again (I1).
    if (map.generation[pageId] !== generation) return this.finish(pageId, Exit.void)
    if (Exit.isFailure(exit)) return this.finish(pageId, exit)
    const installed = this.place(pageId, generation, exit.value)
    if (installed === "full") return false
    return this.finish(pageId, installed instanceof StoreError ? Exit.fail(installed) : Exit.void)
  }

  private place(
    pageId: number,
    generation: number,
    bytes: Uint8Array
  ): "installed" | "stale" | "full" | StoreError {
    const { file, limits, pages } = this.options
    const { map } = pages
    const checked = verify(bytes, {
      pageId,
      checksum: map.checksum[pageId] as number,
      pageBytes: limits.pageBytes
    })
    if (checked._tag === "Sound") return pages.install(pageId, generation, bytes)
    const offset = (map.slot[pageId] as number) * limits.pageBytes
    const { actual, expected } = checked
    return storeError(new Corrupted({ path: file.path, offset, expected, actual }))
  }

  private finish(pageId: number, exit: Exit.Exit<void, StoreError>): true {
    const waiters = this.waiters.get(pageId) ?? []
    this.waiters.delete(pageId)
    for (const done of waiters) done(exit)
    return true
  }

  /**
   * Second chance over page ids: a touched page loses its mark, an untouched clean one its place, an untouched
   * changed one is written first. Two rounds, because the first may find marks only. Answers whether there is more to
   * hope for: images that are on their way.
   */
  private evict(target: number): boolean {
    const { pages, write } = this.options
    const { arena, map } = pages
    const dirty: Array<number> = []
    let imaged = false
    for (let steps = 2 * map.bound; steps > 0 && arena.freeBlocks < target; steps--) {
      const pageId = this.hand
      this.hand = this.hand + 1 < map.bound ? this.hand + 1 : 1
      const state = map.state[pageId] as number
      if ((state & (State.Free | State.Inner)) !== 0 || (map.block[pageId] as number) < 0) continue
      if ((state & State.Referenced) !== 0) {
        map.state[pageId] = state & ~State.Referenced
      } else if ((state & State.Dirty) === 0) {
        if (pages.evict(pageId)) this.counters.evictions++
      } else if ((state & (State.Imaged | State.Cut)) !== 0) {
        imaged = true
      } else if (dirty.length < writeBatchPages) {
        dirty.push(pageId)
      }
    }
    if (write === undefined) return false
    if (dirty.length > 0 && !this.writing) this.write(dirty, write)
    return imaged || dirty.length > 0
  }

  private write(pageIds: ReadonlyArray<number>, write: NonNullable<Options["write"]>): void {
    const { fork, pages } = this.options
    this.writing = true
    this.counters.evictionWrites += pageIds.length
    const images = pageIds.map((pageId) => pages.image(pageId))
    const written = write(images.map(({ bytes, version }) => ({ bytes, version, checksum: seal(bytes) })))
    fork(Effect.map(Effect.exit(written), (exit) => this.answer({ _tag: "Written", images, exit })))
  }

  /** Pages that were not touched while they were written are clean now, and the next round drops them. */
  private written({ exit, images }: Message & { readonly _tag: "Written" }): void {
    const { fork, pages } = this.options
    if (Exit.isFailure(exit)) {
      for (const image of images) pages.imageLost(image)
      const error = Exit.findErrorOption(exit)
      if (++this.attempts >= attemptsMax && error._tag === "Some") this.giveUp(error.value)
      return fork(
        Effect.map(Effect.sleep(retryMillis * 2 ** Math.min(this.attempts - 1, attemptsMax)), () => {
          this.writing = false
          this.relieved()
        })
      )
    }
    this.writing = false
    this.attempts = 0
    images.forEach((image, index) => pages.imaged(image, exit.value[index] as Place))
  }
}

/**
 * Images again every page whose newest image a failed sync left in doubt: it is loaded (which verifies it) and counts
 * as changed, so that the next checkpoint writes it elsewhere.
 */
export const rescue = (
  buffer: Buffer,
  pages: Pages,
  suspects: Set<number>
): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    if (suspects.size === 0) return Effect.void
    const { map } = pages
    const ids: Array<number> = []
    for (let id = 1; id < map.bound; id++) {
      if (suspects.has(map.slot[id] as number) || suspects.has(map.cutSlot[id] as number)) ids.push(id)
    }
    const again = Effect.forEach(ids, (id) =>
      Effect.map(buffer.load(id), () => {
        if (map.isUsed(id) && (map.block[id] as number) >= 0) pages.touch(id)
      }), { discard: true })
    return Effect.andThen(again, Effect.sync(() => suspects.clear()))
  })

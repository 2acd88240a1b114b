/**
 * Reads of pages, for the buffer: each page once, however many wait for it, and so many at a time.
 *
 * ```
 *   wanted ── a read is free ──▶ reading ── Loaded ──▶ arrived ── a block is free ──▶ in memory: whoever waits goes on
 *                                    └── failed: everybody who waits hears why
 * ```
 *
 * I1 A loaded image is installed only if the page's generation is the one that was asked for.
 * I2 A slot is not written anew while it is read.
 * I3 At most `loadsInFlight` images are being read, and as many wait for a block; others wait in order.
 * I4 What is read ahead of a scan takes only what nobody else asks for: a place among the reads, and a block that is
 *    spare when it is begun and when it has arrived. Otherwise it is dropped, and so is its error.
 * I5 An image is installed only where the pages above it, in memory, lead to it (`Lineage.ts`). Who came down to it has
 *    brought those in; for who asked by its id they are loaded first, and then it is read again.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { DiskFile } from "../../disk/Disk.ts"
import type { Limits } from "../../Limits.ts"
import { Corrupted, StoreError, storeError } from "../../StoreError.ts"
import type { Epoch } from "../../tree/memory/Epoch.ts"
import type { Events, Purpose } from "../../tree/memory/Events.ts"
import { Fifo } from "../../tree/memory/Fifo.ts"
import { inPlace } from "../../tree/memory/Lineage.ts"
import { State } from "../../tree/memory/MapTable.ts"
import type { Pages } from "../../tree/memory/Pages.ts"
import * as Page from "../../tree/page/Page.ts"
import { verify } from "../../tree/page/PageCheck.ts"
import type { Reply } from "../loop/Actor.ts"
import { Lanes } from "../loop/Lanes.ts"

/** Reads of pages; `loads` are those of all purposes together. */
export interface LoadCounters {
  loads: number
  loadBytes: number
  readonly by: Record<Purpose, number>
}

/** What nobody has asked for yet comes last. */
const urgency = { ahead: 0, read: 1, scan: 1, write: 1, rescue: 1, upkeep: 1, merge: 2 }

export interface Loaded {
  readonly _tag: "Loaded"
  readonly pageId: number
  readonly generation: number
  /** One of the pages' buffers, and how much of it was read. */
  readonly bytes: Uint8Array
  readonly exit: Exit.Exit<number, StoreError>
}

export interface Options {
  readonly pages: Pages
  readonly file: DiskFile
  readonly limits: Limits
  /** Of the slots: pinned while one is read beside everything else. */
  readonly epoch: Epoch<number>
  readonly events: Events
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Pages that are read ahead at a time. */
  readonly aheadMost: number
  /** Told of each image that is not what the map table says. */
  readonly damaged: (error: StoreError) => void
}

/** A merge gives back more memory than it takes: it goes first, and may use the reserve. */
interface Wanted {
  purpose: Purpose
  readonly waiters: Array<Reply<void, StoreError>>
}

/** A read that is to be done. */
type Read = Omit<Loaded, "_tag" | "exit">

export class Loads {
  readonly counters: LoadCounters = {
    loads: 0,
    loadBytes: 0,
    by: { read: 0, scan: 0, ahead: 0, write: 0, merge: 0, rescue: 0, upkeep: 0 }
  }
  answer: (message: Loaded) => void = () => {}
  private readonly options: Options
  /** Who waits for a page, by page id. */
  private readonly wanted = new Map<number, Wanted>()
  private readonly queues = { ahead: new Fifo(), read: new Fifo(), merge: new Fifo() }
  private readonly reading = new Set<number>()
  private readonly lanes: Lanes<Read>
  /** Pages of purpose `ahead`: all of them, and those that are being read. */
  unasked = 0
  private unaskedReads = 0
  /** Blocks that they may take. */
  spare = 0
  /** How many there have been. */
  named = 0
  private arrived: Array<Loaded> = []
  /** For reads in the calling thread. */
  private readonly scratch: Uint8Array

  constructor(options: Options) {
    this.options = options
    this.scratch = new Uint8Array(options.limits.pageBytes)
    const { fork, limits } = options
    this.lanes = new Lanes({ most: limits.loadsInFlight, work: (read) => this.read(read), fork })
  }

  /** Pages that somebody waits for. */
  get waiting(): number {
    return this.wanted.size - this.unasked
  }

  /** Images that somebody waits for and that wait for a block, those of merges not among them. */
  get homeless(): number {
    let homeless = 0
    for (const { pageId } of this.arrived) {
      if (urgency[this.purposeOf(pageId)] === urgency.read) homeless++
    }
    return homeless
  }

  /** Reads that somebody waits for and that have not come back. */
  get underWay(): number {
    return this.reading.size - this.unaskedReads
  }

  private purposeOf(pageId: number): Purpose {
    return this.wanted.get(pageId)?.purpose ?? "read"
  }

  private queueOf(purpose: Purpose): Fifo {
    return this.queues[purpose === "ahead" || purpose === "merge" ? purpose : "read"]
  }

  want(pageId: number, purpose: Purpose, done: Reply<void, StoreError>): void {
    if (!this.isMissing(pageId)) {
      const error = this.straying(pageId)
      return done(error === undefined ? Exit.void : Exit.fail(error))
    }
    const wanted = this.wanted.get(pageId)
    if (wanted === undefined) {
      this.wanted.set(pageId, { purpose, waiters: [done] })
      this.queueOf(purpose).push(pageId)
      return
    }
    wanted.waiters.push(done)
    if (wanted.purpose === "ahead") this.asked(pageId)
    const sooner = urgency[purpose] > urgency[wanted.purpose]
    if (sooner) this.queueOf(purpose).push(pageId)
    if (sooner || wanted.purpose === "scan") wanted.purpose = purpose
  }

  /** Somebody waits for what was read ahead, or nobody ever will. */
  private asked(pageId: number): void {
    this.unasked--
    if (this.reading.has(pageId)) this.unaskedReads--
  }

  /** Reads a page that a scan will come to; false where enough are being read so. */
  ahead(pageId: number): boolean {
    if (this.unasked >= this.options.aheadMost) return false
    if (this.wanted.has(pageId) || !this.isMissing(pageId)) return true
    this.wanted.set(pageId, { purpose: "ahead", waiters: [] })
    this.unasked++
    this.named++
    this.queues.ahead.push(pageId)
    return true
  }

  /** False where the page was loaded by another hand since it was asked for, or merged away: its reader asks again. */
  private isMissing(pageId: number): boolean {
    const { map } = this.options.pages
    return map.isUsed(pageId) && (map.block[pageId] as number) < 0
  }

  loaded(message: Loaded): void {
    if (this.purposeOf(message.pageId) === "ahead") this.unaskedReads--
    this.reading.delete(message.pageId)
    this.arrived.push(message)
  }

  /** Installs what has arrived, as far as there are blocks, and starts reads. */
  proceed(): void {
    if (this.arrived.length > 0) this.arrived = this.arrived.filter((loaded) => !this.install(loaded))
    const { loadsInFlight } = this.options.limits
    const { ahead, merge, read } = this.queues
    // Those of merges first, and also where what has arrived waits for the blocks that they free.
    while (merge.length > 0 && this.reading.size < loadsInFlight) this.start(merge.shift())
    while (read.length > 0 && this.reading.size + this.arrived.length < loadsInFlight) {
      this.start(read.shift())
    }
    const most = loadsInFlight - this.arrived.length
    while (ahead.length > 0 && this.reading.size < most && this.unaskedReads < this.spare) {
      this.start(ahead.shift())
    }
  }

  /** What could not be begun is not read ahead, but for what has come since `named`. */
  drop(named: number): void {
    const { ahead } = this.queues
    while (ahead.length > this.named - named) {
      const pageId = ahead.shift()
      if (this.purposeOf(pageId) === "ahead" && !this.reading.has(pageId)) this.finish(pageId, Exit.void)
    }
  }

  private start(pageId: number): void {
    const { pages } = this.options
    if (!this.wanted.has(pageId) || this.reading.has(pageId)) return
    if (this.arrived.length > 0 && this.arrived.some((loaded) => loaded.pageId === pageId)) return
    if (!this.isMissing(pageId)) return void this.finish(pageId, Exit.void)
    const generation = pages.map.generation[pageId] as number
    const bytes = pages.buffers.take()
    this.reading.add(pageId)
    const purpose = this.purposeOf(pageId)
    this.count(purpose)
    if (purpose === "ahead") this.unaskedReads++
    this.lanes.give({ pageId, generation, bytes })
  }

  private read({ bytes, generation, pageId }: Read): Effect.Effect<void> {
    const { epoch, file, limits, pages } = this.options
    return Effect.uninterruptible(Effect.suspend(() => {
      // The page may be moved meanwhile; its older slot keeps the image until this has ended.
      const pin = epoch.pin()
      const read = file.read(bytes, (pages.map.slot[pageId] as number) * limits.pageBytes)
      return Effect.map(Effect.exit(read), (exit) => {
        epoch.unpin(pin)
        this.answer({ _tag: "Loaded", pageId, generation, bytes, exit })
      })
    }))
  }

  private count(purpose: Purpose): void {
    const { counters } = this
    counters.loads++
    counters.loadBytes += this.options.limits.pageBytes
    counters.by[purpose]++
  }

  /** Installs an image that was read; false where there is no block for it yet. */
  private install({ bytes, exit, generation, pageId }: Loaded): boolean {
    const { buffers, map } = this.options.pages
    // The page moved on while it was read: whoever waits asks again (I1).
    let answer: Exit.Exit<void, StoreError> = Exit.void
    const purpose = this.purposeOf(pageId)
    if (Exit.isFailure(exit)) answer = exit
    else if (map.generation[pageId] === generation && (purpose !== "ahead" || this.spare-- > 0)) {
      const installed = this.place(pageId, generation, lengthOf(bytes, exit.value), purpose)
      if (installed === "full" && purpose !== "ahead") return false
      if (typeof installed === "number" && purpose !== "ahead") {
        buffers.give(bytes)
        return this.after(installed, pageId, purpose)
      }
      if (installed instanceof StoreError) answer = Exit.fail(installed)
    }
    buffers.give(bytes)
    return this.finish(pageId, answer)
  }

  private place(
    pageId: number,
    generation: number,
    bytes: Uint8Array,
    purpose: Purpose
  ): "installed" | "stale" | "full" | number | StoreError {
    const { limits, pages } = this.options
    const { map } = pages
    // Every word and the way from the root take longer than the read; what was right once still is.
    const isChecked = ((map.state[pageId] as number) & State.Checked) !== 0
    const checksum = map.checksum[pageId] as number
    const checked = verify(bytes, { pageId, checksum, pageBytes: limits.pageBytes, isChecked })
    if (checked._tag === "Invalid") return this.damaged(pageId, checked)
    const standing = isChecked ? inPlace : pages.lineage.check(pageId, wordsOf(bytes))
    if (standing._tag === "Behind") return standing.pageId
    if (standing._tag === "Stray") return this.damaged(pageId, standing)
    const installed = pages.install(pageId, generation, bytes, purpose)
    if (installed === "installed" && this.options.events.heard) this.tell(pageId, purpose)
    return installed
  }

  private damaged(
    pageId: number,
    { actual, expected }: { readonly actual: string; readonly expected: string }
  ): StoreError {
    const { file: { path }, limits: { pageBytes }, pages: { map } } = this.options
    const offset = (map.slot[pageId] as number) * pageBytes
    const error = storeError(new Corrupted({ path, offset, expected, actual }))
    this.options.damaged(error)
    return error
  }

  /** What whoever asks for a page hears that is in memory: nothing, unless it has led a range back. */
  private straying(pageId: number): StoreError | undefined {
    return this.options.pages.lineage.strays.has(pageId)
      ? this.damaged(pageId, { expected: "a leaf that leads on", actual: "one that leads back" })
      : undefined
  }

  /** A page above is loaded first; then this one is read again (I5). */
  private after(above: number, pageId: number, purpose: Purpose): true {
    this.want(above, purpose, (exit) => {
      if (Exit.isFailure(exit)) this.finish(pageId, exit)
      else this.queueOf(this.purposeOf(pageId)).push(pageId)
    })
    return true
  }

  private tell(page: number, purpose: Purpose): void {
    const { events, pages: { arena, map } } = this.options
    const address = map.block[page] as number
    const treeId = Page.treeId(arena.wordsOf(address), address & arena.mask)
    events.tell({ _tag: "Loaded", treeId, page, purpose })
  }

  private finish(pageId: number, exit: Exit.Exit<void, StoreError>): true {
    const wanted = this.wanted.get(pageId)
    if (wanted?.purpose === "ahead") this.asked(pageId)
    this.wanted.delete(pageId)
    for (const done of wanted?.waiters ?? []) done(exit)
    return true
  }

  /** For whoever asked for a page that is in memory. Throws `StoreError`. */
  here(pageId: number): true {
    const error = this.straying(pageId)
    if (error !== undefined) throw error
    return true
  }

  /** Reads a page in the calling thread, where a block is free; false where it is not. Throws `StoreError`. */
  now(pageId: number, purpose: Purpose): boolean {
    const { pages } = this.options
    const generation = pages.map.generation[pageId] as number
    if (pages.arena.available === 0) return false
    const installed = this.place(pageId, generation, this.readNow(pageId, this.scratch), purpose)
    this.count(purpose)
    if (installed instanceof StoreError) throw installed
    if (typeof installed === "number") return this.now(installed, purpose) && this.now(pageId, purpose)
    return installed === "installed"
  }

  /** The image of a page that is not in memory, as its slot has it; read in the calling thread. */
  imageNow(pageId: number): Uint8Array {
    return this.readNow(pageId, new Uint8Array(this.options.limits.pageBytes))
  }

  private readNow(pageId: number, bytes: Uint8Array): Uint8Array {
    const { file, limits, pages } = this.options
    return lengthOf(bytes, file.readSync(bytes, (pages.map.slot[pageId] as number) * limits.pageBytes))
  }

  /** Images that wait for a block will get none. */
  giveUp(error: StoreError): void {
    for (const { bytes, pageId } of this.arrived.splice(0)) {
      this.options.pages.buffers.give(bytes)
      this.finish(pageId, Exit.fail(error))
    }
  }

  halt(error: StoreError): void {
    const waiters = [...this.wanted.values()].flatMap(({ waiters }) => waiters)
    this.wanted.clear()
    this.unasked = 0
    this.unaskedReads = 0
    for (const done of waiters) done(Exit.fail(error))
  }
}

const wordsOf = (bytes: Uint8Array): Int32Array =>
  new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)

const lengthOf = (bytes: Uint8Array, length: number): Uint8Array =>
  length === bytes.length ? bytes : bytes.subarray(0, length)

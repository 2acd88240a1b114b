/**
 * Making room, for the buffer: what `Evict.ts` decides, and the disk work that it asks for.
 *
 * ```
 *   dirty mini-page ── its base page is loaded ──▶ merged ──▶ dirty guest ── written ──▶ clean guest ──▶ gone
 *                            └── failed, or no blocks: tried again later
 * ```
 *
 * I1 A page is dropped from memory only while its slot holds the same bytes.
 * I2 A mini-page that has been asked to be merged is merged in the end, or its leaf is freed.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { StoreError } from "../../StoreError.ts"
import type { SealedImage } from "../../tree/file/PageFile.ts"
import { Evictor, noChores } from "../../tree/memory/Evict.ts"
import type { Place } from "../../tree/memory/MapChunk.ts"
import { State } from "../../tree/memory/MapTable.ts"
import type { Image, Pages } from "../../tree/memory/Pages.ts"
import * as Page from "../../tree/page/Page.ts"
import { seal } from "../../tree/page/PageCheck.ts"
import type { Root, Tree } from "../../tree/Tree.ts"
import { Missing, NoSpace } from "../../tree/Tree.ts"
import type { Reply } from "../loop/Actor.ts"
import type { Loads } from "./Loads.ts"

export interface Written {
  readonly _tag: "Written"
  readonly images: ReadonlyArray<Image>
  readonly exit: Exit.Exit<ReadonlyArray<Place>, StoreError>
}

export interface Options {
  readonly tree: Tree
  readonly secondChancePercent: number
  readonly loadsInFlight: number
  /** Most pages that are handed to Flush at a time. */
  readonly batchPages: number
  /** Merges that wait for their turn before no more are asked for; 1,024 unless it is given. */
  readonly mergesMax?: number | undefined
  /** Passing guests that are kept. */
  readonly passing: number
  /** The root of a tree; undefined where nobody can read it any more. */
  readonly rootOf: (treeId: number) => Root | undefined
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Hands images to Flush; absent where nothing may be written, and changed pages stay. */
  readonly write:
    | ((images: ReadonlyArray<SealedImage>) => Effect.Effect<ReadonlyArray<Place>, StoreError>)
    | undefined
  /** There may be room again. */
  readonly relieved: () => void
}

/** Leaves whose mini-pages somebody wants merged, those to go: answered when each is, or could not be read. */
export interface Merge {
  readonly _tag: "Merge"
  readonly pageIds: Set<number>
  readonly done: Reply<void, StoreError>
}

/** How often changed pages are handed to Flush, which itself tries several slots, before whoever waits is refused. */
export const attemptsMax = 4

/** The wait after a failed attempt; doubled after each. */
const retryMillis = 50

/** Pages handed to Flush at a time, where staging allows so many. */
const writeBatchPages = 256

/** Pages that have been merged and are not yet written: a sixteenth of memory. */
const dirtyShift = 4

/** Blocks that a split through all levels may take. */
const splitBlocks = 6

export class Room {
  readonly counters = { evictionWrites: 0, merges: 0 }
  readonly evictor: Evictor
  answer: (message: Written) => void = () => {}
  /** Why the last attempt failed, until somebody heard of it; the attempts since the last success. */
  private failure: StoreError | undefined
  private attempts = 0
  private readonly options: Options
  private readonly mergesMax: number
  private readonly pages: Pages
  private readonly loads: Loads
  /** Leaves whose mini-pages are to be merged: queued, while their base pages are loaded, and for want of blocks. */
  private readonly due: Set<number> = new Set()
  private readonly merging = new Set<number>()
  private stuck = 0
  /** Merges whose base page could not be read, until they are tried again. */
  private retrying = 0
  private readonly later = new Map<number, number>()
  private asked: Array<Merge> = []
  private dirty: Array<number> = []
  /** What the evictor asks for, until it is taken on. */
  private readonly chores = noChores()
  private writing = false
  /** Pages that are being written. */
  private landing = 0
  /** Blocks, beyond the reserve, that merges wait for. */
  needed = 0

  constructor(options: Options, loads: Loads) {
    this.options = options
    this.mergesMax = options.mergesMax ?? 1_024
    this.loads = loads
    this.pages = options.tree.pages
    this.evictor = new Evictor(this.pages, {
      secondChancePercent: options.secondChancePercent,
      events: options.tree.events
    })
  }

  /** Whether something is under way that will free blocks. */
  get hopeful(): boolean {
    return this.writing || this.retrying > 0 || this.merging.size > 0 || this.dirty.length > 0
  }

  /** Why nothing will make room, once for each failure after several attempts. */
  takeFailure(): StoreError | undefined {
    const failure = this.attempts >= attemptsMax ? this.failure : undefined
    this.failure = undefined
    return failure
  }

  /** Frees blocks until `target` can be handed out, and `more` if that is easy; what needs the disk is begun. */
  make(target: number, more = 0): void {
    const { chores, pages: { arena, ripe } } = this
    const wanted = Math.max(target, this.needed)
    if (arena.available < wanted + more) {
      // Those that wait for their turn need blocks: guests go on leaving, or all memory ends up as guests.
      if (this.due.size < this.mergesMax) this.evictor.makeRoom(wanted, chores, more)
      else this.evictor.sendGuests(wanted, chores)
    }
    if (this.stuck !== 0) this.evictor.dismiss(this.needed, 1)
    if (ripe.length > 0) chores.merge.push(...ripe.splice(0))
    this.take()
    this.proceed()
  }

  /** Merges some mini-pages that are not in the way, and tells when that has been done. */
  ask(asked: Merge): void {
    this.asked.push(asked)
    for (const pageId of asked.pageIds) this.chores.merge.push(pageId)
    this.take()
    this.ended(0)
  }

  /** Requests for merges that are not answered. */
  get waiting(): number {
    return this.asked.length
  }

  /** No more is merged. */
  halt(error: StoreError): void {
    for (const { done } of this.asked.splice(0)) done(Exit.fail(error))
  }

  /** A leaf was merged, has no mini-page, or could not be read. */
  private ended(leaf: number): void {
    for (const { pageIds } of this.asked) pageIds.delete(leaf)
    const ended = this.asked.filter(({ pageIds }) => pageIds.size === 0)
    if (ended.length === 0) return
    this.asked = this.asked.filter(({ pageIds }) => pageIds.size > 0)
    for (const { done } of ended) done(Exit.void)
  }

  /** The last resort. */
  squeeze(target: number): void {
    this.evictor.squeeze(Math.max(target, this.needed), this.chores)
    this.take()
    this.proceed()
  }

  /** Takes on what has been asked for. */
  private take(): void {
    const { merge, write } = this.chores
    if (this.options.write !== undefined) {
      for (const pageId of merge) {
        if (!this.merging.has(pageId) && !this.later.has(pageId)) this.due.add(pageId)
      }
      this.dirty.push(...write)
    }
    merge.length = 0
    write.length = 0
  }

  /** Begins what can be begun. */
  proceed(): void {
    if (this.stuck !== 0) this.merge(this.stuck)
    if (this.later.size > 0) this.reconsider()
    // Each merge takes a block for the base page, and may take one for a split and some for the nodes above.
    const most = Math.max(
      1,
      Math.min(this.options.loadsInFlight, this.pages.arena.freeBlocks - splitBlocks >>> 1)
    )
    // What is being written gives its blocks to the one that waits: others would only ask for as many.
    const waits = this.stuck !== 0 && (this.writing || this.dirty.length > 0)
    const batch = Math.min(writeBatchPages, this.options.batchPages)
    // What has been merged is a whole page until it is written: where the disk is slow, memory would be full of such
    // pages, and mini-pages so few that each is merged for a record or two.
    const dirtyMost = Math.max(batch, this.pages.arena.limit >>> dirtyShift)
    for (const pageId of this.due) {
      if (waits || this.merging.size >= most) break
      if (this.merging.size + this.dirty.length + this.landing >= dirtyMost) break
      this.due.delete(pageId)
      this.merging.add(pageId)
      this.load(pageId, pageId)
    }
    // More merges under way mean more neighbours to be written together, unless they wait for the blocks of those here.
    const whole = this.loads.underWay === 0 || this.dirty.length >= batch >>> 2
    if (whole && this.dirty.length > 0 && !this.writing) this.write(batch)
  }

  /** Loads a page that the merge of a mini-page needs. */
  private load(pageId: number, leaf: number): void {
    this.loads.want(pageId, "merge", (exit) => {
      if (Exit.isSuccess(exit)) return this.merge(leaf)
      this.retry(leaf, exit)
    })
  }

  /** A base page that cannot be read is tried again: until then the mini-page stays where it is (I2). */
  private retry(leaf: number, exit: Exit.Exit<void, StoreError>): void {
    const { fork, relieved } = this.options
    const failure = Exit.findErrorOption(exit)
    if (failure._tag === "Some") this.failure = failure.value
    this.attempts++
    this.merging.delete(leaf)
    this.ended(leaf)
    this.retrying++
    fork(Effect.map(Effect.sleep(retryMillis * 2 ** Math.min(this.attempts, attemptsMax)), () => {
      this.retrying--
      this.due.add(leaf)
      relieved()
    }))
  }

  private merge(leaf: number): void {
    const { rootOf, tree } = this.options
    const { arena, map } = this.pages
    this.merging.delete(leaf)
    const address = map.mini[leaf] as number
    if (address < 0) return this.finish(leaf)
    const root = rootOf(Page.treeId(arena.wordsOf(address), address & arena.mask))
    // A tree that is being taken down: nobody will ask for its records.
    if (root === undefined) {
      this.pages.end(leaf)
      return this.finish(leaf)
    }
    const merge = (): number => (map.block[leaf] as number) < 0 ? Missing : tree.merge(root, leaf)
    const answer = arena.withReserve(merge)
    if (answer === NoSpace) return this.postpone(leaf, tree.blocksNeeded - arena.reserve)
    if (answer === Missing) {
      this.merging.add(leaf)
      return this.load((map.block[leaf] as number) < 0 ? leaf : tree.missing, leaf)
    }
    this.counters.merges++
    this.finish(leaf)
    this.join(root, leaf)
    this.evictor.collect(this.chores)
    this.take()
  }

  /** A leaf that has become too empty joins a neighbour, which is loaded for it, or merged first. */
  private join(root: Root, leaf: number): void {
    const { tree } = this.options
    const other = tree.mergeLeaf(root, leaf)
    if (other === 0) return
    if (((this.pages.map.state[other] as number) & State.Mini) !== 0) {
      if (!this.merging.has(other) && this.stuck !== other) this.due.add(other)
      return
    }
    // Without memory for it the leaf stays as it is, until it is merged the next time.
    this.loads.want(other, "merge", () => void tree.mergeLeaf(root, leaf))
  }

  /** A leaf has been merged, or need not be. Others that wait for blocks have their turn again if it was the first. */
  private finish(leaf: number): void {
    this.ended(leaf)
    // Not before the one that waits is done, as each try costs them a read.
    if (this.stuck !== leaf) return
    this.pages.kept.delete(leaf)
    this.stuck = 0
    this.needed = 0
    for (const other of this.later.keys()) this.due.add(other)
    this.later.clear()
  }

  /** There may be enough for what needed too much before: its blocks, and one for its base page. */
  private reconsider(): void {
    const { arena } = this.pages
    const blocks = arena.freeBlocks - arena.reserve
    for (const [leaf, needed] of this.later) {
      if (needed >= blocks) continue
      this.later.delete(leaf)
      this.due.add(leaf)
    }
  }

  /** One merge at a time keeps its base page and waits for blocks; others give theirs back until it is done. */
  private postpone(leaf: number, needed: number): void {
    if (this.stuck !== 0 && this.stuck !== leaf) {
      this.later.set(leaf, needed)
      this.pages.evict(leaf)
      return
    }
    this.needed = needed
    if (this.stuck === leaf) return
    this.stuck = leaf
    this.pages.kept.add(leaf)
    // Room is made for it even where nobody else asks for any.
    this.options.relieved()
  }

  /** Hands so many of the pages that are to be written to Flush. */
  private write(most: number): void {
    const { fork, write } = this.options
    if (write === undefined) return
    const { map } = this.pages
    const images: Array<Image> = []
    let passed = 0
    while (images.length < most && passed < this.dirty.length) {
      const pageId = this.dirty[passed++] as number
      const state = map.state[pageId] as number
      if (!this.pages.isGuest(pageId) || (state & State.Dirty) === 0) continue
      // A checkpoint has taken it meanwhile, or is about to: it leaves when that image is written.
      if ((state & (State.Imaged | State.Cut)) !== 0) this.pages.demote(pageId)
      else images.push(this.pages.image(pageId))
    }
    this.dirty.splice(0, passed)
    if (images.length === 0) return
    this.writing = true
    this.landing = images.length
    this.counters.evictionWrites += images.length
    const written = write(images.map(({ bytes, version }) => ({ bytes, version, checksum: seal(bytes) })))
    fork(Effect.map(Effect.exit(written), (exit) => this.answer({ _tag: "Written", images, exit })))
  }

  /** Pages that were not touched while they were written are clean now, and leave when room is needed. */
  written({ exit, images }: Written): void {
    const { fork, relieved } = this.options
    this.landing = 0
    if (Exit.isFailure(exit)) {
      for (const image of images) this.pages.imageLost(image)
      const error = Exit.findErrorOption(exit)
      if (error._tag === "Some") this.failure = error.value
      this.attempts++
      return fork(
        Effect.map(Effect.sleep(retryMillis * 2 ** Math.min(this.attempts - 1, attemptsMax)), () => {
          this.writing = false
          relieved()
        })
      )
    }
    this.writing = false
    this.attempts = 0
    this.failure = undefined
    images.forEach((image, index) => this.pages.imaged(image, exit.value[index] as Place))
  }
}

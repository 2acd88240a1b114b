/**
 * The pages of a store: which blocks of memory they have, and how they come and go.
 *
 * ```
 *              install, memory is scarce                 no image needed, or written
 *   on disk ─────────────────────────────▶ guest ──────────────────────────────────────▶ on disk
 *      │                                    │  ▲
 *      │ install, memory is plenty   admit  │  │ its frame comes to the head, and nobody used it
 *      └────────────────────────────────────┴─▶ in the ring
 *
 *   mini-page of a leaf:  none ── begin ──▶ in the ring, grow ──▶ … ── end ──▶ none
 * ```
 *
 * A *guest* is a leaf that is in memory for a purpose, to be read or to take up its mini-page: the oldest go first, and
 * they move nobody out of the ring. Inner nodes are neither; they stay. One that a scan brought in is *passing*: it may
 * stay in memory that nobody needs, and leaves before all others, until a point read uses it and it settles.
 *
 * I1 A leaf in the ring is Mutable. A guest is while it is Dirty; once its image is written, what changes goes to its
 *    mini-page, so that the image need not be written again.
 * I2 A page leaves memory only while it has an image of just its content, and a mini-page only with nothing dirty.
 *
 * What a checkpoint gets of all this is in `Changes.ts`.
 */
import { invariant } from "../../Invariant.ts"
import type { BufferMode } from "../../Limits.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as MiniPage from "../page/MiniPage.ts"
import * as Page from "../page/Page.ts"
import type { Arena } from "./Arena.ts"
import type { Cut, Image } from "./Changes.ts"
import { Changes } from "./Changes.ts"
import { Deadlines } from "./Deadlines.ts"
import type { Purpose } from "./Events.ts"
import { Fifo } from "./Fifo.ts"
import { Ghosts } from "./Ghosts.ts"
import { Lineage } from "./Lineage.ts"
import type { Place } from "./MapChunk.ts"
import { State, used } from "./MapTable.ts"
import { Ring } from "./Ring.ts"

export type { Cut, Image, RetiredSlot } from "./Changes.ts"

export interface PagesOptions {
  /** Version of the next checkpoint. */
  readonly epoch: number
  readonly mode?: BufferMode | undefined
  readonly secondChancePercent?: number | undefined
}

/** So much more than what is in them packs may take before they count as sparse. */
const sparseBytes = 65_536

export class Pages extends Changes {
  readonly mode: BufferMode
  readonly ring: Ring
  /** Guests as they came, and those that have changed, to be written. Who is none any more is skipped when met. */
  readonly guests = new Fifo()
  readonly leaving = new Fifo()
  /** Passing guests as they came, and how many there are. */
  readonly passing = new Fifo()
  passers = 0
  /** Pages that stay: room is being made for what is to be done with them. */
  readonly kept = new Set<number>()
  /** Leaves whose mini-pages have grown so far that they should be merged soon. */
  ripe: Array<number> = []
  /** When something in each leaf expires first. */
  readonly deadlines = new Deadlines()
  /** What is asked whether a page from the disk belongs where its id stands. */
  readonly lineage: Lineage
  /** Keys that were read from base pages lately. */
  readonly ghosts: Ghosts
  /** Pages that were made since the start. */
  created = 0
  /** Inner nodes in memory. */
  innerPages = 0
  private readonly prefix = new KeyScratch()

  constructor(arena: Arena, options: PagesOptions) {
    super(arena, options)
    this.mode = options.mode ?? "miniPages"
    this.lineage = new Lineage(arena, this.map)
    this.ghosts = new Ghosts(arena)
    this.ring = new Ring(arena, { secondChancePercent: options.secondChancePercent ?? 10 })
  }

  /** Memory held beside the arena. */
  get bytes(): number {
    return this.map.bytes + this.changeBytes + this.ring.bytes + this.guests.bytes + this.leaving.bytes +
      this.passing.bytes + this.ripe.length * 8 + this.deadlines.bytes + this.ghosts.bytes
  }

  /**
   * Takes a block and an id for a new page; the caller has made sure that a block is free. A leaf becomes a guest where
   * the one that it is split from is.
   */
  create(place: "inner" | "ring" | "guest"): number {
    const address = this.arena.allocate()
    invariant(address >= 0, "Pages: blocks are counted before anything changes")
    const id = this.map.allocate()
    this.created++
    this.map.block[id] = address
    this.markChanged(id, State.Dirty | State.Changed | State.Mutable | (place === "inner" ? State.Inner : 0))
    if (place === "ring") this.ring.addPage(address)
    else if (place === "guest") this.leaving.push(id)
    else this.innerPages++
    return id
  }

  /** Where a page that is split from this leaf goes. */
  placeOf(id: number): "ring" | "guest" {
    return this.ring.has(this.map.block[id] as number) ? "ring" : "guest"
  }

  isGuest(id: number): boolean {
    const address = this.map.block[id] as number
    return address >= 0 && ((this.map.state[id] as number) & (State.Inner | State.Free)) === 0
      && !this.ring.has(address)
  }

  /** Frees a page, in memory or not: its blocks, its id, and its images unless a checkpoint refers to them. */
  free(id: number): void {
    const { map } = this
    this.forsake(id)
    if ((map.block[id] as number) >= 0) this.giveBlock(id)
    if ((map.mini[id] as number) >= 0) this.giveMini(id)
    this.deadlines.raise(id, Infinity)
    map.free(id)
  }

  private giveBlock(id: number): void {
    const address = this.map.block[id] as number
    this.stop(id)
    if (this.ring.has(address)) this.ring.removePage(address)
    else if (((this.map.state[id] as number) & State.Inner) !== 0) this.innerPages--
    this.map.block[id] = -1
    this.arena.release(address)
  }

  private giveMini(id: number): void {
    this.ring.release(this.map.mini[id] as number)
    this.map.mini[id] = -1
    this.map.state[id] = (this.map.state[id] as number) & ~(State.Mini | State.Unpacked)
  }

  /** Takes a page out of memory. False where it may not go: dirty, an inner node, kept, or not there. */
  evict(id: number): boolean {
    const { map } = this
    if ((map.block[id] as number) < 0) return false
    if (((map.state[id] as number) & (State.Dirty | State.Inner | State.Free)) !== 0 || this.kept.has(id)) {
      return false
    }
    invariant(map.slot[id] !== 0, "Pages I2")
    const address = map.block[id] as number
    map.leafRecords[id] = Page.count(this.arena.wordsOf(address), address & this.arena.mask)
    this.giveBlock(id)
    map.generation[id] = (map.generation[id] as number) + 1 | 0
    map.state[id] = (map.state[id] as number) & ~(State.Imaged | used | State.Mutable)
    return true
  }

  /**
   * Puts a verified image into memory (PageCheck.ts, Lineage.ts). `generation` is the page's when the load was asked
   * for: a page that was freed or loaded since is left alone. A merge gives back more memory than it takes, and may use
   * the reserve.
   */
  install(
    id: number,
    generation: number,
    image: Uint8Array,
    purpose: Purpose = "read"
  ): "installed" | "stale" | "full" {
    const { arena, map } = this
    if (!map.isUsed(id) || map.generation[id] !== generation || (map.block[id] as number) >= 0) return "stale"
    const address = purpose === "merge" ? arena.allocateReserved() : arena.allocate()
    if (address < 0) return "full"
    const words = arena.wordsOf(address)
    const at = address & arena.mask
    arena.bytesOf(address).set(image, at * 4)
    Page.unseal(words, at)
    map.block[id] = address
    map.generation[id] = generation + 1 | 0
    const state = (map.state[id] as number) | State.Checked
    if (Page.level(words, at) > 0) {
      map.state[id] = state | State.Inner | State.Mutable | State.Referenced
      this.innerPages++
    } else if (purpose === "scan" || purpose === "ahead" || purpose === "upkeep") {
      map.state[id] = state | State.Passing
      this.passing.push(id)
      this.passers++
    } else {
      map.state[id] = state | State.Referenced
      this.settle(id)
    }
    return "installed"
  }

  /** A guest is used by something else than a scan: it settles as if it had been loaded for that. */
  stay(id: number): void {
    this.stop(id)
    this.settle(id)
  }

  private stop(id: number): void {
    const state = this.map.state[id] as number
    if ((state & State.Passing) === 0) return
    this.map.state[id] = state & ~State.Passing
    this.passers--
  }

  /** Whether a loaded leaf stays as a whole: without mini-pages always, otherwise while memory is plenty. */
  private settle(id: number): void {
    const { arena, map } = this
    const plenty = arena.available > arena.limit >>> 2
    if ((this.mode === "pages" || plenty) && ((map.state[id] as number) & State.Mini) === 0) this.admit(id)
    else this.guests.push(id)
  }

  /** A guest joins the ring, and is changed in place from here on. Its mini-page has been merged. */
  admit(id: number): void {
    invariant(((this.map.state[id] as number) & State.Mini) === 0, "Pages I1")
    this.stop(id)
    this.map.state[id] = (this.map.state[id] as number) | State.Mutable
    this.ring.addPage(this.map.block[id] as number)
  }

  /** A leaf whose frame was popped at the head, and that has to be written, leaves as soon as it is. */
  demote(id: number): void {
    this.leaving.push(id)
  }

  protected override changed(id: number): void {
    if (!this.isGuest(id)) return
    this.stop(id)
    this.leaving.push(id)
  }

  override imaged(image: Image, place: Place): void {
    super.imaged(image, place)
    const id = image.pageId
    if (!this.isGuest(id) || ((this.map.state[id] as number) & State.Dirty) !== 0) return
    this.rest(id)
    this.guests.push(id)
  }

  override imageLost(image: Image): void {
    super.imageLost(image)
    if (image.form === "page" && this.isGuest(image.pageId)) this.leaving.push(image.pageId)
  }

  /** A pack is kept for the last of its mini-pages: where most of them are gone, all are packed anew. */
  override cut(): Cut {
    const { arena, packs, ring } = this
    if (packs.size * arena.pageBytes > 2 * (ring.liveWords * 4 + sparseBytes)) this.repack(0)
    this.deadlines.hold()
    return super.cut()
  }

  override complete(): void {
    super.complete()
    this.deadlines.letGo()
  }

  override abandon(): void {
    super.abandon()
    this.deadlines.letGo()
  }

  /** A guest that is clean is not changed in place any more (I1). */
  rest(id: number): void {
    const state = this.map.state[id] as number
    if ((state & State.Dirty) === 0) this.map.state[id] = state & ~State.Mutable
  }

  /**
   * Begins an empty mini-page with room for a record of `words` and its slot; `prefix` holds what all keys of the leaf
   * begin with. False where the ring has no room.
   */
  begin(id: number, treeId: number, words: number, prefix: KeyScratch, prefixBytes: number): boolean {
    const { map, ring } = this
    const sizeClass = ring.classFor(MiniPage.frameWords(prefixBytes) + Page.slotWords + words)
    const address = sizeClass < 0 ? -1 : ring.allocate(sizeClass)
    if (address < 0) return false
    const own = this.arena.wordsOf(address)
    const size = ring.classes[sizeClass] as number
    const p = address & this.arena.mask
    MiniPage.begin(own, p, { size, pageId: id, treeId }, prefix, prefixBytes)
    Page.setCounts(
      own,
      p,
      0,
      Math.max(1, Math.floor((Page.heapTop(own, p) - Page.headerWords) / (words + Page.slotWords)))
    )
    map.mini[id] = address
    const state = map.state[id] as number
    // The newest pack still has the one that ended before, or will, when it is written.
    const unpacked = (state & State.Changed) === 0 ? 0 : State.Unpacked
    map.state[id] = state | State.Mini | unpacked
    return true
  }

  /** Words that the mini-page would need for the wanted records and one more of `more` words. */
  wantedMini(id: number, wanted: MiniPage.Wanted, more: number): number {
    const address = this.map.mini[id] as number
    const words = this.arena.wordsOf(address)
    const p = address & this.arena.mask
    return MiniPage.frameWords(Page.prefixBytes(words, p)) + MiniPage.wantedWords(words, p, wanted)
      + (more === 0 ? 0 : more + Page.slotWords)
  }

  /**
   * Moves the wanted records of a mini-page to a block where one more of `more` words has room. False, and nothing
   * changed, where the ring has no room.
   */
  move(id: number, wanted: MiniPage.Wanted, more: number): boolean {
    const { arena, map, prefix, ring } = this
    const sizeClass = ring.classFor(this.wantedMini(id, wanted, more))
    invariant(sizeClass >= 0, "Pages: a mini-page beyond the largest class is merged")
    const address = ring.allocate(sizeClass)
    if (address < 0) return false
    const older = map.mini[id] as number
    const source = arena.wordsOf(older)
    const s = older & arena.mask
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    const options = { size: ring.classes[sizeClass] as number, pageId: id, treeId: Page.treeId(source, s) }
    MiniPage.begin(words, p, options, prefix, MiniPage.loadPrefix(source, s, prefix))
    MiniPage.fill(words, p, source, s, wanted, more)
    ring.release(older)
    map.mini[id] = address
    return true
  }

  /** Makes a mini-page for a leaf that was split off, of the records of another from `from` on. A block is free. */
  part(id: number, source: Int32Array, s: number, from: number): void {
    const { map, prefix } = this
    let words = 0
    for (let index = from; index < Page.count(source, s); index++) {
      words += Leaf.recordWords(source, Leaf.recordAt(source, s, index), Page.slotBytes(source, s, index))
        + Page.slotWords
    }
    const prefixBytes = MiniPage.loadPrefix(source, s, prefix)
    const begun = this.begin(id, Page.treeId(source, s), words - Page.slotWords, prefix, prefixBytes)
    invariant(begun, "Pages: blocks are counted before anything changes")
    this.touchMini(id)
    const address = map.mini[id] as number
    const own = this.arena.wordsOf(address)
    const p = address & this.arena.mask
    Page.setCounts(own, p, 0, Page.count(source, s) - from)
    Leaf.append(own, p, source, s, from, Page.count(source, s))
    Page.raisePageLsn(own, p, Page.pageLsn(source, s))
  }

  /** Ends a mini-page. What was dirty in it is in the base page now, or of no use to anybody. */
  end(id: number): void {
    this.touchMini(id)
    this.giveMini(id)
  }

  /** Lets a mini-page go in which nothing is dirty: what is known of the base page is forgotten. */
  forget(id: number): void {
    const address = this.map.mini[id] as number
    const words = this.arena.wordsOf(address)
    invariant(MiniPage.wantedWords(words, address & this.arena.mask, "dirty") === 0, "Pages I2")
    if (((this.map.state[id] as number) & (State.Unpacked | State.CutMini)) !== 0) this.touchMini(id)
    this.giveMini(id)
  }

  /** At open: the mini-page that a checkpoint has packed. False where the ring has no room. */
  restoreMini(id: number, image: Int32Array, from: number, size: number): boolean {
    const { arena, map, ring } = this
    const sizeClass = ring.classFor(size)
    const address = ring.allocate(sizeClass)
    if (address < 0) return false
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    const options = { size: ring.classes[sizeClass] as number, pageId: id, treeId: Page.treeId(image, from) }
    MiniPage.begin(words, p, options, this.prefix, MiniPage.loadPrefix(image, from, this.prefix))
    MiniPage.fill(words, p, image, from, "all", 0)
    map.mini[id] = address
    map.state[id] = (map.state[id] as number) | State.Mini
    return true
  }

  /** Clears the marks of use of what has come into the second-chance region. */
  advanceRegion(): void {
    const { arena, map, ring } = this
    for (let frame = ring.entering(); frame >= 0; frame = ring.entering()) {
      const words = arena.wordsOf(frame)
      if (!ring.isMinis(frame)) {
        const id = Page.pageId(words, frame & arena.mask)
        map.state[id] = (map.state[id] as number) & ~State.Referenced
        continue
      }
      for (let at = ring.nextLive(frame, frame); at >= 0; at = ring.nextLive(frame, at + ring.wordsOf(at))) {
        MiniPage.untouch(words, at & arena.mask, MiniPage.Flag.touched)
      }
    }
  }
}

/**
 * The pages of a store: their memory, their place in the map table, and the protocol by which they change.
 *
 * Whoever changes a page calls `touch` first. That is what makes a checkpoint consistent: the first change after a cut
 * copies the page as it was, so a checkpoint never waits for writers nor they for it.
 *
 * ```
 *            touch                        cut (a checkpoint begins)
 *   Clean ───────────▶ Dirty, Changed ───────────────────────────────▶ Dirty, Cut
 *     ▲                    │  ▲                                          │     │
 *     │ imaged,            │  │ touch: the old bytes go to `captured`    │     │ capture: an image is taken
 *     │ not touched since  │  └──────────────────────────────────────────┘     ▼
 *     └────────────────────┴──────────────────────────────── Dirty, Imaged ◀───┘
 * ```
 *
 * A page has two places: `slot`, the newest image, and `cutSlot`, the image that the newest cut refers to. A slot that
 * neither names any more is *retired*, with the version of the first checkpoint that does not refer to it (0 where no
 * checkpoint ever did), so that whoever owns the slots can tell when it is free.
 *
 * I1 Between a cut and its end every page of the cut gets exactly one image at the cut: captured, swept, or the image
 *    of an eviction that was on its way and is still right.
 * I2 A page leaves memory only while it has an image of just its content.
 * I3 An image counts as the page's newest only while the page's generation is the image's.
 */
import { invariant } from "../Invariant.ts"
import type { Arena } from "./Arena.ts"
import type { Place } from "./MapChunk.ts"
import { MapTable, State } from "./MapTable.ts"
import * as Page from "./Page.ts"

/** A private copy of a page on its way to the disk. Its checksum is filled in by `seal` (PageCheck.ts). */
export interface Image {
  readonly pageId: number
  /** Of the page when the copy was taken. */
  readonly generation: number
  /** The first checkpoint that may refer to the image: the birth of its slot. */
  readonly version: number
  readonly purpose: "cut" | "eviction"
  readonly bytes: Uint8Array
}

/** A slot that is needed no more by checkpoints from `version` on; 0 = none ever referred to it. */
export interface RetiredSlot {
  readonly slot: number
  readonly version: number
}

export interface Cut {
  /** Version of the checkpoint. */
  readonly version: number
  /** Every id whose place differs, or will, from the last checkpoint's: freed ones included. */
  readonly changed: ReadonlyArray<number>
  /** Those of them that need an image: to be asked of `capture`, unless they turn up in `captured` first. */
  readonly pending: ReadonlyArray<number>
}

const changing = State.Dirty | State.Changed

export class Pages {
  readonly arena: Arena
  readonly map = new MapTable()
  /** The version that the next cut will have. */
  epoch: number
  /** The version of the checkpoint in flight, or 0. */
  inFlight = 0
  /** Pages of the cut in flight that still have the Cut bit. */
  uncaptured = 0
  /** Most records that any page has had since its last image; counted anew from each cut on. */
  busiest = 0
  /** Images at the cut of pages that changed since; taken by whoever writes them (`drainCaptured`). */
  captured: Array<Image> = []
  capturedBytes = 0
  retired: Array<RetiredSlot> = []
  private changed: Array<number> = []
  private cutChanged: ReadonlyArray<number> = []

  constructor(arena: Arena, options: { readonly epoch: number }) {
    this.arena = arena
    this.epoch = options.epoch
  }

  /** Pages that differ from the last cut. */
  get changedPages(): number {
    return this.changed.length
  }

  /** Memory held beside the arena. */
  get bytes(): number {
    return this.map.bytes + this.capturedBytes + (this.changed.length + this.cutChanged.length) * 8
  }

  /** Takes a block and an id for a new page; the caller has made sure that a block is free. */
  create(): number {
    const address = this.arena.allocate()
    invariant(address >= 0, "Pages: blocks are counted before anything changes")
    const id = this.map.allocate()
    this.map.block[id] = address
    this.markChanged(id)
    return id
  }

  /** Must be called before each change of a page in memory. */
  touch(id: number): void {
    const state = this.map.state[id] as number
    if ((state & (changing | State.Cut | State.Imaged)) !== changing) this.firstTouch(id, state)
    const records = (this.map.records[id] as number) + 1 | 0
    this.map.records[id] = records
    if (records > this.busiest) this.busiest = records
  }

  private firstTouch(id: number, state: number): void {
    const { map } = this
    invariant((map.block[id] as number) >= 0, "MapTable I2")
    if ((state & State.Cut) !== 0) {
      this.captured.push(this.copy(id, this.inFlight, "cut"))
      this.capturedBytes += this.arena.pageBytes
      this.clearCut(id)
    }
    map.generation[id] = (map.generation[id] as number) + 1 | 0
    map.state[id] = (map.state[id] as number) & ~State.Imaged
    this.dropSlot(id)
    this.markChanged(id)
  }

  private markChanged(id: number): void {
    const { map } = this
    const state = map.state[id] as number
    if ((state & State.Changed) === 0) this.changed.push(id)
    map.state[id] = state | changing
  }

  /** The newest image is out of date. The checkpoint may still need it; then `cutSlot` has it. */
  private dropSlot(id: number): void {
    const { map } = this
    const slot = map.slot[id] as number
    if (slot !== 0 && slot !== map.cutSlot[id]) this.retired.push({ slot, version: 0 })
    map.slot[id] = 0
    map.checksum[id] = 0
  }

  private clearCut(id: number): void {
    this.map.state[id] = (this.map.state[id] as number) & ~State.Cut
    this.uncaptured--
  }

  private copy(id: number, version: number, purpose: Image["purpose"]): Image {
    const address = this.map.block[id] as number
    const start = (address & this.arena.mask) * 4
    const bytes = new Uint8Array(this.arena.pageBytes)
    bytes.set(this.arena.bytesOf(address).subarray(start, start + this.arena.pageBytes))
    return { pageId: id, generation: this.map.generation[id] as number, version, purpose, bytes }
  }

  /** Frees a page, in memory or not: its block, its id, and its image unless a checkpoint refers to it. */
  free(id: number): void {
    const { map } = this
    const state = map.state[id] as number
    const address = map.block[id] as number
    if ((state & State.Cut) !== 0) {
      this.captured.push(this.copy(id, this.inFlight, "cut"))
      this.capturedBytes += this.arena.pageBytes
      this.clearCut(id)
    }
    this.dropSlot(id)
    this.markChanged(id)
    if (address >= 0) this.arena.release(address)
    map.block[id] = -1
    map.free(id)
  }

  /** Begins a checkpoint of exactly what the pages are now. */
  cut(): Cut {
    invariant(this.inFlight === 0 && this.uncaptured === 0, "Pages I1: one checkpoint at a time")
    const { map } = this
    const version = this.epoch++
    this.inFlight = version
    this.busiest = 0
    const changed = this.changed
    this.changed = []
    this.cutChanged = changed
    const pending: Array<number> = []
    for (const id of changed) {
      const state = (map.state[id] as number) & ~State.Changed
      map.state[id] = state
      if ((state & State.Dirty) === 0) {
        this.setCut(id, map.slot[id] as number, map.checksum[id] as number)
      } else {
        map.state[id] = state | State.Cut
        this.uncaptured++
        pending.push(id)
      }
    }
    map.holdFreedIds()
    return { version, changed, pending }
  }

  private setCut(id: number, slot: number, checksum: number): void {
    const { map } = this
    const older = map.cutSlot[id] as number
    if (older !== 0 && older !== slot) this.retired.push({ slot: older, version: this.inFlight })
    map.cutSlot[id] = slot
    map.cutChecksum[id] = checksum
  }

  /** The image at the cut of a page that did not change since; undefined where another was or will be used. */
  capture(id: number): Image | undefined {
    if (((this.map.state[id] as number) & State.Cut) === 0) return undefined
    this.clearCut(id)
    this.map.state[id] = (this.map.state[id] as number) | State.Imaged
    return this.copy(id, this.inFlight, "cut")
  }

  /** An image of a dirty page as it is now, to be written so that the page can be evicted. */
  image(id: number): Image {
    invariant(((this.map.state[id] as number) & State.Dirty) !== 0, "Pages I2")
    this.map.state[id] = (this.map.state[id] as number) | State.Imaged
    return this.copy(id, this.epoch, "eviction")
  }

  /** Takes the images that writers saved from their pages. */
  drainCaptured(): Array<Image> {
    const { captured } = this
    this.captured = []
    this.capturedBytes = 0
    return captured
  }

  /** An image is in its slot. */
  imaged(image: Image, place: Place): void {
    const { map } = this
    const id = image.pageId
    const state = map.state[id] as number
    const ofCut = image.purpose === "cut" && image.version === this.inFlight
    const newest = map.generation[id] === image.generation && (state & State.Imaged) !== 0
    const dirty = newest && (state & State.Dirty) !== 0
    if (ofCut) this.setCut(id, place.slot, place.checksum)
    if (!newest || (!dirty && !ofCut)) {
      if (!ofCut) this.retired.push({ slot: place.slot, version: 0 })
      return
    }
    // An image of an eviction that was already written said the same; one slot is enough.
    const older = map.slot[id] as number
    if (older !== 0 && older !== map.cutSlot[id]) this.retired.push({ slot: older, version: 0 })
    map.slot[id] = place.slot
    map.checksum[id] = place.checksum
    map.records[id] = 0
    map.state[id] = state & ~State.Dirty
    if ((state & State.Cut) === 0) return
    // Unchanged since before the cut: what was written for an eviction is the image at the cut.
    this.clearCut(id)
    this.setCut(id, place.slot, place.checksum)
  }

  /**
   * An image did not get into a slot: the page needs another one. Another image of the same content may still be on
   * its way; it does not count either, as from here on a change of the page is not seen by it.
   */
  imageLost(image: Image): void {
    const { map } = this
    const id = image.pageId
    if (map.generation[id] !== image.generation) return
    map.generation[id] = image.generation + 1 | 0
    map.state[id] = (map.state[id] as number) & ~State.Imaged
  }

  /**
   * The newest image of a page was copied from `slot` to `place`. What the page says is the same, so its generation
   * stays; the next cut refers to the copy. False where the page has moved on since, and the copy is of no use (I3).
   */
  moved(id: number, from: { readonly generation: number; readonly slot: number }, place: Place): boolean {
    const { map } = this
    const { generation, slot } = from
    if (slot === 0 || map.slot[id] !== slot || map.generation[id] !== generation) {
      this.retired.push({ slot: place.slot, version: 0 })
      return false
    }
    if (slot !== map.cutSlot[id]) this.retired.push({ slot, version: 0 })
    map.slot[id] = place.slot
    const state = map.state[id] as number
    if ((state & State.Changed) === 0) this.changed.push(id)
    map.state[id] = state | State.Changed
    return true
  }

  /** The checkpoint in flight exists: its superblock is durable. */
  complete(): void {
    invariant(this.inFlight !== 0 && this.uncaptured === 0, "Pages I1")
    this.endCut()
  }

  /** The checkpoint in flight failed: all that it covered is part of the next one. */
  abandon(): void {
    const { map } = this
    invariant(this.inFlight !== 0, "Pages I1")
    for (const id of this.cutChanged) {
      const state = map.state[id] as number
      if ((state & State.Cut) !== 0) this.clearCut(id)
      if ((state & State.Changed) === 0) this.changed.push(id)
      map.state[id] = ((map.state[id] as number) | State.Changed) & ~State.Cut
    }
    this.drainCaptured()
    this.endCut()
  }

  private endCut(): void {
    this.inFlight = 0
    this.cutChanged = []
    this.map.releaseFreedIds()
  }

  /** Takes a page out of memory. False where it may not go: dirty, an inner node, or not there. */
  evict(id: number): boolean {
    const { map } = this
    const address = map.block[id] as number
    if (address < 0 || ((map.state[id] as number) & (State.Dirty | State.Inner | State.Free)) !== 0) {
      return false
    }
    invariant(map.slot[id] !== 0, "Pages I2")
    map.block[id] = -1
    map.generation[id] = (map.generation[id] as number) + 1 | 0
    map.state[id] = (map.state[id] as number) & ~(State.Imaged | State.Referenced)
    this.arena.release(address)
    return true
  }

  /**
   * Puts a verified image into memory (`verify`, PageCheck.ts). `generation` is the page's when the load was asked
   * for: a page that was freed or loaded since is left alone.
   */
  install(id: number, generation: number, image: Uint8Array): "installed" | "stale" | "full" {
    const { map } = this
    if (!map.isUsed(id) || map.generation[id] !== generation || (map.block[id] as number) >= 0) return "stale"
    const address = this.arena.allocate()
    if (address < 0) return "full"
    const bytes = this.arena.bytesOf(address)
    const words = this.arena.wordsOf(address)
    const at = address & this.arena.mask
    bytes.set(image, at * 4)
    Page.unseal(words, at)
    map.block[id] = address
    map.generation[id] = generation + 1 | 0
    const kind = Page.level(words, at) > 0 ? State.Inner : 0
    map.state[id] = ((map.state[id] as number) & State.Changed) | kind | State.Referenced
    return "installed"
  }
}

/**
 * The protocol by which pages change, and what a checkpoint gets of them.
 *
 * Whoever changes a page calls `touch` first, or `touchMini` where the change goes to its mini-page. That is what makes
 * a checkpoint consistent: the first change after a cut copies what was, so a checkpoint never waits for writers nor
 * they for it. Base page and mini-page of a leaf are two things here, each with bits of its own.
 *
 * ```
 *            touch                        cut (a checkpoint begins)
 *   Clean ───────────▶ Dirty, Changed ───────────────────────────────▶ Dirty, Cut
 *     ▲                    │  ▲                                          │     │
 *     │ imaged,            │  │ touch: the old bytes go to `captured`    │     │ capture: an image is taken
 *     │ not touched since  │  └──────────────────────────────────────────┘     ▼
 *     └────────────────────┴──────────────────────────────── Dirty, Imaged ◀───┘
 *
 *            touchMini                       cut
 *   Packed ───────────▶ Unpacked, Changed ───────▶ Unpacked, CutMini ── capture, or touchMini and captured ──▶ Packed
 * ```
 *
 * A base page has two places: `slot`, the newest image, and `cutSlot`, the image that the newest cut refers to. A
 * mini-page has one, the *pack* that the newest cut refers to: several mini-pages share a page of the file. A slot that
 * nothing names any more is *retired*, with the version of the first checkpoint that does not refer to it (0 where no
 * checkpoint ever did), so that whoever owns the slots can tell when it is free.
 *
 * I1 Between a cut and its end everything of the cut gets exactly one image at the cut: captured, swept, or the image
 *    of an eviction that was on its way and is still right.
 * I2 A page leaves memory only while it has an image of just its content.
 * I3 An image counts as the page's newest only while the page's generation is the image's.
 */
import { invariant } from "../../Invariant.ts"
import { imageOf } from "../page/MiniPage.ts"
import type { Arena } from "./Arena.ts"
import { Buffers } from "./Buffers.ts"
import type { Image } from "./Image.ts"
import { Captured } from "./Image.ts"
import type { Place } from "./MapChunk.ts"
import { MapTable, State } from "./MapTable.ts"
import { Packs } from "./Packs.ts"

/** A slot that is needed no more by checkpoints from `version` on; 0 = none ever referred to it. */
export interface RetiredSlot {
  readonly slot: number
  readonly version: number
}

export interface Cut {
  /** Version of the checkpoint. */
  readonly version: number
  /** Every id whose places differ, or will, from the last checkpoint's: freed ones included. */
  readonly changed: Int32Array
  /** Those of them that need an image: to be asked of `capture`, unless they turn up in `captured` first. */
  readonly pending: Int32Array
}

export type { Image } from "./Image.ts"

const changing = State.Dirty | State.Changed
const changingMini = State.Unpacked | State.Changed

/** Buffers that are kept for images to come: half of what is set aside for images by default. */
const buffersKept = (arena: Arena): number => Math.min(512, arena.blocks >>> 5)

export abstract class Changes {
  readonly arena: Arena
  readonly map = new MapTable()
  /** For images of pages, on their way to the disk and from it. */
  readonly buffers: Buffers
  /** The version that the next cut will have. */
  epoch: number
  /** The version of the checkpoint in flight, or 0. */
  inFlight = 0
  /** Bits Cut and CutMini that are set. */
  uncaptured = 0
  /** Most records that any page has had since its last image; counted anew from each cut on. */
  busiest = 0
  /** Images at the cut of pages that changed since; taken by whoever writes them. */
  readonly captured = new Captured()
  retired: Array<RetiredSlot> = []
  readonly packs = new Packs()
  /** How many pages differ from the last cut; which, only their states tell. */
  changedPages = 0
  private cutChanged = new Int32Array(0)

  constructor(arena: Arena, options: { readonly epoch: number }) {
    this.arena = arena
    this.buffers = new Buffers({ pageBytes: arena.pageBytes, most: buffersKept(arena) })
    this.epoch = options.epoch
  }

  /** Memory held by the bookkeeping. */
  get changeBytes(): number {
    return this.cutChanged.length * 4 + this.packs.bytes
  }

  /** Memory of images on their way, and of what is kept for them. */
  get imageBytes(): number {
    return this.buffers.bytes + this.captured.miniBytes
  }

  /** Must be called before each change of a base page in memory. */
  touch(id: number): void {
    const state = this.map.state[id] as number
    if ((state & (changing | State.Cut | State.Imaged)) !== changing) this.firstTouch(id, state)
    this.countRecords(id, 1)
  }

  /** Must be called before each change of a mini-page, its end included; not where it only remembers what is known. */
  touchMini(id: number): void {
    const state = this.map.state[id] as number
    if ((state & (changingMini | State.CutMini)) !== changingMini) this.firstTouchMini(id, state)
    this.countRecords(id, 1)
  }

  /** So many records of the log have changed a page, beside those that a touch counts. */
  countRecords(id: number, more: number): void {
    const records = (this.map.records[id] as number) + more | 0
    this.map.records[id] = records
    if (records > this.busiest) this.busiest = records
  }

  private firstTouch(id: number, state: number): void {
    const { map } = this
    invariant((map.block[id] as number) >= 0, "MapTable I2")
    if ((state & State.Cut) !== 0) this.save(this.copy(id, this.inFlight, "cut"), State.Cut)
    map.generation[id] = (map.generation[id] as number) + 1 | 0
    map.state[id] = (map.state[id] as number) & ~State.Imaged
    this.dropSlot(id)
    this.markChanged(id, changing)
    this.changed(id)
  }

  /** Told of a base page that differs from its image from here on. */
  protected abstract changed(id: number): void

  private firstTouchMini(id: number, state: number): void {
    if ((state & State.CutMini) !== 0) this.saveMini(id)
    this.markChanged(id, changingMini)
  }

  /** Keeps the image at the cut of what is about to change. */
  private save(image: Image, bit: number): void {
    this.captured.push(image)
    this.clearCut(image.pageId, bit)
  }

  private saveMini(id: number): void {
    const image = this.copyMini(id)
    if (image !== undefined) this.save(image, State.CutMini)
    else this.noMini(id)
  }

  protected markChanged(id: number, bits: number): void {
    const { map } = this
    const state = map.state[id] as number
    if ((state & State.Changed) === 0) this.changedPages++
    map.state[id] = state | bits
  }

  /** The newest image is out of date. The checkpoint may still need it; then `cutSlot` has it. */
  private dropSlot(id: number): void {
    const { map } = this
    const slot = map.slot[id] as number
    if (slot !== 0 && slot !== map.cutSlot[id]) this.retired.push({ slot, version: 0 })
    map.slot[id] = 0
    map.checksum[id] = 0
  }

  private clearCut(id: number, bit: number): void {
    this.map.state[id] = (this.map.state[id] as number) & ~bit
    this.uncaptured--
  }

  private copy(id: number, version: number, purpose: Image["purpose"]): Image {
    const address = this.map.block[id] as number
    const start = (address & this.arena.mask) * 4
    const bytes = this.buffers.take()
    bytes.set(this.arena.bytesOf(address).subarray(start, start + this.arena.pageBytes))
    return {
      pageId: id,
      form: "page",
      generation: this.map.generation[id] as number,
      version,
      purpose,
      bytes
    }
  }

  private copyMini(id: number): Image | undefined {
    const address = this.map.mini[id] as number
    const bytes = imageOf(this.arena.wordsOf(address), address & this.arena.mask)
    if (bytes === undefined) return undefined
    return { pageId: id, form: "mini", generation: 0, version: this.inFlight, purpose: "cut", bytes }
  }

  /** The mini-page at the cut has nothing to be written: what was dirty in it has become known to be absent. */
  private noMini(id: number): void {
    this.clearCut(id, State.CutMini)
    this.setPack(id, 0, 0)
  }

  /** A page goes for good: saves what the checkpoint in flight needs of it, and gives up its newest image. */
  protected forsake(id: number): void {
    const state = this.map.state[id] as number
    if ((state & State.Cut) !== 0) this.save(this.copy(id, this.inFlight, "cut"), State.Cut)
    if ((state & State.CutMini) !== 0) this.saveMini(id)
    this.dropSlot(id)
    this.markChanged(id, State.Changed)
  }

  /** Begins a checkpoint of exactly what the pages are now. */
  cut(): Cut {
    invariant(this.inFlight === 0 && this.uncaptured === 0, "Changes I1: one checkpoint at a time")
    const { map } = this
    const version = this.epoch++
    this.inFlight = version
    this.busiest = 0
    const changed = this.cutChanged = this.takeChanged()
    const pending = new Int32Array(changed.length)
    let count = 0
    for (const id of changed) {
      let state = (map.state[id] as number) & ~State.Changed
      if ((state & State.Dirty) !== 0) state |= State.Cut
      if ((state & State.Unpacked) !== 0) state |= State.CutMini
      map.state[id] = state
      if ((state & State.Cut) === 0) this.setCut(id, map.slot[id] as number, map.checksum[id] as number)
      else this.uncaptured++
      if ((state & State.Mini) === 0) this.setPack(id, 0, 0)
      else if ((state & State.CutMini) !== 0) this.uncaptured++
      if ((state & (State.Cut | State.CutMini)) !== 0) pending[count++] = id
    }
    map.holdFreedIds()
    return { version, changed, pending: pending.subarray(0, count) }
  }

  /** All of them are looked at: a list would hold for each page what its state says anyway. */
  private takeChanged(): Int32Array<ArrayBuffer> {
    const { bound, state } = this.map
    const changed = new Int32Array(this.changedPages)
    let count = 0
    for (let id = 1; id < bound; id++) {
      if (((state[id] as number) & State.Changed) !== 0) changed[count++] = id
    }
    invariant(count === this.changedPages, "Changes: what has changed is counted")
    this.changedPages = 0
    return changed
  }

  private setCut(id: number, slot: number, checksum: number): void {
    const { map } = this
    const older = map.cutSlot[id] as number
    if (older !== 0 && older !== slot) this.retired.push({ slot: older, version: this.inFlight })
    map.cutSlot[id] = slot
    map.cutChecksum[id] = checksum
  }

  private setPack(id: number, slot: number, checksum: number): void {
    const { map, packs } = this
    const older = map.pack[id] as number
    map.pack[id] = slot
    map.packChecksum[id] = checksum
    if (slot !== 0) packs.name(slot, 1)
    if (older !== 0 && packs.leave(older)) this.retired.push({ slot: older, version: this.inFlight })
  }

  /** Adds the images at the cut of what did not change since; none where another was or will be used. */
  capture(id: number, images: Array<Image>): void {
    const state = this.map.state[id] as number
    if ((state & State.Cut) !== 0) {
      this.clearCut(id, State.Cut)
      this.map.state[id] = (this.map.state[id] as number) | State.Imaged
      images.push(this.copy(id, this.inFlight, "cut"))
    }
    if ((state & State.CutMini) === 0) return
    const image = this.copyMini(id)
    if (image === undefined) this.noMini(id)
    else {
      this.clearCut(id, State.CutMini)
      images.push(image)
    }
    this.map.state[id] = (this.map.state[id] as number) & ~State.Unpacked
  }

  /** An image of a dirty page as it is now, to be written so that the page can be evicted. */
  image(id: number): Image {
    invariant(((this.map.state[id] as number) & State.Dirty) !== 0, "Changes I2")
    this.map.state[id] = (this.map.state[id] as number) | State.Imaged
    return this.copy(id, this.epoch, "eviction")
  }

  /** An image of a base page is in its slot. */
  imaged(image: Image, place: Place): void {
    const { map } = this
    this.buffers.give(image.bytes)
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
    map.state[id] = state & ~State.Dirty | State.Checked
    if ((state & State.Cut) === 0) return
    // Unchanged since before the cut: what was written for an eviction is the image at the cut.
    this.clearCut(id, State.Cut)
    this.setCut(id, place.slot, place.checksum)
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
    this.markChanged(id, State.Changed)
    return true
  }

  /** Mini-pages whose packs stand in slot `from` or above are packed anew by the next checkpoint. */
  repack(from: number): void {
    const { map } = this
    for (let id = 1; id < map.bound; id++) {
      const isPacked = ((map.state[id] as number) & State.Mini) !== 0 && (map.pack[id] as number) >= from
      if (isPacked) this.markChanged(id, changingMini)
    }
  }

  /** The image of a mini-page at the cut is in a pack. */
  packed(image: Image, place: Place): void {
    if (image.version === this.inFlight) this.setPack(image.pageId, place.slot, place.checksum)
  }

  /**
   * An image did not get into a slot: the page needs another one. Another image of the same content may still be on
   * its way; it does not count either, as from here on a change of the page is not seen by it.
   */
  imageLost(image: Image): void {
    const { map } = this
    const id = image.pageId
    // A checkpoint without its packs is abandoned.
    if (image.form === "mini") return
    this.buffers.give(image.bytes)
    if (map.generation[id] !== image.generation) return
    map.generation[id] = image.generation + 1 | 0
    map.state[id] = (map.state[id] as number) & ~State.Imaged
  }

  /** The checkpoint in flight exists: its superblock is durable. */
  complete(): void {
    invariant(this.inFlight !== 0 && this.uncaptured === 0, "Changes I1")
    this.endCut()
  }

  /** The checkpoint in flight failed: all that it covered is part of the next one. */
  abandon(): void {
    const { map } = this
    invariant(this.inFlight !== 0, "Changes I1")
    for (const id of this.cutChanged) {
      const state = map.state[id] as number
      if ((state & State.Cut) !== 0) this.clearCut(id, State.Cut)
      if ((state & State.CutMini) !== 0) this.clearCut(id, State.CutMini)
      this.markChanged(id, State.Changed | ((state & State.Mini) !== 0 ? State.Unpacked : 0))
    }
    for (const { bytes, form } of this.captured.drain()) if (form === "page") this.buffers.give(bytes)
    this.endCut()
  }

  private endCut(): void {
    this.inFlight = 0
    this.cutChanged = new Int32Array(0)
    this.map.releaseFreedIds()
  }
}

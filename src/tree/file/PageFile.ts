/**
 * The slots of the page file: which are free, and since when.
 *
 * A page image is written into a free slot and never changed there (copy on write). What must not be broken: a slot
 * that one of the two retained checkpoints refers to, or that somebody is reading, is never handed out (I1, I5). This
 * file does the bookkeeping only; it neither reads nor writes the disk.
 *
 * Versions are checkpoint versions. A slot is *born* for the first version that may refer to it and *retired* at the
 * first version that does not:
 *
 * ```
 *            allocate(version)                  retire(slot, version)
 *   Free ───────────────────────▶ Live ───────────────────────────────▶ Free      born at `version` or later: no
 *    ▲                              │                                    (I5)     checkpoint ever referred to it
 *    │                              └─ retire(slot, version), born earlier ──▶ Retired
 *    └──(I5)── publish(older): both retained checkpoints are at its retirement or later ──┘
 *                                 Live ── quarantine(slot) ──▶ Quarantined        a write to it failed
 * ```
 *
 * What a retired slot waits for stands where its birth stood, which nobody asks for any more. Rejected: a list of them,
 * thirty bytes for nearly every page in a store that is overwritten.
 *
 * I1 A slot is in exactly one state; `allocate` hands out free ones only, the lowest first.
 * I2 A retired slot becomes free only when the older retained checkpoint is at its retirement version or later.
 * I3 Slot 0 holds the header of the page file and is never handed out.
 * I4 Every slot at the bound or above is free: only free ones leave the bookkeeping.
 * I5 A slot becomes free only when every reader is gone that had its epoch pinned when the slot was given up.
 */
import { invariant } from "../../Invariant.ts"
import { Epoch } from "../memory/Epoch.ts"

const Free = 0
const Live = 1
const Retired = 2
const Quarantined = 3
/** Retired, of no use to any checkpoint, and held for somebody who reads it. */
const Read = 4
const stateNames = ["free", "live", "retired", "quarantined", "retired"] as const

/** Bytes of bookkeeping per slot: state and version. */
const bytesPerSlot = 5
/** Bytes of one that waits for who reads it, in the list of an epoch. */
const bytesPerRead = 8

/** Slots whose free ones are counted together, so that a full stretch is passed over at once. */
const stretchSlots = 1024

/** A sealed page image, and the checkpoint version that is the first to refer to it. */
export interface SealedImage {
  readonly bytes: Uint8Array
  readonly checksum: number
  readonly version: number
}

export class PageFile {
  /** Pinned by whoever reads a slot without being the one that writes them. */
  readonly epoch = new Epoch<number>((slot) => this.release(slot))
  private state = new Uint8Array(stretchSlots)
  /** The version for which a live slot was born, and for which a retired one was retired. */
  private version = new Int32Array(stretchSlots)
  /** Free slots of each stretch. */
  private freeIn = new Int32Array(1)
  private free = 0
  /** No stretch below this one has a free slot. */
  private lowest = 0
  private retired = 0
  private live = 0
  private bound = 1

  /** One past the highest slot in the books; the file is about this many pages long. */
  get slots(): number {
    return this.bound
  }

  /** One past the highest live slot: the next checkpoint refers to none above. */
  get used(): number {
    let slot = this.bound - 1
    while (slot > 0 && this.state[slot] !== Live) slot--
    return slot + 1
  }

  get liveSlots(): number {
    return this.live
  }

  get freeCount(): number {
    return this.free
  }

  /** Slots that wait to become free: for a checkpoint, or for somebody who reads them. */
  get retiredCount(): number {
    return this.retired + this.epoch.waiting
  }

  get quarantinedCount(): number {
    return this.bound - 1 - this.free - this.live - this.retiredCount
  }

  stateOf(slot: number): "free" | "live" | "retired" | "quarantined" {
    return stateNames[this.state[slot] as number] ?? "free"
  }

  /** Memory held by this bookkeeping. */
  get bytes(): number {
    return this.state.length * bytesPerSlot + this.freeIn.byteLength + this.epoch.waiting * bytesPerRead
  }

  /** Takes the lowest free slot for an image that checkpoint `version` is the first to refer to. */
  allocate(version: number): number {
    const slot = this.free === 0 ? this.extend() : this.lowestFree()
    invariant(slot > 0 && slot < this.bound && this.state[slot] === Free, "PageFile I1")
    this.free--
    this.addFree(slot, -1)
    this.state[slot] = Live
    this.version[slot] = version
    this.live++
    return slot
  }

  /** The image in `slot` is superseded: checkpoint `version` is the first that does not refer to it. */
  retire(slot: number, version: number): void {
    invariant(this.state[slot] === Live, "PageFile I1")
    this.live--
    if ((this.version[slot] as number) >= version) this.giveUp(slot)
    else this.wait(slot, version)
  }

  private wait(slot: number, version: number): void {
    this.state[slot] = Retired
    this.version[slot] = version
    this.retired++
  }

  private giveUp(slot: number): void {
    this.state[slot] = Read
    this.epoch.retire(slot)
  }

  /** A write to `slot` failed: it is not handed out again while the store is open. */
  quarantine(slot: number): void {
    invariant(this.state[slot] === Live, "PageFile I1")
    this.live--
    this.state[slot] = Quarantined
  }

  /**
   * A checkpoint is durable and `older` is the version of the other retained one. Gives up what neither refers to and
   * answers how many slots that were.
   */
  publish(older: number): number {
    const before = this.retired
    for (let slot = this.state.indexOf(Retired); slot >= 0; slot = this.state.indexOf(Retired, slot + 1)) {
      if ((this.version[slot] as number) > older) continue
      this.retired--
      this.giveUp(slot)
    }
    return before - this.retired
  }

  /** Drops free slots at the end from the books, but none below `floor`; answers how many (I4). */
  trim(floor: number): number {
    const before = this.bound
    while (this.bound > Math.max(1, floor) && this.state[this.bound - 1] === Free) {
      this.bound--
      this.free--
      this.addFree(this.bound, -1)
    }
    return before - this.bound
  }

  /**
   * Restores the bookkeeping at open: `newest` and `older` are the slots that the two retained checkpoints refer to,
   * `version` the newest's. Answers false where a slot lies outside the file or two pages claim one slot.
   */
  restore(
    options: {
      readonly slots: number
      readonly version: number
      readonly newest: Iterable<number>
      readonly older: Iterable<number>
    }
  ): boolean {
    this.bound = Math.max(1, options.slots)
    this.grow(this.bound)
    this.state.fill(Free)
    for (const slot of options.newest) {
      if (slot <= 0 || slot >= this.bound || this.state[slot] !== Free) return false
      this.state[slot] = Live
      this.version[slot] = options.version
      this.live++
    }
    for (const slot of options.older) {
      if (slot <= 0 || slot >= this.bound) return false
      if (this.state[slot] !== Free) continue
      this.wait(slot, options.version)
    }
    for (let slot = 1; slot < this.bound; slot++) if (this.state[slot] === Free) this.release(slot)
    return true
  }

  private lowestFree(): number {
    while (this.freeIn[this.lowest] === 0) this.lowest++
    return this.state.indexOf(Free, Math.max(1, this.lowest * stretchSlots))
  }

  private extend(): number {
    const slot = this.bound++
    this.grow(this.bound)
    this.release(slot)
    return slot
  }

  private release(slot: number): void {
    this.state[slot] = Free
    this.free++
    this.addFree(slot, 1)
    this.lowest = Math.min(this.lowest, Math.floor(slot / stretchSlots))
  }

  private addFree(slot: number, count: number): void {
    const stretch = Math.floor(slot / stretchSlots)
    this.freeIn[stretch] = (this.freeIn[stretch] as number) + count
  }

  private grow(slots: number): void {
    if (slots <= this.state.length) return
    const length = Math.ceil(Math.max(slots, this.state.length * 1.25) / stretchSlots) * stretchSlots
    const state = new Uint8Array(length)
    const version = new Int32Array(length)
    const freeIn = new Int32Array(length / stretchSlots)
    state.set(this.state)
    version.set(this.version)
    freeIn.set(this.freeIn)
    this.state = state
    this.version = version
    this.freeIn = freeIn
  }
}

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
 * I1 A slot is in exactly one state; `allocate` hands out free ones only, the lowest first.
 * I2 A retired slot becomes free only when the older retained checkpoint is at its retirement version or later.
 * I3 Slot 0 holds the header of the page file and is never handed out.
 * I4 Every slot at the bound or above is free: only free ones leave the bookkeeping.
 * I5 A slot becomes free only when every reader is gone that had its epoch pinned when the slot was given up.
 */
import { invariant } from "../Invariant.ts"
import { Epoch } from "./Epoch.ts"

const Free = 0
const Live = 1
const Retired = 2
const Quarantined = 3
const stateNames = ["free", "live", "retired", "quarantined"] as const

/** Bytes of bookkeeping per slot: state and birth. */
const bytesPerSlot = 5

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
  private birth = new Int32Array(stretchSlots)
  /** Free slots of each stretch. */
  private freeIn = new Int32Array(1)
  private free = 0
  /** No stretch below this one has a free slot. */
  private lowest = 0
  private retired: Array<{ readonly slot: number; readonly version: number }> = []
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
    return this.retired.length + this.epoch.waiting
  }

  get quarantinedCount(): number {
    return this.bound - 1 - this.free - this.live - this.retiredCount
  }

  stateOf(slot: number): "free" | "live" | "retired" | "quarantined" {
    return stateNames[this.state[slot] as number] ?? "free"
  }

  /** Memory held by this bookkeeping. */
  get bytes(): number {
    return this.state.length * bytesPerSlot + this.freeIn.byteLength + this.retiredCount * 32
  }

  /** Takes the lowest free slot for an image that checkpoint `version` is the first to refer to. */
  allocate(version: number): number {
    const slot = this.free === 0 ? this.extend() : this.lowestFree()
    invariant(slot > 0 && slot < this.bound && this.state[slot] === Free, "PageFile I1")
    this.free--
    this.addFree(slot, -1)
    this.state[slot] = Live
    this.birth[slot] = version
    this.live++
    return slot
  }

  /** The image in `slot` is superseded: checkpoint `version` is the first that does not refer to it. */
  retire(slot: number, version: number): void {
    invariant(this.state[slot] === Live, "PageFile I1")
    this.live--
    this.state[slot] = Retired
    if ((this.birth[slot] as number) >= version) this.epoch.retire(slot)
    else this.retired.push({ slot, version })
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
    this.retired = before.filter(({ version }) => version > older)
    for (const { slot, version } of before) if (version <= older) this.epoch.retire(slot)
    return before.length - this.retired.length
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
      this.birth[slot] = options.version
      this.live++
    }
    for (const slot of options.older) {
      if (slot <= 0 || slot >= this.bound) return false
      if (this.state[slot] !== Free) continue
      this.state[slot] = Retired
      this.retired.push({ slot, version: options.version })
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
    const birth = new Int32Array(length)
    const freeIn = new Int32Array(length / stretchSlots)
    state.set(this.state)
    birth.set(this.birth)
    freeIn.set(this.freeIn)
    this.state = state
    this.birth = birth
    this.freeIn = freeIn
  }
}

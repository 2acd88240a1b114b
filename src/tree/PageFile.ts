/**
 * The slots of the page file: which are free, and since when.
 *
 * A page image is written into a free slot and never changed there (copy on write). What must not be broken: a slot
 * that one of the two retained checkpoints refers to is never handed out (I1). This file does the bookkeeping only; it
 * neither reads nor writes the disk.
 *
 * Versions are checkpoint versions. The *epoch* is the version that the next cut will get. A slot is *born* for the
 * first version that may refer to it and *retired* at the first version that does not:
 *
 * ```
 *            allocate(version)                  retire(slot, version)
 *   Free ───────────────────────▶ Live ───────────────────────────────▶ Free      born at `version` or later: no
 *    ▲                              │                                             checkpoint ever referred to it
 *    │                              └─ retire(slot, version), born earlier ──▶ Retired
 *    └───────── publish(older): both retained checkpoints are at its retirement or later ──┘
 *                                 Live ── quarantine(slot) ──▶ Quarantined        a write to it failed
 * ```
 *
 * I1 A slot is in exactly one state; `allocate` hands out free ones only.
 * I2 A retired slot becomes free only when the older retained checkpoint is at its retirement version or later.
 * I3 Slot 0 holds the header of the page file and is never handed out.
 */
import { invariant } from "../Invariant.ts"

const Free = 0
const Live = 1
const Retired = 2
const Quarantined = 3
const stateNames = ["free", "live", "retired", "quarantined"] as const

/** Bytes of bookkeeping per slot: state and birth. */
const bytesPerSlot = 5

/** A sealed page image, and the checkpoint version that is the first to refer to it. */
export interface SealedImage {
  readonly bytes: Uint8Array
  readonly checksum: number
  readonly version: number
}

export class PageFile {
  private state = new Uint8Array(64)
  private birth = new Int32Array(64)
  /** Free slots, highest first, so that what is popped comes in runs that one write can cover. */
  private freeSlots: Array<number> = []
  private retired: Array<{ readonly slot: number; readonly version: number }> = []
  private live = 0
  private bound = 1

  /** One past the highest slot ever used; the file is this many pages long. */
  get slots(): number {
    return this.bound
  }

  get liveSlots(): number {
    return this.live
  }

  get freeCount(): number {
    return this.freeSlots.length
  }

  get retiredCount(): number {
    return this.retired.length
  }

  get quarantinedCount(): number {
    return this.bound - 1 - this.freeSlots.length - this.live - this.retired.length
  }

  stateOf(slot: number): "free" | "live" | "retired" | "quarantined" {
    return stateNames[this.state[slot] as number] ?? "free"
  }

  /** Memory held by this bookkeeping. */
  get bytes(): number {
    return this.state.length * bytesPerSlot + (this.freeSlots.length + this.retired.length * 4) * 8
  }

  /** Takes a free slot for an image that checkpoint `version` is the first to refer to. */
  allocate(version: number): number {
    let slot = this.freeSlots.pop()
    if (slot === undefined) {
      slot = this.bound++
      this.grow(this.bound)
    }
    invariant(slot > 0 && this.state[slot] === Free, "PageFile I1")
    this.state[slot] = Live
    this.birth[slot] = version
    this.live++
    return slot
  }

  /** The image in `slot` is superseded: checkpoint `version` is the first that does not refer to it. */
  retire(slot: number, version: number): void {
    invariant(this.state[slot] === Live, "PageFile I1")
    this.live--
    if ((this.birth[slot] as number) >= version) {
      this.release(slot)
    } else {
      this.state[slot] = Retired
      this.retired.push({ slot, version })
    }
  }

  /** A write to `slot` failed: it is not handed out again while the store is open. */
  quarantine(slot: number): void {
    invariant(this.state[slot] === Live, "PageFile I1")
    this.live--
    this.state[slot] = Quarantined
  }

  /**
   * A checkpoint is durable and `older` is the version of the other retained one. Frees what neither refers to and
   * answers how many slots that were.
   */
  publish(older: number): number {
    const before = this.retired.length
    const kept: Array<{ readonly slot: number; readonly version: number }> = []
    for (const entry of this.retired) {
      if (entry.version <= older) this.release(entry.slot)
      else kept.push(entry)
    }
    this.retired = kept
    this.freeSlots.sort((a, b) => b - a)
    return before - kept.length
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
    for (let slot = this.bound - 1; slot > 0; slot--) if (this.state[slot] === Free) this.freeSlots.push(slot)
    return true
  }

  private release(slot: number): void {
    this.state[slot] = Free
    this.freeSlots.push(slot)
  }

  private grow(slots: number): void {
    if (slots <= this.state.length) return
    const length = Math.max(slots, this.state.length * 2)
    const state = new Uint8Array(length)
    const birth = new Int32Array(length)
    state.set(this.state)
    birth.set(this.birth)
    this.state = state
    this.birth = birth
  }
}

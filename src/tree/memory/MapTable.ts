/**
 * The map table: page id → where the page is, and what is known of it.
 *
 * Everything is in typed arrays that grow by a quarter; there is no object per page. Ids are unsigned 32-bit numbers
 * from 1 on; 0 is no page.
 *
 * ```
 *   id:  Free ──allocate──▶ used ──free──▶ Free, or parked while a checkpoint is in flight
 * ```
 *
 * I1 An id is free or used, and handed out only when free; a parked id is neither until it is released.
 * I2 Dirty implies a block, and Cut implies Dirty. A page without a block has a slot, unless it is being made.
 * I3 `slot` is 0 while the page is Dirty: the older image is of no use but to the checkpoints, which have `cutSlot`.
 * I4 Mini says whether there is a mini-page; Unpacked and CutMini imply it.
 *
 * It keeps the books only. Who may change what, and in which order, is in `Pages.ts`.
 */
import { invariant } from "../../Invariant.ts"
import { widerInts, widerShorts } from "./Columns.ts"

/** State bits. Those of the base page and those of the mini-page are independent of each other. */
export const State = {
  /** The base page in memory differs from any image of it. */
  Dirty: 1,
  /** Differs from what it was at the newest cut; the id is counted among those. */
  Changed: 2,
  /** The checkpoint in flight still needs an image of the base page as it was at the cut. */
  Cut: 4,
  /** Was used since it came into the second-chance region. */
  Referenced: 8,
  /** May be changed where it is; a leaf without it is a copy of its image, and what changes goes to its mini-page. */
  Mutable: 16,
  /** An inner node: not evicted. */
  Inner: 32,
  /** The id is not in use. */
  Free: 64,
  /** An image of just this content was taken and is on its way. */
  Imaged: 128,
  /** Has a mini-page. */
  Mini: 256,
  /** The mini-page differs from its packed image. */
  Unpacked: 512,
  /** The checkpoint in flight still needs an image of the mini-page as it was at the cut. */
  CutMini: 1024,
  /** Was used at least twice since it was spared last. */
  Again: 2048,
  /** A guest that a scan brought in, and that nothing else has used. */
  Passing: 4096,
  /** What its checksum stands for was made here, or checked whole when it was loaded: the checksum says the rest. */
  Checked: 8192
} as const

/** Marks of use. */
export const used = State.Referenced | State.Again

/** A state after one more use. */
export const usedOnce = (state: number): number => state | State.Referenced | (state & State.Referenced) << 8

/** Whether a leaf's base page may be changed where it is, without a mini-page. */
export const isInPlace = (state: number): boolean => (state & (State.Mutable | State.Mini)) === State.Mutable

/** Bytes of bookkeeping per page id; an id that is free has four more. */
const bytesPerId = 4 * 10 + 2 * 2

export class MapTable {
  /** Block address; -1 = not in memory. */
  block: Int32Array
  /** Block address of the mini-page; -1 = none. */
  mini: Int32Array
  /** Slot of the newest image; 0 = none. */
  slot: Int32Array
  /** CRC-32 of that image, as an int32. */
  checksum: Int32Array
  /** Slot and checksum as of the newest cut: what a checkpoint writes down. */
  cutSlot: Int32Array
  cutChecksum: Int32Array
  /** Slot and checksum of the pack that holds the mini-page's image as of the newest cut; 0 = none. */
  pack: Int32Array
  packChecksum: Int32Array
  /** Counts changes of content after an image was taken, evictions, loads and frees: an older answer is stale. */
  generation: Int32Array
  /** Log records applied since the last image. */
  records: Int32Array
  /** Records of a leaf when it left memory; 0 = not known. */
  leafRecords: Uint16Array<ArrayBuffer>
  state: Uint16Array<ArrayBuffer>
  private nextId = 1
  private freeIds: Int32Array
  private freeCount = 0
  private holding = false
  private readonly held: Array<number> = []

  constructor() {
    const length = 64
    this.block = new Int32Array(length).fill(-1)
    this.mini = new Int32Array(length).fill(-1)
    this.slot = new Int32Array(length)
    this.checksum = new Int32Array(length)
    this.cutSlot = new Int32Array(length)
    this.cutChecksum = new Int32Array(length)
    this.pack = new Int32Array(length)
    this.packChecksum = new Int32Array(length)
    this.generation = new Int32Array(length)
    this.records = new Int32Array(length)
    this.leafRecords = new Uint16Array(length)
    this.state = new Uint16Array(length).fill(State.Free)
    this.freeIds = new Int32Array(length)
  }

  /** One past the highest id ever used. */
  get bound(): number {
    return this.nextId
  }

  /** Ids in use. */
  get used(): number {
    return this.nextId - 1 - this.freeCount - this.held.length
  }

  get bytes(): number {
    return this.block.length * bytesPerId + this.freeIds.length * 4 + this.held.length * 8
  }

  isUsed(id: number): boolean {
    return id > 0 && id < this.nextId && ((this.state[id] as number) & State.Free) === 0
  }

  /** Takes a free id. Its state is 0 and its cut view is what the last checkpoint knows under this id. */
  allocate(): number {
    const id = this.freeCount > 0 ? this.freeIds[--this.freeCount] as number : this.nextId++
    if (id >= this.block.length) this.grow(id + 1)
    invariant(this.state[id] === State.Free || this.state[id] === (State.Free | State.Changed), "MapTable I1")
    this.state[id] = (this.state[id] as number) & State.Changed
    this.records[id] = 0
    this.leafRecords[id] = 0
    return id
  }

  /** Gives an id back. The caller has released its block. */
  free(id: number): void {
    invariant(
      this.isUsed(id) && (this.block[id] as number) < 0 && (this.mini[id] as number) < 0,
      "MapTable I1"
    )
    this.state[id] = State.Free | ((this.state[id] as number) & State.Changed)
    this.generation[id] = (this.generation[id] as number) + 1 | 0
    if (this.holding) this.held.push(id)
    else this.pushFree(id)
  }

  /** From now on freed ids are parked: a checkpoint in flight still speaks of them. */
  holdFreedIds(): void {
    this.holding = true
  }

  releaseFreedIds(): void {
    this.holding = false
    for (const id of this.held) this.pushFree(id)
    this.held.length = 0
  }

  /** At open: a page that a checkpoint knows. Call {@link restored} after the last one. */
  restore(id: number, slot: number, checksum: number, pack: number, packChecksum: number): void {
    if (id >= this.block.length) this.grow(id + 1)
    if (id >= this.nextId) this.nextId = id + 1
    this.slot[id] = slot
    this.checksum[id] = checksum
    this.cutSlot[id] = slot
    this.cutChecksum[id] = checksum
    this.pack[id] = pack
    this.packChecksum[id] = packChecksum
    this.state[id] = 0
  }

  /** At open: every id below the bound that was not restored is free. */
  restored(): void {
    this.freeCount = 0
    for (let id = this.nextId - 1; id > 0; id--) {
      if (((this.state[id] as number) & State.Free) !== 0) this.pushFree(id)
    }
  }

  private pushFree(id: number): void {
    if (this.freeCount === this.freeIds.length) {
      this.freeIds = widerInts(this.freeIds, this.freeIds.length * 2)
    }
    this.freeIds[this.freeCount++] = id
  }

  private grow(least: number): void {
    const from = this.block.length
    // By a quarter: the table is part of the memory, and what it has in advance is nobody's.
    const length = Math.max(least, from + Math.max(64, from >>> 2))
    this.block = widerInts(this.block, length).fill(-1, from)
    this.mini = widerInts(this.mini, length).fill(-1, from)
    this.slot = widerInts(this.slot, length)
    this.checksum = widerInts(this.checksum, length)
    this.cutSlot = widerInts(this.cutSlot, length)
    this.cutChecksum = widerInts(this.cutChecksum, length)
    this.pack = widerInts(this.pack, length)
    this.packChecksum = widerInts(this.packChecksum, length)
    this.generation = widerInts(this.generation, length)
    this.records = widerInts(this.records, length)
    this.leafRecords = widerShorts(this.leafRecords, length)
    this.state = widerShorts(this.state, length).fill(State.Free, from)
  }
}

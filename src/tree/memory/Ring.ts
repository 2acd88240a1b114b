/**
 * The circular buffer of Bf-Tree (section 4 of its paper): what is in it moves from the tail, where it is allocated,
 * to the head, where it is evicted; what is used shortly before the head gets a second chance.
 *
 * The paper's ring is one stretch of memory. This one is a queue of *frames*, arena blocks of one page each: a frame
 * holds either one leaf or the blocks of mini-pages, cut from it in size classes. So the ring takes from the arena only
 * what it needs and gives back what it empties, and inner nodes, map table and ring share one budget. Rejected: one
 * stretch of fixed size, which must be chosen before anybody knows how many inner nodes there will be.
 *
 * ```
 *   head                                                                                      tail
 *    │  ◀── second chance ──▶ │                                                                │
 *    ▼                        ▼                                                                ▼
 *   [frame][frame][ frame ]...[frame][frame][frame]...[frame][frame][frame][frame][open: bump ─▶  ]
 *    pop                       entering: marks are cleared             allocate, addPage ──────▶
 * ```
 *
 * A block of a mini-page frame (word 0: state u8, words u24):
 *
 * ```
 *                   allocate                         release
 *   (open frame) ─────────────▶ Live ──────────────────────────────────▶ Free ── allocate ──▶ Live
 *                                │  release, frame popped or in the region  │ frame enters the region, or is popped
 *                                └───────────────▶ Filler ◀─────────────────┘
 *   a frame without Live blocks goes back to the arena, wherever in the queue it is
 * ```
 *
 * The machine of the paper's source, which many threads drive, has six states; NotReady, BeginTombstone and Evicted
 * have no counterpart where an operation is never seen half done.
 *
 * I1 The blocks of a frame lie one after another, without gap, from its start to its bump.
 * I2 A block is on a free list iff it is Free; then its frame is queued and not in the region.
 * I3 The frames in the region are the queue's first ones.
 *
 * It must not know what is in a block beyond word 0 of one of its own.
 */
import { invariant } from "../../Invariant.ts"
import type { Arena } from "./Arena.ts"

const Live = 1
const Free = 2
const Filler = 3

/** Sizes of blocks grow by an eighth, the small ones by more: what is lost by the next larger size are records. */
const stepWords = 8
const leastWords = 32
/** Places of a queue at first. */
const leastFrames = 16

/** Words of the largest size class: half a page. */
export const largestOf = (pageBytes: number): number => pageBytes >>> 3

/**
 * Words of each size class for a page size: 128 bytes, then 32 more each, from 512 on eight to each
 * doubling, to half a page.
 * Two pages are sure to hold what the largest mini-page and its leaf have only where two of the longest fences and the
 * largest record are within half a page; `Consolidate.ts` splits as often as need be.
 */
export const classesOf = (pageBytes: number): Int32Array => {
  const most = largestOf(pageBytes)
  const classes: Array<number> = []
  for (let words = leastWords, step = stepWords; words < most; words += step) {
    classes.push(words)
    if (words === step * 16) step *= 2
  }
  classes.push(most)
  return new Int32Array(classes)
}

export interface RingOptions {
  /** Part of the frames, in percent, that is the second-chance region. */
  readonly secondChancePercent: number
}

export class Ring {
  /** Words of each size class, ascending. */
  readonly classes: Int32Array
  /** Frames in the queue, by what they hold. */
  miniFrames = 0
  pageFrames = 0
  /** Frames that were popped and still have Live blocks. */
  evacuating = 0
  /** Words of Live blocks. */
  liveWords = 0
  private readonly arena: Arena
  private readonly percent: number
  /** Class by words / `stepWords`: the smallest one that holds so much. */
  private readonly classBySteps: Uint8Array
  /** First free block of each class, -1 = none; linked by words 1 (before) and 2 (after) of the blocks. */
  private readonly freeHead: Int32Array
  /** Per arena block: place in the queue or -1, Live blocks, words from the start that are blocks. */
  private readonly position: Int32Array
  private readonly live: Uint16Array
  private readonly bump: Uint16Array
  private readonly holdsMinis: Uint8Array
  /** Frame addresses, -1 where one left from the middle; indices count up for ever. */
  private order: Int32Array
  private head = 0
  private tail = 0
  /** One past the last index of the region. */
  private region = 0
  private regionFrames = 0
  /** The frame that blocks are cut from, or -1. */
  private open = -1

  constructor(arena: Arena, options: RingOptions) {
    this.arena = arena
    this.percent = options.secondChancePercent
    this.classes = classesOf(arena.pageBytes)
    const most = this.classes.at(-1) as number
    this.classBySteps = new Uint8Array(most / stepWords + 1)
    for (let step = 0, found = 0; step < this.classBySteps.length; step++) {
      while ((this.classes[found] as number) < step * stepWords) found++
      this.classBySteps[step] = found
    }
    this.freeHead = new Int32Array(this.classes.length).fill(-1)
    this.position = new Int32Array(arena.blocks).fill(-1)
    this.live = new Uint16Array(arena.blocks)
    this.bump = new Uint16Array(arena.blocks)
    this.holdsMinis = new Uint8Array(arena.blocks)
    this.order = new Int32Array(leastFrames).fill(-1)
  }

  get frames(): number {
    return this.miniFrames + this.pageFrames
  }

  /** Memory of the bookkeeping. */
  get bytes(): number {
    return this.arena.blocks * 9 + this.order.length * 4
  }

  /** The smallest class that holds so many words, or -1. */
  classFor(words: number): number {
    const steps = Math.ceil(words / stepWords)
    return steps < this.classBySteps.length ? this.classBySteps[steps] as number : -1
  }

  /** Words of a Live block. */
  wordsOf(address: number): number {
    return (this.arena.wordsOf(address)[address & this.arena.mask] as number) >>> 8
  }

  /** The address of a block of a class, or -1: the arena has no frame to give, and no free block is large enough. */
  allocate(sizeClass: number): number {
    const words = this.classes[sizeClass] as number
    const free = this.freeHead[sizeClass] as number
    if (free >= 0) {
      this.unlink(free)
      return this.takeUp(free, words)
    }
    if (
      this.open < 0 || (this.bump[this.arena.blockOf(this.open)] as number) + words > this.arena.pageWords
    ) {
      const frame = this.arena.allocate()
      if (frame < 0) return this.split(sizeClass, words)
      this.close()
      this.begin(frame)
    }
    const block = this.arena.blockOf(this.open)
    const address = this.open + (this.bump[block] as number)
    this.bump[block] = (this.bump[block] as number) + words
    return this.takeUp(address, words)
  }

  private takeUp(address: number, words: number): number {
    const block = this.arena.blockOf(address)
    this.live[block] = (this.live[block] as number) + 1
    this.liveWords += words
    this.mark(address, Live, words)
    return address
  }

  /** Cuts a block from a free one of a larger class. */
  private split(sizeClass: number, words: number): number {
    for (let larger = sizeClass + 1; larger < this.classes.length; larger++) {
      const free = this.freeHead[larger] as number
      if (free < 0) continue
      this.unlink(free)
      this.cut(free + words, (this.classes[larger] as number) - words)
      return this.takeUp(free, words)
    }
    return -1
  }

  private begin(frame: number): void {
    const block = this.arena.blockOf(frame)
    this.open = frame
    this.bump[block] = 0
    this.live[block] = 0
    this.holdsMinis[block] = 1
    this.miniFrames++
    this.enqueue(frame)
  }

  /** What is left of the open frame becomes free blocks of smaller classes. */
  private close(): void {
    if (this.open < 0) return
    const block = this.arena.blockOf(this.open)
    const used = this.bump[block] as number
    const rest = this.arena.pageWords - used
    const address = this.open + used
    this.open = -1
    this.bump[block] = this.arena.pageWords
    if (rest > 0) this.cut(address, rest)
  }

  /** Makes free blocks, the largest first, of a stretch that is no block's any more. */
  private cut(address: number, words: number): void {
    let at = address
    let left = words
    for (let size = this.classes.length - 1; size >= 0; size--) {
      const each = this.classes[size] as number
      for (; left >= each; left -= each, at += each) this.makeFree(at, each)
    }
    if (left > 0) this.mark(at, Filler, left)
  }

  /** Gives a block back. */
  release(address: number): void {
    const block = this.arena.blockOf(address)
    const words = this.wordsOf(address)
    invariant(this.stateOf(address) === Live, "Ring I2")
    this.liveWords -= words
    const live = (this.live[block] as number) - 1
    this.live[block] = live
    this.mark(address, Filler, words)
    if (live === 0) this.dropFrame(block << this.arena.blockShift)
    else if (this.takesFree(block)) this.makeFree(address, words)
  }

  /** Not so in the region, nor in a frame that was popped. */
  private takesFree(block: number): boolean {
    const position = this.position[block] as number
    return position >= 0 && position >= this.region
  }

  /** A frame without Live blocks goes back to the arena. */
  private dropFrame(frame: number): void {
    const block = this.arena.blockOf(frame)
    if ((this.position[block] as number) >= 0) this.dequeue(frame)
    else this.evacuating--
    this.holdsMinis[block] = 0
    this.arena.release(frame)
  }

  private makeFree(address: number, words: number): void {
    if (!this.takesFree(this.arena.blockOf(address))) return this.mark(address, Filler, words)
    const sizeClass = this.classBySteps[words / stepWords] as number
    const after = this.freeHead[sizeClass] as number
    const own = this.arena.wordsOf(address)
    const at = address & this.arena.mask
    this.mark(address, Free, words)
    own[at + 1] = -1
    own[at + 2] = after
    if (after >= 0) this.arena.wordsOf(after)[(after & this.arena.mask) + 1] = address
    this.freeHead[sizeClass] = address
  }

  private unlink(address: number): void {
    const own = this.arena.wordsOf(address)
    const at = address & this.arena.mask
    const before = own[at + 1] as number
    const after = own[at + 2] as number
    if (before >= 0) this.arena.wordsOf(before)[(before & this.arena.mask) + 2] = after
    else this.freeHead[this.classBySteps[((own[at] as number) >>> 8) / stepWords] as number] = after
    if (after >= 0) this.arena.wordsOf(after)[(after & this.arena.mask) + 1] = before
  }

  private mark(address: number, state: number, words: number): void {
    this.arena.wordsOf(address)[address & this.arena.mask] = state | words << 8
  }

  private stateOf(address: number): number {
    return (this.arena.wordsOf(address)[address & this.arena.mask] as number) & 0xff
  }

  /** An arena block that holds a leaf joins at the tail. */
  addPage(address: number): void {
    this.pageFrames++
    this.enqueue(address)
  }

  /** Takes a leaf's frame out, wherever it is. */
  removePage(address: number): void {
    this.dequeue(address)
  }

  /** Whether an arena block that holds a leaf is in the queue. */
  has(address: number): boolean {
    return (this.position[this.arena.blockOf(address)] as number) >= 0
  }

  /** The first frame of mini-pages at or after an arena block's number, wherever it is, or -1. */
  minisFrom(block: number): number {
    const found = this.holdsMinis.indexOf(1, block)
    return found < 0 ? -1 : found * this.arena.pageWords
  }

  /** Whether a frame holds mini-pages. */
  isMinis(frame: number): boolean {
    return this.holdsMinis[this.arena.blockOf(frame)] === 1
  }

  private enqueue(frame: number): void {
    if (this.tail - this.head === this.order.length) this.compact()
    this.order[this.tail & this.order.length - 1] = frame
    this.position[this.arena.blockOf(frame)] = this.tail++
  }

  private dequeue(frame: number): void {
    const block = this.arena.blockOf(frame)
    const position = this.position[block] as number
    if (frame === this.open) this.open = -1
    if (this.holdsMinis[block] === 1) this.unlinkAll(frame)
    this.order[position & this.order.length - 1] = -1
    this.position[block] = -1
    if (position < this.region) this.regionFrames--
    if (this.holdsMinis[block] === 1) this.miniFrames--
    else this.pageFrames--
  }

  /** Moves the frames together: so many have left from the middle that the queue has run full, or it is too short. */
  private compact(): void {
    const frames: Array<number> = []
    for (let index = this.head; index < this.tail; index++) {
      const frame = this.order[index & this.order.length - 1] as number
      if (frame >= 0) frames.push(frame)
    }
    // Half of it is to spare from here on, so that what is moved was queued since the last time.
    const { length } = this.order
    if (frames.length * 2 > length) this.order = new Int32Array(length * 2)
    this.order.fill(-1)
    frames.forEach((frame, index) => {
      this.order[index] = frame
      this.position[this.arena.blockOf(frame)] = index
    })
    this.head = 0
    this.region = this.regionFrames
    this.tail = frames.length
  }

  /** The frame's Free blocks are nobody's from here on. */
  private unlinkAll(frame: number): void {
    const end = frame + (this.bump[this.arena.blockOf(frame)] as number)
    for (let address = frame; address < end; address += this.wordsOf(address)) {
      if (this.stateOf(address) !== Free) continue
      this.unlink(address)
      this.mark(address, Filler, this.wordsOf(address))
    }
  }

  /**
   * The next frame that comes into the region, or -1 where it is as large as it should be. Nothing is allocated in it
   * any more; its owner clears the marks of use, so that those set from here on tell who gets a second chance.
   */
  entering(): number {
    if (this.regionFrames >= Math.floor(this.frames * this.percent / 100)) return -1
    let frame = -1
    while (frame < 0) frame = this.order[this.region++ & this.order.length - 1] as number
    this.regionFrames++
    if (frame === this.open) this.close()
    if (this.isMinis(frame)) this.unlinkAll(frame)
    return frame
  }

  /**
   * Takes the frame at the head out of the queue, or answers -1. A leaf's frame is its owner's from here on; one of
   * mini-pages goes back to the arena with the release of its last Live block (`nextLive`).
   */
  pop(): number {
    while (this.head < this.tail) {
      const frame = this.order[this.head & this.order.length - 1] as number
      if (frame >= 0) {
        this.dequeue(frame)
        if (this.isMinis(frame)) this.evacuating++
      }
      this.passHoles()
      if (frame >= 0) return frame
    }
    return -1
  }

  private passHoles(): void {
    while (this.head < this.tail && (this.order[this.head & this.order.length - 1] as number) < 0) this.head++
    if (this.region < this.head) this.region = this.head
  }

  /** The first Live block of a frame at or after `address`, or -1. */
  nextLive(frame: number, address: number): number {
    const end = frame + (this.bump[this.arena.blockOf(frame)] as number)
    for (let at = address; at < end; at += this.wordsOf(at)) if (this.stateOf(at) === Live) return at
    return -1
  }
}

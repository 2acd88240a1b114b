/**
 * The memory that pages live in: blocks of one page each, in one or more WebAssembly memories.
 *
 * A block is named by its *address*, a word index over all chunks: the chunk is `address >>> shift`, the word within
 * it `address & mask`. Pages are always given as views and a word offset within a chunk, so that nothing above cares
 * how many chunks there are. Views are created once per chunk and never change (a view that tracks a growing buffer is
 * four to nine times slower).
 *
 * I1 A block is either free or handed out, never both.
 * I2 A chunk is at most 1 GiB: byte indices at or beyond 2³¹ are ten times slower in V8.
 * I3 A block that is being populated is neither: another thread writes to it.
 *
 * `WebAssembly.Memory` costs nothing more than an ArrayBuffer, is page-aligned, takes no memory for what was never
 * touched, and leaves the door open for bulk kernels over the same bytes. It must not know what a page is.
 *
 * Who touches memory first waits until the system has found some and cleared it, a fifth of a load's time. Where
 * another thread can do that (`populateBy`), it is ahead by a *stretch* of blocks, more where it was not in time.
 */
import { invariant } from "../../Invariant.ts"

interface Memory {
  readonly buffer: ArrayBuffer | SharedArrayBuffer
}

declare const WebAssembly: {
  readonly Memory: new(
    options: { readonly initial: number; readonly maximum: number; readonly shared: boolean }
  ) => Memory
}

const wasmPageBytes = 65_536
const chunkBytesMax = 1_073_741_824

const leastStretchBytes = 1_048_576
const mostStretchBytes = 16_777_216
/** Parts of the limit, as shifts: so much of it is populated at first, and at most at a time. */
const firstShift = 8
const stretchShift = 4
/** So many must be left, or who has seen that there is room would find that it is being populated. */
const marginStretches = 8

/** Writes to memory in another thread, and calls back, in a later turn, when nobody does any more. */
export type Populate = (memory: Uint8Array, done: () => void) => void

export interface ArenaOptions {
  /** Bytes of a block: a power of two. */
  readonly pageBytes: number
  /** How many blocks there are. */
  readonly blocks: number
  /** Bytes of one chunk: a power of two, at least a block, at most 1 GiB (the default). */
  readonly chunkBytes?: number | undefined
  /** Whether other threads may see the memory. Bulk copies of shared memory take about twice as long. */
  readonly sharing?: "private" | "shared" | undefined
}

export class Arena {
  readonly pageBytes: number
  readonly pageWords: number
  /** How many blocks there are. */
  readonly blocks: number
  /** Views of each chunk. */
  readonly words: ReadonlyArray<Int32Array>
  readonly bytes: ReadonlyArray<Uint8Array>
  /** `address >>> shift` is the chunk, `address & mask` the word in it. */
  readonly shift: number
  readonly mask: number
  /** `address >>> blockShift` is the block, over all chunks. */
  readonly blockShift: number
  /**
   * Addresses of blocks that were given back, a stack: the block freed last is the likeliest to be in the processor's
   * cache. Those from `begun` on were never handed out, and nothing is written for them where a store is opened.
   */
  private readonly free: Int32Array
  private readonly taken: Uint8Array
  private freeCount = 0
  private begun = 0
  private populate: Populate | undefined
  /** Blocks that are being populated, those before `begun` at that time. */
  private populating = 0
  /** Whether somebody took a block meanwhile that was not populated. */
  private late = false
  /** How many are next. */
  private stretch = 0
  /** With fewer than these on the stack the next stretch is begun. */
  private low = 0
  /** Blocks that may be in use at a time: the rest of the memory is somebody else's. */
  limit: number
  /** Blocks of the limit that only `allocateReserved` hands out, and `allocate` within `withReserve`. */
  reserve = 0

  constructor(options: ArenaOptions) {
    const { blocks, pageBytes } = options
    const chunkBytes = options.chunkBytes ?? chunkBytesMax
    invariant(isPowerOfTwo(pageBytes) && isPowerOfTwo(chunkBytes), "Arena I2")
    invariant(chunkBytes >= pageBytes && chunkBytes <= chunkBytesMax && pageBytes >= 64, "Arena I2")
    invariant(blocks > 0 && blocks * pageBytes <= 4 * 2 ** 31, "Arena I2: addresses are 31 bits of words")
    this.pageBytes = pageBytes
    this.pageWords = pageBytes >>> 2
    this.blocks = blocks
    this.limit = blocks
    this.shift = Math.log2(chunkBytes) - 2
    this.mask = chunkBytes / 4 - 1
    this.blockShift = Math.log2(this.pageWords)
    const words: Array<Int32Array> = []
    const bytes: Array<Uint8Array> = []
    for (let left = blocks * pageBytes; left > 0; left -= chunkBytes) {
      const pages = Math.ceil(Math.min(left, chunkBytes) / wasmPageBytes)
      const shared = options.sharing === "shared"
      const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages, shared })
      words.push(new Int32Array(buffer))
      bytes.push(new Uint8Array(buffer))
    }
    this.words = words
    this.bytes = bytes
    this.free = new Int32Array(blocks)
    this.taken = new Uint8Array(blocks)
  }

  /** From now on, blocks are populated before they are handed out, where that is in time: not where memory is small. */
  populateBy(populate: Populate): void {
    if (this.limit * this.pageBytes < leastStretchBytes << stretchShift) return
    this.populate = populate
    this.setStretch(this.limit >>> firstShift)
    this.ahead()
  }

  get usedBlocks(): number {
    return this.begun - this.freeCount - this.populating
  }

  /** Blocks that can be handed out, those of the reserve included. */
  get freeBlocks(): number {
    return Math.max(0, Math.min(this.limit, this.blocks - this.populating) - this.usedBlocks)
  }

  /** Blocks that `allocate` can hand out. */
  get available(): number {
    return Math.max(0, this.freeBlocks - this.reserve)
  }

  /** The address of a block that was free, or -1. Its content is whatever it was. */
  allocate(): number {
    return this.available === 0 ? -1 : this.take()
  }

  /** The same, from the reserve if need be: for work that ends by giving back more than it takes. */
  allocateReserved(): number {
    return this.freeBlocks === 0 ? -1 : this.take()
  }

  /** Runs work that ends by giving back more than it takes: to it, `allocate` hands out the reserve, too. */
  withReserve<A>(work: () => A): A {
    const { reserve } = this
    this.reserve = 0
    try {
      return work()
    } finally {
      this.reserve = reserve
    }
  }

  private take(): number {
    const address = this.freeCount > 0
      ? this.free[--this.freeCount] as number
      : this.begun++ * this.pageWords
    this.taken[address / this.pageWords] = 1
    if (this.freeCount < this.low) this.ahead()
    return address
  }

  /** Has the next stretch populated, unless the last one still is, or too little is left for one. */
  private ahead(): void {
    const { begun, limit, mask, pageBytes, pageWords, populate, stretch } = this
    if (this.populating > 0) {
      this.late ||= this.freeCount === 0
      return
    }
    if (populate === undefined || limit - begun < marginStretches * stretch) return
    this.begun += stretch
    this.populating = stretch
    const from = begun * pageWords
    const at = (from & mask) * 4
    // What is beyond the chunk is not populated, and none the worse for it.
    populate(this.bytesOf(from).subarray(at, at + stretch * pageBytes), () => {
      for (let block = stretch - 1; block >= 0; block--) {
        this.free[this.freeCount++] = from + block * pageWords
      }
      this.populating = 0
      if (this.late) this.widen()
    })
  }

  /** What is asked for within the time that a stretch takes is more than a stretch. */
  private widen(): void {
    this.late = false
    this.setStretch(this.stretch * 4)
  }

  private setStretch(blocks: number): void {
    const { limit, pageBytes } = this
    const most = Math.min(mostStretchBytes / pageBytes, limit >>> stretchShift)
    this.stretch = Math.max(leastStretchBytes / pageBytes, Math.min(blocks, most))
    this.low = this.stretch >>> 1
  }

  release(address: number): void {
    const block = address / this.pageWords
    invariant(this.taken[block] === 1, "Arena I1")
    this.taken[block] = 0
    this.free[this.freeCount++] = address
  }

  /** Number of the block that `address` lies in. */
  blockOf(address: number): number {
    return address >>> this.blockShift
  }

  /** The word view that `address` lies in. */
  wordsOf(address: number): Int32Array {
    return this.words[address >>> this.shift] as Int32Array
  }

  /** The byte view that `address` lies in. */
  bytesOf(address: number): Uint8Array {
    return this.bytes[address >>> this.shift] as Uint8Array
  }
}

const isPowerOfTwo = (n: number): boolean => n > 0 && Number.isInteger(Math.log2(n))

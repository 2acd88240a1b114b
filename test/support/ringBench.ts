/**
 * A ring and a model of it, which knows of each block and frame where it is and what may be done with it.
 *
 * What the model compares with is what the ring promises to its owner: addresses, counters, word 0 of a block, and the
 * links of its free blocks. `check` compares all of it.
 */
import { assert } from "@effect/vitest"
import { Arena } from "../../src/tree/memory/Arena.ts"
import { Ring } from "../../src/tree/memory/Ring.ts"

const Live = 1
const Free = 2

export interface Block {
  readonly address: number
  readonly words: number
  readonly fill: number
}

export interface Frame {
  readonly address: number
  readonly holds: "page" | "minis"
  place: "queue" | "region" | "popped"
  /** One past the last word that a block was given of. */
  end: number
  live: number
}

export interface Options {
  readonly blocks: number
  readonly pageBytes: number
  readonly percent: number
}

/** A ring and what should be so. */
export class Bench {
  readonly arena: Arena
  readonly ring: Ring
  readonly live = new Map<number, Block>()
  readonly frames = new Map<number, Frame>()
  /** Frames in the queue, in order. */
  queue: Array<Frame> = []
  private readonly percent: number
  private open: Frame | undefined
  private fill = 1
  /** Of the arena: somebody else's. */
  readonly others: Array<number> = []
  /** Blocks that were cut from larger free ones. */
  splits = 0
  reused = 0

  constructor({ blocks, pageBytes, percent }: Options) {
    this.arena = new Arena({ pageBytes, blocks, chunkBytes: 8 * pageBytes })
    this.ring = new Ring(this.arena, { secondChancePercent: percent })
    this.percent = percent
  }

  private word(address: number): number {
    return this.arena.wordsOf(address)[address & this.arena.mask] as number
  }

  private frameOf(address: number): number {
    return address - address % this.arena.pageWords
  }

  allocate(sizeClass: number): number {
    const { arena, ring } = this
    const words = ring.classes[sizeClass] as number
    const free = this.freeBlocks()
    const { available } = arena
    const fits = this.open !== undefined && this.open.end + words <= this.open.address + arena.pageWords
    const address = ring.allocate(sizeClass)
    const expected = free.some((block) => block.words === words) ? "reused" : fits ? "cut" : available > 0
      ? "begun"
      : free.some((block) => block.words > words)
      ? "split"
      : "none"
    assert.strictEqual(address < 0, expected === "none", `${words} words: ${expected}`)
    if (address < 0) return address
    assert.strictEqual(
      free.some((block) => block.address === address),
      expected !== "cut" && expected !== "begun"
    )
    if (expected === "begun") this.begin(address)
    if (expected === "split") this.splits++
    if (expected === "reused") this.reused++
    const frame = this.frames.get(this.frameOf(address))
    if (frame === undefined) return assert.fail("a block of no frame")
    assert.strictEqual(frame.holds, "minis")
    assert.strictEqual(frame.place, "queue", "nothing is allocated in the region or in what was popped")
    if (expected === "cut") assert.strictEqual(address, frame.end)
    frame.end = Math.max(frame.end, address + words)
    frame.live++
    const block = { address, words, fill: this.fill++ }
    const at = address & arena.mask
    arena.wordsOf(address).fill(block.fill, at + 1, at + words)
    this.live.set(address, block)
    return address
  }

  private begin(address: number): void {
    assert.strictEqual(address % this.arena.pageWords, 0)
    if (this.open !== undefined) this.open.end = this.open.address + this.arena.pageWords
    this.open = { address, holds: "minis", place: "queue", end: address, live: 0 }
    this.frames.set(address, this.open)
    this.queue.push(this.open)
  }

  release(block: Block): void {
    this.checkFill(block)
    this.live.delete(block.address)
    const frame = this.frames.get(this.frameOf(block.address)) as Frame
    this.ring.release(block.address)
    if (--frame.live === 0) this.leave(frame)
  }

  private leave(frame: Frame): void {
    this.frames.delete(frame.address)
    this.queue = this.queue.filter((other) => other !== frame)
    if (this.open === frame) this.open = undefined
  }

  addPage(): void {
    const address = this.arena.allocate()
    if (address < 0) return
    this.arena.wordsOf(address)[address & this.arena.mask] = 0
    this.ring.addPage(address)
    const frame: Frame = { address, holds: "page", place: "queue", end: 0, live: 0 }
    this.frames.set(address, frame)
    this.queue.push(frame)
  }

  removePage(frame: Frame): void {
    this.ring.removePage(frame.address)
    this.leave(frame)
    this.arena.release(frame.address)
  }

  enter(): number {
    const next = this.queue.find(({ place }) => place === "queue")
    const inRegion = this.queue.filter(({ place }) => place === "region").length
    const address = this.ring.entering()
    if (address < 0) {
      assert.isAtLeast(inRegion, Math.floor(this.queue.length * this.percent / 100))
      return address
    }
    assert.strictEqual(address, next?.address, "I3: the next of the queue")
    if (next !== undefined) next.place = "region"
    if (next !== undefined && next === this.open) this.close(next)
    return address
  }

  private close(frame: Frame): void {
    frame.end = frame.address + this.arena.pageWords
    this.open = undefined
  }

  pop(): Frame | undefined {
    const [first] = this.queue
    const address = this.ring.pop()
    assert.strictEqual(address, first?.address ?? -1)
    if (first === undefined) return undefined
    this.queue.shift()
    if (this.open === first) this.open = undefined
    if (first.holds === "page") {
      this.frames.delete(address)
      this.arena.release(address)
    } else {
      first.place = "popped"
    }
    return first
  }

  /** All blocks whose word 0 says that they are free, wherever. */
  private freeBlocks(): Array<{ readonly address: number; readonly words: number }> {
    const found: Array<{ readonly address: number; readonly words: number }> = []
    for (const frame of this.frames.values()) {
      if (frame.holds === "page") continue
      for (let at = frame.address; at < frame.end; at += this.word(at) >>> 8) {
        if ((this.word(at) & 0xff) === Free) found.push({ address: at, words: this.word(at) >>> 8 })
      }
    }
    return found
  }

  private checkFill({ address, fill, words }: Block): void {
    const own = this.arena.wordsOf(address)
    const at = address & this.arena.mask
    for (let word = at + 1; word < at + words; word++) {
      if (own[word] !== fill) assert.fail(`a block was written to by another: word ${word - at} of ${words}`)
    }
  }

  check(): void {
    const { arena, frames, live, ring } = this
    for (const block of live.values()) {
      this.checkFill(block)
      assert.strictEqual(ring.wordsOf(block.address), block.words)
    }
    assert.strictEqual(ring.liveWords, [...live.values()].reduce((sum, { words }) => sum + words, 0))
    const queued = this.queue
    assert.strictEqual(ring.miniFrames, queued.filter(({ holds }) => holds === "minis").length)
    assert.strictEqual(ring.pageFrames, queued.filter(({ holds }) => holds === "page").length)
    assert.strictEqual(ring.evacuating, [...frames.values()].filter(({ place }) => place === "popped").length)
    assert.strictEqual(arena.usedBlocks, frames.size + this.others.length)
    for (const frame of frames.values()) {
      assert.strictEqual(ring.isMinis(frame.address), frame.holds === "minis")
      if (frame.holds === "page") assert.strictEqual(ring.has(frame.address), frame.place !== "popped")
      else this.checkTiles(frame)
    }
    this.checkLists()
  }

  /** I1, and what `nextLive` finds. */
  private checkTiles(frame: Frame): void {
    let count = 0
    let at = frame.address
    let next = this.ring.nextLive(frame.address, frame.address)
    while (at < frame.end) {
      const word = this.word(at)
      const isLive = (word & 0xff) === Live
      assert.strictEqual(
        isLive,
        this.live.get(at)?.words === word >>> 8,
        "I1: a block where none was allocated"
      )
      if (isLive) {
        assert.strictEqual(next, at)
        next = this.ring.nextLive(frame.address, at + (word >>> 8))
        count++
      } else if ((word & 0xff) === Free) {
        assert.strictEqual(frame.place, "queue", "I2: a free block in a frame that takes none")
      }
      assert.isAbove(word >>> 8, 0)
      at += word >>> 8
    }
    assert.strictEqual(at, frame.end, "I1: tiles")
    assert.strictEqual(next, -1)
    assert.strictEqual(count, frame.live)
    assert.isAbove(count, 0, "a frame without live blocks is the arena's")
  }

  /** I2: the free blocks of a class are one list, linked both ways. */
  private checkLists(): void {
    const { arena } = this
    const free = this.freeBlocks()
    for (const words of new Set(free.map((block) => block.words))) {
      assert.isAtLeast(this.ring.classes.indexOf(words), 0, "a free block of no class")
      const ofClass = free.filter((block) => block.words === words)
      const link = (address: number, word: 1 | 2): number =>
        arena.wordsOf(address)[(address & arena.mask) + word] as number
      const heads = ofClass.filter(({ address }) => link(address, 1) === -1)
      assert.strictEqual(heads.length, 1, "one list per class")
      let listed = 0
      for (let at = heads[0]?.address ?? -1; at >= 0; at = link(at, 2)) {
        assert.isTrue(ofClass.some(({ address }) => address === at))
        if (link(at, 2) >= 0) assert.strictEqual(link(link(at, 2), 1), at)
        assert.isAtMost(++listed, ofClass.length)
      }
      assert.strictEqual(listed, ofClass.length)
    }
  }
}

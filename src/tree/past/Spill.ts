/**
 * What is in the scratch file, where in it there is room, and when more is to go there.
 *
 * ```
 *   held in memory > a quarter of the budget ──▶ all that may leave is sorted, and written as one run
 *   a run's last pin goes ──▶ its blocks are free
 *   no room for a run, and memory above the budget ──▶ the oldest pin expires
 * ```
 *
 * I1 A slot belongs to one run, or is free.
 * I2 A run is here while a pin S has from < S ≤ to, and no longer.
 *
 * It must not write, wait, or know where the file is (`actors/files/Scratch.ts`).
 */
import { invariant } from "../../Invariant.ts"
import { widerBytes } from "../memory/Columns.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Block from "./Block.ts"
import type { Pin, Pins } from "./Pins.ts"
import type { Run, Wanted } from "./Run.ts"
import { hashOf } from "./VersionTable.ts"

export interface SpillOptions {
  /** Memory for what readers hold, what memory knows of the file included. */
  readonly memoryBytes: number
  /**
   * Memory that may be held beyond that while a part of it is on its way out, if this is more than as much again: what
   * one sync lets readers hold comes at once.
   */
  readonly slackBytes: number
  /** The longest that the file may be. */
  readonly diskBytes: number
  readonly blockBytes: number
}

/** Nothing leaves memory. */
export const unlimited: SpillOptions = {
  memoryBytes: Infinity,
  slackBytes: 0,
  diskBytes: 0,
  blockBytes: 4096
}

/** The part of the budget above which memory is given up: while it is written, more comes. */
const dueParts = 1 / 4
const pressingParts = 1 / 2
/** The part that is all of it: tables and slabs that are partly empty take the rest. */
const overParts = 3 / 4

/** A range looks into every run that it may find something in: more would make it slow. */
const runsMost = 256

export class Spill {
  readonly options: SpillOptions
  /** Oldest first. */
  readonly runs: Array<Run> = []
  /** The largest `to` in any run. */
  newest = -1
  nextId = 1
  /** Runs that come later have this id or a higher one. */
  added = 0
  /** Runs below this have been searched by whoever asks now: set for one call. */
  searched = 0
  /** Slots that are taken, and one past the last of them. */
  taken = 0
  end = 0
  /** Told when slots have come free. */
  freed: () => void = () => {}
  /** Bytes of a part that is being written. */
  writingBytes = 0
  /** Held bytes at which it is worth to try again. */
  private relaxedBytes = 0
  private slots = new Uint8Array(64)
  private runBytes = 0
  /** No slot below is free. */
  private lowest = 0

  constructor(options: SpillOptions) {
    this.options = options
  }

  /** What memory knows of the file. */
  get indexBytes(): number {
    return this.runs.length === 0 ? 0 : this.runBytes + this.slots.length
  }

  /** Bytes of the file that are in use. */
  get diskBytes(): number {
    return this.taken * this.options.blockBytes
  }

  /** The budget of entries: what memory knows of the file, and a part that is being written, is taken off. */
  private get roomBytes(): number {
    return this.options.memoryBytes - this.indexBytes - this.writingBytes
  }

  /** Whether so much is held that some of it should leave. */
  isDue(heldBytes: number): boolean {
    if (heldBytes > this.roomBytes * dueParts) return heldBytes > this.relaxedBytes
    this.relaxedBytes = 0
    return false
  }

  /** Whether so much is held that nobody else can be waited for. */
  isPressing(heldBytes: number): boolean {
    return heldBytes > this.roomBytes * pressingParts
  }

  /** Whether so much is held that a pin must go where nothing can leave. */
  isOver(heldBytes: number): boolean {
    return heldBytes > this.roomBytes * overParts
  }

  /** Whether so much is held that a pin must go although some of it is on its way out: the disk is too slow. */
  isFarOver(heldBytes: number): boolean {
    const { memoryBytes, slackBytes } = this.options
    return heldBytes > this.roomBytes + Math.max(memoryBytes, slackBytes)
  }

  /** Nothing more can leave while so much is held: looks again when it has grown, or is over the budget. */
  relax(heldBytes: number): void {
    const grown = heldBytes + this.options.memoryBytes / 8
    const most = this.roomBytes * overParts
    this.relaxedBytes = heldBytes < most ? Math.min(most, grown) : grown
  }

  /** Whether an entry with so many words of key and value fits in a block. */
  fits(words: number): boolean {
    return Block.wordsTaken(words) <= Block.room(this.options.blockBytes)
  }

  /** Whether there is room for a run that takes so many blocks. */
  hasRoom(blocks: number): boolean {
    const { blockBytes, diskBytes, memoryBytes } = this.options
    return (this.taken + blocks) * blockBytes <= diskBytes && this.runs.length < runsMost &&
      this.indexBytes <= memoryBytes / 2
  }

  /** Takes a free slot, the first of the file; there is one. */
  take(): number {
    while (this.slots[this.lowest] === 1) this.lowest++
    const slot = this.lowest
    if (slot >= this.slots.length) this.slots = widerBytes(this.slots, this.slots.length * 2)
    this.slots[slot] = 1
    this.taken++
    this.end = Math.max(this.end, slot + 1)
    return slot
  }

  /** Gives the slots of a run back. */
  give(run: Run): void {
    for (let index = 0; index < run.count; index++) {
      const slot = run.slots[index] as number
      invariant(this.slots[slot] === 1, "Spill I1")
      this.slots[slot] = 0
      this.lowest = Math.min(this.lowest, slot)
    }
    this.taken -= run.count
    while (this.end > 0 && this.slots[this.end - 1] === 0) this.end--
    if (run.count > 0) this.freed()
  }

  /** A run is written. */
  add(run: Run, pins: Pins): void {
    this.runs.push(run)
    this.added = run.id + 1
    this.runBytes += run.bytes
    this.newest = Math.max(this.newest, run.to)
    this.settle(run, pins)
  }

  /** A pin has gone. */
  release(pin: Pin, pins: Pins): void {
    if (this.runs.length === 0) return
    for (const run of this.runs.filter(({ holder }) => holder === pin)) this.settle(run, pins)
  }

  /** Finds the newest pin that needs a run, or drops it (I2). */
  private settle(run: Run, pins: Pins): void {
    run.holder = pins.holder(run.from, run.to)
    if (run.holder !== undefined) return
    this.runs.splice(this.runs.indexOf(run), 1)
    this.runBytes -= run.bytes
    this.give(run)
    this.newest = this.runs.reduce((newest, { to }) => Math.max(newest, to), -1)
  }

  /** Whether an entry with this hash that a reader at `at` sees may be in a run that was not searched. */
  mayHaveSeen(hash: number, at: number): boolean {
    for (const run of this.runs) {
      if (run.id >= this.searched && run.isSeen(at) && run.mayHave(hash)) return true
    }
    return false
  }

  /** The blocks that may have what a reader at `at` sees of a key, of runs that were not searched. */
  candidates(treeId: number, key: KeyScratch, at: number): ReadonlyArray<Wanted> {
    const hash = hashOf(treeId, key.words, key.length)
    const found: Array<Wanted> = []
    for (const run of this.runs) {
      if (run.id < this.searched || !run.isSeen(at) || !run.mayHave(hash)) continue
      const index = run.before(treeId, key, at)
      if (index >= 0) found.push({ run, index })
    }
    return found
  }

  /** Whether an entry with this hash and a span that begins within (from, to) may be in a run. */
  mayHave(hash: number, from: number, to: number): boolean {
    for (const run of this.runs) {
      if (run.from < to && from < run.to && run.mayHave(hash)) return true
    }
    return false
  }
}

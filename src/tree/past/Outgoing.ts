/**
 * A run on its way to the scratch file, a slice of work at a time.
 *
 * ```
 *   sorting ── all chunks ──▶ filling blocks ⇄ their parts are written ──▶ the run is there ─▶ memory is given back
 *                                   └── no slot is free: stopped, everything stays in memory
 * ```
 *
 * I1 What a part names does not change until the next part is asked for.
 *
 * It must not write: whoever asks for the next step does, and says how it ended by going on or stopping.
 */
import * as Block from "./Block.ts"
import { BlockWriter } from "./BlockWriter.ts"
import { Run } from "./Run.ts"
import { Sorting } from "./Sorting.ts"
import type { Versions } from "./Versions.ts"

/** Blocks that are filled at a time, at most; and the part of the budget that they take, if that is less. */
const batchBlocks = 128
const batchParts = 1 / 64
/** Chunks that are sorted at a time. */
const sliceChunks = 4
/** Entries whose memory is given back at a time. */
const sliceEntries = 4_096

/** Blocks that are neighbours in the file. */
export interface Part {
  readonly bytes: Uint8Array
  readonly position: number
}

export class Outgoing {
  readonly run: Run
  /** Entries. */
  readonly count: number
  private readonly versions: Versions
  private readonly rows: Int32Array
  private readonly sorting: Sorting
  private readonly writers: ReadonlyArray<BlockWriter>
  private readonly buffer: Uint8Array
  private readonly parts: Array<Part> = []
  private isSorted = false
  private forgotten = 0

  /** Takes all that may leave memory. */
  constructor(versions: Versions) {
    const { options: { blockBytes } } = versions.spill
    this.versions = versions
    this.rows = versions.beginSpill()
    this.count = this.rows.length
    this.run = new Run(versions.spill.nextId++, this.count)
    this.sorting = new Sorting(versions, this.rows)
    const share = Math.floor(versions.spill.options.memoryBytes * batchParts / blockBytes)
    const blocks = Math.min(batchBlocks, Math.max(4, share))
    const buffer = this.buffer = new Uint8Array(blocks * blockBytes)
    versions.spill.writingBytes = buffer.length
    this.writers = Array.from(
      { length: blocks },
      (_, index) => new BlockWriter(buffer.subarray(index * blockBytes, (index + 1) * blockBytes))
    )
  }

  /** Blocks that the run takes at least. */
  get leastBlocks(): number {
    const { rows, versions } = this
    let words = 0
    for (const entry of rows) words += Block.wordsTaken(versions.wordsOf(entry))
    return Math.ceil(words / Block.room(versions.spill.options.blockBytes))
  }

  /** The next part to write; or "more" after a slice of work, "full" where there is no room, "whole" at the end. */
  next(): Part | "more" | "full" | "whole" {
    const part = this.parts.shift()
    if (part !== undefined) return part
    if (!this.isSorted) {
      for (let chunk = 0; chunk < sliceChunks && !this.isSorted; chunk++) this.isSorted = this.sorting.sort()
      return "more"
    }
    if (this.sorting.peek() < 0) return "whole"
    return this.fill() ? "more" : "full"
  }

  /** Fills blocks and gives them slots; false where there is no slot left. */
  private fill(): boolean {
    const { run, sorting, versions } = this
    const { spill } = versions
    const first = run.count
    for (const writer of this.writers) {
      let entry = sorting.peek()
      if (entry < 0) break
      if (!spill.hasRoom(1)) return false
      writer.begin(run.id, run.count)
      for (; entry >= 0 && writer.add(versions, entry); entry = sorting.peek()) {
        run.note(versions.hashOfEntry(entry))
        sorting.pass()
      }
      run.add(writer.words, spill.take(), Block.checksumOf(writer.bytes))
    }
    this.divide(first)
    return true
  }

  /** Makes parts of the blocks from `first` on. */
  private divide(first: number): void {
    const { buffer, parts, run, versions: { spill: { options: { blockBytes } } } } = this
    for (let from = first; from < run.count;) {
      const slot = run.slots[from] as number
      let to = from + 1
      while (to < run.count && run.slots[to] === slot + to - from) to++
      const bytes = buffer.subarray((from - first) * blockBytes, (to - first) * blockBytes)
      parts.push({ bytes, position: slot * blockBytes })
      from = to
    }
  }

  /** All parts are written. */
  end(): void {
    this.versions.spill.writingBytes = 0
    this.versions.endSpill(this.rows, this.run)
  }

  /** A part could not be written, or there was no room: everything is as before. */
  stop(): void {
    this.versions.spill.writingBytes = 0
    this.versions.stopSpill(this.rows)
    this.versions.spill.give(this.run)
  }

  /** Gives memory back after the end; true when all is. */
  forget(): boolean {
    const from = this.forgotten
    this.forgotten = from + sliceEntries
    this.versions.forgetSpilled(this.rows.subarray(from, this.forgotten))
    return this.forgotten >= this.rows.length
  }
}

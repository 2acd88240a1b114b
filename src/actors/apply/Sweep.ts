/**
 * Applying a log that is replayed: writes of many commits in one sweep over the tree, in the order of their keys.
 *
 * A part of the Tree. Each write by itself would go down to a leaf that the caches have forgotten since. In the order
 * of keys the way is in them, and where many come for one place leaves are built whole. What depends on the order of
 * the log is not gathered: before it is applied, all that is gathered is.
 *
 * I1 What a sweep leaves is what its records leave that are applied one by one: of each key the last write, with the
 *    version of its commit.
 * I2 Nobody reads meanwhile: what a write displaces is not kept.
 * I3 Where a write does not fit the store, nothing more is applied, and `violation` says so.
 *
 * Rejected: a second tree that is built from what is gathered and merged with the first, which is what this does where
 * the first one is empty, and more than it where it is not.
 */
import { isViolation } from "../../Invariant.ts"
import { RecordReader } from "../../log/RecordReader.ts"
import { Gathered } from "../../tree/Gathered.ts"
import type { Generations } from "../../tree/Generations.ts"
import type { Tree as Kernel } from "../../tree/Tree.ts"
import { most as mostPuts, Puts } from "../../tree/write/Puts.ts"

/** Fewer are put one by one. */
const least = 8
/** Puts to look for together at first, so many that they may fill half a leaf. */
const atFirst = 64
/** Writes that are applied one by one after a look for a sequence that found none. */
const afterNone = 32
/** Writes that are applied without a pause. */
const inOneSlice = 16_384

export interface Options {
  readonly kernel: Kernel
  readonly generations: Generations
  /** The Tree: applies a record by itself, or all that is gathered. */
  readonly tree: {
    readonly backlog: number
    readonly apply: (reader: RecordReader) => void
    readonly sweep: (sweep: Sweep) => void
  }
  /** Writes that are gathered at most. */
  readonly most: number
}

type Apply = (reader: RecordReader, version: number) => boolean

export class Sweep {
  readonly gathered: Gathered
  /** LSN of the record that was looked at, or applied, last. */
  lsn = 0
  violation: Error | undefined
  private readonly options: Options
  private readonly puts: Puts
  private readonly reader = new RecordReader()
  /** Puts to look for together: more where so many were found, and taken, before. */
  private looked = atFirst
  private passing = 0

  constructor(options: Options) {
    this.options = options
    this.gathered = new Gathered(options.generations, options.most)
    this.puts = new Puts(options.kernel.pages.arena.pageWords >>> 3)
  }

  /** Gathers the record that `reader` is at, and whose bytes stay as they are until `settle`, or has it applied. */
  apply(reader: RecordReader): void {
    this.lsn = reader.lsn
    if (this.gathered.take(reader)) return
    this.settle()
    this.lsn = reader.lsn
    if (!this.gathered.take(reader)) this.options.tree.apply(reader)
  }

  /** Has everything applied that is gathered, if it is not being applied already. */
  settle(): void {
    const { gathered, options: { generations, kernel: { versions }, tree } } = this
    if (gathered.isEmpty || tree.backlog > 0) return
    gathered.sort()
    this.reader.open(new Uint8Array(gathered.words.buffer), 0, gathered.words.byteLength, 0)
    this.passing = 0
    generations.millis = gathered.millis
    versions.setVisible(gathered.end)
    versions.setDurable(gathered.end)
    tree.sweep(this)
  }

  /**
   * Applies what goes into a slice, what is no sequence with `apply`, which answers false where a write must wait. True
   * once all are applied; else `pause` has it go on when others have had their turn.
   */
  next(apply: Apply, pause: () => void): boolean {
    try {
      if (!this.slice(apply, pause)) return false
    } catch (cause) {
      if (!isViolation(cause)) throw cause
      this.violation = cause
    }
    this.gathered.clear()
    return true
  }

  private slice(apply: Apply, pause: () => void): boolean {
    const { gathered, reader } = this
    for (let left = inOneSlice - this.fill(); !gathered.isOver; left -= 1 + this.fill()) {
      if (left <= 0) {
        pause()
        return false
      }
      reader.visit(gathered.place)
      this.lsn = gathered.version
      if (!apply(reader, this.lsn)) return false
      gathered.pass(1)
    }
    return true
  }

  release(): void {
    this.gathered.release()
  }

  /** Applies what comes next and is a sequence; answers how many writes. */
  private fill(): number {
    const { gathered, options: { generations, kernel }, puts } = this
    let applied = 0
    while (this.passing === 0 && applied < inOneSlice) {
      const found = gathered.find(puts, this.looked)
      const filled = found < least ? 0 : kernel.fill(generations.get(puts.keyspace).root, puts)
      gathered.pass(filled)
      applied += filled
      if (filled === this.looked) this.looked = Math.min(2 * filled, mostPuts)
      else {
        this.looked = atFirst
        this.passing = filled < least ? afterNone : 1
      }
    }
    if (this.passing > 0) this.passing--
    return applied
  }
}

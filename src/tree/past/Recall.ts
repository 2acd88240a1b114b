/**
 * Ranges of the past over the scratch file: which blocks a reader must have in hand, and what it finds in them.
 *
 * A window of the range is looked at at a time: as wide as the blocks reach that every run has for its beginning. Their
 * entries that the reader sees are copied to Versions for as long as the pull lasts, and the cursor goes on as if they
 * had never left. The blocks belong to the reader, who keeps few of them between its pulls.
 *
 * I1 All that is seen of the window is in the blocks at hand, or in memory.
 *
 * Rejected: a cache of blocks. Several readers that need more blocks than it holds take them from each other for ever.
 */
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Block from "./Block.ts"
import type { Entries } from "./Entries.ts"
import type { Run, Wanted } from "./Run.ts"
import type { Spill } from "./Spill.ts"

const restingBlocks = 16

/** Blocks that a run may have. */
const blocksMost = 2 ** 24

const nameOf = ({ index, run }: Wanted): number => run.id * blocksMost + index

/** The blocks that one reader has in hand. */
export class Hand {
  /** Those that it must have before it can go on. */
  readonly wanted: Array<Wanted> = []
  private blocks = new Map<number, Int32Array>()

  give(wanted: Wanted, block: Int32Array): void {
    this.blocks.set(nameOf(wanted), block)
  }

  block(wanted: Wanted): Int32Array | undefined {
    return this.blocks.get(nameOf(wanted))
  }

  /** Has only these in hand. */
  keep(needed: ReadonlyArray<Wanted>): void {
    const blocks = new Map<number, Int32Array>()
    for (const wanted of needed) {
      const block = this.block(wanted)
      if (block !== undefined) blocks.set(nameOf(wanted), block)
    }
    this.blocks = blocks
  }

  /** Between pulls a reader keeps few: the next one begins where this one ended. */
  rest(): void {
    this.wanted.length = 0
    if (this.blocks.size > restingBlocks) this.blocks.clear()
  }
}

/** The part of a tree's keys that a reader looks at: [lower, upper), without an upper bound to the end of the tree. */
export interface Window {
  readonly treeId: number
  readonly lower: KeyScratch
  readonly upper: KeyScratch | undefined
  readonly order: "ascending" | "descending"
  /** The reader's LSN. */
  readonly at: number
}

/** Where the window was cut: its upper end if it ascends, else its lower end. Valid after `recall` answered so. */
export const cut = new KeyScratch()

const first = new KeyScratch()
const end = new KeyScratch()

/**
 * Copies what a reader sees in the scratch file of a window to `entries`. Answers "whole", or "cut" where the window
 * was cut short, or "wanted" where blocks are missing from the hand; then nothing was copied.
 */
export function recall(
  entries: Entries,
  spill: Spill,
  hand: Hand,
  window: Window
): "whole" | "cut" | "wanted" {
  const needed: Array<Wanted> = []
  let isCut = false
  for (const run of spill.runs) {
    if (!run.isSeen(window.at)) continue
    const found = window.order === "ascending"
      ? needAscending(run, window, needed)
      : needDescending(run, window, needed)
    if (!found) continue
    // The least upper end, or the largest lower one, of all runs.
    const sign = window.order === "ascending" ? 1 : -1
    if (!isCut || compare(first, cut) * sign < 0) {
      cut.assemble(first.words, 0, 0, first.words, 0, first.length)
    }
    isCut = true
  }
  hand.wanted.length = 0
  for (const wanted of needed) if (hand.block(wanted) === undefined) hand.wanted.push(wanted)
  if (hand.wanted.length > 0) return "wanted"
  hand.keep(needed)
  const part = !isCut
    ? window
    : window.order === "ascending"
    ? { ...window, upper: cut }
    : { ...window, lower: cut }
  for (const wanted of needed) copy(entries, hand.block(wanted) as Int32Array, part)
  return isCut ? "cut" : "whole"
}

const compare = (a: KeyScratch, b: KeyScratch): number =>
  Buffer.compare(a.bytes.subarray(0, a.length), b.bytes.subarray(0, b.length))

/** Notes the blocks of a run for a window's beginning; true where it goes on behind them, at the key in `first`. */
function needAscending(run: Run, { lower, treeId, upper }: Window, needed: Array<Wanted>): boolean {
  const from = Math.max(0, run.before(treeId, lower, 0))
  for (let index = from; index < run.count; index++) {
    if (run.compareKey(index, treeId, lower) > 0) {
      if (!run.isOfTree(index, treeId)) return false
      if (upper !== undefined && run.compareKey(index, treeId, upper) >= 0) return false
      if (index > from) {
        run.loadKey(index, first)
        return true
      }
    }
    needed.push({ run, index })
  }
  return false
}

/** The same for the end of a window. */
function needDescending(run: Run, window: Window, needed: Array<Wanted>): boolean {
  const { lower, treeId } = window
  const last = lastBelow(run, window)
  if (last < 0) return false
  const isCut = run.compareKey(last, treeId, lower) > 0
  if (isCut) run.loadKey(last, first)
  // Older versions of the key that a block begins with may be at the end of the one before.
  const from = Math.max(0, run.before(treeId, isCut ? first : lower, 0))
  for (let index = from; index <= last; index++) needed.push({ run, index })
  return isCut
}

function lastBelow(run: Run, { treeId, upper }: Window): number {
  if (upper !== undefined) return run.before(treeId, upper, 0)
  end.length = 0
  return run.before(treeId + 1, end, 0)
}

/** Copies what is seen of a block. */
function copy(entries: Entries, block: Int32Array, { at, lower, treeId, upper }: Window): void {
  end.length = 0
  const until = upper === undefined
    ? Block.lower(block, treeId + 1, end, 0)
    : Block.lower(block, treeId, upper, 0)
  for (let index = Block.lower(block, treeId, lower, 0); index < until; index++) {
    const entry = Block.entryAt(block, index)
    if (Block.isSeen(block, entry, at)) entries.recall(block, entry)
  }
}

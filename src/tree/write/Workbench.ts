/**
 * What an operation needs for its own duration: scratch pages and keys, and the way from the root to a leaf.
 *
 * Made once per tree kernel, so that no split, merge or descent allocates. Nothing in it outlives an operation.
 */
import type { Pages } from "../memory/Pages.ts"
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Page from "../page/Page.ts"
import { commonBytes } from "../page/Search.ts"

/** Deepest tree: far more than 2³² pages can make. */
const depthMax = 32

export class Workbench {
  /** Copies of the pages that are filled anew. */
  readonly left: Int32Array
  readonly right: Int32Array
  /** A copy of a mini-page whose block has been given back. */
  readonly mini: Int32Array
  readonly low = new KeyScratch()
  readonly high = new KeyScratch()
  readonly separator = new KeyScratch()
  /** Separators on their way up, in turn. */
  readonly rising: readonly [KeyScratch, KeyScratch] = [new KeyScratch(), new KeyScratch()]
  readonly entries = new Inner.Entries()
  /** The way down: page ids, and which child was taken; the page at `depth` is the last. */
  readonly ids = new Int32Array(depthMax)
  readonly taken = new Int32Array(depthMax)
  depth = 0

  constructor(pageWords: number) {
    this.left = new Int32Array(pageWords)
    this.right = new Int32Array(pageWords)
    this.mini = new Int32Array(pageWords >>> 1)
  }

  /** Copies a page to the left or right scratch page. */
  copy(to: "left" | "right", words: Int32Array, p: number): Int32Array {
    const target = to === "left" ? this.left : this.right
    target.set(words.subarray(p, p + Page.size(words, p)))
    return target
  }

  /** Loads a page's low fence. */
  loadLow(words: Int32Array, p: number): KeyScratch {
    this.low.assemble(words, 0, 0, words, p + Page.lowAt(words, p), Page.lowBytes(words, p))
    return this.low
  }

  /** Loads a page's high fence; undefined where it has none. */
  loadHigh(words: Int32Array, p: number): KeyScratch | undefined {
    if (Page.highBytes(words, p) === Page.unbounded) return undefined
    this.high.assemble(words, 0, 0, words, p + Page.highAt(words, p), Page.highBytes(words, p))
    return this.high
  }
}

/**
 * How many bytes all keys of the leaf at the end of the way begin with: what the separators on both sides of the way
 * have in common. They are left in `bench.low`.
 */
export function pathPrefix(bench: Workbench, pages: Pages): number {
  let hasLow = false
  let hasHigh = false
  for (let depth = bench.depth - 1; depth >= 0 && !(hasLow && hasHigh); depth--) {
    const address = pages.map.block[bench.ids[depth] as number] as number
    const words = pages.arena.wordsOf(address)
    const p = address & pages.arena.mask
    const index = bench.taken[depth] as number
    if (!hasLow && index > 0) {
      Inner.separator(words, p, index - 1, bench.low)
      hasLow = true
    }
    if (!hasHigh && index < Page.count(words, p)) {
      Inner.separator(words, p, index, bench.high)
      hasHigh = true
    }
  }
  if (!hasLow || !hasHigh) return 0
  return commonBytes(bench.low.words, 0, bench.low.length, bench.high.words, 0, bench.high.length)
}

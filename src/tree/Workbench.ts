/**
 * What an operation needs for its own duration: scratch pages and keys, and the way from the root to a leaf.
 *
 * Made once per tree kernel, so that no split, merge or descent allocates. Nothing in it outlives an operation.
 */
import { Entries } from "./Inner.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Page from "./Page.ts"

/** Deepest tree: far more than 2³² pages can make. */
const depthMax = 32

export class Workbench {
  /** Copies of the pages that are filled anew. */
  readonly left: Int32Array
  readonly right: Int32Array
  readonly low = new KeyScratch()
  readonly high = new KeyScratch()
  readonly separator = new KeyScratch()
  /** Separators on their way up, in turn. */
  readonly rising: readonly [KeyScratch, KeyScratch] = [new KeyScratch(), new KeyScratch()]
  readonly entries = new Entries()
  /** The way down: page ids, and which child was taken; the page at `depth` is the last. */
  readonly ids = new Int32Array(depthMax)
  readonly taken = new Int32Array(depthMax)
  depth = 0

  constructor(pageWords: number) {
    this.left = new Int32Array(pageWords)
    this.right = new Int32Array(pageWords)
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

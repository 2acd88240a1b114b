/**
 * Bounds: which keys a page is for, as bytes.
 *
 * A leaf says its own (its fences); an inner page divides those that its parent gives it. Both are for whoever looks at
 * whole trees, page by page; a search compares words. The pages were checked (`PageCheck.ts`) and begin at word 0.
 */
import * as Inner from "./Inner.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Page from "./Page.ts"

/** Keys at or above `low` and below `high`; undefined: no upper bound. */
export interface Bounds {
  readonly low: Uint8Array
  readonly high: Uint8Array | undefined
}

export interface Child extends Bounds {
  readonly pageId: number
}

export const everything: Bounds = { low: new Uint8Array(0), high: undefined }

const key = new KeyScratch()

const keyAt = (words: Int32Array, at: number, bytes: number): Uint8Array => {
  key.assemble(words, 0, 0, words, at, bytes)
  return key.toBytes()
}

/** The fences of a leaf. */
export const fencesOf = (words: Int32Array): Bounds => {
  const high = Page.highBytes(words, 0)
  return {
    low: keyAt(words, Page.lowAt(words, 0), Page.lowBytes(words, 0)),
    high: high === Page.unbounded ? undefined : keyAt(words, Page.highAt(words, 0), high)
  }
}

/** The separators of an inner page. */
export const separatorsOf = (words: Int32Array): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Page.count(words, 0) }, (_, index) => {
    Inner.separator(words, 0, index, key)
    return key.toBytes()
  })

/** The children of an inner page that is for `bounds`, in order: their bounds tile its own, if they are in order. */
export const childrenOf = (words: Int32Array, bounds: Bounds): ReadonlyArray<Child> => {
  const separators = separatorsOf(words)
  return Array.from({ length: separators.length + 1 }, (_, index) => ({
    pageId: Inner.child(words, 0, index) >>> 0,
    low: index === 0 ? bounds.low : separators[index - 1] as Uint8Array,
    high: index === separators.length ? bounds.high : separators[index]
  }))
}

/** Whether there may be a key in bounds. */
export const isProper = ({ high, low }: Bounds): boolean =>
  high === undefined || Buffer.compare(low, high) < 0

/** Whether all of `inner` lies in `outer`. */
export const isWithin = (inner: Bounds, outer: Bounds): boolean =>
  Buffer.compare(inner.low, outer.low) >= 0
  && (outer.high === undefined
    || (inner.high !== undefined && Buffer.compare(inner.high, outer.high) <= 0))

export const isSame = (a: Bounds, b: Bounds): boolean => isWithin(a, b) && isWithin(b, a)

/**
 * Inner pages: separators that tell where a key's leaf is.
 *
 * Child i holds the keys at or above separator i − 1 and below separator i. Separators are as short as they can be
 * (suffix truncation: Bayer and Unterauer, Prefix B-trees, 1977). Slots are heads, meta and children; the heap holds
 * the separators without the prefix's whole words, and the prefix.
 *
 * The prefix is what the separators *in the page* have in common, and a search compares the key with it explicitly. A
 * prefix taken from the fences is empty on the pages at either end of a tree, where then every head is the same. For
 * that an inner page keeps no fences: its parent knows them.
 *
 * I1 Separators strictly ascend; there is one child more than separators.
 * I2 Every separator begins with the prefix.
 * I3 A page without separators, whose one child holds all, is allowed: it has found no neighbour yet (Merge.ts).
 */
import { invariant } from "../../Invariant.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Page from "./Page.ts"
import { commonBytes, compareKeys, headAt, headOf, headOfWords, lowerHead, upperHead } from "./Search.ts"

const { headerWords } = Page

/** Words of a slot: head, meta, child. */
const slotWords = 3
const growth = 8

/** Absolute word offset of the children. */
const childrenAt = (words: Int32Array, p: number): number =>
  p + headerWords + 2 * ((words[p + 6] as number) >>> 16)

/** Page id of child `index`, from 0 to the number of separators. */
export const child = (words: Int32Array, p: number, index: number): number =>
  words[childrenAt(words, p) + index] as number

/** Index of the child that holds a key. */
export const find = (words: Int32Array, p: number, key: KeyScratch): number =>
  findAt(words, p, key.words, 0, key.length)

/** The same of a key of `length` bytes that stands at a word, padded as in a {@link KeyScratch}. */
export function findAt(words: Int32Array, p: number, own: Int32Array, at: number, length: number): number {
  const counts = words[p + 6] as number
  const count = counts & 0xffff
  const prefix = (words[p + 8] as number) & 0xffff
  if (prefix > 0) {
    const order = comparePrefix(words, p, prefix, own, at, length)
    if (order < 0) return 0
    if (order > 0) return count
  }
  const heads = p + headerWords
  const head = headAt(own, at, prefix)
  const upper = upperHead(words, heads, 0, count, head)
  if (upper === 0 || words[heads + upper - 1] !== head) return upper
  return findAmongTies(words, p, own, at, length, head, upper)
}

/** Resolves equal heads by whole keys: one more search by heads, then by halves. */
function findAmongTies(
  words: Int32Array,
  p: number,
  own: Int32Array,
  at: number,
  length: number,
  head: number,
  upper: number
): number {
  const counts = words[p + 6] as number
  const skip = ((words[p + 8] as number) & 0xffff) >>> 2
  const meta = p + headerWords + (counts >>> 16)
  const stored = length - (skip << 2)
  let low = lowerHead(words, p + headerWords, counts & 0xffff, head)
  let high = upper
  while (low < high) {
    const middle = low + high >>> 1
    const slot = words[meta + middle] as number
    const order = compareKeys(own, at + skip, stored, words, p + (slot & 0xffff), slot >>> 16)
    if (order < 0) high = middle
    else low = middle + 1
  }
  return low
}

/** Order of a key's beginning and the page's prefix; a key that ends within an equal prefix is below it. */
function comparePrefix(
  words: Int32Array,
  p: number,
  prefix: number,
  own: Int32Array,
  at: number,
  length: number
): number {
  const from = p + ((words[p + 8] as number) >>> 16)
  const keyWords = length + 3 >>> 2
  const whole = prefix + 3 >>> 2
  const tail = prefix & 3
  for (let index = 0; index < whole; index++) {
    if (index >= keyWords) return -1
    const x = own[at + index] as number
    const y = words[from + index] as number
    let differ = x ^ y
    if (tail !== 0 && index === whole - 1) differ &= (1 << tail * 8) - 1
    if (differ !== 0) {
      const shift = 31 - Math.clz32(differ & -differ) & 24
      return (x >>> shift & 255) - (y >>> shift & 255)
    }
  }
  return length < prefix ? -1 : 0
}

/** Loads separator `index`, whole, into `into`. */
export function separator(words: Int32Array, p: number, index: number, into: KeyScratch): void {
  const skip = Page.prefixBytes(words, p) >>> 2
  const at = p + Page.slotAt(words, p, index)
  into.assemble(words, p + Page.prefixAt(words, p), skip, words, at, Page.slotBytes(words, p, index))
}

/** Words between slots and heap. */
export const gap = (words: Int32Array, p: number): number =>
  Page.heapTop(words, p) - headerWords - slotWords * Page.capacity(words, p) - 1

/** Words in use: header, slots, prefix and separators. */
export const used = (words: Int32Array, p: number): number =>
  headerWords + slotWords * Page.count(words, p) + 1 + Page.size(words, p) - Page.heapTop(words, p)
  - Page.garbage(words, p)

/** Makes an empty page the parent of one child. */
export function setOnlyChild(words: Int32Array, p: number, id: number): void {
  Page.setCounts(words, p, 0, 0)
  words[p + headerWords] = id
}

/**
 * Inserts separator `key` at `index` and its right child after it. False, and nothing changed, where there is no room
 * or the key does not begin with the page's prefix: then the page is to be filled anew.
 */
export function insert(words: Int32Array, p: number, index: number, key: KeyScratch, right: number): boolean {
  const prefix = Page.prefixBytes(words, p)
  if (prefix > 0 && comparePrefix(words, p, prefix, key.words, 0, key.length) !== 0) return false
  const skip = prefix >>> 2
  const stored = key.length - skip * 4
  const length = stored + 3 >>> 2
  const count = Page.count(words, p)
  const full = count === Page.capacity(words, p)
  if (gap(words, p) < length + (full ? slotWords : 0)) return false
  if (full) widen(words, p, Math.min(growth, Math.floor((gap(words, p) - length) / slotWords)))
  const off = Page.heapTop(words, p) - length
  for (let word = 0; word < length; word++) words[p + off + word] = key.words[skip + word] as number
  Page.setHeap(words, p, off, Page.garbage(words, p))
  const heads = p + headerWords
  const metas = heads + Page.capacity(words, p)
  const children = childrenAt(words, p)
  words.copyWithin(heads + index + 1, heads + index, heads + count)
  words.copyWithin(metas + index + 1, metas + index, metas + count)
  words.copyWithin(children + index + 2, children + index + 1, children + count + 1)
  words[heads + index] = headOf(key.bytes, prefix)
  words[metas + index] = off | stored << 16
  words[children + index + 1] = right
  Page.setCounts(words, p, count + 1, Page.capacity(words, p))
  Page.noteRun(words, p, index, 1)
  return true
}

/** Makes room for `more` slots. */
function widen(words: Int32Array, p: number, more: number): void {
  const count = Page.count(words, p)
  const capacity = Page.capacity(words, p)
  const metas = p + headerWords + capacity
  const children = metas + capacity
  words.copyWithin(children + 2 * more, children, children + count + 1)
  words.copyWithin(metas + more, metas, metas + count)
  Page.setCounts(words, p, count, capacity + more)
}

/** Takes out separator `index` and the child to its right. */
export function remove(words: Int32Array, p: number, index: number): void {
  const count = Page.count(words, p)
  const heads = p + headerWords
  const metas = heads + Page.capacity(words, p)
  const children = childrenAt(words, p)
  const length = Page.paddedWords(Page.slotBytes(words, p, index))
  words.copyWithin(heads + index, heads + index + 1, heads + count)
  words.copyWithin(metas + index, metas + index + 1, metas + count)
  words.copyWithin(children + index + 1, children + index + 2, children + count + 1)
  Page.setCounts(words, p, count - 1, Page.capacity(words, p))
  Page.setHeap(words, p, Page.heapTop(words, p), Page.garbage(words, p) + length)
  Page.endRun(words, p)
}

/**
 * Separators and children from which pages are filled: those of page a, one separator between, those of page b from
 * some index on. An insert is a page, the new separator and the rest of the page; a merge is a page, their parent's
 * separator and the next page.
 */
export class Entries {
  private readonly first = new KeyScratch()
  private readonly last = new KeyScratch()
  private readonly one = new KeyScratch()
  private a: Int32Array = new Int32Array(0)
  private aAt = 0
  private aCount = 0
  private between: KeyScratch = this.one
  private b: Int32Array = this.a
  private bAt = 0
  private bFrom = 0
  private bChild = 0
  /** How many separators there are. */
  count = 0

  /** A page whose separator `index` is new, with child `right` after it. */
  ofInsert(words: Int32Array, p: number, index: number, key: KeyScratch, right: number): this {
    this.a = this.b = words
    this.aAt = this.bAt = p
    this.aCount = this.bFrom = index
    this.between = key
    this.bChild = right
    this.count = Page.count(words, p) + 1
    return this
  }

  /** Two pages and the separator between them. */
  ofMerge(a: Int32Array, aAt: number, key: KeyScratch, b: Int32Array, bAt: number): this {
    this.a = a
    this.aAt = aAt
    this.aCount = Page.count(a, aAt)
    this.between = key
    this.b = b
    this.bAt = bAt
    this.bFrom = 0
    this.bChild = child(b, bAt, 0)
    this.count = this.aCount + 1 + Page.count(b, bAt)
    return this
  }

  load(index: number, into: KeyScratch): void {
    const after = index - this.aCount - 1
    if (after < -1) separator(this.a, this.aAt, index, into)
    else if (after >= 0) separator(this.b, this.bAt, this.bFrom + after, into)
    else into.assemble(this.between.words, 0, 0, this.between.words, 0, this.between.length)
  }

  private bytesOf(index: number): number {
    const after = index - this.aCount - 1
    if (after === -1) return this.between.length
    return after < -1
      ? Page.slotBytes(this.a, this.aAt, index) + (Page.prefixBytes(this.a, this.aAt) & ~3)
      : Page.slotBytes(this.b, this.bAt, this.bFrom + after) + (Page.prefixBytes(this.b, this.bAt) & ~3)
  }

  private childOf(index: number): number {
    const after = index - this.aCount - 1
    if (after < 0) return child(this.a, this.aAt, index)
    return after === 0 ? this.bChild : child(this.b, this.bAt, this.bFrom + after)
  }

  /** Bytes that separators [from, to) have in common; 0 where there are fewer than two. */
  private prefix(from: number, to: number): number {
    if (to - from < 2) return 0
    this.load(from, this.first)
    this.load(to - 1, this.last)
    return commonBytes(this.first.words, 0, this.first.length, this.last.words, 0, this.last.length)
  }

  /** Words of a page that holds just separators [from, to). */
  words(from: number, to: number): number {
    const prefix = this.prefix(from, to)
    let total = headerWords + 1 + slotWords * (to - from) + Page.paddedWords(prefix)
    for (let index = from; index < to; index++) total += Page.paddedWords(this.bytesOf(index) - (prefix & ~3))
    return total
  }

  /** Index of the separator to move up when a page is split, so that both sides are of a size and fit `size` words. */
  middle(size: number): number {
    let whole = 0
    for (let index = 0; index < this.count; index++) {
      whole += slotWords + Page.paddedWords(this.bytesOf(index))
    }
    let best = 0
    for (let seen = 0; seen * 2 < whole; best++) seen += slotWords + Page.paddedWords(this.bytesOf(best))
    best = Math.max(1, Math.min(best - 1, this.count - 2))
    for (let distance = 0; distance < this.count; distance++) {
      for (const index of [best - distance, best + distance]) {
        if (index < 1 || index > this.count - 2) continue
        if (this.words(0, index) <= size && this.words(index + 1, this.count) <= size) return index
      }
    }
    invariant(false, "Inner: a full page can be split")
  }

  /** Fills a cleared page, whose words must not be those of the entries, with separators [from, to). */
  fill(words: Int32Array, p: number, from: number, to: number): void {
    const prefix = this.prefix(from, to)
    const skip = prefix >>> 2
    const count = to - from
    const left = Page.size(words, p) - this.words(from, to)
    invariant(left >= 0, "Inner: fill only what fits")
    const capacity = count + Math.min(Math.floor(left / (2 * slotWords)), growth)
    Page.setCounts(words, p, count, capacity)
    Page.setPrefix(words, p, this.first, prefix)
    let top = Page.heapTop(words, p)
    for (let index = from, slot = p + headerWords; index < to; index++, slot++) {
      this.load(index, this.one)
      const stored = this.one.length - skip * 4
      top -= Page.paddedWords(stored)
      const own = this.one.words
      for (let word = 0; word < Page.paddedWords(stored); word++) {
        words[p + top + word] = own[skip + word] as number
      }
      words[slot] = headOfWords(own[skip] as number, own[skip + 1] as number, prefix & 3)
      words[slot + capacity] = top | stored << 16
    }
    const children = childrenAt(words, p)
    for (let index = from; index <= to; index++) words[children + index - from] = this.childOf(index)
    Page.setHeap(words, p, top, 0)
  }
}

/**
 * Filling leaves with records that come in the order of their keys.
 *
 * Puts that ascend, and that all stand behind the last record of a leaf, need one way down the tree for each leaf
 * instead of one for each record, and no search: the leaf is topped up, and where more come it is closed and the next
 * ones are built whole, straight from the words of the log.
 *
 * ```
 *   topped up ── full ──▶ closed: built anew with the fence below the next key, ──▶ a leaf built whole, ──▶ … the last:
 *                         and with what has room for its longer prefix              closed                  left open
 * ```
 *
 * A leaf with records behind the place of many puts is split there first.
 *
 * I1 After each leaf the tree is one that puts one by one could have left: fences, separators and counts are right. So
 *    it may stop there, for want of blocks too.
 * I2 No record is displaced: each key stands behind all others of its leaf, and below its high fence.
 * I3 A leaf that is made here is not left empty.
 *
 * The way that B+ trees are loaded from sorted input, without a second tree beside the first. Rejected: leaving room in
 * closed leaves, for which every load would pay and of which only those have something that change later; a way that
 * is kept from one record of the log to the next, which whatever changes pages would have to take back.
 */
import { invariant } from "../../Invariant.ts"
import { isInPlace, usedOnce } from "../memory/MapTable.ts"
import type { Root } from "../memory/Root.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import { commonBytes, compareKeys, headOfWords } from "../page/Search.ts"
import type { Descend } from "./Consolidate.ts"
import type { Puts } from "./Puts.ts"
import type { Ground } from "./Split.ts"
import { insertSeparator, note, sequence, splitLeaf } from "./Split.ts"

const { headerWords, paddedWords, recordHeaderWords, slotWords } = Page

/** Words of put `index` in a leaf without a prefix, its slot included. */
const wordsOf = (puts: Puts, index: number): number =>
  recordHeaderWords + slotWords + paddedWords(puts.keyBytes[index] as number) +
  paddedWords(puts.valueBytes[index] as number)

export class Fill {
  /** Puts that were written here, and leaves that were made. */
  readonly counters = { puts: 0, leaves: 0 }
  private readonly ground: Ground
  private readonly descend: Descend
  private readonly key = new KeyScratch()
  /** The leaf at hand, and its fences; there is none above where it is not `bounded`. */
  private id = 0
  private words: Int32Array = new Int32Array(0)
  private p = 0
  private readonly low = new KeyScratch()
  private readonly high = new KeyScratch()
  private bounded = false
  /** Between the leaf at hand and the next one. */
  private readonly fence = new KeyScratch()

  constructor(ground: Ground, descend: Descend) {
    this.ground = ground
    this.descend = descend
  }

  /**
   * Puts as many of `puts`, from the first on, as stand behind the last record of their leaf; answers how many. The
   * next one lies elsewhere, or needs a page or room.
   */
  put(root: Root, puts: Puts): number {
    let done = 0
    while (done < puts.count && this.enter(root, puts, done)) {
      const to = this.below(puts, done)
      const from = done
      done = this.top(root, puts, done, to)
      if (done < to) done = this.extend(root, puts, done, to)
      if (done < to || done === from) break
    }
    this.counters.puts += done
    return done
  }

  /** Goes down to the leaf of a put; false where it may not be changed, or has a record that is not below. */
  private enter(root: Root, puts: Puts, index: number): boolean {
    const { arena, map } = this.ground.pages
    this.key.loadWords(puts.words, puts.keyAt[index] as number, puts.keyBytes[index] as number)
    const id = this.descend(root, this.key)
    if (id < 0) return false
    const address = map.block[id] as number
    const state = map.state[id] as number
    if (address < 0 || !isInPlace(state)) return false
    const words = arena.wordsOf(address)
    const p = address & arena.mask
    const at = ~Leaf.find(words, p, this.key)
    if (at < 0) return false
    if (at < Page.count(words, p)) return this.part(root, puts, index, at) && this.enter(root, puts, index)
    map.state[id] = usedOnce(state)
    this.id = id
    this.words = words
    this.p = p
    return true
  }

  /**
   * Splits the leaf of a put before record `at`, where so many of those that follow stand before that record that they
   * fill half a leaf; false where they do not.
   */
  private part(root: Root, puts: Puts, from: number, at: number): boolean {
    const { fence, ground, key } = this
    const { arena, map } = ground.pages
    const address = map.block[ground.bench.ids[ground.bench.depth] as number] as number
    Leaf.loadKey(arena.wordsOf(address), address & arena.mask, at, fence)
    let filled = 0
    let to = from
    for (; to < puts.count; to++) {
      const keyBytes = puts.keyBytes[to] as number
      const order = compareKeys(puts.words, puts.keyAt[to] as number, keyBytes, fence.words, 0, fence.length)
      if (order >= 0) break
      filled += wordsOf(puts, to)
    }
    if (filled < arena.pageWords >>> 1 || !this.hasBlocks()) return false
    key.loadWords(puts.words, puts.keyAt[to - 1] as number, puts.keyBytes[to - 1] as number)
    splitLeaf(ground, root, key, { index: at, need: 0, replaces: 0, isLast: true })
    return true
  }

  /** The first put from `from` on that is not below the leaf's high fence. */
  private below(puts: Puts, from: number): number {
    const { p, words } = this
    const bytes = Page.highBytes(words, p)
    this.bounded = bytes !== Page.unbounded
    let high = puts.count
    if (!this.bounded) return high
    const at = p + Page.highAt(words, p)
    let low = from
    while (low < high) {
      const middle = low + high >>> 1
      const keyAt = puts.keyAt[middle] as number
      const order = compareKeys(puts.words, keyAt, puts.keyBytes[middle] as number, words, at, bytes)
      if (order < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Appends puts as long as the leaf has room between its slots and its heap; answers the first that has none. */
  private top(root: Root, puts: Puts, from: number, to: number): number {
    const { p, words } = this
    const skip = Page.prefixBytes(words, p) >>> 2
    const count = Page.count(words, p)
    const capacity = Page.capacity(words, p)
    let room = Leaf.gap(words, p) + (capacity - count) * slotWords
    let index = from
    for (; index < to; index++) {
      room -= wordsOf(puts, index) - skip
      // The slots that there are take their room even where they are more than the rest has records for.
      if (room < Math.max(0, capacity - count - (index + 1 - from)) * slotWords) break
    }
    if (index === from) return from
    this.ground.pages.touch(this.id)
    const added = index - from
    if (count + added > capacity) widen(words, p, count + added)
    append(words, p, puts, from, index)
    Page.noteRun(words, p, count, added)
    this.count(root, added)
    return index
  }

  private count(root: Root, added: number): void {
    root.count += added
    this.ground.pages.countRecords(this.id, added)
  }

  /** The leaf has no room for put `from`: closes it, and builds others behind it; answers how far that came. */
  private extend(root: Root, puts: Puts, from: number, to: number): number {
    const { bench, pages } = this.ground
    if (to - from < sequence && !this.ascends()) return from
    if (!this.hasBlocks()) return from
    const kept = bench.copy("left", this.words, this.p)
    assign(this.low, bench.loadLow(kept, 0))
    const high = bench.loadHigh(kept, 0)
    if (high !== undefined) assign(this.high, high)
    let taken = this.closing(puts, from, to, kept)
    if (taken < 0) return from
    pages.touch(this.id)
    this.build(kept, puts, from, taken, this.fence)
    let index = from
    while (true) {
      this.count(root, taken)
      index += taken
      this.next(root, puts, index)
      taken = this.opening(puts, index, to)
      if (index + taken === to || !this.hasBlocks()) break
      taken = this.closing(puts, index, to, undefined)
      this.build(undefined, puts, index, taken, this.fence)
    }
    this.build(undefined, puts, index, taken, undefined)
    Page.noteRun(this.words, this.p, 0, taken)
    this.count(root, taken)
    return index + taken
  }

  /** Whether the leaf has been filled in order so far: what splits it where puts come one by one. */
  private ascends(): boolean {
    const { p, words } = this
    return Page.ascendingRun(words, p, Page.count(words, p)) >= sequence
  }

  /** Whether there are blocks for one more leaf and for what is to be split above it. */
  private hasBlocks(): boolean {
    const { bench, pages: { arena } } = this.ground
    return arena.available >= bench.depth + 2
  }

  /**
   * How many puts from `from` on the leaf takes, beside the records that it keeps, when the fence before the next one
   * closes it; that is left in `fence`. -1 where not even what it keeps has room beside the fence.
   */
  private closing(puts: Puts, from: number, to: number, kept: Int32Array | undefined): number {
    const { pageWords } = this.ground.pages.arena
    let records = 0
    let total = headerWords + paddedWords(this.low.length)
    if (kept !== undefined) {
      records = Page.count(kept, 0)
      total += Leaf.used(kept, 0) - headerWords - Page.fenceWords(kept, 0)
        + records * (Page.prefixBytes(kept, 0) >>> 2)
      if (records > 0) Leaf.loadKey(kept, 0, records - 1, this.key)
    }
    let taken = -1
    for (let index = from; index < to; index++) {
      if (records > 0) {
        // The fence is no longer than the next key; only near the end it has to be known.
        const fits = total + paddedWords(puts.keyBytes[index] as number) <= pageWords ||
          total + this.closedBy(puts, index, index > from, records) <= pageWords
        if (!fits) break
        taken = index - from
      }
      total += wordsOf(puts, index)
      records++
    }
    if (taken >= 0) this.separate(puts, from + taken, taken > 0)
    return taken
  }

  /** Words that the fence before put `index` takes, less those of the prefix that so many keys have with it. */
  private closedBy(puts: Puts, index: number, isInner: boolean, records: number): number {
    const at = puts.keyAt[index] as number
    const bytes = puts.keyBytes[index] as number
    const fence = this.shared(puts, index, isInner) + 1
    const prefix = Math.min(fence, commonBytes(this.low.words, 0, this.low.length, puts.words, at, bytes))
    return paddedWords(fence) - records * (prefix >>> 2)
  }

  /** Bytes that put `index` has in common with the key before it: that of a put, or of the last record kept. */
  private shared(puts: Puts, index: number, isInner: boolean): number {
    const { key } = this
    const { keyAt, keyBytes, words } = puts
    const at = keyAt[index] as number
    const bytes = keyBytes[index] as number
    return isInner
      ? commonBytes(words, keyAt[index - 1] as number, keyBytes[index - 1] as number, words, at, bytes)
      : commonBytes(key.words, 0, key.length, words, at, bytes)
  }

  /** Makes the shortest key that is above the key before put `index` and not above its own: `fence`. */
  private separate(puts: Puts, index: number, isInner: boolean): void {
    const bytes = this.shared(puts, index, isInner) + 1
    invariant(bytes <= (puts.keyBytes[index] as number), "Leaf I1")
    this.fence.loadWords(puts.words, puts.keyAt[index] as number, bytes)
    this.fence.bytes.fill(0, bytes, paddedWords(bytes) * 4)
  }

  /** How many puts from `index` on fit the leaf, which has nothing yet, below the fence that it has. */
  private opening(puts: Puts, index: number, to: number): number {
    const { bounded, high, low } = this
    const prefix = bounded ? commonBytes(low.words, 0, low.length, high.words, 0, high.length) : 0
    const skip = prefix >>> 2
    let room = this.ground.pages.arena.pageWords - headerWords - paddedWords(low.length)
    if (bounded) room -= paddedWords(high.length)
    let at = index
    for (; at < to; at++) {
      room -= wordsOf(puts, at) - skip
      if (room < 0) break
    }
    return at - index
  }

  /** Fills the leaf at hand with the records that it keeps and some puts; without a fence it is left open. */
  private build(
    kept: Int32Array | undefined,
    puts: Puts,
    from: number,
    taken: number,
    fence: KeyScratch | undefined
  ): void {
    const { p, words } = this
    const records = kept === undefined ? 0 : Page.count(kept, 0)
    Page.clear(words, p)
    Page.setFences(words, p, this.low, fence ?? (this.bounded ? this.high : undefined))
    let slots = records + taken
    if (fence === undefined) {
      const skip = Page.prefixBytes(words, p) >>> 2
      let used = 0
      for (let index = from; index < from + taken; index++) used += wordsOf(puts, index) - skip
      slots = Leaf.slotsFor(slots, used, Page.heapTop(words, p) - headerWords - used)
    }
    Page.setCounts(words, p, 0, slots)
    if (kept !== undefined) Leaf.append(words, p, kept, 0, 0, records)
    append(words, p, puts, from, from + taken)
  }

  /** Makes the leaf behind the one at hand, which is closed, and goes there: to put `index`. */
  private next(root: Root, puts: Puts, index: number): void {
    const { ground: { events, pages }, ground } = this
    const left = this.id
    const id = pages.create(pages.placeOf(left))
    const address = pages.map.block[id] as number
    this.words = pages.arena.wordsOf(address)
    this.p = address & pages.arena.mask
    const size = pages.arena.pageWords
    Page.begin(this.words, this.p, { size, level: 0, pageId: id, treeId: root.treeId })
    this.id = id
    assign(this.low, this.fence)
    Page.setFences(this.words, this.p, this.low, this.bounded ? this.high : undefined)
    pages.map.state[id] = usedOnce(pages.map.state[id] as number)
    if (events.enabled) note(ground, root, 0, left, id, this.fence.length)
    insertSeparator(ground, root, this.fence, id)
    this.counters.leaves++
    this.key.loadWords(puts.words, puts.keyAt[index] as number, puts.keyBytes[index] as number)
    invariant(this.descend(root, this.key) === id, "Fill I1")
  }
}

function assign(to: KeyScratch, from: KeyScratch): void {
  to.assemble(from.words, 0, 0, from.words, 0, from.length)
}

/** Gives a leaf so many slots. */
function widen(words: Int32Array, p: number, capacity: number): void {
  const count = Page.count(words, p)
  const metas = p + headerWords + Page.capacity(words, p)
  words.copyWithin(p + headerWords + capacity, metas, metas + count)
  Page.setCounts(words, p, count, capacity)
}

/** Appends puts [from, to), for which there are slots and room, and which begin with the page's prefix. */
function append(words: Int32Array, p: number, puts: Puts, from: number, to: number): void {
  const { versions, words: source } = puts
  const prefix = Page.prefixBytes(words, p)
  const skip = prefix >>> 2
  const capacity = Page.capacity(words, p)
  let newest = 0
  let slot = p + headerWords + Page.count(words, p)
  let top = Page.heapTop(words, p)
  for (let index = from; index < to; index++, slot++) {
    const stored = (puts.keyBytes[index] as number) - (skip << 2)
    const valueBytes = puts.valueBytes[index] as number
    const keyWords = stored + 3 >>> 2
    const valueWords = valueBytes + 3 >>> 2
    top -= recordHeaderWords + keyWords + valueWords
    let at = p + top
    words[at] = valueBytes | Leaf.Kind.Value << 16
    const version = versions[index] as number
    if (version > newest) newest = version
    words[at + 1] = version | 0
    words[at + 2] = version / 4_294_967_296 | 0
    at += recordHeaderWords
    let origin = (puts.keyAt[index] as number) + skip
    const first = stored > 0 ? source[origin] as number : 0
    const second = stored > 4 ? source[origin + 1] as number : 0
    for (const end = at + keyWords; at < end; at++) words[at] = source[origin++] as number
    origin = puts.valueAt[index] as number
    for (const end = at + valueWords; at < end; at++) words[at] = source[origin++] as number
    words[slot] = headOfWords(first, second, prefix & 3)
    words[slot + capacity] = top | stored << 16
  }
  Page.setCounts(words, p, slot - p - headerWords, capacity)
  Page.setHeap(words, p, top, Page.garbage(words, p))
  Page.raisePageLsn(words, p, newest)
}

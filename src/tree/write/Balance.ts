/**
 * Leaves that are full give records to a neighbour with room before they are split.
 *
 * Splitting in halves alone leaves the leaves of a random load 70 % full (ln 2: Yao, "On random 2-3 trees", 1978);
 * evened out with a neighbour first, 75 %. It is done where it leaves three sixteenths of a page free on both sides:
 * less would save more memory, and have so many records moved that loading takes a tenth longer.
 *
 * I1 Both pages have records and room for the record at hand afterwards, wherever it belongs: it never goes round.
 * I2 Neither has a mini-page, whose prefix is that of its leaf's bounds.
 *
 * Neighbours are looked at only in memory and where they may be changed, and only while memory is plenty: where pages
 * come and go, each page that is changed is one more to be written.
 */
import { invariant } from "../../Invariant.ts"
import { State } from "../memory/MapTable.ts"
import * as Inner from "../page/Inner.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import { commonBytes } from "../page/Search.ts"
import type { Ground } from "./Split.ts"
import { separate } from "./Split.ts"

const { headerWords } = Page

/** Evens out the leaf at the end of the path with a neighbour, for a record of `need` words; false where none helps. */
export function balance(ground: Ground, need: number): boolean {
  const { bench, pages } = ground
  const { arena } = pages
  if (bench.depth === 0 || arena.available <= arena.limit >>> 2) return false
  const parent = bench.ids[bench.depth - 1] as number
  const index = bench.taken[bench.depth - 1] as number
  const address = pages.map.block[parent] as number
  const last = Page.count(arena.wordsOf(address), address & arena.mask)
  return index < last && balanceAt(ground, parent, index, need)
    || index > 0 && balanceAt(ground, parent, index - 1, need)
}

/** Evens out the leaves on both sides of separator `index`. */
function balanceAt(ground: Ground, parent: number, index: number, need: number): boolean {
  const { bench, pages } = ground
  const { arena, map } = pages
  const above = map.block[parent] as number
  const leftId = Inner.child(arena.wordsOf(above), above & arena.mask, index)
  const rightId = Inner.child(arena.wordsOf(above), above & arena.mask, index + 1)
  if (!mayChange(map.state[leftId] as number) || !mayChange(map.state[rightId] as number)) return false
  const leftAddress = map.block[leftId] as number
  const rightAddress = map.block[rightId] as number
  if (leftAddress < 0 || rightAddress < 0) return false
  const left = arena.wordsOf(leftAddress)
  const p = leftAddress & arena.mask
  const right = arena.wordsOf(rightAddress)
  const r = rightAddress & arena.mask
  const size = Page.size(left, p)
  const room = Math.max(size * 3 >>> 4, need + Page.slotWords)
  if (Leaf.spare(left, p) + Leaf.spare(right, r) < 2 * room) return false
  const cut = middle(left, p, right, r)
  const count = Page.count(left, p)
  if (cut === count || cut === 0 || cut === count + Page.count(right, r)) return false
  loadFrom(left, p, right, r, cut - 1, bench.rising[0])
  loadFrom(left, p, right, r, cut, bench.rising[1])
  separate(bench, bench.rising[0], bench.rising[1])
  const low = bench.loadLow(left, p)
  const high = bench.loadHigh(right, r)
  const leftWords = frameWords(low, bench.separator) +
    recordsWords(left, p, right, r, 0, cut, prefixOf(low, bench.separator))
  const all = count + Page.count(right, r)
  const rightWords = frameWords(bench.separator, high) +
    recordsWords(left, p, right, r, cut, all, prefixOf(bench.separator, high))
  if (Math.max(leftWords, rightWords) > size - room) return false
  if (!moveSeparator(ground, parent, index, rightId)) return false
  pages.touch(leftId)
  pages.touch(rightId)
  pages.deadlines.inherit(leftId, rightId)
  pages.deadlines.inherit(rightId, leftId)
  const first = bench.copy("left", left, p)
  const second = bench.copy("right", right, r)
  fill(left, p, first, second, low, bench.separator, 0, cut, size - leftWords)
  fill(right, r, first, second, bench.separator, high, cut, all, size - rightWords)
  const lsn = Math.max(Page.pageLsn(first, 0), Page.pageLsn(second, 0))
  Page.raisePageLsn(left, p, lsn)
  Page.raisePageLsn(right, r, lsn)
  return true
}

const mayChange = (state: number): boolean => (state & (State.Mutable | State.Mini)) === State.Mutable

/** Puts the separator on the bench in the place of another; false, and nothing changed, where it has no room. */
function moveSeparator(ground: Ground, parent: number, index: number, right: number): boolean {
  const { bench, pages } = ground
  const address = pages.map.block[parent] as number
  const words = pages.arena.wordsOf(address)
  const p = address & pages.arena.mask
  pages.touch(parent)
  const before = bench.copy("right", words, p)
  Inner.remove(words, p, index)
  if (Inner.insert(words, p, index, bench.separator, right)) return true
  const source = bench.copy("left", words, p)
  const entries = bench.entries.ofInsert(source, 0, index, bench.separator, right)
  const fits = entries.words(0, entries.count) <= Page.size(words, p)
  if (fits) {
    Page.clear(words, p)
    entries.fill(words, p, 0, entries.count)
  } else {
    for (let word = 0; word < Page.size(before, 0); word++) words[p + word] = before[word] as number
  }
  return fits
}

/** Loads the key of record `index` of two leaves that count as one. */
function loadFrom(
  left: Int32Array,
  p: number,
  right: Int32Array,
  r: number,
  index: number,
  into: KeyScratch
): void {
  const count = Page.count(left, p)
  if (index < count) Leaf.loadKey(left, p, index, into)
  else Leaf.loadKey(right, r, index - count, into)
}

const wordsAt = (words: Int32Array, p: number, index: number): number =>
  Leaf.recordWords(words, Leaf.recordAt(words, p, index), Page.slotBytes(words, p, index)) + Page.slotWords

/** How many of the records of both stay left so that both sides have as many words. */
function middle(left: Int32Array, p: number, right: Int32Array, r: number): number {
  const count = Page.count(left, p)
  const all = count + Page.count(right, r)
  let ahead = 0
  for (let index = 0; index < count; index++) ahead += wordsAt(left, p, index)
  for (let index = 0; index < all - count; index++) ahead += wordsAt(right, r, index)
  let cut = 0
  for (let behind = 0; cut < all && behind < ahead; cut++) {
    const words = cut < count ? wordsAt(left, p, cut) : wordsAt(right, r, cut - count)
    behind += words
    ahead -= words
  }
  return cut
}

/** Whole words of the prefix between two fences. */
const prefixOf = (low: KeyScratch, high: KeyScratch | undefined): number =>
  high === undefined ? 0 : commonBytes(low.words, 0, low.length, high.words, 0, high.length) >>> 2

const frameWords = (low: KeyScratch, high: KeyScratch | undefined): number =>
  headerWords + Page.paddedWords(low.length) + (high === undefined ? 0 : Page.paddedWords(high.length))

/** Words of records [from, to) of both, in a page whose prefix has `skip` whole words. */
function recordsWords(
  left: Int32Array,
  p: number,
  right: Int32Array,
  r: number,
  from: number,
  to: number,
  skip: number
): number {
  const count = Page.count(left, p)
  const ofLeft = (Page.prefixBytes(left, p) >>> 2) - skip
  const ofRight = (Page.prefixBytes(right, r) >>> 2) - skip
  let total = 0
  for (let index = from; index < to; index++) {
    total += index < count ? wordsAt(left, p, index) + ofLeft : wordsAt(right, r, index - count) + ofRight
  }
  return total
}

/** Fills a leaf anew with records [from, to) of two copies. */
function fill(
  words: Int32Array,
  p: number,
  first: Int32Array,
  second: Int32Array,
  low: KeyScratch,
  high: KeyScratch | undefined,
  from: number,
  to: number,
  spare: number
): void {
  const count = Page.count(first, 0)
  Page.clear(words, p)
  Page.setFences(words, p, low, high)
  const taken = Page.heapTop(words, p) - headerWords - spare
  Page.setCounts(words, p, 0, Leaf.slotsFor(to - from, taken, spare))
  if (from < count) Leaf.append(words, p, first, 0, from, Math.min(to, count))
  if (to > count) Leaf.append(words, p, second, 0, Math.max(0, from - count), to - count)
  invariant(Leaf.gap(words, p) >= 0, "Balance I1")
}

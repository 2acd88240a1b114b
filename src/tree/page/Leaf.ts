/**
 * Leaf pages: records in key order.
 *
 * A record in the heap of a leaf (words):
 *
 * | word  | field                                                                                 |
 * |------:|---------------------------------------------------------------------------------------|
 * |     0 | value bytes u16, kind u8, flags u8 (1 = expires)                                       |
 * |     1 | version: LSN, low word first                                                           |
 * |     3 | stored key: without the prefix's whole words, zero-padded to words                     |
 * |     … | expiry: milliseconds as f64, only with its flag                                        |
 * |     … | value, zero-padded to words; of a reference LSN (8), length u32, checksum u32           |
 *
 * Room that a shorter value leaves and records that were moved are garbage until the page is compacted.
 *
 * I1 Slots are in strictly ascending key order; heads are those of their keys.
 * I2 Every record lies in the heap, and records, fences and garbage together are the heap.
 * I3 No function here is called without room for what it adds; `room` says whether there is.
 */
import { invariant } from "../../Invariant.ts"
import type { KeyScratch } from "./KeyScratch.ts"
import * as Page from "./Page.ts"
import { compareKeys, headAt, headOf, headOfWords, lowerHead, upperHead } from "./Search.ts"
import type { ValueIn } from "./ValueIn.ts"

/** Kinds of records. Those from 3 on stand in mini-pages only (`MiniPage.ts`, which has more flags too). */
export const Kind = {
  Value: 1,
  Reference: 2,
  Tombstone: 3,
  Phantom: 4,
  Operand: 5
} as const

export const expires = 1

const { headerWords, recordHeaderWords } = Page

/** Slots that a full slot array grows by. */
const growth = 8
/** Up to this many words a loop moves them faster than `copyWithin`. */
const loopWords = 28
/** Up to this many words a loop copies a value faster than a view of it and `set`. */
const setWords = 48

/** For the bits of a float. */
const float = new Float64Array(1)
const floatWords = new Int32Array(float.buffer)

/** Whether a page, which may be any, is a leaf of a tree whose keys begin as this one does: the key may be in it. */
export const mayHave = (words: Int32Array, p: number, treeId: number, key: KeyScratch): boolean =>
  mayHaveAt(words, p, treeId, key.words, 0, key.length)

/** The same of a key of `length` bytes that stands at a word, padded as in a {@link KeyScratch}. */
export function mayHaveAt(
  words: Int32Array,
  p: number,
  treeId: number,
  own: Int32Array,
  at: number,
  length: number
): boolean {
  if (words[p + 3] !== treeId || Page.level(words, p) !== 0) return false
  const prefix = words[p + 8] as number
  const skip = (prefix & 0xffff) >>> 2
  if (length < skip << 2) return false
  const from = p + (prefix >>> 16)
  for (let word = 0; word < skip; word++) if (words[from + word] !== own[at + word]) return false
  return true
}

/**
 * Index of a key that {@link mayHaveAt} was said of, if the meta of its slot is among the `metas` from word `meta` of
 * the page on, and its record at word `off`; else -1. No other words are read.
 */
export function slotWith(
  words: Int32Array,
  p: number,
  own: Int32Array,
  at: number,
  length: number,
  meta: number,
  metas: number,
  off: number
): number {
  const skip = ((words[p + 8] as number) & 0xffff) >>> 2
  const stored = length - (skip << 2)
  const slot = off | stored << 16
  const found = words[p + meta] === slot ? meta : nextOf(words, p + meta, metas, slot) - p
  const counts = words[p + 6] as number
  const index = found - headerWords - (counts >>> 16)
  if (index < 0 || index >= (counts & 0xffff)) return -1
  const key = p + off + recordHeaderWords
  for (let word = stored + 3 >>> 2; word-- > 0;) {
    if (words[key + word] !== own[at + skip + word]) return -1
  }
  return index
}

/** The word that is `slot`, of a step's words behind its first; 0 where none is. Apart, so that V8 inlines the rest. */
function nextOf(words: Int32Array, at: number, metas: number, slot: number): number {
  for (let word = at + 1; word < at + metas; word++) if (words[word] === slot) return word
  return 0
}

/** The first slot whose head is not below that of a key: where {@link findFrom} goes on. */
export const lower = (words: Int32Array, p: number, key: KeyScratch): number =>
  lowerAt(words, p, key.words, 0)

/** The same of a key that stands at a word, padded as in a {@link KeyScratch}. */
export const lowerAt = (words: Int32Array, p: number, own: Int32Array, at: number): number =>
  lowerHead(
    words,
    p + headerWords,
    (words[p + 6] as number) & 0xffff,
    headAt(own, at, (words[p + 8] as number) & 0xffff)
  )

/** Index of a key, or ~index of where it would stand. */
export const find = (words: Int32Array, p: number, key: KeyScratch): number =>
  findFrom(words, p, key, lower(words, p, key))

/** The same where {@link lower} is known. */
export function findFrom(words: Int32Array, p: number, key: KeyScratch, from: number): number {
  const prefix = (words[p + 8] as number) & 0xffff
  const skip = prefix >>> 2
  const counts = words[p + 6] as number
  const count = counts & 0xffff
  const head = headAt(key.words, 0, prefix)
  let low = from
  if (low === count || words[p + headerWords + low] !== head) return ~low
  const meta = p + headerWords + (counts >>> 16)
  const stored = key.length - (skip << 2)
  let high = low + 1
  if (high < count && words[p + headerWords + high] === head) {
    high = upperHead(words, p + headerWords, high, count, head)
  }
  while (low < high) {
    const middle = low + high >>> 1
    const slot = words[meta + middle] as number
    const at = p + (slot & 0xffff) + recordHeaderWords
    const order = compareKeys(key.words, skip, stored, words, at, slot >>> 16)
    if (order === 0) return middle
    if (order < 0) high = middle
    else low = middle + 1
  }
  return ~low
}

/** Words of the record at `at` (absolute) with `keyBytes` stored. */
export function recordWords(words: Int32Array, at: number, keyBytes: number): number {
  const head = words[at] as number
  return recordHeaderWords + (keyBytes + 3 >>> 2) + ((head >>> 24 & expires) << 1) +
    ((head & 0xffff) + 3 >>> 2)
}

/** Absolute word offset of the record in slot `index`. */
export const recordAt = (words: Int32Array, p: number, index: number): number =>
  p + Page.slotAt(words, p, index)

export const kindAt = (words: Int32Array, record: number): number => (words[record] as number) >>> 16 & 0xff
export const versionAt = (words: Int32Array, record: number): number => Page.readLsn(words, record + 1)
export const valueBytesAt = (words: Int32Array, record: number): number => (words[record] as number) & 0xffff

/** When the record expires; Infinity where it does not. */
export function expiryAt(words: Int32Array, record: number, keyBytes: number): number {
  if (((words[record] as number) >>> 24 & expires) === 0) return Infinity
  const at = record + recordHeaderWords + (keyBytes + 3 >>> 2)
  floatWords[0] = words[at] as number
  floatWords[1] = words[at + 1] as number
  return float[0] as number
}

/** Absolute word offset of the value. */
export const valueAt = (words: Int32Array, record: number, keyBytes: number): number =>
  record + recordHeaderWords + (keyBytes + 3 >>> 2) + (((words[record] as number) >>> 24 & expires) << 1)

/** Loads the whole key of record `index`. */
export function loadKey(words: Int32Array, p: number, index: number, into: KeyScratch): void {
  const skip = Page.prefixBytes(words, p) >>> 2
  const at = recordAt(words, p, index) + recordHeaderWords
  into.assemble(words, p + Page.prefixAt(words, p), skip, words, at, Page.slotBytes(words, p, index))
}

/** Words that a record needs in the heap of this page. */
export function neededWords(
  words: Int32Array,
  p: number,
  keyBytes: number,
  valueBytes: number,
  expiry: number
): number {
  const stored = keyBytes - (Page.prefixBytes(words, p) & ~3)
  return recordHeaderWords + (stored + 3 >>> 2) + (expiry === Infinity ? 0 : 2) + (valueBytes + 3 >>> 2)
}

/** Words between slot arrays and heap. */
export const gap = (words: Int32Array, p: number): number =>
  Page.heapTop(words, p) - headerWords - 2 * Page.capacity(words, p)

/** Words that compaction would make available, those of the gap included. */
export const spare = (words: Int32Array, p: number): number =>
  Page.heapTop(words, p) + Page.garbage(words, p) - headerWords - 2 * Page.count(words, p)

/** Words in use: header, slots, fences and records. */
export const used = (words: Int32Array, p: number): number => Page.size(words, p) - spare(words, p)

/** Makes room for one more slot at `index` and fills it. */
function openSlot(words: Int32Array, p: number, index: number, head: number, meta: number): void {
  const counts = words[p + 6] as number
  const count = counts & 0xffff
  let capacity = counts >>> 16
  const heads = p + headerWords
  if (count === capacity) {
    const wanted = Math.min(growth, gap(words, p) >>> 1)
    invariant(wanted > 0, "Leaf I3")
    words.copyWithin(heads + capacity + wanted, heads + capacity, heads + capacity + count)
    capacity += wanted
  }
  const metas = heads + capacity
  if (count - index <= loopWords) {
    for (let at = count; at > index; at--) {
      words[heads + at] = words[heads + at - 1] as number
      words[metas + at] = words[metas + at - 1] as number
    }
  } else {
    words.copyWithin(heads + index + 1, heads + index, heads + count)
    words.copyWithin(metas + index + 1, metas + index, metas + count)
  }
  words[heads + index] = head
  words[metas + index] = meta
  Page.setCounts(words, p, count + 1, capacity)
}

/** Writes what follows the key of a record: expiry and value. */
function writeValue(words: Int32Array, at: number, expiry: number, value: ValueIn): void {
  let to = at
  if (expiry !== Infinity) {
    float[0] = expiry
    words[to] = floatWords[0] as number
    words[to + 1] = floatWords[1] as number
    to += 2
  }
  const { at: from, words: source } = value
  const count = value.length + 3 >>> 2
  if (count > setWords) words.set(source.subarray(from, from + count), to)
  else for (let word = 0; word < count; word++) words[to + word] = source[from + word] as number
}

/** Inserts a record at `index`. There is room in the gap for `need` words and, if the slots are full, one slot. */
export function insert(
  words: Int32Array,
  p: number,
  index: number,
  need: number,
  key: KeyScratch,
  kind: number,
  value: ValueIn,
  version: number,
  expiry: number
): void {
  const prefix = Page.prefixBytes(words, p)
  const skip = prefix >>> 2
  const stored = key.length - (skip << 2)
  const off = Page.heapTop(words, p) - need
  let at = p + off
  words[at] = value.length | kind << 16 | (expiry === Infinity ? 0 : expires << 24)
  Page.writeLsn(words, at + 1, version)
  at += recordHeaderWords
  const keyWords = stored + 3 >>> 2
  for (let word = 0; word < keyWords; word++) words[at + word] = key.words[skip + word] as number
  writeValue(words, at + keyWords, expiry, value)
  Page.setHeap(words, p, off, Page.garbage(words, p))
  openSlot(words, p, index, headOf(key.bytes, prefix), off | stored << 16)
  Page.noteRun(words, p, index, 1)
  Page.raisePageLsn(words, p, version)
}

/** Overwrites the value of record `index`. False where neither its place nor the gap has room for `need` words. */
export function replace(
  words: Int32Array,
  p: number,
  index: number,
  need: number,
  kind: number,
  value: ValueIn,
  version: number,
  expiry: number
): boolean {
  const meta = p + headerWords + Page.capacity(words, p) + index
  const slot = words[meta] as number
  const keyBytes = slot >>> 16
  const keyWords = keyBytes + 3 >>> 2
  let at = p + (slot & 0xffff)
  const had = recordWords(words, at, keyBytes)
  const heap = words[p + 7] as number
  if (need <= had) {
    Page.setHeap(words, p, heap & 0xffff, (heap >>> 16) + had - need)
  } else {
    if (need > gap(words, p)) return false
    const off = (heap & 0xffff) - need
    const from = at + recordHeaderWords
    at = p + off
    for (let word = 0; word < keyWords; word++) {
      words[at + recordHeaderWords + word] = words[from + word] as number
    }
    words[meta] = off | keyBytes << 16
    Page.setHeap(words, p, off, (heap >>> 16) + had)
  }
  words[at] = value.length | kind << 16 | (expiry === Infinity ? 0 : expires << 24)
  Page.writeLsn(words, at + 1, version)
  writeValue(words, at + recordHeaderWords + keyWords, expiry, value)
  Page.raisePageLsn(words, p, version)
  return true
}

/** Takes record `index` out. */
export function remove(words: Int32Array, p: number, index: number): void {
  const counts = words[p + 6] as number
  const count = counts & 0xffff
  const heads = p + headerWords
  const metas = heads + (counts >>> 16)
  const slot = words[metas + index] as number
  const off = slot & 0xffff
  const had = recordWords(words, p + off, slot >>> 16)
  const heap = words[p + 7] as number
  // The lowest record gives its room back to the gap: a queue of one never needs compaction.
  if (off === (heap & 0xffff)) Page.setHeap(words, p, off + had, heap >>> 16)
  else Page.setHeap(words, p, heap & 0xffff, (heap >>> 16) + had)
  words.copyWithin(heads + index, heads + index + 1, heads + count)
  words.copyWithin(metas + index, metas + index + 1, metas + count)
  Page.setCounts(words, p, count - 1, counts >>> 16)
  Page.endRun(words, p)
}

/**
 * Appends records [from, to) of another page, whose words must not be those of this one. Their keys lie within this
 * page's fences. The prefixes may differ: words of it are dropped from keys or put back.
 */
export function append(
  words: Int32Array,
  p: number,
  source: Int32Array,
  s: number,
  from: number,
  to: number
): void {
  const prefix = Page.prefixBytes(words, p)
  const skip = prefix >>> 2
  const shorter = skip - (Page.prefixBytes(source, s) >>> 2)
  const sourcePrefix = s + Page.prefixAt(source, s) + skip
  const sourceMeta = s + headerWords + Page.capacity(source, s)
  let count = Page.count(words, p)
  const capacity = Page.capacity(words, p)
  invariant(count + to - from <= capacity, "Leaf I3")
  let top = Page.heapTop(words, p)
  for (let index = from; index < to; index++) {
    const slot = source[sourceMeta + index] as number
    const record = s + (slot & 0xffff)
    const length = recordWords(source, record, slot >>> 16) - shorter
    const stored = (slot >>> 16) - shorter * 4
    top -= length
    const at = p + top
    for (let word = 0; word < recordHeaderWords; word++) words[at + word] = source[record + word] as number
    let target = at + recordHeaderWords
    let origin = record + recordHeaderWords + (shorter > 0 ? shorter : 0)
    for (let word = shorter; word < 0; word++) {
      words[target++] = source[sourcePrefix + word - shorter] as number
    }
    for (const end = at + length; target < end; target++) words[target] = source[origin++] as number
    const first = stored > 0 ? words[at + recordHeaderWords] as number : 0
    const second = stored > 4 ? words[at + recordHeaderWords + 1] as number : 0
    words[p + headerWords + count] = headOfWords(first, second, prefix & 3)
    words[p + headerWords + capacity + count] = top | stored << 16
    count++
  }
  Page.setCounts(words, p, count, capacity)
  Page.setHeap(words, p, top, Page.garbage(words, p))
}

/**
 * Slots to give a page of `count` records that leaves `spareWords` free: as many as will likely fill it, so that a
 * full page has no unused slots and seldom had to move them.
 */
export function slotsFor(count: number, usedWords: number, spareWords: number): number {
  const average = count === 0 ? 16 : Math.max(5, Math.ceil(usedWords / count))
  return count + Math.min(Math.floor(spareWords / average), spareWords >>> 1)
}

/**
 * What leaves and inner nodes have in common: the header, fences and prefix, and how large things may be.
 *
 * A page, in memory and on disk (little-endian; w = 32-bit word, "off" in words from the page's start):
 *
 * | word | bytes | field                                                                            |
 * |-----:|------:|----------------------------------------------------------------------------------|
 * |    0 |     4 | checksum: CRC-32 of the rest of the page; 0 in memory                             |
 * |    1 |     4 | kind u8 (0x11 leaf, 0x12 inner), level u8 (0 = leaf), size of the page in words u16 |
 * |    2 |     4 | page id                                                                          |
 * |    3 |     4 | tree id                                                                          |
 * |    4 |     8 | page LSN: no version in the page is newer; low word first                         |
 * |    6 |     4 | count u16, capacity u16 of the slot arrays                                        |
 * |    7 |     4 | heap top u16: where the heap begins; garbage u16: words in it that nothing uses    |
 * |    8 |     4 | prefix: bytes u16, off u16                                                        |
 * |    9 |     4 | fences: bytes u16 of the low one, u16 of the high one; 0xffff = no upper bound     |
 * |   10 |     4 | inserts in a row: index of the last u16, how many ascended one by one u16          |
 * |   11 |   4·c | heads of the capacity's slots, see Search.ts                                      |
 * |      |   4·c | meta: off u16 of the record or separator, bytes u16 of its stored key              |
 * |      |       | inner nodes only: children, capacity + 1 page ids                                 |
 * |      |       | free                                                                             |
 * |  top |       | heap, growing down from the end: the low fence, the high one, or the prefix of a  |
 * |      |       | page without fences; then records or separators                                  |
 *
 * The header is this short for mini-pages, which have it too: every word of it costs a hundredth of all that the buffer
 * can hold. So fences have no offs, and the format of a page is in its kind.
 *
 * Keys in a page share a *prefix* of n bytes. Its whole words, n & ~3 bytes, are not stored with the keys; what is
 * stored is zero-padded, so that it compares word by word with a key in scratch. Heads start at byte n exactly.
 *
 * A page is broken when its checksum, id or size differ from what points to it, when an offset or length leads outside
 * its heap, when keys do not ascend or lie outside [low, high), or when the prefix is not that of its keys
 * (`PageCheck.ts` checks all of it before a page from disk is used).
 *
 * The page is given as the words of its chunk and a word offset; its size stands in its header and is never assumed.
 */
import { invariant } from "../../Invariant.ts"
import type { KeyScratch } from "./KeyScratch.ts"
import { keyBytesMax } from "./KeyScratch.ts"
import { commonBytes } from "./Search.ts"

/** Kinds of the first format of pages. */
export const leafKind = 0x11
export const innerKind = 0x12
export const headerWords = 11
export const headerBytes = headerWords * 4
export const unbounded = 0xffff

export const pageBytesMin = 1024
export const pageBytesMax = 32_768

/** Words of a leaf record before its key. */
export const recordHeaderWords = 3
/** Words of a record's slot: head and meta. */
export const slotWords = 2

export const level = (words: Int32Array, p: number): number => (words[p + 1] as number) >>> 8 & 0xff
export const size = (words: Int32Array, p: number): number => (words[p + 1] as number) >>> 16
export const pageId = (words: Int32Array, p: number): number => words[p + 2] as number
export const treeId = (words: Int32Array, p: number): number => words[p + 3] as number
export const count = (words: Int32Array, p: number): number => (words[p + 6] as number) & 0xffff
export const capacity = (words: Int32Array, p: number): number => (words[p + 6] as number) >>> 16
export const heapTop = (words: Int32Array, p: number): number => (words[p + 7] as number) & 0xffff
export const garbage = (words: Int32Array, p: number): number => (words[p + 7] as number) >>> 16
export const prefixBytes = (words: Int32Array, p: number): number => (words[p + 8] as number) & 0xffff
export const prefixAt = (words: Int32Array, p: number): number => (words[p + 8] as number) >>> 16
export const lowBytes = (words: Int32Array, p: number): number => (words[p + 9] as number) & 0xffff
/** `unbounded` where there is no upper bound. */
export const highBytes = (words: Int32Array, p: number): number => (words[p + 9] as number) >>> 16
/** Off of the low fence. */
export const lowAt = (words: Int32Array, p: number): number =>
  size(words, p) - paddedWords(lowBytes(words, p))
/** Off of the high fence, which the page has. */
export const highAt = (words: Int32Array, p: number): number =>
  lowAt(words, p) - paddedWords(highBytes(words, p))

export function setCounts(words: Int32Array, p: number, count: number, capacity: number): void {
  words[p + 6] = count | capacity << 16
}

export function setHeap(words: Int32Array, p: number, heapTop: number, garbage: number): void {
  words[p + 7] = heapTop | garbage << 16
}

/** Off (word offset in the page) of slot `index`'s record. */
export const slotAt = (words: Int32Array, p: number, index: number): number =>
  (words[p + metaAt(words, p, index)] as number) & 0xffff

/** Off of the meta of slot `index`. */
export const metaAt = (words: Int32Array, p: number, index: number): number =>
  headerWords + ((words[p + 6] as number) >>> 16) + index

/** Stored key bytes of slot `index`. */
export const slotBytes = (words: Int32Array, p: number, index: number): number =>
  (words[p + headerWords + ((words[p + 6] as number) >>> 16) + index] as number) >>> 16

/** The page LSN: no version in the page is newer. */
export const pageLsn = (words: Int32Array, p: number): number => readLsn(words, p + 4)

export const readLsn = (words: Int32Array, at: number): number =>
  ((words[at + 1] as number) >>> 0) * 4_294_967_296 + ((words[at] as number) >>> 0)

export function writeLsn(words: Int32Array, at: number, lsn: number): void {
  // ToInt32 takes an integer modulo 2³², however large.
  words[at] = lsn | 0
  words[at + 1] = lsn / 4_294_967_296 | 0
}

export function raisePageLsn(words: Int32Array, p: number, lsn: number): void {
  if (lsn > pageLsn(words, p)) writeLsn(words, p + 4, lsn)
}

/** An image from disk becomes a page in memory. */
export function unseal(words: Int32Array, p: number): void {
  words[p] = 0
}

export const paddedWords = (bytes: number): number => bytes + 3 >>> 2

/** Writes the header of an empty page without fences. */
export function begin(
  words: Int32Array,
  p: number,
  options: { readonly size: number; readonly level: number; readonly pageId: number; readonly treeId: number }
): void {
  words.fill(0, p, p + headerWords)
  words[p + 1] = (options.level === 0 ? leafKind : innerKind) | options.level << 8 | options.size << 16
  words[p + 2] = options.pageId
  words[p + 3] = options.treeId
  words[p + 9] = unbounded << 16
  setHeap(words, p, options.size, 0)
}

/** Empties a page of its records, fences and prefix; what it is and its LSN stay. */
export function clear(words: Int32Array, p: number): void {
  setCounts(words, p, 0, 0)
  setHeap(words, p, size(words, p), 0)
  words[p + 8] = 0
  words[p + 9] = unbounded << 16
  words[p + 10] = 0
}

/** Copies the key in `scratch` to the heap of a page that has room for it; answers its off. */
export function pushKey(words: Int32Array, p: number, key: KeyScratch, bytes: number): number {
  const length = paddedWords(bytes)
  const at = heapTop(words, p) - length
  for (let index = 0; index < length; index++) words[p + at + index] = key.words[index] as number
  setHeap(words, p, at, garbage(words, p))
  return at
}

/** Gives an empty page without fences the first `bytes` of a key for its prefix. */
export function setPrefix(words: Int32Array, p: number, key: KeyScratch, bytes: number): void {
  if (bytes === 0) return
  const at = pushKey(words, p, key, bytes)
  const tail = bytes & 3
  const last = p + at + (bytes >>> 2)
  if (tail > 0) words[last] = (words[last] as number) & (1 << tail * 8) - 1
  words[p + 8] = bytes | at << 16
}

/** Gives an empty leaf its fences, [low, high), and the prefix that they have in common. */
export function setFences(words: Int32Array, p: number, low: KeyScratch, high: KeyScratch | undefined): void {
  const lowOff = pushKey(words, p, low, low.length)
  if (high === undefined) {
    words[p + 8] = 0
    words[p + 9] = low.length | unbounded << 16
    return
  }
  pushKey(words, p, high, high.length)
  const common = commonBytes(low.words, 0, low.length, high.words, 0, high.length)
  words[p + 8] = common | (common === 0 ? 0 : lowOff) << 16
  words[p + 9] = low.length | high.length << 16
}

/** Notes inserts at `index` and on: whether they come one after another, for the choice of where to split. */
export function noteRun(words: Int32Array, p: number, index: number, added: number): void {
  const note = words[p + 10] as number
  const ascended = index === (note & 0xffff) + 1 ? (note >>> 16) + added : added - 1
  words[p + 10] = index + added - 1 | Math.min(ascended, 0xffff) << 16
}

/** How many inserts in a row ascended one by one, if the next at `index` would be another; else 0. */
export function ascendingRun(words: Int32Array, p: number, index: number): number {
  const note = words[p + 10] as number
  return index === (note & 0xffff) + 1 ? note >>> 16 : 0
}

export function copyRun(words: Int32Array, p: number, source: Int32Array, s: number): void {
  words[p + 10] = source[s + 10] as number
}

/** The next insert is the first of a run. */
export function endRun(words: Int32Array, p: number): void {
  words[p + 10] = 0
}

/** Words of the heap that the fences of a leaf take, and its prefix in them. */
export function fenceWords(words: Int32Array, p: number): number {
  const high = highBytes(words, p)
  return paddedWords(lowBytes(words, p)) + (high === unbounded ? 0 : paddedWords(high))
}

/** Bytes that a record takes of a leaf, its slot included; of a reference the value takes 16. */
export const recordBytes = (keyBytes: number, valueBytes: number, expiryBytes: 0 | 8): number =>
  (slotWords + recordHeaderWords + paddedWords(keyBytes) + paddedWords(valueBytes)) * 4 + expiryBytes

/** Bytes of the value of a reference: LSN (8), length (4), checksum (4). */
export const referenceBytes = 16

/**
 * The longest key that a page size allows, in steps of 8 bytes, so that `checkSizes` holds for it with a reference that
 * expires.
 */
export const maxKeyBytes = (pageBytes: number): number =>
  Math.min(
    keyBytesMax,
    Math.floor((pageBytes - headerBytes - 2 * recordBytes(0, referenceBytes, 8)) / 32) * 8
  )

/** The most bytes that one record may take of a leaf (`recordBytes`); a larger value stays in the log. */
export const maxRecordBytes = (pageBytes: number, keyBytes: number): number =>
  Math.floor((pageBytes - headerBytes - 2 * paddedWords(keyBytes) * 4) / 8) * 4

/**
 * Whether pages and keys go together: two fences and two of the largest records fit a page.
 *
 * Then a full leaf can always be split. Let S be a page without its header, F the longest fence and M the largest
 * record. Of n ≥ 2 records that fill a leaf with fences l and h, R ≤ S − l − h, some cut makes no half larger than
 * (R + M) / 2. With the new fence it needs l + F + (R + M) / 2 ≤ S, which M + 3F ≤ S implies, which 2M + 2F ≤ S
 * implies, as a record is larger than its key. A leaf of one record has room for a second one without any split.
 * An inner node keeps no fences, and a fraction of its separators always fits.
 */
export function checkSizes(options: { readonly pageBytes: number; readonly keyBytes: number }): boolean {
  const { keyBytes, pageBytes } = options
  return Number.isInteger(Math.log2(pageBytes)) && pageBytes >= pageBytesMin && pageBytes <= pageBytesMax
    && keyBytes >= 0 && keyBytes <= maxKeyBytes(pageBytes)
}

/** Asserts what a reader of a sealed page relies on. */
export function assertHeader(words: Int32Array, p: number): void {
  invariant(count(words, p) <= capacity(words, p), "Page I1: no more slots than capacity")
  invariant(heapTop(words, p) <= size(words, p), "Page I2: the heap ends with the page")
}

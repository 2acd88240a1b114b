/**
 * Sealing pages before they leave for the disk, and checking them when they come back.
 *
 * A page that passes is as good as one that was never away: everything that search, insert and copy rely on holds, so
 * nothing above has to look twice. Hostile content is answered, never thrown, in time proportional to the page.
 */
import { crc32 } from "node:zlib"
import { keyBytesMax } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import * as MiniPage from "./MiniPage.ts"
import * as Page from "./Page.ts"
import { commonBytes, compareKeys, headOfWords } from "./Search.ts"

export type Checked =
  | { readonly _tag: "Sound" }
  | { readonly _tag: "Invalid"; readonly expected: string; readonly actual: string }

const sound: Checked = { _tag: "Sound" }

const invalid = (expected: string, actual: string | number): Checked => ({
  _tag: "Invalid",
  expected,
  actual: String(actual)
})

/** Fills in the checksum of an image and answers it, as an int32. The image starts at a word of its buffer. */
export function seal(image: Uint8Array): number {
  const words = wordsOf(image)
  const checksum = crc32(image.subarray(4)) | 0
  words[0] = checksum
  return checksum
}

const wordsOf = (image: Uint8Array): Int32Array =>
  image.byteOffset % 4 === 0
    ? new Int32Array(image.buffer, image.byteOffset, image.length >>> 2)
    : new Int32Array(image.slice().buffer, 0, image.length >>> 2)

/** What the map table says of an image. */
export interface Expected {
  readonly pageId: number
  readonly checksum: number
  readonly pageBytes: number
  /** Whether these very bytes were made here, or have passed before: then what they hash to is enough. */
  readonly isChecked?: boolean
}

/** Checks an image from disk. */
export function verify(image: Uint8Array, expected: Expected): Checked {
  const { checksum, isChecked, pageBytes, pageId } = expected
  if (image.length !== pageBytes) return invalid(`${pageBytes} bytes`, image.length)
  const words = wordsOf(image)
  const actual = crc32(image.subarray(4)) | 0
  const claims = words[0] as number
  if (actual !== (checksum | 0) || claims !== actual) {
    return invalid(`checksum ${checksum >>> 0}`, `${actual >>> 0}, and ${claims >>> 0} in the page`)
  }
  if (words[2] !== (pageId | 0)) return invalid(`page ${pageId}`, (words[2] as number) >>> 0)
  return isChecked === true ? sound : check(words, 0, pageBytes >>> 2)
}

/** What a page may be: the three share a layout. */
type Form = "leaf" | "inner" | "mini"

/** Checks all that holds for a page by itself, in memory or not. It lies within `words`. */
export function check(words: Int32Array, p: number, size: number): Checked {
  return checkForm(words, p, size, Page.level(words, p) === 0 ? "leaf" : "inner")
}

/** The same for a mini-page, whose fences its leaf has. */
export function checkMini(words: Int32Array, p: number, size: number): Checked {
  return Page.level(words, p) === 0
    ? checkForm(words, p, size, "mini")
    : invalid("level 0", Page.level(words, p))
}

function checkForm(words: Int32Array, p: number, size: number, form: Form): Checked {
  const kind = (words[p + 1] as number) & 0xff
  const leaf = form !== "inner"
  if (kind !== (leaf ? Page.leafKind : Page.innerKind)) {
    return invalid("a leaf or inner page of the first format", `kind ${kind}`)
  }
  if (Page.size(words, p) !== size) return invalid(`size ${size}`, Page.size(words, p))
  const count = Page.count(words, p)
  const capacity = Page.capacity(words, p)
  const slots = Page.headerWords + (leaf ? 2 * capacity : 3 * capacity + 1)
  const top = Page.heapTop(words, p)
  if (count > capacity || slots > top || top > size) {
    return invalid("slots before the heap", `${count} of ${capacity} slots, heap at ${top}`)
  }
  // What every word of the heap is used for, so that nothing overlaps and the garbage is what is left.
  const taken = mapOf(size)
  const frame = form === "leaf" ? checkFences(words, p, taken) : checkPrefix(words, p, taken)
  if (frame._tag === "Invalid") return frame
  for (let index = 0; index < count; index++) {
    const slot = leaf ? checkRecord(words, p, index, taken, form) : checkSeparator(words, p, index, taken)
    if (slot._tag === "Invalid") return slot
    const order = checkKey(words, p, index)
    if (order._tag === "Invalid") return order
  }
  let used = 0
  for (let word = top; word < size; word++) used += taken[word] as number
  if (Page.garbage(words, p) !== size - top - used) {
    return invalid(`${size - top - used} words of garbage`, Page.garbage(words, p))
  }
  if (form === "mini") return sound
  return leaf ? checkRange(words, p) : checkChildren(words, p)
}

/** One for all checks: they end before the next begins. */
let map = new Uint8Array(0)

/** A map of a page in which no word is used yet. */
function mapOf(size: number): Uint8Array {
  if (map.length < size) map = new Uint8Array(size)
  return map.fill(0, 0, size)
}

/** Marks words of the heap as used; false where they are outside of it or used already. */
function take(words: Int32Array, p: number, taken: Uint8Array, at: number, length: number): boolean {
  if (at < Page.heapTop(words, p) || at + length > Page.size(words, p)) return false
  for (let word = at; word < at + length; word++) {
    if (taken[word] === 1) return false
    taken[word] = 1
  }
  return true
}

/** Whether the bytes after the end of a zero-padded key are zero. */
function isPadded(words: Int32Array, at: number, bytes: number): boolean {
  const tail = bytes & 3
  return tail === 0 || (words[at + (bytes >>> 2)] as number) >>> tail * 8 === 0
}

/** A key in the heap: in its bounds, nothing else's, and padded. */
const isKey = (words: Int32Array, p: number, taken: Uint8Array, at: number, bytes: number): boolean =>
  bytes <= keyBytesMax && take(words, p, taken, at, Page.paddedWords(bytes)) && isPadded(words, p + at, bytes)

function checkFences(words: Int32Array, p: number, taken: Uint8Array): Checked {
  const lowAt = Page.lowAt(words, p)
  const low = Page.lowBytes(words, p)
  const highAt = Page.highAt(words, p)
  const high = Page.highBytes(words, p)
  const prefix = Page.prefixBytes(words, p)
  const bounded = high !== Page.unbounded
  if (!isKey(words, p, taken, lowAt, low)) {
    return invalid("a low fence in the heap", `${low} bytes at ${lowAt}`)
  }
  if (bounded && (high === 0 || !isKey(words, p, taken, highAt, high))) {
    return invalid("a high fence in the heap", `${high} bytes at ${highAt}`)
  }
  if (bounded && compareKeys(words, p + lowAt, low, words, p + highAt, high) >= 0) {
    return invalid("the low fence below the high one", "not below")
  }
  const common = bounded ? commonBytes(words, p + lowAt, low, words, p + highAt, high) : 0
  if (prefix !== common || Page.prefixAt(words, p) !== (common === 0 ? 0 : lowAt)) {
    return invalid(`a prefix of ${common} bytes`, prefix)
  }
  return sound
}

function checkPrefix(words: Int32Array, p: number, taken: Uint8Array): Checked {
  if (words[p + 9] !== Page.unbounded << 16) return invalid("no fences", "fences")
  const at = Page.prefixAt(words, p)
  const prefix = Page.prefixBytes(words, p)
  const isThere = prefix === 0 ? at === 0 : isKey(words, p, taken, at, prefix)
  return isThere ? sound : invalid("a prefix in the heap", `${prefix} bytes at ${at}`)
}

function checkRecord(words: Int32Array, p: number, index: number, taken: Uint8Array, form: Form): Checked {
  const off = Page.slotAt(words, p, index)
  const stored = Page.slotBytes(words, p, index)
  const skipped = Page.prefixBytes(words, p) & ~3
  const at = p + off
  if (
    off + Page.recordHeaderWords > Page.size(words, p) || stored + skipped > keyBytesMax ||
    !take(words, p, taken, off, Leaf.recordWords(words, at, stored))
  ) return invalid(`record ${index} in the heap`, `${stored} key bytes at ${off}`)
  const kind = Leaf.kindAt(words, at)
  const value = Leaf.valueBytesAt(words, at)
  if (!isKind(kind, value, form) || ((words[at] as number) >>> 24 & ~flagsOf(form)) !== 0) {
    return invalid(`record ${index} of a known kind`, `kind ${kind}, ${value} bytes`)
  }
  const valueAt = Leaf.valueAt(words, at, stored)
  if (!isPadded(words, at + Page.recordHeaderWords, stored) || !isPadded(words, valueAt, value)) {
    return invalid(`record ${index} padded with zeros`, "others")
  }
  if (Number.isNaN(Leaf.expiryAt(words, at, stored))) return invalid(`record ${index} with an expiry`, "NaN")
  return Leaf.versionAt(words, at) <= Page.pageLsn(words, p)
    ? sound
    : invalid(`record ${index} not newer than ${Page.pageLsn(words, p)}`, Leaf.versionAt(words, at))
}

function isKind(kind: number, valueBytes: number, form: Form): boolean {
  if (kind === Leaf.Kind.Value) return true
  if (kind === Leaf.Kind.Reference) return valueBytes === Page.referenceBytes
  if (form === "mini" && kind === Leaf.Kind.Operand) return true
  return form === "mini" && (kind === Leaf.Kind.Tombstone || kind === Leaf.Kind.Phantom) && valueBytes === 0
}

const flagsOf = (form: Form): number => form === "mini" ? MiniPage.flags : Leaf.expires

function checkSeparator(words: Int32Array, p: number, index: number, taken: Uint8Array): Checked {
  const off = Page.slotAt(words, p, index)
  const stored = Page.slotBytes(words, p, index)
  const skipped = Page.prefixBytes(words, p) & ~3
  const fits = stored + skipped > 0 && stored + skipped <= keyBytesMax
    && take(words, p, taken, off, Page.paddedWords(stored)) && isPadded(words, p + off, stored)
  return fits ? sound : invalid(`separator ${index} in the heap`, `${stored} bytes at ${off}`)
}

/** Absolute word offset of the stored key of a slot. */
const keyAt = (words: Int32Array, p: number, index: number): number =>
  p + Page.slotAt(words, p, index) + (Page.level(words, p) === 0 ? Page.recordHeaderWords : 0)

/** The prefix's last bytes, the head, and the order of a key that lies in the heap. */
function checkKey(words: Int32Array, p: number, index: number): Checked {
  const prefix = Page.prefixBytes(words, p)
  const tail = prefix & 3
  const at = keyAt(words, p, index)
  const stored = Page.slotBytes(words, p, index)
  const first = stored > 0 ? words[at] as number : 0
  const second = stored > 4 ? words[at + 1] as number : 0
  if (tail > 0) {
    const mask = (1 << tail * 8) - 1
    const last = words[p + Page.prefixAt(words, p) + (prefix >>> 2)] as number
    if (stored < tail || ((first ^ last) & mask) !== 0) {
      return invalid(`key ${index} with the prefix`, "another")
    }
  }
  const head = words[p + Page.headerWords + index] as number
  if (head !== headOfWords(first, second, tail)) return invalid(`the head of key ${index}`, head)
  if (index === 0) return sound
  const before = compareKeys(
    words,
    keyAt(words, p, index - 1),
    Page.slotBytes(words, p, index - 1),
    words,
    at,
    stored
  )
  return before < 0 ? sound : invalid(`key ${index} above the one before`, "not above")
}

/** First and last key lie within the fences. Their prefix is the fences', so what follows it decides. */
function checkRange(words: Int32Array, p: number): Checked {
  const count = Page.count(words, p)
  if (count === 0) return sound
  const skip = Page.prefixBytes(words, p) >>> 2
  const low = Page.lowBytes(words, p) - skip * 4
  const lowAt = p + Page.lowAt(words, p) + skip
  const first = keyAt(words, p, 0)
  if (compareKeys(words, lowAt, low, words, first, Page.slotBytes(words, p, 0)) > 0) {
    return invalid("keys at or above the low fence", "below")
  }
  if (Page.highBytes(words, p) === Page.unbounded) return sound
  const high = Page.highBytes(words, p) - skip * 4
  const highAt = p + Page.highAt(words, p) + skip
  const last = keyAt(words, p, count - 1)
  return compareKeys(words, last, Page.slotBytes(words, p, count - 1), words, highAt, high) < 0
    ? sound
    : invalid("keys below the high fence", "at or above")
}

function checkChildren(words: Int32Array, p: number): Checked {
  const from = p + Page.headerWords + 2 * Page.capacity(words, p)
  for (let index = 0; index <= Page.count(words, p); index++) {
    const id = words[from + index] as number
    if (id === 0 || id === Page.pageId(words, p)) return invalid(`child ${index}`, id >>> 0)
  }
  return sound
}

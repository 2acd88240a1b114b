/**
 * Mini-pages: the part of a leaf that is in the buffer without its base page (Bf-Tree, section 3).
 *
 * Record cache and write buffer in one. It has the layout of a leaf (`Page.ts`, `Leaf.ts`) in a block of a size class,
 * without fences: its prefix, which the leaf's bounds give, stands in the heap like an inner node's. Word 0 is the
 * ring's. Kinds and flags of its records:
 *
 * | record    | kind             | flags            | says                                        | dirty |
 * |-----------|------------------|------------------|---------------------------------------------|:-----:|
 * | insert    | Value, Reference | status           | this is the newest                          |  yes  |
 * | tombstone | Tombstone        | status           | there is none                               |  yes  |
 * | operand   | Operand          | status           | this is folded into what the base page says |  yes  |
 * | cache     | Value, Reference | cached           | a copy of the base page's record            |   no  |
 * | phantom   | Phantom          |                  | the base page has none, and there is none   |   no  |
 *
 * *Status* of a dirty record: whether the base page has its key (`replaces`), has not (`isNew`), or nobody has looked
 * (neither). `touched`: was used since the block came into the second-chance region. `again`: was used at least twice
 * since the block was spared last, wherever it was.
 *
 * I1 A key is in a mini-page at most once; clean records say what the base page says.
 * I2 All keys begin with the prefix.
 *
 * It must not know where the block is from, nor the base page.
 */
import { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import * as Page from "./Page.ts"

const { headerWords, slotWords } = Page
const { Kind } = Leaf

/** Flags of records, beside `Leaf.expires`. */
export const Flag = {
  cached: 2,
  touched: 4,
  isNew: 8,
  replaces: 16,
  again: 32
} as const

const status = Flag.isNew | Flag.replaces
/** Marks of use. */
export const used = Flag.touched | Flag.again
/** From `touched` to `again`. */
const againShift = 3

/** All flags that a record may have. */
export const flags = Leaf.expires | Flag.cached | used | status

export const flagsAt = (words: Int32Array, record: number): number => (words[record] as number) >>> 24

export const isDirty = (words: Int32Array, record: number): boolean =>
  Leaf.kindAt(words, record) !== Kind.Phantom && (flagsAt(words, record) & Flag.cached) === 0

/** Nobody has looked whether the base page has its key. */
export const isUnresolved = (words: Int32Array, record: number): boolean =>
  isDirty(words, record) && (flagsAt(words, record) & status) === 0

/** The status of what overwrites a record: what is known of the base page stays known. */
export const statusAt = (words: Int32Array, record: number): number => {
  if (Leaf.kindAt(words, record) === Kind.Phantom) return Flag.isNew
  const flags = flagsAt(words, record)
  return (flags & Flag.cached) !== 0 ? Flag.replaces : flags & status
}

/** By how much a record changes the number of its tree's records, as far as one knows. */
export const countAt = (words: Int32Array, record: number): number => {
  if (!isDirty(words, record)) return 0
  const flags = flagsAt(words, record)
  if (Leaf.kindAt(words, record) === Kind.Tombstone) return (flags & Flag.replaces) !== 0 ? -1 : 0
  return (flags & Flag.isNew) !== 0 ? 1 : 0
}

/** What is known of the base page from now on. */
export const settle = (words: Int32Array, record: number, known: "isNew" | "replaces"): void => {
  words[record] = (words[record] as number) | Flag[known] << 24
}

/** Marks a record as used. */
export const touch = (words: Int32Array, record: number): void => {
  const head = words[record] as number
  words[record] = head | Flag.touched << 24 | (head & Flag.touched << 24) << againShift
}

/** The marks of a record once it is used again. */
export const usedAt = (words: Int32Array, record: number): number => {
  const flags = flagsAt(words, record) & used
  return flags | Flag.touched | (flags & Flag.touched) << againShift
}

/** Takes marks of use off all records. */
export function untouch(words: Int32Array, p: number, marks: number): void {
  for (let index = 0, count = Page.count(words, p); index < count; index++) {
    const record = Leaf.recordAt(words, p, index)
    words[record] = (words[record] as number) & ~(marks << 24)
  }
}

/** Which records of a mini-page are wanted. */
export type Wanted = "all" | "dirty" | "dirty or touched" | "touched" | "used"

/** Whether a record is wanted. */
function wants(words: Int32Array, record: number, wanted: Wanted): boolean {
  if (wanted === "all") return true
  const flags = flagsAt(words, record)
  if (wanted === "used") return (flags & used) !== 0
  const touched = (flags & Flag.touched) !== 0
  return wanted === "touched" ? touched : isDirty(words, record) || wanted === "dirty or touched" && touched
}

/** Words that the wanted records take with their slots; 0 where there are none. */
export function wantedWords(words: Int32Array, p: number, wanted: Wanted): number {
  let total = 0
  for (let index = 0, count = Page.count(words, p); index < count; index++) {
    const record = Leaf.recordAt(words, p, index)
    if (wants(words, record, wanted)) {
      total += slotWords + Leaf.recordWords(words, record, Page.slotBytes(words, p, index))
    }
  }
  return total
}

/** Records that say that there is none. */
export function tombstones(words: Int32Array, p: number): number {
  let total = 0
  for (let index = 0, count = Page.count(words, p); index < count; index++) {
    if (Leaf.kindAt(words, Leaf.recordAt(words, p, index)) === Kind.Tombstone) total++
  }
  return total
}

/** Words of a mini-page before and beside its records. */
export const frameWords = (prefixBytes: number): number => headerWords + Page.paddedWords(prefixBytes)

export interface Begin {
  /** Words of the block. */
  readonly size: number
  readonly pageId: number
  readonly treeId: number
}

/** Writes the header of an empty mini-page and its prefix, the first `prefixBytes` of `prefix`. Word 0 stays. */
export function begin(
  words: Int32Array,
  p: number,
  options: Begin,
  prefix: KeyScratch,
  prefixBytes: number
): void {
  const own = words[p] as number
  Page.begin(words, p, { ...options, level: 0 })
  words[p] = own
  Page.setPrefix(words, p, prefix, prefixBytes)
}

/** Fills an empty mini-page, which has room for it, with the wanted records of another and room for `more` words. */
export function fill(
  words: Int32Array,
  p: number,
  source: Int32Array,
  s: number,
  wanted: Wanted,
  more: number
): void {
  const count = Page.count(source, s)
  const taken = wantedWords(source, s, wanted)
  let kept = 0
  for (let index = 0; index < count; index++) {
    if (wants(source, Leaf.recordAt(source, s, index), wanted)) kept++
  }
  const left = Math.max(0, Page.heapTop(words, p) - headerWords - taken - more)
  Page.setCounts(words, p, 0, Leaf.slotsFor(kept + (more > 0 ? 1 : 0), taken + more, left))
  for (let from = 0; from < count;) {
    if (!wants(source, Leaf.recordAt(source, s, from), wanted)) {
      from++
      continue
    }
    let to = from + 1
    while (to < count && wants(source, Leaf.recordAt(source, s, to), wanted)) to++
    Leaf.append(words, p, source, s, from, to)
    from = to
  }
  Page.raisePageLsn(words, p, Page.pageLsn(source, s))
}

/** Loads the prefix of a mini-page. */
export function loadPrefix(words: Int32Array, p: number, into: KeyScratch): number {
  const bytes = Page.prefixBytes(words, p)
  if (bytes > 0) into.assemble(words, 0, 0, words, p + Page.prefixAt(words, p), bytes)
  return bytes
}

/** Words of the image of a mini-page: its dirty records, and nothing that time or luck left in it. */
export const imageWords = (words: Int32Array, p: number): number =>
  frameWords(Page.prefixBytes(words, p)) + wantedWords(words, p, "dirty")

const scratch = new KeyScratch()

/** Makes the image of a mini-page, as large as it must be; undefined where nothing in it is dirty. */
export function imageOf(words: Int32Array, p: number): Uint8Array | undefined {
  if (wantedWords(words, p, "dirty") === 0) return undefined
  const image = new Int32Array(imageWords(words, p))
  const options = { size: image.length, pageId: Page.pageId(words, p), treeId: Page.treeId(words, p) }
  begin(image, 0, options, scratch, loadPrefix(words, p, scratch))
  fill(image, 0, words, p, "dirty", 0)
  untouch(image, 0, used)
  return new Uint8Array(image.buffer)
}

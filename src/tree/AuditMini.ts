/**
 * Looking at a mini-page beside its base page: whether what it says of that page is so.
 */
import type { Pages } from "./memory/Pages.ts"
import { KeyScratch } from "./page/KeyScratch.ts"
import * as Leaf from "./page/Leaf.ts"
import * as MiniPage from "./page/MiniPage.ts"
import * as Page from "./page/Page.ts"
import { checkMini } from "./page/PageCheck.ts"
import { compareKeys } from "./page/Search.ts"

export interface MiniView {
  /** Bytes of its block. */
  readonly bytes: number
  readonly inserts: number
  readonly tombstones: number
  readonly operands: number
  readonly caches: number
  readonly phantoms: number
}

export interface Found {
  readonly view: MiniView
  /** By how much its records change the number of the tree's. */
  readonly counted: number
  readonly unresolved: number
}

const key = new KeyScratch()

type Fail = (rule: string, actual: string | number) => void

/** Checks the mini-page of a leaf in memory, whose base page is `base` from word 0 on. */
export const auditMini = (pages: Pages, id: number, base: Int32Array, fail: Fail): Found => {
  const address = pages.map.mini[id] as number
  const p = address & pages.arena.mask
  const words = pages.arena.wordsOf(address).slice(p, p + pages.ring.wordsOf(address))
  words[0] = 0
  return auditBeside(words, id, base, fail)
}

/** The same of one that is `words`, from wherever. */
export const auditBeside = (words: Int32Array, id: number, base: Int32Array, fail: Fail): Found => {
  const size = words.length
  const view = { bytes: size * 4, inserts: 0, tombstones: 0, operands: 0, caches: 0, phantoms: 0 }
  const checked = checkMini(words, 0, size)
  if (checked._tag === "Invalid") {
    fail(checked.expected, checked.actual)
    return { view, counted: 0, unresolved: 0 }
  }
  if (Page.pageId(words, 0) !== id) fail("its own id in its mini-page", Page.pageId(words, 0))
  if (Page.treeId(words, 0) !== Page.treeId(base, 0)) fail("its tree in its mini-page", Page.treeId(words, 0))
  let counted = 0
  let unresolved = 0
  for (let index = 0; index < Page.count(words, 0); index++) {
    const record = Leaf.recordAt(words, 0, index)
    Leaf.loadKey(words, 0, index, key)
    if (!isWithin(base)) fail("keys of its mini-page within its fences", index)
    counted += MiniPage.countAt(words, record)
    if (MiniPage.isUnresolved(words, record)) unresolved++
    const rule = broken(words, record, Page.slotBytes(words, 0, index), base)
    if (rule !== undefined) fail(rule, `record ${index}`)
    const kind = Leaf.kindAt(words, record)
    if (kind === Leaf.Kind.Phantom) view.phantoms++
    else if (kind === Leaf.Kind.Tombstone) view.tombstones++
    else if (kind === Leaf.Kind.Operand) view.operands++
    else if (MiniPage.isDirty(words, record)) view.inserts++
    else view.caches++
  }
  return { view, counted, unresolved }
}

/** Whether the key at hand lies within the fences of the base page. */
const isWithin = (base: Int32Array): boolean => {
  if (compareKeys(key.words, 0, key.length, base, Page.lowAt(base, 0), Page.lowBytes(base, 0)) < 0) {
    return false
  }
  const high = Page.highBytes(base, 0)
  return high === Page.unbounded ||
    compareKeys(key.words, 0, key.length, base, Page.highAt(base, 0), high) < 0
}

/** What a record says of the base page that is not so. */
const broken = (
  words: Int32Array,
  record: number,
  keyBytes: number,
  base: Int32Array
): string | undefined => {
  const found = Leaf.find(base, 0, key)
  const flags = MiniPage.flagsAt(words, record)
  const kind = Leaf.kindAt(words, record)
  if (kind === Leaf.Kind.Phantom) return found < 0 ? undefined : "no record where its mini-page has a phantom"
  if ((flags & MiniPage.Flag.isNew) !== 0 && found >= 0) return "no record where its mini-page has a new one"
  if ((flags & MiniPage.Flag.replaces) !== 0 && found < 0) return "a record where its mini-page replaces one"
  if (kind === Leaf.Kind.Operand) return found < 0 ? undefined : brokenOperand(words, record, base, found)
  if (MiniPage.isDirty(words, record)) return undefined
  if (found < 0) return "a record where its mini-page has a copy"
  const own = Leaf.recordAt(base, 0, found)
  const same = Leaf.kindAt(base, own) === kind && Leaf.versionAt(base, own) === Leaf.versionAt(words, record)
    && Leaf.expiryAt(base, own, Page.slotBytes(base, 0, found)) === Leaf.expiryAt(words, record, keyBytes)
    && valueOf(base, own, Page.slotBytes(base, 0, found)).equals(valueOf(words, record, keyBytes))
  return same ? undefined : "the record that its mini-page has a copy of"
}

const brokenOperand = (
  words: Int32Array,
  record: number,
  base: Int32Array,
  found: number
): string | undefined => {
  const own = Leaf.recordAt(base, 0, found)
  if (Leaf.kindAt(base, own) !== Leaf.Kind.Value) return "a value where its mini-page has an operand"
  return Leaf.versionAt(base, own) < Leaf.versionAt(words, record)
    ? undefined
    : "an older record where its mini-page has an operand"
}

const valueOf = (words: Int32Array, record: number, keyBytes: number): Buffer =>
  Buffer.from(
    words.buffer,
    words.byteOffset + Leaf.valueAt(words, record, keyBytes) * 4,
    Leaf.valueBytesAt(words, record)
  )

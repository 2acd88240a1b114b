/**
 * What a scan will want next: the leaves that follow its position, as far as the inner nodes above them are in memory.
 *
 * How many are looked for is the *window*. It is closed until a scan has missed two leaves, opens to 1, 2, 4, … with
 * each miss that follows, and is halved when a page had come and gone again before the scan came to it: then memory
 * is too small for what all scans together read ahead.
 *
 * I1 Nothing beyond the range is named, and of a limited range no more leaves than it takes if each has as many
 *    records as the fullest one that was seen.
 * I2 A page is named once, unless the scan missed it since.
 *
 * It only names pages: nothing is held, marked or changed, and a page that is never loaded does no harm.
 */
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Page from "../page/Page.ts"
import { compareKeys } from "../page/Search.ts"
import type { Range } from "./Cursor.ts"

type Bounds = Pick<Range, "lower" | "upper" | "order">

/** What is still wanted of a range. */
export interface Wanted {
  readonly records: number
  /** Most records that a leaf of it had; 0 where none was seen. */
  readonly leafRecords: number
}

/** The way down of one look. There is one, as looks never nest. */
class Way {
  /** What is looked for: the lower bound of what is left of an ascending range, the upper one of a descending one. */
  readonly key = new KeyScratch()
  /** Whether there is one; a descending range may have none. */
  bounded = false
  /** The other bound, and whether there is one. */
  readonly end = new KeyScratch()
  ends = false
  /** The separator beyond the last node of level 1, and whether there is one. */
  readonly edge = new KeyScratch()
  edged = false
  readonly separator = new KeyScratch()
  words: Int32Array = new Int32Array(0)
  p = 0
  index = 0
}

const way = new Way()
const compare = (a: KeyScratch, b: KeyScratch): number =>
  compareKeys(a.words, 0, a.length, b.words, 0, b.length)

const none = new Int32Array(0)

export class Ahead {
  /** Pages to be asked for: the first `count`. */
  ids: Int32Array = none
  count = 0
  /** The largest window. */
  private readonly most: number
  private window = 0
  private misses = 0
  /** What was named last, and its generation then: a ring. */
  private named: Int32Array = none
  private generations: Int32Array = none
  private next = 0

  constructor(most: number) {
    this.most = most
  }

  private missed(pages: Pages, id: number): void {
    if (this.misses++ === 0 || this.most === 0) return
    if (this.ids.length === 0) {
      this.ids = new Int32Array(this.most)
      this.named = new Int32Array(2 * this.most)
      this.generations = new Int32Array(2 * this.most)
    }
    const at = this.named.indexOf(id)
    const lost = at >= 0 && this.generations[at] !== pages.map.generation[id]
    this.window = lost ? this.window >>> 1 : Math.min(this.most, Math.max(1, 2 * this.window))
    if (at >= 0) this.named[at] = 0
  }

  /**
   * Looks from the lower bound of a range on, or from the upper one down. What it finds is in `ids`, the number of them
   * is answered; `missing`, the page that the scan came to and that was not there, or 0, is asked for anyway.
   */
  look(pages: Pages, root: Root, range: Bounds, { leafRecords, records }: Wanted, missing: number): number {
    this.count = 0
    if (missing > 0) this.missed(pages, missing)
    if (this.window === 0) return 0
    // The leaf at the position counts.
    const most = records === Infinity ? Infinity : leafRecords === 0 ? 0 : Math.ceil(records / leafRecords)
    let leaves = Math.min(this.window + 1, most)
    const ascending = range.order === "ascending"
    const from = ascending ? range.lower : range.upper
    const end = ascending ? range.upper : range.lower
    way.bounded = from !== undefined
    if (from !== undefined) way.key.load(from)
    way.ends = end !== undefined
    if (end !== undefined) way.end.load(end)
    while (leaves > 0) {
      const inner = ascending ? descend(pages, root) : descendBelow(pages, root)
      if (inner < 0) break
      if (inner > 0) {
        this.name(pages, inner, missing)
        break
      }
      const seen = ascending ? this.ascend(pages, leaves, missing) : this.goDown(pages, leaves, missing)
      leaves -= seen
      // The range goes on beyond this node where no separator of it was at the end.
      if (seen === 0 || !way.edged || isBeyond(way.edge, ascending)) break
      way.key.assemble(way.edge.words, 0, 0, way.edge.words, 0, way.edge.length)
      way.bounded = true
    }
    return this.count
  }

  /** Only the first of the pages that were found are read: the others may be named again. */
  took(count: number): void {
    for (let index = count; index < this.count; index++) {
      this.named[this.named.indexOf(this.ids[index] as number)] = 0
    }
  }

  /** Names children of the node from the key's on; answers how many were looked at, 0 where the range ends. */
  private ascend(pages: Pages, leaves: number, missing: number): number {
    const { p, words } = way
    const last = Page.count(words, p)
    let seen = 0
    for (let index = way.index; index <= last && seen < leaves; index++, seen++) {
      if (seen > 0) {
        Inner.separator(words, p, index - 1, way.separator)
        if (isBeyond(way.separator, true)) return 0
      }
      this.name(pages, Inner.child(words, p, index), missing)
    }
    return seen
  }

  private goDown(pages: Pages, leaves: number, missing: number): number {
    const { p, words } = way
    let seen = 0
    for (let index = way.index; index >= 0 && seen < leaves; index--, seen++) {
      if (seen > 0) {
        Inner.separator(words, p, index, way.separator)
        if (isBeyond(way.separator, false)) return 0
      }
      this.name(pages, Inner.child(words, p, index), missing)
    }
    return seen
  }

  private name(pages: Pages, id: number, missing: number): void {
    const { map } = pages
    if (id === missing || (map.block[id] as number) >= 0) return
    if (this.count === this.ids.length || this.named.includes(id)) return
    this.ids[this.count++] = id
    this.named[this.next] = id
    this.generations[this.next] = map.generation[id] as number
    this.next = (this.next + 1) % this.named.length
  }
}

/** Whether what lies beyond a separator is beyond the range. */
function isBeyond(separator: KeyScratch, ascending: boolean): boolean {
  if (!way.ends) return false
  const order = compare(separator, way.end)
  return ascending ? order >= 0 : order <= 0
}

/** Goes down to the node of level 1 above the key's leaf: 0; or an inner page that is missing; or -1, there is none. */
function descend(pages: Pages, root: Root): number {
  way.edged = false
  let id = root.page
  while (enter(pages, id)) {
    const { p, words } = way
    const level = Page.level(words, p)
    if (level === 0) return -1
    const index = way.index = Inner.find(words, p, way.key)
    if (level === 1) return 0
    if (index < Page.count(words, p)) {
      Inner.separator(words, p, index, way.edge)
      way.edged = true
    }
    id = Inner.child(words, p, index)
  }
  return id
}

/** The same for the leaf of the keys just below the key. */
function descendBelow(pages: Pages, root: Root): number {
  way.edged = false
  let id = root.page
  while (enter(pages, id)) {
    const { p, words } = way
    const level = Page.level(words, p)
    if (level === 0) return -1
    let index = way.bounded ? Inner.find(words, p, way.key) : Page.count(words, p)
    if (way.bounded && index > 0) {
      Inner.separator(words, p, index - 1, way.separator)
      if (compare(way.separator, way.key) === 0) index--
    }
    way.index = index
    if (level === 1) return 0
    if (index > 0) {
      Inner.separator(words, p, index - 1, way.edge)
      way.edged = true
    }
    id = Inner.child(words, p, index)
  }
  return id
}

function enter(pages: Pages, id: number): boolean {
  const { arena, map } = pages
  const address = map.block[id] as number
  if (address < 0) return false
  way.words = arena.wordsOf(address)
  way.p = address & arena.mask
  return true
}

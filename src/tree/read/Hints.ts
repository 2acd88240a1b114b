/**
 * A hash index in front of the trees: in which leaf, and where in it, a key was found last.
 *
 * The way down costs a search of every node on it. Where a key was found a short time ago it most likely still is, and
 * whether it is there the leaf says: a key that stands in a leaf of a tree stands nowhere else in that tree. So nothing
 * here is ever kept up to date. What has moved, was split, evicted or freed is found not to be there, and the search
 * goes down the usual way.
 *
 * An entry (words); two of them are a set:
 *
 * | word | field                                                                                       |
 * |-----:|---------------------------------------------------------------------------------------------|
 * |    0 | hash of tree id and key; in place of its low 8 bits: where in the page the slot's meta is, see |
 * |      | `MetaPlaces`                                                                                  |
 * |    1 | place: off of the record in its page, in words; in the bits above its page id; 0 = no entry   |
 *
 * ```
 *   no table ── a tree is high enough ──▶ asked ── most of what is asked for is in vain (`weigh`) ──▶ resting
 *                                           ▲                                                           │
 *                                           └───────────────── so many keys later ──────────────────────┘
 * ```
 *
 * The table begins small, so that what is read over and over stays in the processor's caches, and doubles where keys
 * displace each other.
 *
 * I1 A place is advice. A key is there only if the page is a leaf of its tree, in place, and has the whole key. Where
 *    the slot has that record still, and the record that key, no other line of the page is touched; else its heads are
 *    searched.
 *
 * Rejected: an index of all keys, which every split and each removal would have to keep right; and noting where writes
 * have replaced a record that no read had found: overwriting half a million and a million keys in turn became a tenth
 * slower.
 */
import { isInPlace } from "../memory/MapTable.ts"
import type { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import * as Touch from "../page/Touch.ts"
import { hashOf } from "../past/VersionTable.ts"

/** The table may take as much as this part of the arena, beside it. */
const parts = 64

const setWords = 4

/** Sets at first: what the processor's nearest cache holds. */
const firstSets = 1024

/** Entries that give way to others, after which it is asked whether those are many. */
const crowd = 1024

/** Bits of a hash that make way for where the meta is; most of them say which set it is, as its place does. */
const metaBits = 8
const metaMask = (1 << metaBits) - 1

/** With one level above the leaves the way down is as short. */
const levelLeast = 2

/** Words of a page whose places are said exactly: metas of some 50 records are there. */
const exactWords = 128

/**
 * How eight bits say where in a page a meta is: below `exactWords` in words, and from there on in steps, so that they
 * reach to the end of the page. A step is half a line of the processor's caches in a page of 4 KiB, and with it a line
 * is one miss still.
 */
export class MetaPlaces {
  private readonly stepBits: number

  constructor(pageWords: number) {
    this.stepBits = Math.max(0, Math.log2(pageWords / exactWords))
  }

  /** What stands for a word. */
  code(meta: number): number {
    return meta < exactWords ? meta : exactWords + (meta - exactWords >>> this.stepBits)
  }

  /** The first word that a code may stand for. */
  first(code: number): number {
    return code < exactWords ? code : exactWords + (code - exactWords << this.stepBits)
  }

  /** How many words it may stand for, by the first of them. */
  count(first: number): number {
    return first < exactWords ? 1 : 1 << this.stepBits
  }
}

const isOf = (word: number, hash: number): boolean => (word ^ hash) >>> metaBits === 0

export class Hints {
  /** Reads and writes are weighed apart: reads fill the table, writes only use what is there. */
  readonly reads = new Gate()
  readonly writes = new Gate()
  /** The slot at which the key was found. */
  index = 0
  /** The table: the set of a hash begins at the word that `mask` leaves of it. What is behind was never touched. */
  words = new Int32Array(0)
  mask = 0
  /** Entries that gave way since so many keys had been asked for. */
  private displaced = 0
  private askedBefore = 0
  /** Of the key asked for last; 0 where it was not asked for. */
  hash = 0
  /** Trees are asked for whose root is at this level or above. */
  private readonly level: number
  private readonly pages: Pages
  private readonly pageBits: number
  readonly places: MetaPlaces

  constructor(pages: Pages, level = levelLeast) {
    this.pages = pages
    this.level = level
    this.pageBits = Math.log2(pages.arena.pageWords)
    this.places = new MetaPlaces(pages.arena.pageWords)
  }

  get bytes(): number {
    return this.words.length === 0 ? 0 : (this.mask + setWords) * 4
  }

  /** The leaf where a key is, in place, at slot `index`; 0 where that is not known. */
  find(root: Root, key: KeyScratch, gate: Gate): number {
    this.hash = 0
    if (!this.isAsked(root, gate, 1)) return 0
    this.hash = hashOf(root.treeId, key.words, key.length)
    const id = this.look(root, key)
    if (id === 0) gate.inVain++
    else gate.found++
    return id
  }

  /** Whether so many keys are to be asked for. */
  isAsked(root: Root, gate: Gate, keys: number): boolean {
    if (!this.isHigh(root) || !gate.isOpen(keys)) return false
    if (this.words.length === 0) this.allocate()
    return true
  }

  private isHigh(root: Root): boolean {
    const { arena, map } = this.pages
    const address = map.block[root.page] as number
    return address >= 0
      && Page.level(arena.words[address >>> arena.shift] as Int32Array, address & arena.mask) >= this.level
  }

  private look({ treeId }: Root, key: KeyScratch): number {
    const { arena, map } = this.pages
    const at = this.entryOf(this.hash)
    if (at < 0) return 0
    const place = this.words[at + 1] as number
    const id = place >>> this.pageBits
    if (!isInPlace(map.state[id] as number)) return 0
    const meta = this.metaOf(at)
    const off = place & arena.pageWords - 1
    const address = map.block[id] as number
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    Touch.keep(Touch.record(words, p, meta, off, arena.pageWords))
    if (!Leaf.mayHave(words, p, treeId, key)) return 0
    this.index = Leaf.slotWith(words, p, key.words, 0, key.length, meta, this.places.count(meta), off)
    if (this.index >= 0) return id
    Touch.keep(Touch.slots(words, p))
    this.index = Leaf.find(words, p, key)
    if (this.index < 0) return 0
    this.note(this.hash, id, words, p, this.index)
    return id
  }

  /** The first word of its page where the meta may be, by the entry that begins at a word. */
  metaOf(entry: number): number {
    return this.places.first((this.words[entry] as number) & metaMask)
  }

  /** The word where the entry of a hash begins; -1 where there is none. */
  entryOf(hash: number): number {
    const { words } = this
    const at = hash & this.mask
    if (isOf(words[at] as number, hash)) return words[at + 1] === 0 ? -1 : at
    return isOf(words[at + 2] as number, hash) && words[at + 3] !== 0 ? at + 2 : -1
  }

  /**
   * Notes that the key of a hash, if it was asked for, has slot `index` of the leaf at `p`; of the two of its set the
   * older goes.
   */
  note(hash: number, id: number, page: Int32Array, p: number, index: number): void {
    const { pageBits, words } = this
    // There is no place for so high an id.
    if (hash === 0 || id >>> 32 - pageBits !== 0) return
    const meta = Page.metaAt(page, p, index)
    const at = hash & this.mask
    if (!isOf(words[at] as number, hash)) {
      if (words[at + 3] === 0) this.reads.inVain--
      else if (++this.displaced === crowd) this.weigh()
      words[at + 2] = words[at] as number
      words[at + 3] = words[at + 1] as number
    }
    words[at] = hash & ~metaMask | this.places.code(meta)
    words[at + 1] = id << pageBits | (page[p + meta] as number) & 0xffff
  }

  /** Memory that nobody touches costs nothing, so all of the table is asked for at once. */
  private allocate(): void {
    const { blocks, pageWords } = this.pages.arena
    const sets = 2 ** Math.max(0, Math.floor(Math.log2(blocks * pageWords / parts / setWords)))
    this.words = new Int32Array(sets * setWords)
    this.mask = (Math.min(sets, firstSets) - 1) * setWords
  }

  /**
   * Doubles the table where of eight keys that are asked for one takes the place of another. An entry stays where it
   * is: of half of them that is not their set any more, and others take their places.
   */
  private weigh(): void {
    const { asked } = this.reads
    const isCrowded = asked - this.askedBefore < 8 * crowd
    if (isCrowded && this.mask + setWords < this.words.length) this.mask = this.mask << 1 | setWords
    this.displaced = 0
    this.askedBefore = asked
  }
}

/** Keys of a window, at the end of which it is weighed; and those that are not asked for where it did not pay. */
const windowKeys = 8_192
const restKeys = 16 * windowKeys

export class Gate {
  /** Keys that were asked for. */
  asked = 0
  /** Keys that were where they were found last. */
  found = 0
  /** Keys of the window that were asked for in vain, but for those that took an entry that was free. */
  inVain = 0
  private left = windowKeys
  private resting = 0

  /** Whether so many keys are to be asked for. */
  isOpen(keys: number): boolean {
    if (this.resting > 0) {
      this.resting -= keys
      return false
    }
    this.asked += keys
    this.left -= keys
    if (this.left <= 0) this.weigh()
    return true
  }

  private weigh(): void {
    if (this.inVain > windowKeys / 2) this.resting = restKeys
    this.inVain = 0
    this.left = windowKeys
  }
}

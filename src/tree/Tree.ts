/**
 * The tree kernel: B+ trees whose leaves are in memory whole, as records only, or not at all; pure and synchronous.
 *
 * Operations answer small integers. What needs the disk is an answer, not a call: `Missing` names a page in
 * `missing`; whoever asked has it loaded and asks again. `NoSpace` means that fewer blocks are free than the operation
 * could take (`blocksNeeded`). In both cases nothing has changed that a reader could see.
 *
 * ```
 *   get     mini-page, else Versions, else base page        (each only what is below the reader's LSN)
 *   put     in place where the leaf is Mutable without a mini-page, else to its mini-page, without the disk
 *   merge   the mini-page into the base page, which was loaded for it
 * ```
 *
 * I1 Every page on the way is in memory before anything changes.
 * I2 `count` of a root is the number of records that its base pages and resolved mini-page records make.
 *
 * Must not know the disk, the clock, or who calls. A found value is valid until the next operation.
 */
import type { BufferMode } from "../Limits.ts"
import { Absent, Again, Finding, Found, Missing, NoSpace } from "./Answer.ts"
import type { Arena } from "./Arena.ts"
import type { Batch } from "./Batch.ts"
import { Consolidation } from "./Consolidate.ts"
import type { Range } from "./Cursor.ts"
import { pull } from "./Cursor.ts"
import { Dice } from "./Dice.ts"
import { Events } from "./Events.ts"
import { freeSlice } from "./FreeTree.ts"
import { noHits } from "./Hits.ts"
import * as Inner from "./Inner.ts"
import { InPlace } from "./InPlace.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import { State } from "./MapTable.ts"
import * as MiniPage from "./MiniPage.ts"
import { isInPlace, MiniWriter } from "./MiniWriter.ts"
import * as Page from "./Page.ts"
import { Pages } from "./Pages.ts"
import { resolveFrom } from "./Resolve.ts"
import type { Ground, Root } from "./Split.ts"
import { Versions } from "./Versions.ts"
import { Workbench } from "./Workbench.ts"

export { Absent, Added, Found, Missing, NoSpace, Removed, Replaced, Written } from "./Answer.ts"
export { Kind } from "./Leaf.ts"
export type { Reference } from "./Reference.ts"
export type { Root } from "./Split.ts"

export interface TreeOptions {
  readonly arena: Arena
  /** Version of the next checkpoint. */
  readonly epoch: number
  /** The moving pins at the start. */
  readonly durable: number
  readonly visible: number
  /** Structural events to remember; none by default. */
  readonly events?: number | undefined
  readonly mode?: BufferMode | undefined
  readonly secondChancePercent?: number | undefined
  /** Reads of base pages, in percent, that leave a copy of what they found, or that they found nothing. */
  readonly promotionPercent?: number | undefined
  /** For the dice of promotion. */
  readonly seed?: number | undefined
}

export class Tree extends Finding {
  readonly pages: Pages
  readonly versions: Versions
  readonly events: Events
  /** The key of the operation at hand; `load` it before the operations that take it from here. */
  readonly key = new KeyScratch()
  /** The page to load after `Missing`. */
  missing = 0
  /** Free blocks to ask for after `NoSpace`, and the leaf that must be in memory beside them; 0 = none. */
  blocksNeeded = 0
  leafNeeded = 0
  readonly hits = noHits()
  private readonly bench: Workbench
  private readonly ground: Ground
  private readonly inPlace: InPlace
  private readonly minis: MiniWriter
  private readonly consolidation: Consolidation
  private readonly dice: Dice

  constructor(options: TreeOptions) {
    const { arena } = options
    const versions = new Versions({ durable: options.durable, visible: options.visible })
    super(arena, versions)
    this.pages = new Pages(arena, options)
    this.versions = versions
    this.events = new Events(options.events ?? 0)
    this.bench = new Workbench(arena.pageWords)
    this.ground = { pages: this.pages, versions, bench: this.bench, events: this.events }
    this.inPlace = new InPlace(this.ground)
    this.minis = new MiniWriter(this.ground)
    this.consolidation = new Consolidation(this.ground, this.inPlace, (root, key) => this.descend(root, key))
    this.dice = new Dice({ percent: options.promotionPercent ?? 20, seed: options.seed ?? 0 })
  }

  /** Makes an empty tree; undefined where no block is free. */
  create(treeId: number): Root | undefined {
    const { arena } = this.pages
    this.blocksNeeded = 1
    this.leafNeeded = 0
    if (arena.available < 1) return undefined
    const page = this.pages.create("ring")
    const address = this.pages.map.block[page] as number
    const words = arena.wordsOf(address)
    Page.begin(words, address & arena.mask, { size: arena.pageWords, level: 0, pageId: page, treeId })
    return { treeId, page, count: 0, unresolved: 0 }
  }

  /** Reads a key as of LSN `at` (exclusive): Found, Absent or Missing. */
  get(root: Root, key: Uint8Array, at: number): number {
    this.key.load(key)
    return this.getLoaded(root, at)
  }

  /** The same for the key in `key`. */
  getLoaded(root: Root, at: number): number {
    const { arena, map } = this.pages
    const key = this.key
    let id = root.page
    let address = map.block[id] as number
    while (address >= 0) {
      const words = arena.words[address >>> arena.shift] as Int32Array
      const p = address & arena.mask
      if (((words[p + 1] as number) & 0xff0000) === 0) {
        const state = map.state[id] as number
        if (!isInPlace(state)) return this.getBeside(root, id, at)
        map.state[id] = state | State.Referenced
        this.hits.leaf++
        return this.getInLeaf(root, words, p, address, at)
      }
      id = Inner.child(words, p, Inner.find(words, p, key))
      address = map.block[id] as number
    }
    return this.getBeside(root, id, at)
  }

  private getInLeaf(root: Root, words: Int32Array, p: number, address: number, at: number): number {
    Leaf.touchSlots(words, p)
    const index = Leaf.find(words, p, this.key)
    if (index >= 0) {
      const slot = words[p + Page.headerWords + ((words[p + 7] as number) >>> 16) + index] as number
      const record = p + (slot & 0xffff)
      if (Leaf.versionAt(words, record) < at) {
        this.foundAt = address + (slot & 0xffff)
        this.foundKey = slot >>> 16
        this.foundEntry = -1
        return Found
      }
    }
    return at > this.versions.newest ? Absent : this.getOlder(root, at)
  }

  /** What Versions has of the key: Found, or Absent where it has nothing or knows that there was nothing. */
  private getOlder(root: Root, at: number): number {
    this.foundEntry = this.versions.get(root.treeId, this.key, at)
    if (this.foundEntry < 0) return Absent
    this.hits.versions++
    return this.versions.kindOf(this.foundEntry) === Leaf.Kind.Tombstone ? Absent : Found
  }

  /** Reads from the mini-page of a leaf, and from its base page if that is here. */
  private getBeside(root: Root, id: number, at: number): number {
    const { map } = this.pages
    const mini = map.mini[id] as number
    let known = false
    if (mini >= 0) {
      const { arena } = this.pages
      const words = arena.words[mini >>> arena.shift] as Int32Array
      const p = mini & arena.mask
      const index = Leaf.find(words, p, this.key)
      if (index >= 0) {
        const record = Leaf.recordAt(words, p, index)
        MiniPage.touch(words, record)
        if (Leaf.versionAt(words, record) < at) return this.getInMini(root, words, p, mini, index, at)
        known = true
      }
    }
    if (at <= this.versions.newest) {
      const older = this.getOlder(root, at)
      if (this.foundEntry >= 0) return older
    }
    const address = map.block[id] as number
    if (address < 0) {
      this.missing = id
      return Missing
    }
    return this.getInGuest(root, id, address, at, known)
  }

  private getInMini(
    root: Root,
    words: Int32Array,
    p: number,
    address: number,
    index: number,
    at: number
  ): number {
    const record = Leaf.recordAt(words, p, index)
    const kind = Leaf.kindAt(words, record)
    if (kind === Leaf.Kind.Phantom) {
      this.hits.phantom++
      return at > this.versions.newest ? Absent : this.getOlder(root, at)
    }
    if (kind === Leaf.Kind.Tombstone) {
      this.hits.tombstone++
      return Absent
    }
    if (MiniPage.isDirty(words, record)) this.hits.insert++
    else this.hits.cache++
    this.foundAt = address - p + record
    this.foundKey = Page.slotBytes(words, p, index)
    this.foundEntry = -1
    return Found
  }

  /** Reads from a base page that is only visiting; now and then what it says of the key is remembered. */
  private getInGuest(root: Root, id: number, address: number, at: number, known: boolean): number {
    const { arena, map } = this.pages
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    map.state[id] = (map.state[id] as number) | State.Referenced
    this.hits.guest++
    const index = Leaf.find(words, p, this.key)
    const promoted = !known && this.isPromoted()
    if (index < 0) {
      if (promoted) this.remember(root, id, -1, 0)
      return Absent
    }
    const record = Leaf.recordAt(words, p, index)
    if (promoted) this.remember(root, id, address - p + record, Page.slotBytes(words, p, index))
    if (Leaf.versionAt(words, record) >= at) return Absent
    this.foundAt = address - p + record
    this.foundKey = Page.slotBytes(words, p, index)
    this.foundEntry = -1
    return Found
  }

  private isPromoted(): boolean {
    return this.pages.mode !== "pages" && this.dice.roll()
  }

  private remember(root: Root, id: number, address: number, keyBytes: number): void {
    if (this.descend(root, this.key) === id) this.minis.remember(root, this.key, address, keyBytes)
  }

  /** Goes down to the leaf of a key, in memory or not, leaving the way on the bench: its id, or Missing. */
  private descend(root: Root, key: KeyScratch): number {
    const { arena, map } = this.pages
    const { ids, taken } = this.bench
    let id = root.page
    // What is not in memory is a leaf below a node of level 1, or where it has a mini-page.
    let leafBelow = false
    for (let depth = 0;; depth++) {
      const address = map.block[id] as number
      ids[depth] = id
      this.bench.depth = depth
      if (address < 0) {
        if (leafBelow || (map.mini[id] as number) >= 0) return id
        this.missing = id
        return Missing
      }
      const words = arena.words[address >>> arena.shift] as Int32Array
      const p = address & arena.mask
      const level = (words[p + 1] as number) & 0xff0000
      if (level === 0) {
        Leaf.touchSlots(words, p)
        return id
      }
      leafBelow = level === 0x10000
      const index = Inner.find(words, p, key)
      taken[depth] = index
      id = Inner.child(words, p, index)
    }
  }

  /**
   * Writes a record: Added, Replaced, Written (not known which), Missing or NoSpace. `version` is the LSN of its
   * commit; `expiry` in milliseconds, Infinity for none. The record must fit (`Page.maxRecordBytes`).
   */
  put(
    root: Root,
    key: Uint8Array,
    kind: number,
    value: Uint8Array,
    version: number,
    expiry = Infinity
  ): number {
    this.key.load(key)
    return this.putLoaded(root, kind, value, version, expiry)
  }

  /** The same for the key in `key`. */
  putLoaded(root: Root, kind: number, value: Uint8Array, version: number, expiry: number): number {
    while (true) {
      const id = this.descend(root, this.key)
      if (id < 0) return Missing
      if (this.takesInPlace(id)) {
        const answer = this.inPlace.put(root, this.key, kind, value, version, expiry)
        if (answer !== Again) return this.asked(answer, this.inPlace.blocksNeeded, id)
        continue
      }
      const blind = this.pages.mode === "miniPages"
      const answer = blind ? this.minis.put(root, this.key, kind, value, version, expiry) : Missing
      if (answer !== Missing) return this.asked(answer, this.minis.blocksNeeded, 0)
      const merged = this.mergeFor(root, id)
      if (merged < 0) return merged
    }
  }

  /** Removes a record: Removed, Absent, Written (not known which), Missing or NoSpace. */
  remove(root: Root, key: Uint8Array, version: number): number {
    this.key.load(key)
    while (true) {
      const id = this.descend(root, this.key)
      if (id < 0) return Missing
      if (this.takesInPlace(id)) return this.inPlace.remove(root, this.key, version)
      const blind = this.pages.mode === "miniPages"
      const answer = blind ? this.minis.remove(root, this.key, version) : Missing
      if (answer !== Missing) return this.asked(answer, this.minis.blocksNeeded, 0)
      const merged = this.mergeFor(root, id)
      if (merged < 0) return merged
    }
  }

  private asked(answer: number, blocks: number, leaf: number): number {
    if (answer !== NoSpace) return answer
    this.blocksNeeded = blocks
    this.leafNeeded = leaf
    return answer
  }

  /** Whether a leaf is changed where it is; without mini-pages a guest that is written to joins the ring again. */
  private takesInPlace(id: number): boolean {
    const { map, mode } = this.pages
    const state = map.state[id] as number
    if (isInPlace(state)) {
      map.state[id] = state | State.Referenced
      return true
    }
    if (mode === "miniPages" || (map.block[id] as number) < 0 || (state & State.Mini) !== 0) return false
    this.pages.admit(id)
    return true
  }

  /** The mini-page at hand is full, or there is to be none: it is merged if the base page is here. */
  private mergeFor(root: Root, id: number): number {
    const { map } = this.pages
    if ((map.block[id] as number) < 0 && this.lacks(id)) return Missing
    const state = map.state[id] as number
    if ((state & State.Mini) !== 0) return this.merge(root, id)
    // The record is larger than any mini-page.
    map.state[id] = state | State.Mutable
    return Absent
  }

  /** Whether an answer names a page that is missing; it is remembered. */
  private lacks(page: number): boolean {
    if (page > 0) this.missing = page
    return page > 0
  }

  /** Merges the mini-page of a leaf into its base page: Absent (done), Missing or NoSpace. */
  merge(root: Root, id: number): number {
    const { map } = this.pages
    const asked = ((map.state[id] as number) & State.Mini) !== 0
    if (asked && (map.block[id] as number) < 0 && this.lacks(id)) return Missing
    const answer = this.consolidation.merge(root, id)
    return this.asked(answer, this.consolidation.blocksNeeded, id)
  }

  /**
   * Merges a leaf that has become too empty with a neighbour. Answers a neighbour that must be in memory, without a
   * mini-page, first; or 0.
   */
  mergeLeaf(root: Root, id: number): number {
    return this.consolidation.mergeLeaf(root, id)
  }

  /** Looks up what blind writes left open, from page id `from` on: Absent (done), or Missing; go on from `missing`. */
  resolve(root: Root, from: number): number {
    return this.lacks(resolveFrom(this.pages, root, from)) ? Missing : Absent
  }

  /** Adds records of a range as of `at` to a batch: Found = there may be more, Absent = done, or Missing. */
  scan(root: Root, range: Range, at: number, batch: Batch): number {
    if (this.lacks(pull(this.pages, this.versions, root, range, at, batch))) return Missing
    return batch.ended ? Absent : Found
  }

  /**
   * Frees about `pages` pages of a tree that nobody reads any more: Found = there are more, Absent = done, or
   * Missing. Leaves are freed without being loaded.
   */
  freeTree(page: number, pages: number): number {
    const answer = freeSlice(this.pages, page, pages)
    return this.lacks(answer) ? Missing : answer === 0 ? Absent : Found
  }
}

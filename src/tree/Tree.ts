/**
 * The tree kernel: B+ trees whose leaves are in memory whole, as records only, or not at all; pure and synchronous.
 *
 * Operations answer small integers. What needs the disk is an answer, not a call: `Missing` names a page in
 * `missing`; whoever asked has it loaded and asks again. `NoSpace` means that fewer blocks are free than the operation
 * could take (`blocksNeeded`). In both cases nothing has changed that a reader could see.
 *
 * ```
 *   get     mini-page, else Versions, else base page                     (`Lookup.ts`; many at once: `GetMany.ts`)
 *   put     in place where the leaf is Mutable without a mini-page, else to its mini-page, without the disk
 *   reduce  the same with an operand, which is folded where the value is in memory
 *   merge   the mini-page into the base page, which was loaded for it
 * ```
 *
 * I1 Every page on the way is in memory before anything changes.
 * I2 `count` of a root is the number of records that its base pages and resolved mini-page records make.
 *
 * Must not know the disk, the clock, or who calls. A found value is valid until the next operation.
 */
import { Events } from "./memory/Events.ts"
import { isInPlace, State, usedOnce } from "./memory/MapTable.ts"
import type { Root } from "./memory/Root.ts"
import * as Inner from "./page/Inner.ts"
import type { KeyScratch } from "./page/KeyScratch.ts"
import * as Page from "./page/Page.ts"
import * as Touch from "./page/Touch.ts"
import { ValueScratch } from "./page/ValueIn.ts"
import type { ValueIn } from "./page/ValueIn.ts"
import { Absent, Again, Found, Missing, NoSpace, Replaced } from "./read/Answer.ts"
import type { Batch } from "./read/Batch.ts"
import type { Range } from "./read/Cursor.ts"
import { pull } from "./read/Cursor.ts"
import { Group } from "./read/GetMany.ts"
import { Lookup } from "./read/Lookup.ts"
import type { TreeOptions } from "./read/Lookup.ts"
import type { Many } from "./read/Many.ts"
import { Consolidation } from "./write/Consolidate.ts"
import type { MergeCounters } from "./write/Consolidate.ts"
import { Fill } from "./write/Fill.ts"
import { freeSlice } from "./write/FreeTree.ts"
import { InPlace } from "./write/InPlace.ts"
import { MiniWriter } from "./write/MiniWriter.ts"
import type { PromoteCounters } from "./write/MiniWriter.ts"
import type { Puts } from "./write/Puts.ts"
import { resolveFrom } from "./write/Resolve.ts"
import type { Ground } from "./write/Split.ts"
import { Workbench } from "./write/Workbench.ts"

export type { Root } from "./memory/Root.ts"
export { Kind } from "./page/Leaf.ts"
export type { Reference } from "./page/Reference.ts"
export {
  Absent,
  Added,
  Found,
  inScratch,
  Missing,
  NoSpace,
  Removed,
  Replaced,
  Written
} from "./read/Answer.ts"
export type { Hits, TreeOptions } from "./read/Lookup.ts"

export class Tree extends Lookup {
  readonly events: Events
  /** What merges of mini-pages have done, and what reads have left in them. */
  readonly merged: Readonly<MergeCounters>
  readonly promoted: Readonly<PromoteCounters>
  /** What was written as a sequence, and the leaves that were made for it. */
  readonly filled: Readonly<Fill["counters"]>
  /** Free blocks to ask for after `NoSpace`, and the leaf that must be in memory beside them; 0 = none. */
  blocksNeeded = 0
  leafNeeded = 0
  private readonly scratch = new ValueScratch()
  private readonly bench: Workbench
  private readonly ground: Ground
  private readonly inPlace: InPlace
  private readonly minis: MiniWriter
  private readonly consolidation: Consolidation
  private readonly filling: Fill
  private readonly group: Group

  constructor(options: TreeOptions) {
    super(options)
    const { pages, versions } = this
    this.events = new Events(options.events ?? 0)
    this.bench = new Workbench(pages.arena.pageWords)
    this.ground = { pages, versions, bench: this.bench, events: this.events }
    this.inPlace = new InPlace(this.ground)
    this.minis = new MiniWriter(this.ground)
    this.group = new Group(pages)
    const descend = (root: Root, key: KeyScratch): number => this.descend(root, key)
    this.consolidation = new Consolidation(this.ground, this.inPlace, descend)
    this.filling = new Fill(this.ground, descend)
    this.filled = this.filling.counters
    this.merged = this.consolidation.counters
    this.promoted = this.minis.promoted
  }

  /** Makes an empty tree; undefined where no block is free. */
  create(treeId: number, reducer: number): Root | undefined {
    const { arena } = this.pages
    this.blocksNeeded = 1
    this.leafNeeded = 0
    if (arena.available < 1) return undefined
    const page = this.pages.create("ring")
    const address = this.pages.map.block[page] as number
    const words = arena.wordsOf(address)
    Page.begin(words, address & arena.mask, { size: arena.pageWords, level: 0, pageId: page, treeId })
    return { treeId, reducer, expires: false, page, count: 0, unresolved: 0 }
  }

  /**
   * Looks up the keys that `many` waits for, as of LSN `at` (exclusive): Found = all of them are answered, or Missing,
   * and `many.missing` says which wait for which pages.
   */
  getMany(root: Root, keys: ReadonlyArray<Uint8Array>, at: number, many: Many): number {
    return this.group.getMany(this, root, keys, at, many)
  }

  protected override remember(
    root: Root,
    id: number,
    key: KeyScratch,
    address: number,
    keyBytes: number
  ): void {
    if (this.descend(root, key) === id) this.minis.remember(root, key, address, keyBytes)
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
      const level = Page.level(words, p)
      if (level === 0) {
        Touch.keep(Touch.slots(words, p))
        return id
      }
      leafBelow = level === 1
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
    return this.putLoaded(root, kind, this.scratch.load(value), version, expiry)
  }

  /** The same for the key in `key`, and a value that lies in words. */
  putLoaded(root: Root, kind: number, value: ValueIn, version: number, expiry: number): number {
    if (expiry !== Infinity) root.expires = true
    if (this.update(root, kind, value, version, expiry)) return Replaced
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

  /** Overwrites a record where a read has found it; false, and it stays as it is, where it has gone or has no room. */
  private update(root: Root, kind: number, value: ValueIn, version: number, expiry: number): boolean {
    const { hints, key } = this
    const id = hints.find(root, key, hints.writes)
    return id !== 0 && this.takesInPlace(id)
      && this.inPlace.update(root, id, hints.index, key, kind, value, version, expiry)
  }

  /** Removes a record: Removed, Absent, Written (not known which), Missing or NoSpace. */
  remove(root: Root, key: Uint8Array, version: number): number {
    this.key.load(key)
    return this.removeLoaded(root, version)
  }

  /** The same for the key in `key`. */
  removeLoaded(root: Root, version: number): number {
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

  /**
   * Merges an operand into a record by the tree's reducer: Added, Replaced, Written (not known which), Missing or
   * NoSpace. What comes of it must fit as a put's record must (`Operand.ts`, I2). A record that had expired by
   * `millis`, the time of its commit, counts as none; otherwise what comes of it expires as the record does.
   */
  reduce(root: Root, key: Uint8Array, operand: Uint8Array, version: number, millis = -Infinity): number {
    this.key.load(key)
    return this.reduceLoaded(root, operand, version, millis)
  }

  /** The same for the key in `key`. */
  reduceLoaded(root: Root, operand: Uint8Array, version: number, millis: number): number {
    while (true) {
      const id = this.descend(root, this.key)
      if (id < 0) return Missing
      if (this.takesInPlace(id)) {
        const answer = this.inPlace.reduce(root, this.key, operand, version, millis)
        if (answer !== Again) return this.asked(answer, this.inPlace.blocksNeeded, id)
        continue
      }
      const blind = this.pages.mode === "miniPages"
      const answer = blind ? this.minis.reduce(root, this.key, operand, version, millis) : Missing
      if (answer !== Missing) return this.asked(answer, this.minis.blocksNeeded, 0)
      const merged = this.mergeFor(root, id)
      if (merged < 0) return merged
    }
  }

  /**
   * Puts as many of a sequence as stand behind all other records of their leaves, and answers how many; what is left
   * is to be put one by one (`Fill.ts`).
   */
  fill(root: Root, puts: Puts): number {
    return this.filling.put(root, puts)
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
      map.state[id] = usedOnce(state)
      return true
    }
    if (mode === "miniPages" || (map.block[id] as number) < 0 || (state & State.Mini) !== 0) return false
    this.pages.admit(id)
    return true
  }

  /** The mini-page at hand is full, or there is to be none: it is merged if the base page is here. */
  private mergeFor(root: Root, id: number): number {
    const { map } = this.pages
    if ((map.block[id] as number) < 0) {
      this.missing = id
      return Missing
    }
    const state = map.state[id] as number
    if ((state & State.Mini) !== 0) return this.merge(root, id)
    // The record is larger than any mini-page.
    map.state[id] = state | State.Mutable
    return Absent
  }

  /** Merges the mini-page of a leaf into its base page: Absent (done), Missing or NoSpace. */
  merge(root: Root, id: number): number {
    const { map } = this.pages
    if ((map.block[id] as number) < 0 && ((map.state[id] as number) & State.Mini) !== 0) {
      this.missing = id
      return Missing
    }
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

  /** The leaf of a key, where that has a mini-page; else 0. */
  leafBelow(root: Root, key: Uint8Array): number {
    this.key.load(key)
    const id = this.descend(root, this.key)
    return id > 0 && ((this.pages.map.state[id] as number) & State.Mini) !== 0 ? id : 0
  }

  /** Looks up what blind writes left open, from page id `from` on: Absent (done), or Missing; go on from `missing`. */
  resolve(root: Root, from: number): number {
    const missing = resolveFrom(this.pages, root, from)
    if (missing > 0) this.missing = missing
    return missing > 0 ? Missing : Absent
  }

  /** Adds records of a range as of `at` to a batch: Found = there may be more, Absent = done, or Missing. */
  scan(root: Root, range: Range, at: number, batch: Batch): number {
    const before = batch.used
    const missing = pull(this.pages, this.versions, root, range, at, batch)
    this.answeredBytes += batch.used - before
    if (missing !== 0) this.missing = missing
    return missing !== 0 ? Missing : batch.ended ? Absent : Found
  }

  /**
   * Frees about `pages` pages of a tree that nobody reads any more: Found = there are more, Absent = done, or
   * Missing. Leaves are freed without being loaded.
   */
  freeTree(page: number, pages: number): number {
    const answer = freeSlice(this.pages, page, pages)
    if (answer > 0) this.missing = answer
    return answer > 0 ? Missing : answer === 0 ? Absent : Found
  }
}

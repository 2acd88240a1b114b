/**
 * The tree kernel: B+ trees over pages in memory, pure and synchronous.
 *
 * Operations answer small integers. What needs the disk is an answer, not a call: `Missing` names a page in
 * `missing`; whoever asked has it loaded and asks again. `NoSpace` means that fewer blocks are free than the operation
 * could take (`blocksNeeded`). In both cases nothing has changed.
 *
 * I1 Every page on the way is in memory before anything changes.
 * I2 Versions of a key ascend: what is written is not older than what it displaces.
 * I3 A displaced record goes to Versions before it is overwritten.
 * I4 `count` of a root is the number of records in its leaves.
 *
 * Must not know the disk, the clock, or who calls. A found value is valid until the next operation.
 */
import { invariant } from "../Invariant.ts"
import type { Arena } from "./Arena.ts"
import type { Batch } from "./Batch.ts"
import type { Range } from "./Cursor.ts"
import { pull } from "./Cursor.ts"
import { Events } from "./Events.ts"
import { freeSlice } from "./FreeTree.ts"
import * as Inner from "./Inner.ts"
import { KeyScratch } from "./KeyScratch.ts"
import * as Leaf from "./Leaf.ts"
import { State } from "./MapTable.ts"
import { mergeUp } from "./Merge.ts"
import * as Page from "./Page.ts"
import { Pages } from "./Pages.ts"
import type { Reference } from "./Reference.ts"
import { readReference } from "./Reference.ts"
import type { Ground, Root } from "./Split.ts"
import { compact, splitLeaf } from "./Split.ts"
import { ValueOut } from "./ValueOut.ts"
import { Versions } from "./Versions.ts"
import { Workbench } from "./Workbench.ts"

export { Kind } from "./Leaf.ts"
export type { Reference } from "./Reference.ts"
export type { Root } from "./Split.ts"

export const Absent = 0
export const Found = 1
export const Added = 2
export const Replaced = 3
export const Removed = 4
export const Missing = -1
export const NoSpace = -2

export interface TreeOptions {
  readonly arena: Arena
  /** Version of the next checkpoint. */
  readonly epoch: number
  /** The moving pins at the start. */
  readonly durable: number
  readonly visible: number
  /** Structural events to remember; none by default. */
  readonly events?: number | undefined
}

export class Tree {
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
  private readonly bench: Workbench
  private readonly ground: Ground
  private readonly out = new ValueOut()
  /** The record that was found: its address and stored key bytes; or an entry of Versions. */
  private foundAt = 0
  private foundKey = 0
  private foundEntry = -1

  constructor(options: TreeOptions) {
    const { arena } = options
    this.pages = new Pages(arena, { epoch: options.epoch })
    this.versions = new Versions({ durable: options.durable, visible: options.visible })
    this.events = new Events(options.events ?? 0)
    this.bench = new Workbench(arena.pageWords)
    this.ground = { pages: this.pages, bench: this.bench, events: this.events }
  }

  /** Makes an empty tree; undefined where no block is free. */
  create(treeId: number): Root | undefined {
    const { arena } = this.pages
    this.blocksNeeded = 1
    this.leafNeeded = 0
    if (arena.freeBlocks < 1) return undefined
    const page = this.pages.create()
    const address = this.pages.map.block[page] as number
    const words = arena.wordsOf(address)
    Page.begin(words, address & arena.mask, { size: arena.pageWords, level: 0, pageId: page, treeId })
    return { treeId, page, count: 0 }
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
        map.state[id] = (map.state[id] as number) | State.Referenced
        return this.getInLeaf(root, words, p, address, at)
      }
      id = Inner.child(words, p, Inner.find(words, p, key))
      address = map.block[id] as number
    }
    this.missing = id
    return Missing
  }

  private getInLeaf(root: Root, words: Int32Array, p: number, address: number, at: number): number {
    Leaf.touchSlots(words, p)
    const index = Leaf.find(words, p, this.key)
    if (index >= 0) {
      const slot = words[p + Page.headerWords + ((words[p + 7] as number) >>> 16) + index] as number
      const record = p + (slot & 0xffff)
      if (Leaf.versionAt(words, record) < at) {
        // An address, not views: storing a reference in a field costs the collector's write barrier.
        this.foundAt = address + (slot & 0xffff)
        this.foundKey = slot >>> 16
        this.foundEntry = -1
        return Found
      }
    }
    if (at > this.versions.newest) return Absent
    this.foundEntry = this.versions.get(root.treeId, this.key, at)
    return this.foundEntry < 0 ? Absent : Found
  }

  private foundWords(): Int32Array {
    return this.pages.arena.wordsOf(this.foundAt)
  }

  /** Word offset of the record found within its chunk. */
  private foundRecord(): number {
    return this.foundAt & this.pages.arena.mask
  }

  /** Version of the record found. */
  foundVersion(): number {
    return this.foundEntry < 0
      ? Leaf.versionAt(this.foundWords(), this.foundRecord())
      : this.versions.versionOf(this.foundEntry)
  }

  foundKind(): number {
    return this.foundEntry < 0
      ? Leaf.kindAt(this.foundWords(), this.foundRecord())
      : this.versions.kindOf(this.foundEntry)
  }

  /** When the record found expires, in milliseconds; Infinity where it does not. */
  foundExpiry(): number {
    return this.foundEntry < 0
      ? Leaf.expiryAt(this.foundWords(), this.foundRecord(), this.foundKey)
      : this.versions.expiryOf(this.foundEntry)
  }

  /** Where the value found lives, if that is the log. */
  foundReference(): Reference | undefined {
    return this.foundKind() === Leaf.Kind.Reference ? readReference(this.value()) : undefined
  }

  /** Bytes of the value found. */
  valueBytes(): number {
    return this.foundEntry < 0
      ? Leaf.valueBytesAt(this.foundWords(), this.foundRecord())
      : this.versions.valueBytesOf(this.foundEntry)
  }

  /** A copy of the value found. */
  value(): Uint8Array {
    if (this.foundEntry >= 0) {
      const from = this.versions.valueAt(this.foundEntry)
      return this.versions.bytesOf(this.foundEntry).slice(from, from + this.valueBytes())
    }
    const words = this.foundWords()
    const record = this.foundRecord()
    const bytes = this.pages.arena.bytesOf(this.foundAt)
    return this.out.copy(
      words,
      bytes,
      Leaf.valueAt(words, record, this.foundKey),
      Leaf.valueBytesAt(words, record)
    )
  }

  /** Copies the value found into `target` from `offset` on, where there must be room; answers its length. */
  valueInto(target: Uint8Array, offset: number): number {
    if (this.foundEntry >= 0) {
      const from = this.versions.valueAt(this.foundEntry)
      target.set(this.versions.bytesOf(this.foundEntry).subarray(from, from + this.valueBytes()), offset)
      return this.valueBytes()
    }
    const words = this.foundWords()
    const record = this.foundRecord()
    const length = Leaf.valueBytesAt(words, record)
    const bytes = this.pages.arena.bytesOf(this.foundAt)
    this.out.copyInto(words, bytes, Leaf.valueAt(words, record, this.foundKey), length, target, offset)
    return length
  }

  /** Goes down to the leaf of the key in `key`, leaving the way on the bench; its address, or Missing. */
  private descend(root: Root): number {
    const { arena, map } = this.pages
    const { ids, taken } = this.bench
    let id = root.page
    for (let depth = 0;; depth++) {
      const address = map.block[id] as number
      ids[depth] = id
      if (address < 0) {
        this.missing = id
        return Missing
      }
      const words = arena.words[address >>> arena.shift] as Int32Array
      const p = address & arena.mask
      if (((words[p + 1] as number) & 0xff0000) === 0) {
        this.bench.depth = depth
        Leaf.touchSlots(words, p)
        return address
      }
      const index = Inner.find(words, p, this.key)
      taken[depth] = index
      id = Inner.child(words, p, index)
    }
  }

  /**
   * Writes a record: Added, Replaced, Missing or NoSpace. `version` is the LSN of its commit; `expiry` in
   * milliseconds, Infinity for none. The record must fit (`Page.maxRecordBytes`).
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
      const address = this.descend(root)
      if (address < 0) return Missing
      const { arena } = this.pages
      const words = arena.words[address >>> arena.shift] as Int32Array
      const bytes = arena.bytes[address >>> arena.shift] as Uint8Array
      const p = address & arena.mask
      const index = Leaf.find(words, p, this.key)
      const need = Leaf.neededWords(words, p, this.key.length, value.length, expiry)
      const answer = index < 0
        ? this.add(words, bytes, p, ~index, need, kind, value, version, expiry)
        : this.replace(root, words, bytes, p, index, need, kind, value, version, expiry)
      if (answer === Added) root.count++
      if (answer !== NoSpace) return answer
      // One split makes room, or a second one after it; each leaves fewer records in the leaf.
      this.blocksNeeded = this.bench.depth + 2
      this.leafNeeded = Page.pageId(words, p)
      if (arena.freeBlocks < this.blocksNeeded) return NoSpace
      const replaces = index < 0 ? 0 : this.recordWords(words, p, index)
      splitLeaf(this.ground, root, this.key, { index: index < 0 ? ~index : index, need, replaces })
    }
  }

  private recordWords(words: Int32Array, p: number, index: number): number {
    return Leaf.recordWords(words, Leaf.recordAt(words, p, index), Page.slotBytes(words, p, index))
  }

  private add(
    words: Int32Array,
    bytes: Uint8Array,
    p: number,
    index: number,
    need: number,
    kind: number,
    value: Uint8Array,
    version: number,
    expiry: number
  ): number {
    const counts = words[p + 7] as number
    const slot = (counts & 0xffff) === counts >>> 16 ? Page.slotWords : 0
    const cramped = Leaf.gap(words, p) < need + slot
    if (cramped && !this.mayCompact(words, p, need + Page.slotWords, 0)) return NoSpace
    this.pages.touch(Page.pageId(words, p))
    if (cramped) compact(this.ground, words, p, need)
    Leaf.insert(words, bytes, p, index, need, this.key, kind, value, version, expiry)
    return Added
  }

  private replace(
    root: Root,
    words: Int32Array,
    bytes: Uint8Array,
    p: number,
    index: number,
    need: number,
    kind: number,
    value: Uint8Array,
    version: number,
    expiry: number
  ): number {
    const had = this.recordWords(words, p, index)
    const cramped = need > had && need > Leaf.gap(words, p)
    if (cramped && !this.mayCompact(words, p, need, had)) return NoSpace
    this.pages.touch(Page.pageId(words, p))
    this.displace(root, words, p, index, version)
    if (!cramped) {
      Leaf.replace(words, bytes, p, index, need, kind, value, version, expiry)
    } else {
      Leaf.remove(words, p, index)
      compact(this.ground, words, p, need)
      Leaf.insert(words, bytes, p, index, need, this.key, kind, value, version, expiry)
    }
    return Replaced
  }

  /**
   * Whether compaction gives room for `need` words when `freed` more become garbage. If it would gain less than a
   * 32nd of the page, a split is better: a page that stays nearly full would be compacted for every write.
   */
  private mayCompact(words: Int32Array, p: number, need: number, freed: number): boolean {
    if (Leaf.spare(words, p) + freed < need) return false
    const gained = Leaf.spare(words, p) - Leaf.gap(words, p) + freed
    return gained >= Page.size(words, p) >>> 5 || Page.count(words, p) < 2
  }

  /** Hands record `index` to Versions before it goes (I3). */
  private displace(root: Root, words: Int32Array, p: number, index: number, version: number): void {
    const keyBytes = Page.slotBytes(words, p, index)
    const record = Leaf.recordAt(words, p, index)
    const from = Leaf.versionAt(words, record)
    invariant(from <= version, "Tree I2")
    this.versions.displace(
      root.treeId,
      this.key,
      from,
      version,
      Leaf.kindAt(words, record),
      Leaf.expiryAt(words, record, keyBytes),
      words,
      Leaf.valueAt(words, record, keyBytes),
      Leaf.valueBytesAt(words, record)
    )
  }

  /** Removes a record: Removed, Absent or Missing. `version` is the LSN of the commit. */
  remove(root: Root, key: Uint8Array, version: number): number {
    this.key.load(key)
    const address = this.descend(root)
    if (address < 0) return Missing
    const { arena } = this.pages
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    const index = Leaf.find(words, p, this.key)
    if (index < 0) return Absent
    this.pages.touch(Page.pageId(words, p))
    this.displace(root, words, p, index, version)
    Leaf.remove(words, p, index)
    Page.raisePageLsn(words, p, version)
    root.count--
    if (Leaf.used(words, p) * 4 < Page.size(words, p)) mergeUp(this.ground, root)
    return Removed
  }

  /** Adds records of a range as of `at` to a batch: Found = there may be more, Absent = done, or Missing. */
  scan(root: Root, range: Range, at: number, batch: Batch): number {
    this.missing = pull(this.pages, this.versions, root, range, at, batch)
    return this.missing > 0 ? Missing : batch.ended ? Absent : Found
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

/**
 * Point reads of the tree kernel: where a key's record stands, as of an LSN.
 *
 * ```
 *   inner nodes ─▶ leaf in place ─────────▶ Versions                       (each only what is below the reader's LSN)
 *              └─▶ mini-page ─▶ Versions ─▶ base page, or Missing
 * ```
 *
 * An operand is folded into what it stands on in the base page: there, and only there, a record that is found in memory
 * asks for a page.
 *
 * I1 A read changes nothing that another reader could see: marks of use, and copies of what the base page says.
 *
 * Must not know how anything is written. A found value is valid until the next operation.
 */
import type { BufferMode } from "../../Limits.ts"
import type { Arena } from "../memory/Arena.ts"
import { isInPlace, State, usedOnce } from "../memory/MapTable.ts"
import { Pages } from "../memory/Pages.ts"
import type { Root } from "../memory/Root.ts"
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as MiniPage from "../page/MiniPage.ts"
import { valueOf } from "../page/Operand.ts"
import * as Page from "../page/Page.ts"
import * as Touch from "../page/Touch.ts"
import type { SpillOptions } from "../past/Spill.ts"
import { Versions } from "../past/Versions.ts"
import { hashOf } from "../past/VersionTable.ts"
import { Absent, Again, Finding, Found, inFolding, inScratch, Missing } from "./Answer.ts"
import { Hints } from "./Hints.ts"

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
  /**
   * Reads of base pages, in percent, that leave a copy of what they found, or that they found nothing, of keys that
   * were not read lately; of those that were, all do. 0 = none ever.
   */
  readonly promotionPercent?: number | undefined
  /** In trees whose root is at this level or above reads remember where they found a key (`Hints.ts`). */
  readonly hintLevel?: number | undefined
  /** For the dice of promotion. */
  readonly seed?: number | undefined
  /** What versions for readers of the past may take of memory and disk; by default they stay in memory. */
  readonly spill?: SpillOptions | undefined
}

/**
 * What answered reads, by where it stood: each answer counts once. Absent keys that the base page did not have are its
 * as well.
 */
export interface Hits {
  /** A whole leaf. */
  leaf: number
  /** Records of mini-pages. */
  insert: number
  cache: number
  tombstone: number
  phantom: number
  /** The base page, read for this or another record. */
  guest: number
  /** An older version, of what another reader sees anew. */
  versions: number
}

/** For an address of a base page: it is not in memory, or it is known to have nothing of the key. */
const notHere = -1
const noBase = -2

export abstract class Lookup extends Finding {
  readonly pages: Pages
  readonly versions: Versions
  /** The key of the operation at hand; `load` it before the operations that take it from here. */
  readonly key = new KeyScratch()
  /** The page to load after `Missing`, or `inScratch`: the scratch file may have what the reader sees of the key. */
  missing = 0
  /** After that: an entry of the scratch file counts if its version is above this. */
  scratchFloor = -1
  readonly hints: Hints
  readonly hits: Hits = { leaf: 0, insert: 0, cache: 0, tombstone: 0, phantom: 0, guest: 0, versions: 0 }
  /** Times that a read of a key had to wait for a page. */
  misses = 0
  /** Of 2³²: promotion happens where the dice is below. */
  private readonly promotion: number
  private dice: number

  constructor(options: TreeOptions) {
    const { arena } = options
    const versions = new Versions({ durable: options.durable, visible: options.visible }, options.spill)
    super(arena, versions)
    this.pages = new Pages(arena, options)
    this.hints = new Hints(this.pages, options.hintLevel)
    this.versions = versions
    this.promotion = (options.promotionPercent ?? 5) / 100 * 2 ** 32
    this.dice = (options.seed ?? 0) | 1
  }

  /** Leaves a copy of a record of the base page, or that there is none (address -1), in the leaf's mini-page. */
  protected abstract remember(
    root: Root,
    id: number,
    key: KeyScratch,
    address: number,
    keyBytes: number
  ): void

  /** Reads a key as of LSN `at` (exclusive): Found, Absent or Missing. */
  get(root: Root, key: Uint8Array, at: number): number {
    this.key.load(key)
    return this.getLoaded(root, at)
  }

  /** The same for the key in `key`. */
  getLoaded(root: Root, at: number): number {
    const { arena, map } = this.pages
    const { hints, key } = this
    const known = hints.find(root, key, hints.reads)
    if (known !== 0) return this.getInLeaf(root, known, hints.index, key, at)
    let id = root.page
    let address = map.block[id] as number
    while (address >= 0) {
      const words = arena.words[address >>> arena.shift] as Int32Array
      const p = address & arena.mask
      if (Page.level(words, p) === 0) {
        if (!isInPlace(map.state[id] as number)) return this.getBeside(root, id, key, at)
        Touch.keep(Touch.slots(words, p))
        const index = Leaf.find(words, p, key)
        if (index >= 0) hints.note(hints.hash, id, words, p, index)
        return this.getInLeaf(root, id, index, key, at)
      }
      id = Inner.child(words, p, Inner.find(words, p, key))
      address = map.block[id] as number
    }
    return this.getBeside(root, id, key, at)
  }

  /**
   * The same from a leaf on, in memory or not, that a way down has come to: the second half of a get. `from` is what
   * `Leaf.lower` said of the base page, if that is here; `hash` the key's, if it was asked for in `Hints.ts`.
   */
  getFrom(root: Root, id: number, key: KeyScratch, hash: number, from: number, at: number): number {
    const { arena, map } = this.pages
    const address = map.block[id] as number
    if (address < 0 || !isInPlace(map.state[id] as number)) return this.getBeside(root, id, key, at)
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    const index = Leaf.findFrom(words, p, key, from)
    if (index >= 0) this.hints.note(hash, id, words, p, index)
    return this.getInLeaf(root, id, index, key, at)
  }

  /** Reads slot `index` of a leaf that is in place; where that is below 0 the key is not in it. */
  private getInLeaf(root: Root, id: number, index: number, key: KeyScratch, at: number): number {
    const { arena, map } = this.pages
    const address = map.block[id] as number
    map.state[id] = usedOnce(map.state[id] as number)
    this.hits.leaf++
    const words = arena.words[address >>> arena.shift] as Int32Array
    return this.getAt(root, words, address & arena.mask, address, index, key, at)
  }

  private getAt(
    root: Root,
    words: Int32Array,
    p: number,
    address: number,
    index: number,
    key: KeyScratch,
    at: number
  ): number {
    if (index >= 0) {
      const slot = words[p + Page.headerWords + ((words[p + 6] as number) >>> 16) + index] as number
      const record = p + (slot & 0xffff)
      if (Leaf.versionAt(words, record) < at) return this.note(address + (slot & 0xffff), slot >>> 16)
    }
    if (at > this.versions.newest) return Absent
    const older = this.getOlder(root, key, at, address)
    if (this.foundEntry !== -1 || older === Again) this.hits.leaf--
    return older === Again ? this.miss(inScratch) : older
  }

  /** Notes a record of a page as found. */
  private note(address: number, keyBytes: number): number {
    this.foundAt = address
    this.foundKey = keyBytes
    this.foundEntry = -1
    return Found
  }

  /**
   * What Versions has of the key: Found, or Absent where it has nothing or knows that there was nothing. `base` is the
   * address of the base page, for what stands on it: Missing where that is not in memory. Again where the scratch file
   * must be looked into first.
   */
  private getOlder(root: Root, key: KeyScratch, at: number, base: number): number {
    const { versions } = this
    const entry = this.foundEntry = versions.get(root.treeId, key, at)
    if ((entry < 0 || versions.isWide(entry)) && versions.isSpilled(root.treeId, key, at)) {
      // Of the same version is what its commit wrote later, and what was displaced first (`Entries.counts`).
      this.scratchFloor = entry < 0 ? -1 : versions.versionOf(entry) - 1
      this.foundEntry = -1
      return Again
    }
    if (entry < 0) return Absent
    const kind = this.versions.kindOf(this.foundEntry)
    const answer = kind === Leaf.Kind.Operand
      ? this.foldOlder(root, key, base)
      : kind === Leaf.Kind.Tombstone
      ? Absent
      : Found
    if (answer !== Missing) this.hits.versions++
    return answer
  }

  private foldOlder(root: Root, key: KeyScratch, base: number): number {
    const { versions } = this
    const operand = versions.valueOf(this.foundEntry)
    return this.foldOnto(root, key, base, operand, versions.versionOf(this.foundEntry))
  }

  /** Folds an operand into what it stands on: Found, or Missing. */
  private foldOnto(root: Root, key: KeyScratch, base: number, operand: Uint8Array, version: number): number {
    if (base === notHere) return Missing
    const { arena } = this.pages
    if (base === noBase) this.folding.alone(root.reducer, operand)
    else {
      const words = arena.wordsOf(base)
      this.folding.onto(words, base & arena.mask, key, root.reducer, operand, version)
    }
    this.foldedVersion = version
    this.foundEntry = inFolding
    return Found
  }

  /** Reads from the mini-page of a leaf, and from its base page if that is here. */
  private getBeside(root: Root, id: number, key: KeyScratch, at: number): number {
    const { map } = this.pages
    const mini = map.mini[id] as number
    let known = false
    if (mini >= 0) {
      const { arena } = this.pages
      const words = arena.words[mini >>> arena.shift] as Int32Array
      const p = mini & arena.mask
      const index = Leaf.find(words, p, key)
      if (index >= 0) {
        const record = Leaf.recordAt(words, p, index)
        MiniPage.touch(words, record)
        if (Leaf.versionAt(words, record) < at) {
          return this.getInMini(root, id, words, p, mini, index, key, at)
        }
        known = true
      }
    }
    const address = map.block[id] as number
    if (at <= this.versions.newest) {
      const older = this.getOlder(root, key, at, address)
      if (older === Missing) return this.miss(id)
      if (older === Again) return this.miss(inScratch)
      if (this.foundEntry !== -1) return older
    }
    return address < 0 ? this.miss(id) : this.getInGuest(root, id, address, key, at, known)
  }

  private miss(id: number): number {
    this.missing = id
    this.misses++
    return Missing
  }

  private getInMini(
    root: Root,
    id: number,
    words: Int32Array,
    p: number,
    address: number,
    index: number,
    key: KeyScratch,
    at: number
  ): number {
    const record = Leaf.recordAt(words, p, index)
    const kind = Leaf.kindAt(words, record)
    if (kind === Leaf.Kind.Phantom) {
      this.hits.phantom++
      if (at > this.versions.newest) return Absent
      const older = this.getOlder(root, key, at, noBase)
      if (this.foundEntry !== -1 || older === Again) this.hits.phantom--
      return older === Again ? this.miss(inScratch) : older
    }
    if (kind === Leaf.Kind.Tombstone) {
      this.hits.tombstone++
      return Absent
    }
    if (kind === Leaf.Kind.Operand) return this.getOperand(root, id, words, p, index, key)
    if (MiniPage.isDirty(words, record)) this.hits.insert++
    else this.hits.cache++
    return this.note(address - p + record, Page.slotBytes(words, p, index))
  }

  /** Reads an operand of a mini-page. */
  private getOperand(
    root: Root,
    id: number,
    words: Int32Array,
    p: number,
    index: number,
    key: KeyScratch
  ): number {
    const { map } = this.pages
    const record = Leaf.recordAt(words, p, index)
    const operand = valueOf(words, record, Page.slotBytes(words, p, index))
    const address = map.block[id] as number
    const answer = this.foldOnto(root, key, address, operand, Leaf.versionAt(words, record))
    if (answer === Missing) return this.miss(id)
    map.state[id] = usedOnce(map.state[id] as number)
    this.hits.guest++
    return answer
  }

  /** Reads from a base page that is only visiting; now and then what it says of the key is remembered. */
  private getInGuest(
    root: Root,
    id: number,
    address: number,
    key: KeyScratch,
    at: number,
    known: boolean
  ): number {
    const { arena, map } = this.pages
    const words = arena.words[address >>> arena.shift] as Int32Array
    const p = address & arena.mask
    if (((map.state[id] as number) & State.Passing) !== 0) this.pages.stay(id)
    map.state[id] = usedOnce(map.state[id] as number)
    this.hits.guest++
    // It has joined the ring: what is in it needs no copy.
    const index = Leaf.find(words, p, key)
    if (isInPlace(map.state[id] as number)) return this.getAt(root, words, p, address, index, key, at)
    if (index < 0) {
      if (!known && this.isPromoted(root, key)) this.remember(root, id, key, -1, 0)
      return Absent
    }
    const record = Leaf.recordAt(words, p, index)
    if (!known && this.isPromoted(root, key)) {
      this.remember(root, id, key, address - p + record, Page.slotBytes(words, p, index))
    }
    if (Leaf.versionAt(words, record) >= at) return Absent
    return this.note(address - p + record, Page.slotBytes(words, p, index))
  }

  /** Whether the key was read from a base page before lately; else the dice (xorshift) say. */
  private isPromoted({ treeId }: Root, key: KeyScratch): boolean {
    if (this.pages.mode === "pages" || this.promotion === 0) return false
    if (this.pages.ghosts.again(hashOf(treeId, key.words, key.length))) return true
    let dice = this.dice
    dice ^= dice << 13
    dice ^= dice >>> 17
    dice ^= dice << 5
    this.dice = dice
    return dice >>> 0 < this.promotion
  }
}

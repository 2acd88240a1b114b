/**
 * Whether a page from the disk is the one that its tree leads to: of its tree, its level, its bounds.
 *
 * Checksums say that an image is what was written for a page id, `PageCheck.ts` that it is sound in itself. Neither
 * says that it belongs where that id stands. A leaf in another's place would hide the keys of its place, answer with
 * those of another, and lead a range back to where it was; so a page is looked for from its tree's root by a key of its
 * own, and what leads there must be its id, with its bounds.
 *
 * I1 It is done once for each load, with the pages above in memory; a hit pays nothing.
 * I2 A mini-page from the disk is compared with its leaf's bounds before anybody comes to it through a node that was
 *    loaded after it, and before it is merged.
 *
 * A node without separators has no key to be looked for by: the leaves below it are, through it.
 */
import * as Inner from "../page/Inner.ts"
import { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import { commonBytes, compareKeys } from "../page/Search.ts"
import type { Arena } from "./Arena.ts"
import { strayChild } from "./Children.ts"
import type { MapTable } from "./MapTable.ts"

export type Standing =
  | { readonly _tag: "InPlace" }
  /** A page above is not in memory, and must be to tell. */
  | { readonly _tag: "Behind"; readonly pageId: number }
  | { readonly _tag: "Stray"; readonly expected: string; readonly actual: string }

/** The trees that there are. */
export interface Trees {
  readonly rootOf: (treeId: number) => { readonly page: number } | undefined
  /** Root page ids of trees that are being taken down. */
  readonly dropping: ReadonlyArray<number>
  readonly all: () => Iterable<{ readonly root: { readonly treeId: number; readonly page: number } }>
}

export const inPlace: Standing = { _tag: "InPlace" }

const stray = (expected: string, actual: string | number): Standing => ({
  _tag: "Stray",
  expected,
  actual: String(actual)
})

/** Stands for the id of a tree that is being taken down. */
const dropped = -1

/** Answers of a way down; otherwise a page that is missing on it. */
const arrived = 0
const elsewhere = -1

export class Lineage {
  /** Leaves in memory that have led a range back: whoever asks for one hears that it is damaged. */
  readonly strays = new Set<number>()
  private readonly arena: Arena
  private readonly map: MapTable
  /** Undefined until somebody says which trees there are: nothing is compared. */
  private trees: Trees | undefined
  /** Trees by their roots, as the checkpoint has them, until those are loaded: before that no tree gets another. */
  private readonly roots = new Map<number, number>()
  private readonly key = new KeyScratch()
  /** Bounds of the place at the end of the last way down. */
  private readonly low = new KeyScratch()
  private readonly high = new KeyScratch()
  private bounded = false
  /** Level of the last page on that way. */
  private above = -1

  constructor(arena: Arena, map: MapTable) {
    this.arena = arena
    this.map = map
  }

  /** Says which trees there are, and that none of their roots is in memory. */
  know(trees: Trees): void {
    this.trees = trees
    for (const { root } of trees.all()) this.roots.set(root.page, root.treeId)
    for (const root of trees.dropping) this.roots.set(root, dropped)
  }

  /** Whether an image that is sound in itself is the page `pageId`. */
  check(pageId: number, words: Int32Array): Standing {
    const treeId = Page.treeId(words, 0)
    const own = this.roots.get(pageId)
    // A tree may have ended since the checkpoint: then it has the root that it had.
    if (own !== undefined && (own === dropped ? this.isKnown(treeId) : own !== treeId)) {
      return stray(
        own === dropped ? "the root of a tree that ended" : `the root of tree ${own}`,
        `tree ${treeId}`
      )
    }
    const child = strayChild(this.arena, this.map, pageId, words)
    if (child !== undefined) return stray("pages below it", `page ${child >>> 0}`)
    if (Page.level(words, 0) > 0 && (this.map.mini[pageId] as number) >= 0) {
      return stray("a leaf, as there is a mini-page", `level ${Page.level(words, 0)}`)
    }
    if (this.trees === undefined) return inPlace
    const root = this.trees.rootOf(treeId)
    const standing = root === undefined
      ? this.checkDropped(this.trees, pageId, words)
      : this.checkPlace(root.page, pageId, words)
    if (standing._tag === "InPlace") this.roots.delete(pageId)
    return standing
  }

  private isKnown(treeId: number): boolean {
    return this.trees?.rootOf(treeId) !== undefined
  }

  /** Whether a mini-page from the disk, sound in itself, may be that of leaf `pageId`, as far as one can tell now. */
  checkMini(pageId: number, words: Int32Array, m: number): Standing {
    const { trees } = this
    if (trees === undefined) return inPlace
    const treeId = Page.treeId(words, m)
    const root = trees.rootOf(treeId)
    if (root === undefined) return trees.dropping.length > 0 ? inPlace : this.unknown(treeId)
    const own = this.roots.get(pageId)
    if (own !== undefined && (own !== treeId || Page.prefixBytes(words, m) > 0)) {
      return stray(`a mini-page of the root of tree ${own}`, `one of tree ${treeId}`)
    }
    if (Page.count(words, m) === 0) return inPlace
    Leaf.loadKey(words, m, 0, this.key)
    const way = this.descend(root.page, pageId, 0)
    if (way > 0) return inPlace
    if (way === elsewhere || this.isMiniOutside(words, m)) return this.strayMini(pageId)
    return inPlace
  }

  private strayMini(pageId: number): Standing {
    return stray("mini-pages within the bounds of their leaves", `others in that of page ${pageId >>> 0}`)
  }

  private unknown(treeId: number): Standing {
    return stray("a page of a tree that there is", `one of tree ${treeId >>> 0}`)
  }

  /** A page of a tree that is being taken down: nobody reads its leaves, and its last ones may be gone. */
  private checkDropped({ dropping }: Trees, pageId: number, words: Int32Array): Standing {
    if (!this.loadKey(words)) return dropping.length > 0 ? inPlace : this.unknown(Page.treeId(words, 0))
    const level = Page.level(words, 0)
    for (const root of dropping) if (this.descend(root, pageId, level) !== elsewhere) return inPlace
    return this.unknown(Page.treeId(words, 0))
  }

  private checkPlace(root: number, pageId: number, words: Int32Array): Standing {
    if (!this.loadKey(words)) return inPlace
    const level = Page.level(words, 0)
    const way = this.descend(root, pageId, level)
    if (way > 0) return { _tag: "Behind", pageId: way }
    if (way === elsewhere) return stray("a page where its parents say", "one of another place")
    if (this.above >= 0 && this.above !== level + 1) return stray(`a page of level ${this.above - 1}`, level)
    if (level === 0 ? !this.hasBounds(words) : !this.isWithin(words)) {
      return stray("the bounds that its parents say", "others")
    }
    return this.checkMinis(pageId, words)
  }

  /** Loads a key that leads to a page; false where it has none. */
  private loadKey(words: Int32Array): boolean {
    if (Page.level(words, 0) === 0) {
      this.key.assemble(words, 0, 0, words, Page.lowAt(words, 0), Page.lowBytes(words, 0))
      return true
    }
    if (Page.count(words, 0) === 0) return false
    Inner.separator(words, 0, 0, this.key)
    return true
  }

  /** Goes from a root to where the page of the key should be: `arrived`, `elsewhere`, or a page that is missing. */
  private descend(root: number, pageId: number, level: number): number {
    const { arena, high, key, low, map } = this
    low.length = 0
    this.bounded = false
    this.above = -1
    for (let id = root; id !== pageId;) {
      if (this.above === level + 1) return elsewhere
      const address = map.block[id] as number
      if (address < 0) return id
      const words = arena.wordsOf(address)
      const p = address & arena.mask
      const own = Page.level(words, p)
      if (own <= level || this.above >= 0 && own !== this.above - 1) return elsewhere
      this.above = own
      const index = Inner.find(words, p, key)
      if (index > 0) Inner.separator(words, p, index - 1, low)
      if (index < Page.count(words, p)) {
        Inner.separator(words, p, index, high)
        this.bounded = true
      }
      id = Inner.child(words, p, index)
    }
    return arrived
  }

  /** Whether the fences of a leaf are the bounds. */
  private hasBounds(words: Int32Array): boolean {
    const high = Page.highBytes(words, 0)
    return compare(this.low, words, Page.lowAt(words, 0), Page.lowBytes(words, 0)) === 0
      && (high === Page.unbounded
        ? !this.bounded
        : this.bounded && compare(this.high, words, Page.highAt(words, 0), high) === 0)
  }

  /** Whether the separators of a node lie between the bounds. */
  private isWithin(words: Int32Array): boolean {
    const { bounded, high, key, low } = this
    Inner.separator(words, 0, 0, key)
    if (compare(key, low.words, 0, low.length) <= 0) return false
    Inner.separator(words, 0, Page.count(words, 0) - 1, key)
    return !bounded || compare(key, high.words, 0, high.length) < 0
  }

  /** The mini-pages beside a leaf that has arrived, or those of the leaves below a node. */
  private checkMinis(pageId: number, words: Int32Array): Standing {
    const { high, low, map } = this
    const level = Page.level(words, 0)
    if (level === 0) return this.isStrayMini(pageId, words) ? this.strayMini(pageId) : inPlace
    const last = Page.count(words, 0)
    const bounded = this.bounded
    // The bounds of each child: those of the node itself are wanted for the last.
    const end = this.key
    end.assemble(high.words, 0, 0, high.words, 0, bounded ? high.length : 0)
    for (let index = 0; index <= last; index++) {
      const child = Inner.child(words, 0, index)
      if ((map.mini[child] as number) < 0) continue
      if (level > 1) return this.strayMini(child)
      if (index > 0) Inner.separator(words, 0, index - 1, low)
      if (index < last) Inner.separator(words, 0, index, high)
      else high.assemble(end.words, 0, 0, end.words, 0, end.length)
      this.bounded = bounded || index < last
      if (this.isStrayMini(child, words)) return this.strayMini(child)
    }
    return inPlace
  }

  /** Whether the mini-page of a leaf, if it has one, is not one of the bounds and of the tree that `words` are of. */
  private isStrayMini(pageId: number, words: Int32Array): boolean {
    const { arena, map } = this
    const address = map.mini[pageId] as number
    if (address < 0) return false
    const own = arena.wordsOf(address)
    const m = address & arena.mask
    return Page.treeId(own, m) !== Page.treeId(words, 0) || this.isMiniOutside(own, m)
  }

  /** Whether a mini-page has a prefix or keys that its leaf, of the bounds, has not. */
  private isMiniOutside(words: Int32Array, m: number): boolean {
    const { bounded, high, low } = this
    const prefix = Page.prefixBytes(words, m)
    const shared = bounded ? commonBytes(low.words, 0, low.length, high.words, 0, high.length) : 0
    // It may be shorter than what its bounds have in common: what was split off keeps the prefix that it had.
    if (prefix > shared) return true
    if (
      prefix > 0 && commonBytes(low.words, 0, low.length, words, m + Page.prefixAt(words, m), prefix) < prefix
    ) {
      return true
    }
    const count = Page.count(words, m)
    if (count === 0) return false
    Leaf.loadKey(words, m, 0, miniKey)
    if (compare(miniKey, low.words, 0, low.length) < 0) return true
    Leaf.loadKey(words, m, count - 1, miniKey)
    return bounded && compare(miniKey, high.words, 0, high.length) >= 0
  }
}

const miniKey = new KeyScratch()

const compare = (key: KeyScratch, words: Int32Array, at: number, bytes: number): number =>
  compareKeys(key.words, 0, key.length, words, at, bytes)

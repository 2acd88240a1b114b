/**
 * Walking the trees of a retained checkpoint, leaf by leaf in the order of the keys.
 *
 * A visitor is given the leaves that are sound in themselves, in their place, and beside their mini-page; and the
 * ranges of keys whose leaves are not, or cannot be found. Together they tile the key space.
 *
 * I1 A page is gone down into once, whatever the pages say, so a walk ends.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../StoreError.ts"
import { auditBeside } from "../tree/AuditMini.ts"
import type { KeyspaceEntry } from "../tree/file/Catalog.ts"
import { Bits } from "../tree/memory/Bits.ts"
import type { Bounds, Child } from "../tree/page/Bounds.ts"
import { childrenOf, everything, fencesOf, isProper, isSame, isWithin } from "../tree/page/Bounds.ts"
import * as Page from "../tree/page/Page.ts"
import type { Retained } from "./Retained.ts"
import { batchPages, lanes } from "./Retained.ts"
import type { Fault } from "./Source.ts"
import { isFault } from "./Source.ts"

/** A leaf that is sound. */
export interface LeafAt extends Bounds {
  readonly pageId: number
  readonly slot: number
  readonly words: Int32Array
  /** The mini-page beside it. */
  readonly mini: Int32Array | undefined
  /** Records of the leaf and its mini-page together, and those of them of which nobody has looked. */
  readonly records: number
  readonly unresolved: number
}

export interface Visitor {
  readonly leaf: (leaf: LeafAt) => Effect.Effect<void, StoreError>
  readonly lost: (bounds: Bounds) => void
}

/** What a walk goes along: the tree of a keyspace, or one that is being taken down. */
type Tree = Pick<KeyspaceEntry, "name" | "treeId">

type Read = { readonly slot: number; readonly words: Int32Array } | Fault

export class Walk {
  /** Page ids that were met. */
  readonly reached = new Bits()
  readonly counters = { inner: 0, leaves: 0, minis: 0, heights: 0 }
  private readonly retained: Retained

  constructor(retained: Retained) {
    this.retained = retained
  }

  /** Walks the tree of a keyspace. */
  tree(entry: KeyspaceEntry, visitor: Visitor): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const root = yield* this.retained.page(entry.root)
      if (!isFault(root)) {
        this.counters.heights = Math.max(this.counters.heights, Page.level(root.words, 0) + 1)
      }
      yield* this.down(entry, { ...everything, pageId: entry.root }, root, undefined, visitor)
    })
  }

  /** Notes the pages of a tree that is being taken down: nobody reads its leaves any more. */
  dropping(pageId: number): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const { retained } = this
      if (!this.meet(undefined, pageId, 0)) return
      const read = yield* retained.page(pageId)
      if (isFault(read)) return this.absent(undefined, pageId, read)
      const level = Page.level(read.words, 0)
      if (level === 0) return
      this.counters.inner++
      for (const child of childrenOf(read.words, everything)) {
        if (level > 1) yield* this.dropping(child.pageId)
        else this.meet(undefined, child.pageId, read.slot)
      }
    })
  }

  /** Tells of page ids that no tree has met. */
  readonly strays = (): void => {
    for (const id of this.retained.ids.values()) {
      if (this.reached.has(id)) continue
      const entry = this.retained.entry(id)
      if (!isFault(entry)) {
        this.retained.tell("page", entry.image.slot, `page ${id} below a root`, "below none")
      }
    }
  }

  /** Checks a leaf that was found by itself, of which nobody says where it belongs. */
  alone(
    tree: Tree,
    pageId: number,
    read: Exclude<Read, Fault>
  ): Effect.Effect<LeafAt | undefined, StoreError> {
    return this.leafAt(tree, { ...fencesOf(read.words), pageId }, read)
  }

  private down(
    tree: Tree,
    at: Child,
    read: Read,
    level: number | undefined,
    visitor: Visitor
  ): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const slot = isFault(read) ? 0 : read.slot
      if (!this.meet(tree, at.pageId, slot)) return visitor.lost(at)
      if (isFault(read)) {
        this.absent(tree, at.pageId, read)
        return visitor.lost(at)
      }
      const { words } = read
      const own = Page.level(words, 0)
      const keyspace = tree.name
      const tell = (expected: string, actual: string | number): void => {
        this.retained.tell("page", slot, expected, actual, { keyspace })
        visitor.lost(at)
      }
      if (Page.treeId(words, 0) >>> 0 !== tree.treeId) {
        return tell(`a page of tree ${tree.treeId}`, Page.treeId(words, 0) >>> 0)
      }
      if (level !== undefined && own !== level) return tell(`a page of level ${level}`, own)
      if (own === 0) {
        const leaf = yield* this.leafAt(tree, at, read)
        return leaf === undefined ? visitor.lost(at) : yield* visitor.leaf(leaf)
      }
      const children = childrenOf(words, at)
      if (!children.every((child) => isProper(child) && isWithin(child, at))) {
        return tell("separators within its bounds", "others")
      }
      this.counters.inner++
      yield* this.children(tree, children, own - 1, visitor)
    })
  }

  private children(
    tree: Tree,
    children: ReadonlyArray<Child>,
    level: number,
    visitor: Visitor
  ): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      for (let from = 0; from < children.length; from += batchPages) {
        const batch = children.slice(from, from + batchPages)
        const pages = yield* Effect.forEach(batch, ({ pageId }) => this.retained.page(pageId), {
          concurrency: lanes
        })
        yield* this.retained.advance(batch.length * this.retained.pageBytes)
        for (const [index, child] of batch.entries()) {
          yield* this.down(tree, child, pages[index] as Read, level, visitor)
        }
      }
    })
  }

  /** The leaf with its mini-page, if both are sound. */
  private leafAt(
    tree: Tree,
    at: Child,
    { slot, words }: Exclude<Read, Fault>
  ): Effect.Effect<LeafAt | undefined, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const { retained } = this
      const { pageId } = at
      const keyspace = tree.name
      if (!isSame(fencesOf(words), at)) {
        retained.tell("page", slot, "the fences that its parents say", "others", { keyspace })
        return undefined
      }
      this.counters.leaves++
      const leaf = { ...at, slot, words, records: Page.count(words, 0), unresolved: 0, mini: undefined }
      const entry = retained.entry(pageId)
      if (isFault(entry) || entry.pack.slot === 0) return leaf
      const mini = yield* retained.mini(pageId, entry.pack)
      if (isFault(mini)) return undefined
      let wrong = false
      const audited = auditBeside(mini, pageId, words, (rule, actual) => {
        wrong = true
        retained.tell("mini-page", entry.pack.slot, `${rule} (page ${pageId})`, actual, { keyspace })
      })
      this.counters.minis++
      return wrong
        ? undefined
        : { ...leaf, mini, records: leaf.records + audited.counted, unresolved: audited.unresolved }
    })
  }

  /** Notes that a page id is referred to; false where it was before. */
  private meet(tree: Tree | undefined, pageId: number, slot: number): boolean {
    if (this.reached.add(pageId)) return true
    const keyspace = tree === undefined ? {} : { keyspace: tree.name }
    this.retained.tell("page", slot, `page ${pageId >>> 0} to be referred to once`, "a second time", keyspace)
    return false
  }

  /**
   * Tells of a page that has no image; of an image that is damaged was told when it was read, and of a part of the map
   * table when that was.
   */
  private absent(tree: Tree | undefined, pageId: number, { actual, expected }: Fault): void {
    if (this.retained.hasHoles || !isFault(this.retained.entry(pageId))) return
    const keyspace = tree === undefined ? {} : { keyspace: tree.name }
    this.retained.tell("page", 0, `page ${pageId >>> 0} with ${expected}`, actual, keyspace)
  }
}

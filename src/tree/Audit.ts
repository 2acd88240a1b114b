/**
 * Looking at whole trees: what is wrong with them, and what they look like.
 *
 * An audit walks every page from the roots it is given, reading those that are not in memory through `load`, and
 * answers a list of violations. It changes nothing, so it may run at any time between two operations.
 */
import type { MiniView } from "./AuditMini.ts"
import { auditMini } from "./AuditMini.ts"
import { State } from "./memory/MapTable.ts"
import type { Pages } from "./memory/Pages.ts"
import type { Root } from "./memory/Root.ts"
import type { Bounds } from "./page/Bounds.ts"
import { childrenOf, everything, fencesOf, isProper, separatorsOf } from "./page/Bounds.ts"
import * as Inner from "./page/Inner.ts"
import * as Page from "./page/Page.ts"
import { check, verify } from "./page/PageCheck.ts"

export interface Violation {
  readonly pageId: number
  /** What should be. */
  readonly rule: string
  readonly actual: string
}

export interface LeafView {
  readonly pageId: number
  readonly low: Uint8Array
  /** Undefined: no upper bound. */
  readonly high: Uint8Array | undefined
  /** Records of the base page. */
  readonly records: number
  readonly location: "ring" | "guest" | "slot"
  /** Slot of the newest image; 0 where there is none. */
  readonly slot: number
  /** No version in the leaf is newer. */
  readonly lsn: number
  readonly usedBytes: number
  /** Log records applied to it since its newest image. */
  readonly logRecords: number
  /** Its mini-page; undefined where it has none. */
  readonly mini: MiniView | undefined
}

export interface TreeView {
  readonly height: number
  /** Separators of the root. */
  readonly pivots: ReadonlyArray<Uint8Array>
  readonly innerPages: number
  readonly leaves: ReadonlyArray<LeafView>
}

export interface Report {
  readonly violations: ReadonlyArray<Violation>
  /** In the order of the roots. */
  readonly trees: ReadonlyArray<TreeView>
}

export interface AuditOptions {
  readonly pages: Pages
  /** Every tree there is, those that are being taken down included (by their root page, with any count). */
  readonly roots: ReadonlyArray<Root>
  /** Roots of trees whose pages are being freed: reachable, and not otherwise looked at. */
  readonly dropping?: ReadonlyArray<number> | undefined
  /** Reads the image of a page that is not in memory. */
  readonly load: (pageId: number) => Uint8Array
}

export const audit = (options: AuditOptions): Report => new Auditor(options).run()

class Auditor {
  private readonly options: AuditOptions
  private readonly pages: Pages
  private readonly violations: Array<Violation> = []
  private readonly seen = new Set<number>()
  private leaves: Array<LeafView> = []
  private innerPages = 0
  private records = 0
  private unresolved = 0

  constructor(options: AuditOptions) {
    this.options = options
    this.pages = options.pages
  }

  run(): Report {
    const trees = this.options.roots.map((root) => this.tree(root))
    for (const page of this.options.dropping ?? []) this.reach(page)
    this.checkTable()
    return { violations: this.violations, trees }
  }

  private fail(pageId: number, rule: string, actual: string | number): void {
    this.violations.push({ pageId, rule, actual: String(actual) })
  }

  private tree(root: Root): TreeView {
    this.leaves = []
    this.innerPages = 0
    this.records = 0
    this.unresolved = 0
    const words = this.read(root.page)
    const height = words === undefined ? 0 : Page.level(words, 0) + 1
    const pivots = words !== undefined && height > 1 ? separatorsOf(words) : []
    this.walk(root.page, root.treeId, height - 1, everything)
    if (this.records !== root.count) {
      this.fail(root.page, `${root.count} records in tree ${root.treeId}`, this.records)
    }
    if (this.unresolved !== root.unresolved) {
      this.fail(root.page, `${root.unresolved} records unresolved in tree ${root.treeId}`, this.unresolved)
    }
    return { height, pivots, innerPages: this.innerPages, leaves: this.leaves }
  }

  /** A page's words from 0 on, checked; undefined where it is not to be read. */
  private read(id: number): Int32Array | undefined {
    const { arena, map } = this.pages
    const size = arena.pageWords
    if (!map.isUsed(id)) {
      this.fail(id, "an id in use", "free")
      return undefined
    }
    const address = map.block[id] as number
    if (address >= 0) {
      const p = address & arena.mask
      const words = arena.wordsOf(address).slice(p, p + size)
      const checked = check(words, 0, size)
      if (checked._tag === "Sound") return words
      this.fail(id, checked.expected, checked.actual)
      return undefined
    }
    const image = this.options.load(id).slice()
    const checked = verify(image, {
      pageId: id,
      checksum: map.checksum[id] as number,
      pageBytes: arena.pageBytes
    })
    if (checked._tag === "Sound") return new Int32Array(image.buffer)
    this.fail(id, checked.expected, checked.actual)
    return undefined
  }

  private walk(id: number, treeId: number, level: number, bounds: Bounds): void {
    if (this.seen.has(id)) return this.fail(id, "reached once", "more than once")
    this.seen.add(id)
    const words = this.read(id)
    if (words === undefined) return
    if (Page.pageId(words, 0) !== id) this.fail(id, "its own id", Page.pageId(words, 0))
    if (Page.treeId(words, 0) !== treeId) this.fail(id, `tree ${treeId}`, Page.treeId(words, 0))
    if (Page.level(words, 0) !== level) return this.fail(id, `level ${level}`, Page.level(words, 0))
    this.checkState(id, level)
    if (level === 0) this.leaf(id, words, bounds)
    else this.inner(id, words, treeId, level, bounds)
  }

  private leaf(id: number, words: Int32Array, bounds: Bounds): void {
    const { high, low } = fencesOf(words)
    if (Buffer.compare(low, bounds.low) !== 0) this.fail(id, "the low fence that its parents say", "another")
    const meets = high === undefined
      ? bounds.high === undefined
      : bounds.high !== undefined && Buffer.compare(high, bounds.high) === 0
    if (!meets) this.fail(id, "the high fence that its parents say", "another")
    this.records += Page.count(words, 0)
    const { map } = this.pages
    this.leaves.push({
      pageId: id,
      low,
      high,
      records: Page.count(words, 0),
      location: (map.block[id] as number) < 0 ? "slot" : this.pages.isGuest(id) ? "guest" : "ring",
      slot: map.slot[id] as number,
      lsn: Page.pageLsn(words, 0),
      logRecords: this.pages.map.records[id] as number,
      usedBytes: (Page.size(words, 0) - Page.heapTop(words, 0) - Page.garbage(words, 0)
        + Page.headerWords + 2 * Page.count(words, 0)) * 4,
      mini: (map.mini[id] as number) < 0 ? undefined : this.mini(id, words)
    })
  }

  private mini(id: number, base: Int32Array): MiniView {
    const found = auditMini(this.pages, id, base, (rule, actual) => this.fail(id, rule, actual))
    this.records += found.counted
    this.unresolved += found.unresolved
    return found.view
  }

  private inner(id: number, words: Int32Array, treeId: number, level: number, bounds: Bounds): void {
    this.innerPages++
    for (const [index, child] of childrenOf(words, bounds).entries()) {
      const { high } = child
      if (!isProper(child)) this.fail(id, "separators within its range", index)
      if (bounds.high !== undefined && high !== undefined && Buffer.compare(high, bounds.high) > 0) {
        this.fail(id, "separators below its upper bound", index)
      }
      this.walk(child.pageId, treeId, level - 1, child)
    }
  }

  private checkState(id: number, level: number): void {
    const { map } = this.pages
    const state = map.state[id] as number
    const inMemory = (map.block[id] as number) >= 0
    const slot = map.slot[id] as number
    if (inMemory && ((state & State.Inner) !== 0) !== level > 0) {
      this.fail(id, "the Inner bit of its level", state)
    }
    if (!inMemory && (slot === 0 || (state & State.Dirty) !== 0)) {
      this.fail(id, "an image, out of memory", state)
    }
    if ((state & State.Dirty) !== 0 && slot !== 0) this.fail(id, "no slot while dirty", slot)
    if ((state & State.Dirty) === 0 && slot === 0) this.fail(id, "a slot while clean", state)
    if ((state & State.Cut) !== 0 && (state & State.Dirty) === 0) this.fail(id, "dirty while cut", state)
    if (((state & State.Mini) !== 0) !== (map.mini[id] as number) >= 0) {
      this.fail(id, "Mini with a mini-page", state)
    }
    if ((state & State.Mini) === 0 && (state & (State.Unpacked | State.CutMini)) !== 0) {
      this.fail(id, "a mini-page to be packed", state)
    }
    if (level === 0 && inMemory && !this.pages.isGuest(id) && (state & State.Mutable) === 0) {
      this.fail(id, "Mutable in the ring", state)
    }
  }

  /** Marks the pages of a tree that is being taken down. */
  private reach(id: number): void {
    if (this.seen.has(id)) return this.fail(id, "reached once", "more than once")
    this.seen.add(id)
    const words = this.read(id)
    if (words === undefined || Page.level(words, 0) === 0) return
    for (let index = 0; index <= Page.count(words, 0); index++) {
      const child = Inner.child(words, 0, index)
      if (Page.level(words, 0) > 1) this.reach(child)
      else if (this.seen.has(child)) this.fail(child, "reached once", "more than once")
      else this.seen.add(child)
    }
  }

  /** Every id in use is reachable, and blocks are accounted for. */
  private checkTable(): void {
    const { arena, map } = this.pages
    const frames = new Set<number>()
    let blocks = 0
    let cut = 0
    for (let id = 1; id < map.bound; id++) {
      if ((map.block[id] as number) >= 0) blocks++
      if ((map.mini[id] as number) >= 0) frames.add(arena.blockOf(map.mini[id] as number))
      if (((map.state[id] as number) & State.Cut) !== 0) cut++
      if (((map.state[id] as number) & State.CutMini) !== 0) cut++
      if (map.isUsed(id) && !this.seen.has(id)) this.fail(id, "reachable from a root", "not reachable")
    }
    if (blocks + frames.size !== arena.usedBlocks) {
      this.fail(0, `${arena.usedBlocks} blocks`, blocks + frames.size)
    }
    if (cut !== this.pages.uncaptured) this.fail(0, `${this.pages.uncaptured} images to be captured`, cut)
  }
}

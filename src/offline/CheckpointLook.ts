/**
 * Looking at a whole retained checkpoint: map table, catalog, trees, large values, and whether its numbers are right.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../StoreError.ts"
import type { KeyspaceEntry } from "../tree/file/Catalog.ts"
import * as Leaf from "../tree/page/Leaf.ts"
import * as Page from "../tree/page/Page.ts"
import type { Reference } from "../tree/page/Reference.ts"
import type { Found } from "./Finding.ts"
import type { Retained } from "./Retained.ts"
import { isFault } from "./Source.ts"
import * as Values from "./Values.ts"
import type { LeafAt } from "./Walk.ts"
import { Walk } from "./Walk.ts"

export interface KeyspaceReport {
  readonly name: string
  readonly layout: string
  /** Records, as far as it is known, and those of which it is not. */
  readonly records: number
  readonly unresolved: number
  readonly largeValues: number
  readonly largeBytes: number
}

export interface CheckpointReport {
  readonly version: number
  readonly role: "newest" | "older"
  readonly cut: number
  readonly keyspaces: ReadonlyArray<KeyspaceReport>
  readonly pages: { readonly leaves: number; readonly inner: number; readonly minis: number }
  readonly height: number
  /** Slots of the page file that it refers to. */
  readonly slots: number
}

export interface Options {
  readonly retained: Retained
  /** The newest checkpoint, where this is the older one: large values that both have are looked at once. */
  readonly newest: Retained | undefined
  readonly found: (found: Found) => void
}

/** Looks at a checkpoint that was loaded. */
export const look = (options: Options): Effect.Effect<CheckpointReport, StoreError> => new Looker(options).run

class Looker {
  private readonly options: Options
  private readonly retained: Retained
  private readonly walk: Walk
  /** Ranges of keys whose leaves were lost. */
  private lost = 0
  private records = 0
  private unresolved = 0
  private values = { count: 0, bytes: 0 }
  /** Bytes of large values of the keyspace at hand, by base of the segment. */
  private charges = new Map<number, number>()

  constructor(options: Options) {
    this.options = options
    this.retained = options.retained
    this.walk = new Walk(options.retained)
  }

  readonly run: Effect.Effect<CheckpointReport, StoreError> = Effect.gen({ self: this }, function*() {
    const { catalog, role, slots, superblock } = this.retained
    const keyspaces: Array<KeyspaceReport> = []
    if (catalog !== undefined) {
      this.checkNames(catalog.keyspaces)
      for (const entry of catalog.keyspaces) keyspaces.push(yield* this.keyspace(entry))
      for (const root of catalog.dropping) yield* this.walk.dropping(root)
      // Below a page that is lost there are others, which nobody leads to then.
      if (this.lost === 0) this.walk.strays()
    }
    const { heights: height, inner, leaves, minis } = this.walk.counters
    return {
      version: superblock.version,
      role,
      cut: superblock.cut.lsn,
      keyspaces,
      pages: { leaves, inner, minis },
      height,
      slots: slots.size
    }
  })

  private tell(name: string, expected: string, actual: string | number): void {
    const { retained } = this
    retained.tell("keyspace", retained.superblock.catalog.slot, expected, actual, { keyspace: name })
  }

  private checkNames(keyspaces: ReadonlyArray<KeyspaceEntry>): void {
    const { nextKeyspace, nextTree } = this.retained.superblock
    const distinct = [
      ["name", (entry: KeyspaceEntry) => entry.name],
      ["id", (entry: KeyspaceEntry) => entry.id],
      ["tree", (entry: KeyspaceEntry) => entry.treeId]
    ] as const
    for (const [what, of] of distinct) {
      const seen = new Set<string | number>()
      for (const entry of keyspaces) {
        if (seen.has(of(entry))) this.tell(entry.name, `a ${what} of its own`, `that of another keyspace`)
        seen.add(of(entry))
      }
    }
    for (const { id, name, treeId } of keyspaces) {
      if (id === 0 || id >= nextKeyspace) this.tell(name, `a keyspace id below ${nextKeyspace}`, id)
      if (treeId === 0 || treeId >= nextTree) this.tell(name, `a tree id below ${nextTree}`, treeId)
    }
  }

  private keyspace(entry: KeyspaceEntry): Effect.Effect<KeyspaceReport, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const { layout, name } = entry
      this.records = 0
      this.unresolved = 0
      this.values = { count: 0, bytes: 0 }
      this.charges = new Map()
      const before = this.lost
      yield* this.walk.tree(entry, { leaf: (leaf) => this.leaf(entry, leaf), lost: () => this.lost++ })
      const { charges, records, unresolved, values } = this
      // What is lost was told; what is left of it then says nothing of the numbers.
      if (this.lost === before) {
        if (records !== entry.count) this.tell(name, `${records} records in the catalog`, entry.count)
        if (unresolved !== entry.unresolved) {
          this.tell(name, `${unresolved} unresolved records in the catalog`, entry.unresolved)
        }
        this.checkCharges(entry, charges)
      }
      return { name, layout, records, unresolved, largeValues: values.count, largeBytes: values.bytes }
    })
  }

  private checkCharges({ name, segments }: KeyspaceEntry, charges: ReadonlyMap<number, number>): void {
    const claimed = new Map(segments.map(({ base, bytes }) => [base, bytes]))
    for (const base of new Set([...claimed.keys(), ...charges.keys()])) {
      const is = charges.get(base) ?? 0
      const says = claimed.get(base) ?? 0
      if (is === says) continue
      this.tell(name, `${is} bytes of large values in the segment of LSN ${base} in the catalog`, says)
    }
  }

  private leaf(entry: KeyspaceEntry, leaf: LeafAt): Effect.Effect<void, StoreError> {
    const { name } = entry
    this.records += leaf.records
    this.unresolved += leaf.unresolved
    this.checkExpiry(entry, leaf)
    const due: Array<{ readonly slot: number; readonly reference: Reference }> = []
    for (const { index, reference } of Values.referencesOf(leaf.words)) {
      this.charge(reference)
      if (!Values.isCovered(leaf.mini, leaf.words, index)) due.push({ slot: leaf.slot, reference })
    }
    if (leaf.mini !== undefined) {
      for (const { reference } of Values.referencesOf(leaf.mini)) {
        this.charge(reference)
        due.push({ slot: leaf.slot, reference })
      }
    }
    this.values.count += due.length
    for (const { reference } of due) this.values.bytes += reference.bytes
    if (due.length === 0 || this.isShared(leaf.pageId)) return Effect.void
    return Effect.forEach(due, ({ reference, slot }) => this.value(name, slot, reference), { discard: true })
  }

  /** Nobody would look for what expires where nothing is said to. */
  private checkExpiry({ expires, name }: KeyspaceEntry, { mini, pageId, slot, words }: LeafAt): void {
    const first = Math.min(firstExpiry(words), mini === undefined ? Infinity : firstExpiry(mini))
    if (first === Infinity) return
    if (!expires) this.tell(name, "records that do not expire", "some that do")
    const known = this.retained.earliestOf(pageId)
    if (known <= first) return
    this.retained.tell("page", slot, `nothing that expires before ${known}`, first, { keyspace: name })
  }

  /** The base by which the catalog charges: of the segment that holds the value, as far as segments are known. */
  private charge({ bytes, lsn }: Reference): void {
    const { newest, retained } = this.options
    // The older checkpoint may charge segments that were given up for the newest one: its own words are all there is.
    const base = newest !== undefined && lsn < newest.superblock.begin.lsn
      ? this.claimedBase(lsn)
      : Values.segmentOf(retained.source, lsn)?.base
    this.charges.set(base ?? 0, (this.charges.get(base ?? 0) ?? 0) + bytes)
  }

  private claimedBase(lsn: number): number | undefined {
    const bases = this.retained.catalog?.keyspaces.flatMap(({ segments }) => segments.map(({ base }) => base))
    return bases?.filter((base) => base <= lsn).sort((a, b) => a - b).at(-1)
  }

  /** Whether the newest checkpoint has the very same page, so that its values have been looked at. */
  private isShared(id: number): boolean {
    const { newest, retained } = this.options
    if (newest?.catalog === undefined) return false
    const theirs = newest.entry(id)
    const own = retained.entry(id)
    if (isFault(theirs) || isFault(own)) return false
    return theirs.image.slot === own.image.slot && theirs.image.checksum === own.image.checksum
      && theirs.pack.slot === own.pack.slot && theirs.pack.checksum === own.pack.checksum
  }

  private value(keyspace: string, slot: number, reference: Reference): Effect.Effect<void, StoreError> {
    const { found, newest, retained } = this.options
    // Log that only the older checkpoint's leaves refer to is given up for the newest: opening the older one replays
    // what took those values away.
    if (newest !== undefined && reference.lsn < newest.superblock.begin.lsn) return Effect.void
    return Effect.gen(function*() {
      const bad = yield* Values.check(retained.source, reference)
      yield* retained.advance(reference.bytes)
      if (bad === undefined) return
      const { actual, expected, offset, path } = bad
      const more = { role: retained.role, checkpoint: retained.superblock.version, keyspace }
      const where = offset === 0
        ? { path: retained.source.pages.path, offset: slot * retained.pageBytes }
        : { path, offset }
      found({ subject: "large value", ...where, expected, actual, ...more })
    })
  }
}

const firstExpiry = (words: Int32Array): number => {
  let first = Infinity
  for (let index = 0; index < Page.count(words, 0); index++) {
    const expiry = Leaf.expiryAt(words, Leaf.recordAt(words, 0, index), Page.slotBytes(words, 0, index))
    if (expiry < first) first = expiry
  }
  return first
}

/**
 * The tree's owner: applies the log to the pages, in the order of the log.
 *
 * The Wal hands it every record through the inline door; where a page is missing or memory is short it parks what
 * comes until the Buffer has helped, and the visible LSN waits with it. A cut passes through the same queue, so that
 * it sees exactly the records below it.
 *
 * ```
 *              apply                     page missing, no room
 *   Ready ───────────▶ visible += record ─────────────────────▶ Parked ── Loaded, Room ──▶ Ready
 * ```
 *
 * I1 Records are applied in LSN order, each exactly once.
 * I2 The visible LSN passes a record only when all of its writes are applied.
 * I3 A keyspace's generations do not overlap, and at most the newest is open.
 */
import * as Exit from "effect/Exit"
import { invariant } from "../Invariant.ts"
import type { Cut } from "../log/Group.ts"
import { Op } from "../log/Record.ts"
import { decodeDefinition } from "../log/RecordForm.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { StoreError } from "../StoreError.ts"
import type { Catalog, CutImage } from "../tree/Catalog.ts"
import { writeReference } from "../tree/Reference.ts"
import type { Root, Tree as Kernel } from "../tree/Tree.ts"
import { Absent, Kind, Missing, NoSpace } from "../tree/Tree.ts"
import type { Reply } from "./Actor.ts"

/** One life of a keyspace: from its creation or clearing to the next clearing or its drop. */
export interface Generation {
  readonly keyspaceId: number
  readonly name: string
  readonly layout: string
  readonly codecVersion: number
  readonly reducer: number
  readonly root: Root
  /** LSN of the commit that began it: readers above see it. */
  readonly from: number
  /** LSN of the commit that ended it; Infinity while it is open. */
  until: number
  /** Bytes of large values, by the base of the log segment that holds them. */
  readonly large: Map<number, number>
}

export interface Options {
  readonly kernel: Kernel
  readonly catalog: Catalog
  /** Everything below is in the tree already. */
  readonly visible: number
  /** Has a page loaded: true where it is there already, otherwise `resume` is called when it is. */
  readonly load: (pageId: number) => boolean
  /** Has blocks freed; `resume` is called when they are. */
  readonly reserve: (blocks: number) => void
  /** Base of the segment that holds an LSN. */
  readonly segmentBase: (lsn: number) => number
  /** The visible LSN moved. */
  readonly progress: () => void
}

/** Something that waits its turn: a record, as a copy of its bytes, or a cut. */
type Parked =
  | { readonly _tag: "Record"; readonly bytes: Buffer; readonly lsn: number; applied: number }
  | { readonly _tag: "Cut"; readonly cut: Cut }

export class Tree {
  visibleLsn: number
  /** Log records and writes applied since the store was opened. */
  readonly counters = { records: 0, writes: 0, parked: 0 }
  /** Whether what is applied now had to wait. */
  resuming = false
  /** Records applied since the last cut. */
  recordsSinceCut = 0
  private readonly options: Options
  private readonly byId = new Map<number, Generation>()
  private readonly byTree = new Map<number, Generation>()
  /** Oldest first. */
  private readonly byName = new Map<string, Array<Generation>>()
  private readonly parked: Array<Parked> = []
  private readonly scratch = new RecordReader()
  /** Trees whose pages are being freed. */
  private dropping: Array<number>
  private nextTreeId: number
  private nextKeyspaceId: number
  private halted: StoreError | undefined
  private cutImage: CutImage | undefined
  private drainReply: Reply<CutImage, StoreError> | undefined

  constructor(options: Options) {
    this.options = options
    this.visibleLsn = options.visible
    this.dropping = [...options.catalog.dropping]
    this.nextTreeId = options.catalog.nextTreeId
    this.nextKeyspaceId = options.catalog.nextKeyspaceId
    for (const entry of options.catalog.keyspaces) {
      this.begin({
        keyspaceId: entry.id,
        name: entry.name,
        layout: entry.layout,
        codecVersion: entry.codecVersion,
        reducer: entry.reducer,
        root: { treeId: entry.treeId, page: entry.root, count: entry.count },
        from: entry.from,
        until: Infinity,
        large: new Map(entry.segments.map(({ base, bytes }) => [base, bytes]))
      })
    }
  }

  get backlog(): number {
    return this.parked.length
  }

  /** Page ids of roots that are being taken down. */
  get droppingRoots(): ReadonlyArray<number> {
    return this.dropping
  }

  get nextIds(): { readonly tree: number; readonly keyspace: number } {
    return { tree: this.nextTreeId, keyspace: this.nextKeyspaceId }
  }

  generations(): Iterable<Generation> {
    return this.byId.values()
  }

  /** The generation of a keyspace that a reader at `at` sees. */
  find(name: string, at: number): Generation | undefined {
    const generations = this.byName.get(name)
    if (generations === undefined) return undefined
    for (let index = generations.length - 1; index >= 0; index--) {
      const generation = generations[index] as Generation
      if (generation.from < at) return at <= generation.until ? generation : undefined
    }
    return undefined
  }

  /** Applies the record that `reader` is at, or parks it behind those that wait. */
  apply(reader: RecordReader): void {
    if (this.parked.length === 0) {
      const applied = this.run(reader, 0)
      if (applied < 0) return this.moved(reader)
      this.park(reader, applied)
    } else {
      this.park(reader, 0)
    }
  }

  /** Takes the state at a cut as soon as everything below it is applied; `drained` hands it out. */
  cut(cut: Cut): void {
    if (this.parked.length > 0) this.parked.push({ _tag: "Cut", cut })
    else this.take(cut)
  }

  /** Replies with the image of the cut that was asked for last. */
  drained(reply: Reply<CutImage, StoreError>): void {
    if (this.halted !== undefined) return reply(Exit.fail(this.halted))
    this.drainReply = reply
    this.handOut()
  }

  /** Goes on where a missing page or a lack of room stopped it. */
  resume(): void {
    this.resuming = true
    this.goOn()
    this.resuming = false
  }

  private goOn(): void {
    while (this.parked.length > 0) {
      const next = this.parked[0] as Parked
      if (next._tag === "Cut") {
        this.parked.shift()
        this.take(next.cut)
        continue
      }
      const reader = this.scratch.open(next.bytes, 0, next.bytes.length, next.lsn, 1)
      invariant(reader.nextRecord(), "Tree I1")
      const applied = this.run(reader, next.applied)
      if (applied >= 0) {
        next.applied = applied
        return
      }
      this.parked.shift()
      this.moved(reader)
    }
  }

  halt(error: StoreError): void {
    this.halted = error
    this.parked.length = 0
    this.drainReply?.(Exit.fail(error))
    this.drainReply = undefined
  }

  /** Base of the oldest log segment that still holds a large value. */
  oldestLarge(): number | undefined {
    this.settleLarge()
    let oldest: number | undefined
    for (const generations of this.byName.values()) {
      for (const { large } of generations) {
        for (const base of large.keys()) if (oldest === undefined || base < oldest) oldest = base
      }
    }
    return oldest
  }

  /** Keyspaces that are open, by name. */
  names(): Map<string, { readonly id: number; readonly layout: string }> {
    return new Map(
      [...this.byId.values()].map(({ keyspaceId, layout, name }) => [name, { id: keyspaceId, layout }])
    )
  }

  /** Ends generations that no reader can see any more; their trees are then freed in slices. */
  forget(oldestPin: number): void {
    for (const [name, generations] of this.byName) {
      while (generations.length > 0 && (generations[0] as Generation).until < oldestPin) {
        const { root } = generations.shift() as Generation
        this.dropping.push(root.page)
        this.byTree.delete(root.treeId)
      }
      if (generations.length === 0) this.byName.delete(name)
    }
  }

  /** Frees about `pages` pages of dropped trees; answers a page that must be loaded first, or 0. */
  freeSlice(pages: number): number {
    const root = this.dropping[0]
    if (root === undefined) return 0
    const answer = this.options.kernel.freeTree(root, pages)
    if (answer === Missing) return this.options.kernel.missing
    if (answer === Absent) this.dropping.shift()
    return 0
  }

  private park(reader: RecordReader, applied: number): void {
    const bytes = Buffer.from(reader.bytes.subarray(reader.recordStart, reader.recordEnd))
    this.parked.push({ _tag: "Record", bytes, lsn: reader.lsn, applied })
    this.counters.parked++
  }

  private moved(reader: RecordReader): void {
    if (this.options.kernel.versions.dropped.length > 0) this.settleLarge()
    const end = reader.lsn + (reader.recordEnd - reader.recordStart)
    invariant(end > this.visibleLsn, "Tree I1")
    this.visibleLsn = end
    this.counters.records++
    this.recordsSinceCut++
    this.options.progress()
  }

  /** Applies the writes of a record from number `from` on; answers -1, or the number of the one that must wait. */
  private run(reader: RecordReader, from: number): number {
    for (let index = 0; reader.nextWrite(); index++) {
      if (index < from) continue
      let answer = this.write(reader)
      while (answer === Missing) {
        if (!this.options.load(this.options.kernel.missing)) return index
        answer = this.write(reader)
      }
      if (answer === NoSpace) {
        this.options.reserve(this.options.kernel.blocksNeeded)
        return index
      }
      this.counters.writes++
    }
    invariant(reader.fault === undefined, "Tree I1")
    return -1
  }

  private write(reader: RecordReader): number {
    const { kernel } = this.options
    switch (reader.op) {
      case Op.put: {
        const generation = this.open(reader.keyspace)
        const key = reader.bytes.subarray(reader.keyStart, reader.keyEnd)
        if (reader.large) return this.putLarge(generation, key, reader)
        const value = reader.bytes.subarray(reader.valueStart, reader.valueEnd)
        return kernel.put(generation.root, key, Kind.Value, value, reader.lsn)
      }
      case Op.remove: {
        const generation = this.open(reader.keyspace)
        const key = reader.bytes.subarray(reader.keyStart, reader.keyEnd)
        return kernel.remove(generation.root, key, reader.lsn)
      }
      case Op.createKeyspace:
        return this.create(reader)
      case Op.clear:
        return this.clear(reader)
      case Op.dropKeyspace:
        this.end(this.open(reader.keyspace), reader.lsn)
        return Absent
      default:
        invariant(false, `Tree I1: operation ${reader.op}`)
    }
  }

  /** Writes a reference to a value that stays in the log. */
  private putLarge(generation: Generation, key: Uint8Array, reader: RecordReader): number {
    const bytes = reader.valueEnd - reader.valueStart
    const reference = writeReference({ lsn: reader.valueLsn, bytes, checksum: reader.valueChecksum | 0 })
    const answer = this.options.kernel.put(generation.root, key, Kind.Reference, reference, reader.lsn)
    if (answer < 0) return answer
    const base = this.options.segmentBase(reader.valueLsn)
    generation.large.set(base, (generation.large.get(base) ?? 0) + bytes)
    return answer
  }

  private create(reader: RecordReader): number {
    const root = this.options.kernel.create(this.nextTreeId)
    if (root === undefined) return NoSpace
    const name = reader.bytes.toString("utf8", reader.keyStart, reader.keyEnd)
    const definition = decodeDefinition(reader.bytes.subarray(reader.valueStart, reader.valueEnd))
    invariant(definition._tag === "Valid", "Tree I1: a keyspace's definition")
    const { codecVersion, layout, reducer } = definition.definition
    this.nextTreeId++
    this.nextKeyspaceId = Math.max(this.nextKeyspaceId, reader.keyspace + 1)
    this.begin({
      keyspaceId: reader.keyspace,
      name,
      layout,
      codecVersion,
      reducer,
      root,
      from: reader.lsn,
      until: Infinity,
      large: new Map()
    })
    return Absent
  }

  private clear(reader: RecordReader): number {
    const root = this.options.kernel.create(this.nextTreeId)
    if (root === undefined) return NoSpace
    const older = this.open(reader.keyspace)
    this.nextTreeId++
    this.end(older, reader.lsn)
    this.begin({ ...older, root, from: reader.lsn, until: Infinity, large: new Map() })
    return Absent
  }

  private begin(generation: Generation): void {
    const generations = this.byName.get(generation.name)
    invariant((generations?.at(-1)?.until ?? 0) <= generation.from, "Tree I3")
    if (generations === undefined) this.byName.set(generation.name, [generation])
    else generations.push(generation)
    this.byId.set(generation.keyspaceId, generation)
    this.byTree.set(generation.root.treeId, generation)
  }

  private end(generation: Generation, lsn: number): void {
    generation.until = lsn
    this.byId.delete(generation.keyspaceId)
  }

  private open(keyspaceId: number): Generation {
    const generation = this.byId.get(keyspaceId)
    invariant(generation !== undefined, "Tree I3: a write to a keyspace that is not open")
    return generation
  }

  /** Takes large values that nothing refers to any more off their segments. */
  private settleLarge(): void {
    const { kernel, segmentBase } = this.options
    if (kernel.versions.dropped.length === 0) return
    for (const { bytes, lsn, treeId } of kernel.versions.dropped.splice(0)) {
      const large = this.byTree.get(treeId)?.large
      const base = segmentBase(lsn)
      const left = (large?.get(base) ?? 0) - bytes
      if (left > 0) large?.set(base, left)
      else large?.delete(base)
    }
  }

  private take(cut: Cut): void {
    this.settleLarge()
    this.recordsSinceCut = 0
    this.cutImage = { cut, catalog: this.catalog(), pages: this.options.kernel.pages.cut() }
    this.handOut()
  }

  private handOut(): void {
    const { cutImage, drainReply } = this
    if (cutImage === undefined || drainReply === undefined) return
    this.cutImage = undefined
    this.drainReply = undefined
    drainReply(Exit.succeed(cutImage))
  }

  /** Generations that ended are only remembered as trees to take down: after a crash no reader needs them. */
  private catalog(): Catalog {
    const dropping = [...this.dropping]
    for (const generations of this.byName.values()) {
      for (const { root, until } of generations) if (until !== Infinity) dropping.push(root.page)
    }
    return {
      nextTreeId: this.nextTreeId,
      nextKeyspaceId: this.nextKeyspaceId,
      keyspaces: [...this.byId.values()].map((generation) => ({
        id: generation.keyspaceId,
        name: generation.name,
        layout: generation.layout,
        codecVersion: generation.codecVersion,
        reducer: generation.reducer,
        treeId: generation.root.treeId,
        root: generation.root.page,
        count: generation.root.count,
        from: generation.from,
        segments: [...generation.large].map(([base, bytes]) => ({ base, bytes }))
      })),
      dropping
    }
  }
}

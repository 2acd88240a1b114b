/**
 * A tree kernel with a fake disk around it: pages are evicted to slots and loaded back, and checkpoints are made in
 * small steps.
 */
import { assert } from "@effect/vitest"
import type { BufferMode } from "../../src/Limits.ts"
import { audit } from "../../src/tree/Audit.ts"
import type { Pack } from "../../src/tree/file/Pack.ts"
import { pack, unpack } from "../../src/tree/file/Pack.ts"
import { Arena } from "../../src/tree/memory/Arena.ts"
import type { Purpose } from "../../src/tree/memory/Events.ts"
import { Evictor, noChores } from "../../src/tree/memory/Evict.ts"
import { State } from "../../src/tree/memory/MapTable.ts"
import type { Cut, Image } from "../../src/tree/memory/Pages.ts"
import * as Page from "../../src/tree/page/Page.ts"
import { seal, verify } from "../../src/tree/page/PageCheck.ts"
import type { SpillOptions } from "../../src/tree/past/Spill.ts"
import { Batch } from "../../src/tree/read/Batch.ts"
import type { Range } from "../../src/tree/read/Cursor.ts"
import type { Root } from "../../src/tree/Tree.ts"
import { Absent, Kind, Missing, NoSpace, Tree } from "../../src/tree/Tree.ts"
import type { Random } from "./random.ts"
import type { Checkpoint, Place } from "./slots.ts"
import { Slots } from "./slots.ts"
import type { Row } from "./treeModel.ts"

export const pageBytes = 1024

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
export const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))

const nowhere: Place = { slot: 0, checksum: 0 }

export interface WorldOptions {
  readonly pageBytes?: number
  readonly spill?: SpillOptions
  readonly blocks?: number
  readonly chunkBytes?: number
  readonly sharing?: "private" | "shared"
  readonly events?: number
  readonly epoch?: number
  readonly mode?: BufferMode
  readonly promotionPercent?: number
  readonly secondChancePercent?: number
  /** By default 1: all trees but those of one leaf. */
  readonly hintLevel?: number
}

export class World {
  readonly arena: Arena
  readonly tree: Tree
  readonly slots: Slots
  private readonly random: Random
  private readonly options: WorldOptions
  readonly evictor: Evictor
  private readonly roots = new Map<number, Root>()
  /** Trees that are being taken down. */
  private readonly dropping = new Set<number>()
  /** Their roots. */
  private readonly leaving: Array<number> = []
  /** Images on their way to the disk. */
  readonly flying: Array<Image> = []
  /** Copies of images that are on their way to another slot. */
  private readonly moving: Array<
    { readonly id: number; readonly slot: number; readonly generation: number; readonly image: Uint8Array }
  > = []
  /** The newest cut; its pages are written by its checkpoint only. */
  private newest: Cut | undefined
  /** Says how much memory there is; asked whenever room is made. */
  limit: () => void = () => {}
  loads = 0
  merges = 0

  constructor(random: Random, options: WorldOptions = {}, slots = new Slots()) {
    this.slots = slots
    this.random = random
    this.arena = new Arena({
      pageBytes: options.pageBytes ?? pageBytes,
      blocks: options.blocks ?? 2048,
      chunkBytes: options.chunkBytes ?? 1024 * 1024,
      sharing: options.sharing ?? "private"
    })
    this.tree = new Tree({
      arena: this.arena,
      epoch: options.epoch ?? 1,
      durable: 0,
      visible: 0,
      events: options.events ?? 0,
      mode: options.mode,
      promotionPercent: options.promotionPercent,
      secondChancePercent: options.secondChancePercent,
      hintLevel: options.hintLevel ?? 1,
      seed: random.int(2 ** 31),
      spill: options.spill
    })
    this.options = options
    const { leaving, roots } = this
    this.tree.pages.lineage.know({ rootOf: (treeId) => roots.get(treeId), dropping: leaving, all: () => [] })
    this.arena.reserve = Math.min(12, this.arena.blocks >>> 2)
    this.evictor = new Evictor(this.tree.pages, { secondChancePercent: options.secondChancePercent ?? 10 })
  }

  create(treeId: number, reducer = 0): Root {
    while (true) {
      const root = this.tree.create(treeId, reducer)
      if (root !== undefined) {
        this.roots.set(treeId, root)
        return root
      }
      this.makeRoom(1)
    }
  }

  /** Somebody else has made a tree. */
  adopt(root: Root): void {
    this.roots.set(root.treeId, root)
  }

  /** Takes a tree down, in slices of `pages`; `between` runs between them. */
  drop(root: Root, pages: number, between: () => void = () => {}): void {
    this.roots.delete(root.treeId)
    this.dropping.add(root.treeId)
    this.leaving.push(root.page)
    while (this.run(() => this.tree.freeTree(root.page, pages)) !== Absent) between()
    this.dropping.delete(root.treeId)
    this.leaving.splice(this.leaving.indexOf(root.page), 1)
  }

  /** Runs an operation until it does not miss a page or room. */
  run(operation: () => number): number {
    for (let tries = 0; tries < 100_000; tries++) {
      const answer = operation()
      if (answer === Missing) this.load(this.tree.missing, this.random.bool(0.3) ? "scan" : "read")
      else if (answer === NoSpace) this.makeRoom(this.tree.blocksNeeded, this.tree.leafNeeded)
      else return answer
    }
    return assert.fail("an operation does not end")
  }

  put(root: Root, row: Row): number {
    const { expiry, key, value, version } = row
    return this.run(() => this.tree.put(root, bytes(key), Kind.Value, bytes(value), version, expiry))
  }

  remove(root: Root, key: string, version: number): number {
    return this.run(() => this.tree.remove(root, bytes(key), version))
  }

  get(root: Root, key: string, at: number): Row | undefined {
    if (this.run(() => this.tree.get(root, bytes(key), at)) === Absent) return undefined
    const { tree } = this
    const value = text(tree.value())
    const target = new Uint8Array(tree.valueBytes() + 2)
    assert.strictEqual(tree.valueInto(target, 1), value.length)
    assert.strictEqual(text(target), `\0${value}\0`)
    return { key, value, version: tree.foundVersion(), expiry: tree.foundExpiry() }
  }

  /** A whole range, in pulls of `limit`. `between` runs between pulls. */
  scan(root: Root, range: Range, at: number, between: () => void = () => {}): Array<Row> {
    const batch = new Batch()
    const rows: Array<Row> = []
    let { lower, upper } = range
    for (let pulls = 0;; pulls++) {
      assert.isBelow(pulls, 100_000, "a range does not end")
      batch.reset()
      this.run(() => this.tree.scan(root, { ...range, lower, upper }, at, batch))
      for (let index = 0; index < batch.count; index++) {
        const [key, value] = [text(batch.key(index)), text(batch.value(index))]
        rows.push({ key, value, version: batch.version(index), expiry: batch.expiry(index) })
      }
      if (batch.ended) return rows
      if (batch.position !== undefined && range.order === "ascending") lower = batch.position
      if (batch.position !== undefined && range.order === "descending") upper = batch.position
      between()
    }
  }

  load(id: number, purpose: Purpose = "read"): void {
    const { arena: { pageBytes }, tree: { pages: { map } } } = this
    if (!map.isUsed(id)) assert.fail(`page ${id} is asked for but free`)
    const generation = map.generation[id] as number
    const image = this.read(id)
    const checked = verify(image, { pageId: id, checksum: map.checksum[id] as number, pageBytes })
    if (checked._tag === "Invalid") {
      assert.fail(`page ${id}: ${checked.actual} in place of ${checked.expected}`)
    }
    this.loads++
    const standing = this.tree.pages.lineage.check(id, new Int32Array(image.slice().buffer))
    if (standing._tag === "Stray") {
      assert.fail(`page ${id}: ${standing.actual} in place of ${standing.expected}`)
    }
    if (purpose !== "merge" && this.arena.available === 0) this.makeRoom(1)
    if (map.generation[id] !== generation || (map.block[id] as number) >= 0) return
    const installed = this.tree.pages.install(id, generation, image, purpose)
    if (installed !== "installed") assert.fail(`page ${id} is not installed: ${installed}`)
  }

  readonly read = (id: number): Uint8Array => this.slots.get(this.tree.pages.map.slot[id] as number)

  /** Evicts until `blocks` are free beside a page that stays. */
  makeRoom(blocks: number, beside = 0): void {
    this.tree.pages.kept.add(beside)
    this.free(blocks)
    this.tree.pages.kept.delete(beside)
  }

  private free(blocks: number): void {
    for (let tries = 0; tries < 1000; tries++) {
      const chores = noChores()
      this.limit()
      this.evictor.makeRoom(blocks, chores)
      if (
        this.arena.available < blocks && chores.merge.length + chores.write.length + this.flying.length === 0
      ) {
        this.evictor.squeeze(blocks, chores)
      }
      for (const id of [...chores.merge, ...this.tree.pages.ripe.splice(0)]) this.merge(id)
      for (const id of chores.write) this.writeOut(id)
      if (this.arena.available >= blocks) return
      // Room may be waiting for the checkpoint that is under way.
      if (tries >= 10) this.captureSome()
      this.land(this.flying.length)
    }
    assert.fail("the arena is too small for this test")
  }

  private captureSome(): void {
    const { pages } = this.tree
    if (pages.inFlight === 0) return
    for (const id of this.newest?.pending ?? []) pages.capture(id, this.flying)
  }

  /** Merges the mini-page of a leaf, if it has one. */
  merge(id: number): void {
    const { map } = this.tree.pages
    for (let tries = 0; tries < 100 && (map.mini[id] as number) >= 0; tries++) {
      const address = map.mini[id] as number
      const treeId = Page.treeId(this.arena.wordsOf(address), address & this.arena.mask)
      const root = this.roots.get(treeId)
      if (root === undefined) {
        assert.isTrue(this.dropping.has(treeId), "a mini-page of no tree")
        return this.tree.pages.end(id)
      }
      if (this.arena.freeBlocks === 0) this.dismiss()
      if ((map.block[id] as number) < 0) this.load(id, "merge")
      const answer = this.arena.withReserve(() => this.tree.merge(root, id))
      if (answer === Missing) this.load(this.tree.missing, "merge")
      if (answer === NoSpace) this.dismiss()
      else if (answer === Absent) return void this.merges++
    }
    assert.isBelow(map.mini[id] as number, 0, "a merge does not end")
  }

  /** What merges have left so far goes. */
  private dismiss(): void {
    const { pages } = this.tree
    for (let guest = 1; guest < pages.map.bound; guest++) if (pages.isGuest(guest)) this.writeOut(guest)
    for (let guest = 1; guest < pages.map.bound; guest++) if (pages.isGuest(guest)) pages.evict(guest)
  }

  private writeOut(id: number): void {
    const { pages } = this.tree
    if (((pages.map.state[id] as number) & (State.Dirty | State.Cut)) === State.Dirty) {
      this.write(pages.image(id))
    }
  }

  evict(id: number): void {
    const { pages } = this.tree
    if ((pages.map.block[id] as number) < 0 || ((pages.map.state[id] as number) & State.Inner) !== 0) return
    if (((pages.map.state[id] as number) & State.Dirty) !== 0) this.write(pages.image(id))
    assert.isTrue(pages.evict(id))
    this.bury()
  }

  /** Starts eviction writes of random dirty pages without waiting for them. */
  startEvictions(count: number): void {
    const { map } = this.tree.pages
    for (let index = 0; index < count; index++) {
      const id = 1 + this.random.int(map.bound - 1)
      const dirty = map.isUsed(id) && ((map.state[id] as number) & State.Dirty) !== 0
      if (dirty) this.flying.push(this.tree.pages.image(id))
    }
  }

  /** Lands some images in random order. */
  land(count: number): void {
    for (let index = 0; index < count && this.flying.length > 0; index++) {
      const [image] = this.flying.splice(this.random.int(this.flying.length), 1)
      if (image !== undefined) this.write(image)
    }
  }

  write(image: Image): void {
    if (image.form === "mini") {
      const [{ bytes, checksum }] = pack([image], this.tree.pages.buffers) as [Pack]
      // What lands after its checkpoint was given up is nobody's.
      if (image.version !== this.tree.pages.inFlight) return
      this.tree.pages.packed(image, { slot: this.slots.add(bytes), checksum })
    } else {
      const checksum = seal(image.bytes)
      this.tree.pages.imaged(image, { slot: this.slots.add(image.bytes.slice()), checksum })
    }
    this.bury()
  }

  /** Begins to copy the newest images of random pages elsewhere; `landMoves` says where they are. */
  startMoves(count: number): void {
    const { map } = this.tree.pages
    for (let index = 0; index < count; index++) {
      const id = 1 + this.random.int(map.bound - 1)
      const slot = map.slot[id] as number
      if (slot === 0) continue
      this.moving.push({ id, slot, generation: map.generation[id] as number, image: this.read(id) })
    }
  }

  /** Lands copies in random order; answers how many counted. */
  landMoves(count: number): number {
    let counted = 0
    for (let index = 0; index < count && this.moving.length > 0; index++) {
      const [move] = this.moving.splice(this.random.int(this.moving.length), 1)
      if (move === undefined) continue
      const slot = this.slots.add(move.image)
      if (this.tree.pages.moved(move.id, move, { slot, checksum: 0 })) counted++
      this.bury()
    }
    return counted
  }

  /** Gives retired slots back. */
  bury(): void {
    for (const { slot, version } of this.tree.pages.retired.splice(0)) this.slots.retire(slot, version)
  }

  cut(): Cut {
    this.bury()
    this.newest = this.tree.pages.cut()
    return this.newest
  }

  /** Captures what is left of a cut and lands everything of it. */
  finish(cut: Cut): Checkpoint {
    const { pages } = this.tree
    for (const id of cut.pending) pages.capture(id, this.flying)
    this.flying.push(...pages.captured.drain())
    this.land(this.flying.length)
    const slots = new Map<number, Place>()
    const packs = new Map<number, Place>()
    for (let id = 1; id < pages.map.bound; id++) {
      const slot = pages.map.cutSlot[id] as number
      if (slot !== 0) slots.set(id, { slot, checksum: pages.map.cutChecksum[id] as number })
      const packed = pages.map.pack[id] as number
      if (packed !== 0) packs.set(id, { slot: packed, checksum: pages.map.packChecksum[id] as number })
    }
    const checkpoint = { version: cut.version, slots, packs }
    pages.complete()
    this.slots.retain(checkpoint)
    this.bury()
    this.slots.bury()
    return checkpoint
  }

  /** Opens a checkpoint as a new world over the same slots. */
  reopen(checkpoint: Checkpoint, roots: ReadonlyArray<Root> = []): World {
    const slots = this.slots.at(checkpoint)
    const options = { ...this.options, blocks: 4096, epoch: checkpoint.version + 1 }
    const world = new World(this.random, options, slots)
    const { pages } = world.tree
    for (const root of roots) world.roots.set(root.treeId, root)
    for (const [id, { checksum, slot }] of checkpoint.slots) {
      const packed = checkpoint.packs.get(id) ?? nowhere
      pages.map.restore(id, slot, checksum, packed.slot, packed.checksum)
    }
    pages.map.restored()
    for (const [id, { checksum, slot }] of checkpoint.packs) {
      const unpacked = unpack(slots.get(slot), checksum)
      if (unpacked._tag === "Invalid") return assert.fail(unpacked.expected)
      pages.packs.name(slot, 1)
      for (const mini of unpacked.minis) {
        if (mini.pageId !== id) continue
        assert.notStrictEqual(pages.lineage.checkMini(id, unpacked.words, mini.at)._tag, "Stray")
        assert.isTrue(pages.restoreMini(id, unpacked.words, mini.at, mini.size))
      }
    }
    return world
  }

  audit(roots: ReadonlyArray<Root>, dropping: ReadonlyArray<number> = []): ReturnType<typeof audit> {
    const report = audit({ pages: this.tree.pages, roots, dropping, load: this.read })
    assert.deepStrictEqual(report.violations, [])
    return report
  }
}

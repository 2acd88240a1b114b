/**
 * A tree kernel with a fake disk around it: pages are evicted to slots and loaded back, checkpoints are made in small
 * steps, and slots die as early as they may, so that whoever uses one too long is found out.
 */
import { assert } from "@effect/vitest"
import { Arena } from "../../src/tree/Arena.ts"
import { audit } from "../../src/tree/Audit.ts"
import { Batch } from "../../src/tree/Batch.ts"
import type { Range } from "../../src/tree/Cursor.ts"
import { State } from "../../src/tree/MapTable.ts"
import { seal, verify } from "../../src/tree/PageCheck.ts"
import type { Cut, Image } from "../../src/tree/Pages.ts"
import type { Root } from "../../src/tree/Tree.ts"
import { Absent, Kind, Missing, NoSpace, Tree } from "../../src/tree/Tree.ts"
import type { Random } from "./random.ts"

export const pageBytes = 1024

export interface Row {
  readonly key: string
  readonly value: string
  readonly version: number
  readonly expiry: number
}

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
export const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))

/** Where each page of a checkpoint is, and the roots at its cut. */
interface Checkpoint {
  readonly version: number
  readonly slots: Map<number, { readonly slot: number; readonly checksum: number }>
}

export interface WorldOptions {
  readonly blocks?: number
  readonly sharing?: "private" | "shared"
  readonly events?: number
  readonly epoch?: number
}

export class World {
  readonly arena: Arena
  readonly tree: Tree
  /** What is in the slots of the disk. */
  readonly slots = new Map<number, Uint8Array>()
  private readonly dying: Array<{ readonly slot: number; readonly version: number }> = []
  private readonly random: Random
  private nextSlot = 1
  /** The two retained checkpoints, older first. */
  checkpoints: Array<Checkpoint> = []
  /** Images on their way to the disk. */
  readonly flying: Array<Image> = []
  /** Copies of images that are on their way to another slot. */
  private readonly moving: Array<
    { readonly id: number; readonly slot: number; readonly generation: number; readonly image: Uint8Array }
  > = []
  loads = 0

  constructor(random: Random, options: WorldOptions = {}) {
    this.random = random
    this.arena = new Arena({
      pageBytes,
      blocks: options.blocks ?? 2048,
      chunkBytes: 1024 * 1024,
      sharing: options.sharing ?? "private"
    })
    this.tree = new Tree({
      arena: this.arena,
      epoch: options.epoch ?? 1,
      durable: 0,
      visible: 0,
      events: options.events ?? 0
    })
  }

  create(treeId: number): Root {
    while (true) {
      const root = this.tree.create(treeId)
      if (root !== undefined) return root
      this.makeRoom(1)
    }
  }

  /** Runs an operation until it does not miss a page or room. */
  run(operation: () => number): number {
    for (let tries = 0; tries < 100_000; tries++) {
      const answer = operation()
      if (answer === Missing) this.load(this.tree.missing)
      else if (answer === NoSpace) this.makeRoom(this.tree.blocksNeeded)
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

  load(id: number): void {
    const { map } = this.tree.pages
    assert.isTrue(map.isUsed(id), `page ${id} is asked for but free`)
    const generation = map.generation[id] as number
    const image = this.read(id)
    const checked = verify(image, { pageId: id, checksum: map.checksum[id] as number, pageBytes })
    assert.deepStrictEqual(checked, { _tag: "Sound" })
    this.loads++
    if (this.arena.freeBlocks === 0) this.makeRoom(1, id)
    assert.strictEqual(this.tree.pages.install(id, generation, image), "installed")
  }

  readonly read = (id: number): Uint8Array => {
    const slot = this.tree.pages.map.slot[id] as number
    const image = this.slots.get(slot)
    return image ?? assert.fail(`page ${id} is in slot ${slot}, which is free`)
  }

  /** Evicts pages until `blocks` are free. */
  makeRoom(blocks: number, except = 0): void {
    const { map } = this.tree.pages
    const start = this.random.int(map.bound)
    for (let step = 0; step < map.bound && this.arena.freeBlocks < blocks; step++) {
      const id = (start + step) % map.bound
      if (id !== 0 && id !== except && map.isUsed(id)) this.evict(id)
    }
    assert.isAtLeast(this.arena.freeBlocks, blocks, "the arena is too small for this test")
  }

  evict(id: number): void {
    const { pages } = this.tree
    if ((pages.map.block[id] as number) < 0 || ((pages.map.state[id] as number) & State.Inner) !== 0) return
    if (((pages.map.state[id] as number) & State.Dirty) !== 0) this.write(pages.image(id))
    assert.isTrue(pages.evict(id))
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
    const checksum = seal(image.bytes)
    const slot = this.nextSlot++
    this.slots.set(slot, image.bytes)
    this.tree.pages.imaged(image, { slot, checksum })
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
      const slot = this.nextSlot++
      this.slots.set(slot, move.image)
      if (this.tree.pages.moved(move.id, move, { slot, checksum: 0 })) counted++
      this.bury()
    }
    return counted
  }

  /** Takes retired slots; those that no checkpoint ever referred to die at once. */
  bury(): void {
    for (const { slot, version } of this.tree.pages.retired.splice(0)) {
      assert.isTrue(this.slots.has(slot), `slot ${slot} was retired before`)
      if (version === 0) this.kill(slot)
      else this.dying.push({ slot, version })
    }
  }

  private kill(slot: number): void {
    for (const { slots, version } of this.checkpoints) {
      for (const [id, place] of slots) {
        assert.notStrictEqual(place.slot, slot, `checkpoint ${version} needs slot ${slot} for page ${id}`)
      }
    }
    this.slots.delete(slot)
  }

  cut(): Cut {
    this.bury()
    return this.tree.pages.cut()
  }

  /** Captures what is left of a cut and lands everything of it. */
  finish(cut: Cut): Checkpoint {
    const { pages } = this.tree
    for (const id of cut.pending) {
      const image = pages.capture(id)
      if (image !== undefined) this.flying.push(image)
    }
    this.flying.push(...pages.drainCaptured())
    this.land(this.flying.length)
    const slots = new Map<number, { readonly slot: number; readonly checksum: number }>()
    for (let id = 1; id < pages.map.bound; id++) {
      const slot = pages.map.cutSlot[id] as number
      if (slot !== 0) slots.set(id, { slot, checksum: pages.map.cutChecksum[id] as number })
    }
    const checkpoint = { version: cut.version, slots }
    pages.complete()
    this.checkpoints = [...this.checkpoints.slice(-1), checkpoint]
    this.bury()
    const older = this.checkpoints.length === 2 ? this.checkpoints[0]?.version ?? 0 : 0
    for (const { slot } of this.dying.filter(({ version }) => version <= older)) this.kill(slot)
    const alive = this.dying.filter(({ version }) => version > older)
    this.dying.length = 0
    this.dying.push(...alive)
    return checkpoint
  }

  /** Opens a checkpoint as a new world over the same slots. */
  reopen(checkpoint: Checkpoint): World {
    const world = new World(this.random, { blocks: 4096, epoch: checkpoint.version + 1 })
    for (const [id, { checksum, slot }] of checkpoint.slots) {
      world.tree.pages.map.restore(id, slot, checksum)
      world.slots.set(slot, this.slots.get(slot) ?? assert.fail(`slot ${slot} of page ${id} is gone`))
    }
    world.tree.pages.map.restored()
    return world
  }

  audit(roots: ReadonlyArray<Root>, dropping: ReadonlyArray<number> = []): ReturnType<typeof audit> {
    const report = audit({ pages: this.tree.pages, roots, dropping, load: this.read })
    assert.deepStrictEqual(report.violations, [])
    return report
  }
}

/** Keys of many shapes: families with a common prefix, borders of words, zeros and ones, the empty key. */
export const keys = (random: Random, longest = 200): () => string => {
  const letter = (): string => random.pick(["\0", "\x01", "a", "b", "\x7f", "\x80", "\xff"])
  const word = (length: number): string => Array.from({ length }, letter).join("")
  const prefixes = Array.from({ length: 4 }, () => word(random.pick([0, 1, 3, 4, 5, 8, 13, 40, longest - 8])))
  const range = random.pick([20, 300, 5000])
  return () => {
    const shape = random.int(10)
    if (shape < 5) {
      const digits = Buffer.alloc(4)
      digits.writeUInt32BE(random.int(range))
      return random.pick(prefixes) + digits.toString("latin1")
    }
    if (shape < 7) return String(random.int(range))
    if (shape < 9) return word(random.pick([0, 1, 2, 3, 4, 5, 7, 8, 9, 12]))
    return random.pick(prefixes) + word(random.int(8))
  }
}

/** What a tree should hold, at every LSN. */
export class Model {
  private readonly history = new Map<
    string,
    Array<{ readonly version: number; readonly row: Row | undefined }>
  >()

  write(key: string, version: number, row: Row | undefined): void {
    const versions = this.history.get(key)
    if (versions === undefined) this.history.set(key, [{ version, row }])
    else versions.push({ version, row })
  }

  get(key: string, at: number): Row | undefined {
    return this.history.get(key)?.findLast(({ version }) => version < at)?.row
  }

  /** Rows at an LSN in key order. */
  rows(at: number): Array<Row> {
    const rows: Array<Row> = []
    for (const key of this.history.keys()) {
      const row = this.get(key, at)
      if (row !== undefined) rows.push(row)
    }
    return rows.sort((a, b) => a.key < b.key ? -1 : 1)
  }

  keys(): Array<string> {
    return [...this.history.keys()]
  }
}

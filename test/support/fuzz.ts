/**
 * Random operations on the tree kernel with hardly any memory, held against a model of what each reader should see.
 *
 * A run is its seed: nothing else is left to chance.
 */
import { assert } from "@effect/vitest"
import type { BufferMode } from "../../src/Limits.ts"
import { State } from "../../src/tree/memory/MapTable.ts"
import type { Cut } from "../../src/tree/memory/Pages.ts"
import * as Page from "../../src/tree/page/Page.ts"
import { Batch } from "../../src/tree/read/Batch.ts"
import type { Root } from "../../src/tree/Tree.ts"
import { Absent, Added, Found, Kind, Removed, Replaced, Written } from "../../src/tree/Tree.ts"
import type { FuzzCounts } from "./fuzzCounts.ts"
import type { Entry } from "./histories.ts"
import { Histories } from "./histories.ts"
import { modelled } from "./modelled.ts"
import type { Random } from "./random.ts"
import { random } from "./random.ts"
import { foldOf, valueFor } from "./reducers.ts"
import { Scarcity } from "./scarcity.ts"
import { keys } from "./treeModel.ts"
import { bytes, pageBytes, World } from "./world.ts"

export interface FuzzOptions {
  readonly operations: number
  /** Keys that there may be, and how long they may become. */
  readonly keys: number
  readonly longestKey: number
  /** How long values are at most; longer ones than a record may be are cut. */
  readonly longestValue: number
  /** Blocks of memory beside the inner pages and the reserve. */
  readonly frames: number
  readonly mode?: BufferMode
  readonly promotionPercent?: number
  readonly secondChancePercent?: number
  /** What folds operands; without, there are none. */
  readonly reducer?: number
  /** Operations between audits. */
  readonly audit: number
}

const noiseBytes = 4096
interface AtCut {
  readonly version: number
  readonly roots: ReadonlyArray<Root>
}

export class Fuzz {
  readonly counts: FuzzCounts
  private readonly chance: Random
  private readonly where: string
  private readonly options: FuzzOptions
  private readonly noise: Buffer
  /** Keys in order. */
  private readonly keys: ReadonlyArray<Uint8Array>
  private readonly histories: Histories
  private roots: Array<Root>
  private nextTree = 3
  private world: World
  private scarcity: Scarcity
  private version = 0
  private pins: Array<number> = []
  private cut: Cut | undefined
  private atCut: AtCut | undefined
  /** Part of the writes that remove. */
  private removals = 0.3
  /** Where most operations take place. */
  private window = 0
  /** A snapshot is being scanned: it stays. */
  private scanning = false
  private readonly batch = new Batch()
  private readonly scratch = Buffer.alloc(pageBytes)

  private readonly expires: boolean

  constructor(seed: number, options: FuzzOptions, counts: FuzzCounts) {
    this.counts = counts
    this.options = options
    this.where = `seed ${seed}`
    // In a tree that has ever had a record that expires, operands do not wait: every other one is without.
    this.expires = this.reducer === 0 || seed % 2 === 0
    const chance = random(seed)
    this.chance = chance
    this.noise = Buffer.from(chance.bytes(noiseBytes))
    const some = new Set<string>()
    const key = keys(chance, options.longestKey)
    for (let tries = 0; some.size < options.keys && tries < 20 * options.keys; tries++) some.add(key())
    this.keys = [...some].sort((a, b) => a < b ? -1 : 1).map(bytes)
    this.world = new World(chance, { blocks: 256, ...options })
    this.histories = new Histories(2, this.keys.length)
    this.roots = [this.world.create(1, this.reducer), this.world.create(2, this.reducer)]
    this.scarcity = new Scarcity(this.world, options.frames)
  }

  private get reducer(): number {
    return this.options.reducer ?? 0
  }

  run(): void {
    const { chance, counts, options } = this
    for (let operation = 0; operation < options.operations; operation++) {
      this.step()
      if (chance.bool(0.02)) this.disturb()
      if (chance.bool(0.006)) this.stepCheckpoint()
      // A checkpoint that is under way may be gone back to: it has the tree.
      if (this.cut === undefined && chance.bool(0.001)) this.dropTree()
      if (operation % options.audit === 0) this.audit()
    }
    counts.operations += options.operations
    modelled(options.operations)
    this.land()
    this.audit()
    for (let tree = 0; tree < 2; tree++) this.scan(tree, this.version + 1, 0, this.keys.length, "ascending")
    this.tell()
  }

  private step(): void {
    const { chance } = this
    const tree = chance.bool(0.8) ? 0 : 1
    const dice = chance.next()
    if (dice < 0.4) this.get(tree)
    else if (dice < 0.41) this.scanSome(tree)
    else if (dice < 0.41 + 0.59 * this.removals) this.remove(tree)
    else if (this.reducer !== 0 && chance.bool(0.7)) this.reduce(tree)
    else this.put(tree)
  }

  /** Mostly near by: leaves get several records each before they are merged. */
  private someKey(): number {
    const { chance, keys } = this
    if (chance.bool(0.001)) this.window = chance.int(keys.length)
    return chance.bool(0.6) ? (this.window + chance.int(30)) % keys.length : chance.int(keys.length)
  }

  private before(tree: number, key: number, at: number): Entry | undefined {
    return this.histories.before(tree, key, at)
  }

  private remember(tree: number, key: number, entry: Entry): void {
    const { durable } = this.world.tree.versions.pins
    const oldest = Math.min(durable, this.atCut?.version ?? durable, ...this.pins)
    this.histories.remember(tree, key, entry, oldest)
  }

  private put(tree: number): void {
    const { chance, keys, world } = this
    const key = this.someKey()
    const name = keys[key] as Uint8Array
    const version = this.tick()
    const expiry = this.expires && chance.bool(0.1) ? chance.int(1e9) + 0.5 : Infinity
    const value = this.someValue(this.mostOf(key, expiry))
    const root = this.root(tree)
    const expected = this.before(tree, key, version) === undefined ? Added : Replaced
    const answer = this.scarcity.run(() => world.tree.put(root, name, Kind.Value, value, version, expiry))
    if (answer !== Written) this.same(answer, expected, "put")
    this.remember(tree, key, { version, value, expiry })
    this.publish()
  }

  /** The longest value that a record of the key may have. */
  private mostOf(key: number, expiry: number): number {
    const { length } = this.keys[key] as Uint8Array
    return Page.maxRecordBytes(pageBytes, this.options.longestKey)
      - Page.recordBytes(length, 0, expiry === Infinity ? 0 : 8)
  }

  /** A value that the reducer takes; without one, a piece of the noise. */
  private someValue(most: number): Uint8Array {
    const { chance, noise, options } = this
    if (this.reducer !== 0) return valueFor(this.reducer, chance, Math.min(most, options.longestValue))
    const longest = chance.bool(0.9) ? options.longestValue >>> 2 : options.longestValue
    const length = Math.min(most, chance.int(longest + 1))
    const from = chance.int(noiseBytes - length)
    return noise.subarray(from, from + length)
  }

  /** Merges an operand, if what comes of it fits. */
  private reduce(tree: number): void {
    const { keys, world } = this
    const key = this.someKey()
    const version = this.tick()
    const before = this.before(tree, key, version)
    const expiry = before?.expiry ?? Infinity
    const operand = this.someValue(this.mostOf(key, expiry))
    const value = foldOf(this.reducer, before?.value, operand)
    if (value.length > this.mostOf(key, expiry)) return
    const root = this.root(tree)
    const expected = before === undefined ? Added : Replaced
    const answer = this.scarcity.run(() => world.tree.reduce(root, keys[key] as Uint8Array, operand, version))
    if (answer !== Written) this.same(answer, expected, "reduce")
    this.remember(tree, key, { version, value, expiry })
    this.counts.folded++
    this.publish()
  }

  private remove(tree: number): void {
    const { keys, world } = this
    const key = this.someKey()
    const version = this.tick()
    const root = this.root(tree)
    const expected = this.before(tree, key, version) === undefined ? Absent : Removed
    const answer = this.scarcity.run(() => world.tree.remove(root, keys[key] as Uint8Array, version))
    if (answer !== Written) this.same(answer, expected, "remove")
    if (expected === Removed) this.remember(tree, key, { version, value: undefined, expiry: 0 })
    this.publish()
  }

  private root(tree: number): Root {
    return this.roots[tree] ?? assert.fail("a tree that is not there")
  }

  private same(actual: unknown, expected: unknown, what: string): void {
    if (actual !== expected) {
      assert.fail(`${this.where}, version ${this.version}: ${what} ${actual}, not ${expected}`)
    }
  }

  private tick(): number {
    return ++this.version
  }

  private publish(): void {
    const { chance } = this
    const { versions } = this.world.tree
    versions.setVisible(this.version + 1)
    if (chance.bool(0.05)) versions.setDurable(this.version + 1 - chance.int(2))
    if (this.pins.length < 4 && chance.bool(0.002)) {
      versions.pin(this.version + 1)
      this.pins.push(this.version + 1)
    }
    if (this.pins.length > 0 && !this.scanning && chance.bool(0.001)) {
      versions.unpin(this.pins.splice(chance.int(this.pins.length), 1)[0] as number)
    }
  }

  /** Now, or what a snapshot sees. */
  private someTime(): number {
    const { chance, pins } = this
    if (chance.bool(0.6)) return this.version + 1
    this.counts.past++
    return pins.length > 0 && chance.bool(0.8) ? chance.pick(pins) : this.world.tree.versions.pins.durable
  }

  private get(tree: number): void {
    const { keys, world } = this
    const key = this.someKey()
    const at = this.someTime()
    const root = this.root(tree)
    const expected = this.before(tree, key, at)
    this.counts.gets++
    const answer = this.scarcity.run(() => world.tree.get(root, keys[key] as Uint8Array, at))
    this.same(answer, expected === undefined ? Absent : Found, `get of key ${key} as of ${at}`)
    if (expected === undefined) return
    const kernel = world.tree
    const length = kernel.valueInto(this.scratch, 0)
    this.same(kernel.foundVersion(), expected.version, `get of key ${key} as of ${at}: version`)
    this.same(kernel.foundExpiry(), expected.expiry, "get: expiry")
    this.sameValue(this.scratch.subarray(0, length), expected)
  }

  private sameValue(value: Uint8Array, expected: Entry): void {
    if (Buffer.compare(value, expected.value ?? assert.fail("nothing")) !== 0) {
      assert.fail(`${this.where}, version ${this.version}: a value of ${expected.version}`)
    }
  }

  private scanSome(tree: number): void {
    const { chance, keys } = this
    const from = chance.int(keys.length)
    const to = chance.bool(0.05)
      ? keys.length
      : Math.min(keys.length, from + chance.int(chance.pick([3, 60])))
    this.scan(tree, this.someTime(), from, to, chance.bool(0.5) ? "ascending" : "descending")
  }

  /** Reads keys [from, to) in pulls, with writes between them where a snapshot is read. */
  private scan(tree: number, at: number, from: number, to: number, order: "ascending" | "descending"): void {
    const { batch, chance, keys, world } = this
    const root = this.root(tree)
    let lower = keys[from] as Uint8Array
    let upper = keys[to]
    const limit = chance.pick([1, 2, 7, 1000])
    this.scanning = this.pins.includes(at)
    const ascends = order === "ascending"
    let next = ascends ? from : to - 1
    for (let pulls = 0;; pulls++) {
      if (pulls > 20_000) assert.fail(`${this.where}: a range does not end`)
      batch.reset()
      const range = { lower, upper, order, limit, columns: "keys and values" } as const
      this.scarcity.run(() => world.tree.scan(root, range, at, batch))
      for (let index = 0; index < batch.count; index++) next = this.scanned(tree, at, next, index, ascends)
      if (batch.ended) break
      if (batch.position !== undefined && ascends) lower = batch.position
      if (batch.position !== undefined && !ascends) upper = batch.position
      if (this.scanning && chance.bool(0.3)) this.put(tree)
    }
    this.scanning = false
    for (; ascends ? next < to : next >= from; next += ascends ? 1 : -1) {
      if (this.before(tree, next, at) !== undefined) {
        assert.fail(`${this.where}: ${order}, key ${next} is left out`)
      }
    }
  }

  /** Compares record `index` of the batch with the next one of the model, from key `from` on. */
  private scanned(tree: number, at: number, from: number, index: number, ascends: boolean): number {
    const { batch, keys } = this
    const step = ascends ? 1 : -1
    let next = from
    while (next >= 0 && next < keys.length && this.before(tree, next, at) === undefined) next += step
    const expected = next >= 0 && next < keys.length ? this.before(tree, next, at) : undefined
    if (expected === undefined || Buffer.compare(batch.key(index), keys[next] as Uint8Array) !== 0) {
      assert.fail(`${this.where}, version ${this.version}: as of ${at} a record is not key ${next}`)
    }
    this.same(batch.version(index), expected.version, "scan: version")
    this.same(batch.expiry(index), expected.expiry, "scan: expiry")
    this.sameValue(batch.value(index), expected)
    this.counts.scanned++
    return next + step
  }

  /** What happens beside operations: images on their way, evictions, copies, changes of habit. */
  private disturb(): void {
    const { chance, world } = this
    const dice = chance.int(6)
    if (dice === 0) world.startEvictions(2)
    else if (dice === 1) world.land(2)
    else if (dice === 2) this.evictOne()
    else if (dice === 3) world.startMoves(2)
    else if (dice === 4) world.landMoves(2)
    else if (chance.bool(0.05)) this.removals = chance.pick([0.1, 0.3, 0.5, 0.9])
  }

  private evictOne(): void {
    const { chance, world } = this
    const { map } = world.tree.pages
    const id = 1 + chance.int(map.bound - 1)
    if (((map.state[id] as number) & State.Cut) === 0) world.evict(id)
  }

  private stepCheckpoint(): void {
    const { chance, cut, world } = this
    const { pages } = world.tree
    if (cut === undefined) {
      this.cut = world.cut()
      this.atCut = { version: this.version + 1, roots: this.roots.map((root) => ({ ...root })) }
      return
    }
    for (const id of cut.pending) if (chance.bool(0.2)) pages.capture(id, world.flying)
    if (chance.bool(0.5)) world.flying.push(...pages.captured.drain())
    if (!chance.bool(0.2)) return
    if (chance.bool(0.3)) {
      pages.abandon()
      this.counts.abandoned++
    } else {
      const checkpoint = world.finish(cut)
      this.counts.checkpoints++
      this.counts.packed += checkpoint.packs.size
      if (chance.bool(0.25)) return this.reopen(checkpoint)
    }
    this.cut = undefined
    this.atCut = undefined
  }

  /** Goes on from a checkpoint, as after a crash. */
  private reopen(checkpoint: Parameters<World["reopen"]>[0]): void {
    const { atCut, world } = this
    if (atCut === undefined) return assert.fail("a checkpoint without a cut")
    this.tell()
    const roots = atCut.roots.map((root) => ({ ...root }))
    this.world = world.reopen(checkpoint, roots)
    this.scarcity = new Scarcity(this.world, this.options.frames)
    this.roots = roots
    this.pins = []
    this.cut = undefined
    this.atCut = undefined
    this.histories.goBack(atCut.version)
    const { versions } = this.world.tree
    versions.setVisible(this.version + 1)
    versions.setDurable(this.version + 1)
    this.audit()
    this.counts.reopened++
  }

  private dropTree(): void {
    const { chance, world } = this
    const root = this.root(1)
    world.drop(root, 1 + chance.int(9), () => {
      if (chance.bool(0.1)) world.audit([this.root(0)], [root.page])
    })
    this.histories.clear(1)
    this.roots[1] = world.create(this.nextTree++, this.reducer)
    this.counts.dropped++
  }

  private audit(): void {
    const { counts, histories, roots, version } = this
    const report = this.world.audit(roots)
    counts.audits++
    for (const { mini } of report.trees.flatMap(({ leaves }) => leaves)) {
      counts.tombstones += mini?.tombstones ?? 0
      counts.operands += mini?.operands ?? 0
      counts.phantoms += mini?.phantoms ?? 0
      counts.caches += mini?.caches ?? 0
    }
    for (const [tree, root] of roots.entries()) {
      if (root.unresolved !== 0) continue
      this.same(root.count, histories.count(tree, version + 1), `count of tree ${tree}`)
    }
  }

  /** Everything on its way arrives. */
  private land(): void {
    const { cut, world } = this
    if (cut !== undefined) world.finish(cut)
    this.cut = undefined
    world.land(world.flying.length)
    world.landMoves(Infinity)
  }

  /** Counts what this world has seen. */
  private tell(): void {
    const { counts, world } = this
    counts.loads += world.loads
    counts.merges += world.merges
    counts.forgotten += world.evictor.counters.minis
    counts.spared += world.evictor.counters.spared
    counts.pagesMade += world.tree.pages.created
  }
}

/**
 * Large values against a model: a relocate changes their place and nothing else, and each segment is charged with what
 * somebody may read, no more and no less.
 */
import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { Tree } from "../src/actors/Tree.ts"
import { NO_INCARNATION } from "../src/log/Record.ts"
import { encodeDefinition } from "../src/log/RecordForm.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import type { RecordWriter } from "../src/log/RecordWriter.ts"
import { Tail } from "../src/log/Tail.ts"
import * as Catalog from "../src/tree/file/Catalog.ts"
import { Generations } from "../src/tree/Generations.ts"
import { Arena } from "../src/tree/memory/Arena.ts"
import { Found, Tree as Kernel } from "../src/tree/Tree.ts"
import { noStreams } from "./support/noStreams.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const inlineValueBytes = 40
const segmentBytes = 4096
const segmentBase = (lsn: number): number => lsn - lsn % segmentBytes
const names = ["one", "two"]

/** A large value, and where it is. */
interface Place {
  readonly keyspace: number
  readonly key: string
  readonly version: number
  readonly value: Uint8Array
  readonly lsn: number
}

/** A reader, and every place that it may look for. */
interface Pin {
  readonly at: number
  readonly places: Set<Place>
}

/** The log and the tree without a disk; what is appended is applied, and durable when the model says so. */
class World {
  readonly chance: Random
  readonly generations = new Generations(Catalog.empty)
  readonly kernel = new Kernel({
    arena: new Arena({ pageBytes: 1024, blocks: 512, chunkBytes: 512 * 1024 }),
    epoch: 1,
    durable: 64,
    visible: 64
  })
  readonly tree: Tree
  readonly tail = new Tail({
    storeId: new Uint8Array(16),
    incarnation: { low: 1, high: 1 },
    segmentBytes: 1 << 24,
    inlineValueBytes,
    at: { lsn: 64, sequence: 1, previousChecksum: 0, incarnation: NO_INCARNATION },
    segment: undefined
  })
  readonly large = new Map<string, Place>()
  /** Records of any kind, by key. */
  readonly versions = new Map<string, number>()
  readonly pins: Array<Pin> = []
  readonly past: Array<Place> = []
  readonly counts = { moved: 0, late: 0 }
  private readonly reader = new RecordReader()

  constructor(seed: number) {
    this.chance = random(seed)
    this.tree = new Tree({
      kernel: this.kernel,
      generations: this.generations,
      visible: 64,
      load: () => false,
      reserve: () => {},
      segmentBase,
      ...noStreams()
    })
  }

  /** Appends a record of one write and applies it; answers its LSN and where the value is. */
  append(
    begin: () => RecordWriter,
    write: (writer: RecordWriter) => number
  ): { lsn: number; valueLsn: number } {
    const at = write(begin())
    const lsn = this.tail.append()
    const reader = this.tail.readLast(this.reader)
    assert.isTrue(reader.nextRecord())
    this.tree.apply(reader)
    assert.strictEqual(this.tree.backlog, 0)
    this.kernel.versions.setVisible(this.tree.visibleLsn)
    return { lsn, valueLsn: lsn + at }
  }

  commit(write: (writer: RecordWriter) => number): { lsn: number; valueLsn: number } {
    return this.append(() => this.tail.begin(1), write)
  }

  idOf(name: string): number {
    const known = this.generations.names().get(name)?.id
    if (known !== undefined) return known
    const id = this.generations.nextKeyspaceId
    const definition = encodeDefinition({ codecVersion: 0, reducer: 0, layout: "bytes" })
    this.commit((writer) => writer.createKeyspace(id, Buffer.from(name), definition))
    return id
  }

  write(): void {
    const { chance } = this
    const keyspace = this.idOf(chance.pick(names))
    const key = `k${chance.int(6)}`
    const name = `${keyspace} ${key}`
    this.forget(name)
    if (chance.bool(0.2)) {
      this.commit((writer) => writer.remove(keyspace, Buffer.from(key)))
      this.versions.delete(name)
      return
    }
    const value = chance.bytes(chance.bool(0.2) ? 10 : 41 + chance.int(600))
    const { lsn, valueLsn } = this.commit((writer) => writer.put(keyspace, Buffer.from(key), value))
    this.versions.set(name, lsn)
    if (value.length > inlineValueBytes) {
      this.large.set(name, { keyspace, key, version: lsn, value, lsn: valueLsn })
    }
  }

  /** Ends a keyspace, by clearing or dropping it. */
  end(): void {
    const known = this.generations.names().get(this.chance.pick(names))
    if (known === undefined) return
    for (const name of this.versions.keys()) {
      if (!name.startsWith(`${known.id} `)) continue
      this.forget(name)
      this.versions.delete(name)
    }
    const drop = this.chance.bool(0.5)
    this.commit((writer) => drop ? writer.dropKeyspace(known.id) : writer.clear(known.id))
  }

  private forget(name: string): void {
    const place = this.large.get(name)
    if (place !== undefined) this.past.push(place)
    this.large.delete(name)
  }

  /** Writes a value anew: one that is there, one that was, or one that is there under another version. */
  relocate(): void {
    const { chance } = this
    const stale = chance.bool(0.3)
    const places = stale ? this.past : [...this.large.values()]
    if (places.length === 0) return
    const place = chance.pick(places)
    const { key, keyspace, lsn: from, value } = place
    const foreign = !stale && chance.bool(0.1)
    const version = foreign ? place.version - 8 : place.version
    const { moves } = this.tree.charges
    const { records } = this.tree.counters
    const { valueLsn } = this.append(
      () => this.tail.beginRelocate(1),
      (writer) => writer.relocate(keyspace, Buffer.from(key), value, from, version)
    )
    assert.strictEqual(this.tree.counters.records, records + 1)
    assert.strictEqual(this.tree.charges.moves - moves, stale || foreign ? 0 : 1)
    this.counts[stale || foreign ? "late" : "moved"]++
    if (stale || foreign) return
    const moved = { ...place, lsn: valueLsn }
    this.past.push(place)
    this.large.set(`${keyspace} ${key}`, moved)
    for (const { at, places } of this.pins) if (place.version < at) places.add(moved)
  }

  pin(): void {
    const at = this.tree.visibleLsn
    this.kernel.versions.pin(at)
    this.pins.push({ at, places: new Set(this.large.values()) })
  }

  unpin(): void {
    const [pin] = this.pins.splice(this.chance.int(this.pins.length), 1)
    if (pin !== undefined) this.kernel.versions.unpin(pin.at)
  }

  durable(): void {
    this.kernel.versions.setDurable(this.tree.visibleLsn)
    this.generations.forget(this.kernel.versions.oldestPin())
  }

  /** Everything is where the model has it, and what anybody may look for is charged. */
  check(): void {
    for (const { keyspaceId, root } of this.generations.all()) {
      let count = 0
      for (let index = 0; index < 6; index++) {
        const [key, name] = [Buffer.from(`k${index}`), `${keyspaceId} k${index}`]
        const version = this.versions.get(name)
        assert.strictEqual(this.kernel.get(root, key, Infinity) === Found, version !== undefined, name)
        if (version === undefined) continue
        count++
        assert.strictEqual(this.kernel.foundVersion(), version)
        const place = this.large.get(name)
        const expected = place === undefined
          ? undefined
          : { lsn: place.lsn, bytes: place.value.length, checksum: crc32(place.value) | 0 }
        assert.deepStrictEqual(this.kernel.foundReference(), expected)
      }
      assert.strictEqual(root.count, count)
    }
    const expected = charge(this.large.values())
    assert.deepStrictEqual(sorted(this.tree.charges.live()), sorted(expected))
    assert.isAtLeast(this.generations.oldestLarge() ?? Infinity, 0)
    const places = new Set([...this.large.values(), ...this.pins.flatMap((pin) => [...pin.places])])
    const distinct = new Map([...places].map((place) => [place.lsn, place]))
    const sum = [...distinct.values()].reduce((all, { value }) => all + value.length, 0)
    assert.isAtLeast(this.generations.largeBytes(), sum)
    const oldest = Math.min(...[...places].map(({ lsn }) => segmentBase(lsn)))
    if (places.size > 0) assert.isAtMost(this.generations.oldestLarge() ?? Infinity, oldest)
  }
}

const charge = (places: Iterable<Place>): Map<number, number> => {
  const charges = new Map<number, number>()
  for (const { lsn, value } of places) {
    charges.set(segmentBase(lsn), (charges.get(segmentBase(lsn)) ?? 0) + value.length)
  }
  return charges
}

const sorted = (map: ReadonlyMap<number, number>) => [...map].sort(([a], [b]) => a - b)

describe("charges", () => {
  const counts = { moved: 0, late: 0, pins: 0 }

  it("follow a model of writes, relocates, readers and ends of keyspaces", () => {
    for (let seed = 1; seed <= 60; seed++) {
      try {
        const world = new World(seed)
        const { chance } = world
        for (let step = 0; step < 300; step++) {
          const kind = chance.next()
          if (kind < 0.5) world.write()
          else if (kind < 0.75) world.relocate()
          else if (kind < 0.77) world.end()
          else if (kind < 0.82) world.pin()
          else if (kind < 0.88 && world.pins.length > 0) world.unpin()
          else if (kind < 0.95) world.durable()
          if (step % 5 === 0) world.check()
        }
        counts.pins += world.pins.length
        while (world.pins.length > 0) world.unpin()
        world.durable()
        world.check()
        const live = [...world.large.values()].reduce((sum, { value }) => sum + value.length, 0)
        assert.strictEqual(world.generations.largeBytes(), live, "what nobody may read is charged")
        counts.moved += world.counts.moved
        counts.late += world.counts.late
      } catch (cause) {
        throw new Error(`seed ${seed}`, { cause })
      }
    }
    assert.isAbove(counts.moved, 1_000)
    assert.isAbove(counts.late, 500)
    assert.isAbove(counts.pins, 50)
  })

  it("keep the expiry of a record that has one", () => {
    const world = new World(1)
    const keyspace = world.idOf("one")
    const value = world.chance.bytes(100)
    const { lsn, valueLsn } = world.commit((writer) => writer.put(keyspace, Buffer.from("k"), value))
    const { root } = world.generations.get(keyspace)
    assert.strictEqual(world.kernel.get(root, Buffer.from("k"), Infinity), Found)
    world.kernel.put(root, Buffer.from("k"), world.kernel.foundKind(), world.kernel.value(), lsn, 5_000)
    world.append(
      () => world.tail.beginRelocate(1),
      (writer) => writer.relocate(keyspace, Buffer.from("k"), value, valueLsn, lsn)
    )
    assert.strictEqual(world.kernel.get(root, Buffer.from("k"), Infinity), Found)
    assert.strictEqual(world.kernel.foundExpiry(), 5_000)
    assert.isAbove(world.kernel.foundReference()?.lsn ?? 0, valueLsn)
  })

  it("a relocate with another value than the leaf refers to changes nothing", () => {
    const world = new World(2)
    const keyspace = world.idOf("one")
    const value = world.chance.bytes(100)
    const { lsn, valueLsn } = world.commit((writer) => writer.put(keyspace, Buffer.from("k"), value))
    for (const other of [value.slice(1), value.map((byte) => byte ^ 1)]) {
      world.append(
        () => world.tail.beginRelocate(1),
        (writer) => writer.relocate(keyspace, Buffer.from("k"), other, valueLsn, lsn)
      )
    }
    assert.strictEqual(world.tree.charges.moves, 0)
    assert.deepStrictEqual(sorted(world.tree.charges.live()), [[segmentBase(valueLsn), 100]])
  })
})

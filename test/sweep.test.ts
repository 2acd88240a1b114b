/**
 * A log that is replayed in sweeps leaves what it leaves record by record: whatever the records are, wherever they lie,
 * whichever pages are in memory, and however many writes are gathered.
 *
 * `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Sweep } from "../src/actors/apply/Sweep.ts"
import { Tree } from "../src/actors/Tree.ts"
import type { BufferMode } from "../src/Limits.ts"
import { RecordType } from "../src/log/Record.ts"
import { encodeDefinition } from "../src/log/RecordForm.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import { makeRecordBuffer, RecordWriter } from "../src/log/RecordWriter.ts"
import * as Catalog from "../src/tree/file/Catalog.ts"
import { Generations } from "../src/tree/Generations.ts"
import { Reducer } from "../src/tree/page/Fold.ts"
import { Batch } from "../src/tree/read/Batch.ts"
import type { Root } from "../src/tree/Tree.ts"
import { Found, Missing } from "../src/tree/Tree.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { eachSeed } from "./support/seeds.ts"
import { keys } from "./support/treeModel.ts"
import { bytes, text, World } from "./support/world.ts"

const counts = { seeds: 0, records: 0, gathered: 0, superseded: 0, filled: 0, waits: 0, loads: 0 }
afterAll(() => figure("M1 logs replayed in sweeps", counts))

const inlineValueBytes = 100
const segmentBytes = 4096

/** A record of the log, and where it lies. */
interface Written {
  readonly buffer: Buffer
  readonly at: number
  readonly length: number
  readonly lsn: number
}

/** What the records of one keyspace look like. */
interface Space {
  readonly id: number
  readonly reducer: number
}

/** Writes a log of records, most of which put and remove, into a few buffers. */
class Log {
  readonly records: Array<Written> = []
  private readonly chance: Random
  private readonly key: () => string
  private readonly spaces: Array<Space> = []
  private readonly used: Array<string> = []
  /** How many commits have nothing but what is gathered. */
  private readonly plain: number
  private next = 1
  private lsn = 64
  private buffer = Buffer.alloc(0)
  private end = 0

  constructor(chance: Random) {
    this.chance = chance
    this.key = keys(chance, 100)
    this.plain = chance.pick([0.7, 0.95, 1])
    this.buffer = Buffer.allocUnsafeSlow(4096)
    for (let n = 0; n < 2; n++) this.make()
  }

  make(): void {
    const reducer = this.chance.pick([0, 0, Reducer.sum, Reducer.append])
    const id = this.next++
    this.spaces.push({ id, reducer })
    const definition = encodeDefinition({ codecVersion: 0, reducer, layout: "bytes" })
    this.write((writer) => writer.createKeyspace(id, bytes(`space ${id}`), definition))
  }

  /** What happens seldom: a keyspace is made, emptied or dropped. */
  seldom(): void {
    const { chance, spaces } = this
    const { id } = chance.pick(spaces)
    if (chance.bool(0.5)) return this.write((writer) => writer.clear(id))
    if (spaces.length < 2 || chance.bool(0.5)) return this.make()
    spaces.splice(spaces.findIndex((space) => space.id === id), 1)
    this.write((writer) => writer.dropKeyspace(id))
  }

  commit(): void {
    const { chance } = this
    const plain = chance.bool(this.plain)
    const count = chance.pick([0, 1, 1, 1, 3, 20, 100])
    const ordered = chance.bool(0.2)
    const base = this.some()
    this.write((writer) => {
      for (let n = 0; n < count; n++) {
        const { id, reducer } = chance.pick(this.spaces)
        const key = ordered ? bytes(`${base.slice(0, 90)}${1000 + n}`) : bytes(this.some())
        // Of puts alone leaves are built.
        const kind = this.plain === 1 && chance.bool(0.98) ? 50 : chance.int(plain ? 80 : 100)
        if (kind < 8) writer.remove(id, key)
        else if (kind < 72) writer.put(id, key, this.value(reducer))
        else if (kind < 80) writer.putExpiring(id, key, this.value(reducer), chance.int(1e9) + 0.5)
        else if (reducer !== 0) writer.merge(id, reducer, key, this.value(Reducer.sum))
        else if (kind < 90) writer.put(id, key, chance.bytes(inlineValueBytes + 1 + chance.int(200)))
      }
    })
  }

  private value(reducer: number): Uint8Array {
    const { chance } = this
    return reducer === 0 ? chance.bytes(chance.int(inlineValueBytes)) : chance.bytes(8)
  }

  /** A key, one in three that was written before. */
  private some(): string {
    const key = this.chance.bool(0.3) && this.used.length > 0 ? this.chance.pick(this.used) : this.key()
    this.used.push(key)
    return key
  }

  private write(fill: (writer: RecordWriter) => void): void {
    const buffer = makeRecordBuffer(1024)
    const writer = new RecordWriter({ buffer, headroomBytes: 0, inlineValueBytes })
    writer.begin(RecordType.transaction, this.lsn / 8)
    fill(writer)
    const length = writer.finish()
    if (this.end + length > this.buffer.length || this.chance.bool(0.01)) {
      this.buffer = Buffer.allocUnsafeSlow(Math.max(this.chance.pick([4096, 65_536]), length))
      this.end = 0
    }
    this.buffer.set(writer.bytes.subarray(0, length), this.end)
    this.records.push({ buffer: this.buffer, at: this.end, length, lsn: this.lsn })
    this.end += length
    // Groups have headers.
    this.lsn += length + (this.chance.bool(0.2) ? 64 : 0)
  }
}

/** A tree and its owner; what it waits for comes as soon as it is turned to. */
class Side {
  readonly world: World
  readonly generations = new Generations(Catalog.empty)
  readonly tree: Tree
  readonly sweep: Sweep
  private readonly reader = new RecordReader()
  private readonly waiting: Array<() => void> = []

  constructor(seed: number, options: { readonly blocks: number; readonly mode: BufferMode }, most: number) {
    const { generations, waiting, world } = { ...this, world: new World(random(seed), options) }
    this.world = world
    world.tree.pages.lineage.know(generations)
    const create = world.tree.create.bind(world.tree)
    world.tree.create = (treeId, reducer) => {
      const root = create(treeId, reducer)
      if (root !== undefined) world.adopt(root)
      return root
    }
    this.tree = new Tree({
      kernel: world.tree,
      generations,
      visible: 64,
      load: (id) => {
        world.load(id)
        return true
      },
      reserve: (blocks, beside) => waiting.push(() => world.makeRoom(blocks, beside)),
      segmentBase: (lsn) => lsn - lsn % segmentBytes,
      streams: undefined as never,
      slices: {
        applyInOneSlice: 1,
        readPiece: () => {},
        pause: (resumed) => waiting.push(resumed),
        hasRoom: () => true
      }
    })
    this.tree.progress = () => {
      world.tree.versions.setVisible(this.tree.visibleLsn)
      world.tree.versions.setDurable(this.tree.visibleLsn)
    }
    this.sweep = new Sweep({ kernel: world.tree, generations, tree: this.tree, most })
  }

  at({ at, buffer, length, lsn }: Written): RecordReader {
    assert.isTrue(this.reader.open(buffer, at, at + length, lsn, 1).nextRecord())
    return this.reader
  }

  /** Gives what is waited for, until nothing is. */
  drain(): void {
    while (this.tree.backlog > 0) {
      const wait = this.waiting.shift()
      if (wait === undefined) return assert.fail("nobody makes it go on")
      counts.waits++
      wait()
      this.tree.resume()
    }
    this.waiting.length = 0
  }

  private rows(root: Root): ReadonlyArray<unknown> {
    const { tree } = this.world
    const rows: Array<unknown> = []
    const batch = new Batch()
    const range = { upper: undefined, order: "ascending", limit: 1000, columns: "keys and values" } as const
    for (let answer = Found as number, lower: Uint8Array = new Uint8Array(0); answer !== 0;) {
      batch.reset()
      answer = this.world.run(() => tree.scan(root, { ...range, lower }, Infinity, batch))
      lower = batch.position ?? lower
      for (let index = 0; index < batch.count; index++) {
        const value = batch.reference(index) ?? text(batch.value(index))
        rows.push([text(batch.key(index)), value, batch.version(index), batch.expiry(index)])
      }
    }
    return rows
  }

  /** All that may be told of it: of a tree not which pages it is made of. */
  state(): unknown {
    const { generations, tree, world } = this
    // Those of keyspaces that were emptied or dropped, too.
    const trees = Array.from({ length: generations.nextTreeId }, (_, treeId) => generations.rootOf(treeId))
    world.audit(trees.filter((root) => root !== undefined))
    // A large value that a record in a mini-page overwrites in its base page is known to be gone once they are merged.
    for (let id = 1; id < world.tree.pages.map.bound; id++) world.merge(id)
    this.tree.charges.settle()
    const spaces = [...generations.all()].map(({ root, ...generation }) => {
      for (let from = 0; from >= 0;) {
        const answer = world.run(() => world.tree.resolve(root, from))
        from = answer === Missing ? world.tree.missing : -1
      }
      const { count, expires, treeId, unresolved } = root
      const large = [...generation.large].sort(([a], [b]) => a - b)
      return { ...generation, large, count, expires, treeId, unresolved, rows: this.rows(root) }
    })
    const { nextKeyspaceId, nextTreeId, millis } = generations
    const { recordsSinceCut, visibleLsn } = tree
    const ids = { nextKeyspaceId, nextTreeId, millis }
    return { spaces, ids, records: tree.counters.records, recordsSinceCut, visibleLsn }
  }
}

const drive = (seed: number, options: { readonly blocks: number; readonly mode: BufferMode }): void => {
  const chance = random(seed)
  const log = new Log(chance)
  for (let left = chance.pick([30, 100, 200]); left > 0; left--) {
    if (chance.bool(0.01)) log.seldom()
    else log.commit()
  }
  const most = chance.pick([1, 10, 100, 100_000])
  const [plain, swept] = [new Side(seed, options, 0), new Side(seed, options, most)]
  const evicts = chance.bool(0.5)
  let buffer: Buffer | undefined
  for (const written of log.records) {
    plain.tree.apply(plain.at(written))
    plain.drain()
    // A buffer that is read to again has been settled before.
    if (buffer !== written.buffer && chance.bool(0.5)) swept.sweep.settle()
    buffer = written.buffer
    swept.drain()
    swept.sweep.apply(swept.at(written))
    counts.gathered += swept.sweep.gathered.isEmpty ? 0 : 1
    swept.drain()
    if (evicts && chance.bool(0.02)) swept.world.startEvictions(4)
    if (evicts && chance.bool(0.02)) swept.world.land(3)
  }
  swept.sweep.settle()
  swept.drain()
  counts.seeds++
  counts.records += log.records.length
  counts.superseded += plain.tree.counters.writes - swept.tree.counters.writes
  counts.filled += swept.world.tree.filled.puts
  counts.loads += swept.world.loads
  const [expected, found] = [plain.state(), swept.state()]
  if (JSON.stringify(found) !== JSON.stringify(expected)) assert.deepStrictEqual(found, expected)
  assert.strictEqual(swept.sweep.gathered.isEmpty, true)
}

describe("a sweep", () => {
  it.each(
    [
      { blocks: 4096, mode: "miniPages" },
      { blocks: 80, mode: "miniPages" },
      { blocks: 80, mode: "pages" }
    ] as const
  )("leaves what the records leave one by one: $mode, $blocks blocks", (options) => {
    const before = { ...counts }
    const own = eachSeed(12, (seed) => drive(seed, options))
    if (!own) return
    assert.isAbove(counts.gathered - before.gathered, 500)
    assert.isAbove(counts.superseded - before.superseded, 500)
    assert.isAbove(counts.filled - before.filled, 300)
  })
})

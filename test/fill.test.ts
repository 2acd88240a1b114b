/**
 * Sequences of puts that are written leaf by leaf: as good as puts one by one, whatever lies in the tree, whichever
 * leaves are in memory, and with checkpoints in the middle.
 *
 * `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import type { BufferMode } from "../src/Limits.ts"
import { Op } from "../src/log/Record.ts"
import type { Root } from "../src/tree/Tree.ts"
import { Puts } from "../src/tree/write/Puts.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { eachSeed } from "./support/seeds.ts"
import { readerOf, recordOf } from "./support/sequence.ts"
import { keys, Model } from "./support/treeModel.ts"
import type { Row } from "./support/treeModel.ts"
import { pageBytes, text, World } from "./support/world.ts"

const everything = { lower: new Uint8Array(0), upper: undefined, order: "ascending", limit: 1000 } as const
const whole = { ...everything, columns: "keys and values" } as const
const mostWords = pageBytes >>> 5

const counts = { seeds: 0, sequences: 0, filled: 0, leaves: 0, alone: 0, checkpoints: 0, loads: 0 }
afterAll(() => figure("M1 sequences of a load", counts))

/** Applies a record as the tree's owner does; but what is missing is there at once. */
const apply = (world: World, root: Root, rows: ReadonlyArray<Row>, version: number): void => {
  const puts = new Puts(mostWords)
  const reader = readerOf(recordOf(rows), version)
  if (reader === undefined) return assert.fail("a record")
  for (let index = 0;; index++) {
    if (puts.find(reader, version) > 0) {
      const filled = world.tree.fill(root, puts)
      if (filled > 0) puts.pass(reader, filled)
      index += filled
    }
    if (!reader.nextWrite()) break
    counts.alone++
    world.put(root, rows[index] as Row)
  }
  assert.strictEqual(reader.left, 0)
}

/** Rows in the order of their keys, most of them beyond what is there or close to each other. */
const sequence = (chance: Random, model: Model, key: () => string, version: number): Array<Row> => {
  const names = new Set<string>()
  const count = chance.pick([1, 3, 10, 60, 200])
  const base = chance.bool(0.5) ? model.keys().sort().at(-1) ?? "" : chance.pick(model.keys().concat(key()))
  const digits = (n: number): string => String(n).padStart(chance.bool(0.02) ? 9 : 4, "0")
  const dense = chance.bool(0.8)
  for (let n = 0; n < count; n++) {
    names.add(
      dense ? base.slice(0, 90) + (chance.bool(0.9) ? "~" : "") + digits(n * 3 + chance.int(3)) : key()
    )
  }
  const largest = chance.pick([0, 12, 90, 200])
  return [...names].sort().map((key) => ({
    key,
    value: text(chance.bytes(chance.bool(0.02) ? chance.int(200) : chance.int(largest + 1))),
    version,
    expiry: chance.bool(0.01) ? chance.int(1e9) + 0.5 : Infinity
  }))
}

/** Thousands of rows are compared as text first, which is faster by far. */
const same = (actual: ReadonlyArray<Row>, expected: ReadonlyArray<Row>): void => {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) assert.deepStrictEqual(actual, expected)
}

const drive = (seed: number, options: { readonly blocks: number; readonly mode: BufferMode }): void => {
  const chance = random(seed)
  const world = new World(chance, options)
  const root = world.create(7)
  const model = new Model()
  const key = keys(chance, 100)
  let cut: ReturnType<World["cut"]> | undefined
  let atCut = { ...root }
  let cutVersion = 0
  let version = 1
  for (let step = 0; step < 40; step++, version++) {
    if (chance.bool(0.3)) {
      const name = chance.pick(model.keys().concat(key()))
      const row = { key: name, value: text(chance.bytes(chance.int(100))), version, expiry: Infinity }
      if (chance.bool(0.5)) world.remove(root, name, version)
      else world.put(root, row)
      model.write(name, version, world.get(root, name, version + 1))
    } else {
      const rows = sequence(chance, model, key, version)
      apply(world, root, rows, version)
      for (const row of rows) model.write(row.key, version, row)
      counts.sequences++
    }
    world.tree.versions.setVisible(version + 1)
    world.tree.versions.setDurable(version + 1)
    if (chance.bool(0.2)) world.startEvictions(4)
    if (chance.bool(0.3)) world.land(3)
    if (chance.bool(0.2)) world.evict(1 + chance.int(world.tree.pages.map.bound - 1))
    if (step % 8 === 0) world.audit([root])
    if (cut === undefined && chance.bool(0.15)) {
      cut = world.cut()
      atCut = { ...root }
      cutVersion = version + 1
    } else if (cut !== undefined && chance.bool(0.3)) {
      const opened = world.reopen(world.finish(cut), [atCut])
      opened.audit([atCut])
      same(opened.scan(atCut, whole, cutVersion), model.rows(cutVersion))
      counts.checkpoints++
      cut = undefined
    }
  }
  if (cut !== undefined) world.finish(cut)
  world.audit([root])
  same(world.scan(root, whole, version), model.rows(version))
  assert.strictEqual(root.unresolved > 0 || root.count === model.rows(version).length, true)
  counts.seeds++
  counts.filled += world.tree.filled.puts
  counts.leaves += world.tree.filled.leaves
  counts.loads += world.loads
}

describe("a sequence of puts", () => {
  it.each(
    [
      { blocks: 4096, mode: "miniPages" },
      { blocks: 60, mode: "miniPages" },
      { blocks: 60, mode: "pages" }
    ] as const
  )("leaves what puts one by one leave: $mode, $blocks blocks", (options) => {
    const before = { ...counts }
    const own = eachSeed(15, (seed) => drive(seed, options))
    if (!own) return
    assert.isAbove(counts.filled - before.filled, 10_000)
    assert.isAbove(counts.leaves - before.leaves, 150)
    assert.isAbove(counts.checkpoints - before.checkpoints, 30)
  })

  it("fills leaves to the brim, in batches of any size", () => {
    const digits = (n: number): string => `key:${String(n).padStart(12, "0")}`
    for (const batch of [8, 33, 512, 1000]) {
      const world = new World(random(1))
      const root = world.create(1)
      const rows = Array.from({ length: 6_000 }, (_, n) => ({
        key: digits(n),
        value: "v".repeat(40),
        version: 1,
        expiry: Infinity
      }))
      for (let from = 0; from < rows.length; from += batch) {
        apply(world, root, rows.slice(from, from + batch), 1 + from)
      }
      const leaves = world.audit([root]).trees[0]?.leaves ?? []
      const used = leaves.reduce((sum, leaf) => sum + leaf.usedBytes, 0)
      assert.strictEqual(root.count, rows.length)
      // A record takes 64 bytes: what no further one fits into stays free.
      assert.isAbove(used / (leaves.length * pageBytes), 0.9, `batches of ${batch}`)
      assert.isAbove(world.tree.filled.leaves, 0.9 * leaves.length - 2)
    }
  })

  it("is not taken where its keys do not ascend, or not behind what is there", () => {
    const world = new World(random(1))
    const root = world.create(1)
    const row = (key: string): Row => ({ key, value: key, version: 1, expiry: Infinity })
    const taken = (...names: ReadonlyArray<string>): ReadonlyArray<number> => {
      const puts = new Puts(mostWords)
      const reader = readerOf(recordOf(names.map(row)), 9)
      if (reader === undefined) return []
      return [puts.find(reader, 9), puts.count === 0 ? 0 : world.tree.fill(root, puts)]
    }
    assert.deepStrictEqual(taken("b", "d", "c"), [2, 2])
    assert.deepStrictEqual(taken("a", "e"), [2, 0])
    assert.deepStrictEqual(taken("d", "e"), [2, 0])
    assert.deepStrictEqual(taken("e", "e"), [1, 1])
    assert.deepStrictEqual(world.scan(root, whole, 10).map(({ key }) => key), ["b", "d", "e"])
  })

  it("stops where there is no block for another leaf", () => {
    const world = new World(random(1), { blocks: 6, mode: "pages" })
    world.arena.reserve = 0
    const root = world.create(1)
    const rows = Array.from({ length: 200 }, (_, n) => ({
      key: `${1000 + n}`,
      value: "v".repeat(40),
      version: 1,
      expiry: Infinity
    }))
    const puts = new Puts(mostWords)
    const reader = readerOf(recordOf(rows), 1)
    if (reader === undefined) return assert.fail("a record")
    puts.find(reader, 1)
    const filled = world.tree.fill(root, puts)
    assert.isAbove(filled, 12)
    assert.isBelow(filled, 100)
    world.audit([root])
    assert.deepStrictEqual(world.scan(root, whole, 2), rows.slice(0, filled))
  })
})

describe("the puts of a record", () => {
  it("are those that its reader finds, whatever its bytes are", () => {
    let [found, cut] = [0, 0]
    for (let seed = 1; seed <= 3_000; seed++) {
      const chance = random(seed)
      const name = keys(chance, 40)
      const rows = Array.from({ length: 1 + chance.int(12) }, () => name()).sort().map((key): Row => ({
        key,
        value: text(chance.bytes(chance.int(20))),
        version: 1,
        expiry: chance.bool(0.02) ? 5 : Infinity
      }))
      const record = Buffer.from(recordOf(rows))
      for (let flips = chance.int(3); flips > 0; flips--) {
        const at = 24 + chance.int(record.length - 24)
        record[at] = (record[at] as number) ^ 1 << chance.int(8)
      }
      const [reader, plain] = [readerOf(record, 64), readerOf(record, 64)]
      if (reader === undefined || plain === undefined) continue
      const puts = new Puts(mostWords)
      const count = puts.find(reader, 64)
      for (let index = 0; index < count; index++) {
        assert.isTrue(plain.nextWrite(), `seed ${seed}`)
        assert.deepStrictEqual([plain.op, plain.large, plain.expiryMillis], [Op.put, false, Infinity])
        const keyAt = (puts.keyAt[index] as number) * 4
        const valueAt = (puts.valueAt[index] as number) * 4
        assert.deepStrictEqual(
          [
            keyAt,
            keyAt + (puts.keyBytes[index] as number),
            valueAt,
            valueAt + (puts.valueBytes[index] as number)
          ],
          [plain.keyStart, plain.keyEnd, plain.valueStart, plain.valueEnd],
          `seed ${seed}`
        )
      }
      found += count
      if (count === 0) continue
      const passed = 1 + chance.int(count)
      puts.pass(reader, passed)
      const again = readerOf(record, 64)
      for (let index = 0; index < passed; index++) again?.nextWrite()
      assert.deepStrictEqual([reader.left, reader.next], [again?.left, again?.next], `seed ${seed}`)
      assert.strictEqual(reader.nextWrite(), again?.nextWrite())
      if (count < rows.length) cut++
    }
    assert.isAbove(found, 5_000)
    assert.isAbove(cut, 500)
  })
})

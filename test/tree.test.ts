import { assert, describe, it } from "@effect/vitest"
import * as Page from "../src/tree/page/Page.ts"
import { readReference, writeReference } from "../src/tree/page/Reference.ts"
import { Absent, Added, Kind, Missing, NoSpace, Removed, Replaced, Written } from "../src/tree/Tree.ts"
import type { Root } from "../src/tree/Tree.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { keys, Model } from "./support/treeModel.ts"
import type { Row } from "./support/treeModel.ts"
import { bytes, pageBytes, text, World } from "./support/world.ts"
import type { WorldOptions } from "./support/world.ts"

const everything = { lower: new Uint8Array(0), upper: undefined, order: "ascending", limit: 1000 } as const
const whole = { ...everything, columns: "keys and values" } as const

const longestKey = 200
const recordMax = Page.maxRecordBytes(pageBytes, longestKey)

/** A value of any length that the limits allow for the key. */
const valueFor = (random: Random, key: string, expiry: number): string => {
  const most = recordMax - Page.recordBytes(key.length, 0, expiry === Infinity ? 0 : 8)
  const length = random.pick([0, 1, 3, 4, 5, 8, random.int(40), random.int(most + 1), most & ~3])
  return text(random.bytes(length))
}

/** Random operations against the model; `step` runs between them. */
const drive = (
  seed: number,
  options: WorldOptions & { readonly operations: number },
  step: (world: World, root: Root, model: Model, version: number, random: Random) => void
): void => {
  const chance = random(seed)
  const world = new World(chance, options)
  const root = world.create(7)
  const model = new Model()
  const key = keys(chance, longestKey)
  let removals = chance.pick([0.1, 0.3, 0.5, 0.7])
  for (let version = 1; version <= options.operations; version++) {
    if (chance.bool(0.002)) removals = chance.pick([0.1, 0.5, 0.9])
    const name = chance.bool(0.3) && model.keys().length > 0 ? chance.pick(model.keys()) : key()
    const before = model.get(name, version)
    if (chance.bool(removals)) {
      const answer = world.remove(root, name, version)
      const expected = before === undefined ? Absent : Removed
      if (answer !== Written) assert.strictEqual(answer, expected, `seed ${seed}, version ${version}`)
      if (before !== undefined) model.write(name, version, undefined)
    } else {
      const expiry = chance.bool(0.2) ? chance.int(1e9) + 0.5 : Infinity
      const row: Row = { key: name, value: valueFor(chance, name, expiry), version, expiry }
      const answer = world.put(root, row)
      const expected = before === undefined ? Added : Replaced
      if (answer !== Written) assert.strictEqual(answer, expected, `seed ${seed}, version ${version}`)
      model.write(name, version, row)
    }
    step(world, root, model, version, chance)
  }
  const end = options.operations + 1
  world.audit([root])
  assert.deepStrictEqual(world.scan(root, whole, end), model.rows(end), `seed ${seed}`)
  if (root.unresolved === 0) assert.strictEqual(root.count, model.rows(end).length)
}

describe("tree", () => {
  it("answers as a sorted map does, for keys and values of every shape", () => {
    for (let seed = 1; seed <= 100; seed++) {
      drive(
        seed,
        { operations: 600, sharing: seed % 5 === 0 ? "shared" : "private" },
        (world, root, model, version, chance) => {
          if (version % 97 === 0) world.audit([root])
          const key = chance.bool(0.5) ? chance.pick(model.keys().concat("")) : keys(chance, longestKey)()
          assert.deepStrictEqual(
            world.get(root, key, version + 1),
            model.get(key, version + 1),
            `seed ${seed}`
          )
        }
      )
    }
  })

  it("reads the past while pins stand", () => {
    for (let seed = 1000; seed < 1060; seed++) {
      const pins: Array<number> = []
      drive(seed, { operations: 400 }, (world, root, model, version, chance) => {
        const { versions } = world.tree
        versions.setVisible(version + 1)
        if (chance.bool(0.1)) versions.setDurable(version + 1 - chance.int(2))
        if (chance.bool(0.05)) {
          versions.pin(version + 1)
          pins.push(version + 1)
        }
        if (pins.length > 0 && chance.bool(0.04)) {
          versions.unpin(pins.splice(chance.int(pins.length), 1)[0] as number)
        }
        const at = pins.length > 0 && chance.bool(0.8) ? chance.pick(pins) : versions.pins.durable
        const key = chance.pick(model.keys().concat(""))
        assert.deepStrictEqual(
          world.get(root, key, at),
          model.get(key, at),
          `seed ${seed}, version ${version}`
        )
        if (version % 50 === 0) {
          assert.deepStrictEqual(world.scan(root, { ...whole, limit: 7 }, at), model.rows(at), `seed ${seed}`)
        }
      })
    }
  })

  it.each(["miniPages", "pages"] as const)("behaves the same when pages come and go: %s", (mode) => {
    let loads = 0
    for (let seed = 2000; seed < 2060; seed++) {
      drive(seed, { operations: 500, blocks: 40, mode }, (world, root, model, version, chance) => {
        if (chance.bool(0.05)) world.startEvictions(3)
        if (chance.bool(0.1)) world.land(2)
        if (chance.bool(0.2)) world.evict(1 + chance.int(world.tree.pages.map.bound - 1))
        if (version % 100 === 0) world.audit([root])
        const key = chance.pick(model.keys().concat(""))
        assert.deepStrictEqual(world.get(root, key, version + 1), model.get(key, version + 1), `seed ${seed}`)
        if (version === 500) loads += world.loads
      })
    }
    assert.isAbove(loads, 1000)
  })

  it("changes nothing where a page or room is missing", () => {
    const chance = random(5)
    const world = new World(chance, { blocks: 8, mode: "pages" })
    const root = world.create(1)
    const value = new Uint8Array(100)
    let version = 1
    let answer: number
    do answer = world.tree.put(root, chance.bytes(12), Kind.Value, value, version++)
    while (answer === Added)
    assert.strictEqual(answer, NoSpace)
    assert.isAbove(world.tree.blocksNeeded, world.arena.available)
    world.audit([root])
    const rows = world.scan(root, whole, version)
    assert.strictEqual(rows.length, root.count)
    const leaf = world.audit([root]).trees[0]?.leaves[0]?.pageId ?? 0
    world.evict(leaf)
    const lsn = version++
    assert.strictEqual(world.tree.put(root, new Uint8Array(0), Kind.Value, value, lsn), Missing)
    assert.strictEqual(world.tree.missing, leaf)
    assert.strictEqual(world.tree.remove(root, new Uint8Array(0), lsn), Missing)
    assert.strictEqual(world.tree.get(root, new Uint8Array(0), lsn), Missing)
    world.audit([root])
    assert.deepStrictEqual(world.scan(root, whole, version), rows)
  })

  const digits = (n: number): string => String(n).padStart(8, "0")
  const orders: Record<string, (index: number, count: number) => number> = {
    ascending: (index) => index,
    descending: (index, count) => count - index,
    zigzag: (index, count) => index % 2 === 0 ? index : count - index,
    "from the middle outwards": (index, count) =>
      index % 2 === 0 ? count / 2 + index / 2 : count / 2 - (index + 1) / 2,
    scattered: (index) => index * 7919 % 6007
  }
  for (const [name, order] of Object.entries(orders)) {
    it(`grows and shrinks ${name}`, () => {
      const world = new World(random(1))
      const root = world.create(1)
      const count = 6000
      for (let index = 0; index < count; index++) {
        const key = `key:${digits(order(index, count))}`
        assert.strictEqual(
          world.put(root, { key, value: "v".repeat(20), version: index + 1, expiry: Infinity }),
          Added
        )
        if (index % 500 === 0) world.audit([root])
      }
      const tree = world.audit([root]).trees[0]
      assert.isAtLeast(tree?.height ?? 0, 3)
      const filled = (tree?.leaves ?? []).reduce((sum, leaf) => sum + leaf.usedBytes, 0)
      const fill = filled / (pageBytes * (tree?.leaves.length ?? 1))
      assert.isAbove(fill, name === "ascending" ? 0.8 : 0.48)
      for (let index = 0; index < count; index++) {
        const key = `key:${digits(order(index, count))}`
        assert.strictEqual(world.remove(root, key, count + index + 1), Removed)
        if (index % 500 === 0) world.audit([root])
      }
      assert.strictEqual(world.audit([root]).trees[0]?.height, 1)
      assert.strictEqual(world.tree.pages.map.used, 1)
      assert.strictEqual(world.arena.freeBlocks, world.arena.blocks - 1)
    })
  }

  it("splits the first page in two that meet", () => {
    const world = new World(random(1), { events: 16 })
    const root = world.create(3)
    for (let index = 0; world.tree.events.total === 0; index++) {
      world.put(root, { key: digits(index * 7919 % 1000), value: "", version: index + 1, expiry: Infinity })
    }
    const [split, grown] = world.tree.events.drain()
    const tree = world.audit([root]).trees[0]
    assert.strictEqual(tree?.leaves.length, 2)
    assert.strictEqual(tree?.pivots.length, 1)
    if (split?._tag !== "Split" || grown?._tag !== "RootGrown") return assert.fail("a split and a new root")
    assert.notStrictEqual(split.left, split.right)
    assert.strictEqual(split.leftCount + split.rightCount + 1, root.count)
    assert.strictEqual(tree?.pivots[0]?.length, split.pivotBytes)
    assert.isBelow(split.pivotBytes, 8)
  })

  it("does not go back and forth at the border of a split", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const chance = random(seed)
      const world = new World(chance, { events: 1 })
      const root = world.create(1)
      let version = 1
      const value = "v".repeat(30)
      for (let index = 0; index < 300; index++) {
        world.put(root, { key: digits(chance.int(100_000)), value, version: version++, expiry: Infinity })
      }
      const before = world.tree.events.total
      const rounds = 2000
      const row = world.scan(root, whole, version)[chance.int(200)] as Row
      for (let round = 0; round < rounds; round++) {
        for (let index = 0; index < 4; index++) {
          world.put(root, { ...row, key: `${row.key}${index}`, version: version++ })
        }
        for (let index = 0; index < 4; index++) world.remove(root, `${row.key}${index}`, version++)
      }
      assert.isBelow(world.tree.events.total - before, 10, `seed ${seed}`)
    }
  })

  it("merges what is nearly empty, and into no more than three quarters of a page", () => {
    let merges = 0
    for (let seed = 1; seed <= 20; seed++) {
      const chance = random(seed)
      const world = new World(chance)
      const root = world.create(1)
      const names = Array.from({ length: 150 }, (_, index) => digits(index * 7919 % 6007))
      const value = "v".repeat(chance.pick([10, 40, 90]))
      let version = 1
      for (const key of names) world.put(root, { key, value, version: version++, expiry: Infinity })
      while (names.length > 0) {
        const [key] = names.splice(chance.int(names.length), 1)
        const before = world.audit([root]).trees[0]?.leaves ?? []
        world.remove(root, key as string, version++)
        const after = world.audit([root]).trees[0]?.leaves ?? []
        if (before.length === after.length) continue
        merges++
        const gone = before.findIndex(({ pageId }) => !after.some((leaf) => leaf.pageId === pageId))
        const merged = after.find(({ pageId }) => pageId === before[gone - 1]?.pageId)
        const parts = [before[gone - 1], before[gone]].map((leaf) =>
          (leaf?.records ?? 0) - (leaf !== undefined && text(leaf.low) <= (key as string)
              && (leaf.high === undefined || (key as string) < text(leaf.high)) ?
            1 :
            0)
        )
        if (!parts.includes(0)) assert.isAtMost(merged?.usedBytes ?? 0, pageBytes * 3 / 4, `seed ${seed}`)
      }
    }
    assert.isAbove(merges, 200)
  })

  it("keeps one key through a thousand changes of size", () => {
    const world = new World(random(3))
    const root = world.create(1)
    for (let version = 1; version <= 1000; version++) {
      const value = String.fromCharCode(version % 256).repeat([0, 100, 7, 100, 101, 3][version % 6] as number)
      world.put(root, { key: "k", value, version, expiry: Infinity })
      assert.strictEqual(world.get(root, "k", version + 1)?.value, value)
    }
    const tree = world.audit([root]).trees[0]
    assert.strictEqual(tree?.leaves.length, 1)
  })

  it("does not alias what callers pass in or get", () => {
    const world = new World(random(4))
    const root = world.create(1)
    const key = bytes("key")
    const value = bytes("value")
    world.tree.put(root, key, Kind.Value, value, 1)
    key.fill(0)
    value.fill(0)
    world.tree.get(root, bytes("key"), 2)
    const got = world.tree.value()
    got.fill(0)
    assert.strictEqual(world.get(root, "key", 2)?.value, "value")
  })

  it("tells when a value in the log is dropped, once", () => {
    const world = new World(random(6))
    const root = world.create(9)
    const { versions } = world.tree
    const reference = { lsn: 2 ** 40 + 5, bytes: 70_000, checksum: -5 }
    assert.deepStrictEqual(readReference(writeReference(reference)), reference)
    world.tree.put(root, bytes("k"), Kind.Reference, writeReference(reference), 1)
    versions.setVisible(2)
    versions.setDurable(2)
    versions.pin(2)
    world.tree.put(root, bytes("k"), Kind.Value, bytes("small"), 5)
    assert.deepStrictEqual(versions.dropped, [])
    assert.strictEqual(world.tree.get(root, bytes("k"), 2), 1)
    assert.deepStrictEqual(world.tree.foundReference(), reference)
    versions.setVisible(10)
    versions.setDurable(10)
    assert.deepStrictEqual(versions.dropped, [])
    versions.unpin(2)
    assert.deepStrictEqual(versions.dropped, [{ treeId: 9, lsn: reference.lsn, bytes: 70_000 }])
    world.tree.put(root, bytes("k"), Kind.Reference, writeReference(reference), 20)
    world.tree.remove(root, bytes("k"), 21)
    assert.strictEqual(versions.dropped.length, 1, "20 may become durable alone")
    versions.setVisible(22)
    versions.setDurable(22)
    assert.strictEqual(versions.dropped.length, 2)
  })

  it("takes trees down in slices, loading no leaf", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const chance = random(seed)
      const world = new World(chance, { blocks: 400 })
      const other = world.create(2)
      world.put(other, { key: "stays", value: "here", version: 1, expiry: Infinity })
      const root = world.create(1)
      const count = chance.pick([0, 1, 30, 3000])
      for (let index = 0; index < count; index++) {
        const key = digits(chance.int(1e8))
        world.put(root, { key, value: "v".repeat(chance.int(100)), version: index + 2, expiry: Infinity })
      }
      for (let id = 1; id < world.tree.pages.map.bound; id++) if (chance.bool(0.8)) world.evict(id)
      const onlyLeaf = world.audit([other, root]).trees[1]?.height === 1
      world.loads = 0
      let left = true
      for (let slices = 0; left; slices++) {
        assert.isBelow(slices, 10_000)
        left = world.run(() => world.tree.freeTree(root.page, 1 + chance.int(9))) !== Absent
        world.bury()
        if (slices % 20 === 0) world.audit([other], left ? [root.page] : [])
      }
      world.audit([other])
      assert.strictEqual(world.tree.pages.map.used, 1)
      assert.isAtMost(world.loads, onlyLeaf ? 1 : 0)
      assert.strictEqual(world.get(other, "stays", 1e9)?.value, "here")
    }
  })
})

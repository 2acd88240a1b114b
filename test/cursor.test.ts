import { assert, describe, it } from "@effect/vitest"
import { writeReference } from "../src/tree/page/Reference.ts"
import type { Range } from "../src/tree/read/Cursor.ts"
import { Batch } from "../src/tree/read/Cursor.ts"
import { Found, Kind } from "../src/tree/Tree.ts"
import type { Root } from "../src/tree/Tree.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import type { Row } from "./support/treeModel.ts"
import { keys, Model } from "./support/treeModel.ts"
import { bytes, World } from "./support/world.ts"

const between = (rows: ReadonlyArray<Row>, lower: string, upper: string | undefined): Array<Row> =>
  rows.filter(({ key }) => key >= lower && (upper === undefined || key < upper))

const range = (lower: string, upper: string | undefined, order: Range["order"], limit: number): Range => ({
  lower: bytes(lower),
  upper: upper === undefined ? undefined : bytes(upper),
  order,
  limit,
  columns: "keys and values"
})

interface Setting {
  readonly world: World
  readonly root: Root
  readonly model: Model
  readonly key: () => string
  version: number
  readonly pins: Array<number>
}

const setting = (chance: Random, blocks: number): Setting => {
  const world = new World(chance, { blocks })
  return { world, root: world.create(2), model: new Model(), key: keys(chance, 80), version: 1, pins: [] }
}

/** Writes and removes at random; now and then a pin is set. */
const write = (setting: Setting, chance: Random, writes: number, removals: number): void => {
  const { key, model, pins, root, world } = setting
  for (let index = 0; index < writes; index++) {
    const version = setting.version++
    const name = chance.bool(0.5) && model.keys().length > 0 ? chance.pick(model.keys()) : key()
    if (chance.bool(removals)) {
      world.remove(root, name, version)
      model.write(name, version, undefined)
    } else {
      const row = {
        key: name,
        value: "v".repeat(chance.int(50)),
        version,
        expiry: chance.bool(0.1) ? 5 : Infinity
      }
      world.put(root, row)
      model.write(name, version, row)
    }
    world.tree.versions.setVisible(version + 1)
    if (!chance.bool(0.02)) continue
    world.tree.versions.pin(version + 1)
    pins.push(version + 1)
  }
  world.tree.versions.setDurable(setting.version)
}

describe("cursor", () => {
  it("gives every range, in both directions, now and in the past", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const chance = random(seed)
      const all = setting(chance, chance.pick([2048, 40]))
      // Neighbours in the order of Versions must not leak into the range.
      const others = [all.world.create(1), all.world.create(3)]
      for (const other of others) {
        for (const key of ["", "a", "\xff"]) {
          all.world.put(other, { key, value: "other", version: all.version, expiry: Infinity })
        }
      }
      all.version++
      write(all, chance, 500, 0.3)
      for (const other of others) {
        for (const key of ["", "a", "\xff"]) all.world.remove(other, key, all.version)
      }
      const names = [...all.model.keys().sort(), "", "\0", "\xff\xff", "nowhere"]
      for (let probe = 0; probe < 60; probe++) {
        const at = chance.pick([all.version, ...all.pins])
        const rows = all.model.rows(at)
        const lower = chance.bool(0.2) ? "" : chance.pick(names)
        const upper = chance.bool(0.2) ? undefined : chance.pick([chance.pick(names), lower, `${lower}\0`])
        const limit = chance.pick([1, 2, 3, 7, 1000])
        const expected = between(rows, lower, upper)
        const label = `seed ${seed}, probe ${probe}`
        assert.deepStrictEqual(
          all.world.scan(all.root, range(lower, upper, "ascending", limit), at),
          expected,
          label
        )
        const backwards = all.world.scan(all.root, range(lower, upper, "descending", limit), at)
        assert.deepStrictEqual(backwards, expected.toReversed(), label)
      }
    }
  })

  it("sees one moment while pages split, merge, come and go between pulls", () => {
    for (let seed = 101; seed <= 150; seed++) {
      const chance = random(seed)
      const all = setting(chance, chance.pick([2048, 60]))
      write(all, chance, 400, 0.2)
      const at = all.version
      all.world.tree.versions.pin(at)
      const expected = all.model.rows(at)
      const disturb = (): void => {
        write(all, chance, chance.int(60), chance.pick([0.1, 0.9]))
        for (let id = 1; id < all.world.tree.pages.map.bound; id++) if (chance.bool(0.1)) all.world.evict(id)
      }
      const limit = chance.pick([1, 5, 40])
      const order = chance.pick(["ascending", "descending"] as const)
      const rows = all.world.scan(all.root, range("", undefined, order, limit), at, disturb)
      assert.deepStrictEqual(order === "ascending" ? rows : rows.reverse(), expected, `seed ${seed}`)
    }
  })

  it("stops at its limit, and gives no more than it was asked for", () => {
    const chance = random(7)
    const all = setting(chance, 2048)
    write(all, chance, 300, 0)
    const batch = new Batch()
    for (const order of ["ascending", "descending"] as const) {
      for (const limit of [0, 1, 2, 10]) {
        batch.reset()
        assert.strictEqual(
          all.world.tree.scan(all.root, range("", undefined, order, limit), all.version, batch),
          Found
        )
        assert.strictEqual(batch.count, limit)
      }
    }
    batch.reset()
    const only = { ...range("", undefined, "ascending", 10), columns: "keys" } as const
    all.world.tree.scan(all.root, only, all.version, batch)
    for (let index = 0; index < 10; index++) {
      assert.deepStrictEqual(
        Buffer.from(batch.key(index)).toString("latin1"),
        all.model.rows(all.version)[index]?.key
      )
      assert.strictEqual(batch.value(index).length, 0)
    }
  })

  it("passes over any number of leaves that hold nothing for it", () => {
    const world = new World(random(1), { blocks: 4096 })
    const root = world.create(1)
    const { versions } = world.tree
    world.put(root, { key: "zzz", value: "old", version: 1, expiry: Infinity })
    versions.setVisible(2)
    versions.pin(2)
    for (let version = 2; version < 30_000; version++) {
      world.put(root, { key: String(version), value: "v".repeat(60), version, expiry: Infinity })
    }
    const leaves = world.audit([root]).trees[0]?.leaves.length ?? 0
    assert.isAbove(leaves, 1000)
    for (const order of ["ascending", "descending"] as const) {
      const rows = world.scan(root, range("", undefined, order, 10), 2)
      assert.deepStrictEqual(rows, [{ key: "zzz", value: "old", version: 1, expiry: Infinity }])
    }
  })

  it("tells which values live in the log", () => {
    const world = new World(random(1))
    const root = world.create(1)
    const reference = { lsn: 2 ** 33, bytes: 5, checksum: 6 }
    world.tree.put(root, bytes("a"), Kind.Reference, writeReference(reference), 1)
    world.tree.put(root, bytes("b"), Kind.Value, bytes("x"), 1)
    const batch = new Batch()
    world.tree.scan(root, range("", undefined, "ascending", 10), 2, batch)
    assert.deepStrictEqual(batch.reference(0), reference)
    assert.strictEqual(batch.reference(1), undefined)
    assert.strictEqual(batch.kind(1), Kind.Value)
  })
})

/**
 * Older versions in the scratch file, without a disk: what the pure rooms keep, find and give back.
 */
import { assert, describe, it } from "@effect/vitest"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import { Outgoing } from "../src/tree/past/Outgoing.ts"
import { Pins } from "../src/tree/past/Pins.ts"
import { Run } from "../src/tree/past/Run.ts"
import type { SpillOptions } from "../src/tree/past/Spill.ts"
import { Spill } from "../src/tree/past/Spill.ts"
import { hashOf } from "../src/tree/past/VersionTable.ts"
import type { Range } from "../src/tree/read/Cursor.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { SpillingWorld } from "./support/spilling.ts"
import { keys, Model } from "./support/treeModel.ts"
import type { Row } from "./support/treeModel.ts"
import { bytes, pageBytes } from "./support/world.ts"

const spill: SpillOptions = { memoryBytes: 2 ** 20, slackBytes: 0, diskBytes: 2 ** 30, blockBytes: pageBytes }

const range = (
  lower: string,
  upper: string | undefined,
  order: Range["order"],
  limit: number
): Range => ({
  lower: bytes(lower),
  upper: upper === undefined ? undefined : bytes(upper),
  order,
  limit,
  columns: "keys and values"
})

/** Writes at random in a kernel of few blocks, and in a model; pins come and go, versions leave memory. */
const churn = (chance: Random, steps: number) => {
  const world = new SpillingWorld(chance, { blocks: chance.pick([2048, 64, 32]), spill })
  const { versions } = world.tree
  const root = world.create(1)
  const model = new Model()
  const key = keys(chance, 60)
  const pins: Array<number> = []
  let spilled = 0
  let version = 0
  const anyName = (): string =>
    chance.bool(0.8) && model.keys().length > 0 ? chance.pick(model.keys()) : key()
  const write = (name: string): void => {
    if (chance.bool(0.2)) {
      world.remove(root, name, version)
      model.write(name, version, undefined)
    } else {
      const expiry = chance.bool(0.1) ? version * 1_000 : Infinity
      const row = { key: name, value: `${version}`.padEnd(chance.int(60)), version, expiry }
      world.put(root, row)
      model.write(name, version, row)
    }
  }
  const mergeSome = (): void => {
    for (let id = 1; id < world.tree.pages.map.bound; id++) if (chance.bool(0.4)) world.merge(id)
  }
  const step = (): void => {
    version++
    // A commit in pieces may write a key more than once, and pages may be merged between two of its writes.
    let name = anyName()
    for (let writes = chance.bool(0.8) ? 1 : 2 + chance.int(4); writes > 0; writes--) {
      write(name)
      if (chance.bool(0.5)) name = anyName()
      if (writes > 1 && chance.bool(0.2)) mergeSome()
    }
    versions.setVisible(version + 1)
    if (chance.bool(0.5)) versions.setDurable(version + 1)
    if (chance.bool(0.1)) {
      versions.pin(version + 1)
      pins.push(version + 1)
    }
    if (pins.length > 0 && chance.bool(0.07)) {
      versions.unpin(pins.splice(chance.int(pins.length), 1)[0] as number)
    }
    if (chance.bool(0.05)) spilled += world.spill()
    if (chance.bool(0.03)) mergeSome()
  }
  for (let index = 0; index < steps; index++) step()
  return { world, root, model, pins, step, spilled: () => spilled }
}

describe("spilled versions", () => {
  it("answer every key and range of the past", () => {
    let spilled = 0
    let reads = 0
    for (let seed = 1; seed <= 30; seed++) {
      const chance = random(seed)
      const all = churn(chance, 500)
      const { model, pins, root, world } = all
      const names = [...model.keys().toSorted(), "", "nowhere"]
      for (let probe = 0; probe < 40; probe++) {
        const label = `seed ${seed}, probe ${probe}`
        if (chance.bool(0.3)) all.step()
        const at = pins.length === 0 ? world.tree.versions.pins.durable : chance.pick(pins)
        for (let times = 0; times < 8; times++) {
          const name = chance.pick(names)
          assert.deepStrictEqual(world.get(root, name, at), model.get(name, at), label)
        }
        const lower = chance.bool(0.3) ? "" : chance.pick(names)
        const upper = chance.bool(0.3) ? undefined : chance.pick([chance.pick(names), `${lower}\0`])
        const expected = model.rows(at).filter(({ key }) =>
          key >= lower && (upper === undefined || key < upper)
        )
        const limit = chance.pick([1, 3, 20, 1_000])
        const found = (order: Range["order"]): Array<Row> =>
          world.scan(root, range(lower, upper, order, limit), at)
        assert.deepStrictEqual(found("ascending"), expected, label)
        assert.deepStrictEqual(found("descending"), expected.toReversed(), label)
      }
      spilled += all.spilled()
      reads += world.reads
      while (pins.length > 0) world.tree.versions.unpin(pins.pop() as number)
      assert.strictEqual(world.tree.versions.spill.taken, 0, `seed ${seed}`)
      assert.strictEqual(world.tree.versions.heldBytes, 0, `seed ${seed}`)
    }
    assert.isAbove(spilled, 1_000)
    assert.isAbove(reads, 1_000)
  })

  it("are read in windows of a leaf, and so is what never changed beside them", () => {
    const world = new SpillingWorld(random(1), { blocks: 64, spill })
    const { versions } = world.tree
    const root = world.create(1)
    const names = Array.from({ length: 200 }, (_, number) => `key ${String(number).padStart(3, "0")}`)
    const rows = names.map((key): Row => ({
      key,
      value: "as it was".padEnd(60),
      version: 1,
      expiry: Infinity
    }))
    for (const row of rows) world.put(root, row)
    versions.setVisible(2)
    versions.pin(2)
    for (const row of rows.filter((_, number) => number % 3 > 0)) world.put(root, { ...row, version: 2 })
    versions.setVisible(3)
    versions.setDurable(3)
    assert.isAbove(world.spill(), 0)
    for (const limit of [1, 7, 1_000]) {
      for (const order of ["ascending", "descending"] as const) {
        const expected = order === "ascending" ? rows : rows.toReversed()
        assert.deepStrictEqual(world.scan(root, range("", undefined, order, limit), 2), expected)
      }
    }
  })

  it("count where a base record, displaced late, reaches over a newer one in the file", () => {
    const world = new SpillingWorld(random(1), { blocks: 64, spill })
    const { versions } = world.tree
    const root = world.create(1)
    const put = (version: number, value: string): void => {
      world.put(root, { key: "k", value, version, expiry: Infinity })
      versions.setVisible(version + 1)
    }
    put(1, "first")
    versions.setDurable(2)
    // Leaves memory, so that what follows is blind.
    world.evict(root.page)
    versions.pin(2)
    put(2, "second")
    versions.pin(3)
    put(3, "third")
    versions.setDurable(4)
    assert.strictEqual(world.spill(), 1)
    world.merge(root.page)
    versions.setDurable(4)
    assert.strictEqual(world.get(root, "k", 2)?.value, "first")
    assert.strictEqual(world.get(root, "k", 3)?.value, "second")
    assert.strictEqual(world.get(root, "k", 4)?.value, "third")
    for (const [at, value] of [[2, "first"], [3, "second"], [4, "third"]] as const) {
      const rows = world.scan(root, range("", undefined, "ascending", 10), at)
      assert.deepStrictEqual(rows.map((row) => row.value), [value])
    }
    assert.strictEqual(world.spill(), 1)
    assert.strictEqual(world.get(root, "k", 2)?.value, "first")
    assert.strictEqual(world.get(root, "k", 3)?.value, "second")
  })

  it("count where one commit wrote a record twice, and what it wrote first is displaced late", () => {
    const world = new SpillingWorld(random(1), { blocks: 64, spill })
    const { versions } = world.tree
    const root = world.create(1)
    const put = (version: number, value: string): void => {
      world.put(root, { key: "k", value, version, expiry: Infinity })
    }
    put(1, "first of one commit")
    // Leaves memory, so that what follows is blind.
    world.evict(root.page)
    put(1, "last of one commit")
    versions.setVisible(2)
    versions.pin(2)
    put(2, "another commit")
    versions.setVisible(3)
    const check = (where: string): void => {
      assert.strictEqual(world.get(root, "k", 2)?.value, "last of one commit", where)
      for (const order of ["ascending", "descending"] as const) {
        const rows = world.scan(root, range("", undefined, order, 10), 2)
        assert.deepStrictEqual(rows.map(({ value }) => value), ["last of one commit"], `${where}, ${order}`)
      }
    }
    check("beside the base page")
    versions.setDurable(3)
    assert.strictEqual(world.spill(), 1)
    check("in the file, beside the base page")
    world.merge(root.page)
    versions.setDurable(3)
    check("in the file, and what it hides in memory")
    world.spill()
    check("both in the file")
  })

  it("are found when they leave memory while their reader looks elsewhere", () => {
    const world = new SpillingWorld(random(1), { blocks: 64, spill })
    const { versions } = world.tree
    const root = world.create(1)
    const put = (key: string, version: number, value: string): void => {
      world.put(root, { key, value, version, expiry: Infinity })
      versions.setVisible(version + 1)
    }
    put("k", 1, "first")
    versions.setDurable(2)
    world.evict(root.page)
    put("m", 3, "beside")
    put("y", 4, "beside")
    versions.pin(5)
    put("k", 5, "second")
    versions.pin(6)
    put("m", 6, "anew")
    put("k", 7, "third")
    versions.setDurable(8)
    assert.strictEqual(world.spill(), 2)
    world.merge(root.page)
    versions.setDurable(8)
    // The late record of the base page may reach over what is in the file: the file is looked into first.
    const outgoing = new Outgoing(versions)
    assert.isAbove(outgoing.count, 0)
    let finished = 0
    world.between = () => {
      if (finished === 0) finished = world.complete(outgoing)
    }
    for (const [at, value] of [[5, "first"], [6, "second"], [8, "third"]] as const) {
      assert.strictEqual(world.get(root, "k", at)?.value, value)
    }
    assert.isAbove(finished, 0, "it left between the two looks")
  })

  it("know of most keys that they are not there", () => {
    const run = new Run(1, 4_096)
    const scratch = new KeyScratch()
    const hash = (name: string): number => {
      scratch.load(bytes(name))
      return hashOf(1, scratch.words, scratch.length)
    }
    for (let index = 0; index < 4_096; index++) run.note(hash(`key ${index}`))
    let hopes = 0
    for (let index = 0; index < 4_096; index++) {
      assert.isTrue(run.mayHave(hash(`key ${index}`)))
      if (run.mayHave(hash(`other ${index}`))) hopes++
    }
    assert.isBelow(hopes, 4_096 * 0.04)
  })

  it("use the room of runs that went", () => {
    const chance = random(3)
    const book = new Spill({ ...spill, diskBytes: 40 * pageBytes })
    const pins = new Pins({ durable: 0, visible: 0 })
    const live: Array<{ readonly run: Run; readonly lsn: number }> = []
    const block = new Int32Array(pageBytes / 4)
    block[0] = 1
    block[3] = 10
    for (let step = 1; step <= 2_000; step++) {
      const blocks = 1 + chance.int(6)
      if (book.hasRoom(blocks) && chance.bool(0.6)) {
        const run = new Run(book.nextId++, 10)
        for (let index = 0; index < blocks; index++) run.add(block, book.take(), 0)
        run.cover(2 * step, 2 * step)
        run.cover(2 * step - 1, 2 * step)
        pins.add(2 * step)
        book.add(run, pins)
        live.push({ run, lsn: 2 * step })
      } else if (live.length > 0) {
        const [gone] = live.splice(chance.int(live.length), 1)
        const pin = pins.remove(gone?.lsn ?? 0)
        if (pin !== undefined) book.release(pin, pins)
      }
      const slots = live.flatMap(({ run }) => [...run.slots.subarray(0, run.count)])
      assert.strictEqual(new Set(slots).size, slots.length)
      assert.strictEqual(book.taken, slots.length)
      assert.strictEqual(book.end, Math.max(0, ...slots.map((slot) => slot + 1)))
      assert.isAtMost(book.end, 40)
      assert.strictEqual(book.runs.length, live.length)
    }
  })
})

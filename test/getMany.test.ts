/**
 * Many keys at once are answered as one after another, in the order of the caller, and miss each page once.
 */
import { assert, describe, it } from "@effect/vitest"
import type { BufferMode } from "../src/Limits.ts"
import { Missing } from "../src/tree/read/Answer.ts"
import { Many } from "../src/tree/read/Many.ts"
import { getMany, pagesOf } from "./support/many.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { keys, Model } from "./support/treeModel.ts"
import type { Row } from "./support/treeModel.ts"
import { bytes, pageBytes, text, World } from "./support/world.ts"

/** Room that loads never have to make, where counting them matters; little, where it does not. */
interface Shape {
  readonly mode: BufferMode
  readonly blocks: number
  /** Of memory that is in many pieces, so that the keys of a group come to pages in several. */
  readonly chunkBytes?: number
}
const shapes: ReadonlyArray<Shape> = [
  { mode: "miniPages", blocks: 2048 },
  { mode: "miniPages", blocks: 40 },
  { mode: "pages", blocks: 2048 },
  { mode: "pages", blocks: 40 },
  { mode: "miniPages", blocks: 128, chunkBytes: 4 * pageBytes },
  { mode: "pages", blocks: 128, chunkBytes: 4 * pageBytes }
]

/** Keys that are there, were there, never were, and some of them twice. */
const wanted = (chance: Random, model: Model, key: () => string): Array<string> => {
  const length = chance.pick([0, 1, 2, 15, 16, 17, 40, 130])
  const names: Array<string> = []
  while (names.length < length) {
    if (names.length > 0 && chance.bool(0.2)) names.push(chance.pick(names))
    else names.push(chance.bool(0.3) ? key() : chance.pick(model.keys().concat("")))
  }
  return names
}

const figures = { found: 0, absent: 0, past: 0, doubles: 0, loads: 0, calls: 0, chunks: 0, recalled: 0 }

/** The pieces of memory that hold pages. */
const chunksOf = ({ arena, tree: { pages: { map } } }: World): ReadonlySet<number> => {
  const chunks = new Set<number>([0])
  for (let id = 1; id < map.bound; id++) {
    const address = map.block[id] as number
    if (map.isUsed(id) && address >= 0) chunks.add(address >>> arena.shift)
  }
  return chunks
}

/** Writes, evictions, pins of the past; and now and then many keys, against the model and against single gets. */
const drive = (seed: number, shape: Shape): void => {
  const { blocks, mode } = shape
  const chance = random(seed)
  const world = new World(chance, { ...shape, promotionPercent: chance.pick([0, 20, 100]) })
  const { hints: { reads }, pages, versions } = world.tree
  const root = world.create(7)
  const model = new Model()
  const key = keys(chance, 60)
  const many = new Many()
  const pins: Array<number> = []
  for (let version = 1; version <= 600; version++) {
    const name = chance.bool(0.4) && model.keys().length > 0 ? chance.pick(model.keys()) : key()
    if (chance.bool(0.25)) {
      const before = model.get(name, version)
      world.remove(root, name, version)
      if (before !== undefined) model.write(name, version, undefined)
    } else {
      const expiry = chance.bool(0.2) ? chance.int(1e9) + 0.5 : Infinity
      const row: Row = { key: name, value: text(chance.bytes(chance.int(150))), version, expiry }
      world.put(root, row)
      model.write(name, version, row)
    }
    versions.setVisible(version + 1)
    if (chance.bool(0.1)) versions.setDurable(version + 1)
    if (chance.bool(0.03)) {
      versions.pin(version + 1)
      pins.push(version + 1)
    }
    if (pins.length > 3) versions.unpin(pins.shift() as number)
    if (chance.bool(0.3)) world.evict(1 + chance.int(pages.map.bound - 1))
    if (version % 15 > 0) continue
    // Everything, now and then: all that misses is missed at once.
    if (chance.bool(0.5)) {
      for (let id = 1; id < pages.map.bound; id++) if (pages.map.isUsed(id)) world.evict(id)
    }
    const at = pins.length > 0 && chance.bool(0.5) ? chance.pick(pins) : version + 1
    const names = wanted(chance, model, key)
    const note = `seed ${seed}, version ${version}, at ${at}`
    const before = world.loads
    const recalled = reads.found
    const { loads, rows } = getMany(world, root, names, at, many)
    figures.recalled += reads.found - recalled
    assert.deepStrictEqual(rows, names.map((name) => model.get(name, at)), note)
    if (blocks > 1000) {
      for (const [page, times] of loads) assert.strictEqual(times, 1, `${note}: page ${page}`)
      assert.strictEqual(world.loads - before, loads.size, note)
    }
    assert.deepStrictEqual(rows, names.map((name) => world.get(root, name, at)), note)
    figures.calls++
    figures.loads += loads.size
    figures.found += rows.filter((row) => row !== undefined).length
    figures.absent += rows.filter((row) => row === undefined).length
    figures.doubles += names.length - new Set(names).size
    if (at <= version) figures.past++
    figures.chunks += chunksOf(world).size - 1
  }
  const { cache, guest, insert, leaf, phantom, tombstone } = world.tree.hits
  if (mode === "miniPages") { for (const count of [cache, phantom, insert, tombstone]) minis.push(count) }
  assert.isAbove(leaf + guest, 0)
  world.audit([root])
}

/** What mini-pages answered, four figures a run. */
const minis: Array<number> = []

describe("getMany", () => {
  it.each(shapes)("answers as gets do: $mode, $blocks blocks", (shape) => {
    for (let seed = 1; seed <= 25; seed++) drive(seed, shape)
  })

  it("was looked at where it matters", () => {
    const kinds = [0, 1, 2, 3].map((kind) =>
      minis.reduce((sum, count, index) => index % 4 === kind ? sum + count : sum, 0)
    )
    for (const count of [...kinds, ...Object.values(figures)]) assert.isAbove(count, 500)
  })

  it("misses a page once for all keys that need it, and asks only for those again", () => {
    const chance = random(3)
    const world = new World(chance)
    const root = world.create(7)
    const names = Array.from({ length: 200 }, (_, index) => `key ${String(index).padStart(4, "0")}`)
    names.forEach((key, index) => world.put(root, { key, value: key, version: index + 1, expiry: Infinity }))
    const { map } = world.tree.pages
    for (let id = 1; id < map.bound; id++) if (map.isUsed(id)) world.merge(id)
    for (let id = 1; id < map.bound; id++) if (map.isUsed(id)) world.evict(id)
    const many = new Many().begin(names.length, "keys")
    const asked = names.map(bytes)
    assert.strictEqual(world.tree.getMany(root, asked, 1000, many), Missing)
    const missing = pagesOf(many.takeMissing())
    assert.isAbove(missing.length, 5)
    assert.deepStrictEqual(missing.flatMap(({ keys }) => keys), names.map((_, index) => index))
    const [first, ...others] = missing
    if (first === undefined) return assert.fail("nothing is missing")
    world.load(first.pageId)
    many.ask(0)
    world.tree.getMany(root, asked, 1000, many)
    assert.isFalse(many.misses)
    for (const index of first.keys) assert.isTrue(many.isFound(index))
    for (const { keys } of others) for (const index of keys) assert.isFalse(many.isFound(index))
    assert.strictEqual(many.used, 0, "values that nobody wants")
  })
})

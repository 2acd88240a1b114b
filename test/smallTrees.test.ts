/**
 * Small trees, all of them as far as time allows: keys so long that a leaf has room for two or three records and an
 * inner page for four long separators, written and removed in every order of a few, against a sorted map, with an audit
 * of the whole tree after each step.
 *
 * What goes wrong in trees most often goes wrong in small ones: splits at either end, a root that grows and shrinks,
 * merges with the only neighbour.
 *
 * `HEARTWOOD_SEED=n` replays the orders that are drawn for one seed, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Page from "../src/tree/page/Page.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import type { Row } from "./support/treeModel.ts"
import { World } from "./support/world.ts"

const asked = process.env["HEARTWOOD_SEED"]

/**
 * Three times so many keys as long as they may be. Two that differ in their last byte only are parted by a separator
 * that is as long as they are, and others by one of a byte.
 */
const keysOf = (groups: number): ReadonlyArray<string> =>
  Array.from(
    { length: 3 * groups },
    (_, index) => `${"abcdefgh"[Math.floor(index / 3)]}${"-".repeat(214)}${index % 3}`
  )
const nine = keysOf(3)
/** Enough for three levels. */
const many = keysOf(8)
const valueOf = (version: number): string => String(version).padEnd(28, ".")

/** Writes a key, or removes it: key index, and which. */
interface Op {
  readonly key: number
  readonly how: "put" | "remove"
}

const counts = { trees: 0, steps: 0, heights: 0, leaves: 0, shapes: 0 }
const shapes = new Set<string>()

/** The pages of a tree from its root on: how many records or separators each has. */
const shapeOf = (world: World, id: number): string => {
  const { arena, map } = world.tree.pages
  const address = map.block[id] as number
  const words = arena.wordsOf(address)
  const p = address & arena.mask
  const count = Page.count(words, p)
  if (Page.level(words, p) === 0) return String(count)
  const first = p + Page.headerWords + 2 * Page.capacity(words, p)
  const below = Array.from(
    { length: count + 1 },
    (_, index) => shapeOf(world, words[first + index] as number)
  )
  return `(${below.join(" ")})`
}

const whole = {
  lower: new Uint8Array(0),
  upper: undefined,
  order: "ascending",
  limit: 100,
  columns: "keys and values"
} as const

/** One world for all orders: each has a tree of its own in it, which is taken down afterwards. */
class Trees {
  private readonly world = new World(random(1), { blocks: 128 })
  private version = 0
  private trees = 0
  private readonly keys: ReadonlyArray<string>

  constructor(keys: ReadonlyArray<string>) {
    this.keys = keys
  }

  /** Carries out an order from an empty tree on, and compares after each step from `from` on. */
  run(ops: ReadonlyArray<Op>, from: number): void {
    const { world } = this
    const root = world.create(++this.trees)
    const model = new Map<string, Row>()
    counts.trees++
    for (const [step, { how, key }] of ops.entries()) {
      const name = this.keys[key] as string
      const version = ++this.version
      if (how === "put") {
        const row = { key: name, value: valueOf(version), version, expiry: Infinity }
        world.put(root, row)
        model.set(name, row)
      } else {
        world.remove(root, name, version)
        model.delete(name)
      }
      world.tree.versions.setVisible(version + 1)
      world.tree.versions.setDurable(version + 1)
      if (step < from) continue
      counts.steps++
      world.audit([root])
      const rows = [...model.values()].sort((a, b) => a.key < b.key ? -1 : 1)
      assert.deepStrictEqual(world.scan(root, whole, version + 1), rows, this.story(ops, step))
      assert.strictEqual(root.count, rows.length, this.story(ops, step))
      for (const other of this.keys) {
        assert.deepStrictEqual(world.get(root, other, version + 1), model.get(other), this.story(ops, step))
      }
      this.see(shapeOf(world, root.page))
    }
    world.drop(root, 64)
  }

  private see(shape: string): void {
    shapes.add(shape)
    counts.shapes = shapes.size
    counts.heights = Math.max(counts.heights, shape.split("(").length > 1 ? depthOf(shape) : 1)
    counts.leaves = Math.max(counts.leaves, shape.match(/\d+/g)?.length ?? 0)
  }

  private story(ops: ReadonlyArray<Op>, step: number): string {
    return ops.slice(0, step + 1).map(({ how, key }) => `${how} ${key}`).join(", ")
  }
}

const depthOf = (shape: string): number => {
  let [depth, most] = [1, 1]
  for (const char of shape) {
    if (char === "(") most = Math.max(most, ++depth)
    else if (char === ")") depth--
  }
  return most
}

/** All orders of so many keys out of `keys`. */
const orders = function*(
  keys: number,
  length: number,
  begun: ReadonlyArray<number> = []
): Generator<ReadonlyArray<number>> {
  if (begun.length === length) return yield begun
  for (let key = 0; key < keys; key++) {
    if (!begun.includes(key)) yield* orders(keys, length, [...begun, key])
  }
}

const puts = (keys: ReadonlyArray<number>): ReadonlyArray<Op> => keys.map((key) => ({ key, how: "put" }))
const removes = (keys: ReadonlyArray<number>): ReadonlyArray<Op> =>
  keys.map((key) => ({ key, how: "remove" }))

describe("small trees", () => {
  const trees = new Trees(nine)

  if (asked === undefined) {
    it("are right however five of seven keys are written, and six of six", () => {
      // What comes before the last step is an order of its own.
      for (const order of orders(7, 5)) trees.run(puts(order), 4)
      for (const order of orders(6, 6)) trees.run(puts(order), 5)
    })

    it("are right however four keys come and go", () => {
      const all = [...orders(4, 4)]
      for (const written of all) {
        for (const removed of all) trees.run([...puts(written), ...removes(removed)], 4)
      }
    })
  }

  it("are right however many keys come and go, drawn", () => {
    const trees = new Trees(many)
    const seeds = asked === undefined ? 80 : Number(asked)
    for (let seed = asked === undefined ? 1 : seeds; seed <= seeds; seed++) {
      const chance = random(seed)
      const removing = chance.pick([0.1, 0.3, 0.5])
      trees.run(
        Array.from({ length: 70 }, (): Op => ({
          key: chance.int(many.length),
          how: chance.bool(removing) ? "remove" : "put"
        })),
        0
      )
    }
    if (asked === undefined) assert.strictEqual(counts.heights, 3)
  })

  afterAll(() => {
    figure("M2 small trees", counts, [...shapes].slice(0, 20))
  })
})

/**
 * Operands: whatever order they are folded in, and whoever folds them, what is read is what the model says.
 *
 * First the reducers alone, then the kernel with readers of the past at every turn.
 */
import { assert, describe, it } from "@effect/vitest"
import { State } from "../src/tree/memory/MapTable.ts"
import { Fold, Reducer } from "../src/tree/page/Fold.ts"
import type { Root } from "../src/tree/Tree.ts"
import { Absent, Kind } from "../src/tree/Tree.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { foldOf, valueFor } from "./support/reducers.ts"
import { Model } from "./support/treeModel.ts"
import { bytes, text, World } from "./support/world.ts"

const builtIn = ["sum", "min", "max", "append", "union", "last"] as const

const fold = (reducer: number, value: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
  const fold = new Fold()
  fold.of(reducer, value, operand)
  return fold.value().slice()
}

describe("a reducer", () => {
  for (const name of builtIn) {
    it(`${name} folds in any order`, () => {
      for (let seed = 1; seed <= 300; seed++) {
        const chance = random(seed)
        const [a, b, c] = Array.from({ length: 3 }, () => valueFor(Reducer[name], chance, 60)) as [
          Uint8Array,
          Uint8Array,
          Uint8Array
        ]
        const left = fold(Reducer[name], fold(Reducer[name], a, b), c)
        const right = fold(Reducer[name], a, fold(Reducer[name], b, c))
        assert.deepStrictEqual(left, right, `seed ${seed}`)
        const expected = foldOf(Reducer[name], foldOf(Reducer[name], a, b), c)
        assert.deepStrictEqual(text(left), text(expected), `seed ${seed}`)
        assert.deepStrictEqual(text(fold(Reducer[name], undefined, a)), text(a), `seed ${seed}`)
      }
    })
  }

  it("answers whatever the bytes are, the same each time", () => {
    for (let seed = 1; seed <= 2000; seed++) {
      const chance = random(seed)
      const reducer = chance.int(17)
      const [a, b] = [chance.bytes(chance.int(12)), chance.bytes(chance.int(12))]
      const once = fold(reducer, a, b)
      assert.deepStrictEqual(fold(reducer, a, b), once, `seed ${seed}`)
      assert.isAtMost(once.length, a.length + b.length, `seed ${seed}`)
    }
  })

  it("pads what it made with zeros, for copies by words", () => {
    const place = new Fold()
    place.of(Reducer.append, bytes("long enough"), bytes(" to leave something"))
    place.of(Reducer.append, bytes("a"), bytes("b"))
    assert.strictEqual(place.words[0], Buffer.from("ab\0\0").readInt32LE())
  })
})

/** A kernel whose leaves are in memory or not as chance will have it, with every version pinned for a while. */
class Past {
  readonly model = new Model()
  readonly world: World
  readonly root: Root
  readonly pins: Array<number> = []
  version = 0
  /** Operands that were seen in mini-pages. */
  operands = 0
  private readonly chance: Random
  private readonly reducer: number
  private readonly keys: ReadonlyArray<string>
  /** Whether records expire: then operands are folded when they are written. */
  private readonly expires: boolean

  constructor(seed: number, reducer: number, keys: number) {
    this.expires = seed % 2 === 0
    this.chance = random(seed)
    this.reducer = reducer
    this.keys = Array.from({ length: keys }, (_, index) => `key ${String(index).padStart(3, "0")}`)
    this.world = new World(this.chance, { blocks: 64, promotionPercent: this.chance.pick([0, 50, 100]) })
    this.root = this.world.create(1, reducer)
  }

  step(): void {
    const { chance, keys, model, reducer, root, world } = this
    const { tree } = world
    const dice = chance.next()
    if (dice < 0.25) return this.leave()
    if (dice < 0.3) return this.resolve()
    const key = chance.pick(keys)
    const version = ++this.version
    const before = model.get(key, version)
    const operand = valueFor(reducer, chance, 60)
    if (dice < 0.75) {
      const base = before !== undefined && before.expiry > version ? before : undefined
      const value = foldOf(reducer, base === undefined ? undefined : bytes(base.value), operand)
      if (value.length > 300) return
      world.run(() => tree.reduce(root, bytes(key), operand, version, version))
      model.write(key, version, { key, value: text(value), version, expiry: base?.expiry ?? Infinity })
    } else if (dice < 0.85) {
      const expiry = this.expires && chance.bool(0.4) ? version + chance.int(60) : Infinity
      world.run(() => tree.put(root, bytes(key), Kind.Value, operand, version, expiry))
      model.write(key, version, { key, value: text(operand), version, expiry })
    } else {
      world.run(() => tree.remove(root, bytes(key), version))
      model.write(key, version, undefined)
    }
    tree.versions.setVisible(version + 1)
    if (chance.bool(0.3)) {
      tree.versions.pin(version + 1)
      this.pins.push(version + 1)
    }
    if (this.pins.length > 6) {
      tree.versions.unpin(this.pins.splice(chance.int(this.pins.length), 1)[0] as number)
    }
    if (chance.bool(0.8)) tree.versions.setDurable(version + 1)
  }

  /** Leaves go: from memory, or their mini-pages into them, or mini-pages that say nothing new. */
  private leave(): void {
    const { chance, world } = this
    const { pages } = world.tree
    const merges = chance.bool(0.25)
    for (let id = 1; id < pages.map.bound; id++) {
      if (!pages.map.isUsed(id) || ((pages.map.state[id] as number) & State.Inner) !== 0) continue
      if (merges && chance.bool(0.5)) world.merge(id)
      if (chance.bool(0.8)) world.evict(id)
    }
  }

  /** Looks up what blind writes left open, so that operands come to know that they are new. */
  private resolve(): void {
    const { root, world } = this
    for (let from = 1;;) {
      if (world.tree.resolve(root, from) === Absent) break
      from = world.tree.missing
      world.load(from)
    }
    assert.strictEqual(root.count, this.model.rows(this.version + 1).length)
  }

  look(): void {
    const { model, root, version, world } = this
    for (const at of [version + 1, ...this.pins]) {
      if (this.chance.bool(0.3)) this.leave()
      for (const key of this.keys) assert.deepStrictEqual(world.get(root, key, at), model.get(key, at))
      const rows = model.rows(at)
      for (const order of ["ascending", "descending"] as const) {
        const limit = this.chance.pick([1, 7, 1000])
        const range = {
          lower: new Uint8Array(0),
          upper: undefined,
          limit,
          order,
          columns: "keys and values"
        } as const
        const found = world.scan(root, range, at)
        assert.deepStrictEqual(found, order === "ascending" ? rows : rows.toReversed())
      }
    }
    const report = world.audit([root])
    for (const { mini } of report.trees.flatMap(({ leaves }) => leaves)) this.operands += mini?.operands ?? 0
  }
}

describe("operands in the kernel", () => {
  for (const name of builtIn) {
    it(`${name}: readers of now and of the past`, () => {
      let operands = 0
      for (let seed = 1; seed <= 5; seed++) {
        const past = new Past(seed, Reducer[name], seed % 3 === 0 ? 6 : 60)
        try {
          for (let step = 1; step <= 400; step++) {
            past.step()
            if (step % 20 === 0) past.look()
          }
        } catch (error) {
          throw new Error(`seed ${seed}, version ${past.version}: ${(error as Error).message}`, {
            cause: error
          })
        }
        operands += past.operands
      }
      if (name !== "last") assert.isAbove(operands, 20)
    })
  }
})

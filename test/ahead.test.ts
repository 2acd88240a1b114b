/**
 * What a scan will want next: the leaves that follow, all of them and no others.
 */
import { assert, describe, it } from "@effect/vitest"
import type { LeafView } from "../src/tree/Audit.ts"
import { Ahead } from "../src/tree/read/Ahead.ts"
import type { Root } from "../src/tree/Tree.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { bytes, World } from "./support/world.ts"

const most = 16
const unlimited = { records: Infinity, leafRecords: 9 }
const compare = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b)

interface Planted {
  readonly world: World
  readonly root: Root
  /** A tree that is one leaf: a scan of it has nothing ahead. */
  readonly small: Root
  readonly leaves: ReadonlyArray<LeafView>
}

/** A tree of three levels, whose leaves are not in memory but for some. */
const planted = (chance: Random, inMemory: number): Planted => {
  const world = new World(chance, { mode: "pages" })
  const root = world.create(1)
  for (let version = 1; version <= 4_000; version++) {
    const key = String(chance.int(100_000)).padStart(5, "0") + "k".repeat(chance.int(12))
    world.put(root, { key, value: "v".repeat(40), version, expiry: Infinity })
  }
  world.tree.versions.setVisible(5_000)
  world.tree.versions.setDurable(5_000)
  const small = world.create(2)
  const leaves = world.audit([root, small]).trees[0]?.leaves ?? []
  assert.isAbove(leaves.length, 200)
  for (const { pageId } of leaves) if (!chance.bool(inMemory)) world.evict(pageId)
  return { world, root, small, leaves }
}

/** One whose window is open so far: 0, 1, 2, 4 … */
const opened = ({ small, world }: Planted, misses: number): Ahead => {
  const ahead = new Ahead(most)
  const range = { lower: bytes(""), upper: undefined, order: "ascending" } as const
  for (let times = 0; times < misses; times++) {
    assert.strictEqual(ahead.look(world.tree.pages, small, range, unlimited, 0xffffff + times), 0)
  }
  return ahead
}

const named = (ahead: Ahead): ReadonlyArray<number> => [...ahead.ids.subarray(0, ahead.count)]

describe("ahead", () => {
  it("names the leaves that follow, in their order, and none beyond the range or its limit", () => {
    let ends = 0
    for (let seed = 1; seed <= 8; seed++) {
      const chance = random(seed)
      const all = planted(chance, chance.pick([0, 0.3]))
      const { leaves, root, world } = all
      const { map } = world.tree.pages
      const someKey = (): Uint8Array =>
        chance.bool(0.3) ? chance.pick(leaves).low : bytes(String(chance.int(100_000)).padStart(5, "0"))
      for (let probe = 0; probe < 200; probe++) {
        const first = chance.int(leaves.length)
        const near = leaves[first + chance.int(6)]?.low
        const [one, other] = (near !== undefined && chance.bool(0.3)
          ? [leaves[first]?.low ?? near, near]
          : [someKey(), someKey()]).sort(compare) as [Uint8Array, Uint8Array]
        if (compare(one, other) === 0) continue
        const lower = chance.bool(0.2) ? bytes("") : one
        const upper = chance.bool(0.3) ? undefined : other
        const order = chance.pick(["ascending", "descending"] as const)
        const misses = chance.int(8)
        const wanted = chance.bool(0.5)
          ? unlimited
          : { records: 1 + chance.int(40), leafRecords: chance.int(12) }
        const within = leaves.filter(({ high, low }) =>
          (high === undefined || compare(high, lower) > 0) && (upper === undefined || compare(low, upper) < 0)
        )
        if (order === "descending") within.reverse()
        const window = misses < 2 ? 0 : Math.min(most, 2 ** (misses - 2))
        const limit = wanted.records === Infinity
          ? Infinity
          : wanted.leafRecords === 0
          ? 0
          : Math.ceil(wanted.records / wanted.leafRecords)
        const expected = window === 0
          ? []
          : within.slice(0, Math.min(window + 1, limit)).filter(({ pageId }) =>
            (map.block[pageId] as number) < 0
          )
        if (within.length < window) ends++
        const ahead = opened(all, misses)
        ahead.look(world.tree.pages, root, { lower, upper, order }, wanted, 0)
        const label = `seed ${seed}, probe ${probe}: ${order}, window ${window}, limit ${limit}`
        // As many as it has room for: the page at the position may be one more.
        assert.deepStrictEqual(named(ahead), expected.map(({ pageId }) => pageId).slice(0, most), label)
      }
    }
    assert.isAbove(ends, 20, "ranges that end within the window")
  })

  it("names each page once, unless it was not taken on, and not the one that is missed", () => {
    const all = planted(random(1), 0)
    const { leaves, root, world: { tree: { pages } } } = all
    const ids = leaves.map(({ pageId }) => pageId)
    const ahead = opened(all, 4)
    const range = { lower: bytes(""), upper: undefined, order: "ascending" } as const
    ahead.look(pages, root, range, unlimited, ids[0] as number)
    assert.deepStrictEqual(named(ahead), ids.slice(1, 9))
    ahead.took(5)
    ahead.look(pages, root, range, unlimited, 0)
    assert.deepStrictEqual(named(ahead), [ids[0], ...ids.slice(6, 9)])
    ahead.took(4)
    assert.strictEqual(ahead.look(pages, root, range, unlimited, 0), 0)
  })

  it("looks less far when what it named is gone again, and further when it is only late", () => {
    const all = planted(random(2), 0)
    const { leaves, root, world } = all
    const { pages } = world.tree
    const ids = leaves.map(({ pageId }) => pageId)
    const from = (index: number) =>
      ({ lower: leaves[index]?.low ?? bytes(""), upper: undefined, order: "ascending" }) as const
    const ahead = opened(all, 4)
    ahead.look(pages, root, from(0), unlimited, 0)
    assert.deepStrictEqual(named(ahead), ids.slice(0, 5))
    ahead.look(pages, root, from(1), unlimited, ids[1] as number)
    assert.deepStrictEqual(named(ahead), ids.slice(5, 10), "late: a window of 8")
    world.load(ids[2] as number)
    world.evict(ids[2] as number)
    ahead.look(pages, root, from(6), unlimited, ids[2] as number)
    assert.deepStrictEqual(named(ahead), ids.slice(10, 11), "lost: a window of 4")
  })

  it("knows nothing ahead where it may not look, and names an inner page where the way ends", () => {
    const all = planted(random(3), 0)
    const { pages } = all.world.tree
    const range = { lower: bytes(""), upper: undefined, order: "ascending" } as const
    const none = new Ahead(0)
    for (let times = 0; times < 9; times++) {
      assert.strictEqual(none.look(pages, all.root, range, unlimited, 1 + times), 0)
    }
    const root = { ...all.root, page: all.leaves[0]?.pageId ?? 0 }
    const ahead = opened(all, 9)
    ahead.look(pages, root, range, unlimited, 0)
    assert.deepStrictEqual(named(ahead), [root.page])
  })
})

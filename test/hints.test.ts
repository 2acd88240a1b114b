/**
 * What is remembered of where keys were found is advice: it saves the way down, and is never believed.
 */
import { assert, describe, it } from "@effect/vitest"
import { hashOf } from "../src/tree/past/VersionTable.ts"
import type { Root } from "../src/tree/Tree.ts"
import { Absent, Kind, Replaced } from "../src/tree/Tree.ts"
import { getMany } from "./support/many.ts"
import { random } from "./support/random.ts"
import { bytes, text, World } from "./support/world.ts"

const nameOf = (number: number): string => `key ${String(number).padStart(8, "0")}`
const row = (key: string, value: string, version = 1) => ({ key, value, version, expiry: Infinity })

/** A tree of some leaves. */
const filled = (count: number, prefix = "", treeId = 7, world = new World(random(1))) => {
  const root = world.create(treeId)
  const names = Array.from({ length: count }, (_, number) => prefix + nameOf(number))
  for (const name of names) world.put(root, row(name, `of ${name}`))
  return { names, root, world }
}

const wordsOf = (name: string): Int32Array => {
  const padded = new Uint8Array(name.length + 3 & ~3)
  padded.set(bytes(name))
  return new Int32Array(padded.buffer)
}
const hash = (treeId: number, name: string): number => hashOf(treeId, wordsOf(name), name.length)

/** What multiplies to 1 with the hash's factor, modulo 2³². */
const inverse = (() => {
  let guess = 1
  for (let round = 0; round < 6; round++) {
    guess = Math.imul(guess, 2 - Math.imul(0x9e3779b1, guess))
  }
  return guess
})()

/** A text of four bytes that takes a hash from one state to another. */
const between = (from: number, to: number): string => {
  const mixed = to ^ to >>> 15 ^ to >>> 30
  return text(new Uint8Array(Int32Array.of(Math.imul(mixed, inverse) ^ from).buffer))
}

/** A key that begins as it is told, and has the hash of another one of the tree. */
const colliding = (treeId: number, begin: string, with_: { treeId: number; name: string }): string => {
  const key = begin + between(hash(treeId, begin), hash(with_.treeId, with_.name))
  assert.strictEqual(hash(treeId, key), hash(with_.treeId, with_.name))
  return key
}

type ValueOf = (world: World, root: Root, name: string, at?: number) => string | undefined

/** Both ways to read a key. */
const doors: ReadonlyArray<{ readonly by: string; readonly valueOf: ValueOf }> = [
  { by: "get", valueOf: (world, root, name, at = 10) => world.get(root, name, at)?.value },
  { by: "getMany", valueOf: (world, root, name, at = 10) => getMany(world, root, [name], at).rows[0]?.value }
]

describe.each(doors)("where a key was found last, by $by", ({ valueOf }) => {
  it("is where it is found again", () => {
    const { names, root, world } = filled(1_500)
    const { reads } = world.tree.hints
    for (const name of names) assert.strictEqual(valueOf(world, root, name), `of ${name}`)
    assert.strictEqual(reads.found, 0)
    for (let round = 0; round < 9; round++) {
      for (const name of names) assert.strictEqual(valueOf(world, root, name), `of ${name}`)
    }
    // Three of a set of two do not stay, and few stay before there are as many sets as may be.
    assert.isAbove(reads.found, names.length * 9 * 0.7)
  })

  it("is not asked for in trees that are lower, and takes no memory then", () => {
    const { root, world } = filled(1_500, "", 7, new World(random(1), { hintLevel: 4 }))
    for (let round = 0; round < 3; round++) valueOf(world, root, nameOf(1))
    assert.deepStrictEqual([world.tree.hints.reads.found, world.tree.hints.bytes], [0, 0])
  })

  it("takes memory as it is wanted, up to a 64th of the arena", () => {
    const { names, root, world } = filled(12_000, "", 7, new World(random(1), { blocks: 4_096 }))
    const { arena, tree: { hints } } = world
    const few = names.slice(0, 250)
    for (let round = 0; round < 50; round++) for (const name of few) valueOf(world, root, name)
    assert.strictEqual(hints.bytes, 16_384)
    for (const name of names) valueOf(world, root, name)
    assert.strictEqual(hints.bytes, arena.blocks * arena.pageBytes / 64)
    const { reads } = hints
    const before = reads.found
    for (let round = 0; round < 3; round++) for (const name of few) valueOf(world, root, name)
    assert.isAbove(reads.found - before, few.length * 1.9)
  })

  it("is overwritten there: the version before stays for who may see it, and the leaf knows when it expires", () => {
    const { root, world: { tree }, world } = filled(300)
    const name = nameOf(123)
    tree.versions.setVisible(5)
    assert.strictEqual(valueOf(world, root, name), `of ${name}`)
    const answer = tree.put(root, bytes(name), Kind.Value, bytes("anew"), 5, 1_000)
    assert.deepStrictEqual([answer, tree.hints.writes.found], [Replaced, 1])
    assert.deepStrictEqual(world.get(root, name, 6), { ...row(name, "anew", 5), expiry: 1_000 })
    assert.strictEqual(valueOf(world, root, name, 5), `of ${name}`)
    assert.isAbove(tree.pages.deadlines.due(1_000, 1), 0)
    assert.strictEqual(tree.pages.deadlines.due(999, 1), 0)
    assert.strictEqual(root.count, 300)
    world.audit([root])
  })

  it("is left for the way down where a longer value does not fit", () => {
    const { root, world: { tree }, world } = filled(300)
    const long = "x".repeat(400)
    for (let number = 0; number < 300; number++) {
      const name = nameOf(number)
      valueOf(world, root, name)
      assert.strictEqual(tree.put(root, bytes(name), Kind.Value, bytes(long), 2), Replaced)
    }
    for (let number = 0; number < 300; number++) {
      assert.strictEqual(valueOf(world, root, nameOf(number)), long)
    }
    world.audit([root])
  })

  it("is not where another key of the same hash is", () => {
    const { root, world } = filled(300)
    const name = nameOf(123)
    for (const begin of ["aaaa", "key 000x", "zzzz"]) {
      const other = colliding(7, begin, { treeId: 7, name })
      valueOf(world, root, name)
      assert.isUndefined(valueOf(world, root, other), "an absent one")
      world.put(root, row(other, "another"))
      for (let round = 0; round < 3; round++) {
        assert.deepStrictEqual([valueOf(world, root, name), valueOf(world, root, other)], [
          `of ${name}`,
          "another"
        ])
      }
      world.put(root, row(name, `of ${name}`, 2))
      assert.strictEqual(valueOf(world, root, other), "another")
    }
  })

  it("is not where a key stands that differs in what its leaf does not store of it", () => {
    const prefix = "ABCDEFGH"
    const { root, world } = filled(300, prefix)
    const name = prefix + nameOf(123)
    valueOf(world, root, name)
    const begin = "abcd"
    const other = begin + between(hash(7, begin), hash(7, prefix)) + nameOf(123)
    assert.strictEqual(hash(7, other), hash(7, name))
    assert.isUndefined(valueOf(world, root, other))
    assert.strictEqual(world.tree.put(root, bytes(other), Kind.Value, bytes("another"), 2), 2)
    assert.deepStrictEqual([valueOf(world, root, name), valueOf(world, root, other)], [
      `of ${name}`,
      "another"
    ])
  })

  it("is not in the leaf of another tree", () => {
    const world = new World(random(1), { hintLevel: 0 })
    const name = nameOf(1)
    // One word of the key makes up for the other id of the tree.
    const words = wordsOf(name)
    words[0] = (words[0] as number) ^ 7 ^ 8
    const twin = text(new Uint8Array(words.buffer))
    assert.strictEqual(hash(8, twin), hash(7, name))
    const { root } = filled(3, "", 7, world)
    const other = filled(3, "", 8, world).root
    world.put(root, row(twin, "in the first tree"))
    valueOf(world, root, name)
    assert.isUndefined(valueOf(world, other, twin))
  })

  it("is not where another key of the same hash stands in the same slot", () => {
    const { root, world } = filled(3, "", 7, new World(random(1), { hintLevel: 0 }))
    const name = nameOf(1)
    const other = colliding(7, "key 000x", { treeId: 7, name })
    assert.strictEqual(other.length, name.length)
    valueOf(world, root, name)
    assert.isUndefined(valueOf(world, root, other))
    assert.strictEqual(valueOf(world, root, name), `of ${name}`)
  })

  it("is not where its record stood before it grew, though its slot is another key's now", () => {
    const { names, root, world } = filled(8, "", 7, new World(random(1), { hintLevel: 0 }))
    const name = names[4] as string
    valueOf(world, root, name)
    const long = "x".repeat(100)
    world.put(root, row(name, long, 2))
    world.put(root, row(`${names[2]}a`, "between"))
    const { reads } = world.tree.hints
    for (let round = 0; round < 3; round++) assert.strictEqual(valueOf(world, root, name), long)
    assert.isAbove(reads.found, 1)
  })

  it("is found where other keys have moved its slot, and noted there", () => {
    const { names, root, world } = filled(200)
    const { reads } = world.tree.hints
    const asked = names.filter((_, number) => number % 2 === 0)
    for (const name of asked) valueOf(world, root, name)
    for (const name of asked) world.put(root, row(`${name}a`, "after it"))
    for (let round = 0; round < 2; round++) {
      const before = reads.found
      for (const name of asked) assert.strictEqual(valueOf(world, root, name), `of ${name}`)
      // What was split off is not where it was.
      assert.isAbove(reads.found - before, round === 0 ? 0 : asked.length * 0.8)
    }
  })

  it("is asked for no longer where that is in vain, and again some time later", () => {
    const { names, root, world: { tree } } = filled(20_000, "", 7, new World(random(1), { blocks: 4_096 }))
    const { reads } = tree.hints
    const read = (some: ReadonlyArray<Uint8Array>, rounds: number): number => {
      const before = reads.found
      for (let round = 0; round < rounds; round++) for (const key of some) tree.get(root, key, 10)
      return reads.found - before
    }
    const all = names.map(bytes)
    // In a circle of more keys than there are entries each is displaced before its turn comes.
    read(all, 1)
    assert.isBelow(read(all, 20), 20_000)
    assert.isAbove(read(all.slice(0, 1_000), 200), 20_000)
  })

  it("is not where an older record stands below what was written since", () => {
    const { names, root, world } = filled(300)
    for (const name of names) valueOf(world, root, name)
    for (let id = 1; id < world.tree.pages.map.bound; id++) {
      if (world.tree.pages.map.isUsed(id)) world.evict(id)
    }
    const newer = names.filter((_, number) => number % 3 === 0)
    for (const name of newer) world.put(root, row(name, `new of ${name}`, 2))
    // Brings the leaves back, beside their mini-pages.
    for (const name of names) valueOf(world, root, name)
    for (const name of newer) assert.strictEqual(valueOf(world, root, name), `new of ${name}`)
  })

  for (const pageBytes of [1024, 4096, 32_768]) {
    it(`is found wherever in a leaf of ${pageBytes} bytes its slot is`, () => {
      const world = new World(random(1), { pageBytes, blocks: 16_777_216 / pageBytes, hintLevel: 0 })
      const root = world.create(7)
      const names = Array.from({ length: 250 }, (_, number) => String(number).padStart(4, "0"))
      for (const name of names) world.put(root, row(name, name))
      const { reads } = world.tree.hints
      for (let round = 0; round < 3; round++) {
        const before = reads.found
        for (const name of names) assert.strictEqual(valueOf(world, root, name), name)
        assert.isAtLeast(reads.found - before, round === 0 ? 0 : names.length * 0.9)
      }
      world.audit([root])
    })
  }

  it("is forgotten with what is evicted, and found anew", () => {
    const { names, root, world } = filled(300)
    for (const name of names) valueOf(world, root, name)
    for (let id = 1; id < world.tree.pages.map.bound; id++) {
      if (world.tree.pages.map.isUsed(id)) world.evict(id)
    }
    for (const name of names) assert.strictEqual(valueOf(world, root, name), `of ${name}`)
    assert.strictEqual(world.run(() => world.tree.get(root, bytes("absent"), 10)), Absent)
  })
})

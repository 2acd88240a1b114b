import { assert, describe, it } from "@effect/vitest"
import type { BufferMode } from "../src/Limits.ts"
import { State } from "../src/tree/memory/MapTable.ts"
import type { Cut } from "../src/tree/memory/Pages.ts"
import type { Root } from "../src/tree/Tree.ts"
import { random } from "./support/random.ts"
import type { Row } from "./support/treeModel.ts"
import { keys, Model } from "./support/treeModel.ts"
import { World } from "./support/world.ts"

const whole = {
  lower: new Uint8Array(0),
  upper: undefined,
  order: "ascending",
  limit: 1000,
  columns: "keys and values"
} as const

/** Checkpoints at random moments, in random order, while writers go on and pages come and go. */
const checkpoints = (
  seed: number,
  options: { readonly failures: number; readonly blocks: number; readonly mode?: BufferMode }
): number => {
  const chance = random(seed)
  const world = new World(chance, options)
  const { pages } = world.tree
  const roots = [world.create(1), world.create(2)]
  const models = [new Model(), new Model()]
  const key = keys(chance, 60)
  let made = 0
  let moves = 0
  let removals = 0.4
  let cut: Cut | undefined
  let atCut: { readonly version: number; readonly roots: ReadonlyArray<Root> } | undefined
  for (let version = 1; version <= 700; version++) {
    const which = chance.int(2)
    const root = roots[which] as Root
    const model = models[which] as Model
    const name = chance.bool(0.5) && model.keys().length > 0 ? chance.pick(model.keys()) : key()
    if (chance.bool(0.02)) removals = chance.pick([0.1, 0.9])
    if (chance.bool(removals)) {
      world.remove(root, name, version)
      model.write(name, version, undefined)
    } else {
      const row: Row = { key: name, value: "v".repeat(chance.int(120)), version, expiry: Infinity }
      world.put(root, row)
      model.write(name, version, row)
    }
    if (chance.bool(0.1)) world.startEvictions(2)
    if (chance.bool(0.2)) world.land(2)
    if (chance.bool(0.1)) world.evict(1 + chance.int(pages.map.bound - 1))
    if (chance.bool(0.1)) world.startMoves(3)
    if (chance.bool(0.2)) moves += world.landMoves(2)
    if (version % 90 === 0) world.audit(roots)
    if (cut === undefined) {
      if (!chance.bool(0.03)) continue
      cut = world.cut()
      atCut = { version: version + 1, roots: roots.map((root) => ({ ...root })) }
      continue
    }
    const swept = cut.pending[chance.int(cut.pending.length)]
    if (swept !== undefined) pages.capture(swept, world.flying)
    if (chance.bool(0.3)) world.flying.push(...pages.captured.drain())
    if (!chance.bool(0.05)) continue
    if (chance.bool(options.failures)) {
      pages.abandon()
    } else {
      const checkpoint = world.finish(cut)
      const reopened = world.reopen(checkpoint, atCut?.roots)
      reopened.audit(atCut?.roots ?? [])
      atCut?.roots.forEach((root, index) => {
        const expected = models[index]?.rows(atCut?.version ?? 0)
        assert.deepStrictEqual(
          reopened.scan(root, whole, Infinity),
          expected,
          `seed ${seed}, version ${version}`
        )
      })
      made++
    }
    cut = undefined
  }
  if (cut !== undefined) world.finish(cut)
  // All that is left on the disk is what somebody refers to.
  world.land(world.flying.length)
  world.landMoves(Infinity)
  world.finish(world.cut())
  world.finish(world.cut())
  world.finish(world.cut())
  const referred = new Set<number>()
  for (const { packs, slots } of world.slots.checkpoints) {
    for (const { slot } of [...slots.values(), ...packs.values()]) referred.add(slot)
  }
  for (let id = 1; id < pages.map.bound; id++) referred.add(pages.map.slot[id] as number)
  for (const slot of world.slots.images.keys()) {
    assert.isTrue(referred.has(slot), `seed ${seed}: slot ${slot} leaks`)
  }
  assert.isAbove(moves, 10)
  return made
}

describe("pages", () => {
  it("checkpoints are the tree at the cut, whatever happens meanwhile", () => {
    let made = 0
    for (let seed = 1; seed <= 80; seed++) made += checkpoints(seed, { failures: 0, blocks: 2048 })
    assert.isAbove(made, 200)
  })

  it("a checkpoint that fails becomes part of the next one", () => {
    let made = 0
    for (let seed = 101; seed <= 160; seed++) made += checkpoints(seed, { failures: 0.5, blocks: 2048 })
    assert.isAbove(made, 50)
  })

  it.each(["miniPages", "pages"] as const)("checkpoints in little memory: %s", (mode) => {
    let made = 0
    for (let seed = 201; seed <= 240; seed++) made += checkpoints(seed, { failures: 0.2, blocks: 30, mode })
    assert.isAbove(made, 50)
  })

  it("what is not changed needs no image", () => {
    const world = new World(random(1))
    const root = world.create(1)
    world.put(root, { key: "a", value: "1", version: 1, expiry: Infinity })
    const first = world.cut()
    assert.deepStrictEqual(first, {
      version: 1,
      changed: Int32Array.of(root.page),
      pending: Int32Array.of(root.page)
    })
    world.finish(first)
    assert.deepStrictEqual(world.cut(), { version: 2, changed: Int32Array.of(), pending: Int32Array.of() })
    world.tree.pages.complete()
    world.put(root, { key: "b", value: "2", version: 2, expiry: Infinity })
    assert.strictEqual(world.tree.pages.changedPages, 1)
    world.evict(root.page)
    assert.deepStrictEqual(world.cut(), {
      version: 3,
      changed: Int32Array.of(root.page),
      pending: Int32Array.of()
    })
  })

  it("a copy of an image counts for the next cut, and only while the page is what was copied", () => {
    const world = new World(random(1))
    const { pages } = world.tree
    const { map } = pages
    const { page } = world.create(1)
    world.finish(world.cut())
    const at = () => ({ generation: map.generation[page] as number, slot: map.slot[page] as number })
    const old = at()
    assert.isTrue(pages.moved(page, old, { slot: 1_000, checksum: 7 }))
    assert.strictEqual(map.slot[page], 1_000)
    assert.strictEqual(map.cutSlot[page], old.slot, "the newest checkpoint has it where it was")
    assert.isEmpty(pages.retired)
    assert.isFalse(pages.moved(page, old, { slot: 1_001, checksum: 7 }), "no longer there")
    assert.deepStrictEqual(pages.retired.splice(0), [{ slot: 1_001, version: 0 }])
    assert.isTrue(pages.moved(page, at(), { slot: 1_002, checksum: 7 }))
    assert.deepStrictEqual(pages.retired.splice(0), [{ slot: 1_000, version: 0 }])
    const cut = pages.cut()
    assert.deepStrictEqual(cut, { version: 2, changed: Int32Array.of(page), pending: Int32Array.of() })
    assert.deepStrictEqual(pages.retired.splice(0), [{ slot: old.slot, version: 2 }])
    const stale = at()
    pages.touch(page)
    assert.isFalse(pages.moved(page, stale, { slot: 1_003, checksum: 7 }))
    assert.isFalse(pages.moved(page, at(), { slot: 1_004, checksum: 7 }), "without an image")
    pages.complete()
  })

  it("what a checkpoint left is to be checked whole, until that was done once", () => {
    const world = new World(random(1))
    const root = world.create(1)
    for (let index = 0; index < 300; index++) {
      world.put(root, { key: `key ${index}`, value: "v".repeat(40), version: 1 + index, expiry: Infinity })
    }
    const ids = (of: World): ReadonlyArray<number> =>
      Array.from({ length: of.tree.pages.map.bound }, (_, id) => id).filter((id) =>
        of.tree.pages.map.isUsed(id)
      )
    const checked = (of: World): number =>
      ids(of).filter((id) => ((of.tree.pages.map.state[id] as number) & State.Checked) !== 0).length
    const checkpoint = world.finish(world.cut())
    const pages = ids(world).length
    assert.isAbove(pages, 5)
    assert.strictEqual(checked(world), pages, "made here")
    const reopened = world.reopen(checkpoint, [root])
    assert.strictEqual(checked(reopened), 0, "made elsewhere")
    assert.strictEqual(reopened.scan(root, whole, Infinity).length, 300)
    assert.strictEqual(checked(reopened), pages, "checked")
    for (const id of ids(reopened)) reopened.evict(id)
    assert.strictEqual(checked(reopened), pages, "still what they were")
    const other = reopened.create(2)
    assert.strictEqual(
      (reopened.tree.pages.map.state[other.page] as number) & State.Checked,
      0,
      "no image yet"
    )
  })

  it("a load that comes too late is left out", () => {
    const world = new World(random(1))
    const { pages } = world.tree
    const root = world.create(1)
    world.evict(root.page)
    const image = world.read(root.page)
    const generation = pages.map.generation[root.page] as number
    assert.strictEqual(pages.install(root.page, generation, image), "installed")
    assert.strictEqual(pages.install(root.page, generation, image), "stale")
    world.put(root, { key: "a", value: "1", version: 1, expiry: Infinity })
    world.evict(root.page)
    assert.strictEqual(pages.install(root.page, generation, image), "stale")
    assert.strictEqual(pages.evict(root.page), false)
    const page = root.page
    pages.free(page)
    assert.strictEqual(pages.install(page, pages.map.generation[page] as number, image), "stale")
  })
})

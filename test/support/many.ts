/** Many keys at once through the kernel, with the loads that they need. */
import { assert } from "@effect/vitest"
import { Kind } from "../../src/tree/page/Leaf.ts"
import { Absent, Missing } from "../../src/tree/read/Answer.ts"
import { Many } from "../../src/tree/read/Many.ts"
import type { Misses } from "../../src/tree/read/Misses.ts"
import type { Root } from "../../src/tree/Tree.ts"
import type { Row } from "./treeModel.ts"
import { bytes, text } from "./world.ts"
import type { World } from "./world.ts"

/** The pages that were missed, with their keys. */
export const pagesOf = (missing: Misses) =>
  Array.from(missing.pageIds.subarray(0, missing.count), (pageId, place) => {
    const keys = new Int32Array(1_000)
    return { pageId, keys: [...keys.subarray(0, missing.keysInto(place, keys))] }
  })

/** Looks up keys until none misses a page; answers the rows, and how often each page was loaded. */
export const getMany = (
  world: World,
  root: Root,
  names: ReadonlyArray<string>,
  at: number,
  many = new Many()
): { readonly rows: Array<Row | undefined>; readonly loads: ReadonlyMap<number, number> } => {
  const { tree } = world
  const asked = names.map(bytes)
  const loads = new Map<number, number>()
  many.begin(asked.length, "keys and values")
  let answer = tree.getMany(root, asked, at, many)
  for (let round = 0; answer === Missing; round++) {
    assert.isBelow(round, 1000, "a lookup does not end")
    const missing = pagesOf(many.takeMissing())
    const waiting = missing.flatMap(({ keys }) => keys)
    assert.strictEqual(new Set(waiting).size, waiting.length, "a key waits twice")
    for (const [place, { pageId }] of missing.entries()) {
      loads.set(pageId, (loads.get(pageId) ?? 0) + 1)
      if (tree.pages.map.isUsed(pageId) && (tree.pages.map.block[pageId] as number) < 0) world.load(pageId)
      many.ask(place)
      tree.getMany(root, asked, at, many)
    }
    answer = many.misses ? Missing : Absent
  }
  const rows = names.map((key, index) => {
    const value = many.value(index)
    if (value === undefined) return undefined
    assert.strictEqual(many.kind(index), Kind.Value)
    return { key, value: text(value), version: many.version(index), expiry: many.expiry(index) }
  })
  return { rows, loads }
}

/**
 * What an inner page from the disk may point to: without this, a page that leads back to itself, or to a page that is
 * not there, would send its readers round for ever.
 *
 * Inner pages stay in memory, and whoever goes down has brought in those above before. So a pointer upwards is one to a
 * page in memory, and shows here.
 */
import * as Page from "../page/Page.ts"
import type { Arena } from "./Arena.ts"
import type { MapTable } from "./MapTable.ts"

/** The first child of an inner page that cannot be one; undefined where there is none, and for leaves. */
export const strayChild = (
  arena: Arena,
  map: MapTable,
  pageId: number,
  words: Int32Array
): number | undefined => {
  const level = Page.level(words, 0)
  if (level === 0) return undefined
  const first = Page.headerWords + 2 * Page.capacity(words, 0)
  const count = Page.count(words, 0) + 1
  for (let index = 0; index < count; index++) {
    const child = words[first + index] as number
    if (child === pageId || !map.isUsed(child)) return child
    const block = map.block[child] as number
    if (block >= 0 && Page.level(arena.wordsOf(block), block & arena.mask) !== level - 1) return child
  }
  return undefined
}

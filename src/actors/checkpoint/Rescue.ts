/**
 * What becomes of pages whose newest images a failed sync of the page file has left in doubt.
 *
 * I1 When it has ended, each of them has changed since, so that the next checkpoint writes it elsewhere.
 */
import * as Effect from "effect/Effect"
import type { StoreError } from "../../StoreError.ts"
import type { Purpose } from "../../tree/memory/Events.ts"
import { State } from "../../tree/memory/MapTable.ts"
import type { Pages } from "../../tree/memory/Pages.ts"

/** Loads each page with an image in one of these slots, which verifies it, and has it imaged anew. */
export const rescue = (
  load: (pageId: number, purpose: Purpose) => Effect.Effect<void, StoreError>,
  pages: Pages,
  suspects: Set<number>
): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    if (suspects.size === 0) return Effect.void
    const { map } = pages
    const ids: Array<number> = []
    for (let id = 1; id < map.bound; id++) {
      if (suspects.has(map.slot[id] as number) || suspects.has(map.cutSlot[id] as number)) ids.push(id)
      const packed = ((map.state[id] as number) & State.Mini) !== 0 && suspects.has(map.pack[id] as number)
      if (packed) pages.touchMini(id)
    }
    const touched = (id: number): Effect.Effect<void, StoreError> =>
      Effect.flatMap(load(id, "rescue"), () => {
        if (map.isUsed(id) && (map.block[id] as number) >= 0) pages.touch(id)
        // Where memory is short it may have left again before anybody here heard of it.
        else if (suspects.has(map.slot[id] as number)) return touched(id)
        return Effect.void
      })
    const again = Effect.forEach(ids, touched, { discard: true })
    return Effect.andThen(again, Effect.sync(() => suspects.clear()))
  })

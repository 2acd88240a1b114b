/**
 * A pin of an epoch as a scoped resource: held while an effect runs, let go however it ends.
 *
 * What the effect is made of must be looked up inside of it, after the pin is there.
 */
import * as Effect from "effect/Effect"
import type { Epoch } from "../../tree/memory/Epoch.ts"

export const pinned = <Item, A, E, R>(
  epoch: Epoch<Item>,
  use: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.acquireUseRelease(Effect.sync(() => epoch.pin()), use, (pin) => Effect.sync(() => epoch.unpin(pin)))

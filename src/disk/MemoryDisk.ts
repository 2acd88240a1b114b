/**
 * A disk in memory, for `Store.layerMemory` and for tests: exact, immediate, gone with its layer.
 *
 * Every operation ends in the step in which it began, and answers as Linux would. What it does not have:
 * symbolic links, permissions, other processes. There is one root and no working directory, so `a`, `/a` and
 * `./a` are one.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Disk } from "./Disk.ts"
import { Volume } from "./Volume.ts"
import { attempt, attemptEffect, fromVolume } from "./VolumeDisk.ts"

/** An empty disk for each time the layer is built. */
export const layer: Layer.Layer<Disk> = Layer.effect(
  Disk,
  Effect.sync(() => {
    const volume = new Volume()
    return fromVolume(() => volume, { effect: attemptEffect, sync: attempt })
  })
)

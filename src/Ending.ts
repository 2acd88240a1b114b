/**
 * How a machine ends: for good, where something failed that only opening it again mends, or by being closed.
 *
 * I1 Whoever waits for anything is told, and nothing is accepted any more.
 */
import * as Effect from "effect/Effect"
import type { Fuse } from "./actors/loop/Fuse.ts"
import type { Parts } from "./Doors.ts"
import { Closed, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import type { Tree } from "./tree/Tree.ts"

/** Stops writing for good. Reading goes on from what is durable, unless an actor died of a defect. */
export const stop = (
  { buffer, checkpoint, flush, sessions, treeActor, wal }: Parts,
  versions: Tree["versions"],
  error: StoreError
): void => {
  versions.setVisible(versions.pins.durable)
  // First: whoever is refused lets the next one of his session begin.
  sessions.halt(error)
  wal.stop(error)
  checkpoint.stop(error)
  treeActor.halt(error)
  if (error.reason._tag !== "Defective") return
  buffer.stop(error)
  flush.stop(error)
}

/** Syncs what was committed, takes a checkpoint unless pages are to be rebuilt from the log, and stops everybody. */
export const close = (
  { buffer, checkpoint, damages, flush, tail, treeActor, wal }: Parts,
  fuse: Fuse,
  running: () => boolean
): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* fuse.finished
    const open = running()
    fuse.closed = true
    if (open) yield* Effect.exit(wal.awaitLsn(tail.end, "synced"))
    // What was damaged when the store was opened is written over by the checkpoints that follow: by this one at least.
    const due = treeActor.recordsSinceCut > 0 || damages.isRebuilt && checkpoint.counters.checkpoints === 0
    if (open && fuse.failure === undefined && damages.met === undefined && due) {
      yield* Effect.exit(checkpoint.start("close"))
    }
    if (checkpoint.counters.checkpoints > 0) yield* damages.unmark
    yield* fuse.interruptAll
    const error = storeError(new Closed())
    for (const actor of [wal, checkpoint, buffer, flush]) actor.stop(error)
  })

/**
 * A directory in which a copy of a store is made: empty before, and empty again where that fails.
 *
 * I1 What somebody else has made there meanwhile is not removed: whoever makes a copy has the directory's lock.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Disk } from "./disk/Disk.ts"
import { InvalidOptions, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"

/** Runs what takes the lock of a directory, and makes a store there. */
export const making = <A, R>(
  disk: Disk["Service"],
  to: string,
  self: Effect.Effect<A, StoreError, R>
): Effect.Effect<A, StoreError, R> =>
  Effect.andThen(
    expectEmpty(disk, to),
    Effect.onExit(self, (exit) =>
      Exit.isSuccess(exit) || isTaken(exit, to) ? Effect.void : Effect.ignore(removed(disk, to)))
  )

const expectEmpty = (disk: Disk["Service"], to: string): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const kind = yield* disk.kind(to)
    const isEmpty = kind === "missing" || (kind === "directory" && (yield* disk.list(to)).length === 0)
    if (isEmpty) return
    const problems = [`${to} is not empty: name a directory that is, or one that does not exist`]
    return yield* Effect.fail(storeError(new InvalidOptions({ problems })))
  })

/** Whether somebody else has taken the directory meanwhile. */
const isTaken = (exit: Exit.Exit<unknown, StoreError>, to: string): boolean => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" && error.value.reason._tag === "Locked" && error.value.reason.path === to
}

const removed = (disk: Disk["Service"], directory: string): Effect.Effect<void, StoreError> =>
  Effect.flatMap(
    disk.list(directory),
    Effect.forEach((name) => disk.unlink(`${directory}/${name}`), { discard: true })
  )

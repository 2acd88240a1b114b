/**
 * A directory in which a copy of a store is made: empty before, and empty again where that fails, but for its lock.
 *
 * I1 Only who has the directory's lock removes anything there. The lock's own file stays: somebody may have it open,
 *    and would have another lock than whoever comes after.
 */
import * as Effect from "effect/Effect"
import { isLockFile, keepAlone } from "./actors/files/Directory.ts"
import { superblocks } from "./actors/opening/Restore.ts"
import type { Disk } from "./disk/Disk.ts"
import type { StoreId } from "./log/Group.ts"
import { SUPERBLOCK_FILE } from "./log/Superblock.ts"
import { InvalidOptions, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"

/** Fails where there is something else than a directory that holds nothing, or nothing but a lock. */
export const expectEmpty = (disk: Disk["Service"], to: string): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const kind = yield* disk.kind(to)
    if (kind === "missing") return
    const isEmpty = kind === "directory" && (yield* disk.list(to)).every(isLockFile)
    if (isEmpty) return
    const found = kind === "directory" ? "not empty" : "no directory"
    const problems = [`${to} is ${found}: name a directory that is empty, or one that does not exist`]
    return yield* Effect.fail(storeError(new InvalidOptions({ problems })))
  })

/** Removes what was made in a directory that is locked: as much as can be. */
export const empty = (disk: Disk["Service"], directory: string): Effect.Effect<void> =>
  Effect.ignore(Effect.flatMap(
    disk.list(directory),
    Effect.forEach(
      (name) => isLockFile(name) ? Effect.void : Effect.ignore(disk.unlink(`${directory}/${name}`)),
      { discard: true }
    )
  ))

/**
 * The same for a directory in which a store was being made, `made` as far as anybody got, and which is not locked any
 * more. What somebody else has there by now is left alone.
 */
export const abandon = (
  disk: Disk["Service"],
  directory: string,
  made: StoreId | undefined
): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* keepAlone(disk, directory)
    const found = yield* idOf(disk, directory)
    if (found === undefined || made !== undefined && Buffer.compare(found, made) === 0) {
      yield* empty(disk, directory)
    }
  }).pipe(Effect.scoped, Effect.ignore)

/** Whose store it is; undefined where there is none. */
const idOf = (disk: Disk["Service"], directory: string): Effect.Effect<StoreId | undefined, StoreError> =>
  Effect.gen(function*() {
    const path = `${directory}/${SUPERBLOCK_FILE}`
    if ((yield* disk.kind(path)) === "missing") return undefined
    const opened = Effect.acquireRelease(disk.open(path, { mode: "readOnly" }), (file) => file.close)
    return (yield* superblocks(yield* opened)).newest.storeId
  }).pipe(Effect.scoped)

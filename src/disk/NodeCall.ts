/**
 * One call of `node:fs` as an Effect: never interrupted once begun (`Disk` I3), and failing as a `StoreError`
 * whether Node calls back with an error or throws one (as it does for a path with a zero byte).
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import fs from "node:fs"
import type { StoreError } from "../StoreError.ts"
import { diskFailed } from "./Disk.ts"

/** Answers a call: with an error, or with `null` and a value. */
export type Done<A> = (error: Error | null, value: A) => void

/** Runs `start`, which answers once through `done`. */
export const nodeCall = <A>(
  operation: string,
  path: string,
  start: (done: Done<A>) => void
): Effect.Effect<A, StoreError> =>
  Effect.uninterruptible(Effect.callback<A, StoreError>((resume) => {
    try {
      start((error, value) =>
        resume(error === null ? Exit.succeed(value) : Exit.fail(diskFailed(operation, path, error)))
      )
    } catch (cause) {
      resume(Exit.fail(diskFailed(operation, path, cause)))
    }
  }))

/** For calls that answer with an error or nothing. */
export const bare = (done: Done<void>) => (error: Error | null): void => done(error, undefined)

/** Gives a descriptor back. An error of close says nothing that a sync did not say, so there is none. */
export const closed = (path: string, fd: number): Effect.Effect<void> =>
  Effect.ignore(nodeCall<void>("close", path, (done) => fs.close(fd, bare(done))))

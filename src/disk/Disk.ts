/**
 * The only door to storage.
 *
 * Every byte of a store passes through {@link Disk}: real files (`NodeDisk`), memory (`MemoryDisk`) and a
 * disk that fails as real ones do (`FaultDisk`) keep to the same promises, and one suite of tests holds them
 * to it.
 *
 * - I1 Positions are explicit. A file has no cursor, so two fibers never race for one.
 * - I2 A transfer is whole or it failed. Short counts are looped on behind this door and never come out of
 *   it.
 * - I3 An operation that began is not interruptible: the kernel would go on with a buffer that its owner
 *   believes to have back, or with a descriptor number that by then names another file.
 * - I4 Nothing is durable before `sync` succeeded, and no name before `syncDirectory` of its directory did.
 * - I5 A symbolic link is never followed as the last part of a path, and what is created is for its owner
 *   alone.
 *
 * Nothing of the engine outside this directory imports `node:fs`.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SystemCache } from "../Limits.ts"

import { DiskFailed, StoreError, storeError } from "../StoreError.ts"
import type { Counters, FileCounters } from "./Counters.ts"

/** An open file. After `close` every operation fails with code `EBADF`. */
export interface DiskFile {
  readonly path: string
  /**
   * Fills `buffer` from byte `position`; answers the bytes read, fewer than asked only at the end of the
   * file.
   */
  readonly read: (buffer: Uint8Array, position: number) => Effect.Effect<number, StoreError>
  /** The same in the calling thread, throwing `StoreError`. For lone misses and recovery. */
  readonly readSync: (buffer: Uint8Array, position: number) => number
  /**
   * Writes all bytes of all buffers, one after another, from byte `position`. A gap that this leaves reads as
   * zeros. Where it fails, any part of the bytes may have been written; code `SHORT`: the disk took no more
   * of them. The buffers belong to the disk until the answer.
   */
  readonly write: (
    buffers: ReadonlyArray<Uint8Array>,
    position: number
  ) => Effect.Effect<void, StoreError>
  /** The same in the calling thread, throwing `StoreError`. */
  readonly writeSync: (buffers: ReadonlyArray<Uint8Array>, position: number) => void
  /**
   * Makes content and size durable (fdatasync), but not the file's name. After a failure nothing is known of
   * any write since the last success, and no later success says more about them: never retry it.
   */
  readonly sync: Effect.Effect<void, StoreError>
  /** The same in the calling thread, throwing `StoreError`. */
  readonly syncSync: () => void
  /**
   * Writes as `write` does, and answers when these bytes are durable; of what was written elsewhere it says nothing. As
   * after a failed sync, nothing is known after a failure, and trying again would say nothing.
   */
  readonly writeDurably: (
    buffers: ReadonlyArray<Uint8Array>,
    position: number
  ) => Effect.Effect<void, StoreError>
  /**
   * How many durable writes may be under way at a time: of so many each hears of every failure of the device that its
   * bytes may have met with, whoever else is told of it.
   */
  readonly durableWritesAtOnce: number
  /** The same in the calling thread, throwing `StoreError`, with none under way. */
  readonly writeDurablySync: (buffers: ReadonlyArray<Uint8Array>, position: number) => void
  /** Bytes up to the end of the file. */
  readonly size: Effect.Effect<number, StoreError>
  /**
   * Extends the file to `bytes` with written zeros and syncs it, so that later overwrites change no metadata
   * and need no space. Never shortens it, never touches what is there.
   */
  readonly allocate: (bytes: number) => Effect.Effect<void, StoreError>
  /**
   * Sets the end of the file to `bytes`. What this adds reads as zeros and occupies nothing; what it cuts off is
   * given back to the file system and never comes back. As little durable before a sync as a write is: a power
   * cut may keep or undo it.
   */
  readonly truncate: (bytes: number) => Effect.Effect<void, StoreError>
  /** Lets go of the file once its operations under way have ended. A second close does nothing. */
  readonly close: Effect.Effect<void>
  /** What passed through this file since it was opened. */
  readonly counters: Readonly<FileCounters>
}

/** Runs what throws `StoreError` in the calling thread. */
export const atOnce = (job: () => void): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    try {
      job()
      return Effect.void
    } catch (error) {
      if (error instanceof StoreError) return Effect.fail(error)
      throw error
    }
  })

/**
 * How a lock is held. `"alone"`: by one, who may write. `"shared"`: by any number who only read, and who keep out
 * whoever wants it alone.
 */
export type LockMode = "alone" | "shared"

/** What a path names. A symbolic link is `"other"`, wherever it leads. */
export type Kind = "missing" | "file" | "directory" | "other"

/** `create`: nothing may be there (`EEXIST`), mode 0600. The others: the file must exist (`ENOENT`). */
export type OpenMode = "create" | "readWrite" | "readOnly"

/** How a file is opened. */
export interface OpenOptions {
  readonly mode: OpenMode
  /**
   * Whether transfers go through the system's cache; default `"use"`. `"bypass"` fails with code `NODIRECT` where
   * file system or platform cannot do without (and leaves nothing behind where it was to create), `"avoid"` uses
   * the cache there. Answers are the same in every case. A disk that has no cache below it does nothing else.
   */
  readonly systemCache?: SystemCache
  /**
   * How many calls of the system `writeDurably` takes: `"twoCalls"`, the default, a write and a sync; `"oneCall"` where
   * the platform has one that does both, for which the file takes two more descriptors. What it promises is the same.
   */
  readonly durableWrites?: "oneCall" | "twoCalls"
}

/** Counts the failures of an effect. */
export const countFailures = <A, R>(
  counters: Counters,
  effect: Effect.Effect<A, StoreError, R>
): Effect.Effect<A, StoreError, R> => Effect.tapError(effect, () => Effect.sync(() => counters.failures++))

/**
 * Storage: paths with `/` between their parts, and files. Every failure is a `StoreError` with reason
 * `DiskFailed` (`code` is the system's), or `Locked`.
 */
export class Disk extends Context.Service<Disk, {
  /** Opens a regular file; a directory is `EISDIR`, a symbolic link `ELOOP`, any other thing `EINVAL`. */
  readonly open: (
    path: string,
    options: OpenOptions
  ) => Effect.Effect<DiskFile, StoreError>
  readonly kind: (path: string) => Effect.Effect<Kind, StoreError>
  /** Names in a directory, in the order of their UTF-16 code units. */
  readonly list: (directory: string) => Effect.Effect<ReadonlyArray<string>, StoreError>
  /** Mode 0700; the parent must exist. Does nothing where a directory stands. */
  readonly makeDirectory: (path: string) => Effect.Effect<void, StoreError>
  /** Gives the file `from` the name `to`, atomically; a file that had that name loses it. */
  readonly rename: (from: string, to: string) => Effect.Effect<void, StoreError>
  /** Takes a file's name away; whoever has it open keeps it until closing it. */
  readonly unlink: (path: string) => Effect.Effect<void, StoreError>
  /** Makes the names in a directory durable: creations, renames and unlinks since the last sync. */
  readonly syncDirectory: (path: string) => Effect.Effect<void, StoreError>
  /**
   * Holds the lock file `path`, `"alone"` unless `mode` says otherwise, across fibers, threads and processes, until
   * the scope closes or the process ends in whatever way. Held elsewhere in a mode that does not go with it: `Locked`,
   * with the process id of the owner where one has it alone. Alone, the file is created where missing; shared, nothing
   * is written anywhere, and a file that is missing is `ENOENT`. Nothing but `lock` may open that file.
   */
  readonly lock: (path: string, mode?: LockMode) => Effect.Effect<void, StoreError, Scope.Scope>
  /** Bytes that a writer may still add to the file system of this directory. */
  readonly freeBytes: (directory: string) => Effect.Effect<number, StoreError>
  /**
   * Writes zeros to memory that was never touched, in another thread, so that it is that one for which the system finds
   * and clears it; `done` once it is over, whether it worked or not. Missing where nothing of that kind is there.
   */
  readonly populate?: ((memory: Uint8Array, done: () => void) => void) | undefined
  readonly counters: Readonly<Counters>
}>()("heartwood/disk/Disk") {}

/** The error of a refused operation; the code is read off a system error. */
export const diskFailed = (operation: string, path: string, cause: unknown): StoreError =>
  storeError(new DiskFailed({ operation, path, code: codeOf(cause), cause }))

/** The system's code of an error, `"UNKNOWN"` where it has none. */
export const codeOf = (cause: unknown): string =>
  cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : "UNKNOWN"

/**
 * An error as the system would raise it: for disks that have no system below them, and for what it never
 * reports.
 */
export class SystemError extends Error {
  readonly code: string
  constructor(code: string) {
    super(code)
    this.code = code
  }
}

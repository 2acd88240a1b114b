/**
 * Reading at one LSN.
 *
 * `Snapshot.read()` pins the newest visible LSN and gives its body a view (`View.ts`) that no later commit changes. The
 * pin is scoped to the body: it cannot leak.
 *
 * Door to data, second of three files: what may be read through, and where the right to it begins and ends.
 *
 * I1 Every pin that is taken is let go when its body ends, however it ends; nothing is read through it after that.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Declared, Machine } from "./Machine.ts"
import type { Columns, Looked, Range, Row, Scan } from "./Row.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { LimitExceeded, SnapshotExpired, storeError } from "./StoreError.ts"
import type { Owner } from "./tree/past/Pins.ts"
import { ended, View } from "./View.ts"

export type { Columns, Range, Row, Scan } from "./Row.ts"

/** What a body may read through. A transaction provides one that sees its own writes. */
export class Snapshot extends Context.Service<Snapshot, {
  /** Exclusive: every commit below it is visible. */
  readonly at: number
  /** Whether boundaries of a store inside it read through it: so it is in a transaction of it, until that has ended. */
  readonly joins: (machine: Machine) => boolean
  readonly get: (
    keyspace: Declared,
    key: Uint8Array,
    columns: Columns
  ) => Effect.Effect<Row | undefined, StoreError>
  /** The same at once. The key may be the caller's to change after that, and with it that of the row. */
  readonly look: (keyspace: Declared, key: Uint8Array, columns: Columns) => Looked
  /** Rows in the order of the keys; a page that many of them miss is loaded once, and all missing ones together. */
  readonly getMany: (
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns
  ) => Effect.Effect<ReadonlyArray<Row | undefined>, StoreError>
  readonly scan: (keyspace: Declared, range: Range) => Scan
}>()("heartwood/Snapshot") {}

/** Options of a boundary; at most one of them. */
export type ReadOptions = {
  /** Reads at this LSN instead of the newest: of a snapshot that is still open, or of what is not durable yet. */
  readonly at?: number | undefined
  readonly snapshot?: undefined
} | {
  readonly at?: undefined
  /** Reads at the LSN of a snapshot that is held. */
  readonly snapshot: Held | undefined
}

/** A snapshot that is held open, so that several reads can refer to it. */
export interface Held {
  /** Exclusive: every commit below it is visible. */
  readonly lsn: number
  /** What expires at this time or before, in milliseconds since 1970, is not there. */
  readonly now: number
  /** Whether its scope is still open. */
  readonly isOpen: () => boolean
}

/**
 * Holds a snapshot, the newest where no LSN is given, until the scope closes: `Snapshot.read({ snapshot })` reads
 * through it as often as it is asked to. After that such reads fail with `Ended`; those that had begun go on.
 *
 * A snapshot that is held for long keeps older versions in memory and on disk; beyond `snapshotDiskBytes` the oldest
 * expires, and reads through it fail with `SnapshotExpired`.
 */
export const make = (
  options?: { readonly at?: number | undefined }
): Effect.Effect<Held, StoreError, Store | Scope.Scope> =>
  Store.use(({ machine }) =>
    Effect.map(
      Effect.acquireRelease(
        Effect.suspend(() => {
          const opened = open(machine, "snapshot", options?.at)
          return Exit.isExit(opened) ? opened : Effect.succeed(opened)
        }),
        (opened) => Effect.sync(() => opened.release())
      ),
      (opened) => ({ lsn: opened.at, now: opened.now, isOpen: () => opened.isOpen })
    )
  )

/**
 * Runs an effect against one snapshot. Its writes are a type error: nothing here provides `Tx`. Inside a transaction,
 * and without an LSN, it reads through the transaction, so that own writes are seen and what is read is validated.
 *
 * Fails with `SnapshotExpired` where nothing keeps `at`, no more or not yet, and with `Ended` in a fiber that
 * outlives it and for a snapshot that is held no longer.
 */
export const read = (options?: ReadOptions) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot> | Store> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot>> => {
      const outer = joined(fiber.context, options)
      if (outer !== undefined) return restore(Effect.provideService(self, Snapshot, outer))
      const opened = enter(Context.getUnsafe(fiber.context, Store).machine, "read", options)
      if (Exit.isExit(opened)) return opened
      const body = restore(Effect.provideService(self, Snapshot, opened))
      return Effect.onExit(body, () => Effect.sync(() => opened.release()))
    })
  )

/** The same for a stream: the snapshot lives until the stream has ended. */
export const stream = (options?: ReadOptions) =>
<A, E, R>(
  self: Stream.Stream<A, E, R>
): Stream.Stream<A, E | StoreError, Exclude<R, Snapshot> | Store> =>
  Stream.unwrap(Effect.withFiber((fiber) => {
    const outer = joined(fiber.context, options)
    if (outer !== undefined) return Effect.succeed(Stream.provideService(self, Snapshot, outer))
    const { machine } = Context.getUnsafe(fiber.context, Store)
    const pinned = Effect.acquireRelease(
      Effect.suspend(() => {
        const opened = enter(machine, "stream", options)
        return Exit.isExit(opened) ? opened : Effect.succeed(opened)
      }),
      (opened) => Effect.sync(() => opened.release())
    )
    return Effect.map(pinned, (opened) => Stream.provideService(self, Snapshot, opened))
  }))

/** Opens what a boundary reads through. */
const enter = (
  machine: Machine,
  owner: Owner,
  options: ReadOptions | undefined
): View | Exit.Exit<never, StoreError> => {
  const held = options?.snapshot
  if (held === undefined) return open(machine, owner, options?.at)
  return held.isOpen() ? open(machine, owner, held.lsn, held.now) : ended("snapshot")
}

/** The transaction that a boundary reads through, if it is in one and names no LSN. */
const joined = (
  context: Context.Context<never>,
  options: ReadOptions | undefined
): Snapshot["Service"] | undefined => {
  if (options?.at !== undefined || options?.snapshot !== undefined) return undefined
  const outer = Context.getOrUndefined(context, Snapshot)
  // A transaction of another store is none of this one's.
  return outer?.joins(Context.getUnsafe(context, Store).machine) === true ? outer : undefined
}

/** Pins an LSN, the newest where none is given, and a time, which is now where none is given. */
export const open = (
  machine: Machine,
  owner: Owner,
  at?: number,
  time?: number
): View | Exit.Exit<never, StoreError> => {
  const failure = machine.unavailable()
  if (failure !== undefined) return Exit.fail(failure)
  const { limits: { openSnapshots }, tree: { versions } } = machine
  const visible = machine.visible()
  const bound = at ?? visible
  // What is not durable keeps every version; below, only what is pinned keeps its own.
  const kept = (bound >= versions.pins.durable && bound <= visible) || versions.isPinned(bound)
  if (!kept) {
    const was = bound <= visible && bound >= 0 && Number.isInteger(bound)
    const oldest = versions.oldestPin()
    return Exit.fail(
      storeError(new SnapshotExpired({ requested: bound, oldest, ...(was ? {} : { visible }) }))
    )
  }
  if (versions.pins.readers >= openSnapshots) {
    const actual = versions.pins.readers + 1
    return Exit.fail(
      storeError(new LimitExceeded({ limit: "openSnapshots", actual, maximum: openSnapshots }))
    )
  }
  return new View(machine, owner, bound, time)
}

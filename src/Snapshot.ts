/**
 * Reading at one LSN.
 *
 * `Snapshot.read()` pins the newest visible LSN and gives its body a view that no later commit changes. The pin is
 * scoped to the body: it cannot leak. On a hit nothing suspends; a page that is not in memory is loaded and the read
 * goes on from where it was.
 *
 * I1 A reader never sees a record whose version is at or above its LSN.
 * I2 Every pin that is taken is let go when its body ends, however it ends.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { Declared, Machine } from "./Machine.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { SnapshotExpired, storeError } from "./StoreError.ts"
import { Batch } from "./tree/Cursor.ts"

/** A stored record: its key, its value as it was stored, and the LSN of the commit that wrote it. */
export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly lsn: number
}

/** Keys in [lower, upper), ascending or descending. */
export interface Range {
  readonly lower: Uint8Array
  /** Undefined: no upper bound. */
  readonly upper: Uint8Array | undefined
  readonly order: "ascending" | "descending"
  /** Most rows in all. */
  readonly limit: number
  readonly columns: "keys" | "keys and values"
}

/** Rows in chunks; ends by failing with `Cause.Done`. Holds no page and no lock between pulls. */
export type Scan = Effect.Effect<ReadonlyArray<Row>, StoreError | Cause.Done>

/** What a body may read through. A transaction provides one that sees its own writes. */
export class Snapshot extends Context.Service<Snapshot, {
  /** Exclusive: every commit below it is visible. */
  readonly at: number
  readonly get: (keyspace: Declared, key: Uint8Array) => Effect.Effect<Row | undefined, StoreError>
  readonly scan: (keyspace: Declared, range: Range) => Scan
}>()("heartwood/Snapshot") {}

/** Options of a boundary. */
export interface ReadOptions {
  /** Reads at this LSN instead of the newest; it must still be pinned by an open snapshot. */
  readonly at?: number | undefined
}

/**
 * Runs an effect against one snapshot. Its writes are a type error: nothing here provides `Tx`.
 *
 * Fails with `SnapshotExpired` where `at` is older than what open snapshots keep.
 */
export const read = (options?: ReadOptions) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot> | Store> =>
  Effect.flatMap(
    Store,
    ({ machine }) =>
      Effect.suspend((): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot>> => {
        const pinned = pin(machine, options?.at)
        if (Exit.isExit(pinned)) return pinned
        const body = Effect.provideService(self, Snapshot, reader(machine, pinned.at))
        return Effect.onExit(body, () => Effect.sync(pinned.release))
      })
  )

/** The same for a stream: the snapshot lives until the stream has ended. */
export const stream = (options?: ReadOptions) =>
<A, E, R>(
  self: Stream.Stream<A, E, R>
): Stream.Stream<A, E | StoreError, Exclude<R, Snapshot> | Store> =>
  Stream.unwrap(Effect.gen(function*() {
    const { machine } = yield* Store
    const pinned = yield* Effect.acquireRelease(
      Effect.suspend(() => {
        const pinned = pin(machine, options?.at)
        return Exit.isExit(pinned) ? pinned : Effect.succeed(pinned)
      }),
      (pinned) => Effect.sync(pinned.release)
    )
    return Stream.provideService(self, Snapshot, reader(machine, pinned.at))
  }))

interface Pinned {
  readonly at: number
  readonly release: () => void
}

const pin = (machine: Machine, at: number | undefined): Pinned | Exit.Exit<never, StoreError> => {
  const failure = machine.unavailable()
  if (failure !== undefined) return Exit.fail(failure)
  const oldest = machine.tree.versions.oldestPin()
  const bound = at ?? machine.visible()
  if (bound < oldest || bound > machine.visible()) {
    return Exit.fail(storeError(new SnapshotExpired({ requested: bound, oldest })))
  }
  machine.tree.versions.pin(bound)
  return { at: bound, release: () => machine.tree.versions.unpin(bound) }
}

/** The view of a store at `at`, which the caller has pinned. */
export const reader = (machine: Machine, at: number): Snapshot["Service"] => ({
  at,
  get: (keyspace, key) => get(machine, keyspace, key, at),
  scan: (keyspace, range) => scan(machine, keyspace, range, at)
})

const none = Exit.succeed(undefined)

/** Door to data, second of three files: the tree answers at once, or names the page that it misses. */
const get = (
  machine: Machine,
  keyspace: Declared,
  key: Uint8Array,
  at: number
): Effect.Effect<Row | undefined, StoreError> =>
  Effect.suspend(() => {
    const root = machine.root(keyspace, at)
    if (Exit.isExit(root)) return root
    const { tree } = machine
    const answer = tree.get(root, key, at)
    if (answer === 0) return none
    if (answer < 0) return Effect.andThen(machine.load(tree.missing), get(machine, keyspace, key, at))
    const lsn = tree.foundVersion()
    const reference = tree.foundReference()
    if (reference === undefined) return Exit.succeed({ key, value: tree.value(), lsn })
    return Effect.map(machine.fetch(reference), (value) => ({ key, value, lsn }))
  })

/** Rows per chunk: enough to make the cost of a pull vanish, few enough to stay inside one slice. */
const chunkRows = 512

const scan = (machine: Machine, keyspace: Declared, range: Range, at: number): Scan => {
  const batch = new Batch()
  let { lower, upper } = range
  let left = range.limit
  let ended = left <= 0 || (upper !== undefined && Buffer.compare(lower, upper) >= 0)
  const pull: Scan = Effect.suspend((): Scan => {
    if (ended) return Cause.done()
    const root = machine.root(keyspace, at)
    if (Exit.isExit(root)) return Exit.isSuccess(root) ? Cause.done() : Exit.failCause(root.cause)
    batch.reset()
    const limit = Math.min(left, chunkRows)
    const answer = machine.tree.scan(
      root,
      { lower, upper, order: range.order, columns: range.columns, limit },
      at,
      batch
    )
    if (batch.position !== undefined) {
      if (range.order === "ascending") lower = batch.position
      else upper = batch.position
    }
    if (answer < 0) return Effect.andThen(machine.load(machine.tree.missing), pull)
    left -= batch.count
    ended = answer === 0 || left <= 0
    return rowsOf(machine, batch)
  })
  return pull
}

/** The rows of a batch; values that live in the log are fetched, the misses of one chunk together. */
const rowsOf = (machine: Machine, batch: Batch): Effect.Effect<ReadonlyArray<Row>, StoreError> => {
  const rows: Array<Row> = []
  const fetches: Array<Effect.Effect<void, StoreError>> = []
  for (let index = 0; index < batch.count; index++) {
    const key = batch.key(index)
    const lsn = batch.version(index)
    const reference = batch.reference(index)
    if (reference === undefined) {
      rows.push({ key, value: batch.value(index), lsn })
    } else {
      rows.push({ key, value: empty, lsn })
      fetches.push(Effect.map(machine.fetch(reference), (value) => {
        rows[index] = { key, value, lsn }
      }))
    }
  }
  if (fetches.length === 0) return Exit.succeed(rows)
  return Effect.as(Effect.forEach(fetches, (fetch) => fetch, { concurrency: 8, discard: true }), rows)
}

const empty = new Uint8Array(0)

/** The smallest key above `key`. */
export const after = (key: Uint8Array): Uint8Array => {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}

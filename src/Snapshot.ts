/**
 * Reading at one LSN.
 *
 * `Snapshot.read()` pins the newest visible LSN and gives its body a view that no later commit changes. The pin is
 * scoped to the body: it cannot leak. On a hit nothing suspends; a page that is not in memory is loaded and the read
 * goes on from where it was.
 *
 * Door to data, second of three files: the tree answers at once, or names the page that it misses.
 *
 * I1 A reader never sees a record whose version is at or above its LSN.
 * I2 Every pin that is taken is let go when its body ends, however it ends; nothing is read through it after that.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type { Declared, Machine } from "./Machine.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { Ended, LimitExceeded, SnapshotExpired, storeError } from "./StoreError.ts"
import { Ahead } from "./tree/Ahead.ts"
import { Batch } from "./tree/Cursor.ts"
import { Many } from "./tree/Many.ts"
import type { Columns } from "./tree/Many.ts"
import type { Root } from "./tree/Tree.ts"

/** What is wanted of each row; without values none is read from the log. */
export type { Columns }

/** A stored record: its key, its value as it was stored, and the LSN of the commit that wrote it. */
export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly lsn: number
  /** There, and true, where the value was read from the log. */
  readonly isLarge?: true
}

/** Keys in [lower, upper), ascending or descending. */
export interface Range {
  readonly lower: Uint8Array
  /** Undefined: no upper bound. */
  readonly upper: Uint8Array | undefined
  readonly order: "ascending" | "descending"
  /** Most rows in all. */
  readonly limit: number
  /** Rows that will do, as far as one can tell: as many are read at first. The limit, where absent. */
  readonly expected?: number
  readonly columns: Columns
}

/** Rows in chunks; ends by failing with `Cause.Done`. Holds no page and no lock between pulls. */
export type Scan = Effect.Effect<ReadonlyArray<Row>, StoreError | Cause.Done>

/** What a body may read through. A transaction provides one that sees its own writes. */
export class Snapshot extends Context.Service<Snapshot, {
  /** Exclusive: every commit below it is visible. */
  readonly at: number
  /** Whether boundaries inside it read through it: so it is in a transaction, until that has ended. */
  readonly joins: () => boolean
  readonly get: (
    keyspace: Declared,
    key: Uint8Array,
    columns: Columns
  ) => Effect.Effect<Row | undefined, StoreError>
  /** Rows in the order of the keys; a page that many of them miss is loaded once, and all missing ones together. */
  readonly getMany: (
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns
  ) => Effect.Effect<ReadonlyArray<Row | undefined>, StoreError>
  readonly scan: (keyspace: Declared, range: Range) => Scan
}>()("heartwood/Snapshot") {}

/** Options of a boundary. */
export interface ReadOptions {
  /** Reads at this LSN instead of the newest: of a snapshot that is still open, or of what is not durable yet. */
  readonly at?: number | undefined
}

/**
 * Runs an effect against one snapshot. Its writes are a type error: nothing here provides `Tx`. Inside a transaction,
 * and without an LSN, it reads through the transaction, so that own writes are seen and what is read is validated.
 *
 * Fails with `SnapshotExpired` where nothing keeps `at`, and with `Ended` in a fiber that outlives it.
 */
export const read = (options?: ReadOptions) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot> | Store> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.withFiber((fiber): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot>> => {
      const outer = joined(fiber.context, options)
      if (outer !== undefined) return restore(Effect.provideService(self, Snapshot, outer))
      const view = open(Context.getUnsafe(fiber.context, Store).machine, options?.at)
      if (Exit.isExit(view)) return view
      const body = restore(Effect.provideService(self, Snapshot, view))
      return Effect.onExit(body, () => Effect.sync(() => view.release()))
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
        const view = open(machine, options?.at)
        return Exit.isExit(view) ? view : Effect.succeed(view)
      }),
      (view) => Effect.sync(() => view.release())
    )
    return Effect.map(pinned, (view) => Stream.provideService(self, Snapshot, view))
  }))

/** The transaction that a boundary reads through, if it is in one and names no LSN. */
const joined = (
  context: Context.Context<never>,
  options: ReadOptions | undefined
): Snapshot["Service"] | undefined => {
  if (options?.at !== undefined) return undefined
  const outer = Context.getOrUndefined(context, Snapshot)
  return outer?.joins() === true ? outer : undefined
}

/** Pins an LSN, the newest where none is given. */
export const open = (machine: Machine, at?: number): View | Exit.Exit<never, StoreError> => {
  const failure = machine.unavailable()
  if (failure !== undefined) return Exit.fail(failure)
  const { limits: { openSnapshots }, tree: { versions } } = machine
  const visible = machine.visible()
  const bound = at ?? visible
  // What is not durable keeps every version; below, only what is pinned keeps its own.
  const kept = (bound >= versions.pins.durable && bound <= visible) || versions.isPinned(bound)
  if (!kept) {
    return Exit.fail(storeError(new SnapshotExpired({ requested: bound, oldest: versions.oldestPin() })))
  }
  if (versions.pins.readers >= openSnapshots) {
    const actual = versions.pins.readers + 1
    return Exit.fail(
      storeError(new LimitExceeded({ limit: "openSnapshots", actual, maximum: openSnapshots }))
    )
  }
  return new View(machine, bound)
}

/** A store as of one LSN, which it keeps pinned until it is released. */
export class View {
  readonly at: number
  private readonly machine: Machine
  private pinned = true

  constructor(machine: Machine, at: number) {
    this.machine = machine
    this.at = at
    machine.tree.versions.pin(at)
  }

  release(): void {
    if (!this.pinned) return
    this.pinned = false
    this.machine.tree.versions.unpin(this.at)
  }

  joins(): boolean {
    return false
  }

  get(keyspace: Declared, key: Uint8Array, columns: Columns): Effect.Effect<Row | undefined, StoreError> {
    return Effect.suspend(() => {
      const root = this.root(keyspace)
      if (Exit.isExit(root)) return root
      const { load, fetch, tree } = this.machine
      const answer = tree.get(root, key, this.at)
      if (answer === 0) return none
      if (answer < 0) return Effect.andThen(load(tree.missing), this.get(keyspace, key, columns))
      const lsn = tree.foundVersion()
      if (columns === "keys") return Exit.succeed({ key, value: empty, lsn })
      const reference = tree.foundReference()
      if (reference === undefined) return Exit.succeed({ key, value: tree.value(), lsn })
      return Effect.map(fetch(reference), (value) => ({ key, value, lsn, isLarge: true as const }))
    })
  }

  getMany(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
    return Effect.suspend(() => {
      const many = new Many()
      if (keys.length <= manyKeys) return this.getSlice(keyspace, keys, columns, many)
      const slices: Array<ReadonlyArray<Uint8Array>> = []
      for (let from = 0; from < keys.length; from += manyKeys) slices.push(keys.slice(from, from + manyKeys))
      const rows = Effect.forEach(slices, (slice) => this.getSlice(keyspace, slice, columns, many))
      return Effect.map(rows, (slices) => slices.flat())
    })
  }

  private getSlice(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns,
    many: Many
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
    return Effect.suspend(() => {
      many.begin(keys.length, columns)
      const looked = this.lookUp(keyspace, keys, many)
      if (Exit.isFailure(looked)) return Exit.failCause(looked.cause)
      return many.misses
        ? Effect.flatMap(this.loadMissing(keyspace, keys, many), () => rowsOfMany(this.machine, keys, many))
        : rowsOfMany(this.machine, keys, many)
    })
  }

  /** Looks up the keys that `many` waits for. */
  private lookUp(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    many: Many
  ): Exit.Exit<void, StoreError> {
    const root = this.root(keyspace)
    if (Exit.isExit(root)) return Exit.asVoid(root)
    this.machine.tree.getMany(root, keys, this.at, many)
    return Exit.void
  }

  /** Loads the pages that keys miss, and looks those keys up as soon as their page is here, until none is missed. */
  private loadMissing(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    many: Many
  ): Effect.Effect<void, StoreError> {
    const round: Effect.Effect<void, StoreError> = Effect.suspend(() => {
      if (!many.misses) return Exit.void
      const loaded = this.machine.loadMany(many.takeMissing(), (place) => {
        many.ask(place)
        return this.lookUp(keyspace, keys, many)
      })
      return Effect.andThen(loaded, round)
    })
    return round
  }

  scan(keyspace: Declared, range: Range): Scan {
    const { readAhead, tree } = this.machine
    const batch = new Batch()
    let { lower, upper } = range
    let left = range.limit
    // Read ahead is no further than one can tell that it is wanted.
    let hoped = range.expected ?? range.limit
    const ahead = new Ahead(readAhead.most)
    let ended = left <= 0 || (upper !== undefined && Buffer.compare(lower, upper) >= 0)
    let chunk = Math.min(chunkRows, range.expected ?? left)
    const resume = (position: Uint8Array): void => {
      if (range.order === "ascending") lower = position
      else upper = position
    }
    const lookAhead = (root: Root, missing: number): void => {
      const rest = { lower, upper, order: range.order }
      const count = ahead.look(
        tree.pages,
        root,
        rest,
        { records: hoped, leafRecords: batch.leafRecords },
        missing
      )
      if (count > 0) ahead.took(readAhead.begin(ahead.ids, count))
    }
    const pull: Scan = Effect.suspend((): Scan => {
      if (ended) return Cause.done()
      const root = this.root(keyspace)
      if (Exit.isExit(root)) return Exit.isSuccess(root) ? Cause.done() : Exit.failCause(root.cause)
      batch.reset()
      const limit = Math.min(left, chunk)
      const { columns, order } = range
      const answer = tree.scan(root, { lower, upper, order, columns, limit }, this.at, batch)
      // Also where a page is missing: leaves without a row to show are behind it, and may be evicted for that page.
      if (batch.position !== undefined) resume(batch.position)
      if (answer < 0) {
        const { missing } = tree
        lookAhead(root, missing)
        return Effect.andThen(this.machine.load(missing, "scan"), pull)
      }
      const rows = affordable(batch)
      if (rows < batch.count) resume(batch.key(order === "ascending" ? rows : rows - 1))
      left -= rows
      hoped -= rows
      ended = left <= 0 || (answer === 0 && rows === batch.count)
      if (!ended) lookAhead(root, 0)
      chunk = Math.min(chunkRows, 2 * chunk)
      return rowsOf(this.machine, batch, rows)
    })
    return pull
  }

  /** The tree to read; an exit where there is none, or where this view may see no longer. */
  private root(keyspace: Declared): Root | Exit.Exit<undefined, StoreError> {
    if (!this.pinned) return ended("snapshot")
    // A body that outlives the store would otherwise be served for as long as it asks for pages that are in memory.
    const failure = this.machine.unavailable()
    return failure === undefined ? this.machine.root(keyspace, this.at) : Exit.fail(failure)
  }
}

/** For whoever reads or writes through something that its body has left. */
export const ended = (what: Ended["what"]): Exit.Exit<never, StoreError> =>
  Exit.fail(storeError(new Ended({ what })))

const none = Exit.succeed(undefined)
const empty = new Uint8Array(0)

/** Rows per chunk: enough to make the cost of a pull vanish, few enough to stay inside one slice. */
const chunkRows = 512
/** Keys that are looked up together: enough for the disk to have much to do, few enough to stay inside one slice. */
const manyKeys = 1024
/** Bytes of values fetched from the log for one chunk, unless one value alone is larger. */
const chunkValueBytes = 1024 * 1024

/** How many rows of a batch may be held together, at least one: values in the log may be of any size. */
const affordable = (batch: Batch): number => {
  let bytes = 0
  for (let index = 0; index < batch.count; index++) {
    bytes += batch.reference(index)?.bytes ?? 0
    if (bytes > chunkValueBytes && index > 0) return index
  }
  return batch.count
}

/** The first rows of a batch; values that live in the log are fetched, those of one chunk together. */
const rowsOf = (
  machine: Machine,
  batch: Batch,
  count: number
): Effect.Effect<ReadonlyArray<Row>, StoreError> => {
  const rows: Array<Row> = []
  const fetches: Array<Effect.Effect<void, StoreError>> = []
  for (let index = 0; index < count; index++) {
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
  return fetched(fetches, rows)
}

/** The rows of the keys that were found, in the order of the keys. */
const rowsOfMany = (
  machine: Machine,
  keys: ReadonlyArray<Uint8Array>,
  many: Many
): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> => {
  const rows: Array<Row | undefined> = []
  const fetches: Array<Effect.Effect<void, StoreError>> = []
  for (let index = 0; index < keys.length; index++) {
    const value = many.value(index)
    if (value === undefined) {
      rows.push(undefined)
      continue
    }
    const key = keys[index] as Uint8Array
    const lsn = many.version(index)
    const reference = many.reference(index)
    rows.push({ key, value, lsn })
    if (reference !== undefined) {
      fetches.push(Effect.map(machine.fetch(reference), (value) => {
        rows[index] = { key, value, lsn }
      }))
    }
  }
  return fetched(fetches, rows)
}

/** Rows, once the large values among them are there. */
const fetched = <A>(
  fetches: ReadonlyArray<Effect.Effect<void, StoreError>>,
  rows: A
): Effect.Effect<A, StoreError> =>
  fetches.length === 0
    ? Exit.succeed(rows)
    : Effect.as(Effect.forEach(fetches, (fetch) => fetch, { concurrency: 8, discard: true }), rows)

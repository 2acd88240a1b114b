/**
 * A store as of one LSN: keys, many keys and ranges, read from the tree in the calling thread.
 *
 * On a hit nothing suspends; a page that is not in memory is loaded and the read goes on from where it was. It is the
 * same with older versions in the scratch file. Values that live in the log are fetched beside each other.
 *
 * I1 A reader never sees a record whose version is at or above its LSN, nor one that had expired when it began: time
 *    that passes changes nothing under it.
 * I2 Nothing is read through a view that was released, or whose pin has expired.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Declared, Machine } from "./Machine.ts"
import type { Columns, Looked, Range, Row, Scan } from "./Row.ts"
import { later, rowOf } from "./Row.ts"
import type { StoreError } from "./StoreError.ts"
import { Ended, SnapshotExpired, storeError } from "./StoreError.ts"
import type { Owner, Reader } from "./tree/past/Pins.ts"
import { Ahead } from "./tree/read/Ahead.ts"
import type { Batch } from "./tree/read/Batch.ts"
import type { Many } from "./tree/read/Many.ts"
import { manys } from "./tree/read/Many.ts"
import { batches } from "./tree/read/RowBatch.ts"
import type { Reference, Root } from "./tree/Tree.ts"
import { inScratch, Kind } from "./tree/Tree.ts"

/** A store as of one LSN, which it keeps pinned until it is released, and of one time. */
export class View {
  readonly at: number
  /** What expires at this time or before, in milliseconds since 1970, is not there. */
  readonly now: number
  private readonly machine: Machine
  private readonly reader: Reader
  /** What was read last, and the tree of it, which for a view is one. */
  private keyspace: Declared | undefined
  private tree: Root | Exit.Exit<undefined, StoreError> = none
  /** Whether it may be read through. */
  isOpen = true

  constructor(machine: Machine, owner: Owner, at: number, time?: number) {
    const now = machine.now()
    this.machine = machine
    this.at = at
    this.now = time ?? now
    this.reader = machine.tree.versions.enter(at, owner, now)
  }

  release(): void {
    if (!this.isOpen) return
    this.isOpen = false
    this.machine.tree.versions.leave(this.reader)
  }

  joins(): boolean {
    return false
  }

  get(keyspace: Declared, key: Uint8Array, columns: Columns): Effect.Effect<Row | undefined, StoreError> {
    return Effect.suspend(() => later(this.look(keyspace, key, columns)))
  }

  /** Reads at once. The key may be the caller's to change after that, and with it that of the row. */
  look(keyspace: Declared, key: Uint8Array, columns: Columns): Looked {
    const root = this.root(keyspace)
    if (!isRoot(root)) return Exit.isSuccess(root) ? undefined : root
    const { tree } = this.machine
    const answer = tree.get(root, key, this.at)
    if (answer < 0) return this.awaited(keyspace, root, key.slice(), columns)
    return answer === 0 ? undefined : this.found(key, columns)
  }

  /** What is to be waited for: a page, or the scratch file. */
  private awaited(keyspace: Declared, root: Root, key: Uint8Array, columns: Columns) {
    const { load, tree } = this.machine
    return tree.missing === inScratch
      ? this.recall(keyspace, root, key, columns, 0)
      : Effect.andThen(load(tree.missing), this.get(keyspace, key, columns))
  }

  /** The record that the tree has found, if it has not expired. */
  private found(key: Uint8Array, columns: Columns): Looked {
    const { tree } = this.machine
    const expiry = tree.foundExpiry()
    if (expiry <= this.now) return undefined
    const lsn = tree.foundVersion()
    if (columns === "keys") return rowOf(key, empty, lsn, expiry)
    const reference = tree.foundReference()
    if (reference === undefined) return rowOf(key, tree.value(), lsn, expiry)
    const own = key.slice()
    return Effect.map(
      this.fetch(reference),
      (value) => ({ ...rowOf(own, value, lsn, expiry), isLarge: true as const })
    )
  }

  /** Looks into the scratch file; where that has nothing the tree is asked again, which is told what was searched. */
  private recall(
    keyspace: Declared,
    { treeId }: Root,
    key: Uint8Array,
    columns: Columns,
    searched: number
  ): Effect.Effect<Row | undefined, StoreError> {
    const { load, parts: { scratch }, tree } = this.machine
    const asked = { treeId, key, at: this.at, floor: tree.scratchFloor, searched }
    return Effect.flatMap(this.unlessExpired(scratch.find(asked)), ({ entry, searched }) => {
      if (entry !== undefined && (entry.kind === Kind.Tombstone || entry.expiry <= this.now)) return none
      if (entry !== undefined) {
        tree.hits.versions++
        const { expiry, value, version } = entry
        if (columns === "keys") return Exit.succeed(rowOf(key, empty, version, expiry))
        tree.answeredBytes += value.length
        return Exit.succeed(rowOf(key, value, version, expiry))
      }
      const again: Effect.Effect<Row | undefined, StoreError> = Effect.suspend(() => {
        const root = this.root(keyspace)
        if (!isRoot(root)) return root
        const { spill } = tree.versions
        spill.searched = searched
        const answer = tree.get(root, key, this.at)
        spill.searched = 0
        if (answer >= 0) return answer === 0 ? none : later(this.found(key, columns))
        return tree.missing === inScratch
          ? this.recall(keyspace, root, key, columns, searched)
          : Effect.andThen(load(tree.missing), again)
      })
      return again
    })
  }

  getMany(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
    return Effect.suspend(() => {
      if (keys.length <= manyKeys) return this.getSlice(keyspace, keys, columns)
      const slices: Array<ReadonlyArray<Uint8Array>> = []
      for (let from = 0; from < keys.length; from += manyKeys) slices.push(keys.slice(from, from + manyKeys))
      const rows = Effect.forEach(slices, (slice) => this.getSlice(keyspace, slice, columns))
      return Effect.map(rows, (slices) => slices.flat())
    })
  }

  private getSlice(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
    return Effect.suspend(() => {
      const many = manys.take(this.now).begin(keys.length, columns)
      const looked = this.lookUp(keyspace, keys, many)
      if (Exit.isFailure(looked)) return Exit.failCause(looked.cause)
      if (!many.misses && many.aside.length === 0) return this.rowsOfMany(keys, many)
      const loaded = many.misses ? this.loadMissing(keyspace, keys, many) : Exit.void
      return Effect.flatMap(loaded, () => this.rowsWithAsides(keyspace, keys, columns, many))
    })
  }

  /** The rows of the keys that were found, and one by one of those that the scratch file may have. */
  private rowsWithAsides(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    columns: Columns,
    many: Many
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
    const asides = [...many.aside]
    const get = (index: number) => this.get(keyspace, keys[index] as Uint8Array, columns)
    return Effect.flatMap(
      this.rowsOfMany(keys, many),
      (rows) =>
        Effect.map(Effect.forEach(asides, get, { concurrency: 8 }), (recalled) => {
          const all = [...rows]
          asides.forEach((index, place) => {
            all[index] = recalled[place]
          })
          return all
        })
    )
  }

  /** Looks up the keys that `many` waits for. */
  private lookUp(
    keyspace: Declared,
    keys: ReadonlyArray<Uint8Array>,
    many: Many
  ): Exit.Exit<void, StoreError> {
    const root = this.root(keyspace)
    if (!isRoot(root)) return Exit.asVoid(root)
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
    const batch = batches.take(this.now)
    let { lower, upper } = range
    let left = range.limit
    // Read ahead is no further than one can tell that it is wanted.
    let hoped = range.expected ?? range.limit
    let ahead: Ahead | undefined
    let ended = left <= 0 || (upper !== undefined && Buffer.compare(lower, upper) >= 0)
    let chunk = Math.min(chunkRows, range.expected ?? left)
    const resume = (position: Uint8Array): void => {
      if (range.order === "ascending") lower = position
      else upper = position
    }
    const lookAhead = (root: Root, missing: number): void => {
      ahead ??= new Ahead(readAhead.most)
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
      if (!isRoot(root)) return Exit.isSuccess(root) ? Cause.done() : Exit.failCause(root.cause)
      batch.reset()
      const limit = Math.min(left, chunk)
      const { columns, order } = range
      const answer = tree.scan(root, { lower, upper, order, columns, limit }, this.at, batch)
      batch.settle()
      // Also where a page is missing: leaves without a row to show are behind it, and may be evicted for that page.
      if (batch.position !== undefined) resume(batch.position)
      if (answer < 0) {
        const { missing } = tree
        if (missing === inScratch && batch.hand !== undefined) {
          return Effect.andThen(this.unlessExpired(this.machine.parts.scratch.bring(batch.hand)), pull)
        }
        lookAhead(root, missing)
        return Effect.andThen(this.machine.load(missing, "scan"), pull)
      }
      batch.hand?.rest()
      const rows = affordable(batch)
      if (rows < batch.count) resume(batch.key(order === "ascending" ? rows : rows - 1))
      left -= rows
      hoped -= rows
      ended = left <= 0 || (answer === 0 && rows === batch.count)
      if (!ended) lookAhead(root, 0)
      chunk = Math.min(chunkRows, 2 * chunk)
      const chunked = this.rowsOf(batch, rows)
      if (ended) batches.give(batch)
      return chunked
    })
    return pull
  }

  /** The first rows of a batch; values that live in the log are fetched, those of one chunk together. */
  private rowsOf(batch: Batch, count: number): Effect.Effect<ReadonlyArray<Row>, StoreError> {
    const rows: Array<Row> = []
    const fetches: Array<Effect.Effect<void, StoreError>> = []
    for (let index = 0; index < count; index++) {
      const key = batch.key(index)
      const lsn = batch.version(index)
      const expiry = batch.expiry(index)
      const reference = batch.reference(index)
      rows.push(rowOf(key, reference === undefined ? batch.value(index) : empty, lsn, expiry))
      if (reference === undefined) continue
      fetches.push(Effect.map(this.fetch(reference), (value) => {
        rows[index] = rowOf(key, value, lsn, expiry)
      }))
    }
    return fetched(fetches, rows)
  }

  /** The rows of the keys that were found, in the order of the keys. */
  private rowsOfMany(
    keys: ReadonlyArray<Uint8Array>,
    many: Many
  ): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError> {
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
      const expiry = many.expiry(index)
      const reference = many.reference(index)
      rows.push(rowOf(key, value, lsn, expiry))
      if (reference === undefined) continue
      fetches.push(Effect.map(this.fetch(reference), (value) => {
        rows[index] = rowOf(key, value, lsn, expiry)
      }))
    }
    manys.give(many)
    return fetched(fetches, rows)
  }

  /** A value that lives in the log; what has expired may be gone from there. */
  private fetch(reference: Reference): Effect.Effect<Uint8Array, StoreError> {
    return this.unlessExpired(this.machine.fetch(reference))
  }

  /** What fails for a pin that expired meanwhile fails because of that. */
  private unlessExpired<A>(effect: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.mapError(effect, (error) => this.reader.pin.isExpired ? this.expired() : error)
  }

  private expired(): StoreError {
    const oldest = this.machine.tree.versions.oldestPin()
    return storeError(new SnapshotExpired({ requested: this.at, oldest }))
  }

  /** The tree to read; an exit where there is none, or where this view may see no longer. */
  private root(keyspace: Declared): Root | Exit.Exit<undefined, StoreError> {
    if (!this.isOpen) return ended("snapshot")
    if (this.reader.pin.isExpired) return Exit.fail(this.expired())
    // A body that outlives the store would otherwise be served for as long as it asks for pages that are in memory.
    const failure = this.machine.unavailable()
    if (failure !== undefined) return Exit.fail(failure)
    if (keyspace === this.keyspace) return this.tree
    const root = this.machine.root(keyspace, this.at)
    if (isRoot(root)) {
      this.keyspace = keyspace
      this.tree = root
    }
    return root
  }
}

const isRoot = (root: Root | Exit.Exit<undefined, StoreError>): root is Root => "treeId" in root

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

/** Rows, once the large values among them are there. */
const fetched = <A>(
  fetches: ReadonlyArray<Effect.Effect<void, StoreError>>,
  rows: A
): Effect.Effect<A, StoreError> =>
  fetches.length === 0
    ? Exit.succeed(rows)
    : Effect.as(Effect.forEach(fetches, (fetch) => fetch, { concurrency: 8, discard: true }), rows)

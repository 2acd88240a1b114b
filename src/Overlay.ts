/**
 * What a transaction reads: the store as of its snapshot, with its own writes laid over it.
 *
 * Each chunk of a scan covers an interval of keys, and the own writes of that interval are merged into it. So a write
 * made between two pulls is seen if it lies ahead of the scan, and not if it lies behind.
 *
 * I1 Where the own writes and the store both have a key, the own write is what is read; an own operand is folded into
 *    what the store has.
 * I2 What is answered is the reader's to change: no own write is handed out itself, and nothing that is remembered of a
 *    scan is in a row of it.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { rowOf as storedRow } from "./Row.ts"
import type { Range, Row, Scan } from "./Row.ts"
import type { StoreError } from "./StoreError.ts"
import { Fold } from "./tree/page/Fold.ts"
import type { Write } from "./WriteSet.ts"
import { compare } from "./WriteSet.ts"

/**
 * The row of an own write, or undefined where it removes. Its LSN is not known yet, so it shows that of the snapshot,
 * which no record of the snapshot can have.
 */
export const rowOf = ({ expiry = Infinity, key, value }: Write, at: number): Row | undefined =>
  value === undefined ? undefined : storedRow(key.slice(), value.slice(), at, expiry)

/** The row of an own operand, folded into what the store has of its key; it expires as that does. */
export const foldedRow = (write: Write, row: Row | undefined, at: number): Row | undefined => {
  const { key, reducer, value } = write
  if (row === undefined || reducer === undefined || value === undefined) return rowOf(write, at)
  return storedRow(key.slice(), folded(reducer, row.value, value), at, row.expiry ?? Infinity)
}

/** A value with an operand folded into it, as bytes of its own. */
export const folded = (reducer: number, value: Uint8Array | undefined, operand: Uint8Array): Uint8Array => {
  fold.of(reducer, value, operand)
  return fold.value().slice()
}

const fold = new Fold()

/** Makes a row of an own write and what the store has of its key. */
export type Over = (write: Write, stored: Row | undefined) => Row | undefined

/** Own writes of some keys, ascending. */
export interface Window {
  readonly writes: ReadonlyArray<Write>
  /**
   * How far they go of the interval that was asked for: an exclusive upper bound, or the lower one where the scan
   * descends. Undefined: all of it.
   */
  readonly edge: Uint8Array | undefined
}

/** The own writes of a keyspace as they are at the moment. */
export interface OwnWrites {
  /** Whether nothing that is stored remains. */
  readonly hides: () => boolean
  /** Those in [lower, upper), or as many as it takes, from where the scan comes. */
  readonly window: (
    lower: Uint8Array,
    upper: Uint8Array | undefined,
    descending: boolean
  ) => Window | Effect.Effect<Window, StoreError>
}

/** A scan of the store with the own writes laid over it. */
export const overlay = (scan: (range: Range) => Scan, own: OwnWrites, range: Range, over: Over): Scan => {
  // Rows of the store may be hidden, so their number is open.
  const base = scan({ ...range, limit: Infinity, expected: range.limit })
  const descending = range.order === "descending"
  let { lower, upper } = range
  let left = range.limit
  /** Rows of the store that no own writes have been laid over yet. */
  let stored: ReadonlyArray<Row> = []
  /** The store has no more. */
  let ended = false
  let finished = false
  const pull: Scan = Effect.suspend((): Scan => {
    if (left <= 0 || finished) return Cause.done()
    if (own.hides()) {
      stored = []
      ended = true
    }
    if (ended || stored.length > 0) return laid()
    return Effect.matchEffect(base, {
      onSuccess: (rows): Scan => {
        stored = rows
        return rows.length === 0 ? Effect.succeed(rows) : laid()
      },
      onFailure: (error): Scan => {
        if (!Cause.isDone(error)) return Effect.fail(error)
        ended = true
        return laid()
      }
    })
  })
  /** A chunk of the store, and the own writes up to its last key; beyond that, all that are left. */
  const laid = (): Scan => {
    const last = stored.at(-1)?.key.slice()
    const from = descending && last !== undefined ? last : lower
    const until = !descending && last !== undefined ? after(last) : upper
    const window = own.window(from, until, descending)
    return "writes" in window
      ? Effect.succeed(lay(window, from, until))
      : Effect.map(window, (window) => lay(window, from, until))
  }
  const lay = ({ edge, writes }: Window, from: Uint8Array, until: Uint8Array | undefined) => {
    const beyond = edge === undefined
      ? -1
      : stored.findIndex(({ key }) => descending ? compare(key, edge) < 0 : compare(key, edge) >= 0)
    const rows = beyond < 0 ? stored : stored.slice(0, beyond)
    stored = beyond < 0 ? [] : stored.slice(beyond)
    if (descending) upper = edge ?? from
    else lower = edge ?? until ?? lower
    finished = ended && edge === undefined
    return taken(merge(rows, writes, descending, over))
  }
  const taken = (rows: ReadonlyArray<Row>): ReadonlyArray<Row> => {
    const some = rows.length > left ? rows.slice(0, left) : rows
    left -= some.length
    return some
  }
  return pull
}

/** Two sorted lists as one; where both have a key, the own write wins. */
const merge = (
  rows: ReadonlyArray<Row>,
  writes: ReadonlyArray<Write>,
  descending: boolean,
  over: Over
): ReadonlyArray<Row> => {
  if (writes.length === 0) return rows
  const own = descending ? writes.toReversed() : writes
  const result: Array<Row> = []
  let next = 0
  const take = (stored: Row | undefined): void => {
    const row = over(own[next++] as Write, stored)
    if (row !== undefined) result.push(row)
  }
  for (const row of rows) {
    let order = -1
    while (next < own.length) {
      order = compare((own[next] as Write).key, row.key) * (descending ? -1 : 1)
      if (order >= 0) break
      take(undefined)
    }
    if (next < own.length && order === 0) take(row)
    else result.push(row)
  }
  while (next < own.length) take(undefined)
  return result
}

/** The smallest key above `key`. */
export const after = (key: Uint8Array): Uint8Array => {
  const next = new Uint8Array(key.length + 1)
  next.set(key)
  return next
}

/**
 * Rows: what a reader is answered, and which rows a range asks for.
 *
 * Plain declarations for every room between a keyspace and the tree; nothing here reads.
 */
import type * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { StoreError } from "./StoreError.ts"
import type { Columns } from "./tree/read/Many.ts"

/** What is wanted of each row; without values none is read from the log. */
export type { Columns }

/** A stored record: its key, its value as it was stored, and the LSN of the commit that wrote it. */
export interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly lsn: number
  /** Milliseconds since 1970 from which on it is hidden; there where it does not stay. */
  readonly expiry?: number
  /** There, and true, where the value was read from the log. */
  readonly isLarge?: true
}

/** A row; its expiry is Infinity where it stays. */
export const rowOf = (key: Uint8Array, value: Uint8Array, lsn: number, expiry: number): Row =>
  expiry === Infinity ? { key, value, lsn } : { key, value, lsn, expiry }

/** What a key comes to at once: a row, or none; or what has to be waited for, or has failed. */
export type Looked = Row | undefined | Effect.Effect<Row | undefined, StoreError>

/** No look at a type id: this stands between a read and its answer. */
export const isHere = (looked: Looked): looked is Row | undefined => looked === undefined || "lsn" in looked

/** The same as an effect. */
export const later = (looked: Looked): Effect.Effect<Row | undefined, StoreError> =>
  isHere(looked) ? Exit.succeed(looked) : looked

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

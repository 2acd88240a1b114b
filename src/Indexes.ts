/**
 * Secondary indexes, kept in the transactions that write the keyspace.
 *
 * ```ts
 * const Users = Index.make(Keyspace.make("users", { key: Key.String, value: User }), {
 *   email: { key: Key.String, of: ({ value }) => [value.email], unique: true },
 *   city: { key: Key.String, of: ({ value }) => [value.city] }
 * })
 *
 * Users.put("ada", ada)                  // fails with DuplicateKey if somebody else has her address
 * Users.by.email.get("ada@example.com")  // an Option of a record
 * Users.by.city.get("London")            // a Stream of records
 * ```
 *
 * What `make` answers is written to instead of the keyspace: it reads the record that it replaces, so its writes need
 * `Snapshot` too and may fail with `DuplicateKey`, which their types say. All indexes of a keyspace are declared
 * together, because a write keeps all of them: one through anything that does not is refused (`Unindexed`).
 *
 * A keyspace that is written for the first time has its indexes at once. For one with records they are built by
 * `Index.layer` or `Index.build`; until then reads through them, and writes, fail with `IndexNotReady`.
 *
 * The file is not called `Index.ts`, as some file systems could not tell that from `index.ts`.
 */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Progress } from "./indexes/Builder.ts"
import { Builder } from "./indexes/Builder.ts"
import { Kept } from "./indexes/Kept.ts"
import type { LaneOptions, Pair } from "./indexes/Lane.ts"
import type { Indexed } from "./indexes/Reading.ts"
import { Reading } from "./indexes/Reading.ts"
import type { Record } from "./indexes/Shape.ts"
import { Shape } from "./indexes/Shape.ts"
import type * as Key from "./Key.ts"
import type { Keyspace, PutOptions, Reads, Reducing } from "./Keyspace.ts"
import type { Snapshot } from "./Snapshot.ts"
import type { Store } from "./Store.ts"
import type { DuplicateKey, StoreError } from "./StoreError.ts"
import { VersionMismatch } from "./StoreError.ts"
import type { Tx } from "./Tx.ts"

export type { Indexed, LaneOptions as RangeOptions, Pair, Progress, Record }

/** How an index is declared. */
export interface Definition<K, V> {
  /** Of the index keys. */
  readonly key: Key.Key<unknown, unknown>
  /**
   * The index keys of a record, none where it is not to be found by this index; a tuple is written `[a, b] as const`.
   * A pure function: what it answered when a record was written it answers when the record is replaced. Once it
   * answers anything else, or values are migrated to others with other index keys, the index needs a new `version`.
   */
  readonly of: (record: Record<K, V>) => Iterable<unknown>
  /** No two records have an index key in common. */
  readonly unique?: boolean
  /** A whole number from 1 on, 1 where absent. Another one than is stored is built anew. */
  readonly version?: number
}

/** Definitions by name. */
export interface Definitions<K, V> {
  readonly [index: string]: Definition<K, V>
}

/** Refuses functions that answer other keys than those of their index, and names that are no option's. */
export type Fitting<K, V, D> = {
  readonly [N in keyof D]:
    & (D[N] extends { readonly key: Key.Key<infer I, infer _> }
      ? { readonly of: (record: Record<K, V>) => Iterable<I> }
      : never)
    & { readonly [O in Exclude<keyof D[N], keyof Definition<K, V>>]: never }
}

/** What may refuse a write: `DuplicateKey` where an index is unique. */
export type Refusal<D> = {
  readonly [N in keyof D]: D[N] extends { readonly unique: infer U } ? true extends U ? DuplicateKey : never
    : never
}[keyof D]

/** Reading by an index. */
export interface By<I, IP, K, V> {
  /** Records in the order of their index keys, then of their keys; once for each of their index keys in the range. */
  readonly range: (
    options?: LaneOptions<I, IP>
  ) => Stream.Stream<Indexed<I, K, V>, StoreError, Snapshot>
  /** The same without reading the records. */
  readonly keys: (options?: LaneOptions<I, IP>) => Stream.Stream<Pair<I, K>, StoreError, Snapshot>
}

/** An index that is not unique. */
export interface Many<I, IP, K, V> extends By<I, IP, K, V> {
  /** The records that have an index key, in the order of their keys. */
  readonly get: (indexKey: I) => Stream.Stream<Indexed<I, K, V>, StoreError, Snapshot>
}

/** A unique index. */
export interface Unique<I, IP, K, V> extends By<I, IP, K, V> {
  /** The record that has an index key. */
  readonly get: (indexKey: I) => Effect.Effect<Option.Option<Indexed<I, K, V>>, StoreError, Snapshot>
}

/** The indexes of a keyspace, by name. */
export type Indexes<K, V, D> = {
  readonly [N in keyof D]: D[N] extends { readonly key: Key.Key<infer I, infer IP> }
    ? D[N] extends { readonly unique: true } ? Unique<I, IP, K, V> : Many<I, IP, K, V>
    : never
}

type Write<A, E = never> = Effect.Effect<A, E | StoreError, Tx | Snapshot>

/** A keyspace with indexes: see {@link make}. Reads are those of the keyspace, writes do what its writes do. */
export interface IndexedKeyspace<K, V, P, D> extends Reads<K, V, P> {
  readonly by: Indexes<K, V, D>
  readonly put: (key: K, value: V, options?: PutOptions) => Write<void, Refusal<D>>
  readonly remove: (key: K) => Write<void>
  readonly insert: (key: K, value: V, options?: PutOptions) => Write<boolean, Refusal<D>>
  readonly replace: (
    key: K,
    value: V,
    expected: number | undefined,
    options?: PutOptions
  ) => Write<void, VersionMismatch | Refusal<D>>
  readonly modify: <B>(
    key: K,
    f: (value: Option.Option<V>) => readonly [B, Option.Option<V>],
    options?: PutOptions
  ) => Write<B, Refusal<D>>
  /** Removes every record, and empties the indexes. */
  readonly clear: Write<void>
  /** Removes the keyspace itself with all its indexes, those that others have declared too. */
  readonly drop: Write<void>
  /** For the other functions of this module. */
  readonly kept: Kept<K, V, P>
}

/** A keyspace with a reducer and indexes. */
export interface IndexedReducing<K, V, O, P, D> extends IndexedKeyspace<K, V, P, D> {
  /** Folds an operand into the value. As the index keys are those of what comes of it, it reads the record. */
  readonly merge: (key: K, operand: O) => Write<void, Refusal<D>>
}

/**
 * Declares the indexes of a keyspace, all of them; what it answers is written to instead of the keyspace. It opens
 * nothing. Throws a `RangeError` where a version is not a whole number from 1 on, or a name has no room.
 *
 * `of` is called with each record that is written and with the one that it replaces. Should it throw, the transaction
 * dies of that. The keys that it answers are limited together with the record's own: `keyBytes` for both.
 */
export function make<K, V, O, P, const D extends Definitions<K, V>>(
  keyspace: Reducing<K, V, O, P>,
  indexes: D & Fitting<K, V, D>
): IndexedReducing<K, V, O, P, D>
export function make<K, V, P, const D extends Definitions<K, V>>(
  keyspace: Keyspace<K, V, P>,
  indexes: D & Fitting<K, V, D>
): IndexedKeyspace<K, V, P, D>
export function make<K, V, O, P, const D extends Definitions<K, V>>(
  keyspace: Keyspace<K, V, P> | Reducing<K, V, O, P>,
  indexes: D & Fitting<K, V, D>
): IndexedKeyspace<K, V, P, D> {
  const records = keyspace.keeping()
  const shapes = Object.entries<Definition<K, V>>(indexes).map(([name, definition]) =>
    new Shape(keyspace.name, name, keyspace.key, definition)
  )
  const kept = new Kept(records, shapes)
  const by = Object.fromEntries(
    shapes.map((shape) => [shape.name, indexed(kept, shape, indexes[shape.name]?.unique === true)])
  )
  return {
    ...reads(records),
    ...writes(kept),
    ...(isReducing(records) ? { merge: folding(kept, records) } : {}),
    by,
    kept
    // The types of `by` and of the refusals are computed from the definitions, the values by hand.
  } as unknown as IndexedKeyspace<K, V, P, D>
}

const indexed = <K, V, P>(kept: Kept<K, V, P>, shape: Shape<K, V, unknown>, unique: boolean) => {
  const { all, keys, one, range } = new Reading(kept, shape)
  return { range, keys, get: unique ? one : all }
}

const reads = <K, V, P>(records: Keyspace<K, V, P>): Reads<K, V, P> => {
  const { count, first, get, getEntries, getEntry, getMany, has, key, keys, layout, name, range, stat } =
    records
  return { count, first, get, getEntries, getEntry, getMany, has, key, keys, layout, name, range, stat }
}

const isReducing = <K, V, O, P>(
  records: Keyspace<K, V, P> | Reducing<K, V, O, P>
): records is Reducing<K, V, O, P> => "merge" in records

const folding = <K, V, O, P>(kept: Kept<K, V, P>, { merge }: Reducing<K, V, O, P>) =>
(
  key: K,
  operand: O
) => kept.merge(key, merge(key, operand))

const writes = <K, V, P>(kept: Kept<K, V, P>) => {
  const changed = (value: V, options?: PutOptions) => ({ value: Option.some(value), options })
  return {
    put: (key: K, value: V, options?: PutOptions) =>
      kept.change(key, () => Exit.succeed([undefined, changed(value, options)])),
    remove: (key: K) => kept.change(key, () => Exit.succeed([undefined, { value: Option.none() }])),
    insert: (key: K, value: V, options?: PutOptions) =>
      kept.change(
        key,
        (entry) => Exit.succeed(Option.isSome(entry) ? [false] : [true, changed(value, options)])
      ),
    replace: (key: K, value: V, expected: number | undefined, options?: PutOptions) =>
      kept.change(key, (entry) => {
        const actual = Option.isSome(entry) ? entry.value.lsn : undefined
        return actual === expected
          ? Exit.succeed([undefined, changed(value, options)])
          : Exit.fail(new VersionMismatch({ keyspace: kept.name, expected, actual }))
      }),
    modify: <B>(
      key: K,
      f: (value: Option.Option<V>) => readonly [B, Option.Option<V>],
      options?: PutOptions
    ) =>
      kept.change(key, (entry) => {
        const [result, value] = f(Option.map(entry, (found) => found.value))
        return Exit.succeed([result, { value, options }])
      }),
    clear: kept.clear,
    drop: kept.drop
  }
}

/** What the functions below need of a keyspace with indexes. */
interface Built<K, V, P> {
  readonly kept: Kept<K, V, P>
}

/**
 * Makes the indexes what they are declared to be: builds those that are new or have another version, type or
 * uniqueness, and drops those that are declared no more. Answers its progress after each slice, and nothing where
 * nothing is to be built.
 *
 * Everybody may go on reading and writing the records meanwhile; through what is declared here, that is, for other
 * writes are refused from the beginning. An index of another version is dropped when its successor is begun, because
 * nothing keeps it any more. To have the old one answer until the new one does, declare the new one beside it under
 * another name.
 *
 * A build that was cut short goes on where it was, when it is run again. `DuplicateKey`: two records have one key of
 * an index that is to be unique; the build goes on from there once one of them is changed.
 */
export const build = <K, V, P>(
  keyspace: Built<K, V, P>
): Stream.Stream<Progress, StoreError | DuplicateKey, Store> => new Builder(keyspace.kept).run(() => false)

/** The same, and builds others anew: all of them, or those named. Their old lanes are read and kept until the end. */
export const rebuild = <K, V, P, D>(
  keyspace: Built<K, V, P> & { readonly by: D },
  indexes?: ReadonlyArray<keyof D>
): Stream.Stream<Progress, StoreError | DuplicateKey, Store> =>
  new Builder(keyspace.kept).run((name) => indexes === undefined || indexes.some((index) => index === name))

/** Builds what is to be built while the program starts: `Layer.provideMerge(Index.layer(Users), store)`. */
export const layer = <K, V, P>(
  keyspace: Built<K, V, P>
): Layer.Layer<never, StoreError | DuplicateKey, Store> =>
  Layer.effectDiscard(Stream.runDrain(build(keyspace)))

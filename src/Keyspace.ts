/**
 * A named, ordered, typed map, declared as a value.
 *
 * `Keyspace.make("users", { key: Key.String, value: User })` opens nothing: the store arrives in `R`, reads need
 * `Snapshot`, writes need `Tx`, and the two boundaries (`Snapshot.read()`, `Tx.transact()`) discharge them.
 *
 * Door to data, first of three files: this one turns keys and values into bytes (`Form.ts`), `Snapshot.ts` asks the
 * tree and waits for pages that are missing, `tree/read/Lookup.ts` finds the record.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "./Codec.ts"
import type { Stat } from "./Counts.ts"
import * as Counts from "./Counts.ts"
import type { WriteNext } from "./Decide.ts"
import { decide } from "./Decide.ts"
import type { Entry, PutOptions, RangeOptions } from "./Form.ts"
import { decoded, entryOf, expiryOf, Form, isBytes, keyBytes, noValue } from "./Form.ts"
import { checkKeyspaceName } from "./Given.ts"
import * as Key from "./Key.ts"
import type { Merging } from "./own/Merges.ts"
import * as Primitive from "./Primitive.ts"
import * as Raw from "./Raw.ts"
import * as Reducer from "./Reducer.ts"
import type { Columns, Row } from "./Row.ts"
import { isHere } from "./Row.ts"
import { Snapshot } from "./Snapshot.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { VersionMismatch } from "./StoreError.ts"
import { Tx } from "./Tx.ts"

export type { Entry, PutOptions, RangeOptions, Stat }

/** What a keyspace is, and how it is read. */
export interface Reads<K, V, P = never> {
  readonly name: string
  /** Fingerprint of the key layout. */
  readonly layout: string
  readonly key: Key.Key<K, P>
  readonly get: (key: K) => Effect.Effect<Option.Option<V>, StoreError, Snapshot>
  readonly getEntry: (key: K) => Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot>
  /** Values in the order of the keys. */
  readonly getMany: (keys: Iterable<K>) => Effect.Effect<Array<Option.Option<V>>, StoreError, Snapshot>
  /** The same, each with its key and version. */
  readonly getEntries: (
    keys: Iterable<K>
  ) => Effect.Effect<Array<Option.Option<Entry<K, V>>>, StoreError, Snapshot>
  readonly has: (key: K) => Effect.Effect<boolean, StoreError, Snapshot>
  /** The head of a range. */
  readonly first: (
    options?: RangeOptions<K, P>
  ) => Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot>
  readonly range: (options?: RangeOptions<K, P>) => Stream.Stream<Entry<K, V>, StoreError, Snapshot>
  /** The same without reading values. */
  readonly keys: (options?: RangeOptions<K, P>) => Stream.Stream<K, StoreError, Snapshot>
  /** O(1), of what is committed. Records that have expired and were not removed yet are counted. */
  readonly stat: Effect.Effect<Stat, StoreError, Store>
  /**
   * The number of committed records as they are now, without own writes of a transaction, those included that have
   * expired and were not removed yet; reads the pages of those, and only those, that `stat` calls unresolved.
   */
  readonly count: Effect.Effect<number, StoreError, Store>
}

/** A keyspace: see {@link make}. */
export interface Keyspace<K, V, P = never> extends Reads<K, V, P> {
  readonly put: (key: K, value: V, options?: PutOptions) => Effect.Effect<void, StoreError, Tx>
  /** For the other modules of this package. */
  readonly encodeKeyInto: (
    key: K,
    target: Uint8Array,
    at: number
  ) => number | Exit.Exit<never, StoreError>
  readonly encodeValueOnce: (value: V) => Uint8Array | Exit.Exit<never, StoreError>
  readonly remove: (key: K) => Effect.Effect<void, StoreError, Tx>
  /** Writes if the key is absent; answers whether it was. */
  readonly insert: (
    key: K,
    value: V,
    options?: PutOptions
  ) => Effect.Effect<boolean, StoreError, Tx | Snapshot>
  /** Writes if the record's version is `expected`; `undefined` expects that there is none. */
  readonly replace: (
    key: K,
    value: V,
    expected: number | undefined,
    options?: PutOptions
  ) => Effect.Effect<void, StoreError | VersionMismatch, Tx | Snapshot>
  /** Reads, decides, writes: `f` answers a result and the new value (`None` removes). */
  readonly modify: <B>(
    key: K,
    f: (value: Option.Option<V>) => readonly [B, Option.Option<V>],
    options?: PutOptions
  ) => Effect.Effect<B, StoreError, Tx | Snapshot>
  /** Removes every record at once. */
  readonly clear: Effect.Effect<void, StoreError, Tx>
  /** Removes the keyspace itself; a later write makes it anew. */
  readonly drop: Effect.Effect<void, StoreError, Tx>
  /** For the other modules of this package: the same keyspace, for whoever keeps its indexes with each write. */
  readonly keeping: () => Keyspace<K, V, P>
}

/** A keyspace with a reducer. */
export interface Reducing<K, V, O, P = never> extends Keyspace<K, V, P> {
  /**
   * Folds an operand into the value; where there is none, what the reducer makes of the operand is the value. With
   * `sum`, `min`, `max` and `last` nothing is read, and so nothing conflicts. What the others make may become too long
   * for its leaf, so they read the record, as `modify` does.
   *
   * What comes of a value that expires does so when that would have, and on one that has expired an operand begins
   * anew; but `last` puts, and what it puts stays.
   */
  readonly merge: (key: K, operand: O) => Effect.Effect<void, StoreError, Tx>
  readonly keeping: () => Reducing<K, V, O, P>
}

/** How a keyspace is declared. */
export interface Options<K, V, P = never, E = unknown> extends Codec.Options {
  readonly key: Key.Key<K, P>
  readonly value: Schema.ConstraintCodec<V, E, never, never> | Codec.Codec<V>
}

/**
 * Declares a keyspace. Values are encoded by a schema (as JSON; `Uint8Array` passes through) or by a codec. Throws a
 * `RangeError` where the name is longer than a key may be, or holds a lone surrogate; and where the reducer does not
 * fold what the codec writes.
 */
export function make<K, V, O, P = never, E = unknown>(
  name: string,
  options: Options<K, V, P, E> & { readonly reducer: Reducer.Reducer<V, O> }
): Reducing<K, V, O, P>
export function make<K, V, Format extends string, P = never>(
  name: string,
  options: Options<K, V, P> & Reducer.Folding<V, Format>
): Reducing<K, V, V, P>
export function make<K, V, P = never, E = unknown>(
  name: string,
  options: Options<K, V, P, E> & { readonly reducer: "last" }
): Reducing<K, V, V, P>
export function make<K, V, P = never, E = unknown>(
  name: string,
  options: Options<K, V, P, E> & { readonly reducer?: undefined }
): Keyspace<K, V, P>
export function make<K, V, O, P = never, E = unknown>(
  name: string,
  options: Options<K, V, P, E> & { readonly reducer?: Reducer.BuiltIn | Reducer.Reducer<V, O> | undefined }
): Keyspace<K, V, P> {
  const { key, reducer, value, ...rest } = options
  const codec = Codec.isCodec(value) ? value : Codec.schema(value, rest)
  if (reducer === undefined) return new Declared(name, key, codec)
  return typeof reducer === "string"
    ? new Merged(name, key, Reducer.builtIn(reducer, codec))
    : new Merged(name, key, Reducer.own(reducer, codec))
}

/** A keyspace of bytes, with doors for hot loops. */
export interface Bytes extends Keyspace<Uint8Array, Uint8Array, Uint8Array> {
  /** Functions that read and write without an Effect per record (`Raw.ts` says what that gives up). */
  readonly raw: Effect.Effect<Raw.Raw, never, Store>
}

/** Declares a keyspace of bytes, in unsigned order. */
export const bytes = (name: string): Bytes => {
  const declared = new Declared(name, Key.Bytes, Codec.bytes)
  return Object.assign(declared, { raw: Store.useSync(({ machine }) => Raw.make(machine, declared)) })
}

class Declared<K, V, P> extends Form<K, V, P> implements Keyspace<K, V, P> {
  constructor(
    name: string,
    key: Key.Key<K, P>,
    codec: Codec.Codec<V>,
    options?: { readonly usage?: Reducer.Named | undefined; readonly keepsIndexes?: boolean }
  ) {
    const usage = options?.usage
    checkKeyspaceName(name, keyBytes)
    // How values are framed is part of the layout: bytes read as JSON would be garbage. So is how they are folded.
    const layout = `${key.fingerprint} -> ${codec.format}${usage === undefined ? "" : ` by ${usage.layout}`}`
    super({ name, layout, reducer: usage?.id, keepsIndexes: options?.keepsIndexes }, key, codec)
  }

  keeping(): Keyspace<K, V, P> {
    return new Declared(this.name, this.key, this.codec, { keepsIndexes: true })
  }

  readonly get = (key: K): Effect.Effect<Option.Option<V>, StoreError, Snapshot> =>
    this.find(key, "keys and values", this.some)

  private readonly some = (row: Row | undefined): Exit.Exit<Option.Option<V>, StoreError> =>
    row === undefined ? noValue : this.value(row)

  readonly getEntry = (key: K): Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot> =>
    this.find(key, "keys and values", (row) => {
      if (row === undefined) return noValue
      const value = this.decode(row)
      return "value" in value ? Exit.succeed(Option.some(entryOf(key, value.value, row))) : value
    })

  readonly getMany = (keys: Iterable<K>): Effect.Effect<Array<Option.Option<V>>, StoreError, Snapshot> =>
    Effect.flatMap(this.rowsOf(keys), (rows) => this.values(rows))

  readonly getEntries = (
    keys: Iterable<K>
  ): Effect.Effect<Array<Option.Option<Entry<K, V>>>, StoreError, Snapshot> =>
    Effect.suspend(() => {
      const all = [...keys]
      return Effect.flatMap(this.rowsOf(all), (rows) => this.entries(all, rows))
    })

  readonly has = (key: K): Effect.Effect<boolean, StoreError, Snapshot> => this.find(key, "keys", isThere)

  readonly first = (
    options?: RangeOptions<K, P>
  ): Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot> =>
    Snapshot.use((snapshot) => {
      const range = this.bounds({ ...options, limit: 1 }, "keys and values")
      if (Exit.isExit(range)) return range
      return Effect.matchEffect(decoded(snapshot.scan(this, range), (row) => this.entry(row)), {
        onSuccess: ([entry]) => Exit.succeed(Option.some(entry)),
        onFailure: (error) => Cause.isDone(error) ? noValue : Effect.fail(error)
      })
    })

  readonly range = (options: RangeOptions<K, P> = {}): Stream.Stream<Entry<K, V>, StoreError, Snapshot> =>
    this.rows(options, "keys and values", (row) => this.entry(row))

  readonly keys = (options: RangeOptions<K, P> = {}): Stream.Stream<K, StoreError, Snapshot> =>
    Stream.map(
      this.rows(options, "keys", (row) => this.decodeKey(row)),
      ({ key }) => key
    )

  readonly put = (key: K, value: V, options?: PutOptions): Effect.Effect<void, StoreError, Tx> =>
    Primitive.use(Tx, this, this.writeKey, key, value, options)

  readonly remove = (key: K): Effect.Effect<void, StoreError, Tx> =>
    Primitive.use(Tx, this, this.removeKey, key, undefined, undefined)

  readonly insert = (
    key: K,
    value: V,
    options?: PutOptions
  ): Effect.Effect<boolean, StoreError, Tx | Snapshot> =>
    this.decide(
      key,
      "keys",
      options,
      (row, write) => row === undefined ? Effect.as(write(Option.some(value)), true) : no
    )

  readonly replace = (
    key: K,
    value: V,
    expected: number | undefined,
    options?: PutOptions
  ): Effect.Effect<void, StoreError | VersionMismatch, Tx | Snapshot> =>
    this.decide(
      key,
      "keys",
      options,
      (row, write): Effect.Effect<void, StoreError | VersionMismatch> =>
        row?.lsn === expected
          ? write(Option.some(value))
          : Effect.fail(new VersionMismatch({ keyspace: this.name, expected, actual: row?.lsn }))
    )

  readonly modify = <B>(
    key: K,
    f: (value: Option.Option<V>) => readonly [B, Option.Option<V>],
    options?: PutOptions
  ): Effect.Effect<B, StoreError, Tx | Snapshot> =>
    this.decide(key, "keys and values", options, (row, write): Effect.Effect<B, StoreError> => {
      const found = row === undefined ? noValue : this.value(row)
      if (Exit.isFailure(found)) return Exit.failCause(found.cause)
      const [result, next] = f(found.value)
      return Effect.as(write(next), result)
    })

  readonly clear: Effect.Effect<void, StoreError, Tx> = Tx.use((tx) => tx.clear(this))

  readonly drop: Effect.Effect<void, StoreError, Tx> = Tx.use((tx) => tx.drop(this))

  readonly stat: Effect.Effect<Stat, StoreError, Store> = Counts.stat(this)

  readonly count: Effect.Effect<number, StoreError, Store> = Counts.count(this)

  /** What `answer` makes of a key's row, in the same step of its fiber where nothing has to be waited for. */
  private find<A, E, R>(
    key: K,
    columns: Columns,
    answer: (row: Row | undefined) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StoreError, R | Snapshot> {
    return Primitive.use(Snapshot, this, this.look<A, E, R>, key, columns, answer)
  }

  private look<A, E, R>(
    snapshot: Snapshot["Service"],
    key: K,
    columns: Columns,
    answer: (row: Row | undefined) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | StoreError, R> {
    const encoded = this.encodeKeyBriefly(key)
    if (!isBytes(encoded)) return encoded
    const looked = snapshot.look(this, encoded, columns)
    return isHere(looked) ? answer(looked) : Effect.flatMap(looked, answer)
  }

  /** What `answer` makes of a key's row, and writes of it, in one step. */
  private decide<A, E>(
    key: K,
    columns: Columns,
    options: PutOptions | undefined,
    answer: (row: Row | undefined, write: WriteNext<V>) => Effect.Effect<A, E>
  ): Effect.Effect<A, E | StoreError, Tx | Snapshot> {
    return Effect.suspend(() => {
      const encoded = this.encodeKey(key)
      if (!isBytes(encoded)) return encoded
      const write = (tx: Tx["Service"]): WriteNext<V> => (next) =>
        Option.isSome(next) ? this.write(tx, encoded, next.value, options) : tx.remove(this, encoded)
      return decide(this, encoded, columns, (row, tx) => answer(row, write(tx)))
    })
  }

  private writeKey(tx: Tx["Service"], key: K, value: V, options: PutOptions | undefined) {
    const encoded = this.encodeKey(key)
    return isBytes(encoded) ? this.write(tx, encoded, value, options) : encoded
  }

  private removeKey(tx: Tx["Service"], key: K) {
    const encoded = this.encodeKey(key)
    return isBytes(encoded) ? tx.remove(this, encoded) : encoded
  }

  /** Writes at once. */
  private write(tx: Tx["Service"], encoded: Uint8Array, value: V, options: PutOptions | undefined) {
    const stored = this.encodeValue(value)
    return isBytes(stored) ? tx.put(this, encoded, stored, expiryOf(options, tx.now)) : stored
  }

  private rowsOf(keys: Iterable<K>): Effect.Effect<ReadonlyArray<Row | undefined>, StoreError, Snapshot> {
    return Snapshot.use((snapshot) => {
      const encoded = this.encodeKeys(keys)
      return Exit.isExit(encoded) ? encoded : snapshot.getMany(this, encoded, "keys and values")
    })
  }

  private rows<A extends { readonly key: K }>(
    options: RangeOptions<K, P>,
    columns: Columns,
    decode: (row: Row) => A | Exit.Exit<never, StoreError>
  ): Stream.Stream<A, StoreError, Snapshot> {
    return Stream.fromPull(Snapshot.use((snapshot) => {
      const range = this.bounds(options, columns)
      if (Exit.isExit(range)) return range
      return Effect.succeed(decoded(snapshot.scan(this, range), decode))
    }))
  }
}

const yes = Exit.succeed(true)
const no = Exit.succeed(false)
const isThere = (row: Row | undefined): Exit.Exit<boolean> => row === undefined ? no : yes

class Merged<K, V, O, P> extends Declared<K, V, P> implements Reducing<K, V, O, P>, Merging {
  private readonly usage: Reducer.Usage<V, O>

  constructor(
    name: string,
    key: Key.Key<K, P>,
    usage: Reducer.Usage<V, O>,
    options?: { readonly keepsIndexes: boolean }
  ) {
    super(name, key, usage.codec, { ...options, usage })
    this.usage = usage
  }

  override keeping(): Reducing<K, V, O, P> {
    return new Merged(this.name, this.key, this.usage, { keepsIndexes: true })
  }

  readonly merge = (key: K, operand: O): Effect.Effect<void, StoreError, Tx> =>
    Tx.use((tx) => {
      const encoded = this.encodeKey(key)
      if (!isBytes(encoded)) return encoded
      const stored = this.guard(() => this.usage.encodeOperand(operand))
      return isBytes(stored) ? tx.merge(this, encoded, stored) : stored
    })

  readonly compact = (stored: Uint8Array, most: number): Uint8Array | Exit.Exit<never, StoreError> => {
    const { compact } = this.usage
    return compact === undefined ? stored : this.guard(() => compact(stored, most))
  }
}

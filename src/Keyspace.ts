/**
 * A named, ordered, typed map, declared as a value.
 *
 * `Keyspace.make("users", { key: Key.String, value: User })` opens nothing: the store arrives in `R`, reads need
 * `Snapshot`, writes need `Tx`, and the two boundaries (`Snapshot.read()`, `Tx.transact()`) discharge them.
 *
 * Door to data, first of three files: this one turns keys and values into bytes, `Snapshot.ts` asks the tree and waits
 * for pages that are missing, `tree/Lookup.ts` finds the record.
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "./Codec.ts"
import * as Key from "./Key.ts"
import { ranges } from "./Limits.ts"
import * as Raw from "./Raw.ts"
import type { Columns, Range, Row } from "./Snapshot.ts"
import { Snapshot } from "./Snapshot.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { LimitExceeded, storeError, Undecodable, Unencodable, VersionMismatch } from "./StoreError.ts"
import { Absent } from "./tree/Tree.ts"
import { Tx } from "./Tx.ts"
import { compare } from "./WriteSet.ts"

/** A record as it is read. */
export interface Entry<K, V> {
  readonly key: K
  readonly value: V
  /** LSN of the commit that wrote it; what `replace` compares. */
  readonly lsn: number
}

/** Which keys a range covers; everything where nothing is given. */
export interface RangeOptions<K, P> {
  /** Only keys that begin with this: a leading part of a tuple, or a leading string. */
  readonly prefix?: P | undefined
  /** First key, itself included. */
  readonly from?: K | undefined
  /** End of the range, itself excluded. */
  readonly until?: K | undefined
  /** From the last key to the first. */
  readonly reverse?: boolean | undefined
  /** Most entries. */
  readonly limit?: number | undefined
}

/** How many records a keyspace has. */
export interface Stat {
  readonly count: number
  /** Writes of which it is not known yet whether their keys are new; `count` is exact where there are none. */
  readonly unresolved: number
}

/** A keyspace: see {@link make}. */
export interface Keyspace<K, V, P = never> {
  readonly name: string
  /** Fingerprint of the key layout. */
  readonly layout: string
  readonly get: (key: K) => Effect.Effect<Option.Option<V>, StoreError, Snapshot>
  readonly getEntry: (key: K) => Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot>
  /** Values in the order of the keys. */
  readonly getMany: (keys: Iterable<K>) => Effect.Effect<Array<Option.Option<V>>, StoreError, Snapshot>
  readonly has: (key: K) => Effect.Effect<boolean, StoreError, Snapshot>
  /** The head of a range. */
  readonly first: (
    options?: RangeOptions<K, P>
  ) => Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot>
  readonly range: (options?: RangeOptions<K, P>) => Stream.Stream<Entry<K, V>, StoreError, Snapshot>
  /** The same without reading values. */
  readonly keys: (options?: RangeOptions<K, P>) => Stream.Stream<K, StoreError, Snapshot>
  readonly put: (key: K, value: V) => Effect.Effect<void, StoreError, Tx>
  readonly remove: (key: K) => Effect.Effect<void, StoreError, Tx>
  /** Writes if the key is absent; answers whether it was. */
  readonly insert: (key: K, value: V) => Effect.Effect<boolean, StoreError, Tx | Snapshot>
  /** Writes if the record's version is `expected`; `undefined` expects that there is none. */
  readonly replace: (
    key: K,
    value: V,
    expected: number | undefined
  ) => Effect.Effect<void, StoreError | VersionMismatch, Tx | Snapshot>
  /** Reads, decides, writes: `f` answers a result and the new value (`None` removes). */
  readonly modify: <B>(
    key: K,
    f: (value: Option.Option<V>) => readonly [B, Option.Option<V>]
  ) => Effect.Effect<B, StoreError, Tx | Snapshot>
  /** Removes every record at once. */
  readonly clear: Effect.Effect<void, StoreError, Tx>
  /** Removes the keyspace itself; a later write makes it anew. */
  readonly drop: Effect.Effect<void, StoreError, Tx>
  /** O(1). */
  readonly stat: Effect.Effect<Stat, StoreError, Store>
  /** The number of records as they are now; reads the pages of those, and only those, that `stat` calls unresolved. */
  readonly count: Effect.Effect<number, StoreError, Store>
}

/**
 * Declares a keyspace. Values are encoded by a schema (as JSON; `Uint8Array` passes through) or by a codec. Throws a
 * `RangeError` where the name is longer than a key may be, or holds a lone surrogate.
 */
export const make = <K, V, P = never, E = unknown>(
  name: string,
  options: Codec.Options & {
    readonly key: Key.Key<K, P>
    readonly value: Schema.ConstraintCodec<V, E, never, never> | Codec.Codec<V>
  }
): Keyspace<K, V, P> => {
  const { key, value, ...rest } = options
  return new Declared(name, key, Codec.isCodec(value) ? value : Codec.schema(value, rest))
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

/** No key of any store is longer; a store may allow less. */
const keyBytes = ranges.keyBytes.most

/** One buffer serves all encodings: nothing suspends between filling and copying. */
const scratch = new Uint8Array(keyBytes)

const everything = new Uint8Array(0)

class Declared<K, V, P> implements Keyspace<K, V, P> {
  readonly name: string
  readonly layout: string
  private readonly key: Key.Key<K, P>
  private readonly codec: Codec.Codec<V>

  constructor(name: string, key: Key.Key<K, P>, codec: Codec.Codec<V>) {
    if (!name.isWellFormed() || Buffer.byteLength(name) > keyBytes) {
      throw new RangeError(`a keyspace's name is well-formed text of at most ${keyBytes} bytes`)
    }
    this.name = name
    // How values are framed is part of the layout: bytes read as JSON would be garbage.
    this.layout = `${key.fingerprint} -> ${codec.format}`
    this.key = key
    this.codec = codec
  }

  readonly get = (key: K): Effect.Effect<Option.Option<V>, StoreError, Snapshot> =>
    Effect.flatMap(this.row(key, "keys and values"), (row) => row === undefined ? noValue : this.value(row))

  readonly getEntry = (key: K): Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot> =>
    Effect.flatMap(this.row(key, "keys and values"), (row) => {
      if (row === undefined) return noValue
      const value = this.decode(row)
      return Exit.isExit(value) ? value : Exit.succeed(Option.some({ key, value: value.value, lsn: row.lsn }))
    })

  readonly getMany = (keys: Iterable<K>): Effect.Effect<Array<Option.Option<V>>, StoreError, Snapshot> =>
    Snapshot.use((snapshot) => {
      const encoded: Array<Uint8Array> = []
      for (const key of keys) {
        const bytes = this.encodeKey(key)
        if (Exit.isExit(bytes)) return bytes
        encoded.push(bytes)
      }
      return Effect.flatMap(snapshot.getMany(this, encoded, "keys and values"), (rows) => this.values(rows))
    })

  readonly has = (key: K): Effect.Effect<boolean, StoreError, Snapshot> =>
    Effect.map(this.row(key, "keys"), (row) => row !== undefined)

  readonly first = (
    options?: RangeOptions<K, P>
  ): Effect.Effect<Option.Option<Entry<K, V>>, StoreError, Snapshot> =>
    Stream.runHead(this.range({ ...options, limit: 1 }))

  readonly range = (options: RangeOptions<K, P> = {}): Stream.Stream<Entry<K, V>, StoreError, Snapshot> =>
    this.rows(options, "keys and values", (row) => {
      const key = this.decodeKey(row)
      if (Exit.isExit(key)) return key
      const value = this.decode(row)
      return Exit.isExit(value) ? value : { key: key.key, value: value.value, lsn: row.lsn }
    })

  readonly keys = (options: RangeOptions<K, P> = {}): Stream.Stream<K, StoreError, Snapshot> =>
    Stream.map(
      this.rows(options, "keys", (row) => this.decodeKey(row)),
      ({ key }) => key
    )

  readonly put = (key: K, value: V): Effect.Effect<void, StoreError, Tx> =>
    Tx.use((tx) => this.write(tx, key, value))

  readonly remove = (key: K): Effect.Effect<void, StoreError, Tx> =>
    Tx.use((tx) => {
      const encoded = this.encodeKey(key)
      return Exit.isExit(encoded) ? encoded : tx.remove(this, encoded)
    })

  readonly insert = (key: K, value: V): Effect.Effect<boolean, StoreError, Tx | Snapshot> =>
    Effect.flatMap(
      this.row(key, "keys"),
      (row) => row === undefined ? Effect.as(this.put(key, value), true) : Effect.succeed(false)
    )

  readonly replace = (
    key: K,
    value: V,
    expected: number | undefined
  ): Effect.Effect<void, StoreError | VersionMismatch, Tx | Snapshot> =>
    Effect.flatMap(
      this.row(key, "keys"),
      (row): Effect.Effect<void, StoreError | VersionMismatch, Tx> =>
        row?.lsn === expected
          ? this.put(key, value)
          : Effect.fail(new VersionMismatch({ keyspace: this.name, expected, actual: row?.lsn }))
    )

  readonly modify = <B>(
    key: K,
    f: (value: Option.Option<V>) => readonly [B, Option.Option<V>]
  ): Effect.Effect<B, StoreError, Tx | Snapshot> =>
    Effect.flatMap(this.get(key), (value) => {
      const [result, next] = f(value)
      const write = Option.isSome(next) ? this.put(key, next.value) : this.remove(key)
      return Effect.as(write, result)
    })

  readonly clear: Effect.Effect<void, StoreError, Tx> = Tx.use((tx) => tx.clear(this))

  readonly drop: Effect.Effect<void, StoreError, Tx> = Tx.use((tx) => tx.drop(this))

  readonly stat: Effect.Effect<Stat, StoreError, Store> = Store.use(({ machine }) =>
    Effect.suspend(() => {
      const failure = machine.unavailable()
      if (failure !== undefined) return Effect.fail(failure)
      const root = machine.root(this, Infinity)
      return Exit.isExit(root)
        ? Exit.map(root, () => ({ count: 0, unresolved: 0 }))
        : Effect.succeed({ count: root.count, unresolved: root.unresolved })
    })
  )

  readonly count: Effect.Effect<number, StoreError, Store> = Store.use(({ machine }) => {
    const from = (id: number): Effect.Effect<number, StoreError> =>
      Effect.suspend(() => {
        const failure = machine.unavailable()
        if (failure !== undefined) return Effect.fail(failure)
        const root = machine.root(this, Infinity)
        if (Exit.isExit(root)) return Exit.map(root, () => 0)
        const { tree } = machine
        if (tree.resolve(root, id) === Absent) return Effect.succeed(root.count)
        const { missing } = tree
        return Effect.andThen(machine.load(missing, "scan"), from(missing))
      })
    return from(1)
  })

  private row(key: K, columns: Columns): Effect.Effect<Row | undefined, StoreError, Snapshot> {
    return Snapshot.use((snapshot) => {
      const encoded = this.encodeKey(key)
      return Exit.isExit(encoded) ? encoded : snapshot.get(this, encoded, columns)
    })
  }

  private rows<A>(
    options: RangeOptions<K, P>,
    columns: Columns,
    decode: (row: Row) => A | Exit.Exit<never, StoreError>
  ): Stream.Stream<A, StoreError, Snapshot> {
    return Stream.fromPull(Snapshot.use((snapshot) => {
      const range = this.bounds(options, columns)
      if (Exit.isExit(range)) return range
      const scan = snapshot.scan(this, range)
      const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, StoreError | Cause.Done> = Effect.flatMap(
        scan,
        (rows) => {
          const decoded: Array<A> = []
          for (const row of rows) {
            const entry = decode(row)
            if (Exit.isExit(entry)) return entry
            decoded.push(entry)
          }
          // A chunk may be empty: its rows were removed by the transaction that reads.
          return Arr.isReadonlyArrayNonEmpty(decoded) ? Exit.succeed(decoded) : pull
        }
      )
      return Effect.succeed(pull)
    }))
  }

  private write(tx: Tx["Service"], key: K, value: V): Effect.Effect<void, StoreError> {
    const encoded = this.encodeKey(key)
    if (Exit.isExit(encoded)) return encoded
    try {
      const stored = this.codec.encode(value)
      // Raw bytes come back as the caller's own array, which may change before the commit. Not by `slice`: that of a
      // Buffer shares its bytes.
      return tx.put(this, encoded, this.codec.format === "bytes" ? Uint8Array.from(stored) : stored)
    } catch (cause) {
      if (!(cause instanceof Codec.CodecFailed)) throw cause
      return Effect.fail(storeError(new Unencodable({ keyspace: this.name, what: "value", cause })))
    }
  }

  private encodeKey(key: K): Uint8Array | Exit.Exit<never, StoreError> {
    return this.encoded((target) => this.key.encode(key, target, 0))
  }

  /** The bytes that `encode` writes, which answers their number, or why it cannot. */
  private encoded(encode: (target: Uint8Array) => number): Uint8Array | Exit.Exit<never, StoreError> {
    const length = encode(scratch)
    if (length >= 0) return scratch.slice(0, length)
    if (length !== Key.Full) {
      return Exit.fail(storeError(new Unencodable({ keyspace: this.name, what: "key" })))
    }
    // How long it would be is worth knowing, and worth an allocation only now.
    let actual: number = length
    for (let bytes = 4 * keyBytes; actual === Key.Full; bytes *= 4) actual = encode(new Uint8Array(bytes))
    return Exit.fail(storeError(new LimitExceeded({ limit: "keyBytes", actual, maximum: keyBytes })))
  }

  private values(
    rows: ReadonlyArray<Row | undefined>
  ): Exit.Exit<Array<Option.Option<V>>, StoreError> {
    const values: Array<Option.Option<V>> = []
    for (const row of rows) {
      const value = row === undefined ? noValue : this.value(row)
      if (Exit.isFailure(value)) return Exit.failCause(value.cause)
      values.push(value.value)
    }
    return Exit.succeed(values)
  }

  private value(row: Row): Exit.Exit<Option.Option<V>, StoreError> {
    const value = this.decode(row)
    return Exit.isExit(value) ? value : Exit.succeed(Option.some(value.value))
  }

  private decode(row: Row): { readonly value: V } | Exit.Exit<never, StoreError> {
    try {
      return { value: this.codec.decode(row.value) }
    } catch (cause) {
      if (!(cause instanceof Codec.CodecFailed)) throw cause
      return Exit.fail(storeError(new Undecodable({ keyspace: this.name, version: cause.version, cause })))
    }
  }

  private decodeKey(row: Row): { readonly key: K } | Exit.Exit<never, StoreError> {
    const key = this.key.decode(row.key, 0, row.key.length)
    if (key !== undefined) return { key }
    return Exit.fail(storeError(new Undecodable({ keyspace: this.name, version: 0, cause: "its key" })))
  }

  /** The range in bytes: what begins with the prefix, cut by `from` and `until`. */
  private bounds(
    options: RangeOptions<K, P>,
    columns: Columns
  ): Range | Exit.Exit<never, StoreError> {
    let lower: Uint8Array = everything
    let upper: Uint8Array | undefined
    if (options.prefix !== undefined) {
      const { prefix: leading } = options
      const prefix = this.encoded((target) => this.key.encodePrefix(leading, target, 0))
      if (Exit.isExit(prefix)) return prefix
      const above = prefix.slice()
      const end = Key.successor(above, 0, above.length)
      lower = prefix
      if (end >= 0) upper = above.slice(0, end)
    }
    if (options.from !== undefined) {
      const from = this.encodeKey(options.from)
      if (Exit.isExit(from)) return from
      if (compare(from, lower) > 0) lower = from
    }
    if (options.until !== undefined) {
      const until = this.encodeKey(options.until)
      if (Exit.isExit(until)) return until
      if (upper === undefined || compare(until, upper) < 0) upper = until
    }
    return {
      lower,
      upper,
      order: options.reverse === true ? "descending" : "ascending",
      limit: options.limit === undefined ? Infinity : wholeOf(options.limit),
      columns
    }
  }
}

/** A count of rows; what is none counts as 0. */
const wholeOf = (limit: number): number => limit > 0 ? Math.floor(limit) : 0

const noValue = Exit.succeed(Option.none<never>())

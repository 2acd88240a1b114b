/**
 * The form of a keyspace: its keys and values as bytes, and back; ranges of keys as ranges of bytes.
 *
 * It throws nothing that a declaration or a stored byte can cause: what does not encode, decode or fold is an exit.
 *
 * It must not know the store, nor what is done with the bytes.
 */
import * as Arr from "effect/Array"
import type * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Codec from "./Codec.ts"
import * as Key from "./Key.ts"
import { ranges } from "./Limits.ts"
import type { Declared } from "./Machine.ts"
import { FoldFailed } from "./Reducer.ts"
import type { Columns, Range, Row, Scan } from "./Row.ts"
import type { StoreError } from "./StoreError.ts"
import { LimitExceeded, ReducerFailed, storeError, Undecodable, Unencodable } from "./StoreError.ts"
import { compare } from "./WriteSet.ts"

/** A record as it is read. */
export interface Entry<K, V> {
  readonly key: K
  readonly value: V
  /** LSN of the commit that wrote it; what `replace` compares. */
  readonly lsn: number
  /** Milliseconds since 1970 from which on it is hidden; absent where it stays. */
  readonly expiry?: number
}

export const entryOf = <K, V>(key: K, value: V, { expiry, lsn }: Row): Entry<K, V> =>
  expiry === undefined ? { key, value, lsn } : { key, value, lsn, expiry }

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

/** How a record is written. */
export interface PutOptions {
  /**
   * How long the record lives, from the time of the transaction on: for ever where it is absent, whatever the record
   * before it had, and where it is infinite. One that is not above zero has expired at once: the key is removed.
   */
  readonly ttl?: Duration.Input | undefined
}

/** When what is written at `now` expires: Infinity where it stays. */
export const expiryOf = (options: PutOptions | undefined, now: number): number =>
  options?.ttl === undefined ? Infinity : now + millisOf(options.ttl)

/** What is no duration would be none, and the record gone at once. */
const millisOf = (ttl: Duration.Input): number => {
  const duration = Number.isNaN(ttl) ? Option.none() : Duration.fromInput(ttl)
  if (Option.isSome(duration)) return Duration.toMillis(duration.value)
  throw new RangeError(
    `ttl is a duration such as "30 minutes" or a number of milliseconds, not ${String(ttl)}`
  )
}

type Failed = Exit.Exit<never, StoreError>

/** Told by its class: a look for a type id takes as long as the encoding of a short key. */
export const isBytes = (encoded: Uint8Array | Failed): encoded is Uint8Array => encoded instanceof Uint8Array

/** No key of any store is longer; a store may allow less. */
export const keyBytes = ranges.keyBytes.most

/** One buffer serves all encodings: nothing suspends between filling and copying. */
const scratch = new Uint8Array(keyBytes)

/** What it begins with, by length. */
const views: Array<Uint8Array> = []

/** Memory that keys share which are kept for longer: one of its own costs each several times what the encoding does. */
const slabBytes = 8 * keyBytes
let slab = new Uint8Array(slabBytes)
let slabUsed = 0

const everything = new Uint8Array(0)

export class Form<K, V, P> implements Declared {
  readonly name: string
  readonly layout: string
  readonly reducer: number
  readonly keepsIndexes: boolean
  readonly key: Key.Key<K, P>
  protected readonly codec: Codec.Codec<V>

  constructor(
    declared: Declared,
    key: Key.Key<K, P>,
    codec: Codec.Codec<V>
  ) {
    this.name = declared.name
    this.layout = declared.layout
    this.reducer = declared.reducer ?? 0
    this.keepsIndexes = declared.keepsIndexes ?? false
    this.key = key
    this.codec = codec
  }

  /** Writes a key into `target` at `at`, where there is room for any, and answers its length. */
  encodeKeyInto(key: K, target: Uint8Array, at: number): number | Failed {
    const length = this.key.encode(key, target, at)
    if (length >= 0) return length
    const encoded = this.encodeKey(key)
    return isBytes(encoded) ? encoded.length : encoded
  }

  /** A value as it is stored; where values are bytes, the caller's own. */
  encodeValueOnce(value: V): Uint8Array | Failed {
    // No closure: a load does this for each of millions.
    try {
      return this.codec.encode(value)
    } catch (cause) {
      return this.unencoded(cause)
    }
  }

  protected encodeKey(key: K): Uint8Array | Failed {
    const length = this.key.encode(key, scratch, 0)
    return length >= 0
      ? scratch.slice(0, length)
      : this.encoded((target) => this.key.encode(key, target, 0))
  }

  /** The same, good until the next key is encoded: reads that are answered at once keep none. */
  protected encodeKeyBriefly(key: K): Uint8Array | Failed {
    const length = this.key.encode(key, scratch, 0)
    return length >= 0 ? views[length] ??= scratch.subarray(0, length) : this.encodeKey(key)
  }

  /** Keys that are kept until all of them are answered. */
  protected encodeKeys(keys: Iterable<K>): Array<Uint8Array> | Failed {
    const encoded: Array<Uint8Array> = []
    for (const key of keys) {
      if (slabUsed + keyBytes > slabBytes) {
        slab = new Uint8Array(slabBytes)
        slabUsed = 0
      }
      const length = this.key.encode(key, slab, slabUsed)
      if (length < 0 || length > keyBytes) {
        const alone = this.encodeKey(key)
        if (!isBytes(alone)) return alone
        encoded.push(alone)
        continue
      }
      encoded.push(new Uint8Array(slab.buffer, slabUsed, length))
      slabUsed += length
    }
    return encoded
  }

  /** The bytes that `encode` writes, which answers their number, or why it cannot. */
  private encoded(encode: (target: Uint8Array) => number): Uint8Array | Failed {
    const length = encode(scratch)
    if (length >= 0) return scratch.slice(0, length)
    if (length !== Key.Full) {
      const layout = this.key.fingerprint
      return Exit.fail(storeError(new Unencodable({ keyspace: this.name, what: "key", layout })))
    }
    // How long it would be is worth knowing, and worth an allocation only now.
    let actual: number = length
    for (let bytes = 4 * keyBytes; actual === Key.Full; bytes *= 4) actual = encode(new Uint8Array(bytes))
    return Exit.fail(storeError(new LimitExceeded({ limit: "keyBytes", actual, maximum: keyBytes })))
  }

  protected encodeValue(value: V): Uint8Array | Failed {
    return this.guard(() => {
      const stored = this.codec.encode(value)
      // Raw bytes come back as the caller's own array, which may change before the commit.
      return this.codec.format === "bytes" ? copyOf(stored) : stored
    })
  }

  /** What `encode` answers, or why a value does not become bytes. */
  protected guard(encode: () => Uint8Array): Uint8Array | Failed {
    try {
      return encode()
    } catch (cause) {
      return this.unencoded(cause)
    }
  }

  private unencoded(cause: unknown): Failed {
    if (cause instanceof FoldFailed) return this.unfolded(cause)
    if (!(cause instanceof Codec.CodecFailed)) throw cause
    return Exit.fail(storeError(new Unencodable({ keyspace: this.name, what: "value", cause })))
  }

  protected values(rows: ReadonlyArray<Row | undefined>): Exit.Exit<Array<Option.Option<V>>, StoreError> {
    const values: Array<Option.Option<V>> = []
    // One attempt for all: an exit for each would cost as much as its value.
    try {
      for (const row of rows) {
        values.push(row === undefined ? Option.none() : Option.some(this.codec.decode(row.value)))
      }
    } catch (cause) {
      return this.undecoded(cause)
    }
    return Exit.succeed(values)
  }

  protected entries(
    keys: ReadonlyArray<K>,
    rows: ReadonlyArray<Row | undefined>
  ): Exit.Exit<Array<Option.Option<Entry<K, V>>>, StoreError> {
    return Exit.map(
      this.values(rows),
      (values) =>
        values.map((found, index) =>
          Option.map(found, (value) => entryOf(keys[index] as K, value, rows[index] as Row))
        )
    )
  }

  protected value(row: Row): Exit.Exit<Option.Option<V>, StoreError> {
    const value = this.decode(row)
    return "value" in value ? Exit.succeed(Option.some(value.value)) : value
  }

  protected decode(row: Row): { readonly value: V } | Failed {
    try {
      return { value: this.codec.decode(row.value) }
    } catch (cause) {
      return this.undecoded(cause)
    }
  }

  private undecoded(cause: unknown): Failed {
    if (cause instanceof FoldFailed) return this.unfolded(cause)
    if (!(cause instanceof Codec.CodecFailed)) throw cause
    const { version, why } = cause
    const thrown = why === "step" ? cause.cause : cause
    return Exit.fail(storeError(new Undecodable({ keyspace: this.name, version, why, cause: thrown })))
  }

  private unfolded({ cause, reducer }: FoldFailed): Failed {
    return Exit.fail(storeError(new ReducerFailed({ keyspace: this.name, reducer, cause })))
  }

  protected decodeKey(row: Row): { readonly key: K } | Failed {
    const key = this.key.decode(row.key, 0, row.key.length)
    return key === undefined ? this.undecodedKey() : { key }
  }

  protected entry(row: Row): Entry<K, V> | Failed {
    const key = this.key.decode(row.key, 0, row.key.length)
    if (key === undefined) return this.undecodedKey()
    try {
      const value = this.codec.decode(row.value)
      // Of bytes the row is the entry itself: a scan makes no other object for each record.
      const isEntry = (key as unknown) === row.key && (value as unknown) === row.value && !row.isLarge
      return isEntry ? row as unknown as Entry<K, V> : entryOf(key, value, row)
    } catch (cause) {
      return this.undecoded(cause)
    }
  }

  private undecodedKey(): Failed {
    return Exit.fail(storeError(new Undecodable({ keyspace: this.name, version: 0, cause: "its key" })))
  }

  /** The range in bytes: what begins with the prefix, cut by `from` and `until`. */
  protected bounds(options: RangeOptions<K, P>, columns: Columns): Range | Failed {
    let lower: Uint8Array = everything
    let upper: Uint8Array | undefined
    if (options.prefix !== undefined) {
      const { prefix: leading } = options
      const prefix = this.encoded((target) => this.key.encodePrefix(leading, target, 0))
      if (!isBytes(prefix)) return prefix
      const above = prefix.slice()
      const end = Key.successor(above, 0, above.length)
      lower = prefix
      if (end >= 0) upper = above.slice(0, end)
    }
    if (options.from !== undefined) {
      const from = this.encodeKey(options.from)
      if (!isBytes(from)) return from
      if (compare(from, lower) > 0) lower = from
    }
    if (options.until !== undefined) {
      const until = this.encodeKey(options.until)
      if (!isBytes(until)) return until
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

/** A count of rows. */
const wholeOf = (limit: number): number => {
  if (Number.isNaN(limit)) throw new RangeError("limit is a number of entries, not NaN")
  return limit > 0 ? Math.floor(limit) : 0
}

/** The rows of a scan, each as `decode` reads it. A chunk may be empty: its rows were removed by the one that reads. */
export const decoded = <A extends { readonly key: unknown }>(
  scan: Scan,
  decode: (row: Row) => A | Failed
): Effect.Effect<Arr.NonEmptyReadonlyArray<A>, StoreError | Cause.Done> => {
  const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, StoreError | Cause.Done> = Effect.flatMap(
    scan,
    (rows) => {
      const decoded: Array<A> = []
      for (const row of rows) {
        const entry = decode(row)
        if (!("key" in entry)) return entry
        decoded.push(entry)
      }
      return Arr.isReadonlyArrayNonEmpty(decoded) ? Exit.succeed(decoded) : pull
    }
  )
  return pull
}

export const noValue = Exit.succeed(Option.none<never>())

/** A copy in memory that it shares with others: memory of its own costs a value of 100 bytes four times as much. */
const copyOf = (bytes: Uint8Array): Uint8Array => {
  const pooled = Buffer.allocUnsafe(bytes.length)
  pooled.set(bytes)
  // No Buffer: `slice` of one shares its bytes.
  return new Uint8Array(pooled.buffer, pooled.byteOffset, pooled.length)
}

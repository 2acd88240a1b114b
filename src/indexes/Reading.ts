/**
 * Reading through an index: ranges of index keys, and the records that they lead to.
 *
 * Pairs come from the lane, records are fetched for some of them at a time. Whatever a record says is compared with
 * the pair that led to it, which costs next to nothing and finds an index whose function was changed without a new
 * version: `IndexStale`, never a record that does not have the index key.
 *
 * I1 Lane and records are read at one snapshot.
 * I2 Nothing is answered from a lane that was not live at that snapshot.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Entry } from "../Keyspace.ts"
import type { Range } from "../Snapshot.ts"
import { Snapshot } from "../Snapshot.ts"
import { IndexStale, storeError } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import type { Kept } from "./Kept.ts"
import type { Lane, LaneOptions, Pair } from "./Lane.ts"
import { Parts } from "./Lane.ts"
import type { Shape } from "./Shape.ts"
import { states } from "./States.ts"

/** A record, and an index key of it. */
export interface Indexed<I, K, V> extends Entry<K, V> {
  readonly indexKey: I
}

/** Records fetched at a time: enough to share pages, few enough for values of a megabyte. */
const joined = 64

type Failed = Exit.Exit<never, StoreError>
type Reader = Snapshot["Service"]

export class Reading<I, K, V, P> {
  private readonly kept: Kept<K, V, P>
  private readonly shape: Shape<K, V, I>
  private readonly parts: Parts<K>

  constructor(kept: Kept<K, V, P>, shape: Shape<K, V, I>) {
    this.kept = kept
    this.shape = shape
    this.parts = new Parts(kept.records, kept.records.key)
  }

  readonly range = (
    options: LaneOptions<I, unknown> = {}
  ): Stream.Stream<Indexed<I, K, V>, StoreError, Snapshot> => this.records((lane) => lane.range(options))

  readonly keys = (
    options: LaneOptions<I, unknown> = {}
  ): Stream.Stream<Pair<I, K>, StoreError, Snapshot> =>
    this.pairs((lane) => lane.range(options), Exit.succeed)

  readonly all = (indexKey: I): Stream.Stream<Indexed<I, K, V>, StoreError, Snapshot> =>
    this.range({ only: indexKey })

  /** By a unique index, without a stream: that costs ten times more than what it would read. */
  readonly one = (indexKey: I): Effect.Effect<Option.Option<Indexed<I, K, V>>, StoreError, Snapshot> =>
    Snapshot.use((snapshot) =>
      Effect.flatMap(this.lane(snapshot), (lane) => {
        if (lane === undefined) return Effect.succeed(Option.none())
        const bytes = this.shape.part(indexKey)
        if (Exit.isExit(bytes)) return bytes
        return Effect.flatMap(snapshot.get(lane, bytes, "keys and values"), (row) => {
          if (row === undefined) return Effect.succeed(Option.none())
          const pair = lane.pair(row)
          if (Exit.isExit(pair)) return pair
          return Effect.map(this.join([pair], lane), (made) => Option.fromUndefinedOr(made[0]))
        })
      })
    )

  private records(
    range: (lane: Lane<I, K>) => Range | Failed
  ): Stream.Stream<Indexed<I, K, V>, StoreError, Snapshot> {
    return this.pairs(range, (pairs, lane) => this.join(pairs, lane))
  }

  /** Pairs of the live lane, some at a time, and what is made of them. */
  private pairs<A>(
    range: (lane: Lane<I, K>) => Range | Failed,
    make: (
      pairs: ReadonlyArray<Pair<I, K>>,
      lane: Lane<I, K>
    ) => Effect.Effect<ReadonlyArray<A>, StoreError, Snapshot>
  ): Stream.Stream<A, StoreError, Snapshot> {
    return Stream.fromPull(Snapshot.use((snapshot) =>
      Effect.flatMap(this.lane(snapshot), (lane) => {
        if (lane === undefined) return Effect.succeed(exhausted)
        const bounds = range(lane)
        if (Exit.isExit(bounds)) return bounds
        const scan = snapshot.scan(lane, bounds)
        let found: Array<Pair<I, K>> = []
        let at = 0
        const pull: Effect.Effect<Arr.NonEmptyReadonlyArray<A>, StoreError | Cause.Done, Snapshot> = Effect
          .suspend(() => {
            if (at < found.length) {
              const some = found.slice(at, at += joined)
              return Effect.flatMap(make(some, lane), (made) =>
                Arr.isReadonlyArrayNonEmpty(made) ? Exit.succeed(made) : pull)
            }
            return Effect.flatMap(scan, (rows) => {
              found = []
              at = 0
              for (const row of rows) {
                const pair = lane.pair(row)
                if (Exit.isExit(pair)) {
                  return pair
                }
                found.push(pair)
              }
              return pull
            })
          })
        return Effect.succeed(pull)
      })
    ))
  }

  /** The lane to read; undefined where the keyspace has no records and so needs none. */
  private lane(snapshot: Reader): Effect.Effect<Lane<I, K> | undefined, StoreError, Snapshot> {
    const { kept, shape } = this
    return Effect.flatMap(
      states.read(snapshot, kept.name),
      (state): Effect.Effect<Lane<I, K> | undefined, StoreError, Snapshot> => {
        if (state === undefined) {
          return Effect.flatMap(
            kept.isEmpty,
            (empty) => empty ? Exit.succeed(undefined) : kept.notReady(shape.name)
          )
        }
        const stored = state.indexes.find((stored) => shape.matches(stored))
        const id = stored?.live ?? null
        return id === null ? kept.notReady(shape.name) : Exit.succeed(shape.lane(id))
      }
    )
  }

  private join(
    pairs: ReadonlyArray<Pair<I, K>>,
    lane: Lane<I, K>
  ): Effect.Effect<ReadonlyArray<Indexed<I, K, V>>, StoreError, Snapshot> {
    const { records } = this.kept
    const [first] = pairs
    const found = pairs.length === 1 && first !== undefined
      ? Effect.map(records.getEntry(first.key), (entry) => [entry])
      : records.getEntries(pairs.map(({ key }) => key))
    return Effect.flatMap(found, (entries) => {
      const made: Array<Indexed<I, K, V>> = []
      const doubtful: Array<Pair<I, K>> = []
      pairs.forEach((pair, index) => {
        const entry = entries[index] ?? Option.none()
        if (Option.isSome(entry) && this.says(entry.value, pair)) {
          made.push({ ...entry.value, indexKey: pair.indexKey })
        } else doubtful.push(pair)
      })
      if (doubtful.length === 0) return Exit.succeed(made)
      return Effect.as(
        Effect.forEach(doubtful, (pair) => this.doubt(lane, pair), { discard: true }),
        made
      )
    })
  }

  private says(entry: Entry<K, V>, { indexKey }: Pair<I, K>): boolean {
    const bytes = this.shape.part(indexKey)
    return !Exit.isExit(bytes) && this.shape.says(entry, bytes)
  }

  /** A pair whose record does not say so: gone meanwhile, by a write of the transaction that reads, or stale. */
  private doubt(lane: Lane<I, K>, pair: Pair<I, K>): Effect.Effect<void, StoreError, Snapshot> {
    const indexKey = this.shape.part(pair.indexKey)
    const key = this.parts.part(pair.key)
    if (Exit.isExit(indexKey)) return indexKey
    if (Exit.isExit(key)) return key
    return Snapshot.use((snapshot) =>
      Effect.flatMap(lane.has(snapshot, indexKey, key), (has) =>
        has
          ? Exit.fail(storeError(new IndexStale({ keyspace: this.kept.name, index: this.shape.name })))
          : Exit.void)
    )
  }
}

const exhausted = Cause.done()

/**
 * A keyspace whose writes keep its indexes in the same transaction.
 *
 * A write reads the record that it replaces, and what is stored of the indexes; so the commit is valid only if neither
 * has changed meanwhile, and a build that begins or ends never comes between a writer and its lanes.
 *
 * I1 What a write changes in lanes and what it changes in the keyspace are in the transaction together, or neither is.
 * I2 Nothing is written before it is known that no unique index refuses it.
 * I3 Writes of fibers of one transaction follow one another: none sees half of another one.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { expiryOf } from "../Form.ts"
import type { Entry, Keyspace, PutOptions } from "../Keyspace.ts"
import { Snapshot } from "../Snapshot.ts"
import * as Steps from "../Steps.ts"
import { DuplicateKey, IndexNotReady, storeError, Unindexed } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import { savepoint, Tx } from "../Tx.ts"
import type { Lane } from "./Lane.ts"
import { Parts } from "./Lane.ts"
import type { Entries, Shape } from "./Shape.ts"
import { none } from "./Shape.ts"
import type { State, StoredIndex } from "./States.ts"
import { builds, lanesOf, states } from "./States.ts"

type Writing<A, E = never> = Effect.Effect<A, E | StoreError, Tx | Snapshot>

/** An index with the lanes that a writer keeps. */
export interface Upkeep<K, V> {
  readonly shape: Shape<K, V, unknown>
  readonly lanes: ReadonlyArray<Lane<unknown, K>>
}

/** What becomes of a record; absent: nothing. */
interface Next<V> {
  readonly value: Option.Option<V>
  readonly options?: PutOptions | undefined
}

/** A record as it is there, or is to be. */
type Found<V> = Option.Option<Pick<Entry<unknown, V>, "value" | "expiry">>

/** One pair that comes or goes. */
interface Change<K> {
  readonly lane: Lane<unknown, K>
  readonly indexKey: Uint8Array
  readonly how: "put" | "remove"
  /** When the record expires that is put. */
  readonly expiry: number | undefined
}

/** One write at a time in each transaction. */
const inTurn = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Tx> =>
  Tx.use((tx) => Steps.inTurn(tx, self))

export class Kept<K, V, P> {
  /** The records; what is written here must be kept in the lanes too. */
  readonly records: Keyspace<K, V, P>
  readonly shapes: ReadonlyArray<Shape<K, V, unknown>>
  private readonly parts: Parts<K>
  private matched: { readonly state: State; readonly upkeep: ReadonlyArray<Upkeep<K, V>> } | undefined

  constructor(records: Keyspace<K, V, P>, shapes: ReadonlyArray<Shape<K, V, unknown>>) {
    this.records = records
    this.shapes = shapes
    this.parts = new Parts(records, records.key)
  }

  get name(): string {
    return this.records.name
  }

  /** Reads a record, decides what becomes of it, and writes that. */
  change<A, E>(
    key: K,
    decide: (entry: Option.Option<Entry<K, V>>) => Exit.Exit<readonly [A, Next<V>?], E>
  ): Writing<A, E | DuplicateKey> {
    const decided = (entry: Option.Option<Entry<K, V>>, now: number): Writing<A, E | DuplicateKey> => {
      const exit = decide(entry)
      if (Exit.isFailure(exit)) return Exit.failCause(exit.cause)
      const [result, next] = exit.value
      if (next === undefined) return Exit.succeed(result)
      const expiry = expiryOf(next.options, now)
      const after = Option.filter(Option.map(next.value, (value) => ({ value, expiry })), () => expiry > now)
      const write = Option.isSome(after)
        ? this.records.put(key, after.value.value, next.options)
        : this.records.remove(key)
      return Effect.as(this.keep(key, entry, after, write), result)
    }
    return inTurn(
      Tx.use(({ now }) => Effect.flatMap(this.records.getEntry(key), (entry) => decided(entry, now)))
    )
  }

  /** Folds an operand, looks at what has come of it, and keeps the lanes; all of it or nothing. */
  merge(key: K, fold: Effect.Effect<void, StoreError, Tx>): Writing<void, DuplicateKey> {
    const { records, upkeep } = this
    const keep = (before: Found<V>, after: Found<V>) => this.keep(key, before, after, Effect.void)
    return inTurn(savepoint(Effect.gen(function*() {
      // Before anything is written: a keyspace that is empty gets its indexes now.
      yield* upkeep
      const before = yield* records.getEntry(key)
      yield* fold
      yield* keep(before, yield* records.getEntry(key))
    })))
  }

  get clear(): Writing<void> {
    return this.everywhere((tx, state) =>
      Effect.andThen(
        Effect.forEach(lanesOf(this.name, state), (lane) => tx.clear(lane), { discard: true }),
        this.records.clear
      )
    )
  }

  get drop(): Writing<void> {
    return this.everywhere((tx, state) =>
      Effect.forEach(lanesOf(this.name, state), (lane) => tx.drop(lane), { discard: true }).pipe(
        Effect.andThen(states.write(tx, this.name, undefined)),
        Effect.andThen(builds.write(tx, this.name, undefined)),
        Effect.andThen(this.records.drop)
      )
    )
  }

  /** For what needs no declaration: it does the same to all lanes that there are. */
  private everywhere(
    write: (tx: Tx["Service"], state: State) => Effect.Effect<void, StoreError, Tx>
  ): Writing<void> {
    return inTurn(Tx.use((tx) =>
      Snapshot.use((snapshot) =>
        Effect.flatMap(
          states.read(snapshot, this.name),
          (state) => savepoint(write(tx, state ?? { next: 1, indexes: [] }))
        )
      )
    ))
  }

  /** The lanes to keep. A keyspace that has no records yet gets the declared indexes, built. */
  private get upkeep(): Writing<ReadonlyArray<Upkeep<K, V>>> {
    return Snapshot.use((snapshot) =>
      Effect.flatMap(states.read(snapshot, this.name), (state): Writing<ReadonlyArray<Upkeep<K, V>>> => {
        if (state !== undefined) return this.match(state)
        return this.shapes.length === 0 ? Exit.succeed([]) : this.adopt
      })
    )
  }

  private get adopt(): Writing<ReadonlyArray<Upkeep<K, V>>> {
    const state: State = {
      next: this.shapes.length + 1,
      indexes: this.shapes.map((shape, index) => ({ ...shape.stored, live: index + 1, shadow: null }))
    }
    return Effect.flatMap(this.isEmpty, (empty) =>
      empty
        ? Effect.andThen(Tx.use((tx) => states.write(tx, this.name, state)), this.match(state))
        : this.notReady(this.shapes[0]?.name ?? ""))
  }

  /** Whether there is no record; that stays part of what the transaction has read. */
  get isEmpty(): Effect.Effect<boolean, StoreError, Snapshot> {
    return Effect.map(Stream.runHead(this.records.keys({ limit: 1 })), Option.isNone)
  }

  /** The lanes of a state, which must be those that are declared, all of them and no others. */
  match(state: State): Exit.Exit<ReadonlyArray<Upkeep<K, V>>, StoreError> {
    if (this.matched?.state === state) return Exit.succeed(this.matched.upkeep)
    const missing = this.shapes.find((shape) => !state.indexes.some((stored) => shape.matches(stored)))
    if (missing !== undefined) return this.notReady(missing.name)
    if (state.indexes.length > this.shapes.length) {
      return Exit.fail(storeError(new Unindexed({ keyspace: this.name })))
    }
    const upkeep = this.shapes.map((shape) => {
      const { live = null, shadow = null }: Partial<StoredIndex> = state.indexes.find(({ name }) =>
        name === shape.name
      ) ?? {}
      return { shape, lanes: [live, shadow].filter((id) => id !== null).map((id) => shape.lane(id)) }
    })
    this.matched = { state, upkeep }
    return Exit.succeed(upkeep)
  }

  notReady(index: string): Exit.Exit<never, StoreError> {
    return Exit.fail(storeError(new IndexNotReady({ keyspace: this.name, index })))
  }

  /** Has the lanes follow one record, together with the write that changes it. */
  private keep(
    key: K,
    before: Found<V>,
    after: Found<V>,
    write: Effect.Effect<void, StoreError, Tx>
  ): Writing<void, DuplicateKey> {
    return Effect.flatMap(this.upkeep, (upkeep) => {
      if (upkeep.length === 0) return write
      const bytes = this.parts.part(key)
      if (Exit.isExit(bytes)) return bytes
      return Effect.flatMap(
        this.changes(upkeep, { key, bytes, before, after }),
        (changes) =>
          changes.length === 0
            ? write
            : savepoint(Effect.andThen(Tx.use((tx) => applied(tx, changes, bytes)), write))
      )
    })
  }

  /** What comes and goes in the lanes. Of an index key that another record has, nothing goes. */
  private changes(
    upkeep: ReadonlyArray<Upkeep<K, V>>,
    record: {
      readonly key: K
      readonly bytes: Uint8Array
      readonly before: Found<V>
      readonly after: Found<V>
    }
  ): Effect.Effect<ReadonlyArray<Change<K>>, StoreError | DuplicateKey, Snapshot> {
    const { after, before, bytes, key } = record
    const [was, expiry] = [before, after].map((found) => Option.getOrUndefined(found)?.expiry ?? Infinity)
    const changes: Array<Change<K>> = []
    let asks = false
    for (const { lanes, shape } of upkeep) {
      const old = entriesOf(shape, key, before)
      const now = entriesOf(shape, key, after)
      if (Exit.isExit(old)) return old
      if (Exit.isExit(now)) return now
      for (const [from, to, how] of [[old, now, "remove"], [now, old, "put"]] as const) {
        for (const [text, indexKey] of from) {
          // What stays may have to stay for another time.
          if (to.has(text) && (how === "remove" || was === expiry)) continue
          for (const lane of lanes) changes.push({ lane, indexKey, how, expiry })
          asks ||= lanes.some((lane) => lane.unique)
        }
      }
    }
    return asks ? this.free(changes, bytes) : Exit.succeed(changes)
  }

  /** Changes without those of index keys that other records have; one that comes must not be among these. */
  private free(
    changes: ReadonlyArray<Change<K>>,
    bytes: Uint8Array
  ): Effect.Effect<ReadonlyArray<Change<K>>, StoreError | DuplicateKey, Snapshot> {
    const { name: keyspace } = this
    return Snapshot.use((snapshot) =>
      Effect.filter(
        changes,
        ({ how, indexKey, lane }) =>
          Effect.flatMap(lane.isTaken(snapshot, indexKey, bytes), (taken) =>
            taken && how === "put"
              ? Effect.fail(new DuplicateKey({ keyspace, index: lane.index }))
              : Effect.succeed(!taken))
      )
    )
  }
}

/** The index keys of a record, if there is one. */
const entriesOf = <K, V>(
  shape: Shape<K, V, unknown>,
  key: K,
  found: Found<V>
): Entries | Exit.Exit<never, StoreError> =>
  Option.isNone(found) ? none : shape.entries({ key, value: found.value.value })

const applied = <K>(
  tx: Tx["Service"],
  changes: ReadonlyArray<Change<K>>,
  bytes: Uint8Array
): Effect.Effect<void, StoreError> =>
  Effect.forEach(
    changes,
    ({ expiry, how, indexKey, lane }) =>
      how === "put" ? lane.put(tx, indexKey, bytes, expiry) : lane.remove(tx, indexKey, bytes),
    { discard: true }
  )

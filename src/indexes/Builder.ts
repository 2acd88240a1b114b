/**
 * The builder: makes the lanes of a keyspace what its declaration says, while writers go on.
 *
 * ```
 *   declared ≠ stored ── begin ──▶ shadows, position ── slice, slice, … ──▶ swap: shadows are live, old lanes are gone
 *                                        ▲                    │
 *                                        └── crash, error ────┘  the position is stored with each slice
 * ```
 *
 * From the commit of `begin` on, every writer keeps the shadows (`Kept.ts`) and whoever does not is refused
 * (`actors/commit/Guarded.ts`). So a record is in a shadow because it was written since, or because the slice that read
 * it added it, and a slice that adds what is there already changes nothing (online index building after Mohan and
 * Narang, "Algorithms for creating indexes for very large tables without quiescing updates", 1992; serializable slices
 * need no side file).
 *
 * I1 `begin`, each slice and the swap are a transaction each; what they decide on is read in it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Entry } from "../Keyspace.ts"
import { Snapshot } from "../Snapshot.ts"
import { Store } from "../Store.ts"
import { DuplicateKey } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import * as Telemetry from "../Telemetry.ts"
import { commit, transact, Tx } from "../Tx.ts"
import type { Kept } from "./Kept.ts"
import type { Lane } from "./Lane.ts"
import { Parts } from "./Lane.ts"
import type { Shape } from "./Shape.ts"
import type { State, StoredIndex } from "./States.ts"
import { builds, lanesOf, states } from "./States.ts"

/** How far a build is. */
export interface Progress {
  readonly keyspace: string
  /** Records in the indexes. */
  readonly records: number
  /** Records of the keyspace, as far as is known (`stat`). */
  readonly total: number
  /** The indexes are built, and read from now on. */
  readonly done: boolean
}

/** Records in one transaction: a few milliseconds, between which writers get their turns. */
const sliceRecords = 512

type Writing<A, E = never> = Effect.Effect<A, E | StoreError, Tx | Snapshot>

export class Builder<K, V, P> {
  private readonly kept: Kept<K, V, P>
  private readonly parts: Parts<K>

  constructor(kept: Kept<K, V, P>) {
    this.kept = kept
    this.parts = new Parts(kept.records, kept.records.key)
  }

  /** Builds what is declared and not stored, and what is asked for anew; drops what is not declared. */
  run(again: (index: string) => boolean): Stream.Stream<Progress, StoreError | DuplicateKey, Store> {
    const built = Stream.unwrap(Effect.map(
      transact()(this.begin(again)),
      (building) => building ? Stream.paginate(0, () => this.next) : Stream.empty
    ))
    return Stream.withSpan(built, Telemetry.Span.indexBuild, {
      attributes: { [Telemetry.Attribute.collection]: this.kept.name }
    })
  }

  /** Slices that a crash takes back are built once more; the end of the build is on the disk when it is told. */
  private get next(): Effect.Effect<
    readonly [ReadonlyArray<Progress>, Option.Option<number>],
    StoreError | DuplicateKey,
    Store
  > {
    const { kept: { name, records: { stat } }, step } = this
    return Effect.gen(function*() {
      const { lsn, value } = yield* commit({ durability: "memory" })(step)
      if (value.done) yield* Effect.flatMap(Store, (store) => store.awaitDurable(lsn + 1))
      if (value.done) yield* Effect.annotateCurrentSpan(Telemetry.Attribute.indexRecords, value.records)
      const { count: total } = yield* stat
      return [[{ keyspace: name, total, ...value }], value.done ? Option.none() : Option.some(0)]
    })
  }

  /** Brings the stored state to what is declared, with shadows for what is to be built; answers whether any is. */
  private begin(again: (index: string) => boolean): Writing<boolean> {
    const { kept } = this
    const { name, shapes } = kept
    return services((snapshot, tx) =>
      Effect.gen(function*() {
        const stored = yield* states.read(snapshot, name)
        if (stored === undefined && (shapes.length === 0 || (yield* kept.isEmpty))) return false
        const state = stored ?? { next: 1, indexes: [] }
        let { next } = state
        const indexes = shapes.map((shape): StoredIndex => {
          const found = state.indexes.find((index) => shape.matches(index))
          if (found === undefined) return { ...shape.stored, live: null, shadow: next++ }
          return found.shadow === null && again(shape.name) ? { ...found, shadow: next++ } : found
        })
        const remaining = new Set(lanesOf(name, { next, indexes }).map((lane) => lane.name))
        for (const lane of lanesOf(name, state)) if (!remaining.has(lane.name)) yield* tx.drop(lane)
        // A shadow that is new has none of the records that others have.
        if (next > state.next) yield* builds.write(tx, name, { records: 0, from: undefined })
        if (shapes.length === 0) yield* builds.write(tx, name, undefined)
        if (next > state.next || indexes.length !== state.indexes.length) {
          yield* states.write(tx, name, shapes.length === 0 ? undefined : { next, indexes })
        }
        return indexes.some(({ shadow }) => shadow !== null)
      })
    )
  }

  /** Adds the next records to the shadows. With the last one the shadows take the place of the lanes. */
  private get step(): Writing<{ readonly records: number; readonly done: boolean }, DuplicateKey> {
    const { kept, parts } = this
    return services((snapshot, tx) =>
      Effect.gen({ self: this }, function*() {
        const state = yield* states.read(snapshot, kept.name)
        const position = yield* builds.read(snapshot, kept.name)
        // Somebody has finished the build, or has dropped the keyspace.
        if (state === undefined || position === undefined) return { records: 0, done: true }
        const shadows = yield* this.shadows(state)
        const { from } = position
        const first = from === undefined ? undefined : parts.key.decode(from, 0, from.length)
        let { records } = position
        let next: K | undefined
        const range = kept.records.range({ from: first, limit: sliceRecords + 1 })
        yield* Stream.runForEach(range, (record) => {
          if (records === position.records + sliceRecords) {
            next = record.key
            return Effect.void
          }
          records++
          return this.add(shadows, record, records, snapshot, tx)
        })
        if (records < position.records + sliceRecords || next === undefined) {
          yield* this.swap(state, tx)
          return { records, done: true }
        }
        const bytes = yield* exited(parts.part(next))
        yield* builds.write(tx, kept.name, { records, from: bytes })
        return { records, done: false }
      })
    )
  }

  /** The lanes that are being built; those of another declaration are somebody else's. */
  private shadows(state: State): Exit.Exit<ReadonlyArray<Shadow<K, V>>, StoreError> {
    return Exit.map(this.kept.match(state), (upkeep) =>
      upkeep.flatMap(({ shape }) => {
        const id = state.indexes.find(({ name }) => name === shape.name)?.shadow ?? null
        return id === null ? [] : [{ shape, lane: shape.lane(id) }]
      }))
  }

  private add(
    shadows: ReadonlyArray<Shadow<K, V>>,
    record: Entry<K, V>,
    place: number,
    snapshot: Snapshot["Service"],
    tx: Tx["Service"]
  ): Effect.Effect<void, StoreError | DuplicateKey> {
    const { kept: { name: keyspace }, parts } = this
    return Effect.gen(function*() {
      const key = yield* exited(parts.part(record.key))
      for (const { lane, shape } of shadows) {
        const entries = yield* exited(shape.entries(record))
        for (const indexKey of entries.values()) {
          if (lane.unique && (yield* lane.isTaken(snapshot, indexKey, key))) {
            return yield* new DuplicateKey({ keyspace, index: shape.name, record: place })
          }
          yield* lane.put(tx, indexKey, key, record.expiry)
        }
      }
    })
  }

  private swap(state: State, tx: Tx["Service"]): Effect.Effect<void, StoreError> {
    const { name } = this.kept
    return Effect.gen(function*() {
      const indexes = state.indexes.map((index) =>
        index.shadow === null ? index : { ...index, live: index.shadow, shadow: null }
      )
      const remaining = new Set(lanesOf(name, { ...state, indexes }).map((lane) => lane.name))
      for (const lane of lanesOf(name, state)) if (!remaining.has(lane.name)) yield* tx.drop(lane)
      yield* states.write(tx, name, { ...state, indexes })
      yield* builds.write(tx, name, undefined)
    })
  }
}

interface Shadow<K, V> {
  readonly shape: Shape<K, V, unknown>
  readonly lane: Lane<unknown, K>
}

const services = <A, E>(
  body: (snapshot: Snapshot["Service"], tx: Tx["Service"]) => Effect.Effect<A, E, Tx | Snapshot>
): Effect.Effect<A, E, Tx | Snapshot> => Snapshot.use((snapshot) => Tx.use((tx) => body(snapshot, tx)))

const exited = <A>(value: A | Exit.Exit<never, StoreError>): Exit.Exit<A, StoreError> =>
  Exit.isExit(value) ? value : Exit.succeed(value)

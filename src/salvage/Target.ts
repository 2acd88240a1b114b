/**
 * The new store that a salvage fills, through the same doors as everybody else.
 *
 * Writes are taken in order and committed many at a time: nobody looks at the store before all are in, so where a
 * transaction begins and ends says nothing here.
 */
import * as Effect from "effect/Effect"
import type { Merging } from "../own/Merges.ts"
import { Store } from "../Store.ts"
import type { StoreError } from "../StoreError.ts"
import { Absent } from "../tree/Tree.ts"
import { Tx } from "../Tx.ts"
import * as Transaction from "../Tx.ts"
import type { LogClock } from "./LogClock.ts"

/** A keyspace as it was declared when it was made. */
export interface Declared {
  readonly name: string
  readonly layout: string
  readonly reducer: number
}

type Write =
  | {
    readonly op: "put"
    readonly keyspace: Merging
    readonly key: Uint8Array
    readonly value: Uint8Array
    /** Milliseconds since 1970; Infinity where it does not expire. */
    readonly expiry: number
  }
  | { readonly op: "remove"; readonly keyspace: Merging; readonly key: Uint8Array }
  | { readonly op: "merge"; readonly keyspace: Merging; readonly key: Uint8Array; readonly value: Uint8Array }

const batchBytes = 1024 * 1024
const batchWrites = 1024
/** What a write costs beside its bytes. */
const writeBytes = 64

const nothing = new Uint8Array(0)

/**
 * Operands of a reducer of the program's own stay beside the value, as they came: only the program can fold them. What
 * the indexes of a keyspace hold is written like everything else, so that they need not be kept.
 */
const merging = ({ layout, name, reducer }: Declared): Merging => ({
  name,
  layout,
  reducer,
  keepsIndexes: true,
  compact: (stored) => stored
})

export class Target {
  private readonly store: Store["Service"]
  private batch: Array<Write> = []
  private bytes = 0
  private merges = 0
  private readonly clock: LogClock

  /** The store was opened with this clock. */
  constructor(store: Store["Service"], clock: LogClock) {
    this.store = store
    this.clock = clock
  }

  /**
   * What follows is of that time. Operands that were taken must be merged before: what they stand on may have expired
   * by then.
   */
  advance(millis: number): Effect.Effect<void, StoreError> | undefined {
    if (millis <= this.clock.millis) return undefined
    if (this.merges === 0) return void this.clock.advance(millis)
    return Effect.andThen(this.flush, Effect.sync(() => this.clock.advance(millis)))
  }

  put(
    declared: Declared,
    key: Uint8Array,
    value: Uint8Array,
    expiry: number
  ): Effect.Effect<void, StoreError> | undefined {
    const write = { op: "put", keyspace: merging(declared), key, value, expiry } as const
    return this.push(write, key.length + value.length)
  }

  remove(declared: Declared, key: Uint8Array): Effect.Effect<void, StoreError> | undefined {
    return this.push({ op: "remove", keyspace: merging(declared), key }, key.length)
  }

  merge(declared: Declared, key: Uint8Array, value: Uint8Array): Effect.Effect<void, StoreError> | undefined {
    this.merges++
    return this.push({ op: "merge", keyspace: merging(declared), key, value }, key.length + value.length)
  }

  /** Makes a keyspace that may stay empty. */
  create(declared: Declared): Effect.Effect<void, StoreError> {
    const keyspace = merging(declared)
    return Effect.gen({ self: this }, function*() {
      yield* this.flush
      if (this.names().has(declared.name)) return
      yield* this.transact(Tx.use((tx) => tx.put(keyspace, nothing, nothing)))
      yield* this.transact(Tx.use((tx) => tx.remove(keyspace, nothing)))
    })
  }

  clear(declared: Declared): Effect.Effect<void, StoreError> {
    return Effect.andThen(this.flush, this.transact(Tx.use((tx) => tx.clear(merging(declared)))))
  }

  drop(declared: Declared): Effect.Effect<void, StoreError> {
    return Effect.andThen(this.flush, this.transact(Tx.use((tx) => tx.drop(merging(declared)))))
  }

  /** Commits what was taken so far. */
  readonly flush: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { batch } = this
    if (batch.length === 0) return Effect.void
    this.batch = []
    this.bytes = 0
    this.merges = 0
    return this.transact(
      Tx.use((tx) => Effect.forEach(batch, (write) => apply(tx, write), { discard: true }))
    )
  })

  /** Takes a checkpoint, which makes it all durable; answers the number of records of a keyspace. */
  readonly finish: Effect.Effect<(declared: Declared) => Effect.Effect<number, StoreError>, StoreError> =
    Effect
      .gen({ self: this }, function*() {
        yield* this.flush
        yield* this.store.checkpoint
        return (declared: Declared) => this.count(declared)
      })

  private count(declared: Declared): Effect.Effect<number, StoreError> {
    const { machine } = this.store
    const from = (id: number): Effect.Effect<number, StoreError> =>
      Effect.suspend(() => {
        const root = machine.root(declared, Infinity)
        if (!("page" in root)) return Effect.succeed(0)
        if (machine.tree.resolve(root, id) === Absent) return Effect.succeed(root.count)
        const { missing } = machine.tree
        return Effect.andThen(machine.load(missing, "scan"), from(missing))
      })
    return from(1)
  }

  private names(): ReadonlySet<string> {
    return new Set(this.store.machine.parts.generations.names().keys())
  }

  private push(write: Write, bytes: number): Effect.Effect<void, StoreError> | undefined {
    this.batch.push(write)
    this.bytes += bytes + writeBytes
    return this.bytes < batchBytes && this.batch.length < batchWrites ? undefined : this.flush
  }

  private transact(body: Effect.Effect<void, StoreError, Tx>): Effect.Effect<void, StoreError> {
    return Effect.provideService(Transaction.transact({ durability: "memory" })(body), Store, this.store)
  }
}

const apply = (tx: Tx["Service"], write: Write): Effect.Effect<void, StoreError> => {
  const { key, keyspace, op } = write
  if (op === "put") return tx.put(keyspace, key, write.value, write.expiry)
  return op === "remove" ? tx.remove(keyspace, key) : tx.merge(keyspace, key, write.value)
}

/**
 * Writing: a transaction is a pipeline of ordinary effects between two boundaries.
 *
 * The body runs against one snapshot, collects its writes privately and hands them to the Wal as one intent. Failure,
 * defect and interruption of the body are a rollback: nothing was written, so there is nothing to undo.
 *
 * ```
 *   turn taken ─▶ Running ── body ends ──▶ Committing ── verdict ──▶ Committed
 *                  │  ▲                        │
 *                  │  └── stale: somebody      │  not interruptible from here to the verdict, so that nobody
 *                  │      committed meanwhile ─┘  wonders whether a commit that timed out has happened
 *                  └── failure, defect, interruption ──▶ rolled back
 * ```
 *
 * I1 A commit whose body read something is valid only if nothing was committed since its snapshot.
 * I2 Writes reach the Wal whole or not at all.
 *
 * Bodies take turns, one at a time; single writes through the raw doors do not take one and are what I1 looks for.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { Durability } from "./Limits.ts"
import type { Declared, Machine } from "./Machine.ts"
import type { Range, Row, Scan } from "./Snapshot.ts"
import { after, reader, Snapshot } from "./Snapshot.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import { LimitExceeded, storeError } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"
import type { KeyspaceWrites, Write } from "./WriteSet.ts"
import { compare, WriteSet } from "./WriteSet.ts"

/** Options of a transaction. */
export interface Options {
  /** When it counts as committed; the store's default where absent. */
  readonly durability?: Durability | undefined
}

/** What a committed transaction answers. */
export interface Commit<A> {
  readonly value: A
  /** LSN of its record, the version of everything it wrote; the snapshot's where it wrote nothing. */
  readonly lsn: number
}

/** What a body may write through. */
export class Tx extends Context.Service<Tx, {
  readonly writes: WriteSet
  readonly put: (keyspace: Declared, key: Uint8Array, value: Uint8Array) => Effect.Effect<void, StoreError>
  readonly remove: (keyspace: Declared, key: Uint8Array) => Effect.Effect<void, StoreError>
  readonly clear: (keyspace: Declared) => Effect.Effect<void, StoreError>
  readonly drop: (keyspace: Declared) => Effect.Effect<void, StoreError>
  readonly committed: Array<Effect.Effect<void>>
}>()("heartwood/Tx") {}

/** Runs an effect as one transaction and answers its value. Inside another transaction it is a savepoint. */
export const transact = (options?: Options) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<A, E | StoreError, Exclude<R, Snapshot | Tx> | Store> =>
  Effect.map(commit(options)(self), (committed) => committed.value)

/** The same, answering the LSN beside the value. */
export const commit = (options?: Options) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<Commit<A>, E | StoreError, Exclude<R, Snapshot | Tx> | Store> =>
  Effect.withFiber((fiber) => {
    const { machine } = Context.getUnsafe(fiber.context, Store) as Store["Service"]
    const outer = Context.getOrUndefined(fiber.context, Tx)
    const inner = Context.getOrUndefined(fiber.context, Snapshot)
    const run: Effect.Effect<Commit<A>, E | StoreError, Exclude<R, Snapshot | Tx> | Store> =
      outer !== undefined && inner !== undefined
        // The body finds both services in the context it already runs in.
        ? Effect.map(savepoint(self), (value) => ({ value, lsn: inner.at })) as typeof run
        : attempt(machine, options ?? {}, self)
    // A span costs more than a commit: one is opened only where the caller is inside one.
    const traced = Context.getOrUndefined(fiber.context, Tracer.ParentSpan) !== undefined
    return !traced ? run : Effect.withSpan(run, Telemetry.Span.transact)
  })

/** Runs a step whose writes are discarded if it fails, so that the body may go on with something else. */
export const savepoint = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Tx> =>
  Effect.flatMap(Tx, (tx) =>
    Effect.suspend(() => {
      const mark = tx.writes.mark()
      const hooks = tx.committed.length
      return Effect.onExit(self, (exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit)) return
          tx.writes.restore(mark)
          tx.committed.length = hooks
        }))
    }))

/** Runs an effect once after the transaction is durable; never for one that was rolled back. A crash can lose it. */
export const onCommit = (effect: Effect.Effect<void>): Effect.Effect<void, never, Tx> =>
  Effect.map(Tx, (tx) => {
    tx.committed.push(effect)
  })

/**
 * Runs a body in its turn and hands its intent over. The turn ends with the hand-over: the next body may begin while
 * this one waits for its sync, so that independent transactions share one.
 */
const attempt = <A, E, R>(
  machine: Machine,
  options: Options,
  self: Effect.Effect<A, E, R>
): Effect.Effect<Commit<A>, E | StoreError, Exclude<R, Snapshot | Tx>> =>
  Effect.uninterruptibleMask((restore) => {
    const once = Effect.suspend((): Effect.Effect<Verdict<A>, E | StoreError, Exclude<R, Snapshot | Tx>> => {
      const failure = machine.unavailable()
      if (failure !== undefined) return Effect.fail(failure)
      const at = machine.visible()
      machine.tree.versions.pin(at)
      const state = new Running(machine, at)
      const services = Context.make(Snapshot, state.snapshot).pipe(Context.add(Tx, state.tx))
      const body = Effect.provideContext(self, services) as Effect.Effect<A, E, Exclude<R, Snapshot | Tx>>
      return restore(body).pipe(
        Effect.flatMap((value) => handOver(machine, options, state, value)),
        Effect.ensuring(Effect.sync(() => machine.tree.versions.unpin(at)))
      )
    })
    const turn = Effect.flatMap(
      restore(machine.turn.take(1)),
      () => Effect.ensuring(once, machine.turn.release(1))
    )
    const run: typeof turn extends Effect.Effect<infer _, infer Error, infer Services> ?
      Effect.Effect<Commit<A>, Error, Services> :
      never = Effect.flatMap(turn, (verdict) =>
        Effect.flatMap(verdict, (committed) =>
          // Somebody committed since the snapshot was taken: read it, and run again.
          committed === undefined
            ? Effect.andThen(restore(machine.caughtUp), run)
            : Effect.succeed(committed)))
    return run
  })

/** Waits for what became of an intent; undefined where its base was stale. */
type Verdict<A> = Effect.Effect<Commit<A> | undefined, StoreError>

const handOver = <A>(
  machine: Machine,
  options: Options,
  state: Running,
  value: A
): Effect.Effect<Verdict<A>> => {
  // Nothing was written: what the body returned must not be taken back by a crash (P5).
  if (state.tx.writes.isEmpty) {
    return Effect.succeed(Effect.as(machine.awaitDurable(state.at), { value, lsn: state.at }))
  }
  const durability = options.durability ?? machine.durability
  return Effect.withFiber((fiber) => {
    const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
    const verdict = machine.submit({
      keyspaces: () => state.tx.writes.values(),
      durability,
      base: state.reads > 0 ? state.at : undefined,
      span
    })
    return Effect.map(
      verdict,
      Effect.map((lsn) => {
        if (span?._tag === "Span") describe(span, state, durability, lsn)
        if (lsn === undefined) return undefined
        afterCommit(machine, state.tx.committed, lsn)
        return { value, lsn }
      })
    )
  })
}

/** What the span of a transaction says of it. */
const describe = (
  span: Tracer.Span,
  state: Running,
  durability: Durability,
  lsn: number | undefined
): void => {
  const attempts = (span.attributes.get(Telemetry.Attribute.txAttempts) as number | undefined ?? 0) + 1
  span.attribute(Telemetry.Attribute.txAttempts, attempts)
  span.attribute(Telemetry.Attribute.txReads, state.reads)
  span.attribute(Telemetry.Attribute.txWrites, state.tx.writes.size)
  span.attribute(Telemetry.Attribute.txDurability, durability)
  if (lsn !== undefined) span.attribute(Telemetry.Attribute.txLsn, lsn)
}

const afterCommit = (machine: Machine, hooks: ReadonlyArray<Effect.Effect<void>>, lsn: number): void => {
  if (hooks.length === 0) return
  machine.fork(Effect.flatMap(
    Effect.exit(machine.awaitDurable(lsn + 1)),
    (exit) => Exit.isSuccess(exit) ? Effect.all(hooks, { discard: true }) : Effect.void
  ))
}

/** A body under way: the view it reads through and the set it writes into. */
class Running {
  readonly at: number
  readonly snapshot: Snapshot["Service"]
  readonly tx: Tx["Service"]
  /** Reads of the store; reads that the own writes answered do not count. */
  reads = 0

  constructor(machine: Machine, at: number) {
    this.at = at
    const writes = new WriteSet()
    const base = reader(machine, at)
    const { keyBytes, transactionBytes, valueBytes } = machine.limits
    const change = (
      keyspace: Declared,
      key: Uint8Array,
      value: Uint8Array | undefined
    ): Effect.Effect<void, StoreError> =>
      Effect.suspend(() => {
        if (key.length > keyBytes) return exceeded("keyBytes", key.length, keyBytes)
        if (value !== undefined && value.length > valueBytes) {
          return exceeded("valueBytes", value.length, valueBytes)
        }
        writes.bytes += key.length + (value?.length ?? 0)
        if (writes.bytes > transactionBytes) {
          return exceeded("transactionBytes", writes.bytes, transactionBytes)
        }
        writes.of(keyspace).set({ key, value })
        return Effect.void
      })
    this.tx = {
      writes,
      put: change,
      remove: (keyspace, key) => change(keyspace, key, undefined),
      clear: (keyspace) => Effect.sync(() => writes.of(keyspace).clear()),
      drop: (keyspace) => Effect.sync(() => writes.of(keyspace).drop()),
      committed: []
    }
    this.snapshot = {
      at,
      get: (keyspace, key) =>
        Effect.suspend(() => {
          const own = writes.find(keyspace.name)
          const write = own?.get(key)
          if (write !== undefined) return Effect.succeed(ownRow(write, at))
          if (own?.cleared === true) return Effect.succeed(undefined)
          this.reads++
          return base.get(keyspace, key)
        }),
      scan: (keyspace, range) => {
        this.reads++
        return overlay(
          base.scan(keyspace, { ...range, limit: Infinity }),
          () => writes.find(keyspace.name),
          range,
          at
        )
      }
    }
  }
}

const exceeded = (limit: string, actual: number, maximum: number): Effect.Effect<never, StoreError> =>
  Effect.fail(storeError(new LimitExceeded({ limit, actual, maximum })))

/** A row of the own writes: its LSN is not known yet, so it shows the snapshot's, which no stored record can have. */
const ownRow = (write: { readonly key: Uint8Array; readonly value: Uint8Array | undefined }, at: number) =>
  write.value === undefined ? undefined : { key: write.key, value: write.value, lsn: at }

/**
 * A scan of the store with the own writes laid over it. Each chunk of the store covers an interval of keys; the own
 * writes of that interval are merged into it, so that writes made between two pulls are seen from there on.
 */
const overlay = (base: Scan, own: () => KeyspaceWrites | undefined, range: Range, at: number): Scan => {
  const descending = range.order === "descending"
  let { lower, upper } = range
  let left = range.limit
  let ended = left <= 0
  const pull: Scan = Effect.suspend((): Scan => {
    if (ended) return Cause.done()
    if (own()?.cleared === true) return merged([], true)
    return base.pipe(
      Effect.map((rows) => ({ rows, last: false })),
      Effect.catchIf(Cause.isDone, () => Effect.succeed({ rows: [], last: true })),
      Effect.flatMap(({ last, rows }) => merged(rows, last))
    )
  })
  const merged = (rows: ReadonlyArray<Row>, last: boolean): Scan => {
    const edge = rows.at(-1)?.key
    const writes = own()?.range(
      last || !descending || edge === undefined ? lower : edge,
      last || descending || edge === undefined ? upper : after(edge)
    ) ?? []
    ended = last
    if (edge !== undefined && descending) upper = edge
    else if (edge !== undefined) lower = after(edge)
    const result = merge(rows, writes, descending, at).slice(0, left)
    left -= result.length
    if (left <= 0) ended = true
    return Effect.succeed(result)
  }
  return pull
}

/** Two sorted lists as one; where both have a key, the own write wins. */
const merge = (
  rows: ReadonlyArray<Row>,
  writes: ReadonlyArray<Write>,
  descending: boolean,
  at: number
): Array<Row> => {
  if (writes.length === 0) return [...rows]
  const own = descending ? [...writes].reverse() : writes
  const result: Array<Row> = []
  let next = 0
  const take = (): void => {
    const row = ownRow(own[next++] as Write, at)
    if (row !== undefined) result.push(row)
  }
  for (const row of rows) {
    let order = -1
    while (next < own.length) {
      order = compare((own[next] as Write).key, row.key) * (descending ? -1 : 1)
      if (order >= 0) break
      take()
    }
    if (next < own.length && order === 0) take()
    else result.push(row)
  }
  while (next < own.length) take()
  return result
}

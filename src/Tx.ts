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
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { Durability } from "./Limits.ts"
import type { Declared, Machine } from "./Machine.ts"
import type { Merging } from "./Running.ts"
import { Running } from "./Running.ts"
import { open, Snapshot } from "./Snapshot.ts"
import { Store } from "./Store.ts"
import type { StoreError } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"

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

/** What a body may write through. Everything fails with `Ended` once the body has left it. */
export class Tx extends Context.Service<Tx, {
  readonly put: (keyspace: Declared, key: Uint8Array, value: Uint8Array) => Effect.Effect<void, StoreError>
  readonly remove: (keyspace: Declared, key: Uint8Array) => Effect.Effect<void, StoreError>
  readonly merge: (keyspace: Merging, key: Uint8Array, operand: Uint8Array) => Effect.Effect<void, StoreError>
  readonly clear: (keyspace: Declared) => Effect.Effect<void, StoreError>
  readonly drop: (keyspace: Declared) => Effect.Effect<void, StoreError>
  /** Runs an effect after the commit, if what is written now is part of it. */
  readonly onCommit: (hook: Effect.Effect<void>) => Effect.Effect<void>
  /** Begins a step; told how it ended, it keeps the step's writes and hooks or discards them. */
  readonly step: () => (exit: Exit.Exit<unknown, unknown>) => void
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
    const { machine } = Context.getUnsafe(fiber.context, Store)
    const outer = Context.getOrUndefined(fiber.context, Snapshot)
    const run: Effect.Effect<Commit<A>, E | StoreError, Exclude<R, Snapshot | Tx> | Store> =
      outer?.joins() === true
        // The body finds both services in the context it already runs in.
        ? Effect.map(savepoint(self), (value) => ({ value, lsn: outer.at })) as typeof run
        : attempt(machine, options ?? {}, self)
    // A span costs more than a commit: one is opened only where the caller is inside one.
    const traced = Context.getOrUndefined(fiber.context, Tracer.ParentSpan) !== undefined
    return !traced ? run : Effect.withSpan(run, Telemetry.Span.transact)
  })

/**
 * Runs a step whose writes are discarded if it fails, so that the body may go on with something else. Steps that run
 * beside each other are not told apart: one that fails takes with it what the others wrote since it began.
 */
export const savepoint = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Tx> =>
  Tx.use((tx) =>
    Effect.suspend(() => {
      const leave = tx.step()
      return Effect.onExit(self, (exit) => Effect.sync(() => leave(exit)))
    })
  )

/** Runs an effect once after the transaction is durable; never for one that was rolled back. A crash can lose it. */
export const onCommit = (effect: Effect.Effect<void>): Effect.Effect<void, never, Tx> =>
  Tx.use((tx) =>
    Effect.flatMap(
      Effect.context<never>(),
      (services) => tx.onCommit(Effect.provideContext(effect, services))
    )
  )

/** Waits for what became of an intent; undefined where its base was stale. */
type Verdict<A> = Effect.Effect<Commit<A> | undefined, StoreError>

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
      const view = open(machine)
      if (Exit.isExit(view)) return view
      const running = new Running(machine, view)
      const services = Context.make(Snapshot, running).pipe(Context.add(Tx, running))
      const body = Effect.provideContext(self, services) as Effect.Effect<A, E, Exclude<R, Snapshot | Tx>>
      return Effect.onExit(restore(body), () => Effect.sync(() => running.end())).pipe(
        Effect.flatMap((value) => handOver(machine, options, running, value))
      )
    })
    const inTurn = Effect.flatMap(
      restore(machine.turn.take(1)),
      () => Effect.ensuring(once, machine.turn.release(1))
    )
    const run: Effect.Effect<Commit<A>, E | StoreError, Exclude<R, Snapshot | Tx>> = Effect.flatMap(
      Effect.flatten(inTurn),
      // Somebody committed since the snapshot was taken: read it, and run again.
      (committed) =>
        committed === undefined
          ? Effect.andThen(restore(machine.caughtUp), run)
          : Effect.succeed(committed)
    )
    return run
  })

const handOver = <A>(
  machine: Machine,
  options: Options,
  running: Running,
  value: A
): Effect.Effect<Verdict<A>> => {
  const { at, hooks, reads, writes } = running
  // Nothing was written: what the body returned must not be taken back by a crash (P5).
  if (writes.isEmpty) {
    const durable = readable(machine, at)
    return Effect.succeed(Effect.map(durable, () => {
      afterCommit(machine, hooks, durable)
      return { value, lsn: at }
    }))
  }
  const durability = options.durability ?? machine.durability
  return Effect.withFiber((fiber) => {
    const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
    const verdict = machine.submit({
      keyspaces: () => writes.values(),
      durability,
      base: reads > 0 ? at : undefined,
      span
    })
    return Effect.map(
      verdict,
      Effect.map((lsn) => {
        if (span?._tag === "Span") describe(span, running, durability, lsn)
        if (lsn === undefined) return undefined
        afterCommit(machine, hooks, machine.awaitDurable(lsn + 1))
        return { value, lsn }
      })
    )
  })
}

/**
 * Waits until the commits that a reader at `at` sees are durable. Groups that hold none need no sync to be read, and
 * what is durable can be read from a store whose log has failed.
 */
const readable = ({ awaitDurable, parts: { tail, treeActor } }: Machine, at: number) => {
  const bound = Math.min(at, treeActor.visibleLsn)
  return bound <= tail.durableLsn ? Effect.void : awaitDurable(bound)
}

/** What the span of a transaction says of it. */
const describe = (
  span: Tracer.Span,
  { reads, writes }: Running,
  durability: Durability,
  lsn: number | undefined
): void => {
  const attempts = (span.attributes.get(Telemetry.Attribute.txAttempts) as number | undefined ?? 0) + 1
  span.attribute(Telemetry.Attribute.txAttempts, attempts)
  span.attribute(Telemetry.Attribute.txReads, reads)
  span.attribute(Telemetry.Attribute.txWrites, writes.size)
  span.attribute(Telemetry.Attribute.txDurability, durability)
  if (lsn !== undefined) span.attribute(Telemetry.Attribute.txLsn, lsn)
}

/** Hooks run one after another; one that dies is logged and keeps no other from running. */
const afterCommit = (
  machine: Machine,
  hooks: ReadonlyArray<Effect.Effect<void>>,
  durable: Effect.Effect<void, StoreError>
): void => {
  if (hooks.length === 0) return
  const all = Effect.forEach(hooks, (hook) => Effect.ignoreCause(hook, { log: "Error" }), { discard: true })
  machine.finish(Effect.matchEffect(durable, { onFailure: () => Effect.void, onSuccess: () => all }))
}

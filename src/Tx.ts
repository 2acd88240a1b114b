/**
 * Writing: a transaction is a pipeline of ordinary effects between two boundaries.
 *
 * The body runs against one snapshot, collects its writes privately and hands them over as one intent (`Attempt.ts`).
 * Failure, defect and interruption of the body are a rollback: nothing was written, so there is nothing to undo.
 *
 * Bodies run beside each other. What one has read, keys and ranges, absent ones too, is validated when it commits: was
 * any of it written since its snapshot, it has lost and runs again. So what commits is as if it had run alone, at its
 * LSN. A body may therefore run several times, and what it does outside of the store is done as often: use `onCommit`.
 *
 * I1 Writes reach the log whole or not at all.
 * I2 A commit is serializable in the order of LSNs: everything it has read was, at its LSN, as it has read it.
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Commit, Options } from "./Attempt.ts"
import { attempt } from "./Attempt.ts"
import { checkDurability } from "./Given.ts"
import type { Durability } from "./Limits.ts"
import type { Declared } from "./Machine.ts"
import type { Outcome } from "./Once.ts"
import { inOrder } from "./Once.ts"
import type { Merging } from "./own/Merges.ts"
import type { Running } from "./Running.ts"
import type { Session } from "./Session.ts"
import { Snapshot } from "./Snapshot.ts"
import { stepOf } from "./Steps.ts"
import { Store } from "./Store.ts"
import type { Conflict, SerialGap, StoreError } from "./StoreError.ts"
import { Nested, storeError } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"

export type { Commit, Options, Outcome }

/** What a body may write through. Everything fails with `Ended` once the body has left it. */
export class Tx extends Context.Service<Tx, {
  /** Its time, in milliseconds since 1970: what expires then or before is not there. */
  readonly now: number
  /** Writes at once, as `remove` does: for a fiber that is about to run it anyway. Without `expiry` it stays. */
  readonly put: (
    keyspace: Declared,
    key: Uint8Array,
    value: Uint8Array,
    expiry?: number
  ) => Effect.Effect<void, StoreError>
  readonly remove: (keyspace: Declared, key: Uint8Array) => Effect.Effect<void, StoreError>
  /** Asks later whether what the body has written of a key now is still all: its fibers write beside each other. */
  readonly seen: (keyspace: Declared, key: Uint8Array) => () => boolean
  readonly merge: (keyspace: Merging, key: Uint8Array, operand: Uint8Array) => Effect.Effect<void, StoreError>
  readonly clear: (keyspace: Declared) => Effect.Effect<void, StoreError>
  readonly drop: (keyspace: Declared) => Effect.Effect<void, StoreError>
  /** Runs an effect after the commit, if what is written now is part of it. */
  readonly onCommit: (hook: Effect.Effect<void>) => Effect.Effect<void>
  /** Begins a step; told how it ended, it keeps the step's writes and hooks or discards them. */
  readonly step: () => (exit: Exit.Exit<unknown, unknown>) => void
  /** Gives up until something that was read is written, or until a time in milliseconds. */
  readonly retry: (at: number) => Effect.Effect<never>
  /** Whether a step that just ended has given up; the body goes on all the same. */
  readonly resumes: () => boolean
  /** A transaction inside it asks for at least so much. */
  readonly atLeast: (durability: Durability) => void
}>()("heartwood/Tx") {}

/** Options with which a transaction never fails with `Conflict`. */
type Unlimited = Options & { readonly attempts?: undefined }

/** What a boundary asks of its surroundings, of what its body asks. */
type Outside<R> = Exclude<R, Snapshot | Tx> | Store

interface Transact {
  (
    options?: Unlimited
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StoreError, Outside<R>>
  /** Options of which it is not known whether they have `attempts`, as a wrapper passes them on. */
  (
    options: Options
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StoreError | Conflict, Outside<R>>
}

interface CommitWith {
  (
    options?: Unlimited
  ): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<Commit<A>, E | StoreError, Outside<R>>
  (
    options: Options
  ): <A, E, R>(
    self: Effect.Effect<A, E, R>
  ) => Effect.Effect<Commit<A>, E | StoreError | Conflict, Outside<R>>
}

/** Options of a transaction of a session. */
export interface OnceOptions {
  readonly session: Session
  /** Serials begin at 1 and leave nothing out; `session.serial + 1` is next. */
  readonly serial: number
  /** When it counts as committed; the store's default where absent. */
  readonly durability?: Durability | undefined
}

/** Runs an effect as one transaction and answers its value. Inside another transaction it is a savepoint. */
export const transact: Transact =
  (options: Options = {}) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | StoreError, Outside<R>> =>
    bounded(options, self, (value) => value)

/**
 * The same, answering the LSN beside the value. Inside another transaction nothing is committed yet: the LSN is then
 * that of the snapshot, and what it wrote has the LSN that the outermost one answers.
 */
export const commit: CommitWith =
  (options: Options = {}) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<Commit<A>, E | StoreError, Outside<R>> =>
    bounded(options, self, committed)

/**
 * Runs an effect as the transaction of a session that has this serial: it commits exactly once, however often it is
 * sent. Where the serial has committed the body is not run, and the answer is `Repeated`; either way the answer waits
 * for what `durability` says. A serial whose body failed is free to be used again: only a commit consumes one, and a
 * commit that wrote nothing does.
 *
 * Serials may be sent beside each other: each waits for those before it that are under way, and one that is under way
 * is joined. Where nothing before it is under way, a serial that is not the next one fails with `SerialGap`. Inside
 * another transaction it fails with `Nested`.
 */
export const once = ({ durability, serial, session }: OnceOptions) =>
<A, E, R>(
  self: Effect.Effect<A, E, R>
): Effect.Effect<Outcome<A>, E | SerialGap | StoreError, Exclude<R, Snapshot | Tx>> =>
  Effect.withFiber((fiber) => {
    const { machine } = session
    checkDurability(durability)
    if (Context.getOrUndefined(fiber.context, Snapshot)?.joins(machine) === true) {
      return Effect.fail(storeError(new Nested({ what: `A transaction of session "${session.name}"` })))
    }
    const expected = { session, serial, durability: durability ?? machine.durability }
    return traced(fiber, () =>
      inOrder(expected, (session) =>
        Effect.uninterruptibleMask((restore) => {
          const body = bodyOf(self)
          // Without `attempts` it never fails with `Conflict`.
          const run = attempt({ machine, options: { durability, session }, body, answer: committed, restore })
          return run as Effect.Effect<Commit<A>, E | StoreError, Exclude<R, Snapshot | Tx>>
        })))
  })

const committed = <A>(value: A, lsn: number): Commit<A> => ({ value, lsn })

/** `Conflict` is in the answer only where there are `attempts`: the types of the two above say so. */
const bounded = <A, B, E, R>(
  options: Options,
  self: Effect.Effect<A, E, R>,
  answer: (value: A, lsn: number) => B
): Effect.Effect<B, E | StoreError, Outside<R>> => {
  const { attempts = 1, durability } = options
  checkDurability(durability)
  if (!Number.isInteger(attempts) || attempts < 1) {
    throw new RangeError("attempts is a whole number of at least 1: how often the body may run")
  }
  return Effect.uninterruptibleMask((restore) => {
    // Asked for here, it costs no step of the fiber.
    const fiber = Fiber.getCurrent() as Fiber.Fiber<unknown, unknown>
    const { machine } = Context.getUnsafe(fiber.context as Context.Context<Store>, Store)
    const outer = Context.getOrUndefined(fiber.context, Snapshot)
    const run = outer?.joins(machine) === true
      ? () => restore(nested(self as Effect.Effect<A, E, Outside<R>>, durability, outer.at, answer))
      : () => attempt({ machine, options, body: bodyOf(self), answer, restore })
    return traced(fiber, run as () => Effect.Effect<B, E | StoreError, Outside<R>>)
  })
}

/** What is run of a body: it reads and writes through what runs it. */
const bodyOf =
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
  (running: Running): Effect.Effect<A, E, Exclude<R, Snapshot | Tx>> =>
    // Two steps on top of the context: merging one in would copy it.
    Effect.updateContext(
      self,
      (context: Context.Context<Exclude<R, Snapshot | Tx>>) =>
        Context.add(Context.add(context, Snapshot, running), Tx, running) as unknown as Context.Context<R>
    )

const system = { [Telemetry.Attribute.system]: "heartwood" }

/** A span costs more than a commit: one is opened only where the caller is inside one. */
const traced = <A, E, R>(
  { cache }: Fiber.Fiber<unknown, unknown>,
  run: () => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  cache.span === undefined
    ? run()
    : Effect.withSpan(Effect.suspend(run), Telemetry.Span.transact, { attributes: system }) as Effect.Effect<
      A,
      E,
      R
    >

/** Both services are in the context already. */
const nested = <A, B, E, R>(
  self: Effect.Effect<A, E, R>,
  durability: Durability | undefined,
  lsn: number,
  answer: (value: A, lsn: number) => B
): Effect.Effect<B, E, R> =>
  Effect.withFiber((fiber) => {
    const tx = Context.getUnsafe(fiber.context as Context.Context<Tx>, Tx)
    if (durability !== undefined) tx.atLeast(durability)
    return Effect.map(stepOf(tx, self), (value) => answer(value, lsn))
  })

/**
 * Runs a step whose writes are discarded if it fails, so that the body may go on with something else. Steps that fibers
 * of a body begin beside each other run one after another; what a fiber writes beside a step, and outside of one, goes
 * with the step if that fails.
 */
export const savepoint = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Tx> =>
  Tx.use((tx) => stepOf(tx, self))

/**
 * Gives up, and runs the transaction anew as soon as something that it has read is written: the composable blocking of
 * Harris, Marlow, Peyton Jones and Herlihy (Composable Memory Transactions, 2005). To the body it is an interruption.
 */
export const retry: Effect.Effect<never, never, Tx> = Tx.use((tx) => tx.retry(Infinity))

/** The same, and at a time in any case: the clock is one more thing that the body has read. */
export const retryUntil = (at: DateTime.DateTime): Effect.Effect<never, never, Tx> =>
  Tx.use((tx) => tx.retry(at.epochMilliseconds))

/**
 * Runs another step where this one retries, instead of waiting; its writes are discarded then. If that one retries too,
 * the transaction waits for what either of them has read.
 */
export const orElse =
  <A2, E2, R2>(that: Effect.Effect<A2, E2, R2>) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A | A2, E | E2, R | R2 | Tx> =>
    Tx.use((tx) =>
      Effect.matchCauseEffect(stepOf(tx, self), {
        onSuccess: Effect.succeed,
        onFailure: (cause): Effect.Effect<A | A2, E | E2, R2> => tx.resumes() ? that : Effect.failCause(cause)
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

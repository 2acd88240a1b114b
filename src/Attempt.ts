/**
 * Running a body until it commits, fails, or has lost too often.
 *
 * ```
 *   Running ── ends ──▶ handed over ── valid ──▶ committed
 *     ▲  │                   │ lost once ──▶ Running, against a new snapshot
 *     │  │                   └ lost twice ─▶ takes the turn ──▶ Running, alone ── too long ──▶ TurnExpired
 *     │  ├── retries ──▶ parked: something that it read was written, or it is time ──▶ Running
 *     │  └── failure, defect, interruption ──▶ rolled back
 * ```
 *
 * I1 From the hand-over to the verdict nothing is interruptible, so that nobody wonders whether a commit that timed out
 *    has happened.
 * I2 However it ends, its snapshot, its place in the conflict window and its turn are given back.
 *
 * Losing twice and then having a turn is the choice between waiting for ever (plain retries starve long bodies) and
 * running one at a time (one slow body would stop everybody).
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import type { Intent, KeyspaceIntent } from "./actors/commit/Intent.ts"
import type { ReadSet } from "./actors/commit/ReadSet.ts"
import type { SerialUse } from "./actors/commit/Sessions.ts"
import type { Turn } from "./actors/commit/Turns.ts"
import type { Durability } from "./Limits.ts"
import type { Machine } from "./Machine.ts"
import { Running } from "./Running.ts"
import { open } from "./Snapshot.ts"
import type { StoreError } from "./StoreError.ts"
import { Conflict, storeError, TurnExpired } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"
import { View } from "./View.ts"

/** Options of a transaction. */
export interface Options {
  /** When it counts as committed; the store's default where absent. */
  readonly durability?: Durability | undefined
  /**
   * How often its body is run at most, at least once. It fails with `Conflict` where all of them lost. Without, it
   * takes an exclusive turn after it lost twice, and does not lose again.
   */
  readonly attempts?: number | undefined
}

/** Options, and the serial of a transaction that is of a session. */
export interface Own extends Options {
  readonly session?: SerialUse
}

/** What a committed transaction answers. */
export interface Commit<A> {
  readonly value: A
  /** LSN of its record, the version of everything it wrote; the snapshot's where it wrote nothing. */
  readonly lsn: number
}

/** Times that a transaction loses before it takes a turn. */
const lossesMax = 2

type Failure<E> = E | StoreError | Conflict

/** A body, and what is to come of it. */
export interface Work<A, B, E, R> {
  readonly machine: Machine
  readonly options: Own
  readonly body: (running: Running) => Effect.Effect<A, E, R>
  /** What is answered once it is committed. */
  readonly answer: (value: A, lsn: number) => B
  /** Makes interruptible what is so outside. */
  readonly restore: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Runs a body until it commits. For a fiber that is about to run what it answers, and cannot be interrupted there. */
export const attempt = <A, B, E, R>(work: Work<A, B, E, R>): Effect.Effect<B, Failure<E>, R> =>
  new Attempts(work).run(0, undefined)

/** What it does at once is one step of the fiber: each Effect more would cost as much as writing a record's bytes. */
class Attempts<A, B, E, R> {
  private readonly work: Work<A, B, E, R>

  constructor(work: Work<A, B, E, R>) {
    this.work = work
  }

  /** Runs the body after it lost so often. */
  run(losses: number, turn: Turn | undefined): Effect.Effect<B, Failure<E>, R> {
    const { body, machine, options, restore } = this.work
    const closed = options.session?.serials.closed
    if (closed !== undefined) return Effect.fail(closed)
    const view = open(machine, "transaction")
    if (!(view instanceof View)) return view
    const durability = options.durability ?? machine.durability
    const running = new Running(machine, view, {
      durability,
      isInTurn: turn !== undefined,
      isInSession: options.session !== undefined
    })
    const restored: Effect.Effect<A, E | StoreError, R> = restore(body(running))
    return Effect.matchCauseEffect(turn === undefined ? restored : this.timed(restored), {
      onSuccess: (value) => {
        running.end()
        return this.handOver(running, value, losses, turn)
      },
      onFailure: (cause) => {
        running.end()
        running.streamed?.abandon()
        if (running.retries && Cause.hasInterruptsOnly(cause)) return this.park(running, turn)
        running.leave()
        return Effect.failCause(cause)
      }
    })
  }

  private timed(body: Effect.Effect<A, E | StoreError, R>): Effect.Effect<A, E | StoreError, R> {
    const { machine: { limits: { turnMillis } }, restore } = this.work
    return restore(Effect.timeoutOrElse(body, {
      duration: turnMillis,
      orElse: () => Effect.fail(storeError(new TurnExpired({ millis: turnMillis })))
    }))
  }

  private handOver(
    running: Running,
    value: A,
    losses: number,
    turn: Turn | undefined
  ): Effect.Effect<B, Failure<E>, R> {
    const { answer, machine, options: { session } } = this.work
    const { at, hooks, streamed } = running
    const leave = (): void => {
      running.leave()
      streamed?.abandon()
    }
    // Nothing was written: what the body returned must not be taken back by a crash (P5).
    if (running.isEmpty && session === undefined) {
      leave()
      const durable = readable(machine, at)
      return Effect.map(durable, () => {
        afterCommit(machine, hooks, durable)
        return answer(value, at)
      })
    }
    const { span } = (Fiber.getCurrent() as Fiber.Fiber<unknown, unknown>).cache
    const intent = new Asked(running, turn, session, span)
    const verdict = streamed === undefined
      ? machine.submit(intent)
      : Effect.flatMap(streamed.finish, (stream) => machine.submit(intent, stream))
    const decided = (lsn: number | undefined): Effect.Effect<B, Failure<E>, R> => {
      if (span?._tag === "Span") describe(span, running, losses + 1, turn !== undefined, lsn)
      if (lsn === undefined) return this.lose(running, losses + 1)
      // Where nothing changed, its LSN is the end of the log: there is nothing behind it to wait for.
      if (hooks.length > 0) {
        afterCommit(machine, hooks, machine.awaitDurable(Math.min(lsn + 1, machine.parts.tail.end)))
      }
      return Exit.succeed(answer(value, lsn))
    }
    // Decided at once, as most that need not wait for the disk are.
    if (isDecided(verdict)) return decided(verdict.value)
    if (intent.isAppended && span === undefined && hooks.length === 0) return durably(verdict, value, answer)
    return Effect.flatMap(Effect.onExit(verdict, () => Effect.sync(leave)), decided)
  }

  /** Something that it read was written meanwhile: that is read, and the body runs again. */
  private lose({ reads }: Running, losses: number): Effect.Effect<B, Failure<E>, R> {
    const { attempts } = this.work.options
    if (attempts !== undefined && losses >= attempts) {
      return Effect.fail(new Conflict({ keyspace: reads.lost ?? "", attempts: losses }))
    }
    const again = attempts === undefined && losses >= lossesMax
      ? this.inTurn(losses)
      : this.again(losses)
    return Effect.andThen(event(Telemetry.Event.conflict, reads.lost), Effect.andThen(this.caughtUp, again))
  }

  private again(losses: number): Effect.Effect<B, Failure<E>, R> {
    return Effect.suspend(() => this.run(losses, undefined))
  }

  private inTurn(losses: number): Effect.Effect<B, Failure<E>, R> {
    const { machine, restore } = this.work
    return Effect.suspend(() => {
      let turn: Turn | undefined
      const taken = restore(machine.takeTurn((asked) => {
        turn = asked
      }))
      return Effect.ensuring(
        Effect.flatMap(taken, () => this.run(losses, turn)),
        Effect.sync(() => turn !== undefined && machine.endTurn(turn))
      )
    })
  }

  /** Waits until something that the body read was written, or until the time that it named; it runs anew then. */
  private park(running: Running, turn: Turn | undefined): Effect.Effect<B, Failure<E>, R> {
    const { machine, restore } = this.work
    const { reads, retriesAt } = running
    const leave = (): void => running.leave()
    // Nobody could write what it waits for.
    if (turn !== undefined) machine.endTurn(turn)
    if (reads.size === 0 && retriesAt === Infinity) {
      leave()
      const endless = new Error("Tx.retry in a transaction that has read nothing would wait for ever")
      // It may have been interrupted from outside as well, and then it does not wait.
      return Effect.andThen(restore(Effect.void), Effect.die(endless))
    }
    const changed = Effect.callback<void>((resume) => {
      if (machine.window.conflict(reads) !== undefined) return resume(Effect.void)
      return Effect.sync(machine.watch.add(reads, () => resume(Effect.void)))
    })
    const due = retriesAt === Infinity
      ? changed
      : Effect.raceFirst(
        changed,
        Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sleep(retriesAt - now))
      )
    // A log that has failed, or a store that has closed, wakes nobody any more.
    const woken = Effect.andThen(this.caughtUp, restore(due))
    return event(Telemetry.Event.retryParked, undefined).pipe(
      Effect.andThen(Effect.ensuring(woken, Effect.sync(leave))),
      Effect.andThen(event(Telemetry.Event.retryWoken, undefined)),
      Effect.andThen(this.caughtUp),
      Effect.andThen(this.again(0))
    )
  }

  /** Waits until all that was committed can be seen. */
  private get caughtUp(): Effect.Effect<void, StoreError> {
    return this.work.restore(this.work.machine.caughtUp)
  }
}

/** No look for a type id: every transaction comes here. */
const isDecided = <A>(effect: Effect.Effect<A, StoreError>): effect is Exit.Success<A> =>
  (effect as Partial<Exit.Success<A>>)._tag === "Success"

/** What a body has written and read, as the Wal is asked to commit it. */
class Asked implements Intent {
  readonly durability: Durability
  readonly reads: ReadSet | undefined
  readonly turn: Turn | undefined
  readonly session: SerialUse | undefined
  readonly span: Tracer.AnySpan | undefined
  isAppended = false
  private readonly running: Running

  constructor(
    running: Running,
    turn: Turn | undefined,
    session: SerialUse | undefined,
    span: Tracer.AnySpan | undefined
  ) {
    this.durability = running.durability
    this.reads = running.hasRead ? running.reads : undefined
    this.turn = turn
    this.session = session
    this.span = span
    this.running = running
  }

  keyspaces(): ReadonlyArray<KeyspaceIntent> {
    return this.running.writes.values()
  }

  validated(): void {
    this.running.leave()
  }

  appended(): void {
    this.isAppended = true
  }
}

/**
 * The answer of a transaction that is in the log and that nobody else is told of. While it waits for the disk nothing
 * else of it is kept: thousands that wait would be copied by every collection of garbage.
 */
const durably = <A, B>(
  verdict: Effect.Effect<number | undefined, StoreError>,
  value: A,
  answer: (value: A, lsn: number) => B
): Effect.Effect<B, StoreError> => Effect.map(verdict, (lsn) => answer(value, lsn as number))

/**
 * Waits until the commits that a reader at `at` sees are durable. Groups that hold none need no sync to be read, and
 * what is durable can be read from a store whose log has failed.
 */
const readable = ({ awaitDurable, parts: { tail, treeActor } }: Machine, at: number) => {
  const bound = Math.min(at, treeActor.visibleLsn)
  return bound <= tail.durableLsn ? Effect.void : awaitDurable(bound)
}

/** Says in the caller's span, where there is one, what happened. */
const event = (name: string, keyspace: string | undefined): Effect.Effect<void> =>
  Effect.withFiber(({ cache: { span } }) => {
    if (span?._tag !== "Span") return Effect.void
    return Effect.map(Clock.currentTimeNanos, (now) => {
      span.event(
        name,
        now,
        keyspace === undefined ? undefined : { [Telemetry.Attribute.collection]: keyspace }
      )
    })
  })

/** What the span of a transaction says of it. */
const describe = (
  span: Tracer.Span,
  { durability, reads, writes }: Running,
  attempts: number,
  inTurn: boolean,
  lsn: number | undefined
): void => {
  span.attribute(Telemetry.Attribute.txAttempts, attempts)
  span.attribute(Telemetry.Attribute.txReads, reads.size)
  span.attribute(Telemetry.Attribute.txWrites, writes.size)
  span.attribute(Telemetry.Attribute.txDurability, durability)
  span.attribute(Telemetry.Attribute.txTurn, inTurn)
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

/**
 * One fiber of a history: it transacts, reads, writes through the raw door, and notes what it was told.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Keyspace from "../../src/Keyspace.ts"
import type { Durability } from "../../src/Limits.ts"
import * as Session from "../../src/Session.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { Conflict } from "../../src/StoreError.ts"
import { SerialGap, StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Attempt, Entry, Outcome, Recorder } from "./history.ts"
import { recorded } from "./history.ts"
import { carryOut, lookOut } from "./historyBody.ts"
import type { Move, Workload } from "./historyWorkload.ts"
import type { Schedule } from "./schedule.ts"
import { nowOf } from "./storeDoor.ts"

export interface Options {
  readonly schedule: Schedule
  readonly recorder: Recorder
  readonly workload: Workload
  readonly store: Store.Store["Service"]
  /** Whether the store may fail somebody with this although it goes on; it may not, where absent. */
  readonly forgives?: (error: StoreError) => boolean
  /** Whether snapshots are held across checkpoints. */
  readonly holds?: "across checkpoints"
}

type Failure = StoreError | Conflict | SerialGap | "rolled back"

/** A transaction that is written down, and the effect that carries it out. */
interface Run {
  readonly entry: Entry
  readonly effect: Effect.Effect<Outcome, Failure, Store.Store>
}

/** A boundary: what it makes of a body. */
type Boundary = (
  body: Effect.Effect<void, StoreError | "rolled back", Tx.Tx | Snapshot.Snapshot | Store.Store>
) => Run["effect"]

/** Serials are sent in their order here. */
const isGap = (error: unknown): boolean => error instanceof SerialGap

const isCommitted = ({ lsn }: { readonly lsn: number }): Outcome => ({ _tag: "committed", lsn })

const durabilities: ReadonlyArray<Durability> = ["memory", "buffered", "synced"]

const raw = { one: Keyspace.bytes("one"), two: Keyspace.bytes("two") }

/** Of a write through the raw door that was not taken. */
const refusals: ReadonlySet<string> = new Set(["Overloaded", "DiskFull"])

export class Worker {
  private readonly options: Options

  constructor(options: Options) {
    this.options = options
  }

  /** Goes on until it has done enough, or the store has died; in a session, where it has a name. */
  work(count: number, name: string | undefined): Effect.Effect<void, StoreError> {
    if (name === undefined) return this.go(count, this.act)
    const { recorder, store } = this.options
    const inSession = Effect.scoped(Effect.flatMap(Session.open(name), (session) => {
      recorder.life.sessions.push({ name, serial: session.serial })
      return this.go(count, Effect.suspend(() => this.inSession(session)))
    }))
    return Effect.catch(Effect.provideService(inSession, Store.Store, store), (error) => {
      if (error._tag === "SessionInUse") return Effect.die(error)
      return this.excuses(error) ? Effect.void : Effect.fail(error)
    })
  }

  /** The store has failed, or may fail with this. */
  private excuses(error: StoreError): boolean {
    return this.options.recorder.isBroken || this.options.forgives?.(error) === true
  }

  private go(count: number, act: Effect.Effect<void, StoreError>): Effect.Effect<void, StoreError> {
    const { recorder, schedule } = this.options
    if (count === 0) return Effect.void
    const next = Effect.suspend(() =>
      recorder.isBroken ? Effect.void : Effect.andThen(act, Effect.suspend(() => this.go(count - 1, act)))
    )
    return Effect.andThen(schedule.pause, next)
  }

  /** Sends the next serial, perhaps twice at once, or the last one again. */
  private inSession(session: Session.Session): Effect.Effect<void, StoreError> {
    const { schedule: { chance }, workload } = this.options
    const isOld = session.serial > 0 && chance.bool(0.2)
    const serial = isOld ? 1 + chance.int(session.serial) : session.serial + 1
    const durability = chance.pick(durabilities)
    const boundary: Boundary = (body) =>
      Effect.map(
        Tx.once({ session, serial, durability })(body),
        (outcome) =>
          outcome._tag === "Committed" ? isCommitted(outcome) : { _tag: "repeated", lsn: outcome.lsn }
      )
    const send = Effect.suspend(() => {
      const run = this.run(workload.signed(), durability, boundary)
      run.entry.session = { name: session.name, serial }
      return this.noted(run, chance.bool(0.1) ? this.interrupted(run.effect) : Effect.exit(run.effect))
    })
    const times = chance.bool(0.3) ? [send, send] : [send]
    return Effect.forEach(times, (send) => send, { concurrency: "unbounded", discard: true })
  }

  private readonly act: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { schedule: { chance }, store, workload } = this.options
    const kind = chance.next()
    if (kind < 0.7) return this.transact(workload.moves(), chance.pick(durabilities))
    if (kind < 0.78) return this.transact(workload.looks(), "synced")
    if (kind < 0.84) return this.read(workload.looks())
    if (kind < 0.87) return this.hold(workload.looks(), workload.looks())
    if (kind < 0.92) return this.put
    return kind < 0.95
      ? this.promised(() => store.checkpoint)
      : this.promised((visible) => store.awaitDurable(visible))
  })

  /** A transaction that may be interrupted; what it answered, or why it did not. */
  private transact(moves: ReadonlyArray<Move>, durability: Durability): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      const { chance } = this.options.schedule
      const run = this.run(moves, durability, this.commits(durability))
      return this.noted(run, chance.bool(0.1) ? this.interrupted(run.effect) : Effect.exit(run.effect))
    })
  }

  /** A transaction before anybody else is at work. */
  begin(moves: ReadonlyArray<Move>): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      const run = this.run(moves, "synced", this.commits("synced"))
      return this.noted(run, Effect.exit(run.effect))
    })
  }

  /** The ordinary boundary. */
  private commits(durability: Durability): Boundary {
    const { chance } = this.options.schedule
    const attempts = chance.bool(0.1) ? 1 + chance.int(2) : undefined
    return (body) =>
      attempts === undefined
        ? Effect.map(Tx.commit({ durability })(body), isCommitted)
        : Effect.map(Tx.commit({ durability, attempts })(body), isCommitted)
  }

  private run(moves: ReadonlyArray<Move>, durability: Durability, boundary: Boundary): Run {
    const { recorder, schedule: { chance, pause } } = this.options
    const entry = recorder.begin("transact", durability)
    const hook = Tx.onCommit(Effect.sync(() => {
      entry.hooked = true
    }))
    const body = this.attempt(entry, (attempt) => carryOut(moves, attempt, pause))
    const hooked = chance.bool(0.2) ? Effect.andThen(hook, body) : body
    const last = chance.bool(0.05) ? Effect.andThen(hooked, this.once(entry)) : hooked
    return { entry, effect: recorded(entry)(boundary(last)) }
  }

  /** Retries the first run: until something that it read is written, or a while later. */
  private once({ attempts }: Entry): Effect.Effect<void, never, Tx.Tx> {
    const { chance } = this.options.schedule
    return Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => attempts.length > 1 ? Effect.void : Tx.retryUntil(DateTime.makeUnsafe(now + 1 + chance.int(5)))
    )
  }

  private read(moves: ReadonlyArray<Move>): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      const { recorder, schedule: { pause } } = this.options
      const entry = recorder.begin("read", "memory")
      const body = this.attempt(
        entry,
        (attempt) => Effect.as(lookOut(moves, attempt, pause), isCommitted({ lsn: attempt.at }))
      )
      return this.noted({ entry }, Effect.exit(Snapshot.read()(body)))
    })
  }

  /** A snapshot that is held while others write, and read through twice. */
  private hold(first: ReadonlyArray<Move>, second: ReadonlyArray<Move>): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      const { holds, recorder, schedule: { chance, pause }, store } = this.options
      const entry = recorder.begin("read", "memory")
      const between = holds !== undefined && chance.bool(0.5)
        ? Effect.exit(store.checkpoint)
        : Effect.repeat(pause, { times: 6 })
      const looks = Effect.gen(function*() {
        const snapshot = yield* Snapshot.make()
        const attempt: Attempt = { at: snapshot.lsn, now: snapshot.now, steps: [], results: [] }
        entry.attempts.push(attempt)
        const through = Snapshot.read({ snapshot })
        yield* through(lookOut(first, attempt, pause))
        yield* between
        yield* through(lookOut(second, attempt, pause))
        return isCommitted(snapshot)
      })
      return this.noted({ entry }, Effect.exit(Effect.scoped(looks)))
    })
  }

  /** A write through the raw door, if the log takes it at once. */
  private readonly put: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { recorder, store, workload } = this.options
    const { key, keyspace, value } = workload.raw()
    return Effect.provideService(raw[keyspace].raw, Store.Store, store).pipe(
      Effect.map((doors) => {
        const entry = recorder.begin("raw", "memory")
        try {
          const lsn = doors.putUnsafe(Buffer.from(key), Buffer.from(value))
          entry.appended = lsn
          if (store.machine.visible() <= lsn) entry.unseen = true
          entry.attempts.push({ at: lsn, steps: [{ _tag: "put", keyspace, key, value }], results: [] })
          this.end(entry, { _tag: "committed", lsn })
        } catch (error) {
          if (!(error instanceof StoreError)) throw error
          if (!refusals.has(error.reason._tag) && !recorder.isBroken) throw error
          this.end(entry, { _tag: "failed" })
        }
      })
    )
  })

  /** What is visible now is safe once this has answered. */
  private promised<A>(
    ask: (visible: number) => Effect.Effect<A, StoreError>
  ): Effect.Effect<void, StoreError> {
    const { recorder, store } = this.options
    return Effect.flatMap(store.visibleLsn, (visible) =>
      Effect.matchEffect(ask(visible), {
        onSuccess: () =>
          Effect.sync(() => {
            if (!recorder.isBroken) recorder.promise(visible)
          }),
        onFailure: (error) => this.excuses(error) ? Effect.void : Effect.fail(error)
      }))
  }

  /** A run of a body. */
  private attempt<A, E, R>(
    entry: Entry,
    body: (attempt: Attempt) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E, R | Snapshot.Snapshot> {
    return Snapshot.Snapshot.use((snapshot) => {
      const attempt: Attempt = { at: snapshot.at, now: nowOf(snapshot), steps: [], results: [] }
      entry.attempts.push(attempt)
      return body(attempt)
    })
  }

  /** Interrupted after a while, unless it has ended by then. */
  private interrupted<A, E, R>(run: Effect.Effect<A, E, R>): Effect.Effect<Exit.Exit<A, E>, never, R> {
    const { schedule: { chance, pause } } = this.options
    return Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(run)
      yield* Effect.repeat(pause, { times: chance.int(6) })
      yield* Fiber.interrupt(fiber)
      return yield* Fiber.await(fiber)
    })
  }

  /** Waits for the end of a transaction and notes it; a store that fails without a reason fails the history. */
  private noted<E>(
    { entry }: Pick<Run, "entry">,
    run: Effect.Effect<Exit.Exit<Outcome, E | StoreError>, never, Store.Store>
  ): Effect.Effect<void, StoreError> {
    const { recorder, store } = this.options
    return Effect.flatMap(Effect.provideService(run, Store.Store, store), (exit) => {
      if (Exit.isSuccess(exit)) {
        return Effect.sync(() => this.end(entry, exit.value))
      }
      const error = Exit.findErrorOption(exit)
      if (error._tag === "Some" && error.value instanceof StoreError) {
        const { value } = error
        // Time may pass faster here than any body runs.
        const isFast = value.reason._tag === "TurnExpired"
        // Small stores cannot keep what is held for long.
        const isHeld = value.reason._tag === "SnapshotExpired"
        // In a session nothing is written as pieces.
        const isLong = value.reason._tag === "LimitExceeded" && value.reason.limit === "transactionBytes"
        // Refused before anything of it was written.
        const isFull = value.reason._tag === "DiskFull"
        if (isFast || isHeld || isLong || isFull) {
          return Effect.sync(() => this.end(entry, { _tag: "failed" }))
        }
        return this.excuses(value)
          ? Effect.sync(() => this.end(entry, { _tag: "unknown" }))
          : Effect.fail(value)
      }
      if (error._tag === "Some" && isGap(error.value) && !recorder.isBroken) return Effect.die(error.value)
      const outcome = Cause.hasInterruptsOnly(exit.cause) ? "interrupted" : "failed"
      if (outcome === "failed" && error._tag === "None" && !String(exit.cause).includes("a body that dies")) {
        return Effect.die(exit.cause)
      }
      return Effect.sync(() => this.end(entry, { _tag: outcome }))
    })
  }

  private end(entry: Entry, outcome: Outcome): void {
    const { recorder, schedule } = this.options
    recorder.end(entry, outcome)
    schedule.note(JSON.stringify([entry.id, outcome, entry.appended, entry.attempts]))
  }
}

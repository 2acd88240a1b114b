/**
 * A session: a client with a name that numbers its transactions, so that each of them commits exactly once.
 *
 * `Session.open(name)` answers a handle that knows the serial of the session's last commit, also after a crash; its
 * transactions are `Tx.once({ session, serial })`. Serials begin at 1 and leave nothing out, so whoever opens the
 * session again goes on with `session.serial + 1`, and whoever is not sure whether a transaction got through sends it
 * again.
 *
 * I1 What a handle says was committed is durable when it is opened, so no crash takes it back.
 * I2 A name is open at most once.
 */
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import type * as Scope from "effect/Scope"
import type { Serials } from "./actors/commit/Serials.ts"
import type { Machine } from "./Machine.ts"
import { Store } from "./Store.ts"
import type { SessionInUse, StoreError } from "./StoreError.ts"
import { SerialGap } from "./StoreError.ts"

/** A session that is open. */
export class Session {
  readonly name: string
  /** For the other modules of this package. */
  readonly machine: Machine
  /** For the other modules of this package. */
  readonly serials: Serials

  /** Handles come from `open`. */
  constructor(machine: Machine, serials: Serials) {
    this.name = serials.last.name
    this.machine = machine
    this.serials = serials
  }

  /** Serial of its last commit, 0 where there is none yet. Grows with every commit. */
  get serial(): number {
    return this.serials.last.serial
  }

  /** LSN of that commit. */
  get lsn(): number | undefined {
    return this.serial === 0 ? undefined : this.serials.last.lsn
  }

  toJSON(): unknown {
    return { _id: "Session", name: this.name, serial: this.serial, lsn: this.lsn }
  }

  /** For `console.log`: a store is behind it. */
  [Inspectable.NodeInspectSymbol](): unknown {
    return this.toJSON()
  }
}

/**
 * Opens a session until the scope closes; its first commit makes it, where there is none of that name.
 *
 * A name is any well-formed text of at most `keyBytes` in UTF-8; a `RangeError` where it is not well-formed. Fails
 * with `SessionInUse` where it is open, and with `LimitExceeded` where `sessions` are remembered and none of them has
 * been unused for `sessionIdleMillis`. Such a session is ended: whoever comes back after that begins with serial 1.
 */
export const open = (
  name: string
): Effect.Effect<Session, SessionInUse | StoreError, Store | Scope.Scope> =>
  Store.use(({ machine }) => {
    if (!name.isWellFormed()) throw new RangeError("a session's name is well-formed text")
    const opened = Effect.acquireRelease(
      Effect.map(claim(machine, name), (serials) => new Session(machine, serials)),
      ({ serials }) => Effect.sync(() => machine.parts.sessions.release(serials))
    )
    return Effect.tap(opened, awaitLast)
  })

/** Makes room for a new one among those that have not committed for long, even if the store was closed meanwhile. */
const claim = (machine: Machine, name: string): Effect.Effect<Serials, SessionInUse | StoreError> =>
  Effect.catch(machine.claim(name), (error) => {
    const isFull = error._tag === "StoreError" && error.reason._tag === "LimitExceeded"
      && error.reason.limit === "sessions"
    const outdated = isFull ? machine.parts.sessions.outdated() : []
    return outdated.length === 0
      ? Effect.fail(error)
      : Effect.andThen(machine.endSessions(outdated), claim(machine, name))
  })

/**
 * Waits until a serial of the session is durable: its last commit where none is named. `SerialGap` where it has not
 * committed yet.
 */
export const awaitDurable = (
  session: Session,
  serial?: number
): Effect.Effect<void, SerialGap | StoreError> =>
  Effect.suspend((): Effect.Effect<void, SerialGap | StoreError> =>
    serial === undefined || serial <= session.serial
      ? awaitLast(session)
      : Effect.fail(new SerialGap({ serial, expected: session.serial + 1 }))
  )

const awaitLast = ({ lsn, machine }: Session): Effect.Effect<void, StoreError> =>
  lsn === undefined ? Effect.void : machine.awaitDurable(lsn + 1)

/**
 * Ends a session: its name is forgotten, durably, and so is which of its serials have committed. What has not committed
 * yet fails with `Ended`, as does whatever is sent through this handle later.
 */
export const end = ({ machine, serials }: Session): Effect.Effect<void, StoreError> =>
  Effect.asVoid(machine.endSessions([serials.last.name], serials))

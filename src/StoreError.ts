/**
 * Everything that can go wrong with a store, and what to do about it.
 *
 * There is one error for what is logged and alerted on, {@link StoreError}, with a union of reasons
 * (`Effect.catchReason("StoreError", "Locked", …)`), and a class of its own for each outcome that a caller
 * branches on. A message is one sentence that says what to do. Keys and values never appear in one.
 *
 * A violated invariant is not here: it is a defect (see `Invariant.ts`).
 */
import * as Data from "effect/Data"
import * as Advice from "./Advice.ts"

/** The operating system refused an operation on a file of the store. */
export class DiskFailed extends Data.TaggedError("DiskFailed")<{
  readonly operation: string
  readonly path: string
  /**
   * The system's code (`"EIO"`, `"ENOSPC"`, …); `"SHORT"` where a transfer ended early, `"NODIRECT"` where the
   * system's cache was to be bypassed and cannot be, `"NOSQLITE"` where this Node has no `node:sqlite` to lock with.
   */
  readonly code: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `Could not ${this.operation} ${this.path} (${this.code}): ${Advice.disk(this.code)}`
  }
}

/**
 * So little of the disk is free that nothing may be added: what is left is for those who make room. Or a file that must
 * grow may not.
 */
export class DiskFull extends Data.TaggedError("DiskFull")<{
  /** The store's directory. */
  readonly path: string
  /** Bytes that were free when it was looked last, and how many must be. */
  readonly freeBytes: number
  readonly neededBytes: number
  /** The file that may not grow, where the disk has room and a limit of the process or the file system has not. */
  readonly file?: string | undefined
}> {
  override get message(): string {
    const { file, freeBytes, neededBytes, path } = this
    if (file !== undefined) {
      return `${file} may not grow: raise the limit on the size of files (ulimit -f), or use a file system `
        + "that takes larger ones; writing goes on by itself when it may"
    }
    return `The disk of ${path} is nearly full (${freeBytes} bytes are free, ${neededBytes} are needed): `
      + "free some space, or remove records; writing goes on by itself when there is room"
  }
}

/** Bytes on disk are not what was written there. */
export class Corrupted extends Data.TaggedError("Corrupted")<{
  readonly path: string
  /** Byte offset in the file. */
  readonly offset: number
  readonly expected: string
  readonly actual: string
  /** Whether a salvage has found that it cannot begin. */
  readonly beyondSalvage?: boolean | undefined
}> {
  override get message(): string {
    return `${this.path} is damaged at byte ${this.offset} `
      + `(expected ${this.expected}, found ${this.actual}): ${Advice.damage(this.beyondSalvage === true)}`
  }
}

/** Another opener holds the store. */
export class Locked extends Data.TaggedError("Locked")<{
  readonly path: string
  /** Process id of the owner, when it left one. */
  readonly pid: number | undefined
}> {
  override get message(): string {
    return `${this.path} is open in ${Advice.owner(this.pid)}`
  }
}

/** The directory holds something that is not a store. */
export class NotAStore extends Data.TaggedError("NotAStore")<{
  readonly path: string
  readonly found: string
  /** Whether it was to be opened by a reader only, who makes no store. */
  readonly readOnly?: boolean
}> {
  override get message(): string {
    const advice = this.readOnly === true
      ? "name an existing store, or let Store.layer make one there first"
      : "name an empty directory or an existing store"
    return `${this.path} is not a store (found ${this.found}): ${advice}`
  }
}

/** The store was written by a newer version of this package. */
export class FormatTooNew extends Data.TaggedError("FormatTooNew")<{
  readonly path: string
  readonly format: number
  readonly supported: number
}> {
  override get message(): string {
    return `${this.path} has format ${this.format}, and this version reads up to ${this.supported}: `
      + "upgrade the heartwood package"
  }
}

/** Options that cannot hold, alone or together; all that is wrong at once. */
export class InvalidOptions
  extends Data.TaggedError("InvalidOptions")<{ readonly problems: ReadonlyArray<string> }>
{
  override get message(): string {
    return `Options of the store are wrong, or contradict each other; correct each of these: ${
      this.problems.join("; ")
    }`
  }
}

/** An argument or a resource beyond its configured limit. */
export class LimitExceeded extends Data.TaggedError("LimitExceeded")<{
  /** The limit's name in `docs/tuning.md`. */
  readonly limit: string
  readonly actual: number
  readonly maximum: number
}> {
  override get message(): string {
    const advice = Advice.limit(this.limit, this.maximum)
    return `${this.limit} is limited to ${this.maximum} and this needs ${this.actual}: ${advice}`
  }
}

/** A stored value does not fit the declared schema. */
export class Undecodable extends Data.TaggedError("Undecodable")<{
  readonly keyspace: string
  /** Version of the value's codec that wrote it; 0 where it has none. */
  readonly version: number
  /**
   * Why, where it is not the schema that refuses it: a newer declaration wrote it, it is a number out of range, a
   * migrate step threw, or there is none from its version.
   */
  readonly why?: "newer" | "range" | "step" | "unmigrated" | undefined
  /** What the migrate step threw, as it is; else where in the value it went wrong. */
  readonly cause?: unknown
}> {
  override get message(): string {
    const version = this.version === 0 ? "" : `, written with codec version ${this.version},`
    return `A value of keyspace "${this.keyspace}"${version} ${Advice.value(this.version, this.why)}`
  }
}

/** A key or a value handed in does not encode as it is declared. */
export class Unencodable extends Data.TaggedError("Unencodable")<{
  readonly keyspace: string
  readonly what: "key" | "value"
  /** How keys are declared, where one does not encode: the fingerprint of the keyspace's `Key`. */
  readonly layout?: string
  readonly cause?: unknown
}> {
  override get message(): string {
    if (this.layout !== undefined) {
      return `The key does not encode for keyspace "${this.keyspace}", whose keys are ${this.layout}: `
        + `pass ${Advice.key(this.layout)}`
    }
    return `The ${this.what} does not encode for keyspace "${this.keyspace}": `
      + "pass one that fits its declaration"
  }
}

/** The keyspace exists with another key layout. */
export class LayoutMismatch extends Data.TaggedError("LayoutMismatch")<{
  readonly keyspace: string
  readonly stored: string
  readonly declared: string
}> {
  override get message(): string {
    return `Keyspace "${this.keyspace}" is stored with key layout ${this.stored}, not ${this.declared}: `
      + "declare the stored layout, or copy the data into a keyspace of another name"
  }
}

/** A write that would leave the indexes of a keyspace behind. */
export class Unindexed extends Data.TaggedError("Unindexed")<{ readonly keyspace: string }> {
  override get message(): string {
    return `Keyspace "${this.keyspace}" has indexes that this write does not keep: write through what `
      + "Index.make answers for all of them, or declare others and run Index.build"
  }
}

/** An index that is declared and not built, or built for another version of its declaration. */
export class IndexNotReady extends Data.TaggedError("IndexNotReady")<{
  readonly keyspace: string
  readonly index: string
}> {
  override get message(): string {
    return `Index "${this.index}" of keyspace "${this.keyspace}" is not built as it is declared: `
      + "provide Index.layer, or run Index.build and wait for its end"
  }
}

/** An index does not say what the records say. */
export class IndexStale extends Data.TaggedError("IndexStale")<{
  readonly keyspace: string
  readonly index: string
}> {
  override get message(): string {
    return `Index "${this.index}" of keyspace "${this.keyspace}" was built by another function than is `
      + "declared: declare it with a new version, and run Index.build"
  }
}

/** The reducer of a keyspace threw. */
export class ReducerFailed extends Data.TaggedError("ReducerFailed")<{
  readonly keyspace: string
  readonly reducer: string
  readonly cause?: unknown
}> {
  override get message(): string {
    return `The reducer "${this.reducer}" of keyspace "${this.keyspace}" threw while it folded an operand: `
      + "correct it, or put a value in place of what it does not fold"
  }
}

/** The store was closed. */
export class Closed extends Data.TaggedError("Closed")<{}> {
  override get message(): string {
    return "The store is closed: use it inside the scope of its layer"
  }
}

/** A read-only opener was asked to write. */
export class ReadOnly extends Data.TaggedError("ReadOnly")<{ readonly operation: string }> {
  override get message(): string {
    return `Cannot ${this.operation} through Store.layerReadOnly: open the store with Store.layer`
  }
}

/** Something would have to wait, and the caller asked not to. */
export class Overloaded
  extends Data.TaggedError("Overloaded")<{ readonly actor: string; readonly waits: string }>
{
  override get message(): string {
    return `The ${this.actor} cannot take that at once, as it waits for ${this.waits}: let it `
      + "(Store.awaitDurable, Effect.yieldNow) and try again, or use the Effect API, which waits by itself"
  }
}

/** An actor died of a defect; the store stopped with it. */
export class Defective
  extends Data.TaggedError("Defective")<{ readonly actor: string; readonly cause: unknown }>
{
  override get message(): string {
    return `The ${this.actor} actor stopped on a defect (${
      describe(this.cause)
    }): open the store again and report it`
  }
}

/**
 * The snapshot asked for is older than what open snapshots keep, or had to go while it was open; or there is none yet,
 * or never will be.
 */
export class SnapshotExpired extends Data.TaggedError("SnapshotExpired")<{
  readonly requested: number
  readonly oldest: number
  /** Exclusive bound of what is visible, where something above it was asked for, or no LSN at all. */
  readonly visible?: number
}> {
  override get message(): string {
    return Advice.snapshot(this.requested, this.oldest, this.visible)
  }
}

/** What a fiber reads or writes through was left by the body that opened it. */
export class Ended
  extends Data.TaggedError("Ended")<{ readonly what: "snapshot" | "transaction" | "session" }>
{
  override get message(): string {
    if (this.what === "session") return "The session was closed or ended: open it again"
    return `The ${this.what} has ended: wait inside its body for everything that the body forks`
  }
}

/** A transaction that had lost twice ran alone, and for too long: everybody else's commits were waiting. */
export class TurnExpired extends Data.TaggedError("TurnExpired")<{ readonly millis: number }> {
  override get message(): string {
    return `The exclusive turn of a transaction ended after ${this.millis} ms: `
      + "wait for nothing slow in its body, or raise the limit turnMillis"
  }
}

/** What commits by itself was begun inside a transaction. */
export class Nested extends Data.TaggedError("Nested")<{ readonly what: string }> {
  override get message(): string {
    return `${this.what} cannot be part of a transaction: begin it outside`
  }
}

export type Reason =
  | Closed
  | Corrupted
  | Defective
  | DiskFailed
  | DiskFull
  | Ended
  | FormatTooNew
  | IndexNotReady
  | IndexStale
  | InvalidOptions
  | LayoutMismatch
  | LimitExceeded
  | Locked
  | Nested
  | NotAStore
  | Overloaded
  | ReadOnly
  | ReducerFailed
  | SnapshotExpired
  | TurnExpired
  | Undecodable
  | Unencodable
  | Unindexed

/** What every operation of a store may fail with; `reason` says which. */
export class StoreError
  extends Data.TaggedError("StoreError")<{ readonly reason: Reason; readonly cause?: unknown }>
{
  override get message(): string {
    return this.reason.message
  }
}

/** Wraps a reason, and keeps the cause it carries visible from outside. */
export const storeError = (reason: Reason): StoreError =>
  new StoreError(
    "cause" in reason && reason.cause !== undefined ? { reason, cause: reason.cause } : { reason }
  )

/** `replace` found another version than the one it expected (see `Keyspace.getEntry`). */
export class VersionMismatch extends Data.TaggedError("VersionMismatch")<{
  readonly keyspace: string
  /** LSN that the caller expected; `undefined` where it expected no record. */
  readonly expected: number | undefined
  /** LSN that is stored; `undefined` where there is no record. */
  readonly actual: number | undefined
}> {
  override get message(): string {
    return `A record of keyspace "${this.keyspace}" changed since it was read: read it again and decide again`
  }
}

/** A transaction with `attempts` lost that often: what it had read was written before it could commit. */
export class Conflict extends Data.TaggedError("Conflict")<{
  /** Where it lost last. */
  readonly keyspace: string
  readonly attempts: number
}> {
  override get message(): string {
    return `A transaction lost ${this.attempts} times, last to a commit in keyspace "${this.keyspace}": `
      + "send it again, or leave out `attempts`, and it has a turn of its own after two"
  }
}

/** Two records would have the same key of a unique index. Nothing of that write is there, in no index either. */
export class DuplicateKey extends Data.TaggedError("DuplicateKey")<{
  readonly keyspace: string
  readonly index: string
  /** Where a build met it: at the how many-th record in the order of keys. */
  readonly record?: number
}> {
  override get message(): string {
    if (this.record !== undefined) return Advice.build(this.keyspace, this.index, this.record)
    return `Another record of keyspace "${this.keyspace}" has this key of its unique index "${this.index}": `
      + "choose another one, or change that record first"
  }
}

/** The session is open already; names of sessions are for one holder at a time. */
export class SessionInUse extends Data.TaggedError("SessionInUse")<{ readonly session: string }> {
  override get message(): string {
    return `Session "${this.session}" is open already: close it there, or choose another name`
  }
}

/** A serial is out of turn, and nothing that comes before it is under way (see `Tx.once`). */
export class SerialGap extends Data.TaggedError("SerialGap")<{
  readonly serial: number
  /** What the session commits next. */
  readonly expected: number
}> {
  override get message(): string {
    return Number.isSafeInteger(this.serial) && this.serial > 0
      ? `Serial ${this.serial} is not the next one of its session: send ${this.expected} first`
      : `${this.serial} is no serial: they are whole numbers from 1 on, and the next one is ${this.expected}`
  }
}

const describe = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

/**
 * What the Wal is asked, and what comes back to it.
 *
 * Plain data: whoever asks need not know the Wal.
 */
import * as Exit from "effect/Exit"
import type { Durability } from "../../Limits.ts"
import type { Cut } from "../../log/Group.ts"
import type { SessionInUse, StoreError } from "../../StoreError.ts"
import type { Reply } from "../loop/Actor.ts"
import type { Flight } from "./Flights.ts"
import type { Intent } from "./Intent.ts"
import type { Serials } from "./Serials.ts"
import type { Appended, Piece, Stream } from "./Streams.ts"
import type { Turn } from "./Turns.ts"

/** A large value that is to be written anew, if the record of that version still has it from LSN `from`. */
export interface Move {
  readonly keyspace: number
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly from: number
  readonly version: number
}

/** A transaction that asks to be committed. */
export interface Commit {
  readonly _tag: "Commit"
  readonly intent: Intent
  /** Where its writes are, if they are in the log already; the intent has none then. */
  readonly stream?: Stream | undefined
  /** The LSN of the record, or `undefined` where something that it read has been written since. */
  readonly done: Reply<number | undefined, StoreError>
}

/** Values that are to be written anew: no commit, and nobody's but the janitor's. */
export interface Relocate {
  readonly _tag: "Relocate"
  readonly moves: ReadonlyArray<Move>
  readonly done: Reply<void, StoreError>
}

/** Sessions that are to be ended, if nobody but `by` has them open; answers how many were. */
export interface EndSessions {
  readonly _tag: "EndSessions"
  readonly names: ReadonlyArray<string>
  readonly by: Serials | undefined
  readonly done: Reply<number, StoreError>
}

/** Some of the writes of a transaction that is written as pieces. */
export interface AddPiece {
  readonly _tag: "Piece"
  readonly stream: Stream
  readonly piece: Piece
  readonly done: Reply<Appended, StoreError>
}

/** What becomes a record of the log. */
export type Append = Commit | Relocate | EndSessions | AddPiece

export type Message =
  | Append
  /** Waits until everything below `lsn` has the durability. */
  | {
    readonly _tag: "Await"
    readonly lsn: number
    readonly durability: Durability
    readonly done: Reply<void, StoreError>
  }
  /** Asks for an exclusive turn. */
  | { readonly _tag: "Turn"; readonly turn: Turn; readonly done: Reply<void, StoreError> }
  /** A turn that was held has ended without a commit. */
  | { readonly _tag: "TurnOver"; readonly turn: Turn }
  /** Opens a session. */
  | {
    readonly _tag: "Claim"
    readonly name: string
    readonly done: Reply<Serials, SessionInUse | StoreError>
  }
  | { readonly _tag: "Cut"; readonly done: Reply<Cut, StoreError> }
  | { readonly _tag: "Idle" }
  /** A write of the log has ended. */
  | { readonly _tag: "Flushed"; readonly flight: Flight; readonly exit: Exit.Exit<void, StoreError> }
  /** The Tree has moved its visible LSN, or the log has become shorter. */
  | { readonly _tag: "Progress" }

/** Replies to whoever waited: with a value, or the error. */
export const reply = <A>(done: Reply<A, StoreError>, value: A) => (error: StoreError | undefined): void =>
  done(error === undefined ? Exit.succeed(value) : Exit.fail(error))

/** Asks to wait for a durability of everything below an LSN. */
export const awaiting =
  (lsn: number, durability: Durability) => (done: Reply<void, StoreError>): Message => ({
    _tag: "Await",
    lsn,
    durability,
    done
  })

/** Asks for a commit. */
export const commitOf =
  (intent: Intent, stream: Stream | undefined) => (done: Reply<number | undefined, StoreError>): Message => ({
    _tag: "Commit",
    intent,
    stream,
    done
  })

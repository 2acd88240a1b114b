/**
 * What the Wal is given, and what it is to others.
 *
 * Plain declarations: whoever needs the shape of the Wal need not know how it works.
 */
import type * as Effect from "effect/Effect"
import type { Durability } from "../Limits.ts"
import type { Cut } from "../log/Group.ts"
import type { OpenStreams } from "../log/Pieces.ts"
import type { RecordReader } from "../log/RecordReader.ts"
import type { SessionInUse, StoreError } from "../StoreError.ts"
import type { Admission } from "./Admission.ts"
import type { GroupSpan } from "./commit/GroupSpan.ts"
import type { Intent, Names } from "./commit/Intent.ts"
import type { Message, Move } from "./commit/Request.ts"
import type { Serials } from "./commit/Serials.ts"
import type { Sessions } from "./commit/Sessions.ts"
import type { Appended, Piece, Stream, Streams } from "./commit/Streams.ts"
import type { Turn } from "./commit/Turns.ts"
import type { Watch } from "./commit/Watch.ts"
import type { Window } from "./commit/Window.ts"
import type { Reserve } from "./files/Reserve.ts"
import type { Counters, Options as GroupOptions } from "./GroupCommit.ts"
import type * as Actor from "./loop/Actor.ts"

export interface Options extends GroupOptions {
  readonly names: Names
  readonly sessions: Sessions
  readonly now: () => number
  /** Hands the record that the reader is at to the Tree. */
  readonly apply: (reader: RecordReader) => void
  /** Hands the cut to the Tree, behind every record below it. */
  readonly cut: (cut: Cut, streams: ReadonlyArray<number>) => void
  /** Refuses what has no room on a full disk. */
  readonly reserve: Pick<Reserve, "refusal" | "refusalOfPiece" | "refusalOfUpkeep">
  /** The streams of pieces in the log; none at first. */
  readonly streams: OpenStreams
  /** Whether commits must wait, as the Tree is behind or the log long, and whether that is of any use. */
  readonly admission: Admission
}

export interface Wal extends Actor.Actor<Message> {
  /**
   * Hands an intent over at once. The answer waits for its LSN, or for `undefined` where what it read has been written
   * since.
   */
  readonly submit: (intent: Intent, stream?: Stream) => Effect.Effect<number | undefined, StoreError>
  /** Writes a piece of a transaction, without waiting for its sync. */
  readonly addPiece: (stream: Stream, piece: Piece) => Effect.Effect<Appended, StoreError>
  /** Gives up a transaction that is written as pieces; does nothing where it has been committed. */
  readonly abandon: (stream: Stream) => void
  readonly streams: Streams
  /** Waits for an exclusive turn; whoever asks ends it, or commits in it. */
  readonly takeTurn: (turn: (turn: Turn) => void) => Effect.Effect<void, StoreError>
  readonly endTurn: (turn: Turn) => void
  readonly window: Window
  readonly watch: Watch
  readonly awaitLsn: (lsn: number, durability: Durability) => Effect.Effect<void, StoreError>
  /** The same for `synced`, without an Effect: who waits for the same sync is given the same promise. */
  readonly promiseDurable: (lsn: number) => Promise<void>
  /** Writes values anew, and waits until that is synced. */
  readonly relocate: (moves: ReadonlyArray<Move>) => Effect.Effect<void, StoreError>
  /** For whoever takes a checkpoint, or holds them back: past the mailbox where those fill it who wait for that. */
  readonly cut: Effect.Effect<Cut, StoreError>
  readonly awaitCut: (lsn: number) => Effect.Effect<void, StoreError>
  /** Opens a session as of everything that was handed over before. */
  readonly claim: (name: string) => Effect.Effect<Serials, SessionInUse | StoreError>
  /** Ends sessions that nobody but `by` has open, and waits until that is synced; answers how many. */
  readonly endSessions: (names: ReadonlyArray<string>, by?: Serials) => Effect.Effect<number, StoreError>
  /** Something that commits may have waited for has moved: visible LSN, length of the log. */
  readonly progress: () => void
  /** Whether a commit handed over now would be appended at once. */
  readonly ready: () => boolean
  /** How long commits have waited for room so far. */
  readonly stalledMillis: () => number
  readonly names: Names
  readonly counters: Counters
  /** Exclusive turns that were given. */
  readonly turns: () => number
  /** What groups of commits took. */
  readonly span: GroupSpan
}

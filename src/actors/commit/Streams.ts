/**
 * Transactions on their way into the log as pieces, before they commit.
 *
 * A part of the Wal. A body that has written more than it may hold in memory hands over what it has, piece by piece;
 * its commit is one small record at the end. A stream keeps the log from its first piece on, so it may take only so
 * many bytes and so much time.
 *
 * ```
 *   begun ── piece, piece … ──▶ open ── commit ──▶ committed: the Tree applies the pieces
 *                                └── abandoned, or beyond a limit ──▶ aborted: nothing of it is ever seen
 * ```
 *
 * I1 A stream that has failed takes no more pieces and cannot commit: a transaction is whole or nothing.
 * I2 A checkpoint knows the first piece of every stream that is open at its cut.
 */
import { invariant } from "../../Invariant.ts"
import type { Limits } from "../../Limits.ts"
import { NO_LSN } from "../../log/Lsn.ts"
import type { OpenStreams, PiecePlace, Pieces } from "../../log/Pieces.ts"
import { writeBytes } from "../../log/Record.ts"
import type { RecordReader } from "../../log/RecordReader.ts"
import type { Tail } from "../../log/Tail.ts"
import { Ended, LimitExceeded, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import type { KeyspaceIntent, Names } from "./Intent.ts"
import { StreamNames } from "./StreamNames.ts"

/** What is to become one piece. */
export interface Piece {
  readonly keyspaces: ReadonlyArray<KeyspaceIntent>
  /** The pieces from this number on are to be as if they had not been written; -1 where all of them stay. */
  readonly discard: number
}

/** A piece that is in the log. */
export interface Appended extends PiecePlace {
  readonly number: number
}

/** One transaction that is written as pieces. */
export class Stream {
  readonly names = new StreamNames()
  /** Undefined until the first piece is in the log. */
  pieces: Pieces | undefined
  /** When its first piece was written, in milliseconds since 1970. */
  begun = 0
  /** Why it has failed. */
  error: StoreError | undefined
  ended = false
  /** Memory that the body holds to find its writes again. */
  ownBytes = 0
  /** Whether its transaction has the exclusive turn. */
  readonly isInTurn: boolean

  constructor(options: { readonly isInTurn: boolean }) {
    this.isInTurn = options.isInTurn
  }
}

export interface Options {
  readonly limits: Limits
  readonly tail: Tail
  readonly names: Names
  readonly streams: OpenStreams
  readonly reserve: { readonly refusalOfPiece: (bytes: number) => StoreError | undefined }
}

export class Streams {
  readonly counters = { pieces: 0, aborts: 0 }
  private readonly options: Options
  private readonly open = new Set<Stream>()
  /** Streams whose abort is not in the log yet: nobody waits for it, and nothing depends on it. */
  private readonly aborting: Array<Pieces> = []

  constructor(options: Options) {
    this.options = options
  }

  /** Streams that are open. */
  get size(): number {
    return this.open.size
  }

  /** Memory that is held for them. */
  get bytes(): number {
    let bytes = this.options.streams.bytes
    for (const { ownBytes } of this.open) bytes += ownBytes
    return bytes
  }

  /** Whether there are aborts to be written. */
  get isAborting(): boolean {
    return this.aborting.length > 0
  }

  /** Writes a piece into the tail, to be appended; or answers why not. */
  begin(stream: Stream, piece: Piece, millis: number): StoreError | undefined {
    const { limits: { streamBytes }, names, tail } = this.options
    const refusal = this.refusal(stream, millis)
    if (refusal !== undefined) return refusal
    const bytes = (stream.pieces?.logBytes ?? 0) + bytesOf(piece)
    if (bytes > streamBytes) return this.fail(stream, exceeded("streamBytes", bytes, streamBytes))
    const mismatch = stream.names.mismatch(names, piece.keyspaces) ??
      this.options.reserve.refusalOfPiece(bytesOf(piece))
    if (mismatch !== undefined) return this.fail(stream, mismatch)
    const number = stream.pieces?.count ?? 0
    if (number === 0) stream.begun = millis
    const writer = tail.beginPiece(millis, stream.pieces?.first ?? NO_LSN, number)
    if (piece.discard >= 0) {
      stream.names.discard(piece.discard)
      writer.discard(piece.discard)
    }
    stream.names.encode(writer, names, number, piece.keyspaces)
    return undefined
  }

  /** The piece that `reader` is at has been appended. */
  appended(stream: Stream, reader: RecordReader): Appended {
    const { streams } = this.options
    const problem = streams.add(reader)
    invariant(problem === undefined, "Pieces I1")
    stream.pieces ??= streams.find(reader.lsn)
    invariant(stream.pieces !== undefined, "Streams I1")
    this.open.add(stream)
    this.counters.pieces++
    const number = stream.pieces.count - 1
    return { ...stream.pieces.at(number), number }
  }

  /**
   * Writes the commit of a stream into the tail, to be appended; or answers why not, "stale" where a keyspace that it
   * writes to is another one now.
   */
  beginCommit(stream: Stream, millis: number): StoreError | "stale" | undefined {
    const refusal = this.refusal(stream, millis)
    if (refusal !== undefined) return refusal
    const { names } = this.options
    if (stream.names.isStale(names)) return "stale"
    const unindexed = stream.names.unindexed(names)
    if (unindexed !== undefined) return this.fail(stream, unindexed)
    const { pieces } = stream
    invariant(pieces !== undefined, "Streams I1")
    const { checksum, count, first } = pieces
    this.options.tail.beginCommit(millis, { first, pieces: count, checksum: checksum >>> 0 })
    return undefined
  }

  /** The commit record of a stream has been appended. */
  committed(stream: Stream): void {
    stream.ended = true
    stream.names.publish(this.options.names)
    this.open.delete(stream)
  }

  /**
   * Gives a stream up, unless it has ended: nothing of it will be seen, and the log is not kept for it. Answers whether
   * there is an abort to be written.
   */
  abandon(stream: Stream): boolean {
    if (stream.ended) return false
    stream.ended = true
    this.open.delete(stream)
    const { pieces } = stream
    if (pieces === undefined) return false
    this.options.streams.end(pieces.first)
    this.aborting.push(pieces)
    return true
  }

  /** Writes the next abort into the tail, to be appended. */
  beginAbort(millis: number): void {
    const pieces = this.aborting.shift()
    invariant(pieces !== undefined, "Streams I1")
    this.options.tail.beginAbort(millis, pieces.first, pieces.count)
    this.counters.aborts++
  }

  /** LSNs of the first pieces of all streams that are open at a cut; those that are too old are not any more. */
  atCut(millis: number): ReadonlyArray<number> {
    for (const stream of this.open) this.refusal(stream, millis)
    return this.options.streams.firsts
  }

  private refusal(stream: Stream, millis: number): StoreError | undefined {
    const { streamAgeMillis } = this.options.limits
    if (stream.error !== undefined) return stream.error
    // What was on its way when the body was interrupted.
    if (stream.ended) return storeError(new Ended({ what: "transaction" }))
    const age = millis - stream.begun
    if (stream.pieces === undefined || age <= streamAgeMillis) return undefined
    return this.fail(stream, exceeded("streamAgeMillis", age, streamAgeMillis))
  }

  private fail(stream: Stream, error: StoreError): StoreError {
    stream.error = error
    this.abandon(stream)
    return error
  }
}

/** Log that the writes of a piece take, padding included. */
const bytesOf = ({ keyspaces }: Piece): number => {
  let bytes = 0
  for (const keyspace of keyspaces) {
    for (const { key, value } of keyspace.writes()) bytes += writeBytes(key.length, value?.length ?? 0)
  }
  return bytes
}

const exceeded = (limit: string, actual: number, maximum: number): StoreError =>
  storeError(new LimitExceeded({ limit, actual, maximum }))

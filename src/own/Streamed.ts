/**
 * What a transaction has written beyond what it may hold in memory: runs in the log, which it reads back.
 *
 * ```
 *   WriteSet ── more than transactionBytes ──▶ Run (held) ── piece by piece ──▶ Run (in the log) ── commit
 *                                               └── its step fails ──▶ discarded
 * ```
 *
 * I1 Runs are written in their order, one piece at a time; so what a failed step has written are the last pieces.
 * I2 Once a piece could not be written the transaction cannot commit, whatever its body makes of the error.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import { Stream } from "../actors/commit/Streams.ts"
import type { Machine } from "../Machine.ts"
import type { StoreError } from "../StoreError.ts"
import type { WriteSet } from "../WriteSet.ts"
import { Reader } from "./Reader.ts"
import { Run } from "./Run.ts"

/** The larger a stream, the larger its pieces, so that their index stays small. */
const leastPieceBytes = 32 * 1024
const mostPieceBytes = 1024 * 1024
const piecesAtLeast = 1_024

export class Streamed {
  /** Oldest first. */
  readonly runs: Array<Run> = []
  /** Grows with every change of the runs. */
  generation = 0
  readonly reader: Reader
  private readonly machine: Machine
  private readonly writes: WriteSet
  private readonly stream: Stream
  private readonly lock = Semaphore.makeUnsafe(1)
  /** Pieces from this number on are to be discarded with the next one. */
  private discardFrom = -1
  private failure: StoreError | undefined

  constructor(machine: Machine, writes: WriteSet, options: { readonly isInTurn: boolean }) {
    this.machine = machine
    this.stream = new Stream(options)
    this.writes = writes
    this.reader = new Reader(machine, this.runs)
  }

  /** Brings what is in memory into the log. */
  readonly spill: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    if (this.failure !== undefined) return Exit.fail(this.failure)
    const { bytes } = this.writes
    const layers = this.writes.take()
    for (const layer of layers) this.runs.push(new Run(layer, bytes / layers.length))
    this.changed()
    return this.lock.withPermit(this.writeAll)
  })

  /** The same, for the commit; undefined where nothing is left in the log of what was written. */
  readonly finish: Effect.Effect<Stream | undefined, StoreError> = Effect.suspend(() => {
    if (this.failure !== undefined) return Exit.fail(this.failure)
    if (this.runs.length === 0) {
      this.abandon()
      return Exit.succeed(undefined)
    }
    const discards = Effect.suspend(() => this.discardFrom < 0 ? Exit.void : this.piece(undefined))
    return this.spill.pipe(Effect.andThen(this.lock.withPermit(discards)), Effect.as(this.stream))
  })

  /** The runs from `count` on are as if they had not been written. */
  truncate(count: number): void {
    if (count === this.runs.length) return
    for (const run of this.runs.splice(count)) {
      run.discarded = true
      if (run.from >= 0) this.discard(run.from)
    }
    this.changed()
  }

  /** Nothing of it will be seen; does nothing once it is committed. */
  abandon(): void {
    this.machine.abandon(this.stream)
  }

  private readonly writeAll: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const run = this.runs.find(({ isWritten }) => !isWritten)
    return run === undefined ? Exit.void : Effect.andThen(this.piece(run), this.writeAll)
  })

  /** Writes the next piece of a run; one that only discards others where there is none. */
  private piece(run: Run | undefined): Effect.Effect<void, StoreError> {
    const { machine, stream } = this
    const discard = this.discardFrom
    this.discardFrom = -1
    const added = machine.addPiece(stream, { keyspaces: run?.take(this.pieceBytes) ?? [], discard })
    // A piece that was handed over is in the log: whether it gets there is not to be left open.
    return Effect.uninterruptible(Effect.matchEffect(added, {
      onSuccess: (appended) => {
        run?.appended(appended, (name) => stream.names.idOf(name))
        if (run?.discarded === true) this.discard(run.from)
        this.changed()
        return Exit.void
      },
      onFailure: (error) => {
        this.failure ??= error
        return Exit.fail(error)
      }
    }))
  }

  private discard(piece: number): void {
    this.discardFrom = this.discardFrom < 0 ? piece : Math.min(piece, this.discardFrom)
  }

  private changed(): void {
    this.generation++
    let bytes = this.reader.cachedBytes
    for (const { heldBytes, indexBytes } of this.runs) bytes += heldBytes + indexBytes
    this.stream.ownBytes = bytes
  }

  private get pieceBytes(): number {
    const { segmentBytes, undurableBytes } = this.machine.limits
    const bytes = Math.max(leastPieceBytes, (this.stream.pieces?.logBytes ?? 0) / piecesAtLeast)
    return Math.min(bytes, mostPieceBytes, segmentBytes / 4, undurableBytes / 4)
  }
}

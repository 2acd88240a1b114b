/**
 * A large commit on its way into the tree: its pieces are read back from the log one after another, and applied in
 * slices between which everybody else has a turn.
 *
 * A part of the Tree. All of it has the LSN of the commit record as its version, so the visible LSN stays below until
 * the last write is applied; a store that stops in the middle shows nothing of it.
 *
 * I1 Pieces are applied in their order, and the discarded ones not at all.
 * I2 Memory is held for one piece at a time.
 */
import * as Effect from "effect/Effect"
import { invariant } from "../../Invariant.ts"
import type { Limits } from "../../Limits.ts"
import type { OpenStreams, PiecePlace, Pieces } from "../../log/Pieces.ts"
import { RecordReader } from "../../log/RecordReader.ts"
import type { StoreError } from "../../StoreError.ts"
import type { Tree as Kernel } from "../../tree/Tree.ts"
import * as Values from "../files/Values.ts"

/** What is applied out of the log of a store; `whenDone` has `resume` of the Tree called behind an effect. */
export const over = (
  { limits, log, streams, tree: { pages } }: {
    readonly limits: Limits
    readonly log: Values.Log
    readonly streams: OpenStreams
    readonly tree: Kernel
  },
  whenDone: (effect: Effect.Effect<void, StoreError>) => void
): { readonly streams: OpenStreams; readonly slices: Options } => ({
  streams,
  slices: {
    applyInOneSlice: limits.applyInOneSlice,
    readPiece: (place, read) => whenDone(Effect.map(Values.fetch(log, place), read)),
    pause: (resumed) => whenDone(Effect.sync(resumed)),
    hasRoom: () => pages.captured.bytes < limits.stagingBytes
  }
})

export interface Options {
  /** Writes that are applied without a pause. */
  readonly applyInOneSlice: number
  /** Reads a piece from the log, verified; `resume` of the Tree is called behind it. */
  readonly readPiece: (place: PiecePlace, read: (bytes: Uint8Array) => void) => void
  /** Has `resume` of the Tree called when others have had their turn. */
  readonly pause: (resumed: () => void) => void
  /** Whether there is room for images that a checkpoint in flight needs; `resume` is called when there is again. */
  readonly hasRoom: () => boolean
}

/** How far one has come. */
export class Slices {
  /** LSN of the commit record, and its exclusive end. */
  readonly lsn: number
  readonly end: number
  /** Time of the commit. */
  readonly millis: number
  private readonly options: Options
  private readonly pieces: Pieces
  /** At the write that is to be applied next, if it is `pending`. */
  private readonly reader = new RecordReader()
  private pending = false
  private piece = 0
  private bytes: Uint8Array | undefined
  /** Something that resumes it is under way. */
  private waiting = false

  /** `commit` is at the commit record. */
  constructor(options: Options, pieces: Pieces, commit: RecordReader) {
    this.options = options
    this.pieces = pieces
    this.lsn = commit.lsn
    this.end = commit.lsn + commit.recordEnd - commit.recordStart
    this.millis = commit.millis
  }

  /** Bytes of the piece in memory. */
  get heldBytes(): number {
    return this.bytes?.length ?? 0
  }

  /**
   * Applies one slice, write by write with `apply`, which answers false where the write must wait, after whatever it
   * waits for was asked for; `applyMany` takes what it can before that. True once all pieces are applied.
   */
  next(apply: (reader: RecordReader) => boolean, applyMany: (reader: RecordReader) => number): boolean {
    const { options, pieces, reader } = this
    let left = options.applyInOneSlice
    while (!this.waiting) {
      while (this.piece < pieces.count && pieces.isDiscarded(this.piece)) this.piece++
      if (this.piece === pieces.count) return true
      if (this.bytes === undefined) {
        this.fetch()
        continue
      }
      for (;;) {
        if (!this.pending && left > 0 && options.hasRoom()) left -= Math.min(left, applyMany(reader))
        if (!this.pending && !reader.nextWrite()) break
        this.pending = true
        if (left-- === 0) this.pause()
        if (this.waiting || !options.hasRoom() || !apply(reader)) return false
        this.pending = false
      }
      invariant(reader.fault === undefined, "Slices I1")
      this.bytes = undefined
      this.piece++
    }
    return false
  }

  private fetch(): void {
    this.waiting = true
    const place = this.pieces.at(this.piece)
    this.options.readPiece(place, (bytes) => {
      this.bytes = bytes
      invariant(this.reader.open(bytes, 0, bytes.length, place.lsn, 1).nextRecord(), "Slices I1")
      this.waiting = false
    })
  }

  /** Gives everybody else a turn. */
  pause(): void {
    this.waiting = true
    this.options.pause(() => {
      this.waiting = false
    })
  }
}

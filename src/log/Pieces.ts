/**
 * Streams of pieces: transactions that are in the log before it is known whether they count.
 *
 * A piece says which stream it belongs to, and is nothing by itself: only the commit record at the end of a stream
 * makes its pieces writes, by their number and a checksum over all of them. What is kept of a piece is where it is and
 * what it hashes to, so that it can be read again; its writes are not.
 *
 * I1 A stream has the pieces 0 to count - 1, in the order of the log, and none of another life of the store.
 * I2 A discarded piece counts in number and checksum, and has no writes.
 *
 * Must not know who reads the log, nor what becomes of the writes.
 */
import type { Lsn } from "./Lsn.ts"
import { Op } from "./Record.ts"
import type { Incarnation } from "./Record.ts"
import type { RecordReader } from "./RecordReader.ts"

/** A piece in the log, as it is read again. */
export interface PiecePlace {
  readonly lsn: Lsn
  readonly bytes: number
  /** crc32 of the record. */
  readonly checksum: number
}

/** Bytes that a piece takes here. */
const rowBytes = 17

/** The pieces of one stream. */
export class Pieces {
  readonly first: Lsn
  readonly incarnation: Incarnation
  count = 0
  /** crc32 over the bytes of all pieces. */
  checksum = 0
  /** Bytes of all pieces in the log. */
  logBytes = 0
  private lsns = new Float64Array(16)
  private lengths = new Uint32Array(16)
  private checksums = new Uint32Array(16)
  private discarded = new Uint8Array(16)

  constructor(first: Lsn, incarnation: Incarnation) {
    this.first = first
    this.incarnation = incarnation
  }

  /** Memory that is held. */
  get bytes(): number {
    return this.lsns.length * rowBytes
  }

  at(index: number): PiecePlace {
    return {
      lsn: this.lsns[index] as number,
      bytes: this.lengths[index] as number,
      checksum: this.checksums[index] as number
    }
  }

  isDiscarded(index: number): boolean {
    return this.discarded[index] === 1
  }

  /** Adds the piece that `reader` is at, before any of its writes; answers the rule that it breaks. */
  add(reader: RecordReader): string | undefined {
    const { count } = this
    if (reader.streamNumber !== count) return `piece ${reader.streamNumber} after ${count} pieces`
    if (count === this.lsns.length) this.grow()
    this.lsns[count] = reader.lsn
    this.lengths[count] = reader.recordEnd - reader.recordStart
    this.checksums[count] = reader.recordChecksum(0)
    this.checksum = reader.recordChecksum(this.checksum)
    this.logBytes += reader.recordEnd - reader.recordStart
    this.count++
    // They stand before every other write.
    while (reader.nextWrite() && reader.op === Op.discard) this.discarded.fill(1, reader.keyspace, count)
    return undefined
  }

  private grow(): void {
    const length = this.lsns.length * 2
    const { checksums, discarded, lengths, lsns } = this
    this.lsns = new Float64Array(length)
    this.lsns.set(lsns)
    this.lengths = new Uint32Array(length)
    this.lengths.set(lengths)
    this.checksums = new Uint32Array(length)
    this.checksums.set(checksums)
    this.discarded = new Uint8Array(length)
    this.discarded.set(discarded)
  }
}

/** The streams that have neither a commit nor an abort yet. */
export class OpenStreams {
  private readonly open = new Map<Lsn, Pieces>()

  /** Memory that is held. */
  get bytes(): number {
    let bytes = 0
    for (const pieces of this.open.values()) bytes += pieces.bytes
    return bytes
  }

  /** LSNs of the first pieces, oldest first. */
  get firsts(): ReadonlyArray<Lsn> {
    return [...this.open.keys()].sort((a, b) => a - b)
  }

  find(first: Lsn): Pieces | undefined {
    return this.open.get(first)
  }

  /**
   * Adds the piece that `reader` is at to its stream. One whose stream is not open belongs to a transaction that was
   * given up: it is passed over. Answers the rule that is broken.
   */
  add(reader: RecordReader): string | undefined {
    const { streamFirst: first, streamIncarnationHigh: high, streamIncarnationLow: low } = reader
    if (reader.streamNumber === 0) this.open.set(first, new Pieces(first, { low, high }))
    const pieces = this.open.get(first)
    if (pieces === undefined) return undefined
    const { incarnation } = pieces
    if (incarnation.low !== low || incarnation.high !== high) return "a piece of another life"
    return pieces.add(reader)
  }

  /** The rule that the commit that `reader` is at breaks, if any. */
  fault(reader: RecordReader): string | undefined {
    const pieces = this.open.get(reader.streamFirst)
    if (pieces === undefined) return `no piece at LSN ${reader.streamFirst}`
    const { checksum, count, incarnation } = pieces
    const { streamIncarnationHigh: high, streamIncarnationLow: low } = reader
    if (incarnation.low !== low || incarnation.high !== high) return "pieces of another life"
    if (reader.streamNumber !== count) return `${count} pieces instead of ${reader.streamNumber}`
    return reader.streamChecksum === checksum >>> 0 ? undefined : `pieces that hash to ${checksum >>> 0}`
  }

  /** The stream has ended: with a commit, an abort, or with the life that it was in. */
  end(first: Lsn): Pieces | undefined {
    const pieces = this.open.get(first)
    this.open.delete(first)
    return pieces
  }

  endAll(): void {
    this.open.clear()
  }
}

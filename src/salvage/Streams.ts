/**
 * Transactions that were written as pieces, on the way through a log that may end anywhere.
 *
 * Pieces are kept in memory until the end of their stream is met, so what is open takes as much memory as it took log.
 *
 * I1 A commit is applied with exactly its pieces, or not at all.
 */
import { GROUP_HEADER_BYTES, GroupKind } from "../log/Group.ts"
import { OpenStreams } from "../log/Pieces.ts"
import { RecordType } from "../log/Record.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { ScannedGroup } from "../log/ScanAnswer.ts"

export class Streams {
  private readonly open = new OpenStreams()
  /** Records of the pieces, by the LSN of the first one. */
  private readonly bytes = new Map<number, Array<Buffer>>()

  /** A life of the store ends what was open in the one before. */
  group({ kind }: ScannedGroup): void {
    if (kind === GroupKind.open) this.clear()
  }

  clear(): void {
    this.open.endAll()
    this.bytes.clear()
  }

  /** Follows a group of which nothing is applied; false where it commits something whose pieces are not all there. */
  follow(group: ScannedGroup): boolean {
    this.group(group)
    const { bytes, kind, lsn, records } = group
    if (kind !== GroupKind.data) return true
    const reader = new RecordReader()
    reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
    while (reader.nextRecord()) {
      if (reader.type !== RecordType.commit) this.note(reader)
      else if (this.take(reader) === undefined) return false
    }
    return true
  }

  /** Takes note of the record that `reader` is at, if it is a piece or gives a stream up. */
  note(reader: RecordReader): void {
    const { bytes, recordEnd, recordStart, streamFirst, streamNumber, type } = reader
    if (type === RecordType.abort) return this.end(streamFirst)
    if (type !== RecordType.piece) return
    if (streamNumber === 0) this.bytes.set(streamFirst, [])
    this.bytes.get(streamFirst)?.push(Buffer.from(bytes.subarray(recordStart, recordEnd)))
    // A piece that does not fit makes its commit one that cannot be applied.
    if (this.open.add(reader) !== undefined) this.end(streamFirst)
  }

  /** The pieces that a commit makes count, with a reader before the writes of each; undefined where any is missing. */
  take(commit: RecordReader): Array<RecordReader> | undefined {
    const { streamFirst } = commit
    if (this.open.fault(commit) !== undefined) return undefined
    const pieces = this.open.end(streamFirst)
    const bytes = this.bytes.get(streamFirst) ?? []
    this.bytes.delete(streamFirst)
    const readers: Array<RecordReader> = []
    for (const [index, record] of bytes.entries()) {
      if (pieces === undefined || pieces.isDiscarded(index)) continue
      const reader = new RecordReader().open(record, 0, record.length, pieces.at(index).lsn, 1)
      if (reader.nextRecord()) readers.push(reader)
    }
    return readers
  }

  private end(first: number): void {
    this.open.end(first)
    this.bytes.delete(first)
  }
}

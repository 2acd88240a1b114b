/**
 * The end of the log in memory: the open group that is being appended to, and the sealed groups before it that are
 * not yet released (hybrid log: tail, read-only, head).
 *
 * A record's address is fixed when it is appended and never changes. What was sealed is immutable: it may be on its
 * way to the disk. Writes no file and waits for nothing; whoever drives it takes sealed groups in order, writes
 * each at its segment's place (creating the segment when its first group comes), and tells what became durable.
 *
 * I1 Groups are sealed in address order and chained without a gap, across segments too.
 * I2 Every group leaves room for the seal of its segment.
 * I3 The durable LSN only grows, and never passes the end of the last sealed group.
 * I4 Only what is durable is released.
 * I5 No record is being written when a group is sealed.
 */
import { invariant } from "../Invariant.ts"
import { Spares } from "../Spares.ts"
import { GROUP_HEADER_BYTES, GroupKind, sealGroup } from "./Group.ts"
import type { Cut, StoreId } from "./Group.ts"
import type { Lsn } from "./Lsn.ts"
import { isLsn, NO_LSN } from "./Lsn.ts"
import { RecordType } from "./Record.ts"
import type { Incarnation, SessionSerial, TraceContext } from "./Record.ts"
import type { RecordReader } from "./RecordReader.ts"
import { makeRecordBuffer, RecordWriter } from "./RecordWriter.ts"
import type { RecordBuffer } from "./RecordWriter.ts"
import { MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, segmentAt } from "./Segment.ts"
import type { Segment } from "./Segment.ts"

/** A group that will not change any more. `bytes` are valid until it is released. */
export interface SealedGroup {
  readonly kind: GroupKind
  readonly lsn: Lsn
  /** Exclusive end: LSN of the next group. */
  readonly end: Lsn
  readonly bytes: Buffer
  readonly records: number
  readonly checksum: number
  /** Where it stands; its file has to exist before the group is written. */
  readonly segment: Segment
  /** Of a seal, the segment after it. Its name has to be durable before the seal is written: a seal is a promise. */
  next: Segment | undefined
}

/** A sealed group and the buffer to reuse when it is released. */
interface Held {
  readonly group: SealedGroup
  readonly buffer: RecordBuffer
}

export interface TailOptions {
  readonly storeId: StoreId
  /** Of this life; random, unlike that of `at`. */
  readonly incarnation: Incarnation
  readonly segmentBytes: number
  /** Values above this many bytes carry a checksum of their own. */
  readonly inlineValueBytes: number
  /** And so do those that take more than this with their key, each padded to words; no such limit by default. */
  readonly inlinePairBytes?: number
  /** Where the log goes on: the end that recovery adopted and made durable, or the beginning. */
  readonly at: Cut
  /** The segment of `at`; `undefined` if that one is still to be made. */
  readonly segment: Segment | undefined
  /** Buffers of released groups are kept for the next ones up to so much. */
  readonly pooledBytes?: number
}

const POOLED_BYTES = 8 * 1024 * 1024
const FIRST_BUFFER_BYTES = 64 * 1024
/** A new buffer is as large as the last group needed, up to this. */
const USUAL_BYTES = 1024 * 1024

export class Tail {
  /** The segment that the open group is in. */
  segment: Segment
  /** Everything below is durable, and said to be so in every group sealed from now on. */
  durableLsn: Lsn
  /** LSN of the open group: exclusive end of the last sealed one. */
  groupLsn: Lsn
  /** Records in the open group. */
  records = 0

  private readonly options: TailOptions
  private readonly writer: RecordWriter
  private sealed: Array<Held> = []
  private readonly pool = new Spares<RecordBuffer>()
  private handedOut = 0
  private sealedBytes = 0
  private pooledBytes = 0
  /** Size of new buffers: one that must grow is copied, and what it leaves behind is the collector's. */
  private usualBytes = FIRST_BUFFER_BYTES
  private previousChecksum: number
  private incarnation: Incarnation
  private lastStart = 0
  private lastLsn: Lsn = NO_LSN

  /** Begins a life: the first sealed group is its open group. */
  constructor(options: TailOptions) {
    const { at, segmentBytes } = options
    invariant(segmentBytes >= MIN_SEGMENT_BYTES && segmentBytes <= MAX_SEGMENT_BYTES, "Tail I2")
    invariant(segmentBytes % 8 === 0 && isLsn(at.lsn), "Tail I1")
    this.options = options
    this.segment = options.segment ?? segmentAt(at, segmentBytes, GROUP_HEADER_BYTES)
    this.durableLsn = at.lsn
    this.groupLsn = at.lsn
    this.previousChecksum = at.previousChecksum
    this.incarnation = at.incarnation
    this.writer = new RecordWriter({
      buffer: makeRecordBuffer(FIRST_BUFFER_BYTES),
      headroomBytes: GROUP_HEADER_BYTES,
      inlineValueBytes: options.inlineValueBytes,
      inlinePairBytes: options.inlinePairBytes ?? Infinity
    })
    // A segment without room for the open group is sealed first, still in the name of the life before.
    if (!this.fits(GROUP_HEADER_BYTES)) this.rotate(GROUP_HEADER_BYTES)
    this.incarnation = options.incarnation
    this.header(GroupKind.open)
  }

  /** Exclusive end of everything appended. */
  get end(): Lsn {
    return this.records === 0 ? this.groupLsn : this.groupLsn + this.writer.recordStart
  }

  /** Oldest address in memory. */
  get head(): Lsn {
    return this.sealed[0]?.group.lsn ?? this.groupLsn
  }

  /** Bytes that the open group would have on disk; 0 while it has no record. */
  get openBytes(): number {
    return this.records === 0 ? 0 : this.writer.recordStart
  }

  /** All memory held: open group, sealed groups, pooled buffers. */
  get memoryBytes(): number {
    return this.writer.bytes.length + this.sealedBytes + this.pooledBytes
  }

  /** Begins a transaction record; write to what it answers, then `append` (or `cancel`). */
  begin(millis: number, session?: SessionSerial, trace?: TraceContext): RecordWriter {
    this.writer.begin(RecordType.transaction, millis, session, trace)
    return this.writer
  }

  /** Begins piece `number` of a stream whose first piece is at `first`; NO_LSN if this is the first. */
  beginPiece(millis: number, first: Lsn, number: number): RecordWriter {
    invariant((first === NO_LSN) === (number === 0), "Tail I1")
    const stream = { first, incarnation: this.incarnation, number, checksum: 0 }
    this.writer.begin(RecordType.piece, millis, undefined, undefined, stream)
    return this.writer
  }

  /** Begins the commit of a stream; `checksum` is crc32 over its pieces (`RecordReader.recordChecksum`). */
  beginCommit(
    millis: number,
    stream: { readonly first: Lsn; readonly pieces: number; readonly checksum: number },
    session?: SessionSerial,
    trace?: TraceContext
  ): RecordWriter {
    const { checksum, first, pieces } = stream
    const part = { first, incarnation: this.incarnation, number: pieces, checksum }
    this.writer.begin(RecordType.commit, millis, session, trace, part)
    return this.writer
  }

  /** Begins the abort of a stream after `pieces` pieces; of this life, or of an `incarnation` that left it open. */
  beginAbort(millis: number, first: Lsn, pieces: number, incarnation = this.incarnation): RecordWriter {
    const part = { first, incarnation, number: pieces, checksum: 0 }
    this.writer.begin(RecordType.abort, millis, undefined, undefined, part)
    return this.writer
  }

  /** Begins a record of relocated values. */
  beginRelocate(millis: number): RecordWriter {
    this.writer.begin(RecordType.relocate, millis)
    return this.writer
  }

  /**
   * Appends the record and answers its LSN; the value of a write is at that LSN plus what the write answered.
   * Where it does not fit the open group's segment, the group is sealed without it and the segment is ended.
   */
  append(): Lsn {
    const bytes = this.writer.finish()
    if (!this.fits(this.writer.length)) this.moveOn(bytes)
    const start = this.writer.recordStart
    const lsn = this.groupLsn + start
    this.writer.accept(lsn)
    this.records++
    this.lastStart = start
    this.lastLsn = lsn
    return lsn
  }

  /** Forgets the record being written, as if it had never begun. */
  cancel(): void {
    this.writer.cancel()
  }

  /** Sets a reader before the record last appended, while its group is open. */
  readLast(reader: RecordReader): RecordReader {
    invariant(this.records > 0, "Tail I5")
    const { buffer, recordStart } = this.writer
    return reader.openBuffer(buffer, this.lastStart, recordStart, this.lastLsn, 1)
  }

  /** Whether a group of `bytes` fits the segment with its seal. */
  fits(bytes: number): boolean {
    return this.groupLsn - this.segment.base + bytes + GROUP_HEADER_BYTES <= this.segment.capacity
  }

  /** Seals the open group if it has records; answers it. */
  seal(): SealedGroup | undefined {
    if (this.records === 0) return undefined
    const length = this.writer.recordStart
    invariant(!this.writer.writing, "Tail I5")
    this.usualBytes = usualOf(length)
    const buffer = this.writer.swap(this.take())
    const group = this.push(GroupKind.data, buffer, length, this.records)
    this.records = 0
    return group
  }

  /** Seals the open group, then a mark that tells the durable LSN of this moment. */
  mark(): SealedGroup {
    this.seal()
    if (!this.fits(GROUP_HEADER_BYTES)) this.rotate(GROUP_HEADER_BYTES)
    return this.header(GroupKind.mark)
  }

  /** Seals the open group and answers the cut at its end. */
  cut(): Cut {
    this.seal()
    return {
      lsn: this.groupLsn,
      sequence: this.segment.sequence,
      previousChecksum: this.previousChecksum,
      incarnation: this.incarnation
    }
  }

  /** Ends the segment with a seal and begins the next, large enough for a group of `groupBytes`. */
  rotate(groupBytes: number): Segment {
    this.seal()
    const seal = this.header(GroupKind.seal)
    const next = { ...this.cut(), sequence: this.segment.sequence + 1 }
    this.segment = segmentAt(next, this.options.segmentBytes, groupBytes)
    seal.next = this.segment
    return this.segment
  }

  /** The oldest sealed group not yet handed out for writing. */
  shift(): SealedGroup | undefined {
    const held = this.sealed[this.handedOut]
    if (held !== undefined) this.handedOut++
    return held?.group
  }

  /** Tells that everything below `lsn`, the end of a sealed group, is durable. */
  durable(lsn: Lsn): void {
    invariant(lsn >= this.durableLsn && lsn <= this.groupLsn, "Tail I3")
    this.durableLsn = lsn
  }

  /** Gives up the memory of the groups that end at or below `lsn`; all views of them end with it. */
  release(lsn: Lsn): void {
    invariant(lsn <= this.durableLsn, "Tail I4")
    let released = 0
    for (const { buffer, group } of this.sealed) {
      if (group.end > lsn || released === this.handedOut) break
      released++
      this.sealedBytes -= buffer.bytes.length
      this.giveBack(buffer)
    }
    if (released === 0) return
    this.sealed = released === this.sealed.length ? [] : this.sealed.slice(released)
    this.handedOut -= released
  }

  /**
   * A view of `length` bytes at `lsn` while they are in memory, inside one group. Of a sealed group it is good
   * until that is released, of the open one until the next append.
   */
  read(lsn: Lsn, length: number): Buffer | undefined {
    if (lsn >= this.groupLsn) {
      const start = lsn - this.groupLsn
      if (start < GROUP_HEADER_BYTES || start + length > this.openBytes) return undefined
      return this.writer.bytes.subarray(start, start + length)
    }
    const group = this.sealed.find((held) => lsn >= held.group.lsn && lsn < held.group.end)?.group
    if (group === undefined || lsn + length > group.end) return undefined
    return group.bytes.subarray(lsn - group.lsn, lsn - group.lsn + length)
  }

  /** Finds another place for the finished record of `bytes`: a new group, in the next segment if need be. */
  private moveOn(bytes: number): void {
    const groupBytes = GROUP_HEADER_BYTES + bytes
    this.seal()
    if (!this.fits(groupBytes)) this.rotate(groupBytes)
  }

  private header(kind: GroupKind): SealedGroup {
    return this.push(kind, makeRecordBuffer(GROUP_HEADER_BYTES), GROUP_HEADER_BYTES, 0)
  }

  private push(kind: GroupKind, buffer: RecordBuffer, length: number, records: number): SealedGroup {
    const lsn = this.groupLsn
    const room = kind === GroupKind.seal ? 0 : GROUP_HEADER_BYTES
    invariant(lsn - this.segment.base + length + room <= this.segment.capacity, "Tail I2")
    const checksum = sealGroup(buffer, length, {
      kind,
      lsn,
      durableLsn: this.durableLsn,
      storeId: this.options.storeId,
      incarnation: this.incarnation,
      previousChecksum: this.previousChecksum,
      records
    })
    const bytes = buffer.bytes.subarray(0, length)
    const { segment } = this
    const group: SealedGroup = {
      kind,
      lsn,
      end: lsn + length,
      bytes,
      records,
      checksum,
      segment,
      next: undefined
    }
    this.sealed.push({ group, buffer })
    this.sealedBytes += buffer.bytes.length
    this.groupLsn = group.end
    this.previousChecksum = checksum
    return group
  }

  /** Lets go the buffers that are kept to be used again, and were not needed since it was called last. */
  trim(): void {
    for (const { bytes } of this.pool.trim()) this.pooledBytes -= bytes.length
  }

  private take(): RecordBuffer {
    const buffer = this.pool.take()
    if (buffer === undefined) return makeRecordBuffer(this.usualBytes)
    this.pooledBytes -= buffer.bytes.length
    return buffer
  }

  private giveBack(buffer: RecordBuffer): void {
    const size = buffer.bytes.length
    const most = this.options.pooledBytes ?? POOLED_BYTES
    // One large value must not hold its memory for ever.
    if (size < FIRST_BUFFER_BYTES || size > most >>> 1 || this.pooledBytes + size > most) return
    this.pool.keep(buffer)
    this.pooledBytes += size
  }
}

/** What holds a group of so many bytes, without half of it being nobody's. */
const usualOf = (length: number): number =>
  Math.min(USUAL_BYTES, Math.ceil(length / FIRST_BUFFER_BYTES) * FIRST_BUFFER_BYTES)

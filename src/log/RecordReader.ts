/**
 * Reads records where they lie: a cursor over a group's bytes, without copying and without allocating per record.
 *
 * Total on hostile bytes: every length, count and offset is checked against what remains before it is used. The
 * first broken rule ends the cursor and stays in `fault`; nothing is ever thrown for what the bytes say. The layout
 * stands above the encoder in RecordWriter.ts.
 *
 * Fields are those of the record or write that `nextRecord` or `nextWrite` last answered true for.
 */
import { crc32 } from "node:zlib"
import { invariant } from "../Invariant.ts"
import type { Invalid } from "./Invalid.ts"
import { invalid } from "./Invalid.ts"
import { align8, asBuffer, fromWords, isLsn, NO_LSN } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"
import {
  MAX_KEY_BYTES,
  MAX_RECORD_BYTES,
  MAX_VALUE_BYTES,
  Op,
  RECORD_HEADER_BYTES,
  RecordFlag,
  RecordType,
  SESSION_BYTES,
  STREAM_BYTES,
  TRACE_BYTES,
  WRITE_HEADER_BYTES,
  WriteFlag
} from "./Record.ts"
import type { RecordBuffer } from "./RecordBuffer.ts"

const NO_BYTES = Buffer.alloc(0)
const NO_WORDS = new Int32Array(0)
const NO_VIEW = new DataView(new ArrayBuffer(0))

export class RecordReader {
  /** What the offsets refer to. */
  bytes: Buffer = NO_BYTES
  /** The same by words. Keys and values begin at one, and are padded with zeros to it, where the records do. */
  words: Int32Array = NO_WORDS
  /** The first broken rule, with its offset in `bytes`. */
  fault: Invalid | undefined = undefined

  lsn: Lsn = NO_LSN
  recordStart = 0
  recordEnd = 0
  type: number = 0
  millis = 0
  writeCount = 0
  /** -1 where the record has no session. */
  sessionId = -1
  serial = 0
  /** Offset of 16 bytes of trace id, 8 of span id and 1 of flags; -1 where there is no trace context. */
  traceStart = -1
  streamFirst: Lsn = NO_LSN
  streamIncarnationLow = 0
  streamIncarnationHigh = 0
  streamNumber = 0
  streamChecksum = 0

  op: number = 0
  keyspace = 0
  reducer = 0
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  valueLsn: Lsn = NO_LSN
  /** Whether the value is large: it carries its own checksum, and the leaf refers to it by LSN. */
  large = false
  valueChecksum = 0
  /** `Infinity` where the write does not expire. */
  expiryMillis = Infinity
  /** Relocate: where the value was, and the version of its record. */
  from: Lsn = NO_LSN
  version: Lsn = NO_LSN

  private view: DataView = NO_VIEW
  private end = 0
  private cursor = 0
  private base = 0
  private expectedRecords = -1
  private seenRecords = 0
  private seenWrites = 0

  /** Sets the cursor before the records in `bytes[start, end)`; the byte at `start` has the address `lsn`. */
  open(bytes: Uint8Array, start: number, end: number, lsn: Lsn, expectedRecords = -1): this {
    // Views cost more than a small record, and one buffer holds many.
    if (this.bytes !== bytes) {
      // Words begin at words. Whoever reads a log at any other place pays for a copy.
      const own = (bytes.byteOffset & 3) === 0 ? bytes : Buffer.from(bytes)
      this.bytes = asBuffer(own)
      this.view = new DataView(own.buffer, own.byteOffset, own.length)
      this.words = new Int32Array(own.buffer, own.byteOffset, own.length >>> 2)
    }
    return this.begin(start, end, lsn, expectedRecords)
  }

  /** The same where the records were written, which has its views. */
  openBuffer(buffer: RecordBuffer, start: number, end: number, lsn: Lsn, expectedRecords = -1): this {
    this.bytes = buffer.bytes
    this.view = buffer.fields
    this.words = buffer.signed
    return this.begin(start, end, lsn, expectedRecords)
  }

  private begin(start: number, end: number, lsn: Lsn, expectedRecords: number): this {
    invariant((start & 3) === 0, "RecordReader: records begin at words")
    this.end = Math.min(end, this.bytes.length)
    this.cursor = start
    this.recordEnd = start
    this.base = lsn - start
    this.expectedRecords = expectedRecords
    this.seenRecords = 0
    this.seenWrites = 0
    this.writeCount = 0
    this.fault = undefined
    return this
  }

  /** Goes to the next record; writes of the one before that were not visited are passed over. */
  nextRecord(): boolean {
    if (this.fault !== undefined) return false
    const at = this.recordEnd
    const remaining = this.end - at
    if (remaining === 0) {
      if (this.expectedRecords === -1 || this.seenRecords === this.expectedRecords) return false
      return this.fail(at, "number of records")
    }
    if (remaining < RECORD_HEADER_BYTES) return this.fail(at, "record header is cut off")
    const length = this.view.getUint32(at, true)
    if (length < RECORD_HEADER_BYTES || length > remaining || length > MAX_RECORD_BYTES || length % 8 !== 0) {
      return this.fail(at, "record length")
    }
    this.recordStart = at
    this.recordEnd = at + length
    this.lsn = this.base + at
    this.seenRecords++
    this.seenWrites = 0
    return this.header(at) && this.blocks(at) && this.rules(at)
  }

  /** Op of the record's first write, before it is visited; 0 where there is none. */
  get firstOp(): number {
    return this.writeCount === 0 || this.seenWrites > 0 ? 0 : this.bytes[this.cursor] ?? 0
  }

  /** Writes of the record that were not visited yet. */
  get left(): number {
    return this.fault === undefined ? this.writeCount - this.seenWrites : 0
  }

  /** Where the next of them begins. */
  get next(): number {
    return this.cursor
  }

  /** Passes over so many writes, up to `end`: whoever asks has visited them (`tree/write/Puts.ts`). */
  pass(writes: number, end: number): void {
    this.seenWrites += writes
    this.cursor = end
  }

  /** Goes to the write that begins at `at`: one of a transaction in `bytes`, and whoever asks has visited it. */
  visit(at: number): void {
    this.type = RecordType.transaction
    this.recordEnd = this.end
    this.cursor = at
    this.writeCount = 1
    this.seenWrites = 0
    invariant(this.nextWrite(), "RecordReader: a write that was visited")
  }

  /** Goes to the next write of the record; false at its end, or at a broken rule. */
  nextWrite(): boolean {
    if (this.fault !== undefined) return false
    const at = this.cursor
    if (this.seenWrites === this.writeCount) {
      return at === this.recordEnd ? false : this.fail(at, "bytes after the last write")
    }
    if (this.recordEnd - at < WRITE_HEADER_BYTES) return this.fail(at, "write header is cut off")
    const view = this.view
    const head = view.getUint32(at, true)
    this.op = head & 0xff
    const flags = head >>> 8 & 0xff
    const keyBytes = head >>> 16
    const valueBytes = view.getUint32(at + 4, true)
    this.keyspace = view.getUint32(at + 8, true)
    this.valueChecksum = view.getUint32(at + 12, true)
    const problem = writeProblem(this.type, this.op, flags, keyBytes, valueBytes)
    if (problem !== undefined) return this.fail(at, problem)
    if (this.op === Op.discard && this.keyspace >= this.streamNumber) return this.fail(at, "discarded piece")
    this.large = (flags & WriteFlag.checksum) !== 0
    this.reducer = flags >>> 4
    if (!this.large && this.valueChecksum !== 0) return this.fail(at + 12, "checksum without its flag")
    const extraBytes = ((flags & WriteFlag.expiry) === 0 ? 0 : 8) + (this.op === Op.relocate ? 16 : 0)
    this.keyStart = at + WRITE_HEADER_BYTES + extraBytes
    this.keyEnd = this.keyStart + keyBytes
    this.valueStart = this.keyStart + align8(keyBytes)
    this.valueEnd = this.valueStart + valueBytes
    this.cursor = this.valueStart + align8(valueBytes)
    if (this.cursor > this.recordEnd) return this.fail(at, "write is longer than its record")
    this.valueLsn = this.base + this.valueStart
    this.seenWrites++
    return this.extras(at + WRITE_HEADER_BYTES, flags)
      && this.zeros(this.keyEnd, this.valueStart)
      && this.zeros(this.valueEnd, this.cursor)
  }

  /** crc32 over the record's bytes, continued from `seed`: the checksum of a stream adds up over its pieces. */
  recordChecksum(seed: number): number {
    return crc32(this.bytes.subarray(this.recordStart, this.recordEnd), seed)
  }

  private header(at: number): boolean {
    const view = this.view
    this.type = view.getUint8(at + 4)
    const flags = view.getUint8(at + 5)
    this.writeCount = view.getUint32(at + 8, true)
    this.millis = view.getFloat64(at + 16, true)
    if (this.type < RecordType.transaction || this.type > RecordType.relocate) {
      return this.fail(at + 4, "record type")
    }
    if ((flags & ~(RecordFlag.session | RecordFlag.trace)) !== 0) return this.fail(at + 5, "record flags")
    if (view.getUint16(at + 6, true) !== 0) return this.fail(at + 6, "zero bytes")
    if (view.getUint32(at + 12, true) !== 0) return this.fail(at + 12, "zero bytes")
    if (!Number.isFinite(this.millis)) return this.fail(at + 16, "timestamp")
    this.sessionId = (flags & RecordFlag.session) === 0 ? -1 : 0
    this.traceStart = (flags & RecordFlag.trace) === 0 ? -1 : 0
    return true
  }

  /** The optional blocks between header and writes. */
  private blocks(start: number): boolean {
    const view = this.view
    const stream = this.type >= RecordType.piece && this.type <= RecordType.abort
    let at = start + RECORD_HEADER_BYTES
    const blockBytes = (this.sessionId < 0 ? 0 : SESSION_BYTES) + (this.traceStart < 0 ? 0 : TRACE_BYTES)
      + (stream ? STREAM_BYTES : 0)
    if (blockBytes > this.recordEnd - at) return this.fail(at, "record is shorter than its blocks")
    if (this.sessionId >= 0) {
      this.sessionId = view.getUint32(at, true)
      this.serial = this.u53(at + 8)
      if (view.getUint32(at + 4, true) !== 0) return this.fail(at + 4, "zero bytes")
      if (this.serial > Number.MAX_SAFE_INTEGER) return this.fail(at + 8, "serial")
      at += SESSION_BYTES
    }
    if (this.traceStart >= 0) {
      this.traceStart = at
      if (!this.zeros(at + 25, at + TRACE_BYTES)) return false
      at += TRACE_BYTES
    }
    if (stream) {
      this.streamFirst = this.u53(at)
      this.streamIncarnationLow = view.getUint32(at + 8, true)
      this.streamIncarnationHigh = view.getUint32(at + 12, true)
      this.streamNumber = view.getUint32(at + 16, true)
      this.streamChecksum = view.getUint32(at + 20, true)
      at += STREAM_BYTES
    }
    this.cursor = at
    return true
  }

  /** What a record's type allows. */
  private rules(at: number): boolean {
    if (this.writeCount > (this.recordEnd - this.cursor) / WRITE_HEADER_BYTES) {
      return this.fail(at + 8, "more writes than fit")
    }
    if (this.type === RecordType.transaction || this.type === RecordType.relocate) return true
    if (!isLsn(this.streamFirst) || this.streamFirst > this.lsn) return this.fail(at, "first piece")
    if ((this.streamIncarnationLow | this.streamIncarnationHigh) === 0) {
      return this.fail(at, "incarnation of a stream")
    }
    if (this.type === RecordType.piece) {
      if ((this.streamNumber === 0) !== (this.streamFirst === this.lsn)) return this.fail(at, "first piece")
      return this.streamChecksum === 0 ? true : this.fail(at, "checksum of a piece")
    }
    if (this.streamFirst === this.lsn || this.streamNumber === 0) return this.fail(at, "number of pieces")
    if (this.type === RecordType.abort && this.streamChecksum !== 0) {
      return this.fail(at, "checksum of an abort")
    }
    return this.writeCount === 0 && this.cursor === this.recordEnd
      ? true
      : this.fail(at, "writes of a stream's end")
  }

  private extras(at: number, flags: number): boolean {
    this.expiryMillis = Infinity
    if ((flags & WriteFlag.expiry) !== 0) {
      this.expiryMillis = this.view.getFloat64(at, true)
      if (!Number.isFinite(this.expiryMillis)) return this.fail(at, "expiry")
    }
    this.from = NO_LSN
    this.version = NO_LSN
    if (this.op === Op.relocate) {
      this.from = this.u53(at)
      this.version = this.u53(at + 8)
      const past = isLsn(this.from) && isLsn(this.version) && this.from < this.lsn && this.version < this.lsn
      if (!past) return this.fail(at, "origin of a relocated value")
    }
    return true
  }

  private zeros(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (this.bytes[i] !== 0) return this.fail(i, "zero bytes")
    return true
  }

  private u53(at: number): number {
    return fromWords(this.view.getUint32(at, true), this.view.getUint32(at + 4, true))
  }

  private fail(offset: number, reason: string): false {
    this.fault = invalid(offset, reason)
    return false
  }
}

const takesKey = (op: number): boolean =>
  op === Op.put || op === Op.remove || op === Op.merge || op === Op.relocate || op === Op.createKeyspace
  || op === Op.openSession

const takesValue = (op: number): boolean =>
  op === Op.put || op === Op.merge || op === Op.relocate || op === Op.createKeyspace

const flagsAllowed = (op: number): number =>
  op === Op.put
    ? WriteFlag.expiry | WriteFlag.checksum
    : op === Op.merge
    ? 0xf0 | WriteFlag.checksum
    : op === Op.relocate
    ? WriteFlag.checksum
    : 0

/** The rule that a write's header breaks, if any. */
const writeProblem = (
  type: number,
  op: number,
  flags: number,
  keyBytes: number,
  valueBytes: number
): string | undefined => {
  if (op < Op.put || op > Op.discard) return "op"
  if (op === Op.discard && type !== RecordType.piece) return "op in a record of another type"
  if ((type === RecordType.relocate) !== (op === Op.relocate)) return "op in a record of another type"
  if ((flags & ~flagsAllowed(op)) !== 0) return "write flags"
  if (op === Op.relocate && (flags & WriteFlag.checksum) === 0) return "relocated value without a checksum"
  if (keyBytes > (takesKey(op) ? MAX_KEY_BYTES : 0)) return "key length"
  if (valueBytes > (takesValue(op) ? MAX_VALUE_BYTES : 0)) return "value length"
  return undefined
}

/**
 * Encodes records straight into a growable buffer; nothing is allocated per record or write.
 *
 * What is written here is the event itself and is read for as long as the store lives. It holds no clock and no
 * chance; both come in with the transaction.
 *
 * I1 A key is at most MAX_KEY_BYTES, a value at most MAX_VALUE_BYTES; ids and reducers fit their fields.
 * I2 A record is written between `begin` and `finish`, and is at most MAX_RECORD_BYTES.
 * I3 Times are finite.
 */
import { crc32 } from "node:zlib"
import { invariant } from "../Invariant.ts"
import { align8, highWord, lowWord, NO_LSN } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"
import type { PackedPuts } from "./PackedPuts.ts"
import {
  MAX_KEY_BYTES,
  MAX_RECORD_BYTES,
  MAX_REDUCER,
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
import type { SessionSerial, StreamPart, TraceContext } from "./Record.ts"
import { isLargeValue, makeRecordBuffer } from "./RecordBuffer.ts"
import type { RecordBuffer } from "./RecordBuffer.ts"

export { makeRecordBuffer } from "./RecordBuffer.ts"
export type { RecordBuffer } from "./RecordBuffer.ts"

/*
 * Record. All numbers little-endian; it begins at a multiple of 8.
 *
 * | Offset | Size | Field                                                                            |
 * | ------ | ---- | -------------------------------------------------------------------------------- |
 * | 0      | 4    | length in bytes, this header included; a multiple of 8                           |
 * | 4      | 1    | type: 1 transaction, 2 piece, 3 commit of pieces, 4 abort of pieces, 5 relocate  |
 * | 5      | 1    | flags: 1 session, 2 trace                                                        |
 * | 6      | 2    | zero                                                                             |
 * | 8      | 4    | number of writes                                                                 |
 * | 12     | 4    | zero                                                                             |
 * | 16     | 8    | timestamp, float64 milliseconds since 1970                                       |
 * |        | 16   | flag session: id u32, zero u32, serial u53                                       |
 * |        | 32   | flag trace: trace id 16, span id 8, flags u8, zero 7                             |
 * |        | 24   | types 2-4: first piece's LSN u53, incarnation 8, number u32, checksum u32        |
 * |        |      | writes                                                                           |
 *
 * Write. It begins at a multiple of 8.
 *
 * | Offset | Size | Field                                                                            |
 * | ------ | ---- | -------------------------------------------------------------------------------- |
 * | 0      | 1    | op: 1 put, 2 remove, 3 merge, 4 clear, 5 createKeyspace, 6 dropKeyspace,         |
 * |        |      | 7 relocate, 8 openSession, 9 endSession, 10 discard                              |
 * | 1      | 1    | flags: 1 expiry, 2 checksum; bits 4-7 the reducer of a merge                     |
 * | 2      | 2    | key length (put, remove, merge, relocate: the key; 5 and 8: the name in UTF-8)   |
 * | 4      | 4    | value length                                                                     |
 * | 8      | 4    | keyspace id (8 and 9: session id; 10: number of a piece)                         |
 * | 12     | 4    | flag checksum: crc32 of the value; else zero                                     |
 * |        | 8    | flag expiry: float64 milliseconds since 1970                                     |
 * |        | 16   | relocate: LSN the value had u53, version of the record u53                       |
 * |        |      | key, zero bytes up to a multiple of 8                                            |
 * |        |      | value, zero bytes up to a multiple of 8                                          |
 *
 * Broken when: a length does not add up exactly; a byte called zero is not; type, op or a flag is unknown or stands
 * where it means nothing; a time is not finite; a number of 53 bits is larger; a piece is number 0 but not the
 * first, or the first but not number 0; a commit or an abort has writes, counts no piece or begins before its
 * first one; a relocate stands outside a relocate record, or anything else in one; a discard stands outside a piece, or
 * names a piece that is not before its own.
 * A discard stands before all other writes of its piece, and says that the pieces from that number up to its own are as
 * if they had not been written: a step of the transaction failed after they were.
 * The value's own checksum is there because the leaf refers to a large value by LSN, and it is read alone.
 */

/**
 * The encoder. The buffer's first `headroomBytes` belong to whoever frames the records. Pooled buffers
 * come back dirty, so every byte is written.
 */
export class RecordWriter {
  bytes: Buffer
  /** End of what is written. */
  length: number
  /** Where the record being written, or the next one, begins. */
  recordStart: number
  /** Whether a record is between `begin` and `finish`. */
  writing = false
  /** Of the last write: crc32 of its value if it is large, else 0. */
  valueChecksum = 0
  /** What `bytes` is a view of. */
  buffer: RecordBuffer
  private words: Uint32Array
  private doubles: Float64Array
  private writes = 0
  private selfAt = 0
  private readonly headroomBytes: number
  private readonly inlineValueBytes: number
  private readonly inlinePairBytes: number

  /** Values that a leaf would not keep, alone or beside their key, carry their own checksum. */
  constructor(options: {
    readonly buffer: RecordBuffer
    readonly headroomBytes: number
    readonly inlineValueBytes: number
    readonly inlinePairBytes?: number
  }) {
    this.headroomBytes = options.headroomBytes
    this.inlineValueBytes = options.inlineValueBytes
    this.inlinePairBytes = options.inlinePairBytes ?? Infinity
    this.buffer = options.buffer
    this.bytes = options.buffer.bytes
    this.words = options.buffer.words
    this.doubles = options.buffer.doubles
    this.length = options.headroomBytes
    this.recordStart = options.headroomBytes
  }

  /** Begins a record. `stream` is there exactly for pieces, their commit and their abort. */
  begin(
    type: RecordType,
    millis: number,
    session?: SessionSerial,
    trace?: TraceContext,
    stream?: StreamPart
  ): void {
    invariant(!this.writing, "RecordWriter I2")
    invariant(Number.isFinite(millis), "RecordWriter I3")
    invariant((stream !== undefined) === isStreamType(type), "RecordWriter I2")
    invariant(stream === undefined || stream.first !== NO_LSN || type === RecordType.piece, "RecordWriter I2")
    this.writing = true
    this.writes = 0
    this.selfAt = 0
    const start = this.recordStart
    this.reserve(start + RECORD_HEADER_BYTES + SESSION_BYTES + TRACE_BYTES + STREAM_BYTES)
    const flags = (session === undefined ? 0 : RecordFlag.session) |
      (trace === undefined ? 0 : RecordFlag.trace)
    this.words[(start >> 2) + 1] = type | flags << 8
    this.words[(start >> 2) + 3] = 0
    this.doubles[(start >> 3) + 2] = millis
    this.length = start + RECORD_HEADER_BYTES
    if (session !== undefined) this.session(session)
    if (trace !== undefined) this.trace(trace)
    if (stream !== undefined) this.stream(stream)
  }

  /** Answers, as every write does, where the value begins, in bytes from the record's start. */
  put(keyspace: number, key: Uint8Array, value: Uint8Array): number {
    return this.write(Op.put, this.flagsOf(key, value), keyspace, key, value, 0)
  }

  /** Takes over puts that have the form of this record already. */
  packed(keyspace: number, puts: PackedPuts): void {
    invariant(this.writing, "RecordWriter I2")
    puts.become(keyspace)
    this.reserve(this.length + puts.length)
    puts.bytes.copy(this.bytes, this.length, 0, puts.length)
    this.length += puts.length
    this.writes += puts.count
  }

  /** A put that is hidden from `expiryMillis` on. */
  putExpiring(keyspace: number, key: Uint8Array, value: Uint8Array, expiryMillis: number): number {
    invariant(Number.isFinite(expiryMillis), "RecordWriter I3")
    const at = this.length
    const valueAt = this.write(Op.put, this.flagsOf(key, value) | WriteFlag.expiry, keyspace, key, value, 8)
    this.doubles[(at + WRITE_HEADER_BYTES) >> 3] = expiryMillis
    return valueAt
  }

  remove(keyspace: number, key: Uint8Array): number {
    return this.write(Op.remove, 0, keyspace, key, NO_BYTES, 0)
  }

  /** `reducer`: id of the one that the keyspace declares (`tree/page/Fold.ts`); an operand means nothing without. */
  merge(keyspace: number, reducer: number, key: Uint8Array, operand: Uint8Array): number {
    invariant(reducer >= 0 && reducer <= MAX_REDUCER, "RecordWriter I1")
    return this.write(Op.merge, this.flagsOf(key, operand) | reducer << 4, keyspace, key, operand, 0)
  }

  clear(keyspace: number): number {
    return this.write(Op.clear, 0, keyspace, NO_BYTES, NO_BYTES, 0)
  }

  /** `definition` is made by `encodeDefinition`. */
  createKeyspace(keyspace: number, name: Uint8Array, definition: Uint8Array): number {
    return this.write(Op.createKeyspace, 0, keyspace, name, definition, 0)
  }

  dropKeyspace(keyspace: number): number {
    return this.write(Op.dropKeyspace, 0, keyspace, NO_BYTES, NO_BYTES, 0)
  }

  /** Copies a large value from LSN `from` to here, for the record that has exactly that value and `version`. */
  relocate(keyspace: number, key: Uint8Array, value: Uint8Array, from: Lsn, version: Lsn): number {
    const word = (this.length + WRITE_HEADER_BYTES) >> 2
    const valueAt = this.write(Op.relocate, WriteFlag.checksum, keyspace, key, value, 16)
    this.words[word] = lowWord(from)
    this.words[word + 1] = highWord(from)
    this.words[word + 2] = lowWord(version)
    this.words[word + 3] = highWord(version)
    return valueAt
  }

  /** Gives a session's name the id by which transactions refer to it. */
  openSession(id: number, name: Uint8Array): number {
    return this.write(Op.openSession, 0, id, name, NO_BYTES, 0)
  }

  /** Takes back the pieces of this stream from number `piece` up to the one that is being written. */
  discard(piece: number): number {
    return this.write(Op.discard, 0, piece, NO_BYTES, NO_BYTES, 0)
  }

  endSession(id: number): number {
    return this.write(Op.endSession, 0, id, NO_BYTES, NO_BYTES, 0)
  }

  /** Ends the record and answers its length in bytes. It stays the last one until `accept` or `cancel`. */
  finish(): number {
    const bytes = this.length - this.recordStart
    invariant(this.writing && bytes <= MAX_RECORD_BYTES, "RecordWriter I2")
    this.words[this.recordStart >> 2] = bytes
    this.words[(this.recordStart >> 2) + 2] = this.writes
    this.writing = false
    return bytes
  }

  /** Keeps the finished record, which gets the address `lsn`. */
  accept(lsn: Lsn): void {
    if (
      this.selfAt !== 0 && this.words[this.selfAt >> 2] === 0 &&
      this.words[(this.selfAt >> 2) + 1] === 0
    ) {
      this.words[this.selfAt >> 2] = lowWord(lsn)
      this.words[(this.selfAt >> 2) + 1] = highWord(lsn)
    }
    this.selfAt = 0
    this.recordStart = this.length
  }

  /** Forgets the record that is being written. */
  cancel(): void {
    this.writing = false
    this.length = this.recordStart
  }

  /**
   * Goes on in another buffer and gives up the one in use. A finished record that was not accepted moves along,
   * and is then the only one.
   */
  swap(buffer: RecordBuffer): RecordBuffer {
    const old = this.buffer
    const from = this.recordStart
    const moving = this.length - from
    const shift = from - this.headroomBytes
    this.adopt(buffer)
    this.length = this.headroomBytes
    this.reserve(this.headroomBytes + moving)
    if (moving > 0) old.bytes.copy(this.bytes, this.headroomBytes, from, from + moving)
    this.length = this.headroomBytes + moving
    this.recordStart = this.headroomBytes
    if (this.selfAt !== 0) this.selfAt -= shift
    return old
  }

  private session(session: SessionSerial): void {
    const word = this.length >> 2
    this.words[word] = session.id
    this.words[word + 1] = 0
    this.words[word + 2] = lowWord(session.serial)
    this.words[word + 3] = highWord(session.serial)
    this.length += SESSION_BYTES
  }

  private trace(trace: TraceContext): void {
    invariant(trace.traceId.length === 16 && trace.spanId.length === 8, "RecordWriter I1")
    this.bytes.set(trace.traceId, this.length)
    this.bytes.set(trace.spanId, this.length + 16)
    this.words[(this.length + 24) >> 2] = trace.flags & 0xff
    this.words[(this.length + 28) >> 2] = 0
    this.length += TRACE_BYTES
  }

  private stream(stream: StreamPart): void {
    // The first piece of a stream names itself, and learns its address only when it is accepted.
    if (stream.first === NO_LSN) this.selfAt = this.length
    const word = this.length >> 2
    this.words[word] = lowWord(stream.first)
    this.words[word + 1] = highWord(stream.first)
    this.words[word + 2] = stream.incarnation.low
    this.words[word + 3] = stream.incarnation.high
    this.words[word + 4] = stream.number
    this.words[word + 5] = stream.checksum
    this.length += STREAM_BYTES
  }

  private flagsOf(key: Uint8Array, value: Uint8Array): number {
    const isLarge = isLargeValue(key.length, value.length, this.inlineValueBytes, this.inlinePairBytes)
    return isLarge ? WriteFlag.checksum : 0
  }

  private write(
    op: Op,
    flags: number,
    keyspace: number,
    key: Uint8Array,
    value: Uint8Array,
    extraBytes: number
  ): number {
    const keyBytes = key.length
    const valueBytes = value.length
    invariant(this.writing, "RecordWriter I2")
    invariant(keyBytes <= MAX_KEY_BYTES && valueBytes <= MAX_VALUE_BYTES, "RecordWriter I1")
    const at = this.length
    const keyAt = at + WRITE_HEADER_BYTES + extraBytes
    const valueAt = keyAt + align8(keyBytes)
    const end = valueAt + align8(valueBytes)
    if (end > this.bytes.length) this.reserve(end)
    const word = at >> 2
    const words = this.words
    words[word] = op | flags << 8 | keyBytes << 16
    words[word + 1] = valueBytes
    words[word + 2] = keyspace
    this.valueChecksum = (flags & WriteFlag.checksum) === 0 ? 0 : crc32(value)
    words[word + 3] = this.valueChecksum
    this.copy(key, keyAt, valueAt)
    this.copy(value, valueAt, end)
    this.length = end
    this.writes++
    return valueAt - this.recordStart
  }

  /** A loop wins below 16 bytes; above, `set` of a whole view is flat at 8 ns. */
  private copy(source: Uint8Array, at: number, end: number): void {
    const length = source.length
    if ((length & 7) !== 0) {
      this.words[(end >> 2) - 2] = 0
      this.words[(end >> 2) - 1] = 0
    }
    if (length >= 16) this.bytes.set(source, at)
    else {
      const bytes = this.bytes
      for (let i = 0; i < length; i++) bytes[at + i] = source[i]!
    }
  }

  private reserve(end: number): void {
    if (end <= this.bytes.length) return
    invariant(end - this.recordStart <= MAX_RECORD_BYTES, "RecordWriter I2")
    const old = this.bytes
    let size = Math.max(old.length, 1024)
    while (size < end) size *= 2
    this.adopt(makeRecordBuffer(size))
    old.copy(this.bytes, 0, 0, this.length)
  }

  private adopt(buffer: RecordBuffer): void {
    this.buffer = buffer
    this.bytes = buffer.bytes
    this.words = buffer.words
    this.doubles = buffer.doubles
  }
}

const NO_BYTES = new Uint8Array(0)

const isStreamType = (type: RecordType): boolean =>
  type === RecordType.piece || type === RecordType.commit || type === RecordType.abort

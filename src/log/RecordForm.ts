/**
 * Records as plain objects, for tests and tools; the engine itself reads with RecordReader and copies nothing.
 *
 * Also what a keyspace's creation says about it, which is rare enough to be an object everywhere.
 */
import type { Invalid } from "./Invalid.ts"
import { invalid } from "./Invalid.ts"
import { asBuffer } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"
import { Op, RecordType } from "./Record.ts"
import type { SessionSerial, StreamPart, TraceContext } from "./Record.ts"
import { RecordReader } from "./RecordReader.ts"
import type { RecordWriter } from "./RecordWriter.ts"

/** A write with bytes of its own. */
export type Write =
  | {
    readonly op: "put"
    readonly keyspace: number
    readonly key: Uint8Array
    readonly value: Uint8Array
    readonly expiryMillis?: number
  }
  | { readonly op: "remove"; readonly keyspace: number; readonly key: Uint8Array }
  | {
    readonly op: "merge"
    readonly keyspace: number
    readonly reducer: number
    readonly key: Uint8Array
    readonly value: Uint8Array
  }
  | { readonly op: "clear" | "dropKeyspace"; readonly keyspace: number }
  | {
    readonly op: "createKeyspace"
    readonly keyspace: number
    readonly key: Uint8Array
    readonly value: Uint8Array
  }
  | {
    readonly op: "relocate"
    readonly keyspace: number
    readonly key: Uint8Array
    readonly value: Uint8Array
    readonly from: Lsn
    readonly version: Lsn
  }
  | { readonly op: "openSession"; readonly session: number; readonly key: Uint8Array }
  | { readonly op: "endSession"; readonly session: number }
  | { readonly op: "discard"; readonly piece: number }

export interface LogRecord {
  readonly lsn: Lsn
  readonly type: keyof typeof RecordType
  readonly millis: number
  readonly session?: SessionSerial
  readonly trace?: TraceContext
  readonly stream?: StreamPart
  readonly writes: ReadonlyArray<Write>
}

/** Appends a write to the record that is being written; answers where its value begins in the record. */
export const writeForm = (writer: RecordWriter, write: Write): number => {
  switch (write.op) {
    case "put":
      return write.expiryMillis === undefined
        ? writer.put(write.keyspace, write.key, write.value)
        : writer.putExpiring(write.keyspace, write.key, write.value, write.expiryMillis)
    case "remove":
      return writer.remove(write.keyspace, write.key)
    case "merge":
      return writer.merge(write.keyspace, write.reducer, write.key, write.value)
    case "clear":
      return writer.clear(write.keyspace)
    case "dropKeyspace":
      return writer.dropKeyspace(write.keyspace)
    case "createKeyspace":
      return writer.createKeyspace(write.keyspace, write.key, write.value)
    case "relocate":
      return writer.relocate(write.keyspace, write.key, write.value, write.from, write.version)
    case "openSession":
      return writer.openSession(write.session, write.key)
    case "endSession":
      return writer.endSession(write.session)
    case "discard":
      return writer.discard(write.piece)
  }
}

/** Everything in `bytes[start, end)` as objects, or the first broken rule. */
export const readForms = (
  bytes: Uint8Array,
  start: number,
  end: number,
  lsn: Lsn,
  expectedRecords = -1
): { readonly _tag: "Valid"; readonly records: ReadonlyArray<LogRecord> } | Invalid => {
  const reader = new RecordReader().open(bytes, start, end, lsn, expectedRecords)
  const records: Array<LogRecord> = []
  while (reader.nextRecord()) {
    const writes: Array<Write> = []
    while (reader.nextWrite()) writes.push(formOfWrite(reader))
    records.push({ ...formOfRecord(reader), writes })
  }
  return reader.fault ?? { _tag: "Valid", records }
}

/** Walks everything in `bytes[start, end)` and answers the first broken rule, without allocating per record. */
export const verifyRecords = (
  bytes: Uint8Array,
  start: number,
  end: number,
  lsn: Lsn,
  expectedRecords = -1
): Invalid | undefined => {
  const reader = new RecordReader().open(bytes, start, end, lsn, expectedRecords)
  while (reader.nextRecord()) while (reader.nextWrite());
  return reader.fault
}

const copyOf = (reader: RecordReader, start: number, end: number): Uint8Array =>
  Uint8Array.prototype.slice.call(reader.bytes, start, end)

const formOfRecord = (reader: RecordReader): Omit<LogRecord, "writes"> => ({
  lsn: reader.lsn,
  type: typeNames[reader.type - 1] ?? "transaction",
  millis: reader.millis,
  ...(reader.sessionId >= 0 ? { session: { id: reader.sessionId, serial: reader.serial } } : {}),
  ...(reader.traceStart >= 0
    ? {
      trace: {
        traceId: copyOf(reader, reader.traceStart, reader.traceStart + 16),
        spanId: copyOf(reader, reader.traceStart + 16, reader.traceStart + 24),
        flags: reader.bytes[reader.traceStart + 24] ?? 0
      }
    }
    : {}),
  ...(reader.type >= RecordType.piece && reader.type <= RecordType.abort
    ? {
      stream: {
        first: reader.streamFirst,
        incarnation: { low: reader.streamIncarnationLow, high: reader.streamIncarnationHigh },
        number: reader.streamNumber,
        checksum: reader.streamChecksum
      }
    }
    : {})
})

const typeNames = ["transaction", "piece", "commit", "abort", "relocate"] as const

const formOfWrite = (reader: RecordReader): Write => {
  const keyspace = reader.keyspace
  const key = copyOf(reader, reader.keyStart, reader.keyEnd)
  const value = copyOf(reader, reader.valueStart, reader.valueEnd)
  switch (reader.op) {
    case Op.remove:
      return { op: "remove", keyspace, key }
    case Op.merge:
      return { op: "merge", keyspace, reducer: reader.reducer, key, value }
    case Op.clear:
      return { op: "clear", keyspace }
    case Op.createKeyspace:
      return { op: "createKeyspace", keyspace, key, value }
    case Op.dropKeyspace:
      return { op: "dropKeyspace", keyspace }
    case Op.relocate:
      return { op: "relocate", keyspace, key, value, from: reader.from, version: reader.version }
    case Op.openSession:
      return { op: "openSession", session: keyspace, key }
    case Op.endSession:
      return { op: "endSession", session: keyspace }
    case Op.discard:
      return { op: "discard", piece: keyspace }
    default:
      return reader.expiryMillis === Infinity
        ? { op: "put", keyspace, key, value }
        : { op: "put", keyspace, key, value, expiryMillis: reader.expiryMillis }
  }
}

/** What a keyspace is, beside its name: layout of its keys, version of its value codec, its reducer (0: none). */
export interface Definition {
  readonly codecVersion: number
  readonly reducer: number
  readonly layout: string
}

/*
 * Definition: the value of a createKeyspace.
 *
 * | Offset | Size | Field                                    |
 * | ------ | ---- | ---------------------------------------- |
 * | 0      | 4    | version of the value codec               |
 * | 4      | 4    | reducer, 0 for none                      |
 * | 8      |      | fingerprint of the key layout, in UTF-8  |
 *
 * Broken when: shorter than 8 bytes, or the fingerprint is not UTF-8.
 */
export const encodeDefinition = (definition: Definition): Uint8Array => {
  const layout = Buffer.from(definition.layout, "utf8")
  const bytes = Buffer.alloc(8 + layout.length)
  bytes.writeUInt32LE(definition.codecVersion, 0)
  bytes.writeUInt32LE(definition.reducer, 4)
  bytes.set(layout, 8)
  return bytes
}

export const decodeDefinition = (
  value: Uint8Array
): { readonly _tag: "Valid"; readonly definition: Definition } | Invalid => {
  if (value.length < 8) return invalid(0, "definition is cut off")
  const bytes = asBuffer(value)
  const layout = bytes.toString("utf8", 8)
  if (!Buffer.from(layout, "utf8").equals(bytes.subarray(8))) return invalid(8, "definition is not UTF-8")
  const definition = { codecVersion: bytes.readUInt32LE(0), reducer: bytes.readUInt32LE(4), layout }
  return { _tag: "Valid", definition }
}

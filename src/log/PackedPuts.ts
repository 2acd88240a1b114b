/**
 * Puts in just the form that they have in a record, so that a record takes them over in one copy.
 *
 * For whoever writes thousands of them: there is no object and no view for any. Keys and values are written here once,
 * and the keyspace's id is filled in when it is known.
 *
 * I1 What is here is what `RecordWriter.put` would have written, byte by byte (layout there).
 * I2 It stays as it is from the time when it is handed over until it was committed.
 */
import { crc32 } from "node:zlib"
import { align8 } from "./Lsn.ts"
import { Op, WRITE_HEADER_BYTES, WriteFlag } from "./Record.ts"
import { isLargeValue, makeRecordBuffer } from "./RecordBuffer.ts"
import type { RecordBuffer } from "./RecordBuffer.ts"

/** Before a keyspace has an id. */
const noKeyspace = 0

export interface Options {
  /** A multiple of 8. */
  readonly bytes: number
  /** Most bytes of a key. */
  readonly keyBytes: number
  /** What a leaf keeps of a value, alone and beside its key: others carry a checksum. */
  readonly inlineValueBytes: number
  readonly inlinePairBytes: number
}

export class PackedPuts {
  /** How many there are, and bytes of their keys and values. */
  count = 0
  payloadBytes = 0
  /** End of what is written; a multiple of 8. */
  length = 0
  private readonly options: Options
  private buffer: RecordBuffer
  private keyspace = noKeyspace

  constructor(options: Options) {
    this.options = options
    this.buffer = makeRecordBuffer(options.bytes)
  }

  get bytes(): Buffer {
    return this.buffer.bytes
  }

  /** Where the next key is to be written, into `bytes`; there is room for the longest. */
  get keyAt(): number {
    const at = this.length + WRITE_HEADER_BYTES
    if (at + align8(this.options.keyBytes) > this.bytes.length) this.grow(at + align8(this.options.keyBytes))
    return at
  }

  clear(): void {
    this.count = this.payloadBytes = this.length = 0
  }

  /** Adds a put, whose key of so many bytes stands at `keyAt`. */
  add(keyBytes: number, value: Uint8Array): void {
    const at = this.length
    const valueBytes = value.length
    const valueAt = at + WRITE_HEADER_BYTES + align8(keyBytes)
    const end = valueAt + align8(valueBytes)
    if (end > this.bytes.length) this.grow(end)
    const { bytes, words } = this.buffer
    const { inlinePairBytes, inlineValueBytes } = this.options
    const isLarge = isLargeValue(keyBytes, valueBytes, inlineValueBytes, inlinePairBytes)
    const word = at >> 2
    words[word] = Op.put | (isLarge ? WriteFlag.checksum << 8 : 0) | keyBytes << 16
    words[word + 1] = valueBytes
    words[word + 2] = this.keyspace
    words[word + 3] = isLarge ? crc32(value) : 0
    for (let byte = at + WRITE_HEADER_BYTES + keyBytes; byte < valueAt; byte++) bytes[byte] = 0
    if ((valueBytes & 7) !== 0) words[(end >> 2) - 1] = words[(end >> 2) - 2] = 0
    // As in RecordWriter: a loop wins for the shortest.
    if (valueBytes >= 16) bytes.set(value, valueAt)
    else for (let byte = 0; byte < valueBytes; byte++) bytes[valueAt + byte] = value[byte] as number
    this.length = end
    this.count++
    this.payloadBytes += keyBytes + valueBytes
  }

  /** Says which keyspace they are put to. */
  become(keyspace: number): void {
    if (this.keyspace === keyspace) return
    this.keyspace = keyspace
    const { words } = this.buffer
    for (let at = 0; at < this.length;) {
      words[(at >> 2) + 2] = keyspace
      const keyBytes = (words[at >> 2] as number) >>> 16
      at += WRITE_HEADER_BYTES + align8(keyBytes) + align8(words[(at >> 2) + 1] as number)
    }
  }

  /** Views of each, good until the next is added. */
  *[Symbol.iterator](): Generator<{ readonly key: Uint8Array; readonly value: Uint8Array }> {
    const { bytes, words } = this.buffer
    for (let at = 0; at < this.length;) {
      const keyBytes = (words[at >> 2] as number) >>> 16
      const valueBytes = words[(at >> 2) + 1] as number
      const keyAt = at + WRITE_HEADER_BYTES
      const valueAt = keyAt + align8(keyBytes)
      yield {
        key: bytes.subarray(keyAt, keyAt + keyBytes),
        value: bytes.subarray(valueAt, valueAt + valueBytes)
      }
      at = valueAt + align8(valueBytes)
    }
  }

  private grow(least: number): void {
    let size = this.bytes.length
    while (size < least) size *= 2
    const wider = makeRecordBuffer(size)
    // The key that is under way, too.
    this.bytes.copy(wider.bytes)
    this.buffer = wider
  }
}

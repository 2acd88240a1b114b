/**
 * Puts with keys that ascend, as they lie in the log: where each key and value begins.
 *
 * What a load consists of: there they stand one after another in a record, and are found in one pass over its words,
 * without a view or an object for any of them, so that whoever applies them knows how many there are before it begins.
 * Or somebody has sorted them (`Gathered.ts`).
 *
 * I1 Each is a whole write within its record, of one keyspace, without an expiry and small enough for a leaf; whatever
 *    breaks a rule is left to the reader, which says what is wrong with it.
 * I2 Keys strictly ascend, and what pads keys and values to words is zero.
 *
 * Must not know the tree.
 */
import { MAX_KEY_BYTES, Op, WRITE_HEADER_BYTES } from "../../log/Record.ts"
import type { RecordReader } from "../../log/RecordReader.ts"
import { compareKeys } from "../page/Search.ts"

/** Puts that are looked at together. */
export const most = 1024

const headerWords = WRITE_HEADER_BYTES >>> 2

/** Words of bytes that are padded to a multiple of eight. */
const padded = (bytes: number): number => bytes + 7 >>> 3 << 1

export class Puts {
  /** Of the record; the places below are indices of it. */
  words: Int32Array = new Int32Array(0)
  count = 0
  keyspace = 0
  readonly keyAt = new Int32Array(most)
  readonly keyBytes = new Int32Array(most)
  readonly valueAt = new Int32Array(most)
  readonly valueBytes = new Int32Array(most)
  /** LSN of the commit of each. */
  readonly versions = new Float64Array(most)
  private readonly mostWords: number

  /** Writes of more words are left to those who put one by one: where few fit a page, there is little to be won. */
  constructor(mostWords: number) {
    this.mostWords = mostWords
  }

  /**
   * Finds those that begin at the next write of `reader`, which stays where it is; answers how many there are. Their
   * commit is at `version`.
   */
  find(reader: RecordReader, version: number): number {
    this.count = 0
    const { words } = reader
    if (reader.left === 0) return 0
    this.words = words
    const limit = Math.min(most, reader.left)
    const end = reader.recordEnd >>> 2
    let at = reader.next >>> 2
    if (at + headerWords > end) return 0
    this.keyspace = words[at + 2] as number
    while (this.count < limit) {
      const next = this.add(at, end, version)
      if (next < 0) break
      at = next
    }
    return this.count
  }

  /** Has the reader go on behind the first so many of them. */
  pass(reader: RecordReader, count: number): void {
    const last = count - 1
    const end = (this.valueAt[last] as number) + padded(this.valueBytes[last] as number)
    reader.pass(count, end << 2)
  }

  /** Begins anew, with those that lie in `words` and are put to a keyspace. */
  begin(words: Int32Array, keyspace: number): void {
    this.words = words
    this.keyspace = keyspace
    this.count = 0
  }

  /** Whether the write at a word, which is a whole one, is one of these (I1). */
  takes(words: Int32Array, at: number): boolean {
    const head = words[at] as number
    const valueBytes = words[at + 1] as number
    return (head & 0xffff) === Op.put && valueBytes <= 0xffff
      && headerWords + padded(head >>> 16) + padded(valueBytes) <= this.mostWords
  }

  /** Adds the put at a word, which is known to be one of these (I1, I2); answers where the next write begins. */
  push(at: number, version: number): number {
    const { count, words } = this
    const keyBytes = (words[at] as number) >>> 16
    const valueBytes = words[at + 1] as number
    const valueAt = at + headerWords + padded(keyBytes)
    this.keyAt[count] = at + headerWords
    this.keyBytes[count] = keyBytes
    this.valueAt[count] = valueAt
    this.valueBytes[count] = valueBytes
    this.versions[count] = version
    this.count = count + 1
    return valueAt + padded(valueBytes)
  }

  /** Adds the write at a word; answers where the next one begins, or -1 where it is none of these (I1, I2). */
  private add(at: number, end: number, version: number): number {
    const { count, words } = this
    if (at + headerWords > end) return -1
    const head = words[at] as number
    const keyBytes = head >>> 16
    const valueBytes = words[at + 1] as number
    // Flags mean an expiry, or a value that stays in the log.
    if ((head & 0xffff) !== Op.put || words[at + 2] !== this.keyspace || words[at + 3] !== 0) return -1
    if (keyBytes > MAX_KEY_BYTES || valueBytes < 0 || valueBytes > 0xffff) return -1
    const keyAt = at + headerWords
    const valueAt = keyAt + padded(keyBytes)
    const next = valueAt + padded(valueBytes)
    if (next > end || next - at > this.mostWords) return -1
    if (!isPadded(words, keyAt, keyBytes) || !isPadded(words, valueAt, valueBytes)) return -1
    if (count > 0) {
      const before = this.keyAt[count - 1] as number
      const order = compareKeys(words, before, this.keyBytes[count - 1] as number, words, keyAt, keyBytes)
      if (order >= 0) return -1
    }
    return this.push(at, version)
  }
}

/** Whether what stands behind the bytes at a word is zero, up to a multiple of eight. */
function isPadded(words: Int32Array, at: number, bytes: number): boolean {
  const rest = bytes & 7
  if (rest === 0) return true
  const last = at + (bytes >>> 3 << 1)
  if (rest > 4) return (words[last + 1] as number) >>> (rest - 4 << 3) === 0
  return words[last + 1] === 0 && (rest === 4 || (words[last] as number) >>> (rest << 3) === 0)
}

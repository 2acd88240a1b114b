/**
 * What a pull of a cursor gives: records packed into one growing buffer, decoded only where they are looked at.
 *
 * A batch is filled again and again; what is taken out of it are copies.
 */
import { widerInts } from "../memory/Columns.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import * as RecordOut from "../page/RecordOut.ts"
import type { Hand } from "../past/Recall.ts"
import { Packed } from "./Packed.ts"

export class Batch extends Packed {
  /** Records in the batch. */
  count = 0
  /** True when the range has nothing beyond this batch. */
  ended = false
  /**
   * Where to go on when it has: the new lower bound of an ascending range, the new upper bound of a descending one.
   * Undefined where nothing was read yet.
   */
  position: Uint8Array | undefined = undefined
  /** Blocks of the scratch file that the reader has brought, for a range of the past that needs them. */
  hand: Hand | undefined = undefined
  /** Most records that any leaf had which was looked at since the batch was made. */
  leafRecords = 0
  keyAt = new Int32Array(64)
  keyBytes = new Int32Array(64)

  override renew(now: number): void {
    super.renew(now)
    this.reset()
    this.hand = undefined
    this.leafRecords = 0
  }

  reset(): void {
    this.count = 0
    this.used = 0
    this.ended = false
    this.position = undefined
  }

  /** A copy of the key of record `index`. */
  key(index: number): Uint8Array {
    return this.copy(this.keyAt[index] as number, this.keyBytes[index] as number)
  }

  /** A copy of the value of record `index`; empty where only keys were asked for. */
  value(index: number): Uint8Array {
    return this.copy(this.valueAt[index] as number, this.valueBytes[index] as number)
  }

  /** Adds a record with its key; the value follows with {@link addValue}. */
  add(key: KeyScratch, kind: number, version: number, expiry: number): void {
    const index = this.count
    if (index === this.keyAt.length) this.grow()
    this.keyAt[index] = this.pack(key.words, 0, key.length)
    this.keyBytes[index] = key.length
    this.setRow(index, kind, version, expiry)
    this.count = index + 1
  }

  /** Adds record `index` of the leaf at `p`, as it stands there; without its value where only keys are asked for. */
  addStored(words: Int32Array, p: number, index: number, hasValue: boolean): void {
    const row = this.count
    if (row === this.keyAt.length) this.grow()
    const slot = words[p + Page.metaAt(words, p, index)] as number
    const record = p + (slot & 0xffff)
    const stored = slot >>> 16
    const keyLength = RecordOut.keyBytes(words, p, stored)
    const valueLength = hasValue ? Leaf.valueBytesAt(words, record) : 0
    const keyWords = keyLength + 3 >>> 2
    const valueWords = valueLength + 3 >>> 2
    const at = this.reserve((keyWords + valueWords) * 4)
    RecordOut.copy(words, p, record, stored, valueWords, this.words, at >>> 2)
    this.keyAt[row] = at
    this.keyBytes[row] = keyLength
    this.setStored(row, words, record, stored)
    this.valueAt[row] = at + keyWords * 4
    this.valueBytes[row] = valueLength
    this.count = row + 1
  }

  /** Gives the record added last its value: `length` bytes from word `from` on. */
  addValue(words: Int32Array, from: number, length: number): void {
    this.setValue(this.count - 1, words, from, length)
  }

  protected grow(): void {
    const length = this.keyAt.length * 2
    this.keyAt = widerInts(this.keyAt, length)
    this.keyBytes = widerInts(this.keyBytes, length)
    this.growRows(length)
  }
}

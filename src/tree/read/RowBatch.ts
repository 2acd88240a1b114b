/**
 * A batch whose keys and values are handed out where they were packed.
 *
 * They stand in slabs, which are filled one record after another, over all batches: memory of its own would cost each
 * of them 250 ns and a collection later. A slab lives as long as a key or a value in it, so it is small.
 *
 * ```
 *   reset(): goes on where the last one was settled ─ add, addValue ─▶ settle(): what is packed is whoever takes it
 *              ▲                                          │
 *              └───────── not settled: packed over ◀──────┘
 * ```
 *
 * I1 From `reset` to `settle` nothing else runs, and nothing is handed out that was not settled.
 */
import { widerInts } from "../memory/Columns.ts"
import type { KeyScratch } from "../page/KeyScratch.ts"
import * as Leaf from "../page/Leaf.ts"
import * as Page from "../page/Page.ts"
import * as RecordOut from "../page/RecordOut.ts"
import type { Reference } from "../page/Reference.ts"
import { readReference } from "../page/Reference.ts"
import { Batch } from "./Batch.ts"
import { Spares } from "./Packed.ts"

const slabBytes = 8192
/** Values above this have memory of their own. */
const pooledBytes = 1024
/** Up to this many words a loop moves them faster than `set`. */
const loopWords = 32

/** The slab that the next batch goes on in, and how much of it is taken. */
const open = { words: new Int32Array(slabBytes / 4), used: 0 }

export class RowBatch extends Batch {
  /** The memory of keys and values; the last one is the slab that is being filled. */
  private memories: Array<ArrayBuffer> = []
  private keyIn = new Int32Array(64)
  private valueIn = new Int32Array(64)
  private slab = open.words
  private at = 0

  override reset(): void {
    super.reset()
    this.slab = open.words
    this.at = open.used
    this.memories = [this.slab.buffer]
  }

  /** What is packed stays as it is from here on. */
  settle(): void {
    open.words = this.slab
    open.used = this.at
  }

  override key(index: number): Uint8Array {
    return this.view(this.keyIn[index] as number, this.keyAt[index] as number, this.keyBytes[index] as number)
  }

  override value(index: number): Uint8Array {
    const memory = this.valueIn[index] as number
    return this.view(memory, this.valueAt[index] as number, this.valueBytes[index] as number)
  }

  override reference(index: number): Reference | undefined {
    if (this.kinds[index] !== Leaf.Kind.Reference || this.valueBytes[index] === 0) return undefined
    return readReference(this.value(index))
  }

  private view(memory: number, at: number, length: number): Uint8Array {
    return new Uint8Array(this.memories[memory] as ArrayBuffer, at, length)
  }

  override add(key: KeyScratch, kind: number, version: number, expiry: number): void {
    const index = this.count
    if (index === this.keyAt.length) this.grow()
    this.keyAt[index] = this.place(key.words, 0, key.length)
    this.keyIn[index] = this.valueIn[index] = this.memories.length - 1
    this.keyBytes[index] = key.length
    this.setRow(index, kind, version, expiry)
    this.count = index + 1
  }

  override addStored(words: Int32Array, p: number, index: number, hasValue: boolean): void {
    const row = this.count
    if (row === this.keyAt.length) this.grow()
    const slot = words[p + Page.metaAt(words, p, index)] as number
    const record = p + (slot & 0xffff)
    const stored = slot >>> 16
    const keyLength = RecordOut.keyBytes(words, p, stored)
    const valueLength = hasValue ? Leaf.valueBytesAt(words, record) : 0
    const keyWords = keyLength + 3 >>> 2
    const valueWords = valueLength > pooledBytes ? 0 : valueLength + 3 >>> 2
    const at = this.take((keyWords + valueWords) * 4)
    RecordOut.copy(words, p, record, stored, valueWords, this.slab, at >>> 2)
    this.keyAt[row] = at
    this.keyIn[row] = this.valueIn[row] = this.memories.length - 1
    this.keyBytes[row] = keyLength
    this.setStored(row, words, record, stored)
    this.valueAt[row] = at + keyWords * 4
    this.valueBytes[row] = valueLength
    this.count = row + 1
    if (valueLength > pooledBytes) this.addValue(words, Leaf.valueAt(words, record, stored), valueLength)
  }

  override addValue(words: Int32Array, from: number, length: number): void {
    const index = this.count - 1
    this.valueBytes[index] = length
    if (length <= pooledBytes) {
      this.valueAt[index] = this.place(words, from, length)
      this.valueIn[index] = this.memories.length - 1
      return
    }
    this.valueAt[index] = 0
    this.valueIn[index] = this.memories.length
    const own = words.slice(from, from + (length + 3 >>> 2))
    this.memories.push(own.buffer, this.slab.buffer)
    this.used += own.byteLength
  }

  /** Copies `length` bytes from word `from` on to the slab; answers the byte from which on they stand there. */
  private place(words: Int32Array, from: number, length: number): number {
    const count = length + 3 >>> 2
    const at = this.take(count * 4)
    const { slab } = this
    if (count <= loopWords) {
      for (let word = 0, to = at >>> 2; word < count; word++) slab[to + word] = words[from + word] as number
    } else {
      slab.set(words.subarray(from, from + count), at >>> 2)
    }
    return at
  }

  /** Takes so many bytes of the slab, of another one where there are not as many; answers the first. */
  private take(bytes: number): number {
    if (this.at + bytes > slabBytes) this.begin()
    const { at } = this
    this.at = at + bytes
    this.used += bytes
    return at
  }

  /** Takes another slab. */
  private begin(): void {
    this.slab = new Int32Array(slabBytes / 4)
    this.at = 0
    this.memories.push(this.slab.buffer)
  }

  protected override grow(): void {
    super.grow()
    const { length } = this.keyAt
    this.keyIn = widerInts(this.keyIn, length)
    this.valueIn = widerInts(this.valueIn, length)
  }
}

/** For scans that end; one that is left in the middle takes its batch with it. */
export const batches = new Spares(() => new RowBatch())

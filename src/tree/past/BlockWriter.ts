/**
 * Filling a block of the scratch file with entries of memory.
 *
 * Little-endian. What is not written is zero.
 *
 * | at        | size | what                                                                       |
 * |-----------|------|----------------------------------------------------------------------------|
 * | 0         | 4    | entries, n                                                                 |
 * | 4         | 8    | the run, the block's number in it                                          |
 * | 12        | 4 n  | word at which each entry begins: ascending by tree, key, version           |
 * | entry + 0 | 4    | tree                                                                       |
 * | + 4       | 4    | bytes of the key, kind · 2¹⁶                                               |
 * | + 8       | 4    | bytes of the value                                                         |
 * | + 12      | 8    | version                                                                    |
 * | + 20      | 8    | version of what displaced it                                               |
 * | + 28      | 8    | expiry: float64, Infinity where there is none                              |
 * | + 36      | 4 k  | the key, zero-padded to words; then the value, alike                       |
 *
 * Broken when: its CRC-32, which only memory knows, is another; then it is not looked at. The file does not outlive the
 * process, so there is no magic and no format number.
 */
import { entryWords, float, floatWords, headerWords } from "./Block.ts"
import type { Entries } from "./Entries.ts"

const high = 2 ** 32

/** A block that is being filled. */
export class BlockWriter {
  readonly words: Int32Array
  readonly bytes: Uint8Array
  count = 0
  private end: number

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2)
    this.end = this.words.length
  }

  /** Begins anew. */
  begin(run: number, index: number): void {
    this.words.fill(0)
    this.words[1] = run
    this.words[2] = index
    this.count = 0
    this.end = this.words.length
  }

  /** Adds an entry of memory that is above all before it; false where there is no room. */
  add(entries: Entries, entry: number): boolean {
    const { words } = this
    const blob = entries.wordsOf(entry)
    if (headerWords + this.count + 1 + entryWords + blob > this.end) return false
    const at = this.end - entryWords - blob
    words[headerWords + this.count] = at
    words[0] = ++this.count
    this.end = at
    words[at] = entries.treeOf(entry)
    words[at + 1] = entries.keyBytesOf(entry) | entries.kindOf(entry) << 16
    words[at + 2] = entries.valueBytesOf(entry)
    writeNumber(words, at + 3, entries.versionOf(entry))
    writeNumber(words, at + 5, entries.endOf(entry))
    float[0] = entries.expiryOf(entry)
    words[at + 7] = floatWords[0] as number
    words[at + 8] = floatWords[1] as number
    const source = entries.wordsOfEntry(entry)
    const from = entries.keyAt(entry) >>> 2
    for (let word = 0; word < blob; word++) words[at + entryWords + word] = source[from + word] as number
    return true
  }
}

function writeNumber(words: Int32Array, at: number, value: number): void {
  words[at] = value % high
  words[at + 1] = Math.floor(value / high)
}

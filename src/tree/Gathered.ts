/**
 * Writes of many commits, gathered to be applied in the order of their keys.
 *
 * A log that is replayed says in which order commits were made. The tree only needs the last write of each key, and
 * one way down for all records of a leaf: so writes are gathered where they lie, sorted by keyspace and key, and handed
 * out from the least key to the greatest, those that stand in a row as a sequence (`Puts.ts`).
 *
 * ```
 *   take ──▶ gathering ── sort ──▶ handing out: find, pass … ── the last one ──▶ clear ──▶ gathering
 * ```
 *
 * I1 Of the writes of a key only the last is handed out, with the version of its commit.
 * I2 What was taken lies where it lay, in one buffer, until `clear`.
 * I3 Only whole records are taken: transactions that put small values and remove, in keyspaces that are open.
 *
 * Sorted by words of the keys, the first one first: few rows with the same word by comparison, many by the next word. A
 * word and its row are one number, and the runtime sorts numbers without code of ours, which in a process that has just
 * been started is slow for so few. Rejected: radix sort, two to four times as long for a quarter of a million of them;
 * taking operands and large values, each of which counts, and not only the last.
 */
import { Op, RecordType, WRITE_HEADER_BYTES, WriteFlag } from "../log/Record.ts"
import type { RecordReader } from "../log/RecordReader.ts"
import type { Generations } from "./Generations.ts"
import { compareKeys } from "./page/Search.ts"
import type { Puts } from "./write/Puts.ts"

const headerWords = WRITE_HEADER_BYTES >>> 2

/** So few with the same word are compared. */
const few = 16

/** Rows that there is room for at first. */
const leastRows = 1_024

/** Bytes of memory for a row. */
const rowBytes = 24

/** Where touched words go: a store that is never read keeps the loads that it depends on. */
const sink = new Int32Array(1)

const padded = (bytes: number): number => bytes + 7 >>> 3 << 1

export class Gathered {
  /** The buffer in which they lie, by words. */
  words: Int32Array = new Int32Array(0)
  /** Writes and records. */
  count = 0
  records = 0
  /** LSN of the first record, the exclusive end of the last, and its time. */
  lsn = 0
  end = 0
  millis = 0
  /** Word of each write's header, and LSN of its commit, in the order of the log. */
  private at: Int32Array = new Int32Array(0)
  private versions = new Float64Array(0)
  /** What is sorted: a row and the word above it, one after another. */
  private pairs = new BigUint64Array(0)
  private halves = new Int32Array(0)
  /** Rows that count, in order; how many they are, and the next to be handed out. */
  private rows: Int32Array = new Int32Array(0)
  private isSorted = false
  private sorted = 0
  private next = 0
  private readonly generations: Generations
  private readonly most: number

  /** Takes at most so many writes before they are applied. */
  constructor(generations: Generations, most: number) {
    this.generations = generations
    this.most = Math.floor(most)
  }

  /** Memory of the books: the writes themselves are somebody else's. */
  get bytes(): number {
    return this.at.length * rowBytes
  }

  get isEmpty(): boolean {
    return this.records === 0
  }

  /** Takes the record that `reader` is at; false where it is none of these, or has no place among them. */
  take(reader: RecordReader): boolean {
    const { bytes, recordEnd, recordStart, writeCount } = reader
    if (reader.type !== RecordType.transaction || this.isSorted || writeCount > this.most) return false
    if (this.isEmpty) this.words = wordsOf(bytes, this.words)
    else if (bytes.buffer !== this.words.buffer || this.count + writeCount > this.most) return false
    if ((bytes.byteOffset & 3) !== 0 || !this.takeWrites(reader)) return false
    if (this.isEmpty) this.lsn = reader.lsn
    this.count += writeCount
    this.records++
    this.end = reader.lsn + recordEnd - recordStart
    this.millis = reader.millis
    return true
  }

  /** Adds the writes of a record behind `count`; false where one of them is another one. */
  private takeWrites(reader: RecordReader): boolean {
    const { generations, words } = this
    const { lsn, writeCount } = reader
    this.reserve(this.count + writeCount)
    const { at: places, versions } = this
    let at = (reader.bytes.byteOffset + reader.next) >>> 2
    let root: { expires: boolean } | undefined
    let keyspace = 0
    for (let index = this.count; index < this.count + writeCount; index++) {
      const head = words[at] as number
      const op = head & 0xff
      const expires = (head & WriteFlag.expiry << 8) !== 0
      if (op !== Op.put && op !== Op.remove || (head & WriteFlag.checksum << 8) !== 0) return false
      if (root === undefined || words[at + 2] !== keyspace) {
        keyspace = words[at + 2] as number
        root = generations.get(keyspace).root
      }
      // Whatever becomes of it: what is merged into the keyspace from now on depends on it (`Tree.ts`).
      if (expires) root.expires = true
      places[index] = at
      versions[index] = lsn
      at += headerWords + (expires ? 2 : 0) + padded(head >>> 16) + padded(words[at + 1] as number)
    }
    return true
  }

  private reserve(count: number): void {
    if (count <= this.at.length) return
    const length = Math.max(count, Math.min(this.most, Math.max(leastRows, 2 * this.at.length)))
    const at = new Int32Array(length)
    const versions = new Float64Array(length)
    at.set(this.at)
    versions.set(this.versions)
    this.at = at
    this.versions = versions
  }

  /** Begins to hand out. */
  sort(): void {
    const { count } = this
    if (this.rows.length < count) {
      this.rows = new Int32Array(this.at.length)
      this.pairs = new BigUint64Array(this.at.length)
      this.halves = new Int32Array(this.pairs.buffer)
    }
    for (let row = 0; row < count; row++) this.halves[2 * row] = row
    this.sorted = 0
    if (count > 0) this.sortBy(0, 0, count)
    this.isSorted = true
  }

  /** Sorts rows by the keyspace (level 0), or by a word of their keys and those that follow, and keeps what counts. */
  private sortBy(level: number, from: number, to: number): void {
    const { halves, rows } = this
    const isLast = this.load(level, from, to)
    this.pairs.subarray(from, to).sort()
    for (let run = from; run < to;) {
      let end = run + 1
      while (end < to && halves[2 * end + 1] === halves[2 * run + 1]) end++
      // Of the same keys only the last write counts (I1).
      if (isLast || end - run === 1) rows[this.sorted++] = halves[2 * end - 2] as number
      else if (end - run > few) this.sortBy(level + 1, run, end)
      else this.insert(run, end)
      run = end
    }
  }

  /** Takes the words to sort by; where no key has one, lengths. True then: what is the same is the same key. */
  private load(level: number, from: number, to: number): boolean {
    const { at, halves, words } = this
    let longest = 0
    for (let place = from; place < to; place++) {
      const write = at[halves[2 * place] as number] as number
      const bytes = keyBytesOf(words, write)
      if (bytes > longest) longest = bytes
      halves[2 * place + 1] = level === 0
        ? words[write + 2] as number
        : bytes > level - 1 << 2
        ? swapped(words[keyOf(words, write) + level - 1] as number)
        : 0
    }
    if (level === 0 || longest > level - 1 << 2) return false
    for (let place = from; place < to; place++) {
      halves[2 * place + 1] = keyBytesOf(words, at[halves[2 * place] as number] as number)
    }
    return true
  }

  /** Sorts a few rows of one keyspace by their keys, and keeps what counts. */
  private insert(from: number, to: number): void {
    const { halves, rows } = this
    for (let place = from + 1; place < to; place++) {
      const row = halves[2 * place] as number
      let free = place
      while (free > from && this.compare(halves[2 * free - 2] as number, row) > 0) {
        halves[2 * free] = halves[2 * free - 2] as number
        free--
      }
      halves[2 * free] = row
    }
    for (let place = from; place < to; place++) {
      const row = halves[2 * place] as number
      const isLast = place + 1 === to || this.compare(row, halves[2 * place + 2] as number) !== 0
      if (isLast) rows[this.sorted++] = row
    }
  }

  private compare(a: number, b: number): number {
    const { at, words } = this
    const x = at[a] as number
    const y = at[b] as number
    return compareKeys(
      words,
      keyOf(words, x),
      keyBytesOf(words, x),
      words,
      keyOf(words, y),
      keyBytesOf(words, y)
    )
  }

  /** Whether all were handed out. */
  get isOver(): boolean {
    return this.next === this.sorted
  }

  /** Where the next write begins in the buffer, in bytes. */
  get place(): number {
    return (this.at[this.rows[this.next] as number] as number) * 4
  }

  /** Its version. */
  get version(): number {
    return this.versions[this.rows[this.next] as number] as number
  }

  /** Finds up to `limit` puts that come next and are a sequence; answers how many. */
  find(puts: Puts, limit: number): number {
    const { at, next, rows, versions, words } = this
    if (this.isOver) return 0
    const to = Math.min(this.sorted, next + limit)
    this.touch(to)
    const keyspace = words[(at[rows[next] as number] as number) + 2] as number
    puts.begin(words, keyspace)
    for (let place = next; place < to; place++) {
      const row = rows[place] as number
      const write = at[row] as number
      if (words[write + 2] !== keyspace || !puts.takes(words, write)) break
      puts.push(write, versions[row] as number)
    }
    return puts.count
  }

  /** Reads a word of each of the first lines of the next writes, so that their misses overlap. */
  private touch(to: number): void {
    const { at, rows, words } = this
    const end = words.length - 1
    let read = 0
    for (let place = this.next; place < to; place++) {
      const write = at[rows[place] as number] as number
      read ^= (words[write] as number) ^ (words[Math.min(write + 16, end)] as number) ^
        (words[Math.min(write + 32, end)] as number)
    }
    sink[0] = read
  }

  /** Goes on behind so many. */
  pass(count: number): void {
    this.next += count
  }

  /** All were applied, or none is going to be. */
  clear(): void {
    this.count =
      this.records =
      this.next =
      this.sorted =
        0
    this.isSorted = false
  }

  /** Gives the memory back: nothing more comes. */
  release(): void {
    this.words =
      this.at =
      this.rows =
      this.halves =
        new Int32Array(0)
    this.versions = new Float64Array(0)
    this.pairs = new BigUint64Array(0)
  }
}

const wordsOf = (bytes: Uint8Array, words: Int32Array): Int32Array =>
  words.buffer === bytes.buffer ? words : new Int32Array(bytes.buffer, 0, bytes.buffer.byteLength >>> 2)

const keyBytesOf = (words: Int32Array, write: number): number => (words[write] as number) >>> 16

const keyOf = (words: Int32Array, write: number): number =>
  write + headerWords + (((words[write] as number) & WriteFlag.expiry << 8) === 0 ? 0 : 2)

/** A word of a key as a number, by which words are in the order of their bytes. */
const swapped = (word: number): number =>
  word << 24 | (word & 0xff00) << 8 | word >>> 8 & 0xff00 | word >>> 24

/**
 * The conflict window: what was committed since the oldest open transaction began.
 *
 * A transaction is valid if nothing that it read was written at or above its snapshot. The window answers that without
 * a page: rows of written keys in the order of their LSNs, chained by hash for keys that were read, and sorted block by
 * block, when somebody first asks, for ranges. Backward validation as in Kung and Robinson (On Optimistic Methods for
 * Concurrency Control, 1981, section 4), with one committer, so that nobody else validates meanwhile.
 *
 * ```
 *   begin ──▶ open ── end ──▶ closed: what is older than all that are open is forgotten, block by block
 * ```
 *
 * I1 Every commit at or above `since` is here; a transaction whose snapshot is below has lost.
 * I2 LSNs of rows never fall, so a chain can be left where the first older row is met.
 * I3 Beyond so many bytes the oldest blocks are kept as *whole keyspaces*, of which only the newest LSN is known: old
 *    transactions lose that need not have, young ones nothing.
 *
 * It is filled only while transactions are open. Keyspaces have numbers of its own here: a name that is dropped and
 * made anew stays the same to whoever read that it was absent. Rejected: one order over all rows, for which every
 * commit would pay; and asking the versions in the tree, which a blind write does not leave there.
 */
import type { RangeRead, ReadSet } from "./ReadSet.ts"
import { hashOf } from "./ReadSet.ts"
import { Block, blockRows } from "./WindowBlock.ts"

/** Snapshots that have ended, whose places are kept. */
const mostBases = 1_024

export class Window {
  private since: number
  private readonly mostBytes: number
  private readonly names: Array<string> = []
  private readonly spaces = new Map<string, number>()
  /** Newest LSN at which a keyspace was written as a whole, by keyspace. */
  private readonly whole: Array<number> = []
  /** Snapshots of open transactions, ascending, and how many are at each: those from `oldest` on and before `next`. */
  private readonly bases: Array<number> = []
  private readonly counts: Array<number> = []
  private oldest = 0
  private next = 0
  /** Transactions that are open. */
  open = 0
  private blocks: Array<Block> = []
  /** Number of the first row of the first block, and of the next row; they only grow. */
  private firstRow = 0
  private nextRow = 0
  /** The newest row of each chain; those below `firstRow` are gone. */
  private buckets = new Float64Array(256).fill(-1)
  private blockBytes = 0
  private spare: Block | undefined

  constructor(options: { readonly since: number; readonly mostBytes: number }) {
    this.since = options.since
    this.mostBytes = options.mostBytes
  }

  /** Rows that are kept. */
  get size(): number {
    return this.nextRow - this.firstRow
  }

  get bytes(): number {
    return this.blockBytes + this.buckets.byteLength + 16 * this.bases.length
  }

  /** The number of a keyspace. */
  spaceOf(name: string): number {
    const known = this.spaces.get(name)
    if (known !== undefined) return known
    const space = this.names.length
    this.names.push(name)
    this.whole.push(-1)
    this.spaces.set(name, space)
    return space
  }

  /** A transaction reads at `at`, the newest visible LSN; to be ended once. */
  begin(at: number): void {
    this.open++
    const last = this.next - 1
    // Only a log that has failed goes back, and after that nobody commits.
    if (last >= this.oldest && (this.bases[last] as number) >= at) {
      this.counts[last] = (this.counts[last] as number) + 1
      return
    }
    this.bases[this.next] = at
    this.counts[this.next++] = 1
  }

  end(at: number): void {
    this.open--
    const { bases, counts } = this
    let index = this.next - 1
    while (index > this.oldest && (bases[index] as number) > at) index--
    counts[index] = (counts[index] as number) - 1
    if (index > this.oldest || counts[index] !== 0) return
    while (this.oldest < this.next && counts[this.oldest] === 0) this.oldest++
    if (this.oldest === this.next) {
      this.oldest = this.next = 0
      // Shorter arrays stay: one transaction after the other would make them anew.
      if (bases.length > mostBases) bases.length = counts.length = 0
      this.clear()
      return
    }
    if (this.oldest >= mostBases) {
      bases.splice(0, this.oldest)
      counts.splice(0, this.oldest)
      this.next -= this.oldest
      this.oldest = 0
    }
    this.forget(bases[this.oldest] as number)
  }

  /** What ends at `lsn` was committed while nobody was open, and is not here. */
  skip(lsn: number): void {
    this.since = lsn
  }

  /** A key was written at `lsn`, at or above all others. */
  write(space: number, key: Uint8Array, lsn: number): void {
    const hash = hashOf(space, key)
    if (this.nextRow - this.firstRow === this.blocks.length * blockRows) this.extend()
    const block = this.blocks.at(-1) as Block
    if (this.size === this.buckets.length) this.widen()
    const bucket = hash & this.buckets.length - 1
    this.blockBytes -= block.bytes
    block.add(space, hash, key, lsn, this.buckets[bucket] as number)
    this.blockBytes += block.bytes
    this.buckets[bucket] = this.nextRow++
  }

  /** A whole keyspace was written at `lsn`. */
  writeAll(space: number, lsn: number): void {
    this.whole[space] = lsn
  }

  /** The keyspace in which something that was read has been written since, if there is one. */
  conflict(reads: ReadSet): string | undefined {
    const { at, hashes, ranges, spaces } = reads
    if (at < this.since) return this.names[spaces[0] as number]
    for (const space of spaces) if ((this.whole[space] as number) >= at) return this.names[space]
    const newest = this.blocks.at(-1)
    if (newest === undefined || newest.newest < at) return undefined
    for (const hash of hashes) {
      const space = this.writtenBy(hash, at)
      if (space >= 0) return this.names[space]
    }
    for (const range of ranges) if (this.isWritten(range, at)) return this.names[range.space]
    return undefined
  }

  /** The keyspace of a key with this hash that was written at or above `at`; -1 where there is none. */
  private writtenBy(hash: number, at: number): number {
    let row = this.buckets[hash & this.buckets.length - 1] as number
    while (row >= this.firstRow) {
      const block = this.blocks[Math.floor((row - this.firstRow) / blockRows)] as Block
      const index = (row - this.firstRow) % blockRows
      if ((block.lsns[index] as number) < at) return -1
      if (block.hashes[index] === hash) return block.spaces[index] as number
      row = block.chain[index] as number
    }
    return -1
  }

  private isWritten({ lower, space, upper }: RangeRead, at: number): boolean {
    if (lower === undefined) return false
    for (let index = this.blocks.length - 1; index >= 0; index--) {
      const block = this.blocks[index] as Block
      if (block.newest < at) return false
      if (block.has(space, lower, upper, at)) return true
    }
    return false
  }

  private extend(): void {
    // Half of what is allowed goes at once, so that it is not done for each block.
    if (this.bytes > this.mostBytes) this.coarsen(this.blocks.length + 1 >>> 1)
    const block = this.spare ?? new Block()
    this.spare = undefined
    this.blocks.push(block)
    this.blockBytes += block.bytes
  }

  /** Keeps so many of the oldest blocks as whole keyspaces. */
  private coarsen(count: number): void {
    for (const block of this.blocks.slice(0, count)) {
      for (let index = 0; index < block.count; index++) {
        const space = block.spaces[index] as number
        this.whole[space] = Math.max(this.whole[space] as number, block.lsns[index] as number)
      }
    }
    this.drop(count)
  }

  /** Forgets what is below `lsn`. */
  private forget(lsn: number): void {
    let count = 0
    while (count < this.blocks.length && (this.blocks[count] as Block).newest < lsn) count++
    if (count === 0) return
    this.since = Math.max(this.since, lsn)
    if (count === this.blocks.length) this.clear()
    else this.drop(count)
  }

  private drop(count: number): void {
    for (const block of this.blocks.splice(0, count)) {
      this.blockBytes -= block.bytes
      this.firstRow += block.count
    }
  }

  /** One block stays for those to come: most often few commits pass while somebody is open. */
  private clear(): void {
    const newest = this.blocks.at(-1)
    if (newest === undefined) return
    this.since = Math.max(this.since, newest.newest + 1)
    this.firstRow = this.nextRow
    this.blocks.length = 0
    this.blockBytes = 0
    newest.clear()
    this.spare = newest
  }

  /** As many chains as rows: chains are made anew, rows keep their numbers. */
  private widen(): void {
    this.buckets = new Float64Array(this.buckets.length * 2).fill(-1)
    let row = this.firstRow
    for (const block of this.blocks) {
      for (let index = 0; index < block.count; index++) {
        const bucket = (block.hashes[index] as number) & this.buckets.length - 1
        block.chain[index] = this.buckets[bucket] as number
        this.buckets[bucket] = row++
      }
    }
  }
}

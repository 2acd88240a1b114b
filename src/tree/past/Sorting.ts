/**
 * Sorting what goes to the scratch file, in slices: chunks are sorted one by one, then merged by a heap of their heads.
 *
 * The entries do not change while this goes on: those that nobody needs any more wait for its end. A slice is some
 * milliseconds of the event loop at most.
 */
import type { Entries } from "./Entries.ts"

const chunkEntries = 1_024

export class Sorting {
  private readonly entries: Entries
  private readonly rows: Int32Array
  /** Rows of sorted chunks. */
  private sorted = 0
  /** Of each chunk, the row that comes next. */
  private readonly heads: Int32Array
  /** Chunks by their heads, the least first. */
  private readonly heap: Array<number> = []

  constructor(entries: Entries, rows: Int32Array) {
    this.entries = entries
    this.rows = rows
    this.heads = new Int32Array(Math.ceil(rows.length / chunkEntries))
  }

  /** Sorts another chunk; true when all are. */
  sort(): boolean {
    const { entries, rows } = this
    if (this.sorted < rows.length) {
      const chunk = this.sorted / chunkEntries
      rows.subarray(this.sorted, this.sorted + chunkEntries).sort((a, b) => entries.compareEntries(a, b))
      this.heads[chunk] = this.sorted
      this.sorted += chunkEntries
      this.heap.push(chunk)
      this.rise(this.heap.length - 1)
    }
    return this.sorted >= rows.length
  }

  /** The next entry in order, or -1. All chunks are sorted. */
  peek(): number {
    const chunk = this.heap[0]
    return chunk === undefined ? -1 : this.rowOf(chunk)
  }

  /** Goes on to the next. */
  pass(): void {
    const chunk = this.heap[0] as number
    const head = this.heads[chunk] = (this.heads[chunk] as number) + 1
    if (head === Math.min(this.rows.length, (chunk + 1) * chunkEntries)) {
      const last = this.heap.pop() as number
      if (this.heap.length === 0) return
      this.heap[0] = last
    }
    this.sink()
  }

  private rowOf(chunk: number): number {
    return this.rows[this.heads[chunk] as number] as number
  }

  private precedes(a: number, b: number): boolean {
    return this.entries.compareEntries(this.rowOf(a), this.rowOf(b)) < 0
  }

  private rise(from: number): void {
    const { heap } = this
    for (let at = from; at > 0;) {
      const parent = at - 1 >>> 1
      if (!this.precedes(heap[at] as number, heap[parent] as number)) return
      ;[heap[at], heap[parent]] = [heap[parent] as number, heap[at] as number]
      at = parent
    }
  }

  private sink(): void {
    const { heap } = this
    for (let at = 0;;) {
      let least = at
      for (let child = 2 * at + 1; child <= 2 * at + 2 && child < heap.length; child++) {
        if (this.precedes(heap[child] as number, heap[least] as number)) least = child
      }
      if (least === at) return
      ;[heap[at], heap[least]] = [heap[least] as number, heap[at] as number]
      at = least
    }
  }
}

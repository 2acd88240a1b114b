/**
 * Pages that keys miss: each once, in the order in which they were missed, with the keys that wait for it.
 *
 * Lists are chains through arrays, made once and used again: an object for each page would live as long as the disk
 * takes, and such objects the collector comes to treat as old from birth.
 */
import { widerInts } from "../memory/Columns.ts"

export class Misses {
  /** How many pages. */
  count = 0
  /** The pages; the first `count` count. */
  pageIds = new Int32Array(16)
  /** First and last key of each page, by its place; of each key the next one of its page, or -1. */
  private first = new Int32Array(16)
  private last = new Int32Array(16)
  private next = new Int32Array(64)
  private readonly places = new Map<number, number>()

  clear(): void {
    this.count = 0
    if (this.places.size > 0) this.places.clear()
  }

  add(key: number, pageId: number): void {
    if (key >= this.next.length) this.next = widerInts(this.next, Math.max(key + 1, this.next.length * 2))
    this.next[key] = -1
    const place = this.places.get(pageId)
    if (place !== undefined) {
      this.next[this.last[place] as number] = key
      this.last[place] = key
      return
    }
    if (this.count === this.pageIds.length) this.grow()
    this.places.set(pageId, this.count)
    this.pageIds[this.count] = pageId
    this.first[this.count] = key
    this.last[this.count++] = key
  }

  /** Writes the keys of a page, as they came, to `target`; answers how many. */
  keysInto(place: number, target: Int32Array): number {
    let count = 0
    for (let key = this.first[place] as number; key >= 0; key = this.next[key] as number) {
      target[count++] = key
    }
    return count
  }

  private grow(): void {
    const length = this.count * 2
    this.pageIds = widerInts(this.pageIds, length)
    this.first = widerInts(this.first, length)
    this.last = widerInts(this.last, length)
  }
}

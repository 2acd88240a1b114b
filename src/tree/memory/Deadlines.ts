/**
 * When something in each leaf expires first, as far as it is known: where the janitor looks, and where it need not.
 *
 * ```
 *   note: a record that expires was written ─▶ min ─▶ due ─▶ visited: raised to what is left there
 *   split, merge, balance ─▶ both leaves have the lesser of both
 * ```
 *
 * I1 What is known of a page is no later than the first expiry of any record in it, in base page or mini-page.
 * I2 What a checkpoint is told (`earliest`) is no later than I1 asks of the pages as they were at its cut, and at any
 *    time since: a crash may go back to that.
 *
 * Eight bytes per page id, and only in a store that has had a record that expires; beside them the least of each 256,
 * so that looking for what is due passes over the others. On disk there is one number for each chunk of the map table.
 *
 * It must not know the clock, nor what a page holds.
 */
import { widerFloats } from "./Columns.ts"

/** Ids per range, as a power of two. */
const rangeBits = 8

export class Deadlines {
  /** Whether anything may ever expire, as far as it is known. */
  any = false
  private byPage = new Float64Array(0)
  /** No later than any of the range's pages. */
  private byRange = new Float64Array(0)
  /** Of pages that were raised since the cut of the checkpoint in flight: the least they had. */
  private held: Map<number, number> | undefined

  get bytes(): number {
    return this.byPage.byteLength + this.byRange.byteLength
  }

  /** A record that expires came into a page. */
  note(id: number, expiry: number): void {
    this.any = true
    if (id >= this.byPage.length) this.grow(id)
    if (expiry < (this.byPage[id] as number)) this.byPage[id] = expiry
    const range = id >>> rangeBits
    if (expiry < (this.byRange[range] as number)) this.byRange[range] = expiry
  }

  /** Records of one page came into another. */
  inherit(id: number, from: number): void {
    const first = this.of(from)
    if (first !== Infinity) this.note(id, first)
  }

  /** What is in a page was looked through, or is gone: nothing in it expires before `first`. */
  raise(id: number, first: number): void {
    const before = this.of(id)
    if (before === Infinity && first === Infinity) return
    if (this.held !== undefined && before < (this.held.get(id) ?? first)) this.held.set(id, before)
    this.byPage[id] = Infinity
    if (first !== Infinity) this.note(id, first)
  }

  /** A checkpoint begins. */
  hold(): void {
    this.held = new Map()
  }

  /** It has ended. */
  letGo(): void {
    this.held = undefined
  }

  of(id: number): number {
    return id < this.byPage.length ? this.byPage[id] as number : Infinity
  }

  /** The first page from `from` on in which something may have expired by `now`; 0 where there is none. */
  due(now: number, from: number): number {
    const { byPage, byRange } = this
    for (let range = from >>> rangeBits; range < byRange.length; range++) {
      if ((byRange[range] as number) > now) continue
      let least = Infinity
      const end = range + 1 << rangeBits
      for (let id = range << rangeBits; id < end; id++) {
        const first = byPage[id] as number
        if (first <= now && id >= from) return id
        if (first < least) least = first
      }
      byRange[range] = least
    }
    return 0
  }

  /** No later than anything in pages [from, until) expires (I2). */
  earliest(from: number, until: number): number {
    let least = Infinity
    for (let id = from; id < Math.min(until, this.byPage.length); id++) {
      const first = Math.min(this.byPage[id] as number, this.held?.get(id) ?? Infinity)
      if (first < least) least = first
    }
    return least
  }

  private grow(id: number): void {
    const { length } = this.byPage
    const ranges = Math.max((id >>> rangeBits) + 1, (length + (length >>> 2)) >>> rangeBits)
    this.byPage = widerFloats(this.byPage, ranges << rangeBits).fill(Infinity, length)
    this.byRange = widerFloats(this.byRange, ranges).fill(Infinity, length >>> rangeBits)
  }
}

/**
 * Who waits until something that a transaction has read is written.
 *
 * A body that has read too little to go on (an empty queue) waits here with its reads, and is woken by the first commit
 * that would have made it lose: the same question as validation asks, looked at from the other side.
 *
 * ```
 *   watch ──▶ Waiting ── written ──▶ Woken ── wake ──▶ gone
 *                │ cancel ──▶ gone
 * ```
 *
 * I1 A waiter is woken at most once, from one flat loop and after the commit was handed to the Tree, never while it is
 *    appended: its body begins anew at once.
 */
import type { RangeRead, ReadSet } from "./ReadSet.ts"
import { hashOf } from "./ReadSet.ts"

interface Waiter {
  readonly reads: ReadSet
  readonly wake: () => void
}

export class Watch {
  private readonly byHash = new Map<number, Set<Waiter>>()
  /** Those that read ranges of a keyspace. */
  private readonly byRange = new Map<number, Set<Waiter>>()
  private readonly waiters = new Set<Waiter>()
  private readonly roused = new Set<Waiter>()
  /** Waiters that were woken so far. */
  woken = 0

  /** Those that wait. */
  get size(): number {
    return this.waiters.size
  }

  /** Whether somebody is to be woken. */
  get isRoused(): boolean {
    return this.roused.size > 0
  }

  /** Answers how to wait no longer. */
  add(reads: ReadSet, wake: () => void): () => void {
    const waiter = { reads, wake }
    this.waiters.add(waiter)
    for (const hash of reads.hashes) join(this.byHash, hash, waiter)
    for (const { space } of reads.ranges) join(this.byRange, space, waiter)
    return () => {
      this.roused.delete(waiter)
      this.remove(waiter)
    }
  }

  /** A key was written. */
  written(space: number, key: Uint8Array): void {
    for (const waiter of this.byHash.get(hashOf(space, key)) ?? []) this.rouse(waiter)
    for (const waiter of this.byRange.get(space) ?? []) {
      if (waiter.reads.ranges.some((range) => covers(range, space, key))) this.rouse(waiter)
    }
  }

  /** A whole keyspace was written. */
  writtenAll(space: number): void {
    for (const waiter of this.waiters) if (waiter.reads.spaces.includes(space)) this.rouse(waiter)
  }

  /** Wakes those for whom something was written since the last call. */
  wake(): void {
    const roused = [...this.roused]
    this.roused.clear()
    this.woken += roused.length
    for (const { wake } of roused) wake()
  }

  /** Wakes everybody: the log has failed, or the store closes. */
  wakeAll(): void {
    for (const waiter of this.waiters) this.rouse(waiter)
    this.wake()
  }

  private rouse(waiter: Waiter): void {
    this.remove(waiter)
    this.roused.add(waiter)
  }

  private remove(waiter: Waiter): void {
    if (!this.waiters.delete(waiter)) return
    for (const hash of waiter.reads.hashes) part(this.byHash, hash, waiter)
    for (const { space } of waiter.reads.ranges) part(this.byRange, space, waiter)
  }
}

const covers = ({ lower, space, upper }: RangeRead, written: number, key: Uint8Array): boolean =>
  space === written && lower !== undefined && Buffer.compare(key, lower) >= 0
  && (upper === undefined || Buffer.compare(key, upper) < 0)

const join = (map: Map<number, Set<Waiter>>, key: number, waiter: Waiter): void => {
  const set = map.get(key)
  if (set === undefined) map.set(key, new Set([waiter]))
  else set.add(waiter)
}

const part = (map: Map<number, Set<Waiter>>, key: number, waiter: Waiter): void => {
  const set = map.get(key)
  set?.delete(waiter)
  if (set?.size === 0) map.delete(key)
}

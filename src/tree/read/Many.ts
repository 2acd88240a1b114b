/**
 * What a lookup of many keys gives: an answer per key, in the order of the keys, with the values packed into one
 * growing buffer.
 *
 * ```
 *   begin ─▶ all keys wait ── lookup ──▶ answered: found or not
 *              ▲                 └─────▶ misses a page ── takeMissing, the page is loaded, ask ──▶ waits again
 * ```
 *
 * I1 A key is answered once; until then it waits for a lookup, or for the page under which `missing` has it.
 *
 * It is filled again and again; what is taken out of it are copies. It must not know where an answer is from.
 */
import { widerInts } from "../memory/Columns.ts"
import { Kind } from "../page/Leaf.ts"
import { Misses } from "./Misses.ts"
import { Packed, Spares } from "./Packed.ts"

/** What is wanted of each record. */
export type Columns = "keys" | "keys and values"

/** Values above this make no lasting buffer. */
const lastingBytes = 1024 * 1024

export class Many extends Packed {
  /** Keys in the call. */
  count = 0
  columns: Columns = "keys and values"
  /** Which keys the next lookup is for: the first `waits` of these, ascending. */
  waiting = new Int32Array(64)
  waits = 0
  /** Keys that the scratch file may have something of: they are not answered here. */
  readonly aside: Array<number> = []
  /** Pages to load, and those that were taken last. */
  private missing = new Misses()
  private taken = new Misses()

  /** Forgets what was answered and makes `count` keys wait. */
  begin(count: number, columns: Columns): this {
    if (count > this.kinds.length) this.grow(count)
    if (this.bytes.length > lastingBytes) this.hold(new Uint8Array(4096))
    this.count = count
    this.columns = columns
    this.used = 0
    this.kinds.fill(0, 0, count)
    for (let index = 0; index < count; index++) this.waiting[index] = index
    this.waits = count
    this.missing.clear()
    this.aside.length = 0
    return this
  }

  /** Makes the keys wait again whose page, by its place in what was taken last, is here now. */
  ask(place: number): void {
    this.waits = this.taken.keysInto(place, this.waiting)
  }

  /** Whether some key misses a page. */
  get misses(): boolean {
    return this.missing.count > 0
  }

  /** The pages to load, until they are taken the next time; what is missed from here on is for then. */
  takeMissing(): Misses {
    const { missing } = this
    this.missing = this.taken
    this.missing.clear()
    this.taken = missing
    return missing
  }

  isFound(index: number): boolean {
    return this.kinds[index] !== 0
  }

  /** A copy of the value of key `index`; undefined where there is none, empty where only keys were asked for. */
  value(index: number): Uint8Array | undefined {
    if (this.kinds[index] === 0) return undefined
    return this.copy(this.valueAt[index] as number, this.valueBytes[index] as number)
  }

  /** Puts a value that was fetched from the log in the place of its reference. */
  resolve(index: number, value: Uint8Array): void {
    const at = this.reserve(value.length)
    this.bytes.set(value, at)
    this.kinds[index] = Kind.Value
    this.valueAt[index] = at
    this.valueBytes[index] = value.length
  }

  /** Key `index` cannot be answered before a page is here. */
  miss(index: number, pageId: number): void {
    this.missing.add(index, pageId)
  }

  private grow(least: number): void {
    const length = Math.max(least, this.kinds.length * 2)
    this.waiting = widerInts(this.waiting, length)
    this.growRows(length)
  }
}

/** For calls that end; one that fails in the middle takes its own with it. */
export const manys = new Spares(() => new Many())

/**
 * The keys of a group that is looked up together, copied to where they can be compared by words.
 *
 * I1 Those that are left are the first `count`, in the order in which they came.
 */
import { invariant } from "../../Invariant.ts"
import { keyBytesMax } from "../page/KeyScratch.ts"
import type { Many } from "./Many.ts"

/** Keys that go together: more than the misses that a core can have under way, few enough for its first cache. */
export const groupKeys = 32

/** Words that a key may take, with the zeros behind it that heads and whole words may be read from. */
const keyWordsMax = keyBytesMax / 4 + 3

export class GroupKeys {
  /** The keys, one behind the other, each padded as in a KeyScratch. */
  readonly words = new Int32Array(groupKeys * keyWordsMax)
  private readonly bytes = new Uint8Array(this.words.buffer)
  /** Of each key the word where it begins, and its bytes. */
  readonly starts = new Int32Array(groupKeys)
  readonly lengths = new Int32Array(groupKeys)
  /** Its hash, where it was asked for in `Hints.ts`; else 0. */
  readonly hashes = new Int32Array(groupKeys)
  /** Which key of the call it is. */
  readonly rows = new Int32Array(groupKeys)
  count = 0

  /** Takes `count` of the keys that `many` waits for, from the one on that is `from` in its list. */
  load(keys: ReadonlyArray<Uint8Array>, { waiting }: Many, from: number, count: number): void {
    const { lengths, rows, starts, words } = this
    let start = 0
    for (let index = 0; index < count; index++) {
      const row = waiting[from + index] as number
      const key = keys[row] as Uint8Array
      const { length } = key
      invariant(length <= keyBytesMax, "GroupKeys: key too long")
      const end = start + (length >>> 2)
      words[end] = 0
      words[end + 1] = 0
      words[end + 2] = 0
      this.bytes.set(key, start << 2)
      starts[index] = start
      lengths[index] = length
      rows[index] = row
      start = end + 3
    }
    this.hashes.fill(0, 0, count)
    this.count = count
  }

  /** Makes key `index` the one that is `to` of those that are left. */
  keep(index: number, to: number): void {
    const { hashes, lengths, rows, starts } = this
    starts[to] = starts[index] as number
    lengths[to] = lengths[index] as number
    hashes[to] = hashes[index] as number
    rows[to] = rows[index] as number
  }
}

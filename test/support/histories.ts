/**
 * What trees should hold, by tree, by key, at every LSN that somebody may still read: the model of a long random run,
 * which forgets what nobody asks for any more.
 */
import { assert } from "@effect/vitest"

/** A record; without a value, there is none. */
export interface Entry {
  readonly version: number
  readonly value: Uint8Array | undefined
  readonly expiry: number
}

/** So long may a history become before it is looked through. */
const lengthMost = 12

export class Histories {
  /** By tree, by key: versions ascending. */
  private readonly trees: Array<Array<Array<Entry>>>
  private readonly keys: number

  constructor(trees: number, keys: number) {
    this.keys = keys
    this.trees = Array.from({ length: trees }, () => this.empty())
  }

  private empty(): Array<Array<Entry>> {
    return Array.from({ length: this.keys }, () => [])
  }

  private of(tree: number, key: number): Array<Entry> {
    return this.trees[tree]?.[key] ?? assert.fail("a key of no model")
  }

  /** What a reader at an LSN (exclusive) sees. */
  before(tree: number, key: number, at: number): Entry | undefined {
    const history = this.of(tree, key)
    for (let index = history.length - 1; index >= 0; index--) {
      const entry = history[index] as Entry
      if (entry.version < at) return entry.value === undefined ? undefined : entry
    }
    return undefined
  }

  /** Records of a tree that a reader at an LSN (exclusive) sees. */
  count(tree: number, at: number): number {
    let count = 0
    for (let key = 0; key < this.keys; key++) if (this.before(tree, key, at) !== undefined) count++
    return count
  }

  /** Adds what is newest. Nobody reads below `oldest` any more. */
  remember(tree: number, key: number, entry: Entry, oldest: number): void {
    const history = this.of(tree, key)
    history.push(entry)
    if (history.length < lengthMost) return
    const needed = history.findLastIndex(({ version }) => version < oldest)
    if (needed > 0) history.splice(0, needed)
  }

  /** Nothing from this version on has happened. */
  goBack(version: number): void {
    for (const tree of this.trees) {
      for (const history of tree) while ((history.at(-1)?.version ?? 0) >= version) history.pop()
    }
  }

  /** The tree is another one now. */
  clear(tree: number): void {
    this.trees[tree] = this.empty()
  }
}

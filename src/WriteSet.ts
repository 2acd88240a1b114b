/**
 * The private writes of a transaction that has not committed.
 *
 * Reads inside the transaction see them, ranges included; nobody else does. The last write of a key wins, and the
 * first position it had is kept, so that the log says what the body said in the order in which it said it.
 *
 * I1 A key is written at most once per keyspace; a clear forgets what was written before it.
 * I2 Keys of two layouts are never mixed in one keyspace.
 *
 * Keys are held in a hash map and sorted only when a range is read: most transactions write and never scan. A tree was
 * rejected for the same reason. Going back to a savepoint undoes change by change; a copy per savepoint was rejected,
 * because a loop of them costs the square of its writes.
 */

/** One write to one key; `value` is undefined where it removes. */
export interface Write {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
  /** Id of the reducer that folds it into what is stored; undefined where it takes the place of that. */
  readonly reducer?: number | undefined
  /** Milliseconds since 1970 from which on it is hidden; undefined where it stays. */
  readonly expiry?: number | undefined
}

/** The writes to one keyspace. */
export class KeyspaceWrites {
  readonly name: string
  layout: string
  reducer: number
  /** The keyspace was emptied before these writes. */
  cleared = false
  /** The keyspace was dropped; what follows makes it anew. */
  dropped = false
  /** All of these writes were made by somebody who keeps the indexes too. */
  keepsIndexes: boolean
  byKey = new Map<string, Write>()
  private sorted: ReadonlyArray<Write> | undefined

  constructor({ keepsIndexes = false, layout, name, reducer = 0 }: Layout) {
    this.name = name
    this.keepsIndexes = keepsIndexes
    this.layout = layout
    this.reducer = reducer
  }

  get size(): number {
    return this.byKey.size
  }

  /** Whether keys of a layout may be mixed with what is here: a drop leaves room for any other. */
  accepts(layout: string): boolean {
    return layout === this.layout || (this.dropped && this.byKey.size === 0)
  }

  get(key: Uint8Array): Write | undefined {
    return this.byKey.size === 0 ? undefined : this.byKey.get(nameOf(key))
  }

  writes(): IterableIterator<Write> {
    return this.byKey.values()
  }

  /** The writes whose keys lie in [lower, upper), ascending. */
  range(lower: Uint8Array, upper: Uint8Array | undefined): ReadonlyArray<Write> {
    if (this.byKey.size === 0) return []
    this.sorted ??= [...this.byKey.values()].sort((a, b) => compare(a.key, b.key))
    const from = lowerBound(this.sorted, lower)
    const until = upper === undefined ? this.sorted.length : lowerBound(this.sorted, upper)
    return this.sorted.slice(from, Math.max(from, until))
  }

  /** To be called after every change of `byKey`. */
  changed(): void {
    this.sorted = undefined
  }
}

/** The writes of a transaction, by keyspace. */
export class WriteSet {
  /** Bytes of keys and values handed in, overwritten ones included. */
  bytes = 0
  private readonly keyspaces = new Map<string, KeyspaceWrites>()
  /** How to take back the changes since the oldest open mark, newest last. */
  private readonly undo: Array<() => void> = []
  private marks = 0

  get isEmpty(): boolean {
    return this.keyspaces.size === 0
  }

  /** Keys that are written. */
  get size(): number {
    let size = 0
    for (const writes of this.keyspaces.values()) size += writes.size
    return size
  }

  find(name: string): KeyspaceWrites | undefined {
    return this.keyspaces.get(name)
  }

  values(): IterableIterator<KeyspaceWrites> {
    return this.keyspaces.values()
  }

  /** Writes to a key of a keyspace whose layout is accepted. */
  set(keyspace: Layout, write: Write): void {
    const writes = this.of(keyspace)
    const { byKey } = writes
    const name = nameOf(write.key)
    if (this.marks > 0) {
      const before = byKey.get(name)
      this.undo.push(() => {
        if (before === undefined) byKey.delete(name)
        else byKey.set(name, before)
        writes.changed()
      })
    }
    byKey.set(name, write)
    writes.changed()
  }

  /** Forgets what was written to a keyspace, and notes that nothing of what is stored remains. */
  clear(keyspace: Layout): void {
    const writes = this.of(keyspace)
    const { byKey, cleared } = writes
    writes.byKey = new Map()
    writes.cleared = true
    writes.changed()
    this.undoBy(() => {
      writes.byKey = byKey
      writes.cleared = cleared
      writes.changed()
    })
  }

  /** The same, and the keyspace itself goes. */
  drop(keyspace: Layout): void {
    this.clear(keyspace)
    const writes = this.of(keyspace)
    const { dropped } = writes
    writes.dropped = true
    this.undoBy(() => {
      writes.dropped = dropped
    })
  }

  /** From here on changes can be taken back, until `restore` or `keep` is called with the answer. */
  mark(): Mark {
    this.marks++
    return { changes: this.undo.length, bytes: this.bytes }
  }

  /** Takes back everything written since a mark. */
  restore(mark: Mark): void {
    while (this.undo.length > mark.changes) this.undo.pop()?.()
    this.bytes = mark.bytes
    this.keep()
  }

  /** Ends a mark and keeps what was written since. */
  keep(): void {
    if (--this.marks === 0) this.undo.length = 0
  }

  private of(keyspace: Layout): KeyspaceWrites {
    const { layout, name, reducer = 0 } = keyspace
    let writes = this.keyspaces.get(name)
    if (writes === undefined) {
      writes = new KeyspaceWrites(keyspace)
      this.keyspaces.set(name, writes)
      this.undoBy(() => this.keyspaces.delete(name))
    } else if (writes.layout !== layout) {
      const owner = writes
      const before = { layout: owner.layout, reducer: owner.reducer }
      Object.assign(owner, { layout, reducer })
      this.undoBy(() => Object.assign(owner, before))
    }
    if (writes.keepsIndexes && keyspace.keepsIndexes !== true) {
      const owner = writes
      owner.keepsIndexes = false
      this.undoBy(() => {
        owner.keepsIndexes = true
      })
    }
    return writes
  }

  private undoBy(undo: () => void): void {
    if (this.marks > 0) this.undo.push(undo)
  }
}

/** A keyspace as it was declared. */
interface Layout {
  readonly name: string
  readonly layout: string
  readonly reducer?: number | undefined
  readonly keepsIndexes?: boolean | undefined
}

/** A state to go back to. */
export interface Mark {
  readonly changes: number
  readonly bytes: number
}

/** A string with one char per byte: the cheapest map key that a byte string has. */
const nameOf = (key: Uint8Array): string =>
  Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString("latin1")

/** Order of keys: unsigned bytes, shorter first. */
export const compare = (a: Uint8Array, b: Uint8Array): number => {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const difference = (a[index] as number) - (b[index] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

const lowerBound = (writes: ReadonlyArray<Write>, key: Uint8Array): number => {
  let from = 0
  let until = writes.length
  while (from < until) {
    const middle = (from + until) >>> 1
    if (compare((writes[middle] as Write).key, key) < 0) from = middle + 1
    else until = middle
  }
  return from
}

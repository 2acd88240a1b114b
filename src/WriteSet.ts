/**
 * The private writes of a transaction that has not committed.
 *
 * Reads inside the transaction see them, ranges included; nobody else does. The last write of a key wins, and the
 * first position it had is kept, so that the log says what the body said in the order in which it said it.
 *
 * I1 A key is written at most once per keyspace; a clear forgets what was written before it.
 *
 * Keys are held in a hash map and sorted only when a range is read: most transactions write and never scan. A tree was
 * rejected for the same reason.
 */

/** One write to one key; `value` is undefined where it removes. */
export interface Write {
  readonly key: Uint8Array
  readonly value: Uint8Array | undefined
}

/** The writes to one keyspace. */
export class KeyspaceWrites {
  readonly name: string
  readonly layout: string
  /** The keyspace was emptied before these writes. */
  cleared = false
  /** The keyspace was dropped; what follows makes it anew. */
  dropped = false
  private readonly byKey = new Map<string, Write>()
  private sorted: ReadonlyArray<Write> | undefined

  constructor(name: string, layout: string) {
    this.name = name
    this.layout = layout
  }

  get size(): number {
    return this.byKey.size
  }

  get(key: Uint8Array): Write | undefined {
    return this.byKey.size === 0 ? undefined : this.byKey.get(nameOf(key))
  }

  set(write: Write): void {
    this.byKey.set(nameOf(write.key), write)
    this.sorted = undefined
  }

  clear(): void {
    this.byKey.clear()
    this.sorted = undefined
    this.cleared = true
  }

  drop(): void {
    this.clear()
    this.dropped = true
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

  copy(): KeyspaceWrites {
    const copy = new KeyspaceWrites(this.name, this.layout)
    copy.cleared = this.cleared
    copy.dropped = this.dropped
    for (const [name, write] of this.byKey) copy.byKey.set(name, write)
    return copy
  }
}

/** The writes of a transaction, by keyspace. */
export class WriteSet {
  private keyspaces = new Map<string, KeyspaceWrites>()
  /** Bytes of keys and values handed in, overwritten ones included. */
  bytes = 0

  get isEmpty(): boolean {
    return this.keyspaces.size === 0
  }

  find(name: string): KeyspaceWrites | undefined {
    return this.keyspaces.get(name)
  }

  of(keyspace: { readonly name: string; readonly layout: string }): KeyspaceWrites {
    let writes = this.keyspaces.get(keyspace.name)
    if (writes === undefined) {
      writes = new KeyspaceWrites(keyspace.name, keyspace.layout)
      this.keyspaces.set(keyspace.name, writes)
    }
    return writes
  }

  values(): IterableIterator<KeyspaceWrites> {
    return this.keyspaces.values()
  }

  /** What `restore` needs to forget everything written from here on. */
  mark(): WriteMark {
    return {
      keyspaces: new Map([...this.keyspaces].map(([name, writes]) => [name, writes.copy()])),
      bytes: this.bytes
    }
  }

  restore(mark: WriteMark): void {
    this.keyspaces = mark.keyspaces
    this.bytes = mark.bytes
  }
}

export interface WriteMark {
  readonly keyspaces: Map<string, KeyspaceWrites>
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

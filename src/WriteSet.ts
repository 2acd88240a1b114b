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
import { ByKey, nameOf } from "./ByKey.ts"
import type { Write } from "./ByKey.ts"
import { Fold } from "./tree/page/Fold.ts"

export type { Write }

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
  private byKey = new ByKey()
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
    return layout === this.layout || (this.dropped && this.size === 0)
  }

  get(key: Uint8Array): Write | undefined {
    return this.byKey.get(key)
  }

  writes(): Iterable<Write> {
    return this.byKey.values()
  }

  /** The writes whose keys lie in [lower, upper), ascending. */
  range(lower: Uint8Array, upper: Uint8Array | undefined): ReadonlyArray<Write> {
    if (this.size === 0) return []
    this.sorted ??= [...this.byKey.named()].sort(byName).map(([, write]) => write)
    const from = lowerBound(this.sorted, lower)
    const until = upper === undefined ? this.sorted.length : lowerBound(this.sorted, upper)
    return this.sorted.slice(from, Math.max(from, until))
  }

  /**
   * A copy of the writes to some keys; of the whole keyspace, with whether it was emptied, where that changed. Of an
   * operand it has only what is new: the rest stays below.
   */
  part(keys: Touched): KeyspaceWrites {
    const part = new KeyspaceWrites(this)
    if (keys === "all") {
      part.cleared = this.cleared
      part.dropped = this.dropped
      for (const write of this.writes()) part.byKey.set(write)
      return part
    }
    const byName = this.byKey.named()
    for (const [name, operands] of keys) {
      const write = byName.get(name)
      if (write === undefined) continue
      const { key, reducer } = write
      part.byKey.set(reducer === undefined ? write : { key, reducer, value: composed(reducer, operands) })
    }
    return part
  }

  set(write: Write): void {
    this.byKey.set(write)
    this.sorted = undefined
  }

  /** Writes; answers how to take that back. */
  setUndoably(write: Write, name: string): () => void {
    const { byKey } = this
    const named = byKey.named()
    const before = named.get(name)
    named.set(name, write)
    this.sorted = undefined
    return () => {
      if (before === undefined) named.delete(name)
      else named.set(name, before)
      this.sorted = undefined
    }
  }

  /** Forgets all writes, and notes that nothing of what is stored remains; answers how to take that back. */
  clear(): () => void {
    const { byKey, cleared } = this
    this.byKey = new ByKey()
    this.cleared = true
    this.sorted = undefined
    return () => {
      this.byKey = byKey
      this.cleared = cleared
      this.sorted = undefined
    }
  }
}

/** One change, how to take it back, and what it was a change of. */
interface Change {
  readonly undo: () => void
  readonly writes?: KeyspaceWrites
  /** The key that was written; the whole keyspace where absent. */
  readonly key?: string
  /** What was folded into an operand that was there before. */
  readonly operand?: Uint8Array | undefined
}

/** Keys that were written, with what was folded into operands that may have been there; all where that is open. */
type Touched = Map<string, Array<Uint8Array>> | "all"

/** Writes to some keyspaces, of which nothing else is kept here. */
export type Layer = ReadonlyArray<KeyspaceWrites>

/** What a write takes in memory beside its key and value, about. */
export const writeOverheadBytes = 256

/** Keyspaces that are looked for one by one. */
const few = 8

/** The writes of a transaction, by keyspace. */
export class WriteSet {
  /** Bytes of keys and values handed in, overwritten ones included, and of what it takes to hold them. */
  bytes = 0
  /** Layers that were taken and still stand. */
  layers = 0
  /** In the order in which they came; most often one, for which a map would cost more than all else here. */
  private keyspaces: Array<KeyspaceWrites> = []
  /** The same by name, once there are many. */
  private byName: Map<string, KeyspaceWrites> | undefined
  /** How to take back the changes since the oldest open mark, newest last. */
  private readonly undo: Array<Change> = []
  /** Those that are open, oldest first. */
  private readonly marks: Array<Mark> = []

  get isEmpty(): boolean {
    return this.keyspaces.length === 0
  }

  /** Keys that are written. */
  get size(): number {
    let size = 0
    for (const writes of this.keyspaces) size += writes.size
    return size
  }

  find(name: string): KeyspaceWrites | undefined {
    if (this.byName !== undefined) return this.byName.get(name)
    for (const writes of this.keyspaces) if (writes.name === name) return writes
    return undefined
  }

  values(): ReadonlyArray<KeyspaceWrites> {
    return this.keyspaces
  }

  /** Writes to a key of a keyspace whose layout is accepted; `operand` is what is new in an operand. */
  set(keyspace: Layout, write: Write, operand?: Uint8Array): void {
    const writes = this.of(keyspace)
    if (this.marks.length === 0) return writes.set(write)
    const name = nameOf(write.key)
    this.undo.push({ undo: writes.setUndoably(write, name), writes, key: name, operand })
  }

  /** Forgets what was written to a keyspace, and notes that nothing of what is stored remains. */
  clear(keyspace: Layout): void {
    const writes = this.of(keyspace)
    this.undoBy({ undo: writes.clear(), writes })
  }

  /** The same, and the keyspace itself goes. */
  drop(keyspace: Layout): void {
    this.clear(keyspace)
    const writes = this.of(keyspace)
    const { dropped } = writes
    writes.dropped = true
    const undo = (): void => {
      writes.dropped = dropped
    }
    this.undoBy({ undo, writes })
  }

  /** From here on changes can be taken back, until `restore` or `keep` is called with the answer. */
  mark(): Mark {
    const mark: Mark = { changes: this.undo.length, bytes: this.bytes, layers: this.layers, isTaken: false }
    this.marks.push(mark)
    return mark
  }

  /** Takes back everything written since a mark; of the layers that were taken, only `layers` still stand then. */
  restore(mark: Mark): void {
    while (this.undo.length > mark.changes) this.undo.pop()?.undo()
    this.bytes = mark.bytes
    this.layers = Math.min(this.layers, mark.layers)
    for (const other of this.marks) other.layers = Math.min(other.layers, this.layers)
    this.keep(mark)
  }

  /** Ends a mark and keeps what was written since. */
  keep(mark: Mark): void {
    const index = this.marks.indexOf(mark)
    if (index >= 0) this.marks.splice(index, 1)
    if (this.marks.length === 0) this.undo.length = 0
  }

  /**
   * Gives up everything that is here, in layers: what was written before the oldest open mark, and between each mark
   * and the next. Taking a mark back then takes back the layers above it.
   */
  take(): ReadonlyArray<Layer> {
    const above = this.marks.toReversed().map((mark) => this.since(mark)).reverse()
    const taken: Array<Layer> = []
    const add = (layer: Layer): void => {
      if (layer.length > 0) taken.push(layer)
    }
    add(this.keyspaces)
    for (const [index, mark] of this.marks.entries()) {
      mark.changes = 0
      mark.bytes = 0
      // Layers that were taken since it was made stand above it already.
      if (!mark.isTaken) mark.layers = this.layers + taken.length
      mark.isTaken = true
      add(above[index] ?? [])
    }
    this.keyspaces = []
    this.byName = undefined
    this.undo.length = 0
    this.bytes = 0
    this.layers += taken.length
    return taken
  }

  /** Takes everything written since a mark out of here. */
  private since(mark: Mark): Layer {
    const touched = new Map<KeyspaceWrites, Touched>()
    for (const { key, operand, writes } of this.undo.slice(mark.changes)) {
      if (writes === undefined) continue
      const known = touched.get(writes)
      if (key === undefined) touched.set(writes, "all")
      else if (known !== "all") touched.set(writes, touch(known ?? new Map(), key, operand))
    }
    const layer = [...touched].map(([writes, keys]) => writes.part(keys))
    while (this.undo.length > mark.changes) this.undo.pop()?.undo()
    return layer
  }

  private of(keyspace: Layout): KeyspaceWrites {
    const { layout, name, reducer = 0 } = keyspace
    let writes = this.find(name)
    if (writes === undefined) {
      writes = this.add(new KeyspaceWrites(keyspace))
      // What came after it is taken back before it.
      this.undoBy({
        undo: () => {
          this.keyspaces.pop()
          this.byName?.delete(name)
        }
      })
    } else if (writes.layout !== layout) {
      const owner = writes
      const before = { layout: owner.layout, reducer: owner.reducer }
      Object.assign(owner, { layout, reducer })
      this.undoBy({ undo: () => Object.assign(owner, before) })
    }
    if (writes.keepsIndexes && keyspace.keepsIndexes !== true) {
      const owner = writes
      owner.keepsIndexes = false
      const undo = (): void => {
        owner.keepsIndexes = true
      }
      this.undoBy({ undo })
    }
    return writes
  }

  private add(writes: KeyspaceWrites): KeyspaceWrites {
    const { byName, keyspaces } = this
    if (keyspaces.length > 0) keyspaces.push(writes)
    // An array that grows gets room for many.
    else this.keyspaces = [writes]
    if (byName !== undefined) byName.set(writes.name, writes)
    else if (keyspaces.length > few) this.byName = new Map(keyspaces.map((each) => [each.name, each]))
    return writes
  }

  private undoBy(change: Change): void {
    if (this.marks.length > 0) this.undo.push(change)
  }
}

const touch = (
  keys: Map<string, Array<Uint8Array>>,
  key: string,
  operand: Uint8Array | undefined
): Map<string, Array<Uint8Array>> => {
  const operands = keys.get(key)
  if (operands === undefined) keys.set(key, operand === undefined ? [] : [operand])
  else if (operand !== undefined) operands.push(operand)
  return keys
}

const fold = new Fold()

/** One operand that does what all of them do, in their order. */
const composed = (reducer: number, operands: ReadonlyArray<Uint8Array>): Uint8Array | undefined =>
  operands.reduce<Uint8Array | undefined>((sum, operand) => {
    fold.of(reducer, sum, operand)
    return fold.value().slice()
  }, undefined)

/** A keyspace as it was declared. */
interface Layout {
  readonly name: string
  readonly layout: string
  readonly reducer?: number | undefined
  readonly keepsIndexes?: boolean | undefined
}

/** A state to go back to. */
export interface Mark {
  changes: number
  bytes: number
  /** Layers below it, and whether any were taken since it was made. */
  layers: number
  isTaken: boolean
}

/** Names order as their keys do, and compare faster. */
const byName = ([a]: readonly [string, Write], [b]: readonly [string, Write]): number => a < b ? -1 : 1

/** Order of keys: unsigned bytes, shorter first. */
export const compare = (a: Uint8Array, b: Uint8Array): number => {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const difference = (a[index] as number) - (b[index] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Index of the first write at or above a key. */
export const lowerBound = (writes: ReadonlyArray<Write>, key: Uint8Array): number => {
  let from = 0
  let until = writes.length
  while (from < until) {
    const middle = (from + until) >>> 1
    if (compare((writes[middle] as Write).key, key) < 0) from = middle + 1
    else until = middle
  }
  return from
}

/**
 * The keyspaces of a store, over time.
 *
 * Clearing or dropping a keyspace ends one *generation* of it in a single step; the tree of the ended one stays as it
 * is for readers of the past, and is taken down when none of them can see it any more.
 *
 * I1 The generations of a name do not overlap, and at most the newest is open.
 * I2 A tree belongs to one generation, or is being taken down, never both.
 */
import { invariant } from "../Invariant.ts"
import type { Beside, Catalog } from "./file/Catalog.ts"
import type { Root } from "./memory/Root.ts"

/** One life of a keyspace: from its creation or clearing to the next clearing or its drop. */
export interface Generation {
  readonly keyspaceId: number
  readonly name: string
  readonly layout: string
  readonly codecVersion: number
  readonly reducer: number
  readonly root: Root
  /** LSN of the commit that began it: readers above see it. */
  readonly from: number
  /** LSN of the commit that ended it; Infinity while it is open. */
  until: number
  /** Bytes of large values, by the base of the log segment that holds them. */
  readonly large: Map<number, number>
}

/** A large value of a tree, and the base of the segment that it is in. */
export interface LargeValue {
  readonly treeId: number
  readonly base: number
  readonly bytes: number
}

export class Generations {
  nextTreeId: number
  nextKeyspaceId: number
  /** Time of the last commit. */
  millis: number
  /** Root page ids of trees that are being taken down. */
  readonly dropping: Array<number>
  private readonly open = new Map<number, Generation>()
  private readonly byTree = new Map<number, Generation>()
  /** Oldest first. */
  private readonly byName = new Map<string, Array<Generation>>()

  constructor(catalog: Catalog) {
    this.nextTreeId = catalog.nextTreeId
    this.nextKeyspaceId = catalog.nextKeyspaceId
    this.millis = catalog.millis
    this.dropping = [...catalog.dropping]
    for (const { count, expires, id, root, segments, treeId, unresolved, ...rest } of catalog.keyspaces) {
      const large = new Map(segments.map(({ base, bytes }) => [base, bytes]))
      this.begin({
        ...rest,
        keyspaceId: id,
        root: { treeId, reducer: rest.reducer, expires, page: root, count, unresolved },
        until: Infinity,
        large
      })
    }
  }

  /** The open generations. */
  all(): IterableIterator<Generation> {
    return this.open.values()
  }

  /** The open generation of a keyspace that the log names by its id. */
  get(keyspaceId: number): Generation {
    const generation = this.open.get(keyspaceId)
    invariant(generation !== undefined, "Generations I1: a write to a keyspace that is not open")
    return generation
  }

  /** The same; `undefined` where it is not open any more. */
  opened(keyspaceId: number): Generation | undefined {
    return this.open.get(keyspaceId)
  }

  /** The generation of a keyspace that a reader at `at` sees. */
  find(name: string, at: number): Generation | undefined {
    const generations = this.byName.get(name)
    if (generations === undefined) return undefined
    for (let index = generations.length - 1; index >= 0; index--) {
      const generation = generations[index] as Generation
      if (generation.from < at) return at <= generation.until ? generation : undefined
    }
    return undefined
  }

  /** The generation of a tree that somebody may still read. */
  ofTree(treeId: number): Generation | undefined {
    return this.byTree.get(treeId)
  }

  /** The root of a tree that somebody may still read. */
  rootOf(treeId: number): Root | undefined {
    return this.byTree.get(treeId)?.root
  }

  begin(generation: Generation): void {
    const generations = this.byName.get(generation.name)
    invariant((generations?.at(-1)?.until ?? 0) <= generation.from, "Generations I1")
    if (generations === undefined) this.byName.set(generation.name, [generation])
    else generations.push(generation)
    this.open.set(generation.keyspaceId, generation)
    this.byTree.set(generation.root.treeId, generation)
    this.nextTreeId = Math.max(this.nextTreeId, generation.root.treeId + 1)
    this.nextKeyspaceId = Math.max(this.nextKeyspaceId, generation.keyspaceId + 1)
  }

  end(generation: Generation, lsn: number): void {
    generation.until = lsn
    this.open.delete(generation.keyspaceId)
  }

  /** Gives up generations that no reader at or above `oldestPin` sees: their trees are to be taken down. */
  forget(oldestPin: number): void {
    for (const [name, generations] of this.byName) {
      while (generations.length > 0 && (generations[0] as Generation).until < oldestPin) {
        const { root } = generations.shift() as Generation
        this.byTree.delete(root.treeId)
        this.dropping.push(root.page)
      }
      if (generations.length === 0) this.byName.delete(name)
    }
  }

  /** Takes a large value that nothing refers to any more off its segment. */
  dropLarge(treeId: number, base: number, bytes: number): void {
    const large = this.byTree.get(treeId)?.large
    if (large !== undefined) discharge(large, base, bytes)
  }

  /** Base of the oldest log segment that still holds a large value. */
  oldestLarge(): number | undefined {
    let oldest: number | undefined
    for (const { large } of this.byTree.values()) {
      for (const base of large.keys()) if (oldest === undefined || base < oldest) oldest = base
    }
    return oldest
  }

  /** Bytes of large values that somebody may read, those of the past included. */
  largeBytes(): number {
    let sum = 0
    for (const { large } of this.byTree.values()) for (const bytes of large.values()) sum += bytes
    return sum
  }

  /** Bytes of large values that the open generations refer to, `past` left out, by the base of their segment. */
  live(past: ReadonlyArray<LargeValue>): Map<number, number> {
    const live = new Map<number, number>()
    for (const { large, root } of this.open.values()) {
      if (large.size === 0) continue
      for (const [base, bytes] of without(large, past.filter(({ treeId }) => treeId === root.treeId))) {
        live.set(base, (live.get(base) ?? 0) + bytes)
      }
    }
    return live
  }

  /** Open keyspaces by name. */
  names(): Map<string, { readonly id: number; readonly layout: string }> {
    return new Map(
      [...this.open.values()].map(({ keyspaceId, layout, name }) => [name, { id: keyspaceId, layout }])
    )
  }

  /** Root page ids of trees that belong to no open generation. */
  ended(): ReadonlyArray<number> {
    const ended = [...this.byTree.values()].filter(({ until }) => until !== Infinity)
    return [...this.dropping, ...ended.map(({ root }) => root.page)]
  }

  /**
   * Ended generations are remembered only as trees to take down: after a crash no reader needs them, nor the values
   * that are left for readers only. If `past` were charged, it would never be dropped, and hold the log for ever.
   */
  catalog(past: ReadonlyArray<LargeValue>, beside: Beside = { sessions: [], streams: [] }): Catalog {
    return {
      nextTreeId: this.nextTreeId,
      nextKeyspaceId: this.nextKeyspaceId,
      millis: this.millis,
      keyspaces: [...this.open.values()].map((
        { codecVersion, from, keyspaceId, large, layout, name, reducer, root }
      ) => ({
        id: keyspaceId,
        name,
        layout,
        codecVersion,
        reducer,
        from,
        treeId: root.treeId,
        root: root.page,
        count: root.count,
        unresolved: root.unresolved,
        expires: root.expires,
        segments: [...without(large, past.filter(({ treeId }) => treeId === root.treeId))]
          .map(([base, bytes]) => ({ base, bytes }))
      })),
      dropping: this.ended(),
      ...beside
    }
  }
}

const discharge = (large: Map<number, number>, base: number, bytes: number): void => {
  const left = (large.get(base) ?? 0) - bytes
  if (left > 0) large.set(base, left)
  else large.delete(base)
}

const without = (
  large: ReadonlyMap<number, number>,
  values: ReadonlyArray<LargeValue>
): ReadonlyMap<number, number> => {
  const left = new Map(large)
  for (const { base, bytes } of values) discharge(left, base, bytes)
  return left
}

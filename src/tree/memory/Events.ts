/**
 * What happened to which pages, for tests, traces and inspectors: with counts but never with keys.
 *
 * Changes of the structure are few: the newest of them stay in a ring of fixed size. What moves between memory and disk
 * is not: it is told to listeners only, and whoever tells it looks at `heard` before an event is made. All is per tree
 * kernel, never per process.
 *
 * I1 While nobody listens, no traffic is made an event: it would push the structure out of the ring, and cost.
 */
/** A change of the structure. */
export type Structural =
  | {
    readonly _tag: "Split"
    readonly treeId: number
    readonly level: number
    readonly left: number
    readonly right: number
    /** Bytes of the separator. */
    readonly pivotBytes: number
    readonly leftCount: number
    readonly rightCount: number
  }
  | {
    readonly _tag: "Merge"
    readonly treeId: number
    readonly level: number
    readonly left: number
    /** The page that is gone. */
    readonly right: number
    readonly count: number
  }
  | { readonly _tag: "RootGrown"; readonly treeId: number; readonly page: number; readonly level: number }
  | { readonly _tag: "RootShrunk"; readonly treeId: number; readonly page: number; readonly freed: number }

/**
 * What a page is read for: a key, a range or an exact count, a range that has not come to it yet, a write that cannot
 * do without it (the log that is replayed at open included), the merge of a mini-page, an image in doubt, or work in
 * the background.
 */
export type Purpose = "read" | "scan" | "ahead" | "write" | "merge" | "rescue" | "upkeep"

/** Something that went between memory and disk, or from a page to a record of its own. */
export type Traffic =
  | { readonly _tag: "Loaded"; readonly treeId: number; readonly page: number; readonly purpose: Purpose }
  /** A base page that is a clean leaf, or a mini-page in which nothing was dirty, left memory without a write. */
  | {
    readonly _tag: "Evicted"
    readonly treeId: number
    readonly page: number
    readonly what: "leaf" | "miniPage"
    /** Records of it: of a mini-page those that were known. */
    readonly records: number
  }
  /** A read left a copy of what the base page says, or that there is none. */
  | {
    readonly _tag: "Promoted"
    readonly treeId: number
    readonly page: number
    readonly what: "cache" | "phantom"
    /** Bytes of the value. */
    readonly bytes: number
  }
  /** A mini-page was merged into its base page. */
  | {
    readonly _tag: "Consolidated"
    readonly treeId: number
    readonly page: number
    /** Dirty records that went to base pages. */
    readonly records: number
    /** Splits of the leaf that made room for them. */
    readonly splits: number
    /** Records that stay in a mini-page as copies, because they were used lately. */
    readonly kept: number
  }

export type Event = Structural | Traffic

export class Events {
  private readonly ring: Array<Structural> = []
  private readonly listeners = new Set<(event: Event) => void>()
  private readonly capacity: number
  private next = 0
  /** Events since the start, those that were lost included. */
  total = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  /** Whether changes of the structure are to be told. */
  get enabled(): boolean {
    return this.capacity > 0 || this.listeners.size > 0
  }

  /** Whether traffic is to be told. */
  get heard(): boolean {
    return this.listeners.size > 0
  }

  push(event: Structural): void {
    if (this.capacity > 0) {
      this.ring[this.next] = event
      this.next = (this.next + 1) % this.capacity
      this.total++
    }
    this.tell(event)
  }

  /** Tells listeners alone. */
  tell(event: Event): void {
    for (const listener of this.listeners) listener(event)
  }

  /** Has every event told to a listener, which must not throw, until what is answered is called. */
  listen(listener: (event: Event) => void): () => void {
    const own = (event: Event): void => listener(event)
    this.listeners.add(own)
    return () => void this.listeners.delete(own)
  }

  /** What is in the ring, oldest first. */
  recent(): Array<Structural> {
    const full = this.ring.length === this.capacity
    return full ? [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)] : this.ring.slice()
  }

  /** Takes what is in the ring, oldest first. */
  drain(): Array<Structural> {
    const events = this.recent()
    this.ring.length = 0
    this.next = 0
    return events
  }
}

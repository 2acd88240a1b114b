/**
 * Structural events, for tests, traces and inspectors: what happened to which pages, with counts but never with keys.
 *
 * A ring of fixed size; the oldest are lost. Off unless somebody asks, and per tree kernel, never per process.
 */
export type Event =
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

export class Events {
  private readonly ring: Array<Event> = []
  private readonly capacity: number
  private next = 0
  /** Events since the start, those that were lost included. */
  total = 0

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get enabled(): boolean {
    return this.capacity > 0
  }

  push(event: Event): void {
    this.ring[this.next] = event
    this.next = (this.next + 1) % this.capacity
    this.total++
  }

  /** What is in the ring, oldest first. */
  recent(): Array<Event> {
    const full = this.ring.length === this.capacity
    return full ? [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)] : this.ring.slice()
  }

  /** Takes what is in the ring, oldest first. */
  drain(): Array<Event> {
    const events = this.recent()
    this.ring.length = 0
    this.next = 0
    return events
  }
}

/**
 * A run: what a transaction had written at one moment, sorted, on its way into the log or there already.
 *
 * Later runs stand above earlier ones: a write of a later run takes the place of an earlier one's, or is folded into
 * it. The writes are held until the last of them is in the log; after that only the first key of each piece is, so
 * that the piece with any key can be read back.
 *
 * I1 The pieces of a run lie in the order of its writes: by keyspace, then by key.
 */
import type { KeyspaceIntent } from "../actors/commit/Intent.ts"
import type { Appended } from "../actors/commit/Streams.ts"
import { invariant } from "../Invariant.ts"
import type { PiecePlace } from "../log/Pieces.ts"
import { writeBytes } from "../log/Record.ts"
import type { KeyspaceWrites, Write } from "../WriteSet.ts"
import { compare } from "../WriteSet.ts"

/** What the index keeps of a piece beside its first key, about. */
const entryBytes = 64

/** The writes to one keyspace. */
export class Section {
  readonly name: string
  readonly layout: string
  readonly reducer: number
  readonly cleared: boolean
  readonly dropped: boolean
  readonly keepsIndexes: boolean
  readonly isEmpty: boolean
  /** The keyspace's number in the pieces; undefined where there was nothing to be written. */
  id: number | undefined
  /** Ascending; undefined once all of them are in the log. */
  writes: ReadonlyArray<Write> | undefined
  /** First key that each piece has of this keyspace, and where the piece is. */
  readonly keys: Array<Uint8Array> = []
  readonly places: Array<PiecePlace> = []

  constructor(writes: KeyspaceWrites) {
    this.name = writes.name
    this.layout = writes.layout
    this.reducer = writes.reducer
    this.cleared = writes.cleared
    this.dropped = writes.dropped
    this.keepsIndexes = writes.keepsIndexes
    this.writes = writes.range(new Uint8Array(0), undefined)
    this.isEmpty = this.writes.length === 0
  }

  /** Whether keys of a layout may be mixed with what is here. */
  accepts(layout: string): boolean {
    return layout === this.layout || (this.dropped && this.isEmpty)
  }

  /** Index of the piece that has `key`, if one does; -1 where all keys are larger. */
  pieceOf(key: Uint8Array): number {
    let from = 0
    let until = this.keys.length
    while (from < until) {
      const middle = (from + until) >>> 1
      if (compare(this.keys[middle] as Uint8Array, key) <= 0) from = middle + 1
      else until = middle
    }
    return from - 1
  }
}

/** Part of a section that goes into one piece. */
interface Part {
  readonly section: Section
  readonly from: number
  readonly until: number
}

export class Run {
  /** Number of its first piece; -1 where there is none yet. */
  from = -1
  /** What it says is not to be: the step that wrote it has failed. */
  discarded = false
  /** Memory that the index takes. */
  indexBytes = 0
  /** Memory of the writes, until they are in the log. */
  heldBytes: number
  private readonly sections = new Map<string, Section>()
  private readonly order: ReadonlyArray<Section>
  private section = 0
  private position = 0
  private parts: ReadonlyArray<Part> = []

  constructor(layer: ReadonlyArray<KeyspaceWrites>, heldBytes: number) {
    this.heldBytes = heldBytes
    this.order = layer.map((writes) => new Section(writes))
    for (const section of this.order) this.sections.set(section.name, section)
  }

  get isWritten(): boolean {
    return this.section === this.order.length
  }

  find(name: string): Section | undefined {
    return this.sections.get(name)
  }

  /** What goes into the next piece, of about so many bytes: one write at least. */
  take(pieceBytes: number): ReadonlyArray<KeyspaceIntent> {
    const parts: Array<Part> = []
    let bytes = 0
    let { position, section: index } = this
    for (; index < this.order.length; index++, position = 0) {
      const section = this.order[index] as Section
      const writes = section.writes ?? []
      const from = position
      while (position < writes.length && (bytes === 0 || bytes < pieceBytes)) {
        const { key, value } = writes[position++] as Write
        bytes += writeBytes(key.length, value?.length ?? 0)
      }
      if (position > from || writes.length === 0) parts.push({ section, from, until: position })
      if (position < writes.length) break
    }
    this.parts = parts
    this.section = index
    this.position = position
    return parts.map(intentOf)
  }

  /** What was taken is in the log. */
  appended(place: Appended, idOf: (name: string) => number | undefined): void {
    if (this.from < 0) this.from = place.number
    for (const { from, section, until } of this.parts) {
      section.id = idOf(section.name)
      if (until === from) continue
      const first = section.writes?.[from]?.key
      invariant(first !== undefined, "Run I1")
      section.keys.push(first)
      section.places.push({ lsn: place.lsn, bytes: place.bytes, checksum: place.checksum })
      this.indexBytes += first.length + entryBytes
    }
    this.parts = []
    if (!this.isWritten) return
    for (const section of this.order) section.writes = undefined
    this.heldBytes = 0
  }
}

const intentOf = ({ from, section, until }: Part): KeyspaceIntent => ({
  name: section.name,
  layout: section.layout,
  reducer: section.reducer,
  keepsIndexes: section.keepsIndexes,
  // Once, before all writes.
  cleared: section.cleared && from === 0,
  dropped: section.dropped && from === 0,
  writes: () => section.writes?.slice(from, until) ?? []
})

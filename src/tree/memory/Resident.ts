/**
 * What is in memory, by kind: inner nodes, leaves, guests, mini-pages, and the records in those.
 *
 * Pages are counted as they come and go; records are counted by looking at each, only when somebody asks. Counters of
 * records would have to be kept by every write, and by everything that moves them.
 *
 * I1 Inner nodes, leaves, guests and frames of mini-pages are all blocks that are in use.
 */
import * as Leaf from "../page/Leaf.ts"
import * as MiniPage from "../page/MiniPage.ts"
import * as Page from "../page/Page.ts"
import type { Pages } from "./Pages.ts"

/** Records of one kind, and the bytes that they take with their slots. */
export interface Records {
  readonly records: number
  readonly bytes: number
}

/** Bytes of pages. */
export interface ResidentPages {
  readonly inner: number
  /** Whole leaves in the ring. */
  readonly leaves: number
  /** Base pages that are read or merged now, or that are to be written. */
  readonly guests: number
  /** Frames of mini-pages; `live` is what mini-pages take of them, the rest is free or was given back. */
  readonly frames: number
  readonly live: number
}

/** Mini-pages, and what is in them. */
export interface ResidentMinis {
  readonly count: number
  readonly insert: Records
  readonly tombstone: Records
  readonly cache: Records
  readonly phantom: Records
}

/** What pages take, as it has been counted: costs nothing. */
export const residentPages = ({ arena, innerPages, ring }: Pages): ResidentPages => {
  const { pageBytes } = arena
  const minis = ring.miniFrames + ring.evacuating
  return {
    inner: innerPages * pageBytes,
    leaves: ring.pageFrames * pageBytes,
    guests: (arena.usedBlocks - innerPages - ring.pageFrames - minis) * pageBytes,
    frames: minis * pageBytes,
    live: ring.liveWords * 4
  }
}

/** What is in mini-pages: looks at every record in each of them, some millions in a second. */
export const residentMinis = ({ arena, ring }: Pages): ResidentMinis => {
  const tally = new Tally()
  for (let frame = ring.minisFrom(0); frame >= 0; frame = ring.minisFrom(frame / arena.pageWords + 1)) {
    const words = arena.wordsOf(frame)
    for (let at = ring.nextLive(frame, frame); at >= 0; at = ring.nextLive(frame, at + ring.wordsOf(at))) {
      tally.add(words, at & arena.mask)
    }
  }
  return tally.minis()
}

const insert = 0
const tombstone = 1
const cache = 2
const phantom = 3

class Tally {
  private count = 0
  private readonly records = new Float64Array(4)
  private readonly words = new Float64Array(4)

  add(words: Int32Array, p: number): void {
    this.count++
    for (let index = 0, count = Page.count(words, p); index < count; index++) {
      const record = Leaf.recordAt(words, p, index)
      const kind = kindOf(words, record)
      this.records[kind] = (this.records[kind] as number) + 1
      this.words[kind] = (this.words[kind] as number) + Page.slotWords
        + Leaf.recordWords(words, record, Page.slotBytes(words, p, index))
    }
  }

  minis(): ResidentMinis {
    return {
      count: this.count,
      insert: this.of(insert),
      tombstone: this.of(tombstone),
      cache: this.of(cache),
      phantom: this.of(phantom)
    }
  }

  private of(kind: number): Records {
    return { records: this.records[kind] as number, bytes: (this.words[kind] as number) * 4 }
  }
}

const kindOf = (words: Int32Array, record: number): number => {
  const kind = Leaf.kindAt(words, record)
  if (kind === Leaf.Kind.Phantom) return phantom
  if (kind === Leaf.Kind.Tombstone) return tombstone
  return MiniPage.isDirty(words, record) ? insert : cache
}

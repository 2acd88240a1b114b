/**
 * What a store costs that is larger than its memory: where reads found their answers, what the buffer is full of, what
 * moved between memory and disk, and how that compares with what was asked for.
 *
 * Every number is kept by whoever does the work, as a plain counter; here they are only brought together. The one
 * exception is `resident.miniPages`, which is counted when somebody asks.
 *
 * I1 Both amplifications are computed here and nowhere else, from numbers that stand beside them.
 */
import type { Machine } from "./Doors.ts"
import { SUPERBLOCK_BYTES } from "./log/Superblock.ts"
import type { Purpose } from "./tree/memory/Events.ts"
import type { EvictCounters } from "./tree/memory/Evict.ts"
import type { ResidentMinis, ResidentPages } from "./tree/memory/Resident.ts"
import { residentMinis, residentPages } from "./tree/memory/Resident.ts"
import type { Hits } from "./tree/Tree.ts"
import type { MergeCounters } from "./tree/write/Consolidate.ts"
import type { PromoteCounters } from "./tree/write/MiniWriter.ts"

/** Since the store was opened, but for `resident`. Bytes, unless a name says otherwise. */
export interface Costs {
  /**
   * Reads of keys that were answered, by where the answer stood, each once; `misses` had to wait for a page before, and
   * those of them that needed several pages count several times. The part that did without the disk is about
   * 1 - misses / all answers.
   */
  readonly reads: Readonly<Hits> & { readonly misses: number }
  /** What the buffer is full of now. `miniPages` is found by looking at each record of each mini-page. */
  readonly resident: ResidentPages & { readonly miniPages: ResidentMinis }
  /** What the buffer did. Counts of pages and records. */
  readonly buffer: {
    /** Pages read from the disk, by what for. */
    readonly loads: Readonly<Record<Purpose, number>>
    readonly merged: Readonly<MergeCounters>
    /** Leaves and mini-pages that left memory without a write, and those that were spared. */
    readonly evicted: Readonly<EvictCounters>
    /** Images written to make room. */
    readonly evictionWrites: number
    /** Records that reads left in mini-pages. */
    readonly promoted: Readonly<PromoteCounters>
  }
  /** What passed to and from the disk. */
  readonly device: {
    readonly pageFile: {
      /** Everything, what opening the store took included. */
      readonly read: number
      readonly written: number
      /** Parts of `read`: pages for keys and ranges that were asked for, and pages for all else. */
      readonly forAnswers: number
      readonly forWork: number
      /** Parts of `written`: images to make room; images, packs, map and catalog of checkpoints; moved images. */
      readonly evictions: number
      readonly images: number
      readonly packs: number
      readonly map: number
      readonly moves: number
    }
    readonly log: {
      /** Everything, recovery included. */
      readonly read: number
      readonly written: number
      /** The part of `read` that was large values. */
      readonly values: number
      /** Zeros that files were filled with when they were made; no part of `written`. */
      readonly zeroed: number
    }
    readonly superblocks: number
  }
  /** Ratios are 0 where there is nothing to compare with. */
  readonly amplification: {
    /** All bytes written to the disk but zeros, for the keys and values that were committed. */
    readonly write: { readonly committed: number; readonly written: number; readonly ratio: number }
    /**
     * Bytes read from the disk for keys and ranges that were asked for, pages as a whole, for the bytes that were
     * answered: values of keys, and keys and values of ranges in words of four bytes.
     */
    readonly read: { readonly answered: number; readonly read: number; readonly ratio: number }
  }
}

/** Brings the numbers together; takes as long as there are records in mini-pages. */
export const costs = (machine: Machine): Costs => {
  const { parts: { buffer }, tree } = machine
  const device = deviceOf(machine)
  return {
    reads: { ...tree.hits, misses: tree.misses },
    resident: { ...residentPages(tree.pages), miniPages: residentMinis(tree.pages) },
    buffer: {
      loads: { ...buffer.counters.loads.by },
      merged: { ...tree.merged },
      evicted: { ...buffer.counters.evicted },
      evictionWrites: buffer.counters.room.evictionWrites,
      promoted: { ...tree.promoted }
    },
    device,
    amplification: amplificationOf(machine, device)
  }
}

const deviceOf = ({ limits: { pageBytes }, parts }: Machine): Costs["device"] => {
  const { buffer, checkpoint, file, flush, segments } = parts
  const { loads: { by, loads } } = buffer.counters
  const { eviction, move } = flush.counters.by
  const { map, packs } = checkpoint.cut
  const { readBytes, writeBytes } = segments.traffic
  const answers = by.read + by.scan
  return {
    pageFile: {
      read: file.counters.readBytes,
      written: file.counters.writeBytes,
      forAnswers: answers * pageBytes,
      forWork: (loads - answers) * pageBytes,
      evictions: eviction * pageBytes,
      // A failed checkpoint has asked for slots that it did not get.
      images: Math.max(0, flush.counters.by.checkpoint - packs - map) * pageBytes,
      packs: packs * pageBytes,
      map: map * pageBytes,
      moves: move * pageBytes
    },
    log: { read: readBytes, written: writeBytes, values: segments.valueBytes, zeroed: segments.zeroedBytes },
    superblocks: checkpoint.counters.checkpoints * SUPERBLOCK_BYTES
  }
}

const amplificationOf = (
  { parts: { wal }, tree }: Machine,
  { log, pageFile, superblocks }: Costs["device"]
): Costs["amplification"] => {
  const committed = wal.counters.commitBytes
  const written = pageFile.written + log.written + superblocks
  const answered = tree.answeredBytes
  const read = pageFile.forAnswers + log.values
  return {
    write: { committed, written, ratio: committed === 0 ? 0 : written / committed },
    read: { answered, read, ratio: answered === 0 ? 0 : read / answered }
  }
}

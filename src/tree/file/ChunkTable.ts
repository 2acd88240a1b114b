/**
 * Where the chunks of the map table are: the inner levels of the radix tree of `MapChunk.ts`, in memory.
 *
 * A checkpoint rewrites the chunks whose entries changed, then the chunks that point to those, up to the top one.
 *
 * I1 The place of a chunk is the place of its newest image; nothing else points to a chunk.
 */
import type { Place } from "../memory/MapChunk.ts"
import { encode, fanOut, nowhere, topLevel } from "../memory/MapChunk.ts"

interface Level {
  slots: Int32Array
  checksums: Int32Array
}

export class ChunkTable {
  private readonly pageBytes: number
  private readonly levels: Array<Level> = []

  constructor(pageBytes: number) {
    this.pageBytes = pageBytes
  }

  get bytes(): number {
    return this.levels.reduce((sum, level) => sum + level.slots.byteLength * 2, 0)
  }

  place(level: number, index: number): Place {
    const { checksums, slots } = this.level(level, index)
    return { slot: slots[index] as number, checksum: checksums[index] as number }
  }

  /** Slots of all chunks. */
  slots(): ReadonlyArray<number> {
    return this.levels.flatMap(({ slots }) => [...slots]).filter((slot) => slot !== 0)
  }

  /** Notes the new place of a chunk and answers the slot of its older image, 0 where there is none. */
  set(level: number, index: number, place: Place): number {
    const { checksums, slots } = this.level(level, index)
    const older = slots[index] as number
    slots[index] = place.slot
    checksums[index] = place.checksum
    return older
  }

  /** The place of the top chunk of a map of `pageIds` ids. */
  top(pageIds: number): Place & { readonly level: number } {
    const level = topLevel(pageIds, this.pageBytes)
    const { checksum, slot } = pageIds === 0 ? nowhere : this.place(level, 0)
    return { slot, checksum: checksum >>> 0, level }
  }

  /** Chunks of `level` that hold the entries `indices` (page ids for level 0, chunks of the level below otherwise). */
  chunksOf(indices: Iterable<number>): ReadonlyArray<number> {
    const entries = fanOut(this.pageBytes)
    const chunks = new Set<number>()
    for (const index of indices) chunks.add(Math.floor(index / entries))
    return [...chunks].sort((a, b) => a - b)
  }

  /**
   * Chunks of `level` that a checkpoint writes: those that hold the entries `indices`, and those that stand in slot
   * `above` or above, whose place it wants to be free.
   */
  due(level: number, indices: Iterable<number>, above: number): ReadonlyArray<number> {
    const found = new Set(this.chunksOf(indices))
    this.levels[level]?.slots.forEach((slot, index) => {
      if (slot >= above) found.add(index)
    })
    return [...found].sort((a, b) => a - b)
  }

  /** The image of a chunk above level 0, which points to the chunks of the level below. */
  image(level: number, index: number): Uint8Array {
    const below = this.level(level - 1, 0)
    return encode({ pageBytes: this.pageBytes, level, index }, below)
  }

  private level(level: number, index: number): Level {
    while (this.levels.length <= level) {
      this.levels.push({ slots: new Int32Array(16), checksums: new Int32Array(16) })
    }
    const found = this.levels[level] as Level
    if (index >= found.slots.length) {
      const length = Math.max(index + 1, found.slots.length * 2)
      const [slots, checksums] = [new Int32Array(length), new Int32Array(length)]
      slots.set(found.slots)
      checksums.set(found.checksums)
      found.slots = slots
      found.checksums = checksums
    }
    return found
  }
}

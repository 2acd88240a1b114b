/**
 * The map table on disk: page id → places of the page's image and of the pack with its mini-page, as a radix tree of
 * chunk pages.
 *
 * A chunk of level 0 holds the entries of consecutive page ids; a chunk of level n holds the places of consecutive
 * chunks of level n − 1. The superblock holds the place of the one chunk at the top. Whoever points to an image holds
 * its checksum, so that a write that was lost or went elsewhere is seen when the pointer is followed.
 *
 * A chunk page (little-endian):
 *
 * | offset | size | field                                                   |
 * |-------:|-----:|---------------------------------------------------------|
 * |      0 |    4 | checksum: CRC-32 of the rest of the page                |
 * |      4 |    1 | format = 1                                              |
 * |      5 |    1 | kind = 3 (map chunk)                                    |
 * |      6 |    1 | level                                                   |
 * |      7 |    1 | zero                                                    |
 * |      8 |    4 | index of this chunk within its level                    |
 * |     12 |    4 | zero                                                    |
 * |     16 |    8 | level 0: when a record in these pages expires first, or |
 * |        |      | earlier; float64 milliseconds since 1970, 0 = none does |
 * |     24 |    8 | zero                                                    |
 * |     32 | 16·n | entries: slot u32 (0 = none), checksum u32 of the image; |
 * |        |      | the same of the pack; zeros above level 0               |
 *
 * A chunk is broken when its checksum, kind, level or index differ from what its parent says, or its time is none.
 */
import { crc32 } from "node:zlib"

const headerBytes = 32
const format = 1
const kind = 3

/** Where an image is, and what it must hash to. Slot 0 means that there is none. */
export interface Place {
  readonly slot: number
  readonly checksum: number
}

export const nowhere: Place = { slot: 0, checksum: 0 }

const entryBytes = 16

/** Entries per chunk. */
export const fanOut = (pageBytes: number): number => Math.floor((pageBytes - headerBytes) / entryBytes)

/** Slots and checksums by id, or by chunk, from 0. */
export interface Places {
  readonly slots: Int32Array
  readonly checksums: Int32Array
}

/** Levels above level 0 that a map of `pageIds` ids needs. */
export const topLevel = (pageIds: number, pageBytes: number): number => {
  let level = 0
  for (
    let chunks = Math.ceil(pageIds / fanOut(pageBytes));
    chunks > 1;
    chunks = Math.ceil(chunks / fanOut(pageBytes))
  ) {
    level++
  }
  return level
}

/** Encodes chunk `index` of `level`; only level 0 has packs, and a time at which something expires first. */
export const encode = (
  options: { readonly pageBytes: number; readonly level: number; readonly index: number },
  { checksums, slots }: Places,
  packs?: Places,
  earliest = Infinity
): Uint8Array => {
  const { index, level, pageBytes } = options
  const page = new Uint8Array(pageBytes)
  const view = new DataView(page.buffer)
  page[4] = format
  page[5] = kind
  page[6] = level
  view.setUint32(8, index, true)
  view.setFloat64(16, earliest === Infinity ? 0 : earliest, true)
  const entries = fanOut(pageBytes)
  const first = index * entries
  const last = Math.min(first + entries, slots.length)
  for (let id = first, at = headerBytes; id < last; id++, at += entryBytes) {
    view.setInt32(at, slots[id] as number, true)
    view.setInt32(at + 4, checksums[id] as number, true)
    if (packs === undefined) continue
    view.setInt32(at + 8, packs.slots[id] as number, true)
    view.setInt32(at + 12, packs.checksums[id] as number, true)
  }
  view.setUint32(0, crc32(page.subarray(4)), true)
  return page
}

/** The checksum in an encoded chunk: what its parent stores. */
export const checksumOf = (page: Uint8Array): number =>
  new DataView(page.buffer, page.byteOffset, page.byteLength).getInt32(0, true)

export type Decoded =
  | {
    readonly _tag: "Chunk"
    readonly places: Array<Place>
    readonly packs: Array<Place>
    /** No later than anything in these pages expires; Infinity where nothing does. */
    readonly earliest: number
  }
  | { readonly _tag: "Invalid"; readonly expected: string; readonly actual: string }

/** Decodes a chunk page that its parent says is `index` of `level` with checksum `checksum`. */
export const decode = (
  page: Uint8Array,
  expected: { readonly level: number; readonly index: number; readonly checksum: number }
): Decoded => {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength)
  const stored = view.getInt32(0, true)
  const actual = crc32(page.subarray(4)) | 0
  if (stored !== actual || stored !== (expected.checksum | 0)) {
    return invalid("checksum", expected.checksum, actual)
  }
  if (page[4] !== format || page[5] !== kind) return invalid("a map chunk, kind", kind, page[5] as number)
  if (page[6] !== expected.level) return invalid("level", expected.level, page[6] as number)
  const index = view.getUint32(8, true)
  if (index !== expected.index) return invalid("chunk", expected.index, index)
  const earliest = view.getFloat64(16, true)
  if (!(earliest >= 0)) return invalid("a time from 1970 on, at least", 0, earliest)
  const places: Array<Place> = []
  const packs: Array<Place> = []
  for (let at = headerBytes; at + entryBytes <= page.length; at += entryBytes) {
    places.push({ slot: view.getUint32(at, true), checksum: view.getInt32(at + 4, true) })
    packs.push({ slot: view.getUint32(at + 8, true), checksum: view.getInt32(at + 12, true) })
  }
  return { _tag: "Chunk", places, packs, earliest: earliest === 0 ? Infinity : earliest }
}

const invalid = (what: string, expected: number, actual: number): Decoded => ({
  _tag: "Invalid",
  expected: `${what} ${expected >>> 0}`,
  actual: String(actual >>> 0)
})

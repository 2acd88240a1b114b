/**
 * What a checkpoint writes beside the pages of its trees: chunks of the map table, and the header before them.
 */
import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { ChunkTable } from "../src/tree/file/ChunkTable.ts"
import * as PageFileHeader from "../src/tree/file/PageFileHeader.ts"
import * as MapChunk from "../src/tree/memory/MapChunk.ts"
import type { Place } from "../src/tree/memory/MapChunk.ts"
import { flips, forged, pageSizes, word } from "./support/pages.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

const columns = (chance: Random, length: number) => ({
  slots: Int32Array.from({ length }, () => chance.bool(0.3) ? 0 : chance.int(2 ** 31)),
  checksums: Int32Array.from({ length }, () => word(chance))
})

describe("MapChunk", () => {
  for (const pageBytes of pageSizes) {
    it(`comes back as it was written (pages of ${pageBytes} bytes)`, () => {
      for (let seed = 1; seed <= 20; seed++) {
        const chance = random(seed)
        const entries = MapChunk.fanOut(pageBytes)
        const index = chance.int(3)
        const { checksums, slots } = columns(chance, chance.int(4 * entries))
        const level = chance.int(4)
        const page = MapChunk.encode({ pageBytes, level, index }, { slots, checksums })
        assert.strictEqual(page.length, pageBytes)
        const checksum = MapChunk.checksumOf(page)
        const decoded = MapChunk.decode(page, { level, index, checksum })
        if (decoded._tag === "Invalid") return assert.fail(`seed ${seed}: ${decoded.expected}`)
        const expected = Array.from({ length: entries }, (_, entry): Place => ({
          slot: slots[index * entries + entry] ?? 0,
          checksum: checksums[index * entries + entry] ?? 0
        }))
        assert.deepStrictEqual(decoded.places, expected)
        assert.strictEqual(MapChunk.decode(page, { level, index, checksum: checksum >>> 0 })._tag, "Chunk")
      }
    })

    it(`shows every flipped bit (pages of ${pageBytes} bytes)`, () => {
      const chance = random(pageBytes)
      const { checksums, slots } = columns(chance, 3 * MapChunk.fanOut(pageBytes))
      const page = MapChunk.encode({ pageBytes, level: 0, index: 1 }, { slots, checksums })
      const expected = { level: 0, index: 1, checksum: MapChunk.checksumOf(page) }
      flips(chance, page, (copy, bit) => {
        if (MapChunk.decode(copy, expected)._tag === "Chunk") assert.fail(`bit ${bit}`)
      })
      assert.strictEqual(MapChunk.decode(page, expected)._tag, "Chunk")
    })
  }

  it("is refused where it is sound, but not what its parent says", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const chance = random(seed)
      const { checksums, slots } = columns(chance, 500)
      const [level, index] = [chance.int(5), chance.int(4)]
      const page = MapChunk.encode({ pageBytes: 1024, level, index }, { slots, checksums })
      const checksum = MapChunk.checksumOf(page)
      const accepts = (
        bytes: Uint8Array,
        expected: Partial<Parameters<typeof MapChunk.decode>[1]>
      ): boolean =>
        MapChunk.decode(bytes, { level, index, checksum: MapChunk.checksumOf(bytes), ...expected })._tag ===
          "Chunk"
      assert.isTrue(accepts(page, {}))
      assert.isFalse(accepts(page, { level: level + 1 }))
      assert.isFalse(accepts(page, { index: index + 1 }))
      assert.isFalse(accepts(page, { checksum: checksum + 1 }), "an older image of the same chunk")
      assert.isFalse(accepts(forged(page, (view) => view.setUint8(4, 2)), {}), "format")
      assert.isFalse(accepts(forged(page, (view) => view.setUint8(5, 4)), {}), "kind")
      assert.isFalse(accepts(new Uint8Array(1024), {}), "zeros")
      assert.isFalse(accepts(chance.bytes(1024), {}), "noise")
    }
  })
})

/** The map table of a store: checkpoints write what changed, and a reader finds every entry from the top. */
class Stored {
  readonly pages = new Map<number, Uint8Array>()
  readonly chunks: ChunkTable
  readonly pageBytes: number
  private nextSlot = 1

  constructor(pageBytes: number) {
    this.pageBytes = pageBytes
    this.chunks = new ChunkTable(pageBytes)
  }

  /** As the coordinator of checkpoints does it; answers the slots of images that were replaced. */
  write(
    changed: ReadonlyArray<number>,
    pageIds: number,
    slots: Int32Array,
    checksums: Int32Array
  ): Set<number> {
    const { chunks, pageBytes } = this
    const replaced = new Set<number>()
    let dirty = changed
    for (let level = 0; level <= MapChunk.topLevel(pageIds, pageBytes); level++) {
      dirty = chunks.chunksOf(dirty)
      for (const index of dirty) {
        const page = level === 0
          ? MapChunk.encode({ pageBytes, level, index }, { slots, checksums })
          : chunks.image(level, index)
        const slot = this.nextSlot++
        this.pages.set(slot, page)
        replaced.add(chunks.set(level, index, { slot, checksum: MapChunk.checksumOf(page) }))
      }
    }
    replaced.delete(0)
    for (const slot of replaced) this.pages.delete(slot)
    return replaced
  }

  /** Every entry that is not "none", found from the place of the top chunk alone. */
  read(
    top: Place & { readonly level: number }
  ): { readonly entries: Map<number, Place>; readonly slots: Set<number> } {
    const fanOut = MapChunk.fanOut(this.pageBytes)
    const slots = new Set<number>()
    let places = new Map<number, Place>(top.slot === 0 ? [] : [[0, top]])
    for (let level = top.level; level >= 0; level--) {
      const below = new Map<number, Place>()
      for (const [index, { checksum, slot }] of places) {
        assert.isFalse(slots.has(slot), `two chunks in slot ${slot}`)
        slots.add(slot)
        const page = this.pages.get(slot)
        if (page === undefined) return assert.fail(`nothing in slot ${slot}`)
        const decoded = MapChunk.decode(page, { level, index, checksum })
        if (decoded._tag === "Invalid") {
          return assert.fail(`level ${level}, chunk ${index}: ${decoded.expected}`)
        }
        decoded.places.forEach((place, entry) => {
          if (place.slot !== 0) below.set(index * fanOut + entry, place)
        })
      }
      places = below
    }
    return { entries: places, slots }
  }
}

describe("ChunkTable", () => {
  for (let seed = 1; seed <= 24; seed++) {
    const pageBytes = pageSizes[seed % 3] as number
    it(`leads from the top to every entry, through growth (seed ${seed}, ${pageBytes} bytes)`, () => {
      const chance = random(seed)
      const stored = new Stored(pageBytes)
      const most = chance.pick([100, 5_000, 40_000])
      const slots = new Int32Array(most)
      const checksums = new Int32Array(most)
      let pageIds = 1
      for (let checkpoint = 0; checkpoint < 8; checkpoint++) {
        pageIds = Math.min(most, pageIds + chance.int(Math.ceil(most / 4)))
        // New ids are changed by being new; some of the old ones change or are freed.
        const changed = new Set<number>()
        for (let id = 1; id < pageIds; id++) {
          const fresh = slots[id] === 0 && checksums[id] === 0
          if (!fresh && !chance.bool(0.01)) continue
          changed.add(id)
          slots[id] = chance.bool(0.1) ? 0 : 1 + chance.int(2 ** 31 - 1)
          checksums[id] = slots[id] === 0 ? 1 : word(chance)
        }
        stored.write([...changed], pageIds, slots, checksums)
        const top = stored.chunks.top(pageIds)
        assert.strictEqual(top.level, MapChunk.topLevel(pageIds, pageBytes))
        const read = stored.read(top)
        const expected = new Map<number, Place>()
        for (let id = 1; id < pageIds; id++) {
          if (slots[id] !== 0) {
            expected.set(id, { slot: slots[id] as number, checksum: checksums[id] as number })
          }
        }
        assert.strictEqual(read.entries.size, expected.size)
        for (const [id, { checksum, slot }] of expected) {
          const found = read.entries.get(id)
          if (found?.slot !== slot || found.checksum !== checksum) assert.fail(`id ${id}`)
        }
        assert.deepStrictEqual(
          [...read.slots].sort((a, b) => a - b),
          [...stored.chunks.slots()].sort((a, b) => a - b),
          "every chunk that is kept is reached"
        )
        assert.strictEqual(stored.pages.size, read.slots.size)
      }
    })
  }

  it("has chunks written whose entries changed, or whose place is wanted", () => {
    const chunks = new ChunkTable(1024)
    const entries = MapChunk.fanOut(1024)
    for (const [index, slot] of [40, 7, 50, 41].entries()) chunks.set(0, index, { slot, checksum: 1 })
    assert.deepStrictEqual(chunks.due(0, [entries, entries + 1], Infinity), [1])
    assert.deepStrictEqual(chunks.due(0, [entries], 41), [1, 2, 3])
    assert.deepStrictEqual(chunks.due(0, [], 1), [0, 1, 2, 3])
    assert.deepStrictEqual(chunks.due(1, [], 1), [])
  })

  it("takes as many levels as its ids need, and no more", () => {
    for (const pageBytes of pageSizes) {
      const fanOut = MapChunk.fanOut(pageBytes)
      const levels = [1, fanOut, fanOut + 1, fanOut ** 2, fanOut ** 2 + 1].map((ids) =>
        MapChunk.topLevel(ids, pageBytes)
      )
      assert.deepStrictEqual(levels, [0, 0, 1, 1, 2])
    }
    assert.deepStrictEqual(new ChunkTable(1024).top(0), { slot: 0, checksum: 0, level: 0 })
    assert.deepStrictEqual(new ChunkTable(1024).top(1), { slot: 0, checksum: 0, level: 0 })
  })
})

describe("PageFileHeader", () => {
  for (const pageBytes of pageSizes) {
    it(`comes back as it was written, and shows every flipped bit (${pageBytes} bytes)`, () => {
      const chance = random(pageBytes)
      const storeId = chance.bytes(16)
      const header = PageFileHeader.encode(pageBytes, storeId)
      assert.strictEqual(header.length, pageBytes)
      assert.isUndefined(PageFileHeader.fault(header, pageBytes, storeId))
      flips(chance, header, (copy, bit) => {
        if (PageFileHeader.fault(copy, pageBytes, storeId) === undefined) assert.fail(`bit ${bit}`)
      })
      for (let length = 0; length < pageBytes; length += 1 + chance.int(64)) {
        assert.isDefined(PageFileHeader.fault(header.subarray(0, length), pageBytes, storeId))
      }
    })
  }

  it("of another store, of another page size, or of another format is refused by name", () => {
    const chance = random(1)
    const [own, other] = [chance.bytes(16), chance.bytes(16)]
    const expected = (bytes: Uint8Array, pageBytes = 1024): string =>
      PageFileHeader.fault(bytes, pageBytes, own)?.expected ?? "nothing"
    assert.strictEqual(expected(PageFileHeader.encode(1024, other)), "this store's id")
    // A header of larger pages is longer than what is read of it; one of smaller pages is followed by a page.
    assert.match(expected(PageFileHeader.encode(2048, own).subarray(0, 1024)), /checksum/)
    assert.match(
      expected(Buffer.concat([PageFileHeader.encode(1024, own), new Uint8Array(1024)]), 2048),
      /checksum/
    )
    const forge = (at: number, value: number): Uint8Array => {
      const bytes = PageFileHeader.encode(1024, own)
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      view.setUint32(at, value, true)
      view.setUint32(4, crc32(bytes.subarray(8)), true)
      return bytes
    }
    assert.strictEqual(expected(forge(8, 1)), "nothing")
    assert.strictEqual(expected(forge(8, 2)), "format 1")
    assert.strictEqual(expected(forge(12, 2048)), "pages of 1024 bytes")
    assert.strictEqual(expected(forge(0, 0)), "a page file")
    assert.strictEqual(expected(new Uint8Array(1024)), "a page file")
  })
})

/**
 * Changing what stands in a store's files, with every checksum right again: by whoever knows the format and means harm,
 * or by a defect that wrote something else than it should have.
 */
import { crc32 } from "node:zlib"
import type { Image } from "../../src/disk/FaultDisk.ts"
import { GROUP_MAGIC } from "../../src/log/Group.ts"
import { SEGMENT_HEADER_BYTES } from "../../src/log/Segment.ts"
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_BYTES,
  superblockOffset
} from "../../src/log/Superblock.ts"
import type { Superblock } from "../../src/log/Superblock.ts"
import { chooseSuperblock } from "../../src/log/SuperblockChoice.ts"
import * as Catalog from "../../src/tree/file/Catalog.ts"
import * as MapChunk from "../../src/tree/memory/MapChunk.ts"
import * as Page from "../../src/tree/page/Page.ts"

const chunkHeaderBytes = 32

interface Chunk {
  readonly level: number
  readonly index: number
  readonly slot: number
}

/** The newest checkpoint of a store, to be changed. */
export class Forge {
  readonly directory: string
  readonly pages: Buffer
  readonly pageBytes: number
  superblock: Superblock
  readonly older: Superblock | undefined
  catalog: Catalog.Catalog
  readonly chunks: ReadonlyArray<Chunk>
  readonly catalogSlots: ReadonlyArray<number>
  private readonly image: Image

  constructor(image: Image, directory: string) {
    this.image = image
    this.directory = directory
    const superblocks = Buffer.from(image.read(`${directory}/super`) ?? [])
    const slot = (index: 0 | 1) =>
      decodeSuperblock(
        superblocks.subarray(superblockOffset(index), superblockOffset(index) + SUPERBLOCK_BYTES),
        index
      )
    const choice = chooseSuperblock(slot(0), slot(1))
    if (choice._tag !== "Chosen") throw new Error("no superblock to be changed")
    this.superblock = choice.superblock
    this.older = choice.older
    this.pageBytes = this.superblock.pageBytes
    const pages = image.read(`${directory}/pages`) ?? new Uint8Array(0)
    // With memory of its own, so that words of it begin at words.
    this.pages = Buffer.alloc(pages.length)
    this.pages.set(pages)
    this.chunks = this.walk()
    const [slots, payload] = this.readCatalog()
    this.catalogSlots = slots
    const decoded = Catalog.decode(payload)
    if (decoded === undefined) throw new Error("no catalog to be changed")
    this.catalog = decoded
  }

  /** The bytes of a slot; changing them changes the file. */
  slot(slot: number): Buffer {
    return this.pages.subarray(slot * this.pageBytes, (slot + 1) * this.pageBytes)
  }

  private walk(): ReadonlyArray<Chunk> {
    const { level, slot } = this.superblock.map
    const chunks: Array<Chunk> = [{ level, index: 0, slot }]
    const entries = MapChunk.fanOut(this.pageBytes)
    for (const { index, level, slot } of chunks) {
      if (level === 0) continue
      for (let entry = 0; entry < entries; entry++) {
        const below = this.slot(slot).readUInt32LE(chunkHeaderBytes + 16 * entry)
        if (below !== 0) chunks.push({ level: level - 1, index: index * entries + entry, slot: below })
      }
    }
    return chunks
  }

  private readCatalog(): readonly [Array<number>, Buffer] {
    const slots: Array<number> = []
    const parts: Array<Buffer> = []
    for (let slot = this.superblock.catalog.slot; slot !== 0;) {
      const page = this.slot(slot)
      slots.push(slot)
      parts.push(page.subarray(32, 32 + page.readUInt32LE(12)))
      slot = page.readUInt32LE(16)
    }
    return [slots, Buffer.concat(parts)]
  }

  /** Where the map table says something of a page: 16 bytes. */
  entry(id: number): Buffer {
    const entries = MapChunk.fanOut(this.pageBytes)
    const chunk = this.chunks.find(({ index, level }) => level === 0 && index === Math.floor(id / entries))
    if (chunk === undefined) throw new Error(`page ${id} is in no chunk`)
    const at = chunkHeaderBytes + 16 * (id % entries)
    return this.slot(chunk.slot).subarray(at, at + 16)
  }

  slotOf(id: number): number {
    return this.entry(id).readUInt32LE(0)
  }

  packOf(id: number): number {
    return this.entry(id).readUInt32LE(8)
  }

  /** All page ids that have an image. */
  ids(): ReadonlyArray<number> {
    const ids = Array.from({ length: this.superblock.pageIds - 1 }, (_, index) => index + 1)
    const entries = MapChunk.fanOut(this.pageBytes)
    const there = new Set(this.chunks.filter(({ level }) => level === 0).map(({ index }) => index))
    return ids.filter((id) => there.has(Math.floor(id / entries)) && this.slotOf(id) !== 0)
  }

  words(id: number): Int32Array {
    const page = this.slot(this.slotOf(id))
    return new Int32Array(page.buffer, page.byteOffset, page.length >>> 2)
  }

  leaves(): ReadonlyArray<number> {
    return this.ids().filter((id) => Page.level(this.words(id), 0) === 0)
  }

  inner(): ReadonlyArray<number> {
    return this.ids().filter((id) => Page.level(this.words(id), 0) > 0)
  }

  /** Byte in its page from which the children of an inner page stand. */
  childrenOf(id: number): Int32Array {
    const words = this.words(id)
    const from = Page.headerWords + 2 * Page.capacity(words, 0)
    return words.subarray(from, from + Page.count(words, 0) + 1)
  }

  /** Makes all checksums right, from the pages up to the superblock. */
  done(): Image {
    const sum = (slot: number): number => {
      const checksum = crc32(this.slot(slot).subarray(4))
      this.slot(slot).writeUInt32LE(checksum, 0)
      return checksum
    }
    const packs = new Map<number, number>()
    const within = (slot: number): boolean => (slot + 1) * this.pageBytes <= this.pages.length
    for (const id of this.ids()) {
      const entry = this.entry(id)
      const [slot, pack] = [this.slotOf(id), this.packOf(id)]
      if (within(slot)) entry.writeUInt32LE(sum(slot), 4)
      if (pack === 0 || !within(pack)) continue
      if (!packs.has(pack)) packs.set(pack, sum(pack))
      entry.writeUInt32LE(packs.get(pack) as number, 12)
    }
    const entries = MapChunk.fanOut(this.pageBytes)
    for (const { index, level, slot } of this.chunks.toReversed()) {
      const checksum = sum(slot)
      const parent = this.chunks.find((each) =>
        each.level === level + 1 && each.index === Math.floor(index / entries)
      )
      if (parent === undefined) {
        this.superblock = { ...this.superblock, map: { ...this.superblock.map, checksum } }
      } else {
        this.slot(parent.slot).writeUInt32LE(checksum, chunkHeaderBytes + 16 * (index % entries) + 4)
      }
    }
    this.writeCatalog()
    return this.withSuperblock(this.superblock)
  }

  private writeCatalog(): void {
    const payload = Catalog.encode(this.catalog)
    const count = Catalog.pagesOf(payload.length, this.pageBytes)
    if (count > this.catalogSlots.length) throw new Error("the catalog has become too long")
    let next: MapChunk.Place = MapChunk.nowhere
    for (let index = count - 1; index >= 0; index--) {
      const slot = this.catalogSlots[index] as number
      const page = Catalog.toPage(payload, index, next, this.pageBytes)
      this.slot(slot).set(page.bytes)
      next = { slot, checksum: page.checksum }
    }
    const catalog = { slot: next.slot, checksum: next.checksum >>> 0, bytes: payload.length }
    this.superblock = { ...this.superblock, catalog }
  }

  /** The image with the pages as they are now, and a superblock. */
  withSuperblock(superblock: Superblock): Image {
    const bytes = Buffer.from(this.image.read(`${this.directory}/super`) ?? [])
    encodeSuperblock(
      superblock,
      bytes.subarray(superblockOffset(superblock.slot)).subarray(0, SUPERBLOCK_BYTES)
    )
    return this.image.replace(`${this.directory}/super`, bytes).replace(`${this.directory}/pages`, this.pages)
  }
}

/** Groups in a segment from its begin on: offsets in the file. */
export const groupsOf = (segment: Buffer): ReadonlyArray<number> => {
  const starts: Array<number> = []
  for (
    let at = SEGMENT_HEADER_BYTES;
    at + 64 <= segment.length && segment.readUInt32LE(at) === GROUP_MAGIC;
    at += Math.max(64, segment.readUInt32LE(at + 8))
  ) starts.push(at)
  return starts
}

/** Makes the checksums of a segment's groups right from the one at `at` on, and their chain. */
export const rechain = (segment: Buffer, at: number): Buffer => {
  let previous: number | undefined
  for (const start of groupsOf(segment)) {
    if (start < at) continue
    if (previous !== undefined) segment.writeUInt32LE(previous, start + 56)
    previous = crc32(segment.subarray(start + 8, start + segment.readUInt32LE(start + 8)))
    segment.writeUInt32LE(previous, start + 4)
  }
  return segment
}

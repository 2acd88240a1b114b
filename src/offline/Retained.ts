/**
 * A retained checkpoint as its superblock leads to it: map table, packs and catalog, as far as they are sound.
 *
 * The map table is in memory from here on, as it is in a store that is open. Whatever is followed was checked against
 * what points to it, so what is damaged is left out and told, and the rest is as good as ever.
 *
 * I1 A slot is used once, packs apart: the second use is told and not followed.
 */
import * as Effect from "effect/Effect"
import type { Superblock } from "../log/Superblock.ts"
import type { StoreError } from "../StoreError.ts"
import * as Catalog from "../tree/file/Catalog.ts"
import { unpack } from "../tree/file/Pack.ts"
import * as PageFileHeader from "../tree/file/PageFileHeader.ts"
import { Bits } from "../tree/memory/Bits.ts"
import * as MapChunk from "../tree/memory/MapChunk.ts"
import { checkSizes } from "../tree/page/Page.ts"
import { verify } from "../tree/page/PageCheck.ts"
import type { Found, Subject } from "./Finding.ts"
import type { Fault, Source } from "./Source.ts"
import { fault, isFault, readAt } from "./Source.ts"

/** Pages that are read at a time. */
export const lanes = 16
/** Pages in memory at a time, one batch for each level of a tree. */
export const batchPages = 64
/** Packs that are kept in memory, since their mini-pages are asked for one by one. */
const keptPacks = 64

/** A page id's entry in the map table. */
export interface Entry {
  readonly image: MapChunk.Place
  readonly pack: MapChunk.Place
}

interface Pack {
  readonly checksum: number
  readonly pageIds: Array<number>
}

export interface Options {
  readonly source: Source
  readonly superblock: Superblock
  readonly role: "newest" | "older"
  readonly found: (found: Found) => void
  /** Told of each batch of pages that was read. */
  readonly advance: (bytes: number) => Effect.Effect<void>
}

export class Retained {
  readonly superblock: Superblock
  readonly role: "newest" | "older"
  readonly pageBytes: number
  readonly source: Source
  /** What the catalog says; undefined where it is damaged. */
  catalog: Catalog.Catalog | undefined
  /** Slots in use. */
  readonly slots = new Bits()
  /** Page ids that have an image. */
  readonly ids = new Bits()
  readonly advance: Options["advance"]
  /** Whether a part of the map table is missing: what is not in it may have been there. */
  hasHoles = false
  /** Slot and checksum of image and pack, by id, a chunk each. */
  private readonly chunks = new Map<number, Int32Array>()
  /** No later than anything in the pages of a chunk expires. */
  private readonly earliest = new Map<number, number>()
  private readonly packs = new Map<number, Pack>()
  private readonly unpacked = new Map<number, ReturnType<typeof unpack>>()
  private readonly found: Options["found"]

  constructor({ advance, found, role, source, superblock }: Options) {
    this.superblock = superblock
    this.role = role
    this.pageBytes = superblock.pageBytes
    this.source = source
    this.advance = advance
    this.found = found
  }

  /** Tells of something in a slot of the page file; of the superblock where that is slot 0. */
  readonly tell = (
    subject: Subject,
    slot: number,
    expected: string,
    actual: string | number,
    more: { readonly keyspace?: string; readonly at?: number } = {}
  ): void => {
    const { keyspace } = more
    this.found({
      subject,
      path: this.source.pages.path,
      offset: slot * this.pageBytes + (more.at ?? 0),
      expected,
      actual,
      role: this.role,
      checkpoint: this.superblock.version,
      ...(keyspace === undefined ? {} : { keyspace })
    })
  }

  /** Reads map table, packs and catalog. False where the pages are none at all. */
  readonly load: Effect.Effect<boolean, StoreError> = Effect.gen({ self: this }, function*() {
    const { pageBytes, source, superblock } = this
    if (!checkSizes({ pageBytes, keyBytes: 0 })) {
      const path = source.superblocks.path
      const offset = superblock.slot * 4096 + 56
      const expected = "page bytes that are a power of two from 1024 to 32768"
      const { version } = superblock
      this.found({
        subject: "superblock",
        path,
        offset,
        expected,
        actual: pageBytes,
        role: this.role,
        checkpoint: version
      })
      return false
    }
    const header = yield* readAt(source.pages, 0, pageBytes)
    const wrong = isFault(header)
      ? header
      : PageFileHeader.fault(header, pageBytes, superblock.storeId)
    if (wrong !== undefined) this.tell("page file", 0, wrong.expected, wrong.actual)
    yield* this.loadMap
    yield* this.loadPacks
    yield* this.loadCatalog
    return true
  })

  /** The entry of a page id; a fault where there is none, or where it is not known. */
  entry(id: number): Entry | Fault {
    const entries = MapChunk.fanOut(this.pageBytes)
    const chunk = this.chunks.get(Math.floor(id / entries))
    const at = id % entries * 4
    if (chunk === undefined || chunk[at] === 0) {
      return fault("an image in the map table", this.hasHoles ? "a damaged part of it" : "none")
    }
    const place = (from: number): MapChunk.Place => ({
      slot: (chunk[from] as number) >>> 0,
      checksum: chunk[from + 1] as number
    })
    return { image: place(at), pack: place(at + 2) }
  }

  /** When the first record in a page and its neighbours in the map table expires, or earlier. */
  earliestOf(id: number): number {
    return this.earliest.get(Math.floor(id / MapChunk.fanOut(this.pageBytes))) ?? 0
  }

  /** Reads and checks the image of a page: its words. */
  page(id: number): Effect.Effect<{ readonly slot: number; readonly words: Int32Array } | Fault, StoreError> {
    return Effect.suspend(() => {
      const entry = this.entry(id)
      if (isFault(entry)) return Effect.succeed(entry)
      const { checksum, slot } = entry.image
      return Effect.map(this.read(slot), (bytes) => {
        const words = isFault(bytes) ? bytes : this.checked(bytes, id, checksum)
        if (!isFault(words)) return { slot, words }
        this.tell("page", slot, words.expected, words.actual)
        return words
      })
    })
  }

  private checked(bytes: Uint8Array, pageId: number, checksum: number): Int32Array | Fault {
    const checked = verify(bytes, { pageId, checksum, pageBytes: this.pageBytes })
    return checked._tag === "Invalid"
      ? fault(checked.expected, checked.actual)
      : new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2)
  }

  /** The mini-page of a page id in its pack: its words. That the pack is damaged was told when it was loaded. */
  mini(id: number, { checksum, slot }: MapChunk.Place): Effect.Effect<Int32Array | Fault, StoreError> {
    if (this.packs.get(slot)?.checksum !== checksum) {
      return Effect.succeed(fault("a pack that the map table names", "another"))
    }
    return Effect.map(this.unpack(slot, checksum), (unpacked) => {
      if (isFault(unpacked)) return unpacked
      if (unpacked._tag === "Invalid") return fault(unpacked.expected, unpacked.actual)
      const packed = unpacked.minis.find(({ pageId }) => pageId === id)
      return packed === undefined
        ? fault(`the mini-page of page ${id}`, "others")
        : unpacked.words.slice(packed.at, packed.at + packed.size)
    })
  }

  private read(slot: number): Effect.Effect<Uint8Array | Fault, StoreError> {
    return readAt(this.source.pages, slot * this.pageBytes, this.pageBytes)
  }

  /** Notes that a slot is used; false where it cannot be. */
  private use(subject: Subject, slot: number, from: number): boolean {
    if (slot === 0 || slot >= this.superblock.slots) {
      this.tell(subject, from, `a slot from 1 to ${this.superblock.slots - 1}`, slot)
      return false
    }
    if (this.slots.add(slot)) return true
    this.tell(subject, slot, "a slot that is used once", "a second use")
    return false
  }

  private readonly loadMap: Effect.Effect<void, StoreError> = Effect.gen({ self: this }, function*() {
    const { map } = this.superblock
    let level = map.level
    let places = new Map<number, MapChunk.Place>()
    if (map.slot !== 0 && this.use("map table", map.slot, 0)) places.set(0, map)
    else this.hasHoles = map.slot !== 0
    for (; level >= 0 && places.size > 0; level--) {
      const below = new Map<number, MapChunk.Place>()
      const indexes = [...places.keys()].sort((a, b) => a - b)
      for (let from = 0; from < indexes.length; from += batchPages) {
        const batch = indexes.slice(from, from + batchPages)
        const pages = yield* Effect.forEach(
          batch,
          (index) => this.read((places.get(index) as MapChunk.Place).slot),
          { concurrency: lanes }
        )
        batch.forEach((index, number) => {
          const bytes = pages[number] as Uint8Array | Fault
          this.takeChunk(level, index, places.get(index) as MapChunk.Place, bytes, below)
        })
        yield* this.advance(batch.length * this.pageBytes)
      }
      places = below
    }
  })

  private takeChunk(
    level: number,
    index: number,
    { checksum, slot }: MapChunk.Place,
    bytes: Uint8Array | Fault,
    below: Map<number, MapChunk.Place>
  ): void {
    const decoded = isFault(bytes) ? bytes : MapChunk.decode(bytes, { level, index, checksum })
    if (decoded._tag !== "Chunk") {
      this.hasHoles = true
      this.tell("map table", slot, decoded.expected, decoded.actual)
      return
    }
    const { earliest, packs, places } = decoded
    const entries = new Int32Array(4 * places.length)
    for (let entry = 0; entry < places.length; entry++) {
      const place = places[entry] as MapChunk.Place
      if (place.slot === 0) continue
      const number = index * places.length + entry
      if (level === 0 && (number === 0 || number >= this.superblock.pageIds)) {
        this.tell("map table", slot, `page ids from 1 to ${this.superblock.pageIds - 1}`, number)
        continue
      }
      if (!this.use(level === 0 ? "page" : "map table", place.slot, slot)) {
        this.hasHoles = true
        continue
      }
      if (level > 0) {
        below.set(number, place)
        continue
      }
      const pack = packs[entry] as MapChunk.Place
      entries.set([place.slot, place.checksum, pack.slot, pack.checksum], 4 * entry)
      this.ids.add(number)
      if (pack.slot !== 0) this.notePack(number, pack, slot)
    }
    if (level > 0) return
    this.chunks.set(index, entries)
    this.earliest.set(index, earliest)
  }

  private notePack(id: number, { checksum, slot }: MapChunk.Place, from: number): void {
    const shared = this.packs.get(slot)
    if (shared !== undefined && shared.checksum === checksum) return void shared.pageIds.push(id)
    if (shared !== undefined) this.tell("mini-page", from, "packs of one checksum", "of two")
    else if (this.use("mini-page", slot, from)) this.packs.set(slot, { checksum, pageIds: [id] })
  }

  /** Opening brings all of them into memory, so all of them must be sound. */
  private readonly loadPacks: Effect.Effect<void, StoreError> = Effect.gen({ self: this }, function*() {
    for (const [slot, { checksum, pageIds }] of this.packs) {
      const unpacked = yield* this.unpack(slot, checksum)
      yield* this.advance(this.pageBytes)
      if (unpacked._tag !== "Pack") {
        this.tell("mini-page", slot, unpacked.expected, unpacked.actual)
        continue
      }
      const there = new Set(unpacked.minis.map(({ pageId }) => pageId))
      if (there.size < unpacked.minis.length) {
        this.tell("mini-page", slot, "one mini-page of a page", "two")
      }
      for (const id of pageIds) {
        if (!there.has(id)) this.tell("mini-page", slot, `the mini-page of page ${id}`, "others")
      }
    }
  })

  private unpack(
    slot: number,
    checksum: number
  ): Effect.Effect<ReturnType<typeof unpack> | Fault, StoreError> {
    const known = this.unpacked.get(slot)
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(this.read(slot), (bytes) => {
      if (isFault(bytes)) return bytes
      const unpacked = unpack(bytes, checksum)
      const oldest = this.unpacked.keys().next()
      if (this.unpacked.size >= keptPacks && oldest.done !== true) this.unpacked.delete(oldest.value)
      this.unpacked.set(slot, unpacked)
      return unpacked
    })
  }

  private readonly loadCatalog: Effect.Effect<void, StoreError> = Effect.gen({ self: this }, function*() {
    const { catalog, nextKeyspace, nextTree } = this.superblock
    if (catalog.slot === 0) {
      this.catalog = Catalog.empty
      return
    }
    const parts: Array<Uint8Array> = []
    let place: MapChunk.Place = catalog
    let from = 0
    for (let index = 0; index < Catalog.pagesOf(catalog.bytes, this.pageBytes); index++) {
      if (!this.use("catalog", place.slot, from)) return
      const bytes = yield* this.read(place.slot)
      const decoded = isFault(bytes)
        ? bytes
        : Catalog.decodePage(bytes, { index, checksum: place.checksum })
      if (decoded._tag !== "Page") return this.tell("catalog", place.slot, decoded.expected, decoded.actual)
      parts.push(decoded.payload)
      from = place.slot
      place = decoded.next
      yield* this.advance(this.pageBytes)
    }
    const decoded = Catalog.decode(Buffer.concat(parts))
    if (decoded === undefined || place.slot !== 0) {
      return this.tell("catalog", catalog.slot, "a catalog", "another length")
    }
    this.catalog = { ...decoded, nextTreeId: nextTree, nextKeyspaceId: nextKeyspace }
  })
}

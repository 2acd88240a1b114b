/**
 * The newest checkpoint, as the disk has it: superblocks, map table, catalog, slots in use.
 *
 * It reads and decides; pages themselves are read when somebody needs them. A store that is there is never taken for a
 * fresh one, whatever its superblocks hold.
 *
 * I1 Whatever is followed is checked against what points to it before it is believed.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../disk/Disk.ts"
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_FORMAT,
  superblockOffset
} from "../../log/Superblock.ts"
import type { Superblock } from "../../log/Superblock.ts"
import { chooseSuperblock } from "../../log/SuperblockChoice.ts"
import { Corrupted, FormatTooNew, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import * as Telemetry from "../../Telemetry.ts"
import * as Catalog from "../../tree/file/Catalog.ts"
import { ChunkTable } from "../../tree/file/ChunkTable.ts"
import { unpack } from "../../tree/file/Pack.ts"
import { PageFile } from "../../tree/file/PageFile.ts"
import type { Deadlines } from "../../tree/memory/Deadlines.ts"
import * as MapChunk from "../../tree/memory/MapChunk.ts"
import type { MapTable } from "../../tree/memory/MapTable.ts"
import type { Pages } from "../../tree/memory/Pages.ts"
import { verify } from "../../tree/page/PageCheck.ts"

/** What the superblock file says. */
export interface Superblocks {
  readonly path: string
  readonly newest: Superblock
  readonly older: Superblock | undefined
  /** Why the other slot could not be used; reported. */
  readonly damage: string | undefined
}

/** Reads both superblocks and chooses. */
export const superblocks = (file: DiskFile): Effect.Effect<Superblocks, StoreError> =>
  Effect.gen(function*() {
    const bytes = Buffer.alloc(2 * SUPERBLOCK_BYTES)
    const read = yield* file.read(bytes, 0)
    const slot = (index: 0 | 1) => {
      const offset = superblockOffset(index)
      return decodeSuperblock(
        bytes.subarray(Math.min(offset, read), Math.min(offset + SUPERBLOCK_BYTES, read)),
        index
      )
    }
    const choice = chooseSuperblock(slot(0), slot(1))
    switch (choice._tag) {
      case "Chosen":
        return {
          path: file.path,
          newest: choice.superblock,
          older: choice.older,
          damage: choice.damage
        }
      case "TooNew":
        return yield* Effect.fail(storeError(
          new FormatTooNew({ path: file.path, format: choice.format, supported: SUPERBLOCK_FORMAT })
        ))
      case "Unreadable":
        return yield* damaged(file.path, 0, "a superblock", choice.reasons.join(" and "))
      case "Mixed":
        return yield* damaged(file.path, 0, "two superblocks of one store", choice.reason)
    }
  }).pipe(
    Effect.withSpan(Telemetry.Span.recoverySuperblock),
    Effect.tap(({ newest }) => Effect.annotateCurrentSpan(Telemetry.Attribute.recoverySlot, newest.slot))
  )

/**
 * Writes the newest superblock again, as it is, and syncs it. The life before may have ended between its write and its
 * sync, or with a sync that failed and that no later one tells of: until it is durable, nothing may be removed that
 * only the older one needs. The bytes are the same, so it does no harm if only part of them get there.
 */
export const confirm = (file: DiskFile, { newest }: Superblocks): Effect.Effect<void, StoreError> => {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES)
  encodeSuperblock(newest, bytes)
  return Effect.andThen(file.write([bytes], superblockOffset(newest.slot)), file.sync)
}

/** What a checkpoint holds beside its pages. */
export interface Restored {
  readonly chunks: ChunkTable
  readonly slots: PageFile
  /** Packs by slot, and whose mini-pages are in them. */
  readonly packs: ReadonlyMap<number, { readonly checksum: number; readonly pageIds: ReadonlyArray<number> }>
  readonly catalog: Catalog.Catalog
  readonly catalogSlots: ReadonlyArray<number>
  /** What is wrong with the older checkpoint: it is of no use any more. */
  readonly olderDamage: Corrupted | undefined
}

/** Loads the map table and the catalog of the newest checkpoint, and the slots that the older one needs. */
export const restore = (
  options: {
    readonly file: DiskFile
    readonly roots: {
      readonly newest: Superblock
      readonly older: Superblock | undefined
      /** Slots below this one may be referred to by a checkpoint that was given up: they are kept. */
      readonly keptSlots: number
    }
    readonly map: MapTable
    /** Told of pages in which something may expire. */
    readonly deadlines?: Deadlines
    readonly pageBytes: number
  }
): Effect.Effect<Restored, StoreError> =>
  Effect.gen(function*() {
    const { file, map, pageBytes } = options
    const { keptSlots, newest, older } = options.roots
    const fileSlots = Math.max(1, Math.ceil((yield* file.size) / pageBytes))
    const chunks = new ChunkTable(pageBytes)
    const used: Array<number> = []
    const known = new Map<number, number>()
    const packs = new Map<number, { readonly checksum: number; readonly pageIds: Array<number> }>()
    yield* walkMap(options, newest, {
      chunk: (level, index, place) => {
        chunks.set(level, index, place)
        known.set(place.slot, place.checksum)
        used.push(place.slot)
        return true
      },
      page: (id, place, pack, earliest) => {
        if (earliest !== Infinity) options.deadlines?.note(id, earliest)
        map.restore(id, place.slot, place.checksum, pack.slot, pack.checksum)
        used.push(place.slot)
        if (pack.slot === 0) return
        const shared = packs.get(pack.slot)
        if (shared === undefined) packs.set(pack.slot, { checksum: pack.checksum, pageIds: [id] })
        else shared.pageIds.push(id)
      }
    })
    map.restored()
    used.push(...packs.keys())
    const catalog = yield* loadCatalog(file, newest, pageBytes)
    used.push(...catalog.slots)
    yield* expectRoots(options, catalog.catalog)
    const spare = yield* olderSlots(options, known, fileSlots)
    const retained = spare instanceof Corrupted ? [] : spare
    for (let slot = 1; slot < Math.min(keptSlots, fileSlots); slot++) retained.push(slot)
    const slots = new PageFile()
    // What a checkpoint refers to was written before; a bound above is of slots that nobody got to write, or a lie.
    const bound = Math.min(fileSlots, Math.max(newest.slots, older?.slots ?? 0, keptSlots))
    if (!slots.restore({ slots: bound, version: newest.version, newest: used, older: retained })) {
      return yield* damaged(
        file.path,
        0,
        "every slot used once and inside the file",
        "a slot used twice or outside"
      )
    }
    return {
      chunks,
      slots,
      packs,
      catalog: catalog.catalog,
      catalogSlots: catalog.slots,
      olderDamage: spare instanceof Corrupted ? spare : undefined
    }
  }).pipe(Effect.withSpan(Telemetry.Span.recoveryVerify))

const expectRoots = (
  { file, map, pageBytes, roots: { newest } }: Parameters<typeof restore>[0],
  { dropping, keyspaces }: Catalog.Catalog
): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    const roots = new Set<number>()
    const wrong = [...keyspaces.map(({ root }) => root), ...dropping].find((root) =>
      !map.isUsed(root) || roots.size === roots.add(root).size
    )
    if (wrong === undefined) return Effect.void
    const offset = newest.catalog.slot * pageBytes
    return damaged(file.path, offset, "roots that the map table has, each of one tree", `page ${wrong}`)
  })

/**
 * Slots that the older checkpoint needs; why there are none to be known, where it is damaged: it is only what the
 * newest could be rebuilt from. `known` are the chunks that both share.
 */
const olderSlots = (
  options: Parameters<typeof restore>[0],
  known: ReadonlyMap<number, number>,
  fileSlots: number
): Effect.Effect<Array<number> | Corrupted, StoreError> =>
  Effect.gen(function*() {
    const { file, pageBytes, roots: { older } } = options
    const retained: Array<number> = []
    if (older === undefined) return retained
    yield* walkMap(options, older, {
      // A chunk that both checkpoints share says nothing new.
      chunk: (_level, _index, place) => {
        retained.push(place.slot)
        return known.get(place.slot) !== place.checksum
      },
      page: (_id, place, pack) => {
        retained.push(place.slot)
        if (pack.slot !== 0) retained.push(pack.slot)
      }
    })
    retained.push(...(yield* loadCatalog(file, older, pageBytes)).slots)
    const outside = retained.find((slot) => slot >= fileSlots)
    if (outside !== undefined) return yield* damaged(file.path, outside * pageBytes, "a page", "end of file")
    return retained
  }).pipe(Effect.catch((error) =>
    error.reason._tag === "Corrupted" ? Effect.succeed(error.reason) : Effect.fail(error)
  ))

/** Pages that are looked at at a time. */
const looks = 16

/** Reads every page of the map table, and fails where one is not what the table says. */
export const look = (
  options: { readonly file: DiskFile; readonly map: MapTable; readonly pageBytes: number }
): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    const { file, map, pageBytes } = options
    let next = 1
    const lane: Effect.Effect<void, StoreError> = Effect.gen(function*() {
      while (next < map.bound) {
        const pageId = next++
        if (!map.isUsed(pageId)) continue
        const slot = map.slot[pageId] as number
        const checksum = map.checksum[pageId] as number
        const checked = verify(yield* readPage(file, slot, pageBytes), { pageId, checksum, pageBytes })
        if (checked._tag === "Sound") continue
        return yield* damaged(file.path, slot * pageBytes, checked.expected, checked.actual)
      }
    })
    const lanes = Array.from({ length: looks }, () => lane)
    return Effect.all(lanes, { concurrency: "unbounded", discard: true })
  }).pipe(Effect.withSpan(Telemetry.Span.recoveryVerify))

/**
 * Brings the mini-pages of a checkpoint into memory: what they say is in no base page. `reserve` makes room, by merging
 * some of them where memory has become smaller.
 */
export const minis = (options: {
  readonly file: DiskFile
  readonly packs: Restored["packs"]
  readonly pages: Pages
  readonly reserve: (blocks: number) => Effect.Effect<void, StoreError>
}): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { file, packs, pages, reserve } = options
    const { pageBytes } = pages.arena
    for (const [slot, { pageIds }] of packs) pages.packs.name(slot, pageIds.length)
    for (const [slot, { checksum, pageIds }] of packs) {
      const unpacked = unpack(yield* readPage(file, slot, pageBytes), checksum)
      if (unpacked._tag === "Invalid") {
        return yield* damaged(file.path, slot * pageBytes, unpacked.expected, unpacked.actual)
      }
      const byId = new Map(unpacked.minis.map((mini) => [mini.pageId, mini]))
      for (const id of pageIds) {
        const mini = byId.get(id)
        if (mini === undefined) {
          return yield* damaged(file.path, slot * pageBytes, `the mini-page of page ${id}`, "others")
        }
        const standing = pages.lineage.checkMini(id, unpacked.words, mini.at)
        if (standing._tag === "Stray") {
          return yield* damaged(file.path, slot * pageBytes, standing.expected, standing.actual)
        }
        while (!pages.restoreMini(id, unpacked.words, mini.at, mini.size)) yield* reserve(1)
      }
    }
  }).pipe(Effect.withSpan(Telemetry.Span.recoveryVerify))

interface Visitor {
  /** Whether the entries of this chunk are wanted. */
  readonly chunk: (level: number, index: number, place: MapChunk.Place) => boolean
  readonly page: (id: number, place: MapChunk.Place, pack: MapChunk.Place, earliest: number) => void
}

/**
 * Page ids that are believed, since all of them up to the highest take memory: many more than a file of that size has
 * pages, because ids outlive pages where a store has shrunk.
 */
const idsLeast = 65_536
/** Chunks of the smallest pages lead to all page ids that there can be in as many. */
const levelsMost = 6
const idsPerByte = 1 / 16

const walkMap = (
  options: { readonly file: DiskFile; readonly pageBytes: number },
  superblock: Superblock,
  visitor: Visitor
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { file, pageBytes } = options
    const entries = MapChunk.fanOut(pageBytes)
    const ids = Math.min(superblock.pageIds, Math.max(idsLeast, idsPerByte * (yield* file.size)))
    let places = new Map<number, MapChunk.Place>()
    const { level: top, slot: root } = superblock.map
    if (root !== 0) places.set(0, superblock.map)
    if (top > levelsMost) {
      return yield* damaged(file.path, root * pageBytes, `a map of at most ${levelsMost} levels`, `${top}`)
    }
    for (let level = top; level >= 0 && places.size > 0; level--) {
      const below = new Map<number, MapChunk.Place>()
      for (const [index, place] of places) {
        if (!visitor.chunk(level, index, place)) continue
        const page = yield* readPage(file, place.slot, pageBytes)
        const decoded = MapChunk.decode(page, { level, index, checksum: place.checksum })
        if (decoded._tag === "Invalid") {
          return yield* damaged(file.path, place.slot * pageBytes, decoded.expected, decoded.actual)
        }
        for (let entry = 0; entry < decoded.places.length; entry++) {
          const found = decoded.places[entry] as MapChunk.Place
          if (found.slot === 0) continue
          const number = index * entries + entry
          if (level > 0) below.set(number, found)
          else if (number < ids) {
            visitor.page(number, found, decoded.packs[entry] as MapChunk.Place, decoded.earliest)
          } else {return yield* damaged(
              file.path,
              place.slot * pageBytes,
              `page ids below ${Math.floor(ids)}`,
              `${number}`
            )}
        }
      }
      places = below
    }
  })

const loadCatalog = (
  file: DiskFile,
  { catalog, nextKeyspace, nextTree }: Superblock,
  pageBytes: number
): Effect.Effect<{ readonly catalog: Catalog.Catalog; readonly slots: ReadonlyArray<number> }, StoreError> =>
  Effect.gen(function*() {
    if (catalog.slot === 0) return { catalog: Catalog.empty, slots: [] }
    const count = Catalog.pagesOf(catalog.bytes, pageBytes)
    const slots: Array<number> = []
    const parts: Array<Uint8Array> = []
    let place: MapChunk.Place = catalog
    for (let index = 0; index < count; index++) {
      const decoded = Catalog.decodePage(yield* readPage(file, place.slot, pageBytes), {
        index,
        checksum: place.checksum
      })
      if (decoded._tag === "Invalid") {
        return yield* damaged(file.path, place.slot * pageBytes, decoded.expected, decoded.actual)
      }
      slots.push(place.slot)
      parts.push(decoded.payload)
      place = decoded.next
    }
    const decoded = Catalog.decode(Buffer.concat(parts))
    if (decoded === undefined || place.slot !== 0) {
      return yield* damaged(file.path, catalog.slot * pageBytes, "a catalog", "another length")
    }
    return { catalog: { ...decoded, nextTreeId: nextTree, nextKeyspaceId: nextKeyspace }, slots }
  })

/** Reads a page of the file, whatever it is. */
export const readPage = (
  file: DiskFile,
  slot: number,
  pageBytes: number
): Effect.Effect<Uint8Array, StoreError> =>
  Effect.suspend(() => {
    const bytes = new Uint8Array(pageBytes)
    return Effect.flatMap(
      file.read(bytes, slot * pageBytes),
      (read) =>
        read === pageBytes
          ? Effect.succeed(bytes)
          : damaged(file.path, slot * pageBytes, "a page", "end of file")
    )
  })

/** The failure of whoever finds bytes that are not what they should be. */
export const damaged = (
  path: string,
  offset: number,
  expected: string,
  actual: string
): Effect.Effect<never, StoreError> =>
  Effect.fail(storeError(new Corrupted({ path, offset, expected, actual })))

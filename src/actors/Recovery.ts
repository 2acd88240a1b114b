/**
 * Opening a store: finding the newest checkpoint, and what the log says above it.
 *
 * It reads and decides; nothing is served before it has ended, and nothing that it reads is thrown away: a store that
 * is there is never taken for a fresh one. The order: superblocks → map table and catalog → log from the cut, groups
 * verified and applied → end of the log decided → adopted bytes rewritten and synced.
 *
 * I1 Of the log only groups that the scan accepted are applied, in order, from the cut on.
 * I2 What was adopted without being known durable is written again and synced before anything builds on it, because a
 *    page cache may show bytes that the disk does not have.
 */
import * as Effect from "effect/Effect"
import type { Disk, DiskFile } from "../disk/Disk.ts"
import { GROUP_HEADER_BYTES, GroupKind } from "../log/Group.ts"
import { RecordReader } from "../log/RecordReader.ts"
import { Scan } from "../log/Scan.ts"
import type { TornTail } from "../log/ScanAnswer.ts"
import type { Segment } from "../log/Segment.ts"
import {
  decodeSegment,
  fileOffset,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
  segmentName
} from "../log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES, SUPERBLOCK_FORMAT, superblockOffset } from "../log/Superblock.ts"
import type { Superblock } from "../log/Superblock.ts"
import { chooseSuperblock } from "../log/SuperblockChoice.ts"
import { Corrupted, FormatTooNew, storeError } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import * as Catalog from "../tree/Catalog.ts"
import { ChunkTable } from "../tree/ChunkTable.ts"
import * as MapChunk from "../tree/MapChunk.ts"
import type { MapTable } from "../tree/MapTable.ts"
import { PageFile } from "../tree/PageFile.ts"
import type { Segments } from "./Segments.ts"

/** What the superblock file says. */
export interface Roots {
  readonly newest: Superblock
  readonly older: Superblock | undefined
  /** Why the other slot could not be used; reported. */
  readonly damage: string | undefined
}

/** Reads both superblocks and chooses. */
export const roots = (file: DiskFile): Effect.Effect<Roots, StoreError> =>
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
        return { newest: choice.superblock, older: choice.older, damage: choice.damage }
      case "TooNew":
        return yield* Effect.fail(storeError(
          new FormatTooNew({ path: file.path, format: choice.format, supported: SUPERBLOCK_FORMAT })
        ))
      case "Unreadable":
        return yield* damaged(file.path, 0, "a superblock", choice.reasons.join(" and "))
      case "Mixed":
        return yield* damaged(file.path, 0, "two superblocks of one store", choice.reason)
    }
  })

/** What a checkpoint holds beside its pages. */
export interface Restored {
  readonly chunks: ChunkTable
  readonly slots: PageFile
  readonly catalog: Catalog.Catalog
  readonly catalogSlots: ReadonlyArray<number>
}

/** Loads the map table and the catalog of the newest checkpoint, and the slots that the older one needs. */
export const restore = (
  options: {
    readonly file: DiskFile
    readonly roots: Roots
    readonly map: MapTable
    readonly pageBytes: number
  }
): Effect.Effect<Restored, StoreError> =>
  Effect.gen(function*() {
    const { file, map, pageBytes } = options
    const { newest, older } = options.roots
    const chunks = new ChunkTable(pageBytes)
    const used: Array<number> = []
    const retained: Array<number> = []
    const known = new Map<number, number>()
    yield* walkMap(options, newest, {
      chunk: (level, index, place) => {
        chunks.set(level, index, place)
        known.set(place.slot, place.checksum)
        used.push(place.slot)
        return true
      },
      page: (id, place) => {
        map.restore(id, place.slot, place.checksum)
        used.push(place.slot)
      }
    })
    map.restored()
    const catalog = yield* loadCatalog(file, newest, pageBytes)
    used.push(...catalog.slots)
    if (older !== undefined) {
      yield* walkMap(options, older, {
        // A chunk that both checkpoints share says nothing new.
        chunk: (_level, _index, place) => {
          retained.push(place.slot)
          return known.get(place.slot) !== place.checksum
        },
        page: (_id, place) => retained.push(place.slot)
      })
      retained.push(...(yield* loadCatalog(file, older, pageBytes)).slots)
    }
    const slots = new PageFile()
    if (!slots.restore({ slots: newest.slots, version: newest.version, newest: used, older: retained })) {
      return yield* damaged(
        file.path,
        0,
        "every slot used once and inside the file",
        "a slot used twice or outside"
      )
    }
    return { chunks, slots, catalog: catalog.catalog, catalogSlots: catalog.slots }
  })

interface Visitor {
  /** Whether the entries of this chunk are wanted. */
  readonly chunk: (level: number, index: number, place: MapChunk.Place) => boolean
  readonly page: (id: number, place: MapChunk.Place) => void
}

const walkMap = (
  options: { readonly file: DiskFile; readonly pageBytes: number },
  superblock: Superblock,
  visitor: Visitor
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { file, pageBytes } = options
    const entries = MapChunk.fanOut(pageBytes)
    let places = new Map<number, MapChunk.Place>()
    if (superblock.map.slot !== 0) places.set(0, superblock.map)
    for (let level = superblock.map.level; level >= 0 && places.size > 0; level--) {
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
          else if (number < superblock.pageIds) visitor.page(number, found)
          else {return yield* damaged(
              file.path,
              place.slot * pageBytes,
              `page ids below ${superblock.pageIds}`,
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

const readPage = (file: DiskFile, slot: number, pageBytes: number): Effect.Effect<Uint8Array, StoreError> =>
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

/** How far a replay has come. */
export interface Progress {
  readonly lsn: number
  /** End of the log as far as its files say. */
  readonly bytes: number
  readonly records: number
}

/** What replaying the log found. */
export interface Replayed {
  readonly end: TornTail
  readonly records: number
  readonly bytes: number
}

/** Applies the log from the newest checkpoint's cut, and decides where it ends. */
export const replay = (
  options: {
    readonly disk: Disk["Service"]
    readonly directory: string
    readonly roots: Roots
    readonly mode: "readWrite" | "readOnly"
    /** Takes over the segments of the log. */
    readonly segments: Segments
    /** Applies a record; an effect where that takes time. */
    readonly apply: (reader: RecordReader) => Effect.Effect<void, StoreError> | undefined
    readonly progress: (progress: Progress) => Effect.Effect<void>
  }
): Effect.Effect<Replayed, StoreError> =>
  Effect.gen(function*() {
    const { directory, disk, mode, roots, segments } = options
    const { begin, cut, durableLsn, storeId } = roots.newest
    const opened = yield* openSegments(options, begin.sequence)
    const scan = new Scan({
      storeId,
      cut,
      durableLsn: Math.max(durableLsn, roots.older?.durableLsn ?? 0),
      firstSequence: begin.sequence,
      files: [...opened].map(([sequence, { bytes }]) => ({ sequence, bytes }))
    })
    const adopted = new Adopted()
    const reader = new RecordReader()
    let records = 0
    while (true) {
      const answer = scan.next()
      if (answer._tag === "Need") {
        const bytes = Buffer.allocUnsafe(answer.length)
        const file = (opened.get(answer.sequence) as Opened).file
        const read = yield* file.read(bytes, answer.offset)
        scan.feed(bytes.subarray(0, read))
      } else if (answer._tag === "Group") {
        adopted.push(answer.lsn, answer.end, answer.bytes, answer.segment, scan.durableLsn)
        if (answer.kind !== GroupKind.data) continue
        if (mode === "readOnly" && answer.end > scan.durableLsn) continue
        reader.open(
          answer.bytes,
          GROUP_HEADER_BYTES,
          answer.bytes.length,
          answer.lsn + GROUP_HEADER_BYTES,
          answer.records
        )
        records += yield* applyAll(reader, options.apply)
        yield* options.progress({ lsn: answer.end, bytes: answer.end - cut.lsn, records })
      } else if (answer._tag === "TornTail") {
        if (mode === "readWrite") yield* adopted.rewrite(answer, opened)
        for (const sequence of answer.leftovers) {
          yield* segments.forget(sequence)
          if (mode === "readWrite") yield* disk.unlink(`${directory}/${segmentName(sequence)}`)
        }
        return { end: answer, records, bytes: answer.at.lsn - cut.lsn }
      } else if (answer._tag === "TooNew") {
        const path = `${directory}/${segmentName(answer.sequence)}`
        return yield* Effect.fail(storeError(
          new FormatTooNew({ path, format: answer.format, supported: answer.supported })
        ))
      } else if (answer._tag === "Corrupted") {
        const path = `${directory}/${segmentName(answer.sequence)}`
        return yield* damaged(path, answer.offset, answer.expected, answer.actual)
      }
    }
  })

const applyAll = (
  reader: RecordReader,
  apply: (reader: RecordReader) => Effect.Effect<void, StoreError> | undefined
): Effect.Effect<number, StoreError> =>
  Effect.gen(function*() {
    let records = 0
    while (reader.nextRecord()) {
      records++
      const wait = apply(reader)
      if (wait !== undefined) yield* wait
    }
    return records
  })

interface Opened {
  readonly file: DiskFile
  readonly bytes: number
}

/** Opens the segments from `first` on; those below are of no use any more. Whether they are sound, the scan says. */
const openSegments = (
  options: {
    readonly disk: Disk["Service"]
    readonly directory: string
    readonly roots: Roots
    readonly mode: "readWrite" | "readOnly"
    readonly segments: Segments
  },
  first: number
): Effect.Effect<Map<number, Opened>, StoreError> =>
  Effect.gen(function*() {
    const { directory, disk, mode, roots, segments } = options
    const opened = new Map<number, Opened>()
    for (const name of yield* disk.list(directory)) {
      const sequence = parseSegmentName(name)
      if (sequence === undefined) continue
      const path = `${directory}/${name}`
      if (sequence < first) {
        if (mode === "readWrite") yield* disk.unlink(path)
        continue
      }
      const file = yield* disk.open(path, { mode })
      opened.set(sequence, { file, bytes: yield* file.size })
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
      const read = yield* file.read(header, 0)
      const decoded = decodeSegment(header.subarray(0, read), roots.newest.storeId, sequence)
      if (decoded._tag === "Valid") segments.adopt(decoded.segment, file)
      else segments.adoptUnsound(sequence, file)
    }
    return opened
  })

/** Groups that were found above the durable LSN; they are written again when the end is known. */
class Adopted {
  private groups: Array<
    { readonly lsn: number; readonly end: number; readonly bytes: Buffer; readonly segment: Segment }
  > = []

  push(lsn: number, end: number, bytes: Buffer, segment: Segment, durableLsn: number): void {
    this.groups = this.groups.filter((group) => group.end > durableLsn)
    if (end > durableLsn) this.groups.push({ lsn, end, bytes: Buffer.from(bytes), segment })
  }

  rewrite(end: TornTail, opened: ReadonlyMap<number, Opened>): Effect.Effect<void, StoreError> {
    const groups = this.groups.filter((group) => group.end > end.durableLsn)
    return Effect.gen(function*() {
      const files = new Set<DiskFile>()
      for (const { bytes, lsn, segment } of groups) {
        const { file } = opened.get(segment.sequence) as Opened
        yield* file.write([bytes], fileOffset(segment, lsn))
        files.add(file)
      }
      for (const file of files) yield* file.sync
    })
  }
}

const damaged = (
  path: string,
  offset: number,
  expected: string,
  actual: string
): Effect.Effect<never, StoreError> =>
  Effect.fail(storeError(new Corrupted({ path, offset, expected, actual })))

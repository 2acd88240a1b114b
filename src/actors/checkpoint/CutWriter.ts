/**
 * What a checkpoint writes into slots between its cut and its superblock: images of base pages, packs of mini-pages,
 * chunks of the map table, the catalog.
 *
 * Each of these names what was written before it by slot and checksum, so the order is that of the methods here.
 *
 * I1 A chunk is made when all places in it are known.
 * I2 What the checkpoint before refers to is retired, not overwritten.
 *
 * It must not know when a checkpoint begins, nor what makes it durable.
 */
import * as Effect from "effect/Effect"
import type { Limits } from "../../Limits.ts"
import type { Superblock } from "../../log/Superblock.ts"
import type { StoreError } from "../../StoreError.ts"
import * as Catalog from "../../tree/file/Catalog.ts"
import type { CutImage } from "../../tree/file/Catalog.ts"
import type { ChunkTable } from "../../tree/file/ChunkTable.ts"
import { pack } from "../../tree/file/Pack.ts"
import type { PageFile, SealedImage } from "../../tree/file/PageFile.ts"
import type { Place } from "../../tree/memory/MapChunk.ts"
import * as MapChunk from "../../tree/memory/MapChunk.ts"
import type { Image, Pages } from "../../tree/memory/Pages.ts"
import { seal } from "../../tree/page/PageCheck.ts"
import type { LoopTime } from "../loop/LoopTime.ts"

export interface Options {
  readonly limits: Limits
  readonly pages: Pages
  readonly chunks: ChunkTable
  readonly catalogSlots: ReadonlyArray<number>
  readonly slots: PageFile
  readonly write: (images: ReadonlyArray<SealedImage>) => Effect.Effect<ReadonlyArray<Place>, StoreError>
  /** Images that writers saved have been written: there is room for more. */
  readonly relieved: () => void
}

/** Images handed to Flush at a time, where staging allows so many: one batch is on its way while the next is taken. */
const batchPages = 128

/**
 * Changes since its last image that put a page before others: it will soon be changed again, which costs a copy.
 * Passes over all pages cost less than sorting as many as there may be.
 */
const noisy = [64, 8, 0]

/** Images that are written together, and what they are of. */
interface Batch {
  readonly images: ReadonlyArray<SealedImage>
  readonly whole: ReadonlyArray<Image>
  readonly packs: ReturnType<typeof pack>
}

export class CutWriter {
  /** Slots written for the newest cut. */
  written = 0
  /** Slots asked for so far that do not hold pages: packs of mini-pages, and chunks of the map with the catalog. */
  readonly counters = { packs: 0, map: 0 }
  catalogSlots: ReadonlyArray<number>
  private readonly options: Options
  private readonly loopTime: LoopTime

  constructor(options: Options, loopTime: LoopTime) {
    this.options = options
    this.loopTime = loopTime
    this.catalogSlots = options.catalogSlots
  }

  /** Writes the images at the cut of all that changed: what writers saved first, then the noisiest leaves. */
  images(image: CutImage): Effect.Effect<void, StoreError> {
    const { limits, pages } = this.options
    const most = Math.min(batchPages * limits.pageBytes, limits.stagingBytes / 2)
    this.written = 0
    const records = pages.map.records
    const { pending } = image.pages
    let [pass, at] = [0, 0]
    const next = (): number => {
      for (; pass < noisy.length; pass++, at = 0) {
        while (at < pending.length) {
          const id = pending[at++] as number
          if ((records[id] as number) >= (noisy[pass] as number)) return id
        }
      }
      return 0
    }
    const batch = (): Batch => {
      const images = pages.captured.drain()
      let bytes = images.reduce((sum, image) => sum + image.bytes.length, 0)
      for (let id = 0; bytes < most && (id = next()) > 0;) {
        const from = images.length
        pages.capture(id, images)
        for (let index = from; index < images.length; index++) bytes += (images[index] as Image).bytes.length
      }
      return this.seal(images)
    }
    return Effect.gen({ self: this }, function*() {
      while (true) {
        const sealed = this.loopTime.around(batch)
        if (sealed.images.length === 0) return
        yield* this.writeImages(sealed)
        this.options.relieved()
      }
    })
  }

  /** Base pages each for a slot of its own, mini-pages packed. */
  private seal(images: ReadonlyArray<Image>): Batch {
    const { pages } = this.options
    const whole = images.filter(({ form }) => form === "page")
    const packs = pack(images.filter(({ form }) => form === "mini"), pages.buffers)
    const version = pages.inFlight
    this.counters.packs += packs.length
    return {
      whole,
      packs,
      images: [
        ...whole.map(({ bytes, version }) => ({ bytes, version, checksum: seal(bytes) })),
        ...packs.map(({ bytes, checksum }) => ({ bytes, version, checksum }))
      ]
    }
  }

  private writeImages({ images, packs, whole }: Batch): Effect.Effect<void, StoreError> {
    const { pages, relieved } = this.options
    const written = Effect.tapError(this.write(images), () =>
      Effect.sync(() => {
        for (const image of whole) pages.imageLost(image)
        for (const { bytes } of packs) pages.buffers.give(bytes)
        relieved()
      }))
    return Effect.map(written, (places) => {
      whole.forEach((image, index) => pages.imaged(image, places[index] as Place))
      packs.forEach(({ bytes, images }, index) => {
        pages.buffers.give(bytes)
        for (const image of images) pages.packed(image, places[whole.length + index] as Place)
      })
    })
  }

  /**
   * Writes the chunks of the map table whose entries changed, from the leaves of the radix tree to its top; those in
   * slot `above` or higher in any case.
   */
  chunks(
    image: CutImage,
    { above, pageIds }: { readonly pageIds: number; readonly above: number }
  ): Effect.Effect<void, StoreError> {
    const { chunks, limits, pages, slots } = this.options
    const version = image.pages.version
    const { pageBytes } = limits
    const fanOut = MapChunk.fanOut(pageBytes)
    return Effect.gen({ self: this }, function*() {
      let changed: Iterable<number> = image.pages.changed
      for (let level = 0; level <= MapChunk.topLevel(pageIds, pageBytes); level++) {
        const due = chunks.due(level, changed, above)
        changed = due
        for (let from = 0; from < due.length; from += batchPages) {
          const batch = due.slice(from, from + batchPages)
          const { map } = pages
          this.counters.map += batch.length
          const images = this.loopTime.around(() =>
            batch.map((index) => {
              const bytes = level === 0
                ? MapChunk.encode({ pageBytes, level, index }, {
                  slots: map.cutSlot,
                  checksums: map.cutChecksum
                }, {
                  slots: map.pack,
                  checksums: map.packChecksum
                }, pages.deadlines.earliest(index * fanOut, (index + 1) * fanOut))
                : chunks.image(level, index)
              return { bytes, version, checksum: MapChunk.checksumOf(bytes) }
            })
          )
          const places = yield* this.write(images)
          batch.forEach((index, number) => {
            const older = chunks.set(level, index, places[number] as Place)
            if (older !== 0) slots.retire(older, version)
          })
        }
      }
    })
  }

  /** Writes the catalog, and answers where it begins. */
  catalog(image: CutImage): Effect.Effect<Superblock["catalog"], StoreError> {
    const { limits, slots, write } = this.options
    const version = image.pages.version
    const payload = Catalog.encode(image.catalog)
    // Each page holds the place of the next one, so their slots must be known before they are made: last page first.
    return Effect.gen({ self: this }, function*() {
      const count = Catalog.pagesOf(payload.length, limits.pageBytes)
      const written: Array<number> = []
      let next: Place = MapChunk.nowhere
      for (let index = count - 1; index >= 0; index--) {
        const page = Catalog.toPage(payload, index, next, limits.pageBytes)
        const places: ReadonlyArray<Place> = yield* Effect.tapError(
          write([{ ...page, version }]),
          () =>
            Effect.sync(() => {
              // Nothing else knows of the pages before, and no superblock ever did.
              for (const slot of written) slots.retire(slot, version)
            })
        )
        next = places[0] as Place
        written.push(next.slot)
        this.written++
        this.counters.map++
      }
      for (const slot of this.catalogSlots) slots.retire(slot, version)
      this.catalogSlots = written
      return { slot: next.slot, checksum: next.checksum >>> 0, bytes: payload.length }
    })
  }

  private write(images: ReadonlyArray<SealedImage>): Effect.Effect<ReadonlyArray<Place>, StoreError> {
    this.written += images.length
    return this.options.write(images)
  }
}

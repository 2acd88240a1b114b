/**
 * Moving page images away from the end of the page file, so that it can become shorter.
 *
 * Before each cut, when the file has much to spare (`Shrink.ts`), images at its end are read, verified and written
 * into free slots further down. Only the map table learns of it: the pages need not be in memory, and take none. The
 * checkpoint ahead refers to the copies; the originals are free when the one after it is durable too.
 *
 * I1 What is copied is what the map table says: an image that does not verify stays where it is.
 * I2 A copy counts only if the page did not change, and only if it stands below the original.
 * I3 The map table is told of copies that are durable, so that a page never trades a safe image for one in doubt.
 * I4 Trouble costs space, never the checkpoint.
 *
 * Packs are not copied: the checkpoint ahead packs their mini-pages anew.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../disk/Disk.ts"
import type { Limits } from "../../Limits.ts"
import type { StoreError } from "../../StoreError.ts"
import type { ChunkTable } from "../../tree/file/ChunkTable.ts"
import type { PageFile, SealedImage as Image } from "../../tree/file/PageFile.ts"
import { plan } from "../../tree/file/Shrink.ts"
import type { Place } from "../../tree/memory/MapChunk.ts"
import type { Pages } from "../../tree/memory/Pages.ts"
import { verify } from "../../tree/page/PageCheck.ts"
import { pinned } from "../loop/Pinned.ts"

/** Most that is moved before one checkpoint, of a file that is nearly empty. */
const moveBytesMax = 32 * 1024 * 1024

/** Images read, and handed to Flush, at a time. */
const batchPages = 64

const readsInFlight = 8

export interface Options {
  readonly file: DiskFile
  readonly slots: PageFile
  readonly pages: Pages
  readonly chunks: ChunkTable
  readonly limits: Limits
  readonly write: (images: ReadonlyArray<Image>) => Effect.Effect<ReadonlyArray<Place>, StoreError>
  readonly barrier: Effect.Effect<void, StoreError>
}

/** A page whose image is to be moved, as the map table had it when the image was read. */
interface Moving {
  readonly id: number
  readonly generation: number
  readonly slot: number
  readonly checksum: number
}

/** A copy that is written: where the original was, and where the copy is. */
interface Copy {
  readonly page: Moving
  readonly place: Place
}

/** Moves what one checkpoint may, and answers from which slot on the file is to become free; Infinity: nowhere. */
export const make = (options: Options): Effect.Effect<number> =>
  Effect.suspend(() => {
    const { chunks, limits, pages, slots } = options
    const planned = plan(slots, {
      // The catalog takes few, and is left out.
      needed: pages.changedPages + chunks.slots().length + pages.packs.size,
      most: Math.ceil(moveBytesMax / limits.pageBytes)
    })
    return planned === undefined
      ? Effect.succeed(Infinity)
      : Effect.as(move(options, planned.from), planned.from)
  })

const move = (options: Options, from: number): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { barrier, pages } = options
    const ids = pagesAbove(pages, from)
    const copies: Array<Copy> = []
    const rest = (at: number): Effect.Effect<void, StoreError> =>
      at >= ids.length ? Effect.void : Effect.flatMap(
        copy(options, ids.slice(at, at + batchPages), from),
        (made) => {
          copies.push(...made.filter(isLower))
          for (const { place } of made.filter((each) => !isLower(each))) discard(pages, place)
          return made.every(isLower) ? rest(at + batchPages) : Effect.void
        }
      )
    return rest(0).pipe(
      Effect.ignore,
      Effect.andThen(Effect.suspend(() => copies.length === 0 ? Effect.void : barrier)),
      Effect.match({
        onSuccess: () => {
          pages.repack(from)
          for (const { page, place } of copies) pages.moved(page.id, page, place)
        },
        onFailure: () => {
          for (const { place } of copies) discard(pages, place)
        }
      })
    )
  })

const isLower = ({ page, place }: Copy): boolean => place.slot < page.slot

const discard = (pages: Pages, { slot }: Place): void => void pages.retired.push({ slot, version: 0 })

/** Pages whose newest image stands in slot `from` or above, those at the end of the file first. */
const pagesAbove = ({ map }: Pages, from: number): ReadonlyArray<number> => {
  const ids: Array<number> = []
  for (let id = 1; id < map.bound; id++) if ((map.slot[id] as number) >= from) ids.push(id)
  return ids.sort((a, b) => (map.slot[b] as number) - (map.slot[a] as number))
}

/** Copies the images of a few pages. */
const copy = (
  options: Options,
  ids: ReadonlyArray<number>,
  from: number
): Effect.Effect<ReadonlyArray<Copy>, StoreError> =>
  pinned(options.slots.epoch, () => {
    const { pages: { map }, write } = options
    const moving = ids.filter((id) => (map.slot[id] as number) >= from).map((id): Moving => ({
      id,
      generation: map.generation[id] as number,
      slot: map.slot[id] as number,
      checksum: map.checksum[id] as number
    }))
    return Effect.gen(function*() {
      const images = yield* Effect.forEach(moving, (page) => read(options, page), {
        concurrency: readsInFlight
      })
      const sound = moving.filter((_, index) => images[index] !== undefined)
      const places = yield* write(images.filter((image) => image !== undefined))
      return sound.map((page, index): Copy => ({ page, place: places[index] as Place }))
    })
  })

/** The image of a page; undefined where it cannot be read, or is not what it should be. */
const read = (
  { file, limits: { pageBytes }, pages }: Options,
  { checksum, id, slot }: Moving
): Effect.Effect<Image | undefined> =>
  Effect.suspend(() => {
    const bytes = new Uint8Array(pageBytes)
    return file.read(bytes, slot * pageBytes).pipe(
      Effect.map((length) => {
        const checked = verify(bytes.subarray(0, length), { pageId: id, checksum, pageBytes })
        return checked._tag === "Sound" ? { bytes, checksum, version: pages.epoch } : undefined
      }),
      // Whoever needs the page hears of it.
      Effect.orElseSucceed(() => undefined)
    )
  })

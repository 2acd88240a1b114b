/**
 * Packs: mini-pages on their way through the disk, several to a page of the file.
 *
 * A checkpoint writes what is dirty in memory. Of a leaf that is there only as a mini-page that is a few records, and
 * writing its base page for them would cost the read and the write that the mini-page has saved so far.
 *
 * A pack (little-endian):
 *
 * | offset | size | field                                                                        |
 * |-------:|-----:|------------------------------------------------------------------------------|
 * |      0 |    4 | checksum: CRC-32 of the rest of the page                                     |
 * |      4 |    1 | format = 1                                                                   |
 * |      5 |    1 | kind = 5 (pack)                                                              |
 * |      6 |    2 | mini-pages                                                                   |
 * |      8 |   24 | zero                                                                         |
 * |     32 |    … | mini-pages (`MiniPage.imageOf`), one after another; each has its size in its header |
 *
 * A pack is broken when its checksum differs from what points to it, when a mini-page in it is none or does not end
 * before the pack does, or when it lacks one of which the map table says that it is here.
 */
import { crc32 } from "node:zlib"
import type { Buffers } from "../memory/Buffers.ts"
import type { Image } from "../memory/Pages.ts"
import { largestOf } from "../memory/Ring.ts"
import * as Page from "../page/Page.ts"
import { checkMini } from "../page/PageCheck.ts"

const headerBytes = 32
const format = 1
const kind = 5

/** A page of mini-pages, and whose they are. */
export interface Pack {
  readonly bytes: Uint8Array
  /** What points to it must hold this. */
  readonly checksum: number
  readonly images: ReadonlyArray<Image>
}

/** Fills packs with images of mini-pages, in their order; their bytes are to be given back. */
export const pack = (images: ReadonlyArray<Image>, buffers: Buffers): ReadonlyArray<Pack> => {
  const packs: Array<Pack> = []
  for (let from = 0; from < images.length;) {
    let to = from
    let bytes = headerBytes
    while (to < images.length && bytes + (images[to] as Image).bytes.length <= buffers.pageBytes) {
      bytes += (images[to++] as Image).bytes.length
    }
    packs.push(seal(images.slice(from, to), buffers))
    from = to
  }
  return packs
}

const seal = (images: ReadonlyArray<Image>, buffers: Buffers): Pack => {
  const bytes = buffers.take().fill(0)
  const view = new DataView(bytes.buffer)
  bytes[4] = format
  bytes[5] = kind
  view.setUint16(6, images.length, true)
  let at = headerBytes
  for (const image of images) {
    bytes.set(image.bytes, at)
    at += image.bytes.length
  }
  const checksum = crc32(bytes.subarray(4)) | 0
  view.setInt32(0, checksum, true)
  return { bytes, checksum, images }
}

/** A mini-page in a pack: its words, from `at` on. */
export interface Packed {
  readonly pageId: number
  readonly at: number
  readonly size: number
}

export type Unpacked =
  | { readonly _tag: "Pack"; readonly words: Int32Array; readonly minis: ReadonlyArray<Packed> }
  | { readonly _tag: "Invalid"; readonly expected: string; readonly actual: string }

/** Finds the mini-pages in a pack; `page` is whole words. */
export const unpack = (page: Uint8Array, checksum: number): Unpacked => {
  const words = new Int32Array(page.slice().buffer)
  const actual = crc32(page.subarray(4)) | 0
  if (words[0] !== actual || actual !== (checksum | 0)) {
    return invalid(`checksum ${checksum >>> 0}`, actual >>> 0)
  }
  if (page[4] !== format || page[5] !== kind) return invalid(`a pack, kind ${kind}`, page[5] ?? 0)
  const minis: Array<Packed> = []
  const count = (words[1] as number) >>> 16
  for (let at = headerBytes >>> 2; minis.length < count;) {
    const room = Math.min(words.length - at, largestOf(page.length))
    const size = room < Page.headerWords ? 0 : Page.size(words, at)
    if (size < Page.headerWords || size > room) return invalid(`${count} mini-pages`, minis.length)
    const checked = checkMini(words, at, size)
    if (checked._tag === "Invalid") return checked
    minis.push({ pageId: Page.pageId(words, at), at, size })
    at += size
  }
  return { _tag: "Pack", words, minis }
}

const invalid = (expected: string, actual: number): Unpacked => ({
  _tag: "Invalid",
  expected,
  actual: String(actual)
})

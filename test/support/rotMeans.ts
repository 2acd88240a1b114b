/**
 * What must be done with a store of which one byte is damaged, so that all bytes can be tried.
 *
 * Opening a store and looking at it offline depend on the bytes that they read, and on nothing else that is on the disk. So
 * a byte that neither reads changes nothing, whatever is in it; and of what stands behind a checksum that is compared
 * before all else, any damage goes the one way of a checksum that is wrong, which its decoder shows. Some of those are
 * opened all the same.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Disk } from "../../src/disk/Disk.ts"
import type { DiskFile } from "../../src/disk/Disk.ts"
import type { Image } from "../../src/disk/FaultDisk.ts"
import { decodeSegment, SEGMENT_HEADER_BYTES } from "../../src/log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES, superblockOffset } from "../../src/log/Superblock.ts"
import * as Catalog from "../../src/tree/file/Catalog.ts"
import { unpack } from "../../src/tree/file/Pack.ts"
import * as PageFileHeader from "../../src/tree/file/PageFileHeader.ts"
import * as MapChunk from "../../src/tree/memory/MapChunk.ts"
import { verify } from "../../src/tree/page/PageCheck.ts"
import * as Verify from "../../src/Verify.ts"
import * as Broken from "./broken.ts"
import { Forge } from "./forge.ts"
import { outcomeWith } from "./rot.ts"

const { directory } = Broken

/** Opened, looked at offline, decoded, or known to be of no account. */
export type Means = "open" | "look" | "decode" | "unread"

/** One in so many is opened: near something that is there, of zeros, where a decoder says all, of what nobody reads. */
const shares = { near: 4, looked: 31, decoded: 127, unread: 997 }

/** Whether a decoder refuses a page. */
type Refuses = (page: Uint8Array) => boolean

export class RotMeans {
  private readonly pageBytes: number
  private readonly storeId: Uint8Array
  /** Of the newest checkpoint, by slot. */
  private readonly pages = new Map<number, Refuses>()
  private readonly read: ReadonlyMap<string, Uint8Array>
  private readonly seed: number

  constructor(image: Image, read: ReadonlyMap<string, Uint8Array>, seed: number) {
    const forge = new Forge(image, directory)
    const { pageBytes, superblock: { storeId } } = forge
    this.pageBytes = pageBytes
    this.storeId = storeId
    this.read = read
    this.seed = seed
    const checksum = (slot: number): number => forge.slot(slot).readInt32LE(0)
    const note = (
      slot: number,
      refuses: (page: Uint8Array, checksum: number) => { readonly _tag: string }
    ): void => {
      const own = checksum(slot)
      this.pages.set(slot, (page) => refuses(page, own)._tag === "Invalid")
      assert.isFalse(this.pages.get(slot)?.(Uint8Array.from(forge.slot(slot))), `slot ${slot} is sound`)
    }
    this.pages.set(0, (page) => PageFileHeader.fault(page, pageBytes, storeId) !== undefined)
    for (const { index, level, slot } of forge.chunks) {
      note(slot, (page, checksum) => MapChunk.decode(page, { level, index, checksum }))
    }
    forge.catalogSlots.forEach((slot, index) =>
      note(slot, (page, checksum) => Catalog.decodePage(page, { index, checksum }))
    )
    for (const pageId of forge.ids()) {
      note(forge.slotOf(pageId), (page, checksum) => verify(page, { pageId, checksum, pageBytes }))
      if (forge.packOf(pageId) !== 0) note(forge.packOf(pageId), unpack)
    }
  }

  of(path: string, bytes: Buffer, at: number): Means {
    if (this.read.get(path)?.[at] !== 1) return (at + this.seed) % shares.unread === 0 ? "open" : "unread"
    const near = bytes.subarray(Math.max(0, at - 2), at + 3).some((byte) => byte > 0)
    const turn = (at + this.seed) % shares.near
    if (near && turn === 0) return "open"
    const decoded = this.refuses(path, bytes, at) !== undefined
    if (near) return decoded && turn > 1 ? "decode" : "look"
    return at % (decoded ? shares.decoded : shares.looked) === 0 ? "open" : decoded ? "decode" : "look"
  }

  /** Whether what reads the part of a file that a byte is in refuses it; undefined where nothing tells at once. */
  refuses(path: string, bytes: Buffer, at: number): boolean | undefined {
    if (path.endsWith("/super")) {
      const slot = at < SUPERBLOCK_BYTES ? 0 : 1
      const from = superblockOffset(slot)
      return decodeSuperblock(bytes.subarray(from, from + SUPERBLOCK_BYTES), slot)._tag === "Invalid"
    }
    if (path.endsWith("/pages")) {
      const slot = Math.floor(at / this.pageBytes)
      const page = bytes.subarray(slot * this.pageBytes, (slot + 1) * this.pageBytes)
      return this.pages.get(slot)?.(Uint8Array.from(page))
    }
    if (!path.includes("/log-") || at >= SEGMENT_HEADER_BYTES) return undefined
    return decodeSegment(bytes.subarray(0, SEGMENT_HEADER_BYTES), this.storeId, 1)._tag !== "Valid"
  }
}

/** A disk that notes the bytes that are read from it: one each that was. */
const noting = (to: Map<string, Uint8Array>) =>
  Effect.map(Disk, (disk): Disk["Service"] => {
    const notes = (file: DiskFile): DiskFile => {
      const mark = (bytes: Uint8Array, offset: number): void =>
        void (to.get(file.path)?.fill(1, offset, offset + bytes.length))
      return Object.assign(Object.create(file) as DiskFile, {
        read: (bytes: Uint8Array, offset: number) => {
          mark(bytes, offset)
          return file.read(bytes, offset)
        },
        readSync: (bytes: Uint8Array, offset: number) => {
          mark(bytes, offset)
          return file.readSync(bytes, offset)
        }
      })
    }
    return Object.assign(Object.create(disk) as Disk["Service"], {
      open: (...args: Parameters<typeof disk.open>) => Effect.map(disk.open(...args), notes)
    })
  })

/** Which bytes of a sound store are read: by opening, reading and closing it, and by looking at it offline. */
export const readOf = (image: Image): Effect.Effect<ReadonlyMap<string, Uint8Array>> =>
  Effect.gen(function*() {
    const to = new Map(image.paths().map((path) => [path, new Uint8Array(image.read(path)?.length ?? 0)]))
    yield* outcomeWith("the store", image, (body) => Effect.provideServiceEffect(body, Disk, noting(to)))
    const look = Verify.verifyDisk({ path: directory })
    yield* Effect.exit(Broken.onDisk(image, Effect.provideServiceEffect(look, Disk, noting(to))))
    return to
  })

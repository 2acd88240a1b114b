/**
 * Hostile files: lengths, counts, offsets and pointers chosen to do harm, with every checksum right again. Opening such
 * a store and reading all of it ends, in data or in a typed error, and takes no more than a store of that size may.
 *
 * What it takes is counted, not timed: bytes allocated, bytes read, operations of the disk; each may be what the sound
 * store takes, and twice the size of its files more.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { crc32 } from "node:zlib"
import { Disk } from "../src/disk/Disk.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { SUPERBLOCK_BYTES, superblockOffset } from "../src/log/Superblock.ts"
import { counting } from "./support/allocations.ts"
import * as Broken from "./support/broken.ts"
import { figure } from "./support/figures.ts"
import { Forge, groupsOf, rechain } from "./support/forge.ts"
import { random } from "./support/random.ts"
import { filesOf, limitOf, outcomeWith, small as makeSmall } from "./support/rot.ts"

const { directory } = Broken
const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const all = process.env["HEARTWOOD_ROT"] === "all"
const small = Effect.runSync(Effect.cached(makeSmall))

type Case = readonly [name: string, image: Image]

/** What a word may be made to say. */
const lies = (word: number): ReadonlyArray<number> =>
  [0, 1, word + 1, word - 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x0001_0000].map((lie) => lie >>> 0)
    .filter((lie) => lie !== word)

/** Each of some words of a part of a file, with each lie; `whole` makes the checksums right. */
const words = function*(
  bytes: Buffer,
  places: Iterable<number>,
  whole: (bytes: Buffer) => Image
): Generator<Case> {
  for (const at of places) {
    for (const lie of lies(bytes.readUInt32LE(at))) {
      const copy = Buffer.from(bytes)
      copy.writeUInt32LE(lie, at)
      yield [`${lie} at ${at}`, whole(copy)]
    }
  }
}

const every = (from: number, until: number): ReadonlyArray<number> =>
  Array.from({ length: Math.max(0, (until - from) >> 2) }, (_, index) => from + 4 * index)

const superblocks = function*(image: Image): Generator<Case> {
  const path = `${directory}/super`
  const bytes = Buffer.from(image.read(path) ?? [])
  for (const slot of [0, 1] as const) {
    const start = superblockOffset(slot)
    const cases = words(bytes, every(start + 8, start + 164), (copy) => {
      copy.writeUInt32LE(crc32(copy.subarray(start + 8, start + SUPERBLOCK_BYTES)), start + 4)
      return image.replace(path, copy)
    })
    for (const [name, changed] of cases) yield [`superblock ${slot}: ${name}`, changed]
  }
}

const groups = function*(image: Image): Generator<Case> {
  const { path } = limitOf(image)
  const segment = Buffer.from(image.read(path) ?? [])
  for (const at of groupsOf(segment)) {
    const end = Math.min(at + segment.readUInt32LE(at + 8), at + 260)
    const cases = words(segment, every(at + 8, end), (copy) => image.replace(path, rechain(copy, at)))
    for (const [name, changed] of cases) yield [`group at ${at}: ${name}`, changed]
  }
}

/** Pages of all kinds; what points to them is made to fit. */
const pages = function*(image: Image): Generator<Case> {
  const forge = new Forge(image, directory)
  const { pageBytes } = forge
  const packs = new Set(forge.ids().map((id) => forge.packOf(id)).filter((slot) => slot !== 0))
  const kinds = [
    ...forge.chunks.map(({ slot }) => ["map chunk", slot] as const),
    ...forge.ids().map((id) => ["page", forge.slotOf(id)] as const),
    ...[...packs].map((slot) => ["pack", slot] as const)
  ]
  for (const [kind, slot] of kinds) {
    const page = Buffer.from(forge.slot(slot))
    const places = [...every(0, 160), ...every(pageBytes - 64, pageBytes)]
    const cases = words(page, places, (copy) => {
      const changed = new Forge(image, directory)
      changed.slot(slot).set(copy)
      return changed.done()
    })
    for (const [name, changed] of cases) yield [`${kind} in slot ${slot}: ${name}`, changed]
  }
}

const catalogs = function*(image: Image): Generator<Case> {
  const forge = new Forge(image, directory)
  const [slot] = forge.catalogSlots as [number]
  const page = Buffer.from(forge.slot(slot))
  const end = 32 + page.readUInt32LE(12)
  const cases = words(page, every(4, end), (copy) => {
    const checksum = crc32(copy.subarray(4))
    copy.writeUInt32LE(checksum, 0)
    const changed = new Forge(image, directory)
    changed.slot(slot).set(copy)
    const { catalog } = changed.superblock
    return changed.withSuperblock({ ...changed.superblock, catalog: { ...catalog, checksum } })
  })
  for (const [name, changed] of cases) yield [`catalog: ${name}`, changed]
}

/** What leads back to where it came from. */
const cycles = function*(image: Image): Generator<Case> {
  const forged = (name: string, change: (forge: Forge) => void): Case => {
    const forge = new Forge(image, directory)
    change(forge)
    return [name, forge.done()]
  }
  const [root] = new Forge(image, directory).inner() as [number]
  const [leaf, other] = new Forge(image, directory).leaves() as [number, number]
  yield forged("every child of the root is the root", (forge) => forge.childrenOf(root).fill(root))
  yield forged("the first child of the root is the root", (forge) => void (forge.childrenOf(root)[0] = root))
  yield forged("the first child of the root is no page", (forge) => void (forge.childrenOf(root)[0] = 9_999))
  yield forged("a leaf is the root", (forge) => forge.entry(leaf).set(forge.entry(root)))
  yield forged("a leaf is another", (forge) => forge.entry(leaf).set(forge.entry(other)))
  yield forged(
    "a page is the map table",
    (forge) => forge.entry(leaf).writeUInt32LE(forge.superblock.map.slot, 0)
  )
  yield forged("a pack is a page", (forge) => forge.entry(leaf).writeUInt32LE(forge.slotOf(root), 8))
  const forge = new Forge(image, directory)
  for (const level of [1, 2, 3, 255, 0xffff_ffff]) {
    const { superblock } = forge
    yield [
      `a map of ${level} levels`,
      forge.withSuperblock({ ...superblock, map: { ...superblock.map, level } })
    ]
  }
}

/** Pages, each in the place of each other one: as it is, and with the id of that place. */
const places = function*(image: Image): Generator<Case> {
  const ids = new Forge(image, directory).ids()
  for (const id of ids) {
    for (const other of ids.filter((each) => each !== id)) {
      for (const own of [id, other]) {
        const forge = new Forge(image, directory)
        const slot = forge.slot(forge.slotOf(other))
        slot.set(forge.slot(forge.slotOf(id)))
        slot.writeUInt32LE(own, 8)
        yield [`page ${id} for ${other}, as ${own}`, forge.done()]
      }
    }
  }
}

interface Taken {
  bytes: number
  read: number
  operations: number
}

/** A disk that counts what is read from it. */
const counted = (to: Taken) =>
  Effect.map(Disk, (disk): Disk["Service"] => {
    const counts = (file: DiskFile): DiskFile =>
      Object.assign(Object.create(file) as DiskFile, {
        read: (bytes: Uint8Array, offset: number) => {
          to.read += bytes.length
          return file.read(bytes, offset)
        },
        readSync: (bytes: Uint8Array, offset: number) => {
          to.read += bytes.length
          return file.readSync(bytes, offset)
        }
      })
    return Object.assign(Object.create(disk) as Disk["Service"], {
      open: (...args: Parameters<typeof disk.open>) => Effect.map(disk.open(...args), counts)
    })
  })

/** Opens a store, reads all of it, and answers what came of it and what it took. */
const taken = (name: string, image: Image) =>
  Effect.gen(function*() {
    const to: Taken = { bytes: 0, read: 0, operations: 0 }
    const outcome = yield* outcomeWith(name, image, (body) =>
      Effect.gen(function*() {
        const faults = yield* FaultDisk
        const before = faults.operations()
        const measured = counting(to, Effect.provideServiceEffect(body, Disk, counted(to)))
        return yield* Effect.ensuring(
          measured,
          Effect.sync(() => {
            to.operations = faults.operations() - before
          })
        )
      }))
    return { outcome, to }
  })

/** A violated invariant is a defect by another name; and no disk was at fault. */
const forbidden = new Set(["Defective", "DiskFailed"])

const kinds = { superblocks, groups, pages, places, catalogs, cycles }
/** One in so many is tried. */
const share = { superblocks: 3, groups: 12, pages: 12, places: 1, catalogs: 4, cycles: 1 }

describe("hostile files", () => {
  for (const kind of ["superblocks", "groups", "pages", "places", "catalogs", "cycles"] as const) {
    it.live(
      `${kind} end in data or a typed error, and take no more than they may`,
      () =>
        Effect.gen(function*() {
          const { image } = yield* small
          const size = filesOf(image).reduce((sum, [, { length }]) => sum + length, 0)
          const { to: sound } = yield* taken("the store", image)
          const figures = { cases: 0, rows: 0, bytes: 0, read: 0, operations: 0 }
          const reasons = new Map<string, number>()
          const chance = random(seed)
          for (const [name, changed] of kinds[kind](image)) {
            if (!all && chance.int(share[kind]) > 0) continue
            const { outcome, to } = yield* taken(name, changed)
            figures.cases++
            figures.bytes = Math.max(figures.bytes, to.bytes)
            figures.read = Math.max(figures.read, to.read)
            figures.operations = Math.max(figures.operations, to.operations)
            if (outcome._tag === "Rows") figures.rows++
            else {
              const { reason } = outcome
              assert.isFalse(forbidden.has(reason._tag), `${name}: ${reason.message}`)
              reasons.set(reason._tag, (reasons.get(reason._tag) ?? 0) + 1)
            }
            for (const key of ["bytes", "read"] as const) {
              assert.isAtMost(to[key], 2 * sound[key] + 2 * size, `${name}: ${key}`)
            }
            assert.isAtMost(to.operations, 4 * sound.operations, `${name}: operations`)
          }
          assert.isAbove(figures.cases, 10)
          figure(`X3 hostile ${kind}`, { damages: figures.cases, rows: figures.rows }, figures, reasons, {
            sound,
            size
          })
        }),
      1_200_000
    )
  }
})

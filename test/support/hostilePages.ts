/**
 * What the page file's decoders are given: leaves, nodes, mini-pages, chunks of the map table, catalogs, its header.
 *
 * A page that passes its check is put in the place of a tree's only page, and read as any other.
 */
import { crc32 } from "node:zlib"
import { isViolation } from "../../src/Invariant.ts"
import * as Catalog from "../../src/tree/file/Catalog.ts"
import { pack, unpack } from "../../src/tree/file/Pack.ts"
import * as PageFileHeader from "../../src/tree/file/PageFileHeader.ts"
import { Generations } from "../../src/tree/Generations.ts"
import { Arena } from "../../src/tree/memory/Arena.ts"
import { Buffers } from "../../src/tree/memory/Buffers.ts"
import * as MapChunk from "../../src/tree/memory/MapChunk.ts"
import { State } from "../../src/tree/memory/MapTable.ts"
import { childrenOf, everything } from "../../src/tree/page/Bounds.ts"
import * as Inner from "../../src/tree/page/Inner.ts"
import { KeyScratch } from "../../src/tree/page/KeyScratch.ts"
import * as Leaf from "../../src/tree/page/Leaf.ts"
import * as MiniPage from "../../src/tree/page/MiniPage.ts"
import * as Page from "../../src/tree/page/Page.ts"
import { seal, verify } from "../../src/tree/page/PageCheck.ts"
import { Batch } from "../../src/tree/read/Batch.ts"
import { blend, blendWords } from "../../src/tree/read/Blend.ts"
import { SessionReplay } from "../../src/tree/SessionReplay.ts"
import { Missing, Tree } from "../../src/tree/Tree.ts"
import type { Steps, Subject } from "./hostile.ts"
import { storeId } from "./log.ts"
import { imageFor, rowsOf, someMini } from "./mini.ts"
import type { Random } from "./random.ts"
import { random } from "./random.ts"
import { upTo } from "./stores.ts"
import { World } from "./world.ts"

const pageBytes = 1_024
/** Of no page that anything points to. */
const pageId = 1_000_000
const pageWords = pageBytes >>> 2

/** A checksum in the first four bytes. */
const sealed = (bytes: Buffer): void => void bytes.writeUInt32LE(crc32(bytes.subarray(4)), 0)
const checksumOf = (bytes: Buffer): number => bytes.readInt32LE(0)
const wordsOf = (bytes: Buffer): Int32Array => new Int32Array(Uint8Array.from(bytes).buffer)

/** Images of the leaves, or of the nodes, of a tree; all under one id. */
const pagesOf = (chance: Random, kind: "leaves" | "nodes"): ReadonlyArray<Uint8Array> => {
  const world = new World(random(chance.int(2 ** 31)))
  const root = world.create(1)
  const prefix = chance.pick(["", "ab", "prefix", "longer prefix"])
  for (let version = 1; version < 1_500; version++) {
    const key = prefix + Buffer.from(chance.bytes(1 + chance.int(12))).toString("latin1")
    const expiry = chance.bool(0.2) ? chance.int(1e9) : Infinity
    world.put(root, { key, value: "v".repeat(chance.int(40)), version, expiry })
  }
  const { map } = world.tree.pages
  const ids = upTo(map.bound - 1).map((index) => index + 1).filter((id) =>
    map.isUsed(id) && (((map.state[id] as number) & State.Inner) !== 0) === (kind === "nodes")
  )
  return upTo(4).map(() => {
    const { bytes } = world.tree.pages.image(chance.pick(ids))
    const image = Buffer.from(bytes)
    image.writeUInt32LE(pageId, 8)
    return image
  })
}

const isSound = (bytes: Buffer): boolean =>
  verify(bytes, { pageId, checksum: checksumOf(bytes), pageBytes })._tag === "Sound"

const key = new KeyScratch()

/** A tree of one page, for whatever it is said to be. */
const stage = () => {
  const tree = new Tree({
    arena: new Arena({ pageBytes, blocks: 8, chunkBytes: 65_536 }),
    epoch: 1,
    durable: 0,
    visible: 0
  })
  const root = tree.create(1, 0)
  if (root === undefined) throw new Error("no room")
  const { arena, lineage, map } = tree.pages
  const address = map.block[root.page] as number
  return {
    tree,
    root: { ...root, expires: true },
    put: (page: Int32Array): void => {
      arena.wordsOf(address).set(page, address & arena.mask)
      lineage.strays.clear()
    }
  }
}

const { put, root, tree } = stage()
const batch = new Batch()

const readLeaf = (bytes: Buffer, steps: Steps): boolean => {
  if (!isSound(bytes)) return false
  const words = wordsOf(bytes)
  put(words)
  const count = Page.count(words, 0)
  for (let index = 0; index < count; index++) {
    steps.take()
    Leaf.loadKey(words, 0, index, key)
    if (Leaf.find(words, 0, key) !== index) throw new Error(`key ${index} is not found where it is`)
    const at = Leaf.recordAt(words, 0, index)
    const stored = Page.slotBytes(words, 0, index)
    if (Leaf.valueAt(words, at, stored) * 4 + Leaf.valueBytesAt(words, at) > pageBytes) {
      throw new Error("beyond the page")
    }
    if (tree.get(root, key.toBytes(), Number.MAX_SAFE_INTEGER) >= 0) tree.value()
  }
  for (const order of ["ascending", "descending"] as const) {
    let [lower, upper]: [Uint8Array, Uint8Array | undefined] = [new Uint8Array(0), undefined]
    batch.renew(0)
    while (!batch.ended) {
      steps.take()
      batch.reset()
      const range = { lower, upper, order, limit: 16, columns: "keys and values" } as const
      if (tree.scan(root, range, Number.MAX_SAFE_INTEGER, batch) === Missing) break
      for (let index = 0; index < batch.count; index++) batch.value(index)
      if (batch.position === undefined) continue
      if (order === "ascending") lower = batch.position
      else upper = batch.position
    }
  }
  return true
}

const readNode = (bytes: Buffer, steps: Steps): boolean => {
  if (!isSound(bytes)) return false
  const words = wordsOf(bytes)
  for (let index = 0; index < Page.count(words, 0); index++) {
    steps.take()
    Inner.separator(words, 0, index, key)
    if (Inner.find(words, 0, key) !== index + 1) {
      throw new Error(`separator ${index} does not lead to its child`)
    }
  }
  if (Page.level(words, 0) === 0) return true
  return childrenOf(words, everything).length === Page.count(words, 0) + 1
}

const packsOf = (chance: Random): Uint8Array => {
  const images = upTo(12).flatMap((id) => {
    const image = MiniPage.imageOf(someMini(chance, id + 1), 0)
    return image === undefined ? [] : [imageFor(id + 1, image)]
  })
  const [first] = pack(images, new Buffers({ pageBytes, most: 0 }))
  if (first === undefined) throw new Error("no pack")
  return first.bytes.slice()
}

const base = new Int32Array(pageWords)
Page.begin(base, 0, { size: pageWords, level: 0, pageId: 1, treeId: 3 })
const target = new Int32Array(blendWords(pageWords))

const readPack = (bytes: Buffer, steps: Steps): boolean => {
  const unpacked = unpack(Uint8Array.from(bytes), checksumOf(bytes))
  if (unpacked._tag === "Invalid") return false
  const { minis, words } = unpacked
  for (const { at, size } of minis) {
    steps.take()
    if (at + size > words.length) throw new Error("beyond the pack")
    for (const _ of rowsOf(words, at)) steps.take()
    for (const wanted of ["all", "dirty", "touched", "used"] as const) MiniPage.wantedWords(words, at, wanted)
    for (let index = 0; index < Page.count(words, at); index++) {
      Leaf.loadKey(words, at, index, key)
      if (Leaf.find(words, at, key) !== index) throw new Error(`key ${index} is not found where it is`)
      MiniPage.countAt(words, Leaf.recordAt(words, at, index))
    }
    if (Page.prefixBytes(words, at) === 0) blend(target, base, 0, words, at, 0, Number.MAX_SAFE_INTEGER)
  }
  return true
}

const chunkOf = (chance: Random): Uint8Array => {
  const entries = MapChunk.fanOut(pageBytes)
  const places = () => ({
    slots: Int32Array.from(upTo(entries), () => chance.int(100)),
    checksums: Int32Array.from(upTo(entries), () => chance.int(2 ** 32) | 0)
  })
  return MapChunk.encode({ pageBytes, level: 0, index: 0 }, places(), places(), chance.pick([Infinity, 1e12]))
}

const catalogOf = (chance: Random): Uint8Array =>
  Catalog.encode({
    nextTreeId: 9,
    nextKeyspaceId: 9,
    millis: 1.5,
    keyspaces: upTo(1 + chance.int(3)).map((id) => ({
      id: id + 1,
      name: `name ${id}`,
      layout: chance.pick(["string", "tuple(u32,größe)"]),
      codecVersion: 1,
      reducer: 0,
      treeId: id + 1,
      root: id + 1,
      count: chance.int(100),
      unresolved: 0,
      expires: chance.bool(0.5),
      from: 64,
      segments: upTo(chance.int(3)).map((base) => ({ base: 64 + base, bytes: 100 }))
    })),
    dropping: upTo(chance.int(3)).map((root) => 10 + root),
    sessions: upTo(chance.int(3)).map((id) => ({
      id: id + 1,
      name: `s${id}`,
      serial: 3,
      lsn: 64,
      millis: 1
    })),
    streams: upTo(chance.int(3)).map((at) => 64 + 8 * at)
  })

/** Decodes a payload and takes it up as opening does; that it contradicts itself is answered there. */
const readCatalog = (bytes: Buffer, steps: Steps): boolean => {
  const decoded = Catalog.decode(bytes)
  if (decoded === undefined) return false
  if (Catalog.decode(Catalog.encode(decoded)) === undefined) throw new Error("it does not come back")
  new SessionReplay(decoded.sessions).entries()
  try {
    const generations = new Generations(decoded)
    for (const { root } of generations.all()) {
      steps.take()
      generations.rootOf(root.treeId)
    }
    generations.catalog([])
  } catch (cause) {
    if (!isViolation(cause)) throw cause
    return false
  }
  return true
}

export const pageSubjects = (chance: Random): ReadonlyArray<Subject & { readonly share: number }> => [
  {
    name: "leaves",
    share: 22,
    dense: 512,
    sources: upTo(4).flatMap(() => pagesOf(chance, "leaves")),
    seal: (bytes) => void seal(bytes),
    read: readLeaf
  },
  {
    name: "nodes",
    share: 12,
    dense: 512,
    sources: upTo(3).flatMap(() => pagesOf(chance, "nodes")),
    seal: (bytes) => void seal(bytes),
    read: readNode
  },
  { name: "packs", share: 14, sources: upTo(8).map(() => packsOf(chance)), seal: sealed, read: readPack },
  {
    name: "chunks of the map",
    share: 4,
    dense: 128,
    sources: upTo(3).map(() => chunkOf(chance)),
    seal: sealed,
    read: (bytes) => {
      const decoded = MapChunk.decode(bytes, { level: 0, index: 0, checksum: checksumOf(bytes) })
      return decoded._tag === "Chunk" && decoded.places.length === MapChunk.fanOut(pageBytes)
    }
  },
  { name: "catalogs", share: 14, sources: upTo(8).map(() => catalogOf(chance)), read: readCatalog },
  {
    name: "pages of catalogs",
    share: 2,
    dense: 64,
    sources: upTo(3).map(() =>
      Catalog.toPage(catalogOf(chance).subarray(0, pageBytes - 32), 0, MapChunk.nowhere, pageBytes).bytes
    ),
    seal: sealed,
    read: (bytes) => {
      const decoded = Catalog.decodePage(bytes, { index: 0, checksum: checksumOf(bytes) })
      return decoded._tag === "Page" && decoded.payload.length <= pageBytes
    }
  },
  {
    name: "headers of the page file",
    share: 1,
    dense: 48,
    sources: [PageFileHeader.encode(pageBytes, storeId)],
    seal: (bytes) => void bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4),
    read: (bytes) => PageFileHeader.fault(bytes, pageBytes, storeId) === undefined
  }
]

/**
 * The format on disk: known structures as fixed bytes, and `docs/format.md` in step with the sources.
 *
 * A failure here means that stores which exist would be read differently: it needs a new format number, never a new
 * expectation alone.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Codec from "../src/Codec.ts"
import { encodeDefinition } from "../src/log/RecordForm.ts"
import { encodeSegment, SEGMENT_HEADER_BYTES, segmentName } from "../src/log/Segment.ts"
import { encodeSuperblock, SUPERBLOCK_BYTES } from "../src/log/Superblock.ts"
import * as Catalog from "../src/tree/file/Catalog.ts"
import { pack as packsOf } from "../src/tree/file/Pack.ts"
import * as PageFileHeader from "../src/tree/file/PageFileHeader.ts"
import { Buffers } from "../src/tree/memory/Buffers.ts"
import * as MapChunk from "../src/tree/memory/MapChunk.ts"
import type { Image } from "../src/tree/memory/Pages.ts"
import * as Inner from "../src/tree/page/Inner.ts"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as MiniPage from "../src/tree/page/MiniPage.ts"
import * as Page from "../src/tree/page/Page.ts"
import { seal, verify } from "../src/tree/page/PageCheck.ts"
import { writeReference } from "../src/tree/page/Reference.ts"
import { ValueScratch } from "../src/tree/page/ValueIn.ts"
import { golden } from "./support/golden.ts"
import { bytesOf, life, makeTail, start, storeId } from "./support/log.ts"

const stored = (value: Uint8Array) => new ValueScratch().load(value)

/** Bytes as lines of offset and 16 bytes; lines of zeros are left out, and the length stands at the end. */
const dump = (bytes: Uint8Array): string => {
  const lines: Array<string> = []
  for (let at = 0; at < bytes.length; at += 16) {
    const line = bytes.subarray(at, at + 16)
    if (line.some((byte) => byte !== 0)) {
      lines.push(`${at.toString(16).padStart(4, "0")} ${Buffer.from(line).toString("hex")}`)
    }
  }
  return [...lines, `${bytes.length} bytes`].join("\n")
}

const keyOf = (text: string): KeyScratch => {
  const key = new KeyScratch()
  key.load(bytesOf(text))
  return key
}

const pageBytes = 1_024
const place = { slot: 0x0102_0304, checksum: 0x0506_0708 }

const superblock = (): Uint8Array => {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES, 0xff)
  encodeSuperblock({
    slot: 1,
    storeId,
    version: 6,
    otherVersion: 5,
    createdMillis: 1_700_000_000_000.25,
    pageBytes: 4_096,
    cut: { lsn: 2 ** 40 + 64, sequence: 77, previousChecksum: 0xffff_fffe, incarnation: life(3) },
    durableLsn: 2 ** 40 + 128,
    begin: { lsn: 4_096, sequence: 3 },
    map: { ...place, level: 2 },
    catalog: { slot: 10, checksum: 0xdead_beef, bytes: 333 },
    slots: 4_000_000_000,
    pageIds: 12,
    nextTree: 13,
    nextKeyspace: 14
  }, bytes)
  return bytes
}

const segment = (): Uint8Array => {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES, 0xff)
  encodeSegment(
    {
      sequence: 0x1f,
      base: 2 ** 33 + 64,
      capacity: 65_536,
      previousChecksum: 0xcafe_f00d,
      incarnation: life(2)
    },
    storeId,
    bytes
  )
  return bytes
}

/** A life of two groups and a mark: every op, both flags of a record, both flags of a write. */
const groups = (): Uint8Array => {
  const tail = makeTail({ at: start, inlineValueBytes: 8 })
  const trace = { traceId: new Uint8Array(16).fill(0xee), spanId: new Uint8Array(8).fill(0xdd), flags: 1 }
  const writer = tail.begin(1_700_000_000_000.5, { id: 9, serial: 2 ** 32 + 5 }, trace)
  const definition = encodeDefinition({ codecVersion: 3, reducer: 0, layout: "u32 -> json" })
  writer.createKeyspace(7, bytesOf("users"), definition)
  writer.put(7, bytesOf("k"), bytesOf("value"))
  writer.put(7, bytesOf("long"), bytesOf("larger than inline"))
  writer.putExpiring(7, bytesOf("soon"), bytesOf("gone"), 1_700_000_060_000)
  writer.remove(7, bytesOf("k"))
  writer.merge(7, 2, bytesOf("sum"), Uint8Array.of(1))
  writer.clear(7)
  writer.dropKeyspace(7)
  writer.openSession(9, bytesOf("worker"))
  writer.endSession(9)
  tail.append()
  tail.beginRelocate(5)
    .relocate(7, bytesOf("long"), bytesOf("moved value"), 4_096, 8_192)
  tail.append()
  tail.seal()
  tail.mark()
  const parts: Array<Uint8Array> = []
  for (let group = tail.shift(); group !== undefined; group = tail.shift()) {
    parts.push(Buffer.from(group.bytes))
  }
  return Buffer.concat(parts)
}

const leaf = (): Uint8Array => {
  const bytes = new Uint8Array(pageBytes)
  const words = new Int32Array(bytes.buffer)
  Page.begin(words, 0, { size: pageBytes / 4, level: 0, pageId: 5, treeId: 2 })
  Page.setFences(words, 0, keyOf("abcdef"), keyOf("abcdez"))
  const insert = (key: string, kind: number, value: Uint8Array, version: number, expiry: number): void => {
    const scratch = keyOf(key)
    const need = Leaf.neededWords(words, 0, scratch.length, value.length, expiry)
    const index = ~Leaf.find(words, 0, scratch)
    Leaf.insert(words, 0, index, need, scratch, kind, stored(value), version, expiry)
  }
  const reference = writeReference({ lsn: 2 ** 32 + 8, bytes: 70_000, checksum: 0x1234_5678 })
  insert("abcdeg", Leaf.Kind.Value, bytesOf("first"), 64, Infinity)
  insert("abcdexyz", Leaf.Kind.Reference, reference, 2 ** 32 + 8, Infinity)
  insert("abcdeh", Leaf.Kind.Value, bytesOf(""), 72, 1_700_000_060_000)
  seal(bytes)
  return bytes
}

const inner = (): Uint8Array => {
  const bytes = new Uint8Array(pageBytes)
  const words = new Int32Array(bytes.buffer)
  Page.begin(words, 0, { size: pageBytes / 4, level: 1, pageId: 8, treeId: 2 })
  Inner.setOnlyChild(words, 0, 3)
  for (const [index, key] of ["b", "cat", "category"].entries()) {
    assert.isTrue(Inner.insert(words, 0, index, keyOf(key), 4 + index))
  }
  seal(bytes)
  return bytes
}

/** Every kind of dirty record, every status, and what an image leaves out: what is clean, and marks of use. */
const miniPage = (pageId: number, prefix: string): Uint8Array => {
  const words = new Int32Array(128)
  MiniPage.begin(words, 0, { size: words.length, pageId, treeId: 2 }, keyOf(prefix), prefix.length)
  const { Kind } = Leaf
  const { cached, isNew, replaces, touched } = MiniPage.Flag
  const insert = (tail: string, kind: number, flags: number, text: string, expiry = Infinity): void => {
    const key = keyOf(prefix + tail)
    const value = kind === Kind.Reference
      ? writeReference({ lsn: 2 ** 32 + 8, bytes: 70_000, checksum: 0x1234_5678 })
      : bytesOf(text)
    const need = Leaf.neededWords(words, 0, key.length, value.length, expiry)
    const index = ~Leaf.find(words, 0, key)
    Leaf.insert(words, 0, index, need, key, kind | flags << 8, stored(value), 2 ** 32 + 16, expiry)
  }
  insert("f", Kind.Value, isNew | touched, "first")
  insert("b", Kind.Reference, replaces, "")
  insert("d", Kind.Tombstone, touched, "")
  insert("a", Kind.Value, cached, "clean")
  insert("e", Kind.Phantom, 0, "")
  insert("c", Kind.Value, 0, "", 1_700_000_060_000)
  return MiniPage.imageOf(words, 0) ?? assert.fail("there is something dirty in it")
}

const packed = (): Uint8Array => {
  const imageFor = (pageId: number, prefix: string): Image => ({
    pageId,
    form: "mini",
    generation: 0,
    version: 1,
    purpose: "cut",
    bytes: miniPage(pageId, prefix)
  })
  const [one, more] = packsOf([imageFor(5, "abcde"), imageFor(300, "")], new Buffers({ pageBytes, most: 0 }))
  assert.isUndefined(more)
  return one?.bytes ?? assert.fail("there is one pack")
}

const chunk = (): Uint8Array => {
  const slots = new Int32Array(200)
  const checksums = new Int32Array(200)
  slots[63] = 9
  checksums[63] = -2
  return MapChunk.encode({ pageBytes, level: 0, index: 1 }, { slots, checksums })
}

const catalog = (): Uint8Array => {
  const payload = Catalog.encode({
    nextTreeId: 4,
    nextKeyspaceId: 8,
    millis: 1_700_000_000_000,
    keyspaces: [{
      id: 7,
      name: "users",
      layout: "u32 -> json",
      codecVersion: 3,
      reducer: 0,
      treeId: 2,
      root: 8,
      count: 1_000,
      unresolved: 1,
      expires: true,
      from: 64,
      segments: [{ base: 65_600, bytes: 70_000 }]
    }],
    dropping: [5],
    sessions: [{ id: 9, name: "worker", serial: 2 ** 32 + 5, lsn: 2 ** 40 + 8, millis: 1_700_000_000_000.5 }],
    streams: [65_600]
  })
  return Catalog.toPage(payload, 0, place, pageBytes).bytes
}

const value = (version: number): Uint8Array =>
  Codec.schema(Schema.Struct({ n: Schema.Finite }), { version }).encode({ n: 1.5 })

const structures: Record<keyof typeof golden, () => Uint8Array> = {
  superblock,
  segment,
  groups,
  "page file header": () => PageFileHeader.encode(pageBytes, storeId),
  leaf,
  inner,
  "mini-page": () => miniPage(5, "abcde"),
  pack: packed,
  "map chunk": chunk,
  catalog,
  "value, version 1": () => value(1),
  "value, version 200": () => value(200)
}

describe("the format on disk", () => {
  for (const [name, make] of Object.entries(structures)) {
    it(`${name}: its bytes`, () => {
      assert.strictEqual(dump(make()), golden[name as keyof typeof golden].trim())
    })
  }

  it("pages: are sound", () => {
    for (const [pageId, image] of [[5, leaf()], [8, inner()]] as const) {
      const checksum = Buffer.from(image).readInt32LE(0)
      assert.deepStrictEqual(verify(image, { pageId, checksum, pageBytes }), { _tag: "Sound" })
    }
  })

  it("segments: their names", () => assert.strictEqual(segmentName(0x1f), "log-000000000000001f"))
})

describe("docs/format.md", () => {
  const root = path.join(import.meta.dirname, "..")
  const text = fs.readFileSync(path.join(root, "docs", "format.md"), "utf8")
  const described = [
    "Codec.ts",
    "Key.ts",
    "Reducer.ts",
    "actors/files/Directory.ts",
    "indexes/Lane.ts",
    "log/Group.ts",
    "log/RecordForm.ts",
    "log/RecordWriter.ts",
    "log/Segment.ts",
    "log/Superblock.ts",
    "tree/file/Catalog.ts",
    "tree/file/Pack.ts",
    "tree/file/PageFileHeader.ts",
    "tree/memory/MapChunk.ts",
    "tree/page/Fold.ts",
    "tree/page/Leaf.ts",
    "tree/page/MiniPage.ts",
    "tree/page/Page.ts",
    "tree/past/BlockWriter.ts"
  ]
  /** Each table of a file, as one piece of text. */
  const tablesOf = (file: string): ReadonlyArray<string> =>
    (fs.readFileSync(path.join(root, "src", file), "utf8").match(/(?:^ \* \|.*\|\n)+/gm) ?? [])
      .map((table) => table.replaceAll(/^ \* /gm, "").trim())

  for (const file of described) {
    it(`has the tables of ${file}`, () => {
      for (const table of tablesOf(file)) assert.include(text, table)
    })
  }

  it("has every table that the sources have", () => {
    // What Evict.ts tells is no layout, and what Hints.ts has is in memory only.
    const others = ["tree/memory/Evict.ts", "tree/read/Hints.ts"]
    const files = fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
      .map((name) => name.replaceAll(path.sep, "/"))
      .filter((name) => name.endsWith(".ts") && !others.includes(name) && tablesOf(name).length > 0)
    assert.deepStrictEqual(files.sort(), described)
  })
})

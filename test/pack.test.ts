/**
 * Packs and mini-pages on their way through the disk: what goes in comes out, and hostile content is answered.
 */
import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { Buffers } from "../src/tree/Buffers.ts"
import { KeyScratch } from "../src/tree/KeyScratch.ts"
import * as Leaf from "../src/tree/Leaf.ts"
import * as MiniPage from "../src/tree/MiniPage.ts"
import { pack, unpack } from "../src/tree/Pack.ts"
import * as Page from "../src/tree/Page.ts"
import { checkMini } from "../src/tree/PageCheck.ts"
import type { Image } from "../src/tree/Pages.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { bytes } from "./support/world.ts"

const pageBytes = 1024
const buffers = () => new Buffers({ pageBytes, most: 0 })
const { Flag } = MiniPage
const { Kind } = Leaf
const states = [0, Flag.isNew, Flag.replaces]

/** A mini-page of random records whose keys begin with a prefix: its words. */
const someMini = (chance: Random, pageId: number): Int32Array => {
  const words = new Int32Array(chance.pick([48, 64, 96, 128]))
  const prefix = new KeyScratch()
  const text = "prefix".repeat(2).slice(0, chance.pick([0, 1, 3, 4, 7, 12]))
  prefix.load(bytes(text))
  MiniPage.begin(words, 0, { size: words.length, pageId, treeId: 3 }, prefix, text.length)
  const own = new Uint8Array(words.buffer)
  const key = new KeyScratch()
  for (let version = 1; version <= 10; version++) {
    key.load(bytes(text + String(chance.int(1000))))
    const kind = chance.pick([Kind.Value, Kind.Value, Kind.Tombstone, Kind.Phantom])
    const value = chance.bytes(kind === Kind.Value ? chance.int(20) : 0)
    const expiry = kind === Kind.Value && chance.bool(0.3) ? chance.int(1e9) : Infinity
    const need = Leaf.neededWords(words, 0, key.length, value.length, expiry)
    const index = Leaf.find(words, 0, key)
    if (index >= 0 || Leaf.gap(words, 0) < need + Page.slotWords) continue
    const status = kind === Kind.Phantom
      ? 0
      : kind === Kind.Value && chance.bool(0.3)
      ? Flag.cached
      : chance.pick(states)
    const flags = status | (chance.bool(0.5) ? Flag.touched : 0)
    Leaf.insert(words, own, 0, ~index, need, key, kind | flags << 8, value, version, expiry)
  }
  return words
}

/** Key, kind, flags, version, expiry and value of each record. */
const rowsOf = (words: Int32Array, p: number): ReadonlyArray<string> => {
  const key = new KeyScratch()
  return Array.from({ length: Page.count(words, p) }, (_, index) => {
    const record = Leaf.recordAt(words, p, index)
    const stored = Page.slotBytes(words, p, index)
    Leaf.loadKey(words, p, index, key)
    const value = Buffer.from(
      words.buffer,
      words.byteOffset + Leaf.valueAt(words, record, stored) * 4,
      Leaf.valueBytesAt(words, record)
    )
    const flags = MiniPage.flagsAt(words, record)
    return [
      Buffer.from(key.toBytes()).toString("hex"),
      Leaf.kindAt(words, record),
      flags & ~Flag.touched,
      (flags & Flag.touched) !== 0 && "touched",
      Leaf.versionAt(words, record),
      Leaf.expiryAt(words, record, stored),
      value.toString("hex"),
      MiniPage.isDirty(words, record) && "dirty"
    ].join()
  })
}

const imageFor = (pageId: number, image: Uint8Array): Image => ({
  pageId,
  form: "mini",
  generation: 0,
  version: 1,
  purpose: "cut",
  bytes: image
})

const someImages = (chance: Random): ReadonlyArray<Image> => {
  const images: Array<Image> = []
  for (let pageId = 1; images.length < 12; pageId++) {
    const image = MiniPage.imageOf(someMini(chance, pageId), 0)
    if (image !== undefined) images.push(imageFor(pageId, image))
  }
  return images
}

describe("mini-pages", () => {
  it("keep what is wanted, with prefix, flags and values, in just the words that were foretold", () => {
    for (let seed = 1; seed <= 500; seed++) {
      const chance = random(seed)
      const source = someMini(chance, 9)
      const rows = rowsOf(source, 0)
      assert.strictEqual(checkMini(source, 0, source.length)._tag, "Sound", `seed ${seed}`)
      const wanted = chance.pick(["all", "dirty", "dirty or touched", "touched"] as const)
      const kept = rows.filter((row) =>
        wanted === "all" || wanted !== "touched" && row.endsWith("dirty")
        || wanted !== "dirty" && row.includes("touched")
      )
      const prefix = new KeyScratch()
      const prefixBytes = MiniPage.loadPrefix(source, 0, prefix)
      const size = MiniPage.frameWords(prefixBytes) + MiniPage.wantedWords(source, 0, wanted)
      const words = new Int32Array(size)
      MiniPage.begin(words, 0, { size, pageId: 9, treeId: 3 }, prefix, prefixBytes)
      MiniPage.fill(words, 0, source, 0, wanted, 0)
      assert.deepStrictEqual(rowsOf(words, 0), kept, `seed ${seed}`)
      assert.strictEqual(checkMini(words, 0, size)._tag, "Sound", `seed ${seed}`)
    }
  })

  it("have flags that are independent of each other, of the expiry and of the kind", () => {
    const all = [Leaf.expires, Flag.cached, Flag.touched, Flag.isNew, Flag.replaces]
    assert.strictEqual(all.reduce((sum, flag) => sum + flag, 0), MiniPage.flags)
    assert.strictEqual(all.reduce((or, flag) => or | flag, 0), MiniPage.flags)
    for (const kind of Object.values(Kind)) {
      for (let flags = 0; flags <= MiniPage.flags; flags++) {
        const words = Int32Array.of(kind << 16 | flags << 24 | 0xffff, 0, 0)
        assert.strictEqual(MiniPage.flagsAt(words, 0), flags)
        assert.strictEqual(MiniPage.isDirty(words, 0), kind !== Kind.Phantom && (flags & Flag.cached) === 0)
        MiniPage.touch(words, 0)
        assert.strictEqual(MiniPage.flagsAt(words, 0), flags | Flag.touched)
        assert.strictEqual(Leaf.kindAt(words, 0), kind)
        assert.strictEqual(Leaf.valueBytesAt(words, 0), 0xffff)
      }
    }
  })
})

describe("packs", () => {
  it("give back every mini-page that went in: what is dirty in it, untouched", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const images = someImages(random(seed))
      const packs = pack(images, buffers())
      assert.deepStrictEqual(packs.flatMap((each) => each.images), images)
      for (const { bytes, checksum, images } of packs) {
        assert.strictEqual(bytes.length, pageBytes)
        const unpacked = unpack(bytes, checksum)
        if (unpacked._tag === "Invalid") return assert.fail(unpacked.expected)
        assert.deepStrictEqual(unpacked.minis.map(({ pageId }) => pageId), images.map(({ pageId }) => pageId))
        for (const [index, { at }] of unpacked.minis.entries()) {
          const image = new Int32Array((images[index] as Image).bytes.slice().buffer)
          const rows = rowsOf(unpacked.words, at)
          assert.deepStrictEqual(rows, rowsOf(image, 0))
          assert.isTrue(rows.every((row) => row.endsWith("dirty") && !row.includes("touched")))
        }
      }
    }
  })

  it("are refused with any bit flipped", () => {
    const [{ bytes, checksum }] = pack(someImages(random(1)), buffers()) as [ReturnType<typeof pack>[number]]
    for (let bit = 0; bit < pageBytes * 8; bit++) {
      const broken = bytes.slice()
      broken[bit >>> 3] = (broken[bit >>> 3] as number) ^ 1 << (bit & 7)
      if (unpack(broken, checksum)._tag !== "Invalid") assert.fail(`bit ${bit}`)
    }
    assert.strictEqual(unpack(bytes, checksum ^ 1)._tag, "Invalid")
  })

  it("with right checksums and hostile content are answered, never thrown, and what passes is sound", () => {
    let passed = 0
    for (let seed = 1; seed <= 3000; seed++) {
      const chance = random(seed)
      const [{ bytes }] = pack(someImages(chance), buffers()) as [ReturnType<typeof pack>[number]]
      for (let changes = chance.int(4); changes >= 0; changes--) {
        const at = 4 + chance.int(chance.pick([8, 100, pageBytes - 4]))
        bytes[at] = chance.pick([0, 1, 0xff, chance.int(256)])
      }
      const checksum = crc32(bytes.subarray(4)) | 0
      new DataView(bytes.buffer).setInt32(0, checksum, true)
      const unpacked = unpack(bytes, checksum)
      if (unpacked._tag === "Invalid") continue
      passed++
      for (const { at, size } of unpacked.minis) {
        assert.isAtMost(at + size, unpacked.words.length)
        rowsOf(unpacked.words, at)
      }
    }
    assert.isAbove(passed, 0)
  })
})

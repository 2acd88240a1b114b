/**
 * Packs and mini-pages on their way through the disk: what goes in comes out, and hostile content is answered.
 */
import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { pack, unpack } from "../src/tree/file/Pack.ts"
import { Buffers } from "../src/tree/memory/Buffers.ts"
import type { Image } from "../src/tree/memory/Pages.ts"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as MiniPage from "../src/tree/page/MiniPage.ts"
import { checkMini } from "../src/tree/page/PageCheck.ts"
import { imageFor, rowsOf, someMini } from "./support/mini.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const pageBytes = 1024
const buffers = () => new Buffers({ pageBytes, most: 0 })
const { Flag } = MiniPage
const { Kind } = Leaf

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
    const all = [Leaf.expires, Flag.cached, Flag.touched, Flag.isNew, Flag.replaces, Flag.again]
    assert.strictEqual(all.reduce((sum, flag) => sum + flag, 0), MiniPage.flags)
    assert.strictEqual(all.reduce((or, flag) => or | flag, 0), MiniPage.flags)
    for (const kind of Object.values(Kind)) {
      for (let flags = 0; flags <= MiniPage.flags; flags++) {
        const words = Int32Array.of(kind << 16 | flags << 24 | 0xffff, 0, 0)
        assert.strictEqual(MiniPage.flagsAt(words, 0), flags)
        assert.strictEqual(MiniPage.isDirty(words, 0), kind !== Kind.Phantom && (flags & Flag.cached) === 0)
        MiniPage.touch(words, 0)
        const again = (flags & Flag.touched) !== 0 ? Flag.again : 0
        assert.strictEqual(MiniPage.flagsAt(words, 0), flags | Flag.touched | again)
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

  it("are refused with a mini-page that no block of the buffer holds", () => {
    for (const [size, passes] of [[128, true], [129, false], [240, false]] as const) {
      const mini = new Int32Array(size)
      MiniPage.begin(mini, 0, { size, pageId: 9, treeId: 3 }, new KeyScratch(), 0)
      const image = imageFor(9, new Uint8Array(mini.buffer))
      const [only] = pack([image], buffers())
      if (only === undefined) return assert.fail("one mini-page, one pack")
      const { bytes, checksum } = only
      assert.strictEqual(unpack(bytes, checksum)._tag === "Pack", passes, `${size} words`)
    }
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

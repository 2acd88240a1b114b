import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as Page from "../src/tree/page/Page.ts"
import { check, seal, verify } from "../src/tree/page/PageCheck.ts"
import {
  commonBytes,
  compareKeys,
  headOf,
  headOfWords,
  lowerHead,
  upperHead
} from "../src/tree/page/Search.ts"
import { ValueScratch } from "../src/tree/page/ValueIn.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import { keys } from "./support/treeModel.ts"
import { bytes, text } from "./support/world.ts"

const stored = (value: Uint8Array) => new ValueScratch().load(value)

const scratch = (key: string): KeyScratch => {
  const own = new KeyScratch()
  own.load(bytes(key))
  return own
}

/** A leaf of `pageBytes` at word `p` of a larger memory, as in a chunk. */
const leaf = (pageBytes: number, p: number, low: string, high: string | undefined) => {
  const words = new Int32Array(p + pageBytes / 4 + 16).fill(0x55555555)
  const content = new Uint8Array(words.buffer)
  Page.begin(words, p, { size: pageBytes / 4, level: 0, pageId: 3, treeId: 1 })
  Page.setFences(words, p, scratch(low), high === undefined ? undefined : scratch(high))
  return { words, content, p }
}

const keyText = (words: Int32Array, p: number, index: number): string => {
  const key = new KeyScratch()
  const at = Leaf.recordAt(words, p, index) + Page.recordHeaderWords
  const skip = Page.prefixBytes(words, p) >>> 2
  key.assemble(words, p + Page.prefixAt(words, p), skip, words, at, Page.slotBytes(words, p, index))
  return text(key.toBytes())
}

const image = (page: { readonly content: Uint8Array; readonly p: number }, pageBytes: number): Uint8Array =>
  page.content.slice(page.p * 4, page.p * 4 + pageBytes)

/** A leaf with some records, as an image. */
const sample = (chance: Random, pageBytes: number): Uint8Array => {
  const prefix = chance.pick(["", "ab", "prefix", "longer prefix"])
  const page = leaf(
    pageBytes,
    0,
    chance.bool(0.5) ? "" : `${prefix}\0`,
    chance.bool(0.5) ? undefined : `${prefix}~`
  )
  const { p, words } = page
  for (let version = 1; version < 60; version++) {
    const name = prefix + String.fromCharCode(1 + chance.int(100)) + text(chance.bytes(chance.int(12)))
    const key = scratch(name)
    const index = Leaf.find(words, p, key)
    const value = chance.bytes(chance.int(40))
    const expiry = chance.bool(0.3) ? 1e12 : Infinity
    const need = Leaf.neededWords(words, p, key.length, value.length, expiry)
    if (index >= 0) Leaf.remove(words, p, index)
    else if (Leaf.gap(words, p) >= need + 2) {
      Leaf.insert(words, p, ~index, need, key, Leaf.Kind.Value, stored(value), version, expiry)
    }
  }
  return image(page, pageBytes)
}

describe("search", () => {
  it("finds bounds as counting does", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const chance = random(seed)
      const count = chance.int(40)
      const range = chance.pick([3, 100, 0x7fffffff])
      const heads = Int32Array.from(
        { length: count },
        () => chance.int(range) + (range === 3 ? 0x7ffffffc : 0)
      ).sort()
      for (const head of [0, 0x7fffffff, ...heads, chance.int(0x7fffffff)]) {
        assert.strictEqual(lowerHead(heads, 0, count, head), heads.filter((other) => other < head).length)
        assert.strictEqual(upperHead(heads, 0, 0, count, head), heads.filter((other) => other <= head).length)
      }
    }
  })

  it("orders keys as bytes, heads included", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const key = keys(random(seed))
      const [a, b] = [key(), key()]
      const [x, y] = [scratch(a), scratch(b)]
      const order = Math.sign(compareKeys(x.words, 0, x.length, y.words, 0, y.length))
      assert.strictEqual(order, a < b ? -1 : a > b ? 1 : 0, `seed ${seed}`)
      let common = 0
      while (common < a.length && common < b.length && a[common] === b[common]) common++
      assert.strictEqual(commonBytes(x.words, 0, x.length, y.words, 0, y.length), common, `seed ${seed}`)
      for (let at = 0; at <= common; at++) {
        const [first, second] = [headOf(x.bytes, at), headOf(y.bytes, at)]
        assert.isTrue(order === 0 ? first === second : (second - first) * order <= 0, `seed ${seed}`)
        const word = at >>> 2
        assert.strictEqual(headOfWords(x.words[word] as number, x.words[word + 1] as number, at & 3), first)
      }
    }
  })

  it("leaves nothing of a longer key behind a shorter one", () => {
    const key = new KeyScratch()
    for (let length = 0; length < 40; length++) {
      key.load(new Uint8Array(60).fill(255))
      key.load(new Uint8Array(length).fill(1))
      for (let at = length; at < length + 8; at++) assert.strictEqual(key.bytes[at], 0)
    }
  })
})

describe("leaf", () => {
  it("keeps records as a sorted map does, with every prefix", () => {
    for (let seed = 1; seed <= 150; seed++) {
      const chance = random(seed)
      const pageBytes = chance.pick([1024, 4096, 32_768])
      const prefix = text(chance.bytes(chance.int(12)))
      const bounded = chance.bool(0.7)
      const page = leaf(
        pageBytes,
        chance.pick([0, 1024, 256]),
        bounded ? `${prefix}!` : "",
        bounded ? `${prefix}~` : undefined
      )
      const { content, p, words } = page
      const model = new Map<
        string,
        { readonly value: string; readonly version: number; readonly expiry: number }
      >()
      for (let version = 1; version < 250; version++) {
        const tail = text(chance.bytes(chance.int(9)))
        const name = prefix + String.fromCharCode(0x21 + chance.int(90)) + (chance.bool(0.5) ? tail : "")
        const key = scratch(name)
        const index = Leaf.find(words, p, key)
        assert.strictEqual(index >= 0, model.has(name), `seed ${seed}`)
        const value = chance.bytes(chance.pick([0, 1, 4, 30]))
        const expiry = chance.bool(0.2) ? version + 0.25 : Infinity
        const need = Leaf.neededWords(words, p, key.length, value.length, expiry)
        if (index >= 0 && chance.bool(0.4)) {
          Leaf.remove(words, p, index)
          model.delete(name)
        } else if (index >= 0) {
          const done = Leaf.replace(words, p, index, need, Leaf.Kind.Value, stored(value), version, expiry)
          if (done) model.set(name, { value: text(value), version, expiry })
        } else if (Leaf.gap(words, p) >= need + 2) {
          Leaf.insert(words, p, ~index, need, key, Leaf.Kind.Value, stored(value), version, expiry)
          model.set(name, { value: text(value), version, expiry })
        }
        if (version % 25 === 0) {
          assert.deepStrictEqual(check(words, p, pageBytes / 4), { _tag: "Sound" }, `seed ${seed}`)
        }
      }
      const rows = [...model.keys()].sort((a, b) => a < b ? -1 : 1)
      assert.deepStrictEqual(rows.map((_, index) => keyText(words, p, index)), rows, `seed ${seed}`)
      rows.forEach((name, index) => {
        const record = Leaf.recordAt(words, p, index)
        const keyBytes = Page.slotBytes(words, p, index)
        const from = Leaf.valueAt(words, record, keyBytes) * 4
        assert.deepStrictEqual({
          value: text(content.slice(from, from + Leaf.valueBytesAt(words, record))),
          version: Leaf.versionAt(words, record),
          expiry: Leaf.expiryAt(words, record, keyBytes)
        }, model.get(name))
      })
      const end = (p + pageBytes / 4) * 4
      assert.isTrue(content.subarray(end).every((byte) => byte === 0x55), "nothing is written past the page")
    }
  })

  it("keeps LSNs of 53 bits", () => {
    const words = new Int32Array(2)
    for (const lsn of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 7, Number.MAX_SAFE_INTEGER]) {
      Page.writeLsn(words, 0, lsn)
      assert.strictEqual(Page.readLsn(words, 0), lsn)
    }
  })

  it("has room for two of the largest records between two of the longest fences", () => {
    for (let pageBytes = Page.pageBytesMin; pageBytes <= Page.pageBytesMax; pageBytes *= 2) {
      const keyBytes = Page.maxKeyBytes(pageBytes)
      assert.isTrue(Page.checkSizes({ pageBytes, keyBytes }))
      assert.isFalse(Page.checkSizes({ pageBytes, keyBytes: keyBytes + 4 }))
      const page = leaf(pageBytes, 0, "\0".repeat(keyBytes), "\xff".repeat(keyBytes))
      const { p, words } = page
      const most = Page.maxRecordBytes(pageBytes, keyBytes)
      Page.setCounts(words, p, 0, 2)
      assert.isAtLeast(most, Page.recordBytes(keyBytes, Page.referenceBytes, 8))
      const value = new Uint8Array(most - Page.recordBytes(keyBytes, 0, 0))
      for (const [index, byte] of ["a", "b"].entries()) {
        const key = scratch(byte.repeat(keyBytes))
        const need = Leaf.neededWords(words, p, key.length, value.length, Infinity)
        assert.isAtLeast(Leaf.gap(words, p), need)
        Leaf.insert(words, p, index, need, key, Leaf.Kind.Value, stored(value), 1, Infinity)
      }
      assert.deepStrictEqual(check(words, p, pageBytes / 4), { _tag: "Sound" })
    }
    assert.isFalse(Page.checkSizes({ pageBytes: 512, keyBytes: 8 }))
    assert.isFalse(Page.checkSizes({ pageBytes: 5000, keyBytes: 8 }))
  })
})

describe("page check", () => {
  it("passes what was sealed and nothing else", () => {
    for (let seed = 1; seed <= 30; seed++) {
      const chance = random(seed)
      const sealed = sample(chance, 1024)
      const checksum = seal(sealed)
      const expected = { pageId: 3, checksum, pageBytes: 1024 }
      assert.deepStrictEqual(verify(sealed, expected), { _tag: "Sound" }, `seed ${seed}`)
      assert.strictEqual(verify(sealed, { ...expected, pageId: 4 })._tag, "Invalid")
      assert.strictEqual(verify(sealed, { ...expected, checksum: checksum + 1 | 0 })._tag, "Invalid")
      assert.strictEqual(verify(sealed.subarray(0, 1020), expected)._tag, "Invalid")
      for (let flip = 0; flip < 300; flip++) {
        const bit = chance.int(1024 * 8)
        const broken = sealed.slice()
        broken[bit >>> 3] = (broken[bit >>> 3] as number) ^ 1 << (bit & 7)
        assert.strictEqual(verify(broken, expected)._tag, "Invalid", `seed ${seed}, bit ${bit}`)
      }
    }
  })

  it("has the low fence and not the high one", () => {
    const bounds = [["b", "d"], ["prefix b", "prefix d"], ["", "d"]] as const
    for (const [low, high] of bounds) {
      for (
        const [key, answer] of [[low, "Sound"], [`${high.slice(0, -1)}c`, "Sound"], [
          high,
          "Invalid"
        ]] as const
      ) {
        const { p, words } = leaf(1024, 0, low, high)
        const own = scratch(key)
        const need = Leaf.neededWords(words, p, own.length, 4, Infinity)
        Leaf.insert(words, p, 0, need, own, Leaf.Kind.Value, stored(new Uint8Array(4)), 1, Infinity)
        assert.strictEqual(check(words, p, 256)._tag, answer, `${key} in [${low}, ${high})`)
      }
    }
  })

  it("looks at checksum, length and id alone of what has passed before", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const chance = random(seed)
      const sealed = sample(chance, 1024)
      const expected = { pageId: 3, checksum: seal(sealed), pageBytes: 1024, isChecked: true }
      assert.deepStrictEqual(verify(sealed, expected), { _tag: "Sound" }, `seed ${seed}`)
      assert.strictEqual(verify(sealed, { ...expected, pageId: 4 })._tag, "Invalid")
      assert.strictEqual(verify(sealed.subarray(0, 1020), expected)._tag, "Invalid")
      for (let bit = chance.int(100); bit < 1024 * 8; bit += 1 + chance.int(100)) {
        const broken = sealed.slice()
        broken[bit >>> 3] = (broken[bit >>> 3] as number) ^ 1 << (bit & 7)
        assert.strictEqual(verify(broken, expected)._tag, "Invalid", `seed ${seed}, bit ${bit}`)
      }
      // What no page has, under a checksum that is right.
      const words = new Int32Array(sealed.buffer)
      words[1] = (words[1] as number) ^ 1
      const checksum = seal(sealed)
      assert.strictEqual(verify(sealed, { ...expected, checksum, isChecked: false })._tag, "Invalid")
      assert.strictEqual(verify(sealed, { ...expected, checksum })._tag, "Sound")
    }
  })

  it("finds what a right checksum hides, or what passes is harmless", () => {
    let found = 0
    const rounds = 6000
    for (let seed = 1; seed <= rounds; seed++) {
      const chance = random(seed)
      const hostile = sample(random(seed % 40), 1024)
      // Mostly the header and the slots, where the structure is.
      const words = new Int32Array(hostile.buffer)
      for (let change = 0; change <= chance.int(3); change++) {
        const word = chance.bool(0.7) ? 1 + chance.int(80) : chance.int(256)
        words[word] = chance.pick([
          0,
          -1,
          chance.int(2 ** 32) | 0,
          (words[word] as number) ^ 1 << chance.int(32)
        ])
      }
      words[0] = crc32(hostile.subarray(4)) | 0
      const expected = { pageId: words[2] as number, checksum: words[0], pageBytes: 1024 }
      if (verify(hostile, expected)._tag === "Invalid") {
        found++
        continue
      }
      // Whatever passes can be read from end to end and stays within itself.
      if (Page.level(words, 0) > 0) continue
      for (let index = 0; index < Page.count(words, 0); index++) {
        const own = scratch(keyText(words, 0, index))
        assert.strictEqual(Leaf.find(words, 0, own), index, `seed ${seed}`)
      }
    }
    assert.isAbove(found, rounds / 2)
  })

  it("never throws and never loops on noise", () => {
    for (let seed = 1; seed <= 3000; seed++) {
      const chance = random(seed)
      const noise = chance.bytes(1024)
      const words = new Int32Array(noise.buffer)
      if (chance.bool(0.9)) words[1] = chance.pick([0x11, 0x112, 0x212]) | 256 << 16
      const checksum = crc32(noise.subarray(4)) | 0
      words[0] = checksum
      const answer = verify(noise, { pageId: words[2] as number, checksum, pageBytes: 1024 })
      assert.strictEqual(answer._tag, "Invalid")
    }
  })
})

/**
 * The catalog, whole and in pages, and what hostile bytes make of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as CatalogFile from "../src/tree/file/Catalog.ts"
import type { Catalog, KeyspaceEntry, SessionEntry } from "../src/tree/file/Catalog.ts"
import * as MapChunk from "../src/tree/memory/MapChunk.ts"
import type { Place } from "../src/tree/memory/MapChunk.ts"
import { flips, forged, pageSizes, word } from "./support/pages.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

const texts = ["", "a", "users", "größe", "名前", "🌲".repeat(20), "x".repeat(1_024)]

const randomKeyspace = (chance: Random): KeyspaceEntry => ({
  id: chance.int(2 ** 32),
  name: chance.pick(texts),
  layout: chance.pick(texts),
  codecVersion: chance.int(2 ** 32),
  reducer: chance.int(16),
  treeId: chance.int(2 ** 32),
  root: chance.int(2 ** 32),
  count: chance.pick([0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]),
  unresolved: chance.int(2 ** 32),
  expires: chance.bool(0.5),
  from: chance.int(2 ** 53),
  segments: Array.from(
    { length: chance.int(4) },
    () => ({ base: chance.int(2 ** 53), bytes: chance.int(2 ** 40) })
  )
})

const randomSession = (chance: Random, index: number): SessionEntry => ({
  id: 2 ** 32 - 1 - index,
  name: `${index}${chance.pick(texts)}`,
  serial: chance.int(2 ** 53),
  lsn: chance.int(2 ** 53),
  millis: chance.next() * 2e12
})

const randomCatalog = (chance: Random, keyspaces: number): Catalog => ({
  nextTreeId: chance.int(2 ** 32),
  nextKeyspaceId: chance.int(2 ** 32),
  millis: chance.pick([0, 1_700_000_000_000, 1.5]),
  keyspaces: Array.from({ length: chance.int(keyspaces) }, () => randomKeyspace(chance)),
  dropping: Array.from({ length: chance.int(20) }, () => chance.int(2 ** 32)),
  sessions: Array.from({ length: chance.int(keyspaces) }, (_, index) => randomSession(chance, index)),
  streams: Array.from({ length: chance.int(3) }, () => chance.int(2 ** 53))
})

/** Writes a catalog as a checkpoint does, last page first, and answers the place of the first one. */
const chained = (payload: Uint8Array, pageBytes: number) => {
  const pages = new Map<number, Uint8Array>()
  let next: Place = MapChunk.nowhere
  for (let index = CatalogFile.pagesOf(payload.length, pageBytes) - 1; index >= 0; index--) {
    const { bytes, checksum } = CatalogFile.toPage(payload, index, next, pageBytes)
    next = { slot: 100 + index, checksum }
    pages.set(next.slot, bytes)
  }
  return { pages, first: next }
}

describe("Catalog", () => {
  it("comes back as it was, through a chain of pages of every size", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const chance = random(seed)
      const catalog = randomCatalog(chance, chance.pick([1, 10, 60]))
      const payload = CatalogFile.encode(catalog)
      assert.deepStrictEqual(CatalogFile.decode(payload), catalog, `seed ${seed}`)
      const pageBytes = chance.pick(pageSizes)
      const { first, pages } = chained(payload, pageBytes)
      const parts: Array<Uint8Array> = []
      let place = first
      for (let index = 0; index < pages.size; index++) {
        const page = pages.get(place.slot) as Uint8Array
        assert.strictEqual(page.length, pageBytes)
        const decoded = CatalogFile.decodePage(page, { index, checksum: place.checksum })
        if (decoded._tag === "Invalid") return assert.fail(decoded.expected)
        parts.push(decoded.payload)
        place = decoded.next
      }
      assert.strictEqual(place.slot, 0, "the chain ends")
      assert.isTrue(Buffer.concat(parts).equals(payload))
    }
  })

  it("an empty one takes a page too", () => {
    assert.deepStrictEqual(CatalogFile.decode(CatalogFile.encode(CatalogFile.empty)), CatalogFile.empty)
    assert.strictEqual(CatalogFile.pagesOf(0, 1024), 1)
    assert.strictEqual(CatalogFile.pagesOf(992, 1024), 1)
    assert.strictEqual(CatalogFile.pagesOf(993, 1024), 2)
  })

  it("cut short or followed by anything, it is broken", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const payload = CatalogFile.encode(randomCatalog(random(seed), 4))
      for (let length = 0; length < payload.length; length++) {
        assert.isUndefined(CatalogFile.decode(payload.subarray(0, length)), `seed ${seed}, ${length} bytes`)
      }
      assert.isUndefined(CatalogFile.decode(Buffer.concat([payload, new Uint8Array(1)])))
    }
  })

  it("never throws for hostile bytes, and never holds more than they say", () => {
    const largest = (catalog: Catalog): number =>
      catalog.keyspaces.reduce(
        (sum, { layout, name, segments }) => sum + 56 + name.length + layout.length + 16 * segments.length,
        4 * catalog.dropping.length + 30 * catalog.sessions.length + 8 * catalog.streams.length
      )
    for (let seed = 1; seed <= 3_000; seed++) {
      const chance = random(seed)
      const source = chance.bool(0.2)
        ? chance.bytes(chance.int(300))
        : Uint8Array.from(CatalogFile.encode(randomCatalog(chance, 5)))
      for (let change = chance.int(4); change >= 0 && source.length >= 4; change--) {
        const at = chance.int(source.length - 3)
        const hostile = chance.pick([0xffff_ffff, 0x7fff_ffff, 0xffff, 0x8000_0000, chance.int(2 ** 32)])
        new DataView(source.buffer).setUint32(at, hostile, true)
      }
      const decoded = CatalogFile.decode(source)
      if (decoded !== undefined) assert.isAtMost(largest(decoded), source.length, `seed ${seed}`)
    }
  })

  it("is broken where two sessions have one id or one name, or one has the id 0", () => {
    const session = (id: number, name: string): SessionEntry => ({ id, name, serial: 1, lsn: 64, millis: 5 })
    const decoded = (...sessions: ReadonlyArray<SessionEntry>) =>
      CatalogFile.decode(CatalogFile.encode({ ...CatalogFile.empty, sessions }))
    assert.isUndefined(decoded(session(1, "a"), session(1, "b")))
    assert.isUndefined(decoded(session(1, "a"), session(2, "a")))
    assert.isUndefined(decoded(session(0, "a")))
    assert.strictEqual(decoded(session(1, "a"), session(2, "b"))?.sessions.length, 2)
  })

  it("a count is believed only as far as its entries are there", () => {
    const entries = 1_000
    const payload = Buffer.alloc(20 + 56 * entries + 12)
    for (const count of [entries, entries + 1, 2 ** 31, 2 ** 32 - 1]) {
      payload.writeUInt32LE(count, 16)
      const decoded = CatalogFile.decode(payload)
      assert.strictEqual(decoded?.keyspaces.length, count === entries ? entries : undefined, `${count}`)
    }
  })

  for (const pageBytes of [1024, 4096]) {
    it(`a page of the chain shows every flipped bit (${pageBytes} bytes)`, () => {
      const chance = random(pageBytes)
      const payload = chance.bytes(2 * pageBytes)
      for (const index of [0, 1, 2]) {
        const { bytes, checksum } = CatalogFile.toPage(
          payload,
          index,
          { slot: 7, checksum: word(chance) },
          pageBytes
        )
        flips(chance, bytes, (copy, bit) => {
          if (CatalogFile.decodePage(copy, { index, checksum })._tag === "Page") assert.fail(`bit ${bit}`)
        })
        assert.strictEqual(CatalogFile.decodePage(bytes, { index, checksum })._tag, "Page")
        assert.strictEqual(CatalogFile.decodePage(bytes, { index: index + 1, checksum })._tag, "Invalid")
        assert.strictEqual(CatalogFile.decodePage(bytes, { index, checksum: checksum ^ 1 })._tag, "Invalid")
      }
    })
  }

  it("a page whose checksum is right still has to say what a page can say", () => {
    const { bytes } = CatalogFile.toPage(new Uint8Array(3_000).fill(3), 1, { slot: 9, checksum: 4 }, 1024)
    const accepts = (change: (view: DataView) => void): boolean => {
      const page = forged(bytes, change)
      const checksum = new DataView(page.buffer).getInt32(0, true)
      return CatalogFile.decodePage(page, { index: 1, checksum })._tag === "Page"
    }
    assert.isTrue(accepts(() => {}))
    assert.isTrue(accepts((view) => view.setUint32(12, 992, true)))
    assert.isFalse(accepts((view) => view.setUint32(12, 993, true)), "more payload than the page has")
    assert.isFalse(accepts((view) => view.setUint32(12, 0xffff_ffff, true)), "more payload than the page has")
    assert.isFalse(accepts((view) => view.setUint8(4, 2)), "format")
    assert.isFalse(accepts((view) => view.setUint8(5, 3)), "kind")
    assert.isFalse(accepts((view) => view.setUint32(8, 0, true)), "index")
  })
})

/**
 * Mini-pages by themselves, made of random records, and what is in one as text.
 */
import type { Image } from "../../src/tree/memory/Pages.ts"
import { KeyScratch } from "../../src/tree/page/KeyScratch.ts"
import * as Leaf from "../../src/tree/page/Leaf.ts"
import * as MiniPage from "../../src/tree/page/MiniPage.ts"
import * as Page from "../../src/tree/page/Page.ts"
import { ValueScratch } from "../../src/tree/page/ValueIn.ts"
import type { Random } from "./random.ts"
import { bytes } from "./world.ts"

const { Flag } = MiniPage
const { Kind } = Leaf
const states = [0, Flag.isNew, Flag.replaces]

export interface MiniOptions {
  /** What all keys begin with: `prefixBytes` of it are the prefix. */
  readonly text: string
  readonly words: number
  /** Records that are tried. */
  readonly records: number
}

/** A mini-page of random records whose keys begin with a prefix: its words. */
export const miniOf = (chance: Random, pageId: number, options: MiniOptions): Int32Array => {
  const { records, text } = options
  const words = new Int32Array(options.words)
  const prefix = new KeyScratch()
  prefix.load(bytes(text))
  MiniPage.begin(words, 0, { size: words.length, pageId, treeId: 3 }, prefix, text.length)
  const key = new KeyScratch()
  for (let version = 1; version <= records; version++) {
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
    const flags = status | (chance.bool(0.5) ? Flag.touched : 0) | (chance.bool(0.3) ? Flag.again : 0)
    Leaf.insert(
      words,
      0,
      ~index,
      need,
      key,
      kind | flags << 8,
      new ValueScratch().load(value),
      version,
      expiry
    )
  }
  return words
}

/** The same of any size, below a prefix of any length. */
export const someMini = (chance: Random, pageId: number): Int32Array =>
  miniOf(chance, pageId, {
    words: chance.pick([48, 64, 96, 128]),
    text: "prefix".repeat(2).slice(0, chance.pick([0, 1, 3, 4, 7, 12])),
    records: 10
  })

/** Key, kind, flags, version, expiry and value of each record. */
export const rowsOf = (words: Int32Array, p: number): ReadonlyArray<string> => {
  const key = new KeyScratch()
  return Array.from({ length: Page.count(words, p) }, (_, index) => {
    Leaf.loadKey(words, p, index, key)
    const record = Leaf.recordAt(words, p, index)
    const stored = Page.slotBytes(words, p, index)
    const value = Buffer.from(
      words.buffer,
      words.byteOffset + Leaf.valueAt(words, record, stored) * 4,
      Leaf.valueBytesAt(words, record)
    )
    const flags = MiniPage.flagsAt(words, record)
    return [
      Buffer.from(key.toBytes()).toString("hex"),
      Leaf.kindAt(words, record),
      flags & ~MiniPage.used,
      (flags & Flag.touched) !== 0 && "touched",
      (flags & Flag.again) !== 0 && "again",
      Leaf.versionAt(words, record),
      Leaf.expiryAt(words, record, stored),
      value.toString("hex"),
      MiniPage.isDirty(words, record) && "dirty"
    ].join()
  })
}

export const imageFor = (pageId: number, image: Uint8Array): Image => ({
  pageId,
  form: "mini",
  generation: 0,
  version: 1,
  purpose: "cut",
  bytes: image
})

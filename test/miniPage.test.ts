/**
 * Mini-pages and writing to them, by themselves: what a record says of the base page, what is kept where a mini-page
 * moves, and a leaf's mini-page against a model from its first record until it is full.
 */
import { assert, describe, it } from "@effect/vitest"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as MiniPage from "../src/tree/page/MiniPage.ts"
import type { Wanted } from "../src/tree/page/MiniPage.ts"
import * as Page from "../src/tree/page/Page.ts"
import { checkMini } from "../src/tree/page/PageCheck.ts"
import { miniOf, rowsOf } from "./support/mini.ts"
import { MiniBench } from "./support/miniBench.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const { Flag } = MiniPage
const { Kind } = Leaf

/** What one may know: whether the base page has a record of the key, and whether there is one now. */
interface Fact {
  readonly base: "has it" | "has none" | "unknown"
  readonly now: boolean
  readonly dirty: boolean
}

/** Every record that a mini-page may have, but for touched and expiry, and what it says. */
const facts: ReadonlyArray<readonly [kind: number, flags: number, fact: Fact]> = [
  ...[Kind.Value, Kind.Reference].flatMap((kind): Array<readonly [number, number, Fact]> => [
    [kind, 0, { base: "unknown", now: true, dirty: true }],
    [kind, Flag.isNew, { base: "has none", now: true, dirty: true }],
    [kind, Flag.replaces, { base: "has it", now: true, dirty: true }],
    [kind, Flag.cached, { base: "has it", now: true, dirty: false }]
  ]),
  [Kind.Tombstone, 0, { base: "unknown", now: false, dirty: true }],
  [Kind.Tombstone, Flag.isNew, { base: "has none", now: false, dirty: true }],
  [Kind.Tombstone, Flag.replaces, { base: "has it", now: false, dirty: true }],
  [Kind.Phantom, 0, { base: "has none", now: false, dirty: false }]
]

const statusFor = { "has it": Flag.replaces, "has none": Flag.isNew, unknown: 0 }
/** By how much the tree has more records than its base page. */
const countFor = ({ base, now }: Fact): number =>
  base === "unknown" ? 0 : Number(now) - Number(base === "has it")

const wishes: ReadonlyArray<Wanted> = ["all", "dirty", "dirty or touched", "touched", "used"]
const isWanted = (row: string, wanted: Wanted): boolean => {
  const [dirty, touched] = [row.endsWith("dirty"), row.includes("touched")]
  if (wanted === "all") return true
  if (wanted === "used") return touched || row.includes("again")
  return wanted === "dirty" && dirty || wanted === "touched" && touched ||
    wanted === "dirty or touched" && (dirty || touched)
}

const prefixOf = (bytes: number): string => "a prefix that is long".slice(0, bytes)
const anyMini = (chance: Random, prefixBytes: number): Int32Array =>
  miniOf(chance, 9, {
    words: chance.pick([64, 128, 512]),
    text: prefixOf(prefixBytes),
    records: chance.pick([0, 1, 10, 40])
  })

describe("a record", () => {
  for (const extra of [0, Flag.touched, Leaf.expires, Flag.touched | Leaf.expires]) {
    it(`says of the base page what it says, with flags ${extra} beside`, () => {
      for (const [kind, flags, fact] of facts) {
        const words = Int32Array.of(0, 5 | kind << 16 | (flags | extra) << 24)
        const what = `kind ${kind}, flags ${flags}`
        assert.strictEqual(MiniPage.isDirty(words, 1), fact.dirty, what)
        assert.strictEqual(MiniPage.isUnresolved(words, 1), fact.base === "unknown", what)
        assert.strictEqual(MiniPage.statusAt(words, 1), statusFor[fact.base], what)
        assert.strictEqual(MiniPage.countAt(words, 1), countFor(fact), what)
        assert.strictEqual(MiniPage.flagsAt(words, 1), flags | extra, what)
      }
    })
  }

  it("that nobody has looked up is settled once, and counts from then on", () => {
    let settled = 0
    for (const [kind, flags, fact] of facts) {
      if (fact.base !== "unknown") continue
      for (const known of ["isNew", "replaces"] as const) {
        const base = known === "isNew" ? "has none" : "has it"
        const words = Int32Array.of(0, 7 | kind << 16 | (flags | Flag.touched | Leaf.expires) << 24)
        MiniPage.settle(words, 1, known)
        assert.isFalse(MiniPage.isUnresolved(words, 1))
        assert.isTrue(MiniPage.isDirty(words, 1))
        assert.strictEqual(MiniPage.statusAt(words, 1), statusFor[base])
        assert.strictEqual(MiniPage.countAt(words, 1), countFor({ ...fact, base }))
        assert.strictEqual(MiniPage.flagsAt(words, 1) & ~Flag[known], Flag.touched | Leaf.expires)
        assert.strictEqual((words[1] as number) & 0xffffff, 7 | kind << 16, "kind and length stay")
        settled++
      }
    }
    assert.strictEqual(settled, 6)
  })
})

describe("a mini-page", () => {
  it("has its prefix and all keys, whatever the prefix's length", () => {
    for (let prefixBytes = 0; prefixBytes <= 21; prefixBytes++) {
      for (let seed = 1; seed <= 20; seed++) {
        const words = anyMini(random(seed * 100 + prefixBytes), prefixBytes)
        assert.strictEqual(checkMini(words, 0, words.length)._tag, "Sound", `${prefixBytes} bytes`)
        const prefix = new KeyScratch()
        prefix.load(new Uint8Array(200).fill(0xee))
        assert.strictEqual(MiniPage.loadPrefix(words, 0, prefix), prefixBytes)
        if (prefixBytes > 0) {
          assert.strictEqual(Buffer.from(prefix.toBytes()).toString(), prefixOf(prefixBytes))
        }
        const keys = rowsOf(words, 0).map((row) => Buffer.from(row.split(",")[0] ?? "", "hex").toString())
        assert.deepStrictEqual(keys, keys.toSorted(), "keys ascend")
        assert.isTrue(keys.every((key) => key.startsWith(prefixOf(prefixBytes))), "MiniPage I2")
        assert.strictEqual(new Set(keys).size, keys.length, "MiniPage I1")
      }
    }
  })

  it("keeps word 0 as it was, which is the ring's", () => {
    const words = new Int32Array(64).fill(0x1234_5678)
    MiniPage.begin(words, 0, { size: 64, pageId: 1, treeId: 1 }, new KeyScratch(), 0)
    assert.strictEqual(words[0], 0x1234_5678)
    assert.strictEqual(Page.count(words, 0), 0)
  })

  it("gives another what is wanted, and room for more beside it", () => {
    let moved = 0
    for (let seed = 1; seed <= 600; seed++) {
      const chance = random(seed)
      const source = anyMini(chance, chance.int(10))
      const wanted = chance.pick(wishes)
      const more = chance.pick([0, 3, 7, 40])
      const rows = rowsOf(source, 0).filter((row) => isWanted(row, wanted))
      const prefix = new KeyScratch()
      const prefixBytes = MiniPage.loadPrefix(source, 0, prefix)
      const size = MiniPage.frameWords(prefixBytes) + MiniPage.wantedWords(source, 0, wanted)
        + (more === 0 ? 0 : more + Page.slotWords) + chance.pick([0, 0, 5, 100])
      const words = new Int32Array(size)
      MiniPage.begin(words, 0, { size, pageId: 9, treeId: 3 }, prefix, prefixBytes)
      MiniPage.fill(words, 0, source, 0, wanted, more)
      assert.deepStrictEqual(rowsOf(words, 0), rows, `seed ${seed}: ${wanted}`)
      assert.strictEqual(checkMini(words, 0, size)._tag, "Sound", `seed ${seed}`)
      assert.strictEqual(Page.pageLsn(words, 0), Page.pageLsn(source, 0))
      if (more > 0) {
        assert.isAbove(Page.capacity(words, 0), Page.count(words, 0), `seed ${seed}: a slot for one more`)
        assert.isAtLeast(Leaf.gap(words, 0), more, `seed ${seed}`)
      }
      moved += rows.length
    }
    assert.isAbove(moved, 1000)
  })

  it("foretells the words of what is wanted: exactly those of its records and their slots", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const words = anyMini(random(seed), seed % 9)
      const rows = rowsOf(words, 0)
      for (const wanted of wishes) {
        const expected = rows.reduce((sum, row, index) => {
          const record = Leaf.recordAt(words, 0, index)
          const length = Leaf.recordWords(words, record, Page.slotBytes(words, 0, index))
          return isWanted(row, wanted) ? sum + length + Page.slotWords : sum
        }, 0)
        assert.strictEqual(MiniPage.wantedWords(words, 0, wanted), expected, `seed ${seed}: ${wanted}`)
      }
    }
  })

  it("loses its marks of use at once, and nothing else", () => {
    let marks = 0
    for (let seed = 1; seed <= 200; seed++) {
      const words = anyMini(random(seed), seed % 9)
      const rows = rowsOf(words, 0)
      marks += rows.filter((row) => row.includes("touched")).length
      MiniPage.untouch(words, 0, Flag.touched)
      const left = rows.map((row) => row.replace("touched", "false"))
      assert.deepStrictEqual(rowsOf(words, 0), left)
      assert.strictEqual(MiniPage.wantedWords(words, 0, "touched"), 0)
      MiniPage.untouch(words, 0, MiniPage.used)
      assert.deepStrictEqual(rowsOf(words, 0), left.map((row) => row.replace("again", "false")))
      assert.strictEqual(MiniPage.wantedWords(words, 0, "used"), 0)
    }
    assert.isAbove(marks, 500)
  })

  it("knows what was used twice, also after the first mark was taken off", () => {
    const words = miniOf(random(1), 9, { words: 128, text: "pre", records: 5 })
    MiniPage.untouch(words, 0, MiniPage.used)
    const marks = (): number => MiniPage.flagsAt(words, Leaf.recordAt(words, 0, 0)) & MiniPage.used
    const use = () => MiniPage.touch(words, Leaf.recordAt(words, 0, 0))
    use()
    assert.strictEqual(marks(), Flag.touched)
    assert.strictEqual(MiniPage.usedAt(words, Leaf.recordAt(words, 0, 0)), MiniPage.used)
    use()
    assert.strictEqual(marks(), MiniPage.used)
    MiniPage.untouch(words, 0, Flag.touched)
    assert.strictEqual(marks(), Flag.again)
    use()
    assert.strictEqual(marks(), MiniPage.used)
  })

  it("has an image of what is dirty: nothing clean, no mark of use, not a word too many", () => {
    let [none, images] = [0, 0]
    for (let seed = 1; seed <= 400; seed++) {
      const chance = random(seed)
      const words = anyMini(chance, chance.int(10))
      // The ring's word, and what runs of inserts leave in a header, are not on disk.
      words[0] = 0x0102_0304
      Page.noteRun(words, 0, 3, 2)
      const before = words.slice()
      const rows = rowsOf(words, 0).filter((row) => isWanted(row, "dirty"))
      const image = MiniPage.imageOf(words, 0)
      assert.deepStrictEqual(words, before, "the mini-page stays as it is")
      if (image === undefined) {
        assert.isEmpty(rows, `seed ${seed}`)
        none++
        continue
      }
      images++
      assert.strictEqual(image.length, MiniPage.imageWords(words, 0) * 4)
      const own = new Int32Array(image.buffer)
      assert.deepStrictEqual(
        rowsOf(own, 0),
        rows.map((row) => row.replace("touched", "false").replace("again", "false"))
      )
      assert.strictEqual(checkMini(own, 0, own.length)._tag, "Sound", `seed ${seed}`)
      assert.deepStrictEqual([own[0], own[10]], [0, 0])
      assert.strictEqual(Leaf.gap(own, 0), 0, "not a word too many")
      assert.deepStrictEqual([Page.pageId(own, 0), Page.treeId(own, 0)], [9, 3])
    }
    assert.isAbove(none, 10)
    assert.isAbove(images, 100)
  })
})

describe("writing to a mini-page", () => {
  for (const pageBytes of [1024, 4096]) {
    for (const prefixBytes of [0, 1, 2, 3, 4, 5, 6, 7, 11]) {
      it(`agrees with a model, pages of ${pageBytes} bytes, a prefix of ${prefixBytes}`, () => {
        const seen = { classes: new Set<number>(), missing: 0, noSpace: 0, kept: 0, copies: 0, left: 0 }
        for (let seed = 1; seed <= 6; seed++) {
          const chance = random(seed * 1000 + prefixBytes)
          const bench = new MiniBench(chance, { pageBytes, prefixBytes, name: `seed ${seed}` })
          for (let step = 0; step < 400; step++) bench.step()
          for (const sizeClass of bench.seen.classes) seen.classes.add(sizeClass)
          seen.missing += bench.seen.missing
          seen.noSpace += bench.seen.noSpace
          seen.kept += bench.seen.kept
          seen.copies += bench.seen.copies
          seen.left += bench.seen.left
        }
        const classes = new MiniBench(random(1), { pageBytes, prefixBytes, name: "" }).classes
        assert.deepStrictEqual(
          [...seen.classes].sort((a, b) => a - b),
          [...classes],
          "grows through all classes"
        )
        assert.isAbove(seen.missing, 0, "none was ever full")
        assert.isAbove(seen.noSpace, 0, "there was always room")
        assert.isAbove(seen.kept, 0, "no older version was handed over")
        assert.isAbove(seen.copies, 0, "nothing was remembered")
        assert.isAbove(seen.left, 0, "nothing clean was left behind")
      })
    }
  }
})

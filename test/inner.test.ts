import { assert, describe, it } from "@effect/vitest"
import * as Inner from "../src/tree/page/Inner.ts"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import * as Page from "../src/tree/page/Page.ts"
import { check } from "../src/tree/page/PageCheck.ts"
import { random } from "./support/random.ts"
import { keys } from "./support/treeModel.ts"
import { bytes, text } from "./support/world.ts"

const size = 256

const scratch = (key: string): KeyScratch => {
  const own = new KeyScratch()
  own.load(bytes(key))
  return own
}

const inner = (id: number): Int32Array => {
  const words = new Int32Array(size)
  Page.begin(words, 0, { size, level: 1, pageId: id, treeId: 1 })
  return words
}

const separators = (words: Int32Array): Array<string> => {
  const key = new KeyScratch()
  return Array.from({ length: Page.count(words, 0) }, (_, index) => {
    Inner.separator(words, 0, index, key)
    return text(key.toBytes())
  })
}

const children = (words: Int32Array): Array<number> =>
  Array.from({ length: Page.count(words, 0) + 1 }, (_, index) => Inner.child(words, 0, index))

describe("inner", () => {
  it("routes keys as a sorted list of separators does, through inserts, removals, splits and merges", () => {
    let splits = 0
    let merges = 0
    for (let seed = 1; seed <= 200; seed++) {
      const chance = random(seed)
      const key = keys(chance, chance.pick([60, 216]))
      const entries = new Inner.Entries()
      let words = inner(1000)
      Inner.setOnlyChild(words, 0, 1)
      let model: Array<string> = []
      let ids = [1]
      for (let step = 2; step < 200; step++) {
        const name = key()
        const index = model.filter((separator) => separator < name).length
        if (name === "" || model[index] === name) continue
        if (chance.bool(0.3) && model.length > 0) {
          const gone = chance.int(model.length)
          Inner.remove(words, 0, gone)
          model.splice(gone, 1)
          ids.splice(gone + 1, 1)
        } else if (Inner.insert(words, 0, index, scratch(name), step)) {
          model.splice(index, 0, name)
          ids.splice(index + 1, 0, step)
        } else {
          model.splice(index, 0, name)
          ids.splice(index + 1, 0, step)
          const source = words.slice()
          entries.ofInsert(source, 0, index, scratch(name), step)
          assert.strictEqual(entries.count, model.length)
          Page.clear(words, 0)
          if (entries.words(0, entries.count) <= size) {
            entries.fill(words, 0, 0, entries.count)
          } else {
            const middle = entries.middle(size)
            const right = inner(1001)
            const up = new KeyScratch()
            entries.load(middle, up)
            entries.fill(words, 0, 0, middle)
            entries.fill(right, 0, middle + 1, entries.count)
            assert.strictEqual(text(up.toBytes()), model[middle], `seed ${seed}`)
            assert.deepStrictEqual(separators(words), model.slice(0, middle), `seed ${seed}`)
            assert.deepStrictEqual(children(words), ids.slice(0, middle + 1), `seed ${seed}`)
            assert.deepStrictEqual(separators(right), model.slice(middle + 1), `seed ${seed}`)
            assert.deepStrictEqual(children(right), ids.slice(middle + 1), `seed ${seed}`)
            assert.deepStrictEqual(check(right, 0, size), { _tag: "Sound" }, `seed ${seed}`)
            splits++
            entries.ofMerge(words.slice(), 0, up, right, 0)
            if (entries.words(0, entries.count) <= size) assert.fail("it was split for want of room")
            // Both shrink until they fit one page again.
            while (entries.words(0, entries.count) > size) {
              const side = chance.bool(0.5) ? words : right
              if (Page.count(side, 0) === 0) continue
              Inner.remove(side, 0, Page.count(side, 0) - 1)
              entries.ofMerge(words.slice(), 0, up, right, 0)
            }
            model = [...separators(words), text(up.toBytes()), ...separators(right)]
            ids = [...children(words), ...children(right)]
            words = inner(1000)
            entries.fill(words, 0, 0, entries.count)
            merges++
          }
        }
        assert.deepStrictEqual(check(words, 0, size), { _tag: "Sound" }, `seed ${seed}, step ${step}`)
        assert.deepStrictEqual(separators(words), model, `seed ${seed}, step ${step}`)
        assert.deepStrictEqual(children(words), ids, `seed ${seed}, step ${step}`)
        for (
          const probe of ["", key(), key(), chance.pick([...model, "a"]), `${chance.pick([...model, ""])}\0`]
        ) {
          const expected = model.filter((separator) => separator <= probe).length
          assert.strictEqual(Inner.find(words, 0, scratch(probe)), expected, `seed ${seed}, step ${step}`)
        }
      }
    }
    assert.isAbove(splits, 100)
    assert.isAbove(merges, 100)
  })

  it("keeps heads apart below a long common prefix", () => {
    const words = inner(9)
    const entries = new Inner.Entries()
    Inner.setOnlyChild(words, 0, 1)
    const prefix = "http://example.org/"
    for (let index = 0; index < 8; index++) {
      const source = words.slice()
      Page.clear(words, 0)
      const key = scratch(`${prefix}${String.fromCharCode(97 + index)}`)
      entries.ofInsert(source, 0, index, key, index + 2).fill(words, 0, 0, index + 1)
    }
    assert.strictEqual(Page.prefixBytes(words, 0), prefix.length)
    assert.strictEqual(new Set(words.subarray(Page.headerWords, Page.headerWords + 8)).size, 8)
    for (
      const [probe, child] of [
        ["", 0],
        ["http", 0],
        ["http://example.com/", 0],
        ["http://example.org/", 0],
        ["http://example.org/c", 3],
        ["http://example.org/cc", 3],
        ["http://example.orh", 8],
        ["https", 8]
      ] as const
    ) {
      assert.strictEqual(Inner.find(words, 0, scratch(probe)), child, probe)
    }
    // What does not begin with the prefix has to wait for the page to be filled anew.
    assert.isFalse(Inner.insert(words, 0, 8, scratch("z"), 10))
    assert.isTrue(Inner.insert(words, 0, 8, scratch(`${prefix}z`), 10))
  })

  it("compares a short key with a prefix that goes on with zeros", () => {
    const words = inner(9)
    const entries = new Inner.Entries()
    Inner.setOnlyChild(words, 0, 1)
    const prefix = `ab${"\0".repeat(14)}mmmm`
    for (let index = 0; index < 3; index++) {
      const source = words.slice()
      Page.clear(words, 0)
      entries.ofInsert(source, 0, index, scratch(prefix + "\0".repeat(index + 1)), index + 2).fill(
        words,
        0,
        0,
        index + 1
      )
    }
    assert.isAtLeast(Page.prefixBytes(words, 0), prefix.length)
    const key = new KeyScratch()
    for (let length = 0; length <= prefix.length; length++) {
      // What an earlier key left in the scratch must not be read.
      key.load(bytes(`ab${"z".repeat(60)}`))
      key.load(bytes(prefix.slice(0, length)))
      assert.strictEqual(Inner.find(words, 0, key), 0, `${length} bytes`)
    }
    key.load(bytes(`${prefix}\0\0`))
    assert.strictEqual(Inner.find(words, 0, key), 2)
  })
})

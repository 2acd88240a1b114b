/**
 * Keys and values of a range that are handed out stay as they are, whatever is read after them.
 */
import { assert, describe, it } from "@effect/vitest"
import { KeyScratch } from "../src/tree/page/KeyScratch.ts"
import { Kind } from "../src/tree/page/Leaf.ts"
import { RowBatch } from "../src/tree/read/RowBatch.ts"
import { random } from "./support/random.ts"

const wordsOf = (bytes: Uint8Array): Int32Array => {
  const words = new Int32Array((bytes.length + 3 >>> 2) + 3)
  new Uint8Array(words.buffer).set(bytes, 8)
  return words
}

/** Lengths on both sides of what shares memory, of what a loop copies, and of nothing. */
const lengths = [0, 1, 4, 13, 100, 127, 128, 129, 1_000, 1_024, 1_025, 5_000, 9_000]

describe("a batch of rows", () => {
  it("hands out what nothing overwrites, over many batches that take turns", () => {
    const chance = random(1)
    const batches = [new RowBatch(), new RowBatch(), new RowBatch()]
    const kept: Array<readonly [Uint8Array, Uint8Array]> = []
    const scratch = new KeyScratch()
    const memories = new Set<ArrayBufferLike>()
    let small = 0
    for (let pull = 0; pull < 300; pull++) {
      const batch = chance.pick(batches)
      batch.renew(-Infinity)
      const given: Array<{ readonly key: Uint8Array; readonly value: Uint8Array; readonly rows: boolean }> =
        []
      for (let count = chance.int(150); count > 0; count--) {
        const key = chance.bytes(chance.int(40))
        const value = chance.bytes(chance.pick(lengths))
        const rows = chance.bool(0.9)
        scratch.load(key)
        batch.add(scratch, Kind.Value, count, Infinity)
        if (rows) batch.addValue(wordsOf(value), 2, value.length)
        given.push({ key, value, rows })
      }
      // What nobody was given is packed over.
      if (chance.bool(0.2)) continue
      batch.settle()
      assert.strictEqual(batch.count, given.length)
      for (const [index, { key, rows, value }] of given.entries()) {
        const out = batch.value(index)
        kept.push([batch.key(index), key])
        kept.push([out, rows ? value : new Uint8Array(0)])
        if (out.length > 1_024) continue
        memories.add(out.buffer)
        small += out.length + key.length
      }
    }
    for (const [found, given] of kept) assert.deepStrictEqual(found, given)
    assert.isAbove(kept.length, 20_000)
    // Slabs are full when the next one is begun, but for less than the longest value.
    assert.isBelow(memories.size, small / 7_000)
  })

  it("tells where a value lives that is in the log", () => {
    const batch = new RowBatch()
    const scratch = new KeyScratch()
    scratch.load(new Uint8Array([1]))
    batch.renew(-Infinity)
    batch.add(scratch, Kind.Reference, 1, Infinity)
    batch.addValue(Int32Array.of(4096, 0, 70_000, 7), 0, 16)
    batch.add(scratch, Kind.Reference, 1, Infinity)
    batch.add(scratch, Kind.Value, 1, Infinity)
    batch.addValue(Int32Array.of(1), 0, 4)
    batch.settle()
    assert.deepStrictEqual(batch.reference(0), { lsn: 4096, bytes: 70_000, checksum: 7 })
    assert.deepStrictEqual([batch.reference(1), batch.reference(2)], [undefined, undefined])
  })
})

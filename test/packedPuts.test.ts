/**
 * Puts that are packed by whoever loads: byte by byte what the record's own writer makes of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { PackedPuts } from "../src/log/PackedPuts.ts"
import { RecordType } from "../src/log/Record.ts"
import { makeRecordBuffer, RecordWriter } from "../src/log/RecordWriter.ts"
import { random } from "./support/random.ts"

const limits = { inlineValueBytes: 300, inlinePairBytes: 320 }
const keyBytes = 100

const writer = (): RecordWriter =>
  new RecordWriter({ buffer: makeRecordBuffer(64), headroomBytes: 8, ...limits })

describe("packed puts", () => {
  it("are what a record's writer makes of them", () => {
    let [large, grown] = [0, 0]
    for (let seed = 1; seed <= 200; seed++) {
      const chance = random(seed)
      const packed = new PackedPuts({ bytes: 256, keyBytes, ...limits })
      // Pooled buffers come back dirty.
      packed.bytes.fill(0xff)
      for (let round = 0; round < 3; round++) {
        packed.clear()
        const entries = Array.from({ length: chance.int(20) }, () => ({
          key: chance.bytes(chance.int(keyBytes + 1)),
          value: chance.bytes(chance.pick([0, 1, 7, 8, 15, 16, 17, 100, 299, 300, 301, 5_000]))
        }))
        const keyspace = 1 + chance.int(3)
        const [plain, quick] = [writer(), writer()]
        for (const each of [plain, quick]) each.begin(RecordType.transaction, seed)
        for (const { key, value } of entries) {
          plain.put(keyspace, key, value)
          if (plain.valueChecksum !== 0) large++
          const { keyAt } = packed
          packed.bytes.set(key, keyAt)
          packed.add(key.length, value)
        }
        quick.packed(keyspace, packed)
        assert.strictEqual(plain.finish(), quick.finish(), `seed ${seed}`)
        assert.deepStrictEqual(
          Buffer.from(quick.bytes.subarray(8, quick.length)),
          Buffer.from(plain.bytes.subarray(8, plain.length)),
          `seed ${seed}`
        )
        assert.deepStrictEqual(
          [...packed].map(({ key, value }) => [Buffer.from(key), Buffer.from(value)]),
          entries.map(({ key, value }) => [Buffer.from(key), Buffer.from(value)])
        )
        assert.strictEqual(packed.count, entries.length)
        const payload = entries.reduce((sum, { key, value }) => sum + key.length + value.length, 0)
        assert.strictEqual(packed.payloadBytes, payload)
      }
      if (packed.bytes.length > 256) grown++
    }
    assert.isAbove(large, 500)
    assert.isAbove(grown, 100)
  })
})

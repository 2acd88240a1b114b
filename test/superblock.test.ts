import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_BYTES,
  superblockOffset
} from "../src/log/Superblock.ts"
import type { DecodedSuperblock, Superblock } from "../src/log/Superblock.ts"
import { choiceFacts, choiceTable, chooseSuperblock, meetsChoice } from "../src/log/SuperblockChoice.ts"
import type { ChoiceFacts } from "../src/log/SuperblockChoice.ts"
import { life, otherStore, storeId } from "./support/log.ts"
import { random } from "./support/random.ts"

const make = (fields: Partial<Superblock> = {}): Superblock => ({
  slot: 0,
  storeId,
  version: 5,
  otherVersion: 4,
  createdMillis: 1_700_000_000_000.25,
  pageBytes: 16384,
  cut: { lsn: 2 ** 40 + 64, sequence: 77, previousChecksum: 0xffff_fffe, incarnation: life(3) },
  durableLsn: 2 ** 40 + 128,
  begin: { lsn: 4096, sequence: 3 },
  map: { slot: 9, checksum: 0xdead_beef, level: 2 },
  catalog: { slot: 10, checksum: 1, bytes: 333 },
  slots: 4_000_000_000,
  pageIds: 12,
  nextTree: 13,
  nextKeyspace: 14,
  ...fields
})

const encode = (fields: Superblock): Buffer => {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES, 0xff)
  encodeSuperblock(fields, bytes)
  return bytes
}

/** Makes bytes pass the checksum again, as a hostile hand would. */
const resealed = (bytes: Buffer): Buffer => {
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return bytes
}

describe("a superblock", () => {
  it("comes back as it was written", () => {
    const fields = make()
    assert.deepStrictEqual(decodeSuperblock(encode(fields), 0), { _tag: "Valid", superblock: fields })
    const other = make({
      slot: 1,
      version: 1,
      otherVersion: 0,
      cut: { ...fields.cut, lsn: 4096 },
      durableLsn: 4096
    })
    assert.deepStrictEqual(decodeSuperblock(encode(other), 1), { _tag: "Valid", superblock: other })
    assert.deepStrictEqual([superblockOffset(0), superblockOffset(1)], [0, 4096])
  })

  it("shows every flipped bit, every cut, and being in the other slot", () => {
    const bytes = encode(make())
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ 1 << (bit & 7)
      assert.strictEqual(decodeSuperblock(bytes, 0)._tag, "Invalid", `bit ${bit}`)
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ 1 << (bit & 7)
    }
    for (let length = 0; length < SUPERBLOCK_BYTES; length += 7) {
      assert.strictEqual(decodeSuperblock(bytes.subarray(0, length), 0)._tag, "Invalid")
    }
    assert.strictEqual(decodeSuperblock(bytes, 1)._tag, "Invalid")
    assert.strictEqual(decodeSuperblock(Buffer.alloc(SUPERBLOCK_BYTES), 0)._tag, "Empty")
  })

  it("never throws on hostile fields, and never takes ones that contradict each other", () => {
    const chance = random(11)
    const words = [0, 1, 7, 0x7fff_ffff, 0xffff_ffff]
    for (let round = 0; round < 3000; round++) {
      const bytes = encode(make())
      bytes.writeUInt32LE(chance.pick(words), 8 + 4 * chance.int(40))
      const decoded = decodeSuperblock(resealed(bytes), 0)
      if (decoded._tag !== "Valid") continue
      const { begin, cut, durableLsn, otherVersion, version } = decoded.superblock
      assert.isTrue(begin.lsn <= cut.lsn && cut.lsn <= durableLsn && otherVersion < version, `round ${round}`)
    }
    for (const padding of [60, 63, 92, 95, 160, 4095]) {
      const bytes = encode(make())
      bytes[padding] = 1
      assert.strictEqual(decodeSuperblock(resealed(bytes), 0)._tag, "Invalid", `byte ${padding}`)
    }
    const newer = encode(make())
    newer.writeUInt32LE(2, 8)
    assert.deepStrictEqual(decodeSuperblock(resealed(newer), 0), { _tag: "TooNew", format: 2 })
    assert.throws(() => encode(make({ durableLsn: 64 })), /Superblock I2/)
    assert.throws(() => encode(make({ version: 4 })), /Superblock I2/)
  })
})

describe("the choice between two slots", () => {
  it("has exactly one row for every combination of facts", () => {
    let combinations = 0
    const seen = new Set<number>()
    for (const a of choiceFacts.a) {
      for (const b of choiceFacts.b) {
        for (const order of choiceFacts.order) {
          for (const store of choiceFacts.store) {
            for (const partner of choiceFacts.partner) {
              const facts: ChoiceFacts = { a, b, order, store, partner }
              const rows = choiceTable.filter((row) => meetsChoice(row, facts))
              assert.strictEqual(rows.length, 1, JSON.stringify(facts))
              seen.add(choiceTable.indexOf(rows[0] as (typeof choiceTable)[number]))
              combinations++
            }
          }
        }
      }
    }
    assert.strictEqual(combinations, 4 * 4 * 3 * 2 * 2)
    assert.strictEqual(seen.size, choiceTable.length, "no row is dead")
  })

  it("answers what the bytes say, in either order of the slots", () => {
    const valid = (fields: Partial<Superblock>) => (slot: 0 | 1): DecodedSuperblock =>
      decodeSuperblock(encode(make({ ...fields, slot })), slot)
    const empty = (slot: 0 | 1): DecodedSuperblock => decodeSuperblock(Buffer.alloc(SUPERBLOCK_BYTES), slot)
    const broken = (slot: 0 | 1): DecodedSuperblock =>
      decodeSuperblock(Buffer.alloc(SUPERBLOCK_BYTES, 1), slot)
    const tooNew = (slot: 0 | 1): DecodedSuperblock => {
      const bytes = encode(make({ slot }))
      bytes.writeUInt32LE(3, 8)
      return decodeSuperblock(resealed(bytes), slot)
    }
    const v4 = valid({ version: 4, otherVersion: 3 })
    const v5 = valid({ version: 5, otherVersion: 4 })
    const first = valid({ version: 1, otherVersion: 0 })
    const rows = [
      [v5, v4, { _tag: "Chosen", version: 5, older: 4, damage: undefined }],
      [v5, valid({ version: 2, otherVersion: 1 }), {
        _tag: "Chosen",
        version: 5,
        older: 0,
        damage: "superblock is stale"
      }],
      [v5, broken, { _tag: "Chosen", version: 5, older: 0, damage: "superblock magic" }],
      [v4, broken, { _tag: "Chosen", version: 4, older: 0, damage: "superblock magic" }],
      [first, empty, { _tag: "Chosen", version: 1, older: 0, damage: undefined }],
      [v5, empty, { _tag: "Chosen", version: 5, older: 0, damage: "superblock is empty" }],
      [v5, v5, { _tag: "Mixed" }],
      [v5, valid({ version: 4, otherVersion: 3, storeId: otherStore }), { _tag: "Mixed" }],
      [v5, tooNew, { _tag: "TooNew" }],
      [broken, tooNew, { _tag: "TooNew" }],
      [empty, empty, { _tag: "Unreadable" }],
      [empty, broken, { _tag: "Unreadable" }],
      [broken, broken, { _tag: "Unreadable" }]
    ] as const
    for (const [i, [left, right, expected]] of rows.entries()) {
      for (const choice of [chooseSuperblock(left(0), right(1)), chooseSuperblock(right(0), left(1))]) {
        const answer = choice._tag === "Chosen"
          ? {
            _tag: choice._tag,
            version: choice.superblock.version,
            older: choice.older?.version ?? 0,
            damage: choice.damage
          }
          : { _tag: choice._tag }
        assert.deepStrictEqual(answer, expected, `row ${i}`)
      }
    }
  })
})

import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { decodeGroup, GroupKind } from "../src/log/Group.ts"
import { decodeSegment, encodeSegment, parseSegmentName, segmentName } from "../src/log/Segment.ts"
import type { Segment } from "../src/log/Segment.ts"
import type { SealedGroup, Tail } from "../src/log/Tail.ts"
import {
  appendPut,
  appendTransaction,
  bytesOf,
  life,
  makeTail,
  otherStore,
  randomTransaction,
  storeId
} from "./support/log.ts"
import { LogImage } from "./support/logImage.ts"
import { random } from "./support/random.ts"

const drain = (tail: Tail): ReadonlyArray<SealedGroup> => {
  const groups: Array<SealedGroup> = []
  for (let group = tail.shift(); group !== undefined; group = tail.shift()) groups.push(group)
  return groups
}

const isOne = (group: SealedGroup): boolean => decodeGroup(group.bytes, group.lsn, storeId)._tag === "Valid"

/** Bytes on disk of a group with one put: 64 of group, 24 of record, 16 of write, 8 of key, and the value. */
const around = 64 + 24 + 16 + 8

describe("a group", () => {
  it("shows every flipped bit and every cut", () => {
    const tail = makeTail()
    appendTransaction(tail, randomTransaction(random(5), 100))
    appendPut(tail, 13)
    tail.mark()
    for (const group of drain(tail)) {
      assert.isTrue(isOne(group))
      for (let bit = 0; bit < group.bytes.length * 8; bit++) {
        const bytes = Buffer.from(group.bytes)
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ 1 << (bit & 7)
        assert.strictEqual(decodeGroup(bytes, group.lsn, storeId)._tag, "Invalid", `bit ${bit}`)
      }
      for (let length = 0; length < group.bytes.length; length++) {
        assert.strictEqual(decodeGroup(group.bytes.subarray(0, length), group.lsn, storeId)._tag, "Invalid")
      }
    }
  })

  it("whose checksum is right still has to say what a group can say", () => {
    const tail = makeTail()
    appendPut(tail, 10)
    tail.mark()
    const [, data, mark] = drain(tail)
    const accepts = (group: SealedGroup | undefined, change: (bytes: Buffer) => unknown): boolean => {
      assert.isDefined(group)
      if (group === undefined) return false
      const bytes = Buffer.from(group.bytes)
      change(bytes)
      bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
      return decodeGroup(bytes, group.lsn, storeId)._tag === "Valid"
    }
    for (const group of [data, mark]) {
      assert.isTrue(accepts(group, () => undefined))
      assert.isFalse(accepts(group, (bytes) => bytes.writeUInt16LE(2, 12)), "format")
      assert.isFalse(accepts(group, (bytes) => bytes.writeUInt16LE(0, 12)), "format")
      assert.isFalse(accepts(group, (bytes) => bytes.writeUInt8(0, 14)), "kind")
      assert.isFalse(accepts(group, (bytes) => bytes.writeUInt8(5, 14)), "kind")
      assert.isFalse(accepts(group, (bytes) => bytes.writeUInt8(1, 15)), "zero")
      assert.isFalse(accepts(group, (bytes) => bytes.writeUInt32LE((group?.lsn ?? 0) + 8, 24)), "durable LSN")
      assert.isTrue(accepts(group, (bytes) => bytes.writeUInt32LE(group?.lsn ?? 0, 24)), "durable LSN")
      assert.isFalse(accepts(group, (bytes) => bytes.fill(0, 48, 56)), "incarnation")
    }
    assert.isFalse(accepts(data, (bytes) => bytes.writeUInt8(GroupKind.mark, 14)), "records in a mark")
    assert.isFalse(accepts(mark, (bytes) => bytes.writeUInt8(GroupKind.data, 14)), "data without records")
    assert.isFalse(accepts(data, (bytes) => bytes.writeUInt32LE(0, 60)), "no records")
    assert.isFalse(accepts(mark, (bytes) => bytes.writeUInt32LE(1, 60)), "records without bytes")
    assert.isFalse(accepts(data, (bytes) => bytes.writeUInt32LE(0xffff, 60)), "more records than fit")
  })

  it("is valid at its own LSN and in its own store only", () => {
    const tail = makeTail()
    appendPut(tail, 10)
    const group = tail.seal()
    assert.isDefined(group)
    if (group === undefined) return
    assert.strictEqual(decodeGroup(group.bytes, group.lsn, storeId)._tag, "Valid")
    assert.strictEqual(decodeGroup(group.bytes, group.lsn + 8, storeId)._tag, "Invalid")
    assert.strictEqual(decodeGroup(group.bytes, group.lsn, otherStore)._tag, "Invalid")
    assert.strictEqual(decodeGroup(Buffer.alloc(64), 0, new Uint8Array(16))._tag, "Invalid")
  })
})

describe("a tail", () => {
  it("begins with an open group, and has nothing to seal before the first record", () => {
    const tail = makeTail()
    assert.isUndefined(tail.seal())
    const groups = drain(tail)
    assert.deepStrictEqual(groups.map((group) => [group.kind, group.lsn, group.end]), [[
      GroupKind.open,
      64,
      128
    ]])
    assert.strictEqual(tail.end, 128)
    assert.strictEqual(tail.openBytes, 0)
    assert.strictEqual(appendPut(tail, 0), 128 + 64)
    assert.strictEqual(tail.end, 128 + around)
  })

  it("fills a segment to the last byte, and not one byte further", () => {
    // Segment: 4096 bytes, of which the open group and the seal take 64 each.
    for (const [spare, sequence] of [[0, 1], [8, 1], [-8, 2]] as const) {
      const tail = makeTail()
      appendPut(tail, 4096 - 128 - around - spare)
      tail.mark()
      const groups = drain(tail)
      const data = groups.find((group) => group.kind === GroupKind.data)
      assert.strictEqual(data?.segment.sequence, sequence, `spare ${spare}`)
      for (const group of groups) {
        assert.isAtMost(group.end, group.segment.base + group.segment.capacity)
        if (group.kind !== GroupKind.seal) {
          assert.isAtMost(group.end + 64, group.segment.base + group.segment.capacity)
        }
      }
    }
  })

  it("gives a group larger than a segment one of its own size, then goes back to the usual", () => {
    const tail = makeTail()
    appendPut(tail, 10)
    const large = appendPut(tail, 20_000)
    const small = appendPut(tail, 10)
    tail.seal()
    const groups = drain(tail)
    const shape = groups.map((group) => [group.kind, group.segment.sequence, group.records])
    const { data, open, seal } = GroupKind
    assert.deepStrictEqual(shape, [[open, 1, 0], [data, 1, 1], [seal, 1, 0], [data, 2, 1], [seal, 2, 0], [
      data,
      3,
      1
    ]])
    assert.strictEqual(groups[3]?.segment.capacity, 20_000 + around + 64)
    assert.strictEqual(groups[5]?.segment.capacity, 4096)
    assert.strictEqual(large, (groups[3]?.lsn ?? 0) + 64)
    assert.strictEqual(small, (groups[5]?.lsn ?? 0) + 64)
  })

  it("keeps the chain, the addresses and the segments without a gap, whatever is appended", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const chance = random(seed)
      const tail = makeTail({ segmentBytes: 512 + 8 * chance.int(1000) })
      const lsns: Array<number> = []
      for (let i = 0; i < 60; i++) {
        const action = chance.int(10)
        if (action === 0) tail.mark()
        else if (action === 1) tail.seal()
        else if (action === 2) tail.cut()
        else if (action === 3) {
          tail.begin(1).put(1, chance.bytes(4), chance.bytes(200))
          tail.cancel()
        } else lsns.push(appendTransaction(tail, randomTransaction(chance, 9000)))
      }
      const cut = tail.cut()
      const groups = drain(tail)
      let at = 64
      let segment: Segment | undefined = undefined
      for (const group of groups) {
        assert.strictEqual(group.lsn, at, `seed ${seed}`)
        if (segment !== group.segment) {
          assert.strictEqual(group.segment.base, at, `seed ${seed}`)
          assert.strictEqual(group.segment.sequence, (segment?.sequence ?? 0) + 1)
        }
        segment = group.kind === GroupKind.seal ? undefined : group.segment
        if (group.kind === GroupKind.seal) segment = { ...group.segment }
        at = group.end
      }
      assert.strictEqual(cut.lsn, at)
      assert.deepStrictEqual([...lsns].sort((a, b) => a - b), lsns, `seed ${seed}`)
      const { groups: scanned, verdict } = new LogImage().write(replay(groups)).scan()
      assert.strictEqual(verdict._tag, "TornTail", `seed ${seed}: ${JSON.stringify(verdict)}`)
      assert.deepStrictEqual(
        scanned.map((group) => group.bytes),
        groups.map((group) => Buffer.from(group.bytes))
      )
      assert.deepStrictEqual(verdict._tag === "TornTail" ? verdict.at : undefined, cut, `seed ${seed}`)
    }
  })

  it("reads what is in memory by address, and releases what is durable", () => {
    const tail = makeTail({ segmentBytes: 1 << 20 })
    const chance = random(3)
    const stored: Array<{ readonly lsn: number; readonly value: Uint8Array }> = []
    const ends: Array<number> = []
    for (let i = 0; i < 12; i++) {
      const value = chance.bytes(chance.int(3000))
      const offset = tail.begin(1).put(1, bytesOf(`k${i}`), value)
      stored.push({ lsn: tail.append() + offset, value })
      if (i % 3 === 2) ends.push(tail.seal()?.end ?? 0)
    }
    const inMemory = (): ReadonlyArray<boolean> =>
      stored.map(({ lsn, value }) => {
        const bytes = tail.read(lsn, value.length)
        if (bytes !== undefined) assert.deepStrictEqual(bytes, Buffer.from(value))
        return bytes !== undefined
      })
    assert.isTrue(inMemory().every((found) => found))
    assert.isUndefined(tail.read(tail.end, 8))
    appendPut(tail, 8)
    assert.isUndefined(tail.read(tail.groupLsn, 8), "the header of the open group is not written yet")
    assert.isUndefined(tail.read(tail.end - 8, 16))
    assert.throws(() => tail.release(ends[0] ?? 0), /Tail I4/)
    assert.throws(() => tail.durable(tail.end + 8), /Tail I3/)
    tail.durable(ends[1] ?? 0)
    tail.release(ends[1] ?? 0)
    assert.isTrue(inMemory().every((found) => found), "what was not even handed out stays")
    drain(tail)
    tail.release((ends[1] ?? 0) - 8)
    assert.strictEqual(tail.head, ends[0])
    tail.release(ends[1] ?? 0)
    assert.strictEqual(tail.head, ends[1])
    assert.deepStrictEqual(inMemory().map((found) => found ? 1 : 0), [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    assert.throws(() => tail.durable(64), /Tail I3/)
  })

  it("holds no more memory than its groups need, and reuses it", () => {
    const tail = makeTail({ segmentBytes: 1 << 20 })
    const steady = new Set<number>()
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 20; i++) appendPut(tail, 10_000)
      tail.seal()
      drain(tail)
      tail.durable(tail.groupLsn)
      tail.release(tail.groupLsn)
      if (round > 10) steady.add(tail.memoryBytes)
    }
    assert.strictEqual(steady.size, 1)
    appendPut(tail, 30_000_000)
    tail.seal()
    assert.isAbove(tail.memoryBytes, 30_000_000)
    drain(tail)
    tail.durable(tail.groupLsn)
    tail.release(tail.groupLsn)
    assert.isBelow(tail.memoryBytes, 5 * 4 * 1024 * 1024, "a large value does not stay")
  })

  it("tells in every group what was durable when it was formed", () => {
    const tail = makeTail()
    appendPut(tail, 10)
    const first = tail.seal()
    tail.durable(first?.end ?? 0)
    const mark = tail.mark()
    const decoded = decodeGroup(mark.bytes, mark.lsn, storeId)
    assert.strictEqual(decoded._tag === "Valid" ? decoded.header.durableLsn : 0, first?.end)
  })

  it("seals a segment without room for the open group in the name of the life before", () => {
    const tail = makeTail()
    // One seal's worth of room is all that is left.
    appendPut(tail, 4096 - 128 - around)
    const image = new LogImage()
    tail.seal()
    image.write(tail)
    const { verdict } = image.scan()
    assert.strictEqual(verdict._tag, "TornTail")
    if (verdict._tag !== "TornTail") return
    const next = makeTail({ at: verdict.at, segment: verdict.segment, incarnation: life(2) })
    appendPut(next, 10)
    next.seal()
    const end = next.cut()
    const after = image.write(next).scan()
    assert.deepInclude(after.verdict, { _tag: "TornTail", at: end })
    assert.deepStrictEqual(after.groups.map((group) => group.kind), [4, 1, 3, 4, 1])
  })
})

const replay = (groups: ReadonlyArray<SealedGroup>): Tail => {
  let i = 0
  return { shift: () => groups[i++] } as unknown as Tail
}

describe("a segment", () => {
  const segment: Segment = {
    sequence: 7,
    base: 4096,
    capacity: 8192,
    previousChecksum: 5,
    incarnation: life(1)
  }
  const encoded = (): Buffer => {
    const bytes = Buffer.alloc(4096)
    encodeSegment(segment, storeId, bytes)
    return bytes
  }

  it("comes back from its header, and shows every flipped bit", () => {
    const bytes = encoded()
    assert.deepStrictEqual(decodeSegment(bytes, storeId, 7), { _tag: "Valid", segment })
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ 1 << (bit & 7)
      assert.strictEqual(decodeSegment(bytes, storeId, 7)._tag, "Invalid", `bit ${bit}`)
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ 1 << (bit & 7)
    }
    assert.strictEqual(decodeSegment(bytes.subarray(0, 4095), storeId, 7)._tag, "Invalid")
    assert.strictEqual(decodeSegment(bytes, otherStore, 7)._tag, "Foreign")
    assert.strictEqual(decodeSegment(bytes, storeId, 8)._tag, "Misplaced")
  })

  it("whose checksum is right still has to say what a segment can say", () => {
    const tagWith = (change: (bytes: Buffer) => unknown): string => {
      const bytes = encoded()
      change(bytes)
      bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
      return decodeSegment(bytes, storeId, 7)._tag
    }
    assert.strictEqual(tagWith(() => undefined), "Valid")
    assert.strictEqual(tagWith((bytes) => bytes.writeUInt32LE(2, 8)), "TooNew")
    assert.strictEqual(tagWith((bytes) => bytes.writeUInt32LE(0, 8)), "Invalid")
    assert.strictEqual(tagWith((bytes) => bytes.writeUInt8(1, 12)), "Invalid")
    for (const at of [68, 1000, 4095]) {
      assert.strictEqual(tagWith((bytes) => bytes.writeUInt8(1, at)), "Invalid")
    }
    for (const base of [0, 8, 65]) {
      assert.strictEqual(tagWith((bytes) => bytes.writeUInt32LE(base, 40)), "Invalid")
    }
    for (const capacity of [0, 8, 248, 8193, 0xffff_fff8]) {
      assert.strictEqual(
        tagWith((bytes) => bytes.writeUInt32LE(capacity, 48)),
        "Invalid",
        `capacity ${capacity}`
      )
    }
    for (const at of [32, 40, 48]) {
      assert.strictEqual(tagWith((bytes) => bytes.writeUInt32LE(0xffff_ffff, at + 4)), "Invalid")
    }
    assert.strictEqual(tagWith((bytes) => bytes.fill(0, 32, 40)), "Invalid")
  })

  it("has one name per sequence", () => {
    for (const sequence of [1, 255, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
      assert.strictEqual(parseSegmentName(segmentName(sequence)), sequence)
    }
    const strangers = [
      "log-1",
      "log-000000000000000A",
      "log-0000000000000000",
      "xlog-0000000000000001",
      "super"
    ]
    for (
      const name of [...strangers, "log-ffffffffffffffff", "log-0000000000000001 ", "log-0000000000000001\n"]
    ) {
      assert.isUndefined(parseSegmentName(name), name)
    }
  })
})

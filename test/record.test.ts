import { assert, describe, it } from "@effect/vitest"
import { crc32 } from "node:zlib"
import { fromWords, highWord, isLsn, lowWord, MAX_LSN, NO_LSN } from "../src/log/Lsn.ts"
import { MAX_KEY_BYTES, MAX_VALUE_BYTES, Op, RecordType } from "../src/log/Record.ts"
import { decodeDefinition, encodeDefinition, readForms, verifyRecords } from "../src/log/RecordForm.ts"
import type { LogRecord } from "../src/log/RecordForm.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import type { SealedGroup } from "../src/log/Tail.ts"
import { appendPut, appendTransaction, bytesOf, life, makeTail, randomTransaction } from "./support/log.ts"
import { random } from "./support/random.ts"

const recordsOf = (group: SealedGroup): ReadonlyArray<LogRecord> => {
  const decoded = readForms(group.bytes, 64, group.bytes.length, group.lsn + 64, group.records)
  assert.strictEqual(decoded._tag, "Valid", JSON.stringify(decoded).slice(0, 300))
  return decoded._tag === "Valid" ? decoded.records : []
}

const sealed = (group: SealedGroup | undefined): SealedGroup => {
  assert.isDefined(group)
  return group as SealedGroup
}

describe("LSN", () => {
  it("splits into two words and back, up to 2^53", () => {
    const chance = random(1)
    for (let i = 0; i < 2000; i++) {
      const lsn = i === 0 ? MAX_LSN : Math.floor(2 ** (chance.next() * 53)) * 8 % (MAX_LSN + 8)
      assert.strictEqual(fromWords(lowWord(lsn), highWord(lsn)), lsn)
      assert.strictEqual(fromWords(lowWord(lsn) | 0, highWord(lsn) | 0), lsn)
    }
  })

  it("is never below 64, odd, or beyond what a number holds", () => {
    assert.isTrue(isLsn(64) && isLsn(MAX_LSN))
    for (const bad of [NO_LSN, 8, 56, 65, 68, -64, 64.5, NaN, Infinity, MAX_LSN + 8]) {
      assert.isFalse(isLsn(bad))
    }
  })
})

describe("records", () => {
  it("come back as they were written, whatever dirt the pooled buffers hold", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const chance = random(seed)
      const tail = makeTail({ segmentBytes: 1 << 20 })
      for (let round = 0; round < 4; round++) {
        const transactions = Array.from({ length: 1 + chance.int(8) }, () => randomTransaction(chance))
        const lsns = transactions.map((transaction) => appendTransaction(tail, transaction))
        const group = sealed(tail.seal())
        const records = recordsOf(group)
        const expected = transactions.map((transaction, i) => ({
          lsn: lsns[i],
          type: "transaction",
          millis: transaction.millis,
          ...(transaction.session === undefined ? {} : { session: transaction.session }),
          ...(transaction.trace === undefined ? {} : { trace: transaction.trace }),
          writes: transaction.writes
        }))
        assert.deepStrictEqual(records, expected as unknown as ReadonlyArray<LogRecord>, `seed ${seed}`)
        while (tail.shift() !== undefined);
        // The next round writes into these bytes: nothing of them may shine through.
        group.bytes.fill(0xff)
        tail.durable(tail.groupLsn)
        tail.release(tail.groupLsn)
      }
    }
  })

  it("tells where each value is, and large ones can be verified alone", () => {
    const tail = makeTail({ segmentBytes: 1 << 20, inlineValueBytes: 100 })
    const chance = random(7)
    const values = [0, 1, 99, 100, 101, 5000].map((size) => chance.bytes(size))
    const writer = tail.begin(1)
    const checksums: Array<number> = []
    const offsets = values.map((value, i) => {
      const offset = i % 2 === 0
        ? writer.put(1, bytesOf("k"), value)
        : writer.merge(1, 3, bytesOf("key"), value)
      checksums.push(writer.valueChecksum)
      return offset
    })
    const lsn = tail.append()
    const reader = tail.readLast(new RecordReader())
    assert.isTrue(reader.nextRecord())
    for (const [i, value] of values.entries()) {
      assert.isTrue(reader.nextWrite())
      assert.strictEqual(reader.valueLsn, lsn + (offsets[i] ?? 0))
      assert.strictEqual(reader.large, value.length > 100)
      assert.strictEqual(reader.valueChecksum, value.length > 100 ? crc32(value) : 0)
      assert.strictEqual(checksums[i], reader.valueChecksum)
      assert.deepStrictEqual(tail.read(reader.valueLsn, value.length), Buffer.from(value))
    }
    assert.isFalse(reader.nextWrite())
    assert.isFalse(reader.nextRecord())
    assert.isUndefined(reader.fault)
  })

  it("of a stream name its first piece, and its checksum adds up over the pieces", () => {
    const tail = makeTail({ segmentBytes: 1024 })
    const reader = new RecordReader()
    let first = NO_LSN
    let checksum = 0
    const pieces = 9
    const lsns: Array<number> = []
    // Pieces have to move to another segment, the first of all included: it learns its address only then.
    appendPut(tail, 500)
    for (let number = 0; number < pieces; number++) {
      tail.beginPiece(5, first, number).put(1, bytesOf(`piece ${number}`), new Uint8Array(300))
      const lsn = tail.append()
      if (number === 0) first = lsn
      lsns.push(lsn)
      assert.isTrue(tail.readLast(reader).nextRecord())
      assert.strictEqual(reader.type, RecordType.piece)
      assert.strictEqual(reader.streamFirst, first)
      checksum = reader.recordChecksum(checksum)
    }
    tail.beginCommit(6, { first, pieces, checksum }, { id: 4, serial: 9 })
    const commit = tail.append()
    tail.beginAbort(7, first, 3, life(8))
    tail.append()
    tail.seal()
    const found: Array<LogRecord> = []
    for (let group = tail.shift(); group !== undefined; group = tail.shift()) found.push(...recordsOf(group))
    const streams = found.slice(1)
    assert.deepStrictEqual(streams.slice(0, pieces).map((record) => record.lsn), lsns)
    assert.isAbove(new Set(lsns.map((lsn) => Math.floor(lsn / 1024))).size, 2)
    assert.deepStrictEqual(streams[pieces], {
      lsn: commit,
      type: "commit",
      millis: 6,
      session: { id: 4, serial: 9 },
      stream: { first, incarnation: life(1), number: pieces, checksum },
      writes: []
    })
    assert.deepStrictEqual(streams[pieces + 1]?.stream, {
      first,
      incarnation: life(8),
      number: 3,
      checksum: 0
    })
  })

  it("relocate values, and nothing else stands in such a record", () => {
    const tail = makeTail()
    tail.begin(1).put(1, bytesOf("a"), new Uint8Array(600))
    const version = tail.append()
    tail.beginRelocate(2).relocate(1, bytesOf("a"), new Uint8Array(600), version + 48, version)
    const lsn = tail.append()
    const group = sealed(tail.seal())
    const write = recordsOf(group)[1]?.writes[0]
    assert.deepInclude(write, { op: "relocate", from: version + 48, version })
    const start = lsn - group.lsn
    const accepts = (change: (bytes: Buffer) => unknown): boolean => {
      const bytes = Buffer.from(group.bytes)
      change(bytes)
      return verifyRecords(bytes, 64, bytes.length, group.lsn + 64) === undefined
    }
    assert.isTrue(accepts(() => undefined))
    assert.isFalse(accepts((bytes) => bytes.writeUInt8(RecordType.transaction, start + 4)))
    for (const field of [start + 24 + 16, start + 24 + 24]) {
      for (const origin of [0, 8, lsn, lsn + 8, version + 1]) {
        assert.isFalse(accepts((bytes) => bytes.writeUInt32LE(origin, field)), `origin ${origin} in ${field}`)
      }
    }
  })

  it("have hard limits that a writer dies of, and an abandoned one leaves no trace", () => {
    const tail = makeTail({ segmentBytes: 1 << 20 })
    const writer = tail.begin(1)
    assert.throws(
      () => writer.put(1, new Uint8Array(MAX_KEY_BYTES + 1), new Uint8Array(0)),
      /RecordWriter I1/
    )
    assert.throws(
      () => writer.put(1, new Uint8Array(0), new Uint8Array(MAX_VALUE_BYTES + 1)),
      /RecordWriter I1/
    )
    assert.throws(() => tail.begin(1), /RecordWriter I2/)
    tail.cancel()
    assert.throws(() => tail.begin(NaN), /RecordWriter I3/)
    assert.strictEqual(tail.end, 128)
    tail.begin(2).remove(1, bytesOf("x"))
    assert.strictEqual(tail.append(), 128 + 64)
    assert.strictEqual(recordsOf(sealed(tail.seal())).length, 1)
  })
})

describe("a reader of hostile records", () => {
  const makeGroup = (seed: number): SealedGroup => {
    const chance = random(seed)
    const tail = makeTail({ segmentBytes: 1 << 20, inlineValueBytes: 64 })
    for (let i = 0; i < 3; i++) appendTransaction(tail, randomTransaction(chance, 100))
    tail.beginPiece(3, NO_LSN, 0).put(1, bytesOf("p"), bytesOf("v"))
    const first = tail.append()
    tail.beginCommit(3, { first, pieces: 1, checksum: 9 })
    tail.append()
    tail.beginRelocate(4).relocate(1, bytesOf("a"), new Uint8Array(65), first, first)
    tail.append()
    return sealed(tail.seal())
  }

  it("neither throws nor reads outside, whatever words and bytes are replaced", () => {
    const words = [0, 1, 7, 8, 24, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fff8, 0xffff_ffff]
    let rejected = 0
    for (let seed = 1; seed <= 12; seed++) {
      const group = makeGroup(seed)
      const chance = random(seed)
      for (let round = 0; round < 4000; round++) {
        const bytes = Buffer.from(group.bytes)
        const changes = 1 + chance.int(3)
        for (let i = 0; i < changes; i++) {
          const at = 64 + chance.int(bytes.length - 68)
          if (chance.bool(0.5)) bytes.writeUInt32LE(chance.pick(words), at & ~3)
          else bytes[at] = chance.int(256)
        }
        const reader = new RecordReader().open(bytes, 64, bytes.length, group.lsn + 64, group.records)
        while (reader.nextRecord()) {
          while (reader.nextWrite()) {
            const inside = reader.keyStart >= 64 && reader.keyEnd <= reader.valueStart
              && reader.valueStart <= reader.valueEnd && reader.valueEnd <= reader.recordEnd
            assert.isTrue(inside && reader.recordEnd <= bytes.length, `seed ${seed} round ${round}`)
          }
        }
        if (reader.fault !== undefined) rejected++
        assert.isTrue(reader.fault === undefined || reader.fault.offset <= bytes.length)
      }
    }
    // Most changes hit something that counts; the rest hit keys, values and times.
    assert.isAbove(rejected, 10_000)
  })

  it("rejects every record that is cut off, and bytes that are left over", () => {
    const group = makeGroup(3)
    for (let end = 64; end < group.bytes.length; end++) {
      assert.isDefined(verifyRecords(group.bytes, 64, end, group.lsn + 64, group.records), `end ${end}`)
    }
    const longer = Buffer.concat([group.bytes, Buffer.alloc(8)])
    assert.isDefined(verifyRecords(longer, 64, longer.length, group.lsn + 64, group.records))
    assert.isUndefined(verifyRecords(group.bytes, 64, group.bytes.length, group.lsn + 64, group.records))
  })

  it("rejects what contradicts itself, before anything is allocated for it", () => {
    const tail = makeTail()
    tail.begin(1, { id: 1, serial: 1 }).putExpiring(1, bytesOf("k"), bytesOf("v"), 5)
    tail.append()
    const first = tail.groupLsn + 64
    tail.beginPiece(1, first, 1)
    tail.append()
    tail.beginCommit(1, { first, pieces: 1, checksum: 0 })
    tail.append()
    const group = sealed(tail.seal())
    const [put, piece, commit] = [64, 64 + 40 + 40, 64 + 40 + 40 + 48]
    const spoiled = (change: (bytes: Buffer) => unknown): Buffer => {
      const bytes = Buffer.from(group.bytes)
      change(bytes)
      return bytes
    }
    const rejects = (change: (bytes: Buffer) => unknown): boolean =>
      verifyRecords(spoiled(change), 64, group.bytes.length, group.lsn + 64, 3) !== undefined
    assert.isFalse(rejects(() => undefined))
    for (const millis of [NaN, Infinity, -Infinity]) {
      assert.isTrue(rejects((bytes) => bytes.writeDoubleLE(millis, put + 16)), "timestamp")
      assert.isTrue(rejects((bytes) => bytes.writeDoubleLE(millis, put + 24 + 16 + 16)), "expiry")
    }
    assert.isTrue(
      rejects((bytes) => bytes.writeUInt32LE(0xffff_ffff, put + 24 + 12)),
      "serial beyond 53 bits"
    )
    assert.isTrue(
      rejects((bytes) => bytes.writeUInt32LE(0, piece + 24 + 16)),
      "piece 0 that is not the first"
    )
    assert.isTrue(
      rejects((bytes) => bytes.writeUInt32LE(group.lsn + piece, piece + 24)),
      "the first that is not 0"
    )
    assert.isTrue(
      rejects((bytes) => bytes.writeUInt32LE(group.lsn + piece + 8, piece + 24)),
      "first after itself"
    )
    assert.isTrue(rejects((bytes) => bytes.fill(0, piece + 32, piece + 40)), "no incarnation")
    assert.isTrue(rejects((bytes) => bytes.writeUInt32LE(1, piece + 24 + 20)), "checksum of a piece")
    assert.isTrue(rejects((bytes) => bytes.writeUInt32LE(0, commit + 24 + 16)), "commit of no piece")
    assert.isTrue(
      rejects((bytes) => bytes.writeUInt32LE(group.lsn + commit, commit + 24)),
      "commit of itself"
    )
    assert.isTrue(rejects((bytes) => bytes.writeUInt32LE(1, commit + 8)), "commit with a write")
    assert.isTrue(rejects((bytes) => bytes.writeUInt8(RecordType.abort, commit + 4)) === false, "abort")
    const many = spoiled((bytes) => bytes.writeUInt32LE(0xffff_ffff, put + 8))
    assert.isFalse(new RecordReader().open(many, 64, many.length, group.lsn + 64, 3).nextRecord(), "count")
    // A record that ends with its header, at the very end of the bytes, but says that blocks follow.
    const bare = Buffer.alloc(24)
    bare.writeUInt32LE(24, 0)
    for (const type of [1, 2, 3, 4, 5]) {
      for (const flags of [0, 1, 2, 3]) {
        bare.writeUInt16LE(type | flags << 8, 4)
        const fits = flags === 0 && (type === RecordType.transaction || type === RecordType.relocate)
        assert.strictEqual(verifyRecords(bare, 0, 24, 128) === undefined, fits, `type ${type} flags ${flags}`)
      }
    }
  })

  it("checks every byte that is called zero", () => {
    const tail = makeTail()
    const trace = { traceId: new Uint8Array(16), spanId: new Uint8Array(8), flags: 1 }
    tail.begin(1, { id: 1, serial: 1 }, trace).put(1, bytesOf("abc"), bytesOf("defgh"))
    tail.append()
    const group = sealed(tail.seal())
    const record = 64
    const write = record + 24 + 16 + 32
    const zeros = [
      ...[6, 7, 12, 13, 14, 15].map((i) => record + i),
      ...[4, 5, 6, 7].map((i) => record + 24 + i),
      ...[25, 26, 27, 28, 29, 30, 31].map((i) => record + 40 + i),
      ...[12, 13, 14, 15, 19, 20, 21, 22, 23, 29, 30, 31].map((i) => write + i)
    ]
    for (const at of zeros) {
      const bytes = Buffer.from(group.bytes)
      assert.strictEqual(bytes[at], 0)
      bytes[at] = 1
      assert.isDefined(verifyRecords(bytes, 64, bytes.length, group.lsn + 64, 1), `byte ${at}`)
    }
  })

  it("takes each op with exactly its key, value and flags", () => {
    const tail = makeTail()
    tail.begin(1).put(1, bytesOf("k"), bytesOf("v"))
    tail.append()
    const group = sealed(tail.seal())
    const at = 64 + 24
    const accepts = (op: number, flags: number): boolean => {
      const bytes = Buffer.from(group.bytes)
      bytes[at] = op
      bytes[at + 1] = flags
      return verifyRecords(bytes, 64, bytes.length, group.lsn + 64, 1) === undefined
    }
    for (let op = 0; op < 256; op++) {
      const known = op === Op.put || op === Op.merge || op === Op.createKeyspace
      assert.strictEqual(accepts(op, 0), known, `op ${op}`)
      for (let flags = 1; flags < 256; flags++) {
        const reducer = op === Op.merge && (flags & 0x0f) === 0
        // The checksum of the value is not the reader's business: the group's covers it.
        const checksum = (op === Op.put || op === Op.merge) && (flags & 0x0f) === 2
        const allowed = op === Op.put ? flags === 2 : reducer || checksum
        assert.strictEqual(accepts(op, flags), allowed, `op ${op} flags ${flags}`)
      }
    }
  })
})

describe("a keyspace's definition", () => {
  it("comes back, and bad bytes do not", () => {
    const definition = { codecVersion: 3, reducer: 2, layout: "tuple(string,u53) · é" }
    assert.deepStrictEqual(decodeDefinition(encodeDefinition(definition)), { _tag: "Valid", definition })
    assert.strictEqual(decodeDefinition(new Uint8Array(7))._tag, "Invalid")
    const bytes = encodeDefinition(definition)
    bytes[8] = 0xff
    assert.strictEqual(decodeDefinition(bytes)._tag, "Invalid")
  })
})

import { assert, describe, it } from "@effect/vitest"
import { GroupKind, MAX_GROUP_BYTES } from "../src/log/Group.ts"
import { Scan } from "../src/log/Scan.ts"
import type { ScanVerdict } from "../src/log/ScanAnswer.ts"
import { baseOf, fileOffset, SEGMENT_HEADER_BYTES } from "../src/log/Segment.ts"
import type { SealedGroup } from "../src/log/Tail.ts"
import { appendPut, life, makeTail, otherStore, start, storeId } from "./support/log.ts"
import { at, endOf, fileOf, LogImage, lsnsOf, makeLog, resealed, tagOf } from "./support/logImage.ts"
import { random } from "./support/random.ts"

describe("what an older life left behind", () => {
  it("is not taken for the log, though it is whole and at its own address", () => {
    // A life of marks: every later group lines up with a stale one, of the same length, at the same address.
    const first = makeTail({ segmentBytes: 4096 })
    for (let i = 0; i < 20; i++) first.mark()
    const old = new LogImage().write(first)
    for (let keep = 1; keep < 20; keep++) {
      const cutAt = at(old, keep)
      const previous = at(old, keep - 1)
      const torn = old.copy().lose(cutAt).scan()
      assert.strictEqual(endOf(torn.verdict), cutAt.lsn)
      const tail = makeTail({
        at: { lsn: cutAt.lsn, sequence: 1, previousChecksum: previous.checksum, incarnation: life(1) },
        segment: cutAt.segment,
        incarnation: life(2)
      })
      tail.mark()
      tail.durable(tail.end)
      const next = old.copy().lose(cutAt).write(tail)
      const scanned = next.scan()
      assert.strictEqual(endOf(scanned.verdict), tail.end, `keep ${keep}`)
      assert.strictEqual(scanned.groups.length, keep + 2)
      // A third life that writes what the second wrote is told apart by nothing but its incarnation.
      const again = makeTail({ at: tailCut(torn.verdict), segment: cutAt.segment, incarnation: life(3) })
      const third = next.copy().write(again)
      assert.strictEqual(endOf(third.scan().verdict), again.end)
    }
  })

  it("is not chained by the checksum before it alone: the incarnation has to fit too", () => {
    const image = makeLog(5, 1000)
    const last = at(image, -1)
    const variant = (kind: number, lifetime: number, previous = last.bytes.readUInt32LE(56)): number => {
      const bytes = Buffer.alloc(64)
      last.bytes.copy(bytes, 0, 0, 64)
      bytes.writeUInt32LE(64, 8)
      bytes.writeUInt8(kind, 14)
      bytes.writeUInt32LE(life(lifetime).low, 48)
      bytes.writeUInt32LE(life(lifetime).high, 52)
      bytes.writeUInt32LE(previous, 56)
      bytes.writeUInt32LE(0, 60)
      return endOf(image.copy().lose(last).lose(last, resealed(bytes)).scan().verdict)
    }
    assert.strictEqual(variant(GroupKind.mark, 1), last.lsn + 64)
    assert.strictEqual(variant(GroupKind.mark, 2), last.lsn)
    assert.strictEqual(variant(GroupKind.mark, 1, 77), last.lsn)
    assert.strictEqual(variant(GroupKind.open, 2), last.lsn + 64)
    assert.strictEqual(variant(GroupKind.open, 1), last.lsn)
    assert.strictEqual(variant(GroupKind.open, 2, 77), last.lsn)
  })

  it("is not taken for the log in a recycled segment", () => {
    const old = makeLog(40, 1, 1024)
    const recycled = fileOf(old, 2)
    const tail = makeTail({ segmentBytes: 1024, inlineValueBytes: 64 })
    const image = new LogImage()
    for (let i = 0; i < 7; i++) {
      appendPut(tail, 40 + i % 5 * 30, `key ${i}`)
      tail.seal()
    }
    for (let group = tail.shift(); group !== undefined; group = tail.shift()) {
      image.create(group.segment, recycled)
      image.writeGroup(group)
    }
    const { groups, verdict } = image.scan()
    assert.deepStrictEqual(lsnsOf(groups), lsnsOf(image.groups))
    assert.strictEqual(endOf(verdict), tail.end)
  })
})

const tailCut = (verdict: ScanVerdict) => {
  if (verdict._tag !== "TornTail") throw new Error(verdict._tag)
  return verdict.at
}

describe("segments that are not as they should be", () => {
  const image = makeLog(30, 1)
  const later = 3
  const tailSegment = Math.max(...image.files.keys())
  /** The same log with nothing known durable. */
  const unsynced = makeLog(30, 1000)
  const each = (change: (image: LogImage) => void): ReadonlyArray<string> =>
    [image, unsynced].map((log) => {
      const changed = log.copy()
      change(changed)
      return tagOf(changed.scan())
    })
  const damage = (sequence: number) => (log: LogImage): void => {
    fileOf(log, sequence)[100] = 1
  }
  const reseal = (sequence: number, change: (header: Buffer) => void) => (log: LogImage): void => {
    const header = fileOf(log, sequence).subarray(0, SEGMENT_HEADER_BYTES)
    change(header)
    resealed(header)
  }

  it("missing: always corrupted", () => {
    assert.deepStrictEqual(each((log) => log.files.delete(later)), ["Corrupted", "Corrupted"])
    assert.deepStrictEqual(each((log) => log.files.delete(1)), ["Corrupted", "Corrupted"])
    const cut = baseOf(at(image, -1).segment)
    for (const gone of [1, 2, cut.sequence]) {
      const log = image.copy()
      log.files.delete(gone)
      assert.strictEqual(tagOf(log.scan({ cut, durableLsn: cut.lsn })), "Corrupted", `segment ${gone}`)
    }
    const begun = image.copy()
    begun.files.delete(1)
    assert.strictEqual(tagOf(begun.scan({ cut, durableLsn: cut.lsn, firstSequence: 2 })), "TornTail")
  })

  it("with a damaged header, or cut short: always corrupted", () => {
    assert.deepStrictEqual(each(damage(later)), ["Corrupted", "Corrupted"])
    assert.deepStrictEqual(each(damage(1)), ["Corrupted", "Corrupted"])
    for (const sequence of [later, tailSegment]) {
      assert.deepStrictEqual(each((log) => log.files.set(sequence, Buffer.alloc(0))), [
        "Corrupted",
        "Corrupted"
      ])
      const shorter = (log: LogImage): void =>
        void log.files.set(sequence, fileOf(log, sequence).subarray(0, fileOf(log, sequence).length - 1))
      assert.deepStrictEqual(
        each(shorter),
        sequence === later ? ["TornTail", "TornTail"] : ["Corrupted", "Corrupted"]
      )
    }
    assert.deepStrictEqual(each((log) => log.files.set(1, Buffer.alloc(100))), ["Corrupted", "Corrupted"])
  })

  it("of another store, duplicated or swapped: always corrupted", () => {
    for (const sequence of [1, later, tailSegment]) {
      const foreign = reseal(sequence, (header) => header.set(otherStore, 16))
      assert.deepStrictEqual(each(foreign), ["Corrupted", "Corrupted"])
      const source = sequence === 2 ? 3 : 2
      const duplicate = (log: LogImage): void =>
        void log.files.set(sequence, Buffer.from(fileOf(log, source)))
      assert.deepStrictEqual(each(duplicate), ["Corrupted", "Corrupted"])
    }
  })

  it("that does not continue: always corrupted", () => {
    const displaced = reseal(later, (header) => header.writeUInt32LE(header.readUInt32LE(40) + 8, 40))
    assert.deepStrictEqual(each(displaced), ["Corrupted", "Corrupted"])
    for (const field of [56, 60, 64]) {
      const unchained = reseal(later, (header) => header.writeUInt32LE(1, field))
      assert.deepStrictEqual(each(unchained), ["Corrupted", "Corrupted"], `field ${field}`)
    }
  })

  it("of a newer format: too new, never cut", () => {
    const newer = reseal(later, (header) => header.writeUInt32LE(2, 8))
    assert.deepStrictEqual(each(newer), ["TooNew", "TooNew"])
    const group = at(unsynced, -1)
    const bytes = Buffer.from(group.bytes)
    bytes.writeUInt16LE(2, 12)
    const { verdict } = unsynced.copy().lose(group, resealed(bytes)).scan()
    assert.deepInclude(verdict, { _tag: "TooNew", format: 2, supported: 1 })
  })
})

describe("hostile groups whose checksums are right", () => {
  it("cost no memory, throw nothing and are never cut when they are chained", () => {
    const image = makeLog(6, 1000, 4096)
    const group = at(image, 2)
    const words = [0, 1, 8, 56, 63, 64, 72, 128, 0x7fff_fff8, MAX_GROUP_BYTES, 0xffff_fff8, 0xffff_ffff]
    const chance = random(21)
    const tags = new Map<string, number>()
    for (let round = 0; round < 6000; round++) {
      const bytes = Buffer.from(group.bytes)
      const word = round < words.length ? 8 : 8 + 4 * chance.int((bytes.length - 8) / 4)
      bytes.writeUInt32LE(round < words.length ? words[round] ?? 0 : chance.pick(words), word)
      const length = bytes.readUInt32LE(8)
      resealed(bytes, length >= 64 && length <= bytes.length ? length : bytes.length)
      const scanned = image.copy().lose(group, bytes).scan()
      assert.isAtMost(scanned.largestNeed, 8192)
      assert.isAtMost(scanned.fedBytes, 5 * 8192)
      tags.set(tagOf(scanned), (tags.get(tagOf(scanned)) ?? 0) + 1)
      if (scanned.verdict._tag === "TornTail") assert.isAtMost(scanned.verdict.at.lsn, at(image, -1).end)
    }
    assert.isAbove(tags.get("Corrupted") ?? 0, 500)
    assert.isAbove(tags.get("TornTail") ?? 0, 500)
  })

  it("ask for no more than a group may have, however large the file is said to be", () => {
    const tail = makeTail({ segmentBytes: 2 << 20 })
    appendPut(tail, 10)
    tail.seal()
    const image = new LogImage().write(tail)
    const claimant = Buffer.alloc(64)
    const other = makeTail({ at: { ...start, lsn: tail.end + 640 }, segment: at(image, 0).segment })
    other.shift()?.bytes.copy(claimant)
    claimant.writeUInt32LE(MAX_GROUP_BYTES + 64, 8)
    fileOf(image, 1).set(claimant, fileOffset(at(image, 0).segment, tail.end + 640))
    const scanned = image.scan({ files: [{ sequence: 1, bytes: 2 ** 31 }] })
    assert.strictEqual(endOf(scanned.verdict), tail.end)
    assert.isAtMost(scanned.largestNeed, 1 << 20)
  })

  it("leave room for the seal, or are broken", () => {
    const image = makeLog(3, 1000, 640)
    const group = image.groups.find((other) => other.kind === GroupKind.seal)
    const before = image.groups[image.groups.indexOf(group as SealedGroup) - 1]
    assert.isDefined(group)
    if (group === undefined || before === undefined) return
    // A header that says the segment ends with this group: its seal has no place.
    const header = fileOf(image, 1).subarray(0, SEGMENT_HEADER_BYTES)
    header.writeUInt32LE(before.end - before.segment.base, 48)
    resealed(header)
    assert.deepInclude(image.scan().verdict, {
      _tag: "Corrupted",
      actual: "a group without room for the seal"
    })
  })

  it("survive a file that is shorter than it was said to be", () => {
    const image = makeLog(12, 2)
    const sizes = [...image.files].map(([sequence, bytes]) => ({ sequence, bytes: bytes.length }))
    for (const keep of [0, 100, 4095, 4096, 4100, 4200, 4700]) {
      const scan = new Scan({ storeId, cut: start, durableLsn: 64, firstSequence: 1, files: sizes })
      let answer = scan.next()
      for (let steps = 0; answer._tag === "Need" || answer._tag === "Group"; steps++) {
        assert.isBelow(steps, 200)
        if (answer._tag === "Need") {
          const file = fileOf(image, answer.sequence).subarray(0, answer.sequence === 1 ? keep : undefined)
          scan.feed(file.subarray(answer.offset, answer.offset + answer.length))
        }
        answer = scan.next()
      }
      assert.strictEqual(answer._tag, "Corrupted")
      assert.strictEqual(scan.next(), answer, "a verdict stays")
    }
  })

  it("are read once, whatever their size, within the window", () => {
    const tail = makeTail({ segmentBytes: 16 << 20 })
    for (const size of [10, 3_000_000, 10, 900_000, 300_000, 10]) {
      appendPut(tail, size)
      tail.seal()
    }
    const image = new LogImage().write(tail)
    const scanned = image.scan()
    assert.deepStrictEqual(lsnsOf(scanned.groups), lsnsOf(image.groups))
    assert.isAtMost(scanned.largestNeed, 3_000_200)
    assert.isAtMost(scanned.fedBytes, 2 * fileOf(image, 1).length)
  })
})

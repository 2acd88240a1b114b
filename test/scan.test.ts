import { assert, describe, it } from "@effect/vitest"
import { GroupKind } from "../src/log/Group.ts"
import { baseOf, fileOffset, SEGMENT_HEADER_BYTES } from "../src/log/Segment.ts"
import { endFacts, endTable, endVerdict, meetsEnd } from "../src/log/Verdict.ts"
import type { EndFacts } from "../src/log/Verdict.ts"
import { appendPut, life, makeTail, otherStore } from "./support/log.ts"
import { at, claimOf, endOf, fileOf, LogImage, lsnsOf, makeLog, resealed, tagOf } from "./support/logImage.ts"

describe("the table of ends", () => {
  it("has exactly one row for every combination of facts, and no dead row", () => {
    let combinations = 0
    const seen = new Set<number>()
    for (const found of endFacts.found) {
      for (const position of endFacts.position) {
        const facts: EndFacts = { found, position }
        const rows = endTable.filter((row) => meetsEnd(row, facts))
        assert.strictEqual(rows.length, 1, JSON.stringify(facts))
        seen.add(endTable.indexOf(rows[0] as (typeof endTable)[number]))
        combinations++
      }
    }
    assert.strictEqual(combinations, 10 * 2)
    assert.strictEqual(seen.size, endTable.length)
  })

  it("never cuts below D", () => {
    for (const found of endFacts.found) {
      assert.notStrictEqual(endVerdict({ found, position: "below D" }), "torn tail")
    }
  })
})

describe("a scan", () => {
  it("finds every group across segments, and a clean end", () => {
    const image = makeLog(40, 2)
    const scanned = image.scan()
    assert.deepStrictEqual(lsnsOf(scanned.groups), lsnsOf(image.groups))
    assert.isAbove(image.files.size, 5)
    const { verdict } = scanned
    const durableLsn = Math.max(...image.groups.map(claimOf))
    assert.deepInclude(verdict, { _tag: "TornTail", partial: false, leftovers: [], durableLsn })
    assert.strictEqual(endOf(verdict), at(image, -1).end)
  })

  it("begins at any cut, and ends where it is told to", () => {
    const image = makeLog(30, 2)
    const boundaries = image.groups.filter((group) => group.kind !== GroupKind.seal)
    for (const [i, group] of boundaries.entries()) {
      const cut = {
        lsn: group.end,
        sequence: group.segment.sequence,
        previousChecksum: group.checksum,
        incarnation: life(1)
      }
      const rest = image.groups.filter((other) => other.lsn >= group.end)
      const tail = image.scan({ cut, durableLsn: cut.lsn })
      assert.deepStrictEqual(lsnsOf(tail.groups), lsnsOf(rest), `cut ${i}`)
      assert.strictEqual(tagOf(tail), "TornTail")
      const head = image.scan({ until: group.end })
      assert.deepStrictEqual(
        lsnsOf(head.groups),
        lsnsOf(image.groups.filter((other) => other.end <= group.end))
      )
      assert.deepInclude(head.verdict, { _tag: "Reached", at: cut })
      const wrong = image.scan({ cut: { ...cut, previousChecksum: 1 }, durableLsn: cut.lsn })
      assert.strictEqual(wrong.groups.length, 0)
    }
    for (const segment of new Set(image.groups.map((group) => group.segment))) {
      const scanned = image.scan({ cut: baseOf(segment), durableLsn: segment.base })
      assert.strictEqual(scanned.groups[0]?.lsn, segment.base)
      assert.strictEqual(endOf(scanned.verdict), at(image, -1).end)
      assert.deepInclude(image.scan({ until: segment.base }).verdict, { _tag: "Reached" })
    }
  })

  it("takes any last group that is cut at any byte for a torn tail, but not where the file itself was cut", () => {
    const whole = makeLog(12, 2)
    const last = at(whole, -1)
    const offset = fileOffset(last.segment, last.lsn)
    for (let length = 0; length < last.bytes.length; length++) {
      const torn = Buffer.alloc(last.bytes.length)
      last.bytes.copy(torn, 0, 0, length)
      // What is cut off may be padding, which is zero anyway.
      if (torn.equals(last.bytes)) continue
      const zeroed = whole.copy().lose(last, torn).scan()
      assert.strictEqual(endOf(zeroed.verdict), last.lsn, `length ${length}`)
      // The incarnation has two bytes in each of its words, and ends at byte 54.
      assert.deepInclude(zeroed.verdict, { partial: length >= 54 })
      const short = whole.copy()
      short.files.set(
        last.segment.sequence,
        fileOf(short, last.segment.sequence).subarray(0, offset + length)
      )
      assert.strictEqual(tagOf(short.scan()), "Corrupted", `length ${length}`)
    }
  })

  it("gives the right log or a typed answer for every flipped bit", () => {
    const image = makeLog(9, 2, 640)
    const claims = image.groups.map(claimOf)
    for (const sequence of image.files.keys()) {
      const file = fileOf(image, sequence)
      for (let byte = 0; byte < file.length; byte++) {
        // In the header one bit per byte, in groups all of them.
        const bits = byte < SEGMENT_HEADER_BYTES ? [byte % 8] : [0, 1, 2, 3, 4, 5, 6, 7]
        for (const bit of bits) {
          file[byte] = (file[byte] ?? 0) ^ 1 << bit
          const { groups, verdict } = image.scan()
          file[byte] = (file[byte] ?? 0) ^ 1 << bit
          const hit = image.groups.find((group) =>
            group.segment.sequence === sequence && byte >= fileOffset(group.segment, group.lsn)
            && byte < fileOffset(group.segment, group.end)
          )
          const header = byte < SEGMENT_HEADER_BYTES
          const x = header
            ? image.groups.find((group) => group.segment.sequence === sequence)?.lsn ?? 0
            : hit?.lsn ?? at(image, -1).end
          const d = Math.max(...claims.filter((_, i) => image.groups[i] !== hit))
          const corrupted = x < d || header
          const name = `segment ${sequence} byte ${byte} bit ${bit}`
          assert.strictEqual(verdict._tag, corrupted ? "Corrupted" : "TornTail", name)
          const expected = header && sequence === 1
            ? []
            : lsnsOf(image.groups.filter((group) => group.end <= x))
          assert.deepStrictEqual(lsnsOf(groups), expected, name)
        }
      }
    }
  })

  it("decides a lost group by D alone: the survivors behind it do not matter", () => {
    const lag = 4
    const image = makeLog(30, lag)
    for (const [i, group] of image.groups.entries()) {
      const d = Math.max(...image.groups.filter((other) => other !== group).map(claimOf))
      const { verdict } = image.copy().lose(group).scan()
      assert.strictEqual(verdict._tag, group.lsn < d ? "Corrupted" : "TornTail", `group ${i}`)
      if (verdict._tag === "Corrupted") {
        assert.strictEqual(verdict.at, group.lsn)
        assert.strictEqual(verdict.sequence, group.segment.sequence)
        assert.strictEqual(verdict.offset, fileOffset(group.segment, group.lsn))
      } else assert.strictEqual(endOf(verdict), group.lsn)
    }
    const torn = image.groups.filter((group) => group.lsn >= Math.max(...image.groups.map(claimOf)))
    assert.isAbove(torn.length, lag - 1)
  })

  it("finds D behind the damage, in the same segment, in later ones, and behind a damaged header", () => {
    const image = makeLog(30, 1)
    const claimant = at(image, -1)
    const victim = image.groups.find((group) => group.segment.sequence === claimant.segment.sequence - 2)
    assert.isDefined(victim)
    if (victim === undefined) return
    // Everything between the victim and the last group is lost too: one claim is all there is.
    const lost = image.copy()
    for (const group of image.groups) if (group.lsn >= victim.lsn && group !== claimant) lost.lose(group)
    assert.isAbove(claimOf(claimant), victim.lsn)
    assert.strictEqual(tagOf(lost.scan()), "Corrupted")
    const headless = lost.copy()
    fileOf(headless, claimant.segment.sequence).fill(0, 0, SEGMENT_HEADER_BYTES)
    assert.strictEqual(tagOf(headless.scan()), "Corrupted")
    const gap = lost.copy()
    gap.files.delete(claimant.segment.sequence - 1)
    assert.strictEqual(tagOf(gap.scan()), "Corrupted")
    // Without it nothing is known to be durable here; with a superblock that knows, it is again.
    assert.strictEqual(endOf(lost.copy().lose(claimant).scan().verdict), victim.lsn)
    assert.strictEqual(tagOf(lost.copy().lose(claimant).scan({ durableLsn: victim.lsn + 8 })), "Corrupted")
    assert.strictEqual(tagOf(lost.copy().lose(claimant).scan({ durableLsn: victim.lsn })), "TornTail")
  })

  it("finds D wherever it lies against the window that is read", () => {
    const tail = makeTail({ segmentBytes: 4 << 20 })
    appendPut(tail, 10)
    tail.seal()
    const image = new LogImage().write(tail)
    const boundary = at(image, 0).segment.base + (1 << 20) - SEGMENT_HEADER_BYTES
    for (let shift = -80; shift <= 80; shift += 8) {
      const claimant = makeTail({
        at: { lsn: boundary + shift, sequence: 1, previousChecksum: 1, incarnation: life(1) },
        segment: at(image, 0).segment,
        incarnation: life(2)
      })
      assert.strictEqual(tagOf(image.copy().write(claimant).scan()), "Corrupted", `shift ${shift}`)
    }
    assert.strictEqual(tagOf(image.scan()), "TornTail")
  })

  it("does not believe a claim at another address of a later segment", () => {
    const image = makeLog(30, 1)
    const claimant = at(image, -1)
    const first = image.groups.find((group) => group.segment.sequence === claimant.segment.sequence)
    const lost = image.copy()
    for (const group of image.groups) if (group.segment.sequence > 2) lost.lose(group)
    assert.isDefined(first)
    if (first === undefined) return
    for (const shift of [0, 8, 64]) {
      const moved = lost.copy()
      fileOf(moved, claimant.segment.sequence).set(claimant.bytes, SEGMENT_HEADER_BYTES + shift)
      const here = first.lsn + shift === claimant.lsn
      assert.strictEqual(tagOf(moved.scan()), here ? "Corrupted" : "TornTail", `shift ${shift}`)
    }
    // Without a header any address is believed, but still only where a group can begin.
    for (const shift of [0, 8, 1, 4]) {
      const headless = lost.copy()
      const file = fileOf(headless, claimant.segment.sequence).fill(0, 0, SEGMENT_HEADER_BYTES)
      file.set(claimant.bytes, SEGMENT_HEADER_BYTES + shift)
      assert.strictEqual(tagOf(headless.scan()), shift % 8 === 0 ? "Corrupted" : "TornTail", `shift ${shift}`)
    }
  })

  it("believes a claim only at its own address, in its own store, and with its own checksum", () => {
    const image = makeLog(14, 1, 4096)
    const claimant = at(image, -1)
    const victim = at(image, 3)
    const lost = image.copy()
    for (const group of image.groups) if (group.lsn >= victim.lsn) lost.lose(group)
    const file = fileOf(lost, 1)
    const place = (bytes: Buffer, shift: number): string => {
      const copied = lost.copy()
      fileOf(copied, 1).set(bytes, fileOffset(claimant.segment, claimant.lsn) + shift)
      return tagOf(copied.scan())
    }
    assert.isAbove(file.length, fileOffset(claimant.segment, claimant.end) + 64)
    assert.strictEqual(place(claimant.bytes, 0), "Corrupted")
    assert.strictEqual(place(claimant.bytes, 8), "TornTail")
    assert.strictEqual(place(claimant.bytes, -8), "TornTail")
    assert.strictEqual(place(claimant.bytes, 1), "TornTail")
    const foreign = Buffer.from(claimant.bytes)
    foreign.set(otherStore, 32)
    assert.strictEqual(place(resealed(foreign), 0), "TornTail")
    const bent = Buffer.from(claimant.bytes)
    bent.writeUInt32LE(99, 60)
    assert.strictEqual(place(bent, 0), "TornTail")
    const boastful = Buffer.from(claimant.bytes)
    boastful.writeBigUInt64LE(BigInt(claimant.end), 24)
    assert.strictEqual(place(resealed(boastful), 0), "TornTail")
  })
})

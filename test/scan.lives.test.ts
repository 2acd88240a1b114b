import { assert, describe, it } from "@effect/vitest"
import { fileOffset } from "../src/log/Segment.ts"
import type { SealedGroup } from "../src/log/Tail.ts"
import { appendTransaction, bytesOf, life, makeTail, randomTransaction } from "./support/log.ts"
import { LogImage } from "./support/logImage.ts"
import { random } from "./support/random.ts"

describe("lives, crashes and recoveries", () => {
  it("keep exactly a prefix at or above what was synced, through any number of crashes", () => {
    for (let seed = 1; seed <= 150; seed++) {
      const chance = random(seed)
      let image = new LogImage()
      let tail = makeTail({ segmentBytes: 1024, inlineValueBytes: 64 })
      let synced: ReadonlyArray<Buffer> = []
      for (let lifetime = 1; lifetime <= 5; lifetime++) {
        const written: Array<SealedGroup> = []
        let durableGroups = 0
        for (let i = 0; i < 12; i++) {
          if (chance.bool(0.2)) tail.mark()
          else {
            appendTransaction(tail, randomTransaction(chance, 3000))
            if (chance.bool(0.7)) tail.seal()
          }
          for (let group = tail.shift(); group !== undefined; group = tail.shift()) {
            written.push({ ...group, bytes: Buffer.from(group.bytes) })
          }
          if (chance.bool(0.3)) {
            durableGroups = written.length
            tail.durable(written.at(-1)?.end ?? tail.durableLsn)
          }
        }
        const before = image
        image = before.copy()
        for (const [i, group] of written.entries()) crash(image, group, i < durableGroups, chance)
        const kept = [...synced, ...written.slice(0, durableGroups).map((group) => group.bytes)]
        const all = [...synced, ...written.map((group) => group.bytes)]
        const { groups, verdict } = image.scan()
        const name = `seed ${seed} life ${lifetime}`
        assert.strictEqual(verdict._tag, "TornTail", `${name}: ${JSON.stringify(verdict)}`)
        if (verdict._tag !== "TornTail") return
        assert.isAtLeast(groups.length, kept.length, name)
        synced = groups.map((group) => group.bytes)
        assert.deepStrictEqual(synced, all.slice(0, groups.length), name)
        for (const sequence of verdict.leftovers) image.files.delete(sequence)
        tail = makeTail({
          at: verdict.at,
          segment: verdict.segment,
          incarnation: life(lifetime + 1),
          segmentBytes: 1024,
          inlineValueBytes: 64
        })
      }
    }
  })

  it("end where a group follows another than the one that it was chained to", () => {
    // Two that differ in one value only: each group of one stands where the same one of the other does.
    const [one, other] = [1, 2].map((millis) => {
      const tail = makeTail()
      for (let group = 0; group < 3; group++) {
        tail.begin(group === 1 ? millis : 0).put(1, bytesOf("key"), new Uint8Array(8))
        tail.append()
        tail.seal()
      }
      const groups: Array<SealedGroup> = []
      for (let group = tail.shift(); group !== undefined; group = tail.shift()) groups.push(group)
      return groups
    }) as [Array<SealedGroup>, Array<SealedGroup>]
    for (let from = 0; from <= one.length; from++) {
      const image = new LogImage()
      for (const [index, group] of one.entries()) {
        image.writeGroup(index < from ? group : other[index] as SealedGroup)
      }
      const { groups, verdict } = image.scan()
      // The open group and the first are the same in both; what follows the second is not.
      assert.strictEqual(groups.length, from === 3 ? 3 : 4, `from ${from}`)
      assert.strictEqual(verdict._tag, "TornTail")
    }
  })
})

/** A group on its way to the disk when the power goes: synced ones arrive, others whole, in part, or not at all. */
const crash = (
  image: LogImage,
  group: SealedGroup,
  synced: boolean,
  chance: ReturnType<typeof random>
): void => {
  const fate = synced ? 0 : chance.int(4)
  if (fate === 1) return
  if (fate === 0) {
    image.writeGroup(group)
    return
  }
  image.create(group.segment)
  // Its name is durable before any byte of the seal goes out.
  if (group.next !== undefined) image.create(group.next)
  const file = image.files.get(group.segment.sequence)
  const offset = fileOffset(group.segment, group.lsn)
  const sector = 64
  for (let from = 0; from < group.bytes.length; from += sector) {
    const arrives = fate === 2 ? chance.bool(0.7) : from < group.bytes.length / 2
    if (arrives) file?.set(group.bytes.subarray(from, from + sector), offset + from)
  }
}

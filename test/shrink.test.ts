/**
 * Which end of the page file is emptied, and how long the file is to be: properties over many files.
 */
import { assert, describe, it } from "@effect/vitest"
import { PageFile } from "../src/tree/file/PageFile.ts"
import { cutTo, plan } from "../src/tree/file/Shrink.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

/** A file with slots in all states; `free` of them are free, more or less. */
const fileOf = (chance: Random, free: number, bad = 0.02): PageFile => {
  const slots = new PageFile()
  const count = 1 + chance.int(chance.pick([10, 100, 3_000]))
  for (let slot = 1; slot <= count; slot++) slots.allocate(1)
  for (let slot = 1; slot <= count; slot++) {
    if (chance.bool(free)) slots.retire(slot, 0)
    else if (chance.bool(0.1)) slots.retire(slot, 2)
    else if (chance.bool(bad)) slots.quarantine(slot)
  }
  return slots
}

const count = (slots: PageFile, state: string, from: number, until: number): number => {
  let found = 0
  for (let slot = from; slot < until; slot++) if (slots.stateOf(slot) === state) found++
  return found
}

describe("a plan", () => {
  it("moves only what finds room below, no more than it may, and only when there is much to spare", () => {
    let plans = 0
    for (let seed = 1; seed <= 600; seed++) {
      const chance = random(seed)
      const slots = fileOf(chance, chance.pick([0.1, 0.25, 0.3, 0.5, 0.9, 0.99]))
      const needed = chance.bool(0.5) ? 0 : chance.int(slots.slots / 3)
      const most = chance.pick([1, 10, 1_000, 100_000])
      const all = slots.slots - 1
      const spare = slots.freeCount - needed
      const planned = plan(slots, { needed, most })
      const where = `seed ${seed}`
      if (planned === undefined) {
        // Nothing to spare, or what is live is as far down as it can be.
        if (4 * spare <= all) continue
        let last = slots.slots - 1
        while (slots.stateOf(last) !== "live" && last > 0) last--
        assert.isAtMost(count(slots, "free", 1, last), needed, where)
        continue
      }
      plans++
      const { from, moves } = planned
      assert.isAbove(4 * spare, all, where)
      assert.strictEqual(moves, count(slots, "live", from, slots.slots), where)
      assert.isAtLeast(moves, 1, where)
      assert.isAtMost(moves, Math.ceil(most * (spare / all)), where)
      assert.isAtLeast(count(slots, "free", 1, from) - needed, moves, where)
    }
    assert.isAbove(plans, 100)
  })

  it("carried out again and again ends with a file that is full", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const chance = random(seed)
      const slots = fileOf(chance, 0.7, 0)
      const most = 1 + chance.int(50)
      slots.publish(2)
      slots.trim(0)
      let planned = plan(slots, { needed: 0, most })
      for (let round = 0; planned !== undefined; round++) {
        assert.isBelow(round, 10_000, "it does not end")
        for (let slot = slots.slots - 1; slot >= planned.from; slot--) {
          if (slots.stateOf(slot) !== "live") continue
          assert.isBelow(slots.allocate(1), planned.from)
          slots.retire(slot, 0)
        }
        slots.publish(2)
        slots.trim(0)
        planned = plan(slots, { needed: 0, most })
      }
      assert.isAtMost(slots.slots - 1, 4 / 3 * slots.liveSlots, `seed ${seed}`)
    }
  })

  it("leaves a file alone of which a quarter is free", () => {
    const slots = new PageFile()
    for (let slot = 1; slot <= 100; slot++) slots.allocate(1)
    for (let slot = 1; slot <= 25; slot++) slots.retire(slot, 0)
    assert.isUndefined(plan(slots, { needed: 0, most: 1_000 }))
    slots.retire(26, 0)
    assert.deepStrictEqual(plan(slots, { needed: 0, most: 1_000 }), { from: 87, moves: 14 })
    assert.isUndefined(plan(slots, { needed: 1, most: 1_000 }))
  })
})

describe("the length of the file", () => {
  it("comes to rest: what was cut is not cut again, and grows by the slack before it is", () => {
    for (let seed = 1; seed <= 1_000; seed++) {
      const chance = random(seed)
      const pageBytes = chance.pick([1_024, 4_096, 32_768])
      const slots = 1 + chance.int(chance.pick([10, 1_000, 1_000_000]))
      const bytes = (slots + chance.int(2 * slots + 40)) * pageBytes + chance.int(pageBytes)
      const end = cutTo(slots, bytes, pageBytes)
      if (end === undefined) {
        assert.isAtMost(bytes, Math.max(slots * 1.125, slots + 16) * pageBytes, `seed ${seed}`)
        continue
      }
      assert.isBelow(end, bytes)
      assert.isAbove(end, slots * pageBytes)
      assert.strictEqual(end % pageBytes, 0)
      assert.isUndefined(cutTo(slots, end, pageBytes))
      assert.isUndefined(cutTo(slots - 1, end, pageBytes), "not for one slot less")
    }
  })
})

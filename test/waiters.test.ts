/**
 * Who waits for the log: completed in its order, each once, and never by each other.
 */
import { assert, describe, it } from "@effect/vitest"
import { Waiters } from "../src/actors/commit/Waiters.ts"
import { Closed, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import { random } from "./support/random.ts"

const durabilities = ["memory", "buffered", "synced"] as const
type Durability = typeof durabilities[number]

interface Wait {
  readonly durability: Durability
  readonly bound: number
  /** Outcomes, in order; exactly one is right. */
  readonly outcomes: Array<StoreError | undefined>
}

describe("Waiters", () => {
  for (let seed = 1; seed <= 60; seed++) {
    it(`are completed in the order of the log, each once (seed ${seed})`, () => {
      const chance = random(seed)
      const waiters = new Waiters()
      const waits: Array<Wait> = []
      const completed: Array<Wait> = []
      const reached: Record<Durability, number> = { memory: 0, buffered: 0, synced: 0 }
      let inside = 0
      let lsn = 0
      const add = (depth: number): void => {
        const durability = chance.pick(durabilities)
        // Almost always the newest; now and then somebody asks for what is older.
        const bound = chance.bool(0.8) ? lsn += chance.int(3) : chance.int(lsn + 1)
        const wait: Wait = { durability, bound, outcomes: [] }
        waits.push(wait)
        waiters.add(durability, bound, (error) => {
          assert.strictEqual(++inside, 1, "completed by another")
          wait.outcomes.push(error)
          completed.push(wait)
          // Whoever is woken may ask again at once.
          if (depth < 3 && chance.bool(0.2)) add(depth + 1)
          inside--
        })
      }
      for (let step = 0; step < 300; step++) {
        if (chance.bool(0.7)) {
          add(0)
          continue
        }
        const durability = chance.pick(durabilities)
        const to = Math.max(reached[durability], chance.int(lsn + 1))
        const open = waits.filter((wait) => wait.durability === durability && wait.outcomes.length === 0)
        assert.strictEqual(waiters.wants(durability, to), open.some(({ bound }) => bound > to))
        completed.length = 0
        waiters.completeBelow(durability, to)
        reached[durability] = to
        const expected = open.filter(({ bound }) => bound <= to).sort((a, b) => a.bound - b.bound)
        assert.strictEqual(completed.length, expected.length)
        for (const [index, wait] of completed.entries()) assert.strictEqual(wait, expected[index])
        for (const { outcomes } of completed) assert.deepStrictEqual(outcomes, [undefined])
      }
      const error = storeError(new Closed())
      const open = waits.filter(({ outcomes }) => outcomes.length === 0)
      waiters.failAll(error)
      for (const { outcomes } of open) assert.deepStrictEqual(outcomes, [error])
      assert.isTrue(waits.every(({ outcomes }) => outcomes.length <= 1))
    })
  }

  it("of one bound are completed in the order in which they came", () => {
    const waiters = new Waiters()
    const order: Array<string> = []
    for (const [name, bound] of [["a", 5], ["b", 9], ["c", 5], ["d", 9], ["e", 5]] as const) {
      waiters.add("synced", bound, () => order.push(name))
    }
    waiters.completeBelow("synced", 4)
    assert.isEmpty(order)
    waiters.completeBelow("synced", 9)
    assert.deepStrictEqual(order, ["a", "c", "e", "b", "d"])
    assert.isFalse(waiters.wants("synced", 0))
  })

  it("by the hundred thousand do not exhaust the stack", () => {
    const waiters = new Waiters()
    let done = 0
    for (let index = 0; index < 100_000; index++) waiters.add("synced", index, () => done++)
    waiters.completeBelow("synced", 100_000)
    assert.strictEqual(done, 100_000)
  })
})

/**
 * Memory by blocks: what is kept back is handed out only to work that says so, for as long as it runs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arena } from "../src/tree/memory/Arena.ts"

const pageBytes = 1024

describe("the reserve", () => {
  it("is open to work within it and closed afterwards, whatever happens there", () => {
    const arena = new Arena({ pageBytes, blocks: 8, chunkBytes: 2 * pageBytes })
    arena.reserve = 3
    for (let block = 0; block < 5; block++) assert.isAtLeast(arena.allocate(), 0)
    assert.strictEqual(arena.allocate(), -1)
    assert.isAtLeast(arena.withReserve(() => arena.allocate()), 0)
    assert.strictEqual(arena.allocate(), -1)
    const fails = (): void =>
      arena.withReserve(() => {
        assert.isAtLeast(arena.withReserve(() => arena.allocate()), 0)
        assert.strictEqual(arena.available, 1, "open still, after work within work")
        throw new Error("in the middle")
      })
    assert.throws(fails, "in the middle")
    assert.strictEqual(arena.reserve, 3)
    assert.strictEqual(arena.allocate(), -1)
  })
})

describe("a block", () => {
  it("is found by any address in it, over all chunks", () => {
    const arena = new Arena({ pageBytes, blocks: 9, chunkBytes: 4 * pageBytes })
    const blocks = new Set<number>()
    for (let address = arena.allocate(); address >= 0; address = arena.allocate()) {
      const block = arena.blockOf(address)
      blocks.add(block)
      assert.strictEqual(block * arena.pageWords, address)
      assert.strictEqual(arena.blockOf(address + arena.pageWords - 1), block)
    }
    assert.strictEqual(blocks.size, 9)
  })
})

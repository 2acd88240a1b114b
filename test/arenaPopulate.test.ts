/**
 * Memory that another thread touches first: what it writes to belongs to nobody, and what was promised is there.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Disk } from "../src/disk/Disk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"
import type { Populate } from "../src/tree/memory/Arena.ts"
import { Arena } from "../src/tree/memory/Arena.ts"
import { random } from "./support/random.ts"
import { eachSeed } from "./support/seeds.ts"

const pageBytes = 4096
const MiB = 1_048_576

/** Another thread, which takes as long as the test says. */
const thread = () => {
  const underWay: Array<{ readonly memory: Uint8Array; readonly done: () => void }> = []
  const populate: Populate = (memory, done) => void underWay.push({ memory, done })
  return {
    populate,
    underWay,
    /** It writes as late as it can. */
    end: (): void => {
      for (const { done, memory } of underWay.splice(0)) {
        memory.fill(0)
        done()
      }
    }
  }
}

const arenaOf = (bytes: number, chunkBytes?: number): Arena =>
  new Arena({ pageBytes, blocks: bytes / pageBytes, chunkBytes })

const stamp = (arena: Arena, address: number): void => {
  arena.wordsOf(address)[address & arena.mask] = ~address
}

const assertStamped = (arena: Arena, address: number): void => {
  if (arena.wordsOf(address)[address & arena.mask] !== ~address) {
    assert.fail(`somebody wrote to the block at ${address}`)
  }
}

/** One life of an arena of more than one chunk, which some stretches reach beyond. */
const live = (seed: number): void => {
  const chance = random(seed)
  const arena = arenaOf(20 * MiB, 8 * MiB)
  const growth = chance.pick([0.4, 0.5, 0.6])
  const { end, populate } = thread()
  arena.populateBy(populate)
  const taken: Array<number> = []
  const take = (most: number): void => {
    for (let left = Math.min(most, arena.available); left > 0; left--) {
      const address = arena.allocate()
      if (address < 0) assert.fail("available, and not there")
      stamp(arena, address)
      taken.push(address)
    }
  }
  for (let steps = chance.int(60); steps > 0; steps--) {
    const dice = chance.next()
    if (dice < growth) take(1 + chance.int(900))
    else if (dice < 0.75) {
      for (const address of taken.splice(0, chance.int(900))) {
        assertStamped(arena, address)
        arena.release(address)
      }
    } else if (dice < 0.92) end()
    else arena.limit = Math.min(arena.blocks, Math.max(1 + chance.int(6_000), arena.usedBlocks))
    assert.strictEqual(arena.usedBlocks, taken.length)
  }
  end()
  arena.limit = arena.blocks
  assert.strictEqual(arena.available, arena.blocks - taken.length)
  for (; taken.length < arena.blocks; end()) take(900)
  assert.strictEqual(new Set(taken).size, arena.blocks)
  for (const address of taken) assertStamped(arena, address)
}

describe("blocks that another thread populates", () => {
  it("are nobody's until it has ended, and all that is available can be had", () => {
    eachSeed(40, live)
  })

  it("are waited for by nobody, and not promised, where the thread does not end", () => {
    const arena = arenaOf(20 * MiB)
    const { end, populate, underWay } = thread()
    arena.populateBy(populate)
    const all = Array.from({ length: arena.blocks - MiB / pageBytes }, () => arena.allocate())
    assert.strictEqual(underWay[0]?.memory.length, MiB)
    assert.isBelow(Math.max(...all), arena.blocks * arena.pageWords)
    assert.strictEqual(arena.available, 0)
    assert.strictEqual(arena.allocate(), -1)
    end()
    assert.strictEqual(arena.available, MiB / pageBytes)
    assert.isAtLeast(arena.allocate(), 0)
  })

  it("are most of what is taken, however seldom the thread is heard of", () => {
    const arena = arenaOf(512 * MiB)
    const { end, populate, underWay } = thread()
    let populated = 0
    arena.populateBy((memory, done) => {
      populated += memory.length / pageBytes
      populate(memory, done)
    })
    const turnBlocks = 1500
    for (let turn = 0; turn < 40; turn++) {
      for (let left = turnBlocks; left > 0; left--) arena.allocate()
      assert.isAtMost(underWay.length, 1)
      end()
    }
    assert.isAbove(populated, 0.9 * 40 * turnBlocks)
    assert.isBelow(populated, 40 * turnBlocks + 2 * 16 * MiB / pageBytes, "no more ahead than two stretches")
  })

  it("are none where memory is small", () => {
    const arena = arenaOf(15 * MiB)
    arena.populateBy(() => assert.fail("populated"))
    for (let left = arena.blocks; left > 0; left--) assert.isAtLeast(arena.allocate(), 0)
    assert.strictEqual(arena.allocate(), -1)
  })
})

describe("a disk of this machine", () => {
  it.effect("populates memory in another thread, without losing a descriptor", () =>
    Effect.gen(function*() {
      const { populate } = yield* Disk
      if (populate === undefined) return
      const memory = new Uint8Array(3 * MiB).fill(7)
      let isOver = false
      const once = (view: Uint8Array) =>
        Effect.callback<void>((resume) => populate(view, () => resume(Effect.void)))
      populate(memory, () => {
        isOver = true
      })
      assert.isFalse(isOver, "in a later turn")
      for (let times = 0; times < 1100; times++) yield* once(memory.subarray(0, 4096))
      yield* once(memory)
      assert.isTrue(isOver)
      assert.isTrue(memory.every((byte) => byte === 0))
    }).pipe(Effect.provide(NodeDisk.layer)))
})

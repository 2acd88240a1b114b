/**
 * Which keys were read lately, as far as fingerprints tell.
 */
import { assert, describe, it } from "@effect/vitest"
import { Arena } from "../src/tree/memory/Arena.ts"
import { Ghosts } from "../src/tree/memory/Ghosts.ts"
import { random } from "./support/random.ts"

const arenaOf = (blocks: number): Arena =>
  new Arena({ pageBytes: 1024, blocks, chunkBytes: 1024 * 1024, sharing: "private" })

describe("ghosts", () => {
  for (const seed of [1, 2, 3]) {
    it(`know what comes again soon, and forget what does not (seed ${seed})`, () => {
      const chance = random(seed)
      const ghosts = new Ghosts(arenaOf(384))
      const hashes = Array.from({ length: 100_000 }, () => chance.int(2 ** 32) | 0)
      let strangers = 0
      let soon = 0
      let late = 0
      hashes.forEach((hash, index) => {
        if (ghosts.again(hash)) strangers++
        if (index >= 100 && ghosts.again(hashes[index - 100] as number)) soon++
        if (index >= 50_000 && ghosts.again(hashes[index - 50_000] as number)) late++
      })
      assert.isBelow(strangers, 20)
      assert.isAbove(soon, 95_000)
      assert.isBelow(late, 1_000)
    })
  }

  it("take two to four per cent of the memory, and nothing before the first", () => {
    for (const blocks of [8, 100, 1_000, 5_000]) {
      const ghosts = new Ghosts(arenaOf(blocks))
      assert.strictEqual(ghosts.bytes, 0)
      ghosts.again(1)
      assert.isAtMost(ghosts.bytes, blocks * 1024 / 20)
      assert.isAtLeast(ghosts.bytes, blocks * 1024 / 50)
    }
  })
})

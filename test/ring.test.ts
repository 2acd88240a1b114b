/**
 * The ring by itself, against a model of it (`support/ringBench.ts`).
 */
import { assert, describe, it } from "@effect/vitest"
import { Arena } from "../src/tree/memory/Arena.ts"
import { classesOf, Ring } from "../src/tree/memory/Ring.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import type { Block } from "./support/ringBench.ts"
import { Bench } from "./support/ringBench.ts"

/** What the owner does with a frame at the head: everything in it goes, or moves to the tail. */
const turn = (bench: Bench, chance: Random): void => {
  while (bench.enter() >= 0);
  const frame = bench.pop()
  if (frame === undefined || frame.holds === "page") return
  const blocks = Array.from(bench.live.values())
  for (const block of blocks) {
    if (block.address < frame.address || block.address >= frame.address + bench.arena.pageWords) continue
    const moves = chance.bool(0.3)
    if (moves) bench.allocate(bench.ring.classFor(block.words))
    bench.release(block)
  }
}

const step = (bench: Bench, chance: Random, bias: number): void => {
  const dice = chance.next()
  const pages = [...bench.frames.values()].filter(({ holds }) => holds === "page")
  if (dice < bias) bench.allocate(chance.int(bench.ring.classes.length))
  else if (dice < 0.75 && bench.live.size > 0) bench.release(chance.pick([...bench.live.values()]))
  else if (dice < 0.82) bench.addPage()
  else if (dice < 0.88 && pages.length > 0) bench.removePage(chance.pick(pages))
  else if (dice < 0.91) turn(bench, chance)
  else if (dice < 0.94) bench.enter()
  // Its blocks stay for a while, as those do whose merge waits for the disk.
  else if (dice < 0.96) bench.pop()
  else if (dice < 0.97 && bench.arena.available > 0) bench.others.push(bench.arena.allocate())
  else if (bench.others.length > 0) bench.arena.release(bench.others.pop() as number)
}

const releaseAll = (bench: Bench): void => {
  for (const block of bench.live.values()) bench.release(block)
  for (const frame of bench.frames.values()) if (frame.holds === "page") bench.removePage(frame)
  for (const address of bench.others.splice(0)) bench.arena.release(address)
}

describe("size classes", () => {
  it("grow by a fourth at most, from 512 bytes on by an eighth, to half a page, in whole steps", () => {
    for (const pageBytes of [1024, 2048, 4096, 8192, 16_384, 32_768]) {
      const classes = classesOf(pageBytes)
      assert.strictEqual(classes.at(-1), pageBytes / 8, "half a page")
      assert.strictEqual(classes[0], 32)
      for (let index = 1; index < classes.length; index++) {
        const [before, after] = [classes[index - 1] as number, classes[index] as number]
        assert.isAbove(after, before)
        assert.isAtMost(after, before * (before < 128 ? 1.25 : 1.125))
        assert.strictEqual(after % 8, 0)
      }
    }
  })

  it("a class is the smallest that holds what it is asked for", () => {
    for (const pageBytes of [1024, 4096, 32_768]) {
      const ring = new Ring(new Arena({ pageBytes, blocks: 1 }), { secondChancePercent: 10 })
      for (let words = 0; words <= pageBytes / 8 + 40; words++) {
        assert.strictEqual(
          ring.classFor(words),
          ring.classes.findIndex((size) => size >= words),
          `${words} words`
        )
      }
    }
  })
})

describe("the ring", () => {
  for (const percent of [0, 10, 50, 100]) {
    it(`keeps its books through 30 000 steps, ${percent} percent second chance`, () => {
      let [splits, reused] = [0, 0]
      for (let seed = 1; seed <= 12; seed++) {
        const chance = random(seed * 1000 + percent)
        const bench = new Bench({
          blocks: chance.pick([3, 8, 20]),
          pageBytes: chance.pick([1024, 4096]),
          percent
        })
        let bias = 0.5
        for (let index = 0; index < 2500; index++) {
          if (chance.bool(0.01)) bias = chance.pick([0.2, 0.5, 0.7])
          step(bench, chance, bias)
          if (index % 25 === 0) bench.check()
        }
        bench.check()
        releaseAll(bench)
        bench.check()
        assert.strictEqual(bench.arena.usedBlocks, 0, `seed ${seed}`)
        splits += bench.splits
        reused += bench.reused
      }
      assert.isAbove(splits, 0, "no larger free block was split")
      assert.isAbove(reused, 100)
    })
  }

  it("is first in, first out without second chances", () => {
    const chance = random(7)
    const bench = new Bench({ blocks: 16, pageBytes: 1024, percent: 0 })
    for (let index = 0; index < 40; index++) bench.allocate(chance.int(bench.ring.classes.length))
    assert.strictEqual(bench.ring.entering(), -1)
    const order = bench.queue.map(({ address }) => address)
    assert.isAbove(order.length, 4)
    assert.deepStrictEqual(order.map(() => bench.pop()?.address), order)
    assert.strictEqual(bench.ring.pop(), -1)
  })

  it("has room for the largest class after everything was evicted, however it was cut up", () => {
    for (let seed = 1; seed <= 40; seed++) {
      const chance = random(seed)
      const bench = new Bench({ blocks: 6, pageBytes: 1024, percent: chance.pick([0, 10, 100]) })
      const { ring } = bench
      while (bench.allocate(chance.int(2)) >= 0);
      while (bench.queue.length > 0) {
        while (bench.enter() >= 0);
        const frame = bench.pop()
        if (frame === undefined) break
        for (const block of bench.live.values()) {
          if (Math.floor(block.address / 256) * 256 === frame.address) bench.release(block)
        }
      }
      bench.check()
      assert.strictEqual(bench.arena.usedBlocks, 0)
      for (let count = 0; count < 12; count++) assert.isAtLeast(bench.allocate(ring.classes.length - 1), 0)
      assert.strictEqual(bench.allocate(ring.classes.length - 1), -1)
    }
  })

  it("cuts larger free blocks where the arena has nothing to give", () => {
    const bench = new Bench({ blocks: 2, pageBytes: 1024, percent: 0 })
    const largest = bench.ring.classes.length - 1
    for (let count = 0; count < 4; count++) bench.allocate(largest)
    assert.strictEqual(bench.allocate(0), -1)
    bench.release(bench.live.values().next().value as Block)
    const made = [0, 0, 0, 0].map(() => bench.allocate(0))
    assert.isTrue(made.every((address) => address >= 0), "half a page is four of the least")
    assert.deepStrictEqual([bench.splits, bench.reused], [3, 1], "what is left over is free each time")
    assert.strictEqual(bench.allocate(0), -1)
    bench.check()
  })

  it("gives nothing out in a frame of the region, though it was free before", () => {
    const bench = new Bench({ blocks: 4, pageBytes: 1024, percent: 100 })
    for (let count = 0; count < 8; count++) bench.allocate(0)
    bench.release(bench.live.values().next().value as Block)
    const [frame] = bench.queue
    assert.strictEqual(bench.enter(), frame?.address)
    const address = bench.allocate(0)
    assert.notStrictEqual(Math.floor(address / 256) * 256, frame?.address)
    bench.check()
  })

  it("keeps its order when so many leave from the middle that the queue runs full", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const chance = random(seed)
      const bench = new Bench({ blocks: 5, pageBytes: 1024, percent: 50 })
      // The first stays, so that the queue never gets shorter by itself.
      bench.addPage()
      for (let round = 0; round < 400; round++) {
        bench.addPage()
        if (chance.bool(0.3)) bench.enter()
        const others = bench.queue.slice(1).filter(({ holds }) => holds === "page")
        if (others.length > 2) bench.removePage(chance.pick(others))
        if (chance.bool(0.2)) bench.allocate(chance.int(5))
        if (chance.bool(0.2) && bench.live.size > 0) bench.release(chance.pick([...bench.live.values()]))
        bench.check()
      }
      const order = bench.queue.map(({ address }) => address)
      assert.deepStrictEqual(order.map(() => bench.pop()?.address), order, `seed ${seed}`)
    }
  })
})

/**
 * Many pages for one reader, and the lanes that read them: each is told of once, in memory, and nobody who has left.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { LoadMany } from "../src/actors/buffer/LoadMany.ts"
import type { Loads } from "../src/actors/buffer/Loads.ts"
import { Lanes } from "../src/actors/loop/Lanes.ts"
import { Closed, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import { Misses } from "../src/tree/read/Misses.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { upTo } from "./support/stores.ts"

type Answer = (exit: Exit.Exit<void, StoreError>) => void

/** Loads that answer when they are told to, or at once where a page is here already. */
class Slow {
  readonly waiting = new Map<number, Answer>()
  most = 0
  private readonly chance: Random

  constructor(chance: Random) {
    this.chance = chance
  }

  /** As much of `Loads` as is used. */
  readonly loads = {
    want: (pageId: number, _: string, done: Answer): void => {
      if (this.chance.bool(0.3)) return done(Exit.void)
      this.waiting.set(pageId, done)
      this.most = Math.max(this.most, this.waiting.size)
    }
  } as unknown as Loads

  answer(exit: Exit.Exit<void, StoreError>): void {
    const pageId = this.chance.pick([...this.waiting.keys()])
    const done = this.waiting.get(pageId)
    this.waiting.delete(pageId)
    done?.(exit)
  }
}

/** So many pages, with a key each. */
const missing = (count: number): Misses => {
  const pages = new Misses()
  for (const index of upTo(count)) pages.add(index, 100 + index)
  return pages
}

const failure = storeError(new Closed())

describe("many pages", () => {
  it("are each told of once, and the end after all of them", () => {
    for (let seed = 1; seed <= 300; seed++) {
      const chance = random(seed)
      const slow = new Slow(chance)
      const pages = missing(chance.int(60))
      const told: Array<number> = []
      const ends: Array<Exit.Exit<void, StoreError>> = []
      const many = new LoadMany({
        pages,
        most: 1 + chance.int(8),
        arrived: (index) => {
          assert.isEmpty(ends)
          told.push(index)
          return Exit.void
        },
        done: (exit) => ends.push(exit)
      })
      many.proceed(slow.loads)
      while (slow.waiting.size > 0) {
        assert.isEmpty(ends)
        slow.answer(Exit.void)
      }
      assert.deepStrictEqual(told.sort((a, b) => a - b), upTo(pages.count))
      assert.deepStrictEqual(ends, [Exit.void])
      assert.isAtMost(slow.most, 8)
    }
  })

  it("end with the first failure, of a load or of who is told, and tell of nothing more", () => {
    let failures = 0
    for (let seed = 1; seed <= 300; seed++) {
      const chance = random(seed)
      const slow = new Slow(chance)
      const ends: Array<Exit.Exit<void, StoreError>> = []
      const gone = chance.bool(0.3)
      const many = new LoadMany({
        pages: missing(40),
        most: 4,
        arrived: () => {
          assert.isEmpty(ends)
          return chance.bool(0.03) ? Exit.fail(failure) : Exit.void
        },
        done: (exit) => ends.push(exit)
      })
      many.proceed(slow.loads)
      for (let steps = chance.int(10); gone && steps > 0 && slow.waiting.size > 0; steps--) {
        slow.answer(Exit.void)
      }
      const ended = ends.length
      if (gone) many.abandon()
      while (slow.waiting.size > 0) slow.answer(chance.bool(0.03) ? Exit.fail(failure) : Exit.void)
      assert.strictEqual(ends.length, gone ? ended : 1)
      if (ends[0] !== undefined && Exit.isFailure(ends[0])) failures++
    }
    assert.isAbove(failures, 100)
  })
})

describe("lanes", () => {
  it.effect("do every job, so many at a time, in the order in which they were given", () =>
    Effect.gen(function*() {
      const context = yield* Effect.context<never>()
      const fibers: Array<Fiber.Fiber<void>> = []
      const begun: Array<number> = []
      let [underWay, most, done] = [0, 0, 0]
      const lanes = new Lanes<number>({
        most: 3,
        fork: (effect) => void fibers.push(Effect.runForkWith(context)(effect)),
        work: (job) =>
          Effect.gen(function*() {
            begun.push(job)
            most = Math.max(most, ++underWay)
            for (let times = job % 4; times > 0; times--) yield* Effect.yieldNow
            underWay--
            done++
          })
      })
      for (let job = 0; job < 200; job++) {
        lanes.give(job)
        // Lanes rest in between, and are woken.
        if (job % 50 === 49) { while (done <= job) yield* Effect.yieldNow }
      }
      while (done < 200) yield* Effect.yieldNow
      assert.deepStrictEqual(begun, upTo(200))
      assert.strictEqual(most, 3)
      assert.strictEqual(fibers.length, 3)
      yield* Fiber.interruptAll(fibers)
    }))
})

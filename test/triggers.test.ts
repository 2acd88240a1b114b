/**
 * When checkpoints start by themselves, and how the janitor sweeps.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as Triggers from "../src/actors/checkpoint/Triggers.ts"
import * as Janitor from "../src/actors/Janitor.ts"
import { resolve } from "../src/Limits.ts"
import type { Limits } from "../src/Limits.ts"
import { Closed, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import { random } from "./support/random.ts"

const closed = storeError(new Closed())

const resolved = resolve({})
const checkpoint: Limits["checkpoint"] = {
  ...("limits" in resolved ? resolved.limits.checkpoint : assert.fail("limits")),
  logBytes: 1_000,
  records: 100,
  leafRecords: 10,
  intervalMillis: 60_000
}

/** A store as the triggers see it; a checkpoint takes `takesMillis`, or for ever until it is told to end. */
class Store {
  logBytes = 0
  records = 0
  busiest = 0
  running = true
  outcome: "succeeds" | "fails" = "succeeds"
  takesMillis = 0
  inFlight = 0
  most = 0
  readonly asked: Array<{ readonly trigger: Triggers.Trigger; readonly at: number }> = []

  readonly triggers = Effect.suspend(() =>
    Triggers.make({
      limits: checkpoint,
      fork: (effect) => void Effect.runForkWith(this.context)(effect),
      logBytes: () => this.logBytes,
      records: () => this.records,
      busiest: () => this.busiest,
      running: () => this.running,
      start: (trigger) => this.start(trigger)
    })
  )

  context = Effect.runSync(Effect.context<never>())

  /** Remembers the clock of the test. */
  readonly here = Effect.map(Effect.context<never>(), (context) => {
    this.context = context
  })

  get reasons(): ReadonlyArray<Triggers.Trigger> {
    return this.asked.map(({ trigger }) => trigger)
  }

  private start(trigger: Triggers.Trigger): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      this.asked.push({ trigger, at: yield* Effect.clockWith((clock) => clock.currentTimeMillis) })
      this.inFlight++
      this.most = Math.max(this.most, this.inFlight)
      const cut = { logBytes: this.logBytes, records: this.records }
      if (this.takesMillis > 0) yield* Effect.sleep(this.takesMillis)
      this.inFlight--
      if (this.outcome === "fails") return yield* Effect.fail(closed)
      this.logBytes -= cut.logBytes
      this.records -= cut.records
      this.busiest = 0
    })
  }
}

const made = Effect.gen(function*() {
  const store = new Store()
  yield* store.here
  const check = yield* store.triggers
  return { store, check }
})

describe("a checkpoint starts", () => {
  it.effect("at each of the limits, and not below", () =>
    Effect.gen(function*() {
      const cases = [
        ["bytes", { logBytes: 1_000 }, { logBytes: 999 }],
        ["pressure", { records: 100 }, { records: 99 }],
        ["pressure", { busiest: 10 }, { busiest: 9 }],
        ["bytes", { logBytes: 1_000, records: 100, busiest: 10 }, {}]
      ] as const
      for (const [trigger, at, below] of cases) {
        const { check, store } = yield* made
        Object.assign(store, below)
        check()
        yield* TestClock.adjust(0)
        assert.isEmpty(store.asked)
        Object.assign(store, at)
        check()
        yield* TestClock.adjust(0)
        assert.deepStrictEqual(store.reasons, [trigger])
        check()
        yield* TestClock.adjust(0)
        assert.strictEqual(store.asked.length, 1, "the limit is not reached any more")
      }
    }))

  it.effect("when the interval has passed with commits, and only then", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      store.records = 1
      yield* TestClock.adjust(59_999)
      check()
      assert.isEmpty(store.asked)
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(store.asked, [{ trigger: "interval", at: 60_000 }])
      yield* TestClock.adjust(120_000)
      assert.strictEqual(store.asked.length, 1, "no commits, no checkpoint")
      store.records = 1
      check()
      yield* TestClock.adjust(0)
      assert.strictEqual(store.asked.length, 1, "an interval without commits is not made up for")
      yield* TestClock.adjust(60_000)
      assert.strictEqual(store.asked.length, 2)
    }))

  it.effect("not where the store is closing, has failed, or belongs to another", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      Object.assign(store, { running: false, logBytes: 5_000, records: 5_000 })
      check()
      yield* TestClock.adjust(200_000)
      assert.isEmpty(store.asked)
    }))

  it.effect("again when it is over, if its reason has come back meanwhile", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      Object.assign(store, { logBytes: 1_000, takesMillis: 50 })
      check()
      yield* TestClock.adjust(10)
      store.logBytes += 1_500
      check()
      check()
      assert.strictEqual(store.asked.length, 1)
      yield* TestClock.adjust(40)
      assert.deepStrictEqual(store.asked, [{ trigger: "bytes", at: 0 }, { trigger: "bytes", at: 50 }])
    }))
})

describe("a failed checkpoint", () => {
  it.effect("is tried again after a second, for as long as its reason holds", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      Object.assign(store, { logBytes: 1_000, outcome: "fails" })
      check()
      for (let second = 0; second < 4; second++) {
        yield* TestClock.adjust(999)
        check()
        assert.strictEqual(store.asked.length, second + 1)
        yield* TestClock.adjust(1)
      }
      assert.deepStrictEqual(store.asked.map(({ at }) => at), [0, 1_000, 2_000, 3_000, 4_000])
      store.outcome = "succeeds"
      yield* TestClock.adjust(10_000)
      assert.strictEqual(store.asked.length, 6)
    }))

  it.effect("of the interval too, unless another came first", () =>
    Effect.gen(function*() {
      const { store } = yield* made
      Object.assign(store, { records: 1, outcome: "fails" })
      yield* TestClock.adjust(60_500)
      assert.strictEqual(store.asked.length, 1)
      yield* TestClock.adjust(1_000)
      assert.deepStrictEqual(store.asked.map(({ at }) => at), [60_000, 61_000])
      // Somebody asked for one by hand.
      store.records = 0
      yield* TestClock.adjust(10_000)
      assert.strictEqual(store.asked.length, 2)
    }))

  it.effect("is not tried again once the store is closing", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      Object.assign(store, { logBytes: 1_000, outcome: "fails" })
      check()
      store.running = false
      yield* TestClock.adjust(10_000)
      assert.strictEqual(store.asked.length, 1)
    }))
})

describe("at most one checkpoint is asked for at a time", () => {
  it.effect("the interval waits for the one under way", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      yield* TestClock.adjust(59_990)
      Object.assign(store, { logBytes: 1_000, records: 5, takesMillis: 100 })
      check()
      yield* TestClock.adjust(50)
      assert.strictEqual(store.inFlight, 1)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(store.reasons, ["bytes"], "what the interval wanted has just been done")
      yield* TestClock.adjust(60_000)
      assert.strictEqual(store.most, 1)
    }))

  it.effect("while the interval's is under way, none is asked for", () =>
    Effect.gen(function*() {
      const { check, store } = yield* made
      Object.assign(store, { records: 5, takesMillis: 100 })
      yield* TestClock.adjust(60_050)
      assert.deepStrictEqual(store.reasons, ["interval"])
      store.logBytes = 1_000
      check()
      yield* TestClock.adjust(1)
      assert.strictEqual(store.most, 1)
    }))

  for (let seed = 1; seed <= 30; seed++) {
    it.effect(`and none is forgotten (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const { check, store } = yield* made
        for (let turn = 0; turn < 300; turn++) {
          store.logBytes += chance.int(200)
          store.records += chance.int(8)
          store.busiest = Math.max(store.busiest, chance.int(9))
          store.outcome = chance.bool(0.2) ? "fails" : "succeeds"
          store.takesMillis = chance.int(2_000)
          check()
          yield* TestClock.adjust(chance.int(3_000))
          assert.isAtMost(store.most, 1)
        }
        store.outcome = "succeeds"
        yield* TestClock.adjust(10_000)
        assert.isBelow(store.logBytes, checkpoint.logBytes)
        assert.isAbove(store.asked.length, 10)
      }))
  }
})

describe("Janitor", () => {
  /** Trees of so many pages each; some pages have to be loaded before they can be freed. */
  const janitor = (sizes: Array<number>, chance: () => boolean) => {
    const slices: Array<number> = []
    const loads: Array<number> = []
    const sweeps = { now: 0, most: 0 }
    const state = { running: true, missing: 0 }
    const tidy = Janitor.make({
      fork: (effect) => {
        sweeps.most = Math.max(sweeps.most, ++sweeps.now)
        Effect.runFork(Effect.ensuring(effect, Effect.sync(() => sweeps.now--)))
      },
      dirty: () => state.running && sizes.length > 0,
      freeSlice: (pages) => {
        if (state.missing === 0 && chance()) return state.missing = 7
        state.missing = 0
        const left = (sizes[0] as number) - pages
        slices.push(Math.min(pages, sizes[0] as number))
        if (left > 0) sizes[0] = left
        else sizes.shift()
        return 0
      },
      load: (pageId) => Effect.sync(() => void loads.push(pageId))
    })
    return { tidy, slices, loads, sweeps, state }
  }
  const quiet = Effect.repeat(Effect.yieldNow, { times: 300 })

  it.effect("sweeps in slices, and yields between them", () =>
    Effect.gen(function*() {
      const { slices, sweeps, tidy } = janitor([5_000, 3, 700], () => false)
      tidy()
      tidy()
      const seen = new Set<number>()
      while (sweeps.now > 0) {
        seen.add(slices.length)
        tidy()
        yield* Effect.yieldNow
      }
      assert.strictEqual(slices.reduce((sum, pages) => sum + pages, 0), 5_703)
      assert.isAtMost(Math.max(...slices), 256)
      assert.isAbove(seen.size, 10, "others run between slices")
      assert.strictEqual(sweeps.most, 1)
    }))

  for (let seed = 1; seed <= 20; seed++) {
    it.effect(`takes everything down, however much must be loaded (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const sizes: Array<number> = []
        const { loads, slices, sweeps, tidy } = janitor(sizes, () => chance.bool(0.4))
        let pages = 0
        for (let turn = 0; turn < 20; turn++) {
          const size = 1 + chance.int(1_000)
          pages += size
          sizes.push(size)
          tidy()
          if (chance.bool(0.5)) yield* Effect.yieldNow
        }
        yield* quiet
        assert.isEmpty(sizes)
        assert.strictEqual(slices.reduce((sum, slice) => sum + slice, 0), pages)
        assert.isAbove(loads.length, 0)
        assert.strictEqual(sweeps.most, 1)
      }))
  }

  it.effect("does nothing where there is nothing to do, and stops with the store", () =>
    Effect.gen(function*() {
      const sizes: Array<number> = []
      const { slices, state, sweeps, tidy } = janitor(sizes, () => false)
      tidy()
      assert.strictEqual(sweeps.most, 0)
      sizes.push(10_000)
      tidy()
      yield* Effect.yieldNow
      state.running = false
      const { length } = slices
      yield* quiet
      assert.isAtMost(slices.length, length)
      assert.strictEqual(sweeps.now, 0)
    }))

  it.effect("a page that cannot be loaded ends the sweep, and the next one tries again", () =>
    Effect.gen(function*() {
      let broken = true
      let freed = 0
      const gate = yield* Deferred.make<void>()
      const tidy = Janitor.make({
        fork: (effect) => void Effect.runFork(Effect.andThen(effect, Deferred.succeed(gate, undefined))),
        dirty: () => freed === 0,
        freeSlice: () => {
          if (broken) return 9
          freed++
          return 0
        },
        load: (pageId) => {
          assert.strictEqual(pageId, 9)
          return Effect.fail(closed)
        }
      })
      tidy()
      yield* Deferred.await(gate)
      assert.strictEqual(freed, 0)
      broken = false
      tidy()
      yield* quiet
      assert.strictEqual(freed, 1)
    }))
})

/**
 * What a small memory keeps, and what that saves: the rest of group D of the cases that any ordered store must pass.
 * Numbers are those that the store counts itself.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Stat } from "../src/Inspect.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import { Arena } from "../src/tree/memory/Arena.ts"
import { classesOf, Ring } from "../src/tree/memory/Ring.ts"
import type { World } from "./support/configurations.ts"
import { configuration, everywhere } from "./support/configurations.ts"
import type { Twin, Write } from "./support/oracle.ts"
import { random } from "./support/random.ts"
import { upTo } from "./support/stores.ts"
import { World as Kernel } from "./support/world.ts"

const keyOf = (n: number): string => `k${String(n).padStart(6, "0")}`
const stat: Effect.Effect<Stat, never, Store.Store> = Effect.flatMap(Store.Store, (store) => store.stat)

/**
 * Leaves on the disk, and nothing of them in memory but inner nodes: written while memory is plenty, so that no
 * mini-page is left, and opened again. What is in the ring is of another keyspace.
 */
const laid = (world: World, twin: Twin): Effect.Effect<void, StoreError, Store.Store> =>
  Effect.gen(function*() {
    yield* world.reopen({ memory: "8 MiB" })
    yield* twin.writeIn(50, upTo(1_500).map((n): Write => [keyOf(n), "v".repeat(60)]))
    yield* world.chill
    yield* world.reopen()
    yield* world.chill
    yield* twin.agreeIn({})
    yield* world.chill
    assert.strictEqual((yield* stat).resident.miniPages.count, 0)
  })

/** Keys of as many leaves, where leaves are small. */
const spread = upTo(30).map((n) => keyOf(n * 24))

/** How many pages a body has read for keys. */
const missed = <E>(body: Effect.Effect<void, E, Store.Store>): Effect.Effect<number, E, Store.Store> =>
  Effect.gen(function*() {
    const before = (yield* stat).buffer.loads.read
    yield* body
    return (yield* stat).buffer.loads.read - before
  })

/** In a ring of eight frames what was just spared may come to the head again before anybody has used it. */
const lapsMissed = 3

/** Reads more keys than fit, few of each leaf, and `hot` in between; answers how many pages that one has read. */
const laps = (twin: Twin, hot: string): Effect.Effect<number, StoreError, Store.Store> =>
  Effect.gen(function*() {
    let misses = 0
    for (let times = 0; times < 3; times++) {
      for (let n = 100; n < 1_400; n += 9) {
        yield* twin.agreeOn([keyOf(n), keyOf(n + 1)])
        misses += yield* missed(twin.agreeOn([hot]))
      }
    }
    return misses
  })

for (const secondChancePercent of [1, 50]) {
  everywhere((test, { name }) => {
    test(
      `D32 what is used goes around with the memory, what is not does not, at ${secondChancePercent} %`,
      (world) =>
        Effect.gen(function*() {
          const twin = world.twin("used")
          yield* laid(world, twin)
          const [hot, cold] = [keyOf(3), keyOf(1_450)]
          const first = yield* missed(twin.agreeOn([hot, cold]))
          assert.strictEqual(yield* missed(twin.agreeOn([hot, cold])), 0)
          const before = (yield* stat).buffer.evicted
          assert.isAtMost(yield* laps(twin, hot), name === "tiny" ? lapsMissed : 0)
          const after = (yield* stat).buffer.evicted
          assert.strictEqual(yield* missed(twin.agreeOn([cold])), name === "normal" ? 0 : 1)
          assert.strictEqual(first, name === "normal" ? 0 : 2)
          if (name !== "normal") assert.isAbove(after.spared, before.spared)
          else assert.deepStrictEqual(after, before)
        }),
      { options: { limits: { promotionPercent: 100, secondChancePercent } } }
    )
  })
}

describe("D32 at the ends, which no option allows", () => {
  for (const mode of ["miniPages", "pages"] as const) {
    for (const [secondChancePercent, survives] of [[0, false], [100, true]] as const) {
      it(`${mode}, ${secondChancePercent} %: what is used ${survives ? "stays" : "leaves in its turn"}`, () => {
        const kernel = new Kernel(random(1), { blocks: 40, mode, promotionPercent: 100, secondChancePercent })
        const root = kernel.create(1)
        for (let n = 0; n < 2_000; n++) {
          kernel.put(root, { key: keyOf(n), value: "v".repeat(60), version: n + 1, expiry: Infinity })
        }
        for (let n = 0; n < 2_000; n++) kernel.get(root, keyOf(n), Infinity)
        const misses = (key: string): number => {
          const { loads } = kernel
          kernel.get(root, key, Infinity)
          return kernel.loads - loads
        }
        const cold = keyOf(1_000)
        misses(cold)
        let hot = misses(keyOf(0))
        for (let n = 0; n < 6_000; n += 7) {
          // What is read leaves a copy only where there is room.
          kernel.makeRoom(2)
          kernel.get(root, keyOf(1_100 + n % 900), Infinity)
          hot += misses(keyOf(0))
        }
        assert.isAbove(misses(cold), 0)
        if (survives) assert.isAtMost(hot, 2)
        else assert.isAbove(hot, 2)
      })
    }
  }
})

everywhere((test, { name }) => {
  test("D34 at 0 % reads leave nothing behind", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("none")
      yield* laid(world, twin)
      yield* twin.agreeOn(spread)
      yield* world.chill
      const again = yield* missed(twin.agreeOn(spread))
      if (name === "normal") assert.strictEqual(again, 0)
      else assert.isAbove(again, 20)
      const { buffer, resident } = yield* stat
      assert.deepStrictEqual(buffer.promoted, { cache: 0, phantom: 0 })
      assert.strictEqual(resident.miniPages.count, 0)
    }), { options: { limits: { promotionPercent: 0 } } })

  test("D34 at 100 % the second read of a key reads nothing", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("all")
      yield* laid(world, twin)
      const first = yield* missed(twin.agreeOn(spread))
      yield* world.chill
      const again = yield* missed(twin.agreeOn(spread))
      const { buffer, resident } = yield* stat
      if (name === "tiny") {
        assert.strictEqual(first, spread.length)
        assert.strictEqual(again, 0)
        assert.deepStrictEqual(buffer.promoted, { cache: spread.length, phantom: 0 })
        assert.strictEqual(resident.miniPages.cache.records, spread.length)
      } else {
        assert.strictEqual(again, name === "normal" ? 0 : first)
        assert.strictEqual(resident.miniPages.count, 0)
      }
    }), { options: { limits: { promotionPercent: 100 } } })

  test(
    "D35 the next look for a key that is not there reads nothing; put, it is found; removed, it is not",
    (world) =>
      Effect.gen(function*() {
        const twin = world.twin("absent")
        yield* laid(world, twin)
        const absent = spread.slice(0, 25).map((key) => `${key}x`)
        yield* twin.agreeOn(absent)
        const before = (yield* stat).reads
        const looks = Effect.gen(function*() {
          yield* world.chill
          yield* twin.agreeOn(absent)
        })
        const later = yield* missed(Effect.andThen(looks, looks))
        const after = (yield* stat).reads
        const written = yield* missed(Effect.gen(function*() {
          yield* twin.writeIn(5, absent.map((key): Write => [key, "there"]))
          yield* looks
          yield* twin.remove(...absent)
          yield* looks
        }))
        yield* world.pause
        yield* twin.agreeOn(absent)
        if (name === "pages") return assert.isAbove(later, 0)
        assert.strictEqual(later, 0)
        assert.strictEqual(written, 0)
        if (name === "tiny") assert.strictEqual(after.phantom - before.phantom, 4 * absent.length)
      }),
    { options: { limits: { promotionPercent: 100 } } }
  )

  test("D36 writes read nothing while there is room, and then many of them share a merge", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twin = world.twin("blind")
      yield* laid(world, twin)
      const before = (yield* stat).buffer
      yield* twin.writeIn(4, spread.map((key): Write => [key, "new"]))
      const few = (yield* stat).buffer
      const writes = 3_000
      yield* twin.writeIn(10, upTo(writes).map((): Write => [keyOf(chance.int(400)), `${chance.int(1_000)}`]))
      const { buffer } = yield* stat
      if (name === "pages") {
        assert.isAbove(few.loads.write, before.loads.write)
        assert.strictEqual(buffer.merged.merges, 0)
      } else {
        assert.deepStrictEqual(few.loads, before.loads)
        assert.strictEqual(few.merged.merges, 0)
        const merges = buffer.merged.merges - few.merged.merges
        if (name === "tiny") assert.isAbove(merges, 0)
        assert.isAtMost(merges * 3, writes)
        assert.isAtMost(buffer.loads.write - before.loads.write, merges)
      }
      yield* twin.agree
    }))
})

everywhere((test) => {
  test(
    "D34 in between a key that is read a second time soon is remembered, whatever the dice say",
    (world) =>
      Effect.gen(function*() {
        const twin = world.twin("some")
        yield* laid(world, twin)
        const rounds: Array<number> = []
        for (let round = 0; round < 30; round++) {
          rounds.push(yield* missed(twin.agreeOn(spread)))
          yield* world.chill
        }
        // Each round looks twice for a key. Some keys share their place among the ghosts.
        assert.strictEqual(rounds[0], spread.length)
        assert.isBelow(rounds[1] ?? Infinity, spread.length / 4)
        assert.strictEqual(rounds.at(-1), 0)
      }),
    { options: { limits: { promotionPercent: 1 } } }
  )

  test("D37 a mini-page grows from class to class, is merged, and shrinks when most of it is cold", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("classes")
      yield* laid(world, twin)
      const { machine } = yield* Store.Store
      const classes = [...classesOf(machine.limits.pageBytes)].map((words) => words * 4)
      const before = (yield* stat).buffer
      const seen: Array<number> = []
      for (let n = 0; (yield* stat).buffer.merged.merges === before.merged.merges; n++) {
        assert.isBelow(n, 40, "it is never merged")
        yield* twin.put(`${keyOf(500)}-${n}`, "new")
        const { resident } = yield* stat
        if (resident.miniPages.count === 1 && seen.at(-1) !== resident.live) seen.push(resident.live)
      }
      const { merged } = (yield* stat).buffer
      const grown = seen.filter((live, index) => index === 0 || live > (seen[index - 1] as number))
      assert.deepStrictEqual(grown.filter((live) => !classes.includes(live)), [])
      assert.deepStrictEqual([grown[0], grown.at(-1)], [classes[0], classes.at(-1)])
      assert.isAbove(grown.length, 5)
      assert.isAtLeast(merged.records - before.merged.records, 5)
      yield* twin.agree

      const warm = upTo(3).map((n) => keyOf(2 + n))
      const [hot] = warm as [string]
      yield* twin.agreeOn(warm)
      yield* world.chill
      assert.strictEqual(yield* missed(twin.agreeOn(warm)), 0)
      assert.isAtMost(yield* laps(twin, hot), lapsMissed)
      yield* world.chill
      assert.strictEqual(yield* missed(twin.agreeOn([hot])), 0)
      assert.isAbove(yield* missed(twin.agreeOn(warm.slice(1))), 0)
    }))
}, [configuration("tiny")])

describe("the ring", () => {
  it("D38 a million blocks of every class come and go: the oldest frames that go always make room", () => {
    const chance = random(1)
    const arena = new Arena({ pageBytes: 1024, blocks: 48 })
    const ring = new Ring(arena, { secondChancePercent: 10 })
    const live: Array<number> = []
    const places = new Map<number, number>()
    const drop = (index: number): void => {
      const address = live[index] as number
      const last = live.pop() as number
      if (last !== address) {
        live[index] = last
        places.set(last, index)
      }
      places.delete(address)
      ring.release(address)
    }
    const passHead = (): void => {
      const frame = ring.pop()
      assert.isAtLeast(frame, 0, "nothing is left to go")
      for (let at = ring.nextLive(frame, frame); at >= 0;) {
        const next = ring.nextLive(frame, at + ring.wordsOf(at))
        drop(places.get(at) as number)
        at = next
      }
    }
    const largest = ring.classes.length - 1
    let passed = 0
    for (let step = 0; step < 1_000_000; step++) {
      // Small ones and large ones by turns: what one leaves free is of little use to the other.
      const bias = Math.floor(step / 5_000) % 3
      if (live.length > 0 && chance.bool(bias === 1 ? 0.6 : 0.4)) {
        drop(chance.int(live.length))
        continue
      }
      const sizeClass = bias === 0 ? chance.int(2) : bias === 1 ? largest : chance.int(largest + 1)
      let address = ring.allocate(sizeClass)
      for (let tries = 0; address < 0; tries++) {
        assert.isBelow(tries, arena.blocks, `step ${step}`)
        while (ring.entering() >= 0);
        passHead()
        passed++
        address = ring.allocate(sizeClass)
      }
      places.set(address, live.length)
      live.push(address)
      if (step % 1_000 === 0) {
        let words = 0
        for (const each of live) words += ring.wordsOf(each)
        assert.strictEqual(ring.liveWords, words)
        assert.isAtMost(words, arena.usedBlocks * arena.pageWords)
      }
    }
    assert.isAbove(passed, 1_000)
    while (live.length > 0) passHead()
    assert.strictEqual(arena.usedBlocks, ring.frames)
    for (let index = 0; index < 2 * arena.blocks; index++) assert.isAtLeast(ring.allocate(largest), 0)
  })
})

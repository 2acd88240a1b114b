/**
 * One budget for all memory: what a store holds of any kind is in `stat`, and together it is what was allowed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import { layer } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import { Arena } from "../src/tree/memory/Arena.ts"
import { Budget } from "../src/tree/memory/Budget.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import { keyspaceOf, open } from "./support/storeDoor.ts"

const pageBytes = 1024

describe("budget", () => {
  it("gives the pages what others leave, and takes nothing from those who free memory", () => {
    for (let seed = 1; seed <= 50; seed++) {
      const chance = random(seed)
      const blocks = 100 + chance.int(400)
      const arena = new Arena({ pageBytes, blocks })
      arena.reserve = chance.int(10)
      const budget = new Budget(arena, blocks * pageBytes)
      let others = 0
      budget.hold("tail", () => others)
      const taken: Array<number> = []
      for (let step = 0; step < 500; step++) {
        if (chance.bool(0.2)) others = chance.int(blocks * pageBytes)
        for (let more = chance.int(40); more > 0 && chance.bool(0.9); more--) {
          const address = arena.allocate()
          if (address >= 0) taken.push(address)
        }
        for (let fewer = chance.int(40); fewer > 0 && taken.length > 0; fewer--) {
          arena.release(taken.splice(chance.int(taken.length), 1)[0] as number)
        }
        const free = arena.freeBlocks
        const before = arena.limit
        const { counted } = budget
        const owed = budget.refresh()
        const right = Math.min(
          blocks,
          Math.max(64, blocks >>> 1, Math.floor((blocks * pageBytes - budget.counted) / pageBytes))
        )
        assert.strictEqual(arena.limit, right + owed)
        // What was held counts for a while, and then no more.
        assert.isAtLeast(budget.counted, others)
        assert.isAtMost(budget.counted, Math.max(others, counted === 0 ? 0 : counted - 1))
        // Whoever frees memory has the reserve to work in, as far as there was one.
        assert.isAtLeast(arena.freeBlocks, Math.min(free, arena.reserve))
        // Who would take more waits as long as others need it, and the limit never rises meanwhile.
        if (owed === 0) continue
        assert.strictEqual(arena.available, 0)
        assert.isAtMost(arena.limit, before)
      }
    }
  })

  it("asks now and then for what is kept and not needed, and counts it as given back", () => {
    const arena = new Arena({ pageBytes, blocks: 100 })
    const budget = new Budget(arena, 100 * pageBytes)
    let [kept, looks, asked] = [5_000, 0, 0]
    budget.hold("map", () => 7)
    budget.hold("tail", () => kept, () => {
      asked++
      kept = 1_000
    })
    for (; asked === 0; looks++) budget.refresh()
    assert.isAbove(looks, 1_000)
    assert.strictEqual(budget.bytes, 1_007)
    for (let more = 0; more < 2 * looks; more++) budget.refresh()
    assert.strictEqual(asked, 3)
  })

  for (const seed of [1, 2, 3]) {
    it.effect(`is what a store holds under load, all kinds together (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const rows = keyspaceOf("rows")
        const { close, store } = yield* open({
          pageSize: pageBytes,
          memory: "8 MiB",
          durability: "memory",
          checkpoint: { logBytes: "2 MiB" }
        })
        let most = 0
        let samples = 0
        const sample = Effect.map(store.stat, ({ memory }) => {
          samples++
          const { limit, total, ...kinds } = memory
          most = Math.max(most, total / limit)
          assert.strictEqual(total, Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0))
          assert.isAtMost(total, limit * 1.05, JSON.stringify(memory))
        })
        const watching = yield* Effect.forkChild(Effect.forever(Effect.andThen(Effect.yieldNow, sample)))
        const keys = 80_000
        const write = Effect.suspend(() =>
          Effect.forEach(
            Array.from({ length: 100 }, () => Buffer.from(`key ${chance.int(keys)}`.padStart(16, "0"))),
            (key) => rows.put(key, Buffer.alloc(100, "v")),
            { discard: true }
          )
        )
        const provided = <A, E>(effect: Effect.Effect<A, E, Store.Store>) =>
          Effect.provideService(effect, Store.Store, store)
        for (let round = 0; round < 600; round++) {
          yield* provided(Tx.transact()(write))
          if (round % 200 === 199) {
            // Versions are kept for whoever reads an older state.
            const read = Stream.runCount(Stream.take(Snapshot.stream()(rows.range({})), 2_000))
            yield* provided(read)
          }
          yield* sample
        }
        yield* store.checkpoint
        yield* Fiber.interrupt(watching)
        const { memory } = yield* store.stat
        assert.isAbove(samples, 150)
        // Not only is it kept, it is also used.
        assert.isAtLeast(most, 0.8)
        figure("L1 samples of the budget", { samples }, `at most ${most.toFixed(3)} of the memory`, memory)
        yield* close
      }).pipe(Effect.provide(layer({ seed }))))
  }
})

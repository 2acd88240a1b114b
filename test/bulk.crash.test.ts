/**
 * Loads that are cut short by power, in memory that holds all of them and in little, with checkpoints in the middle and
 * between records that are there already: what is left is a prefix, the tree is sound, and the load can be done again.
 *
 * `HEARTWOOD_SEED=n` replays one seed, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import * as Bulk from "../src/Bulk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { configurations } from "./support/configurations.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import { seedsOf } from "./support/seeds.ts"
import { open } from "./support/storeDoor.ts"
import { upTo } from "./support/stores.ts"
import { passing } from "./support/storeSize.ts"
import { Words } from "./support/words.ts"

const asked = process.env["HEARTWOOD_SEED"]
const counts = { rounds: 0, cut: 0, checkpoints: 0, filled: 0, leaves: 0, replayed: 0 }

const key = (n: number): string => `k${String(n).padStart(6, "0")}`

const rowsOf = (store: Store.Store["Service"]) =>
  Effect.map(
    Effect.provideService(Snapshot.read()(Stream.runCollect(Words.range())), Store.Store, store),
    (rows) => rows.map(({ key, value }): readonly [string, string] => [key, value])
  )

const inspected = (store: Store.Store["Service"]) =>
  Effect.gen(function*() {
    const { violations } = yield* store.inspect
    assert.deepStrictEqual(violations, [])
    const { keyspaces } = yield* store.stat
    const rows = yield* rowsOf(store)
    if (keyspaces[0]?.unresolved === 0) assert.strictEqual(keyspaces[0].records, rows.length)
    return rows
  })

const round = (seed: number) =>
  Effect.gen(function*() {
    const chance = random(seed)
    const { options } = chance.pick(configurations)
    const faults = yield* FaultDisk
    const first = yield* open(options)
    const within = <A, E>(effect: Effect.Effect<A, E, Store.Store>) =>
      Effect.provideService(effect, Store.Store, first.store)
    // Neighbours on both sides, and a few in the way.
    const before = new Map<string, string>(
      upTo(300).map((n) => [`${chance.pick(["a", "z"])}${n}`, `${n}`] as const)
    )
    for (let n = chance.int(4); n > 0; n--) before.set(`${key(chance.int(3_000))}~`, "in the way")
    yield* within(Tx.transact()(Effect.forEach(before, ([key, value]) => Words.put(key, value))))
    const load = upTo(4_000).map((n) => [key(n), `${n}${"x".repeat(chance.int(60))}`] as const)
    const checkpoints = chance.bool(0.7) ? chance.pick([0.2, 0.5]) : 0
    const crash = { seed: chance.int(2 ** 31) }
    yield* faults.fail({
      at: 1 + chance.int(chance.pick([10, 60, 200, 500])),
      outcome: { _tag: "Cut", crash }
    })
    const progress = () =>
      chance.bool(checkpoints)
        ? Effect.suspend(() => {
          counts.checkpoints++
          return Effect.asVoid(Effect.forkDetach(Effect.ignore(first.store.checkpoint)))
        })
        : Effect.void
    const exit = yield* Effect.raceFirst(Effect.exit(within(Bulk.load(Words, load, { progress }))), passing)
    counts.filled += first.store.machine.tree.filled.puts
    counts.leaves += first.store.machine.tree.filled.leaves
    yield* faults.heal
    yield* faults.cut(crash)
    yield* Effect.raceFirst(first.close, passing)
    yield* faults.restart
    if (Exit.isFailure(exit)) counts.cut++
    const second = yield* open(options)
    counts.replayed += second.store.machine.tree.filled.puts
    const found = (yield* inspected(second.store)).filter(([key]) => !before.has(key))
    assert.deepStrictEqual(found, load.slice(0, found.length))
    if (Exit.isSuccess(exit)) assert.strictEqual(found.length, load.length)
    yield* Effect.provideService(Bulk.load(Words, load), Store.Store, second.store)
    const all = [...before, ...load].sort(([a], [b]) => a < b ? -1 : 1)
    assert.deepStrictEqual(yield* inspected(second.store), all)
    yield* second.close
    const third = yield* open(options)
    assert.deepStrictEqual(yield* inspected(third.store), all)
    yield* third.close
    counts.rounds++
  }).pipe(Effect.provide(layer({ seed })))

describe("a load that is cut short", () => {
  it.effect("leaves a prefix in a sound tree, and can be done again", () =>
    Effect.gen(function*() {
      const { count, from, own } = asked === undefined
        ? seedsOf({ from: 1, count: 16 })
        : { from: Number(asked), count: 1, own: false }
      for (let seed = from; seed < from + count; seed++) {
        yield* Effect.catchCause(round(seed), (cause) => Effect.die(new Error(`seed ${seed}`, { cause })))
      }
      figure("C1 crashes amid loads", counts)
      if (!own) return
      assert.isAbove(counts.cut, 8)
      assert.isAbove(counts.filled, 20_000)
      assert.isAbove(counts.replayed, 3_000)
      assert.isAbove(counts.leaves, 500)
      assert.isAbove(counts.checkpoints, 10)
    }))
})

/**
 * Verifying a store that is open and written to: what moves on while one looks is no damage, and nobody waits for it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Verify from "../src/Verify.ts"
import { random } from "./support/random.ts"
import { directory, upTo } from "./support/stores.ts"

const Values = Keyspace.bytes("values")

/** Writes and takes checkpoints for as long as it is let. */
const busy = (seed: number) =>
  Effect.gen(function*() {
    const chance = random(seed)
    const store = yield* Store.Store
    for (let commits = 0;; commits++) {
      yield* Effect.forEach(upTo(1 + chance.int(30)), () => {
        const key = Buffer.from(`key ${chance.int(3_000)}`)
        return chance.bool(0.2)
          ? Values.remove(key)
          : Values.put(key, chance.bytes(chance.bool(0.05) ? 1_500 : chance.int(60)))
      }, { discard: true }).pipe(Tx.transact({ durability: chance.pick(["memory", "buffered", "synced"]) }))
      if (chance.bool(0.1)) yield* store.checkpoint
    }
  })

describe("a store that is written to", () => {
  it.live("is sound all the time", () =>
    Effect.scoped(Effect.gen(function*() {
      const path = `${yield* directory}/store`
      const open = Store.layer({ path, memory: "256 KiB", pageSize: "1 KiB", segmentSize: "16 KiB" })
      const steps = new Set<string>()
      const watch = ({ done, step, total }: Verify.Progress) =>
        Effect.sync(() => {
          assert.isAtMost(done, total)
          steps.add(step)
        })
      const looking = Effect.provideService(Verify.verify({ path }), Verify.Watcher, watch)
      yield* Effect.provide(
        Effect.gen(function*() {
          const writer = yield* Effect.forkChild(busy(1))
          let commits = 0
          for (let looks = 0; looks < 12; looks++) {
            yield* Effect.sleep(20)
            const report = yield* looking
            assert.deepStrictEqual(report.findings, [])
            assert.isAtLeast(report.log?.end ?? 0, commits)
            commits = report.log?.end ?? 0
          }
          assert.isAbove(commits, 20_000)
          yield* Fiber.interrupt(writer)
          yield* Effect.forEach(
            upTo(40),
            (n) => Values.put(Buffer.from(`large ${n}`), random(n).bytes(64 * 1024)).pipe(Tx.transact())
          )
        }),
        open
      )
      const closed = yield* looking
      assert.deepStrictEqual(closed.findings, [])
      assert.isAbove(closed.records, 500)
      assert.deepStrictEqual([...steps].sort(), ["log", "newest checkpoint"])
    })), 60_000)
})

/**
 * A store with little memory goes on where it lacked room: while it commits, and while it recovers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { layer } from "../src/disk/FaultDisk.ts"
import { Store, Tx } from "../src/index.ts"
import { commitNext, Model, options, read } from "./kill/Plan.ts"
import { dump, open, perform } from "./support/storeDoor.ts"

/** Less memory than the records need, by far; the log is kept, so that all of it is replayed. */
const tight = (directory: string, blocks: number): Store.Options => ({
  ...options(directory),
  memory: 64 * 1024 + blocks * 4096,
  checkpoint: { logBytes: "32MiB" }
})

const pageBytes = 1024

/** So few pages that a tree of long keys soon has more inner ones. */
const outgrown = (blocks: number): Omit<Store.Options, "path"> => ({
  limits: {
    pageBytes,
    memoryBytes: (blocks + 4) * pageBytes,
    stagingBytes: 4 * pageBytes,
    mergeWorkspaces: 1,
    loadsInFlight: 1,
    segmentBytes: 65_536
  }
})

/** Keys that differ at their end, so that inner pages hold few of them; in no order. */
const longKey = (number: number): string =>
  `${"k".repeat(180)}${String((number * 7919) % 1_000_003).padStart(7, "0")}`

/** Goes round the event loop so often that whoever makes progress has ended. */
const turns = (count: number): Effect.Effect<never> =>
  Effect.promise(async () => {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
    throw new Error(`nothing has come of it in ${count} turns`)
  })

describe("park", () => {
  for (const blocks of [90, 91, 92, 93, 120]) {
    it(`${blocks} pages of memory`, async () => {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-park-"))
      const [store, copy] = [path.join(directory, "store"), path.join(directory, "copy")]
      const model = new Model()
      model.advance(500)
      const commits = Effect.gen(function*() {
        for (let number = 1; number < model.number; number++) yield* commitNext("memory")
        yield* commitNext("synced")
        // As a process leaves it that is killed: closing would take a checkpoint.
        fs.cpSync(store, copy, { recursive: true })
        return yield* read
      })
      const before = await Effect.runPromise(Effect.provide(commits, Store.layer(tight(store, blocks))))
      const after = await Effect.runPromise(Effect.provide(read, Store.layer(tight(copy, blocks))))
      for (const found of [before, after]) {
        assert.strictEqual(found.number, model.number)
        assert.isUndefined(model.difference(found))
      }
      fs.rmSync(directory, { recursive: true })
    })
  }

  it.effect("says so where inner pages leave no room beside them", () =>
    Effect.gen(function*() {
      const small = outgrown(24)
      const { close, store } = yield* open(small)
      const commit = (key: string) =>
        Tx.transact()(perform([{ _tag: "put", keyspace: "one", key, value: key }], []))
      const commits = Effect.gen(function*() {
        for (let number = 0;; number++) {
          const exit = yield* Effect.exit(Effect.provideService(commit(longKey(number)), Store.Store, store))
          if (Exit.isFailure(exit)) return { number, exit }
          if (number > 20_000) throw new Error("nothing is short")
        }
      })
      // By itself, as a commit that is under way cannot be interrupted.
      const running = yield* Effect.forkDetach(commits)
      const { exit, number } = yield* Effect.raceFirst(Fiber.join(running), turns(5_000))
      const error = Exit.findErrorOption(exit)
      assert.strictEqual(error._tag === "Some" ? error.value.reason._tag : undefined, "LimitExceeded")
      yield* close
      const larger = yield* open(outgrown(64))
      const keys = (yield* dump(larger.store, ["one"])).get("one")?.map(({ key }) => key)
      yield* larger.close
      // The one that failed is in the log, or is not.
      const expected = Array.from({ length: number + (keys?.length === number ? 0 : 1) }, (_, index) =>
        longKey(index))
      assert.deepStrictEqual(keys, expected.sort())
    }).pipe(Effect.provide(layer())))
})

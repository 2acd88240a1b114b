/**
 * A store with little memory goes on where it lacked room: while it commits, and while it recovers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import { Store } from "../src/index.ts"
import { commitNext, Model, options, read } from "./kill/Plan.ts"

/** Less memory than the records need, by far; the log is kept, so that all of it is replayed. */
const tight = (directory: string, blocks: number): Store.Options => ({
  ...options(directory),
  memory: 64 * 1024 + blocks * 4096,
  checkpoint: { logBytes: "32MiB" }
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
})

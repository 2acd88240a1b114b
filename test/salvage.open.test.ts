/**
 * Salvaging a store that somebody has open, and stores that nobody could open: for want of a lock file, or of the right
 * to write.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { spawn } from "node:child_process"
import { once } from "node:events"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import * as Salvage from "../src/Salvage.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { put } from "./support/words.ts"

/** Two directories: a store that was closed, and where nothing is yet. */
const places = Effect.acquireRelease(
  Effect.sync(() => {
    const root = fs.mkdtempSync(join(tmpdir(), "heartwood-"))
    return { root, from: join(root, "from"), to: join(root, "to") }
  }),
  ({ from, root }) =>
    Effect.sync(() => {
      fs.chmodSync(from, 0o700)
      fs.rmSync(root, { recursive: true, force: true })
    })
).pipe(
  Effect.tap(({ from }) =>
    Tx.transact()(put("a", "b", "c")).pipe(Effect.provide(Store.layer({ path: from })))
  )
)

const contents = (directory: string) =>
  fs.readdirSync(directory).map((name) => [name, fs.readFileSync(join(directory, name)).toString("base64")])

const refused = <A>(effect: Effect.Effect<A, StoreError>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => ({ ...reason }))

describe("a salvage", () => {
  it.live("is refused while this process has the store open", () =>
    Effect.gen(function*() {
      const { from, to } = yield* places
      const reason = yield* refused(Salvage.salvage({ from, to })).pipe(
        Effect.provide(Store.layer({ path: from }))
      )
      assert.deepInclude(reason, { _tag: "Locked", path: from, pid: process.pid })
      assert.isFalse(fs.existsSync(to))
      assert.strictEqual((yield* Salvage.salvage({ from, to })).records, 3)
    }))

  it.live("is refused while another process holds the lock", () =>
    Effect.gen(function*() {
      const { from, to } = yield* places
      const script = join(import.meta.dirname, "support", "lockHolder.ts")
      const owner = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [script, join(from, "lock")], { stdio: ["ignore", "pipe", "ignore"] })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const [word] = yield* Effect.promise(() => once(createInterface(owner.stdout), "line"))
      assert.strictEqual(word, "held")
      const reason = yield* refused(Salvage.salvage({ from, to }))
      assert.deepInclude(reason, { _tag: "Locked", path: from, pid: owner.pid })
    }))

  it.live("keeps the store closed until it has ended", () =>
    Effect.gen(function*() {
      const { from, to } = yield* places
      const reasons: Array<object> = []
      const opening = refused(Effect.provide(Effect.asVoid(Store.Store), Store.layer({ path: from })))
      const watcher = () =>
        Effect.gen(function*() {
          if (reasons.length === 0) reasons.push(yield* Effect.orDie(opening))
        })
      const report = yield* Effect.provideService(Salvage.salvage({ from, to }), Salvage.Watcher, watcher)
      assert.strictEqual(report.records, 3)
      assert.deepInclude(reasons[0], { _tag: "Locked", path: from })
      yield* Effect.provide(Tx.transact()(put("d")), Store.layer({ path: from }))
    }))

  it.live("goes with others of the same store", () =>
    Effect.gen(function*() {
      const { from, to } = yield* places
      const both = yield* Effect.forEach([`${to}1`, `${to}2`], (to) =>
        Effect.forkChild(Salvage.salvage({ from, to })))
      for (const fiber of both) {
        assert.strictEqual((yield* Fiber.join(fiber)).records, 3)
      }
    }))

  it.live("needs no right to write, and leaves everything as it is", () =>
    Effect.gen(function*() {
      const { from, to } = yield* places
      for (const name of fs.readdirSync(from)) fs.chmodSync(join(from, name), 0o400)
      fs.chmodSync(from, 0o500)
      const before = contents(from)
      const watcher = () => Effect.sync(() => assert.deepStrictEqual(contents(from), before))
      const report = yield* Effect.provideService(Salvage.salvage({ from, to }), Salvage.Watcher, watcher)
      assert.strictEqual(report.records, 3)
      assert.deepStrictEqual(contents(from), before)
    }))

  it.live("needs no lock file, and none that is whole", () =>
    Effect.gen(function*() {
      const { from, to } = yield* places
      const lock = join(from, "lock")
      fs.unlinkSync(lock)
      assert.strictEqual((yield* Salvage.salvage({ from, to: `${to}1` })).records, 3)
      assert.isFalse(fs.existsSync(lock))
      fs.writeFileSync(lock, "x".repeat(5_000))
      assert.strictEqual((yield* Salvage.salvage({ from, to: `${to}2` })).records, 3)
      assert.strictEqual(fs.statSync(lock).size, 5_000)
      fs.unlinkSync(lock)
      fs.symlinkSync(join(from, "super"), lock)
      assert.strictEqual((yield* Salvage.salvage({ from, to: `${to}3` })).records, 3)
    }))
})

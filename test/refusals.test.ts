/**
 * Where the system says no: a disk that refuses, another process, a real directory. What is wrong is named, nothing is
 * written, nothing is lost.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import * as fs from "node:fs"
import * as path from "node:path"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import { directory, reasonOf, refusal, small } from "./support/stores.ts"

const { Words, outcome, put, readAll } = Broken
const abc = ["a=A", "b=B", "c=C"]

describe("a disk that refuses", () => {
  const codes = ["EACCES", "EROFS", "ENOSPC", "EMFILE", "EIO"]

  for (const existing of [false, true]) {
    it.effect(`any one operation while ${existing ? "a store is opened" : "a store is made"}`, () =>
      Effect.gen(function*() {
        const image = existing ? yield* Broken.three : undefined
        const operations = yield* Broken.onDisk(
          image,
          Effect.andThen(outcome(), Effect.map(FaultDisk, (faults) => faults.operations()))
        )
        let refusals = 0
        for (const code of codes) {
          for (let at = 1; at <= operations; at++) {
            yield* Broken.onDisk(
              image,
              Effect.gen(function*() {
                const faults = yield* FaultDisk
                yield* faults.fail({ at, outcome: { _tag: "Refused", code } })
                const first = yield* outcome()
                if ("_tag" in first) {
                  refusals++
                  assert.deepInclude(first, { _tag: "DiskFailed", code }, `operation ${at}`)
                  assert.match(first.message, /: /)
                } else assert.deepStrictEqual(first, existing ? abc : [])
                yield* faults.heal
                assert.deepStrictEqual(
                  yield* outcome(),
                  existing ? abc : [],
                  `after ${code} at operation ${at}`
                )
              })
            )
          }
        }
        assert.isAbove(refusals, operations)
      }))
  }

  it.effect("to grow, at every size: what was acknowledged is there once there is room", () =>
    Effect.gen(function*() {
      let full = 0
      for (let capacityBytes = 0; capacityBytes < 90_000; capacityBytes += 1_000) {
        yield* Broken.onDisk(
          undefined,
          Effect.gen(function*() {
            const faults = yield* FaultDisk
            yield* faults.limit(capacityBytes)
            const acknowledged: Array<string> = []
            const work = Effect.forEach(
              ["a", "b", "c", "d", "e", "f"],
              (word) =>
                Effect.map(
                  Words.put(word, word.toUpperCase().repeat(1_000)).pipe(Tx.transact()),
                  () => acknowledged.push(word)
                )
            )
            const reason = yield* reasonOf(Broken.opened(work))
            if (reason !== "done") {
              full++
              const error = yield* refusal(Broken.opened(work))
              // Of the disk, where there is no room for a store; else before the disk is asked.
              if (error._tag !== "DiskFull") assert.deepInclude(error, { _tag: "DiskFailed", code: "ENOSPC" })
              assert.match(error.message, /free some space/)
            }
            yield* faults.limit(Infinity)
            const rows = yield* outcome()
            assert.isArray(rows)
            const found = (rows as ReadonlyArray<string>).map((row) => row[0])
            for (const word of acknowledged) assert.include(found, word)
          })
        )
      }
      assert.isAbove(full, 10)
    }))

  it.effect("a sync: writing stops for good, what is durable can be read, reopening clears it", () =>
    Effect.gen(function*() {
      const image = yield* Broken.three
      yield* Broken.onDisk(
        image,
        Effect.gen(function*() {
          const faults = yield* FaultDisk
          yield* Broken.opened(Effect.gen(function*() {
            yield* faults.fail({
              operation: "sync",
              path: /log-/,
              outcome: { _tag: "SyncFailed", pages: "dropped" }
            })
            for (const word of ["d", "e"]) {
              assert.deepInclude(yield* refusal(put(word)), { _tag: "DiskFailed", code: "EIO" })
            }
            assert.deepStrictEqual(yield* readAll, abc)
            assert.deepStrictEqual(
              yield* Words.get("a").pipe(Tx.transact(), Effect.asVoid),
              undefined,
              "a transaction that only reads"
            )
          }))
          const rows = yield* outcome()
          assert.includeMembers(
            "_tag" in rows ? [] : [...rows],
            abc,
            "and perhaps what was not acknowledged"
          )
          yield* Broken.opened(put("d"))
        })
      )
    }))
})

describe("another process", () => {
  const holder = path.join(import.meta.dirname, "support", "lockHolder.ts")

  it.live("holds the store: Locked, with its process id", () =>
    Effect.scoped(Effect.gen(function*() {
      const at = path.join(yield* directory, "store")
      const asked: Store.Options = { path: at, ...small }
      yield* Effect.provide(put("a"), Store.layer(asked))
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [holder, path.join(at, "lock")], { stdio: ["ignore", "pipe", "ignore"] })
        ),
        (process) => Effect.sync(() => process.kill("SIGKILL"))
      )
      yield* Effect.callback<void>((resume) => void child.stdout.once("data", () => resume(Effect.void)))
      const error = yield* refusal(Effect.provide(put("b"), Store.layer(asked)))
      assert.deepInclude(error, { _tag: "Locked", path: at, pid: child.pid })
      yield* Effect.callback<void>((resume) => {
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
      assert.deepStrictEqual(yield* Effect.provide(readAll, Store.layer(asked)), ["a=A"])
    })))

  it.live("finds the store held here", () =>
    Effect.scoped(Effect.gen(function*() {
      const at = path.join(yield* directory, "store")
      const said = yield* Effect.provide(
        Effect.callback<string>((resume) => {
          const child = spawn(process.execPath, [holder, path.join(at, "lock")], {
            stdio: ["ignore", "pipe", "ignore"]
          })
          child.stdout.once("data", (text) => resume(Effect.succeed(String(text).trim())))
        }),
        Store.layer({ path: at, ...small })
      )
      assert.strictEqual(said, `locked ${process.pid}`)
    })))
})

describe("a real directory", () => {
  const root = process.getuid?.() === 0

  it.live("a symbolic link is not followed", () =>
    Effect.scoped(Effect.gen(function*() {
      const parent = yield* directory
      fs.mkdirSync(path.join(parent, "real"))
      fs.symlinkSync(path.join(parent, "real"), path.join(parent, "link"))
      const error = yield* refusal(Effect.provide(put("a"), Store.layer({ path: path.join(parent, "link") })))
      assert.strictEqual(error._tag, "NotAStore")
      assert.deepStrictEqual(fs.readdirSync(path.join(parent, "real")), [])
    })))

  it.live("a missing parent, and a file in the way", () =>
    Effect.scoped(Effect.gen(function*() {
      const parent = yield* directory
      fs.writeFileSync(path.join(parent, "file"), "text")
      const at = (name: string) =>
        refusal(Effect.provide(put("a"), Store.layer({ path: path.join(parent, name) })))
      assert.deepInclude(yield* at("missing/store"), { _tag: "DiskFailed", code: "ENOENT" })
      assert.deepInclude(yield* at("file/store"), { _tag: "DiskFailed", code: "ENOTDIR" })
      assert.deepInclude(yield* at("file"), { _tag: "NotAStore", found: "a file" })
      assert.deepInclude(yield* at("a\0b"), { _tag: "DiskFailed" })
      fs.symlinkSync(parent, path.join(parent, "link"))
      assert.deepInclude(yield* at("link"), { _tag: "NotAStore", found: "a link or a special file" })
      assert.deepStrictEqual(fs.readdirSync(parent), ["file", "link"])
    })))

  it.live.skipIf(root)(
    "without permission (root may do everything, so root skips this)",
    () =>
      Effect.scoped(Effect.gen(function*() {
        const parent = yield* directory
        fs.chmodSync(parent, 0o500)
        const path_ = path.join(parent, "store")
        const error = yield* refusal(Effect.provide(put("a"), Store.layer({ path: path_ })))
        assert.deepInclude(error, { _tag: "DiskFailed", code: "EACCES" })
        fs.chmodSync(parent, 0o700)
      }))
  )

  it.live("relative paths, and a slash at the end", () =>
    Effect.scoped(Effect.gen(function*() {
      const at = path.join(yield* directory, "store")
      yield* Effect.provide(put("a"), Store.layer({ path: `${at}/`, ...small }))
      const relative = path.relative(process.cwd(), at)
      assert.deepStrictEqual(yield* Effect.provide(readAll, Store.layer({ path: relative, ...small })), [
        "a=A"
      ])
    })))
})

describe("layers", () => {
  it.live("Store.layerMemory begins empty each time", () =>
    Effect.gen(function*() {
      for (let time = 0; time < 2; time++) {
        const rows = Effect.andThen(readAll, (before) => Effect.as(put("a"), before))
        assert.deepStrictEqual(yield* Effect.provide(rows, Layer.fresh(Store.layerMemory)), [])
      }
    }))

  it.live("two stores of two disks know nothing of each other", () =>
    Effect.scoped(Effect.gen(function*() {
      const disks = yield* Effect.all([Broken.three, Broken.imageAfter(put("x"))])
      const rows = yield* Effect.forEach(disks, (image) => Broken.onDisk(image, outcome()))
      assert.deepStrictEqual(rows, [abc, ["x=X"]])
    })))
})

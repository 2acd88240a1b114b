/**
 * What is said on a Node that is too old: which ones will do.
 */
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Store from "../src/Store.ts"

const { engines } = JSON.parse(fs.readFileSync(join(import.meta.dirname, "..", "package.json"), "utf8"))

const refusal = Effect.gen(function*() {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "heartwood-"))),
    (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
  )
  return yield* Effect.flip(Effect.provide(Effect.asVoid(Store.Store), Store.layer({ path: directory })))
})

const saysSo = Effect.map(refusal, (error) => {
  assert.deepInclude({ ...error.reason }, { _tag: "DiskFailed", operation: "lock", code: "NOSQLITE" })
  const [, oldest] = /^>=(\S+)$/.exec(engines.node) ?? []
  assert.include(error.message, `Node ${oldest} or newer`)
})

describe("a store on a Node that is too old", () => {
  afterEach(() => {
    vi.restoreAllMocks()
    vi.unstubAllGlobals()
  })

  it.live("says which will do, where there is no node:sqlite", () => {
    const builtin = process.getBuiltinModule
    vi.spyOn(process, "getBuiltinModule").mockImplementation((id: string) =>
      id === "node:sqlite" ? undefined : builtin(id)
    )
    return saysSo
  })

  it.live("says so, too, where built-in modules cannot be asked for", () => {
    vi.stubGlobal(
      "process",
      new Proxy(process, {
        get: (target, name) => name === "getBuiltinModule" ? undefined : Reflect.get(target, name)
      })
    )
    return saysSo
  })
})

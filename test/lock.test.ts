/**
 * Locks of disks that are shared: by whom they can be held together, and that nothing is written for one.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { LockMode } from "../src/disk/Disk.ts"
import * as FaultDisk from "../src/disk/FaultDisk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"
import type { Body, Place } from "./support/diskSuite.ts"
import { codeOf, onDisk, refusalOf } from "./support/diskSuite.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "heartwood-"))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
)

const places: Record<string, Place> = {
  NodeDisk: { layer: NodeDisk.layer, directory: temporary },
  MemoryDisk: { layer: MemoryDisk.layer, directory: Effect.succeed("/") },
  "FaultDisk without faults": { layer: FaultDisk.layer(), directory: Effect.succeed("/") }
}

for (const [name, place] of Object.entries(places)) {
  describe(`a shared lock of ${name}`, () => {
    const test = (title: string, body: Body) => it.effect(title, () => onDisk(place, body))

    test(
      "is not to be had from an owner, nor where there is no file",
      (disk, directory) =>
        Effect.gen(function*() {
          const path = `${directory}/LOCK`
          const codeAs = (mode?: LockMode) => codeOf(Effect.scoped(disk.lock(path, mode)))
          assert.strictEqual(yield* codeAs("shared"), "ENOENT")
          assert.deepStrictEqual(yield* disk.list(directory), [])
          yield* Effect.scoped(Effect.gen(function*() {
            yield* disk.lock(path)
            const { reason } = yield* refusalOf(Effect.scoped(disk.lock(path, "shared")))
            assert.deepInclude({ ...reason }, { _tag: "Locked", path, pid: process.pid })
            assert.strictEqual(yield* codeAs("alone"), "Locked")
          }))
          assert.strictEqual(yield* codeAs("shared"), "done")
        })
    )

    test("keeps owners out until the last one lets go", (disk, directory) =>
      Effect.gen(function*() {
        const path = `${directory}/LOCK`
        yield* Effect.scoped(disk.lock(path))
        const before = yield* disk.list(directory)
        const [one, other] = [yield* Scope.make(), yield* Scope.make()]
        yield* Scope.provide(disk.lock(path, "shared"), one)
        yield* Scope.provide(disk.lock(path, "shared"), other)
        assert.deepStrictEqual(yield* disk.list(directory), before)
        for (const scope of [one, other]) {
          const { reason } = yield* refusalOf(Effect.scoped(disk.lock(path)))
          assert.deepInclude({ ...reason }, { _tag: "Locked", path })
          yield* Scope.close(scope, Exit.void)
        }
        assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(path))), "done")
      }))
  })
}

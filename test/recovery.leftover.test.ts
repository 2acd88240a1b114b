/**
 * A segment behind the end of the log is removed only when nothing in the log can come to name it any more.
 *
 * A seal that was torn across two sectors lacks its last bytes, and the header of the group that is written over it may
 * have the same: with those alone the old seal would be whole again, and its segment missing. Found by the crash states
 * of recoveries (`crashStates.test.ts`).
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Disk } from "../src/disk/Disk.ts"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import { parseSegmentName, segmentName } from "../src/log/Segment.ts"
import * as Broken from "./support/broken.ts"

const { directory } = Broken

describe("a segment behind the end of the log", () => {
  it.live("goes when the end is written over, durably", () =>
    Effect.gen(function*() {
      const image = yield* Broken.three
      const sequences = image.paths().flatMap((path) =>
        parseSegmentName(path.slice(directory.length + 1)) ?? []
      )
      const last = Math.max(...sequences)
      const [end, behind] = [last, last + 1].map((sequence) => `${directory}/${segmentName(sequence)}`)
      assert(end !== undefined && behind !== undefined)
      const operations: Array<string> = []
      const opening = Effect.gen(function*() {
        const faults = yield* FaultDisk
        const disk = yield* Disk
        const file = yield* disk.open(behind, { mode: "create" })
        yield* file.write([new Uint8Array(8192)], 0)
        yield* file.sync
        yield* file.close
        yield* disk.syncDirectory(directory)
        yield* faults.observe(({ operation, path }) => {
          if (path === end || path === behind) {
            operations.push(`${operation} ${path === end ? "end" : "behind"}`)
          }
        })
        return yield* Broken.opened(Broken.readAll)
      })
      const rows = yield* Broken.onDisk(image, Effect.scoped(opening))
      assert.strictEqual(rows.length, 3)
      const removed = operations.indexOf("unlink behind")
      assert.isAbove(removed, 0)
      assert.deepStrictEqual(operations.slice(removed - 2, removed), ["write end", "sync end"])
    }))
})

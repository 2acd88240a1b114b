/**
 * The files of the log where the disk refuses to make or move one: nobody keeps a descriptor that nobody closes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Segments } from "../src/actors/Segments.ts"
import { Disk } from "../src/disk/Disk.ts"
import type { Fault, Observed } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Segment } from "../src/log/Segment.ts"
import { counted } from "./support/descriptors.ts"
import { life, storeId } from "./support/log.ts"

const segmentBytes = 4096

const segmentOf = (sequence: number): Segment => ({
  sequence,
  base: sequence * segmentBytes,
  capacity: segmentBytes,
  previousChecksum: 0,
  incarnation: life(1)
})

/** Segments are made, given up, prepared and recycled; answers the operations, and asserts that all are closed. */
const lifeOf = (fault: Fault | undefined): Effect.Effect<ReadonlyArray<Observed>> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const { disk, open } = counted(yield* Disk)
    const operations: Array<Observed> = []
    const segments = new Segments({ disk, directory: "/log", storeId, segmentBytes })
    yield* disk.makeDirectory("/log")
    yield* faults.observe((operation) => void operations.push(operation))
    if (fault !== undefined) yield* faults.fail(fault)
    const steps = [
      segments.prepare,
      ...[1, 2, 3, 4].map((sequence) => segments.create(segmentOf(sequence))),
      // One is kept as the spare, the other goes.
      segments.truncate(segmentOf(3).base),
      segments.create(segmentOf(5)),
      segments.prepare,
      segments.truncate(segmentOf(5).base)
    ]
    for (const step of steps) yield* Effect.exit(step)
    yield* segments.close
    assert.deepStrictEqual(open(), [], JSON.stringify(fault))
    return operations
  }).pipe(Effect.scoped, Effect.provide(layer()), Effect.orDie)

describe("Segments on a disk that refuses", () => {
  it.effect("close every file that they opened, whatever is refused", () =>
    Effect.gen(function*() {
      const operations = yield* lifeOf(undefined)
      for (const times of [1, Infinity]) {
        for (let at = 1; at <= operations.length; at++) {
          yield* lifeOf({ at, times, outcome: { _tag: "Refused", code: "EIO" } })
        }
      }
      assert.isAbove(operations.filter(({ operation }) => operation === "rename").length, 6)
    }))
})

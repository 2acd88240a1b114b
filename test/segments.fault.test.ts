/**
 * The files of the log where the disk refuses to make or move one, or whoever asked for it is interrupted: nobody keeps a
 * descriptor that nobody closes.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Segments } from "../src/actors/files/Segments.ts"
import { Disk } from "../src/disk/Disk.ts"
import type { Fault, Observed } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Segment } from "../src/log/Segment.ts"
import type { StoreError } from "../src/StoreError.ts"
import { counted } from "./support/descriptors.ts"
import { life, storeId } from "./support/log.ts"
import { watched } from "./support/watchedFile.ts"

const segmentBytes = 4096

const segmentOf = (sequence: number): Segment => ({
  sequence,
  base: sequence * segmentBytes,
  capacity: segmentBytes,
  previousChecksum: 0,
  incarnation: life(1)
})

/** Segments are made, given up, prepared and recycled. */
const stepsOf = (segments: Segments): ReadonlyArray<Effect.Effect<unknown, StoreError>> => [
  segments.prepare,
  ...[1, 2, 3, 4].map((sequence) => segments.create(segmentOf(sequence))),
  // One is kept as the spare, the other goes.
  segments.truncate(segmentOf(3).base),
  segments.create(segmentOf(5)),
  segments.prepare,
  segments.truncate(segmentOf(5).base)
]

/** All steps, with one fault; answers the operations, and asserts that all are closed. */
const lifeOf = (fault: Fault | undefined): Effect.Effect<ReadonlyArray<Observed>> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const { disk, open } = counted(yield* Disk)
    const operations: Array<Observed> = []
    const segments = new Segments({ disk, directory: "/log", storeId, segmentBytes })
    yield* disk.makeDirectory("/log")
    yield* faults.observe((operation) => void operations.push(operation))
    if (fault !== undefined) yield* faults.fail(fault)
    for (const step of stepsOf(segments)) yield* Effect.exit(step)
    yield* segments.close
    assert.deepStrictEqual(open(), [], JSON.stringify(fault))
    return operations
  }).pipe(Effect.scoped, Effect.provide(layer()), Effect.orDie)

/** A disk whose operations can end no earlier than they are done, and call `done` then. */
const calling = (disk: Disk["Service"], done: Effect.Effect<void>): Disk["Service"] => {
  const told = <A, E>(operation: Effect.Effect<A, E>) =>
    Effect.uninterruptible(Effect.tap(operation, () => done))
  return {
    ...disk,
    kind: (path) => told(disk.kind(path)),
    rename: (from, to) => told(disk.rename(from, to)),
    unlink: (path) => told(disk.unlink(path)),
    syncDirectory: (path) => told(disk.syncDirectory(path)),
    open: (path, options) =>
      told(Effect.map(disk.open(path, options), (file) =>
        watched(file, {
          write: (buffers, position) => told(file.write(buffers, position)),
          sync: told(file.sync),
          allocate: (bytes) => told(file.allocate(bytes))
        })))
  }
}

/** The same life in a fiber that is interrupted after `at` operations; answers whether it had so many. */
const interruptedLife = (at: number): Effect.Effect<boolean> =>
  Effect.gen(function*() {
    const { disk: plain, open } = counted(yield* Disk)
    const running: Array<Fiber.Fiber<void, unknown>> = []
    let left = at
    const done = Effect.sync(() => {
      if (--left === 0) { for (const fiber of running) fiber.interruptUnsafe() }
    })
    const segments = new Segments({ disk: calling(plain, done), directory: "/log", storeId, segmentBytes })
    yield* plain.makeDirectory("/log")
    const fiber = yield* Effect.forkChild(Effect.all(stepsOf(segments), { discard: true }))
    running.push(fiber)
    yield* Fiber.await(fiber)
    yield* segments.close
    assert.deepStrictEqual(open(), [], `interrupted after ${at} operations`)
    return left <= 0
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

  it.effect("close every file that they opened, wherever they are interrupted", () =>
    Effect.gen(function*() {
      let at = 1
      while (yield* interruptedLife(at)) at++
      assert.isAbove(at, 40)
    }))
})

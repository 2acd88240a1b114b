/**
 * The reserve, apart from a store: what becomes of its file, and to whom it is given.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Reserve } from "../src/actors/files/Reserve.ts"
import { ReserveFile } from "../src/actors/files/ReserveFile.ts"
import { Disk } from "../src/disk/Disk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import { SEGMENT_HEADER_BYTES } from "../src/log/Segment.ts"
import { resolve } from "../src/Options.ts"
import { DiskFailed, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { PageFile } from "../src/tree/file/PageFile.ts"
import type { Pages } from "../src/tree/memory/Pages.ts"

const KiB = 1024
const directory = "/store"
const path = `${directory}/reserve`
const segmentBytes = 8 * KiB
const fileBytes = SEGMENT_HEADER_BYTES + segmentBytes

const run = <A>(body: Effect.Effect<A, StoreError, Disk>): Promise<A> =>
  Effect.runPromise(Effect.provide(
    Effect.gen(function*() {
      yield* (yield* Disk).makeDirectory(directory)
      return yield* body
    }),
    MemoryDisk.layer
  ))

const makeFile = (bytes: number) =>
  Effect.gen(function*() {
    const file = yield* (yield* Disk).open(path, { mode: "create" })
    yield* file.allocate(bytes)
    yield* file.close
  })

const sizeOf = (name: string) =>
  Effect.gen(function*() {
    const disk = yield* Disk
    if ((yield* disk.kind(name)) === "missing") return undefined
    const file = yield* disk.open(name, { mode: "readOnly" })
    return yield* Effect.ensuring(file.size, file.close)
  })

const noSpace = storeError(
  new DiskFailed({ operation: "allocate", path, code: "ENOSPC", cause: new Error("ENOSPC") })
)

describe("the file of the reserve", () => {
  it("is whole where it is there, whatever room there is", () =>
    run(Effect.gen(function*() {
      yield* makeFile(24 * KiB)
      const file = new ReserveFile(yield* Disk, directory, 24 * KiB)
      assert.isFalse(file.isKnown)
      yield* file.fill(-1)
      assert.isTrue(file.isWhole)
    })))

  it("takes no space where there is no room for all of it", () =>
    run(Effect.gen(function*() {
      yield* makeFile(23 * KiB)
      const file = new ReserveFile(yield* Disk, directory, 24 * KiB)
      yield* file.fill(KiB - 1)
      assert.isTrue(file.isKnown && !file.isWhole)
      assert.isUndefined(yield* sizeOf(path))
      yield* file.fill(24 * KiB)
      assert.isTrue(file.isWhole)
      assert.strictEqual(yield* sizeOf(path), 24 * KiB)
    })))

  it("is filled up, or cut to its size", () =>
    run(Effect.gen(function*() {
      yield* makeFile(23 * KiB)
      yield* new ReserveFile(yield* Disk, directory, 24 * KiB).fill(KiB)
      assert.strictEqual(yield* sizeOf(path), 24 * KiB)
      yield* new ReserveFile(yield* Disk, directory, 20 * KiB).fill(0)
      assert.strictEqual(yield* sizeOf(path), 20 * KiB)
    })))

  it("is in doubt where it could not be given up", () =>
    run(Effect.gen(function*() {
      const disk = yield* Disk
      const file = new ReserveFile({ ...disk, unlink: () => Effect.fail(noSpace) }, directory, 24 * KiB)
      yield* file.fill(24 * KiB)
      assert.isFalse(yield* file.giveUp)
      assert.isFalse(file.isKnown)
      yield* file.fill(0)
      assert.isTrue(file.isWhole)
    })))
})

/** A reserve behind a log, `owed` segments of which have no file, and which has `left` bytes in the last one. */
const makeReserve = Effect.fnUntraced(function*(log: {
  readonly hasSpare: boolean
  readonly owed: number
  readonly left: number
}) {
  const disk = yield* Disk
  const limits = yield* resolve({ segmentBytes, reserveBytes: 24 * KiB })
  const reserve = new Reserve({
    disk,
    directory,
    limits,
    pages: { changedPages: 0, uncaptured: 0, map: { bound: 0, used: 0 } } as unknown as Pages,
    slots: { slots: 0, freeCount: 0 } as PageFile,
    file: { size: Effect.succeed(0) }
  })
  const spares: Array<"given up"> = []
  reserve.behind({
    hasSpare: log.hasSpare,
    newest: 1,
    zeroedBytes: 0,
    prepare: Effect.void,
    giveUpSpare: Effect.sync(() => {
      spares.push("given up")
      return true
    })
  })
  reserve.serve({
    now: () => 0,
    told: () => {},
    // It looks no further.
    fork: () => {},
    running: () => true,
    tail: {
      end: segmentBytes - log.left,
      segment: { sequence: 1 + log.owed, base: 0, capacity: segmentBytes, previousBase: 0 } as never
    },
    buffer: { relieved: () => {} },
    checkpoint: { newest: () => ({ cut: { lsn: 0 } }) as never, start: () => Effect.void }
  })
  yield* reserve.aside.fill(Infinity)
  return { reserve, spares }
})

describe("a reserve is given", () => {
  it("to evictions and checkpoints, and the spare to checkpoints after it", () =>
    run(Effect.gen(function*() {
      const { reserve, spares } = yield* makeReserve({ hasSpare: true, owed: 0, left: 4 * KiB })
      assert.isTrue(yield* reserve.makeRoom(noSpace, "eviction"))
      assert.isUndefined(yield* sizeOf(path))
      assert.isFalse(yield* reserve.makeRoom(noSpace, "eviction"))
      assert.lengthOf(spares, 0)
      assert.isTrue(yield* reserve.makeRoom(noSpace, "checkpoint"))
      assert.lengthOf(spares, 1)
    })))

  it.each([
    ["has begun a segment without a file", { hasSpare: false, owed: 1, left: 4 * KiB }],
    ["will soon begin one", { hasSpare: false, owed: 0, left: 100 }],
    ["has begun one, and has a spare for it but not for the next", { hasSpare: true, owed: 1, left: 100 }]
  ])("to the log alone where that %s", (_, log) =>
    run(Effect.gen(function*() {
      const { reserve, spares } = yield* makeReserve(log)
      assert.isFalse(yield* reserve.makeRoom(noSpace, "eviction"))
      assert.isFalse(yield* reserve.makeRoom(noSpace, "checkpoint"))
      assert.lengthOf(spares, 0)
      assert.strictEqual(yield* sizeOf(path), 24 * KiB)
    })))

  it("to the log as the file that it needs", () =>
    run(Effect.gen(function*() {
      const { reserve } = yield* makeReserve({ hasSpare: false, owed: 1, left: 4 * KiB })
      const needed = `${directory}/log.new`
      assert.isTrue(yield* reserve.becomeSegment(noSpace, needed, fileBytes))
      assert.isUndefined(yield* sizeOf(path))
      assert.isAtLeast((yield* sizeOf(needed)) ?? 0, fileBytes)
      assert.isFalse(yield* reserve.becomeSegment(noSpace, needed, fileBytes))
    })))

  it("to the log only where it is large enough", () =>
    run(Effect.gen(function*() {
      const { reserve } = yield* makeReserve({ hasSpare: false, owed: 1, left: 4 * KiB })
      assert.isFalse(yield* reserve.becomeSegment(noSpace, `${directory}/log.new`, 25 * KiB))
      assert.strictEqual(yield* sizeOf(path), 24 * KiB)
    })))
})

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
  /** On a disk with so much free, beside a page file with slots to spare. */
  readonly freeBytes?: number
}) {
  const disk = yield* Disk
  const { freeBytes = Infinity } = log
  const pages = { slots: 1000, freeCount: 900 }
  const limits = yield* resolve({ segmentBytes, reserveBytes: 24 * KiB })
  const reserve = new Reserve({
    disk: { ...disk, freeBytes: () => Effect.succeed(freeBytes) },
    directory,
    limits,
    pages: { changedPages: 0, uncaptured: 0, map: { bound: 0, used: 0 } } as unknown as Pages,
    slots: pages as PageFile,
    file: { size: Effect.succeed(pages.slots * limits.pageBytes) }
  })
  const spares: Array<"given up"> = []
  reserve.behind({
    hasSpare: log.hasSpare,
    awaitsSpare: false,
    newest: 1,
    zeroedBytes: 0,
    prepare: Effect.void,
    giveUpSpare: Effect.sync(() => {
      spares.push("given up")
      return true
    })
  })
  const forked: Array<Effect.Effect<void>> = []
  reserve.serve({
    now: () => 0,
    told: () => {},
    fork: (effect) => void forked.push(effect),
    running: () => true,
    tail: {
      end: segmentBytes - log.left,
      segment: { sequence: 1 + log.owed, base: 0, capacity: segmentBytes, previousBase: 0 } as never
    },
    buffer: { relieved: () => {} },
    checkpoint: { newest: () => ({ cut: { lsn: 0 } }) as never, start: () => Effect.void }
  })
  yield* reserve.aside.fill(Infinity)
  // It looks once, for as long as it is not full.
  if (log.freeBytes !== undefined) yield* Effect.all(forked)
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
    ["has begun two, and has a spare for one", { hasSpare: true, owed: 2, left: 4 * KiB }]
  ])("to the log alone where that %s", (_, log) =>
    run(Effect.gen(function*() {
      const { reserve, spares } = yield* makeReserve(log)
      assert.isFalse(yield* reserve.makeRoom(noSpace, "eviction"))
      assert.isFalse(yield* reserve.makeRoom(noSpace, "checkpoint"))
      assert.lengthOf(spares, 0)
      assert.strictEqual(yield* sizeOf(path), 24 * KiB)
    })))

  it("to a checkpoint though the log will soon begin a segment: it appends nothing", () =>
    run(Effect.gen(function*() {
      const { reserve } = yield* makeReserve({ hasSpare: false, owed: 0, left: 100 })
      assert.isTrue(yield* reserve.makeRoom(noSpace, "checkpoint"))
    })))

  it("to the log as the file that it needs", () =>
    run(Effect.gen(function*() {
      const { reserve } = yield* makeReserve({ hasSpare: false, owed: 1, left: 4 * KiB })
      const needed = `${directory}/log.new`
      assert.strictEqual(yield* reserve.becomeSegment(noSpace, needed, fileBytes), "file")
      assert.isUndefined(yield* sizeOf(path))
      assert.isAtLeast((yield* sizeOf(needed)) ?? 0, fileBytes)
      assert.strictEqual(yield* reserve.becomeSegment(noSpace, needed, fileBytes), "nothing")
    })))

  it("to the log as space where it is smaller than what that needs", () =>
    run(Effect.gen(function*() {
      const { reserve } = yield* makeReserve({ hasSpare: false, owed: 1, left: 4 * KiB })
      const needed = `${directory}/log.new`
      assert.strictEqual(yield* reserve.becomeSegment(noSpace, needed, 25 * KiB), "space")
      assert.isUndefined(yield* sizeOf(path))
      assert.isUndefined(yield* sizeOf(needed))
    })))
})

/** What is put with so many bytes free, and free slots for any number of pages. */
const refusalOf = Effect.fnUntraced(function*(freeBytes: number, valueBytes: number) {
  const { reserve } = yield* makeReserve({ hasSpare: true, owed: 0, left: 4 * KiB, freeBytes })
  const writes = [{ key: Uint8Array.of(1), value: new Uint8Array(valueBytes) }]
  const keyspace = { name: "values", layout: "bytes", cleared: false, dropped: false, writes: () => writes }
  return reserve.refusal({ keyspaces: () => [keyspace], durability: "memory" })?.reason._tag
})

describe("free slots of the page file", () => {
  it("are room for what the log has room for", () =>
    run(Effect.gen(function*() {
      assert.isUndefined(yield* refusalOf(6 * KiB, 3584))
      assert.strictEqual(yield* refusalOf(6 * KiB, 30 * KiB), "DiskFull")
      assert.isUndefined(yield* refusalOf(100 * KiB, 30 * KiB))
    })))
})

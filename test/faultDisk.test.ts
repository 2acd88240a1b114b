import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { DiskFile } from "../src/disk/Disk.ts"
import type { Observed } from "../src/disk/FaultDisk.ts"
import { bytesOf, codeOf, contentOf, opened } from "./support/diskSuite.ts"
import { durableFile, filled, hex, onFaultDisk, read, test } from "./support/faultDisk.ts"

describe("images", () => {
  test("do not disturb the disk, nor it them, nor each other", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", filled(40_000, 1))
      yield* file.write([bytesOf(2)], 20_000)
      const image = faults.crashImage({ keep: "nothing" })
      const before = image.digest()
      const other = image.replace("/a", bytesOf(7))
      yield* file.write([filled(40_000, 3)], 0)
      yield* file.sync
      yield* onFaultDisk((mounted) =>
        Effect.gen(function*() {
          const again = yield* opened(mounted, "/a", "readWrite")
          yield* again.write([filled(10, 9)], 0)
          yield* again.sync
        }), { image })
      assert.strictEqual(image.digest(), before)
      assert.deepStrictEqual(image.read("/a"), filled(40_000, 1))
      assert.deepStrictEqual(other.read("/a"), bytesOf(7))
      assert.deepStrictEqual(other.replace("/a", undefined).paths(), [])
      assert.deepStrictEqual(yield* contentOf(file), filled(40_000, 3))
    }))

  test("are durable on the disk that begins with them", (disk, faults) =>
    Effect.gen(function*() {
      yield* durableFile(disk, "/a", bytesOf(1, 2, 3))
      yield* opened(disk, "/b", "create")
      const image = faults.crashImage({ keep: "everything" })
      yield* onFaultDisk((mounted, others) =>
        Effect.gen(function*() {
          yield* others.crash({ keep: "nothing" })
          assert.deepStrictEqual(yield* mounted.list("/"), ["a", "b"])
          assert.deepStrictEqual(yield* read(mounted, "/a"), bytesOf(1, 2, 3))
        }), { image })
    }))

  test("can be taken by an observer at every operation", (disk, faults) =>
    Effect.gen(function*() {
      const seen: Array<readonly [Observed, string]> = []
      const file = yield* durableFile(disk, "/a", bytesOf(1))
      const begun = faults.operations()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* faults.observe((observed) => {
          seen.push([observed, hex(faults.crashImage({ keep: "everything" }).read("/a") ?? bytesOf())])
        })
        yield* file.write([bytesOf(2)], 0)
        file.syncSync()
        yield* file.allocate(2)
      }))
      yield* file.size
      assert.deepStrictEqual(seen, [
        [{ number: begun + 1, operation: "write", path: "/a" }, "01"],
        [{ number: begun + 2, operation: "sync", path: "/a" }, "02"],
        [{ number: begun + 3, operation: "allocate", path: "/a" }, "02"],
        [{ number: begun + 4, operation: "sync", path: "/a" }, "0200"]
      ])
      assert.strictEqual(faults.operations(), begun + 5)
    }))
})

describe("boots", () => {
  test("leave no living file or lock behind", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1))
      yield* disk.lock("/LOCK")
      yield* faults.crash({ keep: "everything" })
      for (const operation of [file.write([bytesOf(2)], 0), file.sync, file.size, file.truncate(0)]) {
        assert.strictEqual(yield* codeOf(operation), "EIO")
      }
      assert.throws(() => file.readSync(new Uint8Array(1), 0), /EIO/)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* disk.lock("/LOCK")
        assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock("/LOCK"))), "Locked")
      }))
      assert.deepStrictEqual(yield* read(disk, "/a"), bytesOf(1))
    }))

  test(
    "keep the lock of the next boot when a scope of the last one closes",
    (disk, faults) =>
      Effect.gen(function*() {
        yield* Effect.scoped(Effect.gen(function*() {
          yield* disk.lock("/LOCK")
          yield* faults.kill
          yield* Effect.forkScoped(Effect.void)
        }))
        yield* disk.lock("/LOCK")
        assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock("/LOCK"))), "Locked")
      })
  )

  test("do nothing until the power is back", (disk, faults) =>
    Effect.gen(function*() {
      yield* durableFile(disk, "/a", bytesOf(1))
      yield* faults.cut({ keep: "everything" })
      assert.strictEqual(yield* codeOf(disk.open("/a", { mode: "readOnly" })), "EIO")
      assert.strictEqual(yield* codeOf(disk.rename("/a", "/b")), "EIO")
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock("/LOCK"))), "EIO")
      yield* faults.restart
      assert.deepStrictEqual(yield* disk.list("/"), ["a"])
    }))

  test(
    "after a kill see all that was handed over, which is as volatile as before",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", bytesOf(1))
        yield* file.write([bytesOf(2)], 0)
        const image = faults.killImage()
        yield* faults.kill
        assert.strictEqual(yield* codeOf(file.size), "EIO")
        assert.deepStrictEqual(yield* read(disk, "/a"), bytesOf(2))
        assert.deepStrictEqual(image.read("/a"), bytesOf(2))
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(1))
        const again = yield* opened(disk, "/a", "readWrite")
        yield* again.sync
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(2))
      })
  )

  test(
    "end in the middle of an operation, which may have happened",
    (disk, faults) =>
      Effect.gen(function*() {
        for (const [keep, expected] of [["nothing", 1], ["everything", 2]] as const) {
          const path = `/${keep}`
          const file = yield* durableFile(disk, path, bytesOf(1))
          yield* faults.fail({ operation: "write", outcome: { _tag: "Cut", crash: { keep } } })
          assert.strictEqual(yield* codeOf(file.write([bytesOf(2)], 0)), "EIO")
          assert.strictEqual(yield* codeOf(disk.list("/")), "EIO")
          yield* faults.restart
          assert.deepStrictEqual(yield* read(disk, path), bytesOf(expected))
        }
      })
  )

  test(
    "end in the middle of a sync, of which any part may have happened",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", bytesOf(1))
        yield* file.write([bytesOf(2)], 0)
        yield* faults.fail({ operation: "sync", outcome: { _tag: "Cut", crash: { keep: "nothing" } } })
        assert.strictEqual(yield* codeOf(file.sync), "EIO")
        yield* faults.restart
        assert.deepStrictEqual(yield* read(disk, "/a"), bytesOf(1))
      })
  )
})

describe("faults", () => {
  const codes = (file: DiskFile, count: number) =>
    Effect.all(Array.from({ length: count }, (_, i) => codeOf(file.write([bytesOf(i)], i))))

  test("strike the Nth operation, once, for a while, or for ever", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf())
      yield* faults.fail({ operation: "write", at: 2, outcome: { _tag: "Refused", code: "EIO" } })
      yield* faults.fail({
        operation: "write",
        at: 4,
        times: 2,
        outcome: { _tag: "Refused", code: "ENOSPC" }
      })
      yield* faults.fail({
        operation: "write",
        at: 7,
        times: Infinity,
        outcome: { _tag: "Refused", code: "EROFS" }
      })
      assert.deepStrictEqual(yield* codes(file, 9), [
        "done",
        "EIO",
        "done",
        "ENOSPC",
        "ENOSPC",
        "done",
        "EROFS",
        "EROFS",
        "EROFS"
      ])
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(0, 0, 2, 0, 0, 5))
      yield* faults.heal
      assert.deepStrictEqual(yield* codes(file, 1), ["done"])
    }))

  test("strike any operation, or those of some paths", (disk, faults) =>
    Effect.gen(function*() {
      const outcome = { _tag: "Refused", code: "EMFILE" } as const
      yield* faults.fail({ times: Infinity, path: /^\/a/, outcome })
      assert.strictEqual(yield* codeOf(disk.open("/ab", { mode: "create" })), "EMFILE")
      assert.strictEqual(yield* codeOf(disk.open("/b", { mode: "create" })), "done")
      assert.strictEqual(yield* codeOf(disk.kind("/a")), "EMFILE")
      yield* faults.heal
      yield* faults.fail({ times: Infinity, operation: ["list", "syncDirectory"], path: "/", outcome })
      assert.strictEqual(yield* codeOf(disk.list("/")), "EMFILE")
      assert.strictEqual(yield* codeOf(disk.syncDirectory("/")), "EMFILE")
      assert.strictEqual(yield* codeOf(disk.kind("/")), "done")
      assert.strictEqual(disk.counters.failures, 4)
    }))

  it.effect("strike at a rate, the same for the same seed", () =>
    Effect.gen(function*() {
      const struck: Array<string> = []
      for (const seed of [5, 5, 6]) {
        yield* onFaultDisk((disk, faults) =>
          Effect.gen(function*() {
            const file = yield* durableFile(disk, "/a", bytesOf())
            yield* faults.fail({ rate: 0.3, times: Infinity, outcome: { _tag: "Refused", code: "EIO" } })
            struck.push((yield* codes(file, 200)).join())
          }), { seed })
      }
      assert.strictEqual(struck[0], struck[1])
      assert.notStrictEqual(struck[0], struck[2])
      const count = struck[0]?.split(",").filter((code) => code === "EIO").length ?? 0
      assert.isTrue(count > 30 && count < 90, `${count} of 200`)
    }))

  test("may do what they refuse", (disk, faults) =>
    Effect.gen(function*() {
      yield* durableFile(disk, "/a", bytesOf(1))
      yield* faults.fail({
        operation: "rename",
        outcome: { _tag: "Refused", code: "EIO", done: "everything" }
      })
      assert.strictEqual(yield* codeOf(disk.rename("/a", "/b")), "EIO")
      assert.deepStrictEqual(yield* disk.list("/"), ["b"])
    }))

  test("may do a part of a write or an allocation", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf())
      yield* faults.fail({ operation: "write", outcome: { _tag: "Short", bytes: 3, code: "ENOSPC" } })
      assert.strictEqual(yield* codeOf(file.write([bytesOf(1, 2), bytesOf(3, 4)], 1)), "ENOSPC")
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(0, 1, 2, 3))
      yield* faults.fail({ operation: "allocate", outcome: { _tag: "Short", bytes: 2, code: "ENOSPC" } })
      assert.strictEqual(yield* codeOf(file.allocate(100)), "ENOSPC")
      assert.strictEqual(yield* file.size, 6)
    }))

  test(
    "drop the pages of a failed sync: seen, clean, and never written",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", bytesOf(1, 1))
        yield* file.write([bytesOf(2)], 0)
        yield* faults.fail({ operation: "sync", outcome: { _tag: "SyncFailed", pages: "dropped" } })
        assert.strictEqual(yield* codeOf(file.sync), "EIO")
        yield* file.sync
        assert.deepStrictEqual(yield* contentOf(file), bytesOf(2, 1))
        yield* file.write([bytesOf(3)], 1)
        yield* file.sync
        assert.deepStrictEqual(faults.crashImage({ keep: "everything" }).read("/a"), bytesOf(1, 3))
        yield* faults.dropCaches
        assert.deepStrictEqual(yield* contentOf(file), bytesOf(1, 3))
      })
  )

  test("keep the pages of a failed sync for the next", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1))
      yield* file.write([bytesOf(2)], 0)
      yield* faults.fail({
        operation: "sync",
        outcome: { _tag: "SyncFailed", code: "ENOSPC", pages: "kept" }
      })
      assert.throws(() => file.syncSync(), /ENOSPC/)
      assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(1))
      yield* file.sync
      assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(2))
    }))

  test("lose a write or a sync without a word", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1, 1))
      yield* faults.fail({ operation: "write", outcome: { _tag: "Lost" } })
      yield* file.write([bytesOf(2)], 0)
      yield* file.write([bytesOf(3)], 1)
      yield* file.sync
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(2, 3))
      assert.deepStrictEqual(faults.crashImage({ keep: "everything" }).read("/a"), bytesOf(1, 3))
      yield* file.write([bytesOf(4)], 1)
      yield* faults.fail({ operation: "sync", outcome: { _tag: "Lost" } })
      yield* file.sync
      assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(1, 3))
      assert.deepStrictEqual(faults.crashImage({ keep: "everything" }).read("/a"), bytesOf(1, 4))
    }))

  test("send writes and reads elsewhere", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1, 1, 1, 1))
      const other = yield* durableFile(disk, "/b", bytesOf(5, 5, 5, 5))
      yield* faults.fail({ operation: "write", outcome: { _tag: "Misdirected", position: 1, path: "/b" } })
      yield* file.write([bytesOf(2), bytesOf(3)], 0)
      yield* file.sync
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(2, 3, 1, 1))
      assert.deepStrictEqual(yield* contentOf(other), bytesOf(5, 5, 5, 5))
      yield* faults.dropCaches
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(1, 1, 1, 1))
      assert.deepStrictEqual(yield* contentOf(other), bytesOf(5, 2, 3, 5))
      yield* faults.fail({ operation: "read", outcome: { _tag: "Misdirected", position: 2, path: "/b" } })
      const buffer = new Uint8Array(2)
      assert.strictEqual(yield* file.read(buffer, 0), 2)
      assert.deepStrictEqual(buffer, bytesOf(3, 5))
    }))

  test("flip bits on the way in, and at rest", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(0, 0))
      yield* faults.fail({ operation: "read", outcome: { _tag: "Flipped", bit: 9 } })
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(0, 2))
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(0, 0))
      yield* faults.flip("/a", 15)
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(0, 128))
      yield* faults.overwrite("/a", 1, bytesOf(7, 7))
      yield* faults.crash({ keep: "nothing" })
      assert.deepStrictEqual(yield* read(disk, "/a"), bytesOf(0, 7, 7))
      yield* faults.resize("/a", 1)
      assert.deepStrictEqual(yield* read(disk, "/a"), bytesOf(0))
    }))

  test("reach bytes that were not synced before they rot", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(0))
      yield* file.write([bytesOf(1)], 0)
      yield* faults.flip("/a", 7)
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(129))
      assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(129))
    }))

  test("answer late, or never", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1))
      yield* faults.fail({ operation: "write", outcome: { _tag: "Delayed", millis: 1_000 } })
      const late = yield* Effect.forkChild(file.write([bytesOf(2)], 0), { startImmediately: true })
      yield* TestClock.adjust(999)
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(1))
      yield* TestClock.adjust(1)
      yield* Fiber.join(late)
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(2))
      yield* faults.fail({ operation: "sync", times: 2, outcome: { _tag: "Hung" } })
      const never = yield* Effect.forkChild(file.sync, { startImmediately: true })
      yield* TestClock.adjust(1e9)
      assert.isUndefined(never.pollUnsafe())
      assert.throws(() => file.syncSync(), /ETIMEDOUT/)
      yield* Fiber.interrupt(never)
    }))

  test("fill the disk", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1, 2, 3, 4))
      assert.strictEqual(yield* disk.freeBytes("/"), 6)
      const other = yield* opened(disk, "/b", "create")
      assert.strictEqual(yield* codeOf(other.write([filled(4, 5), filled(4, 6)], 0)), "ENOSPC")
      assert.deepStrictEqual(yield* contentOf(other), bytesOf(5, 5, 5, 5, 6, 6))
      assert.strictEqual(yield* disk.freeBytes("/"), 0)
      yield* file.write([bytesOf(9, 9, 9, 9)], 0)
      assert.strictEqual(yield* codeOf(file.allocate(5)), "ENOSPC")
      yield* disk.unlink("/b")
      yield* file.allocate(5)
      yield* faults.crash({ keep: "nothing" })
      assert.strictEqual(yield* disk.freeBytes("/"), 5)
      yield* faults.limit(Infinity)
      assert.isAbove(yield* disk.freeBytes("/"), 1e15)
    }), { capacityBytes: 10 })
})

/**
 * The fault model of the guarantees, point by point where `faultDisk.crash.test.ts` and `faultDisk.test.ts` do not show
 * it yet: what is reordered, which refusals there are, and what is seen after a sync that failed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { atOnce } from "../src/disk/Disk.ts"
import type { Disk, DiskFile } from "../src/disk/Disk.ts"
import type { Fault, FaultDisk } from "../src/disk/FaultDisk.ts"
import type { StoreError } from "../src/StoreError.ts"
import { bytesOf, codeOf, contentOf, opened } from "./support/diskSuite.ts"
import { durableFile, everyImage, filled, onFaultDisk, read, test } from "./support/faultDisk.ts"

const shown = (bytes: Uint8Array | undefined): string => bytes === undefined ? "-" : bytes.join("")

/** All states that power cuts leave of some files. */
const states = (faults: FaultDisk["Service"], ...paths: ReadonlyArray<string>): ReadonlyArray<string> => {
  const found = new Set<string>()
  for (const image of everyImage(faults, 300)) {
    found.add(paths.map((path) => shown(image.read(path))).join(" "))
  }
  return [...found].sort()
}

describe("a power cut reorders", () => {
  test("a rename and the bytes written before it", (disk, faults) =>
    Effect.gen(function*() {
      yield* durableFile(disk, "/a", bytesOf(1))
      const fresh = yield* durableFile(disk, "/new", bytesOf(2))
      yield* fresh.write([bytesOf(3)], 0)
      yield* disk.rename("/new", "/a")
      assert.deepStrictEqual(states(faults, "/a", "/new"), ["1 2", "1 3", "2 -", "3 -"])
      // What makes it safe: the bytes first, then the name.
      yield* fresh.sync
      assert.deepStrictEqual(states(faults, "/a", "/new"), ["1 3", "3 -"])
      yield* disk.syncDirectory("/")
      assert.deepStrictEqual(states(faults, "/a", "/new"), ["3 -"])
    }))

  test(
    "an unlink, and what was written elsewhere before and after it",
    (disk, faults) =>
      Effect.gen(function*() {
        yield* durableFile(disk, "/old", bytesOf(1))
        const kept = yield* durableFile(disk, "/kept", bytesOf(1))
        yield* kept.write([bytesOf(2)], 0)
        yield* disk.unlink("/old")
        yield* kept.write([bytesOf(3)], 0)
        assert.deepStrictEqual(states(faults, "/old", "/kept"), ["- 1", "- 2", "- 3", "1 1", "1 2", "1 3"])
      })
  )

  test("a name that comes back and the one that took its place", (disk, faults) =>
    Effect.gen(function*() {
      yield* durableFile(disk, "/log.1", bytesOf(1))
      yield* disk.rename("/log.1", "/log.2")
      yield* disk.rename("/log.2", "/log.3")
      // Both renames, none, or one of them by itself: the file then has no name, or two.
      assert.deepStrictEqual(states(faults, "/log.1", "/log.2", "/log.3"), [
        "- - 1",
        "- 1 -",
        "1 - -",
        "1 - 1"
      ])
    }))

  test("a truncation, and growth, with the name of another file", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1, 1))
      yield* file.truncate(1)
      yield* opened(disk, "/done", "create")
      assert.deepStrictEqual(states(faults, "/a", "/done"), ["1 ", "1 -", "11 ", "11 -"])
    }))
})

const codes = ["EIO", "ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "EROFS", "EACCES", "EINTR", "ENOMEM"]

type Use = (disk: Disk["Service"]) => Effect.Effect<unknown, StoreError>

/** Every operation that can go wrong, on a disk with a file `/a` in a directory. */
const uses: ReadonlyArray<readonly [Fault["operation"] & string, Use]> = [
  ["open", (disk) => Effect.scoped(opened(disk, "/d/new", "create"))],
  ["kind", (disk) => disk.kind("/d/a")],
  ["list", (disk) => disk.list("/d")],
  ["makeDirectory", (disk) => disk.makeDirectory("/d/e")],
  ["rename", (disk) => disk.rename("/d/a", "/d/b")],
  ["unlink", (disk) => disk.unlink("/d/a")],
  ["syncDirectory", (disk) => disk.syncDirectory("/d")],
  ["lock", (disk) => Effect.scoped(disk.lock("/d/lock"))],
  ["freeBytes", (disk) => disk.freeBytes("/d")],
  ...(["read", "write", "sync", "size", "allocate", "truncate"] as const).map((operation) =>
    [operation, (disk: Disk["Service"]) => onFile(disk, operation)] as const
  )
]

const onFile = (
  disk: Disk["Service"],
  operation: "read" | "write" | "sync" | "size" | "allocate" | "truncate"
): Effect.Effect<unknown, StoreError> =>
  Effect.flatMap(opened(disk, "/d/a", "readWrite"), (file): Effect.Effect<unknown, StoreError> => {
    switch (operation) {
      case "read":
        return file.read(new Uint8Array(1), 0)
      case "write":
        return file.write([bytesOf(7)], 0)
      case "allocate":
        return file.allocate(100)
      case "truncate":
        return file.truncate(1)
      default:
        return file[operation]
    }
  }).pipe(Effect.scoped)

describe("every operation", () => {
  for (const [operation, use] of uses) {
    it.effect(`can be refused with any code, once or for ever, and has not happened then: ${operation}`, () =>
      onFaultDisk((disk, faults) =>
        Effect.gen(function*() {
          yield* disk.makeDirectory("/d")
          const file = yield* opened(disk, "/d/a", "create")
          yield* file.write([bytesOf(1, 2, 3)], 0)
          yield* file.sync
          yield* disk.syncDirectory("/d")
          const before = faults.killImage().digest()
          for (const code of codes) {
            yield* faults.fail({ operation, times: 2, outcome: { _tag: "Refused", code } })
            assert.deepStrictEqual([yield* codeOf(use(disk)), yield* codeOf(use(disk))], [code, code])
          }
          const outcome = { _tag: "Refused", code: "EROFS" } as const
          yield* faults.fail({ operation, times: Infinity, outcome })
          for (let time = 0; time < 20; time++) assert.strictEqual(yield* codeOf(use(disk)), "EROFS")
          assert.strictEqual(faults.killImage().digest(), before)
          yield* faults.heal
          assert.strictEqual(yield* codeOf(use(disk)), "done")
        })
      ))
  }
})

describe("a durable write", () => {
  for (const how of ["writeDurably", "writeDurablySync"] as const) {
    const write = (file: DiskFile, bytes: Uint8Array, position: number) =>
      how === "writeDurably"
        ? file.writeDurably([bytes], position)
        : atOnce(() => file.writeDurablySync([bytes], position))

    test(
      `keeps its own bytes, whatever was written over them before, and no others: ${how}`,
      (disk, faults) =>
        Effect.gen(function*() {
          const file = yield* durableFile(disk, "/a", bytesOf(1, 1, 1, 1))
          yield* file.write([bytesOf(2, 2, 2)], 0)
          yield* file.write([bytesOf(3, 3)], 2)
          yield* write(file, bytesOf(4), 1)
          // What is left of the first write on either side is kept or lost by itself.
          assert.deepStrictEqual(states(faults, "/a"), ["1411", "1421", "1433", "2411", "2421", "2433"])
          yield* file.sync
          assert.deepStrictEqual(states(faults, "/a"), ["2433"])
        })
    )

    test(`keeps the end of the file that it needs: ${how}`, (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", bytesOf(1))
        yield* write(file, bytesOf(2), 2)
        assert.deepStrictEqual(states(faults, "/a"), ["102"])
        yield* file.truncate(1)
        yield* write(file, bytesOf(3), 1)
        assert.deepStrictEqual(states(faults, "/a"), ["13"])
      }))

    test(
      `is a write and a sync to whoever breaks the disk: ${how}`,
      (disk, faults) =>
        Effect.gen(function*() {
          const file = yield* durableFile(disk, "/a", bytesOf(1))
          const seen: Array<string> = []
          yield* faults.observe(({ operation }) => {
            seen.push(`${operation} ${states(faults, "/a").join(",")}`)
          })
          yield* write(file, bytesOf(2), 0)
          assert.deepStrictEqual(seen, ["write 1", "sync 1,2"])
          for (const pages of ["dropped", "kept"] as const) {
            yield* faults.fail({ operation: "sync", outcome: { _tag: "SyncFailed", pages } })
            assert.strictEqual(yield* codeOf(write(file, bytesOf(3), 0)), "EIO")
            assert.deepStrictEqual(states(faults, "/a"), pages === "dropped" ? ["2"] : ["2", "3"])
          }
          yield* faults.fail({ operation: "write", outcome: { _tag: "Refused", code: "ENOSPC" } })
          assert.strictEqual(yield* codeOf(write(file, bytesOf(4), 0)), "ENOSPC")
          yield* faults.fail({ operation: "sync", outcome: { _tag: "Lost" } })
          yield* write(file, bytesOf(5), 0)
          assert.include(states(faults, "/a"), "2")
        })
    )
  }
})

describe("a sync that failed", () => {
  test(
    "and dropped its pages shows them to the next process, until they are read again",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", filled(2_048, 1))
        yield* file.write([filled(1_024, 2)], 512)
        yield* faults.fail({ operation: "sync", outcome: { _tag: "SyncFailed", pages: "dropped" } })
        assert.strictEqual(yield* codeOf(file.sync), "EIO")
        yield* faults.kill
        // A sync that succeeds now has nothing to write: what is seen is not what is there.
        const next = yield* opened(disk, "/a", "readWrite")
        yield* next.sync
        assert.strictEqual((yield* contentOf(next))[512], 2)
        for (const image of everyImage(faults, 5)) assert.deepStrictEqual(image.read("/a"), filled(2_048, 1))
        yield* faults.dropCaches
        assert.deepStrictEqual(yield* contentOf(next), filled(2_048, 1))
        // What is written again is synced again.
        yield* next.write([filled(512, 3)], 512)
        yield* next.sync
        assert.strictEqual(faults.crashImage({ keep: "nothing" }).read("/a")?.[512], 3)
      })
  )

  test("keeps what was synced before, and takes no file along", (disk, faults) =>
    Effect.gen(function*() {
      const [a, b] = [yield* durableFile(disk, "/a", bytesOf(1)), yield* durableFile(disk, "/b", bytesOf(1))]
      yield* a.write([bytesOf(2)], 0)
      yield* b.write([bytesOf(2)], 0)
      yield* faults.fail({ operation: "sync", path: "/a", outcome: { _tag: "SyncFailed", pages: "dropped" } })
      assert.strictEqual(yield* codeOf(a.sync), "EIO")
      assert.deepStrictEqual(states(faults, "/a", "/b"), ["1 1", "1 2"])
      yield* faults.crash({ keep: "everything" })
      assert.deepStrictEqual([yield* read(disk, "/a"), yield* read(disk, "/b")], [bytesOf(1), bytesOf(2)])
    }))

  test("of a directory leaves its names as volatile as before", (disk, faults) =>
    Effect.gen(function*() {
      yield* opened(disk, "/a", "create")
      yield* faults.fail({ operation: "syncDirectory", outcome: { _tag: "Refused", code: "EIO" } })
      assert.strictEqual(yield* codeOf(disk.syncDirectory("/")), "EIO")
      assert.deepStrictEqual(states(faults, "/a"), ["", "-"])
      yield* disk.syncDirectory("/")
      assert.deepStrictEqual(states(faults, "/a"), [""])
    }))
})

describe("a short write", () => {
  test("ends at any byte, and what it wrote is as volatile as any", (disk, faults) =>
    Effect.gen(function*() {
      for (let bytes = 0; bytes < 6; bytes++) {
        const path = `/${bytes}`
        const file = yield* durableFile(disk, path, bytesOf(1))
        const outcome = { _tag: "Short", bytes, code: "ENOSPC" } as const
        yield* faults.fail({ operation: "write", path, outcome })
        assert.strictEqual(yield* codeOf(file.write([bytesOf(2, 2), bytesOf(3, 3, 3)], 1)), "ENOSPC")
        const written = [1, 2, 2, 3, 3, 3].slice(0, 1 + bytes)
        assert.deepStrictEqual(yield* contentOf(file), bytesOf(...written))
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read(path), bytesOf(1))
      }
    }))
})

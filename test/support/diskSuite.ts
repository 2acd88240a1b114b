/**
 * What every disk promises: one suite, run before each implementation of `Disk`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Disk } from "../../src/disk/Disk.ts"
import type { DiskFile, OpenMode } from "../../src/disk/Disk.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { random } from "./random.ts"

/** A disk to test, and a directory on it that is the test's alone. */
export interface Place {
  readonly layer: Layer.Layer<Disk>
  readonly directory: Effect.Effect<string, never, Scope.Scope>
}

export type Body = (
  disk: Disk["Service"],
  directory: string
) => Effect.Effect<void, StoreError, Scope.Scope>

/** Runs a body on a fresh disk. */
export const onDisk = (place: Place, body: Body): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const directory = yield* place.directory
    yield* body(yield* Disk, directory)
  }).pipe(Effect.scoped, Effect.provide(Layer.fresh(place.layer)))

/** Opens a file until the scope closes. */
export const opened = (
  disk: Disk["Service"],
  path: string,
  mode: OpenMode
): Effect.Effect<DiskFile, StoreError, Scope.Scope> =>
  Effect.acquireRelease(disk.open(path, { mode }), (file) => file.close)

/** The code that an operation is refused with; `"done"` where it is not refused. */
export const codeOf = <A, R>(effect: Effect.Effect<A, StoreError, R>): Effect.Effect<string, never, R> =>
  Effect.match(effect, {
    onSuccess: () => "done",
    onFailure: ({ reason }) => reason._tag === "DiskFailed" ? reason.code : reason._tag
  })

/** The error of an operation, which must fail. */
export const refusalOf = <A, R>(
  effect: Effect.Effect<A, StoreError, R>
): Effect.Effect<StoreError, never, R> => Effect.orDie(Effect.flip(effect))

/** The whole file. */
export const contentOf = (file: DiskFile): Effect.Effect<Uint8Array, StoreError> =>
  Effect.flatMap(file.size, (size) => {
    const buffer = new Uint8Array(size)
    return Effect.as(file.read(buffer, 0), buffer)
  })

export const bytesOf = (...values: ReadonlyArray<number>): Uint8Array => Uint8Array.from(values)

export const suite = (name: string, place: Place): void => {
  const test = (title: string, body: Body) => it.effect(title, () => onDisk(place, body))

  describe(name, () => {
    describe("files", () => files(test))
    describe("names", () => names(test))
    describe("lock", () => locks(test))
  })
}

type Test = (title: string, body: Body) => void

const files = (test: Test): void => {
  test(
    "reads what was written, at any position and in any pieces",
    (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* opened(disk, `${directory}/a`, "create")
        const { bytes, int } = random(7)
        const expected = bytes(100_000)
        const pieces: Array<Uint8Array> = [new Uint8Array(0)]
        for (let at = 0; at < expected.length; at += pieces.at(-1)!.length) {
          pieces.push(expected.subarray(at, at + 1 + int(60)))
        }
        assert.isAbove(pieces.length, 2_048, "more pieces than one writev takes")
        yield* file.write(pieces, 0)
        assert.deepStrictEqual(yield* contentOf(file), expected)
        for (let round = 0; round < 200; round++) {
          const position = int(expected.length)
          const patch = bytes(int(20_000))
          const fits = patch.subarray(0, expected.length - position)
          if (round % 2 === 0) yield* file.write([fits], position)
          else file.writeSync([fits], position)
          expected.set(fits, position)
          const buffer = new Uint8Array(int(40_000))
          const from = int(expected.length + 10)
          const count = round % 3 === 0 ? file.readSync(buffer, from) : yield* file.read(buffer, from)
          const wanted = expected.subarray(from, from + buffer.length)
          assert.strictEqual(count, wanted.length, `round ${round}`)
          assert.deepStrictEqual(buffer.subarray(0, count), wanted, `round ${round}`)
        }
      })
  )

  test("writes nothing where it is given nothing", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* file.write([], 10)
      yield* file.write([new Uint8Array(0)], 10)
      file.writeSync([], 10)
      assert.strictEqual(yield* file.size, 0)
      assert.strictEqual(yield* file.read(new Uint8Array(0), 0), 0)
    }))

  test(
    "keeps what a caller's buffer held at the time of the write",
    (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* opened(disk, `${directory}/a`, "create")
        const buffer = bytesOf(1, 2, 3)
        yield* file.write([buffer], 0)
        buffer.fill(9)
        assert.deepStrictEqual(yield* contentOf(file), bytesOf(1, 2, 3))
      })
  )

  test("reads a gap as zeros, and nothing beyond the end", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* file.write([bytesOf(5)], 40_000)
      const buffer = new Uint8Array(50_000).fill(7)
      assert.strictEqual(yield* file.read(buffer, 0), 40_001)
      const expected = new Uint8Array(50_000).fill(7, 40_001)
      expected[40_000] = 5
      assert.deepStrictEqual(buffer, expected)
      assert.strictEqual(file.readSync(buffer, 40_001), 0)
      assert.strictEqual(yield* file.read(buffer, 1e12), 0)
    }))

  test(
    "truncates and extends; what was cut off never comes back",
    (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* opened(disk, `${directory}/a`, "create")
        yield* file.write([new Uint8Array(60_000).fill(1)], 0)
        for (const cut of [40_000, 32_768, 100, 0]) {
          yield* file.truncate(cut)
          assert.strictEqual(yield* file.size, cut)
          yield* file.truncate(60_000)
          const expected = new Uint8Array(60_000).fill(1, 0, cut)
          assert.deepStrictEqual(yield* contentOf(file), expected, `cut at ${cut}`)
        }
      })
  )

  test(
    "allocates zeros behind what is there, and never shortens",
    (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* opened(disk, `${directory}/a`, "create")
        yield* file.write([bytesOf(1, 2, 3)], 0)
        yield* file.allocate(3_000_000)
        const expected = new Uint8Array(3_000_000)
        expected.set([1, 2, 3])
        assert.deepStrictEqual(yield* contentOf(file), expected)
        yield* file.allocate(10)
        assert.strictEqual(yield* file.size, 3_000_000)
      })
  )

  test("syncs", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* file.write([bytesOf(1)], 0)
      yield* file.sync
      file.syncSync()
      assert.strictEqual(disk.counters.syncs, 2)
    }))

  for (const durableWrites of ["oneCall", "twoCalls"] as const) {
    test(
      `writes durably, ${durableWrites}, in step with what is written and read otherwise`,
      (disk, directory) =>
        Effect.gen(function*() {
          const path = `${directory}/a`
          yield* Effect.scoped(Effect.asVoid(opened(disk, path, "create")))
          const file = yield* Effect.acquireRelease(
            disk.open(path, { mode: "readWrite", durableWrites }),
            (file) => file.close
          )
          const { bytes, int } = random(9)
          const expected = new Uint8Array(50_000)
          yield* file.write([expected], 0)
          for (let round = 0; round < 40; round++) {
            const position = int(expected.length)
            const patch = bytes(int(9_000)).subarray(0, expected.length - position)
            const parts = [patch.subarray(0, patch.length >> 1), patch.subarray(patch.length >> 1)]
            if (round % 3 === 0) yield* file.write(parts, position)
            else if (round % 3 === 1) yield* file.writeDurably(parts, position)
            else file.writeDurablySync(parts, position)
            expected.set(patch, position)
          }
          assert.deepStrictEqual(yield* contentOf(file), expected)
          yield* file.writeDurably([bytesOf(1, 2)], expected.length)
          assert.strictEqual(yield* file.size, expected.length + 2)
          const { syncs, writes } = file.counters
          assert.deepStrictEqual({ syncs, writes }, { syncs: 27, writes: 42 })
          yield* file.close
          assert.strictEqual(yield* codeOf(file.writeDurably([bytesOf(1)], 0)), "EBADF")
          assert.throws(() => file.writeDurablySync([bytesOf(1)], 0), /EBADF/)
          const read = yield* Effect.acquireRelease(
            disk.open(path, { mode: "readOnly", durableWrites }),
            (file) => file.close
          )
          assert.strictEqual(yield* codeOf(read.writeDurably([bytesOf(1)], 0)), "EBADF")
        })
    )
  }

  test("refuses to write through a file opened for reading", (disk, directory) =>
    Effect.gen(function*() {
      const written = yield* opened(disk, `${directory}/a`, "create")
      yield* written.write([bytesOf(1)], 0)
      const file = yield* opened(disk, `${directory}/a`, "readOnly")
      assert.strictEqual(yield* codeOf(file.write([bytesOf(2)], 0)), "EBADF")
      assert.strictEqual(yield* codeOf(file.truncate(0)), "EINVAL")
      assert.throws(() => file.writeSync([bytesOf(2)], 0), /EBADF/)
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(1))
      yield* file.sync
      yield* file.write([bytesOf()], 0)
      yield* file.close
      assert.strictEqual(yield* codeOf(file.write([], 0)), "EBADF")
      assert.strictEqual(yield* codeOf(file.truncate(0)), "EBADF")
    }))

  test("fails with EBADF after close, and closes once", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* disk.open(`${directory}/a`, { mode: "create" })
      yield* file.close
      yield* file.close
      // Whatever got the descriptor's number must not feel a late operation of the closed file.
      const other = yield* opened(disk, `${directory}/b`, "create")
      const refused = [file.write([bytesOf(1)], 0), file.sync, file.size, file.truncate(5), file.allocate(5)]
      for (const operation of refused) assert.strictEqual(yield* codeOf(operation), "EBADF")
      assert.strictEqual(yield* codeOf(file.read(new Uint8Array(1), 0)), "EBADF")
      assert.throws(() => file.readSync(new Uint8Array(1), 0), /EBADF/)
      assert.throws(() => file.syncSync(), /EBADF/)
      yield* file.close
      assert.strictEqual(yield* other.size, 0)
      yield* other.write([bytesOf(1)], 0)
    }))

  test("lets what is under way end before it closes", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* disk.open(`${directory}/a`, { mode: "create" })
      const block = new Uint8Array(1 << 20).fill(3)
      const writes = Array.from({ length: 16 }, (_, i) => file.write([block], i << 20))
      yield* Effect.all([...writes, file.close], { concurrency: "unbounded" })
      const again = yield* opened(disk, `${directory}/a`, "readOnly")
      assert.strictEqual(yield* again.size, 16 << 20)
    }))

  test("counts", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* file.write([bytesOf(1, 2), bytesOf(3)], 0)
      file.writeSync([bytesOf(4)], 3)
      yield* file.read(new Uint8Array(10), 0)
      file.readSync(new Uint8Array(2), 0)
      yield* file.sync
      yield* disk.syncDirectory(directory)
      yield* codeOf(disk.open(`${directory}/missing`, { mode: "readOnly" }))
      assert.deepStrictEqual({ ...disk.counters }, {
        opens: 2,
        reads: 2,
        readBytes: 6,
        blockingReads: 1,
        writes: 2,
        writeBytes: 4,
        syncs: 1,
        directorySyncs: 1,
        failures: 1
      })
      assert.deepStrictEqual({ ...file.counters }, {
        reads: 2,
        readBytes: 6,
        blockingReads: 1,
        writes: 2,
        writeBytes: 4,
        syncs: 1
      })
      const other = yield* opened(disk, `${directory}/a`, "readOnly")
      assert.strictEqual(other.counters.reads, 0, "each open file counts for itself")
    }))
}

const names = (test: Test): void => {
  test("opens what is there, and creates what is not", (disk, directory) =>
    Effect.gen(function*() {
      const path = `${directory}/a`
      assert.strictEqual(yield* codeOf(disk.open(path, { mode: "readWrite" })), "ENOENT")
      assert.strictEqual(yield* codeOf(disk.open(path, { mode: "readOnly" })), "ENOENT")
      assert.strictEqual(yield* codeOf(disk.open(`${directory}/no/a`, { mode: "create" })), "ENOENT")
      yield* opened(disk, path, "create")
      assert.strictEqual(yield* codeOf(disk.open(path, { mode: "create" })), "EEXIST")
      assert.strictEqual(yield* codeOf(disk.open(`${path}/b`, { mode: "create" })), "ENOTDIR")
      for (const mode of ["readOnly", "readWrite"] as const) {
        assert.strictEqual(yield* codeOf(disk.open(directory, { mode })), "EISDIR")
      }
      assert.strictEqual(yield* codeOf(disk.open("", { mode: "readOnly" })), "ENOENT")
      assert.notStrictEqual(yield* codeOf(disk.open(`${directory}/a\0b`, { mode: "create" })), "done")
    }))

  test("tells what a path names", (disk, directory) =>
    Effect.gen(function*() {
      yield* opened(disk, `${directory}/a`, "create")
      assert.strictEqual(yield* disk.kind(`${directory}/a`), "file")
      assert.strictEqual(yield* disk.kind(directory), "directory")
      assert.strictEqual(yield* disk.kind(`${directory}/b`), "missing")
      assert.strictEqual(yield* codeOf(disk.kind(`${directory}/a/b`)), "ENOTDIR")
    }))

  test("makes directories, once", (disk, directory) =>
    Effect.gen(function*() {
      yield* disk.makeDirectory(`${directory}/d`)
      yield* opened(disk, `${directory}/d/a`, "create")
      yield* disk.makeDirectory(`${directory}/d`)
      assert.deepStrictEqual(yield* disk.list(`${directory}/d`), ["a"])
      assert.strictEqual(yield* codeOf(disk.makeDirectory(`${directory}/no/d`)), "ENOENT")
      assert.strictEqual(yield* codeOf(disk.makeDirectory(`${directory}/d/a`)), "EEXIST")
    }))

  test("lists names in order", (disk, directory) =>
    Effect.gen(function*() {
      for (const name of ["b", "10", "9", "Z", "a", "é"]) {
        yield* opened(disk, `${directory}/${name}`, "create")
      }
      assert.deepStrictEqual(yield* disk.list(directory), ["10", "9", "Z", "a", "b", "é"])
      assert.strictEqual(yield* codeOf(disk.list(`${directory}/no`)), "ENOENT")
      assert.strictEqual(yield* codeOf(disk.list(`${directory}/a`)), "ENOTDIR")
    }))

  test(
    "renames over what is there, and keeps it for whoever has it open",
    (disk, directory) =>
      Effect.gen(function*() {
        const old = yield* opened(disk, `${directory}/a`, "create")
        yield* old.write([bytesOf(1)], 0)
        const fresh = yield* opened(disk, `${directory}/b`, "create")
        yield* fresh.write([bytesOf(2)], 0)
        yield* disk.rename(`${directory}/b`, `${directory}/a`)
        assert.deepStrictEqual(yield* disk.list(directory), ["a"])
        assert.deepStrictEqual(
          yield* contentOf(yield* opened(disk, `${directory}/a`, "readOnly")),
          bytesOf(2)
        )
        assert.deepStrictEqual(yield* contentOf(old), bytesOf(1))
        yield* fresh.write([bytesOf(3)], 0)
        assert.deepStrictEqual(
          yield* contentOf(yield* opened(disk, `${directory}/a`, "readOnly")),
          bytesOf(3)
        )
        assert.strictEqual(yield* codeOf(disk.rename(`${directory}/b`, `${directory}/c`)), "ENOENT")
      })
  )

  test("unlinks a name, not the file that is open", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* disk.unlink(`${directory}/a`)
      yield* file.write([bytesOf(1)], 0)
      assert.deepStrictEqual(yield* contentOf(file), bytesOf(1))
      assert.strictEqual(yield* disk.kind(`${directory}/a`), "missing")
      const again = yield* opened(disk, `${directory}/a`, "create")
      assert.strictEqual(yield* again.size, 0)
      assert.strictEqual(yield* codeOf(disk.unlink(`${directory}/b`)), "ENOENT")
      assert.strictEqual(yield* codeOf(disk.unlink(directory)), "EISDIR")
    }))

  test("syncs directories, and knows the free space", (disk, directory) =>
    Effect.gen(function*() {
      yield* disk.syncDirectory(directory)
      assert.strictEqual(yield* codeOf(disk.syncDirectory(`${directory}/no`)), "ENOENT")
      assert.isAbove(yield* disk.freeBytes(directory), 0)
      assert.strictEqual(yield* codeOf(disk.freeBytes(`${directory}/no`)), "ENOENT")
    }))
}

const locks = (test: Test): void => {
  test("is held by one, until its scope closes", (disk, directory) =>
    Effect.gen(function*() {
      const path = `${directory}/LOCK`
      const scope = yield* Scope.make()
      yield* Scope.provide(disk.lock(path), scope)
      const refused = yield* refusalOf(Effect.scoped(disk.lock(path)))
      assert.strictEqual(refused.reason._tag, "Locked")
      assert.deepInclude({ ...refused.reason }, { path, pid: process.pid })
      // A refusal must not let go of what it was refused.
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(path))), "Locked")
      yield* Effect.scoped(disk.lock(`${directory}/OTHER`))
      yield* Scope.close(scope, Exit.void)
      yield* Effect.scoped(disk.lock(path))
      yield* Effect.scoped(disk.lock(path))
    }))

  test("refuses what is no place for a lock", (disk, directory) =>
    Effect.gen(function*() {
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(directory))), "EISDIR")
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(`${directory}/no/LOCK`))), "ENOENT")
    }))
}

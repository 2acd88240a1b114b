/**
 * Files past the system's cache: the answers of plain files, whole blocks at the device, and a typed refusal.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import fs from "node:fs"
import os from "node:os"
import path from "node:path"
import type { DiskFile, OpenMode } from "../src/disk/Disk.ts"
import { Disk } from "../src/disk/Disk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import type { SystemCache } from "../src/Limits.ts"
import * as Store from "../src/Store.ts"
import { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import type { Body, Place } from "./support/diskSuite.ts"
import { codeOf, contentOf, onDisk, refusalOf, suite } from "./support/diskSuite.ts"
import type { Answer } from "./support/nodeCalls.ts"
import { isDirect, O_DIRECT, replaceCalls, watching } from "./support/nodeCalls.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { directory as temporary, refusal, small } from "./support/stores.ts"

const block = 4_096
const Words = Keyspace.bytes("words")

/** Whether the file system of the tests can do it; an old tmpfs cannot. */
const able = ((): boolean => {
  if (O_DIRECT === undefined) return false
  const name = path.join(os.tmpdir(), `heartwood-${process.pid}`)
  fs.writeFileSync(name, "")
  try {
    fs.closeSync(fs.openSync(name, fs.constants.O_RDONLY | O_DIRECT))
    return true
  } catch {
    return false
  } finally {
    fs.unlinkSync(name)
  }
})()
const where = able ? "" : ` (skipped: no O_DIRECT in ${os.tmpdir()})`

/** The real disk, with every file opened so. */
const diskWith = (systemCache: SystemCache): Layer.Layer<Disk> =>
  Layer.effect(
    Disk,
    Effect.map(Disk, (disk) => ({
      ...disk,
      open: (at: string, { mode }: { readonly mode: OpenMode }) => disk.open(at, { mode, systemCache })
    }))
  ).pipe(Layer.provide(NodeDisk.layer))

const direct: Place = { layer: diskWith("bypass"), directory: temporary }
const test = (title: string, body: Body) => it.effect(title, () => onDisk(direct, body))

const opened = (disk: Disk["Service"], at: string, mode: OpenMode, systemCache: SystemCache = "bypass") =>
  Effect.acquireRelease(disk.open(at, { mode, systemCache }), (file) => file.close)

describe.skipIf(!able)(`past the system's cache${where}`, () => {
  suite("every promise of a disk", direct)

  describe("the same as through it", () => {
    for (let seed = 1; seed <= 16; seed++) {
      it.effect(`for the operations of seed ${seed}`, () =>
        onDisk({ ...direct, layer: NodeDisk.layer }, (disk, directory) =>
          Effect.gen(function*() {
            const one = yield* opened(disk, `${directory}/direct`, "create")
            const other = yield* opened(disk, `${directory}/cached`, "create", "use")
            for (let step = 0; step < 60; step++) {
              const draw = random(seed * 1_000 + step).int(2 ** 31)
              const seen = yield* act(one, random(draw))
              assert.deepStrictEqual(seen, yield* act(other, random(draw)), `step ${step}`)
            }
            assert.deepStrictEqual({ ...one.counters }, { ...other.counters })
            const seen = fs.readFileSync(`${directory}/direct`)
            assert.isTrue(seen.equals(fs.readFileSync(`${directory}/cached`)), "as others see the files")
          })))
    }
  })

  test(
    "asks the device for whole blocks only, between aligned buffers",
    (disk, directory) =>
      Effect.gen(function*() {
        const calls: Array<string> = []
        yield* replaceCalls(watching(calls))
        const file = yield* opened(disk, `${directory}/a`, "create")
        const page = random(1).bytes(block)
        yield* file.write([page, page.subarray(0, 96), page.subarray(96)], 8 * block)
        file.writeSync([page], 2 * block)
        const bytes = new Uint8Array(5_001).subarray(1)
        assert.strictEqual(yield* file.read(bytes, 2 * block - 10), 5_000)
        assert.deepStrictEqual(bytes.subarray(10, 10 + block), page)
        assert.strictEqual(file.readSync(bytes, 10 * block - 1), 1)
        yield* file.write([page.subarray(1)], 0)
        assert.deepStrictEqual(calls, [
          "read past 4096 at 0",
          "write past 8192 at 32768",
          "writeSync past 4096 at 8192",
          "read past 12288 at 4096",
          "readSync past 12288 at 36864",
          "readSync past 8192 at 40960",
          "write through 4095 at 0"
        ])
      })
  )

  test("goes on where the system moves fewer bytes than asked", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      const expected = random(3).bytes(40 * block)
      const parts = [expected.subarray(0, 10_001), expected.subarray(10_001)]
      yield* inPieces
      yield* file.write(parts, 0)
      assert.deepStrictEqual(yield* contentOf(file), expected)
      file.writeSync(parts, 8 * block)
      const buffer = new Uint8Array(50 * block)
      assert.strictEqual(file.readSync(buffer, 8 * block - 5), 40 * block + 5)
      assert.deepStrictEqual(buffer.subarray(5, 5 + 40 * block), expected)
    }))

  test("says SHORT once less than a block is taken", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* replaceCalls(() => ({
        write: (...[, , , , , answer]: [number, Uint8Array, number, number, number, Answer]) =>
          setImmediate(answer, null, 512),
        writeSync: () => 512
      }))
      assert.strictEqual(yield* codeOf(file.write([new Uint8Array(block)], 0)), "SHORT")
      assert.throws(() => file.writeSync([new Uint8Array(block)], 0), /SHORT/)
    }))

  test(
    "serves more transfers at a time than it has buffers, and closes after them",
    (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* disk.open(`${directory}/a`, { mode: "create" })
        const page = (index: number) => new Uint8Array(block).fill(index % 251)
        const large = new Uint8Array(3 << 20).fill(252)
        const writes = Array.from({ length: 300 }, (_, index) => file.write([page(index)], index * block))
        const runs = Array.from(
          { length: 20 },
          (_, index) => file.write([large], (2 << 20) + index * large.length)
        )
        yield* Effect.all([...writes, ...runs, file.close], { concurrency: "unbounded" })
        const again = yield* opened(disk, `${directory}/a`, "readOnly")
        assert.strictEqual(yield* again.size, (2 << 20) + 20 * large.length)
        const reads = Array.from({ length: 300 }, (_, index) => {
          const buffer = new Uint8Array(block)
          return Effect.map(
            again.read(buffer, index * block),
            () => assert.deepStrictEqual(buffer, page(index))
          )
        })
        yield* Effect.all(reads, { concurrency: "unbounded" })
      })
  )

  for (let seed = 1; seed <= 8; seed++) {
    test(
      `keeps side by side what goes past the cache and what goes through it (seed ${seed})`,
      (disk, directory) =>
        Effect.gen(function*() {
          const file = yield* opened(disk, `${directory}/a`, "create")
          const { bool, bytes, int } = random(seed)
          const expected = new Uint8Array(400 * block)
          yield* file.write([expected], 0)
          for (let round = 0; round < 4; round++) {
            const writes = Array.from({ length: 100 }, (_, index) => {
              const whole = bool(0.5)
              const at = 4 * index * block + (whole ? int(2) * block : int(2 * block))
              const data = bytes(whole ? (1 + int(2)) * block : 1 + int(2 * block))
              expected.set(data, at)
              return file.write([data], at)
            })
            yield* Effect.all([...writes, file.sync], { concurrency: "unbounded" })
            yield* file.sync
            assert.deepStrictEqual(yield* contentOf(file), expected, `round ${round}`)
          }
        })
    )
  }

  test("fails a transfer that waited, and gives its buffer on", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      yield* Effect.scoped(Effect.gen(function*() {
        yield* replaceCalls(() => ({
          read: (...[, , , , , answer]: [number, Uint8Array, number, number, number, Answer]) =>
            setImmediate(answer, Object.assign(new Error("gone"), { code: "EIO" }))
        }))
        const reads = Array.from({ length: 200 }, () => codeOf(file.read(new Uint8Array(block), 0)))
        const codes = yield* Effect.all(reads, { concurrency: "unbounded" })
        assert.deepStrictEqual(codes, Array.from({ length: 200 }, () => "EIO"))
      }))
      for (const position of [-1, 0.5, NaN, Number.MAX_SAFE_INTEGER]) {
        assert.strictEqual(yield* codeOf(file.read(new Uint8Array(block), position)), "EINVAL")
        assert.throws(() => file.writeSync([new Uint8Array(block)], position), /EINVAL/)
      }
      const reads = Array.from({ length: 200 }, () => file.read(new Uint8Array(block), 0))
      yield* Effect.all(reads, { concurrency: "unbounded" })
    }))

  it.live("a store keeps what it was told, and reads its pages so", () =>
    Effect.scoped(Effect.gen(function*() {
      const at = path.join(yield* temporary, "store")
      const open = (systemCache: SystemCache) => Store.layer({ path: at, ...small, systemCache })
      const text = new TextEncoder()
      const put = (index: number) =>
        Words.put(text.encode(`key ${index}`), text.encode(`value ${index}`.repeat(20)))
      yield* Effect.forEach(Array.from({ length: 2_000 }, (_, index) => index), put, { discard: true }).pipe(
        Tx.transact(),
        Effect.provide(open("bypass"))
      )
      const calls: Array<string> = []
      yield* replaceCalls(watching(calls))
      for (const systemCache of ["bypass", "use"] as const) {
        calls.length = 0
        yield* Effect.gen(function*() {
          const raw = yield* Words.raw
          const store = yield* Store.Store
          const { file } = store.machine.parts
          const before = file.counters.blockingReads
          assert.strictEqual(raw.getUnsafe(text.encode("key 1999"))?.length, 200)
          assert.isAbove(file.counters.blockingReads, before, "a page was missing")
        }).pipe(Effect.provide(open(systemCache)))
        const sync = calls.filter((call) => call.startsWith("readSync"))
        assert.isAbove(sync.length, 0)
        assert.deepStrictEqual(
          sync.filter((call) => call.includes("past") !== (systemCache === "bypass")),
          []
        )
      }
    })))
})

describe("where the system's cache cannot be bypassed", () => {
  /** A file system that does not know the flag, or knows it and takes no transfer. */
  const refusing = {
    "at the open": replaceCalls((real) => ({
      open: (at: string, flags: number, ...rest: [number, Answer] | [Answer]) => {
        if ((flags & (O_DIRECT ?? 0)) === 0) return Reflect.apply(real.open, real, [at, flags, ...rest])
        setImmediate(rest.at(-1) as Answer, Object.assign(new Error("refused"), { code: "EINVAL" }))
      }
    })),
    "at a transfer": replaceCalls((real) => ({
      read: (fd: number, ...rest: [Uint8Array, number, number, number, Answer]) => {
        if (!isDirect(fd)) return Reflect.apply(real.read, real, [fd, ...rest])
        setImmediate(rest.at(-1) as Answer, Object.assign(new Error("refused"), { code: "EINVAL" }))
      }
    }))
  }

  for (const [when, refuse] of Object.entries(refusing)) {
    it.effect.skipIf(!able)(
      `${when}: a typed error, and nothing left behind`,
      () =>
        onDisk({ layer: NodeDisk.layer, directory: temporary }, (disk, directory) =>
          Effect.gen(function*() {
            const at = `${directory}/a`
            const descriptors = fs.readdirSync("/proc/self/fd").length
            yield* refuse
            assert.strictEqual(
              yield* codeOf(disk.open(at, { mode: "create", systemCache: "bypass" })),
              "NODIRECT"
            )
            assert.deepStrictEqual(yield* disk.list(directory), [])
            yield* Effect.scoped(Effect.gen(function*() {
              const file = yield* opened(disk, at, "create", "avoid")
              yield* file.write([new Uint8Array(block).fill(1)], 0)
            }))
            for (const mode of ["readWrite", "readOnly"] as const) {
              const error = yield* refusalOf(disk.open(at, { mode, systemCache: "bypass" }))
              assert.match(error.message, /NODIRECT.*systemCache/)
            }
            assert.strictEqual(fs.readdirSync("/proc/self/fd").length, descriptors, "descriptors given back")
            const file = yield* opened(disk, at, "readWrite", "avoid")
            assert.deepStrictEqual(yield* contentOf(file), new Uint8Array(block).fill(1))
          }))
    )
  }

  it.effect.skipIf(!able)(
    "another file that took the name meanwhile is not taken for the first",
    () =>
      onDisk({ layer: NodeDisk.layer, directory: temporary }, (disk, directory) =>
        Effect.gen(function*() {
          fs.writeFileSync(`${directory}/a`, "one")
          fs.writeFileSync(`${directory}/b`, "other")
          yield* replaceCalls((real) => ({
            open: (at: string, flags: number, ...rest: [number, Answer] | [Answer]) => {
              if ((flags & (O_DIRECT ?? 0)) !== 0) fs.renameSync(`${directory}/b`, `${directory}/a`)
              Reflect.apply(real.open, real, [at, flags, ...rest])
            }
          }))
          const open = disk.open(`${directory}/a`, { mode: "readWrite", systemCache: "avoid" })
          assert.strictEqual(yield* codeOf(open), "ESTALE")
        }))
  )

  it.live("pages smaller than a block are refused, before and after the store is made", () =>
    Effect.scoped(Effect.gen(function*() {
      const at = path.join(yield* temporary, "store")
      const open = (options: Omit<Store.Options, "path">) =>
        Effect.scoped(Layer.build(Store.layer({ path: at, ...small, ...options })))
      const asked = yield* refusal(open({ pageSize: "2 KiB", systemCache: "bypass" }))
      assert.strictEqual(asked._tag, "InvalidOptions")
      assert.isFalse(fs.existsSync(at))
      yield* open({ pageSize: "2 KiB", systemCache: "avoid" })
      const found = yield* refusal(open({ systemCache: "bypass" }))
      assert.match(found.message, /pageBytes is 2048/)
      const word = yield* refusal(open({ systemCache: "none" as SystemCache }))
      assert.match(word.message, /systemCache is "none": make it one of use, avoid, bypass/)
    })))
})

/** One operation drawn from chance, and all that is seen of it. */
const act = (file: DiskFile, { bool, bytes, int, pick }: Random) =>
  Effect.gen(function*() {
    const whole = bool(0.5)
    const position = whole ? int(20) * block : int(20 * block)
    const length = pick([0, 1, int(700), block, 8 * block, int(9 * block), 300 * block])
    const data = bytes(1 + int(3 * block))
    const parts = whole ? [data.subarray(0, block), new Uint8Array(block).fill(int(256))] : [data, bytes(7)]
    const buffer = new Uint8Array(length).fill(9)
    switch (int(9)) {
      case 0:
        return yield* codeOf(file.truncate(position))
      case 1:
        return yield* codeOf(file.allocate(position))
      case 2:
        return yield* codeOf(Effect.andThen(file.write(parts, position), file.sync))
      case 3:
      case 4:
        return yield* codeOf(
          file.write(whole ? [new Uint8Array(length % 9 * block).fill(length)] : parts, position)
        )
      case 5:
        return exitOf(() => file.writeSync(parts, position))
      case 6:
        return [exitOf(() => file.readSync(buffer, position)), buffer]
      default:
        return [yield* file.read(buffer, position), buffer, yield* file.size]
    }
  })

const exitOf = <A>(call: () => A): A | string => {
  try {
    return call()
  } catch (error) {
    if (error instanceof StoreError) return error.message
    throw error
  }
}

/** A system that moves two blocks and a piece at most, and is interrupted at every third call. */
const inPieces = replaceCalls((real) => {
  const interruption = Object.assign(new Error("interrupted"), { code: "EINTR" })
  let count = 0
  const hiccup = () => ++count % 3 === 0
  const piece = 2 * block + 1_000
  const later =
    (name: "read" | "write") =>
    (fd: number, buffer: Uint8Array, offset: number, length: number, at: number, answer: Answer) => {
      if (hiccup()) return setImmediate(answer, interruption)
      Reflect.apply(real[name], real, [
        fd,
        buffer,
        offset,
        length,
        at,
        (error: Error | null, moved: number) => {
          answer(error, Math.min(moved, piece))
        }
      ])
    }
  const now = (name: "readSync" | "writeSync") => (...args: [number, Uint8Array, number, number, number]) => {
    if (hiccup()) throw interruption
    return Math.min(Number(Reflect.apply(real[name], real, args)), piece)
  }
  return {
    read: later("read"),
    write: later("write"),
    readSync: now("readSync"),
    writeSync: now("writeSync")
  }
})

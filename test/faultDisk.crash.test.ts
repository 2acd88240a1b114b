import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Disk, DiskFile } from "../src/disk/Disk.ts"
import type { Fault } from "../src/disk/FaultDisk.ts"
import { bytesOf, codeOf, contentOf, opened } from "./support/diskSuite.ts"
import { durableFile, everyImage, filled, hex, onFaultDisk, read, test } from "./support/faultDisk.ts"
import { random } from "./support/random.ts"

describe("a power cut", () => {
  test("takes what was not synced, keeps what was, or keeps all", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1, 1))
      yield* file.write([bytesOf(2, 2, 2)], 1)
      yield* opened(disk, "/b", "create")
      assert.deepStrictEqual(faults.held(), { names: 1, changes: 1 })
      assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).paths(), ["/a"])
      assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).read("/a"), bytesOf(1, 1))
      assert.deepStrictEqual(faults.crashImage({ keep: "everything" }).paths(), ["/a", "/b"])
      assert.deepStrictEqual(faults.crashImage({ keep: "everything" }).read("/a"), bytesOf(1, 2, 2, 2))
      yield* faults.crash({ keep: "nothing" })
      assert.deepStrictEqual(yield* disk.list("/"), ["a"])
      assert.deepStrictEqual(yield* read(disk, "/a"), bytesOf(1, 1))
      assert.deepStrictEqual(faults.held(), { names: 0, changes: 0 })
    }))

  test(
    "takes a synced file whose name was not, and the content of a name that was",
    (disk, faults) =>
      Effect.gen(function*() {
        const nameless = yield* opened(disk, "/nameless", "create")
        yield* nameless.write([bytesOf(1)], 0)
        yield* nameless.sync
        assert.isUndefined(faults.crashImage({ keep: "nothing" }).read("/nameless"))
        yield* disk.syncDirectory("/")
        const empty = yield* opened(disk, "/empty", "create")
        yield* disk.syncDirectory("/")
        yield* empty.write([bytesOf(1)], 0)
        const image = faults.crashImage({ keep: "nothing" })
        assert.deepStrictEqual(image.read("/nameless"), bytesOf(1))
        assert.deepStrictEqual(image.read("/empty"), bytesOf())
      })
  )

  test(
    "takes all that stands in a directory whose own name was not synced",
    (disk, faults) =>
      Effect.gen(function*() {
        yield* disk.makeDirectory("/d")
        const file = yield* opened(disk, "/d/a", "create")
        yield* file.sync
        yield* disk.syncDirectory("/d")
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).paths(), [])
        yield* disk.syncDirectory("/")
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).paths(), ["/d/a"])
      })
  )

  test("keeps any subset of the names created and unlinked", (disk, faults) =>
    Effect.gen(function*() {
      yield* durableFile(disk, "/old", bytesOf(1))
      for (const path of ["/a", "/b"]) yield* opened(disk, path, "create")
      yield* disk.unlink("/old")
      const found = new Set<string>()
      for (const image of everyImage(faults, 0)) found.add(image.paths().join(" "))
      assert.deepStrictEqual([...found].sort(), [
        "",
        "/a",
        "/a /b",
        "/a /b /old",
        "/a /old",
        "/b",
        "/b /old",
        "/old"
      ])
    }))

  test(
    "keeps the first of some names without what their files hold",
    (disk, faults) =>
      Effect.gen(function*() {
        for (const path of ["/a", "/b"]) yield* (yield* opened(disk, path, "create")).write([bytesOf(1)], 0)
        const found = new Set<string>()
        for (const image of everyImage(faults, 0)) {
          found.add(image.paths().map((path) => `${path} ${image.read(path)!.length}`).join())
        }
        assert.includeMembers([...found], ["", "/a 0", "/a 1", "/a 0,/b 0", "/a 1,/b 1"])
      })
  )

  test("keeps any subset of the writes", (disk, faults) =>
    Effect.gen(function*() {
      const paths = ["/a", "/b", "/c"]
      for (const path of paths) {
        const file = yield* durableFile(disk, path, bytesOf(0))
        yield* file.write([bytesOf(1)], 0)
      }
      const found = new Set<string>()
      for (const image of everyImage(faults, 0)) found.add(paths.map((path) => image.read(path)![0]).join(""))
      assert.deepStrictEqual([...found].sort(), ["000", "001", "010", "011", "100", "101", "110", "111"])
    }))

  test(
    "keeps what a caller's buffer held at the time of the write",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", bytesOf())
        const buffer = bytesOf(1)
        yield* file.write([buffer], 0)
        buffer.fill(2)
        assert.deepStrictEqual(faults.crashImage({ keep: "everything" }).read("/a"), bytesOf(1))
      })
  )

  test(
    "tears a write from either side, and with a hole, by number alone",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", filled(1_536, 1))
        yield* file.write([filled(1_536, 2)], 0)
        const found = new Set<string>()
        for (const image of everyImage(faults, 0)) {
          found.add([0, 512, 1_024].map((at) => image.read("/a")![at]).join(""))
        }
        assert.deepStrictEqual([...found].sort(), ["111", "112", "122", "211", "212", "221", "222"])
      })
  )

  test(
    "leaves zeros or garbage, whole or by sectors, in what a file grew by, by number alone",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", bytesOf())
        yield* file.write([filled(1_024, 2)], 0)
        const found = new Set<string>()
        for (const image of everyImage(faults, 0)) {
          const bytes = image.read("/a")!
          if (bytes.length === 1_024) {
            found.add([0, 512].map((at) => kindOf(bytes.subarray(at, at + 512))).join(" "))
          }
        }
        for (const filling of ["zeros", "garbage"]) {
          assert.includeMembers([...found], [`${filling} new`, `new ${filling}`, `${filling} ${filling}`])
        }
      })
  )

  test(
    "never halves a rename within a directory, and may halve one between two",
    (disk, faults) =>
      Effect.gen(function*() {
        yield* durableFile(disk, "/a", bytesOf(1))
        yield* disk.makeDirectory("/d")
        yield* disk.syncDirectory("/")
        yield* disk.rename("/a", "/b")
        const within = new Set<string>()
        for (const image of everyImage(faults, 50)) within.add(image.paths().join(" "))
        assert.deepStrictEqual([...within].sort(), ["/a", "/b"])
        yield* disk.syncDirectory("/")
        yield* disk.rename("/b", "/d/b")
        const between = new Set<string>()
        for (const image of everyImage(faults, 50)) between.add(image.paths().join(" "))
        assert.deepStrictEqual([...between].sort(), ["", "/b", "/b /d/b", "/d/b"])
        yield* disk.syncDirectory("/d")
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).paths(), ["/b", "/d/b"])
        yield* disk.syncDirectory("/")
        assert.deepStrictEqual(faults.crashImage({ keep: "nothing" }).paths(), ["/d/b"])
      })
  )

  test("keeps a truncation or not, and a growth up to any byte", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", filled(1_000, 1))
      yield* file.truncate(10)
      const cut = new Set<number>()
      for (const image of everyImage(faults, 50)) cut.add(image.read("/a")!.length)
      assert.deepStrictEqual([...cut].sort(), [10, 1_000])
      yield* file.sync
      yield* file.truncate(20)
      const grown = new Set<number>()
      for (const image of everyImage(faults, 400)) {
        const bytes = image.read("/a")!
        assert.deepStrictEqual(bytes.subarray(10), new Uint8Array(bytes.length - 10))
        grown.add(bytes.length)
      }
      assert.strictEqual(grown.size, 11)
    }))

  test(
    "keeps or undoes a truncation apart from what is written after it",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", filled(4_096, 1))
        yield* file.truncate(1_024)
        yield* file.write([filled(512, 2)], 1_024)
        const found = new Set<string>()
        for (const image of everyImage(faults, 50)) {
          const bytes = image.read("/a")!
          assert.deepStrictEqual(bytes.subarray(0, 1_024), filled(1_024, 1), "below the cut nothing happened")
          found.add(`${bytes.length} ${bytes[1_024] ?? "end"}`)
        }
        for (const state of ["4096 1", "4096 2", "1024 end", "1536 2"]) assert.isTrue(found.has(state), state)
        yield* file.sync
        for (const image of everyImage(faults, 5)) assert.strictEqual(image.read("/a")!.length, 1_536)
      })
  )

  test("lets faults strike a truncation as any other change", (disk, faults) =>
    Effect.gen(function*() {
      /** Cuts a durable file to one byte under a fault; what readers see then, and what the medium has once synced. */
      const cut = (path: string, outcome: Fault["outcome"]) =>
        Effect.gen(function*() {
          const file = yield* durableFile(disk, path, bytesOf(1, 2, 3))
          yield* faults.fail({ operation: "truncate", path, outcome })
          const code = yield* codeOf(file.truncate(1))
          const seen = yield* Effect.catch(file.size, () => Effect.succeed(-1))
          yield* Effect.ignore(file.sync)
          return [code, seen, faults.crashImage({ keep: "nothing" }).read(path)!.length]
        })
      assert.deepStrictEqual(yield* cut("/a", { _tag: "Refused", code: "EIO" }), ["EIO", 3, 3])
      const done = { _tag: "Refused", code: "EIO", done: "everything" } as const
      assert.deepStrictEqual(yield* cut("/b", done), ["EIO", 1, 1])
      assert.deepStrictEqual(yield* cut("/c", { _tag: "Lost" }), ["done", 1, 3])
      for (const [path, keep, bytes] of [["/d", "nothing", 3], ["/e", "everything", 1]] as const) {
        assert.deepStrictEqual(yield* cut(path, { _tag: "Cut", crash: { keep } }), ["EIO", -1, bytes])
        yield* faults.restart
      }
    }))

  test("keeps what an allocation gave", (disk, faults) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", bytesOf(1))
      yield* file.allocate(5_000)
      for (const image of everyImage(faults, 20)) assert.strictEqual(image.read("/a")!.length, 5_000)
    }))

  test(
    "tears writes at sectors, and where the file grew at any byte, with zeros or garbage in it",
    (disk, faults) =>
      Effect.gen(function*() {
        const file = yield* durableFile(disk, "/a", filled(1_024, 1))
        yield* file.write([filled(2_048, 2)], 0)
        const heads = new Set<string>()
        const lengths = new Set<number>()
        const tails = new Set<string>()
        for (const image of everyImage(faults, 300)) {
          const bytes = image.read("/a")!
          for (const at of [0, 512]) {
            const sector = bytes.subarray(at, at + 512)
            assert.isTrue(sector.every((byte) => byte === sector[0]), image.story)
          }
          heads.add(`${bytes[0]}${bytes[512]}`)
          lengths.add(bytes.length)
          const tail = bytes.subarray(1_024, 1_536)
          if (tail.length < 512) continue
          tails.add(tail.every((byte) => byte === tail[0]) ? String(tail[0]) : "garbage")
        }
        assert.deepStrictEqual([...heads].sort(), ["11", "12", "21", "22"])
        assert.deepStrictEqual([...tails].sort(), ["0", "2", "garbage"])
        assert.isAbove(lengths.size, 15)
        assert.includeMembers([...lengths], [1_024, 1_535, 1_537, 2_047, 2_048])
      })
  )
})

const kindOf = (sector: Uint8Array): string =>
  sector.every((byte) => byte === 2) ? "new" : sector.every((byte) => byte === 0) ? "zeros" : "garbage"

/** A workload on one file, and for each of its sectors every content that a power cut may leave. */
const workload = (file: DiskFile, seed: number) =>
  Effect.gen(function*() {
    const chance = random(seed)
    let base = new Uint8Array(0)
    let writes: Array<{ readonly position: number; readonly bytes: Uint8Array }> = []
    const seen = () => writes.reduce(put, base)
    for (let step = 0; step < 12; step++) {
      if (chance.bool(0.25)) {
        yield* file.sync
        base = seen()
        writes = []
      } else {
        const write = { position: chance.int(1_500), bytes: chance.bytes(1 + chance.int(900)) }
        yield* file.write([write.bytes], write.position)
        writes.push(write)
      }
    }
    assert.deepStrictEqual(yield* contentOf(file), seen())
    return { base, writes }
  })

const put = (
  onto: Uint8Array<ArrayBuffer>,
  { bytes, position }: { readonly position: number; readonly bytes: Uint8Array }
): Uint8Array<ArrayBuffer> => {
  const result = new Uint8Array(Math.max(onto.length, position + bytes.length))
  result.set(onto)
  result.set(bytes, position)
  return result
}

describe("what was synced", () => {
  for (let seed = 1; seed <= 25; seed++) {
    test(
      `survives whatever a power cut leaves, sector by sector (seed ${seed})`,
      (disk, faults) =>
        Effect.gen(function*() {
          const file = yield* durableFile(disk, "/a", bytesOf())
          const { base, writes } = yield* workload(file, seed)
          // Every subset of the writes, applied in order, gives each sector one of its possible contents.
          const possible = new Map<number, Set<string>>()
          for (let subset = 0; subset < 1 << writes.length; subset++) {
            const bytes = writes.filter((_, index) => (subset >> index & 1) === 1).reduce(put, base)
            for (let at = 0; at < base.length; at += 512) {
              const sector = possible.get(at) ?? new Set()
              possible.set(at, sector.add(hex(bytes.subarray(at, Math.min(at + 512, base.length)))))
            }
          }
          for (const image of everyImage(faults, 100)) {
            const bytes = image.read("/a")!
            assert.isAtLeast(bytes.length, base.length, image.story)
            for (let at = 0; at < base.length; at += 512) {
              const sector = hex(bytes.subarray(at, Math.min(at + 512, base.length)))
              assert.isTrue(possible.get(at)?.has(sector), `seed ${seed}, ${image.story}, sector at ${at}`)
            }
          }
        })
    )
  }
})

describe("numbered crashes", () => {
  const busy = (disk: Disk["Service"]) =>
    Effect.gen(function*() {
      const file = yield* durableFile(disk, "/a", filled(3_000, 1))
      yield* file.write([filled(2_000, 2)], 100)
      yield* file.write([filled(1_500, 3)], 2_500)
      const other = yield* opened(disk, "/b", "create")
      yield* other.write([filled(700, 4)], 0)
      yield* disk.rename("/b", "/c")
    })

  test("begin with nothing and everything, and differ", (disk, faults) =>
    Effect.gen(function*() {
      yield* busy(disk)
      const digest = (crash: Parameters<typeof faults.crashImage>[0]) => faults.crashImage(crash).digest()
      assert.strictEqual(digest({ variant: 0 }), digest({ keep: "nothing" }))
      assert.strictEqual(digest({ variant: 1 }), digest({ keep: "everything" }))
      const count = faults.variants()
      const found = new Set(Array.from({ length: count }, (_, variant) => digest({ variant })))
      assert.isAbove(found.size, count / 2, `${found.size} of ${count} variants are alone`)
      assert.throws(() => faults.crashImage({ variant: count }), RangeError)
      assert.throws(() => faults.crashImage({ variant: -1 }), RangeError)
    }))

  it.effect("and seeds give the same bytes for the same operations", () =>
    Effect.gen(function*() {
      const digests: Array<ReadonlyArray<string>> = []
      for (let run = 0; run < 2; run++) {
        yield* onFaultDisk((disk, faults) =>
          Effect.gen(function*() {
            yield* busy(disk)
            digests.push(Array.from(everyImage(faults, 100), (image) => image.digest()))
          })
        )
      }
      assert.deepStrictEqual(digests[0], digests[1])
      assert.isAbove(new Set(digests[0]?.slice(-100)).size, 50)
    }))
})

/**
 * Bad input: what is wrong is named, in one sentence that says what to do; nothing is written, nothing is lost.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as path from "node:path"
import { crc32 } from "node:zlib"
import * as Codec from "../src/Codec.ts"
import { Disk } from "../src/disk/Disk.ts"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import { directory as temporary, reasonOf, refusal, suite } from "./support/stores.ts"

const { Words, options, outcome, put, readAll, refused } = Broken
const abc = ["a=A", "b=B", "c=C"]

/** The image with other bytes in one file, which may have to be made. */
const changed = (image: Image, name: string, change: (bytes: Buffer) => Uint8Array | undefined): Image =>
  image.replace(`/store/${name}`, change(Buffer.from(image.read(`/store/${name}`) ?? [])))

/** A newer format in the slot, segment or page that begins at `at` and has `bytes` bytes. */
const newer = (at: number, bytes: number) => (file: Buffer): Buffer => {
  file.writeUInt32LE(2, at + 8)
  file.writeUInt32LE(crc32(file.subarray(at + 8, at + bytes)), at + 4)
  return file
}

const onThree = <E>(body: (image: Image) => Effect.Effect<void, E>) => Effect.flatMap(Broken.three, body)

/** What a program says of a file of its own. */
const writeFile = (at: string, text: string) =>
  Effect.gen(function*() {
    const file = yield* (yield* Disk).open(at, { mode: "create" })
    yield* file.write([Buffer.from(text)], 0)
    yield* file.close
  })
const makeDirectory = (at: string) => Effect.flatMap(Disk, (disk) => disk.makeDirectory(at))

const Keys = {
  U32: Key.U32,
  U64: Key.U64,
  Int: Key.Int,
  Timestamp: Key.Timestamp,
  Float: Key.Float,
  Bool: Key.Bool,
  Uuid: Key.Uuid,
  String: Key.String,
  Bytes: Key.Bytes,
  Tuple: Key.Tuple(Key.String, Key.U32),
  Desc: Key.Desc(Key.Timestamp)
}

suite("in use", (test) => {
  const Numbers = Keyspace.make("words", { key: Key.Int, value: Schema.String })
  const Strict = Keyspace.make("words", { key: Key.String, value: Schema.Literal("B") })
  const write = Tx.transact()
  const read = Snapshot.read()

  test("a key over the limit, written or read", () =>
    Effect.gen(function*() {
      const { keyBytes } = (yield* Store.Store).machine.limits
      assert.deepInclude(yield* refusal(put("k".repeat(keyBytes + 1))), {
        limit: "keyBytes",
        maximum: keyBytes
      })
      const long = "k".repeat(5_000)
      for (
        const one of [read(Words.get(long)), read(Words.getMany(["a", long])), write(Words.put(long, ""))]
      ) {
        const error = yield* refusal(one)
        assert.deepInclude(error, { limit: "keyBytes", actual: 5_000, maximum: 1_024 })
        assert.match(error.message, /no store takes longer ones/)
      }
      const own = yield* refusal(put("k".repeat(keyBytes + 1)))
      assert.match(own.message, /raise limits.keyBytes as far as the page size/)
      assert.deepStrictEqual(yield* readAll, [])
      yield* put("k".repeat(keyBytes))
    }))

  test("a key that has no encoding", () =>
    Effect.gen(function*() {
      const reads = [read(Words.get("\ud800")), read(Words.getMany(["a", "\ud800"]))]
      for (const one of [read(Numbers.get(0.5)), write(Numbers.put(NaN, "")), ...reads]) {
        assert.deepInclude(yield* refusal(one), { _tag: "Unencodable", what: "key", keyspace: "words" })
      }
      const Pairs = Keyspace.make("pairs", {
        key: Key.Tuple(Key.String, Key.Desc(Key.Int)),
        value: Schema.String
      })
      const error = yield* refusal(write(Pairs.put(["secret", 0.5], "")))
      assert.strictEqual(
        error.message,
        "The key does not encode for keyspace \"pairs\", whose keys are tuple(string,desc(int)): pass "
          + "a safe integer for int, well-formed text for string, an array with a value for each of its parts for tuple"
      )
    }))

  for (const [name, key] of Object.entries(Keys)) {
    test(`a key that no type allows, of ${name}`, () =>
      Effect.gen(function*() {
        const Others = Keyspace.make("others", { key: key as Key.Key<unknown>, value: Schema.String })
        for (const bad of [undefined, null, {}, Symbol("key"), () => 1, [undefined], new Date(NaN)]) {
          const error = yield* refusal(write(Others.put(bad, "")))
          assert.deepInclude(error, { _tag: "Unencodable", what: "key", layout: key.fingerprint })
          assert.notInclude(error.message, "pass :")
        }
      }))
  }

  test("a value that its schema refuses", () =>
    Effect.gen(function*() {
      const error = yield* refusal(write(Strict.put("a", "secret" as "B")))
      assert.deepInclude(error, { _tag: "Unencodable", what: "value" })
      assert.notInclude(error.message, "secret")
      assert.deepStrictEqual(yield* readAll, [])
    }))

  test("a stored value that does not decode, alone and in a range", () =>
    Effect.gen(function*() {
      yield* put("a", "b")
      const undecodable = { _tag: "Undecodable", keyspace: "words", version: 1 } as const
      assert.deepInclude(yield* refusal(read(Strict.get("a"))), undecodable)
      assert.deepInclude(yield* refusal(read(Strict.getMany(["b", "a"]))), undecodable)
      assert.strictEqual(yield* reasonOf(read(Stream.runCollect(Strict.range()))), "Undecodable")
      assert.strictEqual(yield* reasonOf(read(Strict.get("b"))), "done")
      assert.deepStrictEqual(yield* readAll, ["a=A", "b=B"])
    }))

  test("a migrate step that throws is told from one that is missing, and keeps what it threw", () =>
    Effect.gen(function*() {
      const thrown = new Error("secret")
      const step = (): never => {
        throw thrown
      }
      const migrated = (version: number, migrate: Codec.Options["migrate"] & {}) =>
        Keyspace.make("words", { key: Key.String, value: Codec.schema(Schema.String, { version, migrate }) })
      yield* put("a")
      const failed = yield* refusal(read(migrated(2, { 1: step }).get("a")))
      assert.deepInclude(failed, { _tag: "Undecodable", version: 1, why: "step", cause: thrown })
      assert.match(failed.message, /a declared migrate step threw: correct that step/)
      assert.notInclude(failed.message, "secret")
      const error = yield* Effect.flip(read(migrated(2, { 1: step }).get("a")))
      assert.strictEqual(error.cause, thrown)
      const missing = yield* refusal(read(migrated(3, { 2: step }).get("a")))
      assert.deepInclude(missing, { _tag: "Undecodable", version: 1, why: "unmigrated" })
      assert.match(missing.message, /declare a migrate step from version 1$/)
    }))

  test("a value of a newer declaration asks for a newer program", () =>
    Effect.gen(function*() {
      const value = Codec.schema(Schema.String, { version: 2, migrate: { 1: (old) => old } })
      yield* write(Keyspace.make("words", { key: Key.String, value }).put("a", "b"))
      const error = yield* refusal(read(Words.get("a")))
      assert.deepInclude(error, { _tag: "Undecodable", version: 2, why: "newer" })
      assert.match(error.message, /written by a newer declaration .*: upgrade the program$/)
    }))

  test("a sum beyond safe integers is out of range", () =>
    Effect.gen(function*() {
      const Sums = Keyspace.make("sums", { key: Key.String, value: Codec.int, reducer: "sum" })
      yield* write(Sums.put("a", Number.MAX_SAFE_INTEGER))
      yield* write(Sums.merge("a", 1))
      const error = yield* refusal(read(Sums.get("a")))
      assert.deepInclude(error, { _tag: "Undecodable", why: "range" })
      assert.match(error.message, /A value of keyspace "sums" is a number out of range/)
      assert.notMatch(error.message, /migrate|900719925474/)
    }))

  test("another key layout", () =>
    Effect.gen(function*() {
      yield* put("a")
      const error = yield* refusal(write(Numbers.put(1, "")))
      assert.deepInclude(error, { _tag: "LayoutMismatch", stored: "string -> json", declared: "int -> json" })
      assert.deepStrictEqual(yield* readAll, ["a=A"])
    }))

  test("crossed bounds are an empty range", () =>
    Effect.gen(function*() {
      yield* put("a", "b", "c")
      for (const reverse of [false, true]) {
        for (const [from, until] of [["c", "a"], ["b", "b"]] as const) {
          const range = Stream.runCollect(Words.range({ from, until, reverse }))
          assert.deepStrictEqual(yield* read(range), [])
          assert.deepStrictEqual(yield* write(Effect.andThen(Words.put("b", "own"), range)), [])
        }
      }
    }))

  test.opening("everything after close", (open) =>
    Effect.gen(function*() {
      const store = yield* Effect.provide(Effect.andThen(put("a"), Store.Store), open())
      const uses: Record<string, Effect.Effect<unknown, unknown, Store.Store>> = {
        get: read(Words.get("a")),
        "snapshot without a read": read(Effect.void),
        range: read(Stream.runCollect(Words.range())),
        stream: readAll,
        put: put("b"),
        "transaction without a write": write(Effect.void),
        clear: write(Words.clear),
        stat: Words.stat,
        checkpoint: store.checkpoint,
        awaitDurable: store.awaitDurable(Infinity),
        inspect: store.inspect
      }
      for (const [name, use] of Object.entries(uses)) {
        assert.strictEqual(yield* reasonOf(Effect.provideService(use, Store.Store, store)), "Closed", name)
      }
      assert.deepStrictEqual(yield* Effect.provide(readAll, open()), ["a=A"])
    }))

  test.opening("a second opener in this process", (open) =>
    Effect.gen(function*() {
      yield* Effect.provide(
        Effect.gen(function*() {
          yield* put("a")
          const error = yield* refusal(Effect.provide(Effect.void, Layer.fresh(open())))
          assert.deepInclude(error, { _tag: "Locked", pid: process.pid })
          assert.notInclude(error.message, "/lock")
          assert.match(error.message, /is open in this process already: keep the layer .* in a constant/)
          assert.notMatch(error.message, /close it there|layerReadOnly/)
          yield* put("b")
        }),
        open()
      )
      assert.deepStrictEqual(yield* Effect.provide(readAll, open()), ["a=A", "b=B"])
    }))
})

suite("an LSN that nothing was read at", (test) => {
  test("is not there yet, or is none", () =>
    Effect.gen(function*() {
      yield* put("a")
      const visible = yield* (yield* Store.Store).visibleLsn
      const at = (lsn: number) => refusal(Words.get("a").pipe(Snapshot.read({ at: lsn })))
      const early = yield* at(visible + 8)
      assert.deepInclude(early, { _tag: "SnapshotExpired", requested: visible + 8, visible })
      assert.include(early.message, `LSN ${visible + 8} is not there yet (the newest is ${visible})`)
      for (const lsn of [NaN, -1, 0.5, Infinity, -Infinity]) {
        assert.match((yield* at(lsn)).message, /is not an LSN: pass one that a commit, /)
      }
    }))

  test("and was once: its versions are gone", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      yield* put("a")
      const old = yield* store.visibleLsn
      yield* put("b")
      yield* store.checkpoint
      const error = yield* refusal(Words.get("a").pipe(Snapshot.read({ at: old })))
      assert.notProperty(error, "visible")
      assert.match(error.message, /No versions are kept for LSN/)
    }))
})

describe("opening", () => {
  it.live("for reading only, where no store is", () =>
    Effect.scoped(Effect.gen(function*() {
      const empty = yield* temporary
      for (const [at, found] of [[empty, "an empty directory"], [`${empty}/none`, "nothing"]] as const) {
        const asked = Effect.provide(Effect.void, Store.layerReadOnly({ path: at }))
        const error = yield* refusal(asked)
        assert.deepInclude(error, { _tag: "NotAStore", found, readOnly: true })
        assert.match(error.message, /: name an existing store, or let Store.layer make one there first$/)
      }
    })))

  it.effect("a foreign directory", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        yield* makeDirectory("/store")
        yield* writeFile("/store/thesis.txt", "years of work")
        assert.deepInclude(yield* refused(), { _tag: "NotAStore", path: "/store", found: "1 other files" })
      })
    ))

  for (const name of ["creating", "lockfile.txt", "lock.md", "log-1", "super.old"]) {
    it.effect(`a foreign directory with a file called ${name}`, () =>
      Broken.onDisk(
        undefined,
        Effect.gen(function*() {
          yield* makeDirectory("/store")
          yield* writeFile(`/store/${name}`, "years of work")
          yield* writeFile("/store/thesis.txt", "years of work")
          assert.strictEqual((yield* refused())._tag, "NotAStore")
        })
      ))
  }

  it.effect("an empty directory", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        yield* makeDirectory("/store")
        assert.deepStrictEqual(yield* outcome(), [])
      })
    ))

  it.effect("a file where a directory should be", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        yield* writeFile("/store", "text")
        assert.deepInclude(yield* refused(), { _tag: "NotAStore", found: "a file" })
      })
    ))

  it.effect("a directory where a file should be", () =>
    onThree((image) => {
      const names = image.paths().map((at) => path.basename(at)).filter((name) =>
        !/^(lock|reserve)/.test(name)
      )
      return Effect.forEach(names, (name) =>
        Broken.onDisk(
          changed(image, name, () => undefined),
          Effect.gen(function*() {
            yield* makeDirectory(`/store/${name}`)
            const { _tag } = yield* refused()
            assert.include(["DiskFailed", "Corrupted"], _tag, name)
          })
        ), { discard: true })
    }))

  it.effect("a missing parent", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        const error = yield* refused({ ...options, path: "/missing/store" })
        assert.deepInclude(error, { _tag: "DiskFailed", code: "ENOENT" })
        assert.match(error.message, /create its parent/)
      })
    ))

  it.effect("a path through a file", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        yield* writeFile("/file", "text")
        const error = yield* refused({ ...options, path: "/file/store" })
        assert.deepInclude(error, { _tag: "DiskFailed", code: "ENOTDIR" })
      })
    ))

  it.effect("a newer format of either superblock, or of a segment", () =>
    onThree((image) =>
      Effect.gen(function*() {
        const segment = image.paths().find((name) => name.startsWith("/store/log-")) ?? ""
        for (const [name, at] of [["super", 0], ["super", 4096], [path.basename(segment), 0]] as const) {
          const error = yield* Broken.onDisk(changed(image, name, newer(at, 4096)), refused())
          assert.deepInclude(error, { _tag: "FormatTooNew", format: 2, supported: 1 }, `${name} ${at}`)
          assert.match(error.message, /upgrade/)
        }
        const pages = yield* Broken.onDisk(changed(image, "pages", newer(0, 1024)), refused())
        assert.include(["FormatTooNew", "Corrupted"], pages._tag)
      })
    ))

  it.effect("another page size", () =>
    onThree((image) =>
      Broken.onDisk(
        image,
        Effect.gen(function*() {
          const error = yield* refused({ ...options, pageSize: "2 KiB" })
          assert.strictEqual(error._tag, "InvalidOptions")
          assert.match(
            error.message,
            /pageBytes is 2048, but the store was made with 1024: leave pageBytes out/
          )
          const { pageSize: _, ...rest } = options
          assert.deepStrictEqual(yield* outcome(rest), abc)
        })
      )
    ))

  it.effect("a missing file", () =>
    onThree((image) =>
      Effect.forEach(
        image.paths().filter((name) => !/lock|spare|reserve/.test(name)),
        (name) =>
          Effect.gen(function*() {
            const error = yield* Broken.onDisk(image.replace(name, undefined), refused())
            assert.deepInclude(error, { _tag: "Corrupted", path: name }, name)
          }),
        { discard: true }
      )
    ))

  it.effect("a file of another store, an empty one, and one of zeros or garbage", () =>
    Effect.gen(function*() {
      const image = yield* Broken.three
      const other = yield* Broken.imageAfter(put("x"))
      for (const name of image.paths().filter((at) => !/lock|spare|reserve/.test(at))) {
        const bytes = image.read(name) ?? new Uint8Array(0)
        const foreign: Record<string, Uint8Array | undefined> = {
          foreign: other.read(name),
          empty: new Uint8Array(0),
          zeros: new Uint8Array(bytes.length),
          garbage: bytes.map((_, index) => (index * 167 + 13) % 251)
        }
        for (const [kind, content] of Object.entries(foreign)) {
          if (content === undefined) continue
          const error = yield* Broken.onDisk(image.replace(name, content), refused())
          assert.strictEqual(error._tag, "Corrupted", `${kind} ${name}`)
          // Of two files of two stores, nobody knows which one is the stranger.
          if (kind !== "foreign") assert.deepInclude(error, { path: name }, kind)
        }
      }
    }))

  it.effect("options that contradict each other, all of it at once", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        const error = yield* refused({
          path: "",
          memory: "1 MiB",
          pageSize: "3 KiB",
          segmentSize: "12 parsecs" as "1 MiB",
          durability: "sync" as "synced",
          checkpoint: { interval: "soon" as "1 second", records: 10, leafRecords: 20 },
          limits: { memoryBytes: 2 ** 21, keyBytes: 1, nonsense: 5 } as Store.Options["limits"]
        })
        assert.strictEqual(error._tag, "InvalidOptions")
        for (
          const problem of [
            /path is "": name a directory/,
            /durability is "sync": make it one of memory, buffered, synced/,
            /memory is 1048576 and limits.memoryBytes is 2097152: give one of them/,
            /pageBytes is 3072: make it a power of two/,
            /segmentSize is "12 parsecs": make it a whole number of bytes from 4096 to .*, as in "64 MiB"/,
            /checkpoint.interval is "soon": make it a whole number of milliseconds .*, as in "5 minutes"/,
            /make checkpoint.leafRecords at most checkpoint.records/,
            /keyBytes is 1: make it/,
            /there is no limit nonsense/
          ]
        ) assert.match(error.message, problem)
      })
    ))

  it.effect("the directory's own name is durable before anything is acknowledged", () =>
    Broken.onDisk(
      undefined,
      Effect.gen(function*() {
        yield* makeDirectory("/parent")
        const faults = yield* FaultDisk
        yield* (yield* Disk).syncDirectory("/")
        const asked = { ...options, path: "/parent/store" }
        const image = yield* Broken.opened(
          Effect.andThen(put("a"), Effect.sync(() => faults.crashImage({ variant: 0 }))),
          asked
        )
        assert.deepStrictEqual(yield* Broken.onDisk(image, outcome(asked)), ["a=A"])
      })
    ))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { execFileSync, spawn } from "node:child_process"
import { createHash } from "node:crypto"
import { once } from "node:events"
import fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import type { Disk } from "../src/disk/Disk.ts"
import * as FaultDisk from "../src/disk/FaultDisk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { Body, Place } from "./support/diskSuite.ts"
import { bytesOf, codeOf, contentOf, onDisk, opened, refusalOf, suite } from "./support/diskSuite.ts"
import type { Answer } from "./support/nodeCalls.ts"
import { replaceCalls } from "./support/nodeCalls.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

const temporary = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "heartwood-"))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true, force: true }))
)

const node: Place = { layer: NodeDisk.layer, directory: temporary }
const memory: Place = { layer: MemoryDisk.layer, directory: Effect.succeed("/") }

suite("NodeDisk", node)
suite("MemoryDisk", memory)
suite("FaultDisk without faults", { layer: FaultDisk.layer(), directory: Effect.succeed("/") })

describe("NodeDisk", () => {
  const test = (title: string, body: Body) => it.effect(title, () => onDisk(node, body))

  test("creates files and directories for their owner alone", (disk, directory) =>
    Effect.gen(function*() {
      const mode = (name: string) => (fs.lstatSync(join(directory, name)).mode & 0o777).toString(8)
      yield* opened(disk, `${directory}/file`, "create")
      yield* disk.makeDirectory(`${directory}/directory`)
      yield* disk.lock(`${directory}/LOCK`)
      assert.strictEqual(mode("file"), "600")
      assert.strictEqual(mode("directory"), "700")
      assert.strictEqual(mode("LOCK"), "600")
      assert.strictEqual(mode("LOCK.pid"), "600")
      assert.deepStrictEqual(yield* disk.list(directory), ["LOCK", "LOCK.pid", "directory", "file"])
    }))

  test("never follows a symbolic link", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/file`, "create")
      yield* disk.makeDirectory(`${directory}/real`)
      fs.symlinkSync(`${directory}/file`, `${directory}/link`)
      fs.symlinkSync(`${directory}/real`, `${directory}/door`)
      fs.symlinkSync(`${directory}/nowhere`, `${directory}/dangling`)
      for (const mode of ["readOnly", "readWrite"] as const) {
        assert.strictEqual(yield* codeOf(disk.open(`${directory}/link`, { mode })), "ELOOP")
      }
      assert.strictEqual(yield* codeOf(disk.open(`${directory}/dangling`, { mode: "create" })), "EEXIST")
      assert.strictEqual(yield* codeOf(disk.makeDirectory(`${directory}/door`)), "EEXIST")
      assert.notStrictEqual(yield* codeOf(disk.syncDirectory(`${directory}/door`)), "done")
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(`${directory}/link`))), "ELOOP")
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(`${directory}/dangling`))), "ELOOP")
      assert.strictEqual(yield* disk.kind(`${directory}/link`), "other")
      assert.strictEqual(yield* disk.kind(`${directory}/nowhere`), "missing")
      assert.strictEqual(yield* file.size, 0)
    }))

  test("refuses a pipe instead of waiting for its other end", (disk, directory) =>
    Effect.gen(function*() {
      execFileSync("mkfifo", [`${directory}/pipe`])
      for (const mode of ["readOnly", "readWrite"] as const) {
        assert.strictEqual(yield* codeOf(disk.open(`${directory}/pipe`, { mode })), "EINVAL")
      }
      assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(`${directory}/pipe`))), "EINVAL")
    }))

  test("finishes a write whose fiber is interrupted", (disk, directory) =>
    Effect.gen(function*() {
      const file = yield* opened(disk, `${directory}/a`, "create")
      const block = new Uint8Array(8 << 20).fill(5)
      const fiber = yield* Effect.forkChild(file.write([block], 0), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      block.fill(6)
      assert.isTrue((yield* contentOf(file)).every((byte) => byte === 5))
    }))

  test(
    "writes durably through a descriptor for each of those under way",
    (disk, directory) =>
      Effect.gen(function*() {
        const one = { mode: "create" } as const
        const plain = yield* Effect.acquireRelease(disk.open(`${directory}/plain`, one), ({ close }) => close)
        assert.strictEqual(plain.durableWritesAtOnce, 1)
        const file = yield* Effect.acquireRelease(
          disk.open(`${directory}/a`, { ...one, durableWrites: "oneCall" }),
          ({ close }) => close
        )
        if (process.platform !== "linux") return assert.strictEqual(file.durableWritesAtOnce, 1)
        assert.strictEqual(file.durableWritesAtOnce, 2)
        const held: Array<{ readonly fd: number; readonly pass: () => void }> = []
        yield* replaceCalls((real) => ({
          write: (fd: number, ...rest: [Uint8Array, number, number, number, Answer]) =>
            held.push({ fd, pass: () => Reflect.apply(real.write, real, [fd, ...rest]) })
        }))
        const begin = (position: number) =>
          Effect.forkChild(file.writeDurably([bytesOf(position)], position), { startImmediately: true })
        const [first, second] = [yield* begin(0), yield* begin(1)]
        assert.strictEqual(new Set(held.map(({ fd }) => fd)).size, 2)
        assert.strictEqual(yield* codeOf(file.writeDurably([bytesOf(2)], 2)), "EBUSY")
        for (const { pass } of held.splice(0)) pass()
        yield* Effect.all([Fiber.join(first), Fiber.join(second)])
        const third = yield* begin(2)
        held[0]?.pass()
        yield* Fiber.join(third)
        assert.deepStrictEqual(yield* contentOf(file), bytesOf(0, 1, 2))
      })
  )

  test(
    "gives a descriptor back only after the last operation on it",
    (disk, directory) =>
      Effect.gen(function*() {
        const calls: Array<string> = []
        let finish = () => {}
        yield* replaceCalls((real) => ({
          write: (
            fd: number,
            from: Uint8Array,
            offset: number,
            length: number,
            at: number,
            answer: Answer
          ) => {
            finish = () => {
              calls.push("write")
              real.write(fd, from, offset, length, at, answer)
            }
          },
          close: (fd: number, answer: Answer) => {
            calls.push("close")
            real.close(fd, answer)
          }
        }))
        const file = yield* disk.open(`${directory}/a`, { mode: "create" })
        const write = yield* Effect.forkChild(file.write([bytesOf(1)], 0), { startImmediately: true })
        const close = yield* Effect.forkChild(file.close, { startImmediately: true })
        assert.deepStrictEqual(calls, [])
        assert.strictEqual(yield* codeOf(file.sync), "EBADF")
        finish()
        yield* Fiber.join(write)
        yield* Fiber.join(close)
        assert.deepStrictEqual(calls, ["write", "close"])
      })
  )

  describe("where the system moves fewer bytes than asked", () => {
    test("goes on until all are moved", (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* opened(disk, `${directory}/a`, "create")
        const expected = random(3).bytes(5_000)
        const [a, b, c] = [
          expected.subarray(0, 1_001),
          expected.subarray(1_001, 2_000),
          expected.subarray(2_000)
        ]
        yield* inPieces
        yield* file.write([a, b, c], 0)
        assert.deepStrictEqual(yield* contentOf(file), expected)
        file.writeSync([c, b, a], 0)
        const buffer = new Uint8Array(6_000)
        assert.strictEqual(file.readSync(buffer, 0), 5_000)
        assert.deepStrictEqual(Buffer.from(buffer.subarray(0, 5_000)), Buffer.concat([c, b, a]))
      }))

    test("says SHORT once it takes none", (disk, directory) =>
      Effect.gen(function*() {
        const file = yield* opened(disk, `${directory}/a`, "create")
        yield* takesNothing
        for (const buffers of [[bytesOf(1)], [bytesOf(1), bytesOf(2)]]) {
          assert.strictEqual(yield* codeOf(file.write(buffers, 0)), "SHORT")
          assert.throws(() => file.writeSync(buffers, 0), /SHORT/)
        }
      }))
  })

  test("keeps to the limit that the system sets, and says so", (_disk, directory) =>
    Effect.gen(function*() {
      const script = `
        import * as Effect from "effect/Effect"
        import { Disk } from ${JSON.stringify(source("Disk"))}
        import * as NodeDisk from ${JSON.stringify(source("NodeDisk"))}
        const program = Effect.gen(function*() {
          const file = yield* (yield* Disk).open(${JSON.stringify(`${directory}/a`)}, { mode: "create" })
          const { reason } = yield* Effect.flip(file.write([new Uint8Array(65000), new Uint8Array(10)], 0))
          console.log(reason.code, yield* file.size)
        })
        await Effect.runPromise(Effect.provide(program, NodeDisk.layer))
      `
      // Blocks of 512 or 1,024 bytes, depending on the shell.
      const limited = [
        "-c",
        "ulimit -f 8; exec \"$@\"",
        "sh",
        process.execPath,
        "--input-type=module",
        "--eval",
        script
      ]
      assert.match(execFileSync("sh", limited, { encoding: "utf8" }), /^EFBIG (4096|8192)\n$/)
    }))
})

describe("the lock of NodeDisk", () => {
  const script = fileURLToPath(new URL("./support/lockHolder.ts", import.meta.url))
  const test = (title: string, body: Body) => it.effect(title, () => onDisk(node, body))
  const child = (path: string, ...options: ReadonlyArray<string>) =>
    Effect.acquireRelease(
      Effect.promise(async () => {
        const owner = spawn(process.execPath, [...options, script, path], {
          stdio: ["ignore", "pipe", "inherit"]
        })
        const [word] = await once(createInterface(owner.stdout), "line")
        return { process: owner, word: String(word) }
      }),
      (held) => Effect.sync(() => held.process.kill("SIGKILL"))
    )

  test("keeps another process out, and tells it who holds it", (disk, directory) =>
    Effect.gen(function*() {
      yield* disk.lock(`${directory}/LOCK`)
      const { word } = yield* child(`${directory}/LOCK`)
      assert.strictEqual(word, `locked ${process.pid}`)
      // The contender's visit must not have cost the owner its lock.
      assert.strictEqual((yield* child(`${directory}/LOCK`)).word, `locked ${process.pid}`)
    }))

  test("is free as soon as its owner is killed", (disk, directory) =>
    Effect.gen(function*() {
      const path = `${directory}/LOCK`
      const owner = yield* child(path)
      assert.strictEqual(owner.word, "held")
      const refused = yield* refusalOf(Effect.scoped(disk.lock(path)))
      assert.deepInclude({ ...refused.reason }, { path, pid: owner.process.pid })
      owner.process.kill("SIGKILL")
      yield* Effect.promise(() => once(owner.process, "exit"))
      assert.isTrue(fs.existsSync(`${path}.pid`), "the owner could not clean up")
      yield* disk.lock(path)
    }))

  test("is held though its owner's program could be collected", (disk, directory) =>
    Effect.gen(function*() {
      const path = `${directory}/LOCK`
      const owner = yield* child(path, "--expose-gc")
      assert.strictEqual(owner.word, "held")
      const refused = yield* refusalOf(Effect.scoped(disk.lock(path)))
      assert.deepInclude({ ...refused.reason }, { _tag: "Locked", pid: owner.process.pid })
    }))

  test("keeps another thread out", (disk, directory) =>
    Effect.gen(function*() {
      yield* disk.lock(`${directory}/LOCK`)
      const worker = new Worker(script, { workerData: `${directory}/LOCK` })
      const [word] = yield* Effect.promise(() => once(worker, "message"))
      assert.strictEqual(word, `locked ${process.pid}`)
      yield* Effect.promise(() => worker.terminate())
      assert.strictEqual((yield* child(`${directory}/LOCK`)).word, `locked ${process.pid}`)
    }))

  test(
    "names no owner that is not alive, and survives a side file that lies",
    (disk, directory) =>
      Effect.gen(function*() {
        const path = `${directory}/LOCK`
        yield* disk.lock(path)
        for (const lie of ["4194303", "-1", "", "zebra"]) {
          fs.writeFileSync(`${path}.pid`, lie)
          const refused = yield* refusalOf(Effect.scoped(disk.lock(path)))
          assert.deepInclude({ ...refused.reason }, { _tag: "Locked", pid: undefined }, lie)
        }
      })
  )

  test("leaves nothing behind but an empty file", (disk, directory) =>
    Effect.gen(function*() {
      yield* Effect.scoped(disk.lock(`${directory}/LOCK`))
      assert.deepStrictEqual(yield* disk.list(directory), ["LOCK"])
      assert.strictEqual(fs.statSync(`${directory}/LOCK`).size, 0)
    }))

  test(
    "fails where its file is damaged, with a code and not with a lock",
    (disk, directory) =>
      Effect.gen(function*() {
        fs.writeFileSync(`${directory}/LOCK`, "x".repeat(5_000))
        assert.strictEqual(yield* codeOf(Effect.scoped(disk.lock(`${directory}/LOCK`))), "SQLITE_26")
      })
  )

  it("loads SQLite for real files only", () => {
    const loads = (name: string) => `
      import * as Effect from "effect/Effect"
      import { Disk } from ${JSON.stringify(source("Disk"))}
      import { layer } from ${JSON.stringify(source(name))}
      const builtin = process.getBuiltinModule
      process.getBuiltinModule = (id) => { console.log(id); return builtin(id) }
      const program = Effect.gen(function*() { yield* (yield* Disk).lock(process.argv[1]) })
      await Effect.runPromise(Effect.provide(Effect.scoped(program), layer))
    `
    const directory = fs.mkdtempSync(join(tmpdir(), "heartwood-"))
    const run = (name: string, path: string) =>
      execFileSync(process.execPath, ["--input-type=module", "--eval", loads(name), path], {
        encoding: "utf8"
      })
    try {
      assert.strictEqual(run("NodeDisk", join(directory, "LOCK")), "node:sqlite\n")
      assert.strictEqual(run("MemoryDisk", "/LOCK"), "")
    } finally {
      fs.rmSync(directory, { recursive: true })
    }
  })
})

describe("NodeDisk and MemoryDisk", () => {
  for (let seed = 1; seed <= 40; seed++) {
    it.effect(`do the same for the operations of seed ${seed}`, () =>
      Effect.gen(function*() {
        const results: Array<ReadonlyArray<string>> = []
        for (const place of [node, memory]) {
          yield* onDisk(place, (disk, directory) =>
            Effect.map(play(disk, directory, random(seed)), (result) => {
              results.push(result)
            }))
        }
        assert.deepStrictEqual(results[0], results[1])
      }))
  }
})

/** Plays a list of operations drawn from chance, and answers what each was seen to do. */
const play = (
  disk: Disk["Service"],
  directory: string,
  chance: Random
): Effect.Effect<ReadonlyArray<string>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const names = ["a", "b", "d", "d/a", "d/b", "e", "e/d", "e/d/a"]
    const at = (name: string) => `${directory}/${name}`
    for (let step = 0; step < 150; step++) {
      const [from, to, draw] = [chance.pick(names), chance.pick(names), chance.int(10)]
      const note = (what: string, outcome: unknown) => seen.push(`${what} ${from}: ${String(outcome)}`)
      if (draw === 0) note(`rename to ${to}`, yield* codeOf(disk.rename(at(from), at(to))))
      else if (draw === 1) note("unlink", yield* codeOf(disk.unlink(at(from))))
      else if (draw <= 3) note("makeDirectory", yield* codeOf(disk.makeDirectory(at(from))))
      else if (draw === 4) note("list", yield* Effect.catch(disk.list(at(from)), codeOfError))
      else if (draw === 5) note("kind", yield* Effect.catch(disk.kind(at(from)), codeOfError))
      else note("use", yield* Effect.catch(use(disk, at(from), chance), codeOfError))
    }
    return seen
  })

const codeOfError = (error: StoreError) => codeOf(Effect.fail(error))

/** Opens a file, changes it a little, and tells all that can be seen of it. */
const use = (
  disk: Disk["Service"],
  path: string,
  chance: Random
): Effect.Effect<string, StoreError, Scope.Scope> => {
  const mode = chance.pick(["create", "readWrite", "readOnly"] as const)
  const [draw, position, bytes] = [chance.int(3), chance.int(40_000), chance.bytes(chance.int(300))]
  return Effect.gen(function*() {
    const file = yield* opened(disk, path, mode)
    const change = draw === 0
      ? file.write([bytes, bytes], position)
      : draw === 1
      ? file.truncate(position)
      : file.allocate(position)
    const code = yield* codeOf(change)
    const content = yield* contentOf(file)
    return `${mode} ${draw} ${code} ${content.length} ${createHash("sha1").update(content).digest("hex")}`
  })
}

const source = (name: string): string => new URL(`../src/disk/${name}.ts`, import.meta.url).href

/** A system that moves 700 bytes at most, and is interrupted at every third call. */
const inPieces = replaceCalls((real) => {
  const interruption = Object.assign(new Error("interrupted"), { code: "EINTR" })
  let count = 0
  const hiccup = () => ++count % 3 === 0
  const few = (length: number) => Math.min(length, 700)
  const refuse = () => {
    throw interruption
  }
  return {
    read: (fd: number, to: Uint8Array, offset: number, length: number, at: number, answer: Answer) =>
      hiccup() ? setImmediate(answer, interruption) : real.read(fd, to, offset, few(length), at, answer),
    write: (fd: number, from: Uint8Array, offset: number, length: number, at: number, answer: Answer) =>
      hiccup() ? setImmediate(answer, interruption) : real.write(fd, from, offset, few(length), at, answer),
    writev: (fd: number, [first]: [Uint8Array], at: number, answer: Answer) =>
      hiccup() ? setImmediate(answer, interruption) : real.write(fd, first, 0, few(first.length), at, answer),
    readSync: (fd: number, to: Uint8Array, offset: number, length: number, at: number) =>
      hiccup() ? refuse() : real.readSync(fd, to, offset, few(length), at),
    writeSync: (fd: number, from: Uint8Array, offset: number, length: number, at: number) =>
      hiccup() ? refuse() : real.writeSync(fd, from, offset, few(length), at),
    writevSync: (fd: number, [first]: [Uint8Array], at: number) =>
      hiccup() ? refuse() : real.writeSync(fd, first, 0, few(first.length), at)
  }
})

/** A system that takes no byte and reports no error. */
const takesNothing = replaceCalls(() => ({
  write: (...[, , , , , answer]: [number, Uint8Array, number, number, number, Answer]) =>
    setImmediate(answer, null, 0),
  writev: (...[, , , answer]: [number, Uint8Array, number, Answer]) => setImmediate(answer, null, 0),
  writeSync: () => 0,
  writevSync: () => 0
}))

/**
 * The package as its users get it: built, packed, installed into an empty project, and run there.
 *
 * Nothing is fetched: `effect` is linked from this repository. The program also runs on the oldest Node that is
 * supported, which the workspace in `test/node22` installs.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"

const root = path.join(import.meta.dirname, "..")
const oldNode = path.join(import.meta.dirname, "node22", "node_modules", "node", "bin", "node")

/** What a user writes; it prints `expected`. */
const program = `
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Key, Keyspace, Snapshot, Store, Tx } from "heartwood"
import * as Index from "heartwood/Index"
import * as Limits from "heartwood/Limits"
import { CrashTest } from "heartwood/testing"

const Readings = Keyspace.make("readings", {
  key: Key.Tuple(Key.String, Key.Int),
  value: Schema.Struct({ celsius: Schema.Finite })
})

const Warm = Index.make(Readings, { celsius: { key: Key.Float, of: ({ value }) => [value.celsius] } })

const write = Effect.gen(function*() {
  yield* Readings.put(["roof", 1], { celsius: 21.5 })
  yield* Readings.put(["roof", 2], { celsius: 22 })
  yield* Readings.put(["cellar", 1], { celsius: 12 })
}).pipe(Tx.transact())
const read = Effect.map(
  Stream.runCollect(Readings.range({ prefix: ["roof"], reverse: true })),
  (entries) => Array.from(entries, (entry) => entry.value.celsius)
).pipe(Snapshot.read())

const crashes = CrashTest.run({
  layer: Store.layerDisk({ path: "store", memory: "2 MiB", segmentSize: "64 KiB" }),
  program: (tell) => Effect.andThen(write, tell("written")),
  check: (told) => Effect.flatMap(read, (found) =>
    found.length === 2 || told.length === 0 ? Effect.void : Effect.fail("lost")
  ),
  crashes: 5,
  seeds: [1]
})

const open = Store.layer({ path: "store" })
await Effect.runPromise(Effect.provide(write, open))
console.log(JSON.stringify([
  Warm.layout,
  await Effect.runPromise(Effect.provide(read, open, { local: true })),
  Limits.resolve({ pageBytes: 1000 })._tag,
  (await Effect.runPromise(crashes)).crashes
]))
`
const expected = JSON.stringify(["tuple(string,int) -> json", [22, 21.5], "Invalid", 5])

const project = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-package-"))
const built = path.join(project, "built")
const user = path.join(project, "user")

/** Runs a command with the Node of this process; its output, or an error that holds it. */
function run(directory: string, command: string, ...args: ReadonlyArray<string>): string {
  try {
    return execFileSync(command, args, {
      cwd: directory,
      encoding: "utf8",
      env: {
        ...process.env,
        PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env["PATH"]}`
      },
      stdio: ["ignore", "pipe", "pipe"]
    })
  } catch (error) {
    const { stderr, stdout } = error as { stderr?: string; stdout?: string }
    throw new Error(`${command} ${args.join(" ")}\n${stdout ?? ""}${stderr ?? String(error)}`)
  }
}

const npm = (directory: string, ...args: ReadonlyArray<string>): string =>
  run(
    directory,
    "npm",
    ...args,
    "--offline",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    "--workspaces=false"
  )
const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc")

describe("package", () => {
  beforeAll(() => {
    fs.mkdirSync(built)
    const copied = [
      "package.json",
      "tsconfig.json",
      "tsconfig.build.json",
      "src",
      "docs",
      "README.md",
      "CHANGELOG.md"
    ]
    for (const name of [...copied, "LICENSE", "NOTICE"]) {
      const from = path.join(root, name)
      if (fs.existsSync(from)) fs.cpSync(from, path.join(built, name), { recursive: true })
    }
    fs.symlinkSync(path.join(root, "node_modules"), path.join(built, "node_modules"), "dir")
    run(built, process.execPath, tsc, "-p", "tsconfig.build.json")
    const [tarball] = JSON.parse(npm(built, "pack", "--json", "--ignore-scripts")) as [{ filename: string }]

    fs.mkdirSync(user)
    const dependencies = {
      effect: `file:${path.join(root, "node_modules", "effect")}`,
      heartwood: `file:${path.join(built, tarball.filename)}`
    }
    fs.writeFileSync(
      path.join(user, "package.json"),
      JSON.stringify({ private: true, type: "module", dependencies })
    )
    npm(user, "install", "--ignore-scripts")
    fs.writeFileSync(path.join(user, "program.ts"), program)
    fs.writeFileSync(path.join(user, "program.js"), program)
  }, 180_000)

  afterAll(() => fs.rmSync(project, { recursive: true, force: true }))

  it("holds what is needed and nothing else", () => {
    const installed = path.join(user, "node_modules", "heartwood")
    assert.isFalse(fs.lstatSync(installed).isSymbolicLink())
    const names = fs.readdirSync(installed)
    assert.includeMembers(names, ["dist", "src", "LICENSE", "NOTICE", "CHANGELOG.md", "package.json"])
    const known = ["dist", "src", "docs", "LICENSE", "NOTICE", "CHANGELOG.md", "README.md", "package.json"]
    assert.deepStrictEqual(names.filter((name) => !known.includes(name)), [])
    const docs = fs.readdirSync(path.join(installed, "docs"), { recursive: true, encoding: "utf8" })
    assert.include(docs, path.join("bench", "README.md"))
    assert.deepStrictEqual(docs.filter((name) => name.endsWith(".json")), [])
    for (const name of ["Key.js", "Key.d.ts", "Key.js.map"]) {
      assert.isTrue(fs.existsSync(path.join(installed, "dist", name)), name)
    }
    assert.isFalse(
      fs.existsSync(path.join(user, "node_modules", "rolldown")),
      "a development tool came along"
    )
  })

  it("runs", () => assert.strictEqual(run(user, process.execPath, "program.js").trim(), expected))

  it("opens no door to the rooms of the engine", () => {
    const attempt = `
      const closed = []
      for (const name of ["Machine", "WriteSet", "actors/Wal", "tree/page/Page", "disk/Disk"]) {
        await import("heartwood/" + name).catch(({ code }) => closed.push(code))
      }
      console.log(closed.join(" "))`
    fs.writeFileSync(path.join(user, "closed.js"), attempt)
    const expected = Array.from({ length: 5 }, () => "ERR_PACKAGE_PATH_NOT_EXPORTED").join(" ")
    assert.strictEqual(run(user, process.execPath, "closed.js").trim(), expected)
  })

  it("has a command", () => {
    const command = path.join(user, "node_modules", ".bin", "heartwood")
    assert.match(run(user, command, "verify", "store"), /\nstore is sound\n$/)
  })

  it.skipIf(!fs.existsSync(oldNode))("runs on the oldest Node (installed by test/node22)", () => {
    assert.match(run(user, oldNode, "--version"), /^v22\./)
    assert.strictEqual(run(user, oldNode, "program.js").trim(), expected)
  })

  it("has types for strict programs", () => {
    const options = [
      "--module",
      "nodenext",
      "--target",
      "es2023",
      "--lib",
      "es2024,dom",
      "--strict",
      "--noEmit"
    ]
    run(user, process.execPath, tsc, ...options, "--types", "", "--skipLibCheck", "program.ts")
    fs.writeFileSync(path.join(user, "wrong.ts"), program.replace("[\"roof\", 1]", "[1, \"roof\"]"))
    assert.throws(
      () => run(user, process.execPath, tsc, ...options, "--types", "", "--skipLibCheck", "wrong.ts"),
      /TS2322/
    )
  })

  it("keeps its insides to itself", () => {
    const insides = [
      "log/Tail",
      "tree/page/Page",
      "actors/Wal",
      "key/Text",
      "indexes/Lane",
      "offline/Walk",
      "testing/Life",
      "cli"
    ]
    for (const inside of insides) {
      const lines = `try { await import("heartwood/${inside}") } catch (error) { console.log(error.code) }`
      const found = run(user, process.execPath, "--input-type=module", "--eval", lines)
      assert.strictEqual(found.trim(), "ERR_PACKAGE_PATH_NOT_EXPORTED", inside)
    }
  })
})

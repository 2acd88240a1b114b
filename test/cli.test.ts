/**
 * The `heartwood` command as a process: what it prints, where, and with which exit code.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { spawnSync } from "node:child_process"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { upTo } from "./support/stores.ts"

const place = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-cli-"))
const good = path.join(place, "good")
const bad = path.join(place, "bad")

const Words = Keyspace.bytes("words")
const Visits = Keyspace.make("visits", {
  key: Key.Tuple(Key.String, Key.Timestamp),
  value: Schema.Struct({ pages: Schema.Int })
})

const heartwood = (...args: ReadonlyArray<string>) => {
  const command = path.join(import.meta.dirname, "..", "src", "cli.ts")
  const { status, stderr, stdout } = spawnSync(process.execPath, [command, ...args], { encoding: "utf8" })
  return { status, stdout, stderr: stderr.replace(/^.*ExperimentalWarning[^]*?created\)\n/m, "") }
}

const digest = (directory: string): ReadonlyArray<readonly [string, string]> =>
  fs.readdirSync(directory).map((name) =>
    [name, fs.readFileSync(path.join(directory, name)).toString("base64")] as const
  )

describe("the command", () => {
  beforeAll(() =>
    Effect.runPromise(Effect.provide(
      Effect.forEach(upTo(300), (n) => Words.put(Buffer.from(`key ${n}`), Buffer.alloc(50, "v")), {
        discard: true
      }).pipe(Tx.transact()),
      Store.layer({ path: good, memory: "4 MiB", segmentSize: "256 KiB", pageSize: "1 KiB" })
    )).then(() => {
      fs.cpSync(good, bad, { recursive: true })
      const pages = fs.readFileSync(path.join(bad, "pages"))
      // A leaf: somewhere in the middle of what a tree of some forty pages takes.
      pages.fill(0, 10 * 1024, 11 * 1024)
      fs.writeFileSync(path.join(bad, "pages"), pages)
    })
  )

  afterAll(() => fs.rmSync(place, { recursive: true, force: true }))

  it("verifies a sound store", () => {
    const before = digest(good)
    const { status, stderr, stdout } = heartwood("verify", good)
    assert.strictEqual(status, 0, stderr)
    assert.strictEqual(stderr, "")
    assert.match(stdout, /^newest checkpoint, version 2, up to LSN \d+: \d+ leaves/)
    assert.match(stdout, /words {2}300 records/)
    assert.match(stdout, new RegExp(`${good} is sound\n$`))
    assert.deepStrictEqual(digest(good), before, "nothing is written")
  })

  it("verifies a damaged store", () => {
    const { status, stderr, stdout } = heartwood("verify", bad, "--json")
    assert.deepStrictEqual([status, stderr], [1, ""])
    const { findings } = JSON.parse(stdout)
    assert.deepInclude(findings[0], { path: `${bad}/pages`, offset: 10_240 })
  })

  it("cannot look where there is no store, and at what it is not told", () => {
    const nowhere = heartwood("verify", path.join(place, "nowhere"))
    assert.deepStrictEqual([nowhere.status, nowhere.stdout], [2, ""])
    assert.match(nowhere.stderr, /^\S+ is not a store \(found nothing\): [^\n]+\n$/)
    assert.strictEqual(heartwood("salvage", good).status, 2)
    const version = heartwood("--version")
    assert.strictEqual(version.status, 0)
    assert.match(version.stdout, /\d+\.\d+\.\d+/)
  })

  it("salvages", () => {
    const [whole, part] = [path.join(place, "whole"), path.join(place, "part")]
    const copied = heartwood("salvage", good, whole)
    assert.strictEqual(copied.status, 0, copied.stderr)
    assert.match(copied.stdout, /nothing is missing\n$/)
    const saved = heartwood("salvage", bad, part, "--json")
    const report = JSON.parse(saved.stdout)
    assert.strictEqual(saved.status, report.complete ? 0 : 1)
    assert.strictEqual(report.complete, report.keyspaces[0].lost.length === 0)
    const again = heartwood("salvage", good, whole)
    assert.strictEqual(again.status, 2)
    assert.match(again.stderr, /is not empty/)
  })

  it("shows what is in a store", () => {
    assert.strictEqual(JSON.parse(heartwood("stat", good, "--json").stdout).keyspaces[0].records, 300)
    assert.match(heartwood("inspect", good).stdout, /^keyspace "words", bytes -> bytes: height 2/)
    assert.strictEqual(heartwood("get", good, "words", "0x6b65792037").stdout, `${"v".repeat(50)}\n`)
    const rows = heartwood("scan", good, "words", "--from", "key 9", "--limit", "2").stdout.split("\n")
    assert.deepStrictEqual(rows.map((row) => row.split("\t")[0]), ["key 9", "key 90", ""])
    const unknown = heartwood("scan", good, "verbs")
    assert.strictEqual(unknown.status, 2)
    assert.match(unknown.stderr, /no keyspace "verbs"/)
    const last = heartwood("scan", good, "words", "--reverse", "--limit", "1", "--until", "key 99").stdout
    assert.match(last, /^key 98\tv{50}\n$/)
    const longest = heartwood("get", good, "words", "k".repeat(1_024))
    assert.deepStrictEqual([longest.status, longest.stdout, longest.stderr], [1, "", ""])
    const tooLong = heartwood("get", good, "words", "k".repeat(1_025))
    assert.strictEqual(tooLong.status, 2)
    assert.match(tooLong.stderr, /no key has more than 1024 bytes, and this one would have 1025/)
    assert.match(heartwood("scan", good, "words", "--limit", "-1").stderr, /limit is -1: make it 0 or more/)
  })

  it("shows keys and values as what they are", () => {
    const typed = path.join(place, "typed")
    const visit = (who: string, day: number) =>
      Visits.put([who, DateTime.makeUnsafe(Date.UTC(2026, 0, day))], { pages: day })
    return Effect.runPromise(
      Effect.provide(
        Effect.forEach(["ada", "alan"], (who) => Effect.forEach([1, 2, 3], (day) => visit(who, day))).pipe(
          Tx.transact()
        ),
        Store.layer({ path: typed, memory: "4 MiB", segmentSize: "256 KiB" })
      )
    ).then(() => {
      const days = heartwood(
        "scan",
        typed,
        "visits",
        "--prefix",
        "[\"ada\"]",
        "--from",
        "[\"ada\", \"2026-01-02\"]"
      )
      assert.strictEqual(days.stderr, "")
      assert.strictEqual(
        days.stdout,
        "[\"ada\",\"2026-01-02T00:00:00.000Z\"]\t{\"pages\":2}\n"
          + "[\"ada\",\"2026-01-03T00:00:00.000Z\"]\t{\"pages\":3}\n"
      )
      const one = heartwood("get", typed, "visits", "[\"alan\", \"2026-01-01\"]", "--json")
      assert.deepInclude(JSON.parse(one.stdout), {
        key: ["alan", "2026-01-01T00:00:00.000Z"],
        value: { pages: 1 }
      })
      const stored = heartwood("get", typed, "visits", "[\"alan\", \"2026-01-01\"]", "--stored")
      assert.strictEqual(stored.stdout, "\\x01{\"pages\":1}\n")
      const none = heartwood("get", typed, "visits", "[\"alan\", \"2026-01-09\"]")
      assert.deepStrictEqual([none.status, none.stdout, none.stderr], [1, "", ""])
      const wrong = heartwood("get", typed, "visits", "alan")
      assert.strictEqual(wrong.status, 2)
      assert.match(wrong.stderr, /keys are of tuple\(string,timestamp\): .* a tuple as an array in JSON/)
    })
  })
})

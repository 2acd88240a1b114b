/**
 * The structure that the README promises holds, and the rules that check it do find what breaks it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Tidy from "./support/tidy.ts"

const root = path.join(import.meta.dirname, "..", "src")
const files = fs.readdirSync(root, { recursive: true, encoding: "utf8" }).filter((name) =>
  name.endsWith(".ts")
)
  .sort().map((name) => {
    const text = fs.readFileSync(path.join(root, name), "utf8")
    return Tidy.parse({ path: name.replaceAll(path.sep, "/"), text })
  })

describe("tidy", () => {
  it("finds the sources", () => {
    assert.isAbove(files.length, 5)
    assert.include(files.map((file) => file.path), "StoreError.ts")
  })

  for (const file of files) {
    it(file.path, () => assert.deepStrictEqual(Tidy.fileProblems(file), []))
  }

  it("loads no command line with its public modules", () => {
    const reached = new Set(["index.ts"])
    const from: Array<string> = []
    for (const name of reached) {
      const file = files.find((each) => each.path === name)
      for (const each of file?.imports ?? []) {
        if (each.from.startsWith(".")) reached.add(path.posix.join(path.posix.dirname(name), each.from))
        else from.push(each.from)
      }
    }
    assert.isAbove(reached.size, 50)
    assert.deepStrictEqual([...reached].filter((name) => name.startsWith("cli")), [])
    assert.deepStrictEqual(from.filter((name) => name.startsWith("effect/cli")), [])
  })

  it("has no cycles", () => assert.deepStrictEqual(Tidy.cycleProblems(files), []))
})

const opening = "/**\n * A room for a test.\n */\n"
const room = (path: string, code: string) => Tidy.parse({ path, text: opening + code })

describe("tidy finds", () => {
  const broken: ReadonlyArray<readonly [string, string, string, RegExp]> = [
    ["an import that goes up", "log/Tail.ts", "import \"../tree/page/Page.ts\"", /lower floor/],
    ["one inside the actors", "actors/commit/Intent.ts", "import \"../files/Segments.ts\"", /lower floor/],
    ["one inside the tree", "tree/page/Page.ts", "import \"../read/Lookup.ts\"", /lower floor/],
    [
      "a type that goes up",
      "Key.ts",
      "import type { Disk } from \"./disk/Disk.ts\"",
      /Key\.ts:4: imports disk/
    ],
    [
      "a type in an expression that goes up",
      "Tx.ts",
      "export type K = import(\"./Keyspace.ts\").K",
      /lower floor/
    ],
    ["an export that goes up", "Limits.ts", "export * from \"./Store.ts\"", /lower floor/],
    [
      "an import that waits and goes up",
      "Limits.ts",
      "export const s = import(\"./Store.ts\")",
      /lower floor/
    ],
    ["an import beside", "Limits.ts", "import \"./Telemetry.ts\"", /lower floor/],
    ["an import of a stranger", "log/Tail.ts", "import \"../strange/Page.ts\"", /lower floor/],
    ["a stranger", "Strange.ts", "", /no floor/],
    [
      "an actor that knows another",
      "actors/Wal.ts",
      "import type { T } from \"./Tree.ts\"",
      /the actor actors\/Tree/
    ],
    ["a part that knows an actor", "actors/GroupCommit.ts", "import \"./Wal.ts\"", /the actor/],
    ["the barrel", "Store.ts", "import { Effect } from \"effect\"", /barrel/],
    ["Effect in the kernel", "log/Tail.ts", "import type * as Effect from \"effect/Effect\"", /pure/],
    [
      "chance of Node in the kernel",
      "tree/page/Page.ts",
      "import { randomBytes } from \"node:crypto\"",
      /pure/
    ],
    ["files outside disk", "Store.ts", "import * as fs from \"node:fs/promises\"", /Disk/],
    ["a clock", "log/Tail.ts", "export const now = Date.now()", /uses Date/],
    ["a clock that was renamed", "log/Tail.ts", "const { now } = performance\nnow()", /uses performance/],
    ["chance", "tree/page/Page.ts", "export const r = Math.random()", /Math\.random/],
    ["the environment", "tree/page/Page.ts", "export const e = process.env", /uses process/],
    [
      "the environment by another name",
      "tree/page/Page.ts",
      "export const e = globalThis",
      /uses globalThis/
    ],
    ["waiting", "tree/page/Page.ts", "export async function f() {}", /waits/],
    ["a promise", "tree/page/Page.ts", "export type P = Promise<void>", /uses Promise/],
    ["any", "Store.ts", "export const f = (a: any) => a", /any/],
    ["any inside a type", "Store.ts", "export type T = Array<any>", /any/],
    ["a name of telemetry", "Store.ts", "export const s = \"heartwood.open\"", /Telemetry\.ts/],
    ["a name of telemetry in a template", "Store.ts", "export const s = `heartwood.${1}`", /Telemetry\.ts/],
    ["a long file", "Store.ts", "\n".repeat(400), /lines/],
    ["a long function", "Store.ts", `export const f = () => {${"\n".repeat(70)}}`, /71 lines/],
    ["a long method", "Store.ts", `export class C { m() {${"\n".repeat(70)}} }`, /71 lines/],
    ["a long line", "Store.ts", `export const s = "${"s".repeat(92)}"`, /111 columns/],
    ["a long comment", "Store.ts", `// ${"s".repeat(118)}`, /121 columns/],
    ["what is left to do", "Store.ts", `// ${"TO"}DO: more`, /has a TODO/]
  ]
  for (const [name, path, code, expected] of broken) {
    it(name, () => {
      const problems = Tidy.fileProblems(room(path, code))
      assert.strictEqual(problems.length, 1, problems.join("; "))
      assert.match(problems[0] ?? "", expected)
    })
  }

  it("a file without an opening", () => {
    for (const text of ["", "export {}\n", "// Words.\n", "/** Words. */\n", "/**\n * lower case.\n */\n"]) {
      assert.match(Tidy.fileProblems(Tidy.parse({ path: "Store.ts", text })).join(), /open with a sentence/)
    }
  })

  it("cycles, and each of them once", () => {
    const problems = Tidy.cycleProblems([
      room("log/A.ts", "import type { B } from \"./B.ts\""),
      room("log/B.ts", "import \"./C.ts\"\nimport \"./D.ts\""),
      room("log/C.ts", "import \"./A.ts\""),
      room("log/D.ts", "import \"./C.ts\"\nimport \"./D.ts\"")
    ])
    assert.deepStrictEqual(problems, [
      "a cycle: log/A.ts → log/B.ts → log/C.ts → log/A.ts",
      "a cycle: log/D.ts → log/D.ts"
    ])
  })

  it("nothing in what is well", () => {
    const well = [
      room("Key.ts", "import \"./key/Text.ts\""),
      room("log/Tail.ts", "import \"./Group.ts\"\nimport { crc32 } from \"node:zlib\""),
      room("log/Tail.ts", "export const a = { Date: 1, process: 2 }\nexport const b = a.Date + a.process"),
      room("log/Tail.ts", "// Date.now() of process and any\nexport const s = \"Date.now() any\""),
      room("disk/NodeDisk.ts", "import * as fs from \"node:fs\""),
      room("actors/Wal.ts", "import { run } from \"./Actor.ts\"\nexport const now = Date.now()"),
      room("index.ts", "export * as Key from \"./Key.ts\""),
      room("Store.ts", "export class Store { readonly key = \"heartwood/Store\" }"),
      room("Store.ts", `export const f = () => {${"\n".repeat(69)}}`),
      Tidy.parse({ path: "cli.ts", text: `#!/usr/bin/env node\n${opening}` })
    ]
    for (const file of well) assert.deepStrictEqual(Tidy.fileProblems(file), [])
  })
})

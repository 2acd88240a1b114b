/**
 * `docs/tuning.md` names every option and every limit as the sources have them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Flags from "../src/Flags.ts"
import * as Limits from "../src/Limits.ts"
import * as Options from "../src/Options.ts"

const root = path.join(import.meta.dirname, "..")
const text = fs.readFileSync(path.join(root, "docs", "tuning.md"), "utf8")

/** Cells of the row whose first cell is `name`, in the table under a heading. */
const row = (heading: string, name: string): ReadonlyArray<string> => {
  const section = text.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? ""
  const line = section.split("\n").find((line) => line.startsWith(`| \`${name}\` |`))
  assert.isDefined(line, `${name} has no row under ${heading}`)
  return (line ?? "").split("|").slice(1, -1).map((cell) => cell.trim())
}

const number = (n: number): string => n.toLocaleString("en-US")
const limitOf = (limits: object, name: string): unknown =>
  name.split(".").reduce((value, key) => (value as Record<string, unknown>)[key], limits as unknown)

describe("docs/tuning.md: limits", () => {
  /** Code without comments, but for the table of limits itself. */
  const code = fs.readdirSync(path.join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && name !== "Limits.ts")
    .map((name) => fs.readFileSync(path.join(root, "src", name), "utf8"))
    .join("\n").replaceAll(/\/\*[^]*?\*\/|\/\/.*$/gm, "")

  for (const [name, range] of Object.entries(Limits.ranges)) {
    it(name, () => {
      const [, unit, byDefault, bounds, effect] = row("Limits", name)
      assert.strictEqual(unit, range.unit)
      assert.strictEqual(byDefault, number(limitOf(Limits.defaults, name) as number))
      assert.strictEqual(bounds, `${number(range.least)} – ${number(range.most)}`)
      const used = new RegExp(`\\b${name.split(".").at(-1)}\\b`).test(code)
      assert.strictEqual(effect, used ? "yes" : "not yet", "whether anything enforces it has changed")
    })
  }

  it("says how long keys may be", () => {
    assert.include(text, `${number(Limits.keyBytesOf(4_096))} at 4 KiB, 1,024 from 8 KiB on`)
    assert.isBelow(Limits.keyBytesOf(4_096), 1_024)
    assert.isAtLeast(Limits.keyBytesOf(8_192), 1_024)
  })

  it("has no others", () => {
    const section = text.split("\n## Limits\n")[1]?.split("\n## ")[0] ?? ""
    const names = [...section.matchAll(/^\| `([\w.]+)` \|/gm)].map((match) => match[1])
    assert.deepStrictEqual(names, Object.keys(Limits.ranges))
  })
})

describe("docs/tuning.md: options", () => {
  const grouped = ["logBytes", "interval", "leafRecords", "records"]
  const documented = Object.keys(Options.single).map((name) =>
    grouped.includes(name) ? `checkpoint.${name}` : name
  )
  const limits: Record<string, Limits.Name> = {
    memory: "memoryBytes",
    pageSize: "pageBytes",
    segmentSize: "segmentBytes",
    undurable: "undurableBytes",
    "checkpoint.logBytes": "checkpoint.logBytes",
    "checkpoint.interval": "checkpoint.intervalMillis",
    "checkpoint.leafRecords": "checkpoint.leafRecords",
    "checkpoint.records": "checkpoint.records"
  }
  const bare = (cell: string | undefined): string => (cell ?? "").replaceAll("`", "")
  const fromEnvironment = (environment: Record<string, string>) =>
    Effect.provideService(
      Options.config,
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromEnv({ env: environment })
    )

  for (const name of documented) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const [, variable, flag, byDefault] = row("Options", name)
        if (name === "path") {
          assert.strictEqual(variable, "`HEARTWOOD_PATH`")
          assert.strictEqual(flag, "`--path`")
          return
        }
        // What the page calls the default, set through the variable that it names, is the default.
        const value = bare(byDefault).replaceAll(",", "")
        const environment = { HEARTWOOD_PATH: "store", [bare(variable)]: value }
        const options = yield* fromEnvironment(environment)
        if (name === "durability") return assert.strictEqual(options.durability, "synced")
        if (name === "buffer") return assert.strictEqual(options.buffer, "miniPages")
        if (name === "systemCache") return assert.strictEqual(options.systemCache, "use")
        if (name === "syncThread") return assert.strictEqual(options.syncThread, "pool")
        const limit = limits[name] as string
        assert.isDefined(limitOf(Options.toLimits(options), limit), `${variable} sets nothing`)
        assert.strictEqual(limitOf(Options.toLimits(options), limit), limitOf(Limits.defaults, limit))
        assert.include(bare(row("Options", name)[4]), limit)
        assert.strictEqual(bare(flag), `--${bare(variable).slice(10).toLowerCase().replaceAll("_", "-")}`)
      }))
  }

  it("has a flag for each", () => {
    assert.deepStrictEqual(Object.keys(Flags.flags), Object.keys(Options.single))
    const source = fs.readFileSync(path.join(root, "src", "Flags.ts"), "utf8")
    for (const name of documented) assert.include(source, `"${bare(row("Options", name)[2]).slice(2)}"`)
  })

  it("reads sizes and durations as they are written there", () => {
    for (const size of ["256MiB", "4 KiB", "64 MB"]) {
      assert.include(text, `\`${size}\``)
      assert.isAbove(ByteSize.toNumberUnsafe(ByteSize.fromInputUnsafe(size as ByteSize.Input)), 0)
    }
    for (const duration of ["5 minutes", "200 millis"] as const) {
      assert.include(text, `\`${duration}\``)
      assert.isAbove(Duration.toMillis(duration), 0)
    }
  })
})

/**
 * The catalogue of telemetry, and metrics that are read where they are.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Keyspace from "../src/Keyspace.ts"
import { series } from "../src/Series.ts"
import * as Store from "../src/Store.ts"
import * as Telemetry from "../src/Telemetry.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"

describe("Telemetry", () => {
  it("uses each name for one thing", () => {
    for (const catalogue of [Telemetry.Span, Telemetry.Attribute, Telemetry.Event]) {
      const names = Object.values(catalogue)
      assert.strictEqual(new Set(names).size, names.length)
    }
  })

  it("has no name that nobody uses", () => {
    const root = path.join(import.meta.dirname, "..", "src")
    const sources = fs.readdirSync(root, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts"))
      .map((name) => fs.readFileSync(path.join(root, name), "utf8")).join("\n")
    for (
      const [catalogue, names] of Object.entries({
        Span: Telemetry.Span,
        Attribute: Telemetry.Attribute,
        Event: Telemetry.Event
      })
    ) {
      for (const name of Object.keys(names)) {
        assert.match(
          sources,
          new RegExp(`\\b${catalogue}\\.${name}\\b|\\{[^}]*\\b${name}\\b[^}]*\\} = ${catalogue}\\b`),
          name
        )
      }
    }
  })

  it("has names as OpenTelemetry wants them", () => {
    for (const [name, { unit }] of Object.entries(Telemetry.metrics)) {
      assert.match(name, /^heartwood(\.[a-z]+)+$/)
      assert.notMatch(name, /total$/)
      assert.include(["s", "By", "1"], unit.startsWith("{") ? "1" : unit, name)
    }
    for (const name of Object.values(Telemetry.Attribute)) {
      assert.match(name, /^(heartwood|db|error)(\.[a-z]+(_[a-z]+)*)+$/)
    }
  })

  it.effect("reads what is registered when somebody looks, until the scope closes", () =>
    Effect.gen(function*() {
      let commits = 3
      const sizes = new Telemetry.Distribution("heartwood.group.size")
      const scope = yield* Scope.make()
      yield* Telemetry.register("test", [
        { metric: "heartwood.tx.commits", read: () => commits },
        {
          metric: "heartwood.actor.mailbox.usage",
          attributes: { [Telemetry.Attribute.actor]: "wal" },
          read: () => commits * 2
        },
        {
          metric: "heartwood.actor.mailbox.usage",
          attributes: { [Telemetry.Attribute.actor]: "tree" },
          read: () => commits * 3
        },
        { metric: "heartwood.group.size", read: () => sizes }
      ]).pipe(Scope.provide(scope))
      commits = 5
      sizes.record(1)
      sizes.record(3)
      sizes.record(100_000)
      const found = yield* Metric.snapshot
      const state = (id: string, actor?: string): unknown =>
        found.find((one) => one.id === id && one.attributes?.[Telemetry.Attribute.actor] === actor)?.state
      assert.deepStrictEqual(state("heartwood.tx.commits"), { count: 5, incremental: true })
      assert.deepStrictEqual(state("heartwood.actor.mailbox.usage", "wal"), { value: 10 })
      assert.deepStrictEqual(state("heartwood.actor.mailbox.usage", "tree"), { value: 15 })
      assert.deepInclude(state("heartwood.group.size") as object, {
        count: 3,
        sum: 100_004,
        min: 1,
        max: 100_000
      })
      assert.strictEqual(found[0]?.attributes?.[Telemetry.Attribute.namespace], "test")
      assert.strictEqual(found[0]?.attributes?.["unit"], "{commit}")
      const text = yield* PrometheusMetrics.format()
      assert.match(text, /heartwood_group_size_bucket\{[^}]*le="4"[^}]*\} 2\n/)
      assert.match(text, /heartwood_tx_commits\{[^}]*\} 5\n/)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* Metric.snapshot, [])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it("counts as Effect's own histogram does (seed 1)", () => {
    const chance = random(1)
    const mine = new Telemetry.Distribution("heartwood.sync.duration")
    const theirs = Metric.histogram("theirs", { boundaries: Telemetry.secondsBoundaries })
    return Effect.runPromise(
      Effect.gen(function*() {
        for (let i = 0; i < 2_000; i++) {
          const value = chance.bool(0.2)
            ? chance.pick(Telemetry.secondsBoundaries)
            : 10 ** (chance.next() * 10 - 8)
          mine.record(value)
          yield* Metric.update(theirs, value)
        }
        assert.deepStrictEqual(mine.state(), yield* Metric.value(theirs))
      }).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))
    )
  })
})

describe("a store", () => {
  it.live("shows every metric of the catalogue, each line of numbers once", () =>
    Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const all = series(machine, 1)
      assert.sameMembers([...new Set(all.map(({ metric }) => metric))], Object.keys(Telemetry.metrics))
      const lines = all.map(({ attributes, metric }) => JSON.stringify([metric, attributes]))
      assert.deepStrictEqual(lines.length, new Set(lines).size)
    }).pipe(Effect.provide(Store.layerMemory)))

  it.live("tells how long commits, groups and slices took, and of what it has on the disk", () =>
    Effect.gen(function*() {
      const words = Keyspace.bytes("words")
      for (let n = 0; n < 20; n++) yield* words.put(Buffer.of(n), Buffer.alloc(100)).pipe(Tx.transact())
      const store = yield* Store.Store
      yield* store.checkpoint
      const all = series(store.machine, 1)
      const read = (name: Telemetry.MetricName, attributes: Readonly<Record<string, string>> = {}) => {
        const found = all.filter((one) => one.metric === name).find(({ attributes: own = {} }) =>
          Object.entries(attributes).every(([key, value]) => own[key] === value)
        )
        const value = found?.read()
        return value instanceof Telemetry.Distribution ? value.state().count : value ?? NaN
      }
      assert.isAtLeast(read("heartwood.commit.duration"), 1)
      assert.isAtMost(read("heartwood.commit.duration"), read("heartwood.sync.duration"))
      for (const actor of ["wal", "flush", "checkpoint"]) {
        assert.isAbove(
          read("heartwood.actor.slice.duration", { [Telemetry.Attribute.actor]: actor }),
          0,
          actor
        )
        assert.isAbove(
          read("heartwood.actor.mailbox.limit", { [Telemetry.Attribute.actor]: actor }),
          0,
          actor
        )
      }
      for (const file of ["log", "pages"]) {
        assert.isAbove(read("heartwood.disk.usage", { [Telemetry.Attribute.file]: file }), 0, file)
      }
      assert.strictEqual(read("heartwood.disk.usage", { [Telemetry.Attribute.file]: "scratch" }), 0)
      assert.strictEqual(read("heartwood.staging.usage"), 0)
      assert.isAtLeast(read("heartwood.checkpoint.age"), 0)
      assert.strictEqual(read("heartwood.recovery.duration"), 1)
    }).pipe(Effect.provide(Store.layerMemory)))
})

describe("docs/watching.md", () => {
  const text = fs.readFileSync(path.join(import.meta.dirname, "..", "docs", "watching.md"), "utf8")
  const section = (heading: string): string =>
    text.split(`\n## ${heading}\n`)[1]?.split("\n## ")[0] ?? assert.fail(`no section ${heading}`)
  const first = (table: string): ReadonlyArray<string> =>
    [...table.matchAll(/^\| (`[^|]+`) \|/gm)].flatMap(([, cell]) => [...cell?.matchAll(/`([^`]+)`/g) ?? []])
      .map(([, name]) => name as string)

  it("has every metric as the catalogue has it", () => {
    const rows = Object.entries(Telemetry.metrics).map(([name, { description, kind, unit }]) =>
      `| \`${name}\` | ${kind} | ${unit} | ${description} |`
    )
    assert.deepStrictEqual(section("Metrics").split("\n").filter((line) => line.startsWith("| `")), rows)
  })

  it.live("has every section of stat", () =>
    Effect.gen(function*() {
      const table = section("`stat`").split("\n\n").find((part) => part.startsWith("| section")) ?? ""
      assert.deepStrictEqual([...first(table)].sort(), Object.keys(yield* (yield* Store.Store).stat).sort())
    }).pipe(Effect.provide(Store.layerMemory)))

  it("names what it says that stat has", () => {
    const sources = [
      "Costs.ts",
      "tree/memory/Resident.ts",
      "tree/read/Lookup.ts",
      "tree/write/Consolidate.ts",
      "Inspect.ts",
      "tree/memory/Events.ts"
    ]
      .map((name) => fs.readFileSync(path.join(import.meta.dirname, "..", "src", name), "utf8")).join("")
    const paths = [...text.matchAll(/`((?:reads|resident|buffer|device|amplification)(?:\.\w+)+)`/g)]
    assert.isAbove(paths.length, 10)
    for (const [, name] of paths) {
      for (const part of name?.split(".") ?? []) assert.match(sources, new RegExp(`\\b${part}\\??:`), name)
    }
  })

  it("has every span", () => {
    assert.deepStrictEqual([...first(section("Spans"))].sort(), Object.values(Telemetry.Span).toSorted())
  })

  it("has every event of pages", () => {
    const source = fs.readFileSync(
      path.join(import.meta.dirname, "..", "src", "tree", "memory", "Events.ts"),
      "utf8"
    )
    const tags = [...source.matchAll(/readonly _tag: "(\w+)"/g)].map(([, tag]) => tag as string)
    assert.deepStrictEqual([...first(section("Page events"))].sort(), tags.sort())
  })
})

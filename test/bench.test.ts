/**
 * The bench does the same work in every engine, and its report says what was measured: all of it at toy size, without
 * the peers that have to be installed.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import type { Results, Row } from "../bench/compare/Results.ts"
import { spreadOf } from "../bench/compare/Results.ts"
import * as Engines from "../bench/engines/Engines.ts"
import { judge } from "../bench/guard/Judge.ts"
import { documentOf, marks, readmeSectionOf, readmeWith } from "../bench/report/Document.ts"
import { goals } from "../bench/report/Goals.ts"
import { join } from "../bench/report/Join.ts"
import { picturesOf } from "../bench/report/Plots.ts"
import { goalTable, surroundings } from "../bench/report/Table.ts"
import { Latencies } from "../bench/workloads/Latencies.ts"
import type { Sample } from "../bench/workloads/Measure.ts"
import { Stage } from "../bench/workloads/Stage.ts"
import type { Family } from "../bench/workloads/Workloads.ts"
import { families } from "../bench/workloads/Workloads.ts"
import { figure } from "./support/figures.ts"

const records = 1_000
const operations = 300

/** Runs of a workload whose answers were compared with those of another engine. */
let compared = 0
afterAll(() => figure("M1 workloads that two engines answered alike", { compared }))

const withStage = async <A>(
  engine: string,
  durability: "synced" | "none",
  use: (stage: Stage) => Promise<A>
): Promise<A> => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-bench-test-"))
  const stage = new Stage(await Engines.load(engine), {
    records,
    durability,
    memoryBytes: 32 * 2 ** 20,
    directory
  })
  try {
    return await use(stage)
  } finally {
    await stage.close()
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

/** What each workload of a family has found, in an engine of its own; and at last what is in the store. */
const seen = (engine: string, family: Family): Promise<ReadonlyMap<string, Partial<Sample>>> =>
  withStage(engine, family === "commits" ? "synced" : "none", async (stage) => {
    if (family !== "load") await stage.set()
    const all = new Map<string, Partial<Sample>>()
    for (const workload of families[family]) {
      const sample = await workload.run(stage, { millis: 0, operations }, 1)
      if (sample === undefined) continue
      const { checksum, found, operations: done } = sample
      assert.isAbove(done, 0, workload.name)
      // A mix may read before what it wrote is visible: what it leaves behind is compared.
      all.set(workload.name, family === "ycsb" || family === "commits" ? { found } : { checksum, found })
    }
    if (stage.isOpen) all.set("what is left", { ...await stage.session.scan?.("ascending") })
    return all
  })

const same = async (family: Family, engines: ReadonlyArray<string>): Promise<void> => {
  const [first = "", ...others] = engines
  const expected = await seen(first, family)
  assert.isAbove(expected.size, 1)
  for (const engine of others) {
    for (const [workload, sample] of await seen(engine, family)) {
      if (!expected.has(workload)) continue
      assert.deepStrictEqual(sample, expected.get(workload), `${workload}: ${engine} beside ${first}`)
      compared++
    }
  }
}

describe("the bench", () => {
  it("loads the same", () => same("load", ["js-map", "heartwood", "heartwood-effect", "node:sqlite"]))
  it("reads the same", () => same("reads", ["js-map", "heartwood", "heartwood-effect", "node:sqlite"]))
  it("mixes the same", () => same("ycsb", ["js-map", "heartwood", "node:sqlite"]))
  it("commits the same", () => same("commits", ["heartwood", "heartwood-effect"]))

  it("sees a checkpoint in its timeline", () =>
    withStage("heartwood", "synced", async (stage) => {
      await stage.set()
      const [throughput] = families.checkpoints
      const sample = await throughput?.run(stage, { millis: 2 }, 1)
      const phases = new Set(sample?.timeline?.map(({ phase }) => phase))
      assert.deepStrictEqual([...phases].slice(0, 2), ["before", "during"])
    }))

  it("counts latencies within 3 %", () => {
    const latencies = new Latencies()
    for (let micros = 1; micros <= 10_000; micros++) latencies.add(micros)
    const { count, maxMicros, meanMicros, p50Micros, p999Micros } = latencies.percentiles()
    assert.deepStrictEqual([count, maxMicros, meanMicros], [10_000, 10_000, 5_000.5])
    assert.closeTo(p50Micros, 5_000, 150)
    assert.closeTo(p999Micros, 9_990, 300)
  })

  it("takes medians of even and odd numbers of values, and of none", () => {
    assert.deepStrictEqual(spreadOf([3, 1, 2]), { median: 2, least: 1, most: 3 })
    assert.deepStrictEqual(spreadOf([4, 1, 2, 3]), { median: 2.5, least: 1, most: 4 })
    assert.isUndefined(spreadOf([]))
  })
})

const sampleOf = (rate: number): Sample => ({
  operations: rate,
  millis: 1_000,
  cpuMillis: 1_000,
  found: 0,
  checksum: 0,
  latency: { count: 1, meanMicros: 1, p50Micros: 1, p90Micros: 2, p99Micros: 3, p999Micros: 4, maxMicros: 5 }
})

const rowOf = (workload: string, engine: string, rank: string, rates: ReadonlyArray<number>): Row => ({
  workload,
  title: `the work ${workload}`,
  unit: "records",
  engine,
  rank,
  samples: rates.map(sampleOf)
})

const sectionOf = (name: string, rows: ReadonlyArray<Row>): Results["sections"][number] => ({
  name,
  records: 1_000,
  memoryBytes: 2 ** 20,
  durability: "none",
  repetitions: 3,
  rounds: 1,
  millis: 1,
  warmUp: 1,
  options: { lmdb: { noSync: true } },
  rows
})

const results: Results = {
  format: 1,
  profile: "toy",
  only: [],
  begun: "2026-01-01T00:00:00.000Z",
  seconds: 1,
  machine: {
    cpu: "a processor",
    cores: 2,
    memoryBytes: 2 ** 30,
    kernel: "6",
    node: "24",
    v8: "13",
    revision: "abc",
    directory: "/tmp",
    fileSystem: "ext4",
    load: 0
  },
  versions: { lmdb: "3" },
  sections: [
    sectionOf("memory", [
      rowOf("get-zipf", "heartwood", "ours", [400, 300, 500]),
      rowOf("get-zipf", "lmdb", "peer", [100, 200, 125]),
      rowOf("get-zipf", "rocksdb", "peer", [90, 90, 90]),
      rowOf("get-zipf", "js-map", "reference", [9_000, 9_000, 9_000]),
      rowOf("get-uniform", "heartwood", "ours", [100, 100, 100]),
      rowOf("get-uniform", "lmdb", "peer", [100, 100, 100])
    ]),
    sectionOf("commits", [rowOf("writers-1", "heartwood", "ours", [5, 5, 5])]),
    sectionOf("scale-10", [rowOf("get-uniform", "heartwood", "ours", [10, 10, 10])]),
    sectionOf("scale-100", [rowOf("get-uniform", "heartwood", "ours", [9, 9, 9])])
  ],
  notes: ["nothing else was run"]
}

describe("the report", () => {
  it("has a line for each goal: reached, not reached, not measured", () => {
    const table = goalTable(results).split("\n")
    assert.isAtLeast(table.length, goals.length + 2)
    // By repetition 4, 1.5 and 4: their median, and not the quotient of the medians.
    assert.include(table, "| get, zipf | lmdb | ≥ 2.00 × | 4.00 × | 1.50 × … 4.00 × | reached |")
    assert.include(table, "| get, uniform | lmdb | ≥ 1.70 × | 1.00 × | 1.00 × … 1.00 × | not reached |")
    assert.include(table, "| load, random order |  | ≥ 2.00 × | not measured |  |  |")
  })

  it("writes between the marks of the README, and nowhere else", () => {
    const section = readmeSectionOf(join([results]), picturesOf(results))
    const readme = fs.readFileSync(path.join(import.meta.dirname, "..", "README.md"), "utf8")
    const written = readmeWith(readme, section)
    assert.include(written, section)
    assert.strictEqual(
      written.slice(0, written.indexOf(marks.begin)),
      readme.slice(0, readme.indexOf(marks.begin))
    )
    assert.strictEqual(written.slice(written.indexOf(marks.end)), readme.slice(readme.indexOf(marks.end)))
    assert.strictEqual(readmeWith(written, section), written)
    assert.throws(() => readmeWith("no marks", section), /has no/)
  })

  it("draws what was measured", () => {
    const pictures = picturesOf(results)
    assert.includeMembers(pictures.map(({ name }) => name), [
      "throughput-memory.svg",
      "latency-writers-1.svg",
      "scale.svg"
    ])
    for (const { content, name } of pictures) {
      assert.match(content, /^<svg [^>]*viewBox[^]*<\/svg>\n$/, name)
      assert.notMatch(content, /NaN|Infinity|undefined/, name)
    }
    const text = documentOf(join([results]), pictures)
    for (const { name } of pictures) assert.include(text, `](${name})`)
    assert.include(text, "nothing else was run")
  })
})

describe("runs that are joined", () => {
  const [memory, ...others] = results.sections
  const earlier: Results = { ...results, notes: ["an earlier one"], seconds: 2, versions: { rocksdb: "12" } }
  const later: Results = {
    ...results,
    begun: "2026-01-02T00:00:00.000Z",
    sections: memory === undefined ? [] : [{ ...memory, records: 2_000 }]
  }

  it("have each section once, whole, of the later of those that have it", () => {
    for (const runs of [[earlier, later], [later, earlier]]) {
      const { notes, parts, seconds, sections, versions } = join(runs)
      assert.deepStrictEqual(
        sections.map(({ name, records }) => [name, records]),
        [["memory", 2_000], ...others.map(({ name, records }) => [name, records])]
      )
      assert.deepStrictEqual([seconds, versions], [3, { rocksdb: "12", lmdb: "3" }])
      assert.deepStrictEqual(notes, ["an earlier one", "nothing else was run"])
      assert.deepStrictEqual(parts.map(({ begun, sections }) => [begun.slice(0, 10), sections]), [
        ["2026-01-01", ["commits", "scale-10", "scale-100"]],
        ["2026-01-02", ["memory"]]
      ])
    }
  })

  it("are told apart in the report", () => {
    const text = surroundings(join([earlier, later]))
    assert.include(
      text,
      "- `commits`, `scale-10`, `scale-100`: profile `toy`, 2026-01-01, revision abc, load 0.0\n"
    )
    assert.include(text, "- `memory`: profile `toy`, 2026-01-02")
    assert.throws(() => join([]), RangeError)
  })

  it("do not name a run of which nothing is left", () => {
    assert.lengthOf(join([earlier, { ...earlier, begun: later.begun }]).parts, 1)
  })
})

describe("the guard", () => {
  const pairsOf = (name: string, base: ReadonlyArray<number>, tree: ReadonlyArray<number>) =>
    base.map((value, place) => ({ base: { [name]: value }, tree: { [name]: tree[place] as number } }))
  const verdictOf = (name: string, base: ReadonlyArray<number>, tree: ReadonlyArray<number>) =>
    judge(pairsOf(name, base, tree)).map(({ verdict }) => verdict)

  it("calls a counter worse that has grown a little", () => {
    assert.deepStrictEqual(verdictOf("bytes written", [100, 100, 100], [103, 103, 103]), ["worse"])
    assert.deepStrictEqual(verdictOf("bytes written", [100, 100, 100], [101, 101, 101]), ["same"])
    assert.deepStrictEqual(verdictOf("bytes written", [0, 0, 0], [2, 2, 2]), ["worse"])
    assert.deepStrictEqual(verdictOf("bytes written", [103, 103, 103], [100, 100, 100]), ["better"])
  })

  it("calls time worse only where most pairs say so", () => {
    const base = [10, 11, 10, 12, 10, 10, 10]
    assert.deepStrictEqual(verdictOf("processor µs", base, base.map((value) => value * 1.2)), ["worse"])
    assert.deepStrictEqual(verdictOf("processor µs", base, base.map((value) => value * 1.03)), ["same"])
    assert.deepStrictEqual(verdictOf("processor µs", base, [20, 20, 9, 20, 9, 20, 20]), ["same"])
    assert.deepStrictEqual(verdictOf("processor µs", base, base.map((value) => value / 1.2)), ["better"])
  })

  it("says nothing of a number that one revision does not have", () => {
    assert.deepStrictEqual(judge([{ base: { syncs: 1 }, tree: { writes: 1 } }]), [])
  })
})

/**
 * The table that ends a run, and what the long run adds up of what is printed.
 */
import { assert, describe, it } from "@effect/vitest"
import path from "node:path"
import { inspect } from "node:util"
import { suites } from "./long/suites.ts"
import type { CoverageMap } from "./support/coverageLines.ts"
import { linesOf } from "./support/coverageLines.ts"
import type { Figure } from "./support/figures.ts"
import { matrix } from "./support/figures.ts"
import { tableOf } from "./support/figureTable.ts"

const said = (file: string, title: Figure["title"], counts: Figure["counts"]) =>
  [file, { title, counts }] as const

const some = [
  said("b.test.ts", "M1 operations of all models", { operations: 1_200 }),
  said("a.test.ts", "C1 crash states", { states: 90_000, lostCommits: 3 }),
  said("a.test.ts", "M1 operations of all models", { operations: 34 }),
  said("c.test.ts", "X1 flipped bits", { damages: 0, opened: 7 })
]

describe("the table of figures", () => {
  it("adds up what has one title, and marks what is zero", () => {
    assert.deepStrictEqual(tableOf(some, { isWhole: false }).map((line) => line.replaceAll(/ {2,}/g, "|")), [
      "|what was tried|how often|by",
      "|C1|crash states|90,000 states, 3 lost commits|a.test.ts",
      "|M1|operations of all models|1,234 operations|2 files",
      "!|X1|flipped bits|0 damages, 7 opened|c.test.ts"
    ])
  })

  it("says which rows are missing where all files have run", () => {
    const missing = (lines: ReadonlyArray<string>) =>
      lines.filter((line) => /^! +\w\d .* missing$/.test(line))
    assert.deepStrictEqual(missing(tableOf(some, { isWhole: false })), [])
    assert.strictEqual(missing(tableOf(some, { isWhole: true })).length, Object.keys(matrix).length - 3)
  })

  it("is empty where nothing was counted", () => {
    assert.deepStrictEqual(tableOf([], { isWhole: false }), [])
  })
})

describe("the lines of the sources", () => {
  const counted = new Map([["src/Tx.ts", [10, 9]], ["src/tree/page/Page.ts", [30, 30]], ["src/Key.ts", [
    10,
    1
  ]]])
  const at = (file: string) => path.join(import.meta.dirname, "..", file)
  const map: CoverageMap = {
    files: () => [...counted.keys()].map(at),
    fileCoverageFor: (file) => {
      const found = [...counted].find(([name]) => at(name) === file)?.[1] ?? []
      return { toSummary: () => ({ lines: { total: found[0] ?? 0, covered: found[1] ?? 0 } }) }
    }
  }

  it("are added up by folder, and all of them", () => {
    assert.deepStrictEqual(linesOf(map).map((line) => line.trim().replaceAll(/ +/g, " ")), [
      "T1 src 50.0 % of 20 lines",
      "T1 src/tree/page 100.0 % of 30 lines",
      "T1 all of it 80.0 % of 50 lines"
    ])
  })
})

describe("the long run", () => {
  // As suites name their first count.
  const printed: Record<string, Figure> = {
    faults: { title: "C3 faults at every operation", counts: { operations: 3, runs: 12 } },
    rot: { title: "X1 flipped bits", counts: { damages: 12, opened: 3 } },
    "hostile files": { title: "X3 hostile bytes", counts: { cases: 12 } },
    histories: { title: "S1 histories", counts: { schedules: 12, replays: 3 } },
    "model of the store": { title: "M1 operations of all models", counts: { operations: 12 } },
    "model of the kernel": { title: "M1 operations of all models", counts: { operations: 12 } },
    simulation: { title: "S1 simulation", counts: { runs: 12, transactions: 3 } }
  }
  const counted = suites.filter(({ name, runs }) => "tests" in runs || name === "faults")
  it("knows all that have figures", () => {
    assert.sameMembers(counted.map(({ name }) => name), Object.keys(printed))
  })

  for (const { figure, name } of counted) {
    it(`${name}: finds each number once, printed at once and in the table`, () => {
      const { counts, title } = printed[name] as Figure
      const lines = [
        `${title} ${inspect(counts)}`,
        ...tableOf([["a.test.ts", { title, counts }]], { isWhole: false })
      ]
      const found = [...lines.join("\n").matchAll(figure)].map(([, number]) => Number(number))
      assert.deepStrictEqual(found, [12])
    })
  }
})

/**
 * Limits: each range, each relation at its edge, and defaults that hold together whatever one limit is.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Limits from "../src/Limits.ts"
import * as Page from "../src/tree/page/Page.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"

const names = Object.keys(Limits.ranges) as ReadonlyArray<Limits.Name>

/** Options that name limits as the table does. */
const options = (given: { readonly [N in Limits.Name]?: unknown }): Limits.Options => {
  const plain: Record<string, unknown> = {}
  const checkpoint: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("checkpoint.")) checkpoint[name.slice(11)] = value
    else plain[name] = value
  }
  return { ...plain, checkpoint } as Limits.Options
}

let tried = 0
afterAll(() => figure("L1 limits at their edges", { settings: tried, limits: names.length }))

const problems = (given: { readonly [N in Limits.Name]?: unknown }): ReadonlyArray<string> => {
  tried++
  const resolved = Limits.resolve(options(given))
  return resolved._tag === "Valid" ? [] : resolved.problems
}

const limits = (given: { readonly [N in Limits.Name]?: unknown }): Limits.Limits => {
  const resolved = Limits.resolve(options(given))
  if (resolved._tag === "Valid") return resolved.limits
  throw new Error(resolved.problems.join("; "))
}

describe("Limits", () => {
  it("has defaults that hold together", () => {
    assert.deepStrictEqual(Limits.resolve(), { _tag: "Valid", limits: Limits.defaults })
    assert.deepStrictEqual(Limits.defaults, {
      pageBytes: 4_096,
      keyBytes: 984,
      valueBytes: 67_108_864,
      inlineValueBytes: 1_008,
      transactionBytes: 68_157_440,
      applyInOneSlice: 1_024,
      memoryBytes: 268_435_456,
      arenaBytes: 268_435_456,
      stagingBytes: 16_777_216,
      mergeWorkspaces: 4,
      loadsInFlight: 64,
      promotionPercent: 5,
      secondChancePercent: 10,
      operandChain: 64,
      segmentBytes: 16_777_216,
      reserveBytes: 18_874_368,
      undurableBytes: 8_388_608,
      streamBytes: 134_217_728,
      streamAgeMillis: 60_000,
      cursorLogBytes: 4_294_967_296,
      openSnapshots: 10_000,
      versionsBytes: 33_554_432,
      snapshotDiskBytes: 4_294_967_296,
      conflictWindowBytes: 16_777_216,
      turnMillis: 1_000,
      sessions: 10_000,
      sessionIdleMillis: 604_800_000,
      mailbox: 1_024,
      sweepMillis: 60_000,
      markDelayMillis: 10,
      checkpoint: {
        logBytes: 67_108_864,
        hardLogBytes: 268_435_456,
        intervalMillis: 300_000,
        leafRecords: 65_536,
        records: 1_048_576
      }
    })
  })

  it("takes undefined for what is not named", () => {
    assert.deepStrictEqual(
      Limits.resolve({ pageBytes: undefined, checkpoint: { logBytes: undefined } }),
      Limits.resolve()
    )
  })

  for (const name of names) {
    const { least, most, powerOfTwo } = Limits.ranges[name] as {
      least: number
      most: number
      powerOfTwo?: true
    }
    it(`${name}: from ${least} to ${most}, and nothing else`, () => {
      const outside = (value: unknown): void => {
        const found = problems({ [name]: value })
        assert.strictEqual(found.length, 1, `${String(value)}: ${found.join("; ")}`)
        assert.match(found[0] ?? "", new RegExp(`^${name.replace(".", "\\.")} is `))
      }
      const mine = (value: number): ReadonlyArray<string> =>
        problems({ [name]: value }).filter((problem) => problem.startsWith(`${name} is ${value}: make it`))
      assert.deepStrictEqual(mine(least), [])
      assert.deepStrictEqual(mine(most), [])
      for (const value of [least - 1, most + 1, least + 0.5, NaN, Infinity, -1, "1", null, {}, 1n]) {
        outside(value)
      }
      if (powerOfTwo === true) {
        outside(least + 1)
        outside(most - 1)
      } else {
        assert.deepStrictEqual(mine(least + 1), [])
        assert.deepStrictEqual(mine(most - 1), [])
      }
    })
  }

  it("has defaults that follow what one limit is (seed 1)", () => {
    // The others divide a page or the memory, and have to be named together with it where they are made
    // large.
    const dividing = ["keyBytes", "inlineValueBytes", "memoryBytes", "arenaBytes", "stagingBytes"]
    dividing.push("mergeWorkspaces", "loadsInFlight")
    const chance = random(1)
    for (const name of names.filter((name) => !dividing.includes(name))) {
      const { least, most, powerOfTwo } = Limits.ranges[name] as {
        least: number
        most: number
        powerOfTwo?: true
      }
      for (let i = 0; i < 200; i++) {
        const drawn = i === 0
          ? least
          : i === 1
          ? most
          : Math.floor(least * (most / Math.max(1, least)) ** chance.next())
        const value = powerOfTwo === true ? 2 ** Math.floor(Math.log2(drawn)) : drawn
        assert.deepStrictEqual(problems({ [name]: value }), [], `${name} ${value}`)
      }
    }
  })

  it("goes small, for tests", () => {
    const small = limits({
      pageBytes: 1_024,
      memoryBytes: 9 * 1_024,
      segmentBytes: 4_096,
      "checkpoint.logBytes": 8_192,
      mailbox: 1
    })
    assert.strictEqual(small.keyBytes, 216)
    assert.strictEqual(small.inlineValueBytes, 240)
    assert.strictEqual(small.stagingBytes, 2_048)
    assert.strictEqual(small.mergeWorkspaces, 1)
    assert.strictEqual(small.loadsInFlight, 1)
    assert.strictEqual(small.checkpoint.hardLogBytes, 32_768)
    assert.strictEqual(small.undurableBytes, 1_024)
  })

  it("fits a path of any page size into its least memory", () => {
    for (const pageBytes of [1_024, 2_048, 4_096, 8_192, 16_384, 32_768]) {
      const least = 9 * pageBytes
      assert.deepStrictEqual(problems({ pageBytes, memoryBytes: least }), [])
      if (pageBytes > 1_024) assert.isNotEmpty(problems({ pageBytes, memoryBytes: least - 1 }))
    }
  })
})

describe("Limits: relations", () => {
  const page = 4_096
  /** A limit at its edge: `edge` is well, one step further is not, and that is the only problem. */
  const edges: ReadonlyArray<{
    readonly names: ReadonlyArray<Limits.Name>
    readonly edge: { readonly [N in Limits.Name]?: number }
    readonly beyond: { readonly [N in Limits.Name]?: number }
  }> = [
    { names: ["keyBytes", "pageBytes"], edge: { keyBytes: 984 }, beyond: { keyBytes: 985 } },
    {
      names: ["keyBytes", "pageBytes"],
      edge: { keyBytes: 216, pageBytes: 1_024 },
      beyond: { keyBytes: 217, pageBytes: 1_024 }
    },
    {
      names: ["inlineValueBytes", "pageBytes", "keyBytes"],
      edge: { inlineValueBytes: 1_736, keyBytes: 256 },
      beyond: { inlineValueBytes: 1_737, keyBytes: 256 }
    },
    {
      names: ["transactionBytes", "keyBytes", "valueBytes"],
      edge: { transactionBytes: 10_100, keyBytes: 100, valueBytes: 10_000 },
      beyond: { transactionBytes: 10_099, keyBytes: 100, valueBytes: 10_000 }
    },
    {
      names: ["memoryBytes", "stagingBytes", "mergeWorkspaces", "loadsInFlight", "pageBytes"],
      edge: { memoryBytes: 24 * page, stagingBytes: 10 * page, mergeWorkspaces: 3, loadsInFlight: 4 },
      beyond: { memoryBytes: 24 * page - 1, stagingBytes: 10 * page, mergeWorkspaces: 3, loadsInFlight: 4 }
    },
    {
      names: ["stagingBytes", "pageBytes"],
      edge: { stagingBytes: 2 * page },
      beyond: { stagingBytes: 2 * page - 1 }
    },
    {
      names: ["arenaBytes", "memoryBytes"],
      edge: { arenaBytes: 1_000_000, memoryBytes: 1_000_000 },
      beyond: { arenaBytes: 1_000_001, memoryBytes: 1_000_000 }
    },
    {
      names: ["arenaBytes", "pageBytes"],
      edge: { arenaBytes: 4 * page },
      beyond: { arenaBytes: 4 * page - 1 }
    },
    {
      names: ["checkpoint.logBytes", "segmentBytes"],
      edge: { "checkpoint.logBytes": 20_000, segmentBytes: 10_000 },
      beyond: { "checkpoint.logBytes": 19_999, segmentBytes: 10_000 }
    },
    {
      names: ["checkpoint.hardLogBytes", "checkpoint.logBytes"],
      edge: { "checkpoint.hardLogBytes": 20_000, "checkpoint.logBytes": 10_000 },
      beyond: { "checkpoint.hardLogBytes": 19_999, "checkpoint.logBytes": 10_000 }
    },
    {
      names: ["checkpoint.leafRecords", "checkpoint.records"],
      edge: { "checkpoint.leafRecords": 7, "checkpoint.records": 7 },
      beyond: { "checkpoint.leafRecords": 8, "checkpoint.records": 7 }
    },
    {
      names: ["undurableBytes", "checkpoint.logBytes"],
      edge: { undurableBytes: 10_000, "checkpoint.logBytes": 10_000 },
      beyond: { undurableBytes: 10_001, "checkpoint.logBytes": 10_000 }
    },
    {
      names: ["streamBytes", "checkpoint.hardLogBytes"],
      edge: { streamBytes: 20_000, "checkpoint.hardLogBytes": 20_000 },
      beyond: { streamBytes: 20_001, "checkpoint.hardLogBytes": 20_000 }
    }
  ]
  for (const { beyond, edge, names } of edges) {
    it(`${names.join(", ")}: ${JSON.stringify(edge)}`, () => {
      assert.deepStrictEqual(problems(edge), [])
      const found = problems(beyond)
      assert.strictEqual(found.length, 1, found.join("; "))
      for (const name of names) assert.include(found[0], `${name} is `)
      assert.match(found[0] ?? "", /, but .*: make /)
    })
  }

  it("a page holds what keys and values may be", () => {
    for (const pageBytes of [1_024, 2_048, 4_096, 8_192, 16_384, 32_768]) {
      for (const keyBytes of [16, 100, Math.min(1_024, Limits.keyBytesOf(pageBytes))]) {
        const { inlineValueBytes } = limits({ pageBytes, keyBytes })
        const record = Limits.recordBytesOf({ pageBytes, keyBytes })
        assert.isAtMost(44 + 2 * keyBytes + 2 * record, pageBytes)
        assert.isAtLeast(record, keyBytes + 32 + 16, "a key with a pointer to its value")
        assert.isAtLeast(record, inlineValueBytes + 32)
      }
    }
  })

  it("say of pages what pages say of themselves", () => {
    for (const pageBytes of [1_024, 2_048, 4_096, 8_192, 16_384, 32_768]) {
      const { keyBytes } = limits({ pageBytes })
      assert.strictEqual(keyBytes, Page.maxKeyBytes(pageBytes))
      for (let bytes = 16; bytes <= keyBytes; bytes++) {
        assert.strictEqual(
          Limits.recordBytesOf({ pageBytes, keyBytes: bytes }),
          Page.maxRecordBytes(pageBytes, bytes)
        )
      }
    }
  })

  it("are all reported at once", () => {
    const found = problems({
      pageBytes: 1_000,
      keyBytes: 1_024,
      mailbox: 0,
      undurableBytes: 100_000_000,
      "checkpoint.logBytes": 40_000,
      "checkpoint.leafRecords": 5,
      "checkpoint.records": 4,
      ["memory" as Limits.Name]: 1
    })
    assert.deepStrictEqual(found.map((problem) => problem.split(" is ")[0]), [
      "pageBytes",
      "mailbox",
      "there",
      "checkpoint.leafRecords",
      "undurableBytes"
    ])
    assert.include(found.join("; "), "there is no limit memory: correct its name")
  })

  it("are no way around the names", () => {
    for (const name of ["__proto__", "constructor", "toString", "checkpoint.logBytes.x"]) {
      const given = JSON.parse(`{"${name}":1}`)
      assert.strictEqual(Limits.resolve(given)._tag, "Invalid", name)
    }
  })
})

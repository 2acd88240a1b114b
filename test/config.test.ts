/**
 * Options from the environment and from flags: what they become, which one wins, and what a malformed one says.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Command from "effect/cli/Command"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as path from "node:path"
import { flags, toOptions } from "../src/Flags.ts"
import * as Options from "../src/Options.ts"
import * as Store from "../src/Store.ts"
import { directory } from "./support/stores.ts"

const everything: Record<string, string> = {
  HEARTWOOD_PATH: "/data",
  HEARTWOOD_MEMORY: "64 MiB",
  HEARTWOOD_DURABILITY: "buffered",
  HEARTWOOD_SYSTEM_CACHE: "avoid",
  HEARTWOOD_PAGE_SIZE: "8 KiB",
  HEARTWOOD_SEGMENT_SIZE: "1MiB",
  HEARTWOOD_UNDURABLE: "65536 B",
  HEARTWOOD_CHECKPOINT_LOG_BYTES: "8 MiB",
  HEARTWOOD_CHECKPOINT_INTERVAL: "2 minutes",
  HEARTWOOD_CHECKPOINT_LEAF_RECORDS: "100",
  HEARTWOOD_CHECKPOINT_RECORDS: "1000"
}
const expected = {
  memoryBytes: 64 << 20,
  pageBytes: 8_192,
  segmentBytes: 1 << 20,
  undurableBytes: 65_536,
  checkpoint: { logBytes: 8 << 20, intervalMillis: 120_000, leafRecords: 100, records: 1_000 }
}

const under = (environment: Record<string, string>) =>
  Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(environment)))
const parsed = (environment: Record<string, string>) =>
  Effect.flatMap(Effect.void, () => Options.config).pipe(under(environment))

describe("the environment", () => {
  it.effect("all variables", () =>
    Effect.gen(function*() {
      const options = yield* parsed(everything)
      assert.deepStrictEqual(
        [options.path, options.durability, options.systemCache],
        ["/data", "buffered", "avoid"]
      )
      assert.deepStrictEqual(Options.toLimits(options), expected)
      assert.deepStrictEqual(yield* Options.check(options), expected)
    }))

  it.effect("the path alone: everything else has its default", () =>
    Effect.gen(function*() {
      const options = yield* parsed({ HEARTWOOD_PATH: "/data" })
      assert.deepStrictEqual(Options.toLimits(options), { checkpoint: {} })
    }))

  it.effect("no path is an error that names the variable", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(parsed({}))
      assert.include(error.message, "HEARTWOOD")
      assert.include(error.message, "PATH")
    }))

  const malformed: ReadonlyArray<readonly [string, string]> = [
    ["HEARTWOOD_MEMORY", "plenty"],
    ["HEARTWOOD_MEMORY", "64"],
    ["HEARTWOOD_MEMORY", "-1 MiB"],
    ["HEARTWOOD_MEMORY", "1.5 B"],
    ["HEARTWOOD_DURABILITY", "true"],
    ["HEARTWOOD_SYSTEM_CACHE", "none"],
    ["HEARTWOOD_PAGE_SIZE", "4 KKB"],
    ["HEARTWOOD_SEGMENT_SIZE", "MiB"],
    ["HEARTWOOD_UNDURABLE", "1e3"],
    ["HEARTWOOD_CHECKPOINT_LOG_BYTES", "8 parsecs"],
    ["HEARTWOOD_CHECKPOINT_INTERVAL", "soon"],
    ["HEARTWOOD_CHECKPOINT_LEAF_RECORDS", "1.5"],
    ["HEARTWOOD_CHECKPOINT_RECORDS", "many"]
  ]
  for (const [variable, value] of malformed) {
    it.effect(`${variable}=${value}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(parsed({ ...everything, [variable]: value }))
        assert.include(error.message.replaceAll(/[\s".[\]]+/g, "_"), variable.replace("HEARTWOOD_", ""))
      }))
  }

  const contradictory: ReadonlyArray<readonly [string, string, RegExp]> = [
    ["HEARTWOOD_PAGE_SIZE", "5 KiB", /pageBytes is 5120: make it a power of two/],
    ["HEARTWOOD_MEMORY", "9 KiB", /make memoryBytes larger/],
    ["HEARTWOOD_CHECKPOINT_LOG_BYTES", "1 MiB", /make checkpoint.logBytes at least 2 × segmentBytes/],
    ["HEARTWOOD_CHECKPOINT_RECORDS", "10", /make checkpoint.leafRecords at most checkpoint.records/],
    ["HEARTWOOD_CHECKPOINT_INTERVAL", "0.5 millis", /checkpoint.intervalMillis is 0.5/],
    ["HEARTWOOD_CHECKPOINT_INTERVAL", "Infinity", /checkpoint.intervalMillis is Infinity/],
    ["HEARTWOOD_UNDURABLE", "9007199254740993 GiB", /undurable is 967\d+: make it a whole number/]
  ]
  for (const [variable, value, message] of contradictory) {
    it.effect(`${variable}=${value} is well-formed and wrong`, () =>
      Effect.gen(function*() {
        const options = yield* parsed({ ...everything, [variable]: value })
        const error = yield* Effect.flip(Options.check(options))
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.match(error.message, message)
      }))
  }

  const memories: ReadonlyArray<readonly [unknown, string]> = [
    ["12 parsecs", "\"12 parsecs\""],
    ["1048576", "\"1048576\""],
    [-1, "-1"],
    [true, "true"],
    [{}, "[object Object]"]
  ]
  for (const [memory, shown] of memories) {
    it.effect(`memory: ${shown} is refused by its own name, with what is accepted`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Options.check({ path: "/data", memory: memory as "1 MiB" }))
        assert.strictEqual(
          error.message,
          "Options of the store are wrong, or contradict each other; correct each of these: "
            + `memory is ${shown}: make it a whole number of bytes from 8192 to 1099511627776, `
            + "or text with a unit, as in \"64 MiB\""
        )
      }))
  }

  const strangers: ReadonlyArray<readonly [string, object, RegExp]> = [
    ["mem", { mem: "1 MiB" }, /there is no option mem: correct its name to one of path, memory, /],
    ["a limit", { keyBytes: 100 }, /there is no option keyBytes: it is a limit, give it as limits.keyBytes/],
    ["readonly", { readonly: true }, /there is no option readonly: .*Store.layerReadOnly/],
    ["toString", { toString: 1 }, /there is no option toString/],
    ["one of checkpoint", { checkpoint: { every: 5 } }, /there is no option checkpoint.every: .*interval/]
  ]
  for (const [name, given, message] of strangers) {
    it.effect(`an option that there is not, ${name}, is refused`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Options.check({ path: "/data", ...given }))
        assert.strictEqual(error.reason._tag, "InvalidOptions")
        assert.match(error.message, message)
      }))
  }

  it("other flags of a command are no options", () => {
    const single = { path: "/data", port: 80 } as unknown as Options.Single
    assert.notProperty(Options.grouped(single), "port")
  })

  it.live("opens a store", () =>
    Effect.scoped(Effect.gen(function*() {
      const at = path.join(yield* directory, "store")
      const environment = { ...everything, HEARTWOOD_PATH: at }
      const { machine } = yield* Effect.provide(Store.Store, Store.layerConfig(Store.config)).pipe(
        under(environment)
      )
      assert.deepInclude(machine.limits, { memoryBytes: 64 << 20, pageBytes: 8_192 })
      assert.strictEqual(machine.durability, "buffered")
      const refused = yield* Effect.exit(
        Effect.provide(Store.Store, Store.layerConfig(Store.config)).pipe(
          under({ ...environment, HEARTWOOD_MEMORY: "much" })
        )
      )
      assert.isTrue(Exit.isFailure(refused))
    })))
})

describe("flags", () => {
  /** The options that a command gets. */
  const run = (args: ReadonlyArray<string>, environment: Record<string, string> = {}) =>
    Effect.gen(function*() {
      const seen: Array<Store.Options> = []
      const command = Command.make(
        "test",
        flags,
        (values) => Effect.sync(() => void seen.push(toOptions(values)))
      )
      yield* Command.runWith(command, { version: "1", renderErrors: false })(args)
      const [options] = seen
      return options ?? assert.fail("the command did not run")
    }).pipe(under(environment), Effect.provide(NodeServices.layer))

  const args = [
    ["--path", "/flag"],
    ["--memory", "32MiB"],
    ["--durability", "memory"],
    ["--system-cache", "bypass"],
    ["--page-size", "4 KiB"],
    ["--segment-size", "2 MiB"],
    ["--undurable", "128 KiB"],
    ["--checkpoint-log-bytes", "16 MiB"],
    ["--checkpoint-interval", "3 seconds"],
    ["--checkpoint-leaf-records", "7"],
    ["--checkpoint-records", "70"]
  ] as const
  const given = {
    memoryBytes: 32 << 20,
    pageBytes: 4_096,
    segmentBytes: 2 << 20,
    undurableBytes: 131_072,
    checkpoint: { logBytes: 16 << 20, intervalMillis: 3_000, leafRecords: 7, records: 70 }
  }

  it.effect("all of them, over all variables", () =>
    Effect.gen(function*() {
      for (const environment of [{}, everything]) {
        const options = yield* run(args.flat(), environment)
        assert.deepStrictEqual(
          [options.path, options.durability, options.systemCache],
          ["/flag", "memory", "bypass"]
        )
        assert.deepStrictEqual(Options.toLimits(options), given)
      }
    }))

  it.effect("a flag that is missing falls back to its variable, one by one", () =>
    Effect.gen(function*() {
      const fromFlags = Options.toLimits(yield* run(args.flat()))
      for (const [flag] of args) {
        const options = yield* run(args.filter(([name]) => name !== flag).flat(), everything)
        const { durability, path: at, systemCache } = options
        const limits = { ...Options.toLimits(options), path: at, durability, systemCache }
        const all = { ...fromFlags, path: "/flag", durability: "memory", systemCache: "bypass" }
        const changed = JSON.stringify(limits) !== JSON.stringify(all)
        assert.isTrue(changed, `${flag} falls back`)
      }
      assert.deepStrictEqual(Options.toLimits(yield* run([], everything)), expected)
    }))

  it.effect("a malformed flag is an error, whatever the variable says", () =>
    Effect.gen(function*() {
      for (
        const [flag, value] of [
          ["--memory", "plenty"],
          ["--durability", "sync"],
          ["--system-cache", "none"],
          ["--checkpoint-interval", "soon"],
          ["--checkpoint-records", "1.5"],
          ["--page-size", "4"]
        ] as const
      ) {
        const exit = yield* Effect.exit(run(["--path", "/flag", flag, value], everything))
        assert.isTrue(Exit.isFailure(exit), `${flag} ${value}`)
      }
    }))

  it.effect("a malformed variable is an error where no flag is given, and none where one is", () =>
    Effect.gen(function*() {
      const environment = { ...everything, HEARTWOOD_MEMORY: "plenty" }
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run([], environment))))
      const options = yield* run(["--memory", "32MiB"], environment)
      assert.strictEqual(Options.toLimits(options).memoryBytes, 32 << 20)
    }))

  it.effect("without a path from anywhere", () =>
    Effect.gen(function*() {
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run(["--memory", "32MiB"]))))
    }))
})

describe("code", () => {
  it("takes sizes and durations in any form", () => {
    const limits = Options.toLimits({
      path: "x",
      memory: ByteSize.mebibytes(1),
      pageSize: 4_096,
      segmentSize: 65_536n,
      checkpoint: { interval: Duration.seconds(2), logBytes: "1 MB" }
    })
    assert.deepStrictEqual(limits, {
      memoryBytes: 1 << 20,
      pageBytes: 4_096,
      segmentBytes: 65_536,
      checkpoint: { intervalMillis: 2_000, logBytes: 1_000_000 }
    })
  })

  it.effect("an option and its limit may say the same, and not two things", () =>
    Effect.gen(function*() {
      const same = { path: "x", memory: "1 MiB", limits: { memoryBytes: 1 << 20 } } as const
      assert.strictEqual((yield* Options.check(same)).memoryBytes, 1 << 20)
      const pairs = {
        path: "x",
        memory: "1 MiB",
        pageSize: "4 KiB",
        segmentSize: "64 KiB",
        undurable: "64 KiB",
        checkpoint: { logBytes: "1 MiB", interval: "1 second", leafRecords: 5, records: 50 },
        limits: {
          memoryBytes: 5 << 20,
          pageBytes: 8_192,
          segmentBytes: 131_072,
          undurableBytes: 131_072,
          checkpoint: { logBytes: 2 << 20, intervalMillis: 2_000, leafRecords: 6, records: 60 }
        }
      } as const
      const { reason } = yield* Effect.flip(Options.check(pairs))
      assert.strictEqual(reason._tag === "InvalidOptions" ? reason.problems.length : 0, 8, reason.message)
    }))
})

/**
 * Crash tests of programs find what a power cut breaks in a program, name it so that it can be looked at again, and
 * find nothing where nothing is wrong.
 *
 * `HEARTWOOD_SEED=n` tries other schedules, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import { execFileSync } from "node:child_process"
import fs from "node:fs"
import path from "node:path"
import type { Disk } from "../src/disk/Disk.ts"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"
import { CrashTest, FaultDisk } from "../src/testing.ts"
import { figure } from "./support/figures.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const seeds = [seed, seed + 1]

const Numbers = Keyspace.make("numbers", { key: Key.String, value: Schema.Int })
const layer = Store.layerDisk({ path: "store", memory: "1 MiB", segmentSize: "16 KiB" })

const put = (key: string, value: number) => Tx.transact()(Numbers.put(key, value))
const numbers = ["a", "b", "c"]
const get = (key: string) => Effect.map(Numbers.get(key), Option.getOrElse(() => 0)).pipe(Snapshot.read())

type Tell = (what: number) => Effect.Effect<void>

/** Counts up, and says each time how far it has come. */
const counting = (tell: Tell) =>
  Effect.forEach([1, 2, 3, 4], (value) => Effect.andThen(put("a", value), tell(value)))

/** What was told is there. */
const reached = (told: ReadonlyArray<number>) =>
  Effect.flatMap(
    get("a"),
    (found) => found < (told.at(-1) ?? 0) ? Effect.fail(`${found} after ${told.at(-1)}`) : Effect.void
  )

const sound = { layer, program: counting, check: reached, seeds, crashes: 40 }

describe("a crash test", () => {
  it.effect("finds nothing in a program that keeps what it says", () =>
    Effect.gen(function*() {
      const told: Array<string> = []
      const report = yield* CrashTest.run({
        ...sound,
        again: 0.5,
        progress: ({ again, crashes, of }) => Effect.sync(() => void told.push(`${crashes}/${of} ${again}`))
      })
      const { again, crashes, operations } = report
      figure("C1 crash tests of programs", { crashes, again, operations }, report)
      assert.deepInclude({ ...report }, { seeds: 2, crashes: 40, violations: [] })
      assert.isAbove(report.operations, 40)
      assert.isAbove(report.again, 5)
      assert.strictEqual(told.length, report.crashes + report.again)
      assert.strictEqual(told.at(-1), `40/40 ${report.again}`)
    }))

  it.effect("finds what is told too early, and stops at it", () =>
    Effect.gen(function*() {
      const hasty = {
        ...sound,
        program: (tell: Tell) =>
          Effect.forEach([1, 2, 3, 4, 5, 6], (value) => Effect.andThen(tell(value), put("a", value)))
      }
      const violation = yield* Effect.flip(CrashTest.run(hasty))
      if (violation._tag !== "Violation") return assert.fail(violation.message)
      const last = Number(violation.told.at(-1))
      assert.strictEqual(violation.said, `${last - 1} after ${last}`)
      const again = yield* Effect.flip(CrashTest.replay(hasty, violation.case))
      assert.strictEqual(again.message, violation.message)
      // Told later, it is sound there, if it comes to that operation at all: it does other things beside.
      yield* Effect.catchTag(CrashTest.replay(sound, violation.case), "Unrepeatable", () => Effect.void)
      const all = yield* CrashTest.explore(hasty)
      assert.strictEqual(all.violations[0]?.message, violation.message)
      assert.isAtLeast(all.violations.length, 1)
    }))

  it.effect("finds what a commit without a sync loses, and what another level keeps", () =>
    Effect.gen(function*() {
      const buffered = (tell: Tell) =>
        Effect.forEach(
          [1, 2, 3],
          (value) =>
            Numbers.put("a", value).pipe(Tx.transact({ durability: "buffered" }), Effect.andThen(tell(value)))
        )
      const { violations } = yield* CrashTest.explore({ ...sound, program: buffered, again: 0 })
      assert.isAbove(violations.length, 0)
      // The end of a process takes nothing from a disk.
      const crashes = violations.flatMap(({ case: { cuts } }) =>
        cuts.map(({ crash }) => JSON.stringify(crash))
      )
      assert.notInclude(crashes, JSON.stringify({ keep: "everything" }))
    }))

  it.effect("cuts recovery too, and what a program does when it is started", () =>
    Effect.gen(function*() {
      // Moves what is in a into b whenever it starts: a crash between the two does it twice.
      const moving = Layer.effectDiscard(Effect.gen(function*() {
        const moved = yield* get("a")
        if (moved === 0) return
        yield* put("b", (yield* get("b")) + moved)
        yield* put("c", moved)
        yield* put("c", 0)
        yield* put("a", 0)
      })).pipe(Layer.provideMerge(layer))
      const options = {
        ...sound,
        layer: moving,
        program: (tell: Tell) =>
          put("a", 7).pipe(
            Effect.andThen(tell(7)),
            Effect.andThen(Effect.forEach([1, 2, 3, 4, 5, 6], (value) => put("d", value)))
          ),
        check: (told: ReadonlyArray<number>) =>
          Effect.flatMap(get("b"), (found) =>
            found > 7 || found < (told[0] ?? 0) ? Effect.fail(`${found} in b`) : Effect.void)
      }
      const once = yield* CrashTest.explore({ ...options, again: 0 })
      assert.deepInclude({ ...once }, { again: 0, violations: [] })
      const twice = yield* CrashTest.explore({ ...options, crashes: 60, again: 1 })
      const [first] = twice.violations
      assert.deepStrictEqual(first?.case.cuts.length, 2)
      assert.include(first?.message, "14 in b")
      assert.match(first?.message ?? "", /power cut before operation .*, and another one before operation/)
      const again = yield* Effect.flip(CrashTest.replay(options, first?.case ?? { seed, cuts: [] }))
      assert.strictEqual(again.message, first?.message)
    }))

  it.effect("does the same for the same options, and something else for another seed", () =>
    Effect.gen(function*() {
      const wide = {
        ...sound,
        program: () => Effect.forEach(numbers, (key) => put(key, 1), { concurrency: 3 }),
        check: () => Effect.forEach(numbers, get).pipe(Effect.flatMap((found) => Effect.fail(found.join())))
      }
      const found: Array<string> = []
      for (const seed of [5, 5, 6]) {
        const { violations } = yield* CrashTest.explore({ ...wide, seeds: [seed], crashes: 40 })
        found.push(violations.map(({ message }) => message).join("\n").replaceAll(`"seed":${seed}`, ""))
      }
      assert.strictEqual(found[0], found[1])
      assert.notStrictEqual(found[0], found[2])
      assert.match(found[0] ?? "", /0,0,0[^]*1,1,1/)
    }))

  it.effect("starts from an image, and lets time go on", () =>
    Effect.gen(function*() {
      const image = yield* Effect.gen(function*() {
        yield* Effect.provide(put("a", 100), layer)
        return (yield* FaultDisk.FaultDisk).killImage()
      }).pipe(Effect.provide(FaultDisk.layer()))
      yield* CrashTest.run<number, Store.Store, unknown, unknown, unknown>({
        ...sound,
        image,
        program: (tell) =>
          Effect.sleep("1 hour").pipe(
            Effect.andThen(put("b", 1)),
            Effect.andThen(Clock.currentTimeMillis),
            Effect.flatMap(tell)
          ),
        check: (told) =>
          Effect.gen(function*() {
            assert.strictEqual(yield* get("a"), 100)
            assert.isAtLeast(yield* Clock.currentTimeMillis, told[0] ?? 0)
          })
      })
    }))
})

describe("what is no crash", () => {
  const refused = (program: CrashTest.Options<number, Store.Store, unknown, unknown, unknown>["program"]) =>
    Effect.flip(CrashTest.run<number, Store.Store, unknown, unknown, unknown>({ ...sound, program }))

  it.effect("is the failure of the program itself", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* refused(() => Effect.andThen(put("a", 1), Effect.fail("mine"))), "mine")
      const faulty = () =>
        Effect.flatMap(FaultDisk.FaultDisk, (disk) =>
          Effect.andThen(
            disk.fail({ operation: "sync", outcome: { _tag: "SyncFailed", pages: "dropped" } }),
            put("a", 1)
          ))
      assert.include(String(yield* refused(faulty)), "Could not sync")
    }))

  it.effect("is a program that cannot be repeated", () =>
    Effect.gen(function*() {
      let run = 0
      assert.include(
        String(yield* refused(() => Effect.forEach(numbers.slice(run++), (key) => put(key, 1)))),
        "did something else when it was run again with seed"
      )
      const missing = CrashTest.replay(sound, {
        seed,
        cuts: [{ before: 1e6, crash: { keep: "nothing" } }]
      })
      assert.strictEqual((yield* Effect.flip(missing))._tag, "Unrepeatable")
      // Chance and time of the schedule are the same each time.
      const chance = Effect.flatMap(Random.nextIntBetween(1, 1_000), (value) => put("a", value))
      const drawn = Effect.andThen(chance, Effect.sleep(1_000)).pipe(Effect.repeat({ times: 3 }))
      yield* CrashTest.run({ ...sound, check: () => Effect.void, program: () => drawn })
    }))

  it.effect("is a program that waits for something outside", () =>
    Effect.gen(function*() {
      const outside = Effect.promise(() => new Promise(() => {}))
      assert.include(String(yield* refused(() => outside)), "everybody waits for somebody else")
      // A program that waits after a crash has not survived it.
      const waits: CrashTest.Options<number, Disk, never, unknown, unknown> = {
        layer: Layer.empty as unknown as Layer.Layer<Disk>,
        program: () => Effect.provide(put("a", 1), layer),
        check: () => outside,
        crashes: 1,
        seeds: [seed]
      }
      assert.strictEqual((yield* CrashTest.explore(waits)).violations.length, 1)
    }))
})

describe("docs/testing.md", () => {
  it("has an example that runs, and prints what it says", () => {
    const root = path.join(import.meta.dirname, "..")
    const text = fs.readFileSync(path.join(root, "docs", "testing.md"), "utf8")
    const block = (language: string): string =>
      new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "m").exec(text)?.[1] ?? ""
    // Inside the repository, so that its packages are found; the directory is ignored by git.
    const home = path.join(root, ".heartwood")
    fs.mkdirSync(home, { recursive: true })
    const directory = fs.mkdtempSync(path.join(home, "testing-"))
    try {
      const example = block("ts").replace("\"heartwood\"", "\"../../src/index.ts\"")
        .replace("\"heartwood/testing\"", "\"../../src/testing.ts\"")
      fs.writeFileSync(path.join(directory, "example.ts"), example)
      const config = { extends: "../../tsconfig.json", include: ["example.ts"] }
      fs.writeFileSync(path.join(directory, "tsconfig.json"), JSON.stringify(config))
      const options = { cwd: directory, encoding: "utf8" } as const
      const tsc = path.join(root, "node_modules", "typescript", "bin", "tsc")
      execFileSync(process.execPath, [tsc, "-p", directory, "--noEmit"], options)
      assert.strictEqual(execFileSync(process.execPath, ["example.ts"], options).trim(), block("text").trim())
    } finally {
      fs.rmSync(directory, { recursive: true, force: true })
    }
  })
})

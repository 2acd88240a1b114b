/**
 * The disk that fails finds what an engine does wrong: syncs are forgotten and orders swapped, one at a time, and crash
 * tests of the same small program see each; of the engine as it is they see nothing.
 *
 * `HEARTWOOD_SEED=n` tries another schedule, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Disk } from "../src/disk/Disk.ts"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import { Codec, Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"
import { StoreError } from "../src/StoreError.ts"
import { CrashTest } from "../src/testing.ts"
import { figure } from "./support/figures.ts"
import { sabotages } from "./support/sabotage.ts"

const first = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const seeds = Array.from({ length: 10 }, (_, index) => first + index)

const Rounds = Keyspace.make("rounds", { key: Key.Int, value: Codec.int })
const Ballast = Keyspace.make("ballast", { key: Key.Int, value: Codec.bytes })

const slots = 7
const store = Store.layerDisk({
  path: "/store",
  limits: {
    pageBytes: 1024,
    memoryBytes: 40 * 1024,
    stagingBytes: 4096,
    mergeWorkspaces: 1,
    loadsInFlight: 1,
    inlineValueBytes: 200,
    segmentBytes: 4096,
    undurableBytes: 2048,
    checkpoint: { logBytes: 8192, hardLogBytes: 1_048_576, records: 100_000, leafRecords: 1_000 }
  }
})

/** One commit: a number, which goes round, and so much beside it that pages split and segments end. */
const round = (value: number) =>
  Effect.andThen(
    Rounds.put(value % slots, value),
    Effect.forEach([1, 2, 3], (offset) =>
      Ballast.put((value * 5 + offset) % 60, new Uint8Array(150).fill(value)))
  )

const newest = Effect.map(
  Stream.runCollect(Rounds.range()),
  (found) => Math.max(0, ...found.map(({ value }) => value))
)

/** Lives with checkpoints; the process is killed between them, and leaves a commit that was not synced. */
const program =
  (plant: (disk: Disk["Service"]) => Disk["Service"]) => (tell: (value: number) => Effect.Effect<void>) => {
    const planted = Layer.provide(store, Layer.effect(Disk, Effect.map(Disk, plant)))
    const life = (from: number, until: number) =>
      Effect.gen(function*() {
        for (let value = from; value < until; value++) {
          yield* Tx.transact()(round(value))
          yield* tell(value)
          if (value % 4 === 0) yield* Effect.flatMap(Store.Store, ({ checkpoint }) => checkpoint)
        }
      })
    const buffered = (value: number) => round(value).pipe(Tx.transact({ durability: "buffered" }))
    // Who has read it in a transaction can rely on it.
    const seen = Effect.flatMap(Tx.transact()(newest), tell)
    return Effect.gen(function*() {
      const faults = yield* FaultDisk
      for (const from of [1, 9, 17]) {
        yield* seen.pipe(
          Effect.andThen(buffered(from)),
          Effect.andThen(life(from + 1, from + 7)),
          Effect.andThen(buffered(from + 7)),
          Effect.andThen(faults.kill),
          Effect.provide(planted, { local: true })
        )
      }
      yield* Effect.provide(Effect.andThen(seen, life(25, 29)), planted, { local: true })
    })
  }

/** The rounds are those up to some one, and no other; it is at or after the last that was told. */
const check = (told: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const found = yield* Stream.runCollect(Rounds.range())
    const last = Math.max(0, ...found.map(({ value }) => value))
    const [least = 0] = told.slice(-1)
    if (last < least) return yield* Effect.fail(`lost: ${last} of ${least} rounds`)
    for (const { key, value } of found) assert.strictEqual(value, last - (last - key) % slots, `of ${last}`)
    assert.strictEqual(found.length, Math.min(last, slots))
    const ballast = yield* Stream.runCollect(Ballast.range())
    for (const { key, value } of ballast) {
      const writer = Array.from({ length: last }, (_, index) => last - index).find((value) =>
        [1, 2, 3].some((offset) => (value * 5 + offset) % 60 === key)
      )
      assert.strictEqual(value[0], writer, `ballast ${key} of ${last}`)
    }
  }).pipe(Snapshot.read(), Effect.provide(store, { local: true }))

const options = (plant: (disk: Disk["Service"]) => Disk["Service"]) => ({
  layer: Layer.empty,
  program: program(plant),
  check,
  // Few of each seed: what is wrong shows in any of them.
  seeds,
  crashes: 700
})

/** What a violation shows. */
const seenIn = ({ cause }: CrashTest.Violation): string => {
  const error = Cause.squash(cause)
  if (error instanceof StoreError) return error.reason._tag
  return typeof error === "string" && error.startsWith("lost") ? "lost" : String(error)
}

describe("a crash test sees", () => {
  const crashes: Record<string, number> = {}

  afterAll(() => {
    figure("C1 planted faults that are found", { plants: Object.keys(crashes).length }, crashes)
  })

  const tried = (
    name: string,
    plant: (disk: Disk["Service"]) => Disk["Service"],
    some: { readonly seeds?: ReadonlyArray<number>; readonly crashes?: number } = {}
  ) =>
    CrashTest.run({
      ...options(plant),
      ...some,
      progress: (now) =>
        Effect.sync(() => {
          crashes[name] = now.crashes
        })
    })

  it.effect("nothing in the engine as it is", () =>
    Effect.gen(function*() {
      const report = yield* tried("none", (disk) => disk, { seeds: seeds.slice(0, 2), crashes: 80 })
      assert.strictEqual(report.crashes, 80)
      assert.isAbove(report.operations, 400)
    }))

  for (const { name, plant, seen } of sabotages) {
    it.effect(`that ${name}`, () =>
      Effect.gen(function*() {
        const violation = yield* Effect.flip(tried(name, plant))
        if (!(violation instanceof CrashTest.Violation)) return assert.fail(violation.message)
        assert.include(seen, seenIn(violation), violation.message)
      }))
  }
})

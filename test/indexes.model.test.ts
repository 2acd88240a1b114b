/**
 * Indexes against a model: programs that declare different ones follow each other, write from several fibers while the
 * indexes are built, and are cut short. Whatever is read by an index is the fold over the records of that snapshot.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer as faultDisk } from "../src/disk/FaultDisk.ts"
import * as Index from "../src/Indexes.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"
import type { Model, Op, Program } from "./support/indexModel.ts"
import { apply, audit, carryOut, opOf, programs, valueOf } from "./support/indexModel.ts"
import { modelled } from "./support/modelled.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? Array.from({ length: 8 }, (_, index) => index + 1) : [Number(asked)]
const lives = 5
const fibers = 3
const transactions = 40

const options = { path: "/store", memory: "4 MiB", segmentSize: "256 KiB" } as const
const counts = {
  commits: 0,
  taken: 0,
  refused: 0,
  slices: 0,
  cut: 0,
  duplicates: 0,
  images: 0,
  unready: 0,
  replayed: 0
}

interface Committed {
  readonly ops: ReadonlyArray<Op>
  readonly outcomes: ReadonlyArray<string>
  readonly lsn: number
}

const isRefusal = ({ reason }: StoreError): boolean =>
  reason._tag === "IndexNotReady" || reason._tag === "Unindexed"

/** Transactions of one fiber; those that come before the indexes are begun are refused whole. */
const writer = (program: Program, chance: Random, keys: number, committed: Array<Committed>) =>
  Effect.forEach(Array.from({ length: transactions }), () => {
    const ops = Array.from({ length: 1 + chance.int(4) }, () => opOf(chance, keys))
    const body = Effect.forEach(
      ops,
      (op) => Effect.andThen(chance.bool(0.3) ? Effect.yieldNow : Effect.void, carryOut(program, op))
    )
    return Tx.commit({ durability: "memory" })(body).pipe(
      Effect.map(({ lsn, value: outcomes }) => void committed.push({ ops, outcomes, lsn })),
      Effect.catchIf(isRefusal, () =>
        Effect.sync(() => {
          counts.refused++
        }))
    )
  }, { discard: true })

/** Builds, perhaps not to the end; records that stand in each other's way are removed. */
const builder = (program: Program, chance: Random, committed: Array<Committed>) => {
  const slices = chance.bool(0.4) ? chance.int(3) : Infinity
  const again = chance.bool(0.3)
  return Effect.gen(function*() {
    for (let first = true;; first = false) {
      const build = again && first ? Index.rebuild(program) : Index.build(program)
      const exit = yield* build.pipe(
        Stream.take(slices),
        Stream.runForEach(() => Effect.andThen(Effect.sync(() => counts.slices++), Effect.yieldNow)),
        Effect.exit
      )
      if (Exit.isSuccess(exit)) break
      const error = Exit.findErrorOption(exit)
      if (error._tag === "None" || error.value._tag !== "DuplicateKey") return yield* exit
      counts.duplicates++
      committed.push(yield* mend(program))
    }
    if (slices < Infinity) counts.cut++
  })
}

/** Leaves of all records with one address the first. */
const mend = (program: Program) =>
  Effect.gen(function*() {
    const { records } = yield* audit(program)
    const seen = new Set<number>()
    const doubles = [...records].filter(([, { email }]) => {
      const double = email !== null && seen.has(email)
      if (email !== null) seen.add(email)
      return double
    })
    const ops = doubles.map(([key]): Op => ({ _tag: "remove", key }))
    const { lsn, value: outcomes } = yield* Tx.commit()(Effect.forEach(ops, (op) => carryOut(program, op)))
    return { ops, outcomes, lsn }
  })

/** Whether ops have written anything; takes the outcomes of those that are no steps from the front. */
const writes = (ops: ReadonlyArray<Op>, outcomes: Array<string>): boolean =>
  ops.map((op) => {
    if (op._tag === "step") return writes(op.ops, outcomes) && !op.fails
    const outcome = outcomes.shift()
    return outcome === "done" || outcome === "true"
  }).includes(true)

/** What was committed, in its order, done to the model, must have come to the same. */
const replay = (model: Model, committed: Array<Committed>, unique: boolean): void => {
  const wrote = ({ ops, outcomes }: Committed) => writes(ops, outcomes.join().split(","))
  // One that wrote nothing has read everything below its LSN.
  committed.sort((a, b) => a.lsn - b.lsn || Number(wrote(a)) - Number(wrote(b)))
  for (const { ops, outcomes } of committed) {
    counts.commits++
    const expected = ops.map((op) => apply(model, op, unique))
    modelled(ops.length)
    assert.deepStrictEqual(outcomes, expected)
    counts.taken += expected.filter((outcome) => outcome.includes("taken")).length
  }
}

const life = (chance: Random, model: Model, keys: number) =>
  Effect.gen(function*() {
    const program: Program = chance.pick(programs)
    const committed: Array<Committed> = []
    const before = yield* audit(program)
    assert.deepStrictEqual(sorted(before.records), sorted(model))
    const builds = yield* Effect.forkChild(builder(program, chance, committed))
    const writers = Array.from({ length: fibers }, () =>
      writer(program, random(chance.int(2 ** 31)), keys, committed))
    yield* Effect.all(writers, { concurrency: "unbounded" })
    yield* Fiber.join(builds)
    const { records, unready } = yield* audit(program)
    counts.unready += unready.length
    // While a unique index is being built, it does not refuse what it does not know yet.
    if ("email" in program.by && before.unready.includes("email")) {
      return records
    }
    counts.replayed++
    replay(model, committed, "email" in program.by)
    assert.deepStrictEqual(sorted(records), sorted(model))
    return records
  })

const sorted = (model: Model) => [...model].sort(([a], [b]) => a - b)

const inStore = <A, E, R>(body: Effect.Effect<A, E, R | Store.Store>) =>
  Effect.provide(body, Store.layerDisk(options), { local: true })

/** Opens what a power cut left: lanes are right, and a build ends as it would have, and has ended for good. */
const recovered = (image: Image, chance: Random) =>
  Effect.gen(function*() {
    counts.images++
    const faults = yield* FaultDisk
    const program = chance.pick(programs)
    const found = yield* audit(program)
    yield* builder(program, { ...chance, bool: () => false }, [])
    const { records, unready } = yield* audit(program)
    assert.deepStrictEqual(unready, [])
    assert.isAtMost(records.size, found.records.size)
    const left = faults.crashImage({ keep: "nothing" })
    const again = yield* Effect.provide(inStore(audit(program)), faultDisk({ image: left }), { local: true })
    assert.deepStrictEqual(again.unready, [])
  }).pipe(inStore, Effect.provide(faultDisk({ image }), { local: true }))

const workload = (seed: number) =>
  Effect.gen(function*() {
    const chance = random(seed)
    const faults = yield* FaultDisk
    const keys = chance.pick([12, 300, 1_400])
    let model: Model = new Map()
    const images: Array<Image> = []
    const load = Effect.gen(function*() {
      for (let key = 0; key < keys - 1; key++) {
        const value = valueOf(chance, 2 * keys)
        model.set(key, value)
        yield* programs[2].put(key, value)
      }
    })
    yield* inStore(Tx.transact()(load))
    for (let number = 0; number < lives; number++) {
      model = yield* Effect.scoped(Effect.gen(function*() {
        yield* faults.observe(() => {
          if (images.length > 2 * number || chance.int(30) > 0) return
          images.push(faults.crashImage({ seed: chance.int(2 ** 31) }))
        })
        return yield* inStore(life(chance, model, keys))
      }))
    }
    for (const image of images) yield* recovered(image, chance)
  }).pipe(
    Effect.provide(faultDisk({ seed }), { local: true }),
    Effect.catchCause((cause) => Effect.die(new Error(`seed ${seed}: ${cause}`, { cause })))
  )

describe("indexes are folds over their keyspace", () => {
  for (const seed of seeds) it.live(`seed ${seed}`, () => workload(seed), 60_000)
  it("have been everywhere", () => {
    figure("M1 model of indexes", counts)
    if (asked !== undefined) return
    for (const [name, count] of Object.entries(counts)) assert.isAbove(count, 0, name)
  })
})

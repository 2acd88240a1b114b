/**
 * A power cut before every operation of a disk that changes it: whatever is found then is a store, whole, and holds
 * some prefix of the commits that has all that were acknowledged as synced.
 *
 * `HEARTWOOD_SEED=n` replays one workload, `HEARTWOOD_FIGURES=1` prints what was tried.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Disk } from "../src/disk/Disk.ts"
import type { Crash, Image, Observed } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { StoreError } from "../src/StoreError.ts"
import { random } from "./support/random.ts"
import { auditStore } from "./support/storeAudit.ts"
import { directory, dump, open, quiesce } from "./support/storeDoor.ts"
import type { State } from "./support/storeModel.ts"
import { stateDifference } from "./support/storeModel.ts"
import { begin } from "./support/storeRun.ts"
import type { Shape } from "./support/storeSize.ts"
import { nameOf, names, passing, shapesOf, tally } from "./support/storeSize.ts"

const asked = process.env["HEARTWOOD_SEED"]
const seeds = asked === undefined ? Array.from({ length: 12 }, (_, index) => index + 1) : [Number(asked)]
const steps = 14

/** Operations that only look leave nothing else to be found than those before them. */
const changing = new Set([
  "makeDirectory",
  "rename",
  "unlink",
  "syncDirectory",
  "write",
  "sync",
  "allocate",
  "truncate"
])

interface Shot {
  readonly image: Image
  readonly operation: Observed
  readonly crash: Crash
  /** Index of the newest state that was acknowledged as synced. */
  readonly durable: number
}

type Options = Parameters<typeof open>[0]

const figures = { states: 0, nested: 0, operations: 0, lost: 0 }

/** Images before each operation that happens while `body` runs. */
const shots = <A, E, R>(
  options: { readonly seed: number; readonly every: number; readonly durable: () => number },
  body: Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyArray<Shot>, E, R | FaultDisk> =>
  Effect.scoped(Effect.gen(function*() {
    const faults = yield* FaultDisk
    const chance = random(options.seed)
    const taken: Array<Shot> = []
    yield* faults.observe((operation) => {
      if (!changing.has(operation.operation) || chance.int(options.every) > 0) return
      figures.operations++
      const crashes: ReadonlyArray<Crash> = [
        { keep: "nothing" },
        { keep: "everything" },
        { variant: chance.int(faults.variants()) },
        { seed: chance.int(2 ** 31) }
      ]
      for (const crash of crashes) {
        taken.push({ image: faults.crashImage(crash), operation, crash, durable: options.durable() })
      }
    })
    yield* body
    return taken
  })) as Effect.Effect<ReadonlyArray<Shot>, E, R | FaultDisk>

/** What a store that is opened on this disk holds; it is left as a crash would leave it. */
const recovered = (options: Options): Effect.Effect<State, StoreError, Disk | FaultDisk> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const { close, store } = yield* open(options)
    const found = yield* dump(store, names)
    yield* quiesce(faults.operations)
    const pageFile = faults.killImage().read(`${directory}/pages`) ?? new Uint8Array(0)
    assert.deepStrictEqual(auditStore(store.machine, pageFile).problems, [])
    yield* faults.cut({ keep: "nothing" })
    yield* Effect.raceFirst(close, passing)
    yield* faults.restart
    return found
  })

const check = (
  shot: Shot,
  options: Options,
  states: ReadonlyArray<State>,
  nested: "nested" | "last"
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    figures.states++
    const during: Array<Shot> = []
    const found = nested === "last"
      ? yield* recovered(options)
      : yield* Effect.gen(function*() {
        let state: State = new Map()
        const durable = (): number => shot.durable
        const body = Effect.map(recovered(options), (found) => {
          state = found
        })
        during.push(...yield* shots({ seed: shot.operation.number, every: 3, durable }, body))
        return state
      })
    const allowed = states.slice(shot.durable)
    const index = allowed.findIndex((state) => stateDifference(found, state) === undefined)
    if (index < 0) {
      const differences = allowed.map((state) => stateDifference(found, state))
      throw new Error(`none of ${allowed.length} states: ${differences.slice(0, 2).join(" | ")}`)
    }
    if (index < allowed.length - 1) figures.lost++
    const again = yield* recovered(options)
    assert.isUndefined(stateDifference(again, found), "recovery comes to the same when it is repeated")
    for (const inner of during) {
      figures.nested++
      // What the first recovery found may still lose what no sync has covered, and nothing else.
      yield* check(inner, options, states, "last")
    }
  }).pipe(
    Effect.provide(layer({ image: shot.image })),
    Effect.catchCause((cause) => {
      const { number, operation, path } = shot.operation
      const where = `before operation ${number} (${operation} ${path}), ${
        JSON.stringify(shot.crash)
      }: ${shot.image.story}`
      return Effect.die(new Error(`${where}: ${cause}`, { cause }))
    })
  )

const workload = (seed: number, shape: Shape): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    let durable = (): number => 0
    let history: ReadonlyArray<State> = []
    let options: Options = {}
    const taken = yield* shots(
      { seed, every: 1, durable: () => durable() },
      Effect.gen(function*() {
        const begun = yield* begin(seed, shape, tally())
        options = begun.options
        durable = () => begun.life.history.durable
        for (let step = 0; step < steps; step++) yield* begun.life.work
        yield* begun.life.readers.letAllGo
        history = begun.life.history.states
        yield* begun.life.shut
      })
    )
    const chance = random(seed)
    for (const shot of taken) yield* check(shot, options, history, chance.bool(0.02) ? "nested" : "last")
  }).pipe(
    Effect.provide(layer({ seed })),
    Random.withSeed(seed),
    Effect.catchCause((cause) => Effect.die(new Error(`${nameOf(seed, shape)}: ${cause}`, { cause })))
  )

describe("a power cut at any time", () => {
  for (const seed of seeds) {
    for (const shape of shapesOf(seed, { roomyEvery: Infinity })) {
      it.effect(
        `leaves a prefix of the commits: ${nameOf(seed, shape)}`,
        () => workload(seed, shape),
        120_000
      )
    }
  }

  it("was tried often", () => {
    if (process.env["HEARTWOOD_FIGURES"] !== undefined) console.log(figures)
    if (asked === undefined) assert.isAbove(figures.states, 2_000)
    assert.isAbove(figures.lost, 0)
  })
})

/**
 * Exactly once, across crashes: after a power cut each session finds a prefix of its serials, each of them done once, and
 * goes on from there.
 *
 * `HEARTWOOD_SEED=n` replays one seed.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import { figure } from "./support/figures.ts"
import { random } from "./support/random.ts"
import { acknowledged, counts, known, work } from "./support/sessionWork.ts"
import type { Known } from "./support/sessionWork.ts"
import { open } from "./support/storeDoor.ts"
import { passing } from "./support/storeSize.ts"

const options = {
  limits: {
    pageBytes: 1_024,
    segmentBytes: 4_096,
    memoryBytes: 512 * 1_024,
    checkpoint: { logBytes: 16_384 }
  }
}

const asked = process.env["HEARTWOOD_SEED"]
const seedsOf = (count: number): ReadonlyArray<number> =>
  asked === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(asked)]

/** A life that ends as the power does. */
const cutOff = (seed: number, knowledge: ReadonlyMap<string, Known>, operations: number) =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const chance = random(seed)
    const { close, store } = yield* open(options)
    yield* faults.fail({ at: operations, outcome: { _tag: "Cut", crash: { seed } } })
    const body = Effect.gen(function*() {
      const checkpoints = Effect.forever(Effect.andThen(
        Effect.exit(store.checkpoint),
        Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 1)))
      ))
      const working = Effect.provideService(
        work({ known: knowledge, chance, bursts: 12 }),
        Store.Store,
        store
      )
      return yield* Effect.exit(chance.bool(0.5) ? Effect.raceFirst(working, checkpoints) : working)
    })
    const exit = yield* Effect.scoped(body)
    yield* faults.cut({ seed })
    yield* Effect.raceFirst(close, passing)
    yield* faults.heal
    yield* faults.restart
    return exit
  })

describe("exactly once", () => {
  for (const seed of seedsOf(30)) {
    it.effect(`through power cuts at any time (seed ${seed})`, () =>
      Effect.gen(function*() {
        const knowledge = known()
        const chance = random(seed)
        for (let life = 0; life < 5; life++) {
          const exit = yield* cutOff(seed * 100 + life, knowledge, 1 + chance.int(150))
          if (Exit.isSuccess(exit)) continue
          const failure = Exit.findErrorOption(exit)
          if (failure._tag === "None") return yield* Effect.failCause(exit.cause)
        }
        const { close, store } = yield* open(options)
        yield* Effect.provideService(work({ known: knowledge, chance, bursts: 4 }), Store.Store, store)
        yield* close
      }).pipe(Effect.provide(layer({ seed }))), 60_000)
  }

  interface Shot {
    readonly image: Image
    readonly known: ReadonlyMap<string, Known>
  }

  for (const seed of seedsOf(2)) {
    it.effect(
      `with a power cut before every operation of the disk (seed ${seed})`,
      () =>
        Effect.gen(function*() {
          const shots: Array<Shot> = []
          yield* Effect.provide(
            Effect.scoped(Effect.gen(function*() {
              const faults = yield* FaultDisk
              const chance = random(seed)
              const knowledge = known()
              yield* faults.observe(() => {
                for (
                  const crash of [{ keep: "nothing" }, { keep: "everything" }, {
                    seed: chance.int(2 ** 31)
                  }] as const
                ) {
                  shots.push({ image: faults.crashImage(crash), known: acknowledged(knowledge) })
                }
              })
              const { close, store } = yield* open(options)
              const working = work({ known: knowledge, chance, bursts: 3 })
              yield* Effect.provideService(working, Store.Store, store)
              yield* store.checkpoint
              yield* Effect.provideService(working, Store.Store, store)
              yield* close
            })),
            layer({ seed })
          )
          assert.isAbove(shots.length, 100)
          for (const shot of shots) {
            const again = Effect.gen(function*() {
              const { close, store } = yield* open(options)
              const working = work({ known: shot.known, chance: random(seed), bursts: 1 })
              yield* Effect.provideService(working, Store.Store, store)
              yield* close
            })
            yield* Effect.provide(again, layer({ image: shot.image }))
          }
        }),
      120_000
    )
  }

  it("was tried in every way", () => {
    figure("C1 crashes amid sessions", counts)
    if (asked !== undefined) return
    for (const count of Object.values(counts)) assert.isAbove(count, 100)
  })
})

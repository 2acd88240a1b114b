/**
 * A power cut before every operation of a disk that changes it, and what is found then.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Disk } from "../../src/disk/Disk.ts"
import type { Crash, Image, Observed } from "../../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { random } from "./random.ts"
import { auditStore } from "./storeAudit.ts"
import { directory, dump, open, quiesce } from "./storeDoor.ts"
import type { State } from "./storeModel.ts"
import { stateDifference } from "./storeModel.ts"
import { names, passing } from "./storeSize.ts"

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

export interface Shot {
  readonly image: Image
  readonly operation: Observed
  readonly crash: Crash
  /** Index of the newest state that was acknowledged as synced. */
  readonly durable: number
}

type Options = Parameters<typeof open>[0]

export const figures = { states: 0, nested: 0, operations: 0, lost: 0 }

/** Images before each operation that happens while `body` runs. */
export const shots = <A, E, R>(
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

/** Opens what is left after a power cut: it must be one of the states that may be found. */
export const check = (
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

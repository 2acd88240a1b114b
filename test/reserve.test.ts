/**
 * A full disk is survived: what adds is refused in time, reading and removing go on, checkpoints make room, and writing
 * goes on by itself. Tried with room for little, and for a little more, and so on.
 *
 * `HEARTWOOD_FIGURES=1` prints what happened.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import * as Verify from "../src/Verify.ts"
import { figure } from "./support/figures.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { calm, Schedule } from "./support/schedule.ts"
import { directory, dump, keyspaceOf, open } from "./support/storeDoor.ts"

const KiB = 1024
const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)

const options = {
  limits: {
    pageBytes: KiB,
    memoryBytes: 64 * KiB,
    stagingBytes: 4 * KiB,
    mergeWorkspaces: 1,
    loadsInFlight: 2,
    inlineValueBytes: 200,
    segmentBytes: 8 * KiB,
    reserveBytes: 24 * KiB,
    undurableBytes: 4 * KiB,
    checkpoint: { logBytes: 32 * KiB, hardLogBytes: 4096 * KiB }
  }
}

/** The reserve, five segments, and some pages. */
const leastBytes = 24 * KiB + 5 * 12 * KiB + 24 * KiB

const figures = {
  capacities: 0,
  unopened: 0,
  commits: 0,
  refused: 0,
  resumed: 0,
  stuck: 0,
  removals: 0,
  releases: 0,
  looks: 0
}

type Opened = Effect.Success<ReturnType<typeof open>>
type Model = Map<string, string>

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))
const Values = keyspaceOf("values")

const put = (store: Opened["store"], key: string, value: string) =>
  Effect.provideService(Tx.commit()(Values.put(bytes(key), bytes(value))), Store.Store, store)

const remove = (store: Opened["store"], keys: ReadonlyArray<string>) =>
  Effect.provideService(
    Tx.commit()(Effect.forEach(keys, (key) => Values.remove(bytes(key)), { discard: true })),
    Store.Store,
    store
  )

const expectModel = (store: Opened["store"], model: Model): Effect.Effect<void, StoreError> =>
  Effect.map(dump(store, ["values"]), (state) => {
    const found = (state.get("values") ?? []).map(({ key, value }) => [key, value] as const)
    assert.deepStrictEqual(new Map(found), new Map([...model].sort(([a], [b]) => a < b ? -1 : 1)))
  })

/** Writes until it is refused; answers the error. */
const fill = (store: Opened["store"], model: Model, chance: Random): Effect.Effect<StoreError> =>
  Effect.gen(function*() {
    for (let number = model.size; number < 20_000; number++) {
      const key = `key ${chance.int(100_000)}`
      const value = "v".repeat(chance.int(chance.bool(0.1) ? 1500 : 150))
      const exit = yield* Effect.exit(put(store, key, value))
      if (Exit.isSuccess(exit)) {
        model.set(key, value)
        figures.commits++
        continue
      }
      const error = Exit.findErrorOption(exit)
      if (error._tag === "None") throw new Error(`${exit.cause}`)
      return error.value
    }
    throw new Error("the disk does not fill up")
  })

/** Removes part of the records, some at a time, while the disk is full, and lets time pass. */
const empty = (
  store: Opened["store"],
  model: Model,
  { chance, part, relief }: {
    readonly chance: Random
    readonly part: number
    /** Makes the disk larger. */
    readonly relief: Effect.Effect<void>
  }
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const keys = [...model.keys()].filter(() => chance.bool(part))
    for (let most = 8; keys.length > 0;) {
      const some = keys.slice(0, Math.ceil(most))
      const exit = yield* Effect.exit(remove(store, some))
      figures.removals++
      if (Exit.isSuccess(exit)) {
        for (const key of some) model.delete(key)
        keys.splice(0, some.length)
        if (chance.bool(0.1)) yield* Effect.sleep("100 millis")
        continue
      }
      const error = Exit.findErrorOption(exit)
      assert.isTrue(error._tag === "Some" && error.value.reason._tag === "DiskFull", `${exit}`)
      // Where so many have no room, a checkpoint makes some, and fewer need less; else there must be more outside.
      if (most === 0.5) {
        figures.stuck++
        yield* relief
      }
      yield* Effect.sleep("1 second")
      most = most === 1 ? 0.5 : Math.ceil(most / 2)
    }
    yield* Effect.sleep("10 seconds")
  })

const life = (capacityBytes: number, chance: Random): Effect.Effect<void, StoreError, FaultDisk | Disk> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    yield* faults.limit(capacityBytes)
    const opened = yield* Effect.exit(open(options))
    if (Exit.isFailure(opened)) {
      const error = Exit.findErrorOption(opened)
      assert.isTrue(
        error._tag === "Some" && error.value.reason._tag === "DiskFailed" &&
          error.value.reason.code === "ENOSPC"
      )
      figures.unopened++
      return
    }
    const model: Model = new Map()
    let { close, store } = opened.value
    const relief = faults.limit(capacityBytes + 64 * KiB)
    for (let round = 0; round < 2; round++) {
      const error = yield* fill(store, model, chance)
      figures.refused++
      assert.strictEqual(error.reason._tag, "DiskFull", error.message)
      yield* expectModel(store, model)
      yield* empty(store, model, { chance, relief, part: 0.67 })
      let again = yield* Effect.exit(put(store, "again", `${round}`))
      figures.resumed += Exit.isSuccess(again) ? 1 : 0
      // What is left may need what is free: then more has to go, and at last all of it.
      if (Exit.isFailure(again)) {
        yield* empty(store, model, { chance, relief, part: 1 })
        again = yield* Effect.exit(put(store, "again", `${round}`))
        // So small a disk is full of what is set aside.
        if (capacityBytes < leastBytes && Exit.isFailure(again)) break
      }
      assert.isTrue(Exit.isSuccess(again), `${capacityBytes} bytes, round ${round}: ${again}`)
      model.set("again", `${round}`)
      const { aside, counters } = store.machine.parts.reserve
      figures.releases += aside.counters.releases
      figures.looks += counters.looks
      // Whatever ends it, all of it is there, on a disk that is as full as before.
      const by = chance.pick(["close", "kill", "cut"] as const)
      if (by !== "close") yield* faults.kill
      yield* close
      if (by === "cut") yield* faults.crash({ seed: chance.int(2 ** 31) })
      const { findings } = yield* Verify.verifyDisk({ path: directory })
      assert.deepStrictEqual(findings, [])
      ;({ close, store } = yield* open(options))
      yield* expectModel(store, model)
    }
    yield* close
  })

/** One disk; false where it is so small that it is full of what is set aside. */
const survives = (seed: number, capacity: number): boolean => {
  const schedule = new Schedule(seed + capacity, { manner: calm })
  const chance = random(seed + capacity)
  const exit = schedule.run(
    Effect.scoped(Effect.provide(life(capacity, chance), Layer.merge(layer({ seed }), Logger.layer([]))))
  )
  if (capacity < leastBytes && `${exit}`.includes("is nearly full")) return false
  assert.isTrue(Exit.isSuccess(exit), `HEARTWOOD_SEED=${seed}, ${capacity} bytes: ${exit}`)
  return true
}

/** Seeds and capacities that failed once. */
const failedOnce = [
  // Values that were moved took all of the log, and an eviction the reserve behind it.
  [17, 241_664],
  [40, 225_280],
  // Opened without room for another segment, a reserve that was whole was taken for gone.
  [29, 110_592],
  [51, 110_592],
  // Nothing was free outside the page file, and plenty inside.
  [52, 110_592],
  // The last segment was behind the newest checkpoint, and not behind the one before it.
  [107, 110_592],
  // The log went on to its last segment, and nobody looked for the next before one was refused.
  [113, 188_416],
  [124, 135_168]
] as const

describe("a full disk", () => {
  it("is survived, whatever room there is", () => {
    const started = process.cpuUsage()
    for (let capacity = 0; capacity <= 256 * KiB; capacity += 4 * KiB) {
      if (survives(seed, capacity)) figures.capacities++
    }
    const cpuSeconds = process.cpuUsage(started).user / 1e6
    figure("R6 disks of every size", figures, { cpuSeconds })
    assert.isAbove(figures.refused, 50)
    assert.isAbove(figures.releases, 10)
    assert.isAbove(figures.resumed, figures.refused / 2)
    // Of disks that are hardly larger than what is set aside.
    assert.isBelow(figures.stuck, figures.refused / 10)
  }, 600_000)

  it.each(failedOnce)("is survived with seed %i and %i bytes", (seed, capacity) => {
    assert.isTrue(survives(seed, capacity))
  })
})

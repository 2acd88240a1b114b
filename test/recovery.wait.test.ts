/**
 * Recovery on a disk that takes its time: whoever waits for room sleeps, and does not ask again and again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { Schedule } from "./support/schedule.ts"
import { keyspaceOf, open } from "./support/storeDoor.ts"

const pageBytes = 1024

const options = {
  limits: {
    pageBytes,
    memoryBytes: 20 * pageBytes,
    stagingBytes: 4 * pageBytes,
    mergeWorkspaces: 1,
    loadsInFlight: 2,
    segmentBytes: 8192,
    undurableBytes: 4096,
    checkpoint: { logBytes: 1_048_576, hardLogBytes: 4_194_304 }
  }
}

/** Further away than a schedule lets time pass while anybody has work to do. */
const writeMillis = 700_000
const commits = 200

const value = new Uint8Array(400)
const keyOf = (number: number): Uint8Array =>
  Uint8Array.from(Buffer.from(`key ${String(number).padStart(6, "0")}`))

const fill = (store: Store.Store["Service"]) =>
  Effect.forEach(Array.from({ length: commits }, (_, index) => index), (index) =>
    Effect.provideService(
      Tx.commit()(keyspaceOf("one").put(keyOf(index * 7919 % 1009), value)),
      Store.Store,
      store
    ), { discard: true })

describe("recovery", () => {
  it("sleeps while room is made for what it applies", () => {
    const schedule = new Schedule(3)
    let writes = 0
    const program = Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { close, store } = yield* open(options)
      yield* fill(store)
      yield* faults.kill
      yield* close
      yield* faults.observe(({ operation, path }) => {
        if (operation === "write" && path.endsWith("/pages")) writes++
      })
      yield* faults.fail({
        operation: "write",
        path: /pages$/,
        times: Infinity,
        outcome: { _tag: "Delayed", millis: writeMillis }
      })
      const again = yield* open(options)
      yield* faults.heal
      yield* again.close
    })
    const exit = schedule.run(Effect.scoped(Effect.provide(program, layer())))
    assert.isTrue(Exit.isSuccess(exit), `${exit}`)
    assert.isAbove(writes, 3)
  })
})

/**
 * A serial that is sent twice at once is answered twice, wherever a fiber is taken off on its way into the line.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Session from "../src/Session.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { Schedule } from "./support/schedule.ts"
import { small, upTo } from "./support/stores.ts"

const schedules = 150
const serials = 6

const Records = Keyspace.bytes("records")

/** Sends each serial twice at once; answers what became of them. */
const send = (seed: number): ReadonlyArray<string> => {
  const schedule = new Schedule(seed)
  const body = Effect.andThen(schedule.pause, Records.put(new Uint8Array(1), new Uint8Array(1)))
  const program = Effect.scoped(Effect.gen(function*() {
    const session = yield* Session.open("sender")
    const once = (serial: number) =>
      Effect.map(Tx.once({ session, serial })(body), ({ _tag }) => `${serial} ${_tag}`)
    const answers = yield* Effect.forEach(
      upTo(serials),
      (index) => Effect.all([once(index + 1), once(index + 1)], { concurrency: "unbounded" })
    )
    return answers.flat().toSorted()
  }))
  const store = Layer.provide(
    Store.layerDisk({ path: "/store", durability: "memory", ...small }),
    MemoryDisk.layer
  )
  const exit = schedule.run(Effect.provide(program, store))
  assert.isTrue(Exit.isSuccess(exit), `HEARTWOOD_SEED=${seed}: ${exit}`)
  return Exit.isSuccess(exit) ? exit.value : []
}

describe("a serial that is sent twice at once", () => {
  it("commits once and is repeated once, whatever the order of fibers", () => {
    const expected = upTo(serials).flatMap((index) => [`${index + 1} Committed`, `${index + 1} Repeated`])
    for (let seed = 1; seed <= schedules; seed++) {
      assert.deepStrictEqual(send(seed), expected, `HEARTWOOD_SEED=${seed}`)
    }
  })
})

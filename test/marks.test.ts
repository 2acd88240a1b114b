/**
 * A mark tells in the log how far it is durable, where no group does any more that comes after it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import { layer } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { keyspaceOf, open } from "./support/storeDoor.ts"

const words = keyspaceOf("one")
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

describe("marks", () => {
  it.effect("are written when no commit has come for a while, once", () =>
    Effect.gen(function*() {
      const { close, store } = yield* open({ limits: { markDelayMillis: 10 } })
      const { counters } = store.machine.parts.wal
      const put = (key: string) =>
        words.put(bytes(key), bytes("value")).pipe(Tx.transact(), Effect.provideService(Store.Store, store))
      yield* TestClock.adjust(50)
      const before = counters.marks
      for (let n = 0; n < 20; n++) {
        yield* put(`key ${n}`)
        yield* TestClock.adjust(6)
      }
      assert.strictEqual(counters.marks, before, "the header of the next group says the same")
      yield* TestClock.adjust(14)
      assert.strictEqual(counters.marks, before + 1)
      yield* TestClock.adjust(1_000)
      assert.strictEqual(counters.marks, before + 1)
      yield* close
    }).pipe(Effect.provide(layer())))
})

/**
 * Promises of durability: shared by all who wait for the same sync, kept only when all is there that was asked for.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { Promised } from "../src/actors/commit/Promised.ts"
import { Waiters } from "../src/actors/commit/Waiters.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Raw from "../src/Raw.ts"
import { Closed, StoreError, storeError } from "../src/StoreError.ts"
import { random } from "./support/random.ts"
import { keyspaceOf, open } from "./support/storeDoor.ts"
import { passing } from "./support/storeSize.ts"

const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)

/** Lets promises that are kept or broken say so. */
const told = () => new Promise<void>((resolve) => setImmediate(resolve))

interface Asked {
  readonly lsn: number
  readonly promise: Promise<void>
  state: "waits" | "kept" | "broken"
}

describe("a promise of durability", () => {
  for (let index = 0; index < 30; index++) {
    it(`is kept when its LSN is durable and visible, no sooner (HEARTWOOD_SEED=${seed}, ${index})`, async () => {
      const chance = random(seed * 1_000 + index)
      const waiters = new Waiters()
      let [end, durable, visible, syncing, begun] = [10, 10, 10, 0, 0]
      const reached = () => Math.min(durable, visible)
      const promised = new Promised({ waiters, reached, end: () => end })
      const all: Array<Asked> = []
      const ask = (lsn: number): void => {
        const asked: Asked = { lsn, promise: promised.until(lsn, () => begun++), state: "waits" }
        asked.promise.then(() => asked.state = "kept", () => asked.state = "broken")
        all.push(asked)
      }
      for (let step = 0; step < 120; step++) {
        const kind = chance.int(6)
        if (kind === 0) end += chance.int(5)
        else if (kind === 1 && syncing === 0) {
          syncing = end
          promised.begun()
        } else if (kind === 2 && syncing > 0) {
          durable = syncing
          syncing = 0
        } else if (kind === 3) visible = Math.min(end, visible + chance.int(9))
        // Now and then somebody asks for what is old, or for what is not there yet.
        else ask(chance.bool(0.7) ? end : chance.int(end + 20))
        waiters.completeBelow("synced", reached())
        await told()
        // Who shares a promise with somebody who asked for more may wait longer than for itself.
        for (const { lsn, state } of all) if (lsn > reached()) assert.strictEqual(state, "waits", `${lsn}`)
      }
      durable = visible = end
      waiters.completeBelow("synced", reached())
      await told()
      for (const { lsn, state } of all) assert.strictEqual(state, lsn <= end ? "kept" : "waits", `${lsn}`)
      const waiting = all.filter(({ state }) => state === "waits")
      assert.isAbove(begun, 0)
      waiters.failAll(storeError(new Closed()))
      await told()
      for (const { state } of waiting) assert.strictEqual(state, "broken")
    })
  }

  it("is one for all who ask before a sync begins, and another after", () => {
    const waiters = new Waiters()
    const promised = new Promised({ waiters, reached: () => 5, end: () => 20 })
    let begun = 0
    const ask = (lsn: number) => promised.until(lsn, () => begun++)
    assert.strictEqual(ask(6), ask(20))
    const [first, unwritten] = [ask(7), ask(21)]
    assert.notStrictEqual(first, unwritten)
    assert.strictEqual(begun, 2)
    promised.begun()
    assert.notStrictEqual(ask(7), first)
    assert.strictEqual(ask(5), ask(1))
    assert.strictEqual(begun, 3)
  })

  for (const syncThread of ["pool", "caller"] as const) {
    it.effect(`of a raw door outlives a power cut, and is broken by a sync that fails: ${syncThread}`, () =>
      Effect.gen(function*() {
        const faults = yield* FaultDisk
        const key = (writer: number, count: number) => Buffer.from(`${writer} ${count}`)
        const { close, store } = yield* open({ syncThread })
        const raw = Raw.make(store.machine, keyspaceOf("one"))
        const acknowledged: Array<Buffer> = []
        const errors: Array<unknown> = []
        const writer = async (writer: number): Promise<void> => {
          for (let count = 0; count < 20; count++) {
            const lsn = raw.putUnsafe(key(writer, count), key(writer, count))
            await raw.awaitDurableUnsafe(lsn + 1)
            acknowledged.push(key(writer, count))
          }
        }
        yield* faults.fail({
          operation: "sync",
          path: /log-/,
          at: 25,
          times: Infinity,
          outcome: { _tag: "SyncFailed", pages: "dropped" }
        })
        const writers = Array.from(
          { length: 7 },
          (_, index) => writer(index).catch((error) => errors.push(error))
        )
        yield* Effect.promise(() => Promise.all(writers))
        assert.isAbove(acknowledged.length, 10)
        assert.isAtMost(acknowledged.length, 7 * 20)
        if (acknowledged.length < 7 * 20) assert.isNotEmpty(errors)
        for (const error of errors) assert.instanceOf(error, StoreError)
        yield* faults.cut({ keep: "nothing" })
        yield* Effect.raceFirst(close, passing)
        yield* faults.restart
        yield* faults.heal
        const again = yield* open({})
        const found = Raw.make(again.store.machine, keyspaceOf("one"))
        for (const each of acknowledged) {
          assert.deepStrictEqual(Buffer.from(found.getUnsafe(each) ?? []), each)
        }
        yield* again.close
        const late = yield* Effect.promise(() => found.awaitDurableUnsafe(1).catch((error: unknown) => error))
        assert.instanceOf(late, StoreError)
      }).pipe(Effect.provide(layer())))
  }
})

/**
 * Reading beside the owner: what is durable, and nothing is ever written.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Session from "../src/Session.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { directory, open, quiesce } from "./support/storeDoor.ts"
import { reasonOf, upTo } from "./support/stores.ts"
import { add, put, read, Words, words } from "./support/words.ts"

const options = { limits: { pageBytes: 1_024, segmentBytes: 4_096, memoryBytes: 512 * 1_024 } }

describe("a store that is only read", () => {
  it.effect("changes nothing on the disk, whatever it finds there", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { close, store } = yield* open(options)
      const owner = Effect.provideService(Store.Store, store)
      const session = yield* Effect.provideService(Session.open("a"), Store.Store, store)
      for (const n of upTo(60)) yield* owner(Tx.transact()(put(`${n}`)))
      yield* Tx.once({ session, serial: 1 })(owner(add("n")))
      // Written and not synced: a reader must leave that to its owner.
      yield* owner(Tx.transact({ durability: "buffered" })(put("last")))
      yield* quiesce(faults.operations)
      const reading = Effect.scoped(Effect.gen(function*() {
        const changes: Array<string> = []
        yield* faults.observe(({ operation, path }) => {
          if (!["open", "read", "list", "size", "kind", "close"].includes(operation)) {
            changes.push(`${operation} ${path}`)
          }
        })
        const reader = yield* Store.make({ path: directory, ...options }, "readOnly")
        yield* Effect.gen(function*() {
          assert.isTrue(yield* read(Words.has("59")))
          assert.isAtLeast(Array.from(yield* words).length, 60)
          const there = yield* Session.open("a")
          assert.strictEqual(there.serial, 1)
          assert.strictEqual(yield* reasonOf(Tx.transact()(put("x"))), "ReadOnly")
          assert.strictEqual(yield* reasonOf(Tx.once({ session: there, serial: 2 })(put("x"))), "ReadOnly")
          assert.strictEqual(yield* reasonOf(Session.end(there)), "ReadOnly")
          const raw = yield* Keyspace.bytes("bytes").raw
          const key = Buffer.from("x")
          for (const write of [() => raw.putUnsafe(key, key), () => raw.removeUnsafe(key)]) {
            const refused = Effect.try({ try: write, catch: (error) => error as StoreError })
            assert.strictEqual(yield* reasonOf(refused), "ReadOnly")
          }
        }).pipe(Effect.scoped, Effect.provideService(Store.Store, reader))
        return changes
      }))
      assert.deepStrictEqual(yield* reading, [])
      yield* Tx.once({ session, serial: 2 })(owner(add("n")))
      yield* close
    }).pipe(Effect.scoped, Effect.provide(layer())))
})

/**
 * Salvaging records that expire: with their time, and with what was merged into them while they counted.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as Codec from "../src/Codec.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Salvage from "../src/Salvage.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Verify from "../src/Verify.ts"
import { directory } from "./support/storeDoor.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Codec.bytes })
const Sums = Keyspace.make("sums", { key: Key.String, value: Codec.int, reducer: "sum" })

const options = { pageSize: "1 KiB", memory: "256 KiB", segmentSize: "16 KiB" } as const
const word = Buffer.from("word")
const second = 1_000

/** Two checkpoints in the middle, the rest in the log; what counts at each time is what was merged into. */
const lived = Effect.gen(function*() {
  const store = yield* Store.Store
  const write = Tx.transact()
  yield* write(Words.put("stays", word))
  yield* write(Words.put("late", word, { ttl: 100 * second }))
  yield* write(Words.put("early", word, { ttl: 4 * second }))
  yield* write(Sums.put("merged in time", 5, { ttl: 60 * second }))
  yield* write(Sums.put("merged too late", 5, { ttl: 3 * second }))
  yield* store.checkpoint
  yield* TestClock.adjust(2 * second)
  yield* write(Sums.put("merged and gone", 5, { ttl: 2 * second }))
  yield* write(Sums.merge("merged in time", 2))
  yield* write(Sums.merge("merged and gone", 2))
  yield* TestClock.adjust(8 * second)
  yield* write(Sums.merge("merged too late", 2))
})

const made = Effect.gen(function*() {
  const faults = yield* FaultDisk
  return yield* Effect.scoped(Effect.gen(function*() {
    const store = yield* Store.make({ ...options, path: directory })
    yield* Effect.provideService(lived, Store.Store, store)
    yield* store.awaitDurable(yield* store.visibleLsn)
    return faults.killImage()
  }))
}).pipe(Effect.provide(layer()))

const seen = Snapshot.read()(Effect.all({
  words: Effect.map(
    Effect.all(["stays", "late", "early"].map(Words.getEntry)),
    (entries) => entries.map((entry) => Option.isSome(entry) ? entry.value.expiry ?? "for ever" : "gone")
  ),
  sums: Effect.map(
    Effect.all(["merged in time", "merged too late", "merged and gone"].map(Sums.getEntry)),
    (entries) =>
      entries.map((entry) => Option.isSome(entry) ? [entry.value.value, entry.value.expiry] : "gone")
  )
}))

const salvaged = (image: Image) =>
  Effect.gen(function*() {
    assert.deepStrictEqual((yield* Verify.verifyDisk({ path: directory })).findings, [])
    const report = yield* Salvage.salvageDisk({ from: directory, to: "/salvaged", store: options })
    assert.isTrue(report.complete)
    assert.deepStrictEqual((yield* Verify.verifyDisk({ path: "/salvaged" })).findings, [])
    return yield* opened("/salvaged")
  }).pipe(Effect.provide(layer({ image })))

const opened = (path: string) =>
  Effect.scoped(Effect.gen(function*() {
    const store = yield* Store.make({ ...options, path })
    return yield* Effect.provideService(seen, Store.Store, store)
  }))

describe("what expires", () => {
  it.effect("is salvaged as it was, from a checkpoint and from the log", () =>
    Effect.gen(function*() {
      const begun = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const image = yield* made
      const expected = {
        words: ["for ever", begun + 100 * second, "gone"],
        sums: [[7, begun + 60 * second], [2, undefined], "gone"]
      }
      assert.deepStrictEqual(yield* Effect.provide(opened(directory), layer({ image })), expected)
      assert.deepStrictEqual(yield* salvaged(image), expected)
      yield* TestClock.adjust(70 * second)
      const later = yield* salvaged(image)
      assert.deepStrictEqual(later, { ...expected, sums: ["gone", [2, undefined], "gone"] })
    }))
})

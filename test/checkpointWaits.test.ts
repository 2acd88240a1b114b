/**
 * Commits that wait for a checkpoint, because the log may not grow: it begins and ends whoever waits.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { layer } from "../src/disk/FaultDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { upTo } from "./support/stores.ts"

const Rows = Keyspace.bytes("rows")

const limits = {
  pageBytes: 1_024,
  segmentBytes: 8_192,
  memoryBytes: 512 * 1_024,
  mailbox: 4,
  "checkpoint.logBytes": 16_384,
  "checkpoint.hardLogBytes": 32_768
}

describe("a checkpoint that commits wait for", () => {
  for (const durability of ["memory", "synced"] as const) {
    it.live(
      `begins though they fill the mailbox, and more wait for a place there (${durability})`,
      () =>
        Effect.gen(function*() {
          const store = yield* Store.make({ path: "/store", limits })
          // What they write is more than the log has room for between the bytes at which a checkpoint is asked for and
          // those at which commits wait for it.
          const put = (number: number) =>
            Rows.put(Buffer.from(String(number)), Buffer.alloc(200)).pipe(Tx.transact({ durability }))
          const all = Effect.forEach(upTo(400), put, { concurrency: "unbounded", discard: true })
          yield* Effect.provideService(all, Store.Store, store)
          assert.isAbove(store.machine.parts.checkpoint.counters.checkpoints, 2)
        }).pipe(Effect.scoped, Effect.provide(layer())),
      20_000
    )
  }
})

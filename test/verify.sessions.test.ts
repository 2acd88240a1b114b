/**
 * Verifying and salvaging a store with sessions: their serials must follow one another in the log, as recovery asks.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Salvage from "../src/Salvage.ts"
import * as Session from "../src/Session.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Verify from "../src/Verify.ts"
import { groupsOf, rechain } from "./support/forge.ts"
import { directory } from "./support/storeDoor.ts"
import { upTo } from "./support/stores.ts"

const options = { pageSize: "1 KiB", memory: "256 KiB", segmentSize: "16 KiB" } as const
const Words = Keyspace.bytes("words")

const work = Effect.gen(function*() {
  const store = yield* Store.Store
  for (const name of ["a", "b"]) {
    const session = yield* Session.open(name)
    for (const index of upTo(8)) {
      const serial = index + 1
      yield* Tx.once({ session, serial })(Words.put(Buffer.from(`${name} ${serial}`), Buffer.from(name)))
      if (serial === 4) yield* store.checkpoint
    }
    if (name === "a") yield* Session.end(session)
  }
})

const made = Effect.gen(function*() {
  const faults = yield* FaultDisk
  return yield* Effect.scoped(Effect.gen(function*() {
    const store = yield* Store.make({ ...options, path: directory })
    yield* Effect.provideService(Effect.scoped(work), Store.Store, store)
    yield* store.awaitDurable(yield* store.visibleLsn)
    return faults.killImage()
  }))
}).pipe(Effect.provide(layer()))

const looking = (image: Image) => Effect.provide(Verify.verifyDisk({ path: directory }), layer({ image }))

describe("a store with sessions", () => {
  it.live("is sound, and its records are salvaged", () =>
    Effect.gen(function*() {
      const image = yield* made
      assert.deepStrictEqual((yield* looking(image)).findings, [])
      const salvage = Salvage.salvageDisk({ from: directory, to: "/salvaged", store: options })
      const report = yield* Effect.provide(salvage, layer({ image }))
      assert.deepStrictEqual([report.complete, report.records], [true, 16])
    }))

  it.live("is not, where a serial is missing", () =>
    Effect.gen(function*() {
      const image = yield* made
      const path = image.paths().find((name) => name.includes("/log-")) as string
      const segment = Buffer.from(image.read(path) ?? [])
      // The last group whose record has a session: behind the headers of group and record stand id and serial.
      const at = groupsOf(segment).findLast((start) =>
        segment.readUInt8(start + 14) === 1 && (segment.readUInt8(start + 64 + 5) & 1) === 1
      ) as number
      segment.writeUInt32LE(segment.readUInt32LE(at + 96) + 1, at + 96)
      const { findings } = yield* looking(image.replace(path, rechain(segment, at)))
      assert.deepStrictEqual(
        findings.map(({ offset, path, subject }) => [subject, path, offset]),
        [["group", path, at + 64]]
      )
      assert.match(findings[0]?.expected ?? "", /^serial 8 of session \d+$/)
    }))
})

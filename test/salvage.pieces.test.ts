/**
 * Salvage of stores in whose log stand transactions that were written as pieces: what is lost of a checkpoint is filled
 * across them, and not where pieces are missing.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { fileOffset, segmentName } from "../src/log/Segment.ts"
import * as Salvage from "../src/Salvage.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import { Forge, groupsOf } from "./support/forge.ts"
import { upTo } from "./support/stores.ts"

const { directory, Words } = Broken
const { path: _, ...shape } = Broken.options
const options = { ...shape, limits: { ...shape.limits, transactionBytes: 8_192 } }
const target = "/salvaged"
const names = upTo(200).map((n) => `k${String(n).padStart(3, "0")}`)

const put = (value: string, words: ReadonlyArray<string> = names) =>
  Effect.forEach(words, (word) => Words.put(word, `${value} ${word} ${"x".repeat(60)}`), { discard: true })

/** What a body leaves in a store that is killed then. */
const made = <E>(body: Effect.Effect<unknown, E, Store.Store>, more: Partial<Store.Options> = {}) =>
  Effect.runSync(Effect.cached(Broken.onDisk(
    undefined,
    Effect.flatMap(FaultDisk, ({ killImage }) =>
      Broken.opened(
        Effect.gen(function*() {
          const { machine } = yield* Store.Store
          yield* body
          assert.isAbove(machine.parts.wal.streams.counters.pieces, 2)
          yield* Effect.sleep(5)
          return { image: killImage(), expected: yield* Broken.readAll }
        }),
        { ...options, path: directory, ...more }
      ))
  )))

/** Salvages an image with some slots zeroed; what is found is right, and what is not is listed. */
const salvaged = (image: Image, expected: ReadonlyArray<string>, slots: ReadonlyArray<number>) => {
  const forge = new Forge(image, directory)
  for (const slot of slots) forge.slot(slot).fill(0)
  const broken = image.replace(`${directory}/pages`, forge.pages)
  return Broken.onDisk(
    broken,
    Effect.gen(function*() {
      const report = yield* Salvage.salvageDisk({ from: directory, to: target, store: options })
      const found = yield* Broken.opened(Broken.readAll, { ...options, path: target })
      const lost = report.keyspaces.flatMap((keyspace) => keyspace.lost)
      const left = expected.filter((row) => {
        const key = Buffer.from(row.slice(0, row.indexOf("=")))
        return !lost.some(({ high, low }) =>
          Buffer.compare(low, key) <= 0 && (high === undefined || Buffer.compare(key, high) < 0)
        )
      })
      const known = new Set(expected)
      assert.deepStrictEqual(found.filter((row) => !known.has(row)), [], "nothing that is not so")
      const there = new Set(found)
      assert.deepStrictEqual(left.filter((row) => !there.has(row)), [], "nothing missing that is not listed")
      return report
    })
  )
}

/** Slots of leaves that stand in the newest checkpoint alone: the older one has others for their keys. */
const leaves = (image: Image): ReadonlyArray<number> => {
  const forge = new Forge(image, directory)
  const older = forge.older?.slots ?? 0
  return forge.leaves().map((id) => forge.slotOf(id)).filter((slot) => slot >= older).slice(0, 3)
}

/** One between the two checkpoints. */
const between = made(Effect.gen(function*() {
  const { checkpoint } = yield* Store.Store
  yield* put("first", names.slice(0, 40)).pipe(Tx.transact())
  yield* checkpoint
  yield* put("streamed").pipe(Tx.transact())
  yield* checkpoint
  yield* put("last", names.slice(0, 5)).pipe(Tx.transact())
}))

/** One that began before the older checkpoint and was committed after it. */
const across = made(
  Effect.gen(function*() {
    const { checkpoint } = yield* Store.Store
    yield* put("first", names.slice(0, 40)).pipe(Tx.transact())
    const begun = yield* Deferred.make<void>()
    const resume = yield* Deferred.make<void>()
    const fiber = yield* put("streamed").pipe(
      Effect.andThen(Deferred.succeed(begun, undefined)),
      Effect.andThen(Deferred.await(resume)),
      Effect.andThen(put("end", names.slice(190))),
      Tx.transact(),
      Effect.forkScoped
    )
    yield* Deferred.await(begun)
    yield* checkpoint
    yield* Deferred.succeed(resume, undefined)
    yield* Fiber.join(fiber)
    yield* checkpoint
    yield* put("last", names.slice(0, 5)).pipe(Tx.transact())
  }).pipe(Effect.scoped)
)

/** One that wrote to a keyspace before it cleared it, in a log that reaches back to its beginning. */
const cleared = made(
  Effect.gen(function*() {
    const { checkpoint } = yield* Store.Store
    yield* put("first").pipe(Tx.transact())
    yield* put("gone").pipe(
      Effect.andThen(Words.clear),
      Effect.andThen(put("streamed", names.slice(0, 120))),
      Tx.transact()
    )
    yield* checkpoint
    yield* checkpoint
  }),
  { segmentSize: "256 KiB", checkpoint: { logBytes: "512 KiB" } }
)

describe("a salvage of a log with pieces", () => {
  it.live("fills gaps across a transaction between the checkpoints", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* between
      const slots = leaves(image)
      assert.strictEqual(slots.length, 3)
      const report = yield* salvaged(image, expected, slots)
      assert.isAbove(report.findings.length, 0)
      assert.isTrue(report.complete)
    }))

  it.live("fills gaps across one that was open at the older checkpoint", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* across
      const slots = leaves(image)
      assert.strictEqual(slots.length, 3)
      assert.isTrue((yield* salvaged(image, expected, slots)).complete)
    }))

  it.live("lists what would have to be filled across one whose pieces are missing", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* across
      const { older } = new Forge(image, directory)
      assert.isDefined(older)
      const { sequence } = older.cut
      const path = `${directory}/${segmentName(sequence - 1)}`
      const segment = Buffer.from(image.read(path) ?? [])
      assert.isAbove(segment.length, 0, "the pieces begin in a segment before")
      const at = groupsOf(segment)[0] as number
      assert.strictEqual(at, fileOffset({ base: 0 } as never, 0))
      segment[at + 80] = (segment[at + 80] as number) ^ 1
      const report = yield* salvaged(image.replace(path, segment), expected, leaves(image))
      assert.isFalse(report.complete)
      assert.isAbove(report.keyspaces[0]?.lost.length ?? 0, 0)
      assert.isUndefined(report.log.break)
    }))

  it.live("leaves out what a transaction wrote before it cleared the keyspace", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* cleared
      assert.strictEqual(expected.length, 120)
      const forge = new Forge(image, directory)
      const slots = forge.leaves().map((id) => forge.slotOf(id))
      const report = yield* salvaged(image, expected, slots)
      assert.isTrue(report.complete)
      assert.strictEqual(report.records, 120)
    }))
})

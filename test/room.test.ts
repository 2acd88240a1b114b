/**
 * Room in a small memory: changes to leaves that are full and on the disk are merged without reading it over and over.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { layer } from "../src/disk/FaultDisk.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { keyspaceOf, open } from "./support/storeDoor.ts"
import { passing } from "./support/storeSize.ts"

const pageBytes = 1024
const options = {
  limits: {
    pageBytes,
    memoryBytes: 450 * pageBytes,
    segmentBytes: 65_536,
    mergeWorkspaces: 1,
    loadsInFlight: 4,
    checkpoint: { logBytes: 4_194_304, hardLogBytes: 16_777_216, records: 1_000_000 }
  }
}
const rows = keyspaceOf("one")
const count = 6_000
const keyOf = (index: number, more = ""): Uint8Array =>
  Buffer.from(`row ${String(index).padStart(6, "0")}${more}`)

/** Loads 6,000 rows in ascending order, so that leaves are full; answers reads and merges of what `change` does. */
const changed = (change: Effect.Effect<void, StoreError, Tx.Tx>, times: number) =>
  Effect.gen(function*() {
    const { close, store } = yield* open(options)
    const commit = <E>(body: Effect.Effect<void, E, Tx.Tx>) =>
      Effect.provideService(Tx.commit({ durability: "synced" })(body), Store.Store, store)
    for (let from = 0; from < count; from += 500) {
      const indices = Array.from({ length: 500 }, (_, index) => from + index)
      const value = Buffer.alloc(200, `value ${from} `)
      yield* commit(Effect.forEach(indices, (index) => rows.put(keyOf(index), value), { discard: true }))
    }
    yield* store.checkpoint
    const { loads, room } = store.machine.parts.buffer.counters
    const before = { loads: loads.loads, merges: room.merges, pages: store.machine.tree.pages.created }
    for (let time = 0; time < times; time++) yield* commit(change)
    yield* store.checkpoint
    const answer = {
      loads: loads.loads - before.loads,
      merges: room.merges - before.merges,
      pages: store.machine.tree.pages.created - before.pages
    }
    assert.deepStrictEqual((yield* store.inspect).violations, [])
    yield* close
    return answer
  }).pipe(Effect.raceFirst(passing), Effect.provide(layer({ seed: 1 })), Random.withSeed(1))

describe("room", () => {
  for (const seed of [1, 2, 3]) {
    it.effect(`rows that are added to full leaves cost a few reads for each merge (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const value = Buffer.alloc(200, "more")
        const some = Effect.suspend(() =>
          Effect.forEach(
            Array.from({ length: 300 }, () => keyOf(chance.int(count), `.${chance.int(100)}`)),
            (key) => rows.put(key, value),
            { discard: true }
          )
        )
        const { loads, merges } = yield* changed(some, 10)
        assert.isAbove(merges, 500)
        assert.isBelow(loads, 3 * merges)
      }))

    it.effect(`rows that are removed from full leaves split none (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const some = Effect.suspend(() =>
          Effect.forEach(
            Array.from({ length: 300 }, () => keyOf(chance.int(count))),
            (key) => rows.remove(key),
            {
              discard: true
            }
          )
        )
        const { loads, merges, pages } = yield* changed(some, 8)
        assert.isAbove(merges, 100)
        assert.isBelow(loads, 3 * merges)
        assert.strictEqual(pages, 0)
      }))

    it.effect(`rows that are overwritten in full leaves by rows as long split none (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const some = Effect.suspend(() =>
          Effect.forEach(
            Array.from({ length: 300 }, () => keyOf(chance.int(count))),
            (key) => rows.put(key, Buffer.alloc(197 + chance.int(4), "other")),
            { discard: true }
          )
        )
        const { merges, pages } = yield* changed(some, 8)
        assert.isAbove(merges, 100)
        assert.strictEqual(pages, 0)
      }))
  }
})

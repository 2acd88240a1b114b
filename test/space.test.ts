/**
 * The page file of a store that has become smaller: it is given back, whatever happens on the way.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import type { Fault } from "../src/disk/Faults.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { Epoch } from "../src/tree/memory/Epoch.ts"
import * as Tx from "../src/Tx.ts"
import type { Random as Chance } from "./support/random.ts"
import { random } from "./support/random.ts"
import { auditStore } from "./support/storeAudit.ts"
import type { Opened } from "./support/storeDoor.ts"
import { directory, dump, keyspaceOf, open, quiesce } from "./support/storeDoor.ts"
import { stateDifference } from "./support/storeModel.ts"
import { passing } from "./support/storeSize.ts"

const pageBytes = 1024
const optionsOf = (blocks: number): Parameters<typeof open>[0] => ({
  limits: {
    pageBytes,
    memoryBytes: blocks * pageBytes,
    segmentBytes: 65_536,
    mergeWorkspaces: 1,
    loadsInFlight: 4,
    checkpoint: { logBytes: 4_194_304, hardLogBytes: 16_777_216, records: 1_000_000 }
  }
})
const options = optionsOf(200)

const names = ["one"]
const rows = keyspaceOf("one")
const keyOf = (index: number): Uint8Array => Buffer.from(`row ${String(index).padStart(6, "0")}`)

const commit = (store: Store.Store["Service"], body: Effect.Effect<void, StoreError, Tx.Tx>) =>
  Effect.provideService(Tx.commit({ durability: "synced" })(body), Store.Store, store)

/** Some two thousand pages, all of them in a checkpoint. */
const fill = (store: Store.Store["Service"], count: number) =>
  Effect.gen(function*() {
    for (let from = 0; from < count; from += 500) {
      yield* commit(
        store,
        Effect.forEach(
          Array.from({ length: Math.min(500, count - from) }, (_, index) => from + index),
          (index) => rows.put(keyOf(index), Buffer.alloc(200, `value ${index} `)),
          { discard: true }
        )
      )
    }
    yield* store.checkpoint
  })

/** Merges all mini-pages: only then leaves become empty, and their pages free. */
const merge = (store: Store.Store["Service"]) =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const { parts: { buffer }, tree: { pages } } = store.machine
    const minis = (): Array<number> =>
      Array.from({ length: pages.map.bound }, (_, id) => id).filter((id) =>
        (pages.map.mini[id] as number) >= 0
      )
    for (let round = 0; round < 10 && minis().length > 0; round++) {
      pages.ripe.push(...minis())
      yield* buffer.reserve(1)
      yield* quiesce(faults.operations)
    }
    assert.deepStrictEqual(minis(), [])
  })

/** Removes what `keep` does not name, without a checkpoint. */
const thin = (store: Store.Store["Service"], count: number, keep: (index: number) => boolean) =>
  Effect.gen(function*() {
    const gone = Array.from({ length: count }, (_, index) => index).filter((index) => !keep(index))
    for (let from = 0; from < gone.length; from += 500) {
      const some = gone.slice(from, from + 500)
      yield* commit(store, Effect.forEach(some, (index) => rows.remove(keyOf(index)), { discard: true }))
    }
    yield* merge(store)
  })

const pageFileOf = (image: Image): Uint8Array => image.read(`${directory}/pages`) ?? new Uint8Array(0)

const audit = (store: Store.Store["Service"]): Effect.Effect<void, StoreError, FaultDisk> =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    yield* quiesce(faults.operations)
    assert.deepStrictEqual(auditStore(store.machine, pageFileOf(faults.killImage())).problems, [])
    assert.deepStrictEqual((yield* store.inspect).violations, [])
  })

const sizes = (opened: Opened) =>
  Effect.gen(function*() {
    const faults = yield* FaultDisk
    const { file } = yield* opened.store.stat
    const quarantined = opened.store.machine.parts.slots.quarantinedCount
    return { ...file, quarantined, length: pageFileOf(faults.killImage()).length / pageBytes }
  })

/** A store whose newest checkpoint leaves most of the file free, so that the next one moves pages. */
const thinned = (count: number, blocks = 200) =>
  Effect.gen(function*() {
    const opened = yield* open(optionsOf(blocks))
    yield* fill(opened.store, count)
    yield* opened.store.checkpoint
    yield* thin(opened.store, count, (index) => Math.floor(index / (count / 20)) % 5 === 4)
    yield* opened.store.checkpoint
    yield* opened.store.checkpoint
    return { opened, state: yield* dump(opened.store, names) }
  })

const close = ({ close }: Opened): Effect.Effect<void> => Effect.raceFirst(close, passing)

/** What is kept: scattered rows, or a few runs of them. */
const shapes: Record<string, (chance: Chance, count: number) => (index: number) => boolean> = {
  "scattered rows": (chance, count) => {
    const kept = new Set(Array.from({ length: count / 10 }, () => chance.int(count)))
    return (index) => kept.has(index)
  },
  "the oldest rows": (_, count) => (index) => index < count * 0.1,
  "the newest rows": (_, count) => (index) => index >= count * 0.9,
  "every tenth run": (_, count) => (index) => Math.floor(index / (count / 100)) % 10 === 9
}

describe("a store that lost most of its rows", () => {
  for (const [shape, keepOf] of Object.entries(shapes)) {
    it.effect(`gives the file back with four checkpoints: ${shape}`, () =>
      Effect.gen(function*() {
        const count = 6_000
        let opened = yield* open(options)
        yield* fill(opened.store, count)
        yield* opened.store.checkpoint
        const before = yield* sizes(opened)
        assert.isAbove(before.live, 1_000)
        yield* thin(opened.store, count, keepOf(random(1), count))
        const state = yield* dump(opened.store, names)
        for (let round = 1; round <= 4; round++) {
          yield* opened.store.checkpoint
          yield* audit(opened.store)
        }
        const after = yield* sizes(opened)
        assert.isAtMost(after.length, 1.6 * after.live)
        assert.isBelow(after.length, before.length / 2)
        yield* close(opened)
        opened = yield* open(options)
        assert.isUndefined(stateDifference(yield* dump(opened.store, names), state))
        yield* audit(opened.store)
        yield* close(opened)
      }).pipe(Effect.provide(layer({ seed: 1 })), Random.withSeed(1)))
  }
})

/** Operations that only look leave nothing else to be found than those before them. */
const changing = new Set(["write", "sync", "truncate"])

describe("a power cut while the file becomes shorter", () => {
  it.effect(
    "leaves every row, before any operation and whatever the disk kept",
    () =>
      Effect.gen(function*() {
        const faults = yield* FaultDisk
        const { opened, state } = yield* thinned(1_000)
        const before = yield* sizes(opened)
        const chance = random(1)
        const images: Array<{ readonly image: Image; readonly where: string }> = []
        const seen = new Map<string, number>()
        yield* faults.observe(({ number, operation, path }) => {
          if (!changing.has(operation)) return
          seen.set(operation, (seen.get(operation) ?? 0) + 1)
          for (
            const crash of [{ keep: "nothing" }, { keep: "everything" }, {
              seed: chance.int(2 ** 31)
            }] as const
          ) {
            const where = `before operation ${number} (${operation} ${path}), ${JSON.stringify(crash)}`
            images.push({ image: faults.crashImage(crash), where })
          }
        })
        for (let round = 0; round < 3; round++) yield* opened.store.checkpoint
        assert.isBelow((yield* sizes(opened)).length, before.length / 2)
        assert.strictEqual(seen.get("truncate"), 1)
        for (const { image, where } of images) {
          yield* Effect.gen(function*() {
            const again = yield* open(options)
            assert.isUndefined(stateDifference(yield* dump(again.store, names), state))
            yield* audit(again.store)
            // It goes on where it was stopped.
            for (let round = 0; round < 3; round++) yield* again.store.checkpoint
            const { length, live } = yield* sizes(again)
            assert.isAtMost(length, 1.6 * live)
            yield* audit(again.store)
          }).pipe(
            Effect.provide(layer({ image })),
            Effect.catchCause((cause) => Effect.die(new Error(`${where}: ${cause}`, { cause })))
          )
        }
        yield* close(opened)
        assert.isAbove(images.length, 40)
      }).pipe(Effect.scoped, Effect.provide(layer({ seed: 1 })), Random.withSeed(1)),
    120_000
  )
})

describe("a disk that fails while the file becomes shorter", () => {
  const outcomes: ReadonlyArray<readonly [string, Fault["outcome"], string]> = [
    ["a read", { _tag: "Refused", code: "EIO" }, "read"],
    ["a bit of what is read", { _tag: "Flipped", bit: 4_001 }, "read"],
    ["a write", { _tag: "Refused", code: "ENOSPC" }, "write"],
    ["part of a write", { _tag: "Short", bytes: 1_500, code: "EIO" }, "write"],
    ["a sync that drops its pages", { _tag: "SyncFailed", pages: "dropped" }, "sync"],
    ["a cut", { _tag: "Refused", code: "EIO" }, "truncate"]
  ]
  for (const [title, outcome, operation] of outcomes) {
    it.effect(`loses nothing, and is done later: ${title}`, () =>
      Effect.gen(function*() {
        let struck = 0
        for (let at = 1; at < 200; at++) {
          const again = yield* Effect.scoped(Effect.gen(function*() {
            const faults = yield* FaultDisk
            const { opened, state } = yield* thinned(1_000, 40)
            let operations = 0
            yield* faults.observe((each) => {
              if (each.operation === operation && each.path.endsWith("pages")) operations++
            })
            yield* faults.fail({ at, operation: operation as "read", path: /pages$/, outcome })
            for (let round = 0; round < 4; round++) {
              yield* Effect.raceFirst(Effect.exit(opened.store.checkpoint), passing)
              // What the cache still has hides what the disk lost.
              if (operation === "sync") yield* faults.dropCaches
            }
            const some = operations >= at
            yield* faults.heal
            for (let round = 0; round < 4; round++) yield* opened.store.checkpoint
            assert.isUndefined(stateDifference(yield* dump(opened.store, names), state))
            yield* audit(opened.store)
            const { length, live, quarantined } = yield* sizes(opened)
            assert.isAtMost(length, 1.6 * (live + quarantined))
            yield* close(opened)
            return some
          })).pipe(
            Effect.provide(layer({ seed: 1 })),
            Random.withSeed(1),
            Effect.catchCause((cause) => Effect.die(new Error(`${operation} ${at}: ${cause}`, { cause })))
          )
          if (!again) break
          struck++
        }
        assert.isAbove(struck, 0)
      }), 120_000)
  }
})

describe("a page that is moved while it is read", () => {
  /** Reads a page at the end of the file, very slowly, while three checkpoints give up where it was. */
  const slowly = (plant: (epoch: Epoch<number>) => void) =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { opened, state } = yield* thinned(5_000)
      const { machine } = opened.store
      const { parts: { slots }, tree: { pages: { map } } } = machine
      plant(slots.epoch)
      let page = 0
      for (let id = 1; id < map.bound; id++) {
        const better = (map.slot[id] as number) > (map.slot[page] as number)
        if (better && (map.block[id] as number) < 0) page = id
      }
      const slot = map.slot[page] as number
      assert.isAbove(slot, slots.slots / 2)
      yield* faults.fail({
        operation: "read",
        path: /pages$/,
        outcome: { _tag: "Delayed", millis: 60_000 }
      })
      const loading = yield* Effect.forkScoped(Effect.exit(machine.load(page)), { startImmediately: true })
      yield* quiesce(faults.operations)
      for (let round = 0; round < 3; round++) yield* opened.store.checkpoint
      assert.isBelow(map.slot[page] as number, slot, "it was moved")
      assert.isUndefined(loading.pollUnsafe(), "it is still being read")
      const before = yield* sizes(opened)
      yield* TestClock.adjust(60_000)
      const loaded = yield* Fiber.join(loading)
      yield* opened.store.checkpoint
      const after = yield* sizes(opened)
      assert.isUndefined(stateDifference(yield* dump(opened.store, names), state))
      yield* close(opened)
      return { loaded, slot, before, after }
    }).pipe(Effect.scoped, Effect.provide(layer({ seed: 1 })), Random.withSeed(1))

  it.effect("is found where it was, and its slot is given up when it has been read", () =>
    Effect.gen(function*() {
      const { after, before, loaded, slot } = yield* slowly(() => {})
      assert.isTrue(Exit.isSuccess(loaded))
      assert.isAbove(before.length, slot)
      assert.isBelow(after.length, slot)
    }))

  it.effect("would be lost if its slot were given up before", () =>
    Effect.gen(function*() {
      const { loaded } = yield* slowly((epoch) => Object.assign(epoch, { pin: () => 0, unpin: () => {} }))
      const error = Exit.findErrorOption(loaded)
      assert.strictEqual(error._tag === "Some" && error.value.reason._tag, "Corrupted")
    }))
})

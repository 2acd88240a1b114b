/**
 * Moving large values on a disk that fails or has rotten: what is right is kept, what is wrong is reported once, and
 * nothing is tried for ever.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { Disk } from "../src/disk/Disk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import { encodeSegment, SEGMENT_HEADER_BYTES, segmentName } from "../src/log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES } from "../src/log/Superblock.ts"
import * as Store from "../src/Store.ts"
import type { Reference, Root } from "../src/tree/Tree.ts"
import { figure } from "./support/figures.ts"
import {
  churn,
  get,
  holds,
  inStore,
  isShort,
  keyOf,
  log,
  machine,
  put,
  segmentBytes,
  settled,
  Values
} from "./support/large.ts"
import { random } from "./support/random.ts"
import { directory } from "./support/storeDoor.ts"
import { reasonOf } from "./support/stores.ts"
import { passing } from "./support/storeSize.ts"

/** Where a large value is. */
const referenceOf = (name: string) =>
  Effect.map(machine, (whole) => {
    const root = whole.root(Values, whole.visible()) as Root
    assert.strictEqual(whole.tree.get(root, keyOf(name), Infinity), 1)
    return whole.tree.foundReference() as Reference
  })

/** File and offset of a large value. */
const placeOf = (name: string) =>
  Effect.gen(function*() {
    const { parts } = yield* machine
    const place = parts.segments.placeOf((yield* referenceOf(name)).lsn)
    assert(place !== undefined)
    return { path: `${directory}/${segmentName(place.sequence)}`, offset: place.offset }
  })

/** The reports that are made while a body runs. */
const reports = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const { events } = yield* Store.Store
    const found: Array<Store.Relocated> = []
    const listening = Stream.runForEach(events, (event) =>
      Effect.sync(() => {
        if (event._tag === "Relocation") found.push(event.report)
      }))
    const fiber = yield* Effect.forkChild(listening, { startImmediately: true })
    yield* body
    yield* Fiber.interrupt(fiber)
    return found
  })

const errorsOf = (found: ReadonlyArray<Store.Relocated>) =>
  found.flatMap(({ error }) => error === undefined ? [] : [error.reason])

describe("a large value that is rotten", () => {
  it.effect("is left where it is, reported once, and holds the log only while it is there", () =>
    inStore(Effect.gen(function*() {
      const chance = random(1)
      const old = chance.bytes(1500)
      const model = new Map([["old", old]])
      yield* put("rotten", chance.bytes(1500))
      const { path, offset } = yield* placeOf("rotten")
      for (let index = 0; index < 4; index++) yield* put(`k${index}`, chance.bytes(1500))
      yield* put("old", old)
      yield* (yield* FaultDisk).overwrite(path, offset + 700, Uint8Array.of(1, 2, 3))
      const found = yield* reports(churn(chance, 100, model))
      assert.deepStrictEqual(errorsOf(found).map(({ _tag }) => _tag), ["Corrupted"])
      assert.nestedInclude(errorsOf(found)[0], { path })
      assert.strictEqual(yield* reasonOf(get("rotten")), "Corrupted")
      assert.isAbove((yield* log).bytes, 60_000)
      const { counters } = (yield* machine).parts.relocation
      const before = { ...counters }
      assert.deepStrictEqual(errorsOf(yield* reports(Effect.andThen(settled, settled))), [])
      assert.deepStrictEqual({ ...counters }, before)
      yield* put("rotten", old)
      yield* churn(chance, 20, model)
      yield* isShort
      yield* holds(model.set("rotten", old))
    })).pipe(Effect.provide(layer({ seed: 1 }))))

  it.effect("does not keep what lives before it from being moved", () =>
    inStore(Effect.gen(function*() {
      const chance = random(2)
      const old = chance.bytes(1500)
      const model = new Map([["old", old]])
      yield* put("old", old)
      for (let index = 0; index < 12; index++) yield* put("k1", chance.bytes(1500))
      yield* put("rotten", chance.bytes(1500))
      const { path, offset } = yield* placeOf("rotten")
      for (let index = 0; index < 4; index++) yield* put("k1", chance.bytes(1500))
      yield* (yield* FaultDisk).overwrite(path, offset + 700, Uint8Array.of(1, 2, 3))
      const { lsn } = yield* referenceOf("old")
      const found = yield* reports(churn(chance, 60, model))
      assert.isAbove((yield* referenceOf("old")).lsn, lsn)
      assert.deepStrictEqual(errorsOf(found).map(({ _tag }) => _tag), ["Corrupted"])
      assert.strictEqual(
        (yield* machine).parts.segments.list[0]?.sequence,
        Number.parseInt(path.slice(-16), 16)
      )
      yield* holds(model)
    })).pipe(Effect.provide(layer({ seed: 2 }))))
})

/** A store whose next checkpoint has much to be moved behind it, as its owner leaves it when it is killed. */
const prepared = (seed: number) =>
  Effect.gen(function*() {
    const chance = random(seed)
    const model = new Map<string, Uint8Array>()
    const faults = yield* FaultDisk
    const image = yield* inStore(
      Effect.gen(function*() {
        for (let step = 0; step < 30; step++) {
          const name = step % 3 === 0 ? `s${step}` : `k${step % 2}`
          model.set(name, chance.bytes(300 + chance.int(1500)))
          yield* put(name, model.get(name) as Uint8Array)
        }
        return faults.killImage()
      }),
      { checkpoint: { logBytes: 262_144, hardLogBytes: 1_048_576 } }
    )
    return { image, model }
  }).pipe(Effect.provide(Layer.fresh(layer({ seed }))))

describe("moving on a disk that fails", () => {
  const figures = { runs: 0, poisoned: 0, left: 0, moved: 0 }

  /** One operation fails while values are moved, or all from then on. */
  const attempt = (image: Image, model: ReadonlyMap<string, Uint8Array>, at: number, times: 1 | "always") =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      let struck = false
      yield* inStore(Effect.gen(function*() {
        const store = yield* Store.Store
        yield* faults.fail({
          at,
          ...(times === 1 ? {} : { times: Infinity }),
          outcome: { _tag: "Refused", code: "EIO" }
        })
        const found = yield* reports(Effect.raceFirst(Effect.exit(Effect.andThen(settled, settled)), passing))
        figures.runs++
        figures.left += errorsOf(found).length
        figures.moved += store.machine.parts.relocation.counters.values
        if (store.machine.parts.wal.ready()) struck = true
        else figures.poisoned++
        yield* faults.heal
        if (struck) yield* holds(model)
        // What is durable can be read, wherever moving came to.
        else for (const [name, value] of model) assert.deepStrictEqual(yield* get(name), value, name)
      })).pipe((body) => Effect.raceFirst(body, passing))
      yield* inStore(holds(model))
      return struck
    }).pipe(
      Effect.provide(Layer.fresh(layer({ image }))),
      Effect.catchCause((cause) => Effect.die(new Error(`operation ${at}, ${times}: ${cause}`, { cause })))
    )

  for (const times of [1, "always"] as const) {
    it.effect(`loses nothing and ends (${times})`, () =>
      Effect.gen(function*() {
        const { image, model } = yield* prepared(3)
        for (let at = 1; at < 60; at++) yield* attempt(image, model, at, times)
      }), 60_000)
  }

  it("was tried often", () => {
    figure("C3 faults while values are moved", figures)
    assert.isAbove(figures.poisoned, 10)
    assert.isAbove(figures.moved, 50)
  })
})

/** The image without its newest superblock. */
const withoutNewest = (image: Image): Image => {
  const path = `${directory}/super`
  const bytes = Buffer.from(image.read(path) ?? [])
  const versions = ([0, 1] as const).map((slot) => {
    const at = slot * SUPERBLOCK_BYTES
    const decoded = decodeSuperblock(bytes.subarray(at, at + SUPERBLOCK_BYTES), slot)
    return decoded._tag === "Valid" ? decoded.superblock.version : 0
  })
  bytes[(versions[0] as number) > (versions[1] as number) ? 100 : SUPERBLOCK_BYTES + 100]! ^= 1
  return image.replace(path, bytes)
}

describe("the older checkpoint", () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    it.effect(`serves though what it refers to was given up since (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const model = new Map([["old", chance.bytes(1500)]])
        const image = yield* inStore(Effect.gen(function*() {
          const faults = yield* FaultDisk
          yield* put("old", model.get("old") as Uint8Array)
          yield* churn(chance, 30 + chance.int(40), model)
          model.set("k1", chance.bytes(1500))
          yield* put("k1", model.get("k1") as Uint8Array)
          return faults.killImage()
        }))
        const body = Effect.gen(function*() {
          yield* inStore(Effect.gen(function*() {
            yield* holds(model)
            yield* churn(chance, 30, model)
            yield* holds(model)
          }))
          yield* inStore(holds(model))
        })
        yield* Effect.provide(body, Layer.fresh(layer({ image: withoutNewest(image) })))
      }).pipe(Effect.provide(layer({ seed }))))
  }
})

describe("a segment that was begun in vain", () => {
  it.effect("charges nothing, though values have its addresses now", () =>
    Effect.gen(function*() {
      const chance = random(1)
      const model = new Map<string, Uint8Array>()
      const faults = yield* FaultDisk
      const fill = (name: string) => {
        const value = chance.bytes(900)
        model.set(name, value)
        return put(name, value)
      }
      const opened = Effect.gen(function*() {
        yield* fill("a")
        const { checkpoint, tail: { end: base, segment } } = (yield* machine).parts
        const leftover = Buffer.alloc(SEGMENT_HEADER_BYTES + segmentBytes)
        const header = leftover.subarray(0, SEGMENT_HEADER_BYTES)
        const { storeId } = checkpoint.newest()
        encodeSegment({ ...segment, sequence: segment.sequence + 1, base }, storeId, header)
        yield* fill("b")
        yield* fill("c")
        const path = `${directory}/${segmentName(segment.sequence + 1)}`
        return { image: faults.killImage(), path, leftover }
      })
      const { image, leftover, path } = yield* inStore(opened)
      assert.notInclude(image.paths(), path)
      const after = Effect.gen(function*() {
        const file = yield* (yield* Disk).open(path, { mode: "create" })
        yield* file.write([leftover], 0)
        yield* file.close
        yield* inStore(holds(model))
      })
      yield* Effect.provide(after, Layer.fresh(layer({ image })))
    }).pipe(Effect.provide(layer({ seed: 1 }))))
})

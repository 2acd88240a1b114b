/**
 * Page images into slots, on a disk that fails: what counts as written is on the disk, and nobody waits for ever.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { SealedImage } from "../src/tree/file/PageFile.ts"
import type { Place } from "../src/tree/memory/MapChunk.ts"
import {
  closed,
  contentOf,
  errorOf,
  limits,
  pageBytes,
  patient,
  quiet,
  test,
  valueOf
} from "./support/flushWorld.ts"
import type { World } from "./support/flushWorld.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

describe("a write", () => {
  test("answers places in the order of its images, and leaves neighbours in one call", (world) =>
    Effect.gen(function*() {
      const images = world.images(100)
      const places = yield* world.flush.write(images)
      world.check(images, places)
      assert.strictEqual(new Set(places.map(({ slot }) => slot)).size, 100)
      assert.deepInclude(world.flush.counters, {
        images: 100,
        bytes: 100 * pageBytes,
        writes: 1,
        failures: 0
      })
      assert.deepStrictEqual(yield* world.flush.write([]), [])
    }))

  test("shares its calls with those that wait with it, and with nobody else", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({ operation: "write", outcome: { _tag: "Delayed", millis: 100 } })
      const first = world.images(3)
      const early = yield* world.fork(first)
      yield* quiet
      const later = [world.images(2), world.images(1), world.images(5)]
      const fibers = yield* Effect.forEach(later, (images) => world.fork(images))
      yield* quiet
      assert.strictEqual(world.flush.counters.writes, 1)
      assert.strictEqual(world.flush.waiting(), 3)
      yield* TestClock.adjust(100)
      world.check(first, valueOf(yield* Fiber.join(early)))
      for (const [index, fiber] of fibers.entries()) {
        world.check(later[index] as Array<SealedImage>, valueOf(yield* Fiber.join(fiber)))
      }
      assert.strictEqual(world.flush.counters.writes, 2)
    }))

  test("of more than a call may carry is cut", (world) =>
    Effect.gen(function*() {
      const images = world.images(2_500)
      world.check(images, yield* world.flush.write(images))
      assert.strictEqual(world.flush.counters.writes, 3)
    }))

  test("takes the slots that pages gave up", (world) =>
    Effect.gen(function*() {
      const places = yield* world.flush.write(world.images(10))
      const { slots } = world.slots
      for (const { slot } of places) world.pages.retired.push({ slot, version: 0 })
      const again = yield* world.flush.write(world.images(10))
      assert.strictEqual(world.slots.slots, slots)
      assert.sameMembers(again.map(({ slot }) => slot), places.map(({ slot }) => slot))
      assert.isEmpty(world.pages.retired)
      for (const { slot } of again) world.pages.retired.push({ slot, version: 2 })
      const third = yield* world.flush.write(world.images(10, 2))
      assert.notInclude(again.map(({ slot }) => slot), third[0]?.slot)
    }))
})

describe("what waits", () => {
  const staging = limits.stagingBytes / pageBytes

  test("is bounded by bytes: whoever has more waits for those before", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({
        operation: "write",
        times: Infinity,
        outcome: { _tag: "Delayed", millis: 10 }
      })
      const jobs = Array.from({ length: 9 }, () => world.images(staging / 4))
      const fibers = yield* Effect.forEach(jobs, (images) => world.fork(images))
      yield* quiet
      assert.strictEqual(world.flush.held(), limits.stagingBytes)
      assert.isAtMost(world.flush.waiting(), 4, "the others are not in the mailbox")
      for (let round = 0; round < 20; round++) {
        yield* Effect.andThen(TestClock.adjust(10), quiet)
        assert.isAtMost(world.flush.held(), limits.stagingBytes)
      }
      for (const [index, fiber] of fibers.entries()) {
        world.check(jobs[index] as Array<SealedImage>, valueOf(yield* Fiber.join(fiber)))
      }
      assert.strictEqual(world.flush.held(), 0)
    }))

  test("may be one write that is larger than the bound, and a failed one counts no more", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({ operation: "write", outcome: { _tag: "Refused", code: "ENOSPC" } })
      const fibers = [yield* world.fork(world.images(2 * staging)), yield* world.fork(world.images(1))]
      yield* patient
      errorOf(yield* Fiber.join(fibers[0] as typeof fibers[number]))
      valueOf(yield* Fiber.join(fibers[1] as typeof fibers[number]))
      assert.strictEqual(world.flush.held(), 0)
      const images = world.images(2 * staging)
      world.check(images, yield* world.flush.write(images))
    }))

  test("is refused when the store stops, in the mailbox or before it", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({ operation: "write", outcome: { _tag: "Delayed", millis: 10 } })
      const fibers = yield* Effect.forEach([1, 2, 3, 4], () => world.fork(world.images(staging / 2)))
      yield* quiet
      world.flush.stop(closed)
      yield* quiet
      for (const fiber of fibers.slice(1)) assert.strictEqual(errorOf(yield* Fiber.join(fiber)), closed)
      yield* TestClock.adjust(10)
      valueOf(yield* Fiber.join(fibers[0] as typeof fibers[number]))
    }))
})

describe("the end of the file", () => {
  const sizeOf = (world: World): number => contentOf(world.faults.killImage()).length / pageBytes
  const free = (world: World, places: ReadonlyArray<Place>): void => {
    for (const { slot } of places) world.pages.retired.push({ slot, version: 0 })
  }

  test("is given back where nothing uses it, with some slack and not below the floor", (world) =>
    Effect.gen(function*() {
      const { counters } = world.flush
      const images = world.images(100)
      const places = yield* world.flush.write(images)
      assert.strictEqual(sizeOf(world), 101)
      free(world, places.slice(90))
      assert.strictEqual(yield* world.flush.trim(0), 0, "not worth it")
      assert.strictEqual(world.slots.slots, 91)
      free(world, places.slice(10, 90))
      assert.strictEqual(yield* world.flush.trim(51), (101 - 59) * pageBytes)
      assert.deepEqual([world.slots.slots, sizeOf(world)], [51, 59])
      assert.strictEqual(yield* world.flush.trim(0), (59 - 19) * pageBytes)
      assert.deepEqual([world.slots.slots, sizeOf(world)], [11, 19])
      assert.strictEqual(yield* world.flush.trim(0), 0)
      assert.strictEqual(counters.truncations, 2)
      const more = world.images(50)
      const again = yield* world.flush.write(more)
      world.check([...images.slice(0, 10), ...more], [...places.slice(0, 10), ...again])
    }))

  test("is not cut while something is written there", (world) =>
    Effect.gen(function*() {
      free(world, yield* world.flush.write(world.images(200)))
      yield* world.faults.fail({ operation: "write", times: 3, outcome: { _tag: "Delayed", millis: 10 } })
      const images = [world.images(100), world.images(150)] as const
      const first = yield* world.fork(images[0])
      const trimmed = yield* Effect.forkScoped(world.flush.trim(0))
      const second = yield* world.fork(images[1])
      yield* quiet
      assert.strictEqual(world.flush.counters.truncations, 0)
      yield* patient
      world.check(images[0], valueOf(yield* Fiber.join(first)))
      world.check(images[1], valueOf(yield* Fiber.join(second)))
      assert.isAbove(yield* Fiber.join(trimmed), 0)
    }))

  test("stays where the disk refuses, and nothing else comes of it", (world) =>
    Effect.gen(function*() {
      const places = yield* world.flush.write(world.images(100))
      free(world, places.slice(1))
      yield* world.faults.fail({ operation: "truncate", outcome: { _tag: "Refused", code: "EIO" } })
      const error = yield* Effect.flip(world.flush.trim(0))
      assert.strictEqual(error.reason._tag, "DiskFailed")
      const images = world.images(3)
      world.check(images, yield* world.flush.write(images))
      assert.isAbove(yield* world.flush.trim(0), 0)
    }))
})

describe("a barrier", () => {
  for (let seed = 1; seed <= 15; seed++) {
    test(
      `covers every write that came before it, and ends in its turn (seed ${seed})`,
      (world) =>
        Effect.gen(function*() {
          const chance: Random = random(seed)
          yield* world.faults.fail({
            operation: ["write", "sync"],
            times: Infinity,
            rate: 0.5,
            outcome: { _tag: "Delayed", millis: 5 }
          })
          const ended: Array<number> = []
          const order: Array<number> = []
          const written: Array<{ readonly images: Array<SealedImage>; places: ReadonlyArray<Place> }> = []
          for (let job = 0; job < 40; job++) {
            order.push(job)
            if (chance.bool(0.3)) {
              const before = written.length
              yield* Effect.forkScoped(Effect.map(world.flush.barrier, () => {
                ended.push(job)
                const durable = contentOf(world.faults.crashImage({ keep: "nothing" }))
                for (const { images, places } of written.slice(0, before)) {
                  world.checkFile(durable, images, places)
                }
              }))
            } else {
              const entry = { images: world.images(1 + chance.int(3)), places: [] as ReadonlyArray<Place> }
              written.push(entry)
              yield* Effect.forkScoped(Effect.map(world.flush.write(entry.images), (places) => {
                entry.places = places
                ended.push(job)
              }))
            }
            if (chance.bool(0.3)) yield* quiet
            if (chance.bool(0.2)) yield* TestClock.adjust(5)
          }
          yield* Effect.repeat(Effect.andThen(TestClock.adjust(5), quiet), { times: 60 })
          assert.deepStrictEqual(ended, order)
        }),
      { seed }
    )
  }

  test("that fails makes every slot suspect that was written since the last good one", (world) =>
    Effect.gen(function*() {
      const slotsOf = (places: ReadonlyArray<Place>) => places.map(({ slot }) => slot)
      yield* world.flush.write(world.images(3))
      yield* world.flush.barrier
      assert.isEmpty([...world.flush.suspects])
      const doubtful = slotsOf(yield* world.flush.write(world.images(4)))
      doubtful.push(...slotsOf(yield* world.flush.write(world.images(2))))
      yield* world.faults.fail({ operation: "sync", outcome: { _tag: "SyncFailed", pages: "dropped" } })
      const error = yield* Effect.flip(world.flush.barrier)
      assert.strictEqual(error.reason._tag, "DiskFailed")
      assert.sameMembers([...world.flush.suspects], doubtful)
      const sure = slotsOf(yield* world.flush.write(world.images(1)))
      yield* world.flush.barrier
      assert.sameMembers([...world.flush.suspects], doubtful, "a later success says nothing of them")
      assert.notInclude([...world.flush.suspects], sure[0])
      assert.strictEqual(world.flush.counters.syncs, 3)
      // They were right to be doubted: the medium never got them.
      yield* world.faults.dropCaches
      const file = contentOf(world.faults.killImage())
      for (const slot of doubtful) {
        assert.isTrue(file.subarray(slot * pageBytes, (slot + 1) * pageBytes).every((byte) => byte === 0))
      }
    }))
})

describe("stop", () => {
  test("while it works replies to all: to those who wait at once, to the job under way when it ends", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({ operation: "write", outcome: { _tag: "Delayed", millis: 100 } })
      const images = world.images(2)
      const working = yield* world.fork(images)
      yield* quiet
      const waiting = yield* Effect.forEach([1, 2], () => world.fork(world.images(1)))
      const barrier = yield* Effect.forkScoped(Effect.exit(world.flush.barrier))
      yield* quiet
      world.flush.stop(closed)
      yield* quiet
      for (const fiber of waiting) assert.strictEqual(errorOf(yield* Fiber.join(fiber)), closed)
      assert.strictEqual(errorOf(yield* Fiber.join(barrier)), closed)
      assert.isUndefined(working.pollUnsafe())
      yield* TestClock.adjust(100)
      world.check(images, valueOf(yield* Fiber.join(working)))
      assert.strictEqual(yield* Effect.flip(world.flush.write(world.images(1))), closed)
      assert.strictEqual(yield* Effect.flip(world.flush.barrier), closed)
      assert.strictEqual(world.flush.counters.writes, 1)
    }))

  test("more requests than the mailbox holds all get their reply", (world) =>
    Effect.gen(function*() {
      const jobs = Array.from({ length: 3 * limits.mailbox }, () => world.images(1))
      const exits = yield* Effect.forEach(jobs, (images) => Effect.exit(world.flush.write(images)), {
        concurrency: "unbounded"
      })
      const file = contentOf(world.faults.killImage())
      for (const [index, exit] of exits.entries()) world.checkFile(file, jobs[index] ?? [], valueOf(exit))
    }))
})

/**
 * Page images into slots where the device answers with errors: no slot is lost, and what was answered is on the disk.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import type { SealedImage } from "../src/tree/file/PageFile.ts"
import type { Place } from "../src/tree/memory/MapChunk.ts"
import { errorOf, patient, quiet, test, valueOf } from "./support/flushWorld.ts"
import { random } from "./support/random.ts"
import { watched } from "./support/watchedFile.ts"

describe("an error of the device", () => {
  test("sets the slot aside and writes the image elsewhere", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({ operation: "write", outcome: { _tag: "Refused", code: "EIO" } })
      const images = world.images(4)
      const fiber = yield* world.fork(images)
      yield* patient
      const places = valueOf(yield* Fiber.join(fiber))
      world.check(images, places)
      assert.strictEqual(world.slots.quarantinedCount, 4)
      assert.strictEqual(world.slots.liveSlots, 4)
      for (let slot = 1; slot <= 4; slot++) assert.strictEqual(world.slots.stateOf(slot), "quarantined")
      assert.deepInclude(world.flush.counters, { writes: 2, failures: 1, images: 4 })
    }))

  test("costs only the run that it struck", (world) =>
    Effect.gen(function*() {
      // Every other slot is free: no two images are neighbours.
      const before = yield* world.flush.write(world.images(10))
      for (const { slot } of before) if (slot % 2 === 0) world.pages.retired.push({ slot, version: 0 })
      yield* world.faults.fail({
        operation: "write",
        at: 3,
        outcome: { _tag: "Short", bytes: 100, code: "EIO" }
      })
      const images = world.images(5)
      const fiber = yield* world.fork(images)
      yield* patient
      world.check(images, valueOf(yield* Fiber.join(fiber)))
      assert.strictEqual(world.slots.quarantinedCount, 1)
      assert.strictEqual(world.slots.liveSlots, 10)
      assert.strictEqual(world.flush.counters.writes, 1 + 5 + 1)
    }))

  test("everywhere fails the job after three attempts, and keeps no slot for it", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({
        operation: "write",
        times: Infinity,
        outcome: { _tag: "Refused", code: "EIO" }
      })
      const fiber = yield* world.fork(world.images(4))
      yield* patient
      const error = errorOf(yield* Fiber.join(fiber))
      assert.strictEqual(error.reason._tag, "DiskFailed")
      assert.strictEqual(world.flush.counters.writes, 3)
      assert.strictEqual(world.slots.liveSlots, 0)
      yield* world.faults.heal
      const images = world.images(4)
      world.check(images, yield* world.flush.write(images))
    }))

  for (const code of ["ENOSPC", "EROFS", "EBADF", "EDQUOT"]) {
    test(`that another slot cannot help fails the job at once and releases its slots (${code})`, (world) =>
      Effect.gen(function*() {
        yield* world.faults.fail({ operation: "write", outcome: { _tag: "Short", bytes: 1_500, code } })
        const error = yield* Effect.flip(world.flush.write(world.images(4)))
        assert.strictEqual(error.reason._tag === "DiskFailed" && error.reason.code, code)
        assert.strictEqual(world.slots.liveSlots, 0)
        assert.strictEqual(world.slots.freeCount, 4)
        assert.strictEqual(world.slots.quarantinedCount, 0)
        assert.deepInclude(world.flush.counters, { writes: 1, images: 0 })
        const images = world.images(4)
        world.check(images, yield* world.flush.write(images))
        assert.strictEqual(world.slots.slots, 5)
      }))
  }

  test("fails everybody who shared the job, each once", (world) =>
    Effect.gen(function*() {
      yield* world.faults.fail({ operation: "write", outcome: { _tag: "Delayed", millis: 10 } })
      yield* world.faults.fail({ operation: "write", at: 2, outcome: { _tag: "Refused", code: "ENOSPC" } })
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.tap(world.fork(world.images(2)), quiet))
      yield* TestClock.adjust(10)
      assert.strictEqual(valueOf(yield* Fiber.join(fibers[0] as typeof fibers[number])).length, 2)
      for (const fiber of fibers.slice(1)) {
        assert.strictEqual(errorOf(yield* Fiber.join(fiber)).reason._tag, "DiskFailed")
      }
      assert.strictEqual(world.slots.liveSlots, 2)
    }))

  for (let seed = 1; seed <= 25; seed++) {
    test(
      `leaves what was answered on the disk, and loses no slot (seed ${seed})`,
      (world) =>
        Effect.gen(function*() {
          const chance = random(seed)
          yield* world.faults.fail({
            operation: "write",
            times: Infinity,
            rate: 0.25,
            outcome: { _tag: "Short", bytes: chance.int(5_000), code: "EIO" }
          })
          const held: Array<{ readonly image: SealedImage; readonly place: Place }> = []
          let failed = 0
          for (let round = 0; round < 30; round++) {
            while (held.length > 0 && chance.bool(0.6)) {
              const [gone] = held.splice(chance.int(held.length), 1)
              world.pages.retired.push({ slot: gone?.place.slot ?? 0, version: 0 })
            }
            const jobs = Array.from({ length: 1 + chance.int(4) }, () => world.images(1 + chance.int(6)))
            const fibers = yield* Effect.forEach(jobs, (images) => world.fork(images))
            yield* patient
            for (const [index, fiber] of fibers.entries()) {
              const images = jobs[index] as Array<SealedImage>
              const exit = yield* Fiber.join(fiber)
              if (Exit.isSuccess(exit)) {
                images.forEach((image, at) => held.push({ image, place: exit.value[at] as Place }))
              } else failed++
            }
            world.check(held.map(({ image }) => image), held.map(({ place }) => place))
            assert.strictEqual(world.slots.liveSlots, held.length + world.pages.retired.length)
          }
          assert.isAbove(world.slots.quarantinedCount, 0)
          assert.isBelow(failed, 30)
        }),
      { seed }
    )
  }

  test("is tried again after a while that grows tenfold", (world) =>
    Effect.gen(function*() {
      const { counters } = world.flush
      yield* world.faults.fail({ operation: "write", times: 2, outcome: { _tag: "Refused", code: "EIO" } })
      const images = world.images(3)
      const fiber = yield* world.fork(images)
      const after = (millis: number) => Effect.andThen(TestClock.adjust(millis), quiet)
      yield* quiet
      assert.deepInclude(counters, { writes: 1, failures: 1 })
      yield* after(9)
      assert.strictEqual(counters.writes, 1)
      yield* after(1)
      assert.deepInclude(counters, { writes: 2, failures: 2 })
      yield* after(99)
      assert.strictEqual(counters.writes, 2)
      yield* after(1)
      assert.deepInclude(counters, { writes: 3, failures: 2, images: 3 })
      world.check(images, valueOf(yield* Fiber.join(fiber)))
    }))

  const defect = new Error("broken")
  test("is not tried for ever where it is a defect", (world) =>
    Effect.gen(function*() {
      const fiber = yield* world.fork(world.images(2))
      yield* Effect.repeat(patient, { times: 5 })
      const exit = fiber.pollUnsafe()
      assert.isDefined(exit, "still trying")
      const inner = valueOf(yield* Fiber.await(fiber))
      assert.isTrue(Exit.hasDies(inner))
    }), { wrap: (file) => watched(file, { write: () => Effect.die(defect) }) })
})

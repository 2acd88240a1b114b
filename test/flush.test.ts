/**
 * Page images into slots, on a disk that fails: what counts as written is on the disk, and nobody waits for ever.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Flush from "../src/actors/Flush.ts"
import { Disk } from "../src/disk/Disk.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image as DiskImage } from "../src/disk/FaultDisk.ts"
import { resolve } from "../src/Limits.ts"
import { Closed, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import { Arena } from "../src/tree/Arena.ts"
import type { Place } from "../src/tree/MapChunk.ts"
import { PageFile } from "../src/tree/PageFile.ts"
import type { SealedImage } from "../src/tree/PageFile.ts"
import { Pages } from "../src/tree/Pages.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"

const pageBytes = 1024
const resolved = resolve({ pageBytes })
const limits = "limits" in resolved ? resolved.limits : assert.fail("limits")
const closed = storeError(new Closed())

const contentOf = (disk: DiskImage): Uint8Array => disk.read("/pages") ?? new Uint8Array(0)

/** A flush worker, its disk, and what each slot must hold. */
class World {
  readonly flush: Flush.Flush
  readonly slots: PageFile
  readonly pages: Pages
  readonly faults: FaultDisk["Service"]
  readonly failures: Array<unknown>
  private next = 1

  constructor(options: Omit<World, "next" | "images" | "write" | "check" | "checkFile" | "fork">) {
    this.flush = options.flush
    this.slots = options.slots
    this.pages = options.pages
    this.faults = options.faults
    this.failures = options.failures
  }

  /** Images that can be told from each other. */
  images(count: number, version = 1): Array<SealedImage> {
    return Array.from({ length: count }, () => {
      const bytes = new Uint8Array(pageBytes).fill(this.next & 255)
      new DataView(bytes.buffer).setUint32(0, this.next)
      return { bytes, version, checksum: this.next++ }
    })
  }

  /** Writes images beside the test. */
  fork(images: ReadonlyArray<SealedImage>) {
    return Effect.forkScoped(Effect.exit(this.flush.write(images)))
  }

  /** Whether the images stand in their places, in this view of the page file. */
  checkFile(file: Uint8Array, images: ReadonlyArray<SealedImage>, places: ReadonlyArray<Place>): void {
    assert.strictEqual(places.length, images.length)
    for (const [index, { bytes, checksum }] of images.entries()) {
      const place = places[index] as Place
      assert.strictEqual(place.checksum, checksum)
      const found = file.subarray(place.slot * pageBytes, (place.slot + 1) * pageBytes)
      assert.isTrue(Buffer.from(bytes).equals(found), `image ${checksum} in slot ${place.slot}`)
      assert.strictEqual(this.slots.stateOf(place.slot), "live")
    }
  }

  check(images: ReadonlyArray<SealedImage>, places: ReadonlyArray<Place>): void {
    this.checkFile(contentOf(this.faults.killImage()), images, places)
  }
}

/** Runs a body with a flush worker on a fresh disk. */
const test = (
  title: string,
  body: (world: World) => Effect.Effect<unknown, unknown, Scope.Scope>,
  options: { readonly seed?: number; readonly wrap?: (file: DiskFile) => DiskFile } = {}
) =>
  it.effect(title, () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      const faults = yield* FaultDisk
      const opened = yield* disk.open("/pages", { mode: "create" })
      yield* disk.syncDirectory("/")
      const file = options.wrap?.(opened) ?? opened
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const slots = new PageFile()
      const pages = new Pages(new Arena({ pageBytes, blocks: 4, chunkBytes: 4 * pageBytes }), { epoch: 1 })
      const failures: Array<unknown> = []
      const flush = yield* Flush.make({
        file,
        slots,
        pages,
        limits,
        fork: (effect) => void run(effect),
        failed: (cause) => failures.push(cause)
      })
      yield* body(new World({ flush, slots, pages, faults, failures }))
      assert.isEmpty(failures)
    }).pipe(Effect.scoped, Effect.provide(layer({ seed: options.seed ?? 1 }))))

const quiet = Effect.repeat(Effect.yieldNow, { times: 20 })
/** Lets what retries do so. */
const patient = Effect.repeat(Effect.andThen(TestClock.adjust(2_000), quiet), { times: 4 })
const valueOf = <A>(exit: Exit.Exit<A, StoreError>): A =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(`failed: ${exit.cause}`)
const errorOf = <A>(exit: Exit.Exit<A, StoreError>): StoreError => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? error.value : assert.fail("no error")
}

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

/** A file whose operations are replaced here and there. */
const watched = (file: DiskFile, changes: Partial<DiskFile>): DiskFile => ({
  path: file.path,
  counters: file.counters,
  read: (buffer, position) => file.read(buffer, position),
  readSync: (buffer, position) => file.readSync(buffer, position),
  write: (buffers, position) => file.write(buffers, position),
  writeSync: (buffers, position) => file.writeSync(buffers, position),
  sync: file.sync,
  syncSync: () => file.syncSync(),
  size: file.size,
  allocate: (bytes) => file.allocate(bytes),
  truncate: (bytes) => file.truncate(bytes),
  close: file.close,
  ...changes
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

/**
 * Room in memory: who waits for it is told when it is there, and when there will be none; pages are read once, and what
 * gives memory back goes first.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Buffer_ from "../src/actors/Buffer.ts"
import { attemptsMax } from "../src/actors/buffer/Room.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import type { StoreError } from "../src/StoreError.ts"
import { Budget } from "../src/tree/memory/Budget.ts"
import { Epoch } from "../src/tree/memory/Epoch.ts"
import { State } from "../src/tree/memory/MapTable.ts"
import type { Image } from "../src/tree/memory/Pages.ts"
import { Kind } from "../src/tree/Tree.ts"
import { failure, leaves, limits, pageBytes, Rig } from "./support/bufferRig.ts"
import type { Write } from "./support/bufferRig.ts"
import { passing } from "./support/storeSize.ts"
import { bytes } from "./support/world.ts"

const startNow = { startImmediately: true } as const
const nothingToWrite: Write = () => Effect.die("there is nothing to write")

const reasonOf = (exit: Exit.Exit<void, StoreError>): string | undefined => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? error.value.reason._tag : undefined
}

/** Lets everything happen that does not wait for time. */
const settled = Effect.promise(() => new Promise((resolve) => setImmediate(resolve))).pipe(
  Effect.repeat({ times: 5 })
)

describe("room", () => {
  it.effect("is made by writing changed pages", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      const buffer = yield* rig.make()
      yield* buffer.reserve(3)
      assert.isAtLeast(rig.pages.arena.available, 3)
      assert.isAtLeast(buffer.counters.room.evictionWrites, 3)
      for (let id = 1; id <= leaves; id++) {
        yield* buffer.load(id)
        assert.strictEqual(rig.get(id), `value ${id}`)
      }
    }))

  it.effect("is refused where changed pages cannot be written, and there again for who comes later", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      let attempts = 0
      let broken = true
      const buffer = yield* rig.make((images) =>
        Effect.suspend(() => {
          attempts++
          return broken ? Effect.fail(failure) : rig.write(images)
        })
      )
      const refused = yield* Effect.raceFirst(Effect.exit(buffer.reserve(3)), passing)
      assert.strictEqual(reasonOf(refused), "DiskFailed")
      assert.strictEqual(attempts, attemptsMax)
      broken = false
      yield* Effect.raceFirst(buffer.reserve(3), passing)
      assert.isAtLeast(rig.pages.arena.available, 3)
    }))

  it.effect("is not asked of a failing disk again before a while has passed, each time twice as long", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      let attempts = 0
      const buffer = yield* rig.make(() =>
        Effect.suspend(() => {
          attempts++
          return Effect.fail(failure)
        })
      )
      const waiting = yield* Effect.forkChild(Effect.exit(buffer.reserve(3)), startNow)
      yield* settled
      const seen: Array<number> = []
      for (const millis of [0, 49, 1, 99, 1, 199, 1]) {
        yield* TestClock.adjust(millis)
        yield* settled
        seen.push(attempts)
      }
      assert.deepStrictEqual(seen, [1, 1, 2, 2, 3, 3, 4])
      assert.strictEqual(reasonOf(yield* Fiber.join(waiting)), "DiskFailed")
    }))

  it.effect("is refused where every page is in use", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      rig.keep(1, 2, 3, 4, 5, 6, 7, 8)
      const buffer = yield* rig.make(nothingToWrite)
      assert.strictEqual(reasonOf(yield* Effect.exit(buffer.reserve(1))), "LimitExceeded")
    }))

  it.effect("is refused where nothing may be written", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      const context = yield* Effect.context<never>()
      const buffer = yield* Buffer_.make({
        tree: rig.tree,
        budget: new Budget(rig.tree.pages.arena, limits.memoryBytes),
        file: new Proxy({} as DiskFile, {}),
        limits,
        epoch: new Epoch<number>(() => {}),
        rootOf: (treeId) => rig.roots.get(treeId),
        fork: (effect) => void Effect.runForkWith(context)(effect),
        write: undefined,
        damaged: () => {},
        failed: (cause) => {
          throw cause
        }
      })
      assert.strictEqual(
        reasonOf(yield* Effect.exit(buffer.reserve(1)).pipe(Effect.raceFirst(passing))),
        "LimitExceeded"
      )
    }))

  it.effect("is not made of the page that it is needed beside", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      const buffer = yield* rig.make()
      rig.keep(1, 2, 3, 4)
      // One guest stays in any case: whoever asked for a page finds it.
      yield* buffer.reserve(2, 5)
      assert.isTrue(rig.isInMemory(5))
      assert.strictEqual(reasonOf(yield* Effect.exit(buffer.reserve(3, 5))), "LimitExceeded")
      yield* buffer.reserve(3)
      assert.isFalse(rig.pages.kept.has(5), "who was refused keeps nothing")
    }))

  it.effect("is found in pages that a checkpoint has written", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      const buffer = yield* rig.make(() => Effect.die("everything is on its way already"))
      const images: Array<Image> = []
      for (const id of rig.pages.cut().pending) rig.pages.capture(id, images)
      assert.strictEqual(images.length, leaves)
      const waiting = yield* Effect.forkChild(buffer.reserve(2), startNow)
      for (const image of images) rig.land(image)
      buffer.relieved()
      yield* Fiber.join(waiting)
      assert.isAtLeast(rig.pages.arena.available, 2)
    }))

  it.effect("is made by guests alone while as many merges wait as may", () =>
    Effect.gen(function*() {
      const count = 60
      const rig = new Rig(12)
      const ids = rig.writeManyBlind(count)
      const buffer = yield* rig.make(rig.write, { mergesMax: 4 })
      const { room } = buffer.counters
      // Other trees, dirty guests and mini-pages fill memory: what is merged has to leave for the next.
      rig.pages.ripe.push(...ids)
      const waiting = yield* Effect.forkChild(buffer.reserve(2), startNow)
      // Merges whose base pages find no room wait for ever: no clock tells, but that nothing more is done.
      for (let idle = 0, last = -1; room.merges < count && idle < 20; idle++) {
        if (room.merges + room.evictionWrites + rig.reads.length !== last) idle = 0
        last = room.merges + room.evictionWrites + rig.reads.length
        yield* settled
      }
      assert.strictEqual(room.merges, count)
      yield* Fiber.join(waiting)
      assert.isTrue(ids.every((id) => (rig.pages.map.mini[id] as number) < 0))
    }))

  it.effect("is given to the reader that can be served when the writer is refused", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      rig.evict(5)
      rig.keep(1, 2, 3, 4, 6, 7, 8)
      const gate = yield* Deferred.make<void>()
      rig.reading = Deferred.await(gate)
      const buffer = yield* rig.make(nothingToWrite)
      const load = yield* Effect.forkChild(Effect.exit(buffer.load(5)), startNow)
      const reserve = yield* Effect.forkChild(Effect.exit(buffer.reserve(2, 8)), startNow)
      yield* settled
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(reasonOf(yield* Fiber.join(reserve)), "LimitExceeded")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(load)))
      assert.strictEqual(rig.get(5), "value 5")
    }))
})

describe("a load", () => {
  it.effect("is one read, however many wait for it", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      rig.evict(3)
      const gate = yield* Deferred.make<void>()
      rig.reading = Deferred.await(gate)
      const buffer = yield* rig.make()
      const loads: Array<Fiber.Fiber<void, StoreError>> = []
      for (let index = 0; index < 20; index++) loads.push(yield* Effect.forkChild(buffer.load(3), startNow))
      yield* settled
      yield* Deferred.succeed(gate, undefined)
      for (const load of loads) yield* Fiber.join(load)
      assert.deepStrictEqual(rig.pagesRead, [3])
      assert.deepInclude(buffer.counters.loads, { loads: 1, loadBytes: pageBytes })
      assert.strictEqual(buffer.counters.loads.by.read, 1)
    }))

  it.effect("leaves alone a page that moved on while it was read", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      rig.evict(3)
      const gate = yield* Deferred.make<void>()
      rig.reading = Deferred.await(gate)
      const buffer = yield* rig.make()
      const load = yield* Effect.forkChild(buffer.load(3), startNow)
      yield* settled
      assert.isTrue(buffer.loadNow(3))
      const root = rig.roots.get(3) ?? assert.fail("no tree")
      rig.pages.admit(3)
      rig.tree.put(root, bytes("key"), Kind.Value, bytes("newest"), 9)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(load)
      assert.strictEqual(rig.get(3), "newest")
    }))

  it.effect("reads nothing for a page that is gone when its turn comes", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      const buffer = yield* rig.make(nothingToWrite)
      rig.pages.free(3)
      yield* buffer.load(3)
      assert.isEmpty(rig.reads)
    }))

  it.effect("of a broken image fails for everybody who waits, and is tried anew for the next", () =>
    Effect.gen(function*() {
      const rig = new Rig()
      rig.evict(3)
      const image = rig.slots.get(rig.pages.map.slot[3] as number) ?? assert.fail("no image")
      image[100] = (image[100] as number) ^ 1
      const buffer = yield* rig.make()
      const [one, other] = yield* Effect.all([Effect.exit(buffer.load(3)), Effect.exit(buffer.load(3))], {
        concurrency: 2
      })
      assert.deepStrictEqual([reasonOf(one), reasonOf(other)], ["Corrupted", "Corrupted"])
      image[100] = (image[100] as number) ^ 1
      yield* buffer.load(3)
      assert.strictEqual(rig.get(3), "value 3")
    }))

  it.effect("for a merge goes before the others that wait", () =>
    Effect.gen(function*() {
      const rig = new Rig(4)
      rig.evict(1, 2, 3)
      const gate = yield* Deferred.make<void>()
      rig.reading = Deferred.await(gate)
      const buffer = yield* rig.make()
      const loads: Array<Fiber.Fiber<void, StoreError>> = []
      for (const id of [1, 2, 3]) loads.push(yield* Effect.forkChild(buffer.load(id), startNow))
      const leaf = rig.writeBlind()
      // Any message has the buffer look at what is ripe.
      yield* buffer.load(8)
      yield* Deferred.succeed(gate, undefined)
      for (const load of loads) yield* Fiber.join(load)
      assert.deepStrictEqual(rig.pagesRead, [1, leaf, 2, 3])
      assert.strictEqual(buffer.counters.room.merges, 1)
      assert.strictEqual((rig.pages.map.state[leaf] as number) & State.Mini, 0)
    }))

  it.effect("for a merge is tried again when it failed", () =>
    Effect.gen(function*() {
      const rig = new Rig(4)
      const leaf = rig.writeBlind()
      let failures = 2
      rig.reading = Effect.suspend(() => failures-- > 0 ? Effect.fail(failure) : Effect.void)
      const buffer = yield* rig.make()
      yield* buffer.load(8)
      assert.strictEqual(rig.get(leaves + 1), "newer", "it stays where it is meanwhile")
      yield* Effect.raceFirst(
        Effect.repeat(settled, { until: () => buffer.counters.room.merges > 0 }),
        passing
      )
      assert.isBelow(failures, 0)
      yield* buffer.load(leaf)
      // What was read lately may have stayed as a copy.
      if ((rig.pages.map.mini[leaf] as number) >= 0) rig.pages.forget(leaf)
      assert.strictEqual(rig.get(leaves + 1), "newer")
    }))
})

describe("merges that somebody asks for", () => {
  it.effect("are answered when all of them are done, and at once where there is nothing to be merged", () =>
    Effect.gen(function*() {
      const rig = new Rig(8)
      const leaf = rig.writeBlind()
      rig.pages.ripe.length = 0
      const gate = yield* Deferred.make<void>()
      rig.reading = Deferred.await(gate)
      const buffer = yield* rig.make()
      const asked = yield* Effect.forkChild(buffer.merge(new Set([leaf, 1, 2])), startNow)
      yield* settled
      assert.isUndefined(asked.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.raceFirst(Fiber.join(asked), passing)
      assert.strictEqual(buffer.counters.room.merges, 1)
      assert.strictEqual((rig.pages.map.state[leaf] as number) & State.Mini, 0)
      yield* Effect.raceFirst(buffer.merge(new Set([leaf])), passing)
      yield* Effect.raceFirst(buffer.merge(new Set()), passing)
    }))

  it.effect("are answered where a base page cannot be read, and it is tried again", () =>
    Effect.gen(function*() {
      const rig = new Rig(8)
      const leaf = rig.writeBlind()
      rig.pages.ripe.length = 0
      let failures = 2
      rig.reading = Effect.suspend(() => failures-- > 0 ? Effect.fail(failure) : Effect.void)
      const buffer = yield* rig.make()
      yield* Effect.raceFirst(buffer.merge(new Set([leaf])), passing)
      assert.strictEqual(buffer.counters.room.merges, 0)
      yield* Effect.raceFirst(
        Effect.repeat(settled, { until: () => buffer.counters.room.merges > 0 }),
        passing
      )
    }))

  it.effect("fail where the buffer ends before", () =>
    Effect.gen(function*() {
      const rig = new Rig(8)
      const leaf = rig.writeBlind()
      rig.pages.ripe.length = 0
      rig.reading = Effect.never
      const buffer = yield* rig.make()
      const asked = yield* Effect.forkChild(Effect.exit(buffer.merge(new Set([leaf]))), startNow)
      yield* settled
      buffer.stop(failure)
      assert.strictEqual(reasonOf(yield* Effect.raceFirst(Fiber.join(asked), passing)), "DiskFailed")
    }))
})

describe("an image that is lost", () => {
  it("does not count when another of its content arrives late", () => {
    const rig = new Rig()
    const { pages } = rig
    const late = pages.image(1)
    pages.imageLost(pages.image(1))
    pages.touch(1)
    const newest = pages.image(1)
    rig.land(late)
    assert.notStrictEqual((pages.map.state[1] as number) & State.Dirty, 0, "it shows the page as it was")
    pages.touch(1)
    rig.land(newest)
    assert.notStrictEqual((pages.map.state[1] as number) & State.Dirty, 0)
    assert.strictEqual(pages.map.slot[1], 0)
  })

  it("leaves the page to be imaged again", () => {
    const rig = new Rig()
    const { pages } = rig
    pages.imageLost(pages.image(1))
    assert.strictEqual((pages.map.state[1] as number) & State.Imaged, 0)
    rig.land(pages.image(1))
    assert.strictEqual((pages.map.state[1] as number) & State.Dirty, 0)
  })
})

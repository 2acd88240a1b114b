/**
 * Two writes of the log beside each other: when a second one begins, and what is told of one that ends first.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { Flights } from "../src/actors/commit/Flights.ts"
import type { Flight } from "../src/actors/commit/Flights.ts"
import { Disk, diskFailed, SystemError } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import type { Segment } from "../src/log/Segment.ts"
import { segmentAt } from "../src/log/Segment.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { start } from "./support/log.ts"
import { dump, keyspaceOf, open } from "./support/storeDoor.ts"

const segment: Segment = segmentAt(start, 4096, 64)
const flight = (end: number): Flight => ({ end, synced: true, alone: segment, exit: undefined })
const tied = (end: number): Flight => ({ ...flight(end), alone: undefined })

/**
 * Writers that each commit, wait for the sync, and come back at once: all who waited for one write before the end of the
 * next is known, as promises and fibers do. Answers the sizes of writes, after some to begin with.
 */
const sizesOf = (writers: number, mostFlights: 1 | 2): ReadonlyArray<number> => {
  const flights = new Flights()
  const underWay: Array<{ readonly flight: Flight; readonly size: number }> = []
  const sizes: Array<number> = []
  let [commits, begun] = [0, 0]
  const begin = (): void => {
    const next = flight(commits)
    const size = commits - begun
    flights.begin(next, commits)
    underWay.push({ flight: next, size })
    sizes.push(size)
    begun = commits
  }
  const commit = (): void => {
    commits++
    if (flights.isEmpty || mostFlights === 2 && flights.isEnough(commits, segment)) begin()
  }
  for (let writer = 0; writer < writers; writer++) commit()
  for (let landed = 0; landed < 400; landed++) {
    const first = underWay.shift()
    assert(first !== undefined)
    first.flight.exit = Exit.void
    assert.strictEqual(flights.land(), first.flight)
    if (commits > begun && (flights.isEmpty || mostFlights === 2 && flights.isEnough(commits, segment))) {
      begin()
    }
    for (let writer = 0; writer < first.size; writer++) commit()
  }
  return sizes.slice(200)
}

describe("writes beside each other", () => {
  it("land in their order, whichever ends first", () => {
    const flights = new Flights()
    const [first, second] = [flight(100), flight(200)]
    flights.begin(first, 1)
    flights.begin(second, 2)
    assert.strictEqual(flights.end, 200)
    second.exit = Exit.void
    assert.isUndefined(flights.land())
    first.exit = Exit.void
    assert.strictEqual(flights.land(), first)
    assert.strictEqual(flights.land(), second)
    assert.isUndefined(flights.land())
    assert.isTrue(flights.isEmpty)
  })

  it("are two at most, of one segment, and only where each is durable by itself", () => {
    const other = segmentAt({ ...start, sequence: 2 }, 4096, 64)
    const beside = (first: Flight, into: Segment): boolean => {
      const flights = new Flights()
      flights.begin(first, 1)
      return flights.isEnough(2, into)
    }
    assert.isTrue(beside(flight(100), segment))
    assert.isFalse(beside(flight(100), other))
    assert.isFalse(beside(tied(100), segment))
    const flights = new Flights()
    flights.begin(flight(100), 1)
    flights.begin(flight(200), 2)
    assert.isFalse(flights.isEnough(1_000, segment))
    assert.throws(() => {
      const flights = new Flights()
      flights.begin(flight(100), 1)
      flights.begin(tied(200), 2)
    }, "Flights I2")
  })

  it("begin when half as many commits have come as the largest of the last three had", () => {
    const flights = new Flights()
    for (const commits of [100, 101, 102]) {
      const next = flight(commits)
      flights.begin(next, commits)
      next.exit = Exit.void
      flights.land()
    }
    flights.begin(flight(103), 103)
    assert.isTrue(flights.isEnough(104, segment), "the hundred are the fourth before")
    const again = new Flights()
    again.begin(flight(100), 100)
    assert.isFalse(again.isEnough(149, segment))
    assert.isTrue(again.isEnough(150, segment))
  })

  it("keep writers that come back at once from ever being one write and a write of next to nobody", () => {
    for (const writers of [8, 64, 256, 1_000]) {
      const one = sizesOf(writers, 1)
      assert.strictEqual(Math.max(...one), writers - 1, "as it is with one at a time")
      assert.strictEqual(Math.min(...one), 1)
      const two = sizesOf(writers, 2)
      assert.isAtMost(Math.max(...two), Math.ceil(writers * 0.7), `${writers} writers`)
      assert.isAtLeast(Math.min(...two), Math.floor(writers * 0.2), `${writers} writers`)
    }
  })
})

/** Holds back durable writes of the log, and lets each go on as it is told. */
class Held {
  isArmed = false
  private readonly atOnce: number
  readonly writes: Array<(how: "pass" | "fail") => void> = []

  constructor(atOnce: number) {
    this.atOnce = atOnce
  }

  readonly disk = (disk: Disk["Service"]): Disk["Service"] => ({
    ...disk,
    open: (path, how) =>
      Effect.map(disk.open(path, how), (file) => ({
        ...file,
        durableWritesAtOnce: this.atOnce,
        writeDurably: (buffers, position) =>
          Effect.suspend(() => this.isArmed && path.includes("/log") ? this.wait : Effect.succeed("pass"))
            .pipe(
              Effect.flatMap((how) =>
                how === "pass"
                  ? file.writeDurably(buffers, position)
                  : Effect.fail(diskFailed("write", path, new SystemError("EIO")))
              )
            )
      }))
  })

  private readonly wait = Effect.suspend(() => {
    const told = Deferred.makeUnsafe<"pass" | "fail">()
    this.writes.push((how) => Deferred.doneUnsafe(told, Exit.succeed(how)))
    return Deferred.await(told)
  })
}

const words = keyspaceOf("one")
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const turns = Effect.repeat(Effect.yieldNow, { times: 50 })

/** A store, and how to commit to it without waiting. */
const holdingOf = (atOnce: number) =>
  Effect.gen(function*() {
    const held = new Held(atOnce)
    const opened = yield* open({}).pipe(Effect.provideService(Disk, held.disk(yield* Disk)))
    const put = (key: string) =>
      words.put(bytes(key), bytes("value")).pipe(
        Tx.transact({ durability: "synced" }),
        Effect.provideService(Store.Store, opened.store),
        Effect.forkDetach
      )
    return { ...opened, held, put }
  })

const holding = holdingOf(2)

/** Two commits, each in a write of its own that is held back. */
const twoOf = ({ held, put, store }: Effect.Success<typeof holding>) =>
  Effect.gen(function*() {
    held.isArmed = true
    const before = yield* store.durableLsn
    const first = yield* put("a")
    yield* turns
    const second = yield* put("b")
    yield* turns
    held.isArmed = false
    assert.strictEqual(held.writes.length, 2)
    const [passFirst, passSecond] = held.writes
    assert(passFirst !== undefined && passSecond !== undefined)
    return { store, before, first, second, passFirst, passSecond }
  })
const two = Effect.flatMap(holding, twoOf)

const keysIn = (image: Image) =>
  Effect.provide(
    Effect.flatMap(open({}), ({ store }) => dump(store, ["one"])),
    layer({ image })
  ).pipe(Effect.map((state) => [...state.values()].flat().map(({ key }) => key)))

describe("commits in two writes beside each other", () => {
  it.live("go one by one where the file has no more than one durable write at a time", () =>
    Effect.gen(function*() {
      const { held, put } = yield* holdingOf(1)
      held.isArmed = true
      const puts = yield* Effect.forEach(["a", "b"], (key) => Effect.tap(put(key), () => turns))
      assert.strictEqual(held.writes.length, 1)
      held.isArmed = false
      held.writes[0]?.("pass")
      yield* Effect.forEach(puts, Fiber.join)
    }).pipe(Effect.provide(layer())))

  it.live("are told in the order of the log", () =>
    Effect.gen(function*() {
      const { before, first, passFirst, passSecond, second, store } = yield* two
      passSecond("pass")
      yield* turns
      assert.isUndefined(second.pollUnsafe())
      assert.strictEqual(yield* store.durableLsn, before)
      passFirst("pass")
      yield* Fiber.join(first)
      yield* Fiber.join(second)
    }).pipe(Effect.provide(layer())))

  it.live("fail both where the first fails, though the second is on the disk", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { before, first, passFirst, passSecond, second, store } = yield* two
      passSecond("pass")
      yield* turns
      passFirst("fail")
      assert.isTrue(Exit.isFailure(yield* Fiber.await(first)))
      assert.isTrue(Exit.isFailure(yield* Fiber.await(second)))
      assert.strictEqual(yield* store.durableLsn, before)
      assert.deepStrictEqual(yield* keysIn(faults.crashImage({ keep: "everything" })), [])
    }).pipe(Effect.provide(layer())))

  it.live("fail the second alone where it fails", () =>
    Effect.gen(function*() {
      const { first, passFirst, passSecond, second } = yield* two
      passSecond("fail")
      yield* turns
      assert.isUndefined(first.pollUnsafe())
      passFirst("pass")
      yield* Fiber.join(first)
      assert.isTrue(Exit.isFailure(yield* Fiber.await(second)))
    }).pipe(Effect.provide(layer())))

  it.live("take along once what was written before and not synced", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const opened = yield* holding
      yield* Fiber.join(yield* opened.put("before"))
      const { counters } = opened.store.machine.parts.wal
      while (counters.marks === 0) yield* Effect.sleep("5 millis")
      yield* turns
      const { first, passFirst, passSecond, second } = yield* twoOf(opened)
      passFirst("pass")
      passSecond("pass")
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.deepStrictEqual(yield* keysIn(faults.crashImage({ keep: "nothing" })), ["a", "b", "before"])
    }).pipe(Effect.provide(layer())))
})

/**
 * A store that takes no commits for want of space says so: how long, how much is missing, and when it is over. And one
 * whose page file may not grow, for whatever reason, refuses with that reason instead of waiting for ever.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Stream from "effect/Stream"
import * as IdleSessions from "../src/actors/upkeep/IdleSessions.ts"
import { Disk } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import { series } from "../src/Series.ts"
import * as Store from "../src/Store.ts"
import { DiskFull, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import type { Cap } from "./support/cappedDisk.ts"
import { capped } from "./support/cappedDisk.ts"
import { figure } from "./support/figures.ts"
import { calm, Schedule } from "./support/schedule.ts"
import { directory, dump, keyspaceOf, open } from "./support/storeDoor.ts"

const KiB = 1024
const options = {
  limits: {
    pageBytes: KiB,
    memoryBytes: 512 * KiB,
    segmentBytes: 8 * KiB,
    reserveBytes: 24 * KiB,
    undurableBytes: 4 * KiB,
    checkpoint: { logBytes: 32 * KiB, hardLogBytes: 96 * KiB }
  }
}

const Values = keyspaceOf("values")
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

type Opened = Effect.Success<ReturnType<typeof open>>

const put = (store: Opened["store"], number: number) =>
  Tx.commit()(Values.put(bytes(`key ${number}`.padStart(12)), bytes("v".repeat(150)))).pipe(
    Effect.provideService(Store.Store, store),
    // Of the schedule's time: whoever waits longer waits for ever.
    Effect.timeoutOrElse({ duration: "10 minutes", orElse: () => Effect.die(`commit ${number} waits`) })
  )

/** Commits until one is refused; answers how many were taken, and why the next was not. */
const filled = (store: Opened["store"], from = 0): Effect.Effect<readonly [number, StoreError]> =>
  Effect.gen(function*() {
    for (let number = from; number < 20_000; number++) {
      const exit = yield* Effect.exit(put(store, number))
      if (Exit.isSuccess(exit)) continue
      const error = Exit.findErrorOption(exit)
      if (error._tag === "None") throw new Error(`${exit.cause}`)
      return [number, error.value] as const
    }
    throw new Error("nothing is refused")
  })

const rowsOf = (store: Opened["store"]) =>
  Effect.map(dump(store, ["values"]), (state) => state.get("values")?.length)

const metricOf = (store: Opened["store"], name: string): unknown =>
  series(store.machine, 0).find(({ metric }) => metric === `heartwood.${name}`)?.read()

const run = <A>(body: Effect.Effect<A, StoreError, FaultDisk | Disk>): A => {
  const exit = new Schedule(1, { manner: calm }).run(Effect.provide(body, layer({ seed: 1 })))
  if (Exit.isFailure(exit)) throw new Error(`${exit.cause}`)
  return exit.value
}

describe("a shortage", () => {
  const figures = { refused: 0, events: 0, warnings: 0 }
  it("is in stat, metrics, events and the log, for as long as it lasts", () => {
    const warnings: Array<unknown> = []
    const logger = Logger.make(({ message }) => void warnings.push(message))
    const events: Array<Extract<Store.Event, { readonly _tag: "Shortage" }>["report"]> = []
    run(
      Effect.gen(function*() {
        const faults = yield* FaultDisk
        yield* faults.limit(256 * KiB)
        const { close, store } = yield* open(options)
        const listening = yield* Effect.forkChild(
          Stream.runForEach(store.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "Shortage") events.push(event.report)
            }))
        )
        yield* Effect.sleep("1 second")
        const before = yield* store.stat
        assert.deepInclude(before.space, { reserve: 24 * KiB, shortage: undefined, shortages: 0, refused: 0 })
        assert.isAbove(before.space.free, 0)
        assert.strictEqual(metricOf(store, "space.shortage.age"), 0)

        // As long as checkpoints make room it is over by itself.
        let [number, earlier] = [0, 0]
        for (let refused = 0; refused < 4;) {
          const [next, error] = yield* filled(store, number)
          assert.strictEqual(error.reason._tag, "DiskFull")
          refused = next === number ? refused + 1 : 1
          number = next
          const { refused: all, shortage } = (yield* store.stat).space
          earlier = all - (shortage?.refused ?? 0)
          yield* Effect.sleep("1 second")
        }
        const { space } = yield* store.stat
        assert.strictEqual(space.refused, earlier + 4)
        assert.deepInclude(space.shortage, { isFull: true, refused: 4, file: undefined, free: space.free })
        assert.isAbove(space.shortage?.missing ?? 0, 0)
        assert.strictEqual(metricOf(store, "space.missing"), space.shortage?.missing)
        assert.isAtLeast(Number(metricOf(store, "space.shortage.age")), 3)
        assert.strictEqual(metricOf(store, "space.refusals"), space.refused)
        assert.match(`${warnings[0]}`, /the disk is nearly full \(\d+ bytes are free, \d+ more are needed\)/)

        // What is said to be missing is enough.
        yield* faults.limit(256 * KiB + (space.shortage?.missing ?? 0))
        yield* Effect.sleep("5 seconds")
        yield* put(store, number)
        const after = yield* store.stat
        assert.deepStrictEqual(after.space, { ...space, free: after.space.free, shortage: undefined })
        assert.strictEqual(metricOf(store, "space.missing"), 0)
        assert.strictEqual(metricOf(store, "space.shortage.age"), 0)
        yield* Effect.sleep("1 second")
        assert.strictEqual(events.length, 2 * space.shortages)
        for (const [index, { isFull, refused, sinceMillis }] of events.entries()) {
          assert.strictEqual(isFull, index % 2 === 0)
          if (isFull) assert.strictEqual(refused, 0)
          else assert.strictEqual(sinceMillis, events[index - 1]?.sinceMillis)
        }
        assert.strictEqual(events.at(-1)?.refused, 4)
        assert.match(`${warnings[1]}`, /taken again after \d+ s in which \d+ were refused/)
        assert.strictEqual(yield* rowsOf(store), number + 1)
        Object.assign(figures, { refused: space.refused, events: events.length, warnings: warnings.length })
        yield* Fiber.interrupt(listening)
        yield* close
      }).pipe(Effect.provide(Logger.layer([logger])))
    )
  })

  it("that comes and goes warns once in a minute", () => {
    const warnings: Array<unknown> = []
    const logger = Logger.make(({ message }) => void warnings.push(message))
    run(
      Effect.gen(function*() {
        const faults = yield* FaultDisk
        let capacity = 256 * KiB
        yield* faults.limit(capacity)
        const { close, store } = yield* open(options)
        let from = 0
        for (let round = 0; round < 5; round++) {
          ;[from] = yield* filled(store, from)
          yield* faults.limit(capacity += 64 * KiB)
          yield* Effect.sleep("2 seconds")
        }
        const begun = () => warnings.filter((message) => `${message}`.includes("nearly full")).length
        assert.isAtLeast((yield* store.stat).space.shortages, 5)
        assert.strictEqual(begun(), 1)
        yield* Effect.sleep("2 minutes")
        yield* filled(store, from)
        yield* Effect.sleep("1 second")
        assert.strictEqual(begun(), 2)
        yield* close
      }).pipe(Effect.provide(Logger.layer([logger])))
    )
    figure("R6 shortages that are told", { ...figures, warnings: figures.warnings + warnings.length })
  })
})

describe("a page file that may not grow", () => {
  const figures = { caps: 0, taken: 0 }
  const path = `${directory}/pages`
  for (const code of ["EFBIG", "ENOSPC", "EDQUOT", "EIO", "EPERM"]) {
    for (const pages of [8, 24, 60]) {
      it(`beyond ${pages} pages, with ${code}: commits fail with that, and go on when it may`, () => {
        run(
          Effect.gen(function*() {
            const cap: Cap = { path, bytes: Infinity, code }
            const disk = yield* capped(cap)
            const { close, store } = yield* Effect.provideService(open(options), Disk, disk)
            cap.bytes = pages * KiB
            const [number, error] = yield* filled(store)
            figures.caps++
            figures.taken += number
            const { reason } = error
            if (code === "EFBIG") assert.deepInclude({ ...reason }, { _tag: "DiskFull", file: path })
            else if (code === "ENOSPC" || code === "EDQUOT") assert.strictEqual(reason._tag, "DiskFull")
            else assert.deepInclude({ ...reason }, { _tag: "DiskFailed", operation: "write", path, code })
            const { log, space } = yield* store.stat
            assert.isAtMost(log.sinceCheckpoint, options.limits.checkpoint.hardLogBytes + 4 * KiB)
            if (reason._tag === "DiskFull") {
              assert.strictEqual(space.shortage?.file, code === "EFBIG" ? path : undefined)
            }
            // Reading goes on; each refusal comes at once; nothing is stopped.
            assert.strictEqual(yield* rowsOf(store), number)
            for (let tries = 0; tries < 3; tries++) {
              assert.isTrue(Exit.isFailure(yield* Effect.exit(put(store, number))))
              yield* Effect.sleep("1 second")
            }
            assert.isUndefined(store.machine.unavailable())
            cap.bytes = Infinity
            yield* Effect.sleep("5 seconds")
            for (let more = number; more < number + 200; more++) yield* put(store, more)
            assert.isUndefined((yield* store.stat).space.shortage)
            yield* close
            const again = yield* open(options)
            assert.strictEqual(yield* rowsOf(again.store), number + 200)
            yield* again.close
          }).pipe(Effect.provide(Logger.layer([])))
        )
      })
    }
  }

  it("was met at all of them", () => {
    figure("R6 page files that may not grow", figures)
    assert.strictEqual(figures.caps, 15)
  })
})

describe("what has to end idle sessions", () => {
  it("waits between attempts that are refused", () => {
    const refused = storeError(new DiskFull({ path: directory, freeBytes: 0, neededBytes: 1 }))
    const attempts = run(Effect.gen(function*() {
      let [count, running] = [0, true]
      const context = yield* Effect.context()
      IdleSessions.start({
        sessions: { due: () => 0, stale: () => ["a"], idled: () => {} },
        fork: (effect) => void Effect.runForkWith(context)(effect),
        now: () => 0,
        running: () => running,
        end: () =>
          Effect.suspend(() => {
            running = ++count < 100
            return Effect.fail(refused)
          })
      })
      yield* Effect.sleep("10 seconds")
      running = false
      yield* Effect.sleep("2 seconds")
      return count
    }))
    assert.isAtLeast(attempts, 9)
    assert.isAtMost(attempts, 12)
  })
})

describe("what is appended beside commits", () => {
  it("asks for room as commits do", () =>
    run(Effect.gen(function*() {
      const { close, store } = yield* open(options)
      const { reserve, wal } = store.machine.parts
      const asked: Array<number> = []
      const refusal = storeError(
        new DiskFull({ path: directory, freeBytes: 0, neededBytes: 1, file: undefined })
      )
      reserve.refusalOfUpkeep = ({ bytes }) => {
        asked.push(bytes)
        return refusal
      }
      const move = { keyspace: 1, key: bytes("k"), value: new Uint8Array(1000), from: 64, version: 64 }
      for (const append of [wal.relocate([move]), wal.endSessions(["a session"])]) {
        const exit = yield* Effect.exit(append)
        assert.isTrue(Exit.isFailure(exit) && Exit.findErrorOption(exit)._tag === "Some", `${exit}`)
      }
      assert.isAtLeast(asked[0] as number, 1001)
      assert.isAtLeast(asked[1] as number, 9)
      yield* close
    })))
})

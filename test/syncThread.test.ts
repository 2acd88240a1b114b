/**
 * The log written and synced in the calling thread: the same promises, without the pool.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Disk } from "../src/disk/Disk.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Raw from "../src/Raw.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { keyspaceOf, open } from "./support/storeDoor.ts"
import { reasonOf } from "./support/stores.ts"
import { passing } from "./support/storeSize.ts"
import { watched } from "./support/watchedFile.ts"

const options = { syncThread: "caller" } as const
const words = keyspaceOf("one")
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))

const put = (store: Store.Store["Service"], key: string) =>
  words.put(bytes(key), bytes("value")).pipe(Tx.transact(), Effect.provideService(Store.Store, store))
const has = (store: Store.Store["Service"], key: string) =>
  words.get(bytes(key)).pipe(
    Snapshot.read(),
    Effect.map(Option.isSome),
    Effect.provideService(Store.Store, store)
  )

/** The rest of the process has its turn. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** Counts groups that are written and synced in the pool, which takes a turn, and in the calling thread. */
const counting = (disk: Disk["Service"], calls: Array<string>): Disk["Service"] => {
  const told = (file: DiskFile): DiskFile =>
    watched(file, {
      write: (...args) => Effect.andThen(Effect.sync(() => calls.push("pool write")), file.write(...args)),
      writeSync: (...args) => {
        calls.push("write")
        file.writeSync(...args)
      },
      sync: Effect.andThen(Effect.sync(() => calls.push("pool sync")), file.sync),
      syncSync: () => {
        calls.push("sync")
        file.syncSync()
      },
      writeDurably: (...args) =>
        Effect.suspend(() => {
          calls.push("pool durable write")
          return Effect.andThen(turn, file.writeDurably(...args))
        }),
      writeDurablySync: (...args) => {
        calls.push("durable write")
        file.writeDurablySync(...args)
      }
    })
  return {
    ...disk,
    open: (path, how) =>
      Effect.map(disk.open(path, how), (file) => path.includes("/log-") ? told(file) : file)
  }
}

describe("the log in the calling thread", () => {
  it.effect("is written and synced there, in this order, also by a store that was opened again", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const disk = yield* Disk
      const inThere = Effect.provideService(Disk, counting(disk, calls))
      const first = yield* open(options).pipe(inThere)
      yield* put(first.store, "a")
      yield* first.close
      calls.length = 0
      const second = yield* open(options).pipe(inThere)
      calls.length = 0
      yield* put(second.store, "b")
      assert.deepStrictEqual(calls, ["durable write"])
      yield* second.close
      const third = yield* open({}).pipe(inThere)
      calls.length = 0
      yield* put(third.store, "c")
      assert.deepStrictEqual(calls, ["pool durable write"])
      yield* third.close
    }).pipe(Effect.provide(layer())))

  it.effect("keeps what was acknowledged through a power cut", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { close, store } = yield* open(options)
      for (let n = 0; n < 40; n++) yield* put(store, `key ${n}`)
      yield* faults.cut({ keep: "nothing" })
      yield* Effect.raceFirst(close, passing)
      yield* faults.restart
      const again = yield* open(options)
      for (let n = 0; n < 40; n++) assert.isTrue(yield* has(again.store, `key ${n}`))
      yield* again.close
    }).pipe(Effect.provide(layer())))

  it.effect("fails everybody who waits when a write or a sync fails, by the type that the pool has", () =>
    Effect.gen(function*() {
      for (const operation of ["write", "sync"] as const) {
        const faults = yield* FaultDisk
        const { close, store } = yield* open(options)
        yield* put(store, `${operation} before`)
        const refused = { _tag: "Refused", code: "EIO" } as const
        yield* faults.fail({ operation, path: /log-/, times: Infinity, outcome: refused })
        const reasons = yield* Effect.all(
          [1, 2, 3].map((n) => reasonOf(put(store, `${operation} ${n}`))),
          { concurrency: "unbounded" }
        )
        yield* faults.heal
        reasons.push(yield* reasonOf(put(store, `${operation} later`)))
        yield* close
        const pooled = yield* open({})
        yield* faults.fail({ operation, path: /log-/, times: Infinity, outcome: refused })
        const expected = yield* reasonOf(put(pooled.store, `${operation} pooled`))
        yield* faults.heal
        yield* pooled.close
        assert.deepStrictEqual(reasons, [expected, expected, expected, expected])
        const again = yield* open(options)
        assert.isTrue(yield* has(again.store, `${operation} before`))
        yield* again.close
      }
    }).pipe(Effect.provide(layer())))

  /** Turns that everything else has while a lone writer commits so often. */
  const turnsOf = (commits: number) =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const { close, store } = yield* open(options).pipe(
        Effect.provideService(Disk, counting(yield* Disk, calls))
      )
      calls.length = 0
      let turns = 0
      let isOver = false
      const count = (): void => {
        if (isOver) return
        turns++
        setImmediate(count)
      }
      setImmediate(count)
      for (let n = 0; n < commits; n++) yield* put(store, `key ${n}`)
      isOver = true
      assert.deepStrictEqual(calls, Array.from({ length: commits }, () => "durable write"))
      yield* close
      return turns
    })

  it.live("leaves a lone writer to no other thread, and lets everything else have its turn", () =>
    Effect.gen(function*() {
      // After 8 commits, 16 more, 32 more, and from there on 64.
      assert.isAtLeast(yield* turnsOf(64), 3)
      assert.isAtLeast(yield* turnsOf(64 + 2 * 65), 5)
    }).pipe(Effect.provide(layer())))

  it.live("lets it have its turn sooner where the disk is slow", () =>
    Effect.gen(function*() {
      let nanos = 0n
      const clock = yield* Clock.Clock
      // Whatever is looked at two times takes a millisecond and a half.
      const slow: Clock.Clock = {
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeMillis: clock.currentTimeMillis,
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        currentTimeNanos: clock.currentTimeNanos,
        monotonicTimeNanosUnsafe: () => nanos += 1_500_000n,
        monotonicTimeNanos: clock.monotonicTimeNanos,
        sleep: (duration) => clock.sleep(duration)
      }
      const turns = yield* Effect.provideService(turnsOf(80), Clock.Clock, slow)
      assert.isAtLeast(turns, 20, "after three that take 4.5 ms")
    }).pipe(Effect.provide(layer())))

  it.live("is written and synced in the pool where many wait", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const { close, store } = yield* open(options).pipe(
        Effect.provideService(Disk, counting(yield* Disk, calls))
      )
      const raw = Raw.make(store.machine, words)
      calls.length = 0
      const writer = async (name: number): Promise<void> => {
        for (let round = 0; round < 20; round++) {
          await raw.awaitDurableUnsafe(raw.putUnsafe(bytes(`${name} ${round}`), bytes("value")) + 1)
        }
      }
      yield* Effect.promise(() => Promise.all(Array.from({ length: 64 }, (_, name) => writer(name))))
      const alone = calls.filter((call) => call === "durable write").length
      assert.isAtMost(
        alone,
        18,
        "as many as come in a row before anybody else has a turn, the one behind that, and again at the end"
      )
      assert.isAbove(calls.length - alone, 20)
      yield* close
    }).pipe(Effect.provide(layer())))
})

/**
 * Copies of a store that is in use: whole, of one moment, or none.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { Disk } from "../src/disk/Disk.ts"
import type { Crash, Image } from "../src/disk/FaultDisk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Session from "../src/Session.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { auditStore } from "./support/storeAudit.ts"
import { directory } from "./support/storeDoor.ts"
import { reasonOf, refusal, suite, upTo } from "./support/stores.ts"
import { add, Counts } from "./support/words.ts"

/** Small enough that pages are evicted while they are copied, and that there are many segments. */
const options = { limits: { pageBytes: 1_024, segmentBytes: 16_384, memoryBytes: 512 * 1_024 } }
const copy = "/copy"
/** What is left where a copy was given up. */
const left = ["lock"]

const Rows = Keyspace.bytes("rows")
const keyOf = (number: number): Uint8Array => Buffer.from(String(number).padStart(8, "0"))

/** One row more, of any size, and the number of rows with it. */
const append = (number: number, bytes: number, durability: "memory" | "synced") =>
  Effect.andThen(Rows.put(keyOf(number), Buffer.alloc(bytes, number)), add("rows")).pipe(
    Tx.transact({ durability })
  )

const rows = Snapshot.read()(Stream.runCollect(Rows.range()))

const source = Store.make({ ...options, path: directory })

/** A store of which no copy goes on before it is told so, from where its first bytes are written on. */
const gated = (asked: Store.Options = { ...options, path: directory }) =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const started = yield* Deferred.make<void>()
    const going = yield* Deferred.make<void>()
    const waiting = Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(going))
    const slow: Disk["Service"] = {
      ...disk,
      open: (path, how) =>
        Effect.map(disk.open(path, how), (file) =>
          path !== `${copy}/pages` ? file : {
            ...file,
            write: (buffers, position) => Effect.andThen(waiting, file.write(buffers, position))
          })
    }
    return { store: yield* Effect.provideService(Store.make(asked), Disk, slow), started, going }
  })
/** Runs an effect in the copy, and sees that this is sound. */
const inCopy = <A, E>(effect: Effect.Effect<A, E, Store.Store>) =>
  Effect.scoped(Effect.gen(function*() {
    const faults = yield* FaultDisk
    const store = yield* Store.make({ ...options, path: copy })
    const found = yield* Effect.provideService(effect, Store.Store, store)
    yield* store.checkpoint
    const pageFile = faults.killImage().read(`${copy}/pages`) ?? new Uint8Array(0)
    assert.deepStrictEqual(auditStore(store.machine, pageFile).problems, [])
    return found
  }))

/** What is to be found in a copy of a store with these rows, as of an LSN. */
const expectState = (all: ReadonlyArray<Keyspace.Entry<Uint8Array, Uint8Array>>, lsn: number) =>
  Effect.gen(function*() {
    const expected = all.filter((row) => row.lsn < lsn)
    assert.deepStrictEqual(yield* rows, expected)
    const count = yield* Snapshot.read()(Counts.get("rows"))
    assert.strictEqual(Option.getOrElse(count, () => 0), expected.length)
  })

describe("a backup", () => {
  for (const seed of upTo(8)) {
    it.effect(`of a store that is written to meanwhile is the store as of its LSN (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed + 1)
        const store = yield* source
        yield* Effect.gen(function*() {
          let written = 0
          const next = Effect.suspend(() => {
            const durability = chance.bool(0.3) ? "synced" : "memory"
            return append(written++, chance.bool(0.05) ? 3_000 : chance.int(200), durability)
          })
          const session = yield* Session.open("client")
          const serials = Effect.suspend(() => {
            const serial = session.serial + 1
            return Effect.as(Tx.once({ session, serial })(Counts.put("serial", serial)), serial)
          })
          for (const number of upTo(600)) {
            yield* next
            if (number % 200 === 0) yield* store.checkpoint
            if (number % 50 === 0) yield* serials
          }
          const acknowledged = yield* store.visibleLsn
          const writer = yield* Effect.forkChild(Effect.forever(Effect.andThen(next, Effect.yieldNow)))
          const client = yield* Effect.forkChild(Effect.forever(Effect.andThen(serials, Effect.yieldNow)))
          let checkpoint: Fiber.Fiber<unknown, unknown> | undefined
          const run = Effect.runForkWith(yield* Effect.context<never>())
          const report = yield* store.backup(copy, {
            progress: ({ done, total }) => {
              assert.isAtMost(done, total)
              checkpoint ??= run(store.checkpoint)
              assert.isUndefined(checkpoint.pollUnsafe(), "checkpoints wait")
              return Effect.repeat(Effect.yieldNow, { times: chance.int(40) })
            }
          })
          yield* Fiber.interrupt(writer)
          yield* Fiber.interrupt(client)
          yield* Fiber.join(checkpoint as Fiber.Fiber<unknown, unknown>)
          assert.isAtLeast(report.lsn, acknowledged)
          assert.strictEqual(report.to, copy)
          const all = yield* rows
          const serial = yield* inCopy(Effect.andThen(
            expectState(all, report.lsn),
            Effect.scoped(Effect.map(Session.open("client"), ({ serial }) => serial))
          ))
          const stored = yield* inCopy(Snapshot.read()(Counts.get("serial")))
          assert.deepStrictEqual(stored, Option.some(serial))
          assert.isAtMost(serial, session.serial)
          // Each goes its own way.
          yield* inCopy(append(99_999_999, 10, "synced"))
          assert.deepStrictEqual(yield* rows, all)
        }).pipe(Effect.scoped, Effect.provideService(Store.Store, store))
      }).pipe(Effect.scoped, Effect.provide(layer({ seed }))))
  }

  it.effect("has what was acknowledged before it was synced", () =>
    Effect.gen(function*() {
      const store = yield* source
      yield* Effect.gen(function*() {
        yield* append(1, 100, "synced")
        yield* append(2, 100, "memory")
        const [visible, durable] = [yield* store.visibleLsn, yield* store.durableLsn]
        assert.isBelow(durable, visible)
        const { lsn } = yield* store.backup(copy)
        assert.isAtLeast(lsn, visible)
        yield* inCopy(expectState(yield* rows, lsn))
      }).pipe(Effect.provideService(Store.Store, store))
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.effect("is whole or no store, whenever the power goes", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const images: Array<{ readonly image: Image; readonly where: string }> = []
      const { all, lsn } = yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* source
        return yield* Effect.gen(function*() {
          for (const number of upTo(300)) yield* append(number, 100, "synced")
          yield* faults.observe(({ number, operation, path }) => {
            if (["open", "read", "list", "size", "kind", "close"].includes(operation)) return
            const crashes: ReadonlyArray<Crash> = [
              { keep: "nothing" },
              { keep: "everything" },
              { seed: number }
            ]
            for (const crash of crashes) {
              const where = `before ${number}, ${operation} ${path}, ${JSON.stringify(crash)}`
              images.push({ image: faults.crashImage(crash), where })
            }
          })
          const { lsn } = yield* store.backup(copy)
          return { all: yield* rows, lsn }
        }).pipe(Effect.provideService(Store.Store, store))
      }))
      let refused = 0
      let whole = 0
      for (const { image, where } of images) {
        yield* Effect.gen(function*() {
          const disk = yield* Disk
          yield* Effect.scoped(Effect.provideServiceEffect(expectState(all, lsn), Store.Store, source))
          const isThere = (yield* disk.kind(copy)) === "directory" &&
            (yield* disk.list(copy)).some((name) => name === "pages" || name.startsWith("log-"))
          if (!isThere) return
          if ((yield* disk.list(copy)).includes("super")) {
            whole++
            yield* inCopy(expectState(all, lsn))
          } else {
            refused++
            const reason = yield* refusal(Effect.scoped(Store.make({ ...options, path: copy })))
            assert.match(reason.message, /\/copy\/super/)
          }
        }).pipe(
          Effect.provide(layer({ image })),
          Effect.catchCause((cause) => Effect.die(new Error(`${where}: ${cause}`, { cause })))
        )
      }
      assert.isAbove(refused, 20)
      assert.isAbove(whole, 0)
    }).pipe(Effect.provide(layer())), 60_000)

  it.effect("that fails leaves nothing behind, and the store as it was", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const disk = yield* Disk
      const store = yield* source
      yield* Effect.gen(function*() {
        for (const number of upTo(60)) yield* append(number, 100, "synced")
        let failures = 0
        for (const operation of ["open", "write", "allocate", "sync", "rename", "syncDirectory"] as const) {
          for (let nth = 1; nth < 40; nth++) {
            const outcome = { _tag: "Refused", code: "EIO" } as const
            yield* faults.fail({ operation, path: /^\/copy/, at: nth, outcome })
            const reason = yield* reasonOf(store.backup(copy))
            yield* faults.heal
            if (reason === "done") break
            failures++
            assert.strictEqual(reason, "DiskFailed", `${operation} ${nth}`)
            if ((yield* disk.kind(copy)) !== "missing") {
              const names = yield* disk.list(copy)
              assert.deepStrictEqual(names.filter((name) => !left.includes(name)), [], `${operation} ${nth}`)
            }
            yield* append(1_000 + failures, 10, "synced")
            yield* store.checkpoint
          }
          for (const name of yield* disk.list(copy)) yield* disk.unlink(`${copy}/${name}`)
        }
        assert.isAbove(failures, 10)
        yield* Effect.scoped(Effect.gen(function*() {
          const { started, store } = yield* gated({ ...options, path: "/gated" })
          const interrupted = yield* Effect.forkChild(store.backup(copy))
          yield* Deferred.await(started)
          yield* Fiber.interrupt(interrupted)
          assert.deepStrictEqual(yield* disk.list(copy), left)
          yield* store.checkpoint
        }))
        const { lsn } = yield* store.backup(copy)
        const all = yield* rows
        yield* inCopy(expectState(all, lsn))
      }).pipe(Effect.provideService(Store.Store, store))
    }).pipe(Effect.scoped, Effect.provide(layer())), 60_000)

  it.effect("waits for nobody who gave up, and ends with its store", () =>
    Effect.gen(function*() {
      const { going, started, store } = yield* gated()
      const slow = yield* Effect.forkChild(store.backup(copy))
      yield* Deferred.await(started)
      const other = yield* Effect.forkChild(store.backup("/other"))
      yield* Effect.repeat(Effect.yieldNow, { times: 50 })
      assert.isUndefined(other.pollUnsafe(), "one after another")
      yield* Fiber.interrupt(other)
      const third = yield* Effect.forkChild(store.backup("/third"))
      yield* Deferred.succeed(going, undefined)
      yield* Fiber.join(slow)
      yield* Fiber.join(third)
      yield* store.checkpoint
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("ends though commits wait for a checkpoint, as many as there is room for", () =>
    Effect.gen(function*() {
      const log = { "checkpoint.logBytes": 32_768, "checkpoint.hardLogBytes": 65_536 }
      const limits = { ...options.limits, ...log, mailbox: 4 }
      const { going, started, store } = yield* gated({ path: directory, limits })
      yield* Effect.gen(function*() {
        const backup = yield* Effect.forkChild(store.backup(copy))
        yield* Deferred.await(started)
        const writers = yield* Effect.forEach(
          upTo(40),
          (writer) =>
            Effect.forkChild(Effect.forEach(upTo(20), (number) =>
              Tx.transact({ durability: "memory" })(
                Rows.put(keyOf(writer * 100 + number), Buffer.alloc(200))
              ), {
              discard: true
            }))
        )
        const { tail, wal } = store.machine.parts
        while (tail.end < log["checkpoint.hardLogBytes"] || wal.waiting() < limits.mailbox) {
          yield* Effect.yieldNow
        }
        yield* Deferred.succeed(going, undefined)
        const { lsn } = yield* Fiber.join(backup)
        yield* Effect.forEach(writers, Fiber.join)
        const all = yield* rows
        assert.strictEqual(all.length, 800)
        const found = yield* inCopy(rows)
        assert.deepStrictEqual(found, all.filter((row) => row.lsn < lsn))
      }).pipe(Effect.provideService(Store.Store, store))
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.effect("of a store that is closed meanwhile fails, and does not keep it open", () =>
    Effect.gen(function*() {
      const backup = yield* Effect.scoped(Effect.gen(function*() {
        const { going, started, store } = yield* gated()
        yield* Effect.provideService(append(1, 10_000, "synced"), Store.Store, store)
        const backup = yield* Effect.forkDetach(reasonOf(store.backup(copy)))
        yield* Deferred.await(started)
        yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow, Deferred.succeed(going, undefined)))
        return backup
      }))
      assert.strictEqual(yield* Fiber.join(backup), "Closed")
    }).pipe(Effect.provide(layer())))

  it.live("waits for nobody who is told of its progress, and ends when they have heard of the last", () =>
    Effect.gen(function*() {
      const log = { "checkpoint.logBytes": 16_384, "checkpoint.hardLogBytes": 32_768 }
      const limits = { ...options.limits, segmentBytes: 8_192, ...log }
      const store = yield* Store.make({ path: directory, limits })
      yield* Effect.gen(function*() {
        for (const number of upTo(20)) yield* append(number, 200, "synced")
        // Its commits wait for a checkpoint, and that for the copy.
        const heard: Array<{ readonly done: number; readonly total: number }> = []
        const { bytes } = yield* store.backup(copy, {
          progress: (progress) =>
            Effect.andThen(
              Effect.sync(() => heard.push(progress)),
              Effect.orDie(Effect.provideService(
                Effect.forEach(upTo(40), (number) => append(1_000 + number, 200, "synced"), {
                  discard: true
                }),
                Store.Store,
                store
              ))
            )
        })
        assert.deepStrictEqual(heard.at(-1), { done: bytes, total: bytes })
        const deaf = yield* Effect.forkChild(store.backup("/deaf", { progress: () => Effect.never }))
        while ((yield* (yield* Disk).kind("/deaf/super")) === "missing") yield* Effect.yieldNow
        yield* store.checkpoint
        assert.isUndefined(deaf.pollUnsafe())
        yield* Fiber.interrupt(deaf)
        assert.include(yield* (yield* Disk).list("/deaf"), "super")
      }).pipe(Effect.provideService(Store.Store, store))
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("lets a checkpoint begin before the next one", () =>
    Effect.gen(function*() {
      const { going, started, store } = yield* gated()
      const order: Array<string> = []
      const noted = <A, E>(name: string, effect: Effect.Effect<A, E>) =>
        Effect.forkChild(Effect.tap(effect, () => Effect.sync(() => order.push(name))))
      yield* Effect.provideService(append(1, 10_000, "synced"), Store.Store, store)
      const first = yield* noted("first", store.backup(copy))
      yield* Deferred.await(started)
      const second = yield* noted("second", store.backup("/second"))
      const third = yield* noted("third", store.backup("/third"))
      yield* Effect.repeat(Effect.yieldNow, { times: 20 })
      const checkpoint = yield* noted("checkpoint", store.checkpoint)
      yield* Effect.repeat(Effect.yieldNow, { times: 20 })
      yield* Deferred.succeed(going, undefined)
      yield* Effect.forEach(
        [first, second, third, checkpoint],
        (fiber) => Fiber.join<unknown, unknown>(fiber)
      )
      assert.deepStrictEqual(order, ["first", "checkpoint", "second", "third"])
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.live("given up removes nothing of whoever has the directory", () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      const faults = yield* FaultDisk
      const { going, started, store } = yield* gated()
      yield* Effect.provideService(append(1, 10_000, "synced"), Store.Store, store)
      // Both see that nothing is there; the second takes its time to make the directory.
      const late = (millis: number) => ({ _tag: "Delayed", millis }) as const
      yield* faults.fail({ operation: "makeDirectory", path: /^\/copy/, at: 1, outcome: late(10) })
      yield* faults.fail({ operation: "makeDirectory", path: /^\/copy/, at: 2, outcome: late(40) })
      const first = yield* Effect.forkChild(store.backup(copy))
      const second = yield* Effect.forkChild(reasonOf(store.backup(copy)))
      yield* Deferred.await(started)
      assert.strictEqual(yield* Fiber.join(second), "Locked")
      yield* faults.heal
      const third = yield* Effect.forkChild(store.backup("/waits"))
      while ((yield* disk.kind("/waits/lock")) !== "file") yield* Effect.sleep("1 millis")
      // Who cleans up takes its time to look what there is.
      yield* faults.fail({ operation: "list", path: /^\/waits$/, at: 1, outcome: late(20) })
      const gone = yield* Effect.forkChild(Fiber.interrupt(third))
      yield* Effect.yieldNow
      assert.strictEqual(yield* reasonOf(Store.make({ ...options, path: "/waits" })), "Locked")
      yield* Fiber.join(gone)
      yield* Deferred.succeed(going, undefined)
      yield* Fiber.join(first)
      assert.include(yield* disk.list(copy), "super")
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.effect("removes what can be removed", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const store = yield* source
      yield* Effect.provideService(append(1, 10_000, "synced"), Store.Store, store)
      const outcome = { _tag: "Refused", code: "EIO" } as const
      yield* faults.fail({ operation: "rename", path: /^\/copy/, outcome })
      yield* faults.fail({ operation: "unlink", path: /^\/copy\/log/, outcome })
      assert.strictEqual(yield* reasonOf(store.backup(copy)), "DiskFailed")
      const names = yield* (yield* Disk).list(copy)
      assert.deepStrictEqual(names.filter((name) => !name.startsWith("log-")), left)
    }).pipe(Effect.scoped, Effect.provide(layer())))

  it.effect("is refused in the directory of its store", () =>
    Effect.gen(function*() {
      const store = yield* source
      for (
        const to of [directory, `${directory}/scratch`, `${directory}/sub/`, `${directory}/../store/log`]
      ) {
        assert.strictEqual(yield* reasonOf(store.backup(to)), "InvalidOptions", to)
      }
      yield* store.backup(`${directory}-2`)
    }).pipe(Effect.scoped, Effect.provide(layer())))
})

suite("a backup", (test) => {
  test.opening("is opened as any store is", (open) =>
    Effect.gen(function*() {
      yield* Effect.gen(function*() {
        const store = yield* Store.Store
        const disk = yield* Disk
        for (const number of upTo(40)) yield* append(number, 5_000, "synced")
        const parent = store.machine.parts.file.path.replace(/\/store\/pages$/, "")
        const { bytes, lsn } = yield* store.backup(`${parent}/copy`)
        assert.isAbove(bytes, 40 * 5_000)
        assert.strictEqual((yield* refusal(store.backup(`${parent}/copy`)))._tag, "InvalidOptions")
        const all = yield* rows
        const opened = Store.make({ path: `${parent}/copy`, memory: "4 MiB" })
        yield* Effect.scoped(Effect.provideServiceEffect(expectState(all, lsn), Store.Store, opened))
        const reader = yield* Store.make({ path: `${parent}/copy`, memory: "4 MiB" }, "readOnly")
        assert.strictEqual((yield* refusal(reader.backup(`${parent}/other`)))._tag, "ReadOnly")
        assert.strictEqual(yield* disk.kind(`${parent}/other`), "missing")
      }).pipe(Effect.scoped, Effect.provide(open()))
    }))
})

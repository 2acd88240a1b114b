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

const Rows = Keyspace.bytes("rows")
const keyOf = (number: number): Uint8Array => Buffer.from(String(number).padStart(8, "0"))

/** One row more, of any size, and the number of rows with it. */
const append = (number: number, bytes: number, durability: "memory" | "synced") =>
  Effect.andThen(Rows.put(keyOf(number), Buffer.alloc(bytes, number)), add("rows")).pipe(
    Tx.transact({ durability })
  )

const rows = Snapshot.read()(Stream.runCollect(Rows.range()))

const source = Store.make({ ...options, path: directory })
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
              assert.deepStrictEqual(yield* disk.list(copy), [], `${operation} ${nth}`)
            }
            yield* append(1_000 + failures, 10, "synced")
            yield* store.checkpoint
          }
          for (const name of yield* disk.list(copy)) yield* disk.unlink(`${copy}/${name}`)
        }
        assert.isAbove(failures, 10)
        const started = yield* Deferred.make<void>()
        const interrupted = yield* Effect.forkChild(store.backup(copy, {
          progress: () => Effect.andThen(Deferred.succeed(started, undefined), Effect.never)
        }))
        yield* Deferred.await(started)
        yield* Fiber.interrupt(interrupted)
        assert.deepStrictEqual(yield* disk.list(copy), [])
        yield* store.checkpoint
        const { lsn } = yield* store.backup(copy)
        const all = yield* rows
        yield* inCopy(expectState(all, lsn))
      }).pipe(Effect.provideService(Store.Store, store))
    }).pipe(Effect.scoped, Effect.provide(layer())), 60_000)

  it.effect("waits for nobody who gave up, and ends with its store", () =>
    Effect.gen(function*() {
      const store = yield* source
      const started = yield* Deferred.make<void>()
      const going = yield* Deferred.make<void>()
      const slow = yield* Effect.forkChild(store.backup(copy, {
        progress: () => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(going))
      }))
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
      const store = yield* Store.make({ path: directory, limits })
      yield* Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const going = yield* Deferred.make<void>()
        const backup = yield* Effect.forkChild(store.backup(copy, {
          progress: () => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(going))
        }))
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
      const started = yield* Deferred.make<void>()
      const going = yield* Deferred.make<void>()
      const backup = yield* Effect.scoped(Effect.gen(function*() {
        const store = yield* source
        const backup = yield* Effect.forkDetach(reasonOf(store.backup(copy, {
          progress: () => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(going))
        })))
        yield* Deferred.await(started)
        yield* Effect.forkDetach(Effect.andThen(Effect.yieldNow, Deferred.succeed(going, undefined)))
        return backup
      }))
      assert.strictEqual(yield* Fiber.join(backup), "Closed")
    }).pipe(Effect.provide(layer())))
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

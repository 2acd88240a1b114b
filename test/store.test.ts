/**
 * The store as a service: its LSNs, checkpoints, events and numbers, and what reopening keeps.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { random } from "./support/random.ts"
import { suite, upTo } from "./support/stores.ts"

const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })
const Ints = Keyspace.make("ints", { key: Key.Int, value: Schema.Int })
const Visits = Keyspace.make("visits", { key: Key.Tuple(Key.String, Key.Desc(Key.Int)), value: Schema.Null })
const Blobs = Keyspace.bytes("blobs")

const write = Tx.transact()
const put = (...keys: ReadonlyArray<string>) =>
  write(Effect.forEach(keys, (key) => Words.put(key, key), { discard: true }))
const words = Snapshot.read()(Stream.runCollect(Words.keys()))
const inStore = <A, E>(use: (store: Store.Store["Service"]) => Effect.Effect<A, E, Store.Store>) =>
  Effect.flatMap(Store.Store, use)

suite("store", (test) => {
  test("visible and durable LSNs grow, and waiting for one makes it durable", () =>
    inStore((store) =>
      Effect.gen(function*() {
        let last = yield* store.visibleLsn
        for (const durability of ["memory", "buffered", "synced"] as const) {
          const { lsn } = yield* Words.put("a", durability).pipe(Tx.commit({ durability }))
          const visible = yield* store.visibleLsn
          assert.isAtLeast(lsn, last)
          assert.isAbove(visible, lsn)
          if (durability === "synced") assert.isAbove(yield* store.durableLsn, lsn)
          yield* store.awaitDurable(visible)
          assert.isAtLeast(yield* store.durableLsn, visible)
          last = visible
        }
        yield* store.awaitDurable(0)
      })
    ))

  test("its effects are lazy: run twice, they look twice", () =>
    inStore((store) =>
      Effect.gen(function*() {
        const { checkpoint, durableLsn, inspect, stat, visibleLsn } = store
        const before = yield* Effect.all([visibleLsn, durableLsn, stat, inspect, checkpoint])
        yield* put("a")
        yield* store.awaitDurable(yield* visibleLsn)
        const after = yield* Effect.all([visibleLsn, durableLsn, stat, inspect, checkpoint])
        assert.isAbove(after[0], before[0])
        assert.isAbove(after[1], before[1])
        assert.strictEqual(after[2].counters.commits, before[2].counters.commits + 1)
        assert.strictEqual(after[3].keyspaces.length, before[3].keyspaces.length + 1)
        assert.isAbove(after[4].version, before[4].version)
      })
    ))

  test("a checkpoint is reported to who asked and to who listens", () =>
    inStore((store) =>
      Effect.gen(function*() {
        const listening = yield* Deferred.make<void>()
        const events = yield* Effect.forkChild(
          Stream.runCollect(
            store.events.pipe(Stream.onStart(Deferred.succeed(listening, undefined)), Stream.take(2))
          ),
          { startImmediately: true }
        )
        yield* Deferred.await(listening)
        yield* put(...upTo(500).map((n) => `k${n}`))
        const visible = yield* store.visibleLsn
        const first = yield* store.checkpoint
        assert.deepInclude(first, { trigger: "request" })
        assert.isAtLeast(first.lsn, visible)
        assert.isAbove(first.pages, 3)
        assert.isAbove(first.bytes, first.pages)
        assert.isAtLeast(first.millis, 0)
        yield* put("again")
        const second = yield* store.checkpoint
        assert.isAbove(second.version, first.version)
        assert.isAbove(second.lsn, first.lsn)
        assert.isBelow(second.pages, first.pages, "only what changed")
        assert.deepStrictEqual(
          yield* Fiber.join(events),
          [first, second].map((report) => ({ _tag: "Checkpoint" as const, report }))
        )
      })
    ))

  test("events nobody listened to are not kept for later, and many listeners get the same", () =>
    inStore((store) =>
      Effect.gen(function*() {
        yield* put("a")
        yield* store.checkpoint
        const fibers = yield* Effect.forEach(upTo(3), () =>
          Effect.forkChild(Stream.runHead(store.events), { startImmediately: true }))
        yield* Effect.sleep(5)
        yield* put("b")
        const report = yield* store.checkpoint
        for (const fiber of fibers) {
          assert.deepStrictEqual(
            yield* Fiber.join(fiber),
            Option.some({ _tag: "Checkpoint" as const, report })
          )
        }
      })
    ))

  test(
    "a checkpoint starts by itself when the log is long enough, and the log is given up",
    () =>
      inStore((store) =>
        Effect.gen(function*() {
          const report = yield* Effect.forkChild(Stream.runHead(store.events), { startImmediately: true })
          yield* Effect.sleep(5)
          yield* Effect.forEach(upTo(300), (n) => write(Words.put(`k${n % 10}`, "v".repeat(500))), {
            discard: true
          })
          const { value } = (yield* Fiber.join(report)) as Option.Some<Store.Event>
          assert.nestedPropertyVal(value, "report.trigger", "bytes")
          yield* Effect.forEach(upTo(3), () => Effect.andThen(put("a"), store.checkpoint))
          assert.isBelow((yield* store.stat).log.files, 150_000)
        })
      ),
    { segmentSize: "16 KiB", undurable: "16 KiB", checkpoint: { logBytes: "64 KiB" } }
  )

  test("stat counts what there is", () =>
    inStore((store) =>
      Effect.gen(function*() {
        yield* put("a", "b")
        yield* write(Effect.andThen(Ints.put(1, 1), Visits.put(["a", 1], null)))
        yield* write(Visits.drop)
        const stat = yield* store.stat
        const counts = stat.keyspaces.map(({ name, records, unresolved }) => [name, records, unresolved])
        assert.deepStrictEqual(counts.sort(), [["ints", 1, 0], ["words", 2, 0]])
        assert.strictEqual(stat.counters.commits, 3)
        assert.strictEqual(stat.lsn.visible, yield* store.visibleLsn)
        assert.isAtMost(stat.lsn.begin, stat.lsn.durable)
        assert.isAtMost(stat.lsn.durable, stat.lsn.visible)
        assert.isBelow(stat.pages.freeBlocks, stat.pages.blocks)
        assert.isAbove(stat.counters.syncs, 0)
      })
    ))

  test("inspect shows every leaf with the records that stat counts", () =>
    inStore((store) =>
      Effect.gen(function*() {
        yield* put(...upTo(2_000).map((n) => `k${n}`))
        const inspection = yield* store.inspect
        assert.deepStrictEqual(inspection.keyspaces.map(({ layout, name }) => [name, layout]), [[
          "words",
          "string -> json"
        ]])
        assert.isAbove(JSON.stringify(inspection.keyspaces[0]?.tree).length, 1_000)
      })
    ))

  test.opening("reopening keeps everything, again and again", (open) =>
    Effect.gen(function*() {
      const chance = random(21)
      const model = new Map<number, number>()
      const large = chance.bytes(50_000)
      let lsn = 0
      for (let life = 0; life < 8; life++) {
        yield* inStore((store) =>
          Effect.gen(function*() {
            assert.isAtLeast(yield* store.durableLsn, lsn, "LSNs go on where they ended")
            const rows = yield* Snapshot.read()(Stream.runCollect(Ints.range()))
            const expected = [...model].sort(([a], [b]) => a - b)
            assert.deepStrictEqual(rows.map(({ key, value }) => [key, value]), expected, `life ${life}`)
            assert.strictEqual((yield* Ints.stat).count, model.size)
            if (life > 0) {
              const blob = yield* Snapshot.read()(Blobs.get(Uint8Array.of(1)))
              assert.strictEqual(Buffer.compare(Option.getOrThrow(blob), large), 0)
            }
            yield* write(Effect.gen(function*() {
              if (life === 0) yield* Blobs.put(Uint8Array.of(1), large)
              for (let writes = 0; writes < 400; writes++) {
                const key = chance.int(1_500) - 700
                if (chance.bool(0.3)) {
                  yield* Ints.remove(key)
                  model.delete(key)
                } else {
                  yield* Ints.put(key, life)
                  model.set(key, life)
                }
              }
              if (life === 5) {
                yield* Ints.clear
                model.clear()
              }
            }))
            if (chance.bool(0.5)) yield* store.checkpoint
            lsn = yield* store.durableLsn
          })
        ).pipe(Effect.provide(open({ segmentSize: "16 KiB" })))
      }
    }))

  test.opening("a store opens with other options than it was made with, its page size apart", (open) =>
    Effect.gen(function*() {
      yield* Effect.provide(put("a"), open({ pageSize: "8 KiB" }))
      for (
        const options of [{}, { memory: "8 MiB" }, { segmentSize: "64 KiB" }, { pageSize: "8 KiB" }] as const
      ) {
        yield* Effect.provide(
          Effect.gen(function*() {
            assert.strictEqual((yield* Store.Store).machine.limits.pageBytes, 8_192)
            assert.deepStrictEqual(yield* words, ["a"])
            yield* put("a")
          }),
          open(options)
        )
      }
    }))

  test.opening("who opens it hears how recovery goes", (open) =>
    Effect.gen(function*() {
      const progress: Array<Store.Progress> = []
      const listener = Layer.succeed(Store.Recovery, (step: Store.Progress) =>
        Effect.sync(() => void progress.push(step)))
      yield* Effect.provide(put("a"), open())
      yield* Effect.provide(words, open().pipe(Layer.provide(listener)))
      const lsns = progress.map(({ lsn }) =>
        lsn
      )
      assert.deepStrictEqual(lsns, lsns.toSorted((a, b) => a - b))
    }))

  test("a store that nobody wrote to can be read", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* words, [])
      assert.deepStrictEqual(yield* Words.stat, { count: 0, unresolved: 0 })
      yield* write(Effect.void)
    }))
})

describe("fibers", () => {
  it.live("interrupted at any moment leave a store that works", () =>
    Effect.gen(function*() {
      let committed = 0
      for (let yields = 0; yields < 80; yields++) {
        const fiber = yield* Effect.forkChild(
          Effect.forEach(upTo(5), (n) =>
            Effect.map(write(Effect.andThen(Words.has("x"), Words.put(`k${yields}-${n}`, ""))), () =>
              committed++))
        )
        for (let step = 0; step < yields; step++) {
          yield* Effect.yieldNow
        }
        yield* Fiber.interrupt(fiber)
      }
      const { count } = yield* Words.stat
      assert.isAtLeast(count, committed, "what was acknowledged is there")
      yield* put("last")
      assert.strictEqual((yield* Words.stat).count, count + 1)
    }).pipe(Effect.provide(Layer.fresh(Store.layerMemory))))
})

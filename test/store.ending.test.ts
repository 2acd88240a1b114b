/**
 * What a store tells, to whoever outlives it: everything up to its end, and then the end.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { upTo } from "./support/stores.ts"
import { put, write } from "./support/words.ts"

const options = {
  path: "/store",
  limits: { pageBytes: 1_024, segmentBytes: 4_096, memoryBytes: 512 * 1_024 }
}

/** A store, and what closes it. */
const opened = Effect.gen(function*() {
  const scope = yield* Scope.make()
  const store = yield* Scope.provide(Store.make(options), scope)
  return { store, close: Scope.close(scope, Exit.void) }
})

const reading = <A>(stream: Stream.Stream<A>) =>
  Effect.forkDetach(Stream.runCollect(stream), { startImmediately: true })

describe("a stream of a store", () => {
  it.live("tells of the checkpoint at closing, and ends with the store", () =>
    Effect.gen(function*() {
      const { close, store } = yield* opened
      const readers = [yield* reading(store.events), yield* reading(store.events)]
      yield* Effect.provideService(write(put("a")), Store.Store, store)
      yield* store.checkpoint
      yield* Effect.provideService(write(put("b")), Store.Store, store)
      yield* close
      for (const reader of readers) {
        const triggers = (yield* Fiber.join(reader)).map((event) =>
          event._tag === "Checkpoint" ? event.report.trigger : event._tag
        )
        assert.deepStrictEqual(triggers, ["request", "close"])
      }
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.live("gives a slow reader what was kept for it, after the store is closed", () =>
    Effect.gen(function*() {
      const { close, store } = yield* opened
      const ended = yield* Effect.forkDetach(
        Stream.runCollect(Stream.mapEffect(store.events, (event) => Effect.as(Effect.sleep(20), event))),
        { startImmediately: true }
      )
      for (const n of upTo(5)) {
        yield* Effect.provideService(write(put(`${n}`)), Store.Store, store)
        yield* store.checkpoint
      }
      yield* close
      assert.isAtLeast((yield* Fiber.join(ended)).length, 5)
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.live("of pages ends with the store", () =>
    Effect.gen(function*() {
      const { close, store } = yield* opened
      const reader = yield* reading(store.pageEvents)
      assert.isTrue(store.machine.tree.events.heard)
      const filling = Tx.transact()(put(...upTo(300).map((n) => `key ${n}`)))
      yield* Effect.provideService(filling, Store.Store, store)
      yield* close
      const events = yield* Fiber.join(reader)
      assert.isTrue(events.some(({ _tag }) => _tag === "Split"))
      assert.isFalse(store.machine.tree.events.heard)
    }).pipe(Effect.provide(MemoryDisk.layer)))

  it.live("that is read after the store was closed has ended", () =>
    Effect.gen(function*() {
      const { close, store } = yield* opened
      yield* close
      assert.deepStrictEqual(yield* Stream.runCollect(store.events), [])
      assert.deepStrictEqual(yield* Stream.runCollect(store.pageEvents), [])
      assert.isFalse(store.machine.tree.events.heard)
    }).pipe(Effect.provide(MemoryDisk.layer)))
})

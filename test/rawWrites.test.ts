/**
 * Writes through the raw door are refused only where they would have to wait for the disk, not for others' requests.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Actor from "../src/actors/loop/Actor.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { closed, quiet, Recorder, work } from "./support/recorder.ts"
import { refusal, suite, upTo } from "./support/stores.ts"

describe("a mailbox that is drained", () => {
  it.effect("is handled on the caller's stack, and whoever waited for it goes on after the caller", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 9 })
      const replied: Array<number> = []
      const ask = (number: number) =>
        Effect.map(
          // Left in the mailbox, though nothing is before it.
          Actor.ask({ ...actor, inline: () => false }, (done: Actor.Reply<number, StoreError>) =>
            work(number, done)),
          (reply) =>
            void replied.push(reply)
        )
      const fibers = yield* Effect.forEach([0, 1, 2], (number) => Effect.forkScoped(ask(number)))
      while (actor.waiting() < 3) yield* Effect.yieldNow
      assert.isFalse(actor.inline(work(8)), "others wait before it")
      const before = recorder.settled
      recorder.onReceive = () => {
        actor.drain()
        assert.isFalse(actor.inline(work(8)), "the actor is in the middle of it")
      }
      actor.drain()
      recorder.onReceive = () => {}
      assert.deepStrictEqual(recorder.handled, [0, 1, 2])
      assert.strictEqual(recorder.settled, before + 1)
      assert.deepStrictEqual(replied, [])
      assert.isTrue(actor.inline(work(3)))
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(replied, [0, 1, 2])
      actor.tell(work(4))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [0, 1, 2, 3, 4], "the loop goes on")
    }))

  it.effect("stays as it is where others wait for a place, or where the actor has stopped", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      actor.tell(work(0))
      Effect.runFork(actor.send(work(1)))
      actor.drain()
      assert.deepStrictEqual(recorder.handled, [])
      yield* Effect.repeat(quiet, { times: 3 })
      assert.deepStrictEqual(recorder.handled, [0, 1])
      actor.stop(closed)
      actor.drain()
      assert.isFalse(actor.inline(work(2)))
    }))
})

const Rows = Keyspace.bytes("rows")
const keyOf = (number: number): Uint8Array => Buffer.from(String(number).padStart(8, "0"))
const value = Buffer.alloc(8)

suite("raw writes", (test) => {
  test(
    "are taken while others' requests wait, in the order in which they came",
    () =>
      Effect.gen(function*() {
        const store = yield* Store.Store
        const raw = yield* Rows.raw
        const others = upTo(5).map((own) =>
          Effect.forEach(upTo(60), (number) => Tx.transact()(Rows.put(keyOf(own), keyOf(number))), {
            discard: true
          })
        )
        const fibers = yield* Effect.forEach(others, (other) => Effect.forkChild(other))
        for (let round = 0; round < 100; round++) {
          raw.batchUnsafe(upTo(100).map((number) => ({ key: keyOf(100 + round * 100 + number), value })))
          if (round % 3 > 0) yield* store.awaitDurable(yield* store.visibleLsn)
          else yield* Effect.yieldNow
        }
        yield* Effect.forEach(fibers, Fiber.join)
        const { count } = yield* Rows.stat
        assert.strictEqual(count, 10_005)
        for (const own of upTo(5)) {
          const found = yield* Snapshot.read()(Rows.get(keyOf(own)))
          assert.deepStrictEqual(found, yield* Effect.succeedSome(keyOf(59)))
        }
      }),
    { memory: "8 MiB" }
  )

  test(
    "that would wait for the disk, or for room, are refused, and say what for",
    () =>
      Effect.gen(function*() {
        const raw = yield* Rows.raw
        const write = Effect.try({
          try: () => {
            for (let number = 0; number < 10_000; number++) raw.putUnsafe(keyOf(number), Buffer.alloc(1_000))
          },
          catch: (error) => error as StoreError
        })
        const reason = yield* refusal(write)
        assert.strictEqual(reason._tag, "Overloaded")
        assert.match(
          reason.message,
          /as it waits for (the sync of \d+ bytes of log, which are more than undurableBytes|room or pages for \d+ records)/
        )
      }),
    { memory: "8 MiB", undurable: "64 KiB" }
  )
})

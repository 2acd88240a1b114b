/**
 * Writes through the raw door are refused only where they would have to wait for the disk, not for others' requests.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Actor from "../src/actors/loop/Actor.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Session from "../src/Session.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { asked, closed, note, park, quiet, Recorder, release, work } from "./support/recorder.ts"
import { refusal, suite, upTo } from "./support/stores.ts"

describe("a request that is handled at once", () => {
  it.effect("lets whoever else is replied to go on after the caller", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 9 })
      const replied: Array<number> = []
      const parked = yield* Effect.forkChild(
        Effect.map(asked(actor, (done) => park(0, done)), (number) => void replied.push(number))
      )
      while (actor.waiting() === 0) yield* Effect.yieldNow
      // Where something is parked nothing is handled at once, so that is told first and the rest drained.
      actor.tell(release(1))
      assert.isTrue(actor.drain())
      assert.deepStrictEqual(replied, [])
      yield* Fiber.join(parked)
      assert.deepStrictEqual(replied, [0])
      // Replied to by what the next request makes of its batch.
      let reply: Actor.Reply<number, StoreError> | undefined
      const waiting = yield* Effect.forkChild(
        Effect.map(
          asked(actor, (done) => {
            reply = done
            return note(2)
          }),
          (number) => void replied.push(number)
        )
      )
      yield* quiet
      recorder.onSettle = () => reply?.(Exit.succeed(2))
      assert.isTrue(actor.inline(work(3)))
      assert.deepStrictEqual(replied, [0], "not in the middle of the call")
      yield* Fiber.join(waiting)
      assert.deepStrictEqual(replied, [0, 2])
    }))
})

describe("a mailbox that is drained", () => {
  it.effect("with what the loop has taken and not handled yet", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 2_000 })
      const numbers = upTo(1_000)
      for (const number of numbers) actor.tell(work(number))
      while (recorder.handled.length === 0) yield* Effect.yieldNow
      assert.isBelow(recorder.handled.length, 1_000, "it has yielded in the middle of them")
      assert.isFalse(actor.inline(work(-1)), "others are before it")
      assert.isTrue(actor.drain())
      assert.isFalse(actor.drain())
      assert.isTrue(actor.inline(work(1_000)))
      actor.tell(work(1_001))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [...numbers, 1_000, 1_001])
    }))

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

  /** Waits until a key is there. */
  const until = (key: string) =>
    Tx.transact()(Effect.flatMap(
      Rows.get(Buffer.from(key)),
      (found): Effect.Effect<void, never, Tx.Tx> => Option.isSome(found) ? Effect.void : Tx.retry
    ))
  const put = (key: string) =>
    Tx.transact({ durability: "memory" })(Rows.put(Buffer.from(key), Buffer.from(key)))

  test("are what they were called with, whoever goes on because of what is handled before them", () =>
    Effect.gen(function*() {
      const raw = yield* Rows.raw
      const { wal } = (yield* Store.Store).machine.parts
      const session = yield* Session.open("s")
      const run = Effect.runForkWith(yield* Effect.context<Store.Store>())
      const once = (serial: number) => Tx.once({ session, serial, durability: "memory" })
      // It has something to do: from here to the write nothing suspends.
      wal.progress()
      const inner: Array<number> = []
      const one = run(once(1)(Rows.put(Buffer.from("one"), value)))
      const two = run(once(2)(Effect.sync(() => void inner.push(raw.putUnsafe(Buffer.from("inner"), value)))))
      const lsn = raw.putUnsafe(Buffer.from("outer"), value)
      assert.deepStrictEqual(inner, [], "nobody goes on in the middle of a write")
      yield* Effect.forEach([one, two], (fiber) => Fiber.join<unknown, unknown>(fiber))
      const outer = Option.getOrThrow(yield* Snapshot.read()(Rows.getEntry(Buffer.from("outer"))))
      assert.strictEqual(outer.lsn, lsn)
      const other = Option.getOrThrow(yield* Snapshot.read()(Rows.getEntry(Buffer.from("inner"))))
      assert.deepStrictEqual(inner, [other.lsn])
    }))

  test("are taken while somebody waits for what is handled before them", () =>
    Effect.gen(function*() {
      const raw = yield* Rows.raw
      const run = Effect.runForkWith(yield* Effect.context<Store.Store>())
      const { wal } = (yield* Store.Store).machine.parts
      const waiters = [run(until("x")), run(until("y"))]
      yield* quiet
      wal.progress()
      const others = [run(put("x")), run(put("y"))]
      raw.putUnsafe(Buffer.from("z"), value)
      yield* Effect.forEach([...waiters, ...others], (fiber) => Fiber.join<unknown, unknown>(fiber))
    }))

  test("say why the store has stopped, where it has", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const raw = yield* Rows.raw
      raw.putUnsafe(keyOf(0), value)
      yield* store.awaitDurable(yield* store.visibleLsn)
      store.machine.parts.wal.submit({
        keyspaces: () => {
          throw new Error("a defect")
        },
        durability: "memory"
      })
      const write = Effect.try({
        try: () => raw.putUnsafe(keyOf(1), value),
        catch: (error) => error as StoreError
      })
      assert.strictEqual((yield* refusal(write))._tag, "Defective")
    }))

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

/**
 * The loop that every actor runs: what it refuses, in which order it handles, and how it replies.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Actor from "../src/actors/loop/Actor.ts"
import { random } from "./support/random.ts"
import type { Random } from "./support/random.ts"
import type { Recorded } from "./support/recorder.ts"
import {
  asked,
  closed,
  note,
  park,
  quiet,
  Recorder,
  release,
  releaseLater,
  seeds,
  work
} from "./support/recorder.ts"

const ascending = (numbers: ReadonlyArray<number>, what: string): void =>
  assert.deepStrictEqual(numbers, [...numbers].sort((a, b) => a - b), what)

describe("capacity", () => {
  for (const seed of seeds(40)) {
    it.effect(`requests are refused exactly at it, parked ones included (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const recorder = new Recorder()
        const capacity = 1 + chance.int(6)
        const actor = yield* recorder.make({ capacity, lanes: 4 })
        let requests = 0
        let answers = 0
        for (let number = 0; number < 400; number++) {
          const kind = chance.int(10)
          if (kind < 6) {
            const waiting = requests + recorder.parked.length
            assert.strictEqual(actor.waiting(), waiting)
            const told = actor.tell(chance.bool(0.5) ? work(number) : park(number))
            assert.strictEqual(told, waiting < capacity, `request ${number}`)
            if (told) requests++
          } else if (kind < 8 && answers < 4) {
            actor.answer(chance.bool(0.5) ? release(number) : note(number))
            answers++
          } else {
            yield* quiet
            requests = 0
            answers = 0
          }
        }
      }))
  }

  it.effect("answers are never refused, however many requests wait", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 3, lanes: 5 })
      for (let number = 0; number < 3; number++) assert.isTrue(actor.tell(park(number)))
      yield* quiet
      assert.isFalse(actor.tell(work(3)))
      for (let number = 10; number < 15; number++) actor.answer(note(number))
      assert.isFalse(actor.tell(work(4)))
      assert.strictEqual(actor.waiting(), 3)
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [0, 1, 2, 10, 11, 12, 13, 14])
      for (let number = 20; number < 24; number++) actor.answer(note(number))
      actor.answer(release(24))
      yield* quiet
      assert.isTrue(actor.tell(work(5)))
    }))

  it.effect("an answer that nobody paid for is a defect", () =>
    Effect.gen(function*() {
      const actor = yield* new Recorder().make({ capacity: 1, lanes: 2 })
      for (let number = 0; number < 3; number++) actor.answer(note(number))
      assert.throws(() => actor.answer(note(3)), /Actor I1/)
    }))

  it.effect("holds while a batch is handled in slices", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const capacity = 1_000
      const actor = yield* recorder.make({ capacity })
      let accepted = 0
      let most = 0
      const flood = Effect.gen(function*() {
        while (accepted < 5_000) {
          while (actor.tell(work(accepted))) {
            accepted++
            most = Math.max(most, accepted - recorder.handled.length)
          }
          yield* Effect.yieldNow
        }
      })
      yield* flood
      yield* quiet
      assert.strictEqual(recorder.handled.length, accepted)
      assert.strictEqual(most, capacity)
    }))

  for (const seed of seeds(20)) {
    it.effect(`of one: every request is replied to (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const recorder = new Recorder()
        const actor = yield* recorder.make({ capacity: 1 })
        releaseLater(recorder, actor)
        const client = (number: number) =>
          Effect.gen(function*() {
            for (let turn = 0; turn < 20; turn++) {
              const make = chance.bool(0.3) ? park : work
              assert.strictEqual(yield* asked(actor, (done) => make(number, done)), number)
              if (chance.bool(0.3)) yield* Effect.yieldNow
            }
          })
        yield* Effect.forEach(seeds(20), client, { concurrency: "unbounded" })
        assert.strictEqual(recorder.requests.length, 400)
      }))
  }
})

/** A client that uses every door at random; `numbers` gives each call its number. */
const mixed = (
  actor: Recorded,
  recorder: Recorder,
  chance: Random,
  numbers: { next: number; accepted: number; answers: Array<number> }
) =>
  Effect.gen(function*() {
    for (let turn = 0; turn < 60; turn++) {
      const number = numbers.next++
      const kind = chance.int(10)
      if (kind < 3) {
        if (actor.inline(work(number))) {
          numbers.accepted++
          assert.strictEqual(recorder.handled.at(-1), number, "inline is handled at once")
        }
      } else if (kind < 6) {
        if (actor.tell(chance.bool(0.2) ? park(number) : work(number))) numbers.accepted++
      } else if (kind < 7 && numbers.answers.length < 8) {
        numbers.answers.push(number)
        actor.answer(release(number))
      } else {
        numbers.accepted++
        yield* actor.send(work(number))
      }
      if (chance.bool(0.4)) yield* Effect.yieldNow
    }
  })

describe("order", () => {
  for (const seed of seeds(60)) {
    it.effect(`messages are handled in the order in which they were accepted (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const recorder = new Recorder()
        const actor = yield* recorder.make({ capacity: 1 + chance.int(8), lanes: 8 })
        const numbers = { next: 0, accepted: 0, answers: new Array<number>() }
        recorder.onReceive = (message) => {
          if (message._tag === "Release") numbers.answers.splice(numbers.answers.indexOf(message.number), 1)
        }
        const keeper = Effect.forever(Effect.andThen(
          Effect.suspend(() => {
            if (recorder.parked.length > 0 && numbers.answers.length === 0) {
              const number = numbers.next++
              numbers.answers.push(number)
              actor.answer(release(number))
            }
            return Effect.yieldNow
          }),
          Effect.yieldNow
        ))
        yield* Effect.forkScoped(keeper)
        yield* Effect.forEach(seeds(12), () => mixed(actor, recorder, chance, numbers), {
          concurrency: "unbounded"
        })
        yield* quiet
        // A sender that waits is accepted later than it called, but before any request that called after it.
        ascending(recorder.requests, "requests")
        assert.strictEqual(recorder.requests.length, numbers.accepted)
      }))
  }

  it.effect("inline never overtakes, not even between the slices of a batch", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 2_000 })
      for (let number = 0; number < 2_000; number++) assert.isTrue(actor.tell(work(number)))
      const seen = new Set<number>()
      while (!actor.inline(work(2_000))) {
        seen.add(recorder.handled.length)
        yield* Effect.yieldNow
      }
      assert.isAbove(seen.size, 3, "the batch yields between slices")
      assert.strictEqual(recorder.handled.length, 2_001)
      ascending(recorder.handled, "handled")
    }))

  it.effect("what receive sends to its own actor comes after what waits", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 10 })
      recorder.onReceive = ({ number }) => {
        if (number !== 1) return
        assert.isFalse(actor.inline(work(10)), "never two at a time")
        assert.isTrue(actor.tell(work(11)))
      }
      for (const number of [1, 2, 3]) actor.tell(work(number))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [1, 2, 3, 11])
      assert.isTrue(actor.inline(work(12)))
      assert.strictEqual(recorder.handled.at(-1), 12)
    }))

  it.effect("waiting senders are let in in their order", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 2 })
      const admitted: Array<number> = []
      const send = (number: number) =>
        Effect.andThen(actor.send(work(number)), Effect.sync(() => admitted.push(number)))
      for (let number = 0; number < 50; number++) yield* Effect.forkScoped(send(number))
      yield* quiet
      assert.isFalse(actor.waiting() > 2)
      yield* Effect.repeat(quiet, { times: 10 })
      assert.deepStrictEqual(recorder.handled, seeds(50).map((number) => number - 1))
      assert.deepStrictEqual(admitted, recorder.handled)
    }))

  it.effect("an interrupted sender leaves no trace", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      actor.tell(park(0))
      yield* quiet
      const fibers: Array<Fiber.Fiber<void>> = []
      for (let number = 1; number <= 6; number++) {
        fibers.push(yield* Effect.forkScoped(actor.send(work(number))))
        yield* Effect.yieldNow
      }
      yield* quiet
      for (const index of [0, 2, 5]) yield* Fiber.interrupt(fibers[index] as Fiber.Fiber<void>)
      actor.answer(release(10))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [0, 10, 2, 4, 5])
      assert.strictEqual(actor.waiting(), 0)
      assert.isTrue(actor.inline(work(11)))
    }))

  it.effect("when all waiting senders are interrupted, others are let in again", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      actor.tell(park(0))
      yield* quiet
      const fiber = yield* Effect.forkScoped(actor.send(work(1)))
      yield* quiet
      actor.answer(release(2))
      yield* Fiber.interrupt(fiber)
      yield* quiet
      assert.isTrue(actor.inline(work(3)))
      assert.deepStrictEqual(recorder.handled.filter((number) => number !== 1), [0, 2, 3])
    }))

  it.effect("a sender that came while a message was handled inline is let in after it", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      let sent: Fiber.Fiber<void> | undefined
      // Parked and released within one turn; in between somebody finds no room.
      recorder.onSettle = () => {
        if (sent !== undefined || recorder.parked.length === 0) return
        sent = Effect.runFork(actor.send(work(2)))
        for (const { done, number } of recorder.parked.splice(0)) done(Exit.succeed(number))
      }
      assert.isTrue(actor.inline(park(1)))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [1, 2])
      assert.isTrue(actor.inline(work(3)))
    }))
})

describe("ask and post", () => {
  it.effect("the reply may come before, while or after one waits for it", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 4 })
      const early = Actor.post(actor, (done) => work(1, done))
      assert.deepStrictEqual(recorder.handled, [1], "an idle actor handles it inline")
      assert.strictEqual(yield* early, 1)
      assert.strictEqual(yield* early, 1, "twice")
      const late = Actor.post(actor, (done) => park(2, done))
      const fiber = yield* Effect.forkScoped(late)
      yield* quiet
      assert.isUndefined(fiber.pollUnsafe())
      actor.answer(release(3))
      assert.strictEqual(yield* Fiber.join(fiber), 2)
      const unheard = Actor.post(actor, (done) => park(4, done))
      actor.answer(release(5))
      yield* quiet
      assert.strictEqual(yield* unheard, 4)
    }))

  it.effect("a request waits for a place, and then for the reply", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      actor.tell(park(0))
      yield* quiet
      const posted = yield* Effect.forkScoped(Actor.post(actor, (done) => park(1, done)))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [0], "there is no place for it")
      actor.answer(release(2))
      yield* quiet
      assert.isUndefined(posted.pollUnsafe())
      actor.answer(release(3))
      assert.strictEqual(yield* Fiber.join(posted), 1)
    }))

  it.effect("the first reply counts", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      recorder.onReceive = (message) => {
        if (message._tag === "Work") message.done(Exit.fail(closed))
      }
      assert.strictEqual(yield* Effect.flip(asked(actor, (done) => work(1, done))), closed)
    }))

  it.effect("interrupting the wait does not take the request back", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 1 })
      const fiber = yield* Effect.forkScoped(asked(actor, (done) => park(1, done)))
      yield* quiet
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(actor.waiting(), 1)
      actor.answer(release(2))
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [1, 2])
    }))

  for (const seed of seeds(4)) {
    it.effect(`thousands of requests of thousands of fibers, each replied to once (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const recorder = new Recorder()
        const actor = yield* recorder.make({ capacity: chance.pick([1, 7, 1_024]) })
        const replies = new Map<number, number>()
        releaseLater(recorder, actor)
        const client = (first: number) =>
          Effect.gen(function*() {
            for (let number = first; number < first + 3; number++) {
              if (chance.bool(0.2)) yield* Effect.yieldNow
              const make = chance.bool(0.05) ? park : work
              const reply = yield* asked(actor, (done) =>
                make(number, (exit) => {
                  replies.set(number, (replies.get(number) ?? 0) + 1)
                  done(exit)
                }))
              assert.strictEqual(reply, number)
            }
          })
        const firsts = Array.from({ length: 3_000 }, (_, index) => index * 3)
        yield* Effect.forEach(firsts, client, { concurrency: "unbounded", discard: true })
        assert.strictEqual(replies.size, 9_000)
        assert.isTrue([...replies.values()].every((count) => count === 1))
        assert.strictEqual(recorder.requests.length, 9_000)
      }))
  }
})

/**
 * How an actor ends: by a defect or by order, nobody waits for ever.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import { Defective, storeError } from "../src/StoreError.ts"
import type { StoreError } from "../src/StoreError.ts"
import { random } from "./support/random.ts"
import type { Recorded } from "./support/recorder.ts"
import { asked, closed, note, park, quiet, Recorder, release, seeds, work } from "./support/recorder.ts"

describe("a defect", () => {
  const defect = new Error("broken")
  const isDefective = (error: unknown): void => {
    assert.strictEqual((error as StoreError).reason._tag, "Defective")
  }
  /** Stops the actor as the machine does. */
  const fused = (recorder: Recorder, actor: Recorded): void => {
    recorder.onFailed = (cause) => actor.stop(storeError(new Defective({ actor: "recorder", cause })))
  }

  for (const seed of seeds(30)) {
    it.effect(`is told once, and everybody gets its error (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const recorder = new Recorder()
        const actor = yield* recorder.make({ capacity: 1 + chance.int(10), lanes: 1 })
        fused(recorder, actor)
        const fatal = 20 + chance.int(60)
        const where = chance.pick(["receive", "settle"])
        let count = 0
        recorder.onReceive = () => {
          if (++count === fatal && where === "receive") throw defect
        }
        recorder.onSettle = () => {
          if (count >= fatal) throw defect
        }
        const exits: Array<Exit.Exit<number, StoreError>> = []
        const client = (number: number) =>
          Effect.map(
            Effect.exit(asked(actor, (done) => chance.bool(0.04) ? park(number, done) : work(number, done))),
            (exit) => exits.push(exit)
          )
        const keeper = Effect.forever(Effect.andThen(
          Effect.suspend(() => {
            if (recorder.parked.length === actor.waiting() && recorder.parked.length > 0) {
              actor.answer(note(-2))
            }
            return quiet
          }),
          Effect.suspend(() => {
            if (recorder.parked.length > 0) actor.answer(release(-1))
            return quiet
          })
        ))
        const kept = yield* Effect.forkScoped(keeper)
        yield* Effect.forEach(seeds(120), client, { concurrency: 40, discard: true })
        yield* Fiber.interrupt(kept)
        yield* quiet
        assert.strictEqual(exits.length, 120)
        assert.deepStrictEqual(recorder.failures, [defect])
        assert.strictEqual(recorder.halted, 1)
        const failures = exits.filter(Exit.isFailure)
        assert.isAbove(failures.length, 0)
        for (const exit of failures) {
          isDefective(exit.cause.reasons.flatMap((r) => "error" in r ? [r.error] : [])[0])
        }
        assert.isFalse(actor.tell(work(1)))
        assert.isFalse(actor.inline(work(1)))
        isDefective(yield* Effect.flip(asked(actor, (done) => work(1, done))))
      }))
  }

  it.effect("before the request was noted, its sender gets the error too", () =>
    Effect.gen(function*() {
      for (const door of ["inline", "mailbox"]) {
        const recorder = new Recorder()
        const actor = yield* recorder.make({ capacity: 4 })
        fused(recorder, actor)
        recorder.onReceive = ({ number }) => {
          if (number === 1) throw defect
        }
        if (door === "mailbox") actor.tell(work(0))
        const first = yield* Effect.forkScoped(asked(actor, (done) => work(1, done)))
        const second = yield* Effect.forkScoped(asked(actor, (done) => work(2, done)))
        yield* quiet
        assert.isDefined(first.pollUnsafe(), door)
        assert.isDefined(second.pollUnsafe(), door)
        isDefective(yield* Effect.flip(Fiber.join(first)))
        isDefective(yield* Effect.flip(Fiber.join(second)))
        assert.deepStrictEqual(recorder.failures, [defect])
      }
    }))

  it.effect("does not turn a reply that was given", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 4 })
      fused(recorder, actor)
      recorder.onReceive = (message) => {
        if ("done" in message) message.done(Exit.succeed(7))
        throw defect
      }
      assert.strictEqual(yield* asked(actor, (done) => work(1, done)), 7)
      assert.deepStrictEqual(recorder.failures, [defect])
    }))
})

describe("stop", () => {
  it.effect("refuses what is inside, in the mailbox, at the door, and what comes later; once", () =>
    Effect.gen(function*() {
      const recorder = new Recorder()
      const actor = yield* recorder.make({ capacity: 2 })
      const fibers: Array<Fiber.Fiber<number, StoreError>> = []
      for (let number = 0; number < 6; number++) {
        fibers.push(yield* Effect.forkScoped(asked(actor, (done) => park(number, done))))
        yield* quiet
      }
      assert.deepStrictEqual(recorder.handled, [0, 1])
      actor.stop(closed)
      actor.stop(storeError(new Defective({ actor: "recorder", cause: 1 })))
      for (const fiber of fibers) assert.strictEqual(yield* Effect.flip(Fiber.join(fiber)), closed)
      assert.strictEqual(recorder.halted, 1)
      const replies: Array<unknown> = []
      yield* actor.send(work(7, (exit) => replies.push(exit)))
      actor.answer(work(8, (exit) => replies.push(exit)))
      assert.deepStrictEqual(replies, [Exit.fail(closed), Exit.fail(closed)])
      yield* quiet
      assert.deepStrictEqual(recorder.handled, [0, 1])
    }))

  it.effect("refuses what a batch has not come to, even where the loop ends with it", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const recorder = new Recorder()
      const actor = yield* Scope.provide(recorder.make({ capacity: 1_000 }), scope)
      let refused = 0
      for (let number = 0; number < 1_000; number++) {
        assert.isTrue(actor.tell(work(number, (exit) => Exit.isFailure(exit) ? refused++ : undefined)))
      }
      while (recorder.handled.length === 0) yield* Effect.yieldNow
      assert.isBelow(recorder.handled.length, 1_000)
      actor.stop(closed)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(recorder.handled.length + refused, 1_000)
    }))
})

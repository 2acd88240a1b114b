/**
 * An effect of a kind of our own is an effect like any other.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Primitive from "../src/Primitive.ts"

class Base extends Context.Service<Base, { readonly base: number }>()("test/Base") {}

class Counter {
  count = 0

  add({ base }: Base["Service"], a: number, b: number, fails: boolean): Effect.Effect<number, "failed"> {
    this.count++
    return fails ? Effect.fail("failed") : Effect.succeed(base + a + b)
  }
}

const using = Effect.provideService(Base, { base: 100 })

describe("an effect that is an object", () => {
  it.effect("does nothing until a fiber runs it, and all of it each time", () =>
    Effect.gen(function*() {
      const counter = new Counter()
      const sum = Primitive.use(Base, counter, counter.add, 20, 3, false)
      assert.isTrue(Effect.isEffect(sum))
      assert.strictEqual(counter.count, 0)
      assert.strictEqual(yield* sum, 123)
      const fibers = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(sum))
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [123, 123, 123])
      assert.strictEqual(counter.count, 4)
    }).pipe(using))

  it.effect("asks whoever provides the service where it is run", () =>
    Effect.gen(function*() {
      const counter = new Counter()
      const sum = Primitive.use(Base, counter, counter.add, 20, 3, false)
      assert.strictEqual(yield* Effect.provideService(sum, Base, { base: 0 }), 23)
      assert.strictEqual(yield* sum, 123)
    }).pipe(using))

  it.effect("fails and dies as what it runs does", () =>
    Effect.gen(function*() {
      const counter = new Counter()
      const failing = Primitive.use(Base, counter, counter.add, 20, 3, true)
      assert.strictEqual(yield* Effect.flip(failing), "failed")
      assert.strictEqual(yield* failing.pipe(Effect.catch(Effect.succeed)), "failed")
      const dies = (): Effect.Effect<never> => {
        throw new Error("thrown")
      }
      const dying = Primitive.use(Base, counter, dies, 0, 0, 0)
      assert.isTrue(Exit.hasDies(yield* Effect.exit(dying)))
      // Nobody has to provide what the types did not ask for.
      const without = Primitive.use(Base, counter, counter.add, 1, 2, false) as Effect.Effect<
        number,
        "failed"
      >
      assert.isTrue(Exit.hasDies(Effect.runSyncExit(without)))
    }).pipe(using))
})

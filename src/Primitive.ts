/**
 * An effect of a kind of our own: one object, and one step of its fiber.
 *
 * `Service.use(f)` is a function that has what `f` needs, one around it that is told of the fiber, and an effect of a
 * kind that serves for many others: beside a get that is in memory, as much work as finding the record. Here what is
 * needed stands in fields, of which V8 knows the shape.
 *
 * I1 Nothing happens before a fiber runs it, and it may be run again, by several: no field ever changes.
 *
 * Rejected: `Effectable.Class`, which answers an effect, and so is a step more.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"

/** A method of `T`. */
type Method<T, S, K, V, W, B> = (this: T, service: S, key: K, value: V, more: W) => B

class Use<I, S, T, K, V, W, B> {
  readonly service: Context.Key<I, S>
  readonly target: T
  readonly method: Method<T, S, K, V, W, B>
  readonly key: K
  readonly value: V
  readonly more: W

  constructor(
    service: Context.Key<I, S>,
    target: T,
    method: Method<T, S, K, V, W, B>,
    key: K,
    value: V,
    more: W
  ) {
    this.service = service
    this.target = target
    this.method = method
    this.key = key
    this.value = value
    this.more = more
  }
}

type AnyUse =
  & Effect.Effect<unknown>
  & Use<never, unknown, unknown, unknown, unknown, unknown, Effect.Effect<unknown>>

// What makes an object an effect, without the call of another constructor.
Object.setPrototypeOf(
  Use.prototype,
  Effectable.Prototype<AnyUse>({
    label: "heartwood/Use",
    evaluate({ context }) {
      const { key, method, more, service, target, value } = this
      return method.call(target, Context.getUnsafe(context, service), key, value, more)
    }
  })
)

/** What a method of `target` makes of a service and of what it is given here. */
export const use = <I, S, T, K, V, W, A, E, R>(
  service: Context.Key<I, S>,
  target: T,
  method: Method<T, S, K, V, W, Effect.Effect<A, E, R>>,
  key: K,
  value: V,
  more: W
): Effect.Effect<A, E, R | I> =>
  new Use(service, target, method, key, value, more) as unknown as Effect.Effect<A, E, R | I>

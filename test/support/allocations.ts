/**
 * Counting the bytes that are allocated while something runs: by typed arrays, array buffers and `Buffer`.
 *
 * The constructors are replaced in the meantime, so nothing else may run beside it.
 */
import * as Effect from "effect/Effect"

const arrays = [
  "Uint8Array",
  "Uint16Array",
  "Int32Array",
  "Uint32Array",
  "Float64Array",
  "ArrayBuffer"
] as const

type Constructor = (new(...args: ReadonlyArray<unknown>) => object) & { readonly BYTES_PER_ELEMENT?: number }

/** Runs a body, and adds to `to` what it allocates by number. */
export const counting = <A, E, R>(
  to: { bytes: number },
  body: Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const globals = globalThis as unknown as Record<string, Constructor>
    const before = arrays.map((name) => [name, globals[name] as Constructor] as const)
    const { alloc, allocUnsafe } = Buffer
    for (const [name, original] of before) {
      globals[name] = new Proxy(original, {
        construct(target, args: Array<unknown>, made) {
          if (typeof args[0] === "number") to.bytes += args[0] * (original.BYTES_PER_ELEMENT ?? 1)
          return Reflect.construct(target, args, made) as object
        }
      })
    }
    Buffer.alloc = (size, ...rest) => {
      to.bytes += size
      return alloc(size, ...rest)
    }
    Buffer.allocUnsafe = (size) => {
      to.bytes += size
      return allocUnsafe(size)
    }
    return Effect.ensuring(
      body,
      Effect.sync(() => {
        for (const [name, original] of before) globals[name] = original
        Object.assign(Buffer, { alloc, allocUnsafe })
      })
    )
  })

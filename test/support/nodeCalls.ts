/**
 * Calls of `node:fs`, replaced for the length of a test: a system that falls short, and a look at what is asked of it.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import fs from "node:fs"

/** Undefined where the platform has none. */
export const { O_DIRECT } = fs.constants as { readonly O_DIRECT?: number }
/** What the system asks of transfers past its cache, at most. */
const block = 4_096

export type Answer = (error: Error | null, count?: number) => void

/** Replaces calls of `node:fs` until the scope closes. */
export const replaceCalls = (fakes: (real: typeof fs) => Record<string, unknown>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const { close, open, read, readSync, write, writeSync, writev, writevSync } = fs
      const real = { close, open, read, readSync, write, writeSync, writev, writevSync }
      Object.assign(fs, fakes({ ...fs, ...real }))
      return real
    }),
    (real) => Effect.sync(() => Object.assign(fs, real))
  )

/** As the kernel knows the descriptor. */
export const isDirect = (fd: number): boolean => {
  const info = fs.readFileSync(`/proc/self/fdinfo/${fd}`, "utf8")
  const flags = Number.parseInt(/flags:\s*(\d+)/.exec(info)?.[1] ?? "", 8)
  return (flags & (O_DIRECT ?? 0)) !== 0
}

/** Notes every transfer, which way it went; one past the cache must be aligned in all three places. */
export const watching = (calls: Array<string>) => (real: typeof fs) =>
  Object.fromEntries((["read", "readSync", "write", "writeSync"] as const).map((name) => [
    name,
    (fd: number, buffer: Uint8Array, offset: number, length: number, at: number, ...rest: Array<Answer>) => {
      const past = isDirect(fd)
      calls.push(`${name} ${past ? "past" : "through"} ${length} at ${at}`)
      if (past) {
        assert.deepStrictEqual([length % block, at % block, (buffer.byteOffset + offset) % block], [0, 0, 0])
        assert.isAbove(length, 0)
      }
      return Reflect.apply(real[name], real, [fd, buffer, offset, length, at, ...rest])
    }
  ]))

/**
 * Calls of `node:fs`, replaced for the length of a test: a system that falls short, and a look at what is asked of it.
 */
import * as Effect from "effect/Effect"
import fs from "node:fs"

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

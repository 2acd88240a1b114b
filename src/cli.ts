#!/usr/bin/env node
/**
 * The `heartwood` command: `npx heartwood verify PATH`.
 *
 * Exit codes: 0 sound, or done; 1 it was looked at, and something is wrong or missing; 2 it could not be looked at.
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import { createRequire } from "node:module"
import { heartwood, Unsound } from "./cli/Commands.ts"
import { layer } from "./cli/Surroundings.ts"
import { StoreError } from "./StoreError.ts"

const { version } = createRequire(import.meta.url)("../package.json") as { readonly version: string }

/** The exit code of what came of a command; tells why, where nobody has told yet. */
const codeOf = (exit: Exit.Exit<void, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  const error = Exit.findErrorOption(exit)
  if (error._tag === "Some") {
    if (error.value instanceof Unsound) return 1
    // The others are of the command line, which has printed them.
    if (error.value instanceof StoreError) console.error(error.value.message)
    return 2
  }
  if (!Exit.hasInterrupts(exit)) console.error(String(exit.cause))
  return 2
}

const fiber = Effect.runFork(Effect.provide(Command.run(heartwood, { version }), layer))
const interrupt = (): void => void Effect.runFork(Fiber.interrupt(fiber))
process.on("SIGINT", interrupt)
process.on("SIGTERM", interrupt)
fiber.addObserver((exit) => {
  process.off("SIGINT", interrupt)
  process.off("SIGTERM", interrupt)
  process.exitCode = codeOf(exit)
})

/**
 * Holds the lock named by the first argument, or fails to; says which, and then waits to be killed.
 *
 * With `--expose-gc` it first waits, with nothing that refers to its fiber, until all garbage was collected.
 */
import * as Effect from "effect/Effect"
import { parentPort, workerData } from "node:worker_threads"
import { Disk } from "../../src/disk/Disk.ts"
import * as NodeDisk from "../../src/disk/NodeDisk.ts"

const path: string = parentPort === null ? process.argv[2]! : workerData

const say = (word: string): void => {
  if (parentPort === null) process.stdout.write(`${word}\n`)
  else parentPort.postMessage(word)
}

const program = Effect.gen(function*() {
  const disk = yield* Disk
  yield* disk.lock(path)
  yield* Effect.callback<never>(() => {
    setInterval(() => {}, 1_000)
    setTimeout(() => {
      globalThis.gc?.()
      say("held")
    }, 0)
  })
}).pipe(
  Effect.scoped,
  Effect.catch(({ reason }) =>
    Effect.sync(() => say(reason._tag === "Locked" ? `locked ${reason.pid}` : reason._tag))
  ),
  Effect.provide(NodeDisk.layer)
)

await Effect.runPromise(program)

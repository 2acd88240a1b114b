/**
 * The crash: a process that commits visits and says which are durable, killed in the middle of it.
 *
 * What a line acknowledges must be there afterwards, unchanged. What was on its way may be there, whole. Nothing else
 * may.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as ChildProcess from "effect/process/ChildProcess"
import * as Random from "effect/Random"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Screen from "./Screen.ts"
import type { Audit, Visit } from "./Visits.ts"
import { visit } from "./Visits.ts"

/** Commits in flight at once; they share syncs. */
export const writers = 16

/** Commits until the standard input ends, which it does when the parent dies; one line for each durable visit. */
export const visitor = Effect.gen(function*() {
  const { stdin } = yield* Stdio.Stdio
  const acknowledge = Effect.map(visit, ({ checksum, city, number }) => {
    process.stdout.write(`${number} ${city} ${checksum}\n`)
  })
  const visiting = Array.from({ length: writers }, () => Effect.forever(acknowledge))
  yield* Effect.raceFirst(Effect.all(visiting, { concurrency: "unbounded" }), Stream.runDrain(stdin))
})

/** Starts the visitor, kills it after a while, and answers what it acknowledged. */
export const kill = (script: string, args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const acknowledged: Array<Visit> = []
    const child = yield* ChildProcess.make(process.execPath, [...process.execArgv, script, ...args], {
      stderr: "inherit"
    })
    const began = yield* Clock.currentTimeMillis
    const listening = yield* child.stdout.pipe(
      Stream.decodeText,
      Stream.splitLines,
      Stream.runForEach((line) =>
        Effect.sync(() => {
          const [number, city, checksum, ...rest] = line.split(" ").map(Number)
          // The last line may have been cut short by the signal: then it acknowledges nothing.
          if (number === undefined || city === undefined || checksum === undefined || rest.length > 0) return
          acknowledged.push({ number, city, checksum })
        })
      ),
      Effect.forkChild
    )
    const progress = Effect.suspend(() =>
      Screen.status(
        `process ${child.pid} has acknowledged ${Screen.count(acknowledged.length)} commits`,
        "going on"
      )
    )
    const showing = yield* Effect.forkChild(
      Effect.forever(Effect.andThen(progress, Effect.sleep("50 millis")))
    )
    yield* Effect.repeat(Effect.sleep("10 millis"), { until: () => acknowledged.length > 0 })
    const delay = Duration.millis(yield* Random.nextIntBetween(700, 2_500))
    yield* Effect.sleep(delay)
    yield* child.kill({ killSignal: "SIGKILL" })
    const ended = yield* Clock.currentTimeMillis
    yield* Fiber.interrupt(showing)
    yield* Fiber.join(listening)
    yield* Screen.status(
      `process ${child.pid} acknowledged ${Screen.count(acknowledged.length)} commits; `
        + `killed after ${Screen.time(Duration.millis(ended - began))} in the middle of more`,
      "done"
    )
    return acknowledged
  }).pipe(Effect.scoped)

/** Compares what was acknowledged with what a store holds; answers what is wrong. */
export const judge = (
  before: Visit,
  acknowledged: ReadonlyArray<Visit>,
  after: Audit
): ReadonlyArray<string> => {
  const problems = [...after.problems]
  if (after.checksums[before.number] !== before.checksum) problems.push("what was there before has changed")
  for (const { checksum, number } of acknowledged) {
    if (after.checksums[number] !== checksum) problems.push(`acknowledged visit ${number} is not there`)
  }
  const newest = acknowledged.reduce((most, { number }) => Math.max(most, number), before.number)
  if (after.last.number > newest + writers) problems.push("more visits than were ever on their way")
  return problems
}

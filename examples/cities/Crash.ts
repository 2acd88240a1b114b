/**
 * The crash: a process that commits visits and says which are durable, killed in the middle of it.
 *
 * What a line acknowledges must be there afterwards, unchanged. What was on its way may be there, whole. Nothing else
 * may.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import * as Screen from "./Screen.ts"
import type { Audit, Visit } from "./Visits.ts"
import { visit } from "./Visits.ts"

/** Commits in flight at once; they share syncs. */
export const writers = 16

/** Commits until the standard input ends, which it does when the parent dies; one line for each durable visit. */
export const visitor = Effect.gen(function*() {
  const { stdin } = yield* Stdio.Stdio
  process.stdout.on("error", () => process.exit())
  const acknowledge = Effect.map(visit, ({ checksum, city, number }) => {
    process.stdout.write(`${number} ${city} ${checksum} durable\n`)
  })
  const visiting = Array.from({ length: writers }, () => Effect.forever(acknowledge))
  yield* Effect.raceFirst(Effect.all(visiting, { concurrency: "unbounded" }), Stream.runDrain(stdin))
})

/** Starts the visitor, kills it after a while, and answers what it acknowledged. */
export const kill = (script: string, args: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const acknowledged: Array<Visit> = []
    const child = spawn(process.execPath, [...process.execArgv, script, ...args], {
      stdio: ["pipe", "pipe", "inherit"]
    })
    const listening = yield* Effect.forkChild(Effect.promise(async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        const visit = parse(line)
        if (visit !== undefined) acknowledged.push(visit)
      }
    }))
    const told = (what: string) => `process ${child.pid} ${what} ${Screen.count(acknowledged.length)} commits`
    const showing = yield* Effect.suspend(() => Screen.status(told("has acknowledged"), "going on")).pipe(
      Effect.andThen(Effect.sleep("50 millis")),
      Effect.forever,
      Effect.forkChild
    )
    yield* Effect.repeat(Effect.sleep("10 millis"), {
      until: () => acknowledged.length > 0 || child.exitCode !== null
    })
    const [duration] = yield* Effect.timed(
      Effect.flatMap(Random.nextIntBetween(700, 2_500), (millis) => Effect.sleep(millis))
    )
    child.kill("SIGKILL")
    yield* Fiber.join(listening)
    yield* Fiber.interrupt(showing)
    yield* Screen.status(`${told("acknowledged")}, killed ${Screen.time(duration)} after the first`, "done")
    return acknowledged
  })

/** A line that the signal cut short acknowledges nothing. */
const parse = (line: string): Visit | undefined => {
  const [number, city, checksum, end] = line.split(" ")
  return end === "durable"
    ? { number: Number(number), city: Number(city), checksum: Number(checksum) }
    : undefined
}

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

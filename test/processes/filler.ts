/**
 * The process that runs out of something: it commits until it is refused, gives up its ballast, goes on if it can, and
 * says in a file outside of the store what was acknowledged.
 *
 * `node filler.mjs fill <store> <acknowledged> [ballast]` commits until a typed error, or until the store waits for
 * something that does not come. `node filler.mjs resume <store> <acknowledged>` must find all of it, and go on.
 * `node filler.mjs open <store> <acknowledged>` opens with ever more free descriptors until it can, and resumes.
 * A line says how it went; the status is 3 where it hangs, 4 for a defect, 5 for a wrong answer.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import fs from "node:fs"
import { Store, Verify } from "../../src/index.ts"
import type { StoreError } from "../../src/index.ts"
import { commitNext, Model, options, read } from "../kill/Plan.ts"

/** Commits after which the machine should have run out; of those that follow. */
const most = 20_000
const more = 60
const patienceMillis = 40_000
/** A commit that takes longer is held back until something changes. */
const waitMillis = 3_000
/** Descriptors that are given back at a time, and in all. */
const freed = 4
const mostFree = 90

const [, , mode = "", directory = "", acknowledged = "", ballast] = process.argv

const quit = (status: number, why: string): never => {
  fs.writeSync(2, `${why}\n`)
  process.exit(status)
}

/** Opened before anything runs out. */
const record = fs.openSync(acknowledged, "a")

/** The tag and the code of a typed error, or undefined; everything else ends the process. */
const failureOf = (exit: Exit.Exit<unknown, StoreError.StoreError>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const { reason } = exit.cause.reasons.find(Cause.isFailReason)?.error ?? {}
  if (reason === undefined || reason._tag === "Defective") return quit(4, Cause.pretty(exit.cause))
  return reason._tag === "DiskFailed" ? reason.code : reason._tag
}

const commit = Effect.map(commitNext("synced"), (number) => fs.writeSync(record, `${number}\n`))

/** Commits up to `count` times; answers the number of commits and the failure that ended them, if any. */
const commits = (count: number) =>
  Effect.gen(function*() {
    for (let done = 0; done < count; done++) {
      // A commit that is under way cannot be interrupted, so one that waits is left behind.
      const fiber = yield* Effect.forkDetach(Effect.exit(commit))
      const failure = yield* Effect.raceFirst(
        Effect.map(Fiber.join(fiber), failureOf),
        Effect.as(Effect.sleep(waitMillis), "waits")
      )
      if (failure !== undefined) return { done, failure }
    }
    return { done: count, failure: undefined }
  })

/** Everything that was acknowledged, and nothing torn. */
const expectPrefix = Effect.gen(function*() {
  const found = yield* read
  const last = Number(fs.readFileSync(acknowledged, "utf8").trim().split("\n").at(-1))
  // One was on its way when the failure came.
  if (found.number < last || found.number > last + 1) quit(5, `${last} acknowledged, ${found.number} found`)
  const model = new Model()
  model.advance(found.number)
  // Where the log has failed, counts are of what was visible before.
  const some = { count: 0, unresolved: Infinity }
  const difference = model.difference({ ...found, counts: { numbers: some, words: some, pairs: some } })
  if (difference !== undefined) quit(5, difference)
  return found.number
})

/** Commits once there is space again: the store looks for it now and then. */
const resumed = Effect.gen(function*() {
  let after = yield* commits(more)
  for (let tries = 0; after.failure === "DiskFull" && tries < 100; tries++) {
    yield* Effect.sleep(50)
    after = yield* commits(more)
  }
  return after
})

const fill = Effect.gen(function*() {
  const first = yield* commits(most)
  if (first.failure === undefined) quit(5, `nothing ran out in ${most} commits`)
  // Without the log there may be no reading either, but no wrong answer.
  const seen = failureOf(yield* Effect.exit(expectPrefix)) ?? "reads"
  if (ballast !== undefined) fs.rmSync(ballast, { recursive: true })
  const after = ballast === undefined ? undefined : yield* resumed
  const then = after === undefined ? "" : `; with space again ${after.done} more, ${after.failure ?? "well"}`
  console.log(`${first.done} commits, then ${first.failure}; ${seen}${then}`)
  // Closing would wait for what waits.
  if (first.failure === "waits" || after?.failure === "waits") process.exit(0)
})

const resume = Effect.gen(function*() {
  const number = yield* expectPrefix
  // On a disk that is nearly full it may have to make room for itself first.
  const { failure } = yield* resumed
  if (failure !== undefined) quit(5, `${failure} after resuming`)
  yield* expectPrefix
  console.log(`${number} commits were there, ${more} more`)
})

const opened = <A, E>(body: Effect.Effect<A, E, Store.Store>): Effect.Effect<A, E | StoreError.StoreError> =>
  Effect.provide(body, Store.layer(options(directory)))

const expectSound = Effect.gen(function*() {
  const { findings } = yield* Verify.verify({ path: directory })
  if (findings.length > 0) quit(5, `verify finds ${JSON.stringify(findings)}`)
})

/** What the descriptors of this process are of. */
const descriptors = (): ReadonlyArray<string> =>
  fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${fd}`)]
    } catch {
      // The one that listed them.
      return []
    }
  })

/** Takes all descriptors, and gives back one more each time, until the store opens and takes commits. */
const open = Effect.gen(function*() {
  const taken: Array<number> = []
  try {
    for (;;) taken.push(fs.openSync("/dev/null", "r"))
  } catch {
    // That was the last one.
  }
  const failures: Array<string> = []
  for (let free = 0; free < mostFree; free += freed) {
    const exit = yield* Effect.exit(opened(commits(more)))
    const failure = Exit.isSuccess(exit) ? exit.value.failure : failureOf(exit)
    if (failure === undefined) {
      console.log(`opens with ${free} descriptors; before, ${failures.join(" ")}`)
      for (const fd of taken) fs.closeSync(fd)
      return
    }
    failures.push(failure)
    for (const fd of taken.splice(-freed)) fs.closeSync(fd)
    const lost = descriptors().filter((name) => name.startsWith(`${directory}/`))
    if (lost.length > 0) quit(5, `left open: ${lost.join(" ")}`)
  }
  quit(5, `does not open with ${mostFree} descriptors: ${failures.join(" ")}`)
})

process.on("uncaughtException", (error) => quit(4, `${error.stack}`))
setTimeout(() => quit(3, "hangs"), patienceMillis).unref()
if (mode === "fill") await Effect.runPromise(opened(fill))
if (mode === "open") await Effect.runPromise(open)
if (mode !== "fill") await Effect.runPromise(opened(resume))
await Effect.runPromise(expectSound)
process.exit(0)

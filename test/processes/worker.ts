/**
 * The process that calls are struck in: for each point it opens a store, commits, takes a checkpoint, reads and
 * closes, twice, and says on its standard output what was acknowledged and how everything ended.
 *
 * `node worker.mjs <board> <points>`, a JSON array of `Job`. Lines: `point <index>`, `life`, `<number> <durability>` for each
 * acknowledgement, `failed <tag> <code>` for each typed error, `end <struck> <again>` with what the board says.
 * Anything else that happens ends the process with a status: 3 it hangs, 4 a defect, 5 a wrong answer.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import fs from "node:fs"
import { Store } from "../../src/index.ts"
import type { StoreError } from "../../src/index.ts"
import { commitNext, Model, options, read } from "../kill/Plan.ts"
import { Board } from "./Board.ts"
import type { Strike } from "./Board.ts"

export interface Job {
  readonly index: number
  readonly directory: string
  /** A store to begin with; it is copied. */
  readonly template: string | undefined
  readonly strike: Strike | undefined
}

/** Commits in flight at once, and of each in a life. */
const writers = 3
const rounds = 2
const lives = 2

/** A point that takes longer has hung. */
const patienceMillis = 30_000

const say = (line: string): void => void fs.writeSync(1, `${line}\n`)

const quit = (status: number, why: string): never => {
  fs.writeSync(2, `${why}\n`)
  process.exit(status)
}

/** A typed error is an answer; everything else is not. */
const expectTyped = <A>(what: string, exit: Exit.Exit<A, StoreError.StoreError>): A | undefined => {
  if (Exit.isSuccess(exit)) return exit.value
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  const { reason } = failure?.error ?? {}
  if (reason === undefined || reason._tag === "Defective") {
    quit(4, `${what} ended with ${Cause.pretty(exit.cause)}`)
  }
  hasFailed = true
  say(`failed ${reason?._tag} ${reason?._tag === "DiskFailed" ? reason.code : ""}`)
  return undefined
}

const tried = <A, R>(what: string, effect: Effect.Effect<A, StoreError.StoreError, R>) =>
  Effect.map(Effect.exit(effect), (exit) => expectTyped(what, exit))

let dice = 0
let hasFailed = false
const some = { count: 0, unresolved: Infinity }
const unknown = { numbers: some, words: some, pairs: some }

const durabilities = ["synced", "memory", "synced", "buffered", "synced"] as const

const writer = Effect.suspend(() => {
  const durability = durabilities[dice++ % durabilities.length] ?? "synced"
  const commit = Effect.map(commitNext(durability), (number) => say(`${number} ${durability}`))
  return tried("a commit", commit)
})

/** Three writers beside each other, a checkpoint, three writers again, and a look at everything. */
const life = Effect.gen(function*() {
  const store = yield* Store.Store
  const writing = Effect.all(
    Array.from({ length: writers }, () => Effect.repeat(writer, { times: rounds - 1 })),
    { concurrency: "unbounded", discard: true }
  )
  yield* writing
  yield* Effect.all([writing, tried("a checkpoint", store.checkpoint)], { concurrency: "unbounded" })
  const found = yield* tried("a read", read)
  if (found === undefined) return
  const model = new Model()
  model.advance(found.number)
  // Where the log has failed, counts are of what was visible before.
  const difference = model.difference(hasFailed ? { ...found, counts: unknown } : found)
  if (difference !== undefined) quit(5, difference)
})

const run = async ({ directory, index, strike, template }: Job): Promise<void> => {
  board.arm()
  if (template !== undefined) fs.cpSync(template, directory, { recursive: true })
  board.arm(strike)
  dice = 0
  say(`point ${index}`)
  const patience = setTimeout(() => quit(3, `hangs at ${JSON.stringify(strike)}`), patienceMillis)
  for (let count = 0; count < lives; count++) {
    hasFailed = false
    say("life")
    const opened = Effect.provide(life, Store.layer(options(directory)))
    await Effect.runPromise(tried("opening", opened))
  }
  clearTimeout(patience)
  const { again, struck } = board.seen()
  say(`end ${struck} ${again}`)
}

const [, , boardPath = "", jobs = "[]"] = process.argv
const board = new Board(boardPath)
process.on("uncaughtException", (error) => quit(4, `${error.stack}`))
for (const job of JSON.parse(jobs) as ReadonlyArray<Job>) await run(job)

/**
 * Sessions: an import that is killed goes on where it was, and no line of it counts twice.
 *
 * The words of a text are counted. Every line is a transaction, and its number is the serial.
 *
 * `node examples/sessions.ts [directory]`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import path from "node:path"
import { createInterface } from "node:readline"
import { Codec, Key, Keyspace, Session, Snapshot, Store, Tx } from "../src/index.ts"

const [directory = "sessions.db", role] = process.argv.slice(2)

const lines = readFileSync(path.join(import.meta.dirname, "..", "LICENSE"), "utf8").split("\n")
const wordsOf = (line: string): ReadonlyArray<string> => line.toLowerCase().match(/[a-z]+/g) ?? []

const Words = Keyspace.make("words", { key: Key.String, value: Codec.int, reducer: "sum" })

/** Adding is not idempotent: a line that was counted twice would show. */
const count = (line: string) =>
  Effect.forEach(wordsOf(line), (word) => Words.merge(word, 1), { discard: true })

/** Goes on behind the last line that is durable. Several lines are under way at a time, and share their syncs. */
const resume = Effect.gen(function*() {
  const session = yield* Session.open("import")
  const done = session.serial
  yield* Console.log(`from line ${done + 1}`)
  yield* Effect.forEach(lines.slice(done), (line, index) => {
    const serial = done + index + 1
    return Effect.andThen(Tx.once({ session, serial })(count(line)), Console.log(`line ${serial}`))
  }, { concurrency: 8, discard: true })
}).pipe(Effect.scoped)

/** Lets a process import some lines, then kills it without a warning. */
const interrupted = Effect.promise(async () => {
  const victim = spawn(process.execPath, [...process.execArgv, import.meta.filename, directory, "child"])
  let seen = 0
  let last = "nothing"
  for await (const line of createInterface({ input: victim.stdout })) {
    last = line
    if (++seen === 50) victim.kill("SIGKILL")
  }
  return last
})

const total = Words.range().pipe(
  Stream.runFold(() => 0, (sum, { value }) => sum + value),
  Snapshot.read()
)

const store = Store.layer({ path: directory })

const parent = Effect.gen(function*() {
  for (const attempt of ["first", "second"]) {
    yield* Console.log(`${attempt} process: killed after it had said "${yield* interrupted}"`)
  }
  const counted = yield* Effect.provide(Effect.andThen(resume, total), store)
  const words = lines.flatMap(wordsOf).length
  yield* Console.log(
    `${lines.length} lines, ${counted} words: ${
      counted === words ? "each line once" : `NOT THE ${words} OF THE TEXT`
    }`
  )
})

const program = role === "child" ? Effect.provide(resume, store) : parent
program.pipe(NodeRuntime.runMain)

/**
 * Recovery: a process is killed while it commits, and what it acknowledged is there when the store opens again.
 *
 * `node examples/recovery.ts [directory]`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

const [directory = "recovery.db", role] = process.argv.slice(2)

const Counters = Keyspace.make("counters", { key: Key.String, value: Schema.Int })

const count = Counters.modify("commits", (before) => {
  const next = Option.getOrElse(before, () => 0) + 1
  return [next, Option.some(next)]
}).pipe(Tx.transact())

/** Commits for ever, and says each time what is durable. */
const child = Effect.forever(Effect.flatMap(count, Console.log))

/** Lets the child acknowledge a hundred commits, then kills it without a warning. */
const kill = Effect.promise(async () => {
  const victim = spawn(process.execPath, [...process.execArgv, import.meta.filename, directory, "child"])
  let lines = 0
  let acknowledged = 0
  for await (const line of createInterface({ input: victim.stdout })) {
    acknowledged = Math.max(acknowledged, Number(line))
    if (++lines === 100) victim.kill("SIGKILL")
  }
  return acknowledged
})

const found = Counters.get("commits").pipe(Snapshot.read(), Effect.map(Option.getOrElse(() => 0)))

const store = Store.layer({ path: directory })

const parent = Effect.gen(function*() {
  const acknowledged = yield* kill
  yield* Console.log(`killed after it had acknowledged ${acknowledged} commits`)
  // Opening recovers. One commit may have been on its way when the signal came.
  const recovered = yield* found.pipe(Effect.provide(store))
  yield* Console.log(
    `recovered ${recovered}: ${recovered >= acknowledged ? "none is lost" : "SOME ARE LOST"}`
  )
})

const program = role === "child" ? Effect.provide(child, store) : parent
program.pipe(NodeRuntime.runMain)

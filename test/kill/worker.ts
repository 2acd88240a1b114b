/**
 * The process that is killed: it opens a store, commits the plan, and says on its standard output what was
 * acknowledged.
 *
 * `node worker.ts <directory> <seed>` prints `opening`, `open`, and a line `<number> <durability>` for each
 * acknowledgement. It ends by itself only when its standard input does.
 */
import * as Effect from "effect/Effect"
import { Store } from "../../src/index.ts"
import { random } from "../support/random.ts"
import { commitNext, options } from "./Plan.ts"

/** Commits in flight at once. */
const writers = 6

const [directory = "", seed = "0"] = process.argv.slice(2)
const chance = random(Number(seed))
process.stdin.resume().on("end", () => process.exit())

const say = (line: string): Effect.Effect<void> => Effect.sync(() => process.stdout.write(`${line}\n`))

const writer = Effect.suspend(() => {
  const durability = chance.pick(["memory", "buffered", "synced", "synced"] as const)
  return Effect.flatMap(commitNext(durability), (number) => say(`${number} ${durability}`))
})

const main = Effect.gen(function*() {
  const store = yield* Store.Store
  yield* say("open")
  const checkpoints = Effect.suspend(() => Effect.andThen(Effect.sleep(chance.int(60)), store.checkpoint))
  yield* Effect.all(
    [...Array.from({ length: writers }, () => Effect.forever(writer)), Effect.forever(checkpoints)],
    { concurrency: "unbounded" }
  )
})

await Effect.runPromise(say("opening"))
await Effect.runPromise(Effect.provide(main, Store.layer(options(directory))))

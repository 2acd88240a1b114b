/**
 * Quickstart: declare a keyspace, write in a transaction, read from a snapshot.
 *
 * `node examples/quickstart.ts [directory]`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

// A keyspace is a value. It opens nothing; the store comes in where the program is run.
const Users = Keyspace.make("users", {
  key: Key.String,
  value: Schema.Struct({ name: Schema.String, born: Schema.Int })
})

const program = Effect.gen(function*() {
  // All of a transaction happens, or nothing does. It is on the disk when this returns.
  yield* Tx.transact()(Effect.gen(function*() {
    yield* Users.put("ada", { name: "Ada Lovelace", born: 1815 })
    yield* Users.put("alan", { name: "Alan Turing", born: 1912 })
    yield* Users.put("grace", { name: "Grace Hopper", born: 1906 })
  }))

  // A snapshot is one moment, whatever is committed meanwhile. Writing in one does not compile.
  const ada = yield* Users.get("ada").pipe(Snapshot.read())
  yield* Console.log(ada)

  // Ranges are streams, in the order of the keys.
  yield* Users.range({ prefix: "a", reverse: true }).pipe(
    Stream.runForEach(({ key, value }) => Console.log(`${key} is ${value.name}`)),
    Snapshot.read()
  )
  yield* Console.log(yield* Users.stat)
})

program.pipe(
  Effect.provide(Store.layer({ path: process.argv[2] ?? "quickstart.db" })),
  NodeRuntime.runMain
)

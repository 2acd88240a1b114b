/**
 * Values that change their shape: a keyspace says which version it writes, and how older ones are brought up to it.
 *
 * `node examples/evolving.ts evolving.db`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

// What the first release declared: version 1, as nothing else is said.
const First = Keyspace.make("people", { key: Key.String, value: Schema.Struct({ name: Schema.String }) })

// What this one declares. A step is a pure function of stored data; a value passes through as many as it lacks.
const People = Keyspace.make("people", {
  key: Key.String,
  value: Schema.Struct({ first: Schema.String, last: Schema.String, born: Schema.NullOr(Schema.Int) }),
  version: 3,
  migrate: {
    1: (old: { name: string }) => {
      const [first = "", last = ""] = old.name.split(" ")
      return { first, last }
    },
    2: (old: { first: string; last: string }) => ({ ...old, born: null })
  }
})

const stored = Effect.gen(function*() {
  yield* First.put("ada", { name: "Ada Lovelace" })
  yield* First.put("alan", { name: "Alan Turing" })
}).pipe(Tx.transact())

const program = Effect.gen(function*() {
  yield* stored
  // Nothing is converted beforehand: a value is brought up to date whenever it is read, and stored so when it is written.
  yield* People.put("grace", { first: "Grace", last: "Hopper", born: 1906 }).pipe(Tx.transact())
  const everybody = People.range().pipe(
    Stream.map(({ value }) => `${value.last}, ${value.first} (${value.born ?? "?"})`),
    Stream.runCollect,
    Snapshot.read()
  )
  yield* Console.log((yield* everybody).join("; "))

  // Who still runs the first release is told what to do, not given half a value.
  const refused = yield* First.get("grace").pipe(Snapshot.read(), Effect.flip)
  yield* Console.log(refused.message)

  // Once all values are written anew, no step is needed any more. One transaction, however many there are.
  yield* Stream.runForEach(People.range(), ({ key, value }) => People.put(key, value)).pipe(Tx.transact())
  const Later = Keyspace.make("people", { key: Key.String, value: Schema.Unknown, version: 3 })
  yield* Console.log(yield* Later.get("ada").pipe(Snapshot.read(), Effect.flatMap(Effect.fromOption)))
})

program.pipe(
  Effect.provide(Store.layer({ path: process.argv[2] ?? "evolving.db" })),
  NodeRuntime.runMain
)

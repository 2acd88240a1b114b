/**
 * A store from configuration, and records that go by themselves: logins that end after half an hour.
 *
 * `STORE_PATH=logins.db STORE_MEMORY=64MiB node examples/logins.ts`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Config from "effect/Config"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

class Login
  extends Schema.Class<Login>("app/Login")({ userId: Schema.String, roles: Schema.Array(Schema.String) })
{}

const Logins = Keyspace.make("logins", { key: Key.String, value: Login })

const StoreLive = Store.layerConfig({
  path: Config.String("STORE_PATH").pipe(Config.withDefault("logins.db")),
  memory: Config.ByteSize("STORE_MEMORY").pipe(Config.withDefault("256MiB" as const))
})

const program = Effect.gen(function*() {
  const ada = new Login({ userId: "ada", roles: ["admin"] })
  yield* Logins.put("s1", ada, { ttl: "30 minutes" }).pipe(Tx.transact())
  yield* Console.log(yield* Logins.get("s1").pipe(Snapshot.read()))

  // A boundary has one moment: what has expired by then is gone, and whatever is there stays to its end.
  yield* Logins.put("s2", ada, { ttl: "1 millis" }).pipe(Tx.transact())
  const late = yield* Logins.get("s2").pipe(Snapshot.read(), Effect.delay("5 millis"))
  yield* Console.log(`five milliseconds later: ${Option.isSome(late) ? "still there" : "gone"}`)
})

program.pipe(Effect.provide(StoreLive), NodeRuntime.runMain)

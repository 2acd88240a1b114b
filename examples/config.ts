/**
 * Configuration: every option of a store from a flag, from the environment, or from its default.
 *
 * `HEARTWOOD_MEMORY=64MiB node examples/config.ts --path config.db --durability buffered`, and `--help` for the rest.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Command from "effect/cli/Command"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { flags, toOptions } from "../src/Flags.ts"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

const Settings = Keyspace.make("settings", { key: Key.String, value: Schema.String })

const program = Effect.gen(function*() {
  yield* Settings.put("greeting", "hello").pipe(Tx.transact())
  const greeting = yield* Settings.get("greeting").pipe(Snapshot.read())
  yield* Console.log(Option.getOrElse(greeting, () => "silence"))
})

// Without a command line, `Store.layerConfig(Store.config)` reads the same variables.
const command = Command.make("config", flags, (values) => {
  const options = toOptions(values)
  return Effect.gen(function*() {
    const { machine } = yield* Store.Store
    yield* Console.log(
      `${options.path}: ${machine.limits.memoryBytes} bytes of memory, ${machine.durability}`
    )
    yield* program
  }).pipe(Effect.provide(Store.layer(options)))
})

command.pipe(
  Command.run({ version: "0.1.0" }),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain
)

/**
 * The commands of `heartwood`: what they take, and what they print.
 *
 * All of them read without the lock, beside whoever has the store open, and write nothing; `salvage` writes a store of
 * its own. A command that has looked and found something wrong fails with {@link Unsound}.
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Salvage from "../Salvage.ts"
import * as Snapshot from "../Snapshot.ts"
import * as Store from "../Store.ts"
import { InvalidOptions, storeError } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import * as Verify from "../Verify.ts"
import * as Text from "./Text.ts"

/** Looking has ended, and something is wrong or missing. It was printed. */
export class Unsound extends Data.TaggedError("Unsound") {}

const path = Argument.String("path").pipe(Argument.withDescription("directory of a store"))
const json = Flag.Boolean("json").pipe(
  Flag.withDescription("print JSON, bytes as hexadecimal digits"),
  Flag.withDefault(false)
)

/** What is printed of an answer. */
const print = <A>(options: { readonly json: boolean }, answer: A, text: (answer: A) => string) =>
  Console.log(options.json ? Text.json(answer) : text(answer))

/** Shows progress in one line of a terminal; elsewhere nothing. */
const watched = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const { stderr } = process
  if (!stderr.isTTY) return effect
  const erase = Effect.sync(() => void stderr.write("\r\x1b[K"))
  return Effect.ensuring(
    Effect.provideService(effect, Verify.Watcher, ({ done, step, total }) =>
      Effect.sync(() => {
        const percent = total === 0 ? 100 : Math.floor(100 * done / total)
        stderr.write(`\r\x1b[K${step}: ${percent} % of ${Text.size(total)}`)
      })),
    erase
  )
}

const verify = Command.make("verify", { path, json }, (options) =>
  Effect.gen(function*() {
    const report = yield* watched(Verify.verify({ path: options.path }))
    yield* print(options, report, Text.verified)
    if (report.findings.length > 0) return yield* Effect.fail(new Unsound())
  })).pipe(
    Command.withDescription(
      "Look at every byte of a store that means something; exit code 1 where something is wrong"
    )
  )

const salvage = Command.make("salvage", {
  from: Argument.String("from").pipe(Argument.withDescription("directory of the damaged store")),
  to: Argument.String("to").pipe(Argument.withDescription("directory of the new store: empty, or not there")),
  json
}, (options) =>
  Effect.gen(function*() {
    const report = yield* watched(Salvage.salvage({ from: options.from, to: options.to }))
    yield* print(options, report, Text.salvaged)
    if (!report.complete) return yield* Effect.fail(new Unsound())
  })).pipe(
    Command.withDescription(
      "Build a new store of what is intact in a damaged one; exit code 1 where keys are missing"
    )
  )

/** Runs a body in a store that somebody else may have open. */
const beside = <A, E>(
  store: string,
  body: Effect.Effect<A, E, Store.Store>
): Effect.Effect<A, E | StoreError> => Effect.provide(body, Store.layerReadOnly({ path: store }))

const stat = Command.make("stat", { path, json }, (options) =>
  Effect.flatMap(
    beside(options.path, Effect.flatMap(Store.Store, (store) => store.stat)),
    (report) => print(options, report, Text.stat)
  )).pipe(Command.withDescription("Sizes and counts of a store"))

const inspect = Command.make("inspect", { path, json }, (options) =>
  Effect.gen(function*() {
    const report = yield* beside(options.path, Effect.flatMap(Store.Store, (store) => store.inspect))
    yield* print(options, report, Text.inspected)
    if (report.violations.length > 0) return yield* Effect.fail(new Unsound())
  })).pipe(Command.withDescription("The trees of a store leaf by leaf, and the segments of its log"))

const keyspace = Argument.String("keyspace").pipe(Argument.withDescription("name of a keyspace"))

/** Bytes that were typed: as text, or behind 0x as hexadecimal digits. */
const typed = (text: string): Uint8Array =>
  /^0x([0-9a-f]{2})*$/i.test(text) ? Buffer.from(text.slice(2), "hex") : Buffer.from(text)

interface Row {
  readonly key: Uint8Array
  readonly value: Uint8Array
  readonly lsn: number
}

const row = ({ key, value }: Row): string => `${Text.escaped(key)}\t${Text.escaped(value)}`

/** The records of a keyspace from a key on, as they are stored. */
const rows = (options: {
  readonly path: string
  readonly keyspace: string
  readonly from: Uint8Array
  readonly until: Uint8Array | undefined
  readonly limit: number
}): Effect.Effect<ReadonlyArray<Row>, StoreError> =>
  beside(
    options.path,
    Snapshot.read()(Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const snapshot = yield* Snapshot.Snapshot
      const known = machine.parts.generations.names().get(options.keyspace)
      if (known === undefined) {
        const names = [...machine.parts.generations.names().keys()].join(", ")
        const problems = [`there is no keyspace "${options.keyspace}": name one of ${names}`]
        return yield* Effect.fail(storeError(new InvalidOptions({ problems })))
      }
      const { from: lower, limit, until: upper } = options
      const range = { lower, upper, limit, order: "ascending", columns: "keys and values" } as const
      const scan = snapshot.scan({ name: options.keyspace, layout: known.layout }, range)
      const found: Array<Row> = []
      yield* Effect.forever(Effect.map(scan, (chunk) => void found.push(...chunk))).pipe(
        Effect.catchTag("Done", () => Effect.void)
      )
      return found.map(({ key, lsn, value }) => ({ key, value, lsn }))
    }))
  )

const get = Command.make(
  "get",
  { path, keyspace, key: Argument.String("key"), json },
  (options) =>
    Effect.gen(function*() {
      const key = typed(options.key)
      const until = Buffer.concat([key, Buffer.of(0)])
      const found = yield* rows({ ...options, from: key, until, limit: 1 })
      if (found.length === 0) return yield* Effect.fail(new Unsound())
      yield* print(options, found[0] as Row, ({ value }) => Text.escaped(value))
    })
).pipe(
  Command.withDescription(
    "The value of a key as it is stored; exit code 1 where there is none. Keys: text, or 0x…"
  )
)

const scan = Command.make("scan", {
  path,
  keyspace,
  from: Flag.String("from").pipe(Flag.withDescription("first key: text, or 0x…"), Flag.withDefault("")),
  limit: Flag.Int("limit").pipe(Flag.withDescription("most records"), Flag.withDefault(100)),
  json
}, (options) =>
  Effect.flatMap(
    rows({ ...options, from: typed(options.from), until: undefined }),
    (found) => print(options, found, () => found.map(row).join("\n"))
  )).pipe(Command.withDescription("Keys and values of a keyspace as they are stored"))

/** `heartwood` and its commands. */
export const heartwood = Command.make("heartwood").pipe(
  Command.withDescription("Look at the stores of heartwood, and save what is left of damaged ones"),
  Command.withSubcommands([verify, salvage, stat, inspect, get, scan])
)

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
import * as Option from "effect/Option"
import * as Key from "../Key.ts"
import * as Salvage from "../Salvage.ts"
import * as Snapshot from "../Snapshot.ts"
import * as Store from "../Store.ts"
import { InvalidOptions, storeError } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import { keyBytesMax } from "../tree/page/KeyScratch.ts"
import * as Verify from "../Verify.ts"
import * as Layout from "./Layout.ts"
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
const stored = Flag.Boolean("stored").pipe(
  Flag.withDescription("print keys and values as they are stored"),
  Flag.withDefault(false)
)

interface Row {
  readonly key: unknown
  readonly value: unknown
  readonly lsn: number
}

interface Bounds {
  readonly lower: Uint8Array
  readonly upper: Uint8Array | undefined
  /** The one key that is wanted, where it is one. */
  readonly only?: Uint8Array
}

interface Selection {
  readonly path: string
  readonly keyspace: string
  readonly stored: boolean
  readonly limit: number
  readonly reverse: boolean
}

/** The records of a keyspace within bounds that are typed in its own way. */
const rows = (
  options: Selection,
  boundsOf: (layout: Layout.Layout) => Effect.Effect<Bounds, StoreError>
): Effect.Effect<ReadonlyArray<Row>, StoreError> =>
  beside(
    options.path,
    Snapshot.read()(Effect.gen(function*() {
      const { machine } = yield* Store.Store
      const snapshot = yield* Snapshot.Snapshot
      const names = machine.parts.generations.names()
      const known = names.get(options.keyspace)
      if (known === undefined) {
        return yield* refused(
          `there is no keyspace "${options.keyspace}": name one of ${[...names.keys()].join(", ")}`
        )
      }
      const layout = new Layout.Layout(known.layout)
      const { limit, reverse } = options
      const order = reverse ? "descending" : "ascending"
      const { lower, only, upper } = yield* boundsOf(layout)
      const range = { lower, upper, limit, order, columns: "keys and values" } as const
      const scan = snapshot.scan({ name: options.keyspace, layout: known.layout }, range)
      const found: Array<Row> = []
      yield* Effect.forever(Effect.map(scan, (chunk) => {
        for (const { key, lsn, value } of chunk) {
          if (only !== undefined && Buffer.compare(key, only) !== 0) continue
          const row = { key: layout.decodeKey(key), value: layout.decodeValue(value), lsn }
          found.push(options.stored ? { key, value, lsn } : row)
        }
      })).pipe(Effect.catchTag("Done", () => Effect.void))
      return found
    }))
  )

const refused = (problem: string) => Effect.fail(storeError(new InvalidOptions({ problems: [problem] })))

/** What was typed, as it is stored; refused where it is nothing of the kind. */
const typed = (layout: Layout.Layout, stored: Uint8Array | undefined) => {
  if (stored === undefined) {
    return refused(
      `keys are of ${layout.keys}: write text and times as they are, numbers as in JSON, a tuple as an array `
        + "in JSON, and any key as 0x and what is stored, in hexadecimal digits"
    )
  }
  return stored.length > keyBytesMax
    ? refused(`no key has more than ${keyBytesMax} bytes, and this one would have ${stored.length}`)
    : Effect.succeed(stored)
}

const nothing = new Uint8Array(0)

const get = Command.make(
  "get",
  { path, keyspace, key: Argument.String("key"), stored, json },
  (options) =>
    Effect.gen(function*() {
      const only = (layout: Layout.Layout) =>
        Effect.map(typed(layout, layout.keyOf(options.key)), (only): Bounds => ({
          lower: only,
          upper: undefined,
          only
        }))
      const [found] = yield* rows({ ...options, limit: 1, reverse: false }, only)
      if (found === undefined) return yield* Effect.fail(new Unsound())
      yield* print(options, found, ({ value }) => Layout.text(value))
    })
).pipe(Command.withDescription("The value of a key; exit code 1 where there is none"))

/** A flag that may be left out. */
const optional = (name: string, what: string) =>
  Flag.String(name).pipe(Flag.withDescription(what), Flag.optional, Flag.map(Option.getOrUndefined))

const scan = Command.make("scan", {
  path,
  keyspace,
  from: optional("from", "the first key"),
  until: optional("until", "the key before which it ends"),
  prefix: optional("prefix", "what the keys begin with: text, or the first parts of a tuple"),
  reverse: Flag.Boolean("reverse").pipe(Flag.withDescription("from the end"), Flag.withDefault(false)),
  limit: Flag.Int("limit").pipe(Flag.withDescription("most records"), Flag.withDefault(100)),
  stored,
  json
}, (options) =>
  Effect.gen(function*() {
    const { from, limit, prefix, until } = options
    if (limit < 0) return yield* refused(`limit is ${limit}: make it 0 or more`)
    const bounds = Effect.fnUntraced(function*(layout: Layout.Layout) {
      const begin = prefix === undefined ? nothing : yield* typed(layout, layout.prefixOf(prefix))
      const first = from === undefined ? begin : yield* typed(layout, layout.keyOf(from))
      const last = until === undefined ? undefined : yield* typed(layout, layout.keyOf(until))
      const behind = Uint8Array.from(begin)
      const length = Key.successor(behind, 0, behind.length)
      const end = length < 0 ? undefined : behind.subarray(0, length)
      return {
        lower: Buffer.compare(first, begin) < 0 ? begin : first,
        upper: last === undefined || (end !== undefined && Buffer.compare(end, last) < 0) ? end : last
      }
    })
    const found = yield* rows(options, bounds)
    const line = ({ key, value }: Row): string => `${Layout.text(key)}\t${Layout.text(value)}`
    yield* print(options, found, () => found.map(line).join("\n"))
  })).pipe(Command.withDescription("Keys and values of a keyspace"))

/** `heartwood` and its commands. */
export const heartwood = Command.make("heartwood").pipe(
  Command.withDescription("Look at the stores of heartwood, and save what is left of damaged ones"),
  Command.withSubcommands([verify, salvage, stat, inspect, get, scan])
)

/**
 * A store on a disk that fails, and the steps of the model carried out on it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Codec from "../../src/Codec.ts"
import type { Disk } from "../../src/disk/Disk.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import { modelled } from "./modelled.ts"
import type { Range, Result, Row, State, Step } from "./storeModel.ts"
import { modified } from "./storeModel.ts"

export const directory = "/store"

export interface Opened {
  readonly store: Store.Store["Service"]
  readonly close: Effect.Effect<void>
}

/** Opens a store that lives until it is closed. */
export const open = (options: Omit<Store.Options, "path">): Effect.Effect<Opened, StoreError, Disk> =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const made = yield* Effect.exit(Scope.provide(Store.make({ ...options, path: directory }), scope))
    const close = Scope.close(scope, Exit.void)
    if (Exit.isFailure(made)) {
      yield* close
      return yield* Effect.failCause(made.cause)
    }
    return { store: made.value, close }
  })

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
const bytes = (key: string): Uint8Array => Uint8Array.from(Buffer.from(key, "latin1"))

type Bytes = Keyspace.Keyspace<Uint8Array, Uint8Array, Uint8Array>
type Reducing = Keyspace.Reducing<Uint8Array, Uint8Array, Uint8Array, Uint8Array>

const keyspaces = new Map<string, Bytes>()

export const keyspaceOf = (name: string): Bytes => {
  const known = keyspaces.get(name) ?? reducing[name] ?? Keyspace.bytes(name)
  keyspaces.set(name, known)
  return known
}

/** Those of the model that have reducers (`reducerOf`). The numbers are the model's bytes. */
const reducing: Record<string, Reducing> = {
  sums: Keyspace.make("sums", {
    key: Key.Bytes,
    value: { ...Codec.bytes, format: "int" },
    reducer: "sum" as never
  }),
  journal: Keyspace.make("journal", { key: Key.Bytes, value: Codec.bytes, reducer: "append" })
}

const rowOf = (entry: Keyspace.Entry<Uint8Array, Uint8Array>): Row => ({
  key: text(entry.key),
  value: text(entry.value),
  lsn: entry.lsn,
  ...(entry.expiry === undefined ? {} : { expiry: entry.expiry })
})

const rangeOf = ({ from, prefix, until, ...rest }: Range): Keyspace.RangeOptions<Uint8Array, Uint8Array> => ({
  ...rest,
  ...(from === undefined ? {} : { from: bytes(from) }),
  ...(until === undefined ? {} : { until: bytes(until) }),
  ...(prefix === undefined ? {} : { prefix: bytes(prefix) })
})

export type Look = Extract<Step, { readonly _tag: "get" | "getMany" | "first" | "range" }>

/** Carries out a step that only looks. */
export const look = (step: Look): Effect.Effect<Result, StoreError, Snapshot.Snapshot> => {
  const keyspace = keyspaceOf(step.keyspace)
  switch (step._tag) {
    case "get":
      return Effect.map(
        keyspace.getEntry(bytes(step.key)),
        (entry) => [Option.isSome(entry) ? rowOf(entry.value) : undefined]
      )
    case "getMany":
      return Effect.map(
        keyspace.getMany(step.keys.map(bytes)),
        (values) =>
          values.map((value, index) =>
            Option.isSome(value)
              ? { key: step.keys[index] as string, value: text(value.value), lsn: undefined }
              : undefined
          )
      )
    case "first":
      return Effect.map(
        keyspace.first(rangeOf(step.range)),
        (entry) => Option.isSome(entry) ? [rowOf(entry.value)] : []
      )
    case "range":
      return Effect.map(
        Stream.runCollect(keyspace.range(rangeOf(step.range))),
        (entries) => Array.from(entries, rowOf)
      )
  }
}

/** Carries out the steps of a body; answers are pushed to `results`. */
export const perform = (
  steps: ReadonlyArray<Step>,
  results: Array<Result>
): Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot> => {
  modelled(steps.length)
  return Effect.forEach(steps, (step) => performOne(step, results), { discard: true })
}

const performOne = (
  step: Step,
  results: Array<Result>
): Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot> => {
  if (step._tag === "savepoint") {
    const body = Effect.andThen(
      perform(step.steps, results),
      step.fails ? Effect.fail("rolled back" as const) : Effect.void
    )
    return Effect.catchIf(
      Tx.savepoint(body),
      (error) => error === "rolled back",
      () => Effect.void
    ) as Effect.Effect<
      void,
      StoreError,
      Tx.Tx | Snapshot.Snapshot
    >
  }
  const keyspace = keyspaceOf(step.keyspace)
  switch (step._tag) {
    case "put":
      return keyspace.put(bytes(step.key), bytes(step.value))
    case "remove":
      return keyspace.remove(bytes(step.key))
    case "merge":
      return (reducing[step.keyspace] as Reducing).merge(bytes(step.key), bytes(step.operand))
    case "insert":
      return Effect.map(
        keyspace.insert(bytes(step.key), bytes(step.value)),
        (inserted) => void results.push(inserted ? "inserted" : "there")
      )
    case "replace":
      return keyspace.getEntry(bytes(step.key)).pipe(
        Effect.flatMap((entry) => {
          const lsn = Option.isSome(entry) ? entry.value.lsn : undefined
          const expected = step.expects === "right" ? lsn : (lsn ?? 0) + 1
          return keyspace.replace(bytes(step.key), bytes(step.value), expected)
        }),
        Effect.map(() => "replaced"),
        Effect.catchTag("VersionMismatch", () => Effect.succeed("mismatch")),
        Effect.map((result) => void results.push(result))
      )
    case "modify":
      return Effect.map(
        keyspace.modify(bytes(step.key), (value) => {
          const seen = Option.isSome(value) ? text(value.value) : undefined
          const next = modified(seen, step.tail)
          return [seen, next === undefined ? Option.none() : Option.some(bytes(next))] as const
        }),
        (seen) => void results.push(seen ?? "absent")
      )
    case "clear":
      return keyspace.clear
    case "drop":
      return keyspace.drop
    default:
      return Effect.map(look(step), (result) => void results.push(result))
  }
}

/** Everything in the named keyspaces as one snapshot sees it. */
export const contents = (names: ReadonlyArray<string>): Effect.Effect<State, StoreError, Snapshot.Snapshot> =>
  Effect.map(
    Effect.forEach(
      names,
      (keyspace) =>
        Effect.map(
          look({ _tag: "range", keyspace, range: {} }),
          (rows) => [keyspace, rows as ReadonlyArray<Row>] as const
        )
    ),
    (entries) => new Map(entries)
  )

/** The same of what is visible now. */
export const dump = (
  store: Store.Store["Service"],
  names: ReadonlyArray<string>
): Effect.Effect<State, StoreError> =>
  Effect.provideService(Snapshot.read()(contents(names)), Store.Store, store)

/** What expires at this time or before is not there for a body. */
export const nowOf = (snapshot: object): number =>
  "now" in snapshot && typeof snapshot.now === "number" ? snapshot.now : -Infinity

/** The same, and as of which time. */
export const dumpAt = (
  store: Store.Store["Service"],
  names: ReadonlyArray<string>
): Effect.Effect<{ readonly found: State; readonly now: number }, StoreError> => {
  const both = Snapshot.Snapshot.use((snapshot) =>
    Effect.map(contents(names), (found) => ({ found, now: nowOf(snapshot) }))
  )
  return Effect.provideService(Snapshot.read()(both), Store.Store, store)
}

/** Lets everything run until the disk has been idle for a while: what is left waits for the clock. */
export const quiesce = (operations: () => number): Effect.Effect<void> =>
  Effect.promise(async () => {
    for (let calm = 0, last = -1; calm < 8; calm++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (operations() !== last) calm = 0
      last = operations()
    }
  })

/** The same, until nothing is left to be moved either. */
export const settle = (
  store: Store.Store["Service"],
  operations: () => number
): Effect.Effect<void> =>
  Effect.gen(function*() {
    yield* quiesce(operations)
    while (store.machine.parts.relocation.busy) yield* quiesce(operations)
  })

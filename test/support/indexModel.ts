/**
 * Keyspaces with indexes and their model: a map of records, from which every index can be folded.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Index from "../../src/Indexes.ts"
import { states } from "../../src/indexes/States.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import type * as Store from "../../src/Store.ts"
import type { DuplicateKey, StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Random } from "./random.ts"

const Value = Schema.Struct({ email: Schema.NullOr(Schema.Int), tags: Schema.Array(Schema.Int) })
type Value = Schema.Schema.Type<typeof Value>
export type Model = Map<number, Value>

const Plain = Keyspace.make("users", { key: Key.U32, value: Value })

const email = {
  key: Key.Int,
  of: ({ value }: { value: Value }) => value.email === null ? [] : [value.email],
  unique: true
} as const
const tag = { key: Key.String, of: ({ value }: { value: Value }) => value.tags.map((tag) => `t${tag}`) }
const tag2 = {
  key: Key.String,
  of: ({ value }: { value: Value }) => value.tags.map((tag) => `second ${tag % 3}`),
  version: 2
}
const size = { key: Key.U32, of: ({ value }: { value: Value }) => [value.tags.length] }

/** What programs declare one after another. */
export const programs = [
  Index.make(Plain, { email, tag }),
  Index.make(Plain, { email, tag: tag2 }),
  Index.make(Plain, { tag }),
  Index.make(Plain, { email, tag, size })
] as const

type Writing<A, E = DuplicateKey> = Effect.Effect<A, StoreError | E, Tx.Tx | Snapshot.Snapshot>
type Reading<A> = Stream.Stream<A, StoreError, Snapshot.Snapshot>

/** What all of them have in common. */
export interface Program {
  readonly put: (key: number, value: Value) => Writing<void>
  readonly insert: (key: number, value: Value) => Writing<boolean>
  readonly remove: (key: number) => Writing<void, never>
  readonly modify: <B>(
    key: number,
    f: (value: Option.Option<Value>) => readonly [B, Option.Option<Value>]
  ) => Writing<B>
  readonly clear: Writing<void, never>
  readonly range: () => Reading<Keyspace.Entry<number, Value>>
  readonly kept: typeof programs[0]["kept"]
  readonly by: {
    readonly [index: string]: {
      readonly keys: () => Reading<Index.Pair<unknown, number>>
      readonly range: () => Reading<Index.Pair<unknown, number>>
    }
  }
}

export type Op =
  | { readonly _tag: "put" | "insert"; readonly key: number; readonly value: Value }
  | { readonly _tag: "remove" | "modify"; readonly key: number }
  | { readonly _tag: "clear" }
  | { readonly _tag: "step"; readonly ops: ReadonlyArray<Op>; readonly fails: boolean }

export const valueOf = (chance: Random, emails: number): Value => ({
  email: chance.bool(0.2) ? null : chance.int(emails),
  tags: Array.from({ length: chance.int(4) }, () => chance.int(7))
})

export const opOf = (chance: Random, keys: number, depth = 0): Op => {
  const key = chance.int(keys)
  const drawn = chance.next()
  if (drawn < 0.4) return { _tag: "put", key, value: valueOf(chance, 2 * keys) }
  if (drawn < 0.55) return { _tag: "insert", key, value: valueOf(chance, 2 * keys) }
  if (drawn < 0.7) return { _tag: "remove", key }
  if (drawn < 0.85 || depth > 1) return { _tag: "modify", key }
  if (drawn < 0.852) return { _tag: "clear" }
  const ops = Array.from({ length: 1 + chance.int(3) }, () => opOf(chance, keys, depth + 1))
  return { _tag: "step", ops, fails: chance.bool(0.5) }
}

const modified = (value: Option.Option<Value>): Option.Option<Value> =>
  Option.isNone(value)
    ? Option.some({ email: null, tags: [6] })
    : value.value.tags.length > 3
    ? Option.none()
    : Option.some({ ...value.value, tags: [...value.value.tags, value.value.tags.length] })

/** Carries out an op; what it answers is what the model must answer. */
export const carryOut = (
  program: Program,
  op: Op
): Effect.Effect<string, StoreError, Tx.Tx | Snapshot.Snapshot> => {
  const refused = (self: Writing<string>): Writing<string, never> =>
    Effect.catchTag(self, "DuplicateKey", () => Effect.succeed("taken"))
  switch (op._tag) {
    case "put":
      return refused(Effect.as(program.put(op.key, op.value), "done"))
    case "insert":
      return refused(Effect.map(program.insert(op.key, op.value), (fresh) => `${fresh}`))
    case "remove":
      return Effect.as(program.remove(op.key), "done")
    case "modify":
      return refused(Effect.as(program.modify(op.key, (value) => [0, modified(value)]), "done"))
    case "clear":
      return Effect.as(program.clear, "done")
    case "step": {
      const steps = Effect.map(
        Effect.forEach(op.ops, (op) => carryOut(program, op)),
        (outcomes) => outcomes.join()
      )
      return op.fails
        ? Effect.catchTag(
          Tx.savepoint(Effect.flatMap(steps, (outcome) => Effect.fail({ _tag: "No", outcome } as const))),
          "No",
          ({ outcome }) => Effect.succeed(outcome)
        )
        : Tx.savepoint(steps)
    }
  }
}

/** The same, done to the model. */
export const apply = (model: Model, op: Op, unique: boolean): string => {
  const set = (key: number, value: Value): string => {
    const taken = unique && value.email !== null
      && [...model].some(([other, { email }]) => other !== key && email === value.email)
    if (taken) return "taken"
    model.set(key, value)
    return "done"
  }
  switch (op._tag) {
    case "put":
      return set(op.key, op.value)
    case "insert": {
      if (model.has(op.key)) return "false"
      const outcome = set(op.key, op.value)
      return outcome === "done" ? "true" : outcome
    }
    case "remove":
      model.delete(op.key)
      return "done"
    case "modify": {
      const next = modified(Option.fromUndefinedOr(model.get(op.key)))
      if (Option.isSome(next)) return set(op.key, next.value)
      model.delete(op.key)
      return "done"
    }
    case "clear":
      model.clear()
      return "done"
    case "step": {
      const before = new Map(model)
      const outcome = op.ops.map((op) => apply(model, op, unique)).join()
      if (op.fails) {
        model.clear()
        for (const [key, value] of before) model.set(key, value)
      }
      return outcome
    }
  }
}

export interface Audit {
  readonly records: Model
  /** Indexes that are not built. */
  readonly unready: ReadonlyArray<string>
}

const folded = (
  records: Model,
  of: (record: { readonly key: number; readonly value: Value }) => Iterable<unknown>
): Set<string> =>
  new Set(
    [...records].flatMap(([key, value]) =>
      [...of({ key, value })].map((indexKey) => JSON.stringify([indexKey, key]))
    )
  )

const functions: Record<string, Record<string, typeof email.of | typeof tag.of>> = {
  email: { 1: email.of },
  tag: { 1: tag.of, 2: tag2.of },
  size: { 1: size.of }
}

const differences = (found: ReadonlyArray<string>, expected: Set<string>): ReadonlyArray<string> => [
  ...found.filter((pair) => !expected.has(pair)).map((pair) => `not so: ${pair}`),
  ...(found.length === expected.size ? [] : [`${found.length} pairs of ${expected.size}`])
]

/** Compares every index that is read with the fold over the records, and says what is wrong in any other lane. */
export const audit = (program: Program): Effect.Effect<Audit, StoreError, Store.Store> =>
  Effect.gen(function*() {
    const snapshot = yield* Snapshot.Snapshot
    const entries = yield* Stream.runCollect(program.range())
    const records: Model = new Map(entries.map(({ key, value }) => [key, value]))
    const unready: Array<string> = []
    const problems: Array<string> = []
    for (const [name, by] of Object.entries(program.by)) {
      const pairs = yield* Effect.exit(Stream.runCollect(by.keys()))
      if (Exit.isFailure(pairs)) {
        unready.push(name)
        continue
      }
      const version = name === "tag" && program === programs[1] ? 2 : 1
      const expected = folded(records, functions[name]?.[version] ?? (() => []))
      const found = pairs.value.map(({ indexKey, key }) => JSON.stringify([indexKey, key]))
      problems.push(...differences(found, expected).map((problem) => `${name}: ${problem}`))
      const joined = yield* Stream.runCollect(by.range())
      if (joined.length !== found.length) problems.push(`${name}: ${joined.length} of ${found.length} joined`)
    }
    // What is being built may lack pairs, but has none that is wrong.
    const state = yield* states.read(snapshot, "users")
    for (const { name, shadow, version } of state?.indexes ?? []) {
      const shape = programs.flatMap(({ kept: { shapes } }) => shapes).find((shape) =>
        shape.name === name && shape.version === version
      )
      if (shadow === null || shape === undefined) continue
      const lane = shape.lane(shadow)
      const range = lane.range({})
      if (Exit.isExit(range)) return yield* range
      const expected = folded(records, functions[name]?.[version] ?? (() => []))
      const scan = snapshot.scan(lane, range)
      const pull: Effect.Effect<void, StoreError> = Effect.matchEffect(scan, {
        onFailure: (error) => error._tag === "StoreError" ? Effect.fail(error) : Effect.void,
        onSuccess: (rows) => {
          for (const row of rows) {
            const pair = lane.pair(row)
            if (Exit.isExit(pair)) return pair
            const text = JSON.stringify([pair.indexKey, pair.key])
            if (!expected.has(text)) problems.push(`shadow of ${name}, not so: ${text}`)
          }
          return pull
        }
      })
      yield* pull
    }
    if (problems.length > 0) throw new Error(problems.slice(0, 5).join("; "))
    return { records, unready }
  }).pipe(Snapshot.read())

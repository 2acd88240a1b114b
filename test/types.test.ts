/**
 * What the compiler refuses: each of these lines would be a bug, and is an error of types.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Codec from "../src/Codec.ts"
import * as Index from "../src/Indexes.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Reducer from "../src/Reducer.ts"
import type * as Session from "../src/Session.ts"
import * as Snapshot from "../src/Snapshot.ts"
import type * as Store from "../src/Store.ts"
import type { Conflict, DuplicateKey, SerialGap, StoreError, VersionMismatch } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"

const Users = Keyspace.make("users", { key: Key.String, value: Schema.Struct({ age: Schema.Int }) })
const Visits = Keyspace.make("visits", {
  key: Key.Tuple(Key.String, Key.Int, Key.Bool),
  value: Schema.String
})
const Ints = Keyspace.make("ints", { key: Key.Int, value: Schema.String })

const Sold = Keyspace.make("sold", { key: Key.String, value: Codec.int, reducer: "sum" })
const longest = Reducer.make<string, number>({
  name: "longest",
  operand: Codec.int,
  fold: (value, operand) => "a".repeat(Math.max(operand, Option.getOrElse(value, () => "").length))
})
const Longest = Keyspace.make("longest", { key: Key.String, value: Schema.String, reducer: longest })

const People = Index.make(Users, {
  name: { key: Key.String, of: ({ key }) => [key.toLowerCase()], unique: true },
  age: { key: Key.Tuple(Key.Int, Key.Bool), of: ({ value: { age } }) => [[age, age > 17] as const] }
})
const Tagged = Index.make(Ints, { text: { key: Key.String, of: ({ value }) => value.split(" ") } })
const Sales = Index.make(Sold, { count: { key: Key.Int, of: ({ value }) => [value] } })

type Runnable<A, E = StoreError> = Effect.Effect<A, E, Store.Store>

/** Never run: that it compiles is the test. */
export const facts = () => {
  const age: Runnable<Option.Option<{ readonly age: number }>> = Users.get("ada").pipe(Snapshot.read())
  const put: Runnable<void> = Users.put("ada", { age: 36 }).pipe(Tx.transact())
  const both: Runnable<boolean> = Users.insert("ada", { age: 36 }).pipe(Tx.transact())
  const replaced: Runnable<void, StoreError | VersionMismatch> = Users.replace("a", { age: 1 }, 5).pipe(
    Tx.transact()
  )
  const committed: Runnable<Tx.Commit<void>> = Users.clear.pipe(Tx.commit())
  const own: Runnable<string, StoreError | "no"> = Effect.andThen(Users.drop, Effect.fail("no" as const))
    .pipe(Tx.transact())
  const stat: Runnable<Keyspace.Stat> = Users.stat
  const streamed: Stream.Stream<Keyspace.Entry<string, { readonly age: number }>, StoreError, Store.Store> =
    Users
      .range().pipe(Snapshot.stream())
  const step: Effect.Effect<void, StoreError, Tx.Tx> = Tx.savepoint(Users.remove("a"))

  // @ts-expect-error a write inside a read
  const written: Runnable<void> = Users.put("ada", { age: 36 }).pipe(Snapshot.read())
  // @ts-expect-error a savepoint inside a read
  const saved: Runnable<void> = Tx.savepoint(Users.remove("a")).pipe(Snapshot.read())
  // @ts-expect-error a hook inside a read
  const hooked: Runnable<void> = Tx.onCommit(Effect.void).pipe(Snapshot.read())
  // @ts-expect-error a read outside every boundary
  const bare: Runnable<unknown> = Users.get("ada")
  // @ts-expect-error a range outside every boundary
  const ranged: Stream.Stream<unknown, StoreError, Store.Store> = Users.range()
  // @ts-expect-error a write outside every boundary
  const loose: Runnable<void> = Users.put("ada", { age: 36 })
  // @ts-expect-error a clear outside every boundary
  const cleared: Runnable<void> = Users.clear
  // @ts-expect-error insert reads, so a boundary for reads is no boundary for it
  const inserted: Runnable<boolean> = Users.insert("ada", { age: 36 }).pipe(Snapshot.read())
  // @ts-expect-error without a store
  const homeless: Effect.Effect<void, StoreError> = Users.put("ada", { age: 36 }).pipe(Tx.transact())
  // @ts-expect-error its failures are not forgotten
  const infallible: Effect.Effect<void, never, Store.Store> = Users.put("ada", { age: 36 }).pipe(
    Tx.transact()
  )
  // @ts-expect-error VersionMismatch is not forgotten
  const unversioned: Runnable<void> = Users.replace("a", { age: 1 }, 5).pipe(Tx.transact())
  // @ts-expect-error a hook that can fail
  const failing = Tx.onCommit(Effect.fail("no"))
  // @ts-expect-error another key
  const key = Users.get(1)
  // @ts-expect-error another value
  const value = Users.put("ada", { age: "36" })
  // @ts-expect-error another part of a key
  const part = Visits.get(["a", 1, 1])
  // @ts-expect-error a prefix that is no leading part
  const prefix = Visits.range({ prefix: [1] })
  // @ts-expect-error integers have no prefixes
  const integers = Ints.range({ prefix: 1 })
  // @ts-expect-error a durability that is none
  const durable = Tx.transact({ durability: "sync" })
  // @ts-expect-error a flag where options belong
  const flag = Snapshot.read(true)
  // @ts-expect-error a key of a schema, which has no order
  const schema = Keyspace.make("users", { key: Schema.String, value: Schema.String })
  const needy = Schema.String as Schema.Codec<string, string, "service">
  // @ts-expect-error a value whose schema needs a service
  const service = Keyspace.make("users", { key: Key.String, value: needy })

  const sold: Runnable<void> = Sold.merge("apple", 1).pipe(Tx.transact())
  const folded: Runnable<void> = Longest.merge("apple", 1).pipe(Tx.transact())
  const soFar: Runnable<Option.Option<string>> = Longest.get("apple").pipe(Snapshot.read())
  // @ts-expect-error a merge into what has no reducer
  const irreducible = Users.merge("ada", { age: 36 })
  // @ts-expect-error a merge inside a read
  const misplaced: Runnable<void> = Sold.merge("apple", 1).pipe(Snapshot.read())
  // @ts-expect-error an operand of another type than the values
  const textual = Sold.merge("apple", "1")
  // @ts-expect-error a value where the reducer takes another operand
  const whole = Longest.merge("apple", "aaa")
  // @ts-expect-error a reducer that folds no text
  const sums = Keyspace.make("x", { key: Key.String, value: Schema.String, reducer: "sum" })
  // @ts-expect-error a reducer that folds numbers as a codec writes them, not as JSON
  const texts = Keyspace.make("x", { key: Key.String, value: Schema.Int, reducer: "sum" })
  // @ts-expect-error a reducer whose last digits would depend on the order
  const floats = Keyspace.make("x", { key: Key.String, value: Codec.float, reducer: "sum" })
  const Greatest = Keyspace.make("x", { key: Key.String, value: Codec.float, reducer: "max" })
  const greatest: Runnable<void> = Greatest.merge("apple", 1.5).pipe(Tx.transact())
  const Newest = Keyspace.make("y", { key: Key.String, value: Schema.Int, reducer: "last" })
  const newest: Runnable<void> = Newest.merge("apple", 1).pipe(Tx.transact())
  // @ts-expect-error a reducer of other values
  const others = Keyspace.make("x", { key: Key.String, value: Codec.int, reducer: longest })
  // @ts-expect-error a reducer that there is not
  const unknown = Keyspace.make("x", { key: Key.String, value: Codec.int, reducer: "product" })
  const refused = [irreducible, misplaced, textual, whole, sums, texts, floats, others, unknown]
  const merges = [sold, folded, soFar, greatest, newest, refused]

  type Age = { readonly age: number }
  type ByAge = Index.Indexed<readonly [number, boolean], string, Age>
  const named: Runnable<Option.Option<Index.Indexed<string, string, Age>>> = People.by.name.get("ada").pipe(
    Snapshot.read()
  )
  const aged: Stream.Stream<ByAge, StoreError, Store.Store> = People.by.age.get([36, true]).pipe(
    Snapshot.stream()
  )
  const from36: Stream.Stream<ByAge, StoreError, Snapshot.Snapshot> = People.by.age.range({ prefix: [36] })
  const pairs: Stream.Stream<Index.Pair<string, number>, StoreError, Snapshot.Snapshot> = Tagged.by.text
    .keys({ prefix: "a" })
  const unique: Runnable<void, StoreError | DuplicateKey> = People.put("ada", { age: 36 }).pipe(Tx.transact())
  const free: Runnable<void> = Tagged.put(1, "a").pipe(Tx.transact())
  const gone: Runnable<void> = People.remove("ada").pipe(Tx.transact())
  const sale: Runnable<void> = Sales.merge("apple", 1).pipe(Tx.transact())
  const building: Stream.Stream<Index.Progress, StoreError | DuplicateKey, Store.Store> = Index.build(People)
  // @ts-expect-error DuplicateKey is not forgotten
  const taken: Runnable<void> = People.put("ada", { age: 36 }).pipe(Tx.transact())
  // @ts-expect-error a write to a keyspace with indexes reads, so a boundary for reads is no boundary for it
  const unkept: Runnable<void> = Tagged.put(1, "a").pipe(Snapshot.read())
  // @ts-expect-error an index key of another type
  const otherKey = People.by.name.get(36)
  // @ts-expect-error a prefix that is no leading part of the index key
  const otherPrefix = People.by.age.range({ prefix: [true] })
  // @ts-expect-error an index key of another type, in a range
  const otherOnly = Tagged.by.text.range({ only: 1 })
  // @ts-expect-error an index that there is not
  const otherIndex = People.by.email
  // @ts-expect-error a stream, as it is not unique
  const option: Runnable<unknown> = People.by.age.get([36, true]).pipe(Snapshot.read())
  // @ts-expect-error a function that answers other keys
  const wrongKeys = Index.make(Users, { age: { key: Key.String, of: ({ value }) => [value.age] } })
  // @ts-expect-error a function of other records
  const wrongRecord = Index.make(Users, { age: { key: Key.Int, of: ({ value }) => [value.size] } })
  const misspelt = Index.make(Users, {
    // @ts-expect-error an option that there is not
    age: { key: Key.Int, of: ({ value }) => [value.age], uniqe: true }
  })
  // @ts-expect-error a merge into what has no reducer
  const noMerge = People.merge("ada", 1)
  // @ts-expect-error indexes of indexes
  const twice = Index.make(People, {})
  // @ts-expect-error an index that there is not, built anew
  const anew = Index.rebuild(People, ["email"])
  const indexes = [
    [named, aged, from36, pairs, unique, free, gone, sale, building, taken, unkept, otherKey, otherPrefix],
    [otherOnly, otherIndex, option, wrongKeys, wrongRecord, misspelt, noMerge, twice, anew]
  ]

  const prefixes = [
    Visits.range({ prefix: [] }),
    Visits.range({ prefix: ["a"] }),
    Visits.range({ prefix: ["a", 1, true] })
  ]
  return [
    [
      age,
      put,
      both,
      replaced,
      committed,
      own,
      stat,
      streamed,
      step,
      written,
      saved,
      hooked,
      bare,
      ranged,
      loose,
      cleared
    ],
    [
      inserted,
      homeless,
      infallible,
      unversioned,
      failing,
      key,
      value,
      part,
      prefix,
      integers,
      durable,
      flag,
      schema
    ],
    [service, prefixes, merges, indexes]
  ]
}

/** The same of transactions. */
export const transactions = () => {
  const put = Users.put("ada", { age: 36 })
  const unlimited: Runnable<void> = put.pipe(Tx.transact({ durability: "memory" }))
  const limited: Runnable<void, StoreError | Conflict> = put.pipe(Tx.transact({ attempts: 3 }))
  const counted: Runnable<Tx.Commit<void>, StoreError | Conflict> = put.pipe(Tx.commit({ attempts: 1 }))
  const waiting: Runnable<never> = Effect.andThen(Users.get("ada"), Tx.retry).pipe(Tx.transact())
  const either: Effect.Effect<void, StoreError, Tx.Tx> = Tx.retry.pipe(Tx.orElse(put))

  const session = {} as Session.Session
  const once: Effect.Effect<Tx.Outcome<void>, StoreError | SerialGap> = put.pipe(
    Tx.once({ session, serial: 1 })
  )

  // @ts-expect-error a value of what may not have run
  const repeated = Effect.map(once, (outcome) => outcome.value)
  // @ts-expect-error a serial that may be out of turn
  const inOrder: Effect.Effect<unknown, StoreError> = once
  const passedOn = (options: Tx.Options): Runnable<void, StoreError | Conflict> =>
    put.pipe(Tx.transact(options))
  const countedOn = (
    options: { readonly attempts: number | undefined }
  ): Runnable<Tx.Commit<void>, StoreError | Conflict> => put.pipe(Tx.commit(options))
  // @ts-expect-error with attempts it may lose for good
  const forgotten: Runnable<void> = put.pipe(Tx.transact({ attempts: 3 }))
  // @ts-expect-error waiting for a change inside a read, which changes nothing
  const idle: Runnable<never> = Tx.retry.pipe(Snapshot.read())
  // @ts-expect-error waiting for a change outside every boundary
  const endless: Runnable<never> = Tx.retry
  // @ts-expect-error no time
  const timeless = Tx.retryUntil("tomorrow")
  // @ts-expect-error no number of attempts
  const unbounded = Tx.transact({ attempts: "many" })
  return [
    unlimited,
    limited,
    counted,
    passedOn,
    countedOn,
    waiting,
    either,
    once,
    repeated,
    inOrder,
    forgotten,
    idle,
    endless,
    timeless,
    unbounded
  ]
}

describe("types", () => {
  it("are checked by the compiler, and names by the declaration", () => {
    const named = (name: string) => () => Keyspace.make(name, { key: Key.String, value: Schema.String })
    assert.doesNotThrow(named(""))
    assert.doesNotThrow(named("n".repeat(1_024)))
    assert.throws(named("n".repeat(1_025)), /at most 1024 bytes/)
    assert.throws(named("\ud800"), /well-formed/)
  })
})

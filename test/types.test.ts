/**
 * What the compiler refuses: each of these lines would be a bug, and is an error of types.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import type * as Store from "../src/Store.ts"
import type { StoreError, VersionMismatch } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"

const Users = Keyspace.make("users", { key: Key.String, value: Schema.Struct({ age: Schema.Int }) })
const Visits = Keyspace.make("visits", {
  key: Key.Tuple(Key.String, Key.Int, Key.Bool),
  value: Schema.String
})
const Ints = Keyspace.make("ints", { key: Key.Int, value: Schema.String })

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
    [service, prefixes]
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

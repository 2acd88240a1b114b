/**
 * Indexes over their lives: who is refused, and how they are built, built anew and dropped.
 */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Index from "../src/Indexes.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import type * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import {
  all,
  build,
  email,
  emails,
  names,
  Plain,
  put,
  read,
  tag,
  tags,
  User,
  user,
  Users,
  write
} from "./support/people.ts"
import { reasonOf, refusal, suite } from "./support/stores.ts"

suite("index", (test) => {
  test("who does not keep the indexes is refused, whatever the door", () =>
    Effect.gen(function*() {
      yield* write(put("ada", "x"))
      assert.strictEqual(yield* reasonOf(write(Plain.put("bob", user("bob")))), "Unindexed")
      assert.strictEqual(yield* reasonOf(write(Plain.remove("ada"))), "Unindexed")
      assert.strictEqual(yield* reasonOf(write(Plain.clear)), "Unindexed")
      assert.strictEqual(yield* reasonOf(write(Plain.drop)), "Unindexed")
      const bytes = Keyspace.bytes("users")
      const raw = yield* bytes.raw
      const writes = [
        () => raw.putUnsafe(Buffer.from("bob"), Buffer.from("{}")),
        () => raw.removeUnsafe(Buffer.from("ada"))
      ]
      for (const rawWrite of writes) {
        const tried = Effect.try({ try: rawWrite, catch: (error) => error as StoreError })
        const settled = Effect.retry(tried, { while: ({ reason }) => reason._tag === "Overloaded" })
        assert.strictEqual(yield* reasonOf(settled), "Unindexed")
      }
      assert.strictEqual(yield* reasonOf(write(bytes.drop)), "Unindexed")
      const Fewer = Index.make(Plain, { email })
      assert.strictEqual(yield* reasonOf(write(Fewer.put("bob", user("bob")))), "Unindexed")
      const More = Index.make(Plain, { email, tag, other: tag })
      assert.deepInclude(yield* refusal(write(More.put("bob", user("bob")))), {
        _tag: "IndexNotReady",
        index: "other"
      })
      const mixed = Effect.andThen(put("bob"), Plain.put("eve", user("eve")))
      assert.strictEqual(yield* reasonOf(write(mixed)), "Unindexed")
      const undone = Effect.andThen(
        put("bob"),
        Effect.ignore(Tx.savepoint(Effect.andThen(Plain.put("eve", user("eve")), Effect.fail("no"))))
      )
      yield* write(undone)
      assert.deepStrictEqual(yield* read(Plain.get("ada")), Option.some(user("ada", "x")), "reading is free")
      assert.strictEqual((yield* emails) + (yield* tags), "ada:ada bob:bobx:ada")
    }))

  test("whoever is under way when a keyspace gets its indexes is refused, or has come first", () =>
    Effect.gen(function*() {
      /** Runs `other` when `body` has been carried out the first time, and before it commits. */
      const meanwhile = <E1, E2>(
        body: Effect.Effect<void, E1, Tx.Tx | Snapshot.Snapshot>,
        other: Effect.Effect<void, E2, Store.Store>
      ) =>
        Effect.gen(function*() {
          const ready = yield* Deferred.make<void>()
          const go = yield* Deferred.make<void>()
          const waits = Effect.andThen(Deferred.succeed(ready, undefined), Deferred.await(go))
          const both = [
            reasonOf(write(Effect.andThen(body, waits))),
            Effect.andThen(Deferred.await(ready), other).pipe(
              Effect.ensuring(Deferred.succeed(go, undefined))
            )
          ] as const
          return (yield* Effect.all(both, { concurrency: "unbounded" }))[0]
        })
      const plain = (name: string) => Plain.put(name, user(name, "x"))
      assert.strictEqual(yield* meanwhile(plain("ada"), write(put("bob", "x"))), "Unindexed")
      assert.strictEqual((yield* emails) + (yield* tags), "bob:bobx:bob")
      yield* write(Users.drop)
      assert.strictEqual(yield* meanwhile(put("ada", "x"), write(plain("bob"))), "IndexNotReady")
      assert.deepStrictEqual(yield* all(Plain.keys()), ["bob"])
      assert.strictEqual(yield* meanwhile(plain("eve"), Effect.asVoid(build)), "Unindexed")
      assert.strictEqual(yield* meanwhile(put("eve", "y"), Stream.runDrain(Index.rebuild(Users))), "done")
      assert.strictEqual((yield* emails) + (yield* tags), "bob:bob eve:evex:bob y:eve")
    }))

  test("nothing else can be declared over what an index is made of", () =>
    Effect.gen(function*() {
      yield* write(put("ada", "x"))
      for (const name of (yield* names).filter((name) => name !== "users")) {
        assert.throws(() => Keyspace.bytes(name), /the store's own/)
        const forged = Object.assign(Keyspace.bytes("forged"), { name })
        const one = Buffer.from("1")
        assert.strictEqual(yield* reasonOf(read(forged.get(one))), "LayoutMismatch", name)
        assert.strictEqual(yield* reasonOf(write(forged.put(one, one))), "LayoutMismatch", name)
        assert.strictEqual(yield* reasonOf(write(forged.clear)), "LayoutMismatch", name)
        assert.strictEqual(yield* reasonOf(write(forged.drop)), "LayoutMismatch", name)
      }
      assert.strictEqual((yield* emails) + (yield* tags), "ada:adax:ada")
    }))

  test.opening("a keyspace that has records gets its indexes by a build, and is guarded from then on", (open) =>
    Effect.gen(function*() {
      const layer = open()
      yield* write(Effect.all([Plain.put("ada", user("ada", "x")), Plain.put("bob", user("bob", "x"))]))
        .pipe(Effect.provide(layer, { local: true }))
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* reasonOf(read(Users.by.email.get("a"))), "IndexNotReady")
        assert.strictEqual(yield* reasonOf(all(Users.by.tag.range())), "IndexNotReady")
        assert.strictEqual(yield* reasonOf(write(put("eve"))), "IndexNotReady")
        yield* write(Plain.put("eve", user("eve", "y")))
        const progress = yield* build
        assert.deepStrictEqual(progress, [{ keyspace: "users", records: 3, total: 3, done: true }])
        assert.strictEqual((yield* emails) + (yield* tags), "ada:ada bob:bob eve:evex:ada x:bob y:eve")
        assert.deepStrictEqual(yield* build, [])
        assert.strictEqual(yield* reasonOf(write(Plain.put("x", user("x")))), "Unindexed")
      }).pipe(Effect.provide(layer, { local: true }))
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* reasonOf(write(Plain.put("x", user("x")))), "Unindexed", "after a restart")
        yield* write(put("x", "x"))
        assert.strictEqual((yield* all(Users.by.tag.get("x"))).length, 3)
      }).pipe(Effect.provide(Layer.provideMerge(Index.layer(Users), layer), { local: true }))
    }))

  test.opening("a store that opens knows all keyspaces with indexes, however many there are", (open) =>
    Effect.gen(function*() {
      const plain = Array.from(
        { length: 700 },
        (_, number) => Keyspace.make(`keyspace ${number}`, { key: Key.String, value: User })
      )
      const first = write(
        Effect.forEach(plain, (keyspace) => Index.make(keyspace, { tag }).put("ada", user("ada")), {
          discard: true
        })
      )
      yield* Effect.provide(first, open(), { local: true })
      yield* Effect.gen(function*() {
        const { guarded } = (yield* Store.Store).machine.parts.wal.names
        assert.isTrue(plain.every(({ name }) => guarded.has(name)))
        assert.strictEqual(yield* reasonOf(write(plain[699]?.remove("ada") ?? Effect.void)), "Unindexed")
      }).pipe(Effect.provide(open(), { local: true }))
    }))

  test("a build finds two records with one key; it goes on when that is mended", () =>
    Effect.gen(function*() {
      yield* write(Effect.all(["a", "b"].map((name) => Plain.put(name, { email: "same", tags: [] }))))
      const error = yield* Effect.flip(build)
      assert.deepInclude(error, { _tag: "DuplicateKey", keyspace: "users", index: "email", record: 2 })
      assert.match(
        error.message,
        /^Record 2 of keyspace "users", .* unique index "email" .* run Index.build again/
      )
      assert.notInclude(error.message, "same")
      assert.strictEqual(yield* reasonOf(all(Users.by.email.range())), "IndexNotReady")
      yield* write(Users.put("b", { email: "other", tags: [] }))
      yield* build
      assert.strictEqual(yield* emails, "other:b same:a")
    }))

  test("another version, key or uniqueness is built anew, what is not declared is dropped", () =>
    Effect.gen(function*() {
      yield* write(Effect.all([put("ada", "x", "y"), put("bob", "y")]))
      const before = yield* names
      const size = {
        ...tag,
        key: Key.Int,
        of: ({ value }: { value: typeof User.Type }) => [value.tags.length]
      }
      const Second = Index.make(Plain, { email: { ...email, version: 2, unique: false }, tag: size })
      assert.strictEqual(yield* reasonOf(write(Second.remove("ada"))), "IndexNotReady")
      assert.strictEqual(yield* reasonOf(all(Second.by.tag.keys())), "IndexNotReady")
      yield* Stream.runDrain(Index.build(Second))
      assert.deepStrictEqual(
        (yield* all(Second.by.tag.keys())).map(({ indexKey, key }) => [indexKey, key]),
        [[1, "bob"], [2, "ada"]]
      )
      yield* write(Second.put("eve", user("ada", "z")))
      assert.strictEqual((yield* all(Second.by.email.get("ada@example.com"))).length, 2)
      assert.strictEqual(yield* reasonOf(write(put("x"))), "IndexNotReady", "the old declaration")
      assert.strictEqual((yield* names).length, before.length + 1, "no lane is left behind")
      const None = Index.make(Plain, {})
      assert.strictEqual(yield* reasonOf(write(None.put("x", user("x")))), "Unindexed")
      assert.deepStrictEqual(yield* Stream.runCollect(Index.build(None)), [])
      yield* write(Plain.put("x", user("x")))
      assert.deepStrictEqual(yield* names, ["heartwood/builds", "heartwood/indexes", "users"])
    }))

  test("rebuild makes a new lane beside the old one, which is read until then", () =>
    Effect.gen(function*() {
      const many = Array.from({ length: 1_300 }, (_, i) => `u${i}`)
      yield* write(Effect.forEach(many, (name) => put(name, "t"), { discard: true }))
      const before = yield* names
      let slices = 0
      yield* Index.rebuild(Users, ["tag"]).pipe(Stream.runForEach(({ done }) =>
        Effect.gen(function*() {
          if (!done) assert.strictEqual((yield* names).length, before.length + 2)
          assert.strictEqual((yield* all(Users.by.tag.get("t"))).length, many.length + slices)
          yield* write(put(`v${slices++}`, "t"))
        })
      ))
      assert.strictEqual(slices, 3)
      assert.strictEqual((yield* names).length, before.length + 1)
      assert.notDeepEqual(yield* names, before)
      assert.strictEqual((yield* all(Users.by.tag.get("t"))).length, many.length + slices)
    }))

  test("a snapshot goes on reading the lanes of its time", () =>
    Effect.gen(function*() {
      yield* write(Effect.all([put("ada", "x"), put("bob", "y")]))
      yield* read(Effect.gen(function*() {
        const keys = Effect.map(
          Stream.runCollect(Users.by.tag.range()),
          (entries) => entries.map(({ key }) => key)
        )
        assert.deepStrictEqual(yield* keys, ["ada", "bob"])
        yield* write(Effect.andThen(put("eve", "x"), Users.remove("ada")))
        yield* Stream.runDrain(Index.rebuild(Users))
        assert.deepStrictEqual(yield* keys, ["ada", "bob"])
        yield* write(Users.drop)
        assert.deepStrictEqual(yield* keys, ["ada", "bob"])
      }))
      assert.strictEqual(yield* tags, "")
    }))

  test("drop removes the indexes too, and the next write makes all of it anew", () =>
    Effect.gen(function*() {
      yield* write(put("ada", "x"))
      yield* write(Users.drop)
      assert.deepStrictEqual(yield* names, ["heartwood/indexes"])
      assert.strictEqual((yield* emails) + (yield* tags), "")
      yield* write(Effect.all([put("bob", "y"), Users.drop, put("eve", "z")]))
      assert.strictEqual((yield* emails) + (yield* tags), "eve:evez:eve")
      yield* write(Users.drop)
      yield* write(Plain.put("x", user("x")))
    }))
})

/**
 * Secondary indexes: what each function does, what each write does to them, and who is refused.
 */
import { assert } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "../src/Codec.ts"
import * as Index from "../src/Indexes.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { reasonOf, refusal, suite } from "./support/stores.ts"

const User = Schema.Struct({ email: Schema.String, tags: Schema.Array(Schema.String) })
const Plain = Keyspace.make("users", { key: Key.String, value: User })
const email = {
  key: Key.String,
  of: ({ value }: { value: { email: string } }) => [value.email],
  unique: true
} as const
const tag = {
  key: Key.String,
  of: ({ value }: { value: { tags: ReadonlyArray<string> } }) => value.tags
} as const
const Users = Index.make(Plain, { email, tag })

const write = Tx.transact()
const read = Snapshot.read()
const all = <A, E, R>(stream: Stream.Stream<A, E, R>) => read(Stream.runCollect(stream))
const user = (name: string, ...tags: ReadonlyArray<string>) => ({ email: `${name}@example.com`, tags })
const put = (name: string, ...tags: ReadonlyArray<string>) => Users.put(name, user(name, ...tags))
const tags = Effect.map(
  all(Users.by.tag.keys()),
  (pairs) => pairs.map(({ indexKey, key }) => `${indexKey}:${key}`).join(" ")
)
const emails = Effect.map(
  all(Users.by.email.keys()),
  (pairs) => pairs.map(({ indexKey, key }) => `${indexKey.split("@")[0]}:${key}`).join(" ")
)
const build = Stream.runCollect(Index.build(Users))
const names = Effect.map(
  Store.Store,
  ({ machine }) => [...machine.parts.generations.names().keys()].sort()
)

/** A body that waits at each read of a key, as if every page were missing. */
const waiting = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Snapshot.Snapshot.use((snapshot) => {
    const { at } = snapshot
    return Effect.provideService(body, Snapshot.Snapshot, {
      at,
      joins: () => snapshot.joins(),
      get: (...args) => Effect.andThen(Effect.yieldNow, snapshot.get(...args)),
      getMany: (...args) => snapshot.getMany(...args),
      scan: (...args) => snapshot.scan(...args)
    })
  })

suite("index", (test) => {
  test("finds records by what they say", () =>
    Effect.gen(function*() {
      yield* write(Effect.all([put("ada", "math", "code"), put("bob", "code"), put("eve")]))
      const found = Option.getOrThrow(yield* read(Users.by.email.get("bob@example.com")))
      assert.deepInclude(found, { indexKey: "bob@example.com", key: "bob", value: user("bob", "code") })
      assert.isAbove(found.lsn, 0)
      assert.isTrue(Option.isNone(yield* read(Users.by.email.get("bob@example.co"))))
      const coders = yield* all(Users.by.tag.get("code"))
      assert.deepStrictEqual(coders.map(({ key }) => key), ["ada", "bob"])
      assert.deepStrictEqual(yield* all(Users.by.tag.get("cod")), [])
    }))

  test("range and keys, forwards and backwards, by prefix, from, until and limit", () =>
    Effect.gen(function*() {
      yield* write(Effect.all([put("ada", "a", "ab"), put("bob", "b", "ab"), put("eve", "c\0", "c")]))
      assert.strictEqual(yield* tags, "a:ada ab:ada ab:bob b:bob c:eve c\0:eve")
      const keys = (options: Index.RangeOptions<string, string>) =>
        Effect.map(
          all(Users.by.tag.range(options)),
          (entries) => entries.map(({ indexKey, key }) => `${indexKey}:${key}`).join(" ")
        )
      assert.strictEqual(yield* keys({ prefix: "a" }), "a:ada ab:ada ab:bob")
      assert.strictEqual(yield* keys({ prefix: "c", reverse: true }), "c\0:eve c:eve")
      assert.strictEqual(yield* keys({ from: "ab", until: "c" }), "ab:ada ab:bob b:bob")
      assert.strictEqual(yield* keys({ from: "ab", limit: 1, reverse: true }), "c\0:eve")
      assert.strictEqual(yield* keys({ prefix: "d" }), "")
      assert.strictEqual(yield* keys({ only: "a" }), "a:ada")
      assert.strictEqual(yield* keys({ only: "ab", reverse: true, limit: 1 }), "ab:bob")
      assert.strictEqual(yield* keys({ only: "ab", from: "ab", until: "ac" }), "ab:ada ab:bob")
      assert.strictEqual(yield* keys({ only: "ab", until: "ab" }), "")
      assert.strictEqual(
        yield* Stream.runCount(Users.by.email.keys({ only: "eve@example.com" })).pipe(read),
        1
      )
    }))

  test("every write keeps the indexes", () =>
    Effect.gen(function*() {
      yield* write(put("ada", "x"))
      yield* write(Users.put("ada", user("ada", "y", "y")))
      assert.strictEqual(yield* tags, "y:ada")
      assert.isFalse(yield* write(Users.insert("ada", user("z", "z"))))
      assert.isTrue(yield* write(Users.insert("bob", user("bob", "x"))))
      assert.strictEqual(yield* tags, "x:bob y:ada")
      const { lsn } = Option.getOrThrow(yield* read(Users.getEntry("bob")))
      yield* write(Users.replace("bob", user("rob", "r"), lsn))
      assert.strictEqual(yield* emails, "ada:ada rob:bob")
      const stale = yield* Effect.flip(write(Users.replace("bob", user("bob"), lsn)))
      assert.strictEqual(stale._tag, "VersionMismatch")
      const next = (value: Option.Option<{ email: string; tags: ReadonlyArray<string> }>) =>
        [1, Option.map(value, (value) => ({ ...value, tags: ["m"] }))] as const
      assert.strictEqual(yield* write(Users.modify("bob", next)), 1)
      assert.strictEqual(yield* tags, "m:bob y:ada")
      yield* write(Users.modify("bob", () => [0, Option.none()]))
      yield* write(Users.remove("eve"))
      assert.strictEqual(yield* tags, "y:ada")
      yield* write(Users.remove("ada"))
      assert.strictEqual((yield* emails) + (yield* tags), "")
      yield* write(Effect.all([put("ada", "x"), Users.clear, put("bob", "x")]))
      assert.strictEqual((yield* emails) + (yield* tags), "bob:bobx:bob")
      yield* write(Users.clear)
      assert.strictEqual((yield* emails) + (yield* tags), "")
      assert.strictEqual((yield* Users.stat).count, 0)
    }))

  test("merge keeps the indexes of what comes of it", () =>
    Effect.gen(function*() {
      const Sold = Index.make(Keyspace.make("sold", { key: Key.String, value: Codec.int, reducer: "sum" }), {
        count: { key: Key.Int, of: ({ value }) => [value], unique: true }
      })
      const counts = Effect.map(all(Sold.by.count.keys()), (pairs) => pairs.map((pair) => pair.indexKey))
      yield* write(Effect.all([Sold.merge("a", 1), Sold.merge("b", 2), Sold.merge("a", 2)]))
      assert.deepStrictEqual(yield* counts, [2, 3])
      const error = yield* Effect.flip(write(Sold.merge("b", 1)))
      assert.strictEqual(error._tag, "DuplicateKey")
      yield* write(Effect.ignore(Sold.merge("b", 1)))
      assert.deepStrictEqual(yield* counts, [2, 3])
      assert.deepStrictEqual(yield* read(Sold.get("b")), Option.some(2))
    }))

  test("a taken key of a unique index is refused, and nothing of that write is there", () =>
    Effect.gen(function*() {
      yield* write(put("ada", "x"))
      const taken = Users.put("bob", { email: "ada@example.com", tags: ["y"] })
      const error = yield* Effect.flip(write(taken))
      assert.deepInclude(error, { _tag: "DuplicateKey", keyspace: "users", index: "email" })
      assert.notInclude(error.message, "ada")
      yield* write(Effect.andThen(Effect.flip(taken), put("eve", "z")))
      assert.strictEqual((yield* emails) + (yield* tags), "ada:ada eve:evex:ada z:eve")
      yield* write(Effect.andThen(Users.remove("ada"), taken))
      assert.strictEqual((yield* emails) + (yield* tags), "ada:bob eve:evey:bob z:eve")
    }))

  test("fibers of one transaction, and transactions beside each other, take a unique key once", () =>
    Effect.gen(function*() {
      const racers = ["a", "b", "c", "d"].map((name) =>
        Effect.exit(Users.put(name, { email: "one", tags: [name] }))
      )
      const inside = yield* write(waiting(Effect.all(racers, { concurrency: "unbounded" })))
      assert.strictEqual(inside.filter((exit) => exit._tag === "Success").length, 1)
      assert.strictEqual((yield* all(Users.keys())).length, 1)
      yield* write(Users.clear)
      const beside = yield* Effect.all(racers.map((racer) => write(Effect.andThen(Effect.yieldNow, racer))), {
        concurrency: "unbounded"
      })
      assert.strictEqual(beside.filter((exit) => exit._tag === "Success").length, 1)
      assert.strictEqual((yield* all(Users.by.email.range())).length, 1)
      yield* write(waiting(Effect.all(
        ["x", "y", "z"].map((each) => Users.put("same", { email: each, tags: [each, "t"] })),
        { concurrency: "unbounded" }
      )))
      const [last] = yield* all(Users.by.tag.get("t"))
      assert.strictEqual((yield* all(Users.by.tag.get(last?.value.email ?? ""))).length, 1)
      assert.strictEqual((yield* all(Users.by.email.keys())).length, (yield* all(Users.keys())).length)
    }))

  test("a transaction sees its own writes through an index, and may write what it streams", () =>
    Effect.gen(function*() {
      yield* write(Effect.forEach(Array.from({ length: 200 }, (_, i) => `u${i}`), (name) => put(name, "t")))
      yield* write(Effect.gen(function*() {
        yield* put("own", "t")
        assert.isTrue(Option.isSome(yield* Users.by.email.get("own@example.com")))
        yield* Users.by.tag.get("t").pipe(
          Stream.runForEach(({ key }) =>
            Effect.andThen(
              Users.modify(key, (value) => [0, Option.map(value, (value) => ({ ...value, tags: ["s"] }))]),
              Users.remove("u99")
            )
          )
        )
      }))
      assert.strictEqual((yield* all(Users.by.tag.get("s"))).length, 200)
      assert.deepStrictEqual(yield* all(Users.by.tag.get("t")), [])
    }))

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
        const forged = Keyspace.bytes(name)
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

  test("a build finds two records with one key; it goes on when that is mended", () =>
    Effect.gen(function*() {
      yield* write(Effect.all(["a", "b"].map((name) => Plain.put(name, { email: "same", tags: [] }))))
      const error = yield* Effect.flip(build)
      assert.deepInclude(error, { _tag: "DuplicateKey", index: "email" })
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

  test("a function that changed without a version is found when a record no longer says so", () =>
    Effect.gen(function*() {
      yield* write(put("ada", "x"))
      const Changed = Index.make(Plain, { email, tag: { ...tag, of: ({ value }) => [value.email] } })
      assert.deepInclude(yield* refusal(all(Changed.by.tag.get("x"))), { _tag: "IndexStale", index: "tag" })
    }))

  test("an index key that has no encoding, and one that is too long", () =>
    Effect.gen(function*() {
      const { keyBytes } = (yield* Store.Store).machine.limits
      assert.strictEqual(yield* reasonOf(write(put("ada", "\ud800"))), "Unencodable")
      assert.strictEqual(yield* reasonOf(write(put("ada", "t".repeat(keyBytes)))), "LimitExceeded")
      yield* write(Effect.andThen(Effect.exit(put("ada", "a", "t".repeat(keyBytes))), put("bob", "b")))
      assert.strictEqual((yield* emails) + (yield* tags), "bob:bobb:bob")
      assert.strictEqual(yield* reasonOf(all(Users.by.tag.get("\ud800"))), "Unencodable")
    }))
})

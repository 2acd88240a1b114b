/**
 * Secondary indexes: what each function does, and what each write does to them.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Codec from "../src/Codec.ts"
import * as Index from "../src/Indexes.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import { all, email, emails, Plain, put, read, tag, tags, user, Users, write } from "./support/people.ts"
import { reasonOf, refusal, suite } from "./support/stores.ts"

/** A body that waits at each read of a key, as if every page were missing. */
const waiting = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  Snapshot.Snapshot.use((snapshot) => {
    const { at } = snapshot
    return Effect.provideService(body, Snapshot.Snapshot, {
      at,
      joins: (machine) => snapshot.joins(machine),
      get: (...args) => Effect.andThen(Effect.yieldNow, snapshot.get(...args)),
      look: (...args) => Effect.andThen(Effect.yieldNow, snapshot.get(...args)),
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
      assert.include(error.message, "of keyspace \"users\" has this key of its unique index \"email\"")
      assert.notProperty(error, "record")
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

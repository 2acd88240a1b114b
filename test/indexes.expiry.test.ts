/**
 * Indexes over records that expire: a record and what indexes have of it are hidden at one time, and removed by
 * commits that know of no index.
 */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Codec from "../src/Codec.ts"
import * as Index from "../src/Indexes.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Tx from "../src/Tx.ts"
import { dump, one, sweepMillis } from "./support/expiry.ts"
import { emails, Plain, put, tags, user, Users } from "./support/people.ts"
import { random } from "./support/random.ts"
import { upTo } from "./support/stores.ts"

const write = Tx.transact()
const both = Effect.map(Effect.all([emails, tags]), (texts) => texts.join(" | "))
const putFor = (name: string, ttl: number, ...tags: ReadonlyArray<string>) =>
  Users.put(name, user(name, ...tags), { ttl })
/** Rows of records and lanes, hidden ones included. */
const rows = Effect.map(dump, (rows) => rows.filter((row) => !row.startsWith("heartwood")).length)

describe("an index over records that expire", () => {
  one(
    "hides and frees what expires, and removes it with the record",
    Effect.gen(function*() {
      yield* write(Effect.all([putFor("ada", 500, "x", "y"), put("bob", "x")]))
      assert.strictEqual(yield* both, "ada:ada bob:bob | x:ada x:bob y:ada")
      const taken = Users.put("eve", { email: "ada@example.com", tags: ["y"] })
      assert.strictEqual((yield* Effect.flip(write(taken)))._tag, "DuplicateKey")
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* both, "bob:bob | x:bob")
      assert.isTrue(Option.isNone(yield* Users.by.email.get("ada@example.com").pipe(Snapshot.read())))
      assert.strictEqual(yield* rows, 7, "hidden, not removed")
      yield* TestClock.adjust(2 * sweepMillis)
      assert.strictEqual(yield* rows, 3)
      yield* write(taken)
      assert.strictEqual(yield* both, "ada:eve bob:bob | x:bob y:eve")
    })
  )

  one(
    "gives what stays in an index the time of the newest write",
    Effect.gen(function*() {
      yield* write(Effect.all([putFor("ada", 500, "x"), putFor("bob", 500, "x"), put("eve", "x")]))
      yield* write(Effect.all([put("ada", "x"), putFor("bob", 2_000, "x", "y"), putFor("eve", 300, "x")]))
      yield* TestClock.adjust(299)
      assert.strictEqual(yield* both, "ada:ada bob:bob eve:eve | x:ada x:bob x:eve y:bob")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* both, "ada:ada bob:bob | x:ada x:bob y:bob")
      yield* TestClock.adjust(1_699)
      assert.strictEqual(yield* both, "ada:ada bob:bob | x:ada x:bob y:bob")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* both, "ada:ada | x:ada")
      yield* TestClock.adjust(2 * sweepMillis)
      assert.strictEqual(yield* rows, 3)
      yield* write(putFor("ada", 0, "x"))
      assert.strictEqual(yield* both, " | ")
    })
  )

  one(
    "keeps the time of what operands are folded into",
    Effect.gen(function*() {
      const Sold = Index.make(Keyspace.make("sold", { key: Key.String, value: Codec.int, reducer: "sum" }), {
        count: { key: Key.Int, of: ({ value }) => [value] }
      })
      const counts = Effect.map(
        Stream.runCollect(Sold.by.count.keys()).pipe(Snapshot.read()),
        (pairs) => pairs.map(({ indexKey, key }) => `${indexKey}:${key}`).join(" ")
      )
      yield* write(Effect.all([Sold.put("a", 1, { ttl: 500 }), Sold.put("b", 1)]))
      yield* write(Effect.all([Sold.merge("a", 2), Sold.merge("b", 3)]))
      assert.strictEqual(yield* counts, "3:a 4:b")
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* counts, "4:b")
      yield* write(Sold.merge("a", 5))
      assert.strictEqual(yield* counts, "4:b 5:a")
      yield* TestClock.adjust(5 * sweepMillis)
      assert.strictEqual(yield* counts, "4:b 5:a")
    })
  )

  one(
    "is built of records that expire",
    Effect.gen(function*() {
      yield* write(Effect.all([
        Plain.put("ada", user("ada", "x"), { ttl: 500 }),
        Plain.put("bob", user("bob", "x"), { ttl: 9_000 }),
        Plain.put("eve", user("ada", "x"), { ttl: 10 })
      ]))
      yield* TestClock.adjust(10)
      yield* Stream.runDrain(Index.build(Users))
      assert.strictEqual(yield* both, "ada:ada bob:bob | x:ada x:bob")
      yield* TestClock.adjust(490)
      assert.strictEqual(yield* both, "bob:bob | x:bob")
      yield* TestClock.adjust(9_000)
      assert.strictEqual(yield* both, " | ")
      yield* TestClock.adjust(2 * sweepMillis)
      assert.strictEqual(yield* rows, 0)
    })
  )

  for (const seed of [1, 2, 3, 4, 5, 6]) {
    one(
      `is the fold over the records that are there, at any time (seed ${seed})`,
      Effect.gen(function*() {
        const chance = random(seed)
        for (const step of upTo(120)) {
          const name = `u${chance.int(12)}`
          const value = { email: `${chance.int(20)}`, tags: upTo(chance.int(3)).map((n) => `t${n}`) }
          const options = chance.bool(0.6) ? { ttl: chance.int(3_000) } : {}
          const body = chance.bool(0.1)
            ? Users.remove(name)
            : chance.bool(0.2)
            ? Users.modify(name, (old) => [0, Option.orElse(old, () => Option.some(value))], options)
            : Users.put(name, value, options)
          yield* Effect.catchTag(write(body), "DuplicateKey", () => Effect.void)
          if (step === 60) yield* Stream.runDrain(Index.rebuild(Users))
          yield* TestClock.adjust(chance.int(400))
          const entries = yield* Stream.runCollect(Users.range()).pipe(Snapshot.read())
          const expected = entries.flatMap(({ key, value: { email, tags } }) =>
            [email, ...tags].map((indexKey) => `${indexKey} ${key}`)
          )
          const found = yield* Effect.all([
            Stream.runCollect(Users.by.email.range()),
            Stream.runCollect(Users.by.tag.range())
          ]).pipe(Snapshot.read())
          assert.sameMembers(found.flat().map(({ indexKey, key }) => `${indexKey} ${key}`), expected)
        }
        yield* TestClock.adjust(4 * sweepMillis)
        const left = yield* Stream.runCollect(Users.range()).pipe(Snapshot.read())
        const pairs = left.reduce((sum, { value: { tags } }) => sum + 2 + tags.length, 0)
        assert.strictEqual(yield* rows, pairs, "nothing that has expired is left anywhere")
      })
    )
  }
})

/**
 * What programs do by mistake: fibers of one body that write beside each other, boundaries of another store, options
 * and arguments that types would refuse. None of it may lose a write or stop the store.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import * as path from "node:path"
import * as Bulk from "../src/Bulk.ts"
import * as Codec from "../src/Codec.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { directory, reasonOf, small, suite, upTo } from "./support/stores.ts"

const Hits = Keyspace.make("hits", { key: Key.String, value: Codec.int })
const Words = Keyspace.bytes("words")

const together = { concurrency: "unbounded" } as const
const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text))
const hit = Hits.modify("page", (n) => [n, Option.some(Option.getOrElse(n, () => 0) + 1)])
const found = Hits.get("page").pipe(Snapshot.read(), Effect.map(Option.getOrElse(() => 0)))

suite("fibers of one body", (test) => {
  test.opening("each see what the others wrote while they waited for a page", (open) =>
    Effect.gen(function*() {
      yield* Hits.put("page", 10).pipe(Tx.transact(), Effect.provide(open()))
      // Opened anew, nothing is in memory: each of them waits.
      yield* Effect.gen(function*() {
        yield* Effect.forEach(upTo(10), () => hit, together).pipe(Tx.transact())
        assert.strictEqual(yield* found, 20)
      }).pipe(Effect.provide(open()))
    }))

  test.opening("of which one inserts a key", (open) =>
    Effect.gen(function*() {
      yield* Hits.put("other", 1).pipe(Tx.transact(), Effect.provide(open()))
      yield* Effect.gen(function*() {
        const inserted = yield* Effect.forEach(upTo(5), (n) => Hits.insert("page", n), together).pipe(
          Tx.transact()
        )
        assert.lengthOf(inserted.filter((first) => first), 1)
      }).pipe(Effect.provide(open()))
    }))

  test.opening("that clear while others wait", (open) =>
    Effect.gen(function*() {
      yield* Hits.put("page", 10).pipe(Tx.transact(), Effect.provide(open()))
      yield* Effect.gen(function*() {
        yield* Effect.all([hit, Hits.clear], together).pipe(Tx.transact())
        assert.strictEqual(yield* found, 1)
      }).pipe(Effect.provide(open()))
    }))

  test.opening("take their steps one after another, those inside others too", (open) =>
    Effect.gen(function*() {
      const order = (n: number, fails: boolean) =>
        Tx.transact()(Effect.gen(function*() {
          yield* Hits.put(`order ${n}`, n)
          yield* Effect.yieldNow
          yield* Effect.all([Hits.put(`a ${n}`, n), Hits.put(`b ${n}`, n)].map(Tx.savepoint), together)
          if (fails) return yield* Effect.fail("refused")
          yield* Hits.put(`bill ${n}`, n)
        }))
      const orders = upTo(4).map((n) => Effect.exit(order(n, n % 2 === 0)))
      const exits = yield* Effect.all(orders, together).pipe(Tx.transact())
      assert.deepStrictEqual(exits.map(Exit.isSuccess), [false, true, false, true])
      const entries = yield* Effect.forEach(
        upTo(4),
        (n) => Effect.all([`order ${n}`, `a ${n}`, `b ${n}`, `bill ${n}`].map(Hits.has))
      ).pipe(Snapshot.read())
      assert.deepStrictEqual(
        entries,
        upTo(4).map((n) => upTo(4).map(() => n % 2 === 1))
      )
    }).pipe(Effect.provide(open())))
})

suite("a boundary", (test) => {
  test.opening("of another store is no part of the transaction around it", (open) =>
    Effect.gen(function*() {
      const other = Layer.fresh(Store.layerMemory)
      const there = Effect.gen(function*() {
        yield* Hits.put("there", 1).pipe(Tx.transact())
        return yield* Effect.all([Hits.has("there"), Hits.has("here")]).pipe(Snapshot.read())
      })
      const seen = yield* Effect.gen(function*() {
        yield* Hits.put("here", 1)
        return yield* Effect.provide(there, other)
      }).pipe(Tx.transact())
      assert.deepStrictEqual(seen, [true, false])
      const here = yield* Effect.all([Hits.has("there"), Hits.has("here")]).pipe(Snapshot.read())
      assert.deepStrictEqual(here, [false, true])
    }).pipe(Effect.provide(open())))

  test.opening("is refused a bulk load inside of it", (open) =>
    Effect.gen(function*() {
      const load = Bulk.load(Words, [[bytes("a"), bytes("1")]])
      assert.strictEqual(yield* reasonOf(load.pipe(Tx.transact())), "Nested")
      assert.isTrue(Option.isNone(yield* Words.get(bytes("a")).pipe(Snapshot.read())))
      yield* load
    }).pipe(Effect.provide(open())))
})

suite("an argument that types would refuse", (test) => {
  const wrong = (value: unknown): never => value as never

  test.opening("is refused, and the store goes on", (open) =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const raw = yield* Words.raw
      const put = Words.put(bytes("k"), bytes("v"))
      assert.throws(() => Tx.transact({ durability: wrong("sync") })(put), /durability is/)
      const died = [
        Bulk.load(Words, [], { durability: wrong("sync") }),
        store.awaitDurable(NaN),
        store.awaitDurable(wrong(undefined)),
        Tx.transact()(Words.put(bytes("k"), bytes("v"), { ttl: NaN })),
        Tx.transact()(Words.put(bytes("k"), bytes("v"), { ttl: wrong("30 minuts") })),
        Words.range({ limit: NaN }).pipe(Stream.runDrain, Snapshot.read())
      ]
      for (const effect of died) {
        const exit = yield* Effect.exit(effect as Effect.Effect<unknown, unknown, Store.Store>)
        assert.isTrue(Exit.isFailure(exit) && `${exit.cause}`.includes("RangeError"), `${exit}`)
      }
      assert.throws(() => raw.putUnsafe(wrong("k"), bytes("v")), TypeError)
      assert.throws(() => raw.batchUnsafe([{ key: bytes("k"), value: wrong(null) }]), TypeError)
      assert.throws(() => raw.awaitDurableUnsafe(NaN), RangeError)
      yield* put.pipe(Tx.transact({ durability: "memory" }))
      yield* store.awaitDurable(yield* store.visibleLsn)
    }).pipe(Effect.provide(open())))
})

describe("a name of the store's own", () => {
  for (const name of ["heartwood/indexes", "heartwood/builds", "heartwood/", "[\"users\",\"email\",1]"]) {
    it(`${name} is refused`, () => assert.throws(() => Keyspace.bytes(name), /the store's own/))
  }

  it("is none that looks like it", () => {
    for (const name of ["heartwood", "[users]", "my heartwood/"]) {
      assert.strictEqual(Keyspace.bytes(name).name, name)
    }
  })
})

describe("a relative path", () => {
  it.live("is one directory for as long as the store is open", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* directory, yield* directory]
      const before = process.cwd()
      yield* Effect.acquireRelease(Effect.sync(() => process.chdir(one)), () =>
        Effect.sync(() => process.chdir(before)))
      yield* Effect.gen(function*() {
        const store = yield* Store.Store
        process.chdir(two)
        // More than one segment: the next one is another file.
        const large = new Uint8Array(100_000)
        yield* Effect.forEach(upTo(5), (n) =>
          Words.put(bytes(`k ${n}`), large).pipe(Tx.transact()))
        yield* store.checkpoint
      }).pipe(Effect.provide(Store.layer({ path: "data", ...small })))
      assert.deepStrictEqual(fs.readdirSync(two), [])
      assert.isTrue(fs.existsSync(path.join(one, "data", "super")))
    }))
})

/**
 * Transactions: steps are ordinary effects, and a transaction is whatever stands between its boundaries.
 *
 * `node examples/transactions.ts`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Codec, Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly article: string }> {}

const Stock = Keyspace.make("stock", { key: Key.String, value: Schema.Int })
const Orders = Keyspace.make("orders", { key: Key.Tuple(Key.String, Key.Int), value: Schema.String })
const Sold = Keyspace.make("sold", { key: Key.String, value: Codec.int, reducer: "sum" })

// A step says what it needs in its type, not where it runs.
const reserve = Effect.fnUntraced(function*(article: string) {
  const left = Option.getOrElse(yield* Stock.get(article), () => 0)
  if (left === 0) return yield* new OutOfStock({ article })
  yield* Stock.put(article, left - 1)
})

const order = (customer: string, id: number, article: string) =>
  Orders.put([customer, id], article).pipe(
    Effect.andThen(reserve(article)),
    // Blind: two orders never conflict on the counter.
    Effect.andThen(Sold.merge(article, 1)),
    Effect.andThen(Tx.onCommit(Console.log(`order ${id}: a ${article} for ${customer}`)))
  )

// What a failed step wrote is discarded, and the transaction goes on with something else.
const lampOrCandle = (customer: string, id: number) =>
  Tx.savepoint(order(customer, id, "lamp")).pipe(
    Effect.catchTag("OutOfStock", () => order(customer, id, "candle"))
  )

const program = Effect.gen(function*() {
  yield* Tx.transact()(Effect.andThen(Stock.put("lamp", 1), Stock.put("candle", 2)))

  // Together or one after another, the outcome is that of one after another.
  yield* Effect.all([1, 2, 3].map((id) => lampOrCandle("ada", id).pipe(Tx.transact())), {
    concurrency: "unbounded"
  })

  // A failure rolls everything back: order 4 was never there.
  const refused = yield* order("ada", 4, "lamp").pipe(Tx.transact(), Effect.flip)
  yield* Console.log(`order 4: ${refused._tag}`)

  const orders = yield* Orders.range({ prefix: ["ada"] }).pipe(Stream.runCollect, Snapshot.read())
  yield* Console.log(orders.map(({ key: [, id], value }) => `${id} ${value}`).join(", "))
  const [stock, sold] = yield* Effect.all([
    Stock.getMany(["lamp", "candle"]),
    Sold.getMany(["lamp", "candle"])
  ])
    .pipe(Snapshot.read())
  yield* Console.log(`left: ${counts(stock)}; sold: ${counts(sold)}`)
})

const counts = (some: ReadonlyArray<Option.Option<number>>): string =>
  some.map((count) => Option.getOrElse(count, () => 0)).join(", ")

program.pipe(Effect.provide(Store.layerMemory), NodeRuntime.runMain)

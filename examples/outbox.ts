/**
 * A queue without polling: workers take the next job that is due, and sleep in the store while there is none.
 *
 * `node examples/outbox.ts`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"

// Due time first: the head of a queue is its next job.
const queue = (name: string) =>
  Keyspace.make(name, {
    key: Key.Tuple(Key.Timestamp, Key.String),
    value: Schema.Struct({ to: Schema.String })
  })
const Urgent = queue("urgent")
const Outbox = queue("outbox")

// `Tx.retry` gives up and runs anew when a commit touches what was read: here the head of the queue, though there was
// none. `Tx.retryUntil` does so at a time, too.
const next = Effect.fnUntraced(function*(jobs: typeof Outbox) {
  const head = yield* jobs.first()
  if (Option.isNone(head)) return yield* Tx.retry
  const [due] = head.value.key
  if (DateTime.toEpochMillis(due) > (yield* Clock.currentTimeMillis)) return yield* Tx.retryUntil(due)
  yield* jobs.remove(head.value.key)
  return head.value.value
})

// Where the urgent queue would make it wait, the other one is asked; where both would, it waits for either.
const claim = next(Urgent).pipe(Tx.orElse(next(Outbox)))

const program = Effect.gen(function*() {
  const worker = Effect.flatMap(
    claim.pipe(Tx.transact()),
    ({ to }) => Effect.as(Console.log(`mail to ${to}`), to)
  )
  // All of them wait, and no job is done twice: who loses the race for one runs again.
  const workers = yield* Effect.forEach([1, 2, 3, 4], () => Effect.forkChild(worker))

  const now = yield* DateTime.now
  yield* Outbox.put([DateTime.add(now, { milliseconds: 50 }), "later"], { to: "later@example.com" }).pipe(
    Tx.transact()
  )
  yield* Outbox.put([now, "ada"], { to: "ada@example.com" }).pipe(Tx.transact())
  yield* Outbox.put([now, "lin"], { to: "lin@example.com" }).pipe(Tx.transact())
  yield* Urgent.put([now, "bo"], { to: "bo@example.com" }).pipe(Tx.transact())

  const done = yield* Effect.forEach(workers, Fiber.join)
  const left = yield* Outbox.first().pipe(Snapshot.read())
  yield* Console.log(`${done.toSorted().join(", ")}; ${Option.isNone(left) ? "nothing is" : "some are"} left`)
})

program.pipe(Effect.provide(Store.layerMemory), NodeRuntime.runMain)

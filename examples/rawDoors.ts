/**
 * A hot loop: millions of small reads and writes through the raw doors, which cost no Effect each.
 *
 * `node examples/rawDoors.ts samples.db`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { Keyspace, Raw, Store } from "../src/index.ts"
import type { StoreError } from "../src/index.ts"

// Bytes as they are: big-endian numbers are in the order of the keys.
const Samples = Keyspace.bytes("samples")
const count = 100_000

const keyOf = (number: number): Uint8Array => {
  const key = Buffer.allocUnsafe(4)
  key.writeUInt32BE(number)
  return key
}
const valueOf = (number: number): Uint8Array => {
  const value = Buffer.allocUnsafe(8)
  value.writeDoubleLE(Math.sqrt(number))
  return value
}

const program = Effect.gen(function*() {
  const store = yield* Store.Store
  const raw = yield* Samples.raw

  // A raw write never waits. Where it would have to (too much log is not synced yet) it is refused: wait, and try again.
  const write = (writes: ReadonlyArray<Raw.RawWrite>) =>
    Effect.try({
      try: () => raw.batchUnsafe(writes),
      catch: (error) => error as StoreError.StoreError
    }).pipe(
      Effect.tapError(() => Effect.flatMap(store.visibleLsn, store.awaitDurable)),
      Effect.retry({ while: ({ reason }) => reason._tag === "Overloaded" })
    )
  let lsn = 0
  for (let from = 0; from < count; from += 1_000) {
    const numbers = Array.from({ length: 1_000 }, (_, index) => from + index)
    // All of a batch happens, or nothing does.
    lsn = yield* write(numbers.map((number) => ({ key: keyOf(number), value: valueOf(number) })))
  }
  // What is visible is durable some milliseconds later; who must know waits for it.
  yield* store.awaitDurable(lsn + 1)

  // Into a buffer of one's own, so that nothing is made for a read.
  const target = Buffer.alloc(8)
  let sum = 0
  for (let number = 0; number < count; number++) {
    if (raw.getIntoUnsafe(keyOf(number), target, 0) >= 0) sum += target.readDoubleLE()
  }
  yield* Console.log(`${count} roots, ${sum.toFixed(0)} together`)

  // A range comes in batches that are packed: a record is looked at where it lies.
  const batch = new Raw.Batch()
  const range: Raw.Range = {
    lower: keyOf(90_000),
    upper: undefined,
    order: "ascending",
    limit: 1_000,
    columns: "keys"
  }
  let [records, last] = [0, -1]
  while (raw.scanUnsafe(range, batch)) {
    records += batch.count
    last = Buffer.from(batch.key(batch.count - 1)).readUInt32BE()
  }
  yield* Console.log(`${records} from 90000 to ${last}`)
})

program.pipe(
  Effect.provide(Store.layer({ path: process.argv[2] ?? "samples.db" })),
  NodeRuntime.runMain
)

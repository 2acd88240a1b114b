import * as Effect from "effect/Effect"
import * as Keyspace from "./src/Keyspace.ts"
import * as Store from "./src/Store.ts"
import * as Tx from "./src/Tx.ts"
const words = Keyspace.bytes("words")
const N = Number(process.argv[3])
const body = Effect.gen(function*() {
  const raw = yield* words.raw
  const store = yield* Store.Store
  for (let b = 0; b < N / 1000; b++) {
    yield* Effect.forEach(
      Array.from({ length: 1000 }),
      (_, i) =>
        words.put(
          Buffer.from(`key ${String((b * 1000 + i) * 7919 % 100000007).padStart(12, "0")}`),
          Buffer.alloc(100, 97 + b % 26)
        ),
      { discard: true }
    ).pipe(Tx.transact({ durability: "memory" }))
  }
})
await Effect.runPromise(Effect.provide(body, Store.layer({ path: process.argv[2]!, memory: "64 MiB" })))

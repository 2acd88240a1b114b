/**
 * Heartwood as its users write it: `Keyspace.bytes` inside snapshots and transactions, streams, and `Bulk.load`.
 *
 * Requests of one call share a snapshot, as those of a program do that reads a lot. Each durable writer is a fiber,
 * each of its commits a transaction.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Bulk from "../../src/Bulk.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import type * as Store from "../../src/Store.ts"
import * as Tx from "../../src/Tx.ts"
import { KeyGroup } from "../workloads/Records.ts"
import type { Records } from "../workloads/Records.ts"
import type { Answer, Direction, Engine, OpenOptions, Picks, Session, Writing } from "./Engine.ts"
import { nothingSeen, see } from "./Engine.ts"
import type { Runtime } from "./heartwood.ts"
import { above, checkpoint, counters, optionsOf, runtimeOf, settle, version, Words } from "./heartwood.ts"

const manyKeys = 100

const gets = (runtime: Runtime) => ({ from, indices, records, to }: Picks): Promise<Answer> =>
  runtime.runPromise(
    Effect.suspend(() => {
      const answer = nothingSeen()
      let place = from
      return Effect.as(
        Effect.whileLoop({
          while: () => place < to,
          body: () => Words.get(records.key(indices[place++] as number)),
          step: (value) => {
            if (Option.isSome(value)) see(answer, value.value)
          }
        }),
        answer
      )
    }).pipe(Snapshot.read())
  )

const getsInFlight =
  (runtime: Runtime) => ({ from, indices, records, to }: Picks, inFlight: number): Promise<Answer> =>
    runtime.runPromise(
      Effect.suspend(() => {
        const answer = nothingSeen()
        const one = (index: number) =>
          Effect.map(Words.get(records.keyCopy(index)), (value) => {
            if (Option.isSome(value)) see(answer, value.value)
          })
        const all = Effect.forEach(indices.subarray(from, to), one, { concurrency: inFlight, discard: true })
        return Effect.as(all, answer)
      }).pipe(Snapshot.read())
    )

const getsMany = (runtime: Runtime) => {
  const group = new KeyGroup(manyKeys)
  return ({ from, indices, records, to }: Picks): Promise<Answer> =>
    runtime.runPromise(
      Effect.suspend(() => {
        const answer = nothingSeen()
        let place = from
        return Effect.as(
          Effect.whileLoop({
            while: () => place + manyKeys <= to,
            body: () => {
              const keys = group.fill(records, indices, place)
              place += manyKeys
              return Words.getMany(keys)
            },
            step: (values) => {
              for (const value of values) if (Option.isSome(value)) see(answer, value.value)
            }
          }),
          answer
        )
      }).pipe(Snapshot.read())
    )
}

const stream = (
  from: Buffer | undefined,
  limit: number | undefined,
  direction: Direction,
  answer: Answer
) => {
  const reverse = direction === "descending"
  const bounds = from === undefined ? {} : reverse ? { until: above(from) } : { from }
  return Stream.runForEachArray(
    Words.range({ ...bounds, reverse, limit }),
    (entries) =>
      Effect.sync(() => {
        for (const { value } of entries) see(answer, value)
      })
  )
}

const ranges =
  (runtime: Runtime) =>
  ({ from, indices, records, to }: Picks, length: number, direction: Direction): Promise<Answer> =>
    runtime.runPromise(
      Effect.suspend(() => {
        const answer = nothingSeen()
        let place = from
        return Effect.as(
          Effect.whileLoop({
            while: () => place < to,
            body: () => stream(records.keyCopy(indices[place++] as number), length, direction, answer),
            step: () => {}
          }),
          answer
        )
      }).pipe(Snapshot.read())
    )

const scan = (runtime: Runtime) => (direction: Direction): Promise<Answer> =>
  runtime.runPromise(
    Effect.suspend(() => {
      const answer = nothingSeen()
      return Effect.as(stream(undefined, undefined, direction, answer), answer)
    }).pipe(Snapshot.read())
  )

function* entries(records: Records, from: number, to: number): Generator<readonly [Uint8Array, Uint8Array]> {
  for (let index = from; index < to; index++) yield [records.key(index), records.value(index, 0)]
}

const load = (runtime: Runtime) => async (records: Records, from: number, to: number): Promise<void> => {
  await runtime.runPromise(Bulk.load(Words, { [Symbol.iterator]: () => entries(records, from, to) }))
}

const write =
  (runtime: Runtime) => ({ acknowledged, records, take, version, writers }: Writing): Promise<void> => {
    const writer = Effect.gen(function*() {
      for (let index = take(); index >= 0; index = take()) {
        const begun = performance.now()
        yield* Words.put(records.keyCopy(index), records.value(index, version)).pipe(Tx.transact())
        acknowledged(begun)
      }
    })
    return runtime.runPromise(
      Effect.forEach(Array.from({ length: writers }), () => writer, {
        concurrency: "unbounded",
        discard: true
      })
    )
  }

const make = (name: string, own: Partial<Store.Options>): Engine => ({
  name,
  rank: "ours",
  version,
  open: async (open: OpenOptions): Promise<Session> => {
    const options = { ...own, ...optionsOf(open) }
    const runtime = await runtimeOf(options)
    return {
      options: { ...options },
      gets: gets(runtime),
      getsFresh: gets(runtime),
      getsMany: getsMany(runtime),
      getsInFlight: getsInFlight(runtime),
      ranges: ranges(runtime),
      scan: scan(runtime),
      load: load(runtime),
      write: write(runtime),
      settle: () => settle(runtime),
      checkpoint: () => checkpoint(runtime),
      counters: counters(runtime),
      close: () => runtime.dispose()
    }
  }
})

export const heartwoodEffect = make("heartwood-effect", {})
/** Syncs the log in the calling thread. */
export const caller = make("heartwood-effect-caller", { syncThread: "caller" })

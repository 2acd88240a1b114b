/**
 * A few keyspaces and what tests of transactions say with them.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Codec from "../../src/Codec.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import * as Tx from "../../src/Tx.ts"

export const Words = Keyspace.make("words", { key: Key.String, value: Schema.String })
export const Counts = Keyspace.make("counts", { key: Key.String, value: Schema.Int })
export const Numbers = Keyspace.make("words", { key: Key.Int, value: Schema.String })

export const write = Tx.transact()
export const read = Snapshot.read()
export const words = read(Stream.runCollect(Words.keys()))
export const own = Stream.runCollect(Words.keys())
export const put = (...keys: ReadonlyArray<string>) =>
  Effect.forEach(keys, (key) => Words.put(key, key), { discard: true })

/** Commits beside all turns, as raw doors do. */
export const commitNow = (key: string, value: string) =>
  Effect.flatMap(Store.Store, ({ machine }) =>
    machine.submit({
      keyspaces: () => [{
        name: Words.name,
        layout: Words.layout,
        cleared: false,
        dropped: false,
        writes: () => [{ key: Buffer.from(key), value: Codec.schema(Schema.String).encode(value) }]
      }],
      durability: "memory"
    }))
export const add = (key: string) =>
  Counts.modify(key, (count) => [undefined, Option.some(Option.getOrElse(count, () => 0) + 1)])

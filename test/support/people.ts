/**
 * People with addresses and tags, the indexes over them, and what tests say with them.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Index from "../../src/Indexes.ts"
import * as Key from "../../src/Key.ts"
import * as Keyspace from "../../src/Keyspace.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import * as Tx from "../../src/Tx.ts"

export const User = Schema.Struct({ email: Schema.String, tags: Schema.Array(Schema.String) })
export const Plain = Keyspace.make("users", { key: Key.String, value: User })
export const email = {
  key: Key.String,
  of: ({ value }: { value: { email: string } }) => [value.email],
  unique: true
} as const
export const tag = {
  key: Key.String,
  of: ({ value }: { value: { tags: ReadonlyArray<string> } }) => value.tags
} as const
export const Users = Index.make(Plain, { email, tag })

export const write = Tx.transact()
export const read = Snapshot.read()
export const all = <A, E, R>(stream: Stream.Stream<A, E, R>) => read(Stream.runCollect(stream))
export const user = (name: string, ...tags: ReadonlyArray<string>) => ({ email: `${name}@example.com`, tags })
export const put = (name: string, ...tags: ReadonlyArray<string>) => Users.put(name, user(name, ...tags))
export const tags = Effect.map(
  all(Users.by.tag.keys()),
  (pairs) => pairs.map(({ indexKey, key }) => `${indexKey}:${key}`).join(" ")
)
export const emails = Effect.map(
  all(Users.by.email.keys()),
  (pairs) => pairs.map(({ indexKey, key }) => `${indexKey.split("@")[0]}:${key}`).join(" ")
)
export const build = Stream.runCollect(Index.build(Users))
export const names = Effect.map(
  Store.Store,
  ({ machine }) => [...machine.parts.generations.names().keys()].sort()
)

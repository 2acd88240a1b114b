/**
 * Stores under the test's clock, for what becomes of records as time goes by; nothing here sleeps.
 */
import { it } from "@effect/vitest"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import type { Disk } from "../../src/disk/Disk.ts"
import type { FaultDisk } from "../../src/disk/FaultDisk.ts"
import { layer } from "../../src/disk/FaultDisk.ts"
import type { PutOptions } from "../../src/Keyspace.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { Batch } from "../../src/tree/read/Batch.ts"
import { Absent, Missing } from "../../src/tree/Tree.ts"
import * as Tx from "../../src/Tx.ts"
import { open } from "./storeDoor.ts"
import { small } from "./stores.ts"
import { passing } from "./storeSize.ts"
import { bytes, plain, text } from "./timed.ts"

export type Disks = Context.Context<Disk | FaultDisk>
type Options = Omit<Store.Options, "path">

export const sweepMillis = 1_000
export const usual: Options = { ...small, durability: "synced", limits: { sweepMillis } }

/** Runs a body on one store; ends it as a process ends that closes its store. */
export const within = <A, E>(
  disks: Disks,
  body: Effect.Effect<A, E, Store.Store>,
  options: Options = usual
): Effect.Effect<A, E | StoreError> =>
  Effect.gen(function*() {
    const opened = yield* open(options)
    const exit = yield* Effect.exit(Effect.provideService(body, Store.Store, opened.store))
    yield* Effect.raceFirst(opened.close, passing)
    return yield* exit
  }).pipe(Effect.provideContext(disks))

export const test = (title: string, body: (disks: Disks) => Effect.Effect<void, unknown>): void =>
  it.effect(title, () =>
    Effect.scoped(Effect.gen(function*() {
      yield* TestClock.setTime(1_000_000)
      yield* body(yield* Layer.build(layer()))
    })))

/** The same with one store that is open from beginning to end. */
export const one = (
  title: string,
  body: Effect.Effect<void, unknown, Store.Store>,
  options?: Options
): void => test(title, (disks) => within(disks, body, options))

export const put = (key: string, value: string, options?: PutOptions) =>
  Tx.transact()(plain.put(bytes(key), bytes(value), options))
export const get = (key: string) =>
  Effect.map(
    Snapshot.read()(plain.get(bytes(key))),
    (value) => Option.getOrUndefined(Option.map(value, text))
  )
export const expiry = Store.Store.useSync(({ machine }) => machine.parts.expiry.counters)
export const commits = Store.Store.useSync(({ machine }) => machine.parts.wal.counters.commits)

/** Everything in the trees, hidden or not. */
export const dump = Store.Store.useSync(({ machine: { parts: { buffer, generations }, tree } }) => {
  const rows: Array<string> = []
  for (const { name, root } of generations.all()) {
    const batch = new Batch()
    for (let lower = new Uint8Array(0), answer = 1; answer !== Absent;) {
      batch.reset()
      const columns = "keys and values"
      answer = tree.scan(
        root,
        { lower, upper: undefined, order: "ascending", limit: 100, columns },
        Infinity,
        batch
      )
      if (answer === Missing) buffer.loadNow(tree.missing, "scan")
      lower = Uint8Array.from(batch.position ?? lower)
      for (let index = 0; index < batch.count; index++) {
        const row = [batch.key(index), batch.value(index)].map(text)
        rows.push(`${name} ${row.join(" ")} ${batch.version(index)} ${batch.expiry(index)}`)
      }
    }
  }
  return rows
})

/**
 * A small store of large values, and what is done to it and asked of it.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Disk } from "../../src/disk/Disk.ts"
import { FaultDisk } from "../../src/disk/FaultDisk.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import * as Store from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import type { Random } from "./random.ts"
import { auditStore } from "./storeAudit.ts"
import { directory, keyspaceOf, open, settle } from "./storeDoor.ts"

export const segmentBytes = 4096
export const logBytes = 16_384

export const options = {
  limits: {
    pageBytes: 1024,
    memoryBytes: 64 * 1024,
    stagingBytes: 4 * 1024,
    mergeWorkspaces: 1,
    loadsInFlight: 2,
    inlineValueBytes: 200,
    segmentBytes,
    undurableBytes: 4096,
    checkpoint: { logBytes, hardLogBytes: 1_048_576 }
  }
}

export const Values = keyspaceOf("values")

export const keyOf = (name: string): Uint8Array => Uint8Array.from(Buffer.from(name))

export const put = (name: string, value: Uint8Array) => Tx.transact()(Values.put(keyOf(name), value))

/** Lets everything happen that is to be expected without further writes. */
export const calm = Effect.gen(function*() {
  yield* settle(yield* Store.Store, (yield* FaultDisk).operations)
})

export const settled = Effect.andThen(Effect.flatMap(Store.Store, ({ checkpoint }) => checkpoint), calm)

export type Limits = Partial<typeof options.limits>

export const inStore = <A, E>(
  body: Effect.Effect<A, E, Store.Store | FaultDisk | Disk>,
  limits: Limits = {}
): Effect.Effect<A, E | StoreError, FaultDisk | Disk> =>
  Effect.gen(function*() {
    const { close, store } = yield* open({ limits: { ...options.limits, ...limits } })
    return yield* Effect.ensuring(Effect.provideService(body, Store.Store, store), close)
  })

export const machine = Effect.map(Store.Store, ({ machine }) => machine)

/** Bytes of large values that the trees refer to. */
export const live = Effect.map(machine, ({ parts }) => {
  let sum = 0
  for (const bytes of parts.treeActor.charges.live().values()) sum += bytes
  return sum
})

export const log = Effect.flatMap(Store.Store, ({ stat }) => Effect.map(stat, ({ log }) => log))

/** The log is no longer than what lives in it asks for. */
export const isShort = Effect.gen(function*() {
  assert.isAtMost((yield* log).bytes, logBytes + 2 * segmentBytes + 1.5 * (yield* live))
})

export const get = (name: string) =>
  Effect.map(Snapshot.read()(Values.get(keyOf(name))), (value) => Option.getOrThrow(value))

/** Everything reads as it was written, and the store is sound. */
export const holds = (model: ReadonlyMap<string, Uint8Array>) =>
  Effect.gen(function*() {
    for (const [name, value] of model) assert.deepStrictEqual(yield* get(name), value, name)
    // Reading makes room, which may still be under way.
    yield* calm
    const pageFile = (yield* FaultDisk).killImage().read(`${directory}/pages`) ?? new Uint8Array(0)
    assert.deepStrictEqual(auditStore(yield* machine, pageFile).problems, [])
  })

/** Puts of about `bytes` to keys that are overwritten all the time. */
export const churn = (chance: Random, puts: number, model = new Map<string, Uint8Array>()) =>
  Effect.gen(function*() {
    for (let step = 1; step <= puts; step++) {
      const name = `k${chance.int(20)}`
      const value = chance.bytes(300 + chance.int(1500))
      yield* put(name, value)
      model.set(name, value)
      if (step % 20 === 0) yield* calm
    }
    yield* settled
    yield* settled
  })

/** What moving wrote, against all that was written; by invariant at most twice what others wrote. */
export const amplification = Effect.map(machine, ({ parts }) => {
  const { bytes, values } = parts.relocation.counters
  return { moved: bytes + 64 * values, others: parts.tail.end - bytes - 64 * values }
})

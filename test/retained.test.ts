/**
 * What a transaction keeps while it waits for the disk: nothing of its body. Thousands may wait at once, and whatever they
 * keep is copied by each collection of garbage.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Disk } from "../src/disk/Disk.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Store from "../src/Store.ts"
import * as Tx from "../src/Tx.ts"
import { watched } from "./support/watchedFile.ts"

const Words = Keyspace.bytes("words")

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

/** A disk whose files are not durable before a gate opens, from when it is closed on. */
class Gated {
  gate: Effect.Effect<void> = Effect.void

  readonly layer = Layer.effect(
    Disk,
    Effect.map(Disk, (disk): Disk["Service"] => ({
      ...disk,
      open: (path, options) =>
        Effect.map(
          disk.open(path, options),
          (file) => watched(file, { sync: Effect.andThen(Effect.suspend(() => this.gate), file.sync) })
        )
    }))
  ).pipe(Layer.provide(MemoryDisk.layer))
}

describe("A transaction that waits for the disk", () => {
  it.effect("keeps nothing of its body", () => {
    const disk = new Gated()
    return Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      disk.gate = Deferred.await(gate)
      const bodies: Array<WeakRef<object>> = []
      const one = (index: number) =>
        Tx.Tx.use((tx) => {
          bodies.push(new WeakRef(tx))
          return Words.put(Buffer.of(index), Buffer.alloc(10))
        }).pipe(Tx.transact())
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5, 6, 7, 8], (index) => Effect.forkChild(one(index)))
      while (bodies.length < fibers.length) yield* Effect.yieldNow
      // What a WeakRef was made of or asked for stays until the turn of the event loop ends.
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      collect()
      const kept = bodies.filter((body) => body.deref() !== undefined).length
      const waiting = fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.joinAll(fibers)
      assert.deepStrictEqual({ kept, waiting }, { kept: 0, waiting: 8 })
    }).pipe(Effect.provide(Store.layerDisk({ path: "/store" }).pipe(Layer.provide(disk.layer))))
  })
})

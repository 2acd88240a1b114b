/**
 * Memory that waits to serve again: what is not needed goes, and what is needed is not made anew.
 */
import { afterEach, assert, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import * as fs from "node:fs"
import * as os from "node:os"
import * as path from "node:path"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import { Spares } from "../src/Spares.ts"
import * as Store from "../src/Store.ts"
import { random } from "./support/random.ts"
import { admitted } from "./support/stores.ts"

describe("spares", () => {
  it("lets go all that was not needed since it was asked last, and nothing else", () => {
    for (let seed = 1; seed <= 200; seed++) {
      const chance = random(seed)
      const spares = new Spares<number>()
      const waiting = new Set<number>()
      /** Those that have waited all the time. */
      let unneeded = new Set<number>()
      let made = 0
      for (let step = 0; step < 200; step++) {
        const kind = chance.int(20)
        if (kind < 9) {
          const spare = spares.take()
          assert.strictEqual(spare === undefined, waiting.size === 0)
          if (spare === undefined) continue
          assert.isTrue(waiting.delete(spare))
          unneeded.delete(spare)
        } else if (kind < 19) {
          spares.keep(made)
          waiting.add(made++)
        } else {
          const gone = spares.trim()
          assert.sameMembers([...gone], [...unneeded], `seed ${seed}`)
          for (const spare of gone) waiting.delete(spare)
          unneeded = new Set(waiting)
        }
      }
    }
  })
})

describe("the table of older versions", () => {
  it("gives back what a burst took, though something is always in it", () =>
    Effect.gen(function*() {
      const store = yield* Store.Store
      const { versions } = store.machine.tree
      const raw = yield* Keyspace.bytes("rows").raw
      const [key, value] = [Buffer.alloc(8), Buffer.alloc(8)]
      const overwrite = Effect.fnUntraced(function*(keys: number) {
        for (let number = 0; number < keys; number++) {
          key.writeUInt32BE(number)
          yield* admitted(() => raw.putUnsafe(key, value))
        }
      })
      const synced = Effect.flatMap(store.visibleLsn, store.awaitDurable)
      yield* overwrite(20_000)
      const held = yield* Scope.make()
      yield* Scope.provide(Snapshot.make(), held)
      yield* overwrite(20_000)
      const burst = versions.bytes
      assert.isAbove(burst, 2_000_000)
      yield* Scope.close(held, Exit.void)
      // It is looked at in the middle of what is not synced yet, as it is whenever somebody writes.
      for (const _look of [1, 2]) {
        yield* overwrite(100)
        assert.isAbove(versions.size, 0)
        versions.trim()
        yield* synced
      }
      assert.isBelow(versions.bytes, burst / 4)
    }).pipe(
      Effect.provide(Store.layerMemory),
      Effect.runPromise
    ), 60_000)
})

describe("a load that goes on", () => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "heartwood-spares-"))
  afterEach(() => {
    vi.unstubAllGlobals()
    fs.rmSync(directory, { recursive: true })
  })

  it("makes no buffers anew, of the log nor of displaced versions", () =>
    Effect.gen(function*() {
      let made = 0
      const Made = new Proxy(ArrayBuffer, {
        construct: (target, [bytes]: [number]) => {
          if (bytes >= 16 * 1024) made += bytes
          return new target(bytes)
        }
      })
      const store = yield* Store.Store
      const raw = yield* Keyspace.bytes("rows").raw
      const [key, value] = [Buffer.alloc(16), Buffer.alloc(100, "v")]
      vi.stubGlobal("ArrayBuffer", Made)
      const rounds = 24
      const perRound = 20_000
      const first: Array<number> = []
      for (let round = 0; round < rounds; round++) {
        for (let number = 0; number < perRound; number++) {
          key.writeUInt32BE(number % 5_000)
          yield* admitted(() => raw.putUnsafe(key, value))
        }
        yield* store.awaitDurable(yield* store.visibleLsn)
        first.push(made)
      }
      const early = first[7] as number
      assert.isAbove(early, 1_000_000, "buffers are made, and seen here")
      // What it wrote is 3.2 MB of log and 2.3 MB of displaced records a round.
      assert.isBelow(made - early, 8_000_000)
    }).pipe(
      Effect.provide(Store.layer({ path: directory, memory: "128 MiB", durability: "memory" })),
      Effect.runPromise
    ), 60_000)
})

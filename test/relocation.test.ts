/**
 * Large values do not hold the log: what lives in old segments is moved, and nothing else is.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import { Disk } from "../src/disk/Disk.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { Reference, Root } from "../src/tree/Tree.ts"
import * as Tx from "../src/Tx.ts"
import {
  amplification,
  calm,
  churn,
  get,
  holds,
  inStore,
  isShort,
  keyOf,
  live,
  log,
  machine,
  put,
  segmentBytes,
  settled,
  Values
} from "./support/large.ts"
import { random } from "./support/random.ts"
import { directory, keyspaceOf } from "./support/storeDoor.ts"
import { reasonOf } from "./support/stores.ts"

/** Turns that a read of the watched file takes. */
const readTurns = 20

/** The provided disk; reads of one file take some turns, and those that are under way at a time are counted. */
const slow = (path: string, reads: { now: number; most: number }) =>
  Effect.map(Disk, (disk): Disk["Service"] => {
    const watched = (file: DiskFile): DiskFile =>
      Object.assign(Object.create(file) as DiskFile, {
        read: (...args: Parameters<DiskFile["read"]>) =>
          Effect.suspend(() => {
            reads.most = Math.max(reads.most, ++reads.now)
            return Effect.ensuring(
              Effect.andThen(
                Effect.forEach(Array.from({ length: readTurns }), () => Effect.yieldNow),
                file.read(...args)
              ),
              Effect.sync(() => {
                reads.now--
              })
            )
          })
      })
    return Object.assign(Object.create(disk) as Disk["Service"], {
      open: (...args: Parameters<typeof disk.open>) =>
        Effect.map(disk.open(...args), (file) => file.path === path ? watched(file) : file)
    })
  })

/** Ends a snapshot: the log gives back what was held for it. */
const ends = (view: { readonly release: () => void }) =>
  Effect.gen(function*() {
    const held = (yield* log).bytes
    view.release()
    yield* put("small", Uint8Array.of(1))
    yield* settled
    yield* settled
    assert.isBelow((yield* log).bytes, held / 2)
  })

describe("large values and the log", () => {
  for (const seed of [1, 2, 3]) {
    it.effect(`a value that only a mini-page knows to be gone does not hold what follows it (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const model = new Map<string, Uint8Array>()
        const write = (name: string, value: Uint8Array) =>
          Effect.andThen(put(name, value), Effect.sync(() => void model.set(name, value)))
        yield* inStore(Effect.gen(function*() {
          for (let n = 0; n < 60; n++) yield* write(`gone ${n}`, chance.bytes(1_200))
          // Their leaves leave memory.
          for (let n = 0; n < 1_200; n++) yield* write(`other ${n}`, chance.bytes(100))
          yield* settled
          for (let n = 0; n < 60; n++) yield* write(`gone ${n}`, Uint8Array.of(n))
          for (let round = 0; round < 12; round++) {
            // In use, so that none of it is merged for want of room, while the log goes on.
            for (let n = 0; n < 60; n += 6) yield* write(`gone ${n}`, Uint8Array.of(round))
            for (let n = 0; n < 30; n++) yield* write(`k${chance.int(20)}`, chance.bytes(1_200))
            yield* settled
          }
          yield* settled
          yield* settled
          yield* isShort
          yield* holds(model)
        }))
      }).pipe(Effect.provide(layer())))
  }

  it.effect("two checkpoints are enough, whatever mini-pages cover, once nothing is moved any more", () =>
    Effect.gen(function*() {
      const body = inStore(Effect.gen(function*() {
        const chance = random(5)
        const gone = Array.from({ length: 40 }, (_, n) => `${n} gone`)
        // Keys that lie far apart, in leaves that leave memory.
        for (const name of gone) yield* put(name, chance.bytes(1_200))
        for (let n = 0; n < 2_000; n++) yield* put(`${n % 40} other ${n}`, chance.bytes(100))
        yield* settled
        for (let n = 0; n < 200; n++) yield* put(`k${chance.int(4)}`, chance.bytes(1_200))
        for (const name of gone) yield* put(name, Uint8Array.of(1))
        const { relocation } = (yield* machine).parts
        for (let checkpoints = 0; checkpoints < 2; checkpoints++) {
          yield* (yield* Store.Store).checkpoint
          while (relocation.busy) yield* Effect.yieldNow
        }
        yield* isShort
      }))
      yield* Effect.provideService(body, Disk, yield* slow(`${directory}/pages`, { now: 0, most: 0 }))
    }).pipe(Effect.provide(layer()), Random.withSeed(1)))

  it.effect("leaves that say whether a value is still there are loaded beside each other", () =>
    Effect.gen(function*() {
      const reads = { now: 0, most: 0 }
      const disk = yield* slow(`${directory}/pages`, reads)
      const body = inStore(
        Effect.gen(function*() {
          const chance = random(6)
          for (let n = 0; n < 40; n++) yield* put(`${n} gone`, chance.bytes(1_200))
          const { relocation } = (yield* machine).parts
          // Which round moves values depends on where segments end.
          let moved = false
          for (let round = 0; round < 10 && !moved; round++) {
            // Keys that lie far apart, in leaves that leave memory.
            for (let n = 0; n < 3_000; n++) yield* put(`${n % 40} other ${n}`, chance.bytes(100))
            yield* settled
            for (let n = 0; n < 60; n++) yield* put(`k${chance.int(4)}`, chance.bytes(1_200))
            yield* calm
            reads.most = 0
            const { values } = relocation.counters
            yield* settled
            moved = relocation.counters.values > values && reads.most > 2
          }
          assert.isTrue(moved)
        }),
        {
          segmentBytes: 65_536,
          loadsInFlight: 4,
          memoryBytes: 128 * 1024,
          checkpoint: { logBytes: 131_072, hardLogBytes: 1_048_576 }
        }
      )
      yield* Effect.provideService(body, Disk, disk)
      assert.isAbove(reads.most, 2)
    }).pipe(Effect.provide(layer()), Random.withSeed(1)))

  for (const seed of [1, 2, 3, 4, 5]) {
    it.effect(`an old value does not hold what follows it (seed ${seed})`, () =>
      Effect.gen(function*() {
        const chance = random(seed)
        const old = chance.bytes(1500)
        const model = new Map([["old", old]])
        yield* inStore(Effect.gen(function*() {
          yield* put("old", old)
          yield* churn(chance, 500, model)
          const { bytes, large } = yield* log
          yield* isShort
          assert.strictEqual(large, yield* live)
          assert.isAbove((yield* machine).parts.tail.end, 10 * bytes)
          assert.isAbove((yield* machine).parts.relocation.counters.segments, 50)
          yield* holds(model)
          const { moved, others } = yield* amplification
          assert.isBelow(moved, 2 * others)
        }))
        yield* inStore(holds(model))
      }).pipe(Effect.provide(layer({ seed }))))
  }

  it.effect("values that do not change come to rest, however small they are", () =>
    Effect.gen(function*() {
      const chance = random(9)
      const model = new Map<string, Uint8Array>()
      for (let index = 0; index < 300; index++) model.set(`v${index}`, chance.bytes(1 + chance.int(8)))
      yield* Effect.forEach([...model], ([name, value]) => put(name, value), { discard: true })
      yield* settled
      const rounds: Array<number> = []
      for (let round = 0; round < 40; round++) {
        const { counters } = (yield* machine).parts.relocation
        const { values } = counters
        yield* put("v0", model.get("v0") as Uint8Array)
        yield* settled
        rounds.push(counters.values - values)
      }
      yield* holds(model)
      const { moved, others } = yield* amplification
      assert.isBelow(moved, 2 * others)
      assert.isAbove((yield* machine).parts.relocation.counters.values, 100)
      // One put and what a checkpoint leaves are some hundred bytes a round: they pay for a few values.
      assert.isBelow(rounds.reduce((sum, values) => sum + values, 0), 300, String(rounds))
    }).pipe((body) => inStore(body, { inlineValueBytes: 0 }), Effect.provide(layer({ seed: 9 }))))

  it.effect("moving is no commit", () =>
    inStore(Effect.gen(function*() {
      const chance = random(4)
      yield* put("old", chance.bytes(1500))
      const before = yield* Snapshot.read()(Values.getEntry(keyOf("old")))
      const { parts } = yield* machine
      const during = Effect.gen(function*() {
        const { commits, conflicts } = parts.wal.counters
        yield* Values.get(keyOf("k1"))
        yield* settled
        assert.strictEqual(parts.wal.counters.commits, commits)
        assert.strictEqual(parts.wal.counters.conflicts, conflicts)
        yield* Values.put(keyOf("small"), Uint8Array.of(1))
      })
      yield* Effect.forEach(Array.from({ length: 30 }, (_, n) => `k${n % 3}`), (name) =>
        put(name, chance.bytes(900)))
      const { values } = parts.relocation.counters
      yield* Tx.transact()(during)
      assert.isAbove((yield* machine).parts.relocation.counters.values, values)
      assert.strictEqual(parts.wal.counters.conflicts, 0)
      assert.deepStrictEqual(yield* Snapshot.read()(Values.getEntry(keyOf("old"))), before)
      assert.strictEqual((yield* Snapshot.read()(Values.stat)).count, 5)
    })).pipe(Effect.provide(layer({ seed: 4 }))))
})

describe("readers of the past and the log", () => {
  it.effect("find a value where they saw it, though it was moved since", () =>
    inStore(Effect.gen(function*() {
      const chance = random(6)
      const old = chance.bytes(1500)
      yield* put("old", old)
      const whole = yield* machine
      const { tree } = whole
      const view = Snapshot.open(whole, "read")
      if (Exit.isExit(view)) return assert.fail("no snapshot")
      const root = whole.root(Values, view.at) as Root
      assert.strictEqual(tree.get(root, keyOf("old"), view.at), 1)
      const seen = tree.foundReference() as Reference
      const { moves } = whole.parts.treeActor.charges
      yield* churn(chance, 60)
      assert.isAbove(whole.parts.treeActor.charges.moves, moves)
      assert.strictEqual(tree.get(root, keyOf("old"), view.at), 1)
      assert.notStrictEqual(tree.foundReference()?.lsn, seen.lsn)
      assert.deepStrictEqual(yield* whole.fetch(seen), old)
      assert.deepStrictEqual((yield* view.get(Values, keyOf("old"), "keys and values"))?.value, old)
      yield* ends(view)
      assert.strictEqual(yield* reasonOf(whole.fetch(seen)), "Corrupted")
    })).pipe(Effect.provide(layer({ seed: 6 }))))

  it.effect("keep an older version where it is until they end", () =>
    inStore(Effect.gen(function*() {
      const chance = random(7)
      const [older, newer] = [chance.bytes(1500), chance.bytes(1500)]
      yield* put("old", older)
      const whole = yield* machine
      const view = Snapshot.open(whole, "read")
      if (Exit.isExit(view)) return assert.fail("no snapshot")
      yield* put("old", newer)
      yield* churn(chance, 60)
      const row = yield* view.get(Values, keyOf("old"), "keys and values")
      assert.deepStrictEqual(row?.value, older)
      assert.deepStrictEqual(yield* get("old"), newer)
      assert.isAbove((yield* log).large, yield* live)
      yield* ends(view)
      assert.strictEqual((yield* log).large, yield* live)
    })).pipe(Effect.provide(layer({ seed: 7 }))))

  it.effect("are not remembered by a checkpoint", () =>
    Effect.gen(function*() {
      const chance = random(8)
      const faults = yield* FaultDisk
      const newer = chance.bytes(1500)
      const image = yield* inStore(Effect.gen(function*() {
        const view = Effect.gen(function*() {
          yield* put("old", newer)
          yield* churn(chance, 60)
          assert.isAbove((yield* log).large, yield* live)
          return faults.killImage()
        })
        yield* put("old", chance.bytes(1500))
        return yield* Snapshot.read()(view)
      }))
      const after = inStore(Effect.gen(function*() {
        assert.strictEqual((yield* log).large, yield* live)
        yield* put("small", Uint8Array.of(1))
        yield* settled
        yield* put("small", Uint8Array.of(2))
        yield* settled
        yield* isShort
        assert.deepStrictEqual(yield* get("old"), newer)
      }))
      yield* Effect.provide(after, Layer.fresh(layer({ image })))
    }).pipe(Effect.provide(layer({ seed: 8 }))))

  it.effect("of keyspaces that were cleared or dropped hold nothing when they have ended", () =>
    inStore(Effect.gen(function*() {
      const chance = random(10)
      const Others = keyspaceOf("others")
      yield* put("old", chance.bytes(1500))
      yield* Tx.transact()(Others.put(keyOf("old"), chance.bytes(1500)))
      yield* Tx.transact()(Values.clear)
      yield* Tx.transact()(Others.drop)
      yield* churn(chance, 60)
      yield* Tx.transact()(Values.clear)
      yield* settled
      yield* put("small", Uint8Array.of(1))
      yield* settled
      assert.deepInclude(yield* log, { large: 0 })
      assert.isBelow((yield* log).bytes, 2 * segmentBytes)
    })).pipe(Effect.provide(layer({ seed: 10 }))))
})

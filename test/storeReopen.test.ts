/**
 * Small stores and large edges: what a store must still have after a power cut, and what its pages must hold.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as fs from "node:fs"
import * as path from "node:path"
import { Tree } from "../src/actors/Tree.ts"
import { FaultDisk, layer } from "../src/disk/FaultDisk.ts"
import * as NodeDisk from "../src/disk/NodeDisk.ts"
import { inlinePairBytesOf, resolve } from "../src/Limits.ts"
import { encodeDefinition } from "../src/log/RecordForm.ts"
import { RecordReader } from "../src/log/RecordReader.ts"
import * as Store from "../src/Store.ts"
import { empty } from "../src/tree/file/Catalog.ts"
import { Generations } from "../src/tree/Generations.ts"
import { Arena } from "../src/tree/memory/Arena.ts"
import { Tree as Kernel } from "../src/tree/Tree.ts"
import * as Tx from "../src/Tx.ts"
import { bytesOf, makeTail } from "./support/log.ts"
import { noStreams } from "./support/noStreams.ts"
import { dump, open, perform } from "./support/storeDoor.ts"
import type { Step } from "./support/storeModel.ts"
import { play, stateDifference } from "./support/storeModel.ts"
import { directory as temporary } from "./support/stores.ts"

const pageBytes = 1024
const options = { limits: { pageBytes, segmentBytes: 65_536, memoryBytes: 512 * pageBytes } }

const expectAfter = (steps: ReadonlyArray<Step>, keyBytes?: number) =>
  Effect.gen(function*() {
    const limits = keyBytes === undefined ? options : { limits: { ...options.limits, keyBytes } }
    const { close, store } = yield* open(limits)
    yield* Effect.provideService(Tx.transact()(perform(steps, [])), Store.Store, store)
    assert.isUndefined(stateDifference(yield* dump(store, ["one"]), play(new Map(), steps).state))
    yield* close
  })

const put = (key: string, value: string): Step => ({ _tag: "put", keyspace: "one", key, value })

describe("a power cut", () => {
  it.effect("does not take the directory of a store that was just made", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const { store } = yield* open(options)
      yield* Effect.provideService(Tx.transact()(perform([put("a", "b")], [])), Store.Store, store)
      const image = faults.crashImage({ keep: "nothing" })
      const found = yield* Effect.provide(
        Effect.flatMap(open(options), (again) => dump(again.store, ["one"])),
        layer({ image })
      )
      assert.deepStrictEqual(found.get("one")?.map(({ key }) => key), ["a"])
    }).pipe(Effect.provide(layer())))

  it.effect("does not bring back a superblock that a recovery has left behind, if the newest was never synced", () =>
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const limits = { ...options.limits, segmentBytes: 4_096, checkpoint: { logBytes: 1_048_576 } }
      const { close, store } = yield* open({ limits })
      const written = (into: Store.Store["Service"], round: number) =>
        Effect.forEach(Array.from({ length: 80 }), (_, index) => {
          const step = put(`${round} ${index}`, "v".repeat(100))
          return Effect.provideService(Tx.transact()(perform([step], [])), Store.Store, into)
        }, { discard: true })
      for (let round = 0; round < 3; round++) {
        yield* written(store, round)
        yield* store.checkpoint
      }
      yield* written(store, 3)
      const refused = { _tag: "Refused", code: "EIO" } as const
      yield* faults.fail({ at: 1, times: Infinity, path: /super$/, operation: "sync", outcome: refused })
      assert.isTrue(Exit.isFailure(yield* Effect.exit(store.checkpoint)))
      yield* close
      yield* faults.heal
      const again = yield* open({ limits })
      yield* written(again.store, 4)
      const found = yield* dump(again.store, ["one"])
      assert.strictEqual(found.get("one")?.length, 400)
      // What the recovery has removed stays so; what it has not synced is lost.
      const image = faults.crashImage({ keep: "nothing" })
      const kept = yield* Effect.provide(
        Effect.flatMap(open({ limits }), (third) => dump(third.store, ["one"])),
        layer({ image })
      )
      assert.isUndefined(stateDifference(kept, found))
      yield* again.close
    }).pipe(Effect.provide(layer())))
})

describe("a store", () => {
  it.effect("is made in a directory that a symbolic link leads to", () =>
    Effect.gen(function*() {
      const place = yield* temporary
      fs.mkdirSync(path.join(place, "real"))
      fs.symlinkSync(path.join(place, "real"), path.join(place, "link"))
      yield* Effect.scoped(Store.make({ path: path.join(place, "link", "store"), ...options }))
      assert.isTrue(fs.existsSync(path.join(place, "real", "store", "super")))
    }).pipe(Effect.provide(NodeDisk.layer)))
})

describe("a leaf", () => {
  it.effect("has room for the longest keys beside the longest values that stay in it", () =>
    Effect.forEach([180, 200, 216, 232], (valueBytes) =>
      Effect.provide(
        expectAfter(Array.from({ length: 60 }, (_, index) =>
          put(`${String(index % 7).repeat(208)}${String(index).padStart(8, "0")}`, "v".repeat(valueBytes)))),
        layer()
      ), { discard: true }))

  it.effect("of a store that is opened with longer keys than before has room for them", () =>
    Effect.gen(function*() {
      const short = Array.from(
        { length: 40 },
        (_, index) => put(String(index).padStart(16, "0"), "v".repeat(232))
      )
      const long = Array.from(
        { length: 40 },
        (_, index) => put(`${String(index).padStart(16, "0")}${"k".repeat(200)}`, "")
      )
      yield* expectAfter(short, 16)
      const { close, store } = yield* open(options)
      const exit = yield* Effect.exit(
        Effect.provideService(Tx.transact()(perform(long, [])), Store.Store, store)
      )
      assert.isTrue(Exit.isSuccess(exit))
      yield* close
    }).pipe(Effect.provide(layer())))

  it("keeps a pair of the size that the limits name, and no larger one", () => {
    const resolved = resolve({ pageBytes })
    if (resolved._tag === "Invalid") throw new Error(resolved.problems.join())
    const inlinePairBytes = inlinePairBytesOf(pageBytes)
    const tail = makeTail({ inlineValueBytes: resolved.limits.inlineValueBytes, inlinePairBytes })
    const largeness = [0, 4].map((more) => {
      tail.begin(1).put(1, bytesOf("k".repeat(96)), new Uint8Array(inlinePairBytes - 96 + more))
      tail.append()
      const reader = tail.readLast(new RecordReader())
      reader.nextRecord()
      reader.nextWrite()
      return reader.large
    })
    assert.deepStrictEqual(largeness, [false, true])
  })
})

describe("what is visible", () => {
  it("does not go back to the last record when the next one has to wait", () => {
    const arena = new Arena({ pageBytes, blocks: 1, chunkBytes: pageBytes * 4 })
    const kernel = new Kernel({ arena, epoch: 2, durable: 64, visible: 64 })
    const tree = new Tree({
      kernel,
      generations: new Generations(empty),
      visible: 64,
      load: () => false,
      reserve: () => {},
      segmentBase: (lsn) => lsn,
      ...noStreams()
    })
    const tail = makeTail()
    const reader = new RecordReader()
    const create = (id: number): number => {
      const definition = encodeDefinition({ codecVersion: 0, reducer: 0, layout: "bytes" })
      tail.begin(1).createKeyspace(id, bytesOf(`keyspace ${id}`), definition)
      const lsn = tail.append()
      tail.readLast(reader).nextRecord()
      tree.apply(reader)
      return lsn
    }
    create(1)
    // A mark has no record; readers see past it all the same.
    tail.mark()
    const shown = tail.end
    assert.isAbove(shown, tree.visibleLsn)
    const lsn = create(2)
    assert.strictEqual(tree.backlog, 1)
    assert.strictEqual(tree.visibleLsn, lsn)
    assert.isAtLeast(tree.visibleLsn, shown)
  })
})

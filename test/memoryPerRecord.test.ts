/**
 * What a record costs in memory where there is plenty: pages in use, and the tables that say where they are.
 *
 * By counters, so that neither the collector nor the machine has a say. `HEARTWOOD_FIGURES=1` prints what is found.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Disk } from "../src/disk/Disk.ts"
import * as Keyspace from "../src/Keyspace.ts"
import type { Raw, RawWrite } from "../src/Raw.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import { audit } from "../src/tree/Audit.ts"
import { Arena } from "../src/tree/memory/Arena.ts"
import { Kind, NoSpace, Tree } from "../src/tree/Tree.ts"
import { figure } from "./support/figures.ts"
import type { Random } from "./support/random.ts"
import { random } from "./support/random.ts"
import { open } from "./support/storeDoor.ts"
import { memory, upTo } from "./support/stores.ts"

const records = 200_000
const keyBytes = 16
const valueBytes = 100
const raw = records * (keyBytes + valueBytes)
const pageBytes = 4096

type Order = "random" | "ascending" | "descending"

/** The most that memory may be of what is in it. */
const most: Record<Order, number> = { random: 1.75, ascending: 1.25, descending: 1.75 }

/** Keys of random bytes, or of numbers, in the order in which they are loaded. */
const keysIn = (order: Order, chance: Random): ReadonlyArray<Uint8Array> => {
  if (order === "random") return upTo(records).map(() => chance.bytes(keyBytes))
  return upTo(records).map((n) => {
    const key = Buffer.alloc(keyBytes)
    key.writeUInt32BE(order === "ascending" ? n : records - n, keyBytes - 4)
    return key
  })
}

const report = (what: string, bytes: number): void =>
  figure(`L1 memory, ${what}`, { "bytes a record": bytes / records, "% above raw": (bytes / raw - 1) * 100 })

describe("the kernel's memory", () => {
  for (const order of ["random", "ascending", "descending"] as const) {
    it(`is at most ${most[order]} times what was loaded, ${order}`, () => {
      const arena = new Arena({ pageBytes, blocks: 14_000 })
      const tree = new Tree({ arena, epoch: 1, durable: 0, visible: 0 })
      const root = tree.create(1, 0) ?? assert.fail("no room")
      const value = new Uint8Array(valueBytes).fill(7)
      for (const [index, key] of keysIn(order, random(1)).entries()) {
        const answer = tree.put(root, key, Kind.Value, value, index + 1)
        if (answer === NoSpace) assert.fail("the arena is full")
      }
      assert.strictEqual(root.count, records)
      const bytes = arena.usedBlocks * pageBytes + tree.pages.bytes
      report(`kernel, ${order}`, bytes)
      assert.isAtMost(bytes, most[order] * raw)
      const { violations } = audit({
        pages: tree.pages,
        roots: [root],
        load: () => assert.fail("all is here")
      })
      assert.deepStrictEqual(violations, [])
    })
  }
})

const words = Keyspace.bytes("words")

/** Commits as soon as there is room for it. */
const commit = (store: Store.Store["Service"], doors: Raw, writes: ReadonlyArray<RawWrite>) =>
  Effect.try({ try: () => doors.batchUnsafe(writes), catch: (error) => error as StoreError }).pipe(
    Effect.tapError(() => Effect.flatMap(store.visibleLsn, store.awaitDurable)),
    Effect.retry({ while: ({ reason }) => reason._tag === "Overloaded" })
  )

/** Loads a store in commits of 1,000, and answers its figures when a checkpoint has written everything. */
const load = (store: Store.Store["Service"], keys: ReadonlyArray<Uint8Array>) =>
  Effect.gen(function*() {
    const doors = yield* words.raw
    const value = new Uint8Array(valueBytes).fill(7)
    for (let from = 0; from < keys.length; from += 1000) {
      yield* commit(store, doors, keys.slice(from, from + 1000).map((key) => ({ key, value })))
    }
    yield* store.awaitDurable(yield* store.visibleLsn)
    yield* store.checkpoint
    return yield* store.stat
  })

const inStore = <A, E>(
  options: Omit<Store.Options, "path">,
  body: (store: Store.Store["Service"]) => Effect.Effect<A, E, Store.Store>
) =>
  Effect.gen(function*() {
    const { close, store } = yield* open({ durability: "memory", ...options })
    const answer = yield* Effect.provideService(body(store), Store.Store, store)
    yield* close
    return answer
  })

describe("a store's memory", () => {
  for (const order of ["random", "ascending"] as const) {
    it.live(`is at most ${most[order]} times what was loaded, ${order}`, () =>
      Effect.scoped(Effect.gen(function*() {
        const disk = yield* memory
        const options = { memory: "64 MiB" } as const
        const stat = yield* Effect.provideService(
          inStore(options, (store) => load(store, keysIn(order, random(2)))),
          Disk,
          disk
        )
        assert.strictEqual(stat.keyspaces[0]?.records, records)
        assert.strictEqual(stat.counters.evictions, 0, "memory was plenty")
        const bytes = stat.memory.pages + stat.memory.map
        report(`store, ${order}`, bytes)
        assert.isAtMost(bytes, most[order] * raw)
      })))
  }

  it.live("may be of two chunks, both of which are used", () =>
    Effect.scoped(Effect.gen(function*() {
      const chunk = 1_048_576
      // Half of what images may take is set aside for them.
      const limits = { memoryBytes: 2 * chunk + 65_536, stagingBytes: 131_072, arenaBytes: chunk }
      const keys = keysIn("random", random(3)).slice(0, 40_000)
      const used = yield* Effect.provideService(
        inStore({ limits }, (store) =>
          Effect.gen(function*() {
            const { counters, pages } = yield* load(store, keys)
            const { arena, map } = store.machine.tree.pages
            assert.deepStrictEqual([arena.words.length, arena.blocks], [2, 512])
            assert.isAbove(counters.evictions, 1000)
            assert.isAtLeast(pages.freeBlocks, 0)
            for (let from = 0; from < keys.length; from += 1000) {
              const values = yield* Snapshot.read()(words.getMany(keys.slice(from, from + 1000)))
              assert.isTrue(values.every(Option.isSome), `keys from ${from} on`)
            }
            const absent = upTo(1000).map((n) => Buffer.from(`absent ${n}`))
            assert.isTrue((yield* Snapshot.read()(words.getMany(absent))).every(Option.isNone))
            assert.deepStrictEqual((yield* store.inspect).violations, [])
            const chunks = new Set<number>()
            for (const addresses of [map.block, map.mini]) {
              for (const address of addresses) if (address >= 0) chunks.add(address >>> arena.shift)
            }
            return chunks
          })),
        Disk,
        yield* memory
      )
      assert.deepStrictEqual([...used].sort(), [0, 1])
    })))
})

/**
 * What a store says that it costs: each number against what it is made of, or against another way to count the same.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import type { Costs } from "../src/Costs.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import * as Telemetry from "../src/Telemetry.ts"
import { State } from "../src/tree/memory/MapTable.ts"
import type { Pages } from "../src/tree/memory/Pages.ts"
import type { Records } from "../src/tree/memory/Resident.ts"
import { residentMinis, residentPages } from "../src/tree/memory/Resident.ts"
import * as Leaf from "../src/tree/page/Leaf.ts"
import * as MiniPage from "../src/tree/page/MiniPage.ts"
import * as Page from "../src/tree/page/Page.ts"
import { configuration, configurations, inWorld } from "./support/configurations.ts"
import type { Body, Configuration } from "./support/configurations.ts"
import { bytes } from "./support/oracle.ts"
import type { Write } from "./support/oracle.ts"
import { random } from "./support/random.ts"
import { quiesce } from "./support/storeDoor.ts"
import { upTo } from "./support/stores.ts"
import { World } from "./support/world.ts"

const keyOf = (n: number): string => `k${String(n).padStart(6, "0")}`
const stat = Effect.flatMap(Store.Store, (store) => store.stat)
const sum = (numbers: Readonly<Record<string, number>>): number =>
  Object.values(numbers).reduce((total, number) => total + number, 0)

const run = <E>(which: Configuration, body: Body<E>) => inWorld(which, "fresh", () => {}, body)

/** The same by way of the map table: page by page, whatever the ring says. */
const walked = ({ arena, map, ring }: Pages) => {
  const found = { inner: 0, leaves: 0, guests: 0, minis: 0, insert: 0, tombstone: 0, cache: 0, phantom: 0 }
  for (let id = 1; id < map.bound; id++) {
    if (!map.isUsed(id)) continue
    const address = map.block[id] as number
    if (address >= 0) {
      const isInner = ((map.state[id] as number) & State.Inner) !== 0
      found[isInner ? "inner" : ring.has(address) ? "leaves" : "guests"]++
    }
    const mini = map.mini[id] as number
    if (mini < 0) continue
    found.minis++
    const words = arena.wordsOf(mini)
    const p = mini & arena.mask
    for (let index = 0; index < Page.count(words, p); index++) {
      const record = Leaf.recordAt(words, p, index)
      const kind = Leaf.kindAt(words, record)
      if (kind === Leaf.Kind.Phantom) found.phantom++
      else if (kind === Leaf.Kind.Tombstone) found.tombstone++
      else found[MiniPage.isDirty(words, record) ? "insert" : "cache"]++
    }
  }
  return found
}

describe("what is resident", () => {
  for (const seed of [1, 2, 3]) {
    it(`is what the map table has, page by page and record by record (seed ${seed})`, () => {
      const chance = random(seed)
      const world = new World(chance, { blocks: 40, promotionPercent: 100 })
      const root = world.create(1)
      const { pages } = world.tree
      const most = { guests: 0, leaves: 0, insert: 0, tombstone: 0, cache: 0, phantom: 0 }
      for (let step = 1; step <= 20_000; step++) {
        const key = keyOf(chance.int(3_000))
        if (chance.bool(0.5)) {
          world.put(root, { key, value: "v".repeat(chance.int(60)), version: step, expiry: Infinity })
        } else if (chance.bool(0.4)) world.remove(root, key, step)
        else world.get(root, key, Infinity)
        if (step % 50 !== 0) continue
        const { frames, guests, inner, leaves, live } = residentPages(pages)
        const { count, ...kinds } = residentMinis(pages)
        const { minis, ...expected } = walked(pages)
        const records = Object.fromEntries(
          Object.entries(kinds).map(([kind, { records }]) => [kind, records])
        )
        const { pageBytes } = pages.arena
        const blocks = { inner: inner / pageBytes, leaves: leaves / pageBytes, guests: guests / pageBytes }
        assert.deepEqual({ ...blocks, ...records }, { ...expected }, `step ${step}`)
        assert.strictEqual(count, minis)
        assert.strictEqual(inner + leaves + guests + frames, pages.arena.usedBlocks * pages.arena.pageBytes)
        assert.isAtMost(live, frames)
        const taken = Object.values(kinds).reduce((total: number, { bytes }: Records) => total + bytes, 0)
        assert.isAtMost(taken + count * Page.headerWords * 4, live)
        for (const kind of Object.keys(most) as Array<keyof typeof most>) {
          most[kind] = Math.max(most[kind], expected[kind])
        }
      }
      for (const [kind, times] of Object.entries(most)) assert.isAbove(times, 0, kind)
    })
  }
})

describe("reads", () => {
  it("count once each, by where the answer stood, of now and of the past", () => {
    const chance = random(4)
    const world = new World(chance, { blocks: 40, promotionPercent: 50 })
    const root = world.create(1)
    const { tree } = world
    let missing = 0
    let answers = 0
    const read = (at: number): void => {
      const key = bytes(keyOf(chance.int(900)))
      while (tree.get(root, key, at) < 0) {
        missing++
        world.load(tree.missing)
      }
      assert.strictEqual(sum({ ...tree.hits }), ++answers)
    }
    for (let version = 1; version <= 4_000; version++) {
      const key = keyOf(chance.int(800))
      if (version === 2_000) tree.versions.pin(2_000)
      if (chance.bool(0.8)) world.put(root, { key, value: "v".repeat(40), version, expiry: Infinity })
      else world.remove(root, key, version)
      read(version > 2_000 && chance.bool(0.5) ? 2_000 : Infinity)
    }
    assert.strictEqual(tree.misses, missing)
    for (const [where, times] of Object.entries(tree.hits)) assert.isAbove(times, 0, where)
  })
})

const workload: Body<unknown> = ({ twin: twinOf, chance }) =>
  Effect.gen(function*() {
    const twin = twinOf("work")
    yield* twin.writeIn(20, upTo(1_200).map((n): Write => [keyOf(n * 7 % 1_200), "v".repeat(60)]))
    yield* twin.agreeOn(upTo(200).map(() => keyOf(chance.int(1_300))))
    yield* twin.writeIn(
      5,
      upTo(200).map((): Write => [keyOf(chance.int(1_200)), chance.bool(0.3) ? undefined : "new"])
    )
    yield* twin.agreeOn(upTo(200).map(() => keyOf(chance.int(1_300))))
    yield* twin.agreeIn({ from: keyOf(100), until: keyOf(400) })
    yield* Effect.flatMap(Store.Store, (store) => store.checkpoint)
  })

describe("what passed to and from the disk", () => {
  for (const which of configurations) {
    it.live(`adds up: ${which.name}`, () =>
      run(which, (world) =>
        Effect.gen(function*() {
          yield* workload(world)
          const { counters } = world.disk
          yield* quiesce(() => counters.reads + counters.writes + counters.syncs)
          const { amplification, buffer, counters: older, device: { log, pageFile, superblocks } } =
            yield* stat
          const { evictions, images, map, moves, packs } = pageFile
          assert.strictEqual(evictions + images + map + moves + packs, pageFile.written)
          assert.strictEqual(
            pageFile.forAnswers + pageFile.forWork,
            older.loads * (yield* Store.Store).machine.limits.pageBytes
          )
          assert.isAtMost(pageFile.forAnswers + pageFile.forWork, pageFile.read)
          assert.strictEqual(sum(buffer.loads), older.loads)
          // Beside them there is the making of the store: one superblock, twice, and the header of the first segment.
          const all = pageFile.written + log.written + superblocks
          assert.isAtMost(all, counters.writeBytes)
          assert.isAtLeast(all, counters.writeBytes - 65_536)
          const { read, write } = amplification
          assert.strictEqual(write.written, all)
          assert.strictEqual(write.ratio, write.written / write.committed)
          assert.strictEqual(read.ratio, read.read / read.answered)
          assert.isAtLeast(log.written, write.committed)
        })))
  }

  it.live("compares with the bytes that were committed and answered, large values included", () =>
    run(configuration("normal"), ({ twin: twinOf }) =>
      Effect.gen(function*() {
        const twin = twinOf("sizes")
        yield* twin.write([["ab", "cdef"], ["abc", "v".repeat(5_000)]])
        yield* twin.remove("ab")
        const { committed } = (yield* stat).amplification.write
        assert.strictEqual(committed, 2 + 4 + 3 + 5_000 + 2)
        const before = (yield* stat).amplification.read.answered
        yield* Snapshot.read()(Effect.all([
          twin.keyspace.get(bytes("abc")),
          twin.keyspace.get(bytes("nothing")),
          twin.keyspace.has(bytes("abc"))
        ]))
        assert.strictEqual((yield* stat).amplification.read.answered - before, 5_000)
      })))
})

describe("page events", () => {
  it.live("tell of what is counted, and cost nothing while nobody listens", () =>
    run(configuration("tiny"), (world) =>
      Effect.gen(function*() {
        const { machine, pageEvents } = yield* Store.Store
        const { events } = machine.tree
        yield* workload(world)
        assert.isFalse(events.heard)
        const seen: Array<Store.PageEvent> = []
        const listening = yield* Effect.forkChild(
          Stream.runForEach(pageEvents, (event) => Effect.sync(() => seen.push(event)))
        )
        while (!events.heard) yield* Effect.sleep(1)
        const before = (yield* stat).buffer
        yield* workload(world)
        const { counters } = world.disk
        yield* quiesce(() => counters.reads + counters.writes + counters.syncs)
        const after = (yield* stat).buffer
        yield* Fiber.interrupt(listening)
        assert.isFalse(events.heard)
        const forgotten = ({ evicted, merged }: Costs["buffer"]): number => evicted.minis + merged.forgotten
        const count = (tag: Store.PageEvent["_tag"], what?: string): number =>
          seen.filter((event) =>
            event._tag === tag && (what === undefined || "what" in event && event.what === what)
          ).length
        assert.strictEqual(count("Loaded"), sum(after.loads) - sum(before.loads))
        assert.strictEqual(count("Evicted", "leaf"), after.evicted.leaves - before.evicted.leaves)
        assert.strictEqual(count("Evicted", "miniPage"), forgotten(after) - forgotten(before))
        assert.strictEqual(count("Promoted", "cache"), after.promoted.cache - before.promoted.cache)
        assert.strictEqual(count("Promoted", "phantom"), after.promoted.phantom - before.promoted.phantom)
        assert.strictEqual(count("Consolidated"), after.merged.merges - before.merged.merges)
        for (const tag of ["Loaded", "Evicted", "Promoted", "Consolidated"] as const) {
          assert.isAbove(count(tag), 0, tag)
        }
        assert.notInclude(JSON.stringify(seen), "k000")
        const structural = machine.tree.events.recent().map(({ _tag }) => _tag)
        assert.notInclude(structural, "Loaded")
      })))
})

describe("metrics of costs", () => {
  it.live("are the numbers of stat", () =>
    run(configuration("tiny"), (world) =>
      Effect.gen(function*() {
        yield* workload(world)
        const found = yield* Metric.snapshot
        const { amplification, buffer, reads, resident } = yield* stat
        const { kind, purpose } = Telemetry.Attribute
        const value = (name: Telemetry.MetricName, attribute?: string, of?: string): unknown => {
          const state = found.find((one) =>
            one.id === name && (attribute === undefined || one.attributes?.[attribute] === of)
          )?.state as { readonly count?: number; readonly value?: number } | undefined
          return state?.count ?? state?.value
        }
        for (const [where, times] of Object.entries(reads)) {
          if (where === "misses") assert.strictEqual(value("heartwood.read.misses"), times)
          else assert.strictEqual(value("heartwood.read.answers", kind, where), times, where)
        }
        for (const [what, times] of Object.entries(buffer.loads)) {
          assert.strictEqual(value("heartwood.page.loads", purpose, what), times, what)
        }
        assert.strictEqual(value("heartwood.page.evictions", kind, "leaf"), buffer.evicted.leaves)
        assert.strictEqual(value("heartwood.page.evictions", kind, "minipage"), buffer.evicted.minis)
        assert.strictEqual(value("heartwood.page.spared"), buffer.evicted.spared)
        assert.strictEqual(value("heartwood.page.writes", purpose, "eviction"), buffer.evictionWrites)
        assert.strictEqual(value("heartwood.record.promotions", kind, "cache"), buffer.promoted.cache)
        assert.strictEqual(value("heartwood.page.merges"), buffer.merged.merges)
        assert.strictEqual(value("heartwood.page.cache.resident", kind, "inner"), resident.inner)
        assert.strictEqual(value("heartwood.page.cache.resident", kind, "minipage"), resident.frames)
        assert.strictEqual(value("heartwood.tx.bytes"), amplification.write.committed)
        assert.strictEqual(value("heartwood.read.bytes"), amplification.read.answered)
      })).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))
})

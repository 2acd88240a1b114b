/**
 * What trees look like while records come and go: group C of the cases that any ordered store must pass, in every
 * configuration. Shapes follow the size of a page, so only what is read must be the same everywhere.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import type { TreeView } from "../src/tree/Audit.ts"
import type { Event } from "../src/tree/memory/Events.ts"
import { everywhere } from "./support/configurations.ts"
import { after, text } from "./support/oracle.ts"
import type { Twin, Write } from "./support/oracle.ts"
import { upTo } from "./support/stores.ts"

const keyOf = (n: number): string => `key:${String(n).padStart(6, "0")}`

/** The tree of a keyspace, in which nothing is wrong and leaves meet. */
const shape = (twin: Twin): Effect.Effect<TreeView, StoreError, Store.Store> =>
  Effect.gen(function*() {
    const { keyspaces, violations } = yield* (yield* Store.Store).inspect
    assert.deepStrictEqual(violations, [])
    const tree = keyspaces.find(({ name }) => name === twin.keyspace.name)?.tree
    if (tree === undefined) return assert.fail(`no tree of ${twin.keyspace.name}`)
    tree.leaves.forEach(({ high, low }, index) => {
      const last = index === tree.leaves.length - 1
      if (index === 0) assert.strictEqual(low.length, 0, "the first leaf has no lower bound")
      assert.strictEqual(high === undefined, last, "the last leaf has no upper bound, the others have")
      if (high === undefined) return
      assert.strictEqual(text(high), text(tree.leaves[index + 1]?.low ?? low), "leaves meet")
      assert.isBelow(Buffer.compare(low, high), 0)
    })
    return tree
  })

/** Lets what waits in memory come to rest in the pages. */
const settled = Effect.flatMap(Store.Store, (store) => store.checkpoint)

const structure = Effect.map(Store.Store, ({ machine }) => machine.tree.events)

/** Commits writes one by one until something happened to the structure; answers what. */
const until = (
  twin: Twin,
  writes: Iterable<Write>,
  found: (events: ReadonlyArray<Event>) => boolean
): Effect.Effect<ReadonlyArray<Event>, StoreError, Store.Store> =>
  Effect.gen(function*() {
    const events = yield* structure
    for (const write of writes) {
      const { total } = events
      yield* twin.write([write])
      if (events.total === total) continue
      const happened = events.recent().slice(total - events.total)
      if (found(happened)) return happened
    }
    return assert.fail("it did not happen")
  })

const isSplit = (event: Event): boolean => event._tag === "Split" && event.level === 0

everywhere((test, configuration) => {
  const orders: Record<string, (index: number, count: number) => number> = {
    ascending: (index) => index,
    descending: (index, count) => count - 1 - index,
    shuffled: (index, count) => index * 7_919 % count,
    "zig-zag": (index, count) => index % 2 === 0 ? index >> 1 : count - 1 - (index >> 1),
    "from the middle outwards": (index, count) =>
      index % 2 === 0 ? (count + index) / 2 : (count - index - 1) / 2
  }
  for (const [name, order] of Object.entries(orders)) {
    test(`C21 ${name}: every record is found, in order, in a tree that grows`, (world) =>
      Effect.gen(function*() {
        const count = 1_600
        const twin = world.twin("growing")
        const rows = upTo(count).map((index): Write => {
          const key = order(index, count)
          return [keyOf(key), `${key}`.padEnd(30, "v")]
        })
        yield* twin.writeIn(25, rows)
        assert.strictEqual(twin.oracle.size, count)
        yield* world.pause
        yield* twin.agree
        yield* twin.agreeOn(upTo(100).map((n) => keyOf(n * 16)).concat(keyOf(count)))
        yield* settled
        const { height, leaves } = yield* shape(twin)
        const { pageBytes } = (yield* Store.Store).machine.limits
        assert.isAtLeast(height, pageBytes > 1_024 ? 2 : 3)
        assert.isAtLeast(leaves.length, 64 * 1_024 / pageBytes)
        assert.isAtMost(leaves.length, 3 * 100 * 1_024 / pageBytes)
      }))
  }

  test("C22 the first split makes two leaves that meet at the pivot", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("first")
      const writes = upTo(1_000).map((n): Write => [keyOf(n * 7_919 % 1_009), "v".repeat(25)])
      const happened = yield* until(twin, writes, (events) => events.some(isSplit))
      assert.deepStrictEqual(happened.map(({ _tag }) => _tag), ["Split", "RootGrown"])
      const [split] = happened
      const { height, leaves, pivots } = yield* shape(twin)
      assert.strictEqual(height, 2)
      assert.strictEqual(leaves.length, 2)
      assert.strictEqual(pivots.length, 1)
      if (split?._tag !== "Split") return assert.fail("a split")
      assert.notStrictEqual(split.left, split.right)
      assert.deepStrictEqual(leaves.map(({ pageId }) => pageId), [split.left, split.right])
      const pivot = text(pivots[0] as Uint8Array)
      assert.strictEqual(pivot, text(leaves[1]?.low as Uint8Array))
      assert.isAbove(twin.oracle.range({ until: pivot }).length, 0)
      assert.isAbove(twin.oracle.range({ from: pivot }).length, 0)
      yield* settled
      const counts = (yield* shape(twin)).leaves.map(({ records }) => records)
      assert.deepStrictEqual(counts, [
        twin.oracle.range({ until: pivot }).length,
        twin.oracle.range({ from: pivot }).length
      ])
      yield* world.pause
      yield* twin.agree
    }), { answers: "their own" })

  const start = upTo(30).map((n): Write => [keyOf(500 + n), "v".repeat(10)])
  const causes: Record<string, (n: number) => Write> = {
    "a record at the end": (n) => [keyOf(1_000 + n), "v".repeat(30)],
    "a record at the start": (n) => [keyOf(499 - n), "v".repeat(30)],
    "a value that grows": (n) => [keyOf(500 + n % 30), "v".repeat(10 + 8 * Math.floor(n / 30))],
    "records that go and come back larger": (n) =>
      n % 2 === 0
        ? [keyOf(500 + (n >> 1) % 30), undefined]
        : [keyOf(500 + (n >> 1) % 30), "v".repeat(10 + n)],
    "records between others": (n) => [`${keyOf(515)}${String(n * 37 % 101).padStart(3, "0")}`, "v".repeat(20)]
  }
  // In little memory a leaf splits when its mini-page is merged: in one life a write sooner than in the other.
  const answers = configuration.name === "tiny" ? "any" : "their own"
  for (const [name, cause] of Object.entries(causes)) {
    test(`C23 a leaf splits for ${name}`, (world) =>
      Effect.gen(function*() {
        const twin = world.twin("cause")
        yield* twin.write(start)
        yield* world.pause
        yield* until(twin, upTo(400).map(cause), (events) => events.some(isSplit))
        yield* twin.agree
        assert.isAtLeast((yield* shape(twin)).leaves.length, 2)
        yield* world.pause
        yield* twin.agree
        yield* twin.agreeOn(twin.oracle.keys())
      }), { answers })
  }

  test(
    "C24 splits of leaves with two records, with the largest ones, and with a key that is the low fence",
    (world) =>
      Effect.gen(function*() {
        const { inlineValueBytes, keyBytes } = (yield* Store.Store).machine.limits
        const twin = world.twin("few")
        const long = "x".repeat(keyBytes - 1)
        // With their keys as much as a leaf keeps of one record.
        const value = "v".repeat(inlineValueBytes - keyBytes)
        // As large as records may be, as alike as keys may be.
        for (const end of ["b", "a", "d", "c", "\xff", "\0", "aa"]) {
          const key = end.length > 1 ? long : `${long}${end}`
          yield* twin.put(key, value)
          yield* twin.agreeOn(twin.oracle.keys())
        }
        yield* settled
        yield* shape(twin)
        yield* world.pause
        const fenced = world.twin("fenced")
        const large = "v".repeat(inlineValueBytes - 44)
        yield* fenced.write(upTo(12).map((n) => [String.fromCharCode(97 + n).repeat(40), large]))
        for (let round = 0; round < 3; round++) {
          yield* settled
          const lows = (yield* shape(fenced)).leaves.map(({ low }) => text(low)).slice(0, 12)
          for (const low of lows) {
            yield* fenced.write([[low, large], [after(low), ""]])
            yield* fenced.put(after(low), large)
            yield* fenced.put(low, "")
          }
          yield* fenced.agree
          yield* world.pause
        }
        assert.isAbove((yield* shape(fenced)).leaves.length, 4)
        yield* fenced.agreeOn(fenced.oracle.keys())
        yield* twin.agree
      }),
    // The steps follow the bounds of leaves, which lie elsewhere where a mini-page is split with its leaf.
    { answers: configuration.name === "pages" ? "their own" : "any" }
  )

  test("C25 one write splits a leaf, its parent and the root", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("cascade")
      const writes = upTo(9_000).map((n): Write => [keyOf(n), "v".repeat(150)])
      const happened = yield* until(
        twin,
        writes,
        (events) =>
          events.some(({ _tag, ...event }) => _tag === "RootGrown" && "level" in event && event.level === 2)
      )
      const splits = happened.flatMap((event) => event._tag === "Split" ? [event.level] : [])
      assert.includeMembers(splits, [0, 1])
      const { height, leaves } = yield* shape(twin)
      assert.strictEqual(height, 3)
      yield* world.pause
      const at = leaves.map(({ low }) => text(low))
      yield* twin.agreeOn(at.slice(-20).concat(twin.oracle.keys().slice(-50)))
      yield* twin.agree
    }), { answers: "their own", options: { memory: "1 MiB" } })

  test("C26 leaves merge, the root goes back to one leaf, and ids and slots are used again", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("draining")
      const { chance } = world
      const sizes: Array<number> = []
      for (let round = 0; round < 5; round++) {
        const keys = upTo(500).map((n) => keyOf(n * 7_919 % 10_007))
        yield* twin.writeIn(25, keys.map((key) => [key, "v".repeat(30)]))
        yield* settled
        const { leaves } = yield* shape(twin)
        while (keys.length > 0) {
          const gone = upTo(25).flatMap(() => keys.splice(chance.int(Math.max(1, keys.length)), 1))
          yield* twin.remove(...gone)
        }
        yield* twin.agree
        for (let checkpoints = 0; checkpoints < 4; checkpoints++) yield* settled
        const empty = yield* shape(twin)
        // Where memory is short, what was removed stays in mini-pages until they empty half of a leaf.
        const short = world.configuration.name === "tiny"
        if (!short) assert.strictEqual(empty.height, 1, `round ${round}`)
        assert.isAtMost(empty.leaves.length, Math.ceil(leaves.length / (short ? 2 : 4)), `round ${round}`)
        const { file, pages } = yield* (yield* Store.Store).stat
        if (!short) assert.isBelow(pages.ids, leaves.length)
        sizes.push(file.slots)
        assert.isAtMost(file.slots, (short ? 1 : 0.75) * leaves.length, `round ${round}`)
        yield* world.pause
      }
      if (world.configuration.name === "tiny") return
      assert.isAtMost(sizes[4] as number, 1.5 * (sizes[1] as number), `slots: ${sizes}`)
    }))

  test("C27 records that come and go at the border of a split do not split and merge", (world) =>
    Effect.gen(function*() {
      const twin = world.twin("border")
      yield* twin.writeIn(25, upTo(200).map((n) => [keyOf(n * 10), "v".repeat(30)]))
      yield* settled
      const events = yield* structure
      const { total } = events
      const rounds = 150
      for (let round = 0; round < rounds; round++) {
        const base = keyOf(round % 3 * 700)
        yield* twin.write(upTo(4).map((n) => [`${base}+${n}`, "v".repeat(30)]))
        yield* twin.remove(...upTo(4).map((n) => `${base}+${n}`))
      }
      assert.isBelow(events.total - total, rounds / 10)
      yield* twin.agree
      yield* world.pause
      yield* twin.agree
    }))

  test("C28 nothing is wrong with the structure after any number of writes", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const twins = [world.twin("one"), world.twin("two")]
      let removals = 0.2
      for (let step = 1; step <= 240; step++) {
        if (step % 60 === 0) removals = chance.pick([0.1, 0.5, 0.9])
        const twin = chance.pick(twins)
        yield* twin.write(
          upTo(1 + chance.int(12)).map((): Write => {
            const key = chance.bool(0.8)
              ? keyOf(chance.int(600))
              : `${"p".repeat(chance.int(120))}${chance.int(50)}`
            return [
              key,
              chance.bool(removals) ? undefined : "v".repeat(chance.int(chance.bool(0.1) ? 600 : 60))
            ]
          })
        )
        if (step % 20 === 0) { for (const each of twins) if (each.oracle.size > 0) yield* shape(each) }
        if (step % 80 === 0) yield* world.pause
        if (step % 110 === 0) yield* world.chill
        if (step % 70 === 0) yield* settled
      }
      for (const twin of twins) yield* twin.agree
    }))

  test("C29 what was overwritten takes no room once a leaf is short of it", (world) =>
    Effect.gen(function*() {
      const { chance } = world
      const churned = world.twin("churned")
      const keys = upTo(6).map(keyOf)
      const last = keys.map((key, n): Write => [key, "v".repeat(10 + 15 * n)])
      yield* churned.write(keys.map((key) => [key, ""]))
      for (let step = 0; step < 300; step++) {
        const key = chance.pick(keys)
        yield* churned.put(key, String(step % 10).repeat(chance.int(90)))
        if (step % 7 === 0) yield* churned.remove(key)
        if (step % 100 === 99) yield* world.pause
      }
      const { leaves } = yield* shape(churned)
      // No page that ever had room for six such records needs a second one.
      assert.strictEqual(leaves.length, 1)
      yield* churned.write(last)
      const fresh = world.twin("fresh")
      yield* fresh.write(last)
      yield* settled
      const [used, needed] = [yield* shape(churned), yield* shape(fresh)].map((tree) =>
        tree.leaves[0]?.usedBytes
      )
      assert.strictEqual(used, needed)
      yield* world.pause
      yield* churned.agree
    }))

  test(
    "C30 pivots are shorter than keys, and keys around them find their leaf",
    (world) =>
      Effect.gen(function*() {
        const twin = world.twin("pivots")
        const { chance } = world
        const keys = upTo(400).map(() => {
          const stem = chance.pick(["a", "ab", "abcdefgh", "abcdefghij", "b".repeat(30)])
          return stem + text(chance.bytes(24))
        })
        yield* twin.writeIn(25, keys.map((key) => [key, `${key.length}`]))
        yield* settled
        const { leaves } = yield* shape(twin)
        const pivots = leaves.slice(1).map(({ low }) => text(low))
        const shorter = pivots.filter((pivot) => pivot.length < 20)
        assert.isAbove(shorter.length, pivots.length / 2)
        const around = pivots.slice(0, 40).flatMap((pivot) => {
          const end = pivot.charCodeAt(pivot.length - 1)
          const stem = pivot.slice(0, -1)
          return [pivot, after(pivot), stem, stem + String.fromCharCode(Math.max(0, end - 1)) + "\xff\xff"]
        })
        yield* twin.agreeOn(around)
        yield* twin.writeIn(9, around.map((key) => [key, "around"]))
        yield* world.pause
        yield* twin.agreeOn(around)
        yield* twin.agree
        yield* twin.writeIn(9, around.map((key, n) => [key, n % 2 === 0 ? undefined : "again"]))
        yield* twin.agree
        yield* shape(twin)
      }),
    // The steps follow the bounds of leaves: in little memory these are as old as the merge that split them.
    { answers }
  )
})

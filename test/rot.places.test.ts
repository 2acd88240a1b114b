/**
 * Pages that are sound in themselves, stand in another's place of the tree, and are vouched for there: with every
 * checksum and page id right. Reading finds what is right, or says `Corrupted`; it never misses a key, answers with
 * another's, or goes round in circles.
 *
 * The tree is three levels high, so that nodes stand in each other's place, too.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import * as Snapshot from "../src/Snapshot.ts"
import { Store } from "../src/Store.ts"
import type { KeyspaceEntry } from "../src/tree/file/Catalog.ts"
import * as Inner from "../src/tree/page/Inner.ts"
import * as Page from "../src/tree/page/Page.ts"
import { Batch } from "../src/tree/read/Cursor.ts"
import { Found, Missing } from "../src/tree/Tree.ts"
import * as Tx from "../src/Tx.ts"
import * as Broken from "./support/broken.ts"
import { figure } from "./support/figures.ts"
import { Forge } from "./support/forge.ts"
import { random } from "./support/random.ts"
import type { Outcome } from "./support/rot.ts"
import { outcomeOf, small as makeSmall } from "./support/rot.ts"
import { upTo } from "./support/stores.ts"
import { World } from "./support/world.ts"

const { directory, Words } = Broken
const seed = Number(process.env["HEARTWOOD_SEED"] ?? 1)
const all = process.env["HEARTWOOD_ROT"] === "all"

const words = upTo(360).map((n) => `w${String(n * 7_919 % 100_000).padStart(5, "0")}`)
const valueOf = (word: string): string => word.repeat(30)
const expected = [...words].sort().map((word) => `${word}=${valueOf(word)}`)

const tall = Effect.runSync(Effect.cached(Effect.gen(function*() {
  const image = yield* Broken.imageAfter(
    Effect.forEach(words, (word) => Words.put(word, valueOf(word)).pipe(Tx.transact()), { discard: true })
  )
  const forge = new Forge(image, directory)
  assert.isAbove(Math.max(...forge.ids().map((id) => Page.level(forge.words(id), 0))), 1, "it is tall")
  return image
})))

const rows = <E, R>(
  found: Effect.Effect<ReadonlyArray<{ readonly key: string; readonly value: string }>, E, R>
) => Effect.map(found, (rows) => rows.map(({ key, value }) => `${key}=${value}`))

/** The same rows, in three ways. */
const reads = {
  ascending: Broken.readAll,
  descending: Effect.map(
    rows(Stream.runCollect(Words.range({ reverse: true }).pipe(Snapshot.stream()))),
    (found) => [...found].reverse()
  ),
  "one by one": Effect.forEach(
    [...words].sort(),
    (word) => Effect.map(Words.get(word), (found) => `${word}=${found._tag === "Some" ? found.value : "?"}`)
  ).pipe(Snapshot.read())
}

/** Puts the page of one id, as it is, where another's is. */
const place = (forge: Forge, from: Buffer, id: number): void => {
  const slot = forge.slot(forge.slotOf(id))
  slot.set(from)
  slot.writeUInt32LE(id, 8)
}

const exchanged = (image: Image, a: number, b: number): Image => {
  const forge = new Forge(image, directory)
  const [own, other] = [a, b].map((id) => Buffer.from(forge.slot(forge.slotOf(id)))) as [Buffer, Buffer]
  place(forge, other, a)
  place(forge, own, b)
  return forge.done()
}

const doubled = (image: Image, a: number, b: number): Image => {
  const forge = new Forge(image, directory)
  place(forge, Buffer.from(forge.slot(forge.slotOf(a))), b)
  return forge.done()
}

const assertCorrupted = (title: string, outcome: Outcome): void => {
  if (outcome._tag === "Rows") assert.fail(`${title}: it is not noticed`)
  assert.strictEqual(outcome.reason._tag, "Corrupted", `${title}: ${outcome.reason.message}`)
}

/** What opening comes upon it may rebuild from the older checkpoint. */
const assertRight = (title: string, outcome: Outcome, rows: ReadonlyArray<string>): void => {
  if (outcome._tag === "Refused") assertCorrupted(title, outcome)
  else assert.deepStrictEqual(outcome.rows, rows, title)
}

const pairs = (ids: ReadonlyArray<number>, others = ids): ReadonlyArray<readonly [number, number]> =>
  ids.flatMap((id) => others.filter((other) => other !== id).map((other) => [id, other] as const))

/** One in so many pairs is tried. */
const cases = [
  ["leaves", 400, (forge: Forge) => pairs(forge.leaves())],
  ["nodes", 1, (forge: Forge) => pairs(forge.inner())],
  ["a leaf and a node", 40, (forge: Forge) => pairs(forge.leaves(), forge.inner())],
  ["a node and a leaf", 40, (forge: Forge) => pairs(forge.inner(), forge.leaves())]
] as const

describe("pages in another's place", () => {
  it.live("the store is read as it is", () =>
    Effect.gen(function*() {
      const image = yield* tall
      for (const [way, read] of Object.entries(reads)) {
        assert.deepStrictEqual(yield* outcomeOf(way, image, read), { _tag: "Rows", rows: expected })
      }
    }))

  for (const [what, share, of] of cases) {
    it.live(`${what} are noticed, exchanged and doubled`, () =>
      Effect.gen(function*() {
        const image = yield* tall
        const chance = random(seed)
        let tried = 0
        for (const [a, b] of of(new Forge(image, directory))) {
          if (chance.int(all ? Math.ceil(share / 50) : share) > 0) continue
          for (const [name, changed] of [["exchanged", exchanged], ["doubled", doubled]] as const) {
            for (const [way, read] of Object.entries(reads)) {
              const title = `${a} and ${b} ${name}, ${way}`
              assertCorrupted(title, yield* outcomeOf(title, changed(image, a, b), read))
              tried++
            }
          }
        }
        assert.isAbove(tried, 10)
        figure("X2 pages in another's place", { damages: tried }, what)
      }), 600_000)
  }

  it.live("a page that is asked for by its id alone is looked for from the root", () =>
    Effect.gen(function*() {
      // Reopened, the store has no leaf in memory: each write makes a mini-page that knows nothing of its leaf.
      const image = yield* Broken.onDisk(
        yield* tall,
        Effect.andThen(
          Broken.opened(Effect.forEach(words, (word) => Words.put(word, "again").pipe(Tx.transact()))),
          Effect.map(FaultDisk, (faults) => faults.killImage())
        )
      )
      const forge = new Forge(image, directory)
      const minis = forge.ids().filter((id) => forge.packOf(id) !== 0)
      assert.isAbove(minis.length, 10)
      const counted = Effect.map(Words.count, (count) => [String(count)])
      assert.deepStrictEqual(yield* outcomeOf("count", image, counted), {
        _tag: "Rows",
        rows: [`${words.length}`]
      })
      let noticed = 0
      for (const [index, mini] of minis.entries()) {
        const other = minis[index === 0 ? 1 : 0] as number
        const outcome = yield* outcomeOf("count", doubled(image, other, mini), counted)
        // Of a leaf that was in memory when its mini-page was written everything is counted already.
        assertRight(`count with ${other} at ${mini}`, outcome, [`${words.length}`])
        if (outcome._tag === "Refused") noticed++
      }
      assert.isAbove(noticed, minis.length / 2)
    }))
})

/** Gives the mini-page of a leaf to another. */
const given = (forge: Forge, from: number, to: number): Image => {
  const pack = forge.slot(forge.packOf(from))
  for (
    let at = 32;
    at < pack.length && pack.readUInt32LE(at + 36) > 0;
    at += 4 * pack.readUInt32LE(at + 36)
  ) {
    if (pack.readUInt32LE(at + 8) === from) pack.writeUInt32LE(to, at + 8)
  }
  forge.entry(to).set(forge.entry(from).subarray(8), 8)
  forge.entry(from).fill(0, 8)
  return forge.done()
}

describe("mini-pages in another's place", () => {
  it.live("are noticed", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* makeSmall
      const forge = new Forge(image, directory)
      const [from] = forge.ids().filter((id) => forge.packOf(id) !== 0) as [number]
      for (const to of forge.ids().filter((id) => id !== from)) {
        const changed = given(new Forge(image, directory), from, to)
        assertRight(`that of ${from} at ${to}`, yield* outcomeOf(`${to}`, changed), expected)
      }
    }))
})

describe("roots", () => {
  it.live("may be loaded for the first time when their trees have ended", () =>
    Effect.gen(function*() {
      const image = yield* tall
      const damage = yield* Broken.onDisk(
        image,
        Broken.opened(Effect.gen(function*() {
          const store = yield* Store
          yield* Words.clear.pipe(Tx.transact())
          // The janitor takes the tree down, page by page from its root.
          for (let turns = 0; (yield* store.stat).pages.ids > 1 && turns < 1_000; turns++) {
            yield* Effect.sleep(1)
          }
          const { damage, pages } = yield* store.stat
          assert.strictEqual(pages.ids, 1)
          return damage
        }))
      )
      assert.deepStrictEqual(damage, [])
    }))

  it.live("are pages of their trees, and nobody else's", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* makeSmall
      const forge = new Forge(image, directory)
      const { keyspaces } = forge.catalog
      for (const [index, { name }] of keyspaces.entries()) {
        for (const root of forge.ids().filter((id) => id !== keyspaces[index]?.root)) {
          const changed = new Forge(image, directory)
          changed.catalog = {
            ...forge.catalog,
            keyspaces: keyspaces.with(index, { ...keyspaces[index] as KeyspaceEntry, root })
          }
          const title = `${root} for ${name}`
          assertRight(title, yield* outcomeOf(title, changed.done()), expected)
        }
      }
    }))
})

describe("a leaf that leads a range back", () => {
  for (const order of ["ascending", "descending"] as const) {
    it(`is named as the one that is damaged, ${order}`, () => {
      const world = new World(random(seed))
      const root = world.create(1)
      for (const n of upTo(90)) {
        world.put(root, { key: `k${100 + n}`, value: "v".repeat(40), version: n + 1, expiry: Infinity })
      }
      world.tree.versions.setVisible(200)
      const { pages } = world.tree
      const inner = pages.map.block[root.page] as number
      const [first, last] = [1, 3].map((index) =>
        Inner.child(pages.arena.wordsOf(inner), inner & pages.arena.mask, index)
      ) as [number, number]
      // As it is in memory when something has written over it there.
      const [from, to] = order === "ascending" ? [first, last] : [last, first]
      const [source, target] = [pages.map.block[from] as number, pages.map.block[to] as number]
      const { mask, pageWords } = pages.arena
      pages.arena.wordsOf(target).copyWithin(target & mask, source & mask, (source & mask) + pageWords)
      pages.arena.wordsOf(target)[(target & mask) + 2] = to
      const batch = new Batch()
      let answer = Found
      let position: Uint8Array | undefined
      for (let pulls = 0; answer === Found; pulls++) {
        assert.isBelow(pulls, 100, "it goes round")
        batch.reset()
        const [lower, upper] = order === "ascending"
          ? [position ?? new Uint8Array(0)]
          : [new Uint8Array(0), position]
        answer = world.tree.scan(root, { lower, upper, order, limit: 7, columns: "keys" }, 200, batch)
        position = batch.position ?? position
      }
      assert.deepStrictEqual([answer, world.tree.missing], [Missing, to])
      assert.isTrue(pages.lineage.strays.has(to))
    })
  }
})

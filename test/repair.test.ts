/**
 * What is damaged in pages and checkpoints is rebuilt when the store is opened, where the log reaches back: all data is
 * there, it is reported, and after the next checkpoints nothing is damaged any more. Where it does not, the store opens
 * without those keys, and says so.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import { FaultDisk } from "../src/disk/FaultDisk.ts"
import type { Image } from "../src/disk/FaultDisk.ts"
import { superblockOffset } from "../src/log/Superblock.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { Reason, StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import * as Verify from "../src/Verify.ts"
import * as Broken from "./support/broken.ts"
import { figure } from "./support/figures.ts"
import { Forge, groupsOf } from "./support/forge.ts"
import { upTo } from "./support/stores.ts"

const { directory, Words } = Broken
const pagesPath = `${directory}/pages`
const markPath = `${directory}/damaged`
const names = upTo(240).map((n) => `k${String(n).padStart(3, "0")}`)

const put = (words: ReadonlyArray<string>, value: string) =>
  Effect.forEach(words, (word) => Words.put(word, `${value} ${word} ${"x".repeat(20)}`), { discard: true })
    .pipe(Tx.transact())

/** As a killed process leaves it: two checkpoints, between which `changed` were written, and commits above both. */
const made = (changed: ReadonlyArray<string>, asked: Store.Options = Broken.options) => {
  const first = Effect.gen(function*() {
    const store = yield* Store.Store
    yield* put(names, "first")
    yield* store.checkpoint
    yield* put(names.filter((_, index) => index % 2 === 0), "second")
  })
  // Opened again, so that what is written goes to mini-pages beside leaves that are not in memory.
  const second = Effect.gen(function*() {
    const { checkpoint } = yield* Store.Store
    yield* put(changed, "third")
    yield* checkpoint
    yield* put(names.filter((_, index) => index % 5 === 0), "fourth")
    yield* Words.remove(names[7] as string).pipe(Tx.transact())
    yield* Effect.sleep(5)
    return yield* Broken.readAll
  })
  const both = Effect.gen(function*() {
    const { killImage } = yield* FaultDisk
    yield* Broken.opened(first, asked)
    const found = Effect.map(second, (expected) => ({ image: killImage(), expected }))
    return yield* Broken.opened(found, asked)
  })
  return Effect.runSync(Effect.cached(Broken.onDisk(undefined, both)))
}

/** All leaves differ between the two checkpoints. */
const renewed = made(names)
/** Most leaves are the same in both, and beside some of them stand mini-pages. */
const kept = made(names.filter((_, index) => index % 16 === 3))
/** All of the log is in its first segment: it reaches back to its beginning. */
const whole = made(names, {
  ...Broken.options,
  segmentSize: "64 KiB",
  checkpoint: { logBytes: "256 KiB" }
})

interface Opened {
  /** Undefined where reading all of it failed. */
  readonly rows: ReadonlyArray<string> | undefined
  readonly reason: Reason | undefined
  readonly damage: ReadonlyArray<Store.Damage>
  readonly checkpoint: number
  readonly marked: boolean
  /** As it would be found if it were killed. */
  readonly killed: Image
  /** As it was closed. */
  readonly after: Image
}

const isMarked = (image: Image): boolean => image.paths().includes(markPath)

/** Opens an image, reads everything, and closes it. */
const open = (
  image: Image,
  more: Effect.Effect<unknown, StoreError, Store.Store> = Effect.void
): Effect.Effect<Opened, StoreError> =>
  Broken.onDisk(
    image,
    Effect.gen(function*() {
      const faults = yield* FaultDisk
      const found = yield* Broken.opened(Effect.gen(function*() {
        const store = yield* Store.Store
        const exit = yield* Effect.exit(Broken.readAll)
        yield* more
        const error = Exit.findErrorOption(exit)
        if (Exit.isFailure(exit) && error._tag === "None") throw new Error(String(exit.cause))
        yield* Effect.sleep(2)
        return {
          rows: Exit.isSuccess(exit) ? exit.value : undefined,
          reason: error._tag === "Some" ? error.value.reason : undefined,
          damage: (yield* store.stat).damage,
          checkpoint: store.machine.parts.checkpoint.newest().version,
          marked: isMarked(faults.killImage()),
          killed: faults.killImage()
        }
      }))
      return { ...found, after: faults.killImage() }
    })
  ).pipe(Effect.provide(Logger.layer([])))

const findings = (image: Image) =>
  Broken.onDisk(image, Effect.map(Verify.verifyDisk({ path: directory }), ({ findings }) => findings))

/** Flips a bit in the middle of a slot. */
const hit = (image: Image, ...slots: ReadonlyArray<number>): Image => {
  const bytes = Uint8Array.from(image.read(pagesPath) ?? [])
  for (const slot of slots) {
    const at = slot * 1024 + 500
    bytes[at] = (bytes[at] as number) ^ 8
  }
  return image.replace(pagesPath, bytes)
}

/** Slots of pages that the older checkpoint has. */
const slotsOfOlder = (image: Image): ReadonlySet<number> => {
  const superPath = `${directory}/super`
  const { superblock } = new Forge(image, directory)
  const at = superblockOffset(superblock.slot)
  const older = Uint8Array.from(image.read(superPath) ?? [])
  older[at + 70] = (older[at + 70] as number) ^ 1
  const forge = new Forge(image.replace(superPath, older), directory)
  return new Set(forge.ids().map((id) => forge.slotOf(id)))
}

const outcomes = ({ damage }: Opened) => damage.map(({ outcome }) => outcome)

/** Opens a damaged image: everything is there, it is reported, and two checkpoints later nothing is wrong. */
const rebuilt = (name: string, image: Image, expected: ReadonlyArray<string>, path = pagesPath) =>
  Effect.gen(function*() {
    const opened = yield* open(image)
    assert.deepStrictEqual(opened.rows, expected, name)
    assert.deepStrictEqual(outcomes(opened), ["rebuilt"], name)
    assert.strictEqual(opened.damage[0]?.path, path)
    const killed = yield* open(opened.killed)
    assert.deepStrictEqual(killed.rows, expected, `${name}, killed`)
    assert.deepStrictEqual(outcomes(killed), ["rebuilt"], `${name}, killed`)
    const again = yield* open(opened.after, put(["z"], "again"))
    assert.deepStrictEqual(again.rows, expected, `${name}, opened again`)
    assert.deepStrictEqual(outcomes(again), [], `${name}, opened again`)
    assert.isFalse(again.marked, name)
    assert.deepStrictEqual(yield* findings(again.after), [], name)
    assert.isFalse(isMarked(again.after))
  })

describe("opening rebuilds", () => {
  it.live("a store whose newest or older superblock is damaged", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* renewed
      for (const slot of [0, 1]) {
        const bytes = Uint8Array.from(image.read(`${directory}/super`) ?? [])
        const at = superblockOffset(slot as 0 | 1) + 70
        bytes[at] = (bytes[at] as number) ^ 1
        yield* rebuilt(
          `slot ${slot}`,
          image.replace(`${directory}/super`, bytes),
          expected,
          `${directory}/super`
        )
      }
    }))

  it.live("what the newest checkpoint's map table, catalog and mini-pages say", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* kept
      const forge = new Forge(image, directory)
      const packs = new Set(forge.ids().map((id) => forge.packOf(id)).filter((slot) => slot !== 0))
      assert.isAbove(packs.size, 0)
      const slots = [...forge.chunks.map(({ slot }) => slot), ...forge.catalogSlots, ...packs]
      for (const slot of slots) yield* rebuilt(`slot ${slot}`, hit(image, slot), expected)
      yield* rebuilt("all of them", hit(image, ...slots), expected)
    }))

  it.live("nothing where it is the older checkpoint that is damaged, and says so", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* renewed
      const { catalog, map, version } = new Forge(image, directory).older as NonNullable<Forge["older"]>
      for (const { slot } of [map, catalog]) {
        const { checkpoint } = yield* open(hit(image, slot))
        assert.strictEqual(checkpoint, version + 1)
        yield* rebuilt(`slot ${slot}`, hit(image, slot), expected)
      }
    }))

  it.live("from the beginning of the log where both checkpoints are damaged", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* whole
      const forge = new Forge(image, directory)
      const older = forge.older as NonNullable<Forge["older"]>
      assert.isTrue(older.map.slot !== 0 && older.map.slot !== forge.superblock.map.slot)
      const opened = yield* open(hit(image, forge.superblock.map.slot, older.catalog.slot))
      assert.deepStrictEqual(opened.rows, expected)
      assert.deepStrictEqual(outcomes(opened), ["rebuilt", "rebuilt"])
      const again = yield* open(opened.after, put(["z"], "again"))
      assert.deepStrictEqual(again.rows, expected)
      const last = yield* open(again.after)
      assert.deepStrictEqual(outcomes(last), [])
      assert.deepStrictEqual(yield* findings(last.after), [])
    }))

  it.live("nothing where the log does not reach its end: the error is that of the pages", () =>
    Effect.gen(function*() {
      const { image } = yield* renewed
      const forge = new Forge(image, directory)
      const broken = hit(image, forge.catalogSlots[0] as number)
      const path = `${directory}/log-${forge.older?.cut.sequence.toString(16).padStart(16, "0")}`
      const segment = Buffer.from(broken.read(path) ?? [])
      const at = (groupsOf(segment).at(-1) as number) + 30
      segment[at] = (segment[at] as number) ^ 1
      const { reason } = yield* Effect.flip(open(broken.replace(path, segment)))
      assert.isTrue(reason._tag === "Corrupted" && reason.path === pagesPath)
      assert.match(reason.message, /npx heartwood salvage/)
    }))
})

describe("a page that is met while the store is open", () => {
  it.live("is rebuilt by the next opening", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* renewed
      const forge = new Forge(image, directory)
      const both = slotsOfOlder(image)
      const counts = { rebuilt: 0, unread: 0, refused: 0 }
      for (const id of [...forge.inner(), ...forge.leaves().filter((id) => id % 2 === 0)]) {
        const slot = forge.slotOf(id)
        const exit = yield* Effect.exit(open(hit(image, slot)))
        if (Exit.isFailure(exit)) {
          // Recovery needs it, and both checkpoints have it.
          const error = Exit.findErrorOption(exit)
          assert.isTrue(error._tag === "Some" && error.value.reason._tag === "Corrupted", String(exit.cause))
          assert.isTrue(both.has(slot))
          counts.refused++
          continue
        }
        const opened = exit.value
        if (opened.rows === undefined) {
          assert.isTrue(opened.reason?._tag === "Corrupted" && opened.reason.path === pagesPath)
          assert.deepStrictEqual(outcomes(opened), ["left"])
          assert.isTrue(opened.marked && isMarked(opened.after), "it leaves a mark")
          assert.isFalse(both.has(slot))
          yield* rebuilt(`page ${id}`, opened.after, expected)
          counts.rebuilt++
        } else {
          // All in it was written since and nobody has met it, or recovery has, and it was rebuilt at once.
          assert.deepStrictEqual(opened.rows, expected)
          counts.unread++
        }
      }
      assert.isAtLeast(counts.rebuilt, 8)
      assert.isAtMost(counts.refused, 1)
      figure("X1 damaged pages that are met", counts)
    }), 60_000)

  it.live("is left, and the rest is served, where nothing has it", () =>
    Effect.gen(function*() {
      const { expected, image } = yield* kept
      const forge = new Forge(image, directory)
      const both = slotsOfOlder(image)
      const slot = forge.leaves().map((id) => forge.slotOf(id)).findLast((each) => both.has(each))
      const broken = hit(image, slot as number)
      const opened = yield* open(broken)
      assert.strictEqual(opened.reason?._tag, "Corrupted")
      const again = yield* open(opened.after, put(["a"], "again"))
      assert.strictEqual(again.reason?._tag, "Corrupted")
      assert.deepStrictEqual(outcomes(again), ["left", "left"])
      const first = Snapshot.read()(Words.get(names[0] as string))
      const read = yield* Broken.onDisk(again.after, Broken.opened(first)).pipe(
        Effect.provide(Logger.layer([]))
      )
      assert.isTrue(expected.includes(`${names[0]}=${Option.getOrUndefined(read)}`))
    }))
})

/**
 * Room in memory: who waits for it is told when it is there, and when there will be none.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Buffer_ from "../src/actors/Buffer.ts"
import type { DiskFile } from "../src/disk/Disk.ts"
import { resolve } from "../src/Limits.ts"
import type { Limits } from "../src/Limits.ts"
import { DiskFailed, storeError } from "../src/StoreError.ts"
import { Arena } from "../src/tree/Arena.ts"
import type { Place } from "../src/tree/MapChunk.ts"
import { State } from "../src/tree/MapTable.ts"
import * as Page from "../src/tree/Page.ts"
import { seal } from "../src/tree/PageCheck.ts"
import type { Image } from "../src/tree/Pages.ts"
import { Pages } from "../src/tree/Pages.ts"
import { passing } from "./support/storeSize.ts"

const blocks = 8
const pageBytes = 1024

const limits = ((): Limits => {
  const resolved = resolve({ pageBytes, memoryBytes: 64 * pageBytes, loadsInFlight: 1 })
  if (resolved._tag === "Invalid") throw new Error(resolved.problems.join())
  return resolved.limits
})()

/** A page file that is only read, and that in one way. */
const reading = (read: DiskFile["read"]): DiskFile =>
  new Proxy({ read } as DiskFile, {
    get: (_, name) => {
      if (name === "read") return read
      throw new Error(`the page file's ${String(name)} is used`)
    }
  })

/** Nothing is read here. */
const untouchable = reading(() => {
  throw new Error("the page file is read")
})

const full = (): Pages => {
  const pages = new Pages(new Arena({ pageBytes, blocks, chunkBytes: blocks * pageBytes }), { epoch: 2 })
  const { arena, map } = pages
  for (let page = 1; page <= blocks; page++) {
    const address = map.block[pages.create()] as number
    const form = { size: arena.pageWords, level: 0, pageId: page, treeId: 1 }
    Page.begin(arena.wordsOf(address), address & arena.mask, form)
  }
  return pages
}

/** Makes a page one that does not leave memory. */
const pin = ({ map }: Pages, id: number): void => {
  map.state[id] = (map.state[id] as number) | State.Inner
}

const make = (pages: Pages, write: Buffer_.Options["write"], file = untouchable) =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    return yield* Buffer_.make({
      pages,
      file,
      limits,
      fork: (effect) => void Effect.runForkWith(context)(effect),
      write,
      failed: (cause) => {
        throw cause
      }
    })
  })

/** A page is read and another is written, to arrive together, while a writer waits for blocks beside a third. */
const contest = ({ blocks, made, pinned }: {
  readonly blocks: number
  readonly made: number
  readonly pinned: ReadonlyArray<number>
}) =>
  Effect.gen(function*() {
    const pages = full()
    const image = pages.image(5)
    pages.imaged(image, { slot: nextSlot++, checksum: seal(image.bytes) })
    pages.evict(5)
    for (let page = 0; page < made; page++) pin(pages, pages.create())
    for (const id of pinned) pin(pages, id)
    const gate = yield* Deferred.make<void>()
    const file = reading((buffer) =>
      Effect.map(Deferred.await(gate), () => {
        buffer.set(image.bytes)
        return buffer.length
      })
    )
    const write: Buffer_.Options["write"] = (images) =>
      Effect.map(Deferred.await(gate), () => images.map(placed))
    const buffer = yield* make(pages, write, file)
    const options = { startImmediately: true }
    const load = yield* Effect.forkChild(Effect.exit(buffer.load(5)), options)
    const reserve = yield* Effect.forkChild(Effect.exit(buffer.reserve(blocks, 8)), options)
    return { pages, gate, load, reserve }
  })

let nextSlot = 1
const placed = (): Place => ({ slot: nextSlot++, checksum: 1 })

const reasonOf = (
  exit: Exit.Exit<void, { readonly reason: { readonly _tag: string } }>
): string | undefined => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? error.value.reason._tag : undefined
}

describe("buffer", () => {
  it.effect("writes changed pages to make room", () =>
    Effect.gen(function*() {
      const pages = full()
      const buffer = yield* make(pages, (images) => Effect.sync(() => images.map(placed)))
      yield* buffer.reserve(3)
      assert.isAtLeast(pages.arena.freeBlocks, 3)
    }))

  it.effect("refuses who waits where changed pages cannot be written, and tries again for who comes later", () =>
    Effect.gen(function*() {
      const pages = full()
      let attempts = 0
      let broken = true
      const failure = storeError(
        new DiskFailed({ operation: "write", path: "/pages", code: "ENOSPC", cause: undefined })
      )
      const buffer = yield* make(pages, (images) =>
        Effect.suspend(() => {
          attempts++
          return broken ? Effect.fail(failure) : Effect.succeed(images.map(placed))
        }))
      const refused = yield* Effect.raceFirst(Effect.exit(buffer.reserve(3)), passing)
      assert.strictEqual(reasonOf(refused), "DiskFailed")
      assert.isAbove(attempts, 1)
      broken = false
      yield* Effect.raceFirst(buffer.reserve(3), passing)
      assert.isAtLeast(pages.arena.freeBlocks, 3)
    }))

  it.effect("refuses who waits where every page is in use", () =>
    Effect.gen(function*() {
      const pages = full()
      for (let id = 1; id <= blocks; id++) pin(pages, id)
      const buffer = yield* make(pages, () => Effect.die("there is nothing to write"))
      assert.strictEqual(reasonOf(yield* Effect.exit(buffer.reserve(1))), "LimitExceeded")
    }))

  it.effect("makes no room of the page that room is needed beside", () =>
    Effect.gen(function*() {
      const pages = full()
      const buffer = yield* make(pages, (images) => Effect.sync(() => images.map(placed)))
      for (let id = 1; id <= 4; id++) pin(pages, id)
      yield* buffer.reserve(3, 5)
      assert.isAtLeast(pages.map.block[5] as number, 0)
      assert.strictEqual(reasonOf(yield* Effect.exit(buffer.reserve(4, 5))), "LimitExceeded")
      yield* buffer.reserve(4)
    }))

  it.effect("takes the place of a page that came in just now before it refuses who waits", () =>
    Effect.gen(function*() {
      const { gate, load, reserve, pages } = yield* contest({ blocks: 2, made: 0, pinned: [1, 2, 3, 4, 7] })
      yield* Deferred.succeed(gate, undefined)
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(load)))
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(reserve)))
      assert.isAtLeast(pages.arena.freeBlocks, 2)
    }))

  it.effect("refuses a writer before the reader that can be served without it", () =>
    Effect.gen(function*() {
      const { gate, load, reserve } = yield* contest({ blocks: 1, made: 1, pinned: [1, 2, 3, 4, 6, 7] })
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(reasonOf(yield* Fiber.join(reserve)), "LimitExceeded")
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(load)))
    }))

  it.effect("finds room in pages that a checkpoint has written", () =>
    Effect.gen(function*() {
      const pages = full()
      const buffer = yield* make(pages, () => Effect.die("everything is on its way already"))
      const images = pages.cut().pending.map((id) => pages.capture(id) as Image)
      const waiting = yield* Effect.forkChild(buffer.reserve(2), { startImmediately: true })
      for (const image of images) pages.imaged(image, placed())
      buffer.relieved()
      yield* Fiber.join(waiting)
      assert.isAtLeast(pages.arena.freeBlocks, 2)
    }))

  it.effect("reads nothing for a page that is gone when its turn comes", () =>
    Effect.gen(function*() {
      const pages = full()
      const buffer = yield* make(pages, () => Effect.die("there is nothing to write"))
      pages.free(3)
      yield* buffer.load(3)
    }))
})

describe("an image that is lost", () => {
  it("does not count when another of its content arrives late", () => {
    const pages = full()
    const late = pages.image(1)
    pages.imageLost(pages.image(1))
    pages.touch(1)
    const newest = pages.image(1)
    pages.imaged(late, placed())
    assert.notStrictEqual((pages.map.state[1] as number) & State.Dirty, 0, "it shows the page as it was")
    pages.touch(1)
    pages.imaged(newest, placed())
    assert.notStrictEqual((pages.map.state[1] as number) & State.Dirty, 0)
    assert.strictEqual(pages.map.slot[1], 0)
  })

  it("leaves the page to be imaged again", () => {
    const pages = full()
    pages.imageLost(pages.image(1))
    assert.strictEqual((pages.map.state[1] as number) & State.Imaged, 0)
    pages.imaged(pages.image(1), placed())
    assert.strictEqual((pages.map.state[1] as number) & State.Dirty, 0)
  })
})

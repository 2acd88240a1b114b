/**
 * A buffer by itself: a memory of trees that are one leaf each, a page file that is a map, and a disk that fails when
 * it should.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Buffer_ from "../../src/actors/Buffer.ts"
import type { DiskFile } from "../../src/disk/Disk.ts"
import { resolve } from "../../src/Limits.ts"
import type { Limits } from "../../src/Limits.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { DiskFailed, storeError } from "../../src/StoreError.ts"
import type { SealedImage } from "../../src/tree/file/PageFile.ts"
import { Arena } from "../../src/tree/memory/Arena.ts"
import { Budget } from "../../src/tree/memory/Budget.ts"
import { Epoch } from "../../src/tree/memory/Epoch.ts"
import type { Place } from "../../src/tree/memory/MapChunk.ts"
import { State } from "../../src/tree/memory/MapTable.ts"
import type { Image } from "../../src/tree/memory/Pages.ts"
import { seal } from "../../src/tree/page/PageCheck.ts"
import type { Root } from "../../src/tree/Tree.ts"
import { Found, Kind, Tree, Written } from "../../src/tree/Tree.ts"
import { bytes, text } from "./world.ts"

/** Trees that a rig begins with, of one leaf each. */
export const leaves = 8
/** What the buffer keeps for merges of so few blocks. */
const reserved = 8
export const pageBytes = 1024

export const limits = ((): Limits => {
  const resolved = resolve({
    pageBytes,
    memoryBytes: 64 * pageBytes,
    loadsInFlight: 1
  })
  if (resolved._tag === "Invalid") throw new Error(resolved.problems.join())
  return resolved.limits
})()

export const failure = storeError(
  new DiskFailed({ operation: "write", path: "/pages", code: "ENOSPC", cause: undefined })
)

export type Write = NonNullable<Buffer_.Options["write"]>

/** A memory full of trees that are one changed leaf each, and a page file. Tree and page of it have the same id. */
export class Rig {
  readonly tree: Tree
  readonly roots = new Map<number, Root>()
  readonly slots = new Map<number, Uint8Array>()
  /** Slots in the order in which they were read. */
  readonly reads: Array<number> = []
  /** What a read waits for, and whether it fails. */
  reading: Effect.Effect<void, StoreError> = Effect.void
  private nextSlot = 1

  constructor(more = 0) {
    const arena = new Arena({ pageBytes, blocks: leaves + reserved + more, chunkBytes: 16 * pageBytes })
    this.tree = new Tree({ arena, epoch: 2, durable: 0, visible: 0, secondChancePercent: 0 })
    for (let id = 1; id <= leaves; id++) {
      const root = this.tree.create(id, 0)
      if (root?.page !== id) throw new Error("the page of another tree")
      this.roots.set(id, root)
      this.tree.put(root, bytes("key"), Kind.Value, bytes(`value ${id}`), 1)
    }
  }

  get pages() {
    return this.tree.pages
  }

  isInMemory(id: number): boolean {
    return (this.pages.map.block[id] as number) >= 0
  }

  place(image: Uint8Array): Place {
    const slot = this.nextSlot++
    this.slots.set(slot, image.slice())
    return { slot, checksum: seal(image) }
  }

  /** Writes at once. */
  readonly write: Write = (images: ReadonlyArray<SealedImage>) =>
    Effect.sync(() => images.map(({ bytes }) => this.place(bytes)))

  land(image: Image): void {
    seal(image.bytes)
    this.pages.imaged(image, this.place(image.bytes))
  }

  /** Takes pages out of memory. */
  evict(...ids: ReadonlyArray<number>): void {
    for (const id of ids) {
      this.land(this.pages.image(id))
      assert.isTrue(this.pages.evict(id))
    }
  }

  /** Pages that nothing takes out of memory. */
  keep(...ids: ReadonlyArray<number>): void {
    for (const id of ids) this.pages.kept.add(id)
  }

  private copy(into: Uint8Array, offset: number): number {
    const slot = offset / pageBytes
    this.reads.push(slot)
    into.set(this.slots.get(slot) ?? assert.fail(`slot ${slot} is read`))
    return into.length
  }

  /** The pages whose images were read. */
  get pagesRead(): ReadonlyArray<number> {
    const idOf = (image: Uint8Array | undefined): number => image?.[8] ?? 0
    return this.reads.map((slot) => idOf(this.slots.get(slot)))
  }

  private file(): DiskFile {
    const file: Partial<DiskFile> = {
      path: "/pages",
      read: (into, offset) => Effect.andThen(this.reading, Effect.sync(() => this.copy(into, offset))),
      readSync: (into, offset) => this.copy(into, offset)
    }
    return new Proxy(file as DiskFile, {
      get: (target, name) => {
        if (name in target) return target[name as keyof DiskFile]
        throw new Error(`the page file's ${String(name)} is used`)
      }
    })
  }

  make(write: Buffer_.Options["write"] = this.write, more: Pick<Buffer_.Options, "mergesMax"> = {}) {
    return Effect.gen({ self: this }, function*() {
      const context = yield* Effect.context<never>()
      return yield* Buffer_.make({
        tree: this.tree,
        budget: new Budget(this.tree.pages.arena, limits.memoryBytes),
        file: this.file(),
        ...more,
        limits: { ...limits, secondChancePercent: 0 },
        epoch: new Epoch<number>(() => {}),
        rootOf: (treeId) => this.roots.get(treeId),
        fork: (effect) => void Effect.runForkWith(context)(effect),
        write,
        damaged: () => {},
        failed: (cause) => {
          throw cause
        }
      })
    })
  }

  get(id: number): string | undefined {
    const root = this.roots.get(id)
    if (root === undefined) return undefined
    return this.tree.get(root, bytes("key"), Infinity) === Found ? text(this.tree.value()) : undefined
  }

  /**
   * Makes a tree with so many leaves, half full, that leave memory and get a dirty mini-page each: their ids.
   */
  writeManyBlind(count: number): ReadonlyArray<number> {
    const { map } = this.pages
    const root = this.tree.create(leaves + 1, 0) ?? assert.fail("no room")
    this.roots.set(root.treeId, root)
    const ids: Array<number> = []
    const inMemory = (): ReadonlyArray<number> =>
      Array.from({ length: map.bound - 1 }, (_, index) => index + 1).filter((id) =>
        id > leaves && map.isUsed(id) && this.isInMemory(id) &&
        ((map.state[id] as number) & State.Inner) === 0
      )
    const keyOf = (n: number): Uint8Array => bytes(`key ${String(10_000 - n)}`)
    for (let n = 0; ids.length < count; n++) {
      if (this.tree.put(root, keyOf(n), Kind.Value, new Uint8Array(100), 1) < 0) assert.fail("no room")
      // The first is the one that is split.
      for (const id of inMemory().slice(1)) {
        this.evict(id)
        ids.push(id)
      }
    }
    for (let n = 0; ids.some((id) => (map.mini[id] as number) < 0); n += 2) {
      if (this.tree.put(root, keyOf(n), Kind.Value, bytes("newer"), 2) < 0) assert.fail("no room")
    }
    return ids
  }

  /** Makes a tree of two leaves, of which the first leaves memory and gets a dirty mini-page: its id. */
  writeBlind(): number {
    const root = this.tree.create(leaves + 1, 0) ?? assert.fail("no room")
    this.roots.set(root.treeId, root)
    const id = root.page
    this.tree.put(root, bytes("key"), Kind.Value, bytes("older"), 1)
    for (let n = 0; root.page === id; n++) {
      this.tree.put(root, bytes(`more ${n}`), Kind.Value, new Uint8Array(100), 1)
    }
    this.evict(id)
    assert.strictEqual(this.tree.put(root, bytes("key"), Kind.Value, bytes("newer"), 2), Written)
    this.pages.ripe.push(id)
    return id
  }
}

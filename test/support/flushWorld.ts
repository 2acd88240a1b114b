/**
 * A flush worker on a disk that fails as it is told, and what each slot must hold.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Flush from "../../src/actors/Flush.ts"
import { Disk } from "../../src/disk/Disk.ts"
import type { DiskFile } from "../../src/disk/Disk.ts"
import { FaultDisk, layer } from "../../src/disk/FaultDisk.ts"
import type { Image as DiskImage } from "../../src/disk/FaultDisk.ts"
import { resolve } from "../../src/Limits.ts"
import { Closed, storeError } from "../../src/StoreError.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { PageFile } from "../../src/tree/file/PageFile.ts"
import type { SealedImage } from "../../src/tree/file/PageFile.ts"
import { Arena } from "../../src/tree/memory/Arena.ts"
import type { Place } from "../../src/tree/memory/MapChunk.ts"
import { Pages } from "../../src/tree/memory/Pages.ts"

export const pageBytes = 1024
const resolved = resolve({ pageBytes })
export const limits = "limits" in resolved ? resolved.limits : assert.fail("limits")
export const closed = storeError(new Closed())

export const contentOf = (disk: DiskImage): Uint8Array => disk.read("/pages") ?? new Uint8Array(0)

/** A flush worker, its disk, and what each slot must hold. */
export class World {
  readonly flush: Flush.Flush
  readonly slots: PageFile
  readonly pages: Pages
  readonly faults: FaultDisk["Service"]
  readonly failures: Array<unknown>
  private next = 1

  constructor(options: Omit<World, "next" | "images" | "write" | "check" | "checkFile" | "fork">) {
    this.flush = options.flush
    this.slots = options.slots
    this.pages = options.pages
    this.faults = options.faults
    this.failures = options.failures
  }

  /** Images that can be told from each other. */
  images(count: number, version = 1): Array<SealedImage> {
    return Array.from({ length: count }, () => {
      const bytes = new Uint8Array(pageBytes).fill(this.next & 255)
      new DataView(bytes.buffer).setUint32(0, this.next)
      return { bytes, version, checksum: this.next++ }
    })
  }

  /** Writes images beside the test. */
  fork(images: ReadonlyArray<SealedImage>) {
    return Effect.forkScoped(Effect.exit(this.flush.write(images)))
  }

  /** Whether the images stand in their places, in this view of the page file. */
  checkFile(file: Uint8Array, images: ReadonlyArray<SealedImage>, places: ReadonlyArray<Place>): void {
    assert.strictEqual(places.length, images.length)
    for (const [index, { bytes, checksum }] of images.entries()) {
      const place = places[index] as Place
      assert.strictEqual(place.checksum, checksum)
      const found = file.subarray(place.slot * pageBytes, (place.slot + 1) * pageBytes)
      assert.isTrue(Buffer.from(bytes).equals(found), `image ${checksum} in slot ${place.slot}`)
      assert.strictEqual(this.slots.stateOf(place.slot), "live")
    }
  }

  check(images: ReadonlyArray<SealedImage>, places: ReadonlyArray<Place>): void {
    this.checkFile(contentOf(this.faults.killImage()), images, places)
  }
}

/** Runs a body with a flush worker on a fresh disk. */
export const test = (
  title: string,
  body: (world: World) => Effect.Effect<unknown, unknown, Scope.Scope>,
  options: { readonly seed?: number; readonly wrap?: (file: DiskFile) => DiskFile } = {}
) =>
  it.effect(title, () =>
    Effect.gen(function*() {
      const disk = yield* Disk
      const faults = yield* FaultDisk
      const opened = yield* disk.open("/pages", { mode: "create" })
      yield* disk.syncDirectory("/")
      const file = options.wrap?.(opened) ?? opened
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const slots = new PageFile()
      const pages = new Pages(new Arena({ pageBytes, blocks: 4, chunkBytes: 4 * pageBytes }), { epoch: 1 })
      const failures: Array<unknown> = []
      const flush = yield* Flush.make({
        file,
        slots,
        pages,
        limits,
        fork: (effect) => void run(effect),
        failed: (cause) => failures.push(cause)
      })
      yield* body(new World({ flush, slots, pages, faults, failures }))
      assert.isEmpty(failures)
    }).pipe(Effect.scoped, Effect.provide(layer({ seed: options.seed ?? 1 }))))

export const quiet = Effect.repeat(Effect.yieldNow, { times: 20 })
/** Lets what retries do so. */
export const patient = Effect.repeat(Effect.andThen(TestClock.adjust(2_000), quiet), { times: 4 })
export const valueOf = <A>(exit: Exit.Exit<A, StoreError>): A =>
  Exit.isSuccess(exit) ? exit.value : assert.fail(`failed: ${exit.cause}`)
export const errorOf = <A>(exit: Exit.Exit<A, StoreError>): StoreError => {
  const error = Exit.findErrorOption(exit)
  return error._tag === "Some" ? error.value : assert.fail("no error")
}

/**
 * Writing and syncing in one call of the system: a second descriptor of a file, whose writes return when they are
 * durable (`O_DSYNC`).
 *
 * On Linux such a write is a write and a sync of its own range, the device's cache included (`generic_write_sync`). It
 * saves a call, and off the calling thread the way to the pool and back between the two.
 *
 * - S1 Both descriptors are of one file, whatever became of its name between the two opens.
 * - S2 Elsewhere a write and a sync are two calls: on macOS such a write leaves its bytes in the cache of the device.
 */
import * as Effect from "effect/Effect"
import fs from "node:fs"
import type { StoreError } from "../StoreError.ts"
import { diskFailed, SystemError } from "./Disk.ts"
import type { Done } from "./NodeCall.ts"
import { closed, nodeCall } from "./NodeCall.ts"
import { CachedTransfer } from "./NodeTransfer.ts"

/** Undefined where it does not do what is asked for (S2). */
const flag: number | undefined = process.platform === "linux" ? fs.constants.O_DSYNC : undefined

/** A file that was opened through the cache, and whose writes may be durable at once. */
export class DurableTransfer extends CachedTransfer {
  override readonly descriptors: readonly [number, number]
  private readonly durable: CachedTransfer

  constructor(fd: number, durable: number) {
    super(fd)
    this.descriptors = [fd, durable]
    this.durable = new CachedTransfer(durable)
  }

  // A call that a signal cut short is made again: that writes the bytes anew, and does not only ask a sync again.
  writeDurably(buffers: ReadonlyArray<Uint8Array>, position: number, done: Done<void>): void {
    this.durable.write(buffers, position, done)
  }

  writeDurablySync(buffers: ReadonlyArray<Uint8Array>, position: number): void {
    this.durable.writeSync(buffers, position)
  }
}

/**
 * Opens a file a second time; `flags` are those of the first without what creates. `fd` stays the caller's if this
 * fails. Uninterruptible where it is used.
 */
export const openDurable = (
  path: string,
  fd: number,
  flags: number
): Effect.Effect<CachedTransfer, StoreError> =>
  Effect.gen(function*() {
    if (flag === undefined) return new CachedTransfer(fd)
    const durable = yield* nodeCall<number>("open", path, (done) => fs.open(path, flags | flag, done))
    yield* Effect.onError(sameFile(path, fd, durable), () => closed(path, durable))
    return new DurableTransfer(fd, durable)
  })

/** Fails with `ESTALE` where two descriptors are not of one file. */
export const sameFile = (path: string, fd: number, other: number): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const stat = (of: number) =>
      nodeCall<fs.BigIntStats>("open", path, (done) => fs.fstat(of, { bigint: true }, done))
    const [a, b] = [yield* stat(fd), yield* stat(other)]
    if (a.ino !== b.ino || a.dev !== b.dev) yield* diskFailed("open", path, new SystemError("ESTALE"))
  })

/**
 * Writing and syncing in one call of the system: more descriptors of a file, whose writes return when they are durable
 * (`O_DSYNC`).
 *
 * On Linux such a write is a write and a sync of its own range, the device's cache included (`generic_write_sync`). It
 * saves a call, and off the calling thread the way to the pool and back between the two.
 *
 * - S1 All descriptors are of one file, whatever became of its name between the opens.
 * - S2 Elsewhere a write and a sync are two calls: on macOS such a write leaves its bytes in the cache of the device.
 * - S3 Of writes beside each other each has a descriptor of its own. The kernel tells an open file of a page that did
 *   not get to the disk once (`errseq_t`): on one descriptor whoever asks first would hear of the other's loss, and
 *   the other of none.
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

/** Durable writes under way at a time, and so descriptors for them. */
const atOnce = 2

/** A file that was opened through the cache, and whose writes may be durable when they return. */
export class DurableTransfer extends CachedTransfer {
  override readonly descriptors: readonly [number, ...ReadonlyArray<number>]
  readonly durableWritesAtOnce: number
  /** Those that nothing is under way on (S3). */
  private readonly idle: Array<CachedTransfer>

  constructor(fd: number, durable: ReadonlyArray<number>) {
    super(fd)
    this.descriptors = [fd, ...durable]
    this.durableWritesAtOnce = durable.length
    this.idle = durable.map((fd) => new CachedTransfer(fd))
  }

  // A call that a signal cut short is made again: that writes the bytes anew, and does not only ask a sync again.
  writeDurably(buffers: ReadonlyArray<Uint8Array>, position: number, done: Done<void>): void {
    const own = this.idle.pop()
    if (own === undefined) throw new SystemError("EBUSY")
    own.write(buffers, position, (error) => {
      this.idle.push(own)
      done(error, undefined)
    })
  }

  writeDurablySync(buffers: ReadonlyArray<Uint8Array>, position: number): void {
    const own = this.idle.at(-1)
    if (own === undefined) throw new SystemError("EBUSY")
    own.writeSync(buffers, position)
  }
}

/**
 * Opens a file as often again; `flags` are those of the first without what creates. `fd` stays the caller's if this
 * fails. Uninterruptible where it is used.
 */
export const openDurable = (
  path: string,
  fd: number,
  flags: number
): Effect.Effect<CachedTransfer, StoreError> =>
  Effect.gen(function*() {
    if (flag === undefined) return new CachedTransfer(fd)
    const durable: Array<number> = []
    const more = Effect.suspend(() =>
      nodeCall<number>("open", path, (done) => fs.open(path, flags | flag, done)).pipe(
        Effect.tap((own) => {
          durable.push(own)
          return sameFile(path, fd, own)
        })
      )
    )
    yield* Effect.repeat(more, { times: atOnce - 1 }).pipe(
      Effect.onError(() => Effect.forEach(durable, (own) => closed(path, own), { discard: true }))
    )
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

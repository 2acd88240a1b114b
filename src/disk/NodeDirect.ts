/**
 * Moving bytes between buffers and a device, past the system's cache (`O_DIRECT`).
 *
 * Such a transfer must begin and end on blocks, in the file and in memory. Callers know nothing of that: any buffer,
 * any position, any length gives the answers that the cache would give.
 *
 * - D1 What is asked of the direct descriptor begins on a multiple of `directBytes` and is as long as a multiple of
 *   them, from or to a buffer of {@link Bounce}. A read covers the blocks around what was asked for.
 * - D2 A write that is not made of whole blocks goes through a cached descriptor of the same file. The system keeps the
 *   two in step: a direct read waits until what is cached and dirty has been written, a direct write drops what is
 *   cached of its range. What D2 rejects: reading the blocks at the edges, to write them back whole, which has to shut
 *   out other writes to those blocks, moves the end of the file too far and back again, and lets a power cut see that;
 *   and a refusal, which would make callers know. The page file writes whole blocks only and never comes here.
 * - D3 Both descriptors are of one file, whatever became of its name between the two opens.
 */
import * as Effect from "effect/Effect"
import fs from "node:fs"
import { directBytes } from "../Limits.ts"
import type { StoreError } from "../StoreError.ts"
import { DiskFailed, storeError } from "../StoreError.ts"
import type { Bounce } from "./Bounce.ts"
import { SystemError } from "./Disk.ts"
import type { Done } from "./NodeCall.ts"
import { closed, nodeCall } from "./NodeCall.ts"
import { sameFile } from "./NodeDurable.ts"
import type { Transfer } from "./NodeTransfer.ts"
import { CachedTransfer, interrupted } from "./NodeTransfer.ts"

/** Undefined where the platform has none (macOS, Windows). */
const directFlag: number | undefined = fs.constants.O_DIRECT

/** Whether an open failed because the system's cache cannot be bypassed. */
export const isNoDirect = ({ reason }: StoreError): boolean =>
  reason._tag === "DiskFailed" && reason.code === "NODIRECT"

export interface Options {
  readonly path: string
  /** The file, opened through the cache; it stays the caller's if this fails. */
  readonly fd: number
  /** How it was opened, without what creates. */
  readonly flags: number
  /** Made by the first file that needs it. */
  readonly bounce: () => Bounce
}

/** Opens a file a second time, past the cache; `NODIRECT` where that cannot be. Uninterruptible where it is used. */
export const openDirect = ({ bounce, fd, flags, path }: Options): Effect.Effect<Transfer, StoreError> =>
  Effect.gen(function*() {
    if (directFlag === undefined) return yield* noDirect(path, undefined)
    const blocks = bounce()
    const direct = yield* nodeCall<number>("open", path, (done) => fs.open(path, flags | directFlag, done))
      .pipe(
        Effect.catchIf(isRefused, (error) => noDirect(path, error))
      )
    // D3.
    yield* Effect.andThen(sameFile(path, fd, direct), probe(path, direct, blocks)).pipe(
      Effect.onError(() => closed(path, direct))
    )
    return new DirectTransfer(fd, direct, blocks)
  })

/** Some file systems take the flag and refuse the transfers. Of an empty file that is not seen before the first. */
const probe = (path: string, direct: number, bounce: Bounce): Effect.Effect<void, StoreError> =>
  nodeCall<void>(
    "open",
    path,
    (done) =>
      bounce.laneOf(directBytes).take((blocks) =>
        fillBlocks(direct, blocks, 0, directBytes, (error) => {
          bounce.laneOf(directBytes).give(blocks)
          done(error, undefined)
        })
      )
  ).pipe(Effect.catchIf(isRefused, (error) => noDirect(path, error)))

const isRefused = ({ reason }: StoreError): boolean =>
  reason._tag === "DiskFailed" && ["EINVAL", "ENOTSUP", "EOPNOTSUPP"].includes(reason.code)

const noDirect = (path: string, cause: StoreError | undefined): Effect.Effect<never, StoreError> =>
  Effect.fail(storeError(new DiskFailed({ operation: "open", path, code: "NODIRECT", cause })))

export class DirectTransfer implements Transfer {
  readonly descriptors: readonly [number, number]
  private readonly direct: number
  private readonly cached: CachedTransfer
  private readonly bounce: Bounce

  constructor(fd: number, direct: number, bounce: Bounce) {
    this.descriptors = [fd, direct]
    this.direct = direct
    this.cached = new CachedTransfer(fd)
    this.bounce = bounce
  }

  read(buffer: Uint8Array, position: number, done: Done<number>): void {
    check(position, buffer.length)
    const lane = this.bounce.laneOf(position % directBytes + buffer.length)
    lane.take((blocks) => {
      let count = 0
      const step = (): void => {
        const skip = (position + count) % directBytes
        const wanted = Math.min(buffer.length - count, blocks.length - skip)
        if (wanted === 0) return end(null)
        fillBlocks(this.direct, blocks, position + count - skip, skip + wanted, (error, filled) => {
          if (error !== null) return end(error)
          const got = Math.max(0, Math.min(filled - skip, wanted))
          blocks.copy(buffer, count, skip, skip + got)
          count += got
          if (got < wanted) end(null)
          else step()
        })
      }
      const end = (error: Error | null): void => {
        lane.give(blocks)
        done(error, count)
      }
      step()
    })
  }

  readSync(buffer: Uint8Array, position: number): number {
    check(position, buffer.length)
    const blocks = this.bounce.own
    let count = 0
    while (count < buffer.length) {
      const skip = (position + count) % directBytes
      const wanted = Math.min(buffer.length - count, blocks.length - skip)
      const filled = fillBlocksSync(this.direct, blocks, position + count - skip, skip + wanted)
      const got = Math.max(0, Math.min(filled - skip, wanted))
      blocks.copy(buffer, count, skip, skip + got)
      count += got
      if (got < wanted) break
    }
    return count
  }

  write(buffers: ReadonlyArray<Uint8Array>, position: number, done: Done<void>): void {
    const bytes = lengthOf(buffers)
    check(position, bytes)
    if (!isWhole(position, bytes)) return this.cached.write(buffers, position, done)
    const lane = this.bounce.laneOf(bytes)
    lane.take((blocks) => {
      const source = new Source(buffers)
      let written = 0
      const step = (): void => {
        const length = source.fill(blocks)
        if (length === 0) return end(null)
        drainBlocks(this.direct, blocks, position + written, length, (error) => {
          if (error !== null) return end(error)
          written += length
          step()
        })
      }
      const end = (error: Error | null): void => {
        lane.give(blocks)
        done(error)
      }
      step()
    })
  }

  writeSync(buffers: ReadonlyArray<Uint8Array>, position: number): void {
    const bytes = lengthOf(buffers)
    check(position, bytes)
    if (!isWhole(position, bytes)) return this.cached.writeSync(buffers, position)
    const source = new Source(buffers)
    for (let at = position, length = 0; (length = source.fill(this.bounce.own)) > 0; at += length) {
      drainBlocksSync(this.direct, this.bounce.own, at, length)
    }
  }
}

/** Once a transfer waits for a buffer, what Node would throw has nobody left to catch it. */
const check = (position: number, bytes: number): void => {
  if (position < 0 || !Number.isInteger(position) || !Number.isSafeInteger(position + bytes + directBytes)) {
    throw new SystemError("EINVAL")
  }
}

const lengthOf = (buffers: ReadonlyArray<Uint8Array>): number => {
  let bytes = 0
  for (const buffer of buffers) bytes += buffer.length
  return bytes
}

const isWhole = (position: number, bytes: number): boolean =>
  bytes > 0 && bytes % directBytes === 0 && position % directBytes === 0

const down = (bytes: number): number => bytes - bytes % directBytes
const up = (bytes: number): number => down(bytes + directBytes - 1)

/** The bytes of several buffers, one after another. */
class Source {
  private readonly buffers: ReadonlyArray<Uint8Array>
  private index = 0
  private offset = 0

  constructor(buffers: ReadonlyArray<Uint8Array>) {
    this.buffers = buffers
  }

  /** Moves the next bytes into `target`, as many as there are and fit; answers how many. */
  fill(target: Uint8Array): number {
    let filled = 0
    for (let buffer = this.buffers[this.index]; buffer !== undefined; buffer = this.buffers[this.index]) {
      const part = buffer.subarray(this.offset, this.offset + target.length - filled)
      target.set(part, filled)
      filled += part.length
      this.offset += part.length
      if (this.offset < buffer.length) break
      this.index++
      this.offset = 0
    }
    return filled
  }
}

/**
 * Reads whole blocks from byte `at`, until the first `bytes` bytes are there or the file ends; answers how many bytes
 * are there. A read that ends inside a block is asked again from that block on: only if nothing more comes was it the
 * end of the file.
 */
const fillBlocks = (fd: number, blocks: Buffer, at: number, bytes: number, done: Done<number>): void => {
  let filled = 0
  const step = (): void => {
    const start = down(filled)
    fs.read(fd, blocks, start, up(bytes) - start, at + start, (error, moved) => {
      if (error !== null && !interrupted(error)) return done(error, filled)
      if (error === null && start + moved <= filled) return done(null, filled)
      if (error === null) filled = start + moved
      if (filled >= bytes) done(null, filled)
      else step()
    })
  }
  step()
}

const fillBlocksSync = (fd: number, blocks: Buffer, at: number, bytes: number): number => {
  let filled = 0
  while (filled < bytes) {
    const start = down(filled)
    try {
      const moved = fs.readSync(fd, blocks, start, up(bytes) - start, at + start)
      if (start + moved <= filled) break
      filled = start + moved
    } catch (error) {
      if (!interrupted(error)) throw error
    }
  }
  return filled
}

/** Writes the first `bytes` bytes, a multiple of blocks. What ends inside a block is written again from it on. */
const drainBlocks = (fd: number, blocks: Buffer, at: number, bytes: number, done: Done<void>): void => {
  let start = 0
  const step = (): void => {
    fs.write(fd, blocks, start, bytes - start, at + start, (error, moved) => {
      if (error !== null && !interrupted(error)) return done(error)
      if (error === null && moved < directBytes) return done(new SystemError("SHORT"))
      if (error === null) start += down(moved)
      if (start === bytes) done(null)
      else step()
    })
  }
  step()
}

const drainBlocksSync = (fd: number, blocks: Buffer, at: number, bytes: number): void => {
  let start = 0
  while (start < bytes) {
    try {
      const moved = fs.writeSync(fd, blocks, start, bytes - start, at + start)
      if (moved < directBytes) throw new SystemError("SHORT")
      start += down(moved)
    } catch (error) {
      if (!interrupted(error)) throw error
    }
  }
}

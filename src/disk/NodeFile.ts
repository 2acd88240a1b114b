/**
 * An open file of the operating system.
 *
 * - N1 A descriptor is used only between open and close: what is under way is counted, close waits for it,
 *   and what comes later fails with `EBADF` here, because the system may have given the number to another
 *   file.
 *
 * How its bytes are moved, through the system's cache or past it, is the matter of its {@link Transfer}.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import fs from "node:fs"
import type { StoreError } from "../StoreError.ts"
import type { Counters, FileCounters } from "./Counters.ts"
import { Meter } from "./Counters.ts"
import type { DiskFile } from "./Disk.ts"
import { diskFailed, SystemError } from "./Disk.ts"
import type { Done } from "./NodeCall.ts"
import { bare, nodeCall } from "./NodeCall.ts"
import type { Transfer } from "./NodeTransfer.ts"

/**
 * Allocation writes its zeros in pieces of this size. Linux caches a piece as one *folio*, and each later write into it
 * goes through all its blocks: 256 of them, of a piece of 1 MiB, take a tenth of what a small write costs.
 */
const zeros = new Uint8Array(1 << 18)
/** Each piece waits for the event loop when it is written: there is another on its way meanwhile. */
const zerosAtOnce = 2

export class NodeFile implements DiskFile {
  readonly path: string
  readonly counters: Readonly<FileCounters>
  private readonly fd: number
  private readonly transfer: Transfer
  private readonly meter: Meter
  private underWay = 0
  private closed = false
  /** Set while a close waits for what is under way. */
  private whenIdle: (() => void) | undefined

  constructor(path: string, transfer: Transfer, disk: Counters) {
    this.path = path
    this.fd = transfer.descriptors[0]
    this.transfer = transfer
    this.meter = new Meter(disk)
    this.counters = this.meter.file
  }

  readonly read = (buffer: Uint8Array, position: number): Effect.Effect<number, StoreError> =>
    this.run<number>("read", (done) => {
      this.meter.read()
      this.transfer.read(buffer, position, (error, count) => {
        this.meter.readBytes(count)
        done(error, count)
      })
    })

  /** The hot one: a page missing from memory. Nothing is allocated here. */
  readonly readSync = (buffer: Uint8Array, position: number): number => {
    this.meter.blockingRead()
    try {
      const count = this.usable().readSync(buffer, position)
      this.meter.readBytes(count)
      return count
    } catch (cause) {
      throw this.refused("read", cause)
    }
  }

  readonly write = (
    buffers: ReadonlyArray<Uint8Array>,
    position: number
  ): Effect.Effect<void, StoreError> =>
    this.run<void>("write", (done) => {
      this.meter.write(buffers)
      this.transfer.write(buffers, position, done)
    })

  readonly writeSync = (buffers: ReadonlyArray<Uint8Array>, position: number): void => {
    this.meter.write(buffers)
    try {
      this.usable().writeSync(buffers, position)
    } catch (cause) {
      throw this.refused("write", cause)
    }
  }

  readonly sync: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    this.run<void>("sync", (done) => {
      this.meter.sync()
      fs.fdatasync(this.fd, bare(done))
    })
  )

  readonly syncSync = (): void => {
    this.meter.sync()
    try {
      fs.fdatasyncSync(this.usable().descriptors[0])
    } catch (cause) {
      throw this.refused("sync", cause)
    }
  }

  readonly writeDurably = (
    buffers: ReadonlyArray<Uint8Array>,
    position: number
  ): Effect.Effect<void, StoreError> => {
    const { transfer } = this
    if (transfer.writeDurably === undefined) return Effect.andThen(this.write(buffers, position), this.sync)
    return this.run<void>("write", (done) => {
      this.meter.write(buffers)
      this.meter.sync()
      transfer.writeDurably?.(buffers, position, done)
    })
  }

  get durableWritesAtOnce(): number {
    return this.transfer.durableWritesAtOnce ?? 1
  }

  readonly writeDurablySync = (buffers: ReadonlyArray<Uint8Array>, position: number): void => {
    if (this.transfer.writeDurablySync === undefined) {
      this.writeSync(buffers, position)
      return this.syncSync()
    }
    this.meter.write(buffers)
    this.meter.sync()
    try {
      this.usable().writeDurablySync?.(buffers, position)
    } catch (cause) {
      throw this.refused("write", cause)
    }
  }

  readonly size: Effect.Effect<number, StoreError> = Effect.suspend(() =>
    Effect.map(this.run<fs.Stats>("size", (done) => fs.fstat(this.fd, done)), (stats) => stats.size)
  )

  readonly allocate = (bytes: number): Effect.Effect<void, StoreError> =>
    Effect.flatMap(this.size, (size) => this.writeZeros(size, bytes)).pipe(Effect.andThen(this.sync))

  readonly truncate = (bytes: number): Effect.Effect<void, StoreError> =>
    this.run<void>("truncate", (done) => fs.ftruncate(this.fd, bytes, bare(done)))

  /** An error of close says nothing that a sync did not say, so there is none. */
  readonly close: Effect.Effect<void> = Effect.uninterruptible(Effect.callback<void>((resume) => {
    if (this.closed) return resume(Exit.void)
    this.closed = true
    const { descriptors } = this.transfer
    let open = descriptors.length
    const close = () => {
      for (const fd of descriptors) fs.close(fd, () => --open === 0 && resume(Exit.void))
    }
    if (this.underWay === 0) close()
    else this.whenIdle = close
  }))

  private writeZeros(from: number, to: number): Effect.Effect<void, StoreError> {
    const pieces = Array.from({ length: Math.ceil((to - from) / zeros.length) }, (_, piece) => {
      const at = from + piece * zeros.length
      return { at, bytes: zeros.subarray(0, Math.min(to - at, zeros.length)) }
    })
    const options = { concurrency: zerosAtOnce, discard: true } as const
    return Effect.forEach(pieces, ({ at, bytes }) => this.write([bytes], at), options)
  }

  /** Runs an operation on the descriptor (N1). */
  private run<A>(operation: string, start: (done: Done<A>) => void): Effect.Effect<A, StoreError> {
    return nodeCall<A>(operation, this.path, (done) => {
      if (this.closed) {
        this.meter.failure()
        throw new SystemError("EBADF")
      }
      this.underWay++
      try {
        start((error, value) => {
          this.ended(error)
          done(error, value)
        })
      } catch (cause) {
        this.ended(cause)
        throw cause
      }
    })
  }

  private ended(error: unknown): void {
    if (error !== null) this.meter.failure()
    if (--this.underWay > 0) return
    const close = this.whenIdle
    this.whenIdle = undefined
    close?.()
  }

  private usable(): Transfer {
    if (this.closed) throw new SystemError("EBADF")
    return this.transfer
  }

  private refused(operation: string, cause: unknown): StoreError {
    this.meter.failure()
    return diskFailed(operation, this.path, cause)
  }
}

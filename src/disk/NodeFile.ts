/**
 * An open file of the operating system.
 *
 * - N1 A descriptor is used only between open and close: what is under way is counted, close waits for it,
 *   and what comes later fails with `EBADF` here, because the system may have given the number to another
 *   file.
 * - N2 Every transfer loops until all bytes are moved. The system moves fewer without an error where a disk
 *   fills up, and reports it at the next attempt only.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import fs from "node:fs"
import type { StoreError } from "../StoreError.ts"
import type { Counters, DiskFile } from "./Disk.ts"
import { codeOf, diskFailed, SystemError } from "./Disk.ts"
import type { Done } from "./NodeCall.ts"
import { bare, nodeCall } from "./NodeCall.ts"

/** Bytes that one call is asked to move: Node refuses 2 GiB, Linux stops a page short of it. */
const callBytes = 1 << 30

/** Allocation writes its zeros in pieces of this size. */
const zeros = new Uint8Array(1 << 20)

export class NodeFile implements DiskFile {
  readonly path: string
  private readonly fd: number
  private readonly counters: Counters
  private underWay = 0
  private closed = false
  /** Set while a close waits for what is under way. */
  private whenIdle: (() => void) | undefined

  constructor(path: string, fd: number, counters: Counters) {
    this.path = path
    this.fd = fd
    this.counters = counters
  }

  readonly read = (buffer: Uint8Array, position: number): Effect.Effect<number, StoreError> =>
    this.run<number>("read", (done) => {
      this.counters.reads++
      readAll(this.fd, buffer, position, (error, count) => {
        this.counters.readBytes += count
        done(error, count)
      })
    })

  /** The hot one: a page missing from memory but not from the system's cache. Nothing is allocated here. */
  readonly readSync = (buffer: Uint8Array, position: number): number => {
    this.counters.reads++
    this.counters.blockingReads++
    try {
      const count = readAllSync(this.usable(), buffer, position)
      this.counters.readBytes += count
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
      this.countWrite(buffers)
      writeAll(this.fd, buffers, position, bare(done))
    })

  readonly writeSync = (buffers: ReadonlyArray<Uint8Array>, position: number): void => {
    this.countWrite(buffers)
    try {
      writeAllSync(this.usable(), buffers, position)
    } catch (cause) {
      throw this.refused("write", cause)
    }
  }

  readonly sync: Effect.Effect<void, StoreError> = Effect.suspend(() =>
    this.run<void>("sync", (done) => {
      this.counters.syncs++
      fs.fdatasync(this.fd, bare(done))
    })
  )

  readonly syncSync = (): void => {
    this.counters.syncs++
    try {
      fs.fdatasyncSync(this.usable())
    } catch (cause) {
      throw this.refused("sync", cause)
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
    const close = () => fs.close(this.fd, () => resume(Exit.void))
    if (this.underWay === 0) close()
    else this.whenIdle = close
  }))

  private writeZeros(from: number, to: number): Effect.Effect<void, StoreError> {
    if (from >= to) return Effect.void
    const step = Math.min(to - from, zeros.length)
    return Effect.flatMap(
      this.write([zeros.subarray(0, step)], from),
      () => this.writeZeros(from + step, to)
    )
  }

  private countWrite(buffers: ReadonlyArray<Uint8Array>): void {
    this.counters.writes++
    for (let i = 0; i < buffers.length; i++) this.counters.writeBytes += buffers[i]!.length
  }

  /** Runs an operation on the descriptor (N1). */
  private run<A>(operation: string, start: (done: Done<A>) => void): Effect.Effect<A, StoreError> {
    return nodeCall<A>(operation, this.path, (done) => {
      if (this.closed) {
        this.counters.failures++
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
    if (error !== null) this.counters.failures++
    if (--this.underWay > 0) return
    const close = this.whenIdle
    this.whenIdle = undefined
    close?.()
  }

  private usable(): number {
    if (this.closed) throw new SystemError("EBADF")
    return this.fd
  }

  private refused(operation: string, cause: unknown): StoreError {
    this.counters.failures++
    return diskFailed(operation, this.path, cause)
  }
}

const interrupted = (error: unknown): boolean => codeOf(error) === "EINTR"

const readAll = (fd: number, buffer: Uint8Array, position: number, done: Done<number>): void => {
  let count = 0
  const step = (): void => {
    const asked = Math.min(buffer.length - count, callBytes)
    if (asked === 0) return done(null, count)
    fs.read(fd, buffer, count, asked, position + count, (error, moved) => {
      if (error !== null && !interrupted(error)) return done(error, count)
      if (error === null && moved === 0) return done(null, count)
      if (error === null) count += moved
      step()
    })
  }
  step()
}

const readAllSync = (fd: number, buffer: Uint8Array, position: number): number => {
  let count = 0
  while (count < buffer.length) {
    try {
      const asked = Math.min(buffer.length - count, callBytes)
      const moved = fs.readSync(fd, buffer, count, asked, position + count)
      if (moved === 0) break
      count += moved
    } catch (error) {
      if (!interrupted(error)) throw error
    }
  }
  return count
}

const writeAll = (
  fd: number,
  buffers: ReadonlyArray<Uint8Array>,
  position: number,
  done: (error: Error | null) => void
): void => {
  let rest = advance(buffers, 0)
  const moved = (error: Error | null, count: number): void => {
    if (error !== null && !interrupted(error)) return done(error)
    if (error === null && count === 0) return done(new SystemError("SHORT"))
    if (error === null) {
      position += count
      rest = advance(rest, count)
    }
    step()
  }
  const step = (): void => {
    const first = rest[0]
    if (first === undefined) done(null)
    else if (rest.length === 1) fs.write(fd, first, 0, Math.min(first.length, callBytes), position, moved)
    else fs.writev(fd, rest, position, moved)
  }
  step()
}

const writeAllSync = (fd: number, buffers: ReadonlyArray<Uint8Array>, position: number): void => {
  let rest = advance(buffers, 0)
  for (let first = rest[0]; first !== undefined; first = rest[0]) {
    try {
      const count = rest.length === 1
        ? fs.writeSync(fd, first, 0, Math.min(first.length, callBytes), position)
        : fs.writevSync(fd, rest, position)
      if (count === 0) throw new SystemError("SHORT")
      position += count
      rest = advance(rest, count)
    } catch (error) {
      if (!interrupted(error)) throw error
    }
  }
}

/** What is left of the buffers after their first `count` bytes; empty buffers are dropped. */
const advance = (buffers: ReadonlyArray<Uint8Array>, count: number): Array<Uint8Array> => {
  const rest: Array<Uint8Array> = []
  for (const buffer of buffers) {
    const taken = Math.min(count, buffer.length)
    count -= taken
    if (taken < buffer.length) rest.push(buffer.subarray(taken))
  }
  return rest
}

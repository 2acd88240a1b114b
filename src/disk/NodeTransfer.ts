/**
 * Moving bytes between buffers and a descriptor, through the system's cache.
 *
 * - N2 Every transfer loops until all bytes are moved. The system moves fewer without an error where a disk
 *   fills up, and reports it at the next attempt only.
 */
import fs from "node:fs"
import { codeOf, SystemError } from "./Disk.ts"
import type { Done } from "./NodeCall.ts"
import { bare } from "./NodeCall.ts"

/** How the bytes of one open file are moved. Calls throw or call back with an error of the system. */
export interface Transfer {
  /** Descriptors that end with the file. The first serves everything that moves no bytes. */
  readonly descriptors: readonly [number, ...ReadonlyArray<number>]
  /** Where it fails, `done` gets the bytes that were read until then. */
  readonly read: (buffer: Uint8Array, position: number, done: Done<number>) => void
  readonly readSync: (buffer: Uint8Array, position: number) => number
  readonly write: (buffers: ReadonlyArray<Uint8Array>, position: number, done: Done<void>) => void
  readonly writeSync: (buffers: ReadonlyArray<Uint8Array>, position: number) => void
  /** The same, durable when it is done; absent where that takes a sync of its own. */
  readonly writeDurably?: Transfer["write"]
  readonly writeDurablySync?: Transfer["writeSync"]
  /** How many of these may be under way at a time. */
  readonly durableWritesAtOnce?: number
}

/** Through the system's cache. */
export class CachedTransfer implements Transfer {
  readonly descriptors: Transfer["descriptors"]
  private readonly fd: number

  constructor(fd: number) {
    this.descriptors = [fd]
    this.fd = fd
  }

  read(buffer: Uint8Array, position: number, done: Done<number>): void {
    readAll(this.fd, buffer, position, done)
  }

  readSync(buffer: Uint8Array, position: number): number {
    return readAllSync(this.fd, buffer, position)
  }

  write(buffers: ReadonlyArray<Uint8Array>, position: number, done: Done<void>): void {
    writeAll(this.fd, buffers, position, bare(done))
  }

  writeSync(buffers: ReadonlyArray<Uint8Array>, position: number): void {
    writeAllSync(this.fd, buffers, position)
  }
}

/** Bytes that one call is asked to move: Node refuses 2 GiB, Linux stops a page short of it. */
const callBytes = 1 << 30

/** Whether a call was cut short by a signal before it moved anything. */
export const interrupted = (error: unknown): boolean => codeOf(error) === "EINTR"

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
const advance = (buffers: ReadonlyArray<Uint8Array>, count: number): ReadonlyArray<Uint8Array> => {
  if (count === 0 && buffers.length === 1 && (buffers[0] as Uint8Array).length > 0) return buffers
  const rest: Array<Uint8Array> = []
  for (const buffer of buffers) {
    const taken = Math.min(count, buffer.length)
    count -= taken
    if (taken < buffer.length) rest.push(taken === 0 ? buffer : buffer.subarray(taken))
  }
  return rest
}

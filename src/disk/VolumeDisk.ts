/**
 * The door of `Disk` before a `Volume`: makes Effects of its methods and counts them.
 *
 * Every call passes through a {@link Runner}, once. `MemoryDisk` runs it on the spot; `FaultDisk` may do
 * something else instead, and finds in the {@link Call} what it needs for that.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Locked, StoreError, storeError } from "../StoreError.ts"
import type { Counters, FileCounters } from "./Counters.ts"
import { makeCounters, Meter } from "./Counters.ts"
import type { Disk, DiskFile, OpenMode } from "./Disk.ts"
import { countFailures, diskFailed, SystemError } from "./Disk.ts"
import type { Operation } from "./Faults.ts"
import type { Handle, Volume } from "./Volume.ts"

/** One operation about to be run. */
export interface Call<A> {
  readonly operation: Operation
  readonly path: string
  /** The volume that it was meant for. */
  readonly volume: Volume
  readonly act: () => A
  /** Of operations on an open file. */
  readonly handle?: Handle
  /** What a transfer fills or writes. */
  readonly buffers?: ReadonlyArray<Uint8Array>
  /** Where a transfer begins; the size that an allocation or truncation asks for. */
  readonly position?: number
}

/** Runs calls; throws or fails as `attempt` does. */
export interface Runner {
  readonly effect: <A>(call: Call<A>) => Effect.Effect<A, StoreError>
  readonly sync: <A>(call: Call<A>) => A
}

/** Runs a call at once and throws `StoreError` where the volume refuses. What else is thrown is a defect. */
export const attempt = <A>(call: Call<A>): A => {
  try {
    return call.act()
  } catch (cause) {
    throw cause instanceof SystemError ? diskFailed(call.operation, call.path, cause) : cause
  }
}

/** The same as an Effect. */
export const attemptEffect = <A>(call: Call<A>): Effect.Effect<A, StoreError> => {
  try {
    return Exit.succeed(attempt(call))
  } catch (cause) {
    return cause instanceof StoreError ? Exit.fail(cause) : Exit.die(cause)
  }
}

/** A disk whose present volume is `current()`; files stay with the volume in which they were opened. */
export const fromVolume = (current: () => Volume, runner: Runner): Disk["Service"] => {
  const counters = makeCounters()
  const run = <A>(call: () => Call<A>): Effect.Effect<A, StoreError> =>
    Effect.suspend(() => countFailures(counters, runner.effect(call())))
  const onPath = <A>(operation: Operation, path: string, act: (volume: Volume) => A) =>
    run(() => {
      const volume = current()
      return { operation, path, volume, act: () => act(volume) }
    })
  return {
    counters,
    open: (path, { mode }) =>
      run(() => {
        counters.opens++
        return openCall(current(), path, mode)
      }).pipe(Effect.map(([volume, handle]) => new VolumeFile(volume, handle, runner, counters))),
    kind: (path) => onPath("kind", path, (volume) => volume.kind(path)),
    list: (path) => onPath("list", path, (volume) => volume.list(path)),
    makeDirectory: (path) => onPath("makeDirectory", path, (volume) => volume.makeDirectory(path)),
    rename: (from, to) => onPath("rename", from, (volume) => volume.rename(from, to)),
    unlink: (path) => onPath("unlink", path, (volume) => volume.unlink(path)),
    syncDirectory: (path) =>
      onPath("syncDirectory", path, (volume) => {
        counters.directorySyncs++
        volume.syncDirectory(path)
      }),
    lock: (path, mode = "alone") =>
      Effect.acquireRelease(
        onPath("lock", path, (volume) => volume.lock(path, mode)).pipe(
          Effect.flatMap((release) =>
            release === undefined
              ? Effect.fail(storeError(new Locked({ path, pid: process.pid })))
              : Effect.succeed(release)
          )
        ),
        (release) => Effect.sync(release)
      ).pipe(Effect.asVoid),
    freeBytes: (path) =>
      onPath("freeBytes", path, (volume) => {
        volume.list(path)
        return volume.freeBytes()
      })
  }
}

const openCall = (volume: Volume, path: string, mode: OpenMode): Call<readonly [Volume, Handle]> => ({
  operation: "open",
  path,
  volume,
  act: () => [volume, volume.open(path, mode)]
})

class VolumeFile implements DiskFile {
  readonly path: string
  readonly counters: Readonly<FileCounters>
  private readonly volume: Volume
  private readonly handle: Handle
  private readonly runner: Runner
  private readonly disk: Counters
  private readonly meter: Meter

  constructor(volume: Volume, handle: Handle, runner: Runner, disk: Counters) {
    this.path = handle.path
    this.disk = disk
    this.meter = new Meter(disk)
    this.counters = this.meter.file
    this.volume = volume
    this.handle = handle
    this.runner = runner
  }

  readonly read = (buffer: Uint8Array, position: number) =>
    this.run(() => {
      this.meter.read()
      return this.readCall(buffer, position)
    })
  readonly readSync = (buffer: Uint8Array, position: number) => {
    this.meter.blockingRead()
    return this.runSync(this.readCall(buffer, position))
  }
  readonly write = (buffers: ReadonlyArray<Uint8Array>, position: number) =>
    this.run(() => this.writeCall(buffers, position))
  readonly writeSync = (buffers: ReadonlyArray<Uint8Array>, position: number) =>
    this.runSync(this.writeCall(buffers, position))
  readonly sync = Effect.suspend(() => this.run(() => this.syncCall()))
  readonly syncSync = () => this.runSync(this.syncCall())
  // Two operations, as a system may fail or lose its power between the two even where a program asks for both at once.
  readonly writeDurably = (buffers: ReadonlyArray<Uint8Array>, position: number) =>
    Effect.andThen(this.write(buffers, position), this.run(() => this.syncRangeCall(buffers, position)))
  readonly durableWritesAtOnce = Infinity
  readonly writeDurablySync = (buffers: ReadonlyArray<Uint8Array>, position: number) => {
    this.writeSync(buffers, position)
    this.runSync(this.syncRangeCall(buffers, position))
  }
  readonly size = Effect.suspend(() =>
    this.run(() => this.call("size", () => this.volume.size(this.handle), {}))
  )
  readonly allocate = (bytes: number) =>
    this.run(() => this.call("allocate", () => this.volume.allocate(this.handle, bytes), { position: bytes }))
      .pipe(Effect.andThen(this.sync))
  readonly truncate = (bytes: number) =>
    this.run(() => this.call("truncate", () => this.volume.truncate(this.handle, bytes), { position: bytes }))
  readonly close = Effect.sync(() => this.volume.close(this.handle))

  private readCall(buffer: Uint8Array, position: number): Call<number> {
    return this.call("read", () => {
      const count = this.volume.read(this.handle, buffer, position)
      this.meter.readBytes(count)
      return count
    }, { buffers: [buffer], position })
  }

  private writeCall(buffers: ReadonlyArray<Uint8Array>, position: number): Call<void> {
    this.meter.write(buffers)
    return this.call("write", () => this.volume.write(this.handle, buffers, position), { buffers, position })
  }

  private syncCall(): Call<void> {
    this.meter.sync()
    return this.call("sync", () => this.volume.sync(this.handle), {})
  }

  private syncRangeCall(buffers: ReadonlyArray<Uint8Array>, position: number): Call<void> {
    this.meter.sync()
    const end = buffers.reduce((end, { length }) => end + length, position)
    return this.call("sync", () => this.volume.syncRange(this.handle, position, end), {})
  }

  private call<A>(
    operation: Operation,
    act: () => A,
    transfer: Pick<Call<A>, "buffers" | "position">
  ): Call<A> {
    return { operation, path: this.path, volume: this.volume, handle: this.handle, act, ...transfer }
  }

  private run<A>(call: () => Call<A>): Effect.Effect<A, StoreError> {
    return Effect.suspend(() => countFailures(this.disk, this.runner.effect(call())))
  }

  private runSync<A>(call: Call<A>): A {
    try {
      return this.runner.sync(call)
    } catch (error) {
      this.meter.failure()
      throw error
    }
  }
}

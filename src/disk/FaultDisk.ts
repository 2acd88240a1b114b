/**
 * A disk that fails as disks do, from a seed: for crash tests of the engine and, through `heartwood/testing`,
 * of the programs on it.
 *
 * What it may do to a program is the fault model of the store:
 *
 * - **Power cut** ({@link Crash}). What was synced stays. Of everything else any part may be found: each
 *   write whole, not at all, or torn, each of its 512-byte sectors old or new by itself, in any order among
 *   writes; the end of a file on any byte; where a file grew, zeros or garbage in place of content that never
 *   arrived; truncations kept or lost; of the names created, renamed or unlinked since their directory's last
 *   sync, any subset (a rename inside a directory is one change, between two directories it is two). A file's
 *   sync does not keep its name. A sector that was durable is old or new, never a third thing, and a rename
 *   within a directory is never half done: these two are what the store asks of a disk.
 * - **Process death** (`kill`). What was handed over is seen by whoever opens next, and is still not durable.
 * - **Refusals** ({@link Fault}): any operation, at its Nth occurrence or for ever, any code, with nothing
 *   done, something done (short writes) or everything done.
 * - **Failed sync**: its pages are dropped (readers still see them, the medium never gets them, the next sync
 *   "succeeds") or kept for a later one.
 * - **Silent faults**: lost and misdirected writes, misdirected reads, flipped bits on the way in or at rest,
 *   foreign bytes, cut and swapped files. Nothing reports them; the store has to notice.
 * - **Time**: operations that answer late or never.
 *
 * Out of scope: a power cut that damages what was synced, and memory that changes bytes before they get here.
 *
 * Equal seeds and equal operations give equal bytes. Operations that change the disk are Effects; those that
 * only look are plain calls, so that an observer can take images in the middle of an operation.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Disk } from "./Disk.ts"
import type { Crash } from "./Fates.ts"
import { variants } from "./Fates.ts"
import { FaultMachine, flip } from "./FaultMachine.ts"
import type { Observed } from "./FaultMachine.ts"
import type { Fault } from "./Faults.ts"
import type { Image } from "./Image.ts"
import { DirectoryNode } from "./Volume.ts"

export type { Crash, Fault, Image, Observed }

/** What is not durable yet. */
export interface Held {
  /** Changes of names. */
  readonly names: number
  /** Changes of bytes or ends of files. */
  readonly changes: number
}

export class FaultDisk extends Context.Service<FaultDisk, {
  /**
   * Cuts the power and turns it on again: files opened before are dead (`DiskFailed` `EIO`), locks are free.
   * For programs that have let go of the disk, or will not touch it again; else `cut`, let them end,
   * `restart`.
   */
  readonly crash: (crash: Crash) => Effect.Effect<void>
  /**
   * Cuts the power: every operation fails with `EIO` until `restart`, when the disk is found as `crash` says.
   */
  readonly cut: (crash: Crash) => Effect.Effect<void>
  readonly restart: Effect.Effect<void>
  /**
   * Ends the program as SIGKILL does: its files are dead, its locks free, what it handed over is still
   * volatile.
   */
  readonly kill: Effect.Effect<void>
  /** Lets a fault wait for its operation. */
  readonly fail: (fault: Fault) => Effect.Effect<void>
  /** Takes all faults back. What they did stays. */
  readonly heal: Effect.Effect<void>
  /** Forgets what the system had cached, so that readers see what is on the medium. */
  readonly dropCaches: Effect.Effect<void>
  /** Rot at rest: flips a bit of a file, numbered from its first byte's lowest. */
  readonly flip: (path: string, bit: number) => Effect.Effect<void>
  /** Puts foreign bytes into a file at rest. */
  readonly overwrite: (path: string, position: number, bytes: Uint8Array) => Effect.Effect<void>
  /** Cuts or extends a file at rest. */
  readonly resize: (path: string, bytes: number) => Effect.Effect<void>
  /**
   * Limits the disk: growing files beyond this sum of sizes fails with `ENOSPC`, after a part was written.
   */
  readonly limit: (bytes: number) => Effect.Effect<void>
  /** Calls `observer` before each operation while the scope is open. It may look at the disk, not use it. */
  readonly observe: (observer: (observed: Observed) => void) => Effect.Effect<void, never, Scope.Scope>
  /** Operations begun so far. */
  readonly operations: () => number
  /** What a power cut now could take away. */
  readonly held: () => Held
  /** How many numbered crashes (`{ variant }`) there are now; 0 and 1 keep nothing and everything. */
  readonly variants: () => number
  /** The disk as it would be found after a power cut now; the running one is not disturbed. */
  readonly crashImage: (crash: Crash) => Image
  /** The disk as whoever opens it after the death of the program sees it. */
  readonly killImage: () => Image
}>()("heartwood/disk/FaultDisk") {}

export interface Options {
  /** Draws faults with a `rate`. Default 1. */
  readonly seed?: number
  /** What is on the disk, durably. Default: nothing. */
  readonly image?: Image
  /** See `limit`. Default: no limit. */
  readonly capacityBytes?: number
}

/** A disk, and the handles to break it; a new one each time the layer is built. */
export const layer = (options: Options = {}): Layer.Layer<Disk | FaultDisk> =>
  Layer.effectContext(Effect.sync(() => {
    const machine = new FaultMachine({
      seed: options.seed ?? 1,
      root: options.image?.tree() ?? new DirectoryNode(),
      capacityBytes: options.capacityBytes ?? Infinity
    })
    return Context.make(Disk, machine.disk).pipe(Context.add(FaultDisk, handles(machine)))
  }))

const handles = (machine: FaultMachine): FaultDisk["Service"] => ({
  crash: (crash) =>
    Effect.sync(() => {
      machine.cut(crash)
      machine.restart()
    }),
  cut: (crash) => Effect.sync(() => machine.cut(crash)),
  restart: Effect.sync(() => machine.restart()),
  kill: Effect.sync(() => machine.kill()),
  fail: (fault) => Effect.sync(() => machine.faults.add(fault)),
  heal: Effect.sync(() => machine.faults.clear()),
  dropCaches: Effect.sync(() => machine.dropCaches()),
  flip: (path, bit) =>
    Effect.sync(() =>
      machine.tamper(path, (content) => {
        const byte = new Uint8Array(1)
        if (content.read(byte, Math.floor(bit / 8)) === 0) throw new RangeError(`${path} has no bit ${bit}`)
        flip(byte, bit & 7)
        content.write(byte, Math.floor(bit / 8))
      })
    ),
  overwrite: (path, position, bytes) =>
    Effect.sync(() => machine.tamper(path, (content) => content.write(bytes, position))),
  resize: (path, bytes) => Effect.sync(() => machine.tamper(path, (content) => content.resize(bytes))),
  limit: (bytes) =>
    Effect.sync(() => {
      machine.volume.capacityBytes = bytes
    }),
  observe: (observer) =>
    Effect.acquireRelease(
      Effect.sync(() => machine.observers.add(observer)),
      () => Effect.sync(() => machine.observers.delete(observer))
    ).pipe(Effect.asVoid),
  operations: () => machine.operations,
  held: () => ({ names: machine.medium.names.length, changes: machine.medium.changes.length }),
  variants: () => variants(machine.medium),
  crashImage: (crash) => machine.crashImage(crash),
  killImage: () => machine.killImage()
})

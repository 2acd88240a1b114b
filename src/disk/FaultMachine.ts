/**
 * The machine behind `FaultDisk`: a volume, the medium under it, the power switch, and the faults that wait.
 *
 * - F1 Of a boot that ended nothing is left: its files and locks are dead, whatever the program does with
 *   them.
 * - F2 Every operation is counted and observed once, before anything of it happened.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { StoreError } from "../StoreError.ts"
import type { Content } from "./Content.ts"
import type { Disk } from "./Disk.ts"
import { diskFailed, SystemError } from "./Disk.ts"
import type { Crash } from "./Fates.ts"
import { chance, fatesOf } from "./Fates.ts"
import type { Operation, Outcome } from "./Faults.ts"
import { Faults } from "./Faults.ts"
import { fileAt, Image } from "./Image.ts"
import { copyTree, Medium } from "./Medium.ts"
import type { DirectoryNode } from "./Volume.ts"
import { Volume } from "./Volume.ts"
import type { Call } from "./VolumeDisk.ts"
import { attempt, attemptEffect, fromVolume } from "./VolumeDisk.ts"

/** An operation that is about to happen. */
export interface Observed {
  /** Counted from 1. */
  readonly number: number
  readonly operation: Operation
  readonly path: string
}

export class FaultMachine {
  operations = 0
  volume: Volume
  medium: Medium
  readonly faults: Faults
  readonly disk: Disk["Service"]
  readonly observers = new Set<(observed: Observed) => void>()
  private powered = true

  constructor(
    options: { readonly seed: number; readonly root: DirectoryNode; readonly capacityBytes: number }
  ) {
    this.medium = new Medium(options.root)
    this.volume = new Volume(options.root, this.medium)
    this.volume.capacityBytes = options.capacityBytes
    this.faults = new Faults(chance(options.seed))
    this.disk = fromVolume(() => this.volume, {
      effect: (call) => this.run(call),
      sync: (call) => this.runSync(call)
    })
  }

  /** Cuts the power: everything fails until `restart`, and then the disk is found as `crash` says. */
  cut(crash: Crash): void {
    const root = this.medium.image(fatesOf(this.medium, crash))
    this.medium = new Medium(root)
    this.boot(root)
    this.powered = false
  }

  restart(): void {
    this.powered = true
  }

  /**
   * Ends the program: its files and locks are gone, what it handed over is there and as volatile as before.
   */
  kill(): void {
    this.boot(this.volume.root)
  }

  crashImage(crash: Crash): Image {
    const fates = fatesOf(this.medium, crash)
    return new Image(this.medium.image(fates), fates.story)
  }

  killImage(): Image {
    const root = copyTree(this.volume.root, {
      names: (directory) => directory.entries,
      content: (file) => file.content.fork()
    })
    return new Image(root, "everything visible")
  }

  /** Readers see the medium again, under what is still to be written to it. */
  dropCaches(): void {
    for (const [, file] of this.volume.files()) file.content = this.medium.uncached(file)
  }

  /**
   * Changes the medium under a file. Before that, the file is written back, as the system may do at any time.
   */
  tamper(path: string, change: (content: Content) => void): void {
    const file = fileAt(this.volume, path)
    if (file === undefined) throw new Error(`there is no file ${path} on this disk`)
    this.medium.synced(file)
    change(this.medium.durable(file))
    file.content = this.medium.uncached(file)
  }

  private boot(root: DirectoryNode): void {
    const { capacityBytes } = this.volume
    this.volume = new Volume(root, this.medium)
    this.volume.capacityBytes = capacityBytes
  }

  private run<A>(call: Call<A>): Effect.Effect<A, StoreError> {
    if (this.dead(call)) return Exit.fail(noPower(call))
    const outcome = this.begin(call)
    if (outcome?._tag === "Hung") return Effect.never
    if (outcome?._tag === "Delayed") {
      const late = Effect.suspend(() => this.dead(call) ? Exit.fail(noPower(call)) : attemptEffect(call))
      return Effect.delay(late, outcome.millis)
    }
    return attemptEffect({ ...call, act: () => this.carryOut(call, outcome) })
  }

  private runSync<A>(call: Call<A>): A {
    if (this.dead(call)) throw noPower(call)
    const outcome = this.begin(call)
    return attempt({ ...call, act: () => this.carryOut(call, outcome) })
  }

  private dead<A>(call: Call<A>): boolean {
    return !this.powered || call.volume !== this.volume
  }

  private begin<A>(call: Call<A>): Outcome | undefined {
    const { operation, path } = call
    const observed = { number: ++this.operations, operation, path }
    for (const observer of this.observers) observer(observed)
    return this.faults.strike(operation, path)
  }

  private carryOut<A>(call: Call<A>, outcome: Outcome | undefined): A {
    switch (outcome?._tag) {
      case undefined:
      case "Delayed":
        return call.act()
      case "Refused":
        if (outcome.done === "everything") call.act()
        throw new SystemError(outcome.code)
      case "Short":
        begun(call, outcome.bytes)
        throw new SystemError(outcome.code)
      case "SyncFailed":
        if (outcome.pages === "dropped" && call.handle !== undefined) this.medium.forget(call.handle.file)
        throw new SystemError(outcome.code ?? "EIO")
      case "Lost":
        return this.medium.ignore(call.act)
      case "Misdirected":
        return this.misdirect(call, outcome.path ?? call.path, outcome.position)
      case "Flipped": {
        const answer = call.act()
        const buffer = call.buffers?.[0]
        if (call.operation === "read" && buffer !== undefined) flip(buffer, outcome.bit)
        return answer
      }
      case "Hung":
        throw new SystemError("ETIMEDOUT")
      case "Cut":
        if (call.operation !== "sync" && call.operation !== "syncDirectory") call.act()
        this.cut(outcome.crash)
        throw new SystemError("EIO")
    }
  }

  /**
   * The program's own view stays right until `dropCaches` or a crash: the system's cache does not know
   * either.
   */
  private misdirect<A>(call: Call<A>, path: string, position: number): A {
    const buffers = call.buffers ?? []
    const other = fileAt(this.volume, path)
    if (call.operation === "write") {
      const answer = this.medium.ignore(call.act)
      for (const buffer of buffers) {
        if (other !== undefined) this.medium.durable(other).write(buffer, position)
        position += buffer.length
      }
      return answer
    }
    const answer = call.act()
    if (call.operation === "read") { for (const buffer of buffers) other?.content.read(buffer, position) }
    return answer
  }
}

const noPower = <A>(call: Call<A>): StoreError =>
  diskFailed(call.operation, call.path, new SystemError("EIO"))

/** Does the first `bytes` bytes of a write or an allocation. */
const begun = <A>(call: Call<A>, bytes: number): void => {
  const { buffers = [], handle, operation, position = 0, volume } = call
  if (handle === undefined) return
  if (operation === "allocate") {
    volume.allocate(handle, Math.min(position, handle.file.content.size + bytes))
  }
  if (operation !== "write") return
  let rest = bytes
  const some = buffers.map((buffer) => {
    const part = buffer.subarray(0, rest)
    rest -= part.length
    return part
  })
  volume.write(handle, some, position)
}

/** Flips one bit of a buffer; the number wraps around its length. */
export const flip = (bytes: Uint8Array, bit: number): void => {
  const index = (bit >>> 3) % bytes.length
  if (bytes.length > 0) bytes[index] = bytes[index]! ^ (1 << (bit & 7))
}

/**
 * The file of the reserve: space that is set aside by being taken.
 *
 * ```
 *               fill: there is room                      giveUp: its space is free
 *   Unknown ─────────────────────────▶ Whole ───────────────────────────────────────────────▶ Gone
 *     │ ▲                              │ ▲ │                                                  ▲ │
 *     │ └── anything else went wrong ──┘ │ └── become: it is a segment of the log's now ──────┘ │
 *     │                                  └────────────────────── fill: there is room ───────────┘
 *     └── fill: there is none ──▶ Gone
 * ```
 *
 * I1 It is whole, or takes no space: half of it would help nobody. But for trouble with the disk, after which nobody
 *    knows, and it is looked at again.
 * I2 One at a time changes it.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Semaphore from "effect/Semaphore"
import type { Disk } from "../../disk/Disk.ts"
import type { StoreError } from "../../StoreError.ts"
import { isNoSpace } from "./Shortage.ts"

/** Its name in the store's directory. */
export const reserveName = "reserve"

export class ReserveFile {
  /** How large it is when it is whole. */
  readonly bytes: number
  readonly counters = { releases: 0 }
  private state: "unknown" | "whole" | "gone" = "unknown"
  private readonly lock = Semaphore.makeUnsafe(1)
  private readonly disk: Disk["Service"]
  private readonly directory: string
  private readonly path: string

  constructor(disk: Disk["Service"], directory: string, bytes: number) {
    this.bytes = bytes
    this.disk = disk
    this.directory = directory
    this.path = `${directory}/${reserveName}`
  }

  get isWhole(): boolean {
    return this.state === "whole"
  }

  get isKnown(): boolean {
    return this.state !== "unknown"
  }

  /** Makes it whole where that takes no more than `room`; what a crash left of it is filled up. */
  fill(room: number): Effect.Effect<void> {
    return this.lock.withPermit(this.filling(room))
  }

  /** Looks whether it is there, where nobody has; while a store is opened nobody has. */
  readonly know: Effect.Effect<void> = Effect.suspend(() =>
    this.isKnown
      ? Effect.void
      : this.lock.withPermit(Effect.suspend(() => this.isKnown ? Effect.void : this.filling(0)))
  )

  private filling(room: number): Effect.Effect<void> {
    const { bytes, directory, disk, path } = this
    const filled = Effect.gen(function*() {
      const mode = (yield* disk.kind(path)) === "missing" ? "create" : "readWrite"
      return yield* Effect.acquireUseRelease(
        disk.open(path, { mode }),
        (file) =>
          Effect.gen(function*() {
            const missing = bytes - (yield* file.size)
            if (missing > Math.max(0, room)) return false
            yield* missing > 0 ? file.allocate(bytes) : file.truncate(bytes)
            return true
          }),
        (file) => file.close
      )
    }).pipe(Effect.catch((error) => isNoSpace(error) ? Effect.succeed(false) : Effect.fail(error)))
    return Effect.gen({ self: this }, function*() {
      const isWhole = bytes === 0 || (yield* filled)
      if (!isWhole || bytes === 0) yield* Effect.ignore(disk.unlink(path))
      yield* disk.syncDirectory(directory)
      this.state = isWhole ? "whole" : "gone"
      // What has nothing to do with room says nothing about it: it is tried again.
    }).pipe(Effect.catch(() => Effect.sync(() => this.doubt())))
  }

  /** Gives its space back; answers whether there was any. */
  readonly giveUp: Effect.Effect<boolean> = Effect.suspend(() => this.leave(this.disk.unlink(this.path)))

  /** Becomes the file at `path`, so that nobody takes its space in between; answers whether it did. */
  become(path: string): Effect.Effect<boolean> {
    return Effect.suspend(() => this.leave(this.disk.rename(this.path, path)))
  }

  private leave(gone: Effect.Effect<void, StoreError>): Effect.Effect<boolean> {
    const left = Effect.suspend(() => {
      if (!this.isWhole || this.bytes === 0) return Effect.succeed(false)
      this.state = "gone"
      this.counters.releases++
      return Effect.map(Effect.exit(gone), (exit) => {
        if (Exit.isFailure(exit)) this.doubt()
        return Exit.isSuccess(exit)
      })
    })
    return this.lock.withPermit(left)
  }

  private doubt(): void {
    this.state = "unknown"
  }
}

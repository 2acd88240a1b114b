/**
 * Copying a store while it is in use.
 *
 * The newest checkpoint and the log above it are the store, whatever else is in its files at that moment: it is what a
 * power cut leaves. So files are copied one after another while readers and writers go on, as long as no checkpoint
 * takes the place of that one, and the copy is opened as a store is after a power cut.
 *
 * ```
 *   asked ── no checkpoint is in flight ──▶ held ──▶ pages ──▶ log, up to what is synced by then ──▶ super ──▶ a store
 *              │                              │
 *              └── failure, interruption ─────┴──▶ what was made of the copy is removed
 * ```
 *
 * I1 Until `super` has its name the copy is no store, and whoever opens it is told so; from then on it is whole.
 * I2 While files are copied no checkpoint begins: nothing that their superblocks refer to is written over or given up.
 *
 * A copy through the doors of keyspaces, as salvage makes one, was rejected: versions, LSNs and the serials of sessions
 * would be new ones, and a client that comes back would send again what the copy has.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { markName } from "./actors/files/Damage.ts"
import { createSuper, keepAlone, pagesName } from "./actors/files/Directory.ts"
import { making } from "./Destination.ts"
import type { Disk, DiskFile } from "./disk/Disk.ts"
import { fileBytes, fileOffset, segmentName } from "./log/Segment.ts"
import { SUPERBLOCK_BYTES, SUPERBLOCK_FILE } from "./log/Superblock.ts"
import type { Machine } from "./Machine.ts"
import { ReadOnly, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"

/** How far a copy has come, in bytes; what is written to the log meanwhile comes on top. */
export interface Progress {
  readonly done: number
  readonly total: number
}

export interface Options {
  /** Told about once for each megabyte. */
  readonly progress?: ((progress: Progress) => Effect.Effect<void>) | undefined
}

export interface Report {
  readonly to: string
  /** The copy holds every commit below this LSN, and none above. */
  readonly lsn: number
  readonly bytes: number
  readonly millis: number
}

/** What is copied at a time. */
const chunkBytes = 1024 * 1024

/** Copies a store, which `disk` has in `from`, into the directory `to` of the same disk. */
export const backup = (
  machine: Machine,
  disk: Disk["Service"],
  { from, progress = () => Effect.void, to }: Options & { readonly from: string; readonly to: string }
): Effect.Effect<Report, StoreError> =>
  Effect.gen(function*() {
    if (machine.mode === "readOnly") {
      return yield* Effect.fail(storeError(new ReadOnly({ operation: "take a backup" })))
    }
    const started = machine.now()
    const copy = new Copy(machine, disk, { from, to, progress })
    const kept = Effect.gen(function*() {
      yield* disk.makeDirectory(to)
      yield* keepAlone(disk, to)
      return yield* machine.parts.checkpoint.hold(copy.run)
    })
    const copied = yield* making(disk, to, Effect.scoped(kept))
    yield* Effect.annotateCurrentSpan({
      [Telemetry.Attribute.checkpointLsn]: copied.lsn,
      [Telemetry.Attribute.checkpointBytes]: copied.bytes
    })
    return { to, ...copied, millis: machine.now() - started }
  }).pipe(
    Effect.withSpan(Telemetry.Span.backup, { attributes: { [Telemetry.Attribute.system]: "heartwood" } })
  )

class Copy {
  private readonly machine: Machine
  private readonly disk: Disk["Service"]
  private readonly options: {
    readonly from: string
    readonly to: string
    readonly progress: (progress: Progress) => Effect.Effect<void>
  }
  private readonly buffer = new Uint8Array(chunkBytes)
  private done = 0
  private total = 0

  constructor(machine: Machine, disk: Disk["Service"], options: Copy["options"]) {
    this.machine = machine
    this.disk = disk
    this.options = options
  }

  readonly run: Effect.Effect<{ readonly lsn: number; readonly bytes: number }, StoreError> = Effect.suspend(
    () => {
      const { disk, machine, options: { from, to } } = this
      const { file, segments, tail, wal } = machine.parts
      return Effect.gen({ self: this }, function*() {
        const superblocks = new Uint8Array(2 * SUPERBLOCK_BYTES)
        const source = yield* this.source(SUPERBLOCK_FILE)
        yield* source.read(superblocks, 0)
        const pagesBytes = yield* file.size
        this.total = pagesBytes + segments.fileBytes
        yield* this.file(pagesName, pagesBytes)
        // What was committed while pages were copied is in it too.
        yield* wal.awaitCut(machine.visible())
        const lsn = tail.durableLsn
        // A seal says that the next segment is there: its file is, even where nothing in it is durable.
        for (const segment of segments.list.filter(({ base }) => base <= lsn)) {
          const until = Math.min(fileBytes(segment), fileOffset(segment, lsn))
          yield* this.file(segmentName(segment.sequence), until, fileBytes(segment))
        }
        const mark = yield* disk.kind(`${from}/${markName}`)
        if (mark === "file") yield* this.file(markName, 0)
        yield* createSuper(disk, to, superblocks)
        return { lsn, bytes: this.done + superblocks.length }
      }).pipe(Effect.scoped)
    }
  )

  private source(name: string): Effect.Effect<DiskFile, StoreError, Scope.Scope> {
    const path = `${this.options.from}/${name}`
    return Effect.acquireRelease(this.disk.open(path, { mode: "readOnly" }), (file) => file.close)
  }

  /** Copies the first bytes of a file, and makes the copy durable; it is as long as `length` says, by zeros. */
  private file(name: string, bytes: number, length = bytes): Effect.Effect<void, StoreError> {
    const { buffer, disk, machine, options: { progress, to } } = this
    return Effect.scoped(Effect.gen({ self: this }, function*() {
      const source = yield* this.source(name)
      const target = yield* Effect.acquireRelease(
        disk.open(`${to}/${name}`, { mode: "create" }),
        (file) => file.close
      )
      if (length > bytes) yield* target.allocate(length)
      for (let at = 0; at < bytes;) {
        const closed = machine.unavailable()
        if (closed !== undefined) return yield* Effect.fail(closed)
        const read = yield* source.read(buffer.subarray(0, Math.min(chunkBytes, bytes - at)), at)
        // The file of a segment ends where the disk was full when it was made.
        if (read === 0) break
        yield* target.write([buffer.subarray(0, read)], at)
        at += read
        this.done += read
        yield* progress({ done: this.done, total: Math.max(this.total, this.done) })
      }
      yield* target.sync
    }))
  }
}

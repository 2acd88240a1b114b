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
 * Who is told how far it has come is told beside it: checkpoints wait for the copy, and commits for those, so that the
 * copy waits for nothing but the disk.
 *
 * I1 Until `super` has its name the copy is no store, and whoever opens it is told so; from then on it is whole.
 * I2 While files are copied no checkpoint begins: nothing that their superblocks refer to is written over or given up.
 *
 * A copy through the doors of keyspaces, as salvage makes one, was rejected: versions, LSNs and the serials of sessions
 * would be new ones, and a client that comes back would send again what the copy has.
 */
import type * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { isAbsolute, relative, resolve, sep } from "node:path"
import { markName } from "./actors/files/Damage.ts"
import { createSuper, keepAlone, pagesName } from "./actors/files/Directory.ts"
import { empty, expectEmpty } from "./Destination.ts"
import type { Disk, DiskFile } from "./disk/Disk.ts"
import { fileBytes, fileOffset, segmentName } from "./log/Segment.ts"
import { SUPERBLOCK_BYTES, SUPERBLOCK_FILE } from "./log/Superblock.ts"
import type { Machine } from "./Machine.ts"
import { InvalidOptions, ReadOnly, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import * as Telemetry from "./Telemetry.ts"

/** How far a copy has come, in bytes; what is written to the log meanwhile comes on top. The last one says all. */
export interface Progress {
  readonly done: number
  readonly total: number
}

export interface Options {
  /** Told of each megabyte, of the newest only where they come faster; the backup ends when the last has been heard. */
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
    yield* expectOutside(from, to)
    yield* expectEmpty(disk, to)
    const started = machine.now()
    const teller = yield* telling(progress)
    const copy = new Copy(machine, disk, { from, to, tell: teller.tell })
    const copied = yield* Effect.scoped(Effect.gen(function*() {
      yield* disk.makeDirectory(to)
      yield* keepAlone(disk, to)
      // Whoever had the lock before has made nothing, or a store.
      yield* expectEmpty(disk, to)
      return yield* Effect.onError(machine.parts.checkpoint.hold(copy.run), () => empty(disk, to))
    }))
    yield* teller.heard
    yield* Effect.annotateCurrentSpan({
      [Telemetry.Attribute.checkpointLsn]: copied.lsn,
      [Telemetry.Attribute.checkpointBytes]: copied.bytes
    })
    return { to, ...copied, millis: machine.now() - started }
  }).pipe(
    Effect.scoped,
    Effect.withSpan(Telemetry.Span.backup, { attributes: { [Telemetry.Attribute.system]: "heartwood" } })
  )

/** In the store's own directory some names mean something, and all of them are in the way. */
const expectOutside = (from: string, to: string): Effect.Effect<void, StoreError> => {
  const way = relative(resolve(from), resolve(to))
  if (way === ".." || way.startsWith(`..${sep}`) || isAbsolute(way)) return Effect.void
  const problems = [`${to} is in the directory of the store: name one that is outside of ${from}`]
  return Effect.fail(storeError(new InvalidOptions({ problems })))
}

/** Tells of the newest, one after another, in a fiber of its own. */
const telling = (progress: (progress: Progress) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    const news = yield* Queue.sliding<Progress, Cause.Done>(1)
    const told = yield* Effect.forkScoped(Stream.runForEach(Stream.fromQueue(news), progress))
    return {
      tell: (progress: Progress): void => void Queue.offerUnsafe(news, progress),
      heard: Effect.suspend(() => {
        Queue.endUnsafe(news)
        return Fiber.join(told)
      })
    }
  })

class Copy {
  private readonly machine: Machine
  private readonly disk: Disk["Service"]
  private readonly options: {
    readonly from: string
    readonly to: string
    readonly tell: (progress: Progress) => void
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
        this.done += superblocks.length
        this.options.tell({ done: this.done, total: this.done })
        return { lsn, bytes: this.done }
      }).pipe(Effect.scoped)
    }
  )

  private source(name: string): Effect.Effect<DiskFile, StoreError, Scope.Scope> {
    const path = `${this.options.from}/${name}`
    return Effect.acquireRelease(this.disk.open(path, { mode: "readOnly" }), (file) => file.close)
  }

  /** Copies the first bytes of a file, and makes the copy durable; it is as long as `length` says, by zeros. */
  private file(name: string, bytes: number, length = bytes): Effect.Effect<void, StoreError> {
    const { buffer, disk, machine, options: { tell, to } } = this
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
        tell({ done: this.done, total: Math.max(this.total, this.done) })
      }
      yield* target.sync
    }))
  }
}

/**
 * Engine faults, planted from outside: a disk between the engine and the real one, which does what an engine would do
 * that had forgotten a sync, or did one thing before another.
 *
 * The engine has no switch for any of them, and does not notice: every operation succeeds.
 */
import * as Effect from "effect/Effect"
import type { Disk, DiskFile, OpenMode } from "../../src/disk/Disk.ts"
import { parseSegmentName } from "../../src/log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES } from "../../src/log/Superblock.ts"
import type { StoreError } from "../../src/StoreError.ts"
import { watched } from "./watchedFile.ts"

const log = /log[-.]/

type Files = (file: DiskFile, mode: OpenMode) => DiskFile

/** What a crash test sees of it: a commit that is gone, or the reason of the error. */
export type Seen = "lost" | "Corrupted" | "NotAStore" | "DiskFailed"

export interface Sabotage {
  readonly name: string
  /** What it may be seen as. */
  readonly seen: ReadonlyArray<Seen>
  readonly plant: (disk: Disk["Service"]) => Disk["Service"]
}

type Operation = Effect.Effect<void, StoreError>

/** A disk whose files are other ones. */
const files = (disk: Disk["Service"], file: Files): Disk["Service"] => ({
  ...disk,
  open: (path, options) => Effect.map(disk.open(path, options), (opened) => file(opened, options.mode))
})

/** Which syncs are forgotten, by their number in their file. */
type Which = (syncs: number, mode: OpenMode) => boolean

/** Syncs that are forgotten. Allocating ends with a sync of its own, which is not. */
const unsynced = (path: RegExp, which: Which) => (disk: Disk["Service"]): Disk["Service"] =>
  files(disk, (file, mode) => {
    if (!path.test(file.path)) return file
    let syncs = 0
    return watched(file, {
      sync: Effect.suspend(() => which(++syncs, mode) ? Effect.void : file.sync),
      syncSync: () => {
        if (!which(++syncs, mode)) file.syncSync()
      }
    })
  })

/** All but those of a file's first content. */
const later: Which = (syncs, mode) => mode === "readWrite" || syncs > 1
const firstContent: Which = (syncs, mode) => mode === "create" && syncs === 1
/** Opening a store that is there syncs its log twice, once for what is adopted and once for the group that follows. */
const adopted = (disk: Disk["Service"]): Disk["Service"] => {
  let left = 2
  return files(disk, (file, mode) => {
    // In a store that is made now nothing is adopted.
    if (file.path.endsWith("creating") && mode === "create") left = 0
    if (!log.test(file.path)) return file
    return watched(file, { sync: Effect.suspend(() => left-- > 0 ? Effect.void : file.sync) })
  })
}

/** Names that are never made durable. */
const unnamed = (path: RegExp) => (disk: Disk["Service"]): Disk["Service"] => ({
  ...disk,
  syncDirectory: (directory) => path.test(directory) ? Effect.void : disk.syncDirectory(directory)
})

/** What is put off until later, and then may fail: its file may be closed or dead. */
class Owed {
  private waiting: Array<Operation> = []

  readonly add = (operation: Operation): Effect.Effect<void> =>
    Effect.sync(() => void this.waiting.push(operation))

  readonly settle: Effect.Effect<void> = Effect.suspend(() => {
    const due = this.waiting
    this.waiting = []
    return Effect.forEach(due, (each) => Effect.ignore(each), { discard: true })
  })
}

/** Writes that go out only after the sync that should have covered them. */
const late = (path: RegExp) => (disk: Disk["Service"]): Disk["Service"] =>
  files(disk, (file, mode) => {
    if (!path.test(file.path)) return file
    const { add, settle } = new Owed()
    // Its first content is in order.
    let inOrder = mode === "create"
    return watched(file, {
      write: (buffers, position) =>
        Effect.suspend(() => {
          if (inOrder) return file.write(buffers, position)
          return add(file.write(buffers.map((bytes) => bytes.slice()), position))
        }),
      sync: Effect.suspend(() => {
        inOrder = false
        return Effect.andThen(file.sync, settle)
      }),
      read: (buffer, position) => Effect.andThen(settle, file.read(buffer, position)),
      close: Effect.andThen(settle, file.close)
    })
  })

/** The superblock is written and synced first; what it refers to is synced with the log that follows. */
const superblockFirst = (disk: Disk["Service"]): Disk["Service"] => {
  const { add, settle } = new Owed()
  return files(disk, (file, mode) => {
    if (mode === "readWrite" && file.path.endsWith("pages")) return watched(file, { sync: add(file.sync) })
    return log.test(file.path) ? watched(file, { sync: Effect.andThen(settle, file.sync) }) : file
  })
}

/** What a checkpoint frees of the log goes before its superblock is synced, and with it what the older one needs. */
const truncatedFirst = (disk: Disk["Service"]): Disk["Service"] =>
  files(disk, (file) => {
    const directory = /^(.*)\/super$/.exec(file.path)?.[1]
    if (directory === undefined) return file
    return watched(file, {
      write: (buffers, position) =>
        Effect.andThen(
          file.write(buffers, position),
          truncated(disk, directory, Buffer.concat(buffers), position)
        )
    })
  })

const truncated = (disk: Disk["Service"], directory: string, bytes: Buffer, position: number): Operation =>
  Effect.gen(function*() {
    const block = decodeSuperblock(bytes, position < SUPERBLOCK_BYTES ? 0 : 1)
    if (block._tag !== "Valid") return
    for (const name of yield* disk.list(directory)) {
      const sequence = parseSegmentName(name)
      if (sequence === undefined || sequence >= block.superblock.begin.sequence) continue
      yield* disk.unlink(`${directory}/${name}`)
    }
    yield* disk.syncDirectory(directory)
  })

/** Both superblocks are written at every checkpoint, where one should be left alone. */
const bothSuperblocks = (disk: Disk["Service"]): Disk["Service"] =>
  files(disk, (file) =>
    file.path.endsWith("super")
      ? watched(file, {
        write: (buffers, position) =>
          Effect.andThen(
            file.write([new Uint8Array(SUPERBLOCK_BYTES)], position === 0 ? SUPERBLOCK_BYTES : 0),
            file.write(buffers, position)
          )
      })
      : file)

export const sabotages: ReadonlyArray<Sabotage> = [
  { name: "the log is not synced", seen: ["lost", "Corrupted"], plant: unsynced(log, later) },
  { name: "the log is written after its sync", seen: ["lost"], plant: late(log) },
  {
    name: "what recovery adopted is not synced",
    seen: ["lost", "Corrupted"],
    plant: adopted
  },
  {
    name: "a segment is named before its header is synced",
    seen: ["Corrupted"],
    plant: unsynced(log, firstContent)
  },
  { name: "the names of segments are not synced", seen: ["lost", "Corrupted"], plant: unnamed(/store$/) },
  { name: "the name of the store is not synced", seen: ["lost"], plant: unnamed(/^\/+$/) },
  { name: "the page file is not synced", seen: ["Corrupted"], plant: unsynced(/pages$/, later) },
  { name: "superblocks are not synced", seen: ["lost", "Corrupted"], plant: unsynced(/super$/, later) },
  { name: "a superblock is there before its pages", seen: ["Corrupted"], plant: superblockFirst },
  { name: "both superblocks are written at once", seen: ["Corrupted"], plant: bothSuperblocks },
  { name: "the log is truncated before the superblock is there", seen: ["Corrupted"], plant: truncatedFirst }
]

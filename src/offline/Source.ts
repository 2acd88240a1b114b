/**
 * The files of a store that nobody runs, or that somebody else runs: opened to be read, never to be written.
 *
 * What is missing or cannot be read is found and told, not failed for, unless this process is to blame (it may not read
 * the files, or has too many open). `open` takes no lock, so that one may look beside an owner; who cannot bear one
 * calls `keepOut` before.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Directory from "../actors/files/Directory.ts"
import type { Disk, DiskFile } from "../disk/Disk.ts"
import { decodeSegment, parseSegmentName, SEGMENT_HEADER_BYTES } from "../log/Segment.ts"
import type { DecodedSegment, Segment } from "../log/Segment.ts"
import { decodeSuperblock, SUPERBLOCK_BYTES, SUPERBLOCK_FILE, superblockOffset } from "../log/Superblock.ts"
import type { DecodedSuperblock } from "../log/Superblock.ts"
import { chooseSuperblock } from "../log/SuperblockChoice.ts"
import type { Choice } from "../log/SuperblockChoice.ts"
import type { StoreError } from "../StoreError.ts"

/** Something that is not what it should be. */
export interface Fault {
  readonly _tag: "Fault"
  readonly expected: string
  readonly actual: string
}

export const fault = (expected: string, actual: string | number): Fault => ({
  _tag: "Fault",
  expected,
  actual: String(actual)
})

/** A file, or why there is none. */
export interface Opened {
  readonly path: string
  readonly file: DiskFile | undefined
  readonly bytes: number
  readonly fault: Fault | undefined
}

export interface SegmentFile extends Opened {
  readonly sequence: number
  /** By its own words; a segment of whatever store where none is known. */
  readonly header: DecodedSegment
}

export interface Source {
  readonly directory: string
  readonly superblocks: Opened
  /** Bytes of both superblocks, to see whether they have changed since. */
  readonly superblockBytes: Buffer
  readonly slots: readonly [DecodedSuperblock, DecodedSuperblock]
  readonly choice: Choice
  /** Of the superblocks; undefined where there are none. */
  readonly storeId: Uint8Array | undefined
  readonly pages: Opened
  /** In the order of their sequences. */
  readonly segments: ReadonlyArray<SegmentFile>
  /** The headers that are sound, in order. */
  readonly headers: ReadonlyArray<Segment>
}

/** Refusals that say something of this process or its limits, and nothing of the store. */
const ours = new Set(["EACCES", "EPERM", "EMFILE", "ENFILE", "ENOMEM"])

/** Turns a refusal of the system into a fault, if it may be the store's. */
export const tolerate = <A, R>(
  effect: Effect.Effect<A, StoreError, R>
): Effect.Effect<A | Fault, StoreError, R> =>
  Effect.catchIf(
    effect,
    ({ reason }) => reason._tag === "DiskFailed" && !ours.has(reason.code),
    ({ reason }) =>
      Effect.succeed(fault("a readable file", reason._tag === "DiskFailed" ? reason.code : reason._tag))
  )

export const isFault = (answer: unknown): answer is Fault =>
  typeof answer === "object" && answer !== null && (answer as { _tag?: unknown })._tag === "Fault"

/** Reads up to `length` bytes: fewer only where the file ends. */
export const readUpTo = (
  file: DiskFile,
  offset: number,
  length: number
): Effect.Effect<Uint8Array | Fault, StoreError> =>
  Effect.suspend(() => {
    const bytes = new Uint8Array(length)
    return tolerate(
      Effect.map(file.read(bytes, offset), (read) => read === length ? bytes : bytes.subarray(0, read))
    )
  })

/** Reads just so many bytes. */
export const readAt = (
  { bytes: size, fault: missing, file }: Opened,
  offset: number,
  length: number
): Effect.Effect<Uint8Array | Fault, StoreError> => {
  if (file === undefined) return Effect.succeed(missing ?? fault("a file", "nothing"))
  const ended = fault(`${length} bytes`, "the end of the file")
  // Asked for before memory is taken: a length may be anything.
  if (offset + length > size) return Effect.succeed(ended)
  return Effect.map(
    readUpTo(file, offset, length),
    (bytes) => isFault(bytes) || bytes.length === length ? bytes : ended
  )
}

/**
 * Shares the lock of a store, so that nobody opens it meanwhile, and writes nothing for that. `Locked` where it is
 * open. A lock file that is missing or damaged keeps nobody out and is no reason to stop: it may be part of what was
 * lost.
 */
export const keepOut = (
  disk: Disk["Service"],
  directory: string
): Effect.Effect<void, StoreError, Scope.Scope> => Effect.asVoid(tolerate(Directory.keepOut(disk, directory)))

/** Opens all files of a store. Fails where there is no store, and where this process may not look. */
export const open = (
  disk: Disk["Service"],
  directory: string
): Effect.Effect<Source, StoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const superblocks = yield* openSuperblocks(disk, directory)
    const head = superblocks.file === undefined
      ? new Uint8Array(0)
      : yield* readUpTo(superblocks.file, 0, 2 * SUPERBLOCK_BYTES)
    const superblockBytes = isFault(head) ? Buffer.alloc(0) : Buffer.from(head)
    const slotAt = (slot: 0 | 1): DecodedSuperblock => {
      const offset = superblockOffset(slot)
      return decodeSuperblock(superblockBytes.subarray(offset, offset + SUPERBLOCK_BYTES), slot)
    }
    const slots = [slotAt(0), slotAt(1)] as const
    const choice = chooseSuperblock(...slots)
    const storeId = choice._tag === "Chosen" ? choice.superblock.storeId : undefined
    const pages = yield* openFile(disk, `${directory}/${Directory.pagesName}`)
    const segments: Array<SegmentFile> = []
    for (const name of yield* disk.list(directory)) {
      const sequence = parseSegmentName(name)
      if (sequence === undefined) continue
      const opened = yield* openFile(disk, `${directory}/${name}`)
      const bytes = opened.file === undefined
        ? new Uint8Array(0)
        : yield* readUpTo(opened.file, 0, SEGMENT_HEADER_BYTES)
      const header = Buffer.from(isFault(bytes) ? [] : bytes)
      // Where no superblock says which store this is, a segment may say so itself.
      const id = storeId ?? Uint8Array.from(header.subarray(16, 32))
      segments.push({ ...opened, sequence, header: decodeSegment(header, id, sequence) })
    }
    segments.sort((a, b) => a.sequence - b.sequence)
    const headers = segments.flatMap(({ header }) => header._tag === "Valid" ? [header.segment] : [])
    return { directory, superblocks, superblockBytes, slots, choice, storeId, pages, segments, headers }
  })

/** Whether the superblocks are not what they were when the store was opened. */
export const hasMoved = (
  { superblockBytes, superblocks: { file } }: Source
): Effect.Effect<boolean, StoreError> =>
  file === undefined
    ? Effect.succeed(false)
    : Effect.map(readUpTo(file, 0, 2 * SUPERBLOCK_BYTES), (bytes) =>
      isFault(bytes) ? superblockBytes.length > 0 : !superblockBytes.equals(bytes))

const openSuperblocks = (
  disk: Disk["Service"],
  directory: string
): Effect.Effect<Opened, StoreError, Scope.Scope> => {
  const path = `${directory}/${SUPERBLOCK_FILE}`
  const lost = (actual: string): Opened => ({
    path,
    file: undefined,
    bytes: 0,
    fault: fault("a superblock", actual)
  })
  return Directory.openReadOnly(disk, directory).pipe(
    Effect.flatMap((file) => Effect.map(file.size, (bytes) => ({ path, file, bytes, fault: undefined }))),
    Effect.catchIf(
      ({ reason }) => reason._tag === "Corrupted" && reason.path === path,
      () => Effect.succeed(lost("nothing"))
    ),
    Effect.catchIf(
      ({ reason }) => reason._tag === "DiskFailed" && reason.path === path && !ours.has(reason.code),
      ({ reason }) => Effect.succeed(lost(reason._tag === "DiskFailed" ? reason.code : reason._tag))
    )
  )
}

const openFile = (
  disk: Disk["Service"],
  path: string
): Effect.Effect<Opened, StoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const file = yield* tolerate(
      Effect.acquireRelease(disk.open(path, { mode: "readOnly" }), (file) => file.close)
    )
    if (isFault(file)) return { path, file: undefined, bytes: 0, fault: fault("a file", file.actual) }
    const bytes = yield* tolerate(file.size)
    return isFault(bytes)
      ? { path, file: undefined, bytes: 0, fault: bytes }
      : { path, file, bytes, fault: undefined }
  })

/**
 * The directory of a store: telling a store from everything else, and making a new one.
 *
 * | file        | holds                                                                    |
 * |-------------|--------------------------------------------------------------------------|
 * | `super`     | two superblocks: which checkpoint is the store                           |
 * | `pages`     | page images, chunks of the map table, catalogs, in slots                 |
 * | `log-…`     | segments of the log                                                      |
 * | `log.spare` | a prepared segment; worthless                                            |
 * | `scratch`   | older versions for open snapshots; worthless to whoever opens the store  |
 * | `reserve`   | nothing: space that is set aside                                         |
 * | `lock`      | who has the store open                                                   |
 * | `creating`  | the store is being made; what a crash left beside it is worthless        |
 * | `damaged`   | a damaged page was met: the next opening looks at all of them            |
 *
 * I1 A store comes into being with the durable name `super`; a directory that has one is never made anew.
 * I2 A directory that holds anything else is left as it is.
 */
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import { dirname } from "node:path"
import type { Disk, DiskFile, LockMode, OpenOptions } from "../../disk/Disk.ts"
import { GROUP_HEADER_BYTES } from "../../log/Group.ts"
import { FIRST_LSN } from "../../log/Lsn.ts"
import type { Incarnation } from "../../log/Record.ts"
import { NO_INCARNATION } from "../../log/Record.ts"
import { FIRST_SEQUENCE, parseSegmentName, segmentAt } from "../../log/Segment.ts"
import { encodeSuperblock, SUPERBLOCK_BYTES, SUPERBLOCK_FILE } from "../../log/Superblock.ts"
import type { Superblock } from "../../log/Superblock.ts"
import { Corrupted, Locked, NotAStore, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import * as PageFileHeader from "../../tree/file/PageFileHeader.ts"
import { markName } from "./Damage.ts"
import { reserveName } from "./ReserveFile.ts"
import { scratchName } from "./Scratch.ts"
import { leftovers, Segments } from "./Segments.ts"

export const pagesName = "pages"
export const pagesOf = (directory: string): string => `${directory}/${pagesName}`
const lockName = "lock"
const creatingName = "creating"
const newSuperName = "super.new"
/** The lock, and what stands beside it: the owner's process id, a journal where a database serves as lock. */
const lockFiles = /^lock(\.pid|\.pid\.new|-journal)?$/
const own = new Set([
  SUPERBLOCK_FILE,
  newSuperName,
  pagesName,
  creatingName,
  scratchName,
  markName,
  reserveName,
  ...leftovers
])

export interface Options {
  readonly disk: Disk["Service"]
  readonly directory: string
  /** Page size of a store that is made now. */
  readonly pageBytes: number
  /** Segment size of a store that is made now. */
  readonly segmentBytes: number
  /** 16 random bytes for a store that is made now. */
  readonly storeId: Uint8Array
  readonly createdMillis: number
}

/** Takes the lock and answers the superblock file, making a store where the directory is empty or missing. */
export const open = (options: Options): Effect.Effect<DiskFile, StoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const { directory, disk } = options
    const kind = yield* disk.kind(directory)
    if (kind === "missing") yield* disk.makeDirectory(directory)
    else if (kind !== "directory") {
      return yield* notAStore(directory, kind === "file" ? "a file" : "a link or a special file")
    }
    yield* survey(disk, directory)
    yield* lock(disk, directory, "alone")
    if ((yield* survey(disk, directory)) === "none") yield* create(options)
    // A marker that outlived its store would, should `super` ever get lost, pass for a store that was never finished.
    for (const name of [...leftovers, scratchName, creatingName]) {
      if ((yield* disk.kind(`${directory}/${name}`)) !== "missing") yield* disk.unlink(`${directory}/${name}`)
    }
    yield* disk.syncDirectory(directory)
    return yield* openFile(disk, `${directory}/${SUPERBLOCK_FILE}`, { mode: "readWrite" })
  })

/** The same without the lock, beside a living owner. */
export const openReadOnly = (
  disk: Disk["Service"],
  directory: string
): Effect.Effect<DiskFile, StoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const kind = yield* disk.kind(directory)
    const refuse = (found: string) => notAStore(directory, found, true)
    if (kind !== "directory") return yield* refuse(kind === "missing" ? "nothing" : `a ${kind}`)
    if ((yield* survey(disk, directory, true)) === "none") return yield* refuse("an empty directory")
    return yield* openFile(disk, `${directory}/${SUPERBLOCK_FILE}`, { mode: "readOnly" })
  })

/** Keeps owners out, and writes nothing. `Locked` where there is one. */
export const keepOut = (
  disk: Disk["Service"],
  directory: string
): Effect.Effect<void, StoreError, Scope.Scope> => lock(disk, directory, "shared")

/** The same of a directory in which a store is copied. */
export const keepAlone = (
  disk: Disk["Service"],
  directory: string
): Effect.Effect<void, StoreError, Scope.Scope> => lock(disk, directory, "alone")

/** How the page file is opened. */
interface PagesOptions extends OpenOptions {
  readonly mode: "readWrite" | "readOnly"
}

/** Opens the page file and checks that it belongs to the superblock. */
export const openPages = (
  disk: Disk["Service"],
  directory: string,
  superblock: Superblock,
  options: PagesOptions
): Effect.Effect<DiskFile, StoreError, Scope.Scope> =>
  Effect.gen(function*() {
    const path = pagesOf(directory)
    if ((yield* disk.kind(path)) !== "file") return yield* missing(path)
    const file = yield* openFile(disk, path, options)
    const header = new Uint8Array(superblock.pageBytes)
    const read = yield* file.read(header, 0)
    const fault = PageFileHeader.fault(header.subarray(0, read), superblock.pageBytes, superblock.storeId)
    return fault === undefined
      ? file
      : yield* Effect.fail(storeError(new Corrupted({ path, offset: 0, ...fault })))
  })

/** What is held is the store, wherever the lock file stands. */
const lock = (
  disk: Disk["Service"],
  directory: string,
  mode: LockMode
): Effect.Effect<void, StoreError, Scope.Scope> =>
  Effect.mapError(disk.lock(`${directory}/${lockName}`, mode), (error) =>
    error.reason._tag === "Locked"
      ? storeError(new Locked({ path: directory, pid: error.reason.pid }))
      : error)

const openFile = (disk: Disk["Service"], path: string, options: OpenOptions) =>
  Effect.acquireRelease(disk.open(path, options), (file) => file.close)

/** Looks at what there is: a store, or nothing that a new one would overwrite. */
const survey = (
  disk: Disk["Service"],
  directory: string,
  readOnly = false
): Effect.Effect<"store" | "none", StoreError> =>
  Effect.gen(function*() {
    const names = yield* disk.list(directory)
    if (names.includes(SUPERBLOCK_FILE)) return "store"
    const strangers = names.filter((name) => !isOurs(name))
    if (strangers.length > 0) {
      return yield* notAStore(directory, `${strangers.length} other files`, readOnly)
    }
    // While a store is made, it has files of each kind; else they are what is left of one.
    const left = names.filter((name) => name === pagesName || parseSegmentName(name) !== undefined)
    return left.length === 0 || names.includes(creatingName)
      ? "none"
      : yield* missing(`${directory}/${SUPERBLOCK_FILE}`)
  })

/** Whether a file is one of those of a lock. */
export const isLockFile = (name: string): boolean => lockFiles.test(name)

const isOurs = (name: string): boolean =>
  own.has(name) || isLockFile(name) || parseSegmentName(name) !== undefined

/** Makes a store. Until `super` has its name, a crash leaves nothing that the next attempt would not remove. */
const create = (options: Options): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { directory, disk, pageBytes, storeId } = options
    const at = (name: string): string => `${directory}/${name}`
    if ((yield* disk.kind(at(creatingName))) === "missing") {
      const marker = yield* disk.open(at(creatingName), { mode: "create" })
      yield* Effect.ensuring(marker.sync, marker.close)
      yield* disk.syncDirectory(directory)
    }
    for (const name of yield* disk.list(directory)) {
      if (name !== creatingName && !isLockFile(name)) yield* disk.unlink(at(name))
    }
    yield* writeFile(disk, at(pagesName), PageFileHeader.encode(pageBytes, storeId))
    const first = fresh(options)
    const segments = new Segments(options)
    const segment = segmentAt(first.cut, options.segmentBytes, GROUP_HEADER_BYTES)
    yield* Effect.ensuring(segments.create(segment), segments.close)
    const superblocks = Buffer.alloc(2 * SUPERBLOCK_BYTES)
    encodeSuperblock(first, superblocks.subarray(0, SUPERBLOCK_BYTES))
    yield* createSuper(disk, directory, superblocks)
  })

/** Makes a directory a store (I1), in which everything else is, and is synced. */
export const createSuper = (
  disk: Disk["Service"],
  directory: string,
  superblocks: Uint8Array
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const path = `${directory}/${newSuperName}`
    yield* writeFile(disk, path, superblocks)
    yield* disk.syncDirectory(directory)
    yield* syncName(disk, directory)
    yield* disk.rename(path, `${directory}/${SUPERBLOCK_FILE}`)
    yield* disk.syncDirectory(directory)
  })

/** Makes the directory's own name durable, even if it was there before: a crash may have left it undurable. */
const syncName = (disk: Disk["Service"], directory: string): Effect.Effect<void, StoreError> =>
  // Whoever may not read the parent did not make the directory, and cannot sync its name.
  Effect.catchIf(
    // The slash makes a symbolic link in the place of the parent be followed.
    disk.syncDirectory(`${dirname(directory)}/`),
    ({ reason }) => reason._tag === "DiskFailed" && reason.code === "EACCES",
    () => Effect.void
  )

const writeFile = (disk: Disk["Service"], path: string, bytes: Uint8Array): Effect.Effect<void, StoreError> =>
  Effect.flatMap(disk.open(path, { mode: "create" }), (file) =>
    file.write([bytes], 0).pipe(
      Effect.andThen(file.sync),
      Effect.ensuring(file.close)
    ))

/** The superblock of a store that holds nothing yet. */
export const fresh = (
  { createdMillis, pageBytes, storeId }: Pick<Superblock, "createdMillis" | "pageBytes" | "storeId">
): Superblock => ({
  slot: 0,
  storeId,
  version: 1,
  otherVersion: 0,
  createdMillis,
  pageBytes,
  cut: { lsn: FIRST_LSN, sequence: FIRST_SEQUENCE, previousChecksum: 0, incarnation: NO_INCARNATION },
  durableLsn: FIRST_LSN,
  begin: { lsn: FIRST_LSN, sequence: FIRST_SEQUENCE },
  map: { slot: 0, checksum: 0, level: 0 },
  catalog: { slot: 0, checksum: 0, bytes: 0 },
  slots: 1,
  pageIds: 1,
  nextTree: 1,
  nextKeyspace: 1
})

const randomWord = Random.nextIntBetween(0, 2 ** 32 - 1)

/** An id for a new store. */
export const randomId: Effect.Effect<Uint8Array> = Effect.map(
  Effect.all(Array.from({ length: 16 }, () => Random.nextIntBetween(0, 256))),
  (bytes) => Uint8Array.from(bytes)
)

/** Tells one life of a store from the next; never zero, which stands for "before the first life". */
export const randomIncarnation: Effect.Effect<Incarnation> = Effect.map(
  Effect.all([randomWord, randomWord]),
  ([low, high]) => ({ low: (low | 1) >>> 0, high })
)

const notAStore = (path: string, found: string, readOnly = false): Effect.Effect<never, StoreError> =>
  Effect.fail(storeError(new NotAStore({ path, found, readOnly })))

const missing = (path: string): Effect.Effect<never, StoreError> =>
  Effect.fail(storeError(new Corrupted({ path, offset: 0, expected: "a file", actual: "nothing" })))

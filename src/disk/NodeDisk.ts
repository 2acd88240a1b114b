/**
 * Real files, through `node:fs`.
 *
 * Asynchronous operations run on libuv's threads; what stands in the calling thread says so in its name.
 * Plain descriptors are used, not `FileHandle`, whose promises cost more than a read that the system's cache
 * answers.
 *
 * `fs` is the module's default export, so that tests can make its calls fall short.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import fs from "node:fs"
import { isAbsolute, resolve } from "node:path"
import type { StoreError } from "../StoreError.ts"
import { Bounce } from "./Bounce.ts"
import type { Counters } from "./Counters.ts"
import { makeCounters } from "./Counters.ts"
import type { Kind, OpenMode, OpenOptions } from "./Disk.ts"
import { countFailures, Disk, diskFailed, SystemError } from "./Disk.ts"
import type { Done } from "./NodeCall.ts"
import { bare, closed, nodeCall } from "./NodeCall.ts"
import { isNoDirect, openDirect } from "./NodeDirect.ts"
import { openDurable } from "./NodeDurable.ts"
import { NodeFile } from "./NodeFile.ts"
import { lock } from "./NodeLock.ts"
import { nodePopulate } from "./NodePopulate.ts"
import type { Transfer } from "./NodeTransfer.ts"
import { CachedTransfer } from "./NodeTransfer.ts"

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR } = fs.constants

// O_NONBLOCK: opening a pipe that was put in a file's place must fail, not wait for its other end.
const flags: Record<OpenMode, number> = {
  create: O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NONBLOCK,
  readWrite: O_RDWR | O_NOFOLLOW | O_NONBLOCK,
  readOnly: O_RDONLY | O_NOFOLLOW | O_NONBLOCK
}

/** The file system of this machine. Relative paths begin where the program stood when the first of them was used. */
export const layer: Layer.Layer<Disk> = Layer.effect(Disk, Effect.sync(() => make(makeCounters())))

const make = (counters: Counters): Disk["Service"] => {
  const counted = <A, R>(effect: Effect.Effect<A, StoreError, R>) => countFailures(counters, effect)
  const call = <A>(operation: string, path: string, start: (done: Done<A>) => void) =>
    counted(nodeCall(operation, path, start))
  let made: Bounce | undefined
  const bounce = () => made ??= new Bounce()
  // A program that changes its directory would go on in another one's store, without its lock.
  let here: string | undefined
  const at = (path: string): string =>
    path === "" || isAbsolute(path) ? path : resolve(here ??= process.cwd(), path)
  return {
    counters,
    open: (path, options) =>
      Effect.suspend(() => {
        counters.opens++
        return counted(openTransfer(at(path), options, bounce))
      }).pipe(Effect.map((transfer) => new NodeFile(path, transfer, counters))),
    kind: (path) => counted(kind(at(path))),
    list: (path) =>
      Effect.map(call<Array<string>>("list", path, (done) => fs.readdir(at(path), done)), sorted),
    makeDirectory: (path) => counted(makeDirectory(at(path))),
    rename: (from, to) => call<void>("rename", from, (done) => fs.rename(at(from), at(to), bare(done))),
    unlink: (path) => call<void>("unlink", path, (done) => fs.unlink(at(path), bare(done))),
    syncDirectory: (path) =>
      Effect.suspend(() => {
        counters.directorySyncs++
        return counted(syncDirectory(at(path)))
      }),
    lock: (path, mode = "alone") => counted(lock(at(path), mode)),
    freeBytes: (path) =>
      Effect.map(
        call<fs.StatsFs>("freeBytes", path, (done) => fs.statfs(at(path), done)),
        ({ bavail, bsize }) => bavail * bsize
      ),
    populate: nodePopulate()
  }
}

const sorted = (names: Array<string>): ReadonlyArray<string> => names.sort()

/** What stands behind a descriptor is looked at after opening it: a path may name another thing by then. */
const open = (path: string, mode: OpenMode): Effect.Effect<number, StoreError> =>
  Effect.uninterruptible(Effect.gen(function*() {
    const fd = yield* nodeCall<number>("open", path, (done) => fs.open(path, flags[mode], 0o600, done))
    const stats = yield* nodeCall<fs.Stats>("open", path, (done) => fs.fstat(fd, done)).pipe(
      Effect.onError(() => closed(path, fd))
    )
    if (stats.isFile()) return fd
    yield* closed(path, fd)
    return yield* diskFailed("open", path, new SystemError(stats.isDirectory() ? "EISDIR" : "EINVAL"))
  }))

/** Uninterruptible as a whole: what was opened must get to whoever closes it. */
const openTransfer = (
  path: string,
  { durableWrites = "twoCalls", mode, systemCache = "use" }: OpenOptions,
  bounce: () => Bounce
): Effect.Effect<Transfer, StoreError> =>
  Effect.uninterruptible(Effect.gen(function*() {
    const fd = yield* open(path, mode)
    const again = flags[mode] & ~(O_CREAT | O_EXCL)
    const cached = durableWrites === "oneCall" && mode !== "readOnly"
      ? openDurable(path, fd, again)
      : Effect.succeed(new CachedTransfer(fd))
    const transfer: Effect.Effect<Transfer, StoreError> = systemCache === "use"
      ? cached
      : Effect.catchIf(
        openDirect({ path, fd, flags: again, bounce }),
        (error) => systemCache === "avoid" && isNoDirect(error),
        () => cached
      )
    return yield* transfer.pipe(
      Effect.onError(() => Effect.andThen(closed(path, fd), mode === "create" ? removed(path) : Effect.void))
    )
  }))

const removed = (path: string): Effect.Effect<void> =>
  Effect.ignore(nodeCall<void>("unlink", path, (done) => fs.unlink(path, bare(done))))

const kind = (path: string): Effect.Effect<Kind, StoreError> =>
  nodeCall<Kind>("kind", path, (done) =>
    fs.lstat(path, (error, stats) => {
      if (error !== null) return error.code === "ENOENT" ? done(null, "missing") : done(error, "other")
      done(null, stats.isFile() ? "file" : stats.isDirectory() ? "directory" : "other")
    }))

const makeDirectory = (path: string): Effect.Effect<void, StoreError> =>
  nodeCall<void>("makeDirectory", path, (done) =>
    fs.mkdir(path, 0o700, (refused) => {
      if (refused?.code !== "EEXIST") return done(refused, undefined)
      fs.lstat(path, (error, stats) => done(error ?? (stats.isDirectory() ? null : refused), undefined))
    }))

const syncDirectory = (path: string): Effect.Effect<void, StoreError> =>
  Effect.uninterruptible(Effect.gen(function*() {
    const fd = yield* nodeCall<number>(
      "syncDirectory",
      path,
      (done) => fs.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, done)
    )
    yield* nodeCall<void>("syncDirectory", path, (done) => fs.fsync(fd, bare(done))).pipe(
      Effect.ensuring(closed(path, fd))
    )
  }))

/**
 * The lock on a store's directory, held by the kernel for as long as the process lives.
 *
 * Node has no file locks, and a file that merely exists outlives its owner. But Node carries SQLite, which
 * locks files properly: an exclusive transaction on an empty database shuts out other processes, other
 * threads and this one, and the kernel ends it with the process, whatever ends that. Nothing is ever written
 * to that database.
 *
 * Who shares the lock holds a read transaction on a descriptor that cannot write: it goes with others of its kind, and
 * shuts out an exclusive one or is shut out by it. A file system that is mounted read-only will do.
 *
 * The owner's process id stands in a side file, `<path>.pid`, never in the lock file: a POSIX lock is dropped
 * when any descriptor of its file is closed in the same process, so nobody may open the lock file but SQLite.
 * The side file is news, not truth: it may be missing, or name a process that died.
 *
 * `node:sqlite` is loaded when a lock is taken, not before. Node 24 and older print then, once, that it is
 * experimental (`--disable-warning=ExperimentalWarning` silences it). That stays: only replacing
 * `process.emitWarning`, which is not ours, could hold it back.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import fs from "node:fs"
import { dirname } from "node:path"
import type * as Sqlite from "node:sqlite"
import type { DatabaseSync } from "node:sqlite"
import { DiskFailed, Locked, StoreError, storeError } from "../StoreError.ts"
import { codeOf, diskFailed, SystemError } from "./Disk.ts"
import type { LockMode } from "./Disk.ts"

/** See `Disk.lock`. */
export const lock = (path: string, mode: LockMode): Effect.Effect<void, StoreError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.suspend(() => {
      try {
        const database = mode === "alone" ? acquire(path) : share(path)
        held.add(database)
        return Effect.succeed(database)
      } catch (cause) {
        return Effect.fail(cause instanceof StoreError ? cause : diskFailed("lock", path, cause))
      }
    }),
    (database) => Effect.sync(() => release(path, mode, database))
  ).pipe(Effect.asVoid)

/**
 * Every lock of this thread that was not released. A database that is collected closes itself, and its lock is free
 * then: a program whose fibers all wait for something that nothing refers to is collected as a whole, and its
 * scopes, which would hold the database, with it.
 */
const held = new Set<DatabaseSync>()

const acquire = (path: string): DatabaseSync => {
  const existed = refuseOthers(path)
  const database = begin(path, "alone")
  try {
    // By path, not by descriptor (see above). SQLite creates the file as the umask has it.
    if (!existed) fs.chmodSync(path, 0o600)
  } catch (cause) {
    database.close()
    throw cause
  }
  leavePid(path)
  return database
}

/** No process id is left: that would write, and who shares is no owner. */
const share = (path: string): DatabaseSync => {
  if (!refuseOthers(path)) throw new SystemError("ENOENT")
  return begin(path, "shared")
}

/** Answers whether the lock file exists; SQLite would follow a symbolic link. */
const refuseOthers = (path: string): boolean => {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false })
  if (stats?.isSymbolicLink()) throw new SystemError("ELOOP")
  if (stats?.isDirectory()) throw new SystemError("EISDIR")
  if (stats !== undefined && !stats.isFile()) throw new SystemError("EINVAL")
  return stats !== undefined
}

/** Types say that it is there; a Node that is too old has no such module, or no way to ask for it. */
const sqlite = (): typeof Sqlite => {
  const ask: ((id: "node:sqlite") => typeof Sqlite | undefined) | undefined = process.getBuiltinModule
  const module = ask?.("node:sqlite")
  if (module === undefined) throw new SystemError("NOSQLITE")
  return module
}

/** What makes a transaction hold the lock. The journal is in memory: else one file more would stand beside the lock. */
const statements: Record<LockMode, string> = {
  alone: "PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE",
  // Only what reads takes the lock; there is nothing to be read.
  shared: "BEGIN; SELECT 1 FROM sqlite_schema"
}

/** The transaction. */
const begin = (path: string, mode: LockMode): DatabaseSync => {
  let database: DatabaseSync | undefined
  try {
    const { DatabaseSync } = sqlite()
    database = new DatabaseSync(path, { readOnly: mode === "shared" })
    database.exec(statements[mode])
    return database
  } catch (cause) {
    database?.close()
    throw refusal(path, mode, cause)
  }
}

const release = (path: string, mode: LockMode, database: DatabaseSync): void => {
  try {
    if (mode === "alone") fs.unlinkSync(pidPath(path))
  } catch {
    // Gone with its directory, perhaps; the lock is what counts.
  }
  held.delete(database)
  database.close()
}

const pidPath = (path: string): string => `${path}.pid`

/**
 * Written aside and renamed, so that a contender never reads half of it. It may fail: only a message needs
 * it.
 */
const leavePid = (path: string): void => {
  const side = pidPath(path)
  const fresh = `${side}.new`
  try {
    fs.rmSync(fresh, { force: true })
    fs.writeFileSync(fresh, `${process.pid}\n`, { flag: "wx", mode: 0o600 })
    fs.renameSync(fresh, side)
  } catch {
    // A full disk must not keep anyone from opening a store to delete from it.
  }
}

/** The owner's process id, if it left one and is alive. */
const readPid = (path: string): number | undefined => {
  try {
    const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = fs.constants
    const flag = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
    const pid = Number.parseInt(fs.readFileSync(pidPath(path), { encoding: "utf8", flag }), 10)
    return pid > 0 && isAlive(pid) ? pid : undefined
  } catch {
    return undefined
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    return codeOf(cause) === "EPERM"
  }
}

/** SQLite's primary result codes (sqlite.org/rescode.html) that a system's code stands for. */
const codes: Record<number, string> = { 7: "ENOMEM", 8: "EROFS", 10: "EIO", 13: "ENOSPC" }

/** What SQLite's refusal means for a lock. */
const refusal = (path: string, mode: LockMode, cause: unknown): StoreError => {
  if (!(cause instanceof Error && "errcode" in cause && typeof cause.errcode === "number")) {
    return diskFailed("lock", path, cause)
  }
  const primary = cause.errcode & 0xff
  if (primary === 5 || primary === 6) return storeError(new Locked({ path, pid: readPid(path) }))
  const code = codes[primary] ?? (primary === 14 ? codeOfPath(path, mode) : `SQLITE_${primary}`)
  return storeError(new DiskFailed({ operation: "lock", path, code, cause }))
}

/** Why a file could not be opened or created, which SQLite does not tell. */
const codeOfPath = (path: string, mode: LockMode): string => {
  const { R_OK, W_OK, X_OK } = fs.constants
  try {
    fs.accessSync(dirname(path), mode === "alone" ? W_OK | X_OK : X_OK)
    fs.accessSync(path, mode === "alone" ? R_OK | W_OK : R_OK)
    return "SQLITE_14"
  } catch (cause) {
    return codeOf(cause)
  }
}

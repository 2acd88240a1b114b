/**
 * What to do about an error, where that takes more than the error itself: sentences that `StoreError.ts` ends with.
 */

/** By the system's code. */
const byCode: Record<string, string> = {
  EACCES: "give this user permission to read and write the directory and everything in it",
  EPERM: "give this user permission to read and write the directory and everything in it",
  EROFS: "the file system is mounted read-only; mount it writable or choose another path",
  ENOSPC: "the disk is full; free some space, then open the store again",
  EDQUOT: "the disk quota is used up; free some space, then open the store again",
  EMFILE: "this process has too many open files; raise its limit (ulimit -n)",
  ENFILE: "the system has too many open files; raise its limit",
  ENOENT: "the path does not exist; create its parent directory or correct the path",
  ENOTDIR: "part of the path is a file; a store needs a directory",
  EISDIR: "a directory stands where a file of the store should be; choose another path",
  ELOOP: "the path is a symbolic link, which a store does not follow; name the real path",
  EEXIST: "something of that name is in the way; choose another path",
  EIO: "the device failed; check it, then open the store again: recovery keeps every acknowledged commit",
  NODIRECT: "this file system or platform cannot bypass the system's cache; set systemCache to \"avoid\" or "
    + "\"use\", or choose another path",
  NOSQLITE: "this Node has no node:sqlite, which holds the lock; run the program on Node 22.19 or newer",
  SHORT: "the file ended early or the disk took only part of the data; check the disk, then open again",
  default: "check the path and the disk, then open the store again"
}

/** What to do where the system refused an operation on a file. */
export const diskAdvice = (code: string): string => byCode[code] ?? byCode["default"] ?? ""

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
export const disk = (code: string): string => byCode[code] ?? byCode["default"] ?? ""

/** What to do about bytes that are not what was written. */
export const damage = (beyondSalvage: boolean): string =>
  beyondSalvage
    ? "nothing can be salvaged without that; restore a backup"
    : "look at all of it with \"npx heartwood verify\", "
      + "copy what is intact with \"npx heartwood salvage\", or restore a backup"

/** What a key takes, by the word of its layout. */
const taken: ReadonlyArray<readonly [word: string, takes: string]> = [
  ["u32", "a whole number from 0 to 2^32 - 1"],
  ["u64", "a bigint from 0 to 2^64 - 1"],
  ["int", "a safe integer"],
  ["timestamp", "a DateTime.Utc in whole milliseconds"],
  ["float", "a number that is not NaN"],
  ["bool", "true or false"],
  ["uuid", "the text of a UUID"],
  ["string", "well-formed text"],
  ["bytes", "a Uint8Array"],
  ["tuple", "an array with a value for each of its parts"]
]

/** What fits a key of that layout, which a refused one cannot be quoted to show. */
export const key = (layout: string): string => {
  const words = new Set(layout.split(/\W+/))
  return taken.filter(([word]) => words.has(word)).map(([word, takes]) => `${takes} for ${word}`).join(", ")
}

/** What became of a stored value of that version, and what to do about it. */
export const value = (
  version: number,
  why: "newer" | "range" | "step" | "unmigrated" | undefined
): string => {
  switch (why) {
    case "newer":
      return "was written by a newer declaration than this program's: upgrade the program"
    case "range":
      return "is a number out of range, as a sum may become: put another one in its place, or merge it back"
    case "step":
      return "does not decode, as a declared migrate step threw: correct that step (`cause` is what it threw)"
    case "unmigrated":
      return `does not decode: declare a migrate step from version ${version}`
    default:
      return version === 0
        ? "does not decode: correct its declaration"
        : "does not decode: correct the schema or its migrate steps, or declare a version and a step to it"
  }
}

/** Who has a store open, and what to do about it. */
export const owner = (pid: number | undefined): string => {
  if (pid === process.pid) {
    return "this process already: keep the layer that opened it in a constant, and provide that one "
      + "everywhere (layers are shared by reference, so a second Store.layer(…) opens a second time)"
  }
  const other = pid === undefined ? "another process" : `process ${pid}`
  return `${other}: close it there, or open it here with Store.layerReadOnly`
}

/** Why nothing is read at an LSN; `visible` is known where it is not that versions are gone. */
export const snapshot = (requested: number, oldest: number, visible: number | undefined): string => {
  if (visible === undefined) {
    return `No versions are kept for LSN ${requested} (the oldest is ${oldest}): `
      + "hold a snapshot for as long as you refer to it, and raise snapshotDiskBytes if it expired while "
      + "it was held"
  }
  return requested > visible && Number.isSafeInteger(requested)
    ? `LSN ${requested} is not there yet (the newest is ${visible}): read without "at", or later`
    : `${requested} is not an LSN: pass one that a commit, a snapshot or Store.visibleLsn has answered`
}

/** What a build met that may not go on, and how it does. */
export const build = (keyspace: string, index: string, record: number): string =>
  `Record ${record} of keyspace "${keyspace}", in the order of keys, has a key of its unique index `
  + `"${index}" that another record has: change or remove one of them, and run Index.build again, `
  + "which goes on where it was"

/** What to do where something is beyond a limit. */
export const limit = (name: string, maximum: number): string => {
  if (name !== "keyBytes") return "make it smaller, or raise the limit where docs/tuning.md allows it"
  return maximum < longestKey
    ? "make the key shorter, or raise limits.keyBytes as far as the page size of the store lets it"
    : "make the key shorter, as no store takes longer ones, and those with small pages not even these"
}

/** Bytes of the longest key that any store takes: `ranges.keyBytes.most` of `Limits.ts`, which is a floor above. */
const longestKey = 1_024

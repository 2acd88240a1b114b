/**
 * What a disk refuses while a simulation runs, and what a store that goes on may say of it.
 */
import type { Fault } from "../../src/disk/FaultDisk.ts"
import type { StoreError } from "../../src/StoreError.ts"
import type { Random } from "./random.ts"

/** The page file, the superblocks, or the log. */
const pathOf = (chance: Random): RegExp => chance.pick([/\/pages$/, /\/pages$/, /\/super$/, /\/log-/])

/** One fault, or a few in a row, some operations from now. */
export const drawFault = (chance: Random): Fault => {
  const path = pathOf(chance)
  const at = 1 + chance.int(5)
  const times = chance.pick([1, 1, 3])
  const code = chance.pick(["EIO", "EIO", "ENOSPC"])
  return chance.pick<() => Fault>([
    () => ({ operation: "write", path, at, times, outcome: { _tag: "Refused", code } }),
    () => ({ operation: "write", path, at, times, outcome: { _tag: "Refused", code, done: "everything" } }),
    () => ({
      operation: "write",
      path,
      at,
      times,
      outcome: { _tag: "Short", bytes: chance.int(1024), code }
    }),
    () => ({ operation: "sync", path, at, outcome: { _tag: "SyncFailed", pages: "dropped" } }),
    () => ({ operation: "sync", path, at, outcome: { _tag: "SyncFailed", pages: "kept" } })
  ])()
}

/** A checkpoint that cannot be written fails, a commit is refused on a full disk, and the store goes on. */
export const forgives = ({ reason }: StoreError): boolean =>
  reason._tag === "DiskFailed" || reason._tag === "DiskFull"

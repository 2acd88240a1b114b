/**
 * What may be done to which call of a process: every kind of strike, at every call that it can hit, or a sample.
 */
import type { Random } from "../support/random.ts"
import type { Call, Seen, Strike } from "./Board.ts"

export interface Kind extends Omit<Strike, "at"> {
  readonly name: string
}

const changing: ReadonlyArray<Call> = [
  "write",
  "pwrite",
  "pwritev",
  "fsync",
  "fdatasync",
  "ftruncate",
  "rename",
  "unlink",
  "open",
  "mkdir",
  "dsync"
]
/** Calls that may need space. */
const growing: ReadonlyArray<Call> = ["write", "pwrite", "pwritev", "rename", "open", "mkdir"]
const writes: ReadonlyArray<Call> = ["write", "pwrite", "pwritev"]
const syncs: ReadonlyArray<Call> = ["fsync", "fdatasync", "dsync"]

export const kinds: ReadonlyArray<Kind> = [
  { name: "EIO once", calls: changing, times: 1, action: "fail" },
  { name: "EIO for ever", calls: changing, times: 0, action: "fail" },
  { name: "EIO of a read", calls: ["read"], times: 1, action: "fail" },
  { name: "EIO of reads for ever", calls: ["read"], times: 0, action: "fail" },
  { name: "ENOSPC once", calls: growing, times: 1, action: "fail", code: "ENOSPC" },
  { name: "ENOSPC for ever", calls: growing, times: 0, action: "fail", code: "ENOSPC" },
  { name: "EDQUOT for ever", calls: growing, times: 0, action: "fail", code: "EDQUOT" },
  { name: "EROFS for ever", calls: changing, times: 0, action: "fail", code: "EROFS" },
  { name: "EMFILE once", calls: ["open"], times: 1, action: "fail", code: "EMFILE" },
  { name: "EMFILE for ever", calls: ["open"], times: 0, action: "fail", code: "EMFILE" },
  { name: "a short write", calls: writes, times: 1, action: "short", bytes: 700 },
  {
    name: "a short write, then ENOSPC",
    calls: writes,
    times: 0,
    action: "short",
    code: "ENOSPC",
    bytes: 700
  },
  { name: "a sync that keeps its pages", calls: syncs, times: 1, action: "fail" },
  { name: "a sync that drops its pages", calls: syncs, times: 1, action: "drop" },
  { name: "a torn write and a kill", calls: writes, times: 1, action: "torn", bytes: 700 },
  { name: "a kill before a call", calls: changing, times: 1, action: "killBefore" },
  { name: "a kill after a call", calls: changing, times: 1, action: "killAfter" }
]

/** The kinds that end the process. */
export const kills = ({ action }: Strike): boolean => ["torn", "killBefore", "killAfter"].includes(action)

export interface Point extends Strike {
  readonly kind: string
  /** Which store it begins with: none, or one that was killed. */
  readonly begins: "new" | "killed"
}

/** All points of a workload, of which is known how often it makes each call. */
export const all = (seen: Record<Point["begins"], Seen>): ReadonlyArray<Point> =>
  (["new", "killed"] as const).flatMap((begins) =>
    kinds.flatMap(({ name, ...kind }) => {
      const calls = kind.calls.reduce((sum, call) => sum + seen[begins].each[call], 0)
      return Array.from(
        { length: calls },
        (_, index): Point => ({ ...kind, kind: name, begins, at: index + 1 })
      )
    })
  )

/** Some of them, of each kind as many as of any other. */
export const sample = (points: ReadonlyArray<Point>, count: number, chance: Random): ReadonlyArray<Point> =>
  Array.from({ length: count }, (_, index) => {
    const kind = kinds[index % kinds.length]?.name
    return chance.pick(points.filter((point) => point.kind === kind))
  })

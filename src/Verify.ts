/**
 * Verifying: looking at every byte of a store that means something, without opening it and without writing.
 *
 * Both superblocks; of each retained checkpoint the map table, the catalog, every page image and mini-page, the order
 * of keys in pages and across them, the numbers of records, every large value; the log from its begin to its end.
 * Damage is an answer, a finding. What fails is only looking itself: no store there, or no leave to read it.
 *
 * No lock is taken, so another process may have the store open, and write. What then looks wrong may only have moved
 * on, so where a checkpoint was taken meanwhile, or the end of the log looks damaged, it is looked at again.
 *
 * I1 Nothing is written, whatever is found.
 * I2 Looking at bytes that a hostile hand has made ends as ever, in no more memory than the files are long.
 */
import * as Effect from "effect/Effect"
import { Disk } from "./disk/Disk.ts"
import * as NodeDisk from "./disk/NodeDisk.ts"
import { SUPERBLOCK_FORMAT, superblockOffset } from "./log/Superblock.ts"
import type { Superblock } from "./log/Superblock.ts"
import * as CheckpointLook from "./offline/CheckpointLook.ts"
import type { CheckpointReport, KeyspaceReport } from "./offline/CheckpointLook.ts"
import { Findings, nameOf } from "./offline/Finding.ts"
import type { Finding } from "./offline/Finding.ts"
import * as LogLook from "./offline/LogLook.ts"
import type { LogReport } from "./offline/LogLook.ts"
import { advancing, Watcher } from "./offline/Progress.ts"
import type { Progress } from "./offline/Progress.ts"
import { Retained } from "./offline/Retained.ts"
import * as Source from "./offline/Source.ts"
import { FormatTooNew, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"

export { Watcher }
export type { CheckpointReport, Finding, KeyspaceReport, LogReport, Progress }

export interface Options {
  /** The directory of the store. */
  readonly path: string
  /** Findings that are kept; more are counted. Default 1000. */
  readonly findings?: number | undefined
}

/** What there is, and what is wrong with it. The numbers are those of the newest checkpoint. */
export interface Report {
  readonly path: string
  /** Those that are retained and have a superblock, the newest first. */
  readonly checkpoints: ReadonlyArray<CheckpointReport>
  readonly keyspaces: number
  /** Leaves and inner pages. */
  readonly pages: number
  readonly records: number
  readonly largeValues: number
  /** Groups of the log. */
  readonly groups: number
  /** Undefined where no superblock says where it begins. */
  readonly log: LogReport | undefined
  readonly findings: ReadonlyArray<Finding>
  /** Findings beyond those that are listed. */
  readonly more: number
}

const defaultFindings = 1000
/** Looks at most, while a store that is being written gives other findings each time. */
const mostLooks = 5

/** Looks at a store in a directory of this machine. */
export const verify = (options: Options): Effect.Effect<Report, StoreError> =>
  Effect.provide(verifyDisk(options), NodeDisk.layer)

/** The same on any disk. */
export const verifyDisk = (options: Options): Effect.Effect<Report, StoreError, Disk> =>
  Effect.gen(function*() {
    let before: ReadonlySet<string> = new Set()
    for (let looks = 1;; looks++) {
      const { hasMoved, report } = yield* once(options)
      const { findings } = report
      // Nothing that a retained checkpoint refers to changes while its superblock stands; the end of the log may.
      const isSure = !hasMoved &&
        !findings.some(({ subject }) => subject === "group" || subject === "segment")
      const confirmed = findings.filter((finding) => before.has(nameOf(finding)))
      if (isSure || (!hasMoved && confirmed.length === findings.length)) return report
      if (findings.length === 0) return report
      if (looks === mostLooks) return { ...report, findings: confirmed, more: 0 }
      before = new Set(findings.map(nameOf))
    }
  })

interface Look {
  readonly report: Report
  /** A checkpoint was taken meanwhile: what only the older ones needed may be gone. */
  readonly hasMoved: boolean
}

const once = (options: Options): Effect.Effect<Look, StoreError, Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const findings = new Findings(options.findings ?? defaultFindings)
    const source = yield* Source.open(yield* Disk, options.path)
    const superblocks = yield* choose(source, findings)
    const loaded: Array<Retained> = []
    const checkpoints: Array<CheckpointReport> = []
    for (const [index, superblock] of superblocks.entries()) {
      const role = index === 0 ? "newest" : "older"
      const total = superblock.slots * superblock.pageBytes
      const advance = yield* advancing(`${role} checkpoint`, Math.min(total, source.pages.bytes))
      const retained = new Retained({ source, superblock, role, found: findings.add, advance })
      if (!(yield* retained.load)) continue
      loaded.push(retained)
      const newest = index === 0 ? undefined : loaded.find((each) => each.role === "newest")
      checkpoints.push(yield* CheckpointLook.look({ retained, newest, found: findings.add }))
    }
    const [newest] = superblocks
    const log = newest === undefined
      ? undefined
      : yield* LogLook.look({
        source,
        checkpoints: loaded,
        superblocks,
        found: findings.add,
        advance: yield* advancing("log", source.segments.reduce((sum, { bytes }) => sum + bytes, 0))
      }, newest)
    const hasMoved = yield* Source.hasMoved(source)
    return { report: reportOf(options.path, checkpoints, log, findings), hasMoved }
  }))

const reportOf = (
  path: string,
  checkpoints: ReadonlyArray<CheckpointReport>,
  log: LogReport | undefined,
  { list, more }: Findings
): Report => {
  const newest = checkpoints.find(({ role }) => role === "newest") ?? checkpoints[0]
  const sum = (of: (keyspace: KeyspaceReport) => number): number =>
    (newest?.keyspaces ?? []).reduce((total, keyspace) => total + of(keyspace), 0)
  return {
    path,
    checkpoints,
    keyspaces: newest?.keyspaces.length ?? 0,
    pages: newest === undefined ? 0 : newest.pages.leaves + newest.pages.inner,
    records: sum(({ records }) => records),
    largeValues: sum(({ largeValues }) => largeValues),
    groups: log?.groups ?? 0,
    log,
    findings: list,
    more
  }
}

/** The superblocks that are sound, the newest first; what is wrong with the others is told. */
const choose = (
  source: Source.Source,
  findings: Findings
): Effect.Effect<ReadonlyArray<Superblock>, StoreError> =>
  Effect.suspend(() => {
    const { choice, slots, superblocks: { fault, path } } = source
    if (choice._tag === "TooNew") {
      const { format } = choice
      return Effect.fail(storeError(new FormatTooNew({ path, format, supported: SUPERBLOCK_FORMAT })))
    }
    const tell = (offset: number, expected: string, actual: string): void =>
      findings.add({ subject: "superblock", path, offset, expected, actual, role: "newest" })
    if (fault !== undefined) {
      tell(0, fault.expected, fault.actual)
      return Effect.succeed([])
    }
    slots.forEach((decoded, slot) => {
      const offset = superblockOffset(slot === 0 ? 0 : 1)
      if (decoded._tag === "Invalid") tell(offset + decoded.offset, "a superblock", decoded.reason)
      else if (decoded._tag === "Empty" && choice._tag !== "Chosen") tell(offset, "a superblock", "zeros")
    })
    if (choice._tag === "Mixed") tell(0, "two superblocks of one store", choice.reason)
    if (choice._tag !== "Chosen") return Effect.succeed([])
    const { damage, older, superblock } = choice
    const other = slots[superblock.slot === 0 ? 1 : 0]
    if (damage !== undefined && other._tag !== "Invalid") {
      const expected = `the checkpoint of version ${superblock.otherVersion}`
      tell(superblockOffset(superblock.slot === 0 ? 1 : 0), expected, damage)
    }
    return Effect.succeed(older === undefined ? [superblock] : [superblock, older])
  })

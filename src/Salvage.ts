/**
 * Salvaging: building a new store of everything that is provably intact in a damaged one, and listing what is missing.
 *
 * What is copied is vouched for: a page by whoever points to it, up to a superblock; a group of the log by the chain
 * that leads to it. The new store holds the state at one LSN, that of the end of the log or of its first break, without
 * the keys in the ranges that the report lists. It is made by ordinary transactions, so it is as sound as any; versions
 * and LSNs are its own.
 *
 * I1 Nothing is written to the damaged store. Its lock is shared, which takes no right to write either.
 * I2 Every key of the state at that LSN has its value in the new store, or lies in a range that is listed.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { isOfIndexes } from "./actors/commit/Guarded.ts"
import { abandon, expectEmpty } from "./Destination.ts"
import { Disk } from "./disk/Disk.ts"
import * as NodeDisk from "./disk/NodeDisk.ts"
import type { StoreId } from "./log/Group.ts"
import type { ScannedGroup, ScanVerdict } from "./log/ScanAnswer.ts"
import { Findings } from "./offline/Finding.ts"
import type { Finding } from "./offline/Finding.ts"
import * as Log from "./offline/Log.ts"
import { advancing, Watcher } from "./offline/Progress.ts"
import type { Progress } from "./offline/Progress.ts"
import type { Retained } from "./offline/Retained.ts"
import * as Source from "./offline/Source.ts"
import * as Copy from "./salvage/Copy.ts"
import * as LogClock from "./salvage/LogClock.ts"
import * as Plan from "./salvage/Plan.ts"
import { Replay } from "./salvage/Replay.ts"
import type { Stopped, Wanted } from "./salvage/Replay.ts"
import type { Declared } from "./salvage/Target.ts"
import { Target } from "./salvage/Target.ts"
import * as Store from "./Store.ts"
import { Corrupted, Locked, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import type { Bounds } from "./tree/page/Bounds.ts"
import type { Ranges } from "./tree/past/Ranges.ts"

export { Watcher }
export type { Finding, Progress }

export interface Options {
  /** The damaged store. It must not be open, and cannot be opened meanwhile. */
  readonly from: string
  /** The directory of the new store: empty, or not there yet. */
  readonly to: string
  /** Options of the new store. Its pages are as large as those of the damaged one unless this says otherwise. */
  readonly store?: Omit<Store.Options, "path"> | undefined
  /** Findings that are kept; more are counted. Default 1000. */
  readonly findings?: number | undefined
}

/** A keyspace of the new store, and which of its keys are missing: at or above `low`, below `high`. */
export interface KeyspaceReport {
  readonly name: string
  readonly records: number
  /** The bounds are keys of the store: whoever logs a report logs those. Undefined: no upper bound. */
  readonly lost: ReadonlyArray<Bounds>
}

/** Where the log breaks off, with acknowledged commits behind. */
export interface Break {
  readonly path: string
  readonly offset: number
  readonly expected: string
  readonly actual: string
}

export interface Report {
  readonly from: string
  readonly to: string
  /** The new store is the damaged one as of this LSN: all commits below it. */
  readonly lsn: number
  /** Version of the checkpoint that was copied; undefined where all comes from the log. */
  readonly checkpoint: number | undefined
  readonly keyspaces: ReadonlyArray<KeyspaceReport>
  readonly records: number
  readonly log: {
    /** Groups and transactions that were applied. */
    readonly groups: number
    readonly transactions: number
    /** Undefined where the log was read to its end. */
    readonly break: Break | undefined
    /** Groups that are whole and lie behind the break. They were not applied: what led to them is lost. */
    readonly behind: Log.Strays
  }
  /** Nothing is missing. */
  readonly complete: boolean
  /** What was met on the way and could not be used. */
  readonly findings: ReadonlyArray<Finding>
  readonly more: number
}

/** Builds a new store in a directory of this machine from a damaged one. */
export const salvage = (options: Options): Effect.Effect<Report, StoreError> =>
  Effect.provide(salvageDisk(options), NodeDisk.layer)

/** The same on any disk, with both stores on it. What it has made of a new store when it fails is removed. */
export const salvageDisk = (options: Options): Effect.Effect<Report, StoreError, Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const { from, to } = options
    const disk = yield* Disk
    yield* Source.keepOut(disk, from)
    const source = yield* Source.open(disk, from)
    const findings = new Findings(options.findings ?? 1000)
    const plan = yield* Plan.make(source, findings.add)
    let made: StoreId | undefined
    const filled = Effect.scoped(Effect.gen(function*() {
      const clock = yield* LogClock.make
      const opening = Store.make(storeOptions(options, plan))
      const store = yield* Effect.provideService(opening, Clock.Clock, clock)
      made = store.machine.parts.checkpoint.newest().storeId
      return yield* fill(source, plan, new Target(store, clock))
    }))
    yield* expectEmpty(disk, to)
    const found = yield* Effect.tap(filled, () => expectUnchanged(source)).pipe(
      Effect.onError(() => abandon(disk, to, made))
    )
    return { from, to, ...found, findings: findings.list, more: findings.more }
  }))

const storeOptions = ({ store = {}, to }: Options, { pageBytes }: Plan.Plan): Store.Options =>
  store.pageSize === undefined
    ? { ...store, path: to, limits: { pageBytes, ...store.limits } }
    : { ...store, path: to }

/**
 * A store that somebody has open moves on, and what was read of it is of two moments. The lock keeps all out, but a
 * copy or a damaged store may have none.
 */
const expectUnchanged = (source: Source.Source): Effect.Effect<void, StoreError> =>
  Effect.flatMap(Source.hasMoved(source), (moved) =>
    moved
      ? Effect.fail(storeError(new Locked({ path: source.directory, pid: undefined })))
      : Effect.void)

type Filled = Omit<Report, "from" | "to" | "findings" | "more">

const fill = (
  source: Source.Source,
  plan: Plan.Plan,
  target: Target
): Effect.Effect<Filled, StoreError> =>
  Effect.gen(function*() {
    const { primary } = plan
    const counters = Copy.counters()
    const keyspaces = new Map<number, Declared>(
      primary?.catalog?.keyspaces.map((entry) => [entry.id, entry]) ?? []
    )
    const lost = primary === undefined
      ? new Map<number, Ranges>()
      : yield* Copy.copy({ retained: primary, target, counters })
    const replay = new Replay(target, keyspaces, lost)
    if (primary !== undefined && [...lost.values()].some((ranges) => !ranges.isEmpty)) {
      yield* fillGaps(source, plan, primary, { target, counters, replay })
    }
    const { end, verdict } = yield* apply(source, plan, replay)
    yield* dropIndexes(target, keyspaces, lost)
    for (const declared of keyspaces.values()) yield* target.create(declared)
    const count = yield* target.finish
    const reports: Array<KeyspaceReport> = []
    for (const [id, declared] of keyspaces) {
      const { name } = declared
      reports.push({ name, records: yield* count(declared), lost: lost.get(id)?.list ?? [] })
    }
    const broken = stopOf(source, replay) ?? breakOf(source, verdict)
    return {
      lsn: end,
      checkpoint: primary?.superblock.version,
      keyspaces: reports,
      records: reports.reduce((sum, { records }) => sum + records, 0),
      log: {
        groups: replay.counters.groups,
        transactions: replay.counters.records,
        break: broken,
        behind: broken === undefined ? { groups: 0, records: 0 } : yield* behind(source, plan, end)
      },
      complete: broken === undefined && [...lost.values()].every((ranges) => ranges.isEmpty)
    }
  })

/**
 * Indexes that tell of records that are lost, or that do not tell of some that are not, would be worse than none: those
 * of a store that has lost anything are to be built anew.
 */
const dropIndexes = (
  target: Target,
  keyspaces: Map<number, Declared>,
  lost: ReadonlyMap<number, Ranges>
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    if ([...lost.values()].every((ranges) => ranges.isEmpty)) return
    for (const [id, declared] of keyspaces) {
      if (!isOfIndexes(declared.layout)) continue
      yield* target.drop(declared)
      keyspaces.delete(id)
    }
  })

/** Fills what is lost of the primary checkpoint from the log below its cut, and from the older checkpoint. */
const fillGaps = (
  source: Source.Source,
  plan: Plan.Plan,
  primary: Retained,
  { counters, replay, target }: {
    readonly target: Target
    readonly counters: ReturnType<typeof Copy.counters>
    readonly replay: Replay
  }
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { lost } = replay
    const { cut } = primary.superblock
    const from = yield* Plan.earliest(source, plan, primary)
    const { older } = plan
    const stands = older !== undefined && (yield* Plan.leads(source, plan, older, cut))
    const wanted = new Map<number, Wanted>()
    const copied = new Map<number, Ranges>()
    for (const entry of primary.catalog?.keyspaces ?? []) {
      const keys = lost.get(entry.id)
      if (keys === undefined || keys.isEmpty) continue
      if (from !== undefined && entry.from >= from.lsn) {
        wanted.set(entry.id, { keys, from: entry.from })
        lost.delete(entry.id)
      } else if (stands && older.catalog?.keyspaces.some(({ treeId }) => treeId === entry.treeId) === true) {
        wanted.set(entry.id, { keys, from: older.superblock.cut.lsn })
        copied.set(entry.id, keys)
      }
    }
    if (wanted.size === 0) return
    if (older !== undefined && copied.size > 0) {
      const missing = yield* Copy.copy({ retained: older, target, counters, wanted: copied })
      for (const [id, keys] of copied) {
        const ranges = missing.get(id)
        if (ranges !== undefined) lost.set(id, keys.and(ranges))
      }
    }
    const spare = older === undefined ? undefined : startOf(older)
    const earlier = from === undefined || spare !== undefined && copied.size > 0 && spare.cut.lsn < from.lsn
    const start = earlier || copied.size === wanted.size ? spare : { cut: from, streams: [] }
    if (start === undefined) return
    replay.limit(wanted)
    yield* Plan.gather(source, plan.storeId, start, replay.gather)
    yield* readLog(source, plan, { cut: start.cut, until: cut.lsn, visit: replay.take })
    replay.limit(undefined)
    // It was read before, and all was there.
    const { stopped } = replay
    if (stopped !== undefined) {
      return yield* Effect.fail(storeError(new Corrupted(breakAt(source, stopped))))
    }
  })

const startOf = ({ catalog, superblock: { cut } }: Retained): Plan.Start => ({
  cut,
  streams: catalog?.streams ?? []
})

/** Applies the log from the cut of the state that was copied. */
const apply = (
  source: Source.Source,
  plan: Plan.Plan,
  replay: Replay
): Effect.Effect<{ readonly end: number; readonly verdict: ScanVerdict }, StoreError> =>
  Effect.gen(function*() {
    let end = plan.cut.lsn
    // Pieces below the cut count where their commit follows above it.
    replay.begin()
    if (plan.primary !== undefined) {
      yield* Plan.gather(source, plan.storeId, startOf(plan.primary), replay.gather)
    }
    replay.counters.groups = 0
    replay.counters.records = 0
    const visit = (group: ScannedGroup): Effect.Effect<void, StoreError> | undefined => {
      end = group.end
      return replay.take(group)
    }
    const verdict = yield* readLog(source, plan, { cut: plan.cut, visit })
    return { end: replay.stopped?.lsn ?? end, verdict }
  })

const readLog = (
  source: Source.Source,
  { durableLsn, storeId }: Plan.Plan,
  options: Pick<Log.ReadOptions, "cut" | "until" | "visit">
): Effect.Effect<ScanVerdict, StoreError> =>
  Effect.gen(function*() {
    const total = source.segments.reduce((sum, { bytes }) => sum + bytes, 0)
    const advance = yield* advancing("log", total)
    return yield* Log.read(source, { ...options, storeId, durableLsn, advance })
  })

const stopOf = (source: Source.Source, { stopped }: Replay): Break | undefined =>
  stopped === undefined ? undefined : breakAt(source, stopped)

const breakAt = ({ directory }: Source.Source, { offset, path }: Stopped): Break => ({
  path: `${directory}/${path}`,
  offset,
  expected: "a transaction with all of its pieces",
  actual: "a commit whose pieces are not all there"
})

const breakOf = (source: Source.Source, verdict: ScanVerdict): Break | undefined => {
  if (verdict._tag === "TornTail" || verdict._tag === "Reached") return undefined
  const path = Log.pathOf(source, verdict.sequence)
  if (verdict._tag === "Corrupted") {
    const { actual, expected, offset } = verdict
    return { path, offset, expected, actual }
  }
  return { path, offset: 8, expected: `format ${verdict.supported}`, actual: `format ${verdict.format}` }
}

/** Counts the groups behind the end that was reached, in its segment and those after. */
const behind = (
  source: Source.Source,
  { storeId }: Plan.Plan,
  end: number
): Effect.Effect<Log.Strays, StoreError> =>
  Effect.gen(function*() {
    const sum = { groups: 0, records: 0 }
    const first = source.headers.findLast(({ base }) => base <= end)
    for (const segment of source.headers) {
      if (first !== undefined && segment.sequence < first.sequence) continue
      const strays = yield* Log.strays(source, segment, storeId, Math.max(end, segment.base))
      sum.groups += strays.groups
      sum.records += strays.records
    }
    return sum
  })

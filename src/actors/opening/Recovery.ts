/**
 * Replaying the log above the newest checkpoint.
 *
 * Groups are verified and applied one after another until the log ends; whether that end is a torn tail or damage is
 * decided by `log/Scan.ts`. Nothing is served before this has ended, and nothing that it reads is thrown away.
 *
 * I1 Only groups that the scan accepted are applied, in order, from the cut on; a reader beside a living owner applies
 *    only what is known to be durable. What is applied together (`Sweep.ts`) is applied before more is read than there
 *    is memory for, and before the end of the log is decided.
 * I2 Each session's serials follow one another without a hole (`tree/SessionReplay.ts`).
 * I3 What was adopted without being known durable is written again and synced before anything builds on it, because a
 *    page cache may show bytes that the disk does not have.
 * I4 What stood at the end is gone for good before a segment behind it is removed, or anything is written in its place.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Disk, DiskFile } from "../../disk/Disk.ts"
import { isViolation } from "../../Invariant.ts"
import { GROUP_HEADER_BYTES, GroupKind } from "../../log/Group.ts"
import type { OpenStreams } from "../../log/Pieces.ts"
import { RecordReader } from "../../log/RecordReader.ts"
import { Scan } from "../../log/Scan.ts"
import type { ScannedGroup, ScanVerdict, TornTail } from "../../log/ScanAnswer.ts"
import {
  decodeSegment,
  fileOffset,
  parseSegmentName,
  SEGMENT_HEADER_BYTES,
  segmentName
} from "../../log/Segment.ts"
import { FormatTooNew, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import * as Telemetry from "../../Telemetry.ts"
import type { Generations } from "../../tree/Generations.ts"
import type { Budget } from "../../tree/memory/Budget.ts"
import type { SessionReplay } from "../../tree/SessionReplay.ts"
import type { Tree as Kernel } from "../../tree/Tree.ts"
import { Sweep } from "../apply/Sweep.ts"
import type { Options as SweepOptions } from "../apply/Sweep.ts"
import type { Segments } from "../files/Segments.ts"
import type { Roots } from "./Footing.ts"
import { gather, note } from "./Gather.ts"
import { LogBuffer } from "./LogBuffer.ts"
import { damaged } from "./Restore.ts"
import { joined } from "./Seam.ts"

/** Part of the memory that the log may take while it is replayed. */
const memoryParts = 8

/** Bytes of the log for a write that is gathered, at least: there is no room in the books for more. */
const writeBytes = 64

/** What records are given to, to be applied by the Tree. */
export const sweepOf = (
  { budget, generations, tree: kernel }: {
    readonly budget: Budget
    readonly generations: Generations
    readonly tree: Kernel
  },
  tree: SweepOptions["tree"]
): Sweep => new Sweep({ kernel, generations, tree, most: budget.memoryBytes / memoryParts / writeBytes })

/** How far a replay has come. */
export interface Progress {
  readonly lsn: number
  /** End of the log as far as its files say. */
  readonly bytes: number
  readonly records: number
}

/** What replaying the log found. */
export interface Replayed {
  readonly end: TornTail
  readonly records: number
  readonly bytes: number
}

interface ReplayOptions {
  readonly disk: Disk["Service"]
  readonly directory: string
  readonly roots: Roots
  readonly mode: "readWrite" | "readOnly"
  /** Those of the checkpoint; they take in what is applied. */
  readonly sessions: SessionReplay
  /** Takes over the segments of the log. */
  readonly segments: Segments
  /** Transactions whose pieces are in the log, and the first pieces of those that were open at the cut. */
  readonly streams: OpenStreams
  readonly firsts: ReadonlyArray<number>
  /** Applies records: some by themselves, some together. */
  readonly sweep: Sweep
  /** Waits until what was given to it is applied; undefined where it is. */
  readonly applied: () => Effect.Effect<void, StoreError> | undefined
  readonly budget: Budget
  readonly progress: (progress: Progress) => Effect.Effect<void>
}

/** Applies the log from the newest checkpoint's cut, and decides where it ends. */
export const replay = (options: ReplayOptions): Effect.Effect<Replayed, StoreError> =>
  Effect.gen(function*() {
    const { mode, roots, segments, streams, sweep } = options
    const { begin, cut, storeId } = roots.newest
    const opened = yield* openSegments(options, begin.sequence)
    yield* joined({ ...options, opened })
    yield* gather({ ...options, opened })
    const log = new LogBuffer(options.budget.memoryBytes / memoryParts, [...opened.values()])
    options.budget.hold("parked", () => log.memoryBytes + sweep.gathered.bytes)
    const scan = new Scan({
      storeId,
      cut,
      windowBytes: log.windowBytes,
      durableLsn: roots.durableLsn,
      // The log may have been truncated for a checkpoint that is lost now: up to this one's cut at most.
      firstSequence: roots.superseded ? cut.sequence : begin.sequence,
      files: [...opened].map(([sequence, { bytes }]) => ({ sequence, bytes }))
    })
    const adopted = new Adopted()
    let records = 0
    while (true) {
      const answer = scan.next()
      if (answer._tag === "Need") {
        if (!log.fits(answer)) {
          yield* settled(options)
          adopted.keep()
          log.clear()
        }
        scan.feed(yield* log.read((opened.get(answer.sequence) as Opened).file, answer))
      } else if (answer._tag === "Group") {
        segments.announce(answer.segment)
        adopted.push(answer)
        const durable = adopted.takeDurable(scan.durableLsn)
        const groups = mode === "readWrite" ? [answer] : durable
        for (const group of groups) records += yield* applyAll(group, options)
        yield* options.progress({ lsn: answer.end, bytes: answer.end - cut.lsn, records })
      } else {
        yield* settled(options)
        const end = yield* ended(options, answer, opened)
        streams.endAll()
        if (mode === "readWrite") yield* adopted.rewrite(end, opened)
        log.release()
        sweep.release()
        // The pages may have all of it again at once.
        options.budget.counted = 0
        return { end, records, bytes: end.at.lsn - cut.lsn }
      }
    }
  }).pipe(
    Effect.withSpan(Telemetry.Span.recoveryReplay),
    Effect.tap(({ bytes, end, records }) =>
      Effect.annotateCurrentSpan({
        [Telemetry.Attribute.recoveryCommits]: records,
        [Telemetry.Attribute.recoveryBytes]: bytes,
        [Telemetry.Attribute.recoveryAdoptedBytes]: end.at.lsn - end.durableLsn,
        [Telemetry.Attribute.recoveryTorn]: end.partial
      })
    )
  )

/** The end of the log, rid of what lies behind it; or why there is none. */
const ended = (
  { directory, disk, mode, segments }: ReplayOptions,
  verdict: ScanVerdict,
  opened: ReadonlyMap<number, Opened>
): Effect.Effect<TornTail, StoreError> =>
  Effect.gen(function*() {
    switch (verdict._tag) {
      case "TornTail": {
        if (mode === "readWrite") yield* wipe(verdict, opened)
        for (const sequence of verdict.leftovers) {
          yield* segments.forget(sequence)
          if (mode === "readWrite") yield* disk.unlink(`${directory}/${segmentName(sequence)}`)
        }
        return verdict
      }
      case "TooNew": {
        const path = `${directory}/${segmentName(verdict.sequence)}`
        const { format, supported } = verdict
        return yield* Effect.fail(storeError(new FormatTooNew({ path, format, supported })))
      }
      case "Corrupted": {
        const path = `${directory}/${segmentName(verdict.sequence)}`
        return yield* damaged(path, verdict.offset, verdict.expected, verdict.actual)
      }
      case "Reached":
        throw new Error("invariant violated: Recovery I1: no end was asked for")
    }
  })

/**
 * Makes sure that nothing stands at the end. A header that is torn across two sectors may lack its last bytes only, and
 * those of the one that is written next may be the same: the checksum of the group before, and no records. Were only
 * they to get there before a crash, the old group would be whole again, and with it all that follows (I4).
 */
const wipe = (
  { at, segment }: TornTail,
  opened: ReadonlyMap<number, Opened>
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const found = segment === undefined ? undefined : opened.get(segment.sequence)
    if (segment === undefined || found === undefined) return
    const [header, zeros] = [Buffer.alloc(GROUP_HEADER_BYTES), Buffer.alloc(GROUP_HEADER_BYTES)]
    yield* found.file.read(header, fileOffset(segment, at.lsn))
    if (header.equals(zeros)) return
    yield* found.file.write([zeros], fileOffset(segment, at.lsn))
    yield* found.file.sync
  })

const applyAll = (
  { bytes, kind, lsn, records, segment }: ScannedGroup,
  options: ReplayOptions
): Effect.Effect<number, StoreError> =>
  Effect.gen(function*() {
    const { directory, segments, sessions, streams, sweep } = options
    // What the life before had not committed never will be.
    if (kind === GroupKind.open) streams.endAll()
    if (kind !== GroupKind.data) return 0
    const reader = new RecordReader()
    reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
    while (reader.nextRecord()) {
      const mismatch = sessions.take(reader)
      if (mismatch !== undefined) {
        const path = `${directory}/${segmentName(segment.sequence)}`
        return yield* damaged(path, fileOffset(segment, reader.lsn), mismatch.expected, mismatch.actual)
      }
      const wait = note({ directory, segments }, streams, reader) ??
        fitting(options, () => sweep.apply(reader))
      if (wait !== undefined) yield* wait
    }
    return records
  })

/** Applies what has been gathered. */
const settled = (options: ReplayOptions): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => fitting(options, () => options.sweep.settle()) ?? Effect.void)

/** Applies records, and answers what to wait for. That the store is not what one takes it for is the log's fault. */
const fitting = (options: ReplayOptions, apply: () => void): Effect.Effect<void, StoreError> | undefined => {
  try {
    apply()
  } catch (cause) {
    if (isViolation(cause)) return unfit(options, cause)
    throw cause
  }
  const wait = options.applied()
  if (wait !== undefined) return Effect.andThen(wait, Effect.suspend(() => misfit(options) ?? Effect.void))
  return misfit(options)
}

const misfit = (options: ReplayOptions): Effect.Effect<never, StoreError> | undefined =>
  options.sweep.violation === undefined ? undefined : unfit(options, options.sweep.violation)

const unfit = (
  { directory, segments, sweep }: ReplayOptions,
  { message }: Error
): Effect.Effect<never, StoreError> => {
  const place = segments.placeOf(sweep.lsn)
  const path = `${directory}/${place === undefined ? "log" : segmentName(place.sequence)}`
  return damaged(path, place?.offset ?? 0, "a record that fits the store", message)
}

interface Opened {
  readonly file: DiskFile
  readonly bytes: number
}

/** Opens the segments from `first` on; those below are of no use any more. Whether they are sound, the scan says. */
const openSegments = (
  options: {
    readonly disk: Disk["Service"]
    readonly directory: string
    readonly roots: Roots
    readonly mode: "readWrite" | "readOnly"
    readonly segments: Segments
  },
  first: number
): Effect.Effect<Map<number, Opened>, StoreError> =>
  Effect.gen(function*() {
    const { directory, disk, mode, roots, segments } = options
    const opened = new Map<number, Opened>()
    const names = yield* disk.list(directory)
    const last = names.reduce((most, name) => Math.max(most, parseSegmentName(name) ?? 0), 0)
    for (const name of names) {
      const sequence = parseSegmentName(name)
      if (sequence === undefined) continue
      const path = `${directory}/${name}`
      if (sequence < first) {
        if (mode === "readWrite") yield* disk.unlink(path)
        continue
      }
      // Most are only read: more descriptors are for the one that is likely to be gone on with.
      const durableWrites = sequence === last ? "oneCall" : "twoCalls"
      const file = yield* disk.open(path, { mode, durableWrites })
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
      const looked = Effect.all([file.size, file.read(header, 0)])
      const [bytes, read] = yield* Effect.onError(looked, () => file.close)
      opened.set(sequence, { file, bytes })
      const decoded = decodeSegment(header.subarray(0, read), roots.newest.storeId, sequence)
      if (decoded._tag === "Valid") segments.adopt(decoded.segment, file)
      else segments.adoptUnsound(sequence, file)
      // What lies behind the cut may be a leftover, with the base of a life before: the replay announces it.
      if (decoded._tag === "Valid" && sequence <= roots.newest.cut.sequence) {
        segments.announce(decoded.segment)
      }
    }
    return opened
  })

/** Groups that were found and are not yet known to be durable. */
class Adopted {
  private groups: Array<ScannedGroup> = []

  push(group: ScannedGroup): void {
    this.groups.push(group)
  }

  /** Copies what is left: the log is going to be read to where it lies. */
  keep(): void {
    this.groups = this.groups.map((group) => ({ ...group, bytes: Buffer.from(group.bytes) }))
  }

  /** Gives up the groups that are durable, oldest first. */
  takeDurable(durableLsn: number): ReadonlyArray<ScannedGroup> {
    const first = this.groups.findIndex(({ end }) => end > durableLsn)
    return this.groups.splice(0, first < 0 ? this.groups.length : first)
  }

  /** Writes what is left again, in place, and syncs it. */
  rewrite(end: TornTail, opened: ReadonlyMap<number, Opened>): Effect.Effect<void, StoreError> {
    const groups = this.takeAbove(end.durableLsn)
    return Effect.gen(function*() {
      const files = new Set<DiskFile>()
      for (const { bytes, lsn, segment } of groups) {
        const { file } = opened.get(segment.sequence) as Opened
        yield* file.write([bytes], fileOffset(segment, lsn))
        files.add(file)
      }
      for (const file of files) yield* file.sync
    })
  }

  private takeAbove(durableLsn: number): ReadonlyArray<ScannedGroup> {
    this.takeDurable(durableLsn)
    return this.groups
  }
}

/** Waits until the Tree has applied everything that it parked, or the store has failed; undefined where it has. */
export const drained = (
  tree: {
    readonly backlog: number
    readonly idle: (reply: (exit: Exit.Exit<void, StoreError>) => void) => void
  },
  fuse: { readonly failure: StoreError | undefined }
): Effect.Effect<void, StoreError> | undefined =>
  tree.backlog === 0 && fuse.failure === undefined ?
    undefined :
    Effect.suspend(() =>
      fuse.failure === undefined
        ? Effect.callback<void, StoreError>((resume) => tree.idle(resume))
        : Effect.fail(fuse.failure)
    )

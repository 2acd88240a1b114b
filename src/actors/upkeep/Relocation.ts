/**
 * Moving large values out of old segments, so that the log behind them can be given up.
 *
 * A part of the janitor. After each checkpoint it looks at the segments that the next one could give up if nothing
 * lived in them (`log/Held.ts` says which are worth it), reads those through, and has the Wal write anew what the tree
 * still refers to there. The segments go with one of the next two checkpoints.
 *
 * ```
 *   Idle ─ checkpoint ─▶ plan ── nothing is worth it, and no leaf is overgrown ──▶ Idle
 *                         ▲ ├── nothing is worth it ──▶ cleared: mini-pages are merged ──────────┐
 *                         │ └── a run of segments ──▶ survey what is unknown of it, or empty it ─┤
 *                         └───────────────────────────────────────────────────────────────────────┘
 * ```
 *
 * I1 One batch is in flight at a time, and it waits for its sync like a commit: who writes is held up by no more.
 * I2 Every round surveys a segment for the first time, empties one, leaves one for good or has leaves merged; what was
 *    tried is tried again once for each checkpoint. So it comes to an end.
 * I3 A value goes into the log anew only if it has the checksum that its leaf says. What is rotten stays where it is,
 *    for its reader to hear of, and so does all in its segment.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { DiskFile } from "../../disk/Disk.ts"
import type { Limits } from "../../Limits.ts"
import { GROUP_HEADER_BYTES, GroupKind } from "../../log/Group.ts"
import type { StoreId } from "../../log/Group.ts"
import type { HeldSegment } from "../../log/Held.ts"
import { movedBytes, RELOCATE_BYTES, worthEmptying } from "../../log/Held.ts"
import { Op, writeBytes } from "../../log/Record.ts"
import { RecordReader } from "../../log/RecordReader.ts"
import { Scan } from "../../log/Scan.ts"
import type { ScannedGroup } from "../../log/ScanAnswer.ts"
import { baseOf, segmentName } from "../../log/Segment.ts"
import type { Segment } from "../../log/Segment.ts"
import { Closed, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import type { Generations } from "../../tree/Generations.ts"
import type { Tree as Kernel } from "../../tree/Tree.ts"
import { Absent, Found, Missing } from "../../tree/Tree.ts"
import type { Charges } from "../apply/Charges.ts"
import type { Move } from "../commit/Request.ts"
import type { Segments } from "../files/Segments.ts"
import * as Values from "../files/Values.ts"
import { damaged } from "../opening/Restore.ts"

/** Values in memory at a time, unless one alone is larger. */
const mostBatchBytes = 1024 * 1024

/** Leaves that are merged at a time: what is found below their mini-pages goes while there is more to be looked for. */
const mostOvergrown = 64

/** Log that is read through between two yields to the event loop. */
const sliceBytes = 256 * 1024

/** What one round of moving did. */
export interface Report {
  /** Segments that hold nothing any more. */
  readonly segments: number
  readonly values: number
  readonly bytes: number
  /** Why a segment was left as it is, and what follows it. */
  readonly error: StoreError | undefined
}

export interface Options {
  readonly limits: Limits
  readonly directory: string
  readonly storeId: StoreId
  readonly segments: Segments
  readonly charges: Charges
  readonly generations: Generations
  readonly kernel: Kernel
  readonly fork: (effect: Effect.Effect<void>) => void
  /** False once the store is closing or has failed. */
  readonly running: () => boolean
  readonly load: (pageId: number) => Effect.Effect<void, StoreError>
  /** Has mini-pages merged into their leaves, and answers when they are. */
  readonly merge: (pageIds: ReadonlySet<number>) => Effect.Effect<void, StoreError>
  readonly relocate: (moves: ReadonlyArray<Move>) => Effect.Effect<void, StoreError>
  readonly done: (report: Report) => void
  readonly failed: (cause: unknown) => void
}

/** A segment that nothing but its large values keeps. */
interface Candidate extends HeldSegment {
  readonly segment: Segment
  readonly end: number
  /** Bytes of its large values. */
  readonly live: number
}

export class Relocation {
  readonly counters = { segments: 0, values: 0, bytes: 0, surveys: 0 }
  /** Whether something is being looked for or moved now. */
  busy = false
  private readonly options: Options
  private cut = 0
  /** Log that a byte of large value takes when it is moved, by base of the segment: segments do not change. */
  private readonly ratios = new Map<number, number>()
  /** Bases of segments that could not be read. */
  private readonly failed = new Set<number>()
  /** Bases of segments that were looked at since the last start. */
  private readonly tried = new Set<number>()
  /** Bases of those of them that still have live values, as far as is known. */
  private readonly attempted = new Set<number>()
  private readonly batchBytes: number
  private readonly batch: Array<Move> = []
  private batched = 0
  /** Whether there was a checkpoint meanwhile: what was overwritten while it was moved is looked for once more. */
  private again = false
  /** Leaves below whose mini-pages something stands that is overwritten. */
  private readonly overgrown = new Set<number>()
  private error: StoreError | undefined

  constructor(options: Options) {
    const { segmentBytes, transactionBytes, undurableBytes } = options.limits
    this.options = options
    this.batchBytes = Math.min(mostBatchBytes, transactionBytes, undurableBytes, segmentBytes / 4)
  }

  /** Looks whether there is something to move, and moves it. The next checkpoint may give up the log below `cut`. */
  start(cut: number): void {
    const { done, failed, fork, running } = this.options
    this.cut = cut
    this.again = this.busy
    if (this.busy || !running()) return
    this.busy = true
    this.tried.clear()
    this.attempted.clear()
    const { bytes, segments, values } = this.counters
    this.error = undefined
    fork(this.rounds.pipe(
      Effect.catchDefect((defect) => Effect.sync(() => failed(defect))),
      Effect.map(() => {
        this.busy = false
        const { counters, error } = this
        if (counters.segments === segments && error === undefined) return
        done({
          segments: counters.segments - segments,
          values: counters.values - values,
          bytes: counters.bytes - bytes,
          error
        })
      })
    ))
  }

  private readonly rounds: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    const { running } = this.options
    while (running()) {
      const run = this.plan()
      if (run.length === 0) {
        if (this.overgrown.size > 0) yield* this.cleared
        else if (!this.again) return
        if (this.again) this.tried.clear()
        this.again = false
        continue
      }
      const unknown = run.find(({ live, segment }) => live > 0 && !this.ratios.has(segment.base))
      if (unknown !== undefined) {
        yield* this.attempt(unknown, this.survey(unknown))
        continue
      }
      for (const candidate of run) {
        if (candidate.live === 0) continue
        yield* this.attempt(candidate, this.empty(candidate))
        if (!running()) return
        this.tried.add(candidate.segment.base)
        this.attempted.add(candidate.segment.base)
        if (this.failed.has(candidate.segment.base)) break
      }
      if (this.overgrown.size >= mostOvergrown) yield* this.cleared
    }
  })

  /** What the base pages of overgrown leaves still say holds its segments until their mini-pages are merged. */
  private readonly cleared: Effect.Effect<void> = Effect.suspend(() => {
    const leaves = new Set(this.overgrown)
    this.overgrown.clear()
    return Effect.ignore(this.options.merge(leaves))
  })

  /** The segments that are to be emptied now, the first of which has live values. */
  private plan(): ReadonlyArray<Candidate> {
    const { charges, limits, segments } = this.options
    const live = charges.live()
    const list = segments.list
    // Counted once a round: what readers of the past hold is counted, too, and that may be much.
    for (const base of this.attempted) {
      if (live.has(base)) continue
      this.attempted.delete(base)
      this.counters.segments++
    }
    for (const base of this.ratios.keys()) if (base < (list[0]?.base ?? 0)) this.ratios.delete(base)
    const held: Array<Candidate> = []
    for (const [index, segment] of list.entries()) {
      const end = list[index + 1]?.base ?? Infinity
      const charged = live.get(segment.base) ?? 0
      if (end > this.cut || charged > 0 && this.failed.has(segment.base)) break
      const bytes = this.waits(segment.base) ? 0 : charged
      // What is empty in front is given up by a checkpoint, or when some reader of the past has ended.
      if (held.length === 0 && bytes === 0) continue
      const cost = bytes * (this.ratios.get(segment.base) ?? 1)
      held.push({ segment, end, live: bytes, span: end - segment.base, cost })
    }
    return held.slice(0, worthEmptying(held, limits.segmentBytes / 2))
  }

  /** What is left of a segment goes with the mini-pages that it stands below: there is nothing to be moved. */
  private waits(base: number): boolean {
    return this.tried.has(base)
  }

  /** A segment that cannot be read is left for good: it would fail again. */
  private attempt({ segment }: Candidate, work: Effect.Effect<void, StoreError>): Effect.Effect<void> {
    return Effect.map(Effect.exit(work), (exit) => {
      this.batch.length = 0
      this.batched = 0
      if (Exit.isSuccess(exit)) return
      const failure = Exit.findErrorOption(exit)
      if (failure._tag === "None") return this.options.failed(exit.cause)
      // On a full disk it is tried again after the next checkpoint.
      if (!this.options.running() || failure.value.reason._tag === "DiskFull") return
      this.failed.add(segment.base)
      this.error ??= failure.value
    })
  }

  /** Learns how much log the large values of a segment take beside their bytes. */
  private survey(candidate: Candidate): Effect.Effect<void, StoreError> {
    const reader = new RecordReader()
    let bytes = 0
    let cost = 0
    const visit = (groups: ReadonlyArray<ScannedGroup>) =>
      Effect.sync(() => {
        for (const group of groups) {
          openGroup(reader, group)
          while (nextLarge(reader)) {
            const length = reader.valueEnd - reader.valueStart
            bytes += length
            cost += movedBytes(reader.keyEnd - reader.keyStart, length, this.batchBytes)
          }
        }
      })
    return Effect.map(this.walk(candidate, visit), () => {
      this.counters.surveys++
      this.ratios.set(candidate.segment.base, bytes === 0 ? 1 : cost / bytes)
    })
  }

  /** Has all that the tree refers to in a segment written anew. */
  private empty(candidate: Candidate): Effect.Effect<void, StoreError> {
    const reader = new RecordReader()
    const visit = (groups: ReadonlyArray<ScannedGroup>) =>
      Effect.gen({ self: this }, function*() {
        yield* this.bring(reader, groups, candidate)
        for (const group of groups) {
          openGroup(reader, group)
          while (nextLarge(reader, candidate.live)) {
            let answer = this.find(reader)
            while (answer === Missing) {
              yield* this.options.load(this.options.kernel.missing)
              answer = this.find(reader)
            }
            if (answer === Found) yield* this.take(reader)
            else this.note(reader)
          }
        }
      })
    return Effect.andThen(this.walk(candidate, visit), this.flush)
  }

  /** Loads the leaves that are to be asked beside each other: one by one each would wait for the disk in its turn. */
  private bring(
    reader: RecordReader,
    groups: ReadonlyArray<ScannedGroup>,
    { live }: Candidate
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { kernel, limits: { loadsInFlight }, load } = this.options
      const missing = new Set<number>()
      for (const group of groups) {
        openGroup(reader, group)
        while (missing.size < loadsInFlight && nextLarge(reader, live)) {
          if (this.find(reader) === Missing) missing.add(kernel.missing)
        }
      }
      // One that fails is asked for again.
      const loads = Effect.forEach(missing, load, { concurrency: "unbounded", discard: true })
      return missing.size > 1 ? Effect.ignore(loads) : Effect.void
    })
  }

  /** Whether the newest record of the key refers to the value that `reader` is at. */
  private find(reader: RecordReader): number {
    const { generations, kernel } = this.options
    const root = generations.opened(reader.keyspace)?.root
    if (root === undefined) return Absent
    const answer = kernel.get(root, reader.bytes.subarray(reader.keyStart, reader.keyEnd), Infinity)
    return answer === Found && kernel.foundReference()?.lsn !== reader.valueLsn ? Absent : answer
  }

  /** The key says something else now: if that is in a mini-page only, the base page goes on holding the value. */
  private note(reader: RecordReader): void {
    const { generations, kernel } = this.options
    const root = generations.opened(reader.keyspace)?.root
    if (root === undefined) return
    const leaf = kernel.leafBelow(root, reader.bytes.subarray(reader.keyStart, reader.keyEnd))
    if (leaf !== 0) this.overgrown.add(leaf)
  }

  /** Adds the value that was found to the batch. */
  private take(reader: RecordReader): Effect.Effect<void, StoreError> {
    const { kernel } = this.options
    const { keyEnd, keyStart, keyspace, valueEnd, valueLsn: from, valueStart } = reader
    const version = kernel.foundVersion()
    const { bytes, checksum } = kernel.foundReference() as Values.Reference
    const key = Uint8Array.prototype.slice.call(reader.bytes, keyStart, keyEnd)
    const value = Uint8Array.prototype.slice.call(reader.bytes, valueStart, valueEnd)
    return Effect.gen({ self: this }, function*() {
      yield* Values.verified(this.options, { lsn: from, bytes, checksum }, value)
      const takes = writeBytes(key.length, value.length, RELOCATE_BYTES)
      if (this.batched > 0 && this.batched + takes > this.batchBytes) yield* this.flush
      this.batch.push({ keyspace, key, value, from, version })
      this.batched += takes
    })
  }

  private readonly flush: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const { relocate, running } = this.options
    if (!running()) return Effect.fail(storeError(new Closed()))
    const moves = this.batch.splice(0)
    if (moves.length === 0) return Effect.void
    this.batched = 0
    return Effect.map(relocate(moves), () => {
      this.counters.values += moves.length
      for (const { value } of moves) this.counters.bytes += value.length
    })
  })

  /** Reads a sealed segment through, some groups at a time. */
  private walk(
    { end, segment }: Candidate,
    visit: (groups: ReadonlyArray<ScannedGroup>) => Effect.Effect<void, StoreError>
  ): Effect.Effect<void, StoreError> {
    const { directory, segments, storeId } = this.options
    const { sequence } = segment
    const read = (file: DiskFile) =>
      Effect.gen(function*() {
        const files = [{ sequence, bytes: yield* file.size }]
        const cut = baseOf(segment)
        const scan = new Scan({ storeId, cut, durableLsn: end, firstSequence: sequence, files, until: end })
        let groups: Array<ScannedGroup> = []
        let visited = segment.base
        for (let answer = scan.next(); answer._tag !== "Reached"; answer = scan.next()) {
          if (answer._tag === "Need") {
            const bytes = Buffer.allocUnsafe(answer.length)
            scan.feed(bytes.subarray(0, yield* file.read(bytes, answer.offset)))
          } else if (answer._tag === "Group") {
            if (answer.kind === GroupKind.data) groups.push(answer)
            if (answer.end - visited < sliceBytes) continue
            yield* visit(groups)
            groups = []
            visited = answer.end
            yield* Effect.yieldNow
          } else {
            const offset = answer._tag === "Corrupted" ? answer.offset : 0
            const actual = answer._tag === "Corrupted" ? answer.actual : answer._tag
            const path = `${directory}/${segmentName(sequence)}`
            return yield* damaged(path, offset, "a segment of the log that was durable", actual)
          }
        }
        yield* visit(groups)
      })
    return segments.walking(sequence, read)
  }
}

const openGroup = (reader: RecordReader, { bytes, lsn, records }: ScannedGroup): void => {
  reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
}

/** Goes to the group's next write whose value, of so many bytes at most, a leaf may refer to. */
const nextLarge = (reader: RecordReader, most = Infinity): boolean => {
  for (;;) {
    while (reader.nextWrite()) {
      if (!reader.large || reader.valueEnd - reader.valueStart > most) continue
      if (reader.op === Op.put || reader.op === Op.relocate) return true
    }
    if (!reader.nextRecord()) return false
  }
}

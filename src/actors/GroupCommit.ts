/**
 * Group commit: what was appended is sealed, written and synced together, and whoever waited is answered together.
 *
 * ```
 *   Idle ── flush: somebody waits ──▶ Flushing ── flushed ──▶ Idle, or the next group
 *     │                                └── flush: many wait for what comes meanwhile ──▶ another beside it
 *     └── idle, after a while: what nobody waits for is synced, or a mark says in the log how far it is durable
 * ```
 *
 * I1 What comes while a write is under way is the next, or one of two (`Flights.ts`).
 * I2 `synced` is answered only after the sync of the log up to there, and of all before it, succeeded.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { AnySpan } from "effect/Tracer"
import { atOnce } from "../disk/Disk.ts"
import { invariant } from "../Invariant.ts"
import type { Limits } from "../Limits.ts"
import { GROUP_HEADER_BYTES } from "../log/Group.ts"
import type { SealedGroup, Tail } from "../log/Tail.ts"
import { StoreError } from "../StoreError.ts"
import type { Flight } from "./commit/Flights.ts"
import { Flights } from "./commit/Flights.ts"
import { GroupSpan } from "./commit/GroupSpan.ts"
import { Promised } from "./commit/Promised.ts"
import type { Message } from "./commit/Request.ts"
import { Waiters } from "./commit/Waiters.ts"
import type { OneWrite } from "./files/LogWriter.ts"
import type { Segments } from "./files/Segments.ts"

export interface Options {
  readonly limits: Limits
  readonly tail: Tail
  readonly segments: Segments
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly visible: () => number
  readonly durable: (lsn: number) => void
  /** The log failed. */
  readonly poisoned: (error: StoreError) => void
  readonly failed: (cause: unknown) => void
}

export interface Counters {
  commits: number
  /** Keys and values of these commits. */
  commitBytes: number
  conflicts: number
  groups: number
  groupBytes: number
  syncs: number
  marks: number
}

/** Without waiters a group is sealed, and written, when it has this many bytes: large calls, little memory. */
const writeBehindBytes = 256 * 1024

/**
 * Syncs on the stack of a lone writer, one after another, before everything else in the process has its turn: so many
 * at first, since others may wait for theirs, then twice as many whenever nobody has; and no more than last so long.
 */
const leastInARow = 8
const mostInARow = 64
const rowMillis = 4

export class GroupCommit {
  readonly waiters = new Waiters()
  readonly span: GroupSpan
  readonly counters: Counters = {
    commits: 0,
    commitBytes: 0,
    conflicts: 0,
    groups: 0,
    groupBytes: 0,
    syncs: 0,
    marks: 0
  }
  answer: (message: Message) => void = () => {}
  /** Where the last commit ends. */
  lastCommitEnd: number
  readonly promised: Promised
  private readonly options: Options
  private writtenLsn: number
  private readonly flights = new Flights()
  private idleDue = false
  /** How many commits there were when the next idle moment was asked for. */
  private idleCommits = 0
  private markedLsn = 0
  /** How many the last sync was waited for by. */
  private served = 0
  /** Syncs that were made in the calling thread one after another, how long they took, and how many there may be. */
  private inARow = 0
  private heldMillis = 0
  private row = leastInARow

  constructor(options: Options, clock: Clock.Clock) {
    this.options = options
    this.span = new GroupSpan(clock)
    const { tail, visible } = options
    this.promised = new Promised({
      waiters: this.waiters,
      reached: () => Math.min(visible(), tail.durableLsn),
      end: () => tail.end
    })
    this.writtenLsn = options.tail.durableLsn
    this.lastCommitEnd = options.tail.durableLsn
  }

  /** A commit was appended; `bytes` are those of all keys and values so far. */
  appended(span: AnySpan | undefined, bytes: number): void {
    this.lastCommitEnd = this.options.tail.end
    this.counters.commits++
    this.counters.commitBytes = bytes
    this.span.add(span)
  }

  /** Answers everybody who has waited long enough. */
  complete(): void {
    if (this.waiters.isEmpty) return
    const visible = this.options.visible()
    this.waiters.completeBelow("memory", visible)
    this.waiters.completeBelow("buffered", Math.min(visible, this.writtenLsn))
    this.promised.sharers = 0
    const served = this.waiters.completeBelow("synced", Math.min(visible, this.options.tail.durableLsn))
    if (served > 0) this.served = served + this.promised.sharers
  }

  /** Seals and writes what somebody waits for. */
  flush(): void {
    const { limits, tail } = this.options
    // What comes while a write is under way, too, goes into groups of a size: their buffers serve again.
    if (tail.openBytes > writeBehindBytes) tail.seal()
    if (!this.flights.isEmpty) return this.flushBeside()
    if (
      this.waiters.wants("synced", tail.durableLsn) || tail.end - tail.durableLsn > limits.undurableBytes / 2
    ) {
      tail.seal()
      this.start("write and sync")
    } else if (
      this.waiters.wants("buffered", this.writtenLsn) || tail.end - this.writtenLsn > writeBehindBytes
    ) {
      tail.seal()
      this.start("write")
    }
  }

  /** Writes beside what is under way what many wait for. */
  private flushBeside(): void {
    const { counters: { commits }, flights, options: { tail }, waiters } = this
    if (!flights.isEnough(commits, tail.segment) || !waiters.wants("synced", flights.end)) return
    tail.seal()
    this.start("write and sync")
  }

  private start(job: "write" | "write and sync"): void {
    const { fork, segments, tail } = this.options
    const groups = takeAll(tail)
    const synced = job === "write and sync"
    if (groups.length === 0 && !(synced && this.writtenLsn > tail.durableLsn)) return
    const end = groups.at(-1)?.end ?? this.writtenLsn
    const bytes = groups.reduce((sum, group) => sum + group.bytes.length, 0)
    this.counters.groups += groups.length
    this.counters.groupBytes += bytes
    if (synced) {
      this.counters.syncs++
      this.promised.begun()
    }
    const { writer } = segments
    const once = synced ? segments.oneWrite(groups) : undefined
    const isLone = once !== undefined && this.flights.isEmpty && this.isLone()
    const isShared = once !== undefined && !isLone && once.file.durableWritesAtOnce > 1
    const alone = isShared ? groups[0]?.segment : undefined
    const flight: Flight = { end, synced, alone, exit: undefined }
    this.flights.begin(flight, this.counters.commits)
    if (isLone && this.inARow < this.row && this.heldMillis < rowMillis) return this.now(once, flight)
    if (synced) this.row = isLone ? Math.min(2 * this.row, mostInARow) : leastInARow
    this.inARow = this.heldMillis = 0
    const written = this.span.around({
      first: groups[0]?.lsn ?? end,
      end,
      bytes,
      write: once === undefined ? segments.write(groups) : undefined,
      sync: once !== undefined ? this.writingOnce(once, isLone) : synced ? writer.sync : undefined
    })
    // Everything else in the process goes first.
    const later = isLone ? Effect.andThen(Effect.yieldNow, written) : written
    fork(Effect.map(Effect.exit(later), (exit) => this.answer({ _tag: "Flushed", flight, exit })))
  }

  /** Whether the one who waits writes and syncs in the thread of the program, mostly on its own stack. */
  private isLone(): boolean {
    return this.options.segments.writer.thread === "caller" && this.served <= 1 && !this.span.isTraced
  }

  private writingOnce(once: OneWrite, isLone: boolean): Effect.Effect<void, StoreError> {
    const { writer } = this.options.segments
    return isLone ? atOnce(() => writer.writeOnceNow(once)) : writer.writeOnce(once)
  }

  private now(once: OneWrite, flight: Flight): void {
    this.inARow++
    let exit: Exit.Exit<void, StoreError> = Exit.void
    try {
      this.heldMillis += this.span.now(() => this.options.segments.writer.writeOnceNow(once))
    } catch (error) {
      if (!(error instanceof StoreError)) throw error
      exit = Exit.fail(error)
    }
    this.flushed(flight, exit)
  }

  /** A write has ended. Behind one that failed nothing is told; what is before it is durable. */
  flushed(flight: Flight, exit: Exit.Exit<void, StoreError>): void {
    const { failed, poisoned } = this.options
    flight.exit = exit
    for (let landed = this.flights.land(); landed?.exit !== undefined; landed = this.flights.land()) {
      if (Exit.isFailure(landed.exit)) {
        this.complete()
        const failure = Exit.findErrorOption(landed.exit)
        return failure._tag === "Some" ? poisoned(failure.value) : failed(landed.exit.cause)
      }
      this.landed(landed)
    }
  }

  private landed({ end, synced }: Flight): void {
    const { durable, tail } = this.options
    invariant(end >= this.writtenLsn, "GroupCommit I1")
    this.writtenLsn = end
    this.foresee()
    if (!synced) return
    tail.durable(end)
    tail.release(end)
    durable(end)
    this.scheduleIdle()
  }

  /** Has the file of the next segment made while this one fills. Without it, beginning the segment takes longer. */
  private foresee(): void {
    const { fork, segments, tail } = this.options
    const { base, capacity } = tail.segment
    if (this.writtenLsn - base > capacity / 4 && !segments.hasSpare) fork(Effect.ignore(segments.prepare))
  }

  scheduleIdle(): void {
    if (this.idleDue) return
    this.idleDue = true
    this.idleCommits = this.counters.commits
    this.options.fork(Effect.map(Effect.sleep(this.options.limits.markDelayMillis), () => {
      this.answer({ _tag: "Idle" })
    }))
  }

  /** Syncs what nobody waits for; when all is synced, says so in the log itself, where recovery will look for it. */
  idle(): void {
    const { segments, tail } = this.options
    this.idleDue = false
    if (!this.flights.isEmpty) return this.scheduleIdle()
    if (this.lastCommitEnd > tail.durableLsn) {
      tail.seal()
      this.start("write and sync")
    } else if (this.idleCommits < this.counters.commits) {
      // The header of the next group says the same.
      this.scheduleIdle()
    } else if (tail.durableLsn > this.markedLsn && (tail.fits(GROUP_HEADER_BYTES) || segments.hasSpare)) {
      // It is worth no segment that the disk may have no room for.
      tail.mark()
      this.markedLsn = tail.groupLsn
      this.counters.marks++
      this.start("write")
    }
  }
}

const takeAll = (tail: Tail): Array<SealedGroup> => {
  const groups: Array<SealedGroup> = []
  for (let group = tail.shift(); group !== undefined; group = tail.shift()) groups.push(group)
  return groups
}

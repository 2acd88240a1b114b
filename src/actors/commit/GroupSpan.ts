/**
 * What is told of each write of the log: how many commits shared it, how long its sync took, and its span.
 *
 * One write serves many transactions, so the span is nobody's child but linked to them. It is opened only where one of
 * them has a span: a span costs more than a commit.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { StoreError } from "../../StoreError.ts"
import * as Telemetry from "../../Telemetry.ts"

/** A write of the log: from `first` up to `end`. */
export interface Write {
  readonly first: number
  readonly end: number
  readonly bytes: number
  /** Absent where what syncs writes too. */
  readonly write: Effect.Effect<void, StoreError> | undefined
  /** Absent where nothing has to be synced. */
  readonly sync: Effect.Effect<void, StoreError> | undefined
}

export class GroupSpan {
  readonly sizes = new Telemetry.Distribution(Telemetry.metric("group.size"))
  readonly syncs = new Telemetry.Distribution(Telemetry.metric("sync.duration"))
  readonly commits = new Telemetry.Distribution(Telemetry.metric("commit.duration"))
  /** Commits since the last write, and when the first came of those that are not on their way to a sync. */
  private count = 0
  private since: bigint | undefined
  private links: Array<Tracer.SpanLink> = []
  private readonly clock: Clock.Clock

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  /** Whether the next write has a span. */
  get isTraced(): boolean {
    return this.links.length > 0
  }

  /** A transaction was appended that the next write takes along. */
  add(span: Tracer.AnySpan | undefined): void {
    this.count++
    this.since ??= this.clock.monotonicTimeNanosUnsafe()
    if (span !== undefined) this.links.push({ span, attributes: {} })
  }

  /** Writes, then syncs. */
  around({ bytes, end, first, sync, write }: Write): Effect.Effect<void, StoreError> {
    const links = this.links
    const commits = this.take()
    const synced = sync === undefined ? Effect.void : this.timed(sync, this.depart())
    const job = write === undefined ? synced : sync === undefined ? write : Effect.andThen(write, synced)
    if (links.length === 0) return job
    this.links = []
    const attributes = {
      [Telemetry.Attribute.groupSize]: commits,
      [Telemetry.Attribute.groupBytes]: bytes,
      [Telemetry.Attribute.groupLsnFirst]: first,
      [Telemetry.Attribute.groupLsnLast]: end
    }
    return Effect.withSpan(job, Telemetry.Span.commitGroup, { root: true, links, attributes })
  }

  /** Writes and syncs in the calling thread, where no span is asked for; answers how many milliseconds that took. */
  now(write: () => void): number {
    this.take()
    const told = this.begin(this.depart())
    write()
    return told()
  }

  private take(): number {
    const { count } = this
    this.count = 0
    if (count > 0) this.sizes.record(count)
    return count
  }

  /** All that is there is on its way to a sync; answers when the first of it came. */
  private depart(): bigint | undefined {
    const { since } = this
    this.since = undefined
    return since
  }

  /** A sync begins, of commits since then; to be called when it is done. Answers its milliseconds. */
  private begin(since: bigint | undefined): () => number {
    const begun = this.clock.monotonicTimeNanosUnsafe()
    return () => {
      const ended = this.clock.monotonicTimeNanosUnsafe()
      this.syncs.record(Number(ended - begun) / 1e9)
      if (since !== undefined) this.commits.record(Number(ended - since) / 1e9)
      return Number(ended - begun) / 1e6
    }
  }

  private timed(
    sync: Effect.Effect<void, StoreError>,
    since: bigint | undefined
  ): Effect.Effect<void, StoreError> {
    return Effect.suspend(() => {
      const told = this.begin(since)
      return Effect.flatMap(
        sync,
        () => Effect.annotateCurrentSpan(Telemetry.Attribute.groupSyncMillis, told())
      )
    })
  }
}

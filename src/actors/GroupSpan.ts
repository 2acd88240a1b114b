/**
 * What is told of each write of the log: how many commits shared it, how long its sync took, and its span.
 *
 * One write serves many transactions, so the span is nobody's child but linked to them. It is opened only where one of
 * them has a span: a span costs more than a commit.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { StoreError } from "../StoreError.ts"
import * as Telemetry from "../Telemetry.ts"

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
  private commits = 0
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
    this.commits++
    if (span !== undefined) this.links.push({ span, attributes: {} })
  }

  /** Writes, then syncs. */
  around({ bytes, end, first, sync, write }: Write): Effect.Effect<void, StoreError> {
    const links = this.links
    const commits = this.count()
    const synced = sync === undefined ? Effect.void : this.timed(sync)
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

  /** Writes and syncs in the calling thread, where no span is asked for. */
  now(write: () => void): void {
    this.count()
    const begun = this.clock.monotonicTimeNanosUnsafe()
    write()
    this.syncs.record(Number(this.clock.monotonicTimeNanosUnsafe() - begun) / 1e9)
  }

  private count(): number {
    const { commits } = this
    this.commits = 0
    if (commits > 0) this.sizes.record(commits)
    return commits
  }

  private timed(sync: Effect.Effect<void, StoreError>): Effect.Effect<void, StoreError> {
    return Effect.flatMap(Effect.timed(sync), ([duration]) => {
      this.syncs.record(Duration.toSeconds(duration))
      return Effect.annotateCurrentSpan(Telemetry.Attribute.groupSyncMillis, Duration.toMillis(duration))
    })
  }
}

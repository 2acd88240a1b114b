/**
 * The span of writing groups of the log, linked to the transactions in them.
 *
 * One write serves many transactions, so it is nobody's child. It is opened only where one of them has a span: a span
 * costs more than a commit.
 */
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
  readonly write: Effect.Effect<void, StoreError>
  /** Absent where nothing has to be synced. */
  readonly sync: Effect.Effect<void, StoreError> | undefined
}

export class GroupSpan {
  private commits = 0
  private links: Array<Tracer.SpanLink> = []

  /** A transaction was appended that the next write takes along. */
  add(span: Tracer.AnySpan | undefined): void {
    this.commits++
    if (span !== undefined) this.links.push({ span, attributes: {} })
  }

  /** Writes, then syncs. */
  around({ bytes, end, first, sync, write }: Write): Effect.Effect<void, StoreError> {
    const links = this.links
    const commits = this.commits
    this.commits = 0
    if (links.length === 0) return sync === undefined ? write : Effect.andThen(write, sync)
    this.links = []
    const attributes = {
      [Telemetry.Attribute.groupSize]: commits,
      [Telemetry.Attribute.groupBytes]: bytes,
      [Telemetry.Attribute.groupLsnFirst]: first,
      [Telemetry.Attribute.groupLsnLast]: end
    }
    return (sync === undefined ? write : Effect.andThen(write, timed(sync))).pipe(
      Effect.withSpan(Telemetry.Span.commitGroup, { root: true, links, attributes })
    )
  }
}

const timed = (sync: Effect.Effect<void, StoreError>): Effect.Effect<void, StoreError> =>
  Effect.flatMap(
    Effect.timed(sync),
    ([duration]) =>
      Effect.annotateCurrentSpan(Telemetry.Attribute.groupSyncMillis, Duration.toMillis(duration))
  )

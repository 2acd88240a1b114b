/**
 * Removing what has expired, by ordinary commits.
 *
 * A part of the janitor. Readers hide a record when its time has come; that it goes from leaf, memory and disk is done
 * here, later. Every so often the leaves in which something is due are looked at (`tree/memory/Deadlines.ts`), and no
 * others.
 *
 * ```
 *   Idle ─ something may expire ─▶ Waiting ─ sweepMillis ─▶ leaf by leaf: look ─▶ commit the removals ─▶ Waiting
 *                                                                │  ▲
 *                                                      not in memory: load
 * ```
 *
 * I1 Between the look at a leaf and the commit of what is removed there lies no other commit: both happen in one go, in
 *    the calling thread, while the tree has applied the whole log; what waits or would be made to wait is left for
 *    later. So a key that was rewritten is never touched, and nothing has to be validated.
 * I2 A record is removed by a commit in the log, and nothing else: replay asks no clock.
 * I3 A failure ends nothing but its leaf's turn: that is looked at again later.
 *
 * Each leaf is visited once for everything in it that expires between two sweeps. What is read from the disk for it is
 * bounded in time, and leaves memory before what others have read.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { StoreError } from "../../StoreError.ts"
import * as Telemetry from "../../Telemetry.ts"
import type { Generation, Generations } from "../../tree/Generations.ts"
import type { Pages } from "../../tree/memory/Pages.ts"
import { Expired } from "../../tree/write/Expired.ts"
import type { Intent } from "../commit/Intent.ts"
import type { Message } from "../commit/Request.ts"

/** Leaves looked at between two yields to the event loop. */
const sliceLeaves = 16
/** Pages read from the disk between two pauses: some 600 a second. */
const sliceLoads = 64
const pauseMillis = 100
/** Times that a sweep waits for the log to take commits again before it gives up. */
const mostPauses = 20
/** Leaves that cannot be read before a sweep gives up. */
const mostFailures = 8
/** Sweeps that pass before a leaf that could not be read is tried again. */
const failedSweeps = 10

/** What one sweep did. */
export interface Report {
  /** Records that were removed. */
  readonly removed: number
  /** Leaves that were looked at, and those of them that had to be read from the disk. */
  readonly leaves: number
  readonly loads: number
  /** Why a leaf was left for later. */
  readonly error: StoreError | undefined
}

export interface Options {
  readonly sweepMillis: number
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<void>) => void
  /** False once the store is closing or has failed. */
  readonly running: () => boolean
  /** Whether the tree is at the end of the log, and a commit would be appended at once. */
  readonly settled: () => boolean
  /** Handles a message in the calling thread; false where it was not taken. */
  readonly commit: (message: Message) => boolean
  readonly pages: Pages
  readonly generations: Generations
  readonly load: (pageId: number) => Effect.Effect<void, StoreError>
  readonly done: (report: Report) => void
  readonly failed: (cause: unknown) => void
}

export class Expiry {
  readonly counters = { sweeps: 0, removed: 0, leaves: 0, loads: 0, failures: 0 }
  private readonly options: Options
  private readonly expired = new Expired()
  /** Leaves that could not be read, and the sweep from which on they are tried again. */
  private readonly postponed = new Map<number, number>()
  private awake = false
  private error: StoreError | undefined

  constructor(options: Options) {
    this.options = options
  }

  /** To be called whenever something that expires may have been written. */
  wake(): void {
    const { fork, pages, running } = this.options
    if (this.awake || !pages.deadlines.any || !running()) return
    this.awake = true
    fork(this.sweeps)
  }

  private readonly sweeps: Effect.Effect<void> = Effect.suspend(() => {
    const { failed, pages, running, sweepMillis } = this.options
    const round = Effect.suspend(() => {
      const isDue = running() && pages.deadlines.due(this.options.now(), 1) > 0
      return isDue ? this.sweep : Effect.void
    })
    const rounds: Effect.Effect<void> = Effect.flatMap(
      Effect.andThen(Effect.sleep(sweepMillis), round),
      () => running() ? rounds : Effect.void
    )
    return Effect.catchDefect(rounds, (defect) => Effect.sync(() => failed(defect)))
  })

  /** Looks at everything that is due now. */
  private readonly sweep: Effect.Effect<void> = Effect.suspend(() => {
    const { leaves, loads, removed } = this.counters
    this.error = undefined
    this.counters.sweeps++
    return Effect.flatMap(this.visits, () => {
      const { counters, error } = this
      const report = {
        removed: counters.removed - removed,
        leaves: counters.leaves - leaves,
        loads: counters.loads - loads,
        error
      }
      if (report.removed > 0 || error !== undefined) this.options.done(report)
      return Effect.annotateCurrentSpan({
        [Telemetry.Attribute.expireRemoved]: report.removed,
        [Telemetry.Attribute.expireLeaves]: report.leaves,
        [Telemetry.Attribute.expireLoads]: report.loads
      })
    })
  }).pipe(Effect.withSpan(Telemetry.Span.expire, { root: true }))

  private readonly visits: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    const { counters, options: { now, pages: { deadlines }, running } } = this
    const until = now()
    const { failures } = counters
    let [pauses, slice, loaded] = [0, 0, counters.loads]
    for (let id = deadlines.due(until, 1); id > 0; id = deadlines.due(until, id + 1)) {
      if ((this.postponed.get(id) ?? 0) > counters.sweeps) continue
      for (let answer = this.visit(id); answer !== "done"; answer = this.visit(id)) {
        if (answer === "busy") {
          if (++pauses > mostPauses) return
          yield* Effect.sleep(pauseMillis)
        } else if (yield* this.bring(id)) {
          if (counters.loads - loaded < sliceLoads) continue
          loaded = counters.loads
          yield* Effect.sleep(pauseMillis)
        } else break
      }
      if (!running() || counters.failures - failures >= mostFailures) return
      if (++slice % sliceLeaves === 0) yield* Effect.yieldNow
    }
  })

  /** Looks at a leaf and removes what has expired in it, in one go (I1). */
  private visit(id: number): "done" | "missing" | "busy" {
    const { expired, options: { generations, now, pages, running, settled } } = this
    if (!running()) return "done"
    const time = now()
    if (!settled()) return "busy"
    if (!expired.look(pages, id, time)) return "missing"
    this.counters.leaves++
    this.postponed.delete(id)
    const generation = generations.ofTree(expired.treeId)
    const isOpen = generation?.until === Infinity
    pages.deadlines.raise(id, isOpen ? expired.next : Infinity)
    if (generation === undefined || !isOpen || expired.keys.length === 0) return "done"
    if (this.remove(generation, expired.keys)) return "done"
    pages.deadlines.note(id, time)
    return "busy"
  }

  /** Commits removals; false where they were not appended. */
  private remove({ layout, name, reducer }: Generation, keys: ReadonlyArray<Uint8Array>): boolean {
    // What indexes say of a record expires with it: nothing in them has to follow.
    const keyspace = { name, layout, reducer, cleared: false, dropped: false, keepsIndexes: true }
    const writes = keys.map((key) => ({ key, value: undefined }))
    let appended = false
    const intent: Intent = {
      keyspaces: () => [{ ...keyspace, writes: () => writes }],
      durability: "memory",
      unseen: true,
      appended: () => {
        appended = true
      }
    }
    // What becomes of it later is the log's matter: whoever reads it again finds the record gone, or expired as before.
    this.options.commit({ _tag: "Commit", intent, done: () => {} })
    if (appended) this.counters.removed += keys.length
    return appended
  }

  /** Brings a leaf into memory; false where that failed, and then it is left alone for some sweeps. */
  private bring(id: number): Effect.Effect<boolean> {
    const { counters } = this
    return Effect.map(Effect.exit(this.options.load(id)), (exit) => {
      counters.loads++
      if (Exit.isSuccess(exit)) return true
      const failure = Exit.findErrorOption(exit)
      if (failure._tag === "None") this.options.failed(exit.cause)
      else this.error ??= failure.value
      counters.failures++
      this.postponed.set(id, counters.sweeps + failedSweeps)
      return false
    })
  }
}

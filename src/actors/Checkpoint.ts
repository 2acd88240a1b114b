/**
 * The checkpoint coordinator: makes the state of the tree at one LSN durable while writers go on.
 *
 * It follows CPR (Prasaad et al., SIGMOD 2019) with one owner: the cut is one message that passes through the Wal and
 * the Tree in order, so nobody has to acknowledge it and no idle session can stall it.
 *
 * ```
 *   Idle ─ Start ─▶ Cutting     cut(): a group boundary; whoever changes a page from here on saves it first
 *                 ─▶ Draining    everything below the cut is applied
 *                 ─▶ Flushing    images(): pages ∥ log to the cut synced; then chunks(), catalog()
 *                 ─▶ Sealing     seal(): page file synced → superblock into the older slot → synced
 *                 ─▶ Publishing  publish(): one report; the checkpoint exists
 *                 ─▶ Pruning     prune(): slots and log that neither of the two newest checkpoints needs
 *                 ─▶ Idle        an error before the superblock's first byte: work dropped, its version never used
 *   Idle ─ Hold ──▶ Held ─ Released ─▶ Idle     hold(): whoever copies the files; checkpoints wait
 * ```
 *
 * I1 At most one checkpoint is in flight, and versions only grow.
 * I2 Nothing the superblock refers to is unsynced when its first byte is written.
 * I3 Until a later superblock is durable in the same slot, a checkpoint whose superblock write failed is in doubt: the
 *    next one writes that same slot, and nothing that either retained checkpoint refers to is reused.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { DiskFile } from "../disk/Disk.ts"
import type { Limits } from "../Limits.ts"
import type { Cut } from "../log/Group.ts"
import { encodeSuperblock, SUPERBLOCK_BYTES, superblockOffset } from "../log/Superblock.ts"
import type { Superblock } from "../log/Superblock.ts"
import type { StoreError } from "../StoreError.ts"
import * as Telemetry from "../Telemetry.ts"
import type { CutImage } from "../tree/file/Catalog.ts"
import type { ChunkTable } from "../tree/file/ChunkTable.ts"
import type { PageFile, SealedImage as Image } from "../tree/file/PageFile.ts"
import type { Place } from "../tree/memory/MapChunk.ts"
import type { Pages } from "../tree/memory/Pages.ts"
import { CutWriter } from "./checkpoint/CutWriter.ts"
import type { Trigger } from "./checkpoint/Triggers.ts"
import * as Actor from "./loop/Actor.ts"
import * as LoopTime from "./loop/LoopTime.ts"

/** How far a session has come in a checkpoint: it holds its serials up to this one, and none above. */
export interface CommitPoint {
  readonly name: string
  readonly serial: number
  /** Of that commit. */
  readonly lsn: number
}

/** What a finished checkpoint did. */
export interface Report {
  readonly version: number
  readonly trigger: Trigger
  /** The cut: it holds every commit below. */
  readonly lsn: number
  /** Page images written, chunks and catalog included. */
  readonly pages: number
  readonly bytes: number
  /** Log and slots that were freed. */
  readonly reclaimedBytes: number
  readonly millis: number
  /** Of each session that has committed since the checkpoint before; of the others nothing has changed. */
  readonly sessions: ReadonlyArray<CommitPoint>
}

/** Somebody who wants that no checkpoint is taken for a while. */
interface Hold {
  state: "waiting" | "held" | "over"
}

export type Message =
  | { readonly _tag: "Start"; readonly trigger: Trigger; readonly done: Actor.Reply<Report, StoreError> }
  | { readonly _tag: "Hold"; readonly hold: Hold; readonly done: Actor.Reply<void, StoreError> }
  | { readonly _tag: "Finished"; readonly exit: Exit.Exit<Report, StoreError> }
  | { readonly _tag: "Released" }

export interface Options {
  readonly limits: Limits
  readonly superblockFile: DiskFile
  readonly newest: Superblock
  readonly older: Superblock | undefined
  readonly pages: Pages
  readonly chunks: ChunkTable
  readonly catalogSlots: ReadonlyArray<number>
  readonly slots: PageFile
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly cut: Effect.Effect<Cut, StoreError>
  /** Waits until the tree has everything below the cut, and takes its image there. */
  readonly drained: Effect.Effect<CutImage, StoreError>
  readonly durable: (lsn: number) => Effect.Effect<void, StoreError>
  readonly durableLsn: () => number
  readonly write: (images: ReadonlyArray<Image>) => Effect.Effect<ReadonlyArray<Place>, StoreError>
  readonly barrier: Effect.Effect<void, StoreError>
  /** Images that writers saved have been written: there is room for more. */
  readonly relieved: () => void
  /** How long commits have waited for room so far. */
  readonly stalledMillis: () => number
  /** Makes sure that no page refers to a slot that a failed sync left in doubt. */
  readonly rescue: Effect.Effect<void, StoreError>
  /** Moves pages away from the end of the page file; answers from which slot on it is to become free. */
  readonly move: Effect.Effect<number>
  /** Gives the free end of the page file back, above what the retained superblocks call in use. */
  readonly trim: (slots: number) => Effect.Effect<number, StoreError>
  /** Base of the oldest log segment with a large value that somebody may still read. */
  readonly oldestHeld: () => number | undefined
  /** First pieces of the streams that were open at the newest cut when the store was opened. */
  readonly streams: ReadonlyArray<number>
  /** The begin of a log whose oldest segment holds an LSN. */
  readonly beginOf: (lsn: number) => Superblock["begin"] | undefined
  /** Gives up the log below an LSN; answers the bytes of the files. */
  readonly truncate: (lsn: number) => Effect.Effect<number, StoreError>
  /** The log may be truncated to here, and grows from the cut. */
  readonly finished: (report: Report) => void
  readonly failed: (cause: unknown) => void
}

export interface Failing {
  readonly times: number
  readonly error: StoreError | undefined
}

export interface Checkpoint extends Actor.Actor<Message> {
  readonly start: (trigger: Trigger) => Effect.Effect<Report, StoreError>
  /** Runs an effect while no checkpoint is in flight; what was asked for meanwhile begins then, a checkpoint first. */
  readonly hold: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | StoreError, R>
  readonly newest: () => Superblock
  /** Slots of the map table and of the catalog, which no page has. */
  readonly slots: () => ReadonlyArray<number>
  readonly counters: { checkpoints: number; failures: number }
  /** How many have failed since the last that succeeded, and the last error. */
  readonly failing: () => Failing
  readonly cut: CutWriter["counters"]
  /** When the newest was cut in this life; when the store was opened, where none was. */
  readonly cutMillis: () => number
  readonly durations: Readonly<Record<Trigger, Telemetry.Distribution>>
}

export const make = Effect.fnUntraced(
  function*(options: Options): Effect.fn.Return<Checkpoint, never, Scope.Scope> {
    const loopTime = yield* LoopTime.make
    const coordinator = new Coordinator(options, loopTime)
    const waiting: Array<Message & { readonly _tag: "Start" }> = []
    let served: Array<Message & { readonly _tag: "Start" }> = []
    const holds: Array<Message & { readonly _tag: "Hold" }> = []
    /** A checkpoint is in flight, or held back. */
    let running = false
    /** Whether it was held back last: then whoever waits for one comes first. */
    let wasHeld = false
    const actor = yield* Actor.make<Message>({
      name: "checkpoint",
      capacity: options.limits.mailbox,
      lanes: 1,
      receive: (message) => {
        if (message._tag === "Start") return void waiting.push(message)
        if (message._tag === "Hold") return void holds.push(message)
        running = false
        if (message._tag === "Released") return
        for (const { done } of served.splice(0)) done(message.exit)
      },
      settle: () => {
        while (!running && holds.length > 0 && !(wasHeld && waiting.length > 0)) {
          const { done, hold } = holds.shift() as typeof holds[number]
          if (hold.state === "over") continue
          running = wasHeld = true
          hold.state = "held"
          done(Exit.void)
        }
        const first = waiting[0]
        if (running || first === undefined) return
        running = true
        wasHeld = false
        // Everybody who asked before the cut is served by it.
        served = waiting.splice(0)
        options.fork(Effect.map(Effect.exit(coordinator.run(first.trigger)), (exit) => {
          actor.answer({ _tag: "Finished", exit })
        }))
      },
      parked: () => waiting.length + holds.length,
      refuse: (message, error) => {
        if ("done" in message) message.done(Exit.fail(error))
      },
      halt: (error) => {
        for (const { done } of [...waiting.splice(0), ...served.splice(0), ...holds.splice(0)]) {
          done(Exit.fail(error))
        }
      },
      failed: options.failed,
      loopTime
    })
    return {
      ...actor,
      start: (trigger) => Actor.ask(actor, (done): Message => ({ _tag: "Start", trigger, done })),
      hold: holding(actor),
      newest: () => coordinator.newest,
      slots: () => [...options.chunks.slots(), ...coordinator.writer.catalogSlots],
      counters: coordinator.counters,
      failing: () => coordinator.failing,
      cut: coordinator.writer.counters,
      cutMillis: () => coordinator.cutMillis,
      durations: coordinator.durations
    }
  }
)

/** Whoever gives up waiting is passed over when its turn comes. */
const holding = (actor: Actor.Actor<Message>): Checkpoint["hold"] => (effect) =>
  Effect.suspend(() => {
    const hold: Hold = { state: "waiting" }
    const granted = Actor.ask<Message, void, StoreError>(actor, (done) => ({ _tag: "Hold", hold, done }))
    const over = Effect.sync(() => {
      if (hold.state === "held") actor.answer({ _tag: "Released" })
      hold.state = "over"
    })
    return Effect.ensuring(Effect.andThen(granted, effect), over)
  })

const distribution = () => new Telemetry.Distribution(Telemetry.metric("checkpoint.duration"))

class Coordinator {
  newest: Superblock
  cutMillis: number
  readonly counters = { checkpoints: 0, failures: 0 }
  failing: Failing = { times: 0, error: undefined }
  readonly durations = {
    bytes: distribution(),
    interval: distribution(),
    request: distribution(),
    close: distribution(),
    pressure: distribution()
  }
  private readonly options: Options
  private older: Superblock | undefined
  readonly writer: CutWriter
  /** First pieces of the streams that were open at the newest checkpoint's cut. */
  private streams: ReadonlyArray<number>
  private nextStreams: ReadonlyArray<number> = []
  /** Chunks in this slot and above are written anew. */
  private above = Infinity

  constructor(options: Options, loopTime: LoopTime.LoopTime) {
    this.options = options
    this.cutMillis = options.now()
    this.newest = options.newest
    this.older = options.older
    this.streams = options.streams
    this.writer = new CutWriter(options, loopTime)
  }

  readonly run = (trigger: Trigger): Effect.Effect<Report, StoreError> => {
    const started = this.options.now()
    const stalled = this.options.stalledMillis()
    const attributes = {
      [Telemetry.Attribute.checkpointId]: this.options.pages.epoch,
      [Telemetry.Attribute.checkpointTrigger]: trigger
    }
    return Effect.gen({ self: this }, function*() {
      this.above = trigger === "close" ? Infinity : yield* this.options.move
      yield* this.options.rescue
      const image = yield* this.cut
      const cutMillis = this.options.now()
      const sessions = commitPoints(image, this.newest)
      const superblock = yield* this.flush(image).pipe(
        Effect.tapError(() => Effect.sync(() => this.options.pages.abandon()))
      )
      yield* this.seal(superblock).pipe(
        Effect.tapError(() => Effect.sync(() => this.options.pages.abandon()))
      )
      yield* this.publish(superblock)
      this.cutMillis = cutMillis
      const reclaimedBytes = yield* this.prune
      const report: Report = {
        version: superblock.version,
        trigger,
        lsn: superblock.cut.lsn,
        pages: this.writer.written,
        bytes: this.writer.written * this.options.limits.pageBytes,
        reclaimedBytes,
        millis: this.options.now() - started,
        sessions
      }
      yield* Effect.annotateCurrentSpan({
        [Telemetry.Attribute.checkpointLsn]: report.lsn,
        [Telemetry.Attribute.checkpointPages]: report.pages,
        [Telemetry.Attribute.checkpointBytes]: report.bytes,
        [Telemetry.Attribute.checkpointReclaimedBytes]: report.reclaimedBytes,
        [Telemetry.Attribute.checkpointStallMillis]: this.options.stalledMillis() - stalled
      })
      this.durations[trigger].record(report.millis / 1000)
      this.options.finished(report)
      return report
    }).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          this.counters.failures++
          this.failing = { times: this.failing.times + 1, error }
          // What waited for room to save images need not wait any more.
          this.options.relieved()
        })
      ),
      Effect.withSpan(Telemetry.Span.checkpoint, { root: true, attributes })
    )
  }

  /** Cutting and Draining. */
  private readonly cut: Effect.Effect<CutImage, StoreError> = Effect.suspend(() =>
    this.options.cut.pipe(
      Effect.withSpan(Telemetry.Span.checkpointCut),
      Effect.andThen(Effect.withSpan(this.options.drained, Telemetry.Span.checkpointDrain))
    )
  )

  /** Flushing: answers the superblock that seals what was written. */
  private flush(image: CutImage): Effect.Effect<Superblock, StoreError> {
    const { durable, durableLsn, pages, slots } = this.options
    return Effect.gen({ self: this }, function*() {
      const images = this.writer.images(image)
      yield* Effect.all([durable(image.cut.lsn), images], { concurrency: 2, discard: true })
      const pageIds = pages.map.bound
      yield* this.writer.chunks(image, { pageIds, above: this.above })
      const catalog = yield* this.writer.catalog(image)
      const begin = this.begin(image)
      const superblock: Superblock = {
        ...this.newest,
        slot: this.newest.slot === 0 ? 1 : 0,
        version: image.pages.version,
        otherVersion: this.newest.version,
        cut: image.cut,
        durableLsn: durableLsn(),
        begin,
        map: this.options.chunks.top(pageIds),
        catalog,
        slots: slots.used,
        pageIds,
        nextTree: image.catalog.nextTreeId,
        nextKeyspace: image.catalog.nextKeyspaceId
      }
      return superblock
    }).pipe(Effect.withSpan(Telemetry.Span.checkpointFlush))
  }

  private seal(superblock: Superblock): Effect.Effect<void, StoreError> {
    const { barrier, superblockFile } = this.options
    const bytes = Buffer.alloc(SUPERBLOCK_BYTES)
    encodeSuperblock(superblock, bytes)
    return barrier.pipe(
      Effect.andThen(superblockFile.write([bytes], superblockOffset(superblock.slot))),
      Effect.andThen(superblockFile.sync),
      Effect.withSpan(Telemetry.Span.checkpointSeal)
    )
  }

  /** Publishing: from here on it exists for everybody. */
  private publish(superblock: Superblock): Effect.Effect<void> {
    return Effect.sync(() => {
      this.older = this.newest
      this.newest = superblock
      this.streams = this.nextStreams
      this.options.pages.complete()
      this.counters.checkpoints++
      this.failing = { times: 0, error: undefined }
    }).pipe(Effect.withSpan(Telemetry.Span.checkpointPublish))
  }

  /** Frees what neither retained checkpoint needs. A failure here costs space, not the checkpoint. */
  private readonly prune: Effect.Effect<number> = Effect.suspend(() => {
    const { limits, slots, trim, truncate } = this.options
    const freed = slots.publish(this.older?.version ?? 0) * limits.pageBytes
    const trimmed = Effect.ignore(trim(Math.max(this.newest.slots, this.older?.slots ?? 0)))
    return Effect.andThen(trimmed, truncate(this.newest.begin.lsn)).pipe(
      Effect.orElseSucceed(() => 0),
      Effect.map((bytes) => bytes + freed),
      Effect.withSpan(Telemetry.Span.checkpointPrune)
    )
  })

  /**
   * The log is kept from the cut of the checkpoint that will be the older one, and for large values: those that the
   * cut refers to, even if they were removed since (the removal may yet be lost), and those that readers still hold. So
   * are the pieces of transactions that were open at either cut: they may have been committed since.
   */
  private begin({ catalog }: CutImage): Superblock["begin"] {
    const { lsn, sequence } = this.newest.cut
    const bases = catalog.keyspaces.flatMap(({ segments }) => segments.map(({ base }) => base))
    this.nextStreams = catalog.streams
    const firsts = [...this.streams, ...catalog.streams]
    const oldest = this.options.beginOf(Math.min(this.options.oldestHeld() ?? lsn, ...bases, ...firsts))
    return oldest !== undefined && oldest.lsn < lsn ? oldest : { lsn, sequence }
  }
}

/** Only what changed: with a million sessions a report of all of them would be larger than most checkpoints. */
const commitPoints = (
  { catalog: { sessions } }: CutImage,
  before: Superblock
): ReadonlyArray<CommitPoint> => {
  const changed = sessions.filter(({ lsn, serial }) => lsn >= before.cut.lsn && serial > 0)
  return changed.map(({ lsn, name, serial }) => ({ name, serial, lsn }))
}

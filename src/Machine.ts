/**
 * The machine: the actors of one store, made and wired.
 *
 * Opening is recovery, closing is a checkpoint. This file alone knows two actors at once: what flows down (commits,
 * loads, images) goes through mailboxes, what flows up (applied, loaded, written) through functions given here.
 *
 * ```
 *   Keyspace · Tx                          Snapshot
 *        │ submit                              │ direct, synchronous on a hit
 *   ═════▼══════════ actors ═══════════════════▼═══════════════════════════
 *       Wal ── applied in order ──▶ Tree ──▶ pages ◀── load / evict ── Buffer
 *        │                           │ cut                               │ page images
 *        │                      Checkpoint ── images at the cut ──▶ Flush ◀┘
 *   ═════▼═══════════════════════════│═══════ disk ══════════════════▼══════
 *    log segments              superblock (two slots)             page file
 * ```
 *
 * I1 Nothing is served before recovery has ended, and nothing is accepted once closing has begun.
 * I2 The first failure of the log, and every defect, stops writing for good; what is durable can still be read.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Admission from "./actors/Admission.ts"
import * as Slices from "./actors/apply/Slices.ts"
import * as Buffer_ from "./actors/Buffer.ts"
import * as Checkpoint from "./actors/Checkpoint.ts"
import * as Mover from "./actors/checkpoint/Mover.ts"
import { rescue } from "./actors/checkpoint/Rescue.ts"
import * as Triggers from "./actors/checkpoint/Triggers.ts"
import { Names } from "./actors/commit/Intent.ts"
import { Sessions } from "./actors/commit/Sessions.ts"
import { pagesOf, randomIncarnation } from "./actors/files/Directory.ts"
import * as Scratch from "./actors/files/Scratch.ts"
import type * as Shortage from "./actors/files/Shortage.ts"
import * as Flush from "./actors/Flush.ts"
import * as Janitor from "./actors/Janitor.ts"
import { again } from "./actors/loop/Again.ts"
import type { Fuse } from "./actors/loop/Fuse.ts"
import { make as makeFuse } from "./actors/loop/Fuse.ts"
import * as Time from "./actors/loop/Time.ts"
import * as Footing from "./actors/opening/Footing.ts"
import * as Ground from "./actors/opening/Ground.ts"
import * as Recovery from "./actors/opening/Recovery.ts"
import * as Restore from "./actors/opening/Restore.ts"
import * as TreeActor from "./actors/Tree.ts"
import * as Expiry from "./actors/upkeep/Expiry.ts"
import * as IdleSessions from "./actors/upkeep/IdleSessions.ts"
import * as Relocation from "./actors/upkeep/Relocation.ts"
import * as Wal from "./actors/Wal.ts"
import type { Disk } from "./disk/Disk.ts"
import * as Doors from "./Doors.ts"
import type { Machine } from "./Doors.ts"
import { close, stop } from "./Ending.ts"
import * as Guards from "./Guards.ts"
import type { Durability } from "./Limits.ts"
import { inlinePairBytesOf } from "./Limits.ts"
import { Tail } from "./log/Tail.ts"
import { StoreError } from "./StoreError.ts"
import { SessionReplay } from "./tree/SessionReplay.ts"
import type { Tree } from "./tree/Tree.ts"

export type { Declared } from "./actors/commit/Declared.ts"
export type { Machine, Parts } from "./Doors.ts"

/** What opening needs beside a disk. */
export interface Settings extends Ground.Settings {
  readonly durability: Durability
  readonly recovery: (progress: Recovery.Progress) => Effect.Effect<void>
  /** Told of every finished checkpoint. */
  readonly checkpointed: (report: Checkpoint.Report) => void
  /** Told whenever large values were moved, or could not be. */
  readonly relocated: (report: Relocation.Report) => void
  /** Told whenever something that had expired was removed, or could not be looked at. */
  readonly expired: (report: Expiry.Report) => void
  /** Told when commits are refused for want of space, and when they are taken again. */
  readonly shortage: (report: Shortage.Report) => void
}

/** Opens a store and runs its actors until the scope closes. */
export const open = Effect.fnUntraced(function*(
  settings: Settings
): Effect.fn.Return<Machine, StoreError, Disk | Scope.Scope> {
  const { directory, mode } = settings
  if (mode === "readOnly") return yield* attempt(settings, Footing.asItIs())
  const machine = yield* Footing.open(pagesOf(directory), (footing) => attempt(settings, footing))
  yield* machine.parts.damages.report
  return machine
})

/** Opens a store from one of the checkpoints that it may be opened from. */
const attempt = Effect.fnUntraced(function*(
  settings: Settings,
  footing: Footing.Footing
): Effect.fn.Return<Machine, StoreError, Disk | Scope.Scope> {
  const ground = yield* Ground.lay(settings, footing)
  const fuse = yield* makeFuse
  const views = yield* build(ground, fuse)
  yield* Restore.minis({ ...ground, pages: ground.tree.pages, reserve: views.buffer.reserve })
  const replayed = yield* replay(settings, ground, views, fuse)
  const machine = yield* serve(settings, ground, views, replayed, fuse)
  yield* Guards.load(machine)
  return machine
})

/** The views and what serves them: enough to apply a log. */
const build = Effect.fnUntraced(function*(ground: Ground.Ground, fuse: Fuse) {
  const { budget, file, generations, limits, reserve: { makeRoom }, segments, slots, tree } = ground
  const { pages } = tree
  const { fork } = fuse
  const failed = fuse.defect("flush")
  const flush = yield* Flush.make({ file, slots, pages, limits, makeRoom, fork, failed })
  const buffer = yield* Buffer_.make({
    tree,
    budget,
    rootOf: (treeId) => generations.rootOf(treeId),
    file,
    epoch: slots.epoch,
    limits,
    fork,
    write: ground.mode === "readOnly" ? undefined : (images) => flush.write(images, "eviction"),
    damaged: (error) => {
      const noting = ground.damages.meet(error)
      if (noting !== undefined) fuse.finish(noting)
    },
    failed: fuse.defect("buffer")
  })
  /** What the Tree asks for is there, or will never be. Asked once the Tree has parked, or it misses the answer. */
  const whenDone = (effect: Effect.Effect<void, StoreError>): void =>
    fork(Effect.yieldNow.pipe(
      Effect.andThen(Effect.retry(effect, again)),
      Effect.match({ onFailure: fuse.blow, onSuccess: () => treeActor.resume() }),
      // No actor's loop is around this: a defect would otherwise leave everybody waiting.
      Effect.catchDefect((defect) => Effect.sync(() => fuse.defect("tree")(defect)))
    ))
  const treeActor: TreeActor.Tree = new TreeActor.Tree({
    kernel: tree,
    generations,
    visible: ground.roots.newest.cut.lsn,
    load: (pageId) => {
      try {
        if (buffer.loadNow(pageId, "write")) return true
        whenDone(buffer.load(pageId, "write"))
      } catch (cause) {
        // What the log says cannot be applied: the Tree parks, and whoever waits for it hears why.
        if (cause instanceof StoreError && again.while(cause)) whenDone(buffer.load(pageId, "write"))
        else fuse.defect("tree")(cause)
      }
      return false
    },
    reserve: (blocks, beside) => whenDone(buffer.reserve(blocks, beside)),
    segmentBase: (lsn) => segments.baseOf(lsn),
    ...Slices.over(ground, whenDone)
  })
  budget.hold("parked", () => treeActor.parkedBytes)
  return { flush, buffer, treeActor }
})

type Views = Effect.Success<ReturnType<typeof build>>

/** Applies the log above the checkpoint, and answers the tail to go on from, with the sessions that it ends with. */
const replay = Effect.fnUntraced(
  function*(settings: Settings, ground: Ground.Ground, { treeActor }: Views, fuse: Fuse) {
    const { budget, limits, roots, tree } = ground
    // Everything that is replayed counts as durable: it is synced again before anything is served.
    treeActor.progress = () => {
      tree.versions.setVisible(treeActor.visibleLsn)
      tree.versions.setDurable(treeActor.visibleLsn)
    }
    fuse.blown = (error) => treeActor.halt(error)
    const replayed = new SessionReplay(ground.catalog.sessions)
    const { end } = yield* Recovery.replay({
      ...ground,
      directory: settings.directory,
      mode: ground.mode,
      sessions: replayed,
      firsts: ground.catalog.streams,
      sweep: Recovery.sweepOf(ground, treeActor),
      applied: () => Recovery.drained(treeActor, fuse),
      progress: settings.recovery
    })
    const tail = new Tail({
      storeId: roots.newest.storeId,
      incarnation: yield* randomIncarnation,
      segmentBytes: limits.segmentBytes,
      inlineValueBytes: limits.inlineValueBytes,
      inlinePairBytes: inlinePairBytesOf(limits.pageBytes),
      at: end.at,
      segment: end.segment,
      // Buffers are a little larger than what they hold.
      pooledBytes: limits.undurableBytes + (limits.undurableBytes >>> 2)
    })
    budget.hold("tail", () => tail.memoryBytes, () => tail.trim())
    const now = yield* Time.make(ground.generations.millis)
    const sessions = new Sessions(replayed.entries(), limits, now)
    budget.hold("sessions", () => sessions.bytes)
    return { tail, sessions, now }
  }
)

/** Begins a new life of the store: from here on it takes commits. */
const serve = Effect.fnUntraced(function*(
  settings: Settings,
  ground: Ground.Ground,
  views: Views,
  { now, sessions, tail }: Effect.Success<ReturnType<typeof replay>>,
  fuse: Fuse
) {
  const { limits, mode, reserve, tree } = ground
  const { buffer, treeActor } = views
  const { pages, versions } = tree
  const running = (): boolean => mode === "readWrite" && !fuse.closed && fuse.failure === undefined
  const visible = visibleOf(views, tail, versions, fuse)
  const logBytes = (): number => tail.end - checkpoint.newest().cut.lsn
  const wal = yield* committing(ground, views, {
    tail,
    sessions,
    now,
    fuse,
    visible,
    logBytes,
    failing: (): Checkpoint.Failing => checkpoint.failing(),
    durable: () => {
      tidy()
      check()
      scratch.check()
      reserve.check()
    }
  })
  treeActor.progress = () => {
    buffer.ahead()
    versions.setVisible(treeActor.visibleLsn)
    versions.setDurable(Math.min(tail.durableLsn, treeActor.visibleLsn))
    if (treeActor.resuming) wal.progress()
  }
  const wired = { wal, tail, sessions, now, fuse, running }
  const { checkpoint, relocation } = yield* coordinate(settings, ground, views, wired)
  const scratch = yield* Scratch.make(settings.directory, { ...ground, versions, fuse, running })
  const check = yield* Triggers.make({
    limits: limits.checkpoint,
    fork: fuse.fork,
    logBytes,
    records: () => treeActor.recordsSinceCut,
    busiest: () => pages.busiest,
    running: () =>
      running() && !(ground.damages.met !== undefined && 2 * logBytes() < limits.checkpoint.hardLogBytes),
    start: checkpoint.start
  })
  const { expiry, tidy } = upkeep(settings, ground, views, wired)
  const parts = { ...ground, ...views, sessions, tail, scratch, wal, checkpoint, relocation, expiry }
  ground.log.tail = tail
  fuse.blown = (error) => stop(parts, versions, error)
  yield* Effect.addFinalizer(() => close(parts, fuse, running))
  // The open group: the first thing that this life says, durable before anything else is served.
  if (mode === "readWrite") yield* wal.awaitLsn(tail.groupLsn, "synced")
  if (mode === "readWrite") {
    reserve.serve({ fork: fuse.fork, running, tail, buffer, checkpoint, now, told: settings.shortage })
  }
  tidy()
  return Doors.make(settings, ground, parts, fuse, { now, visible })
})

/** The log's writer: it admits what there is room for, and hands what it has appended to the Tree. */
const committing = (
  { generations, limits, reserve, segments, streams, tree: { pages, versions } }: Ground.Ground,
  { treeActor }: Views,
  { durable, failing, fuse, logBytes, now, sessions, tail, visible }: {
    readonly tail: Tail
    readonly sessions: Sessions
    readonly now: () => number
    readonly fuse: Fuse
    readonly visible: () => number
    readonly logBytes: () => number
    readonly failing: Checkpoint.Checkpoint["failing"]
    readonly durable: () => void
  }
) =>
  Wal.make({
    limits,
    tail,
    segments,
    reserve,
    names: new Names(generations.names(), generations.nextKeyspaceId),
    sessions,
    now,
    fork: fuse.fork,
    apply: (reader) => treeActor.apply(reader),
    cut: (cut, streams) => treeActor.cut(cut, { sessions: sessions.image(), streams }),
    streams,
    visible,
    admission: Admission.make({ limits, tree: treeActor, pages, reserve, logBytes, failing }),
    durable: (lsn) => {
      versions.setDurable(Math.min(lsn, visible()))
      generations.forget(versions.oldestPin())
      durable()
    },
    poisoned: fuse.blow,
    failed: fuse.defect("wal")
  })

/** What new readers see: the tail, unless the Tree has parked; groups without records are visible too. */
const visibleOf =
  ({ treeActor }: Views, tail: Tail, versions: Tree["versions"], fuse: Fuse) => (): number => {
    if (fuse.failure !== undefined) return versions.pins.durable
    const lsn = treeActor.backlog === 0 ? tail.end : treeActor.visibleLsn
    if (lsn > versions.pins.visible) versions.setVisible(lsn)
    return lsn
  }

/** What takes down what nobody needs any more: trees, and records that have expired. */
const upkeep = (
  settings: Settings,
  { generations, limits: { sweepMillis }, tree: { pages } }: Ground.Ground,
  { buffer, treeActor }: Views,
  { fuse: { defect, fork }, now, running, wal }: Wired
) => {
  const dirty = (): boolean => running() && generations.dropping.length > 0
  const load = (pageId: number) => buffer.load(pageId, "upkeep")
  const drop = Janitor.make({ fork, dirty, freeSlice: (count) => treeActor.freeSlice(count), load })
  const settled = (): boolean => treeActor.backlog === 0 && wal.ready()
  const reports = { done: settings.expired, failed: defect("janitor") }
  const state = { pages, generations, now, running, settled }
  const expiry = new Expiry.Expiry({ ...state, ...reports, sweepMillis, fork, load, commit: wal.inline })
  const tidy = (): void => {
    drop()
    expiry.wake()
  }
  return { expiry, tidy }
}

interface Wired {
  readonly wal: Wal.Wal
  readonly tail: Tail
  readonly sessions: Sessions
  readonly now: () => number
  readonly fuse: Fuse
  readonly running: () => boolean
}

/** Those that tidy up: checkpoints and moving large values make the log shorter, and unused sessions are ended. */
const coordinate = Effect.fnUntraced(function*(
  settings: Settings,
  ground: Ground.Ground,
  { buffer, flush, treeActor }: Views,
  { fuse, now, running, sessions, tail, wal }: Wired
) {
  const relocation = new Relocation.Relocation({
    ...ground,
    directory: settings.directory,
    storeId: ground.roots.newest.storeId,
    kernel: ground.tree,
    charges: treeActor.charges,
    fork: fuse.fork,
    running: () => running() && ground.reserve.mayMove,
    load: (pageId) => buffer.load(pageId, "upkeep"),
    merge: buffer.merge,
    relocate: wal.relocate,
    done: settings.relocated,
    failed: fuse.defect("janitor")
  })
  const checkpoint = yield* Checkpoint.make({
    ...ground,
    ...ground.roots,
    streams: ground.catalog.streams,
    pages: ground.tree.pages,
    now,
    fork: fuse.fork,
    cut: wal.cut,
    drained: Effect.callback((resume) => treeActor.drained(resume)),
    durable: wal.awaitCut,
    durableLsn: () => tail.durableLsn,
    write: flush.write,
    barrier: flush.barrier,
    relieved: () => {
      wal.progress()
      buffer.relieved()
      treeActor.resume()
    },
    stalledMillis: wal.stalledMillis,
    rescue: rescue(buffer.load, ground.tree.pages, flush.suspects),
    move: Mover.make({
      ...ground,
      pages: ground.tree.pages,
      write: (images) => flush.write(images, "move"),
      barrier: flush.barrier
    }),
    trim: flush.trim,
    oldestHeld: () => ground.generations.oldestLarge(),
    beginOf: (lsn) => ground.segments.beginOf(lsn),
    truncate: ground.segments.truncate,
    finished: (report) => {
      settings.checkpointed(report)
      wal.progress()
      relocation.start(report.lsn)
    },
    failed: fuse.defect("checkpoint")
  })
  IdleSessions.start({ sessions, fork: fuse.fork, now, running, end: wal.endSessions })
  return { checkpoint, relocation }
})

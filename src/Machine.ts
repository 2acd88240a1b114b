/**
 * The machine: the actors of one store, made and wired.
 *
 * Opening is recovery, closing is a checkpoint. This file alone knows two actors at once: what flows down (commits,
 * loads, images) goes through mailboxes, what flows up (applied, loaded, written, durable) through functions given here.
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
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Buffer_ from "./actors/Buffer.ts"
import * as Checkpoint from "./actors/Checkpoint.ts"
import * as Directory from "./actors/Directory.ts"
import * as Flush from "./actors/Flush.ts"
import type { Fuse } from "./actors/Fuse.ts"
import { make as makeFuse } from "./actors/Fuse.ts"
import { Names } from "./actors/Intent.ts"
import * as Janitor from "./actors/Janitor.ts"
import * as Recovery from "./actors/Recovery.ts"
import { Segments } from "./actors/Segments.ts"
import * as TreeActor from "./actors/Tree.ts"
import * as Triggers from "./actors/Triggers.ts"
import * as Values from "./actors/Values.ts"
import * as Wal from "./actors/Wal.ts"
import { Disk } from "./disk/Disk.ts"
import type { Durability, Limits, Options as LimitOptions } from "./Limits.ts"
import { Tail } from "./log/Tail.ts"
import { resolve } from "./Options.ts"
import { Closed, LayoutMismatch, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import { Arena } from "./tree/Arena.ts"
import { Generations } from "./tree/Generations.ts"
import type { PageFile } from "./tree/PageFile.ts"
import type { Root } from "./tree/Tree.ts"
import { Tree } from "./tree/Tree.ts"

/** A keyspace as its declaration names it. */
export interface Declared {
  readonly name: string
  readonly layout: string
}

/** What the rooms above work with: the tree to read from, and doors to what must wait. */
export interface Machine {
  readonly limits: Limits
  readonly durability: Durability
  readonly tree: Tree
  /** Exclusive bound of what new readers see. */
  readonly visible: () => number
  /** Why the store cannot be used any more. */
  readonly unavailable: () => StoreError | undefined
  /** The tree that a reader at `at` sees of a keyspace; an exit where there is none, or another layout. */
  readonly root: (keyspace: Declared, at: number) => Root | Exit.Exit<undefined, StoreError>
  readonly load: (pageId: number) => Effect.Effect<void, StoreError>
  readonly fetch: (reference: Values.Reference) => Effect.Effect<Uint8Array, StoreError>
  /** Hands an intent over; the answer waits for its LSN, or `undefined` where its base is stale. */
  readonly submit: Wal.Wal["submit"]
  /** Waits until everything appended is visible. */
  readonly caughtUp: Effect.Effect<void, StoreError>
  readonly awaitDurable: (lsn: number) => Effect.Effect<void, StoreError>
  readonly checkpoint: Effect.Effect<Checkpoint.Report, StoreError>
  /** Bodies of transactions run one at a time. */
  readonly turn: Semaphore.Semaphore
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly parts: Parts
}

/** The parts themselves, for looking at and for the raw doors. */
export interface Parts {
  readonly slots: PageFile
  readonly tail: Tail
  readonly segments: Segments
  readonly generations: Generations
  readonly wal: Wal.Wal
  readonly treeActor: TreeActor.Tree
  readonly buffer: Buffer_.Buffer
  readonly flush: Flush.Flush
  readonly checkpoint: Checkpoint.Checkpoint
}

/** What opening needs beside a disk. */
export interface Settings {
  readonly directory: string
  readonly durability: Durability
  readonly limits: LimitOptions
  readonly recovery: (progress: Recovery.Progress) => Effect.Effect<void>
  /** Told of every finished checkpoint. */
  readonly checkpointed: (report: Checkpoint.Report) => void
}

/** Opens a store and runs its actors until the scope closes. */
export const open = Effect.fnUntraced(function*(
  settings: Settings
): Effect.fn.Return<Machine, StoreError, Disk | Scope.Scope> {
  const ground = yield* lay(settings)
  const fuse = yield* makeFuse
  const views = yield* build(ground, fuse)
  const replayed = yield* replay(settings, ground, views, fuse)
  return yield* serve(settings, ground, views, replayed, fuse)
})

/** What is found in the directory: the newest checkpoint, in memory. */
const lay = Effect.fnUntraced(function*(settings: Settings) {
  const { directory } = settings
  const disk = yield* Disk
  const asked = yield* resolve(settings.limits)
  const superblockFile = yield* Directory.open({
    disk,
    directory,
    pageBytes: asked.pageBytes,
    segmentBytes: asked.segmentBytes,
    storeId: yield* randomId,
    createdMillis: yield* Clock.currentTimeMillis
  })
  const roots = yield* Recovery.roots(superblockFile)
  const { newest } = roots
  const limits = yield* resolve(settings.limits, newest.pageBytes)
  const file = yield* Directory.openPages(disk, directory, newest, "readWrite")
  const tree = new Tree({
    arena: new Arena(arenaOf(limits)),
    epoch: newest.version + 1,
    durable: newest.cut.lsn,
    visible: newest.cut.lsn
  })
  const restored = yield* Recovery.restore({ file, roots, map: tree.pages.map, pageBytes: limits.pageBytes })
  const generations = new Generations(restored.catalog)
  const { storeId } = newest
  const segments = new Segments({ disk, directory, storeId, segmentBytes: limits.segmentBytes })
  return { ...restored, disk, superblockFile, roots, limits, file, tree, generations, segments }
})

type Ground = Effect.Success<ReturnType<typeof lay>>

/** The views and what serves them: enough to apply a log. */
const build = Effect.fnUntraced(function*(ground: Ground, fuse: Fuse) {
  const { file, generations, limits, segments, slots, tree } = ground
  const { pages } = tree
  const { fork } = fuse
  const flush = yield* Flush.make({ file, slots, pages, limits, fork, failed: fuse.defect("flush") })
  const buffer = yield* Buffer_.make({
    pages,
    file,
    limits,
    fork,
    write: flush.write,
    failed: fuse.defect("buffer")
  })
  /** What the Tree asked for is there, or will never be. */
  const whenDone = (effect: Effect.Effect<void, StoreError>): void =>
    fork(Effect.match(effect, { onFailure: fuse.blow, onSuccess: () => treeActor.resume() }))
  const treeActor: TreeActor.Tree = new TreeActor.Tree({
    kernel: tree,
    generations,
    visible: ground.roots.newest.cut.lsn,
    load: (pageId) => {
      if (buffer.loadNow(pageId)) return true
      whenDone(buffer.load(pageId))
      return false
    },
    reserve: (blocks) => whenDone(buffer.reserve(blocks)),
    segmentBase: (lsn) => segments.placeOf(lsn)?.base ?? lsn
  })
  return { flush, buffer, treeActor }
})

type Views = Effect.Success<ReturnType<typeof build>>

/** Applies the log above the checkpoint, and answers the tail to go on from. */
const replay = Effect.fnUntraced(
  function*(settings: Settings, ground: Ground, { treeActor }: Views, fuse: Fuse) {
    const { disk, limits, roots, segments, tree } = ground
    // Everything that is replayed counts as durable: it is synced again before anything is served.
    treeActor.progress = () => {
      tree.versions.setVisible(treeActor.visibleLsn)
      tree.versions.setDurable(treeActor.visibleLsn)
    }
    const { end } = yield* Recovery.replay({
      disk,
      directory: settings.directory,
      roots,
      mode: "readWrite",
      segments,
      apply: (reader) => {
        treeActor.apply(reader)
        return treeActor.backlog === 0 ? undefined : drained(treeActor, fuse)
      },
      progress: settings.recovery
    })
    return new Tail({
      storeId: roots.newest.storeId,
      incarnation: yield* randomIncarnation,
      segmentBytes: limits.segmentBytes,
      inlineValueBytes: limits.inlineValueBytes,
      at: end.at,
      segment: end.segment
    })
  }
)

/** Waits until the Tree has applied everything that it parked, or the store has failed. */
const drained = (treeActor: TreeActor.Tree, fuse: Fuse): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    if (fuse.failure !== undefined) return Effect.fail(fuse.failure)
    return treeActor.backlog === 0 ? Effect.void : Effect.andThen(Effect.yieldNow, drained(treeActor, fuse))
  })

/** Begins a new life of the store: from here on it takes commits. */
const serve = Effect.fnUntraced(function*(
  settings: Settings,
  ground: Ground,
  views: Views,
  tail: Tail,
  fuse: Fuse
) {
  const { generations, limits, segments, slots, tree } = ground
  const { buffer, flush, treeActor } = views
  const { versions } = tree
  const clock = yield* Clock.Clock
  const now = (): number => clock.currentTimeMillisUnsafe()
  /** The tail, unless the Tree has parked: groups without records are visible too. */
  const visible = (): number => {
    if (fuse.failure !== undefined) return versions.pins.durable
    const lsn = treeActor.backlog === 0 ? tail.end : treeActor.visibleLsn
    if (lsn > versions.pins.visible) versions.setVisible(lsn)
    return lsn
  }
  const logBytes = (): number => tail.end - checkpoint.newest().cut.lsn
  const wal = yield* Wal.make({
    limits,
    tail,
    segments,
    names: new Names(generations.names(), generations.nextKeyspaceId),
    now,
    fork: fuse.fork,
    apply: (reader) => treeActor.apply(reader),
    cut: (cut) => treeActor.cut(cut),
    visible,
    admits: () => treeActor.backlog < limits.mailbox && logBytes() < limits.checkpoint.hardLogBytes,
    durable: (lsn) => {
      versions.setDurable(Math.min(lsn, visible()))
      generations.forget(versions.oldestPin())
      tidy()
      check()
    },
    poisoned: fuse.blow,
    failed: fuse.defect("wal")
  })
  treeActor.progress = () => {
    versions.setVisible(treeActor.visibleLsn)
    versions.setDurable(Math.min(tail.durableLsn, treeActor.visibleLsn))
    if (treeActor.resuming) wal.progress()
  }
  const checkpoint: Checkpoint.Checkpoint = yield* Checkpoint.make({
    ...ground,
    newest: ground.roots.newest,
    older: ground.roots.older,
    pages: tree.pages,
    now,
    fork: fuse.fork,
    cut: wal.cut,
    drained: Effect.callback((resume) => treeActor.drained(resume)),
    durable: (lsn) => wal.awaitLsn(lsn, "synced"),
    durableLsn: () => tail.durableLsn,
    write: flush.write,
    barrier: flush.barrier,
    rescue: Buffer_.rescue(buffer, tree.pages, flush.suspects),
    oldestValue: () => segments.placeOfBase(generations.oldestLarge()),
    truncate: segments.truncate,
    finished: (report) => {
      settings.checkpointed(report)
      wal.progress()
    },
    failed: fuse.defect("checkpoint")
  })
  fuse.blown = (error) => {
    versions.setVisible(versions.pins.durable)
    wal.stop(error)
    checkpoint.stop(error)
    treeActor.halt(error)
    if (error.reason._tag !== "Defective") return
    buffer.stop(error)
    flush.stop(error)
  }
  const running = (): boolean => !fuse.closed && fuse.failure === undefined
  const check = yield* Triggers.make({
    limits: limits.checkpoint,
    fork: fuse.fork,
    logBytes,
    records: () => treeActor.recordsSinceCut,
    busiest: () => tree.pages.busiest,
    running,
    start: checkpoint.start
  })
  const tidy = Janitor.make({
    fork: fuse.fork,
    dirty: () => running() && generations.dropping.length > 0,
    freeSlice: (pages) => treeActor.freeSlice(pages),
    load: buffer.load
  })
  const parts: Parts = { slots, tail, segments, generations, wal, treeActor, buffer, flush, checkpoint }
  yield* Effect.addFinalizer(() => close(ground, parts, fuse))
  // The open group: the first thing that this life says, durable before anything else is served.
  yield* wal.awaitLsn(tail.groupLsn, "synced")
  return yield* doors(settings, ground, parts, fuse, visible)
})

/** Syncs what was committed, takes a checkpoint, and lets everything go. */
const close = (ground: Ground, parts: Parts, fuse: Fuse): Effect.Effect<void> =>
  Effect.gen(function*() {
    const { buffer, checkpoint, flush, segments, tail, treeActor, wal } = parts
    fuse.closed = true
    if (fuse.failure === undefined) yield* Effect.exit(wal.awaitLsn(tail.end, "synced"))
    if (fuse.failure === undefined && treeActor.recordsSinceCut > 0) {
      yield* Effect.exit(checkpoint.start("close"))
    }
    yield* fuse.interruptAll
    const error = storeError(new Closed())
    for (const actor of [wal, checkpoint, buffer, flush]) actor.stop(error)
    yield* segments.close
    yield* ground.file.close
    yield* ground.superblockFile.close
  })

const doors = (
  settings: Settings,
  { limits, segments, tree }: Ground,
  parts: Parts,
  fuse: Fuse,
  visible: () => number
): Effect.Effect<Machine> =>
  Effect.map(Semaphore.make(1), (turn) => {
    const { buffer, checkpoint, generations, tail, wal } = parts
    const closed = storeError(new Closed())
    return {
      limits,
      durability: settings.durability,
      tree,
      visible,
      unavailable: () => fuse.closed ? closed : undefined,
      root: (keyspace, at) => rootOf(generations, keyspace, at),
      load: buffer.load,
      fetch: (reference) => Values.fetch({ directory: settings.directory, tail, segments }, reference),
      submit: wal.submit,
      caughtUp: Effect.suspend(() => wal.awaitLsn(tail.end, "memory")),
      awaitDurable: (lsn) => wal.awaitLsn(lsn, "synced"),
      checkpoint: checkpoint.start("request"),
      turn,
      fork: fuse.fork,
      parts
    }
  })

const none = Exit.succeed(undefined)

const rootOf = (
  generations: Generations,
  { layout, name }: Declared,
  at: number
): Root | Exit.Exit<undefined, StoreError> => {
  const generation = generations.find(name, at)
  if (generation === undefined) return none
  if (generation.layout === layout) return generation.root
  return Exit.fail(
    storeError(new LayoutMismatch({ keyspace: name, stored: generation.layout, declared: layout }))
  )
}

const randomWord = Random.nextIntBetween(0, 2 ** 32 - 1)

/** Never zero, which stands for "before the first life". */
const randomIncarnation = Effect.map(Effect.all([randomWord, randomWord]), ([low, high]) => ({
  low: (low | 1) >>> 0,
  high
}))

const randomId = Effect.map(
  Effect.all(Array.from({ length: 16 }, () => Random.nextIntBetween(0, 256))),
  (bytes) => Uint8Array.from(bytes)
)

/** What the staging area leaves of the memory, in chunks of the smallest power of two that holds an arena. */
const arenaOf = ({ arenaBytes, memoryBytes, pageBytes, stagingBytes }: Limits) => ({
  pageBytes,
  blocks: Math.floor((memoryBytes - stagingBytes) / pageBytes),
  chunkBytes: Math.min(2 ** 30, 2 ** Math.ceil(Math.log2(arenaBytes)))
})

/**
 * The machine: the actors of one store, made and wired.
 *
 * Opening is recovery, closing is a checkpoint. This file alone knows two actors at once: what flows down (commits, loads,
 * images) goes through mailboxes, what flows up (applied, loaded, written, durable) through functions given here.
 *
 * ```
 *   Keyspace · Tx                          Snapshot
 *        │ commit                              │ direct, synchronous on a hit
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
import * as FiberSet from "effect/FiberSet"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Buffer_ from "./actors/Buffer.ts"
import * as Checkpoint from "./actors/Checkpoint.ts"
import * as Directory from "./actors/Directory.ts"
import * as Flush from "./actors/Flush.ts"
import * as Recovery from "./actors/Recovery.ts"
import { Segments } from "./actors/Segments.ts"
import * as TreeActor from "./actors/Tree.ts"
import * as Values from "./actors/Values.ts"
import * as Wal from "./actors/Wal.ts"
import { Disk } from "./disk/Disk.ts"
import type { Durability, Limits, Options as LimitOptions } from "./Limits.ts"
import * as Limits_ from "./Limits.ts"
import { Tail } from "./log/Tail.ts"
import { Closed, Defective, InvalidOptions, LayoutMismatch, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import { Arena } from "./tree/Arena.ts"
import type { PageFile } from "./tree/PageFile.ts"
import type { Pages } from "./tree/Pages.ts"
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
  /** How many records a keyspace has now. */
  readonly count: (keyspace: Declared) => Effect.Effect<number, StoreError>
  /** Bodies of transactions run one at a time. */
  readonly turn: Semaphore.Semaphore
  readonly fork: (effect: Effect.Effect<void>) => void
  readonly parts: Parts
}

/** The parts themselves, for looking at. */
export interface Parts {
  readonly pages: Pages
  readonly versions: Tree["versions"]
  readonly slots: PageFile
  readonly tail: Tail
  readonly segments: Segments
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
  const disk = yield* Disk
  const clock = yield* Clock.Clock
  const { directory, durability } = settings
  const asked = yield* resolve(settings.limits)
  const superblockFile = yield* Directory.open({
    disk,
    directory,
    pageBytes: asked.pageBytes,
    segmentBytes: asked.segmentBytes,
    storeId: yield* randomBytes(16),
    createdMillis: clock.currentTimeMillisUnsafe()
  })
  const roots = yield* Recovery.roots(superblockFile)
  const { pageBytes, storeId } = roots.newest
  const limits = yield* resolve(
    { ...settings.limits, pageBytes: settings.limits.pageBytes ?? pageBytes },
    pageBytes
  )
  const file = yield* Directory.openPages(disk, directory, roots.newest, "readWrite")
  const arena = new Arena({
    pageBytes,
    blocks: Math.floor(bufferBytes(limits) / pageBytes),
    chunkBytes: chunkBytes(limits)
  })
  const cut = roots.newest.cut.lsn
  const tree = new Tree({ arena, epoch: roots.newest.version + 1, durable: cut, visible: cut })
  const { pages, versions } = tree
  const restored = yield* Recovery.restore({ file, roots, map: pages.map, pageBytes })

  const services = yield* Effect.context<never>()
  const fibers = yield* FiberSet.make<void, never>()
  const runFork = Effect.runForkWith(services)
  const fork = (effect: Effect.Effect<void>): void => void FiberSet.addUnsafe(fibers, runFork(effect))

  let failure: StoreError | undefined
  let closed = false
  let stop = (_error: StoreError): void => {}
  const poisoned = (error: StoreError): void => {
    if (failure !== undefined) return
    failure = error
    versions.setVisible(versions.pins.durable)
    stop(error)
  }
  const failed = (actor: string) => (cause: unknown): void =>
    poisoned(storeError(new Defective({ actor, cause })))

  const flush = yield* Flush.make({
    file,
    slots: restored.slots,
    pages,
    pageBytes,
    capacity: limits.mailbox,
    fork,
    failed: failed("flush")
  })
  const buffer = yield* Buffer_.make({
    pages,
    file,
    limits,
    fork,
    write: flush.write,
    failed: failed("buffer")
  })
  const segments = new Segments({ disk, directory, storeId, segmentBytes: limits.segmentBytes })

  /** What the Tree asked for is there, or will never be. */
  const resume = (exit: Exit.Exit<void, StoreError>): Effect.Effect<void> =>
    Effect.sync(() => {
      if (Exit.isSuccess(exit)) return treeActor.resume()
      const error = Exit.findErrorOption(exit)
      if (error._tag === "Some") poisoned(error.value)
    })
  const treeActor = new TreeActor.Tree({
    kernel: tree,
    catalog: restored.catalog,
    visible: cut,
    load: (pageId) => {
      if (buffer.loadNow(pageId)) return true
      fork(Effect.flatMap(Effect.exit(buffer.load(pageId)), resume))
      return false
    },
    reserve: (blocks) => fork(Effect.flatMap(Effect.exit(buffer.reserve(blocks)), resume)),
    segmentBase: (lsn) => segments.placeOf(lsn)?.base ?? lsn,
    progress: () => progress()
  })
  // Everything that is replayed counts as durable: it is synced again before anything is served.
  let progress = (): void => {
    versions.setVisible(treeActor.visibleLsn)
    versions.setDurable(treeActor.visibleLsn)
  }

  const replayed = yield* Recovery.replay({
    disk,
    directory,
    roots,
    mode: "readWrite",
    segments,
    apply: (reader) => {
      treeActor.apply(reader)
      return treeActor.backlog === 0 ? undefined : drained(treeActor, () => failure)
    },
    progress: settings.recovery
  })
  const tail = new Tail({
    storeId,
    incarnation: { low: ((yield* randomWord) | 1) >>> 0, high: yield* randomWord },
    segmentBytes: limits.segmentBytes,
    inlineValueBytes: limits.inlineValueBytes,
    at: replayed.end.at,
    segment: replayed.end.segment
  })
  /** The tail, unless the Tree has parked: groups without records are visible too. */
  const visible = (): number => {
    const lsn = treeActor.backlog === 0 ? tail.end : treeActor.visibleLsn
    if (lsn > versions.pins.visible) versions.setVisible(lsn)
    return lsn
  }
  const wal = yield* Wal.make({
    limits,
    tail,
    segments,
    names: treeActor.names(),
    nextKeyspaceId: treeActor.nextIds.keyspace,
    now: () => clock.currentTimeMillisUnsafe(),
    fork,
    apply: (reader) => treeActor.apply(reader),
    cut: (cut) => treeActor.cut(cut),
    visible,
    admits: () => treeActor.backlog < limits.mailbox && logBytes() < limits.checkpoint.hardLogBytes,
    durable: (lsn) => {
      versions.setDurable(Math.min(lsn, visible()))
      treeActor.forget(versions.oldestPin())
      collect()
      triggers()
    },
    poisoned,
    failed: failed("wal")
  })
  progress = () => {
    versions.setVisible(treeActor.visibleLsn)
    versions.setDurable(Math.min(tail.durableLsn, visible()))
    if (treeActor.resuming) wal.progress()
  }
  const checkpoint = yield* Checkpoint.make({
    limits,
    superblockFile,
    newest: roots.newest,
    older: roots.older,
    pages,
    chunks: restored.chunks,
    catalogSlots: restored.catalogSlots,
    slots: restored.slots,
    now: () => clock.currentTimeMillisUnsafe(),
    fork,
    cut: wal.cut,
    drained: Effect.callback((resume) => treeActor.drained(resume)),
    durable: (lsn) => wal.awaitLsn(lsn, "synced"),
    durableLsn: () => tail.durableLsn,
    write: flush.write,
    barrier: flush.barrier,
    rescue: rescue(flush, buffer, pages),
    oldestValue: () => segments.placeOfBase(treeActor.oldestLarge()),
    truncate: segments.truncate,
    finished: (report) => {
      settings.checkpointed(report)
      wal.progress()
    },
    failed: failed("checkpoint")
  })
  stop = (error) => {
    wal.stop(error)
    checkpoint.stop(error)
    treeActor.halt(error)
    if (error.reason._tag === "Defective") {
      buffer.stop(error)
      flush.stop(error)
    }
  }

  let collecting = false
  /** Takes down dropped trees in slices, beside everything else. */
  const collect = (): void => {
    if (collecting || treeActor.droppingRoots.length === 0) return
    collecting = true
    const slice: Effect.Effect<void, StoreError> = Effect.suspend(() => {
      if (treeActor.droppingRoots.length === 0 || closed || failure !== undefined) return Effect.void
      const missing = treeActor.freeSlice(slicePages)
      return Effect.andThen(missing === 0 ? Effect.yieldNow : buffer.load(missing), slice)
    })
    fork(Effect.map(Effect.exit(slice), () => {
      collecting = false
    }))
  }
  let requested = false
  const logBytes = (): number => tail.end - checkpoint.newest().cut.lsn
  const triggers = (): void => {
    const { leafRecords, logBytes: logBytesMax, records } = limits.checkpoint
    if (requested || closed || failure !== undefined) return
    const pressure = treeActor.recordsSinceCut >= records || pages.busiest >= leafRecords
    if (logBytes() < logBytesMax && !pressure) return
    requested = true
    const started = checkpoint.start(pressure ? "pressure" : "bytes")
    fork(
      Effect.flatMap(Effect.exit(started), (exit) =>
        Effect.andThen(
          Exit.isSuccess(exit) ? Effect.void : Effect.sleep(retryMillis),
          Effect.sync(() => {
            requested = false
            triggers()
          })
        ))
    )
  }
  // The open group: the first thing that this life says, durable before anything else is served.
  yield* wal.awaitLsn(tail.groupLsn, "synced")
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(
    Effect.sleep(limits.checkpoint.intervalMillis),
    Effect.suspend(() =>
      treeActor.recordsSinceCut > 0 ? Effect.exit(checkpoint.start("interval")) : Effect.void
    )
  )))
  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      closed = true
      if (failure === undefined) yield* Effect.exit(wal.awaitLsn(tail.end, "synced"))
      if (failure === undefined && treeActor.recordsSinceCut > 0) {
        yield* Effect.exit(checkpoint.start("close"))
      }
      yield* FiberSet.clear(fibers)
      for (const actor of [wal, checkpoint, buffer, flush]) actor.stop(storeError(new Closed()))
      yield* segments.close
      yield* file.close
      yield* superblockFile.close
    })
  )
  return {
    limits,
    durability,
    tree,
    visible: () => failure === undefined ? visible() : versions.pins.durable,
    unavailable: () => closed ? storeError(new Closed()) : undefined,
    root: (keyspace, at) => rootOf(treeActor, keyspace, at),
    load: buffer.load,
    fetch: (reference) => Values.fetch({ directory, tail, segments }, reference),
    submit: wal.submit,
    caughtUp: Effect.suspend(() => wal.awaitLsn(tail.end, "memory")),
    awaitDurable: (lsn) => wal.awaitLsn(lsn, "synced"),
    checkpoint: checkpoint.start("request"),
    count: (keyspace) =>
      Effect.suspend(() => {
        const root = rootOf(treeActor, keyspace, Infinity)
        if (!Exit.isExit(root)) return Effect.succeed(root.count)
        return Exit.isSuccess(root) ? Effect.succeed(0) : Exit.failCause(root.cause)
      }),
    turn: yield* Semaphore.make(1),
    fork,
    parts: {
      pages,
      versions,
      slots: restored.slots,
      tail,
      segments,
      wal,
      treeActor,
      buffer,
      flush,
      checkpoint
    }
  }
})

/** Pages of a dropped tree freed between two yields. */
const slicePages = 256

/** How long a failed checkpoint waits before the next attempt. */
const retryMillis = 1_000

const none = Exit.succeed(undefined)

const rootOf = (
  tree: TreeActor.Tree,
  { layout, name }: Declared,
  at: number
): Root | Exit.Exit<undefined, StoreError> => {
  const generation = tree.find(name, at)
  if (generation === undefined) return none
  if (generation.layout === layout) return generation.root
  return Exit.fail(
    storeError(new LayoutMismatch({ keyspace: name, stored: generation.layout, declared: layout }))
  )
}

/** Images again every page whose newest image a failed sync left in doubt. */
const rescue = (flush: Flush.Flush, buffer: Buffer_.Buffer, pages: Pages): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    if (flush.suspects.size === 0) return Effect.void
    const { map } = pages
    const ids: Array<number> = []
    for (let id = 1; id < map.bound; id++) {
      if (flush.suspects.has(map.slot[id] as number) || flush.suspects.has(map.cutSlot[id] as number)) {
        ids.push(id)
      }
    }
    return Effect.andThen(
      Effect.forEach(ids, (id) =>
        Effect.map(buffer.load(id), () => {
          if (map.isUsed(id) && (map.block[id] as number) >= 0) pages.touch(id)
        }), { discard: true }),
      Effect.sync(() => flush.suspects.clear())
    )
  })

/** Waits until the Tree has applied everything that it parked, or the store has failed. */
const drained = (
  tree: TreeActor.Tree,
  failure: () => StoreError | undefined
): Effect.Effect<void, StoreError> =>
  Effect.suspend(() => {
    const error = failure()
    if (error !== undefined) return Effect.fail(error)
    return tree.backlog === 0 ? Effect.void : Effect.andThen(Effect.yieldNow, drained(tree, failure))
  })

const resolve = (options: LimitOptions, storedPageBytes?: number): Effect.Effect<Limits, StoreError> =>
  Effect.suspend(() => {
    const resolved = Limits_.resolve(options)
    const problems = resolved._tag === "Invalid" ? [...resolved.problems] : []
    if (storedPageBytes !== undefined && (options.pageBytes ?? storedPageBytes) !== storedPageBytes) {
      problems.push(
        `pageBytes is ${options.pageBytes}, but the store was made with ${storedPageBytes}: leave pageBytes out`
      )
    }
    return resolved._tag === "Valid" && problems.length === 0
      ? Effect.succeed(resolved.limits)
      : Effect.fail(storeError(new InvalidOptions({ problems })))
  })

const randomWord = Random.nextIntBetween(0, 2 ** 32 - 1)

const randomBytes = (count: number): Effect.Effect<Uint8Array> =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), () => Random.nextIntBetween(0, 256)),
    (bytes) => Uint8Array.from(bytes)
  )

/** What the staging area leaves of the memory. */
const bufferBytes = (limits: Limits): number => limits.memoryBytes - limits.stagingBytes

/** The smallest power of two that holds an arena. */
const chunkBytes = (limits: Limits): number => Math.min(2 ** 30, 2 ** Math.ceil(Math.log2(limits.arenaBytes)))

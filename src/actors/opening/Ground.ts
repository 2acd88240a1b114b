/**
 * The ground that a store stands on: what is found in its directory, and the newest checkpoint of it in memory.
 *
 * Nothing here runs yet: files are open, the map table and the catalog are loaded, the kernel is empty of pages. What
 * is opened is closed with the scope.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Disk } from "../../disk/Disk.ts"
import { isViolation } from "../../Invariant.ts"
import type { BufferMode, Limits, Options as LimitOptions, SyncThread, SystemCache } from "../../Limits.ts"
import { OpenStreams } from "../../log/Pieces.ts"
import { resolve, systemCacheOf } from "../../Options.ts"
import type { StoreError } from "../../StoreError.ts"
import { Generations } from "../../tree/Generations.ts"
import { Arena } from "../../tree/memory/Arena.ts"
import { Budget } from "../../tree/memory/Budget.ts"
import { Tree } from "../../tree/Tree.ts"
import * as Damage from "../files/Damage.ts"
import * as Directory from "../files/Directory.ts"
import { Reserve } from "../files/Reserve.ts"
import { Segments } from "../files/Segments.ts"
import type { Log } from "../files/Values.ts"
import * as Footing from "./Footing.ts"
import * as Restore from "./Restore.ts"

/** Structural events remembered for whoever inspects the store. */
const structuralEvents = 256

export interface Settings {
  readonly directory: string
  /** `readOnly`: beside a living owner, what is durable now, and nothing is ever written. */
  readonly mode: "readWrite" | "readOnly"
  readonly limits: LimitOptions
  /** What the buffer holds of a leaf: `miniPages`, its records, or `pages`, all of it or nothing. */
  readonly buffer: BufferMode
  /** For the page file. */
  readonly systemCache: SystemCache
  /** For the log. */
  readonly syncThread: SyncThread
}

/** What is found in the directory: the newest checkpoint, in memory. */
export const lay = Effect.fnUntraced(function*(settings: Settings, footing: Footing.Footing) {
  const { directory, mode } = settings
  const disk = yield* Disk
  const asked = yield* resolve(settings.limits)
  const superblockFile = yield* mode === "readOnly" ?
    Directory.openReadOnly(disk, directory) :
    Directory.open({
      disk,
      directory,
      pageBytes: asked.pageBytes,
      segmentBytes: asked.segmentBytes,
      storeId: yield* Directory.randomId,
      createdMillis: yield* Clock.currentTimeMillis
    })
  const superblocks = yield* Restore.superblocks(superblockFile)
  const found = yield* Footing.rootsAt(superblocks, footing)
  if (mode === "readWrite" && footing.refused.length === 0) {
    yield* Restore.confirm(superblockFile, superblocks)
  }
  const { newest } = found
  const limits = yield* resolve(settings.limits, newest.pageBytes)
  const file = yield* Directory.openPages(disk, directory, newest, {
    mode,
    systemCache: yield* systemCacheOf(settings.systemCache, newest.pageBytes)
  })
  const tree = treeOf(settings, limits, found)
  if (disk.populate !== undefined) tree.pages.arena.populateBy(disk.populate)
  const { deadlines, map } = tree.pages
  const { pageBytes } = limits
  const restored = yield* Restore.restore({ file, roots: found, map, deadlines, pageBytes })
  const roots = Footing.without(found, restored.olderDamage)
  const damages = yield* looked({ disk, directory, mode, file, map, pageBytes }, footing, roots)
  const generations = yield* generationsOf(restored, file.path, newest.catalog.slot * pageBytes)
  tree.pages.lineage.know(generations)
  const budget = budgetOf(tree, restored, limits)
  const reserve = new Reserve({ disk, directory, limits, file, pages: tree.pages, slots: restored.slots })
  const { syncThread } = settings
  const segments = reserve.behind(
    new Segments({ ...limits, ...newest, disk, directory, syncThread, reserve })
  )
  const log: Log = { directory, segments, tail: undefined }
  const streams = new OpenStreams()
  budget.hold("streams", () => streams.bytes)
  for (const keyspace of restored.catalog.keyspaces) {
    for (const charged of keyspace.segments) segments.announce(charged)
  }
  yield* Effect.addFinalizer(() => segments.close)
  const made = {
    disk,
    mode,
    superblockFile,
    roots,
    damages,
    limits,
    file,
    tree,
    budget,
    generations,
    segments,
    reserve,
    log,
    streams
  }
  return { ...restored, ...made }
})

export type Ground = Effect.Success<ReturnType<typeof lay>>

/** That a catalog contradicts itself is the file's fault, whatever its checksum says. */
const generationsOf = (
  { catalog }: Restore.Restored,
  path: string,
  offset: number
): Effect.Effect<Generations, StoreError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(new Generations(catalog))
    } catch (cause) {
      if (isViolation(cause)) return Restore.damaged(path, offset, "a catalog", cause.message)
      throw cause
    }
  })

const treeOf = ({ buffer }: Settings, limits: Limits, { newest, version }: Footing.Roots): Tree =>
  new Tree({
    arena: new Arena(arenaOf(limits)),
    epoch: version + 1,
    durable: newest.cut.lsn,
    visible: newest.cut.lsn,
    events: structuralEvents,
    mode: buffer,
    promotionPercent: limits.promotionPercent,
    secondChancePercent: limits.secondChancePercent,
    seed: newest.storeId[0],
    spill: {
      memoryBytes: limits.versionsBytes,
      slackBytes: 4 * limits.undurableBytes,
      diskBytes: limits.snapshotDiskBytes,
      blockBytes: limits.pageBytes
    }
  })

/** Where the life before has met a damaged page, all of them are looked at before any is believed. */
const looked = (
  options: Parameters<typeof Restore.look>[0] & Pick<Damage.Options, "disk" | "directory" | "mode">,
  footing: Footing.Footing,
  { damage: opening }: Footing.Roots
): Effect.Effect<Damage.Damages, StoreError> =>
  Effect.gen(function*() {
    const { directory, disk, mode } = options
    const marked = mode === "readWrite" && (yield* disk.kind(`${directory}/${Damage.markName}`)) === "file"
    if (marked && footing.pages === "looked at") {
      yield* Effect.tapError(Restore.look(options), ({ reason }) =>
        Effect.sync(() => {
          if (reason._tag === "Corrupted") footing.unsound = reason
        }))
    }
    return new Damage.Damages({ disk, directory, mode, marked, opening })
  })

/** What stays set aside of the staging area: images come and go, and pages have what those do not take of the rest. */
const asideOf = ({ stagingBytes }: Limits): number => stagingBytes >>> 1

/** What is set aside leaves the rest of the memory, in chunks of the smallest power of two that holds an arena. */
const arenaOf = (limits: Limits) => ({
  pageBytes: limits.pageBytes,
  blocks: Math.floor((limits.memoryBytes - asideOf(limits)) / limits.pageBytes),
  chunkBytes: Math.min(2 ** 30, 2 ** Math.ceil(Math.log2(limits.arenaBytes)))
})

const budgetOf = (
  { hints, pages, versions }: Tree,
  { chunks, slots }: Pick<Restore.Restored, "chunks" | "slots">,
  limits: Limits
): Budget => {
  const budget = new Budget(pages.arena, limits.memoryBytes)
  budget.hold("images", () => Math.max(asideOf(limits), pages.imageBytes))
  budget.hold("map", () => pages.bytes + chunks.bytes)
  budget.hold("slots", () => slots.bytes)
  budget.hold("versions", () => versions.bytes, () => versions.trim())
  budget.hold("hints", () => hints.bytes)
  return budget
}

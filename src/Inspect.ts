/**
 * Looking at a running store: sizes and counts, the trees leaf by leaf, the regions of the log.
 *
 * For tests, tools and the curious. Nothing here changes anything. Fences and pivots are keys: whoever logs an
 * inspection logs those.
 */
import * as Effect from "effect/Effect"
import type { Damage } from "./actors/files/Damage.ts"
import type { Report as Shortage } from "./actors/files/Shortage.ts"
import type { Costs } from "./Costs.ts"
import { costs } from "./Costs.ts"
import type { Segment } from "./log/Segment.ts"
import type { Machine } from "./Machine.ts"
import { StoreError } from "./StoreError.ts"
import { audit } from "./tree/Audit.ts"
import type { TreeView, Violation } from "./tree/Audit.ts"
import type { Structural } from "./tree/memory/Events.ts"
import type { Owner } from "./tree/past/Pins.ts"

/**
 * Bytes, unless a name says otherwise; what counts events counts from the opening of the store. Beside it `Costs`: what
 * the buffer holds, and what it takes that it does not hold everything.
 */
export interface Stat extends Costs {
  /** What was found damaged when the store was opened, and the first page that was since. */
  readonly damage: ReadonlyArray<Damage>
  readonly keyspaces: ReadonlyArray<
    { readonly name: string; readonly records: number; readonly unresolved: number }
  >
  readonly lsn: {
    readonly begin: number
    readonly head: number
    readonly durable: number
    readonly visible: number
  }
  readonly log: {
    readonly files: number
    /** From begin to the end. */
    readonly bytes: number
    /** Values that live in it and that somebody may read. */
    readonly large: number
    readonly sinceCheckpoint: number
    readonly tail: number
  }
  readonly pages: {
    readonly blocks: number
    readonly freeBlocks: number
    readonly ids: number
  }
  /** Who reads the past, and what is kept for it. */
  readonly snapshots: {
    readonly open: Readonly<Record<Owner, number>>
    /** Who has read longest at the oldest LSN. */
    readonly oldest:
      | { readonly owner: Owner; readonly lsn: number; readonly ageMillis: number }
      | undefined
    /** Pins that had to go before their readers. */
    readonly expired: number
    /** Older versions: in memory, with what waits for its sync, and in the scratch file. */
    readonly memory: number
    readonly disk: number
  }
  /** Who holds how much of the memory. */
  readonly memory: {
    /** What all of them together may hold. */
    readonly limit: number
    readonly total: number
    readonly pages: number
    /** Map table, ring and what is known of changes. */
    readonly map: number
    readonly slots: number
    readonly versions: number
    /** Where keys of large trees were found last. */
    readonly hints: number
    /** The end of the log. */
    readonly tail: number
    /** Pages on their way to the disk and from it; a part that is set aside for them always counts. */
    readonly images: number
    /** Records that wait to be applied. */
    readonly parked: number
    /** Those that are remembered, and their names. */
    readonly sessions: number
  }
  readonly file: {
    readonly slots: number
    readonly live: number
    readonly free: number
    readonly retired: number
  }
  /** Room on the disk. */
  readonly space: {
    /** What was free when it was looked last: seldom, while there is plenty. `Infinity` where nobody can say. */
    readonly free: number
    /** What is set aside. */
    readonly reserve: number
    /** Why commits that add are refused now; undefined while they are taken. */
    readonly shortage: Shortage | undefined
    /** How often one began, and how many commits were refused. */
    readonly shortages: number
    readonly refused: number
  }
  readonly sessions: {
    /** By the log. */
    readonly remembered: number
    readonly open: number
    readonly ended: number
  }
  readonly counters: {
    readonly commits: number
    /** Runs of transactions that lost, and turns that were taken because of it. */
    readonly conflicts: number
    readonly turns: number
    readonly groups: number
    readonly groupBytes: number
    readonly syncs: number
    readonly loads: number
    readonly evictions: number
    readonly images: number
    readonly checkpoints: number
    readonly relocatedBytes: number
    /** Records that the janitor removed because they had expired. */
    readonly expired: number
  }
}

/** Looks at every record that is in a mini-page; all else is counted already. */
export const stat = (machine: Machine): Stat => {
  const { parts, tree: { pages } } = machine
  const {
    budget,
    buffer,
    checkpoint,
    expiry,
    flush,
    generations,
    relocation,
    reserve,
    segments,
    sessions,
    slots,
    tail,
    wal
  } = parts
  return {
    ...costs(machine),
    damage: parts.damages.all,
    keyspaces: [...generations.all()].map(({ name, root }) => ({
      name,
      records: root.count,
      unresolved: root.unresolved
    })),
    lsn: regions(machine),
    log: {
      files: segments.fileBytes,
      bytes: tail.end - checkpoint.newest().begin.lsn,
      large: generations.largeBytes(),
      sinceCheckpoint: tail.end - checkpoint.newest().cut.lsn,
      tail: tail.memoryBytes
    },
    pages: {
      blocks: pages.arena.blocks,
      freeBlocks: pages.arena.freeBlocks,
      ids: pages.map.used
    },
    snapshots: snapshots(machine),
    memory: { limit: budget.memoryBytes, total: budget.bytes, pages: budget.pageBytes, ...budget.held },
    file: { slots: slots.slots, live: slots.liveSlots, free: slots.freeCount, retired: slots.retiredCount },
    space: {
      free: reserve.sizes.free,
      reserve: reserve.sizes.reserve,
      shortage: reserve.shortage.now,
      shortages: reserve.shortage.counters.shortages,
      refused: reserve.shortage.counters.refusals
    },
    sessions: {
      remembered: sessions.remembered,
      open: sessions.opened,
      ended: sessions.counters.ended
    },
    counters: {
      commits: wal.counters.commits,
      conflicts: wal.counters.conflicts,
      turns: wal.turns(),
      groups: wal.counters.groups,
      groupBytes: wal.counters.groupBytes,
      syncs: wal.counters.syncs,
      loads: buffer.counters.loads.loads,
      evictions: buffer.counters.evicted.leaves + buffer.counters.evicted.minis,
      images: flush.counters.images,
      checkpoints: checkpoint.counters.checkpoints,
      relocatedBytes: relocation.counters.bytes,
      expired: expiry.counters.removed
    }
  }
}

const snapshots = ({ now, tree: { versions } }: Machine): Stat["snapshots"] => {
  const { pins, spill } = versions
  const oldest = pins.oldestReader()
  return {
    open: { ...pins.owners },
    oldest: oldest === undefined
      ? undefined
      : { owner: oldest.owner, lsn: oldest.pin.lsn, ageMillis: now() - oldest.since },
    expired: pins.expired,
    memory: versions.bytes,
    disk: spill.diskBytes
  }
}

const regions = ({ parts: { checkpoint, tail }, visible }: Machine): Stat["lsn"] => ({
  begin: checkpoint.newest().begin.lsn,
  head: tail.head,
  durable: tail.durableLsn,
  visible: visible()
})

/** Everything that can be seen of the structure. */
export interface Inspection {
  readonly keyspaces: ReadonlyArray<
    { readonly name: string; readonly layout: string; readonly tree: TreeView }
  >
  /** Rules of the structure that do not hold; empty in a sound store. */
  readonly violations: ReadonlyArray<Violation>
  readonly segments: ReadonlyArray<Segment>
  readonly regions: Stat["lsn"]
  /** The newest splits, merges and changes of a root's height, oldest first. */
  readonly structure: ReadonlyArray<Structural>
}

/**
 * Walks every tree and checks its structure on the way. Holds the event loop while it does: pages that are not in
 * memory are read in the calling thread.
 */
export const inspect = (machine: Machine): Effect.Effect<Inspection, StoreError> =>
  Effect.suspend(() => {
    const { buffer, generations, segments } = machine.parts
    const open = [...generations.all()]
    try {
      const { trees, violations } = audit({
        pages: machine.tree.pages,
        roots: open.map(({ root }) => root),
        dropping: generations.ended(),
        load: buffer.imageNow
      })
      const keyspaces = open.map(({ layout, name }, index) => ({
        name,
        layout,
        tree: trees[index] as TreeView
      }))
      return Effect.succeed({
        keyspaces,
        violations,
        segments: segments.list,
        regions: regions(machine),
        structure: machine.tree.events.recent()
      })
    } catch (error) {
      if (error instanceof StoreError) return Effect.fail(error)
      throw error
    }
  })

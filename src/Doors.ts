/**
 * The doors of a machine: what the rooms above work with, and what they are refused.
 *
 * Nobody above knows an actor. They read the tree in the calling thread, and what must wait goes through a function
 * here. A store that is only read has the same doors; those that write lead to a refusal.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Buffer_ from "./actors/Buffer.ts"
import type * as Checkpoint from "./actors/Checkpoint.ts"
import type { Declared } from "./actors/commit/Declared.ts"
import { rootOf } from "./actors/commit/Declared.ts"
import type { Sessions } from "./actors/commit/Sessions.ts"
import type { Damages } from "./actors/files/Damage.ts"
import type { Reserve } from "./actors/files/Reserve.ts"
import type * as Scratch from "./actors/files/Scratch.ts"
import type { Segments } from "./actors/files/Segments.ts"
import * as Values from "./actors/files/Values.ts"
import type * as Flush from "./actors/Flush.ts"
import type { Fuse } from "./actors/loop/Fuse.ts"
import type * as Ground from "./actors/opening/Ground.ts"
import type * as TreeActor from "./actors/Tree.ts"
import type * as Expiry from "./actors/upkeep/Expiry.ts"
import type * as Relocation from "./actors/upkeep/Relocation.ts"
import type * as Wal from "./actors/Wal.ts"
import type { DiskFile } from "./disk/Disk.ts"
import type { Durability, Limits } from "./Limits.ts"
import type { Tail } from "./log/Tail.ts"
import { Closed, ReadOnly, storeError } from "./StoreError.ts"
import type { StoreError } from "./StoreError.ts"
import type { PageFile } from "./tree/file/PageFile.ts"
import type { Generations } from "./tree/Generations.ts"
import type { Budget } from "./tree/memory/Budget.ts"
import type { Purpose } from "./tree/memory/Events.ts"
import type { Root, Tree } from "./tree/Tree.ts"

/** What the rooms above work with: the tree to read from, and doors to what must wait. */
export interface Machine {
  readonly limits: Limits
  readonly durability: Durability
  readonly mode: "readWrite" | "readOnly"
  readonly tree: Tree
  /** The time of the store, in milliseconds since 1970: it does not go back, whatever the clock does. */
  readonly now: () => number
  /** Exclusive bound of what new readers see. */
  readonly visible: () => number
  /** Why the store cannot be used any more. */
  readonly unavailable: () => StoreError | undefined
  /** Why nothing can be written, or not any more. */
  readonly unwritable: () => StoreError | undefined
  /** The tree that a reader at `at` sees of a keyspace; an exit where there is none, or another layout. */
  readonly root: (keyspace: Declared, at: number) => Root | Exit.Exit<undefined, StoreError>
  /** Brings a page into memory, by default to read a key. */
  readonly load: (pageId: number, purpose?: Purpose) => Effect.Effect<void, StoreError>
  readonly loadMany: Buffer_.Buffer["loadMany"]
  readonly readAhead: Buffer_.ReadAhead
  readonly fetch: (reference: Values.Reference) => Effect.Effect<Uint8Array, StoreError>
  readonly submit: Wal.Wal["submit"]
  /** Writes part of a transaction that is too large for memory into the log; gives such a one up. */
  readonly addPiece: Wal.Wal["addPiece"]
  readonly abandon: Wal.Wal["abandon"]
  /** What open transactions are validated by, who waits for a change, and who has the turn. */
  readonly window: Wal.Wal["window"]
  readonly watch: Wal.Wal["watch"]
  readonly takeTurn: Wal.Wal["takeTurn"]
  readonly endTurn: Wal.Wal["endTurn"]
  /** Waits until everything appended is visible. */
  readonly caughtUp: Effect.Effect<void, StoreError>
  readonly awaitDurable: (lsn: number) => Effect.Effect<void, StoreError>
  readonly promiseDurable: Wal.Wal["promiseDurable"]
  /** Opens a session. */
  readonly claim: Wal.Wal["claim"]
  readonly endSessions: Wal.Wal["endSessions"]
  readonly checkpoint: Effect.Effect<Checkpoint.Report, StoreError>
  readonly fork: (effect: Effect.Effect<void>) => void
  /** Runs an effect beside everything else; closing waits for it. */
  readonly finish: (effect: Effect.Effect<void>) => void
  readonly parts: Parts
}

/** The parts themselves, for looking at and for the raw doors. */
export interface Parts {
  /** The page file; its counters say what of the work reached the disk. */
  readonly file: DiskFile
  readonly slots: PageFile
  readonly scratch: Scratch.Scratch
  readonly budget: Budget
  readonly tail: Tail
  readonly segments: Segments
  readonly reserve: Reserve
  readonly generations: Generations
  readonly wal: Wal.Wal
  readonly treeActor: TreeActor.Tree
  readonly buffer: Buffer_.Buffer
  readonly flush: Flush.Flush
  readonly checkpoint: Checkpoint.Checkpoint
  readonly relocation: Relocation.Relocation
  readonly expiry: Expiry.Expiry
  readonly sessions: Sessions
  /** What was found damaged. */
  readonly damages: Damages
}

/** Opens the doors of what has been wired. */
export const make = (
  settings: { readonly directory: string; readonly durability: Durability },
  { limits, mode, segments, tree }: Ground.Ground,
  parts: Parts,
  fuse: Fuse,
  { now, visible }: Pick<Machine, "now" | "visible">
): Machine => {
  const { buffer, checkpoint, generations, tail, wal } = parts
  const closed = storeError(new Closed())
  const refused = (operation: string) => Effect.fail(storeError(new ReadOnly({ operation })))
  const readOnly = mode === "readOnly" ? storeError(new ReadOnly({ operation: "write" })) : undefined
  return {
    limits,
    durability: settings.durability,
    mode,
    tree,
    now,
    visible,
    unavailable: () => fuse.closed ? closed : undefined,
    unwritable: () => fuse.closed ? closed : readOnly ?? fuse.failure,
    root: (keyspace, at) => rootOf(generations, keyspace, at),
    load: buffer.load,
    loadMany: buffer.loadMany,
    readAhead: buffer.readAhead,
    fetch: (reference) => {
      tree.answeredBytes += reference.bytes
      return Values.fetch({ directory: settings.directory, tail, segments }, reference)
    },
    submit: mode === "readOnly" ? () => refused("write") : wal.submit,
    addPiece: mode === "readOnly" ? () => refused("write") : wal.addPiece,
    abandon: wal.abandon,
    window: wal.window,
    watch: wal.watch,
    takeTurn: wal.takeTurn,
    endTurn: wal.endTurn,
    caughtUp: Effect.suspend(() => wal.awaitLsn(tail.end, "memory")),
    awaitDurable: mode === "readOnly" ? () => Effect.void : (lsn) => wal.awaitLsn(lsn, "synced"),
    promiseDurable: mode === "readOnly" ? () => Promise.resolve() : wal.promiseDurable,
    claim: wal.claim,
    endSessions: mode === "readOnly" ? () => refused("end a session") : wal.endSessions,
    checkpoint: mode === "readOnly" ? refused("take a checkpoint") : checkpoint.start("request"),
    fork: fuse.fork,
    finish: fuse.finish,
    parts
  }
}

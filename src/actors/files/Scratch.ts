/**
 * The scratch file: writes what Versions spills, and reads it back for readers of the past.
 *
 * ```
 *   Idle ── check: more is held than its share ──▶ a run is on its way (`tree/past/Outgoing.ts`) ──▶ Idle
 *                                                     └── no room, or the disk refuses: what is held stays in memory;
 *                                                         above the budget the oldest pin expires
 * ```
 *
 * The work is done beside everything else, in slices; where memory is short, in the thread of those who fill it.
 *
 * The file is made when something is first written to it, is never synced, and goes when the store closes; what a crash
 * leaves of it goes at the next open. Each block is checked against the checksum that memory has of it. Raw doors read
 * at the visible LSN, which is above every span in the file: they never come here.
 *
 * I1 Nobody waits for a write: entries are read in memory until their run is there.
 * I2 What a reader whose pin has expired finds here means nothing; it asks whether it has before it looks.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Disk, DiskFile } from "../../disk/Disk.ts"
import { Corrupted, StoreError, storeError } from "../../StoreError.ts"
import { KeyScratch } from "../../tree/page/KeyScratch.ts"
import * as Block from "../../tree/past/Block.ts"
import type { Part } from "../../tree/past/Outgoing.ts"
import { Outgoing } from "../../tree/past/Outgoing.ts"
import type { Hand } from "../../tree/past/Recall.ts"
import type { Wanted } from "../../tree/past/Run.ts"
import type { Versions } from "../../tree/past/Versions.ts"
import type { Fuse } from "../loop/Fuse.ts"

/** Its name in the store's directory. */
export const scratchName = "scratch"

/** Blocks that one reader reads at a time. */
const readsInFlight = 8

export interface Options {
  readonly disk: Disk["Service"]
  readonly versions: Versions
  readonly fuse: Pick<Fuse, "defect" | "fork">
  readonly running: () => boolean
}

/** Serves readers of the past until the scope closes. */
export const make = (
  directory: string,
  options: Options
): Effect.Effect<Scratch, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Scratch(`${directory}/${scratchName}`, options)),
    (scratch) => scratch.close
  )

/** A key that the tree could not answer, as its reader asks for it here. */
export interface Asked {
  readonly treeId: number
  readonly key: Uint8Array
  readonly at: number
  /** Only what is newer counts. */
  readonly floor: number
  /** Runs below have been searched. */
  readonly searched: number
}

/** An entry that was found. */
export interface Recalled {
  readonly kind: number
  readonly version: number
  readonly expiry: number
  readonly value: Uint8Array
}

/** What a search came to: the newest entry that is seen, and the first run that was not there to be searched. */
export interface Searched {
  readonly entry: Recalled | undefined
  readonly searched: number
}

export class Scratch {
  readonly counters = { runs: 0, spilled: 0, failures: 0, readBytes: 0, writeBytes: 0 }
  private readonly path: string
  private readonly options: Options
  private readonly key = new KeyScratch()
  private file: DiskFile | undefined
  /** Bytes of the file. */
  private fileBytes = 0
  private isWorking = false
  /** A write or a truncation is under way. */
  private isWriting = false
  /** The run that is on its way, and whether all of it is in the file. */
  private outgoing: Outgoing | undefined
  private isWritten = false

  constructor(path: string, options: Options) {
    this.path = path
    this.options = options
    options.versions.spill.freed = () => this.wake()
  }

  /** Readers may hold more than before. */
  check(): void {
    const { versions } = this.options
    const { spill } = versions
    if (!spill.isDue(versions.heldBytes)) return
    this.wake()
    this.press()
    while (spill.isFarOver(versions.heldBytes) && versions.expireOldest());
  }

  /** Goes on in the calling thread where memory is short: those who fill it may not let anybody else run. */
  private press(): void {
    const { versions } = this.options
    const { file } = this
    if (file === undefined || this.isWriting) return
    while (versions.spill.isPressing(versions.heldBytes)) {
      const step = this.slice()
      if (step === "idle" || step === "create") return
      if (step === "more") continue
      this.begin(step)
      try {
        file.writeSync([step.bytes], step.position)
        this.wrote(step, true)
      } catch (error) {
        if (!(error instanceof StoreError)) throw error
        this.wrote(step, false)
      }
    }
  }

  private wake(): void {
    const { fuse, running } = this.options
    if (this.isWorking || !running()) return
    this.isWorking = true
    fuse.fork(Effect.onExit(
      Effect.catchDefect(this.work, (defect) => Effect.sync(() => fuse.defect("scratch")(defect))),
      () =>
        Effect.sync(() => {
          this.isWorking = false
        })
    ))
  }

  private readonly work: Effect.Effect<void> = Effect.suspend(() => {
    if (!this.options.running()) return Effect.void
    const step = this.slice()
    if (step === "idle") return this.trim
    if (step === "more") return Effect.andThen(Effect.yieldNow, this.work)
    if (step === "create") return Effect.andThen(this.create, this.work)
    // Before anything can come between: nobody asks for another part while this one is written.
    this.begin(step)
    return Effect.andThen(this.write(step), this.work)
  })

  /** Does a slice of work, and says what comes next: a part to write, or the file to make. */
  private slice(): Part | "more" | "create" | "idle" {
    const { outgoing } = this
    if (outgoing === undefined) return this.start()
    if (this.isWritten) {
      if (outgoing.forget()) this.outgoing = undefined
      return "more"
    }
    const next = outgoing.next()
    if (next === "full") return this.stop(outgoing)
    if (next !== "whole") return next
    outgoing.end()
    this.isWritten = true
    this.counters.runs++
    this.counters.spilled += outgoing.count
    return "more"
  }

  /** Begins a run if one is due and there may be room. */
  private start(): "more" | "create" | "idle" {
    const { versions } = this.options
    const { spill } = versions
    if (!spill.isDue(versions.heldBytes)) return "idle"
    const outgoing = new Outgoing(versions)
    if (outgoing.count === 0 || !spill.hasRoom(outgoing.leastBlocks)) return this.stop(outgoing)
    this.outgoing = outgoing
    this.isWritten = false
    return this.file === undefined ? "create" : "more"
  }

  /** Nothing can leave: up to the budget it stays in memory, above it the oldest pin expires. */
  private stop(outgoing: Outgoing): "more" {
    const { versions } = this.options
    const { spill } = versions
    outgoing.stop()
    this.outgoing = undefined
    if (!spill.isOver(versions.heldBytes) || !versions.expireOldest()) spill.relax(versions.heldBytes)
    return "more"
  }

  private write(part: Part): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { file } = this
      if (file === undefined) return Effect.void
      return Effect.match(file.write([part.bytes], part.position), {
        onFailure: () => this.wrote(part, false),
        onSuccess: () => this.wrote(part, true)
      })
    })
  }

  private begin({ bytes, position }: Part): void {
    this.isWriting = true
    // A part of it may be there even if it fails.
    this.fileBytes = Math.max(this.fileBytes, position + bytes.length)
  }

  private wrote({ bytes }: Part, isDone: boolean): void {
    this.isWriting = false
    if (isDone) this.counters.writeBytes += bytes.length
    else this.refused()
  }

  private refused(): void {
    this.counters.failures++
    if (this.outgoing !== undefined) this.stop(this.outgoing)
  }

  /** Gives the free end of the file back, where that is much of it. */
  private readonly trim: Effect.Effect<void> = Effect.suspend(() => {
    const { file } = this
    const { spill: { end, options } } = this.options.versions
    const bytes = end * options.blockBytes
    if (file === undefined || bytes > this.fileBytes * 3 / 4) return Effect.void
    this.isWriting = true
    return Effect.match(file.truncate(bytes), {
      onFailure: () => {
        this.isWriting = false
        this.counters.failures++
      },
      onSuccess: () => {
        this.isWriting = false
        this.fileBytes = bytes
      }
    })
  })

  private readonly create: Effect.Effect<void> = Effect.suspend(() => {
    const { options: { disk }, path } = this
    const made = Effect.flatMap(disk.kind(path), (kind) =>
      Effect.andThen(
        kind === "missing" ? Effect.void : disk.unlink(path),
        disk.open(path, { mode: "create" })
      ))
    return Effect.match(made, {
      onFailure: () => this.refused(),
      onSuccess: (file) => {
        this.file = file
      }
    })
  })

  /** Looks a key up in the runs that may have it. */
  find({ at, floor, key, searched, treeId }: Asked): Effect.Effect<Searched, StoreError> {
    return Effect.suspend(() => {
      const { spill } = this.options.versions
      this.key.load(key)
      spill.searched = searched
      const candidates = spill.candidates(treeId, this.key, at)
      spill.searched = 0
      const look = (wanted: Wanted) =>
        Effect.map(this.read(wanted), (block) => {
          this.key.load(key)
          const found = Block.find(block, treeId, this.key, at)
          return found < 0 ? undefined : recalledFrom(block, found)
        })
      // A run that is on its way now is still in memory, and may not be when the tree is asked again.
      const next = spill.added
      return Effect.map(Effect.forEach(candidates, look, { concurrency: readsInFlight }), (found) => {
        let entry: Recalled | undefined
        // Oldest run first: of one version the first counts (`Entries.counts`).
        for (const other of found) {
          if (other !== undefined && other.version > (entry?.version ?? floor)) entry = other
        }
        return { entry, searched: next }
      })
    })
  }

  /** Brings a reader the blocks that it wants in hand. */
  bring(hand: Hand): Effect.Effect<void, StoreError> {
    return Effect.suspend(() =>
      Effect.forEach(
        [...hand.wanted],
        (wanted) => Effect.map(this.read(wanted), (block) => hand.give(wanted, block)),
        { concurrency: readsInFlight, discard: true }
      )
    )
  }

  private read({ index, run }: Wanted): Effect.Effect<Int32Array, StoreError> {
    return Effect.suspend(() => {
      const { file } = this
      const { blockBytes } = this.options.versions.spill.options
      const bytes = new Uint8Array(blockBytes)
      const offset = (run.slots[index] as number) * blockBytes
      if (file === undefined) return Effect.fail(corrupted(this.path, offset, "no file"))
      return Effect.flatMap(file.read(bytes, offset), (length) => {
        this.counters.readBytes += length
        const isSound = length === blockBytes && Block.checksumOf(bytes) === run.checksums[index]
        return isSound
          ? Effect.succeed(new Int32Array(bytes.buffer))
          : Effect.fail(corrupted(file.path, offset, length === blockBytes ? "another" : `${length} bytes`))
      })
    })
  }

  /** The file goes with the store. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const { file } = this
    if (file === undefined) return Effect.void
    this.file = undefined
    return Effect.andThen(file.close, Effect.ignore(this.options.disk.unlink(file.path)))
  })
}

function recalledFrom(block: Int32Array, at: number): Recalled {
  const from = Block.valueAt(block, at) * 4
  return {
    kind: Block.kindOf(block, at),
    version: Block.versionOf(block, at),
    expiry: Block.expiryOf(block, at),
    value: new Uint8Array(block.buffer).slice(from, from + Block.valueBytesOf(block, at))
  }
}

const corrupted = (path: string, offset: number, actual: string): StoreError =>
  storeError(new Corrupted({ path, offset, expected: "the block that was written there", actual }))

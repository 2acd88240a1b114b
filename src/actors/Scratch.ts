/**
 * The scratch file: writes what Versions spills, and reads it back for readers of the past.
 *
 * ```
 *   Idle ── check: more is held than its share ──▶ sorting ─▶ writing block by block ─▶ the run is there ──▶ Idle
 *                                                     └── no room, or the disk refuses: what is held stays in memory;
 *                                                         above the budget the oldest pin expires
 * ```
 *
 * The file is made when something is first written to it, is never synced, and goes when the store closes; what a crash
 * leaves of it goes at the next open. Each block is checked against the checksum that memory has of it. Raw doors read
 * at the visible LSN, which is above every span in the file: they never come here.
 *
 * I1 Nobody waits for a write: entries are read in memory until their run is there.
 * I2 What a reader whose pin has expired finds here means nothing; it asks whether it has before it looks.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { Disk, DiskFile } from "../disk/Disk.ts"
import type { StoreError } from "../StoreError.ts"
import { Corrupted, storeError } from "../StoreError.ts"
import * as Block from "../tree/Block.ts"
import { BlockWriter } from "../tree/BlockWriter.ts"
import { KeyScratch } from "../tree/KeyScratch.ts"
import type { Hand } from "../tree/Recall.ts"
import type { Wanted } from "../tree/Run.ts"
import { Run } from "../tree/Run.ts"
import { Sorting } from "../tree/Sorting.ts"
import type { Versions } from "../tree/Versions.ts"
import type { Fuse } from "./Fuse.ts"

/** Its name in the store's directory. */
export const scratchName = "scratch"

/** Blocks that are filled and written at a time. */
const batchBlocks = 64
/** Entries whose memory is given back at a time. */
const sliceEntries = 4_096
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
  private working = false

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
    if (!this.working) return this.wake()
    // The disk is too slow for what writers displace.
    const most = 2 * spill.options.memoryBytes
    while (versions.heldBytes > most && versions.expireOldest());
  }

  private wake(): void {
    if (this.working || !this.options.running()) return
    this.working = true
    const { fuse } = this.options
    fuse.fork(Effect.onExit(
      Effect.catchDefect(this.work, (defect) => Effect.sync(() => fuse.defect("scratch")(defect))),
      () =>
        Effect.sync(() => {
          this.working = false
        })
    ))
  }

  private readonly work: Effect.Effect<void> = Effect.suspend(() => {
    const { running, versions } = this.options
    if (!running()) return Effect.void
    if (!versions.spill.isDue(versions.heldBytes)) return this.trim
    return Effect.andThen(this.spill, this.work)
  })

  /** Gives the free end of the file back, where that is much of it. */
  private readonly trim: Effect.Effect<void> = Effect.suspend(() => {
    const { file } = this
    const { spill: { end, options } } = this.options.versions
    const bytes = end * options.blockBytes
    if (file === undefined || bytes > this.fileBytes * 3 / 4) return Effect.void
    return Effect.match(file.truncate(bytes), {
      onFailure: () => void this.counters.failures++,
      onSuccess: () => {
        this.fileBytes = bytes
      }
    })
  })

  /** Writes all that may leave memory as one run, or makes do without. */
  private readonly spill: Effect.Effect<void> = Effect.suspend(() => {
    const { versions } = this.options
    const rows = versions.beginSpill()
    const run = new Run(versions.spill.nextId++, rows.length)
    const written = rows.length === 0 ? Effect.succeed(false) : this.writeRun(rows, run)
    return Effect.flatMap(Effect.exit(written), (exit) => {
      if (Exit.isFailure(exit)) this.counters.failures++
      if (Exit.isSuccess(exit) && exit.value) {
        versions.endSpill(rows, run)
        this.counters.runs++
        this.counters.spilled += rows.length
        return this.forget(rows, 0)
      }
      versions.stopSpill(rows)
      versions.spill.give(run)
      this.makeDo()
      return Effect.yieldNow
    })
  })

  /** Nothing can leave: up to the budget it stays in memory, above it the oldest pin expires. */
  private makeDo(): void {
    const { versions } = this.options
    const { spill } = versions
    if (spill.isOver(versions.heldBytes) && versions.expireOldest()) return
    spill.relax(versions.heldBytes)
  }

  private forget(rows: Int32Array, from: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const to = from + sliceEntries
      this.options.versions.forgetSpilled(rows.subarray(from, to))
      return to >= rows.length ? Effect.void : Effect.andThen(Effect.yieldNow, this.forget(rows, to))
    })
  }

  /** False where there is no room. */
  private readonly writeRun = Effect.fnUntraced(
    { self: this },
    function*(rows: Int32Array, run: Run): Effect.fn.Return<boolean, StoreError> {
      const { versions } = this.options
      const { blockBytes } = versions.spill.options
      if (!versions.spill.hasRoom(leastBlocks(versions, rows))) return false
      const sorting = new Sorting(versions, rows)
      while (!sorting.sort()) yield* Effect.yieldNow
      const file = this.file ??= yield* this.create
      const buffer = new Uint8Array(batchBlocks * blockBytes)
      const writers = Array.from(
        { length: batchBlocks },
        (_, index) => new BlockWriter(buffer.subarray(index * blockBytes, (index + 1) * blockBytes))
      )
      while (sorting.peek() >= 0) {
        const first = run.count
        if (!this.fill(sorting, run, writers)) return false
        for (const { count, from } of neighbours(run, first)) {
          const bytes = buffer.subarray((from - first) * blockBytes, (from - first + count) * blockBytes)
          const position = (run.slots[from] as number) * blockBytes
          // A part may be there even if it fails.
          this.fileBytes = Math.max(this.fileBytes, position + bytes.length)
          yield* file.write([bytes], position)
          this.counters.writeBytes += bytes.length
        }
      }
      return true
    }
  )

  /** Fills blocks and gives them slots; false where there is no slot left. */
  private fill(sorting: Sorting, run: Run, writers: ReadonlyArray<BlockWriter>): boolean {
    const { versions } = this.options
    const { spill } = versions
    for (const writer of writers) {
      let entry = sorting.peek()
      if (entry < 0) return true
      if (!spill.hasRoom(1)) return false
      writer.begin(run.id, run.count)
      for (; entry >= 0 && writer.add(versions, entry); entry = sorting.peek()) {
        run.note(versions.hashOfEntry(entry))
        sorting.pass()
      }
      run.add(writer.words, spill.take(), Block.checksumOf(writer.bytes))
    }
    return true
  }

  private readonly create: Effect.Effect<DiskFile, StoreError> = Effect.suspend(() => {
    const { options: { disk }, path } = this
    return Effect.flatMap(disk.kind(path), (kind) =>
      Effect.andThen(
        kind === "missing" ? Effect.void : disk.unlink(path),
        disk.open(path, { mode: "create" })
      ))
  })

  /** Looks a key up in the runs that may have it. */
  find({ at, floor, key, searched, treeId }: Asked): Effect.Effect<Searched, StoreError> {
    return Effect.suspend(() => {
      const { spill } = this.options.versions
      this.key.load(key)
      spill.searched = searched
      const candidates = spill.candidates(treeId, this.key, at)
      spill.searched = 0
      let entry: Recalled | undefined
      let least = floor
      const look = (wanted: Wanted) =>
        Effect.map(this.read(wanted), (block) => {
          this.key.load(key)
          const found = Block.find(block, treeId, this.key, at)
          if (found < 0 || Block.versionOf(block, found) <= least) return
          least = Block.versionOf(block, found)
          entry = recalledFrom(block, found)
        })
      const next = spill.nextId
      return Effect.map(
        Effect.forEach(candidates, look, { concurrency: readsInFlight, discard: true }),
        () => ({ entry, searched: next })
      )
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

/** Blocks that a run of these entries takes at least. */
function leastBlocks(versions: Versions, rows: Int32Array): number {
  let words = 0
  for (const entry of rows) words += Block.wordsTaken(versions.wordsOf(entry))
  return Math.ceil(words / Block.room(versions.spill.options.blockBytes))
}

/** Blocks of a run from `first` on, by neighbours in the file. */
function neighbours(
  run: Run,
  first: number
): ReadonlyArray<{ readonly from: number; readonly count: number }> {
  const found: Array<{ from: number; count: number }> = []
  for (let index = first; index < run.count; index++) {
    const last = found.at(-1)
    const slot = run.slots[index] as number
    if (last !== undefined && slot === (run.slots[last.from] as number) + last.count) last.count++
    else found.push({ from: index, count: 1 })
  }
  return found
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

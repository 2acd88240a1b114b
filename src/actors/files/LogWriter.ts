/**
 * How groups get to the files of the log and become durable there: in which thread, and in how many calls.
 *
 * A group that somebody waits for is written and synced by one call where that can be. Else it is written, and a sync
 * follows of every file that was written to: where a segment begins, where much was written that nobody waited for.
 *
 * I1 Whatever was written stays listed until a sync has covered it. Where a write that is durable by itself fails, what
 *    it took along is not listed any more: the log is not written to again.
 * I2 A write that is durable by itself covers every group that was written before and not synced: it begins with them,
 *    the same bytes to the same place. Marks are as small as that; a sync of their own would cost more.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../disk/Disk.ts"
import { atOnce } from "../../disk/Disk.ts"
import type { SyncThread } from "../../Limits.ts"
import type { Segment } from "../../log/Segment.ts"
import { fileOffset } from "../../log/Segment.ts"
import type { SealedGroup } from "../../log/Tail.ts"
import type { StoreError } from "../../StoreError.ts"

/** What was written without a sync is written again with what follows, while it is no more than this. */
const mostBytesAgain = 4_096

/** A segment and its file. */
export interface Open {
  readonly segment: Segment
  readonly file: DiskFile
}

/** Bytes of one segment that one call makes durable. */
export interface OneWrite {
  readonly file: DiskFile
  readonly buffers: ReadonlyArray<Uint8Array>
  readonly position: number
}

export class LogWriter {
  readonly thread: SyncThread
  private readonly unsynced = new Set<DiskFile>()
  /** The groups that were written, in their order, while they are few. */
  private groups: Array<SealedGroup> = []
  private bytes = 0
  /** Writes under way that are durable by themselves: one beside another has nothing to take along. */
  private underWay = 0

  constructor(thread: SyncThread) {
    this.thread = thread
  }

  /** Whether something that was written to a file is not synced. */
  owes(file: DiskFile): boolean {
    return this.unsynced.has(file)
  }

  /** Writes neighbouring groups of one segment. */
  write({ file, segment }: Open, groups: ReadonlyArray<SealedGroup>): Effect.Effect<void, StoreError> {
    this.unsynced.add(file)
    for (const group of groups) this.bytes += group.bytes.length
    if (this.bytes <= mostBytesAgain) this.groups.push(...groups)
    const buffers = groups.map(({ bytes }) => bytes)
    const position = fileOffset(segment, groups[0]?.lsn ?? segment.base)
    return this.thread === "caller"
      ? atOnce(() => file.writeSync(buffers, position))
      : file.write(buffers, position)
  }

  /** Makes everything written durable, oldest segment first. */
  readonly sync: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const files = [...this.unsynced]
    this.covered()
    return files.length === 1
      ? this.syncOf(files[0] as DiskFile)
      : Effect.forEach(files, (file) => this.syncOf(file), { discard: true })
  })

  private syncOf(file: DiskFile): Effect.Effect<void, StoreError> {
    return this.thread === "caller" ? atOnce(() => file.syncSync()) : file.sync
  }

  /** One write that makes groups of a segment durable, with all before them; undefined where others need a sync. */
  oneWrite({ file, segment }: Open, groups: ReadonlyArray<SealedGroup>): OneWrite | undefined {
    const isElsewhere = this.unsynced.size > (this.unsynced.has(file) ? 1 : 0)
    if (isElsewhere || this.bytes > mostBytesAgain) return undefined
    const all = this.groups.length === 0 ? groups : [...this.groups, ...groups]
    const first = all[0]
    if (first === undefined) return undefined
    return { file, buffers: all.map(({ bytes }) => bytes), position: fileOffset(segment, first.lsn) }
  }

  /** Does it in the thread of the pool. */
  writeOnce({ buffers, file, position }: OneWrite): Effect.Effect<void, StoreError> {
    this.unsynced.add(file)
    this.taken()
    this.underWay++
    return Effect.map(file.writeDurably(buffers, position), () => {
      if (--this.underWay === 0) this.unsynced.clear()
    })
  }

  /** Does it in the calling thread, throwing `StoreError`. */
  writeOnceNow({ buffers, file, position }: OneWrite): void {
    try {
      file.writeDurablySync(buffers, position)
    } catch (error) {
      this.unsynced.add(file)
      throw error
    }
    this.covered()
  }

  private covered(): void {
    if (this.unsynced.size > 0) this.unsynced.clear()
    this.taken()
  }

  private taken(): void {
    if (this.groups.length > 0) this.groups = []
    this.bytes = 0
  }
}

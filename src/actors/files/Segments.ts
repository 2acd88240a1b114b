/**
 * The files of the log: making, writing, reading and recycling segments.
 *
 * Not an actor: the Wal owns one of these and is the only one that writes through it. A segment becomes part of the
 * log when its finished file is renamed to its name and the directory is synced, so a file called `log-…` always
 * begins with its own header.
 *
 * I1 A group is written only into a segment whose name is durable.
 * I2 A file is not given up while something that was written to it is not synced (`LogWriter.ts`).
 * I3 A seal is written only when the name of the segment after it is durable, so that a crash never leaves the one
 *    without the other, and a last segment that went missing is told from one that was never begun.
 * I4 One at a time moves a file to or from the name of the spare: the Wal begins segments while a checkpoint gives up
 *    others. Who finds it taken does without a spare; waiting would hold up commits.
 * I5 Every LSN from begin on lies in a segment that is known, even before the segment has a file. So does one that the
 *    catalog charges: of an older checkpoint, whose log was given up for a newer one that is lost.
 * I6 A segment that is being walked is not given up; the next truncation does it.
 * I7 From where a file is opened to where it is known to whoever closes it, and from there to its close, nobody is
 *    interrupted.
 */
import * as Effect from "effect/Effect"
import type { Disk, DiskFile } from "../../disk/Disk.ts"
import { invariant } from "../../Invariant.ts"
import type { SyncThread } from "../../Limits.ts"
import type { StoreId } from "../../log/Group.ts"
import type { Segment } from "../../log/Segment.ts"
import { encodeSegment, fileBytes, fileOffset, SEGMENT_HEADER_BYTES, segmentName } from "../../log/Segment.ts"
import type { SealedGroup } from "../../log/Tail.ts"
import type { StoreError } from "../../StoreError.ts"
import type { OneWrite, Open } from "./LogWriter.ts"
import { LogWriter } from "./LogWriter.ts"
import type { Reserve } from "./Reserve.ts"

/** A finished, empty file that the next segment takes over. */
const spareName = "log.spare"
/** Files that are not finished: of a segment that begins now, and of the next spare. Worthless after a crash. */
const unfinishedName = "log.new"
const preparingName = "log.spare.new"

export interface Options {
  readonly disk: Disk["Service"]
  readonly directory: string
  readonly storeId: StoreId
  readonly segmentBytes: number
  /** Where groups are written and synced; everything else is left to the pool. Default `"pool"`. */
  readonly syncThread?: SyncThread
  /** Who is told where a file could not be made for want of space, and may stand in for it. */
  readonly reserve?: Pick<Reserve, "becomeSegment" | "noticed">
}

export class Segments {
  private readonly options: Options
  /** By sequence, which is also the order of their bases. */
  private readonly open = new Map<number, Open>()
  readonly writer: LogWriter
  /** Bases of all segments, ascending; those included whose file is made when their first group is written. */
  private readonly bases: Array<number> = []
  private readonly unsound = new Map<number, DiskFile>()
  /** Bytes of files that were filled with zeros when they were made, and of large values that were read. */
  zeroedBytes = 0
  valueBytes = 0
  /** What passed through files that are closed. */
  private readonly past = { readBytes: 0, writeBytes: 0 }
  private spare: DiskFile | undefined
  /** Whether the spare is being made, taken or given up. */
  awaitsSpare = false
  /** Sequence of the segment that is being walked. */
  private walked = -1

  constructor(options: Options) {
    this.options = options
    this.writer = new LogWriter(options.syncThread ?? "pool")
  }

  /** Bytes of the files that make up the log. */
  get fileBytes(): number {
    let bytes = 0
    for (const { segment } of this.open.values()) bytes += fileBytes(segment)
    return bytes
  }

  /** Bytes that were read from the log and written to it, recovery included; zeros are not among them. */
  get traffic(): { readonly readBytes: number; readonly writeBytes: number } {
    let { readBytes, writeBytes } = this.past
    for (const { counters } of this.files) {
      readBytes += counters.readBytes
      writeBytes += counters.writeBytes
    }
    return { readBytes, writeBytes }
  }

  /** All files that are open. */
  private get files(): ReadonlyArray<DiskFile> {
    const files = [...[...this.open.values()].map(({ file }) => file), ...this.unsound.values()]
    if (this.spare !== undefined) files.push(this.spare)
    return files
  }

  get list(): ReadonlyArray<Segment> {
    return [...this.open.values()].map(({ segment }) => segment).sort((a, b) => a.sequence - b.sequence)
  }

  /** Takes over a file that recovery opened. It is announced when the log is known to go on there. */
  adopt(segment: Segment, file: DiskFile): void {
    this.open.set(segment.sequence, { segment, file })
  }

  /** Tells of the segment that the tail is in, before it has a file. */
  announce({ base }: { readonly base: number }): void {
    if (this.bases.at(-1) === base || this.bases.includes(base)) return
    this.bases.push(base)
    this.bases.sort((a, b) => a - b)
  }

  /** Base of the segment that holds an LSN. */
  baseOf(lsn: number): number {
    const base = this.bases.findLast((candidate) => candidate <= lsn)
    invariant(base !== undefined, "Segments I5")
    return base
  }

  /** Takes over a file that is not a segment of this log, only to close it. */
  adoptUnsound(sequence: number, file: DiskFile): void {
    this.unsound.set(sequence, file)
  }

  /** Lets go of a file behind the end of the log; the log will grow over its name. */
  forget(sequence: number): Effect.Effect<void> {
    const base = this.open.get(sequence)?.segment.base
    const file = this.open.get(sequence)?.file ?? this.unsound.get(sequence)
    if (base !== undefined) this.renounce(base)
    this.open.delete(sequence)
    this.unsound.delete(sequence)
    return file === undefined ? Effect.void : this.part(file)
  }

  /** Sequence of the newest that has a file; 0 where none has. */
  get newest(): number {
    return Math.max(0, ...this.open.keys())
  }

  get hasSpare(): boolean {
    return this.spare !== undefined
  }

  /** Makes the file of a segment and puts its name into the directory (I7). */
  readonly create = (segment: Segment): Effect.Effect<void, StoreError> =>
    Effect.uninterruptible(Effect.gen({ self: this }, function*() {
      const { directory, disk, segmentBytes, storeId } = this.options
      const name = `${directory}/${segmentName(segment.sequence)}`
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
      encodeSegment(segment, storeId, header)
      const spare = segment.capacity === segmentBytes && !this.awaitsSpare ? this.spare : undefined
      const isRecycled = spare !== undefined
      this.spare = isRecycled ? undefined : this.spare
      const file = spare ??
        (yield* this.unfinished(fileBytes(segment), `${directory}/${unfinishedName}`, "needed"))
      const named = file.write([header], 0).pipe(
        Effect.andThen(file.sync),
        Effect.andThen(disk.rename(`${directory}/${isRecycled ? spareName : unfinishedName}`, name))
      )
      const finished = Effect.andThen(
        isRecycled ? this.takingSpare(named) : named,
        disk.syncDirectory(directory)
      )
      yield* this.orPart(file, finished)
      this.open.set(segment.sequence, { segment, file })
    }))

  /** Prepares the file of the next segment, so that beginning it costs no allocation (I7). */
  readonly prepare: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    if (this.spare !== undefined || this.awaitsSpare) return Effect.void
    const { directory, disk, segmentBytes } = this.options
    const [unfinished, finished] = [`${directory}/${preparingName}`, `${directory}/${spareName}`]
    return this.takingSpare(Effect.gen({ self: this }, function*() {
      const file = yield* this.unfinished(SEGMENT_HEADER_BYTES + segmentBytes, unfinished, "ahead")
      yield* this.orPart(file, disk.rename(unfinished, finished))
      this.spare = file
    }))
  }).pipe(Effect.uninterruptible)

  /** Gives the spare back to the file system; answers whether there was one. */
  readonly giveUpSpare: Effect.Effect<boolean, StoreError> = Effect.suspend(() => {
    const { directory, disk } = this.options
    const { spare } = this
    if (spare === undefined || this.awaitsSpare) return Effect.succeed(false)
    this.spare = undefined
    const gone = this.takingSpare(disk.unlink(`${directory}/${spareName}`))
    return Effect.as(Effect.ensuring(gone, this.part(spare)), true)
  })

  /** Writes groups, making segments as they begin; neighbours go out in one call. */
  readonly write = (groups: ReadonlyArray<SealedGroup>): Effect.Effect<void, StoreError> =>
    Effect.gen({ self: this }, function*() {
      for (let from = 0; from < groups.length;) {
        const { segment } = groups[from] as SealedGroup
        let until = from + 1
        while (groups[until]?.segment.sequence === segment.sequence) until++
        if (!this.open.has(segment.sequence)) yield* this.create(segment)
        // A seal says that the next segment is there (I3).
        const { next } = groups[until - 1] as SealedGroup
        if (next !== undefined) yield* this.create(next)
        yield* this.writer.write(this.openOf(segment.sequence), groups.slice(from, until))
        from = until
      }
    })

  /**
   * One write that makes groups, and all before them, durable; undefined where it takes a write and a sync, because a
   * file has to be made first or because of what was written before.
   */
  oneWrite(groups: ReadonlyArray<SealedGroup>): OneWrite | undefined {
    const open = groups[0] === undefined ? undefined : this.open.get(groups[0].segment.sequence)
    if (open === undefined) return undefined
    for (const { next, segment } of groups) {
      // A seal asks for the file of the next segment (I3).
      if (segment.sequence !== open.segment.sequence || next !== undefined) return undefined
    }
    return this.writer.oneWrite(open, groups)
  }

  /** Reads `length` bytes at `lsn`, all of which lie in one segment. */
  readonly read = (lsn: number, length: number): Effect.Effect<Uint8Array | undefined, StoreError> =>
    Effect.suspend(() => {
      const open = this.holder(lsn)
      if (open === undefined) return Effect.succeed(undefined)
      this.valueBytes += length
      const bytes = new Uint8Array(length)
      const read = open.file.read(bytes, fileOffset(open.segment, lsn))
      return Effect.map(read, (read) => read === length ? bytes : undefined)
    })

  /** The same in the calling thread, throwing `StoreError`. */
  readNow(lsn: number, length: number): Uint8Array | undefined {
    const open = this.find(lsn)
    if (open === undefined) return undefined
    this.valueBytes += length
    const bytes = new Uint8Array(length)
    return open.file.readSync(bytes, fileOffset(open.segment, lsn)) === length ? bytes : undefined
  }

  /** Keeps a segment while it is read as a whole, one at a time; does nothing where it is gone already. */
  walking<E>(sequence: number, walk: (file: DiskFile) => Effect.Effect<void, E>): Effect.Effect<void, E> {
    return Effect.suspend(() => {
      const file = this.open.get(sequence)?.file
      if (file === undefined) return Effect.void
      invariant(this.walked < 0, "Segments I6")
      this.walked = sequence
      return Effect.ensuring(
        walk(file),
        Effect.sync(() => {
          this.walked = -1
        })
      )
    })
  }

  /** Gives up segments that end at or below `begin`; one is kept as the spare of the next. */
  readonly truncate = (begin: number): Effect.Effect<number, StoreError> =>
    Effect.gen({ self: this }, function*() {
      const segments = this.list
      let reclaimed = 0
      for (let index = 0; index + 1 < segments.length; index++) {
        const segment = segments[index] as Segment
        if ((segments[index + 1] as Segment).base > begin) break
        if (segment.sequence === this.walked) break
        yield* this.giveUp(segment)
        reclaimed += fileBytes(segment)
      }
      return reclaimed
    })

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    return Effect.forEach(this.files, (file) => file.close, { discard: true })
  })

  /** Takes a segment out of the log; its file becomes the spare where there is none (I7). */
  private giveUp(segment: Segment): Effect.Effect<void, StoreError> {
    const { directory, disk, segmentBytes } = this.options
    const name = `${directory}/${segmentName(segment.sequence)}`
    return Effect.uninterruptible(Effect.suspend(() => {
      const { file } = this.openOf(segment.sequence)
      invariant(!this.writer.owes(file), "Segments I2")
      this.open.delete(segment.sequence)
      this.renounce(segment.base)
      if (this.spare !== undefined || this.awaitsSpare || segment.capacity !== segmentBytes) {
        return Effect.ensuring(disk.unlink(name), this.part(file))
      }
      // Its header may change only when a crash no longer gives it its old name back.
      const recycled = Effect.andThen(
        disk.rename(name, `${directory}/${spareName}`),
        disk.syncDirectory(directory)
      )
      const kept = Effect.map(recycled, () => {
        this.spare = file
      })
      return this.orPart(file, this.takingSpare(kept))
    }))
  }

  /** Closes a file that is no part of the log any more. */
  private part({ close, counters }: DiskFile): Effect.Effect<void> {
    this.past.readBytes += counters.readBytes
    this.past.writeBytes += counters.writeBytes
    return close
  }

  /** A file whose name could not be changed is nobody's: whoever opens the store next removes what is left of it. */
  private orPart<A>(file: DiskFile, moving: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    return Effect.onError(moving, () => this.part(file))
  }

  private renounce(base: number): void {
    const index = this.bases.indexOf(base)
    // A segment in which no record found room was never announced.
    if (index >= 0) this.bases.splice(index, 1)
  }

  private takingSpare<A>(moving: Effect.Effect<A, StoreError>): Effect.Effect<A, StoreError> {
    this.awaitsSpare = true
    return Effect.ensuring(
      moving,
      Effect.sync(() => {
        this.awaitsSpare = false
      })
    )
  }

  private openOf(sequence: number): Open {
    const open = this.open.get(sequence)
    invariant(open !== undefined, "Segments I1")
    return open
  }

  /** The segment that holds an LSN, and where in its file. */
  placeOf(
    lsn: number
  ): { readonly sequence: number; readonly base: number; readonly offset: number } | undefined {
    const found = this.find(lsn)?.segment
    if (found === undefined) return undefined
    return { sequence: found.sequence, base: found.base, offset: fileOffset(found, lsn) }
  }

  /** Where a log begins whose oldest segment is the one that holds `lsn`. */
  beginOf(lsn: number): { readonly lsn: number; readonly sequence: number } | undefined {
    const found = this.find(lsn)?.segment
    return found === undefined ? undefined : { lsn: found.base, sequence: found.sequence }
  }

  /**
   * The segment that holds a record. While a store is opened, there may be files of a log that was cut off: those are
   * not announced.
   */
  private holder(lsn: number): Open | undefined {
    const base = this.bases.findLast((candidate) => candidate <= lsn)
    for (const open of this.open.values()) if (open.segment.base === base) return open
    return this.find(lsn)
  }

  /** A segment may be sealed before it is full, so its capacity says nothing of where the next one begins. */
  private find(lsn: number): Open | undefined {
    let found: Open | undefined
    for (const open of this.open.values()) {
      if (open.segment.base <= lsn && (found === undefined || open.segment.base > found.segment.base)) {
        found = open
      }
    }
    return found
  }

  /** A file of `bytes` zeros, on disk; replaces what a crash may have left under its name. */
  private unfinished(
    bytes: number,
    path: string,
    when: "needed" | "ahead"
  ): Effect.Effect<DiskFile, StoreError> {
    const { disk, reserve } = this.options
    const options = { durableWrites: "oneCall" } as const
    const made = Effect.gen({ self: this }, function*() {
      if ((yield* disk.kind(path)) !== "missing") yield* disk.unlink(path)
      const file = yield* disk.open(path, { ...options, mode: "create" })
      const gone = Effect.andThen(file.close, Effect.exit(disk.unlink(path)))
      yield* Effect.onError(file.allocate(bytes), () => gone)
      this.zeroedBytes += bytes
      return file
    })
    if (reserve === undefined) return made
    if (when === "ahead") return Effect.tapError(made, (error) => Effect.sync(() => reserve.noticed(error)))
    return Effect.catch(made, (error) =>
      Effect.gen(function*() {
        const helped = yield* reserve.becomeSegment(error, path, bytes)
        if (helped === "nothing") return yield* Effect.fail(error)
        if (helped === "space") return yield* made
        const file = yield* disk.open(path, { ...options, mode: "readWrite" })
        return yield* Effect.onError(Effect.as(file.truncate(bytes), file), () => file.close)
      }))
  }
}

/** Names of files that a crash may leave and that the next open removes. */
export const leftovers: ReadonlyArray<string> = [spareName, unfinishedName, preparingName]

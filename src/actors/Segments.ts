/**
 * The files of the log: making, writing, reading and recycling segments.
 *
 * Not an actor: the Wal owns one of these and is the only one that writes through it. A segment becomes part of the
 * log when its finished file is renamed to its name and the directory is synced, so a file called `log-…` always
 * begins with its own header.
 *
 * I1 A group is written only into a segment whose name is durable.
 * I2 What a sync has not covered stays listed in `unsynced` until one has.
 */
import * as Effect from "effect/Effect"
import type { Disk, DiskFile } from "../disk/Disk.ts"
import { invariant } from "../Invariant.ts"
import type { StoreId } from "../log/Group.ts"
import type { Segment } from "../log/Segment.ts"
import { encodeSegment, fileBytes, fileOffset, SEGMENT_HEADER_BYTES, segmentName } from "../log/Segment.ts"
import type { SealedGroup } from "../log/Tail.ts"
import type { StoreError } from "../StoreError.ts"

/** A finished, empty file that the next segment takes over. */
const spareName = "log.spare"
/** Files that are not finished: of a segment that begins now, and of the next spare. Worthless after a crash. */
const unfinishedName = "log.new"
const preparingName = "log.spare.new"

interface Open {
  readonly segment: Segment
  readonly file: DiskFile
}

export interface Options {
  readonly disk: Disk["Service"]
  readonly directory: string
  readonly storeId: StoreId
  readonly segmentBytes: number
}

export class Segments {
  private readonly options: Options
  /** By sequence, which is also the order of their bases. */
  private readonly open = new Map<number, Open>()
  private readonly unsynced = new Set<DiskFile>()
  private readonly unsound = new Map<number, DiskFile>()
  private spare: DiskFile | undefined

  constructor(options: Options) {
    this.options = options
  }

  /** Bytes of the files that make up the log. */
  get fileBytes(): number {
    let bytes = 0
    for (const { segment } of this.open.values()) bytes += fileBytes(segment)
    return bytes
  }

  get list(): ReadonlyArray<Segment> {
    return [...this.open.values()].map(({ segment }) => segment).sort((a, b) => a.sequence - b.sequence)
  }

  /** Takes over a file that recovery opened. */
  adopt(segment: Segment, file: DiskFile): void {
    this.open.set(segment.sequence, { segment, file })
  }

  /** Takes over a file that is not a segment of this log, only to close it. */
  adoptUnsound(sequence: number, file: DiskFile): void {
    this.unsound.set(sequence, file)
  }

  /** Lets go of a file behind the end of the log; the log will grow over its name. */
  forget(sequence: number): Effect.Effect<void> {
    const file = this.open.get(sequence)?.file ?? this.unsound.get(sequence)
    this.open.delete(sequence)
    this.unsound.delete(sequence)
    return file === undefined ? Effect.void : file.close
  }

  has(sequence: number): boolean {
    return this.open.has(sequence)
  }

  /** Makes the file of a segment and puts its name into the directory. */
  readonly create = (segment: Segment): Effect.Effect<void, StoreError> =>
    Effect.gen({ self: this }, function*() {
      const { directory, disk, segmentBytes, storeId } = this.options
      const name = `${directory}/${segmentName(segment.sequence)}`
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
      encodeSegment(segment, storeId, header)
      const spare = segment.capacity === segmentBytes ? this.spare : undefined
      let file: DiskFile
      if (spare === undefined) {
        file = yield* this.unfinished(fileBytes(segment), `${directory}/${unfinishedName}`)
        yield* file.write([header], 0)
        yield* file.sync
        yield* disk.rename(`${directory}/${unfinishedName}`, name)
      } else {
        this.spare = undefined
        file = spare
        yield* file.write([header], 0)
        yield* file.sync
        yield* disk.rename(`${directory}/${spareName}`, name)
      }
      yield* disk.syncDirectory(directory)
      this.open.set(segment.sequence, { segment, file })
    })

  /** Prepares the file of the next segment, so that beginning it costs no allocation. */
  readonly prepare: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    if (this.spare !== undefined) return Effect.void
    const { directory, disk, segmentBytes } = this.options
    const [unfinished, finished] = [`${directory}/${preparingName}`, `${directory}/${spareName}`]
    return Effect.gen({ self: this }, function*() {
      const file = yield* this.unfinished(SEGMENT_HEADER_BYTES + segmentBytes, unfinished)
      yield* disk.rename(unfinished, finished)
      this.spare = file
    })
  })

  /** Writes groups, making segments as they begin; neighbours go out in one call. */
  readonly write = (groups: ReadonlyArray<SealedGroup>): Effect.Effect<void, StoreError> =>
    Effect.gen({ self: this }, function*() {
      for (let from = 0; from < groups.length;) {
        const { lsn, segment } = groups[from] as SealedGroup
        let until = from + 1
        while (groups[until]?.segment.sequence === segment.sequence) until++
        if (!this.open.has(segment.sequence)) yield* this.create(segment)
        const file = this.fileOf(segment.sequence)
        this.unsynced.add(file)
        yield* file.write(groups.slice(from, until).map((group) => group.bytes), fileOffset(segment, lsn))
        from = until
      }
    })

  /** Makes everything written durable, oldest segment first. */
  readonly sync: Effect.Effect<void, StoreError> = Effect.suspend(() => {
    const files = [...this.unsynced]
    this.unsynced.clear()
    return files.length === 1
      ? (files[0] as DiskFile).sync
      : Effect.forEach(files, (file) => file.sync, { discard: true })
  })

  /** Writes and syncs in the calling thread; false where that would take more than the one call each. */
  writeNow(group: SealedGroup): boolean {
    const open = this.open.get(group.segment.sequence)
    if (open === undefined || this.unsynced.size > 0) return false
    open.file.writeSync([group.bytes], fileOffset(group.segment, group.lsn))
    open.file.syncSync()
    return true
  }

  /** Reads `length` bytes at `lsn`, all of which lie in one segment. */
  readonly read = (lsn: number, length: number): Effect.Effect<Uint8Array | undefined, StoreError> =>
    Effect.suspend(() => {
      const open = this.find(lsn)
      if (open === undefined) return Effect.succeed(undefined)
      const bytes = new Uint8Array(length)
      const read = open.file.read(bytes, fileOffset(open.segment, lsn))
      return Effect.map(read, (read) => read === length ? bytes : undefined)
    })

  /** The same in the calling thread, throwing `StoreError`. */
  readNow(lsn: number, length: number): Uint8Array | undefined {
    const open = this.find(lsn)
    if (open === undefined) return undefined
    const bytes = new Uint8Array(length)
    return open.file.readSync(bytes, fileOffset(open.segment, lsn)) === length ? bytes : undefined
  }

  /** Gives up segments that end at or below `begin`; one is kept as the spare of the next. */
  readonly truncate = (begin: number): Effect.Effect<number, StoreError> =>
    Effect.gen({ self: this }, function*() {
      const { directory, disk, segmentBytes } = this.options
      const segments = this.list
      let reclaimed = 0
      for (let index = 0; index + 1 < segments.length; index++) {
        const segment = segments[index] as Segment
        if ((segments[index + 1] as Segment).base > begin) break
        const file = this.fileOf(segment.sequence)
        invariant(!this.unsynced.has(file), "Segments I2")
        this.open.delete(segment.sequence)
        reclaimed += fileBytes(segment)
        const name = `${directory}/${segmentName(segment.sequence)}`
        if (this.spare === undefined && segment.capacity === segmentBytes) {
          yield* disk.rename(name, `${directory}/${spareName}`)
          this.spare = file
        } else {
          yield* disk.unlink(name)
          yield* file.close
        }
      }
      return reclaimed
    })

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const files = [...[...this.open.values()].map(({ file }) => file), ...this.unsound.values()]
    if (this.spare !== undefined) files.push(this.spare)
    return Effect.forEach(files, (file) => file.close, { discard: true })
  })

  private fileOf(sequence: number): DiskFile {
    const open = this.open.get(sequence)
    invariant(open !== undefined, "Segments I1")
    return open.file
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
  private unfinished(bytes: number, path: string): Effect.Effect<DiskFile, StoreError> {
    const { disk } = this.options
    return Effect.gen(function*() {
      if ((yield* disk.kind(path)) !== "missing") yield* disk.unlink(path)
      const file = yield* disk.open(path, { mode: "create" })
      yield* file.allocate(bytes)
      return file
    })
  }
}

/** Names of files that a crash may leave and that the next open removes. */
export const leftovers: ReadonlyArray<string> = [spareName, unfinishedName, preparingName]

/**
 * What passed through the door of a disk, counted: for the whole disk, and for each open file by itself.
 *
 * Calls of `Disk` and `DiskFile` are counted, not system calls, so that every disk counts alike and a test can
 * assert on the numbers. A call counts when it begins, the bytes of a read when they are there. Counts of a file
 * live as long as somebody holds the file: by path they would pile up, for the log takes new names for ever.
 */

/** Of one open file, since it was opened. */
export interface FileCounters {
  reads: number
  readBytes: number
  /** Of `reads`, those that blocked the calling thread. */
  blockingReads: number
  writes: number
  writeBytes: number
  syncs: number
}

/** Of a disk, since its layer was built. */
export interface Counters extends FileCounters {
  opens: number
  directorySyncs: number
  /** Calls that failed. */
  failures: number
}

/** Counters of a file at zero. */
const makeFileCounters = (): FileCounters => ({
  reads: 0,
  readBytes: 0,
  blockingReads: 0,
  writes: 0,
  writeBytes: 0,
  syncs: 0
})

/** Counters of a disk at zero. */
export const makeCounters = (): Counters => ({
  opens: 0,
  ...makeFileCounters(),
  directorySyncs: 0,
  failures: 0
})

/** Counts what happens to one open file, for it and for its disk. */
export class Meter {
  readonly file: FileCounters = makeFileCounters()
  private readonly disk: Counters

  constructor(disk: Counters) {
    this.disk = disk
  }

  read(): void {
    this.file.reads++
    this.disk.reads++
  }

  blockingRead(): void {
    this.read()
    this.file.blockingReads++
    this.disk.blockingReads++
  }

  readBytes(bytes: number): void {
    this.file.readBytes += bytes
    this.disk.readBytes += bytes
  }

  write(buffers: ReadonlyArray<Uint8Array>): void {
    this.file.writes++
    this.disk.writes++
    for (let i = 0; i < buffers.length; i++) {
      const { length } = buffers[i] as Uint8Array
      this.file.writeBytes += length
      this.disk.writeBytes += length
    }
  }

  sync(): void {
    this.file.syncs++
    this.disk.syncs++
  }

  failure(): void {
    this.disk.failures++
  }
}

/**
 * Where the log lies while it is replayed: what was read stays until the records in it are applied.
 *
 * What goes on behind what is here is read behind it, and what is here is not read again. So a group lies in one piece,
 * however it was come to, and all of them in one buffer.
 *
 * I1 What was handed out stays as it is until `clear`, but for what lies beyond the end of the log.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../disk/Disk.ts"
import type { Need } from "../../log/ScanAnswer.ts"
import type { StoreError } from "../../StoreError.ts"

const KiB = 1_024
const leastBytes = 64 * KiB
const windowBytesMost = KiB * KiB
/** More is not read from one end to the other any faster. */
const bufferBytesMost = 128 * KiB * KiB

const none = Buffer.alloc(0)

export class LogBuffer {
  /** What is read ahead. */
  readonly windowBytes: number
  private readonly bytesMost: number
  private bytes = none
  private beyond = none
  private used = 0
  /** The piece of a segment that was read last: where it begins in the segment and here; it ends at `used`. */
  private sequence = -1
  private offset = 0
  private start = 0

  /** Takes about so many bytes at most, and no more than there are in files. */
  constructor(bytesMost: number, files: ReadonlyArray<{ readonly bytes: number }>) {
    const all = files.reduce((sum, { bytes }) => sum + bytes, 0)
    this.bytesMost = Math.min(Math.max(leastBytes, Math.floor(bytesMost)), bufferBytesMost, all)
    this.windowBytes = Math.min(windowBytesMost, this.bytesMost)
  }

  get memoryBytes(): number {
    return this.bytes.length + this.beyond.length
  }

  /** Whether there is room for what is needed beside what is kept. */
  fits(need: Need): boolean {
    return need.beyond || this.used === 0 || this.placeOf(need) + need.length <= this.bytes.length
  }

  /** Reads what is needed, and is not here yet; answers all of it, or what there is of it. */
  read(file: DiskFile, need: Need): Effect.Effect<Buffer, StoreError> {
    return Effect.suspend(() => {
      if (need.beyond) {
        if (this.beyond.length < need.length) this.beyond = Buffer.allocUnsafe(need.length)
        const { beyond } = this
        const target = beyond.subarray(0, need.length)
        return Effect.map(file.read(target, need.offset), (read) => beyond.subarray(0, read))
      }
      const place = this.placeOf(need)
      if (place + need.length > this.bytes.length) {
        this.bytes = Buffer.allocUnsafe(Math.max(this.bytesMost, need.length))
      }
      if (!this.isBehind(need)) {
        this.sequence = need.sequence
        this.offset = need.offset
        this.start = this.used = place
      }
      const { bytes, used } = this
      const end = Math.max(used, place + need.length)
      return Effect.map(file.read(bytes.subarray(used, end), need.offset + used - place), (read) => {
        this.used = used + read
        return bytes.subarray(place, Math.min(this.used, place + need.length))
      })
    })
  }

  /** Everything in it is applied. */
  clear(): void {
    this.used = 0
    this.sequence = -1
  }

  release(): void {
    this.clear()
    this.bytes = this.beyond = none
  }

  /** Whether what is needed begins in what was read last, or just behind it. */
  private isBehind({ offset, sequence }: Need): boolean {
    return sequence === this.sequence && offset >= this.offset
      && offset <= this.offset + this.used - this.start
  }

  private placeOf(need: Need): number {
    return this.isBehind(need) ? this.start + need.offset - this.offset : this.used + 7 & ~7
  }
}

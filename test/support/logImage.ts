/**
 * Segment files in memory: written from a tail, damaged, and scanned back.
 */
import { crc32 } from "node:zlib"
import { FIRST_LSN } from "../../src/log/Lsn.ts"
import { Scan } from "../../src/log/Scan.ts"
import type { ScannedGroup, ScanOptions, ScanVerdict } from "../../src/log/ScanAnswer.ts"
import { encodeSegment, fileBytes, fileOffset, SEGMENT_HEADER_BYTES } from "../../src/log/Segment.ts"
import type { Segment } from "../../src/log/Segment.ts"
import type { SealedGroup, Tail } from "../../src/log/Tail.ts"
import { appendPut, makeTail, start, storeId } from "./log.ts"

/** Segment files by sequence. */
export class LogImage {
  readonly files: Map<number, Buffer>
  readonly groups: Array<SealedGroup> = []

  constructor(files: ReadonlyMap<number, Buffer> = new Map()) {
    this.files = new Map([...files].map(([sequence, bytes]) => [sequence, Buffer.from(bytes)]))
  }

  /** Writes whatever the tail has sealed, making segments as they come; nothing is released. */
  write(tail: Tail): this {
    for (let group = tail.shift(); group !== undefined; group = tail.shift()) this.writeGroup(group)
    return this
  }

  writeGroup(group: SealedGroup): void {
    this.create(group.segment)
    if (group.next !== undefined) this.create(group.next)
    this.files.get(group.segment.sequence)?.set(group.bytes, fileOffset(group.segment, group.lsn))
    this.groups.push({ ...group, bytes: Buffer.from(group.bytes) })
  }

  /** A new segment comes over recycled bytes, if `stale` has some. */
  create(segment: Segment, stale?: Buffer): void {
    if (this.files.has(segment.sequence)) return
    const bytes = Buffer.alloc(fileBytes(segment))
    stale?.copy(bytes)
    encodeSegment(segment, storeId, bytes.subarray(0, SEGMENT_HEADER_BYTES))
    this.files.set(segment.sequence, bytes)
  }

  copy(): LogImage {
    const copied = new LogImage(this.files)
    copied.groups.push(...this.groups)
    return copied
  }

  /** Overwrites the place of a group with zeros, or with `bytes`. */
  lose(group: SealedGroup, bytes: Buffer = Buffer.alloc(group.bytes.length)): this {
    this.files.get(group.segment.sequence)?.set(bytes, fileOffset(group.segment, group.lsn))
    return this
  }

  /** Scans to the end; fails a scan that asks for anything outside of what it was told is there. */
  scan(options: Partial<ScanOptions> = {}): Scanned {
    const files = [...this.files].map(([sequence, bytes]) => ({ sequence, bytes: bytes.length }))
    const scan = new Scan({ storeId, cut: start, durableLsn: FIRST_LSN, firstSequence: 1, files, ...options })
    const groups: Array<ScannedGroup> = []
    let largestNeed = 0
    let fedBytes = 0
    for (;;) {
      const answer = scan.next()
      if (answer._tag === "Group") groups.push({ ...answer, bytes: Buffer.from(answer.bytes) })
      else if (answer._tag === "Need") {
        const file = this.files.get(answer.sequence)
        if (file === undefined || answer.length <= 0 || answer.offset >= file.length) {
          throw new Error(
            `asked for ${answer.length} bytes at ${answer.offset} of segment ${answer.sequence}`
          )
        }
        const bytes = file.subarray(answer.offset, answer.offset + answer.length)
        largestNeed = Math.max(largestNeed, answer.length)
        fedBytes += bytes.length
        scan.feed(Buffer.from(bytes))
      } else return { groups, verdict: answer, largestNeed, fedBytes }
    }
  }
}

export interface Scanned {
  readonly groups: ReadonlyArray<ScannedGroup>
  readonly verdict: ScanVerdict
  readonly largestNeed: number
  readonly fedBytes: number
}

/** Claims of each group, read from its bytes. */
export const claimOf = (group: SealedGroup): number => Number(group.bytes.readBigUInt64LE(24))

/** A log of several small segments; `lag` groups lie between what is written and what is known durable. */
export const makeLog = (groups: number, lag: number, segmentBytes = 1024): LogImage => {
  const tail = makeTail({ segmentBytes, inlineValueBytes: 64 })
  const ends: Array<number> = []
  for (let i = 0; i < groups; i++) {
    appendPut(tail, 40 + i % 5 * 30, `key ${i}`)
    if (i % 3 === 0) appendPut(tail, 8)
    ends.push(tail.seal()?.end ?? 0)
    const durable = ends[i - lag]
    if (durable !== undefined) tail.durable(durable)
  }
  return new LogImage().write(tail)
}

export const tagOf = (scanned: Scanned): string => scanned.verdict._tag
export const endOf = (verdict: ScanVerdict): number => verdict._tag === "TornTail" ? verdict.at.lsn : -1
export const lsnsOf = (groups: ReadonlyArray<ScannedGroup | SealedGroup>): ReadonlyArray<number> =>
  groups.map((g) => g.lsn)
export const at = (image: LogImage, index: number): SealedGroup => {
  const group = image.groups.at(index)
  if (group === undefined) throw new Error(`no group ${index}`)
  return group
}
export const fileOf = (image: LogImage, sequence: number): Buffer => {
  const file = image.files.get(sequence)
  if (file === undefined) throw new Error(`no segment ${sequence}`)
  return file
}

/** Makes a changed group or header pass its checksum again, as a hostile hand would. */
export const resealed = (bytes: Buffer, end = bytes.length): Buffer => {
  bytes.writeUInt32LE(crc32(bytes.subarray(8, end)), 4)
  return bytes
}

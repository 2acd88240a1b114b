/**
 * Reading the log of a store that nobody runs: from a cut to its end or its first break, and what lies behind a break.
 *
 * I1 Groups are visited in order, each chained to the one before; what lies behind a break is counted and no more.
 */
import * as Effect from "effect/Effect"
import { decodeGroup, GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHeader, placeFault } from "../log/Group.ts"
import type { Cut } from "../log/Group.ts"
import { verifyRecords } from "../log/RecordForm.ts"
import { Scan } from "../log/Scan.ts"
import type { ScannedGroup, ScanVerdict } from "../log/ScanAnswer.ts"
import { baseOf, fileOffset, segmentName } from "../log/Segment.ts"
import type { Segment } from "../log/Segment.ts"
import type { StoreError } from "../StoreError.ts"
import type { SegmentFile, Source } from "./Source.ts"
import { isFault, readAt, readUpTo } from "./Source.ts"

export interface ReadOptions {
  readonly storeId: Uint8Array
  readonly cut: Cut
  /** D, as far as the superblocks know. */
  readonly durableLsn: number
  /** End here, at a group boundary. */
  readonly until?: number
  readonly visit: (group: ScannedGroup) => Effect.Effect<void, StoreError> | undefined
  readonly advance: (bytes: number) => Effect.Effect<void>
}

/** Reads the log from a cut on; answers how it ends. */
export const read = (source: Source, options: ReadOptions): Effect.Effect<ScanVerdict, StoreError> =>
  Effect.gen(function*() {
    const { advance, cut, durableLsn, storeId, until, visit } = options
    const files = new Map(source.segments.map((file) => [file.sequence, file]))
    const scan = new Scan({
      storeId,
      cut,
      durableLsn,
      firstSequence: cut.sequence,
      files: source.segments.filter(({ file }) => file !== undefined),
      ...(until === undefined ? {} : { until })
    })
    while (true) {
      const answer = scan.next()
      if (answer._tag === "Need") {
        const { file } = files.get(answer.sequence) as SegmentFile
        const bytes = file === undefined ? undefined : yield* readUpTo(file, answer.offset, answer.length)
        // What cannot be read is where the file ends, for all that can be known of it.
        scan.feed(bytes === undefined || isFault(bytes) ? new Uint8Array(0) : bytes)
        yield* advance(answer.length)
      } else if (answer._tag === "Group") {
        const wait = visit(answer)
        if (wait !== undefined) yield* wait
      } else return answer
    }
  })

/** The cut at the base of the first segment from `sequence` on whose header is sound. */
export const cutFrom = ({ headers }: Source, sequence: number): Cut | undefined => {
  const segment = headers.find((header) => header.sequence >= sequence)
  return segment === undefined ? undefined : baseOf(segment)
}

export const pathOf = ({ directory }: Source, sequence: number): string =>
  `${directory}/${segmentName(sequence)}`

const magic = Buffer.alloc(4)
magic.writeUInt32LE(GROUP_MAGIC)
const windowBytes = 1024 * 1024

/** What lies behind a break. */
export interface Strays {
  readonly groups: number
  readonly records: number
}

/** Groups of a segment from an LSN on that are whole and in their place, whatever they are chained to. */
export const strays = (
  source: Source,
  segment: Segment,
  storeId: Uint8Array,
  from: number
): Effect.Effect<Strays, StoreError> =>
  Effect.gen(function*() {
    const file = source.segments.find(({ sequence }) => sequence === segment.sequence)
    const found = { groups: 0, records: 0 }
    if (file === undefined) return found
    for (let offset = fileOffset(segment, from); offset + GROUP_HEADER_BYTES <= file.bytes;) {
      const length = Math.min(windowBytes, file.bytes - offset)
      const window = yield* readAt(file, offset, length)
      if (isFault(window)) return found
      const bytes = Buffer.from(window.buffer, window.byteOffset, window.length)
      const at = candidate(bytes)
      if (at < 0) {
        offset += Math.max(8, length - GROUP_HEADER_BYTES + 8 & ~7)
        continue
      }
      const lsn = segment.base + offset + at - fileOffset(segment, segment.base)
      const group = yield* groupAt(file, offset + at, lsn, bytes.subarray(at), storeId)
      if (group !== undefined) {
        found.groups++
        found.records += group.records
      }
      offset += at + (group === undefined ? 8 : group.length)
    }
    return found
  })

/** Where a group may begin in a window, with its header in it; -1 where none does. */
const candidate = (bytes: Buffer): number => {
  for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1)) {
    if (at % 8 === 0) return at + GROUP_HEADER_BYTES <= bytes.length ? at : -1
  }
  return -1
}

const groupAt = (
  file: SegmentFile,
  offset: number,
  lsn: number,
  head: Buffer,
  storeId: Uint8Array
): Effect.Effect<GroupHeader | undefined, StoreError> =>
  Effect.gen(function*() {
    const header = new GroupHeader()
    header.read(head, 0)
    const place = { lsn, remaining: file.bytes - offset, storeId }
    if (placeFault(header, head, 0, place) !== undefined) return undefined
    const bytes = yield* readAt(file, offset, header.length)
    if (isFault(bytes)) return undefined
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    if (decodeGroup(whole, lsn, storeId)._tag === "Invalid") return undefined
    const start = lsn + GROUP_HEADER_BYTES
    const records = verifyRecords(whole, GROUP_HEADER_BYTES, header.length, start, header.records)
    return records === undefined ? header : undefined
  })

/**
 * The seam between a checkpoint and its log: the group that ends at the cut is the one that the superblock names.
 *
 * Everything below the cut was durable before the superblock was written. Replay begins at the cut and would take a log
 * that ends before it, put back as it was when it was younger, for one in which nothing has followed: what the pages
 * only refer to would be missing, and the next life would go on in a log with a hole.
 *
 * A group says where it begins, not what ended before it; so it is looked for backwards from the cut, in windows that
 * grow. Usually the first holds it.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../disk/Disk.ts"
import { GROUP_HEADER_BYTES, GROUP_MAGIC, GroupHeader } from "../../log/Group.ts"
import type { Cut } from "../../log/Group.ts"
import { baseOf, fileOffset, segmentName } from "../../log/Segment.ts"
import type { Segment } from "../../log/Segment.ts"
import type { StoreError } from "../../StoreError.ts"
import type { Segments } from "../files/Segments.ts"
import type { Roots } from "./Footing.ts"
import { damaged } from "./Restore.ts"

export interface Options {
  readonly directory: string
  readonly roots: Roots
  readonly segments: Segments
  readonly opened: ReadonlyMap<number, { readonly file: DiskFile; readonly bytes: number }>
}

/** The first window. */
const windowBytes = 4096

const isSame = (a: Cut, b: Cut): boolean =>
  a.previousChecksum === b.previousChecksum && a.incarnation.low === b.incarnation.low
  && a.incarnation.high === b.incarnation.high

/** Whether a group of which the last bytes are the window's is the one that ends at the cut. */
const endsAt = (window: Buffer, cut: Cut): boolean => {
  const header = new GroupHeader()
  for (let at = window.length - GROUP_HEADER_BYTES; at >= 0; at -= 8) {
    if (window.readUInt32LE(at) !== GROUP_MAGIC) continue
    header.read(window, at)
    const { checksum, incarnationHigh: high, incarnationLow: low, length, lsn } = header
    const own = { ...cut, previousChecksum: checksum, incarnation: { low, high } }
    if (length === window.length - at && lsn === cut.lsn - length && isSame(own, cut)) return true
  }
  return false
}

/** Fails where the log does not lead to the cut. What is wrong with the cut's segment as a file, the scan says. */
export const joined = ({ directory, opened, roots, segments }: Options): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { cut } = roots.newest
    const found = opened.get(cut.sequence)
    const segment = segments.list.find(({ sequence }) => sequence === cut.sequence)
    if (found === undefined || segment === undefined || !holds(segment, cut)) return
    const end = fileOffset(segment, cut.lsn)
    if (segment.base === cut.lsn) {
      if (isSame(baseOf(segment), cut)) return
    } else {
      for (let bytes = windowBytes;; bytes *= 4) {
        const window = Buffer.alloc(Math.min(bytes, cut.lsn - segment.base))
        const read = yield* found.file.read(window, end - window.length)
        // A file that ends before the cut has a length that the scan finds fault with.
        if (read < window.length || endsAt(window, cut)) return
        if (window.length < bytes) break
      }
    }
    const path = `${directory}/${segmentName(cut.sequence)}`
    const expected = `the log up to LSN ${cut.lsn}, where the newest checkpoint begins`
    return yield* damaged(path, end, expected, "a log that ends before it, or another")
  })

const holds = (segment: Segment, { lsn }: Cut): boolean =>
  segment.base <= lsn && lsn <= segment.base + segment.capacity

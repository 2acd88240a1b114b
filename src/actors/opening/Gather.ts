/**
 * The pieces of transactions, found again when a store is opened.
 *
 * A part of recovery. Pieces below the cut belong to a stream that was open there; if its commit follows above the cut,
 * all of them are applied then. So the log is read from the oldest such stream on, and nothing of it applied.
 *
 * I1 What is read below the cut is chained to the cut, or the log is damaged: all of it was durable.
 * I2 A commit counts only with exactly its pieces.
 */
import * as Effect from "effect/Effect"
import type { DiskFile } from "../../disk/Disk.ts"
import { GROUP_HEADER_BYTES, GroupKind } from "../../log/Group.ts"
import type { Cut } from "../../log/Group.ts"
import type { OpenStreams } from "../../log/Pieces.ts"
import { RecordType } from "../../log/Record.ts"
import { RecordReader } from "../../log/RecordReader.ts"
import { Scan } from "../../log/Scan.ts"
import type { ScannedGroup } from "../../log/ScanAnswer.ts"
import { baseOf, segmentName } from "../../log/Segment.ts"
import type { StoreError } from "../../StoreError.ts"
import type { Segments } from "../files/Segments.ts"
import type { Roots } from "./Footing.ts"
import { damaged } from "./Restore.ts"

export interface Options {
  readonly directory: string
  readonly roots: Roots
  readonly segments: Segments
  readonly streams: OpenStreams
  /** First pieces of the streams that were open at the cut. */
  readonly firsts: ReadonlyArray<number>
  readonly opened: ReadonlyMap<number, { readonly file: DiskFile; readonly bytes: number }>
}

/** Finds the pieces below the cut. */
export const gather = (options: Options): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    const { directory, firsts, opened, roots, segments, streams } = options
    const { cut, storeId } = roots.newest
    if (firsts.length === 0) return
    const oldest = Math.min(...firsts)
    const segment = segments.list.findLast(({ base, sequence }) => base <= oldest && sequence <= cut.sequence)
    if (segment === undefined) {
      return yield* damaged(`${directory}/log`, 0, "the pieces of a transaction", "none")
    }
    const scan = new Scan({
      storeId,
      cut: baseOf(segment),
      durableLsn: cut.lsn,
      firstSequence: segment.sequence,
      files: [...opened].map(([sequence, { bytes }]) => ({ sequence, bytes })),
      until: cut.lsn
    })
    for (let answer = scan.next();; answer = scan.next()) {
      if (answer._tag === "Need") {
        const bytes = Buffer.allocUnsafe(answer.length)
        const file = opened.get(answer.sequence)?.file
        scan.feed(bytes.subarray(0, file === undefined ? 0 : yield* file.read(bytes, answer.offset)))
      } else if (answer._tag === "Group" && answer.end <= cut.lsn) {
        take(streams, answer)
      } else if (answer._tag === "Reached" && isSame(answer.at, cut)) {
        break
      } else {
        const path = `${directory}/${segmentName("sequence" in answer ? answer.sequence : cut.sequence)}`
        const offset = answer._tag === "Corrupted" ? answer.offset : 0
        const actual = answer._tag === "Corrupted" ? answer.actual : answer._tag
        return yield* damaged(path, offset, `a log that leads to the checkpoint at LSN ${cut.lsn}`, actual)
      }
    }
    for (const first of firsts) {
      if (streams.find(first) !== undefined) {
        continue
      }
      return yield* damaged(`${directory}/log`, 0, `the first piece of a transaction at LSN ${first}`, "none")
    }
  })

const isSame = (found: Cut, cut: Cut): boolean =>
  found.lsn === cut.lsn && found.sequence === cut.sequence && found.previousChecksum === cut.previousChecksum
  && found.incarnation.low === cut.incarnation.low && found.incarnation.high === cut.incarnation.high

const take = (streams: OpenStreams, { bytes, kind, lsn, records }: ScannedGroup): void => {
  if (kind === GroupKind.open) streams.endAll()
  if (kind !== GroupKind.data) return
  const reader = new RecordReader()
  reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
  while (reader.nextRecord()) {
    if (reader.type === RecordType.piece) streams.add(reader)
    else if (reader.type === RecordType.commit || reader.type === RecordType.abort) {
      streams.end(reader.streamFirst)
    }
  }
}

/** Takes note of the record that `reader` is at, above the cut; an effect that fails where it breaks a rule. */
export const note = (
  { directory, segments }: { readonly directory: string; readonly segments: Segments },
  streams: OpenStreams,
  reader: RecordReader
): Effect.Effect<never, StoreError> | undefined => {
  const fault = reader.type === RecordType.piece
    ? streams.add(reader)
    : reader.type === RecordType.commit
    ? streams.fault(reader)
    : undefined
  if (fault === undefined) return undefined
  const place = segments.placeOf(reader.lsn)
  const path = place === undefined ? `${directory}/log` : `${directory}/${segmentName(place.sequence)}`
  const expected = reader.type === RecordType.piece
    ? "the next piece of a transaction"
    : "a commit of what was written"
  return damaged(path, place?.offset ?? 0, expected, fault)
}

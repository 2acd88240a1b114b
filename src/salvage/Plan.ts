/**
 * What a salvage can build on: the checkpoint to copy, and what may fill the gaps in it.
 *
 * A checkpoint can be used if its superblock and its catalog are sound. What is lost of its pages can come from
 * elsewhere only if the log from there leads to its cut without a break: from the beginning of a keyspace, if the log
 * reaches back that far, or from the older checkpoint.
 *
 * I1 Nothing is taken for current without a superblock that vouches for it, or a log from its beginning.
 */
import * as Effect from "effect/Effect"
import { isSameCut } from "../log/Follow.ts"
import type { Cut } from "../log/Group.ts"
import { FIRST_LSN } from "../log/Lsn.ts"
import type { ScannedGroup } from "../log/ScanAnswer.ts"
import { baseOf } from "../log/Segment.ts"
import { SUPERBLOCK_FORMAT } from "../log/Superblock.ts"
import type { Superblock } from "../log/Superblock.ts"
import type { Found } from "../offline/Finding.ts"
import * as Log from "../offline/Log.ts"
import { advancing } from "../offline/Progress.ts"
import { Retained } from "../offline/Retained.ts"
import type { Source } from "../offline/Source.ts"
import { isFault, readAt } from "../offline/Source.ts"
import { Corrupted, FormatTooNew, storeError } from "../StoreError.ts"
import type { StoreError } from "../StoreError.ts"
import * as PageFileHeader from "../tree/file/PageFileHeader.ts"
import { checkSizes } from "../tree/page/Page.ts"
import { Streams } from "./Streams.ts"

export interface Plan {
  readonly storeId: Uint8Array
  readonly pageBytes: number
  /** D, as far as the superblocks know. */
  readonly durableLsn: number
  /** The checkpoint to copy; undefined where the log reaches back to its beginning and no checkpoint can be used. */
  readonly primary: Retained | undefined
  readonly older: Retained | undefined
  /** Where applying the log begins. */
  readonly cut: Cut
}

/** Of such pages all keys can be kept. */
const widestKeysPageBytes = 8192

/** Looks for something to build on; fails where there is nothing. */
export const make = (source: Source, found: (found: Found) => void): Effect.Effect<Plan, StoreError> =>
  Effect.gen(function*() {
    const superblocks = yield* soundOf(source)
    const usable: Array<Retained> = []
    for (const [index, superblock] of superblocks.entries()) {
      const role = index === 0 ? "newest" : "older"
      const total = superblock.slots * superblock.pageBytes
      const advance = yield* advancing(`${role} checkpoint`, Math.min(total, source.pages.bytes))
      const retained = new Retained({ source, superblock, role, found, advance })
      if ((yield* retained.load) && retained.catalog !== undefined) usable.push(retained)
    }
    const [primary, older] = usable
    const first = source.headers.find(({ base, previousChecksum }) =>
      base === FIRST_LSN && previousChecksum === 0
    )
    const storeId = source.storeId ?? (yield* idOf(source))
    if (storeId === undefined || (primary === undefined && first === undefined)) {
      return yield* Effect.fail(storeError(
        new Corrupted({
          path: source.superblocks.path,
          offset: 0,
          expected: "a checkpoint that can be read, or a log from its beginning",
          actual: "neither",
          beyondSalvage: true
        })
      ))
    }
    const [newest] = superblocks
    return {
      storeId,
      pageBytes: newest === undefined ? yield* pageBytesOf(source, storeId) : newest.pageBytes,
      durableLsn: Math.max(FIRST_LSN, ...superblocks.map(({ durableLsn }) => durableLsn)),
      primary,
      older,
      cut: primary === undefined ? baseOf(first as NonNullable<typeof first>) : primary.superblock.cut
    }
  })

/** The superblocks that are sound, the newest first. */
const soundOf = ({ choice, superblocks: { path } }: Source): Effect.Effect<
  ReadonlyArray<Superblock>,
  StoreError
> => {
  switch (choice._tag) {
    case "TooNew": {
      const { format } = choice
      return Effect.fail(storeError(new FormatTooNew({ path, format, supported: SUPERBLOCK_FORMAT })))
    }
    case "Mixed":
      return Effect.fail(storeError(
        new Corrupted({
          path,
          offset: 0,
          expected: "two superblocks of one store",
          actual: choice.reason,
          beyondSalvage: true
        })
      ))
    case "Unreadable":
      return Effect.succeed([])
    case "Chosen":
      return Effect.succeed(
        choice.older === undefined ? [choice.superblock] : [choice.superblock, choice.older]
      )
  }
}

/** Which store this is, where no superblock says so: that of its first segment. */
const idOf = (source: Source): Effect.Effect<Uint8Array | undefined, StoreError> => {
  const first = source.segments.find(({ header }) =>
    header._tag === "Valid" && header.segment.base === FIRST_LSN
  )
  return first === undefined
    ? Effect.succeed(undefined)
    : Effect.map(readAt(first, 16, 16), (bytes) => isFault(bytes) ? undefined : bytes)
}

/** What the page file says of its pages, if it is this store's. */
const pageBytesOf = ({ pages }: Source, storeId: Uint8Array): Effect.Effect<number, StoreError> =>
  Effect.gen(function*() {
    const head = yield* readAt(pages, 12, 4)
    const pageBytes = isFault(head) ? 0 : Buffer.from(head).readUInt32LE(0)
    if (!checkSizes({ pageBytes, keyBytes: 0 })) return widestKeysPageBytes
    const header = yield* readAt(pages, 0, pageBytes)
    const sound = !isFault(header) && PageFileHeader.fault(header, pageBytes, storeId) === undefined
    return sound ? pageBytes : widestKeysPageBytes
  })

/** The earliest cut from which the log leads to the primary's without a break, if there is one below it. */
export const earliest = (
  source: Source,
  { storeId }: Plan,
  { superblock: { cut } }: Retained
): Effect.Effect<Cut | undefined, StoreError> =>
  Effect.gen(function*() {
    let after = 0
    for (const header of source.headers) {
      if (header.sequence > cut.sequence) break
      if (header.sequence <= after) continue
      const broken = yield* brokenBetween(source, storeId, { cut: baseOf(header), streams: [] }, cut)
      if (broken === undefined) return baseOf(header)
      after = broken
    }
    return undefined
  })

/** Whether the log leads from a checkpoint to a cut without a break. */
export const leads = (
  source: Source,
  { storeId }: Plan,
  { catalog, superblock: { cut } }: Retained,
  to: Cut
): Effect.Effect<boolean, StoreError> => {
  const from = { cut, streams: catalog?.streams ?? [] }
  return Effect.map(brokenBetween(source, storeId, from, to), (sequence) => sequence === undefined)
}

/** Where reading the log begins, and the first pieces of the streams that are open there. */
export interface Start {
  readonly cut: Cut
  readonly streams: ReadonlyArray<number>
}

/** Reads the pieces below a cut, of streams that are open there. */
export const gather = (
  source: Source,
  storeId: Uint8Array,
  { cut, streams }: Start,
  visit: (group: ScannedGroup) => undefined
): Effect.Effect<void, StoreError> =>
  Effect.gen(function*() {
    if (streams.length === 0) return
    const oldest = Math.min(...streams)
    const segment = source.headers.findLast(({ base }) => base <= oldest)
    const from = segment === undefined ? undefined : Log.cutFrom(source, segment.sequence)
    if (from === undefined || from.lsn > oldest) return
    // Where it does not lead to the cut, pieces are missing, and whoever reads on stops at their commit.
    const advance = yield* advancing("log", bytesOf(source))
    yield* Log.read(source, { storeId, durableLsn: cut.lsn, cut: from, until: cut.lsn, visit, advance })
  })

/**
 * The segment in which the way from one cut to another breaks off: where a group does not follow, or commits a
 * transaction of which pieces are missing, so that what is written before it is not current.
 */
const brokenBetween = (
  source: Source,
  storeId: Uint8Array,
  from: Start,
  to: Cut
): Effect.Effect<number | undefined, StoreError> =>
  Effect.gen(function*() {
    const { cut } = from
    if (cut.lsn > to.lsn) return to.sequence
    const streams = new Streams()
    yield* gather(source, storeId, from, (group) => void streams.follow(group))
    let lacking = 0
    const verdict = yield* Log.read(source, {
      storeId,
      cut,
      durableLsn: to.lsn,
      until: to.lsn,
      visit: (group) => {
        if (lacking === 0 && !streams.follow(group)) lacking = group.segment.sequence
        return undefined
      },
      advance: yield* advancing("log", bytesOf(source))
    })
    if (lacking > 0) return lacking
    if (verdict._tag === "Reached" && isSameCut(verdict.at, to)) return undefined
    return verdict._tag === "Corrupted" || verdict._tag === "TooNew" ? verdict.sequence : to.sequence
  })

const bytesOf = ({ segments }: Source): number => segments.reduce((sum, { bytes }) => sum + bytes, 0)

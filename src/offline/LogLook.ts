/**
 * Looking at the whole log that is retained: segments, groups, chain, records, durable marks, the end; and whether it
 * meets what the checkpoints say of it.
 *
 * At a break it is told, and looking goes on with the next segment whose header is sound: each says which group it
 * follows, so it can be a beginning.
 */
import * as Effect from "effect/Effect"
import { Follow, isSameCut } from "../log/Follow.ts"
import { GROUP_HEADER_BYTES, GroupKind } from "../log/Group.ts"
import type { Cut } from "../log/Group.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { ScanCorrupted, ScannedGroup, ScanTooNew } from "../log/ScanAnswer.ts"
import { fileOffset } from "../log/Segment.ts"
import { superblockOffset } from "../log/Superblock.ts"
import type { Superblock } from "../log/Superblock.ts"
import type { StoreError } from "../StoreError.ts"
import { SessionReplay } from "../tree/SessionReplay.ts"
import type { Found } from "./Finding.ts"
import { cutFrom, pathOf, read, strays } from "./Log.ts"
import type { Retained } from "./Retained.ts"
import type { Source } from "./Source.ts"

/** What there is of the log. */
export interface LogReport {
  /** The oldest byte that is kept, and the end. */
  readonly begin: number
  readonly end: number
  readonly durable: number
  readonly segments: number
  readonly groups: number
  readonly records: number
  readonly writes: number
  /** Bytes of the groups. */
  readonly bytes: number
  /** Groups that are whole and lie behind a break in their segment, and their records. */
  readonly strays: { readonly groups: number; readonly records: number }
  /** Whether the log ends in a group that was begun and is not whole, as a crash leaves it. */
  readonly torn: boolean
}

export interface Options {
  readonly source: Source
  /** The checkpoints that are retained, the newest first, as far as there is anything of them. */
  readonly checkpoints: ReadonlyArray<Retained>
  readonly superblocks: ReadonlyArray<Superblock>
  readonly found: (found: Found) => void
  readonly advance: (bytes: number) => Effect.Effect<void>
}

/** Looks at the log from the begin of the newest checkpoint on. */
export const look = (options: Options, newest: Superblock): Effect.Effect<LogReport, StoreError> =>
  new Looker(options, newest).run

class Looker {
  private readonly options: Options
  private readonly newest: Superblock
  private readonly durableLsn: number
  /** Cuts that the log has not come to yet. */
  private awaited: ReadonlyArray<Retained>
  /** As of the last record; undefined where no cut has said which there are. */
  private sessions: SessionReplay | undefined
  private readonly reader = new RecordReader()
  private readonly counters = { groups: 0, records: 0, writes: 0, bytes: 0 }
  private readonly strays = { groups: 0, records: 0 }
  private durable = 0
  private end = 0
  private torn = false

  constructor(options: Options, newest: Superblock) {
    this.options = options
    this.newest = newest
    this.awaited = options.checkpoints
    this.durableLsn = Math.max(...options.superblocks.map(({ durableLsn }) => durableLsn))
  }

  readonly run: Effect.Effect<LogReport, StoreError> = Effect.gen({ self: this }, function*() {
    const { begin } = this.newest
    const { found, source } = this.options
    const first = cutFrom(source, begin.sequence)
    if (first === undefined || first.sequence > begin.sequence || first.lsn > begin.lsn) {
      const actual = source.segments.some(({ sequence }) => sequence === begin.sequence)
        ? "another one, or a damaged header"
        : "nothing"
      const expected = `the segment of LSN ${begin.lsn}`
      const path = pathOf(source, begin.sequence)
      found({ subject: "segment", path, offset: 0, expected, actual, role: "log" })
    }
    for (let from = first; from !== undefined;) from = yield* this.stretch(from)
    for (const { superblock } of this.awaited) this.miss(superblock, "no group that ends there")
    const { bytes, groups, records, writes } = this.counters
    const segments = source.headers.filter(({ sequence }) => sequence >= begin.sequence).length
    const { durable, end, strays, torn } = this
    return { begin: begin.lsn, end, durable, segments, groups, records, writes, bytes, strays, torn }
  })

  /** Reads on from a cut; answers where to go on after a break. */
  private stretch(cut: Cut): Effect.Effect<Cut | undefined, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const { advance, source } = this.options
      const follow = new Follow(cut)
      this.sessions = undefined
      const { durableLsn } = this
      const { storeId } = this.newest
      const visit = (group: ScannedGroup): undefined => this.visit(follow, group)
      const verdict = yield* read(source, { storeId, cut, durableLsn, visit, advance })
      this.meet(follow)
      this.end = Math.max(this.end, follow.at.lsn)
      for (const name of ["groups", "records", "writes", "bytes"] as const) {
        this.counters[name] += follow.counters[name]
      }
      if (verdict._tag === "TornTail") {
        this.torn = verdict.partial
        this.durable = Math.max(this.durable, verdict.durableLsn)
        return undefined
      }
      if (verdict._tag === "Reached") return undefined
      this.tell(verdict)
      const segment = source.headers.find(({ sequence }) => sequence === verdict.sequence)
      if (segment !== undefined && follow.at.lsn >= segment.base) {
        const behind = yield* strays(source, segment, storeId, follow.at.lsn)
        this.strays.groups += behind.groups
        this.strays.records += behind.records
      }
      return cutFrom(source, verdict.sequence + 1)
    })
  }

  private tell(verdict: ScanCorrupted | ScanTooNew): void {
    const { found, source } = this.options
    const path = pathOf(source, verdict.sequence)
    const [offset, expected, actual] = verdict._tag === "Corrupted"
      ? [verdict.offset, verdict.expected, verdict.actual]
      : [8, `format ${verdict.supported}`, `format ${verdict.format}`]
    found({ subject: offset < 4096 ? "segment" : "group", path, offset, expected, actual, role: "log" })
  }

  private visit(follow: Follow, group: ScannedGroup): undefined {
    this.meet(follow)
    this.durable = Math.max(this.durable, group.durableLsn)
    const broken = follow.take(group)
    if (broken !== undefined) {
      this.tellRecord(group, broken.offset, "a record of keyspaces that are there", broken.reason)
    }
    this.visitSessions(group)
  }

  /** Whether the serials of each session follow one another, which recovery asks for. */
  private visitSessions(group: ScannedGroup): void {
    const { reader, sessions } = this
    const { bytes, kind, lsn, records } = group
    if (sessions === undefined || kind !== GroupKind.data) return
    reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
    while (reader.nextRecord()) {
      const mismatch = sessions.take(reader)
      if (mismatch !== undefined) {
        this.tellRecord(group, reader.recordStart, mismatch.expected, mismatch.actual)
      }
    }
  }

  private tellRecord({ lsn, segment }: ScannedGroup, at: number, expected: string, actual: string): void {
    const { found, source } = this.options
    const offset = fileOffset(segment, lsn) + at
    found({ subject: "group", path: pathOf(source, segment.sequence), offset, expected, actual, role: "log" })
  }

  /** Compares what the checkpoints say of the log at their cuts with what it is. */
  private meet(follow: Follow): void {
    const { at } = follow
    const due = this.awaited.filter(({ superblock }) => superblock.cut.lsn <= at.lsn)
    if (due.length === 0) return
    this.awaited = this.awaited.filter((each) => !due.includes(each))
    for (const { catalog, superblock } of due.reverse()) {
      if (!isSameCut(superblock.cut, at)) this.miss(superblock, "another one")
      if (catalog === undefined) continue
      const keyspaces = new Map(catalog.keyspaces.map(({ id, reducer }) => [id, reducer]))
      if (follow.keyspaces !== undefined && !isSame(follow.keyspaces, keyspaces)) {
        this.missKeyspaces(superblock)
      }
      follow.know(keyspaces)
      this.sessions = new SessionReplay(catalog.sessions)
    }
  }

  private miss(superblock: Superblock, actual: string): void {
    this.options.found({
      subject: "superblock",
      path: this.options.source.superblocks.path,
      offset: superblockOffset(superblock.slot) + 64,
      expected: `the group that ends at the cut, LSN ${superblock.cut.lsn}`,
      actual,
      role: superblock === this.newest ? "newest" : "older",
      checkpoint: superblock.version
    })
  }

  private missKeyspaces({ catalog, pageBytes, version }: Superblock): void {
    this.options.found({
      subject: "catalog",
      path: this.options.source.pages.path,
      offset: catalog.slot * pageBytes,
      expected: "the keyspaces that the log has made up to the cut",
      actual: "others",
      role: version === this.newest.version ? "newest" : "older",
      checkpoint: version
    })
  }
}

const isSame = (a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): boolean =>
  a.size === b.size && [...a].every(([id, reducer]) => b.get(id) === reducer)

/**
 * Walks the log from a cut and finds its end.
 *
 * Reads nothing itself: it answers what it needs, whoever drives it feeds the bytes. It goes forward only, holds one
 * window of bytes (a group at most), and ends with exactly one verdict, which it then repeats. It never takes a
 * group into the log that is not whole, in its place, of this store and chained to the one before.
 *
 * I1 What is fed is what was asked for, or less at the end of the file.
 */
import { invariant } from "../Invariant.ts"
import {
  chainFault,
  checksumFault,
  fieldsFault,
  GROUP_FORMAT,
  GROUP_HEADER_BYTES,
  GROUP_MAGIC,
  GroupHeader,
  GroupKind,
  MAX_GROUP_BYTES,
  placeFault
} from "./Group.ts"
import type { Cut } from "./Group.ts"
import type { Invalid } from "./Invalid.ts"
import { asBuffer, isLsn } from "./Lsn.ts"
import type { Lsn } from "./Lsn.ts"
import { verifyRecords } from "./RecordForm.ts"
import type { Need, ScanAnswer, ScannedGroup, ScanOptions, ScanVerdict } from "./ScanAnswer.ts"
import { decodeSegment, fileBytes, fileOffset, SEGMENT_FORMAT, SEGMENT_HEADER_BYTES } from "./Segment.ts"
import type { Segment } from "./Segment.ts"
import { endVerdict } from "./Verdict.ts"
import type { Found } from "./Verdict.ts"

/** Where the walk stopped, and why. */
interface Stop {
  readonly found: Found
  readonly offset: number
  readonly actual: string
  readonly partial: boolean
  readonly format: number
}

/** Read ahead by this much where less is needed, unless said. */
const WINDOW_BYTES = 1024 * 1024
const MAGIC_BYTES = Buffer.alloc(4)
MAGIC_BYTES.writeUInt32LE(GROUP_MAGIC)

export class Scan {
  /** D as far as it is known. */
  durableLsn: Lsn
  private readonly options: ScanOptions
  private readonly files: Map<number, number>
  private readonly sequences: ReadonlyArray<number>
  private readonly header = new GroupHeader()
  private at: Cut
  private segment: Segment | undefined = undefined
  private state: "enter" | "walk" | "search" = "enter"
  private verdict: ScanVerdict | undefined = undefined
  private stopped: Stop | undefined = undefined
  private need: Need | undefined = undefined
  private window: Buffer = Buffer.alloc(0)
  private windowSequence = -1
  private windowOffset = 0
  private searchSequence = 0
  private searchOffset = 0
  private searchBase: number | undefined = undefined

  constructor(options: ScanOptions) {
    this.options = options
    this.files = new Map(options.files.map((file) => [file.sequence, file.bytes]))
    this.sequences = [...this.files.keys()].sort((a, b) => a - b)
    this.at = options.cut
    this.durableLsn = options.durableLsn
  }

  /** The next group, what is needed to find it, or how the log ends. */
  next(): ScanAnswer {
    this.need = undefined
    for (;;) {
      if (this.verdict !== undefined) return this.verdict
      const group = this.state === "enter"
        ? this.enter()
        : this.state === "walk"
        ? this.walk()
        : this.search()
      if (group !== undefined) return group
      if (this.need !== undefined) return this.need
    }
  }

  /** Gives what `Need` asked for; fewer bytes where the file ends. */
  feed(bytes: Uint8Array): void {
    const need = this.need
    invariant(need !== undefined && bytes.length <= need.length, "Scan I1")
    this.window = asBuffer(bytes)
    this.windowSequence = need.sequence
    this.windowOffset = need.offset
    // A file that turns out shorter than it was said to be: nothing beyond is asked for again.
    if (bytes.length < need.length) this.files.set(need.sequence, need.offset + bytes.length)
  }

  /** Opens the segment in which the next group should begin. */
  private enter(): undefined {
    const { cut, firstSequence, until } = this.options
    const { lsn, sequence } = this.at
    const first = this.isFirst()
    if (lsn === until && !first) return this.reach()
    for (let s = firstSequence; first && s < sequence; s++) {
      if (!this.files.has(s)) return this.stop("missing segment", 0, `no segment ${s}`)
    }
    const size = this.files.get(sequence)
    if (size === undefined) return this.stop("missing segment", 0, `no segment ${sequence}`)
    if (size < SEGMENT_HEADER_BYTES) return this.stop("damaged segment", size, "segment header is cut off")
    if (!this.have(sequence, 0, SEGMENT_HEADER_BYTES)) return undefined
    const decoded = decodeSegment(this.view(0, SEGMENT_HEADER_BYTES), this.options.storeId, sequence)
    switch (decoded._tag) {
      case "Invalid":
        return this.stop("damaged segment", decoded.offset, decoded.reason)
      case "Foreign":
        return this.stop("foreign segment", 16, "a segment of another store")
      case "Misplaced":
        return this.stop("misplaced segment", 32, `segment ${decoded.segment.sequence}`)
      case "TooNew":
        return this.stop("newer segment", 8, `format ${decoded.format}`, { format: decoded.format })
      case "Valid": {
        const segment = decoded.segment
        const holds = segment.base <= lsn && lsn + GROUP_HEADER_BYTES <= segment.base + segment.capacity
        if (first ? !holds : !continues(segment, this.at)) {
          return this.stop("displaced segment", 40, `a segment at LSN ${segment.base}`)
        }
        this.segment = segment
        this.state = "walk"
        return cut.lsn === until ? this.reach() : undefined
      }
    }
  }

  /** Takes the next group of the segment. */
  private walk(): ScannedGroup | undefined {
    const segment = this.segment
    invariant(segment !== undefined, "Scan I1")
    const { lsn, sequence } = this.at
    if (lsn === this.options.until) return this.reach()
    const offset = fileOffset(segment, lsn)
    const size = this.files.get(sequence) ?? 0
    const remaining = Math.min(SEGMENT_HEADER_BYTES + segment.capacity, size) - offset
    if (remaining < GROUP_HEADER_BYTES) return this.stop(this.noGroup(), offset, "the end of the file")
    if (!this.have(sequence, offset, GROUP_HEADER_BYTES)) return undefined
    const header = this.header
    const place = { lsn, remaining, storeId: this.options.storeId }
    header.read(this.window, offset - this.windowOffset)
    const misplaced = placeFault(header, this.window, offset - this.windowOffset, place)
    if (misplaced !== undefined) return this.stopAt(offset, misplaced)
    if (!this.have(sequence, offset, header.length)) return undefined
    const damaged = checksumFault(header, this.window, offset - this.windowOffset)
    if (damaged !== undefined) return this.stopAt(offset, damaged)
    if (header.format > GROUP_FORMAT) {
      return this.stop("newer group", offset + 12, `format ${header.format}`, { format: header.format })
    }
    const unchained = chainFault(header, this.at)
    if (unchained !== undefined) return this.stopAt(offset, unchained)
    return this.take(segment, offset)
  }

  /** Takes the group in `header`, which is whole and chained: what it says must hold. */
  private take(segment: Segment, offset: number): ScannedGroup | undefined {
    const header = this.header
    const bytes = this.view(offset, header.length)
    const { lsn, sequence } = this.at
    const end = lsn + header.length
    const seal = header.kind === GroupKind.seal
    const broken = fieldsFault(header)
      ?? verifyRecords(bytes, GROUP_HEADER_BYTES, header.length, lsn + GROUP_HEADER_BYTES, header.records)
    if (broken !== undefined) return this.stop("broken group", offset + broken.offset, broken.reason)
    if (!seal && end + GROUP_HEADER_BYTES > segment.base + segment.capacity) {
      return this.stop("broken group", offset + 8, "a group without room for the seal")
    }
    this.durableLsn = Math.max(this.durableLsn, header.durableLsn)
    this.at = {
      lsn: end,
      sequence: seal ? sequence + 1 : sequence,
      previousChecksum: header.checksum,
      incarnation: { low: header.incarnationLow, high: header.incarnationHigh }
    }
    if (seal) {
      this.segment = undefined
      this.state = "enter"
    }
    const { durableLsn, kind, records } = header
    return { _tag: "Group", kind, lsn, end, durableLsn, records, bytes, segment }
  }

  /**
   * Looks past the end for a group of this store, in its place, that claims a durable LSN above X. One is enough.
   * Groups that claim less change nothing and are not even summed; stale ones of an older life may be met, and
   * what they claim was true when they said it. Without a sound header a segment's base is unknown, and any
   * address is believed.
   */
  private search(): undefined {
    const sequence = this.searchSequence
    const size = this.files.get(sequence) ?? 0
    if (size - this.searchOffset < GROUP_HEADER_BYTES) return this.searchNext()
    if (this.searchOffset < SEGMENT_HEADER_BYTES) return this.searchHeader()
    if (!this.have(sequence, this.searchOffset, GROUP_HEADER_BYTES)) return undefined
    const start = this.searchOffset - this.windowOffset
    const found = this.window.indexOf(MAGIC_BYTES, start)
    const last = this.window.length - GROUP_HEADER_BYTES
    if (found === -1 || found > last) {
      this.searchOffset = this.windowOffset + (last & ~7) + 8
      return undefined
    }
    const offset = this.windowOffset + found
    this.searchOffset = offset - offset % 8 + 8
    if (offset % 8 !== 0) return undefined
    this.header.read(this.window, found)
    const { durableLsn, length, lsn } = this.header
    const claimed = this.searchBase === undefined ? lsn : this.searchBase + offset - SEGMENT_HEADER_BYTES
    const place = { lsn: claimed, remaining: size - offset, storeId: this.options.storeId }
    const worthy = durableLsn > this.at.lsn && isLsn(lsn) && isLsn(durableLsn)
    if (!worthy || placeFault(this.header, this.window, found, place) !== undefined) return undefined
    if (!this.have(sequence, offset, length)) {
      this.searchOffset = offset
      return undefined
    }
    if (checksumFault(this.header, this.window, offset - this.windowOffset) ?? fieldsFault(this.header)) {
      return undefined
    }
    this.durableLsn = Math.max(this.durableLsn, durableLsn)
    return this.decide()
  }

  /** Learns a later segment's base. */
  private searchHeader(): undefined {
    const sequence = this.searchSequence
    if ((this.files.get(sequence) ?? 0) >= SEGMENT_HEADER_BYTES) {
      if (!this.have(sequence, 0, SEGMENT_HEADER_BYTES)) return undefined
      const decoded = decodeSegment(this.view(0, SEGMENT_HEADER_BYTES), this.options.storeId, sequence)
      this.searchBase = decoded._tag === "Valid" ? decoded.segment.base : undefined
    }
    this.searchOffset = SEGMENT_HEADER_BYTES
    return undefined
  }

  private searchNext(): undefined {
    const next = this.sequences.find((sequence) => sequence > this.searchSequence)
    if (next === undefined) return this.decide()
    this.searchSequence = next
    this.searchOffset = 0
    this.searchBase = undefined
    return undefined
  }

  private stopAt(offset: number, fault: Invalid): undefined {
    const { header } = this
    const { incarnation, lsn } = this.at
    const ours = header.incarnationLow === incarnation.low && header.incarnationHigh === incarnation.high
    const partial = header.magic === GROUP_MAGIC && header.lsn === lsn &&
      (ours || header.kind === GroupKind.open)
    return this.stop(this.noGroup(), offset + fault.offset, fault.reason, { partial })
  }

  private noGroup(): Found {
    const { segment } = this
    const size = this.files.get(this.at.sequence) ?? 0
    return segment === undefined || size >= fileBytes(segment) ? "no group" : "short segment"
  }

  /** The walk is over: decides if D cannot change it, else searches. */
  private stop(
    found: Found,
    offset: number,
    actual: string,
    more: { readonly partial?: boolean; readonly format?: number } = {}
  ): undefined {
    this.stopped = { found, offset, actual, partial: more.partial ?? false, format: more.format ?? 0 }
    const hopeless = endVerdict({ found, position: "from D on" }) !== "torn tail"
    if (hopeless || this.at.lsn < this.durableLsn) return this.decide()
    this.state = "search"
    this.searchSequence = this.at.sequence
    this.searchOffset = this.segment === undefined ? 0 : fileOffset(this.segment, this.at.lsn)
    this.searchBase = this.segment?.base
    return undefined
  }

  private decide(): undefined {
    const stopped = this.stopped
    invariant(stopped !== undefined, "Scan I1")
    const { actual, format, found, offset, partial } = stopped
    const { lsn, sequence } = this.at
    const position = lsn < this.durableLsn ? "below D" : "from D on"
    const verdict = endVerdict({ found, position })
    if (verdict === "too new") {
      const supported = found === "newer segment" ? SEGMENT_FORMAT : GROUP_FORMAT
      this.verdict = { _tag: "TooNew", sequence, format, supported }
    } else if (verdict === "corrupted") {
      const expected = `the log at LSN ${lsn}, durable up to ${this.durableLsn}`
      this.verdict = { _tag: "Corrupted", at: lsn, sequence, offset, expected, actual }
    } else {
      const { at, durableLsn, segment } = this
      const leftovers = this.sequences.filter((s) =>
        s > sequence || (s === sequence && segment === undefined)
      )
      this.verdict = { _tag: "TornTail", at, durableLsn, segment, partial, reason: actual, leftovers }
    }
    this.window = Buffer.alloc(0)
    return undefined
  }

  private reach(): undefined {
    this.verdict = { _tag: "Reached", at: this.at, segment: this.segment }
    return undefined
  }

  private isFirst(): boolean {
    return this.at.sequence === this.options.cut.sequence
  }

  /** Whether the window holds these bytes; if not, they become what is needed. They are known to be in the file. */
  private have(sequence: number, offset: number, length: number): boolean {
    invariant(length <= MAX_GROUP_BYTES, "Scan I1")
    const start = offset - this.windowOffset
    if (sequence === this.windowSequence && start >= 0 && start + length <= this.window.length) return true
    const size = this.files.get(sequence) ?? 0
    const ahead = this.options.windowBytes ?? WINDOW_BYTES
    this.need = {
      _tag: "Need",
      sequence,
      offset,
      length: Math.max(length, Math.min(ahead, size - offset)),
      beyond: this.state === "search"
    }
    return false
  }

  private view(offset: number, length: number): Buffer {
    return this.window.subarray(offset - this.windowOffset, offset - this.windowOffset + length)
  }
}

const continues = (segment: Segment, cut: Cut): boolean =>
  segment.base === cut.lsn && segment.previousChecksum === cut.previousChecksum
  && segment.incarnation.low === cut.incarnation.low && segment.incarnation.high === cut.incarnation.high

/**
 * Following a log group by group: where in its chain one is, and whether what its records name is there.
 *
 * A scan says that groups and records are well formed. This says what replay relies on beyond that: keyspaces are made
 * before they are written to, and only once; a merge has the reducer of its keyspace; a definition can be read.
 *
 * It must not know what the writes are.
 */
import { GROUP_HEADER_BYTES, GroupHeader, GroupKind } from "./Group.ts"
import type { Cut } from "./Group.ts"
import type { Invalid } from "./Invalid.ts"
import { invalid } from "./Invalid.ts"
import { Op, RecordType } from "./Record.ts"
import { decodeDefinition } from "./RecordForm.ts"
import { RecordReader } from "./RecordReader.ts"
import type { ScannedGroup } from "./ScanAnswer.ts"

/** Open keyspaces and their reducers. */
export type Keyspaces = ReadonlyMap<number, number>

/** What a record does not hold to. */
export interface Broken extends Invalid {
  readonly keyspace: number
}

export class Follow {
  readonly counters = { groups: 0, records: 0, writes: 0, bytes: 0 }
  /** The end of the last group, as a superblock would say it. */
  at: Cut
  private known: Map<number, number> | undefined
  /** Open transactions whose pieces make or drop keyspaces, by the LSN of the first piece. */
  private readonly making = new Set<number>()
  private readonly header = new GroupHeader()
  private readonly reader = new RecordReader()

  constructor(at: Cut) {
    this.at = at
  }

  /** The keyspaces as they are known to be; undefined where that is not known. */
  get keyspaces(): Keyspaces | undefined {
    return this.known
  }

  /** From here on, these are there. */
  know(keyspaces: Keyspaces): void {
    this.known = new Map(keyspaces)
  }

  /** Goes past a group; answers the first thing in it that cannot be, `offset` in the group. */
  take({ bytes, end, kind, lsn, records }: ScannedGroup): Broken | undefined {
    const { counters, header, reader } = this
    header.read(bytes, 0)
    this.at = {
      lsn: end,
      sequence: kind === GroupKind.seal ? this.at.sequence + 1 : this.at.sequence,
      previousChecksum: header.checksum,
      incarnation: { low: header.incarnationLow, high: header.incarnationHigh }
    }
    counters.groups++
    counters.bytes += bytes.length
    if (kind !== GroupKind.data) return undefined
    counters.records += records
    reader.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
    let broken: Broken | undefined
    while (reader.nextRecord()) {
      if (reader.type === RecordType.commit && this.making.delete(reader.streamFirst)) this.known = undefined
      while (reader.nextWrite()) {
        counters.writes++
        const reason = this.write()
        if (reason !== undefined) {
          broken ??= { ...invalid(reader.keyStart, reason), keyspace: reader.keyspace }
        }
      }
    }
    return broken
  }

  private write(): string | undefined {
    const { known, reader } = this
    const { keyspace, op } = reader
    // Of a piece nobody knows yet whether it counts: which of its keyspaces are there its commit would tell.
    if (reader.type !== RecordType.transaction) {
      if (op === Op.createKeyspace || op === Op.dropKeyspace) this.making.add(reader.streamFirst)
      return undefined
    }
    if (known === undefined) return undefined
    switch (op) {
      case Op.createKeyspace: {
        const value = reader.bytes.subarray(reader.valueStart, reader.valueEnd)
        const decoded = decodeDefinition(value)
        if (decoded._tag === "Invalid") return decoded.reason
        if (known.has(keyspace)) return `keyspace ${keyspace} made a second time`
        known.set(keyspace, decoded.definition.reducer)
        return undefined
      }
      case Op.dropKeyspace:
        return known.delete(keyspace) ? undefined : `keyspace ${keyspace}, which is not there`
      case Op.merge:
        if (known.has(keyspace) && known.get(keyspace) !== reader.reducer) {
          return `reducer ${reader.reducer} in keyspace ${keyspace}`
        }
        break
      case Op.openSession:
      case Op.endSession:
        return undefined
    }
    return known.has(keyspace) ? undefined : `keyspace ${keyspace}, which is not there`
  }
}

/** Whether two cuts are one place in one chain. */
export const isSameCut = (a: Cut, b: Cut): boolean =>
  a.lsn === b.lsn && a.sequence === b.sequence && a.previousChecksum === b.previousChecksum
  && a.incarnation.low === b.incarnation.low && a.incarnation.high === b.incarnation.high

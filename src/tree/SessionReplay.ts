/**
 * The sessions of a store while its log is replayed: those of the checkpoint, and what each record says of them.
 *
 * Every session has a prefix of its serials in the log, without a hole and without one that stands there twice. A log
 * that says otherwise was not written by this store, whatever its checksums say, so nothing here is mended.
 *
 * I1 A record that consumes a serial names a known session and that session's last serial + 1.
 * I2 An id and a name belong to at most one session at a time.
 *
 * What opens or ends sessions stands before the other writes of its record, so that most records are passed over
 * after a look at one byte.
 */
import { Op } from "../log/Record.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { SessionEntry } from "./file/Catalog.ts"

/** Why a record cannot be where it is. */
export interface Mismatch {
  readonly expected: string
  readonly actual: string
}

export class SessionReplay {
  private readonly byId = new Map<number, SessionEntry>()
  private readonly names = new Set<string>()
  private readonly scratch = new RecordReader()

  constructor(entries: ReadonlyArray<SessionEntry>) {
    for (const entry of entries) {
      this.byId.set(entry.id, entry)
      this.names.add(entry.name)
    }
  }

  /** The sessions as of the last record that was taken. */
  entries(): ReadonlyArray<SessionEntry> {
    return [...this.byId.values()]
  }

  /** Takes the record that `reader` has just come to, and leaves the reader there; answers what it breaks. */
  take(reader: RecordReader): Mismatch | undefined {
    if (reader.sessionId < 0 && !isOfSessions(reader.firstOp)) return undefined
    return this.writes(reader) ?? this.commit(reader)
  }

  private writes({ bytes, lsn, millis, recordEnd, recordStart }: RecordReader): Mismatch | undefined {
    const reader = this.scratch.open(bytes, recordStart, recordEnd, lsn, 1)
    reader.nextRecord()
    while (reader.nextWrite() && isOfSessions(reader.op)) {
      const id = reader.keyspace
      const known = this.byId.get(id)
      if (reader.op === Op.endSession) {
        if (known === undefined) {
          return { expected: "the end of a session", actual: `the unknown session ${id}` }
        }
        this.byId.delete(id)
        this.names.delete(known.name)
      } else {
        const name = reader.bytes.toString("utf8", reader.keyStart, reader.keyEnd)
        if (id === 0 || known !== undefined || this.names.has(name)) {
          return {
            expected: "a new session",
            actual: `session ${id}, which is none, is open, or has an open one's name`
          }
        }
        this.byId.set(id, { id, name, serial: 0, lsn, millis })
        this.names.add(name)
      }
    }
    return undefined
  }

  private commit({ lsn, millis, serial, sessionId }: RecordReader): Mismatch | undefined {
    if (sessionId < 0) return undefined
    const known = this.byId.get(sessionId)
    if (known === undefined) {
      return { expected: "a commit of an open session", actual: `one of the unknown session ${sessionId}` }
    }
    if (serial !== known.serial + 1) {
      return { expected: `serial ${known.serial + 1} of session ${sessionId}`, actual: `serial ${serial}` }
    }
    this.byId.set(sessionId, { ...known, serial, lsn, millis })
    return undefined
  }
}

const isOfSessions = (op: number): boolean => op === Op.openSession || op === Op.endSession

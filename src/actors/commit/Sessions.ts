/**
 * The sessions of a store as of the end of its log: who they are, and which serial each committed last.
 *
 * Between two uses a session is one entry of a table. What it costs to commit does not depend on how many there are.
 *
 * ```
 *            claim                   committed: openSession, serial 1            committed: last + 1
 *   Unknown ───────▶ Open, no id ───────────────────────────────────▶ Open, id ──────────────────┐
 *      ▲                │                                              │ ▲ │ ▲ ◀────────────────┘
 *      │◀── release ────┘                                      release │ │ │ └── refusal: another serial, closed
 *      │                                                               ▼ │ claim
 *      └────────────────────── end: endSession ─────────────────────── Idle ── due, stale: idle for too long
 * ```
 *
 * I1 What is remembered is what the log says: an entry changes only by a record that was appended.
 * I2 A session is open at most once.
 * I3 At most `limits.sessions` are remembered or open, but for those that the log had before the limit was lowered.
 *
 * Owned by the Wal, which alone appends. It must not wait.
 */
import * as Exit from "effect/Exit"
import { invariant } from "../../Invariant.ts"
import type { Limits } from "../../Limits.ts"
import type { RecordWriter } from "../../log/RecordWriter.ts"
import type { Tail } from "../../log/Tail.ts"
import { Ended, LimitExceeded, SessionInUse, storeError } from "../../StoreError.ts"
import type { StoreError } from "../../StoreError.ts"
import type { SessionEntry } from "../../tree/file/Catalog.ts"
import { Serials } from "./Serials.ts"

/** The serial that a transaction consumes. */
export interface SerialUse {
  readonly serials: Serials
  readonly serial: number
  /** Called when the commit is visible, or the log has failed. */
  readonly visible: () => void
}

/** Sessions that one record ends. */
const mostEnded = 1_024
/** Of an entry and its places in the tables, beside its name. */
const entryBytes = 256

export class Sessions {
  /** `examined` are entries that were looked at without being asked for by name. */
  readonly counters = { commits: 0, opened: 0, ended: 0, examined: 0 }
  private readonly entries = new Map<string, SessionEntry>()
  private readonly ids = new Set<number>()
  private readonly open = new Map<string, Serials>()
  /** Since when nobody has them open; the longest idle first. */
  private readonly idle = new Map<string, number>()
  /** To be called whenever a session has become idle. */
  idled: () => void = () => {}
  private readonly limits: Limits
  private readonly now: () => number
  private unnamed = 0
  private nextId = 1
  private nameBytes = 0

  /** Those that recovery found are idle from now on, whatever the clock was when they were last used. */
  constructor(entries: ReadonlyArray<SessionEntry>, limits: Limits, now: () => number) {
    this.limits = limits
    this.now = now
    for (const entry of [...entries].sort((a, b) => a.lsn - b.lsn)) {
      this.remember(entry)
      this.idle.set(entry.name, now())
      this.nextId = Math.max(this.nextId, entry.id + 1)
    }
  }

  /** Sessions that the log knows. */
  get remembered(): number {
    return this.entries.size
  }

  /** Sessions that are open. */
  get opened(): number {
    return this.open.size
  }

  /** Those that nobody has open. */
  get idling(): number {
    return this.idle.size
  }

  get bytes(): number {
    return (this.entries.size + this.unnamed) * entryBytes + 2 * this.nameBytes
  }

  /** All of them, as of the last record: immutable, and shared. */
  image(): ReadonlyArray<SessionEntry> {
    this.counters.examined += this.entries.size
    return [...this.entries.values()]
  }

  /** Opens a session, for one holder at a time. */
  claim(name: string): Exit.Exit<Serials, SessionInUse | StoreError> {
    if (this.open.has(name)) return Exit.fail(new SessionInUse({ session: name }))
    const known = this.entries.get(name)
    const problem = known === undefined ? this.excess(name) : undefined
    if (problem !== undefined) return Exit.fail(problem)
    if (known === undefined) this.unnamed++
    const serials = new Serials(known ?? { id: 0, name, serial: 0, lsn: 0, millis: 0 })
    this.open.set(name, serials)
    this.idle.delete(name)
    return Exit.succeed(serials)
  }

  /** Whoever had it open lets it go. */
  release(serials: Serials): void {
    const { id, name } = serials.last
    if (this.open.get(name) !== serials) return
    this.open.delete(name)
    if (id === 0) this.unnamed--
    else this.idle.set(name, this.now())
    serials.close(storeError(new Ended({ what: "session" })))
    this.idled()
  }

  /** Why a transaction cannot have its serial: the session was let go or ended after its body began. */
  refusal(use: SerialUse | undefined): StoreError | undefined {
    if (use === undefined) return undefined
    const { serial, serials } = use
    if (serials.closed !== undefined) return serials.closed
    invariant(serial === serials.last.serial + 1, "Sessions I1")
    return undefined
  }

  /** Begins the record of a transaction with what it says of its session, to which its first one gives an id. */
  begin(tail: Tail, millis: number, use: SerialUse | undefined): RecordWriter {
    if (use === undefined) return tail.begin(millis)
    const { serial, serials: { last } } = use
    if (last.id !== 0) return tail.begin(millis, { id: last.id, serial })
    const id = this.freeId()
    const writer = tail.begin(millis, { id, serial })
    writer.openSession(id, Buffer.from(last.name))
    return writer
  }

  /** The record was appended. */
  committed({ serial, serials }: SerialUse, lsn: number, millis: number): void {
    const { id, name } = serials.last
    const entry = { id: id === 0 ? this.freeId() : id, name, serial, lsn, millis }
    if (id === 0) {
      this.unnamed--
      this.counters.opened++
      this.remember(entry)
    } else this.entries.set(name, entry)
    this.counters.commits++
    serials.committed(entry)
  }

  /** The log has failed: what was committed last may be lost, so nobody begins on top of it. */
  halt(error: StoreError): void {
    const open = [...this.open.values()]
    // All before anybody is told: whoever is may end what others wait for.
    for (const serials of open) serials.closed ??= error
    for (const serials of open) serials.close(error)
  }

  /** When the session that is idle the longest will have been so for too long. */
  due(): number | undefined {
    const first = this.idle.entries().next().value
    return first === undefined ? undefined : first[1] + this.limits.sessionIdleMillis
  }

  /** Sessions that nobody has opened for too long while the store was. */
  stale(): ReadonlyArray<string> {
    const before = this.now() - this.limits.sessionIdleMillis
    return this.oldest((_entry, since) => since <= before)
  }

  /** Sessions whose last commit is too long ago, even if the store was not open all that time. */
  outdated(): ReadonlyArray<string> {
    const before = this.now() - this.limits.sessionIdleMillis
    return this.oldest(({ millis }) => millis <= before)
  }

  /** Writes the end of those that nobody has opened meanwhile, or only `by`; answers how many. */
  end(writer: RecordWriter, names: ReadonlyArray<string>, by: Serials | undefined): number {
    let count = 0
    for (const name of names) {
      const entry = this.entries.get(name)
      if (this.open.get(name) !== by) continue
      if (by !== undefined) this.release(by)
      this.idle.delete(name)
      if (entry === undefined) continue
      writer.endSession(entry.id)
      this.forget(entry)
      count++
    }
    this.counters.ended += count
    return count
  }

  private oldest(isOld: (entry: SessionEntry, since: number) => boolean): ReadonlyArray<string> {
    const names: Array<string> = []
    for (const [name, since] of this.idle) {
      this.counters.examined++
      if (names.length === mostEnded || !isOld(this.entries.get(name) as SessionEntry, since)) break
      names.push(name)
    }
    return names
  }

  private excess(name: string): StoreError | undefined {
    const bytes = Buffer.byteLength(name)
    const { keyBytes, sessions } = this.limits
    if (bytes > keyBytes) {
      return storeError(new LimitExceeded({ limit: "keyBytes", actual: bytes, maximum: keyBytes }))
    }
    const count = this.entries.size + this.unnamed + 1
    return count <= sessions
      ? undefined
      : storeError(new LimitExceeded({ limit: "sessions", actual: count, maximum: sessions }))
  }

  /** The log has ids of four bytes: after the last one, those that were given up are used again. */
  private freeId(): number {
    let id = this.nextId % 2 ** 32
    while (id === 0 || this.ids.has(id)) id = (id + 1) % 2 ** 32
    this.nextId = id
    return id
  }

  private remember(entry: SessionEntry): void {
    this.entries.set(entry.name, entry)
    this.ids.add(entry.id)
    this.nameBytes += Buffer.byteLength(entry.name)
  }

  private forget({ id, name }: SessionEntry): void {
    this.entries.delete(name)
    this.ids.delete(id)
    this.nameBytes -= Buffer.byteLength(name)
  }
}

/**
 * Applying the log to the target: what a recovery does, with keys that nobody knows the value of.
 *
 * A key in a lost range is known again once the log writes or removes it; an operand on one that is not known is
 * nothing. Keyspaces that are cleared or dropped are known as a whole.
 *
 * A transaction that was written as pieces is applied at its commit. Where pieces of it are lost the replay stops
 * before it, so that what it leaves is a state that was.
 *
 * I1 Groups are applied in order and whole, from the cut on that the copied state stands at.
 */
import * as Effect from "effect/Effect"
import { GROUP_HEADER_BYTES, GroupKind } from "../log/Group.ts"
import { Op, RecordType } from "../log/Record.ts"
import { decodeDefinition } from "../log/RecordForm.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { ScannedGroup } from "../log/ScanAnswer.ts"
import { fileOffset, segmentName } from "../log/Segment.ts"
import type { StoreError } from "../StoreError.ts"
import type { Ranges } from "../tree/past/Ranges.ts"
import { Streams } from "./Streams.ts"
import type { Declared, Target } from "./Target.ts"

/** Where a replay stopped by itself. */
export interface Stopped {
  readonly lsn: number
  readonly path: string
  readonly offset: number
}

/** Which writes of the log are wanted of a keyspace: those to lost keys, from the commit on that made it what it is. */
export interface Wanted {
  readonly keys: Ranges
  readonly from: number
}

export class Replay {
  readonly counters = { groups: 0, records: 0, writes: 0 }
  /** Open keyspaces. */
  readonly keyspaces: Map<number, Declared>
  /** Keys of which nothing was known when the replay began. */
  readonly lost: Map<number, Ranges>
  /** Set where the replay stopped; nothing is applied from there on. */
  stopped: Stopped | undefined
  private readonly target: Target
  private readonly records = new RecordReader()
  /** At the write at hand: in a record of the group, or in a piece. */
  private reader = this.records
  private readonly streams = new Streams()
  /** Lost keys that are known again, as text with one char per byte. */
  private readonly known = new Map<number, Set<string>>()
  private wanted: ReadonlyMap<number, Wanted> | undefined
  /** Of the transaction that is applied: a piece's own LSN says nothing of when its writes count. */
  private lsn = 0
  /** Keys that were filled by the transaction that made their keyspace what it is. */
  private readonly fresh = new Map<number, Array<Uint8Array>>()

  constructor(target: Target, keyspaces: Map<number, Declared>, lost: Map<number, Ranges>) {
    this.target = target
    this.keyspaces = keyspaces
    this.lost = lost
  }

  /** From here on only these writes are applied; undefined: all. */
  limit(wanted: ReadonlyMap<number, Wanted> | undefined): void {
    this.wanted = wanted
  }

  /** Forgets the pieces that were met. */
  begin(): void {
    this.streams.clear()
  }

  /** Takes note of the pieces in a group, and of nothing else. */
  readonly gather = (group: ScannedGroup): undefined => {
    this.streams.follow(group)
  }

  readonly take = (group: ScannedGroup): Effect.Effect<void, StoreError> | undefined => {
    if (this.stopped !== undefined) return undefined
    this.counters.groups++
    this.streams.group(group)
    if (group.kind !== GroupKind.data) return undefined
    return Effect.gen({ self: this }, function*() {
      const reader = this.opened(group)
      while (reader.nextRecord()) {
        const { type } = reader
        if (type === RecordType.piece || type === RecordType.abort) {
          this.streams.note(reader)
          continue
        }
        const pieces = type === RecordType.commit ? this.streams.take(reader) : [reader]
        if (pieces === undefined) {
          const { segment } = group
          const offset = fileOffset(segment, reader.lsn)
          this.stopped = { lsn: reader.lsn, path: segmentName(segment.sequence), offset }
          return
        }
        this.counters.records++
        if (type === RecordType.relocate) continue
        const due = this.target.advance(reader.millis)
        if (due !== undefined) yield* due
        this.lsn = reader.lsn
        for (const piece of pieces) yield* this.apply(piece)
      }
    })
  }

  private opened({ bytes, lsn, records }: ScannedGroup): RecordReader {
    return this.records.open(bytes, GROUP_HEADER_BYTES, bytes.length, lsn + GROUP_HEADER_BYTES, records)
  }

  private apply(reader: RecordReader): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      this.reader = reader
      while (reader.nextWrite()) {
        const wait = this.wanted === undefined ? this.write() : this.fill(this.wanted)
        if (wait !== undefined) yield* wait
      }
    })
  }

  private key(): Uint8Array {
    return Uint8Array.from(this.reader.bytes.subarray(this.reader.keyStart, this.reader.keyEnd))
  }

  private value(): Uint8Array {
    return Uint8Array.from(this.reader.bytes.subarray(this.reader.valueStart, this.reader.valueEnd))
  }

  /** Applies the write at hand where it is to one of the keys that are looked for. */
  private fill(wanted: ReadonlyMap<number, Wanted>): Effect.Effect<void, StoreError> | undefined {
    const { reader } = this
    const of = wanted.get(reader.keyspace)
    if (of === undefined || this.lsn < of.from) return undefined
    if (reader.op === Op.clear && this.lsn === of.from) return this.empty(reader.keyspace)
    const isKey = reader.op === Op.put || reader.op === Op.remove || reader.op === Op.merge
    if (!isKey || !of.keys.has(this.key())) return undefined
    if (this.lsn === of.from) this.note(reader.keyspace, this.key())
    return this.write()
  }

  private note(keyspace: number, key: Uint8Array): void {
    const keys = this.fresh.get(keyspace)
    if (keys === undefined) this.fresh.set(keyspace, [key])
    else keys.push(key)
  }

  /** A transaction may write to a keyspace before it clears it: all that it has written there is nothing. */
  private empty(keyspace: number): Effect.Effect<void, StoreError> {
    return Effect.gen({ self: this }, function*() {
      const declared = this.keyspaces.get(keyspace)
      for (const key of this.fresh.get(keyspace) ?? []) {
        const wait = declared === undefined ? undefined : this.target.remove(declared, key)
        if (wait !== undefined) yield* wait
      }
      this.fresh.delete(keyspace)
    })
  }

  private write(): Effect.Effect<void, StoreError> | undefined {
    const { keyspaces, reader, target } = this
    if (reader.op === Op.createKeyspace) return this.create()
    const declared = keyspaces.get(reader.keyspace)
    if (declared === undefined) return undefined
    this.counters.writes++
    switch (reader.op) {
      case Op.put:
        this.learn(reader.keyspace, this.key())
        return target.put(declared, this.key(), this.value(), reader.expiryMillis)
      case Op.remove:
        this.learn(reader.keyspace, this.key())
        return target.remove(declared, this.key())
      case Op.merge:
        return this.isKnown(reader.keyspace, this.key())
          ? target.merge(declared, this.key(), this.value())
          : undefined
      case Op.clear:
        this.lost.delete(reader.keyspace)
        return target.clear(declared)
      case Op.dropKeyspace:
        this.lost.delete(reader.keyspace)
        keyspaces.delete(reader.keyspace)
        return target.drop(declared)
      default:
        return undefined
    }
  }

  private create(): Effect.Effect<void, StoreError> | undefined {
    const { bytes, keyEnd, keyStart, keyspace } = this.reader
    const decoded = decodeDefinition(this.value())
    if (decoded._tag === "Invalid") return undefined
    const name = bytes.toString("utf8", keyStart, keyEnd)
    const { layout, reducer } = decoded.definition
    const declared = { name, layout, reducer }
    this.keyspaces.set(keyspace, declared)
    return this.target.create(declared)
  }

  private learn(keyspace: number, key: Uint8Array): void {
    if (this.lost.get(keyspace)?.has(key) !== true) return
    let known = this.known.get(keyspace)
    if (known === undefined) this.known.set(keyspace, known = new Set())
    known.add(nameOf(key))
  }

  private isKnown(keyspace: number, key: Uint8Array): boolean {
    if (this.lost.get(keyspace)?.has(key) !== true) return true
    return this.known.get(keyspace)?.has(nameOf(key)) === true
  }
}

const nameOf = (key: Uint8Array): string => Buffer.from(key).toString("latin1")

/**
 * Reading the runs of a transaction back: newest first, until a write is found that stands by itself.
 *
 * I1 What is read from the log has the checksum that it was written with.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { nameOf } from "../ByKey.ts"
import { invariant } from "../Invariant.ts"
import type { PiecePlace } from "../log/Pieces.ts"
import { Op } from "../log/Record.ts"
import { RecordReader } from "../log/RecordReader.ts"
import type { Machine } from "../Machine.ts"
import type { Window } from "../Overlay.ts"
import { after, folded } from "../Overlay.ts"
import type { StoreError } from "../StoreError.ts"
import type { KeyspaceWrites, Write } from "../WriteSet.ts"
import { compare, lowerBound } from "../WriteSet.ts"
import type { Run, Section } from "./Run.ts"

/** Pieces that are kept in memory, each unless it is larger than any but one with a large value. */
const cachedPieces = 4
const mostCachedBytes = 1024 * 1024

/** What the own writes say of a key: a write, which may be an operand, and whether what is stored counts. */
export interface Own {
  readonly write: Write | undefined
  readonly hides: boolean
}

/** The keys of a keyspace in [lower, upper). */
interface Interval {
  readonly lower: Uint8Array
  readonly upper: Uint8Array | undefined
}

export class Reader {
  private readonly machine: Machine
  private readonly runs: ReadonlyArray<Run>
  private readonly cache = new Map<number, Uint8Array>()

  constructor(machine: Machine, runs: ReadonlyArray<Run>) {
    this.machine = machine
    this.runs = runs
  }

  get cachedBytes(): number {
    let bytes = 0
    for (const piece of this.cache.values()) bytes += piece.length
    return bytes
  }

  /** The newest that is said of a keyspace. */
  newest(name: string): Section | undefined {
    return this.runs.findLast((run) => run.find(name) !== undefined)?.find(name)
  }

  has(name: string): boolean {
    return this.runs.some((run) => run.find(name) !== undefined)
  }

  /** Whether a run has emptied the keyspace. */
  hides(name: string): boolean {
    return this.runs.some((run) => run.find(name)?.cleared === true)
  }

  /** What the runs say of a key below `above`, an operand in memory. */
  find(name: string, key: Uint8Array, above: Write | undefined): Effect.Effect<Own, StoreError> {
    return this.findIn(this.sections(name), 0, key, above)
  }

  private findIn(
    sections: ReadonlyArray<Section>,
    index: number,
    key: Uint8Array,
    above: Write | undefined
  ): Effect.Effect<Own, StoreError> {
    const section = sections[index]
    if (section === undefined) return Exit.succeed({ write: above, hides: false })
    const only = { lower: key, upper: after(key) }
    const here = section.writes === undefined
      ? this.inPiece(section, section.pieceOf(key), only)
      : Exit.succeed(within(section.writes, only))
    return Effect.flatMap(here, (found) => {
      const write = over(above, found[0])
      if (write !== undefined && write.reducer === undefined) return Exit.succeed({ write, hides: true })
      if (section.cleared) return Exit.succeed({ write, hides: true })
      return this.findIn(sections, index + 1, key, write)
    })
  }

  /** The own writes at the beginning of an interval, as a scan goes through it; `memory` stands above the runs. */
  window(
    name: string,
    memory: KeyspaceWrites | undefined,
    interval: Interval,
    descending: boolean
  ): Effect.Effect<Window, StoreError> {
    const sections = memory?.cleared === true ? [] : this.sections(name)
    const cut = sections.reduce((left, section) => shortened(left, section, descending), interval)
    // What is in memory now may be in the log, and only there, before all of them have been read.
    const layers = sections.map((section) =>
      section.writes === undefined
        ? this.inPiece(section, pieceAt(section, cut, descending), cut)
        : Exit.succeed(within(section.writes, cut))
    )
    const runs = Effect.all(layers)
    return Effect.map(runs, (layers) => {
      const merged = new Map<string, Write>()
      for (const writes of [...layers.reverse(), memory?.range(cut.lower, cut.upper) ?? []]) {
        for (const write of writes) {
          const key = nameOf(write.key)
          merged.set(key, over(write, merged.get(key)) ?? write)
        }
      }
      const writes = [...merged.values()].sort((a, b) => compare(a.key, b.key))
      const edge = descending ? cut.lower : cut.upper
      return { writes, edge: edge === (descending ? interval.lower : interval.upper) ? undefined : edge }
    })
  }

  /** What is said of a keyspace, newest first, down to where it was emptied. */
  private sections(name: string): ReadonlyArray<Section> {
    const sections: Array<Section> = []
    for (let index = this.runs.length - 1; index >= 0; index--) {
      const section = this.runs[index]?.find(name)
      if (section === undefined) continue
      sections.push(section)
      if (section.cleared) break
    }
    return sections
  }

  /** The writes of a section in a piece whose keys lie in an interval. */
  private inPiece(
    section: Section,
    index: number,
    interval: Interval
  ): Effect.Effect<ReadonlyArray<Write>, StoreError> {
    const place = section.places[index]
    if (place === undefined) return Exit.succeed([])
    return Effect.map(this.read(place), (bytes) => writesOf(bytes, place, section.id, interval))
  }

  private read(place: PiecePlace): Effect.Effect<Uint8Array, StoreError> {
    const cached = this.cache.get(place.lsn)
    if (cached !== undefined) return Exit.succeed(cached)
    return Effect.map(this.machine.fetch(place), (bytes) => {
      if (bytes.length > mostCachedBytes) return bytes
      if (this.cache.size === cachedPieces) this.cache.delete(this.cache.keys().next().value as number)
      this.cache.set(place.lsn, bytes)
      return bytes
    })
  }
}

/** A newer write over an older one of the same key; an operand is folded into it. */
const over = (newer: Write | undefined, older: Write | undefined): Write | undefined => {
  if (newer === undefined || newer.reducer === undefined || older === undefined) return newer ?? older
  const value = folded(newer.reducer, older.value, newer.value as Uint8Array)
  return { key: newer.key, value, reducer: older.reducer, expiry: older.expiry }
}

/** An interval without what lies behind the piece in which it begins. */
const shortened = (interval: Interval, section: Section, descending: boolean): Interval => {
  if (section.writes !== undefined || section.keys.length === 0) return interval
  const index = pieceAt(section, interval, descending)
  const { lower, upper } = interval
  if (descending) {
    const edge = section.keys[index]
    return index <= 0 || edge === undefined || compare(edge, lower) <= 0 ? interval : { lower: edge, upper }
  }
  const edge = section.keys[index + 1]
  return edge === undefined || (upper !== undefined && compare(edge, upper) >= 0)
    ? interval
    : { lower, upper: edge }
}

/** The piece in which an interval begins, in the order of a scan. */
const pieceAt = (section: Section, { lower, upper }: Interval, descending: boolean): number => {
  if (!descending) return Math.max(0, section.pieceOf(lower))
  if (upper === undefined) return section.keys.length - 1
  const index = section.pieceOf(upper)
  // The upper bound does not belong to the interval.
  return index >= 0 && compare(section.keys[index] as Uint8Array, upper) === 0 ? index - 1 : index
}

const within = (writes: ReadonlyArray<Write>, { lower, upper }: Interval): ReadonlyArray<Write> => {
  const from = lowerBound(writes, lower)
  const until = upper === undefined ? writes.length : lowerBound(writes, upper)
  return writes.slice(from, Math.max(from, until))
}

const writesOf = (
  bytes: Uint8Array,
  { lsn }: PiecePlace,
  id: number | undefined,
  { lower, upper }: Interval
): ReadonlyArray<Write> => {
  const reader = new RecordReader().open(bytes, 0, bytes.length, lsn, 1)
  const writes: Array<Write> = []
  invariant(reader.nextRecord(), "Reader I1")
  while (reader.nextWrite()) {
    if (reader.keyspace !== id || reader.op > Op.merge) continue
    const key = bytes.subarray(reader.keyStart, reader.keyEnd)
    if (compare(key, lower) < 0) continue
    if (upper !== undefined && compare(key, upper) >= 0) break
    const value = reader.op === Op.remove ? undefined : bytes.subarray(reader.valueStart, reader.valueEnd)
    const expiry = reader.expiryMillis === Infinity ? undefined : reader.expiryMillis
    writes.push({ key, value, reducer: reader.op === Op.merge ? reader.reducer : undefined, expiry })
  }
  return writes
}

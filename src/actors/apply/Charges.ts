/**
 * What large values charge the log with: each segment holds as many live bytes as its values that somebody may read.
 *
 * A part of the Tree. A put charges the segment of its record; a value that nothing refers to any more is taken off
 * again. A relocate moves the charge with the value: the record in the leaf keeps its version and gets another place.
 *
 * I1 A relocate is applied exactly where the leaf still refers to the old place, live and at recovery alike, and
 *    changes nothing of the record but that place.
 * I2 The old place of a value that was moved stays charged until every reader that began before has ended: one may have
 *    looked at the leaf already and be about to read.
 */
import type { RecordReader } from "../../log/RecordReader.ts"
import type { Generation, Generations, LargeValue } from "../../tree/Generations.ts"
import { writeReference } from "../../tree/page/Reference.ts"
import type { Tree as Kernel } from "../../tree/Tree.ts"
import { Absent, Found, Kind } from "../../tree/Tree.ts"

/** The old place of a value that was moved. */
interface Moved extends LargeValue {
  /** LSN of the relocate record. */
  readonly since: number
}

export interface Options {
  readonly kernel: Kernel
  readonly generations: Generations
  /** Base of the segment that holds an LSN. */
  readonly segmentBase: (lsn: number) => number
}

export class Charges {
  /** Values that were moved since the store was opened. */
  moves = 0
  private readonly options: Options
  /** Old places whose leaves refer elsewhere now, in the order of the log; those in front go first. */
  private readonly moved: Array<Moved> = []
  /** LSN of the relocate by old place, until the kernel has dropped that. */
  private readonly leaving = new Map<number, number>()

  constructor(options: Options) {
    this.options = options
  }

  /** Charges the value that `reader` is at to its segment. */
  add({ large }: Generation, reader: RecordReader): void {
    const base = this.options.segmentBase(reader.valueLsn)
    large.set(base, (large.get(base) ?? 0) + reader.valueEnd - reader.valueStart)
  }

  /** Applies the relocate that `reader` is at. */
  relocate(reader: RecordReader): number {
    const { generations, kernel } = this.options
    const generation = generations.opened(reader.keyspace)
    if (generation === undefined) return Absent
    const key = reader.bytes.subarray(reader.keyStart, reader.keyEnd)
    const answer = kernel.get(generation.root, key, Infinity)
    if (answer !== Found) return answer
    const old = kernel.foundReference()
    const same = old !== undefined && old.lsn === reader.from && kernel.foundVersion() === reader.version
      && old.bytes === reader.valueEnd - reader.valueStart && (old.checksum ^ reader.valueChecksum) === 0
    if (!same) return Absent
    const reference = writeReference({ ...old, lsn: reader.valueLsn })
    const expiry = kernel.foundExpiry()
    const put = kernel.put(generation.root, key, Kind.Reference, reference, reader.version, expiry)
    if (put < 0) return put
    this.add(generation, reader)
    this.leaving.set(old.lsn, reader.lsn)
    this.moves++
    return put
  }

  /** Takes values that nothing refers to any more off their segments. */
  settle(): void {
    const { generations, kernel: { versions }, segmentBase } = this.options
    const { moved } = this
    if (versions.dropped.length > 0) {
      for (const { bytes, lsn, treeId } of versions.dropped.splice(0)) {
        const since = this.leaving.get(lsn)
        const base = segmentBase(lsn)
        if (since === undefined) generations.dropLarge(treeId, base, bytes)
        else moved.push({ treeId, base, bytes, since })
        this.leaving.delete(lsn)
      }
    }
    if (moved.length === 0 || (moved[0] as Moved).since >= versions.oldestPin()) return
    const left = moved.findIndex(({ since }) => since >= versions.oldestPin())
    for (const { base, bytes, treeId } of moved.splice(0, left < 0 ? moved.length : left)) {
      generations.dropLarge(treeId, base, bytes)
    }
  }

  /** Values that are charged for readers of the past only. */
  past(): ReadonlyArray<LargeValue> {
    this.settle()
    const { kernel: { versions }, segmentBase } = this.options
    return [
      ...versions.references().map((value) => ({ ...value, base: segmentBase(value.lsn) })),
      ...this.moved
    ]
  }

  /** Bytes that the newest records of open keyspaces refer to, by the base of their segment. */
  live(): ReadonlyMap<number, number> {
    return this.options.generations.live(this.past())
  }
}

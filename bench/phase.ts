/**
 * One phase of a workload against an open store: so many requests, some of them in flight at a time, and what they cost.
 *
 * Requests go through the doors that have no Effect per record, and wait for the disk as `Snapshot` and `Keyspace` do:
 * a read that misses a page has the buffer load it, and others go on meanwhile. A write is a transaction of its own.
 *
 * What is counted is what reached the disk: bytes that the page file was asked for and given, past the system's cache.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Keyspace from "../src/Keyspace.ts"
import type { Machine } from "../src/Machine.ts"
import type { Raw } from "../src/Raw.ts"
import { StoreError } from "../src/StoreError.ts"
import { Batch } from "../src/tree/read/Batch.ts"
import type { Range } from "../src/tree/read/Cursor.ts"
import type { Root } from "../src/tree/Tree.ts"
import { Missing } from "../src/tree/Tree.ts"
import { keyBytes, random, valueBytes } from "./zipf.ts"

/** What a request does: reads a record, writes one, reads 32 from one on. */
export type Kind = "lookup" | "update" | "scan"

export interface Target {
  readonly machine: Machine
  readonly keyspace: Keyspace.Bytes
  readonly raw: Raw
  /** The keys of all records. */
  readonly keys: Uint8Array
  readonly inFlight: number
}

/** Counts per request, but for `perSecond`. */
export interface Cost {
  readonly perSecond: number
  /** Microseconds of processors, all threads of the process together: what is left of noise by other processes. */
  readonly cpuMicros: number
  readonly readBytes: number
  readonly writtenBytes: number
  readonly logBytes: number
  /** Pages that a lookup or a scan waited for. */
  readonly waits: number
  readonly merges: number
  /** What answered lookups. */
  readonly hits: Readonly<Record<string, number>>
}

/** Records of a scan. */
export const scanRecords = 32

/** Runs requests; `kind` says which request does what, drawn by the dice. */
export const run = Effect.fnUntraced(function*(
  target: Target,
  requests: Uint32Array,
  kind: (dice: number) => Kind
): Effect.fn.Return<Cost, StoreError> {
  const { machine } = target
  const lanes = new Lanes(target, requests, kind)
  const before = countersOf(machine)
  const cpu = process.cpuUsage()
  const begun = process.hrtime.bigint()
  yield* Effect.forEach(Array.from({ length: target.inFlight }), () => lanes.lane, {
    concurrency: "unbounded",
    discard: true
  })
  // What is written counts once it is applied, whatever that takes.
  yield* machine.caughtUp
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9
  const { system, user } = process.cpuUsage(cpu)
  const after = countersOf(machine)
  const each = (name: keyof typeof after): number => (after[name] - before[name]) / requests.length
  return {
    perSecond: requests.length / seconds,
    cpuMicros: (user + system) / requests.length,
    readBytes: each("readBytes"),
    writtenBytes: each("writtenBytes"),
    logBytes: each("logBytes"),
    waits: lanes.waits / requests.length,
    merges: each("merges"),
    hits: {
      "dirty records": each("insert"),
      "cached records": each("cache"),
      "known absences": each("tombstone") + each("phantom"),
      "leaves in the ring": each("leaf"),
      "base pages of others": each("guest"),
      "older versions": each("versions")
    }
  }
})

/** Writes through a raw door; false where that is to be tried again later. */
export const admitted = ({ parts: { wal }, unavailable }: Machine, write: () => number): boolean => {
  // Asked first, as a refusal is an error with a stack.
  if (wal.ready()) {
    try {
      write()
      return true
    } catch (error) {
      if (!(error instanceof StoreError) || error.reason._tag !== "Overloaded") throw error
    }
  }
  const failure = unavailable()
  if (failure !== undefined) throw failure
  return false
}

/** Everything that grows while requests run. */
const countersOf = ({ parts, tree }: Machine) => ({
  readBytes: parts.file.counters.readBytes,
  writtenBytes: parts.file.counters.writeBytes,
  logBytes: parts.wal.counters.groupBytes,
  merges: parts.buffer.counters.room.merges,
  ...tree.hits
})

/** Who runs requests: each lane takes the next one as soon as its last has ended. */
class Lanes {
  waits = 0
  private next = 0
  private readonly target: Target
  private readonly requests: Uint32Array
  private readonly kind: (dice: number) => Kind
  private readonly dice = random(7)
  private readonly value = new Uint8Array(valueBytes)
  private readonly counter = new Uint32Array(this.value.buffer)

  constructor(target: Target, requests: Uint32Array, kind: (dice: number) => Kind) {
    this.target = target
    this.requests = requests
    this.kind = kind
  }

  readonly lane = Effect.suspend(() => this.take(new Cursor(), new Uint8Array(valueBytes)))

  private readonly take = Effect.fnUntraced(
    function*(this: Lanes, cursor: Cursor, found: Uint8Array): Effect.fn.Return<void, StoreError> {
      const { keys, machine: { load, tree } } = this.target
      while (this.next < this.requests.length) {
        const at = keyBytes * (this.requests[this.next++] as number)
        const key = keys.subarray(at, at + keyBytes)
        const kind = this.kind(this.dice())
        if (kind === "update") {
          while (!this.put(key)) yield* Effect.yieldNow
          continue
        }
        cursor.begin(key)
        while (!(kind === "lookup" ? this.get(key, found) : this.scan(cursor))) {
          this.waits++
          yield* load(tree.missing)
        }
      }
    }.bind(this)
  )

  /** False where the log takes no more now. */
  private put(key: Uint8Array): boolean {
    this.counter[0] = this.next
    return admitted(this.target.machine, () => this.target.raw.putUnsafe(key, this.value))
  }

  /** False where a page is missing. */
  private get(key: Uint8Array, found: Uint8Array): boolean {
    const { tree } = this.target.machine
    const at = this.target.machine.visible()
    const answer = tree.get(this.root(at), key, at)
    if (answer === Missing) return false
    if (tree.valueInto(found, 0) !== valueBytes) throw new Error("a record has another length")
    return true
  }

  /** False where a page is missing; goes on where it was. */
  private scan(cursor: Cursor): boolean {
    const { tree } = this.target.machine
    const { batch } = cursor
    while (cursor.left > 0 && !batch.ended) {
      const at = this.target.machine.visible()
      const { position } = batch
      batch.reset()
      batch.position = position
      if (tree.scan(this.root(at), cursor.range(), at, batch) === Missing) return false
      cursor.left -= batch.count
    }
    return true
  }

  private root(at: number): Root {
    const root = this.target.machine.root(this.target.keyspace, at)
    if (Exit.isExit(root)) throw new Error("the keyspace is gone")
    return root
  }
}

/** A scan under way. */
class Cursor {
  readonly batch = new Batch()
  left = 0
  private lower: Uint8Array = new Uint8Array(0)

  begin(lower: Uint8Array): void {
    this.batch.reset()
    this.left = scanRecords
    this.lower = lower
  }

  range(): Range {
    const { left, lower } = this
    return { lower, upper: undefined, order: "ascending", columns: "keys and values", limit: left }
  }
}

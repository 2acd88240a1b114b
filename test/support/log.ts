/**
 * Tails and transactions for tests of the log.
 */
import type { Cut, StoreId } from "../../src/log/Group.ts"
import { FIRST_LSN } from "../../src/log/Lsn.ts"
import type { Lsn } from "../../src/log/Lsn.ts"
import { NO_INCARNATION } from "../../src/log/Record.ts"
import type { Incarnation, SessionSerial, TraceContext } from "../../src/log/Record.ts"
import type { Write } from "../../src/log/RecordForm.ts"
import { writeForm } from "../../src/log/RecordForm.ts"
import type { Segment } from "../../src/log/Segment.ts"
import { Tail } from "../../src/log/Tail.ts"
import type { Random } from "./random.ts"

export const storeId: StoreId = Uint8Array.from({ length: 16 }, (_, i) => 0xa0 + i)
export const otherStore: StoreId = Uint8Array.from({ length: 16 }, (_, i) => 0x50 + i)
export const life = (n: number): Incarnation => ({ low: 0x1000 + n, high: 0x9000 + n })

export const start: Cut = { lsn: FIRST_LSN, sequence: 1, previousChecksum: 0, incarnation: NO_INCARNATION }

export const makeTail = (
  options: Partial<{
    at: Cut
    segment: Segment | undefined
    incarnation: Incarnation
    segmentBytes: number
    inlineValueBytes: number
    inlinePairBytes: number
    storeId: StoreId
  }> = {}
): Tail =>
  new Tail({
    storeId,
    incarnation: life(1),
    segmentBytes: 4096,
    inlineValueBytes: 512,
    at: start,
    segment: undefined,
    ...options
  })

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Appends one transaction with one put of `valueBytes`. */
export const appendPut = (tail: Tail, valueBytes: number, key = "key"): Lsn => {
  tail.begin(1).put(1, bytesOf(key), new Uint8Array(valueBytes).fill(7))
  return tail.append()
}

export interface Transaction {
  readonly millis: number
  readonly session: SessionSerial | undefined
  readonly trace: TraceContext | undefined
  readonly writes: ReadonlyArray<Write>
}

export const appendTransaction = (tail: Tail, transaction: Transaction): Lsn => {
  const writer = tail.begin(transaction.millis, transaction.session, transaction.trace)
  for (const write of transaction.writes) writeForm(writer, write)
  return tail.append()
}

const keySizes = [0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 255, 1023, 1024] as const
const valueSizes = [0, 1, 3, 4, 7, 8, 15, 16, 17, 100, 255, 511, 512, 513, 4000] as const

const randomWrite = (chance: Random, largest: number): Write => {
  const keyspace = chance.pick([0, 1, 77, 0xffff_ffff])
  const key = chance.bytes(chance.pick(keySizes))
  const value = chance.bytes(chance.bool(0.02) ? chance.int(largest) : chance.pick(valueSizes))
  switch (chance.int(9)) {
    case 0:
      return { op: "remove", keyspace, key }
    case 1:
      return { op: "merge", keyspace, reducer: chance.int(16), key, value }
    case 2:
      return { op: "clear", keyspace }
    case 3:
      return { op: "createKeyspace", keyspace, key, value: value.slice(0, 300) }
    case 4:
      return { op: "dropKeyspace", keyspace }
    case 5:
      return { op: "put", keyspace, key, value, expiryMillis: chance.int(2 ** 40) + 0.5 }
    case 6:
      return { op: "openSession", session: keyspace, key }
    case 7:
      return { op: "endSession", session: keyspace }
    default:
      return { op: "put", keyspace, key, value }
  }
}

export const randomTransaction = (chance: Random, largest = 70 * 1024): Transaction => ({
  millis: chance.int(2 ** 45) / 4,
  session: chance.bool(0.3)
    ? { id: chance.int(2 ** 32), serial: chance.pick([0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) }
    : undefined,
  trace: chance.bool(0.3)
    ? { traceId: chance.bytes(16), spanId: chance.bytes(8), flags: chance.int(256) }
    : undefined,
  writes: Array.from({ length: chance.int(6) }, () => randomWrite(chance, largest))
})

/**
 * What a keyspace should be: a sorted map in memory, and a keyspace that is held against it at every step.
 *
 * Keys and values are strings with one char per byte, so that their order is that of bytes.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Durability } from "../../src/Limits.ts"
import * as Snapshot from "../../src/Snapshot.ts"
import type { Store } from "../../src/Store.ts"
import type { StoreError } from "../../src/StoreError.ts"
import * as Tx from "../../src/Tx.ts"
import { modelled } from "./modelled.ts"
import { keyspaceOf } from "./storeDoor.ts"
import type { Range } from "./storeModel.ts"

/** A value of `undefined` removes. */
export type Write = readonly [key: string, value: string | undefined]
export type Row = readonly [key: string, value: string]

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")
export const bytes = (chars: string): Uint8Array => Uint8Array.from(Buffer.from(chars, "latin1"))

/** The smallest key above one. */
export const after = (key: string): string => `${key}\0`

export class Oracle {
  private readonly rows: Map<string, string>
  private sorted: ReadonlyArray<string> | undefined

  constructor(rows: Iterable<Row> = []) {
    this.rows = new Map(rows)
  }

  get size(): number {
    return this.rows.size
  }

  set(key: string, value: string | undefined): void {
    const { size } = this.rows
    if (value === undefined) this.rows.delete(key)
    else this.rows.set(key, value)
    if (this.rows.size !== size) this.sorted = undefined
  }

  clear(): void {
    this.rows.clear()
    this.sorted = undefined
  }

  get(key: string): string | undefined {
    return this.rows.get(key)
  }

  keys(): ReadonlyArray<string> {
    this.sorted ??= [...this.rows.keys()].sort()
    return this.sorted
  }

  /** Rows of a range, in its order. */
  range({ from, limit, prefix, reverse, until }: Range = {}): Array<Row> {
    const keys = this.keys().filter((key) =>
      (prefix === undefined || key.startsWith(prefix)) && (from === undefined || key >= from)
      && (until === undefined || key < until)
    )
    if (reverse === true) keys.reverse()
    return keys.slice(0, limit).map((key) => [key, this.rows.get(key) as string])
  }

  /** The same state, which later writes do not change. */
  copy(): Oracle {
    return new Oracle(this.rows)
  }
}

/** What is seen of a store, to be compared with what another one shows. */
export type See = (answer: string) => void

export const rangeOf = ({ from, prefix, until, ...rest }: Range) => ({
  ...rest,
  ...(from === undefined ? {} : { from: bytes(from) }),
  ...(until === undefined ? {} : { until: bytes(until) }),
  ...(prefix === undefined ? {} : { prefix: bytes(prefix) })
})

/** A keyspace and its oracle. What is read is compared, and seen. */
export class Twin {
  readonly oracle = new Oracle()
  readonly keyspace: ReturnType<typeof keyspaceOf>
  private readonly see: See

  constructor(name: string, see: See) {
    this.keyspace = keyspaceOf(name)
    this.see = see
  }

  /** Commits writes that look at nothing, all in one transaction. */
  write(
    writes: ReadonlyArray<Write>,
    durability?: Durability
  ): Effect.Effect<number, StoreError, Store> {
    return Effect.suspend(() => {
      const body = Effect.forEach(writes, (write) => this.step(write), { discard: true })
      return Effect.map(Tx.commit({ durability })(body), ({ lsn }) => {
        modelled(writes.length)
        for (const [key, value] of writes) this.oracle.set(key, value)
        return lsn
      })
    })
  }

  /** The same in transactions of `size` writes. */
  writeIn(size: number, writes: ReadonlyArray<Write>): Effect.Effect<void, StoreError, Store> {
    const parts: Array<ReadonlyArray<Write>> = []
    for (let from = 0; from < writes.length; from += size) parts.push(writes.slice(from, from + size))
    return Effect.forEach(parts, (part) => this.write(part), { discard: true })
  }

  put(key: string, value: string): Effect.Effect<number, StoreError, Store> {
    return this.write([[key, value]])
  }

  remove(...keys: ReadonlyArray<string>): Effect.Effect<number, StoreError, Store> {
    return this.write(keys.map((key) => [key, undefined]))
  }

  /** One write of a body that may do more; the oracle is the caller's to tell. */
  step([key, value]: Write): Effect.Effect<void, StoreError, Tx.Tx> {
    return value === undefined
      ? this.keyspace.remove(bytes(key))
      : this.keyspace.put(bytes(key), bytes(value))
  }

  /** Rows of a range as the snapshot around it sees them. */
  rows(range: Range = {}): Effect.Effect<Array<Row>, StoreError, Snapshot.Snapshot> {
    const found = Stream.runCollect(this.keyspace.range(rangeOf(range)))
    return Effect.map(found, (rows) => rows.map(({ key, value }) => [text(key), text(value)] as const))
  }

  /** Reads single keys, each by itself. */
  readonly agreeOn = Effect.fnUntraced({ self: this }, function*(
    this: Twin,
    keys: Iterable<string>
  ): Effect.fn.Return<void, StoreError, Store> {
    for (const key of keys) {
      modelled(2)
      const found = yield* Snapshot.read()(this.keyspace.get(bytes(key)))
      same(`the value of ${name(key)}`, Option.map(found, text), Option.fromUndefinedOr(this.oracle.get(key)))
      const has = yield* Snapshot.read()(this.keyspace.has(bytes(key)))
      assert.strictEqual(has, Option.isSome(found), `whether ${name(key)} is there`)
      this.see(Option.isSome(found) ? text(found.value) : "absent")
    }
  })

  /** Reads a range both ways, with values and without. */
  readonly agreeIn = Effect.fnUntraced({ self: this }, function*(
    this: Twin,
    range: Range
  ): Effect.fn.Return<void, StoreError, Store> {
    modelled(2)
    const expected = this.oracle.range(range)
    const rows = yield* Snapshot.read()(this.rows(range))
    sameRows(`the range ${JSON.stringify(range)}`, rows, expected)
    const keys = Stream.runCollect(this.keyspace.keys(rangeOf(range)))
    const found = (yield* Snapshot.read()(keys)).map(text)
    assert.deepStrictEqual(found, expected.map(([key]) => key), `the keys of ${JSON.stringify(range)}`)
    for (const [key, value] of rows) this.see(`${key}=${value}`)
  })

  /** Reads everything there is: both ways, its first and its last record, and their number. */
  readonly agree: Effect.Effect<void, StoreError, Store> = Effect.suspend(() => this.whole())

  private readonly whole = Effect.fnUntraced({ self: this }, function*(
    this: Twin
  ): Effect.fn.Return<void, StoreError, Store> {
    yield* this.agreeIn({})
    yield* this.agreeIn({ reverse: true })
    const { count, unresolved } = yield* this.keyspace.stat
    // Of records whose newness is not known, each may count or not.
    assert.isAtMost(
      Math.abs(count - this.oracle.size),
      unresolved,
      `${count} for ${this.oracle.size} records`
    )
    this.see(`${this.oracle.size} records`)
  })
}

const name = (key: string): string => key.length > 40 ? `a key of ${key.length} bytes` : JSON.stringify(key)

const same = (what: string, actual: Option.Option<string>, expected: Option.Option<string>): void => {
  const [a, e] = [Option.getOrUndefined(actual), Option.getOrUndefined(expected)]
  // Of large values the first difference says more than their bytes.
  if (a !== e) assert.fail(`${what} is ${digest(a)} instead of ${digest(e)}`)
}

export const sameRows = (what: string, actual: ReadonlyArray<Row>, expected: ReadonlyArray<Row>): void => {
  for (let index = 0; index < Math.max(actual.length, expected.length); index++) {
    const [a, e] = [actual[index], expected[index]]
    if (a?.[0] === e?.[0] && a?.[1] === e?.[1]) continue
    const [is, should] = [a, e].map((row) =>
      row === undefined ? "none" : `${name(row[0])}: ${digest(row[1])}`
    )
    assert.fail(
      `${what}, row ${index} of ${actual.length} is ${is} instead of ${should} of ${expected.length}`
    )
  }
}

const digest = (value: string | undefined): string =>
  value === undefined ? "none" : `${value.length} bytes ${JSON.stringify(value.slice(0, 12))}`

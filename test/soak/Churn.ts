/**
 * What the soak does to a store, and what must be in it: each value is a function of its key and a number, so that the
 * model is one number a key, however large the values.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { Codec, Key, Keyspace, Snapshot, Tx } from "../../src/index.ts"
import type { Random } from "../support/random.ts"

/** A keyspace and its model: of each key the number of its value, 0 where there is none. */
interface Place {
  readonly name: string
  readonly keyspace: Keyspace.Keyspace<number, Uint8Array>
  readonly model: Int32Array
  readonly bytes: (dice: number) => number
  /** Part of all writes that go here. */
  readonly share: number
}

const place = (name: string, keys: number, share: number, bytes: (dice: number) => number): Place => ({
  name,
  keyspace: Keyspace.make(name, { key: Key.U32, value: Codec.bytes }),
  model: new Int32Array(keys),
  bytes,
  share
})

/** A number in [0, 1) of two others. */
const hash = (a: number, b: number): number => {
  let mixed = Math.imul(a ^ Math.imul(b, 0x9e3779b9), 0x85ebca6b)
  mixed = Math.imul(mixed ^ mixed >>> 13, 0xc2b2ae35)
  return ((mixed ^ mixed >>> 16) >>> 0) / 2 ** 32
}

const kib = 1_024

export class Churn {
  readonly places: ReadonlyArray<Place>
  readonly counters = { commits: 0, puts: 0, removes: 0, checks: 0, rows: 0, putBytes: 0 }
  private readonly chance: Random
  /** The model is of what is committed: whoever holds this sees both at the same moment. */
  private readonly lock: Semaphore.Semaphore
  private version = 0

  constructor(chance: Random, memoryMiB: number, lock: Semaphore.Semaphore) {
    this.chance = chance
    this.lock = lock
    // About twice the memory, so that most of it is on the disk.
    this.places = [
      place("small", memoryMiB * 20_000, 0.8, (dice) => Math.floor(dice * 200)),
      place("mixed", memoryMiB * 1_200, 0.195, (dice) => Math.floor(2 ** (dice * 13))),
      place("large", 96, 0.005, (dice) => Math.floor(4 * kib * 2 ** (dice * 8)))
    ]
  }

  private valueOf(at: Place, key: number, version: number): Uint8Array {
    return Buffer.alloc(at.bytes(hash(key, version)), `${at.name} ${key} ${version}.`)
  }

  /** Bytes of the values of a size, that are there. */
  bytesFrom(least: number): number {
    let sum = 0
    for (const at of this.places) {
      for (const [key, version] of at.model.entries()) {
        const bytes = version === 0 ? 0 : at.bytes(hash(key, version))
        if (bytes >= least) sum += bytes
      }
    }
    return sum
  }

  /** Writes every second key once. */
  readonly fill = Effect.suspend(() =>
    Effect.forEach(this.places, (at) =>
      Effect.gen({ self: this }, function*() {
        for (let from = 0; from < at.model.length; from += 1_000) {
          const keys = Array.from({ length: 500 }, (_, index) => from + 2 * index)
          const version = ++this.version
          yield* Effect.forEach(
            keys.filter((key) => key < at.model.length),
            (key) => at.keyspace.put(key, this.valueOf(at, key, version)),
            { discard: true }
          ).pipe(Tx.transact({ durability: "buffered" }))
          for (const key of keys) at.model[key] = version
        }
      }), { discard: true })
  )

  private somePlace(): Place {
    let dice = this.chance.next()
    return this.places.find(({ share }) => (dice -= share) < 0) ?? this.places[0] as Place
  }

  /** Puts, overwrites and removes some; half of the keys of a place are there at any time. */
  readonly write = Effect.suspend(() => {
    const { chance, counters } = this
    const durability = chance.pick(["memory", "buffered", "buffered", "synced"] as const)
    const version = ++this.version
    const writes = Array.from({ length: chance.pick([1, 5, 20, 100]) }, () => {
      const at = this.somePlace()
      return { at, key: chance.int(at.model.length), version: chance.bool(0.5) ? version : 0 }
    })
    const body = Effect.forEach(writes, ({ at, key, version }) => {
      if (version === 0) return at.keyspace.remove(key)
      const value = this.valueOf(at, key, version)
      counters.putBytes += value.length
      return at.keyspace.put(key, value)
    }, { discard: true })
    const commit = Effect.map(Tx.transact({ durability })(body), () => {
      counters.commits++
      for (const { at, key, version } of writes) {
        at.model[key] = version
        if (version === 0) counters.removes++
        else counters.puts++
      }
    })
    return this.lock.withPermits(1)(commit)
  })

  /** Opens a snapshot, lets others write for a while, and reads what was there when it was opened. */
  readonly check = Effect.suspend(() => {
    const { chance, counters } = this
    const at = this.somePlace()
    const from = chance.int(at.model.length)
    const length = at.name === "large" ? 4 : chance.pick([10, 100, 1_000])
    const millis = chance.pick([0, 0, 5, 50, 1_000])
    const body = Effect.gen({ self: this }, function*() {
      const expected = at.model.slice(from, from + length)
      yield* this.lock.release(1)
      yield* Effect.sleep(millis)
      counters.checks++
      counters.rows += yield* this.compare(at, from, expected, chance.bool(0.3))
      yield* this.compareMany(at, from, expected)
    })
    return Effect.andThen(this.lock.take(1), Snapshot.read()(body))
  })

  /** Compares a range with what is expected; answers its rows. */
  private compare(at: Place, from: number, expected: Int32Array, reverse: boolean) {
    const keys = Array.from(expected.keys(), (index) => from + index).filter((key) =>
      expected[key - from] !== 0
    )
    if (reverse) keys.reverse()
    const until = from + expected.length
    return at.keyspace.range({ from, until, reverse }).pipe(
      Stream.runFold(() => 0, (row, { key, value }) => {
        if (keys[row] !== key) throw new Error(`${at.name}: key ${key} in place of ${keys[row]}`)
        this.mustBe(at, key, value, expected[key - from] as number)
        return row + 1
      }),
      Effect.map((rows) => {
        if (rows !== keys.length) throw new Error(`${at.name}: ${rows} rows in place of ${keys.length}`)
        return rows
      })
    )
  }

  private compareMany(at: Place, from: number, expected: Int32Array) {
    const keys = Array.from({ length: 20 }, () => this.chance.int(expected.length))
    return Effect.map(at.keyspace.getMany(keys.map((key) => from + key)), (values) => {
      for (const [index, value] of values.entries()) {
        const key = keys[index] as number
        const version = expected[key] as number
        if (Option.isSome(value)) this.mustBe(at, from + key, value.value, version)
        else if (version !== 0) throw new Error(`${at.name}: key ${from + key} is missing`)
      }
    })
  }

  private mustBe(at: Place, key: number, value: Uint8Array, version: number): void {
    if (version !== 0 && Buffer.compare(value, this.valueOf(at, key, version)) === 0) return
    throw new Error(`${at.name}: key ${key} has ${value.length} bytes that are not those of ${version}`)
  }

  /** Compares everything. Nobody writes meanwhile. */
  readonly checkAll = Effect.suspend(() =>
    Effect.forEach(this.places, (at) => this.compare(at, 0, at.model, false), { discard: true })
  ).pipe(Snapshot.read())
}

/**
 * Ten thousand transactions at once: all of them end, nobody runs again and again, and what waits in the store is
 * bounded, however many wait in front of it.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Codec from "../src/Codec.ts"
import * as MemoryDisk from "../src/disk/MemoryDisk.ts"
import * as Key from "../src/Key.ts"
import * as Keyspace from "../src/Keyspace.ts"
import * as Snapshot from "../src/Snapshot.ts"
import * as Store from "../src/Store.ts"
import type { StoreError } from "../src/StoreError.ts"
import * as Tx from "../src/Tx.ts"
import { figure } from "./support/figures.ts"
import { Schedule } from "./support/schedule.ts"
import type { Options } from "./support/stores.ts"
import { small, upTo } from "./support/stores.ts"

const fibers = 10_000

const Numbers = Keyspace.make("numbers", { key: Key.U32, value: Codec.int })

/** The most that waited at any time a commit was handed over. */
interface Watched {
  waiting: number
  windowBytes: number
}

/** A store that looks at its own bounds at every hand-over. */
const watching = (seen: Watched): Layer.Layer<Store.Store, never, Store.Store> =>
  Layer.effect(
    Store.Store,
    Store.Store.useSync((store) => {
      const { machine } = store
      const { wal } = machine.parts
      const submit: typeof machine.submit = (intent) => {
        const verdict = machine.submit(intent)
        seen.waiting = Math.max(seen.waiting, wal.waiting())
        seen.windowBytes = Math.max(seen.windowBytes, machine.window.bytes)
        return verdict
      }
      return { ...store, machine: { ...machine, submit } }
    })
  )

/** Nobody holds anything of the store any more. What the log tells itself may be on its way yet. */
const atRest = Store.Store.use(({ machine }) => {
  const { parts: { wal }, tree: { versions }, window } = machine
  const held = () => ({ open: window.open, rows: window.size, readers: versions.pins.readers })
  return Effect.map(
    Effect.repeat(Effect.yieldNow, { until: () => wal.waiting() === 0, times: 1_000 }),
    () => {
      assert.strictEqual(wal.waiting(), 0)
      assert.deepStrictEqual(held(), { open: 0, rows: 0, readers: 0 })
    }
  )
})

const roomy: Options = { ...small, memory: "16 MiB" }

const onDisk = (options: Options, seen: Watched) =>
  Layer.provide(
    watching(seen),
    Layer.provide(
      Store.layerDisk({ path: "/store", ...roomy, ...options }),
      MemoryDisk.layer
    )
  )

const modes: ReadonlyArray<Options> = [
  { durability: "memory" },
  { durability: "synced" },
  { durability: "memory", limits: { mailbox: 1 } }
]

describe("ten thousand at once", () => {
  for (const options of modes) {
    const mailbox = options.limits?.mailbox ?? 1_024
    const title = `${options.durability}, a mailbox of ${mailbox}`
    const seen: Watched = { waiting: 0, windowBytes: 0 }
    /** Runs one transaction for each number; answers how often the body of each ran. */
    const run = (
      count: number,
      body: (number: number) => Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot>
    ) =>
      Effect.gen(function*() {
        const attempts = upTo(count).map(() => 0)
        yield* Effect.forEach(upTo(count), (number) =>
          Tx.transact()(Effect.suspend(() => {
            attempts[number] = (attempts[number] as number) + 1
            return body(number)
          })), { concurrency: "unbounded", discard: true })
        const { limits } = (yield* Store.Store).machine
        assert.isAtMost(seen.waiting, mailbox)
        assert.isAtMost(seen.windowBytes, 2 * limits.conflictWindowBytes)
        yield* atRest
        return attempts
      })

    it.live(`of a key each, ${title}`, () =>
      Effect.gen(function*() {
        const attempts = yield* run(fibers, increment)
        assert.isTrue(attempts.every((times) => times === 1), "nobody loses against who reads other keys")
        const rows = yield* Snapshot.read()(Numbers.getMany(upTo(fibers)))
        assert.isTrue(rows.every((row) => Option.getOrUndefined(row) === 1))
      }).pipe(Effect.provide(onDisk(options, seen))))

    it.live(`of one key all together, ${title}`, () =>
      Effect.gen(function*() {
        const count = mailbox === 1 ? 1_000 : fibers
        const attempts = yield* run(count, () => increment(7))
        // Two that lose, and the turn.
        assert.isAtMost(Math.max(...attempts), 3)
        assert.deepStrictEqual(yield* Snapshot.read()(Numbers.get(7)), Option.some(count))
      }).pipe(Effect.provide(onDisk(options, seen))))
  }
})

/** Reads, lets others run, writes. */
const increment = (key: number): Effect.Effect<void, StoreError, Tx.Tx | Snapshot.Snapshot> =>
  Effect.flatMap(
    Numbers.get(key),
    (value) => Effect.andThen(Effect.yieldNow, Numbers.put(key, Option.getOrElse(value, () => 0) + 1))
  )

describe("whatever the order of fibers", () => {
  const accounts = [0, 1, 2, 3]
  const schedules = 50

  /** Eight fibers, three transfers each; how often bodies ran in all, and at the most for one transfer. */
  const transfers = (seed: number) => {
    const schedule = new Schedule(seed)
    const { chance, pause } = schedule
    let [total, most] = [0, 0]
    const transfer = (from: number, to: number) =>
      Effect.suspend(() => {
        let times = 0
        return Tx.transact()(Effect.gen(function*() {
          total++
          most = Math.max(most, ++times)
          const source = Option.getOrThrow(yield* Numbers.get(from))
          yield* pause
          const target = Option.getOrThrow(yield* Numbers.get(to))
          yield* pause
          yield* Numbers.put(from, source - 1)
          yield* Numbers.put(to, target + 1)
        }))
      })
    const program = Effect.gen(function*() {
      yield* Tx.transact()(Effect.forEach(accounts, (account) => Numbers.put(account, 100)))
      yield* Effect.forEach(upTo(8), () =>
        Effect.forEach(upTo(3), () => {
          const from = chance.int(4)
          return transfer(from, (from + 1 + chance.int(3)) % 4)
        }), { concurrency: "unbounded", discard: true })
      const balances = yield* Snapshot.read()(Numbers.getMany(accounts))
      assert.strictEqual(balances.reduce((sum, value) => sum + Option.getOrThrow(value), 0), 400)
      yield* atRest
    })
    // Time may pass faster here than any body runs.
    const options: Options = { durability: "memory", limits: { turnMillis: 3_600_000 } }
    const exit = schedule.run(Effect.provide(program, onDisk(options, { waiting: 0, windowBytes: 0 })))
    assert.isTrue(Exit.isSuccess(exit), `HEARTWOOD_SEED=${seed}: ${exit}`)
    return { total, most }
  }

  it("8 fibers and 4 accounts: nobody fails, and no body runs more than three times", () => {
    let [total, most] = [0, 0]
    for (let seed = 1; seed <= schedules; seed++) {
      const ran = transfers(seed)
      total += ran.total
      most = Math.max(most, ran.most)
    }
    figure("S1 transactions that meet", { transfers: schedules * 24, attempts: total, most })
    assert.strictEqual(most, 3)
    assert.isAtMost(total / (schedules * 24), 3)
  })
})

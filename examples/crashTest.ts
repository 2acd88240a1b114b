/**
 * Crash tests: a program is run, the power is cut at two hundred places, and what it promises is checked each time.
 *
 * `node examples/crashTest.ts`
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Key, Keyspace, Snapshot, Store, Tx } from "../src/index.ts"
import { CrashTest, FaultDisk } from "../src/testing.ts"

const Accounts = Keyspace.make("accounts", { key: Key.String, value: Schema.Int })
const Receipts = Keyspace.make("receipts", { key: Key.Int, value: Schema.String })

const names = ["ada", "alan", "grace"]
const move = (name: string, cents: number) =>
  Accounts.modify(name, (balance) => [undefined, Option.map(balance, (before) => before + cents)])

const open = Tx.transact()(Effect.forEach(names, (name) => Accounts.put(name, 1_000)))

interface Transfer {
  readonly id: number
  readonly from: string
  readonly to: string
}

// The program under test.
const transfer = ({ from, id, to }: Transfer) =>
  move(from, -100).pipe(
    Effect.andThen(move(to, 100)),
    Effect.andThen(Receipts.put(id, `${from} to ${to}`)),
    Tx.transact()
  )

// The same with a bug: whoever crashes between the two has lost somebody's money.
const careless = ({ from, id, to }: Transfer) =>
  move(from, -100).pipe(
    Tx.transact(),
    Effect.andThen(Tx.transact()(Effect.andThen(move(to, 100), Receipts.put(id, `${from} to ${to}`))))
  )

const transfers = Array.from({ length: 12 }, (_, id): Transfer => ({
  id,
  from: names[id % 3] ?? "ada",
  to: names[(id + 1) % 3] ?? "alan"
}))

// What must hold whenever the power fails: no money is lost, and who was told of a transfer can rely on it.
const check = (told: ReadonlyArray<number>) =>
  Effect.gen(function*() {
    const balances = yield* Stream.runCollect(Accounts.range())
    const sum = balances.reduce((sum, { value }) => sum + value, 0)
    if (balances.length > 0 && sum !== 3_000) yield* Effect.fail(`${sum} cents of 3000`)
    const receipts = yield* Receipts.getMany(told)
    const lost = told.filter((_, index) => Option.isNone(receipts[index] ?? Option.none()))
    if (lost.length > 0) yield* Effect.fail(`transfers ${lost.join(", ")} were told and are lost`)
  }).pipe(Snapshot.read())

const bank = (making: typeof transfer | typeof careless) =>
  CrashTest.make({
    layer: Store.layerDisk({ path: "bank", memory: "2 MiB", segmentSize: "64 KiB" }),
    // `tell` where the world learns that something is done.
    program: (tell) =>
      Effect.andThen(
        open,
        Effect.forEach(transfers, (each) => Effect.andThen(making(each), tell(each.id)), { concurrency: 3 })
      ),
    check
  })

// A disk that says that it has synced, and has not.
const lies = Effect.flatMap(
  FaultDisk.FaultDisk,
  (disk) => disk.fail({ operation: "sync", path: /log-/, times: Infinity, outcome: { _tag: "Lost" } })
)

const program = Effect.gen(function*() {
  const sound = yield* CrashTest.explore(bank(transfer))
  yield* Console.log(`one transaction: ${sound.crashes} crashes, ${sound.violations.length} violations`)

  const broken = yield* CrashTest.explore({ ...bank(careless), crashes: 50 })
  yield* Console.log(`two transactions: ${broken.crashes} crashes, ${broken.violations.length} violations`)

  // A violation says where the power was cut and what was found then, and can be looked at again.
  for (const violation of broken.violations.slice(0, 1)) {
    yield* Console.log(violation.message)
    const again = yield* Effect.flip(CrashTest.replay(bank(careless), violation.case))
    yield* Console.log(`again: ${again.message === violation.message ? "the same" : again.message}`)
  }

  const { program } = bank(transfer)
  const lying = yield* CrashTest.explore({
    ...bank(transfer),
    crashes: 50,
    program: (tell) => Effect.andThen(lies, program(tell))
  })
  yield* Console.log(`a disk that lies: ${lying.crashes} crashes, ${lying.violations.length} violations`)
})

program.pipe(NodeRuntime.runMain)
